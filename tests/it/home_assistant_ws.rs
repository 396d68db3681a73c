//! Home Assistant on listeners that a configuration file describes: over WebSocket, and where a login is asked for.

use crate::harness::heavy;
use crate::harness::server::Options;
use crate::home_assistant::run;

fn over_websocket(scenarios: &[&str]) {
    for version in ["3.1", "3.1.1", "5"] {
        for scenario in scenarios {
            let lines = "protocol = \"websocket\"\nallow_anonymous = true\n[listener.websocket]\nframe_bytes = \"32MiB\"";
            let (_server, address) =
                Options::new().set("limits.packet_bytes=32MiB").start_with_listener(lines);
            run(&address.port().to_string(), version, scenario, "ws");
        }
    }
}

#[test]
fn an_entity_is_used_over_websocket() {
    over_websocket(&[
        "an_entity_is_discovered_and_used",
        "hundreds_of_filters_in_one_subscribe_get_a_code_each",
        "every_qos_goes_both_ways",
    ]);
}

#[test]
fn two_megabytes_arrive_over_websocket() {
    over_websocket(&["two_megabytes_arrive", "the_discovery_of_a_large_device_arrives"]);
}

#[test]
fn twenty_megabytes_arrive_over_websocket() {
    let _alone = heavy();
    over_websocket(&["twenty_megabytes_arrive"]);
}

#[test]
fn a_slow_reader_gets_all_retained_messages_over_websocket() {
    let _alone = heavy();
    over_websocket(&[
        "a_slow_reader_gets_all_retained_messages_at_qos_0",
        "a_slow_reader_gets_all_retained_messages_at_qos_1",
    ]);
}

#[test]
fn a_wrong_password_is_refused_in_the_connack() {
    for (transport, protocol) in [("mqtt", "mqtt"), ("ws", "websocket")] {
        for version in ["3.1", "3.1.1", "5"] {
            // Names come from a proxy only, and this is none: so nobody who is tried here may log in.
            let lines = format!(
                "protocol = \"{protocol}\"\n[listener.proxy]\nfrom = [\"192.0.2.1\"]\nuser_from = \"cn\""
            );
            let (_server, address) =
                Options::new().set("limits.packet_bytes=32MiB").start_with_listener(&lines);
            run(
                &address.port().to_string(),
                version,
                "a_wrong_password_is_refused_in_the_connack",
                transport,
            );
        }
    }
}
