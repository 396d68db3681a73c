//! The clients that people use, each in every protocol version that it speaks: QoS, retained messages, wills, persistent
//! sessions, takeover, a crash of the server in between; and what there is only in MQTT 5.
//!
//! paho and MQTT.js run scenarios of their own below `tests/clients`, which have the same names in both. mosquitto's
//! tools and rumqttc follow in `clients::mosquitto`, `clients::mosquitto5`, `clients::rumqttc` and `clients::rumqttc5`.

mod mosquitto;
mod mosquitto5;
mod rumqttc;
mod rumqttc5;

use std::path::PathBuf;

use crate::harness::server::{Options, Server};
use crate::harness::tools::{python, run_scenario};

#[derive(Clone, Copy)]
enum Client {
    Paho1,
    Paho2,
    MqttJs,
}

impl Client {
    fn program(self) -> PathBuf {
        match self {
            Self::Paho1 => python(1),
            Self::Paho2 => python(2),
            Self::MqttJs => "node".into(),
        }
    }
}

#[track_caller]
fn run(client: Client, port: &str, version: &str, scenario: &str, transport: &str) {
    let script = match client {
        Client::Paho1 | Client::Paho2 => "tests/clients/paho_scenarios.py",
        Client::MqttJs => "tests/clients/mqttjs/scenarios.js",
    };
    run_scenario(client.program(), script, &[port, version, scenario, transport]);
}

#[track_caller]
fn run_mqtt5(client: Client, port: &str, scenario: &str, transport: &str) {
    let script = match client {
        Client::Paho1 => panic!("paho 1 shows too little of MQTT 5"),
        Client::Paho2 => "tests/clients/paho_mqtt5.py",
        Client::MqttJs => "tests/clients/mqttjs/mqtt5.js",
    };
    run_scenario(client.program(), script, &[port, scenario, transport]);
}

/// A server that takes that transport, `mqtt` or `ws`; and its port.
fn server_for(transport: &str) -> (Server, String) {
    if transport == "mqtt" {
        let server = Server::start();
        let port = server.port();
        return (server, port);
    }
    let lines = "protocol = \"websocket\"\nallow_anonymous = true\n[listener.websocket]\npath = \"/mqtt\"";
    let (server, address) = Options::new().start_with_listener(lines);
    (server, address.port().to_string())
}

/// One test for each scenario.
macro_rules! scenarios {
    ($module:ident, $client:expr, $version:literal, $transport:literal) => {
        mod $module {
            use super::{Client, run, server_for};

            scenarios!(@each $client, $version, $transport,
                every_qos retained wills persistent_session takeover keep_alive);

            #[test]
            fn crash_of_the_server() {
                let (server, port) = server_for($transport);
                run($client, &port, $version, "before_crash", $transport);
                let _server = server.restart();
                run($client, &port, $version, "after_crash", $transport);
            }
        }
    };
    (@each $client:expr, $version:literal, $transport:literal, $($scenario:ident)*) => {
        $(
            #[test]
            fn $scenario() {
                let (_server, port) = server_for($transport);
                run($client, &port, $version, stringify!($scenario), $transport);
            }
        )*
    };
}

scenarios!(paho1_mqtt31, Client::Paho1, "3.1", "mqtt");
scenarios!(paho1_mqtt311, Client::Paho1, "3.1.1", "mqtt");
scenarios!(paho2_mqtt31, Client::Paho2, "3.1", "mqtt");
scenarios!(paho2_mqtt311, Client::Paho2, "3.1.1", "mqtt");
scenarios!(paho2_mqtt5, Client::Paho2, "5", "mqtt");
scenarios!(mqttjs_mqtt31, Client::MqttJs, "3.1", "mqtt");
scenarios!(mqttjs_mqtt311, Client::MqttJs, "3.1.1", "mqtt");
scenarios!(mqttjs_mqtt5, Client::MqttJs, "5", "mqtt");
scenarios!(mqttjs_mqtt5_websocket, Client::MqttJs, "5", "ws");

/// One test for each scenario of MQTT 5.
macro_rules! mqtt5_scenarios {
    ($module:ident, $client:expr, $transport:literal) => {
        mod $module {
            use super::{Client, run_mqtt5, server_for};

            mqtt5_scenarios!(@each $client, $transport,
                a_message_expires
                a_request_is_answered
                a_session_expires
                a_shared_subscription_is_shared
                a_will_waits_for_its_delay
                connack_assigns_a_name
                identifiers_tell_subscriptions_apart
                no_local_keeps_own_messages_away
                no_more_are_under_way_than_the_receive_maximum
                properties_arrive_as_they_were_sent
                reasons_are_told
                retain_as_published_keeps_the_flag
                retain_handling_says_when_there_is_a_replay
                the_server_says_why_it_disconnects
                topic_aliases_go_both_ways
            );
        }
    };
    (@each $client:expr, $transport:literal, $($scenario:ident)*) => {
        $(
            #[test]
            fn $scenario() {
                let (_server, port) = server_for($transport);
                run_mqtt5($client, &port, stringify!($scenario), $transport);
            }
        )*
    };
}

mqtt5_scenarios!(paho2_only_mqtt5, Client::Paho2, "mqtt");
mqtt5_scenarios!(mqttjs_only_mqtt5, Client::MqttJs, "mqtt");
mqtt5_scenarios!(mqttjs_only_mqtt5_websocket, Client::MqttJs, "ws");
