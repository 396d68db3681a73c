//! The README's quick start, as a user types it.

use crate::harness::server::{Options, Server};
use crate::harness::tools::{Tool, mosquitto_pub};

/// What `mosquitto_sub -C 1 -W 20` prints for a retained topic.
fn retained(server: &Server, topic: &str) -> String {
    let arguments = ["-h", "127.0.0.1", "-p", &server.port(), "-t", topic, "-C", "1", "-W", "20"];
    Tool::start("mosquitto_sub", &arguments).finish()
}

#[test]
fn a_retained_message_survives_kill_9_with_the_defaults() {
    let server = Server::start();
    mosquitto_pub(&server.port(), &["-r", "-t", "home/kitchen/light", "-m", "on"]);
    // QoS 0 has no acknowledgement: the server has it for sure when it shows it.
    assert_eq!(retained(&server, "home/kitchen/light"), "on\n");
    let server = server.restart();
    assert_eq!(retained(&server, "home/kitchen/light"), "on\n");
}

#[test]
fn an_acknowledged_message_survives_kill_9_at_once() {
    for durability in ["interval", "always"] {
        let server = Options::new().durability(durability).start();
        mosquitto_pub(&server.port(), &["-r", "-q", "1", "-t", "home/kitchen/light", "-m", durability]);
        let server = server.restart();
        assert_eq!(retained(&server, "home/kitchen/light"), format!("{durability}\n"));
    }
}
