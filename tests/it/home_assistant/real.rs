//! The real Home Assistant. It is large, so these tests are there only with the feature `test-home-assistant`, which
//! `TEST_HOME_ASSISTANT=1 tests/run` sets.

use crate::harness::client::Client;
use crate::harness::packet::Connect;
use crate::harness::server::{Server, free_address};
use crate::harness::tools::{python_of, run_scenario};

#[track_caller]
fn course(version: &str) {
    let server = Server::start();
    let mut watcher = Client::connect(server.mqtt(), &Connect::new("watcher").keep_alive(0));
    watcher.subscribe("homeassistant/status", 1);
    let http = free_address().port().to_string();
    let arguments = [&server.port(), version, &http];
    let said = run_scenario(python_of("homeassistant"), "tests/clients/real_home_assistant.py", &arguments);
    println!("{said}");
    for status in ["online", "offline"] {
        let message = watcher.message();
        assert_eq!((message.text(), message.retain), (status.to_owned(), false));
    }
}

#[test]
fn a_device_is_discovered_and_used_with_mqtt31() {
    course("3.1");
}

#[test]
fn a_device_is_discovered_and_used_with_mqtt311() {
    course("3.1.1");
}

#[test]
fn a_device_is_discovered_and_used_with_mqtt5() {
    course("5");
}
