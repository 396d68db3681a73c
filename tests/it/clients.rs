//! The clients that people use, each in both protocol versions where it can: QoS, retained messages, wills, persistent
//! sessions, takeover, a crash of the server in between.
//!
//! paho and MQTT.js run scenarios of their own below `tests/clients`, which have the same names in both. mosquitto's
//! tools and rumqttc follow in `clients::mosquitto` and `clients::rumqttc`.

mod mosquitto;
mod rumqttc;

use crate::harness::server::Server;
use crate::harness::tools::{python, run_scenario};

#[derive(Clone, Copy)]
enum Client {
    Paho1,
    Paho2,
    MqttJs,
}

#[track_caller]
fn run(client: Client, server: &Server, version: &str, scenario: &str) {
    let port = server.port();
    let (program, script) = match client {
        Client::Paho1 => (python(1), "tests/clients/paho_scenarios.py"),
        Client::Paho2 => (python(2), "tests/clients/paho_scenarios.py"),
        Client::MqttJs => ("node".into(), "tests/clients/mqttjs/scenarios.js"),
    };
    run_scenario(program, script, &[&port, version, scenario]);
}

/// One test for each scenario.
macro_rules! scenarios {
    ($module:ident, $client:expr, $version:literal) => {
        mod $module {
            use super::{Client, run};
            use crate::harness::server::Server;

            scenarios!(@each $client, $version, every_qos retained wills persistent_session takeover keep_alive);

            #[test]
            fn crash_of_the_server() {
                let server = Server::start();
                run($client, &server, $version, "before_crash");
                let server = server.restart();
                run($client, &server, $version, "after_crash");
            }
        }
    };
    (@each $client:expr, $version:literal, $($scenario:ident)*) => {
        $(
            #[test]
            fn $scenario() {
                run($client, &Server::start(), $version, stringify!($scenario));
            }
        )*
    };
}

scenarios!(paho1_mqtt31, Client::Paho1, "3.1");
scenarios!(paho1_mqtt311, Client::Paho1, "3.1.1");
scenarios!(paho2_mqtt31, Client::Paho2, "3.1");
scenarios!(paho2_mqtt311, Client::Paho2, "3.1.1");
scenarios!(mqttjs_mqtt31, Client::MqttJs, "3.1");
scenarios!(mqttjs_mqtt311, Client::MqttJs, "3.1.1");
