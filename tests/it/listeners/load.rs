//! The load tool by every way in: it is a client of its own, with its own WebSocket, and it counts each message.

use std::process::Command;

use super::{TlsServer, listener, start};

/// Each scenario, and that with a few further options.
fn loads(port: &str, options: &[&str]) {
    for scenario in [
        "flow -n 20000",
        "flow -n 2000 -q 1 -P 3 -S 2 -T 5 -V 5 --aliases",
        "flow -n 500 -q 2 -b 20000",
        "flow -n 2000 -q 1 -S 10 --share some",
        "retained -n 1000 -q 1 --clear",
        "idle -n 50 --subscribe --hold 0",
        "storm -n 100 --parallel 20 -V 5",
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_distkv"))
            .args(["bench", "mqtt"])
            .args(scenario.split(' '))
            .args(["--host", "localhost", "-p", port, "--json"])
            .args(options)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{scenario} {options:?}: {text}{error}");
        assert!(text.contains(r#""missing":0,"repeated":0,"wrong":0,"gave_up":false"#), "{scenario}: {text}");
    }
}

#[test]
fn the_load_tool_counts_every_message_by_tls() {
    let server = TlsServer::start("allow_anonymous = true", "");
    loads(&server.port(), &["--tls"]);
    loads(&server.port(), &["--tls", "--ca", &server.ca]);
}

#[test]
fn the_load_tool_counts_every_message_by_websocket() {
    let mut port = String::new();
    let _server = start(|_| {
        let (address, text) = listener("protocol = \"websocket\"\nallow_anonymous = true");
        port = address.port().to_string();
        text
    });
    loads(&port, &["--websocket"]);
}

#[test]
fn the_load_tool_counts_every_message_by_websocket_within_tls() {
    let server = TlsServer::start("protocol = \"websocket\"\nallow_anonymous = true", "");
    loads(&server.port(), &["--tls", "--websocket"]);
}
