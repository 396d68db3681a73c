//! MQTT over WebSocket: real clients, the upgrade, and frames that are cut or wrong, made by hand.

use std::io::Write as _;
use std::net::SocketAddr;

use super::{ACCEPTED, TlsServer, answer, connect, listener, socket, start};
use crate::harness::server::Server;
use crate::harness::tools::{Tool, python, repository};

/// A server with a WebSocket listener; the keys are of its section.
fn websocket(keys: &str) -> (Server, SocketAddr) {
    let (address, text) =
        listener(&format!("protocol = \"websocket\"\nallow_anonymous = true\n[listener.websocket]\n{keys}"));
    (start(|_| text), address)
}

/// A request for a WebSocket.
fn request(path: &str, headers: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    )
}

const MQTT: &str = "Sec-WebSocket-Protocol: mqtt\r\n";

/// The answer to a request up to the end of its head.
fn head(stream: &mut std::net::TcpStream, request: &str) -> String {
    use std::io::Read as _;
    let _ = stream.write_all(request.as_bytes());
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|count| count == 1) {
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// A WebSocket on which nothing has been said yet.
fn open(address: SocketAddr) -> std::net::TcpStream {
    let mut stream = socket(address);
    let head = head(&mut stream, &request("/mqtt", MQTT));
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    stream
}

/// A masked frame.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x11, 0x22, 0x33, 0x44];
    let mut frame = vec![first];
    match payload.len() {
        len @ 0..=125 => frame.push(0x80 | len as u8),
        len => {
            frame.push(0x80 | 126);
            frame.extend((len as u16).to_be_bytes());
        }
    }
    frame.extend(MASK);
    frame.extend(payload.iter().enumerate().map(|(at, byte)| byte ^ MASK[at % 4]));
    frame
}

const CONNACK_FRAME: &[u8] = &[0x82, 4, 0x20, 2, 0, 0];
const PINGREQ: &[u8] = &[0xc0, 0];
const PINGRESP_FRAME: &[u8] = &[0x82, 2, 0xd0, 0];

#[test]
fn paho_and_mqttjs_run_their_scenarios_over_ws() {
    for version in ["3.1", "3.1.1"] {
        for scenario in ["every_qos", "retained", "wills"] {
            for client in [paho, mqttjs] {
                let (_server, address) = websocket("path = \"/mqtt\"");
                client(&[&address.port().to_string(), version, scenario, "ws"]);
            }
        }
    }
}

#[test]
fn paho_and_mqttjs_run_their_scenarios_over_wss() {
    for scenario in ["every_qos", "retained"] {
        for client in [paho, mqttjs] {
            let tls = TlsServer::start("protocol = \"websocket\"\nallow_anonymous = true", "");
            client(&[&tls.port(), "3.1.1", scenario, "wss", &tls.ca]);
        }
    }
}

#[track_caller]
fn paho(arguments: &[&str]) {
    let script = repository("tests/clients/paho_scenarios.py").display().to_string();
    Tool::start(python(2), &[&[&*script], arguments].concat()).finish();
}

#[track_caller]
fn mqttjs(arguments: &[&str]) {
    let script = repository("tests/clients/mqttjs/scenarios.js").display().to_string();
    Tool::start("node", &[&[&*script], arguments].concat()).finish();
}

/// [MQTT-6.0.0-3] [MQTT5-6.0.0-3] [MQTT-6.0.0-4] [MQTT5-6.0.0-4]
#[test]
fn the_subprotocol_is_one_of_those_that_are_offered() {
    let (server, address) = websocket("");
    for (offered, chosen) in [("mqtt", "mqtt"), ("chat, mqttv3.1", "mqttv3.1"), ("mqttv3.1, mqtt", "mqtt")] {
        let mut stream = socket(address);
        let head =
            head(&mut stream, &request("/any/path", &format!("Sec-WebSocket-Protocol: {offered}\r\n")));
        assert!(head.contains(&format!("\r\nSec-WebSocket-Protocol: {chosen}\r\n")), "{head}");
        let accepted = answer(&mut stream, &frame(0x82, &connect("a")), CONNACK_FRAME);
        assert_eq!(accepted, CONNACK_FRAME);
    }
    for headers in ["Sec-WebSocket-Protocol: chat\r\n", ""] {
        let head = head(&mut socket(address), &request("/", headers));
        assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
    }
    server.wait_for_log("the client offers neither the subprotocol `mqtt` nor `mqttv3.1`");
}

#[test]
fn other_paths_other_origins_and_other_requests_are_refused() {
    let (server, address) = websocket("path = \"/mqtt\"\norigins = [\"https://example.org\"]");
    let status = |request: &str| head(&mut socket(address), request)[..12].to_owned();
    assert_eq!(status(&request("/", MQTT)), "HTTP/1.1 404");
    assert_eq!(status(&request("/mqtt/x", MQTT)), "HTTP/1.1 404");
    assert_eq!(status(&request("/mqtt", &format!("{MQTT}Origin: https://example.com\r\n"))), "HTTP/1.1 403");
    assert_eq!(status(&request("/mqtt", &format!("{MQTT}Origin: https://example.org\r\n"))), "HTTP/1.1 101");
    assert_eq!(status(&request("/mqtt", MQTT)), "HTTP/1.1 101");
    assert_eq!(status("GET /mqtt HTTP/1.1\r\nHost: localhost\r\n\r\n"), "HTTP/1.1 426");
    assert_eq!(status(&request("/mqtt", MQTT).replace("Version: 13", "Version: 7")), "HTTP/1.1 426");
    // MQTT without WebSocket.
    answer(&mut socket(address), &connect("plain"), b"\x20");
    server.wait_for_log("no HTTP request: the first byte begins none");
    let failed = server.metric("distkv_listener_websocket_failed_total", &[("listener", "tested")]);
    assert_eq!((failed, server.metric("distkv_refused_total", &[("reason", "websocket")])), (6.0, 6.0));
}

#[test]
fn what_is_too_long_is_refused() {
    let (server, address) = websocket("head_bytes = \"1KiB\"\nframe_bytes = \"100B\"");
    let long = format!("{MQTT}X: {}\r\n", "x".repeat(1024));
    let head = head(&mut socket(address), &request("/mqtt", &long));
    assert!(head.starts_with("HTTP/1.1 431 "), "{head}");
    let mut stream = open(address);
    assert_eq!(answer(&mut stream, &frame(0x82, &connect("a")), CONNACK_FRAME), CONNACK_FRAME);
    // A packet beyond the limit of a frame may have several.
    let publish = [&[0x30, 120, 0, 1, b't'][..], &[b'x'; 117]].concat();
    let parts = [frame(0x02, &publish[..100]), frame(0x80, &publish[100..]), frame(0x82, PINGREQ)].concat();
    assert_eq!(answer(&mut stream, &parts, PINGRESP_FRAME), PINGRESP_FRAME);
    assert_eq!(answer(&mut stream, &frame(0x82, &publish), b""), [0x88, 2, 0x03, 0xf1]);
    server.wait_for_log("a WebSocket frame of 122 bytes is longer than the limit");
}

/// [MQTT-6.0.0-2] [MQTT5-6.0.0-2]
#[test]
fn packets_span_frames_and_share_them() {
    let (_server, address) = websocket("");
    let mut stream = open(address);
    // Byte by byte, with empty frames and a ping in between.
    for byte in connect("a") {
        stream.write_all(&frame(0x82, &[byte])).unwrap();
        stream.write_all(&frame(0x82, &[])).unwrap();
    }
    assert_eq!(answer(&mut stream, &[], CONNACK_FRAME), CONNACK_FRAME);
    let parts = [frame(0x02, &PINGREQ[..1]), frame(0x89, b"hello"), frame(0x80, &PINGREQ[1..])].concat();
    let both = answer(&mut stream, &parts, &[0x8a, 5, b'h', b'e', b'l', b'l', b'o', 0x82, 2, 0xd0, 0]);
    assert_eq!(both.len(), 11, "{both:?}");
    let several = frame(0x82, &[PINGREQ, PINGREQ, PINGREQ].concat());
    let answers = answer(&mut stream, &several, &[0x82, 6, 0xd0, 0, 0xd0, 0, 0xd0, 0]);
    assert_eq!(answers.len(), 8, "{answers:?}");
}

/// [MQTT-6.0.0-1] [MQTT5-6.0.0-1]
#[test]
fn text_and_frames_that_break_the_rules_end_the_connection() {
    let (server, address) = websocket("");
    for (bytes, code) in [
        (frame(0x81, b"text"), 1003_u16),
        (vec![0x82, 2, 0xc0, 0], 1002),
        (frame(0xc2, PINGREQ), 1002),
        (frame(0x80, PINGREQ), 1002),
        (frame(0x8f, b""), 1002),
    ] {
        let mut stream = open(address);
        assert_eq!(answer(&mut stream, &frame(0x82, &connect("a")), CONNACK_FRAME), CONNACK_FRAME);
        let close = [&[0x88, 2][..], &code.to_be_bytes()].concat();
        assert_eq!(answer(&mut stream, &bytes, b""), close, "{bytes:?}");
    }
    server.wait_for_log("a WebSocket text frame; MQTT must be in binary ones");
}

#[test]
fn a_close_is_answered_and_ends_like_a_lost_connection() {
    let (server, address) = websocket("");
    let mut stream = open(address);
    assert_eq!(answer(&mut stream, &frame(0x82, &connect("a")), CONNACK_FRAME), CONNACK_FRAME);
    let close = answer(&mut stream, &frame(0x88, &[0x03, 0xe9]), b"");
    assert_eq!(close, [0x88, 2, 0x03, 0xe9]);
    server.wait_for_log("the client closed the connection without DISCONNECT");
    // After DISCONNECT the server closes, with a word.
    let mut stream = open(address);
    assert_eq!(answer(&mut stream, &frame(0x82, &connect("b")), CONNACK_FRAME), CONNACK_FRAME);
    assert_eq!(answer(&mut stream, &frame(0x82, &[0xe0, 0]), b""), [0x88, 2, 0x03, 0xe8]);
}

#[test]
fn the_same_packets_need_no_websocket_on_the_plain_port() {
    let (server, _) = websocket("");
    assert_eq!(answer(&mut socket(server.mqtt()), &connect("a"), ACCEPTED), ACCEPTED);
    let said = head(&mut socket(server.mqtt()), &request("/mqtt", MQTT));
    assert_eq!(said, "");
    server.wait_for_log("an HTTP request (this port speaks plain MQTT)");
}
