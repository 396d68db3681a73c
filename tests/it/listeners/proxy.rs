//! The PROXY protocol: headers by hand from allowed and other addresses, and HAProxy itself.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use super::{ACCEPTED, Authority, answer, connect, listener, socket, start, system_program};
use crate::harness::clock::{SOON, wait_until};
use crate::harness::server::{Server, free_address};
use crate::harness::tools::Tool;

fn proxied(keys: &str) -> (Server, SocketAddr) {
    let (address, text) = listener(&format!(
        "allow_anonymous = true\n[listener.proxy]\nfrom = [\"127.0.0.1\", \"10.0.0.0/8\"]\n{keys}"
    ));
    (start(|_| text), address)
}

/// A version 2 header for 192.0.2.1:4711, with these fields.
fn version_2(fields: &[u8]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11".to_vec();
    header.extend((12 + fields.len() as u16).to_be_bytes());
    header.extend([192, 0, 2, 1, 127, 0, 0, 1, 0x12, 0x67, 0x07, 0x5b]);
    header.extend(fields);
    header
}

#[test]
fn both_versions_tell_whose_connection_it_is() {
    let (server, address) = proxied("");
    let line = b"PROXY TCP4 192.0.2.7 127.0.0.1 4712 1883\r\n";
    for (header, id) in [(&line[..], "one"), (&version_2(&[]), "two")] {
        let bytes = [header, &connect(id)].concat();
        assert_eq!(answer(&mut socket(address), &bytes, ACCEPTED), ACCEPTED);
    }
    server.wait_for_log("client=\"one\" peer=192.0.2.7:4712");
    server.wait_for_log("client=\"two\" peer=192.0.2.1:4711");
    // The proxy looks whether we are alive, and speaks for itself.
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00";
    assert_eq!(answer(&mut socket(address), &[&local[..], &connect("check")].concat(), ACCEPTED), ACCEPTED);
    server.wait_for_log("client=\"check\" peer=127.0.0.1:");
}

#[test]
fn the_name_in_a_certificate_counts_if_the_listener_wants_it_and_the_proxy_verified_it() {
    let field = |verify: u8| [&[0x20, 0, 15, 0x07, 0, 0, 0, verify][..], &[0x22, 0, 7], b"kitchen"].concat();
    let (server, address) = proxied("user_from = \"cn\"");
    for (verify, id) in [(0, "verified"), (1, "unverified")] {
        let bytes = [version_2(&field(verify)), connect(id)].concat();
        assert_eq!(answer(&mut socket(address), &bytes, ACCEPTED), ACCEPTED);
    }
    server.wait_for_log("client=\"verified\" peer=192.0.2.1:4711 user=\"kitchen\"");
    server.wait_for_log("client=\"unverified\" peer=192.0.2.1:4711 user=\"-\"");
    let (server, address) = proxied("");
    answer(&mut socket(address), &[version_2(&field(0)), connect("a")].concat(), ACCEPTED);
    server.wait_for_log("client=\"a\" peer=192.0.2.1:4711 user=\"-\"");
}

#[test]
fn a_proxy_must_send_a_right_header() {
    let (server, address) = proxied("versions = [2]");
    for bytes in [
        connect("without"),
        b"PROXY TCP4 192.0.2.7 127.0.0.1 4712 1883\r\n".to_vec(),
        [version_2(&[0x03, 0, 4, 1, 2, 3, 4]), connect("a wrong sum")].concat(),
    ] {
        assert_eq!(answer(&mut socket(address), &bytes, b""), b"");
    }
    server.wait_for_log("it does not begin with a PROXY header");
    server.wait_for_log("PROXY protocol version 1 is not accepted here");
    server.wait_for_log("the checksum of the PROXY header is wrong");
    assert_eq!(server.metric("distkv_refused_total", &[("reason", "proxy_header")]), 3.0);
    assert_eq!(server.metric("distkv_listener_proxy_failed_total", &[("listener", "tested")]), 3.0);
}

/// A connection from another address of this machine.
fn socket_from(from: Ipv4Addr, to: SocketAddr) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((from, 0)).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    socket.into()
}

#[test]
fn others_are_not_believed() {
    let (server, address) = proxied("");
    let other = Ipv4Addr::new(127, 0, 0, 2);
    let line = b"PROXY TCP4 192.0.2.7 127.0.0.1 4712 1883\r\n";
    let bytes = [&line[..], &connect("liar")].concat();
    assert_eq!(answer(&mut socket_from(other, address), &bytes, b""), b"");
    server.wait_for_log("a PROXY header");
    // Without one they are who they are.
    assert_eq!(answer(&mut socket_from(other, address), &connect("honest"), ACCEPTED), ACCEPTED);
    server.wait_for_log("client=\"honest\" peer=127.0.0.2:");
    assert!(!server.log().contains("192.0.2.7"), "{}", server.log());
}

#[test]
fn haproxy_tells_address_and_certificate() {
    let authority = Authority::new("the tests' authority");
    let (v1, v1_text) = listener("allow_anonymous = true\n[listener.proxy]\nfrom = [\"127.0.0.1\"]");
    let (v2, v2_text) = listener("[listener.proxy]\nfrom = [\"127.0.0.1\"]\nuser_from = \"cn\"");
    let server = start(|_| format!("{v1_text}\n{}", v2_text.replace("\"tested\"", "\"other\"")));
    let directory = server.beside("");
    let ca = authority.write(&server.beside("ca.pem"));
    let pair = authority.server("server");
    fs::write(server.beside("both.pem"), format!("{}{}", pair.certificate, pair.key)).unwrap();
    let client = authority.client("kitchen", 10).write(&directory, "client");
    let (plain, tls) = (free_address(), free_address());
    let both = server.beside("both.pem").display().to_string();
    let config = server.beside("haproxy.cfg");
    fs::write(
        &config,
        format!(
            "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n\
             listen one\n  bind {plain}\n  server a {v1} send-proxy\n\
             listen two\n  bind {tls} ssl crt {both} ca-file {ca} verify required\n  server a {v2} send-proxy-v2-ssl-cn\n"
        ),
    )
    .unwrap();
    let haproxy = system_program("haproxy");
    let _running = Tool::start(haproxy, &["-db", "-f", config.to_str().unwrap()]);
    wait_until("haproxy listens", SOON, || TcpStream::connect(tls).is_ok());
    let mut direct = socket(plain);
    let own = direct.local_addr().unwrap();
    assert_eq!(answer(&mut direct, &connect("one"), ACCEPTED), ACCEPTED);
    server.wait_for_log(&format!("client=\"one\" peer={own}"));
    let port = tls.port().to_string();
    let (certificate, key) = (client.certificate.display().to_string(), client.key.display().to_string());
    let arguments = ["-h", "127.0.0.1", "-p", &port, "--cafile", &ca, "--cert", &certificate, "--key", &key];
    Tool::start("mosquitto_pub", &[&arguments[..], &["-i", "two", "-t", "t", "-m", "m", "-q", "1"]].concat())
        .finish();
    wait_until("the name arrives", SOON, || {
        server.log().lines().any(|line| line.contains("client=\"two\"") && line.contains("user=\"kitchen\""))
    });
}
