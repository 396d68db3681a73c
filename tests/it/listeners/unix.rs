//! Unix sockets: mosquitto's tools on one, its permissions, its file.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;

use super::{ACCEPTED, answer, connect, prepare, start};
use crate::harness::tools::Tool;

fn text(path: &std::path::Path) -> String {
    format!("[[listener]]\naddress = \"unix:{}\"\nmode = \"0600\"\nallow_anonymous = true\n", path.display())
}

#[test]
fn mosquittos_tools_exchange_messages_by_a_unix_socket() {
    let server = start(|stopped| text(&stopped.beside("mqtt.sock")));
    let path = server.beside("mqtt.sock");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let path = path.display().to_string();
    let arguments =
        ["-oL", "mosquitto_sub", "--unix", &path, "-d", "-t", "t", "-C", "1", "-W", "30", "-i", "sub"];
    let mut subscriber = Tool::start("stdbuf", &arguments);
    subscriber.wait_for_text("Subscribed (mid:");
    let mut publisher =
        Tool::start("mosquitto_pub", &["--unix", &path, "-t", "t", "-m", "over a socket", "-q", "1"]);
    assert!(publisher.status().success());
    assert!(subscriber.finish().contains("over a socket"));
    server.wait_for_log(&format!("client=\"sub\" peer=unix:{path} (process "));
}

#[test]
fn its_file_goes_with_the_server_and_a_dead_one_is_replaced() {
    let server = start(|stopped| text(&stopped.beside("mqtt.sock")));
    let path = server.beside("mqtt.sock");
    // kill -9 leaves it behind.
    let server = server.restart();
    let mut stream = UnixStream::connect(&path).unwrap();
    assert_eq!(answer(&mut stream, &connect("a"), ACCEPTED), ACCEPTED);
    let (_, stopped) = server.terminate();
    assert!(!path.exists());
    drop(stopped);
}

#[test]
fn what_is_no_socket_is_left_alone() {
    let (status, log, stopped) = prepare(|stopped| {
        fs::write(stopped.beside("mqtt.sock"), "precious").unwrap();
        text(&stopped.beside("mqtt.sock"))
    })
    .run_in_vain();
    assert_eq!(status.code(), Some(1));
    assert!(log.contains("there is something else at that path"), "{log}");
    assert_eq!(fs::read_to_string(stopped.beside("mqtt.sock")).unwrap(), "precious");
}
