//! What Home Assistant demands of its broker, told with paho 2, the library that it uses itself: each scenario of
//! `tests/clients/home_assistant.py` with each protocol version.

use crate::harness::server::Server;
use crate::harness::tools::{python, repository, run_scenario};

#[track_caller]
pub(crate) fn run(port: &str, version: &str, scenario: &str, transport: &str) {
    let arguments = [port, version, scenario, transport];
    let said = run_scenario(python(2), "tests/clients/home_assistant.py", &arguments);
    println!("{said}");
}

/// A test for each scenario that is there in all versions, and for those named here.
macro_rules! scenarios {
    ($version:literal $(, $only:ident)*) => {
        use super::{deletions_survive, run};
        use crate::harness::heavy;
        use crate::harness::server::{Options, Server};

        scenarios!(@each $version,
            a_clean_session_resumes_nothing
            a_repeated_subscribe_brings_the_retained_message_again
            a_test_connection_may_come_right_before_the_real_one
            an_entity_is_discovered_and_used
            any_payload_arrives_byte_for_byte
            every_qos_goes_both_ways
            hundreds_of_filters_in_one_subscribe_get_a_code_each
            overlapping_filters_bring_one_copy
            retain_is_1_in_the_replay_and_0_live
            the_discovery_of_a_large_device_arrives
            the_order_of_each_topic_is_kept
            the_will_comes_after_one_and_a_half_keep_alives
            the_will_comes_at_once_when_the_connection_breaks
            there_is_no_will_after_a_disconnect
            topics_are_utf8
            two_megabytes_arrive
            $($only)*
        );
        scenarios!(@each_alone $version,
            a_slow_reader_gets_all_retained_messages_at_qos_0
            a_slow_reader_gets_all_retained_messages_at_qos_1
            hash_is_without_sys_and_holds_nobody_up
            subacks_are_quick_during_a_flood_of_retained_messages
        );

        #[test]
        fn twenty_megabytes_arrive() {
            let _alone = heavy();
            let server = Options::new().set("limits.packet_bytes=32MiB").start();
            run(&server.port(), $version, "twenty_megabytes_arrive", "mqtt");
        }

        #[test]
        fn deletions_are_told_live_and_survive_a_crash() {
            deletions_survive($version, Server::restart);
        }

        #[test]
        fn deletions_are_told_live_and_survive_a_stop() {
            deletions_survive($version, |server| server.terminate().1.run());
        }
    };
    (@each $version:literal, $($scenario:ident)*) => {
        $(
            #[test]
            fn $scenario() {
                let server = Server::start();
                run(&server.port(), $version, stringify!($scenario), "mqtt");
            }
        )*
    };
    (@each_alone $version:literal, $($scenario:ident)*) => {
        $(
            #[test]
            fn $scenario() {
                let _alone = heavy();
                let server = Server::start();
                run(&server.port(), $version, stringify!($scenario), "mqtt");
                if std::env::var("TEST_BROKER").is_err() {
                    assert_eq!(server.metric("distkv_publish_dropped_total", &[]), 0.0);
                }
            }
        )*
    };
}

#[cfg(feature = "test-home-assistant")]
mod real;

mod mqtt5;

mod mqtt31 {
    scenarios!("3.1");
}

mod mqtt311 {
    scenarios!("3.1.1");
}

fn deletions_survive(version: &str, restart: impl Fn(Server) -> Server) {
    let server = Server::start();
    run(&server.port(), version, "before_a_restart", "mqtt");
    let server = restart(server);
    run(&server.port(), version, "after_a_restart", "mqtt");
    // What was replayed from the journal is then in a snapshot.
    let server = restart(server);
    run(&server.port(), version, "after_a_restart", "mqtt");
}

#[test]
fn each_scenario_of_the_script_is_run() {
    let read = |path: &str| std::fs::read_to_string(repository(path)).unwrap();
    let tests: String =
        ["tests/it/home_assistant.rs", "tests/it/home_assistant/mqtt5.rs", "tests/it/home_assistant_ws.rs"]
            .map(read)
            .concat();
    let script = read("tests/clients/home_assistant.py");
    let scenarios: Vec<&str> = script
        .lines()
        .filter_map(|line| line.strip_prefix("def ")?.strip_suffix("(broker):"))
        .filter(|name| *name != "only_in_mqtt5")
        .collect();
    assert!(scenarios.len() > 25, "{scenarios:?}");
    let missing: Vec<&&str> = scenarios.iter().filter(|name| !tests.contains(**name)).collect();
    assert!(missing.is_empty(), "no test runs {missing:?}");
}
