//! Somebody with few rights tries everything that MQTT and HTTP have, and finds nothing that he may not see.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::scene::{Scene, as_user, publish};
use crate::harness::client::Client;
use crate::harness::clock::SOON;
use crate::harness::packet::{self, Connect, Publish};

/// It is in everything that nobody else may see: topics, payloads, names.
const MARK: &str = "sesame";

/// Sends packets and answers all that comes back until the server has handled them, or has closed.
fn exchange(stream: &mut TcpStream, packets: &[Vec<u8>]) -> Vec<u8> {
    stream.set_read_timeout(Some(SOON)).unwrap();
    for packet in packets.iter().map(Vec::as_slice).chain([packet::PINGREQ]) {
        if stream.write_all(packet).is_err() {
            break;
        }
    }
    let mut got = Vec::new();
    let mut chunk = [0; 65_536];
    // PINGRESP is the last; nothing else ends so.
    while !got.ends_with(&[0xd0, 0]) {
        match stream.read(&mut chunk) {
            Ok(0) | Err(_) => break,
            Ok(count) => got.extend_from_slice(&chunk[..count]),
        }
    }
    got
}

#[track_caller]
fn holds_nothing(got: &[u8], what: &str) {
    let found = got.windows(MARK.len()).any(|window| window == MARK.as_bytes());
    assert!(!found, "{what}: {}", String::from_utf8_lossy(got));
}

/// A scene with secrets everywhere, and eve, who may use what is below `own`.
fn scene() -> Scene {
    let scene = Scene::start();
    scene.user("eve", Some("few"), None);
    scene.rule("few", "own.#", "rwcdexn");
    scene.rule("few", "own", "rwcdexn");
    scene.user(MARK, None, None);
    let mut admin = scene.connect("admin", "root");
    for topic in [format!("{MARK}/a"), "plain/b".to_owned(), format!("${MARK}/c"), "own/d".to_owned()] {
        publish(&mut admin, &topic, if topic == "own/d" { "hers" } else { MARK }, true);
    }
    publish(&mut admin, "$delayed/2/plain/late", MARK, true);
    scene
}

#[test]
fn by_mqtt() {
    let scene = scene();
    let will = as_user("dying", MARK).will(Publish::new("plain/will", MARK));
    let dying = Client::connect(scene.mqtt, &will);
    let mut admin = scene.connect("admin2", "root");
    let filters = [
        "#",
        "+/+",
        "+/#",
        "plain/#",
        "plain/+",
        "sesame/#",
        "$SYS/#",
        "$SYS/broker/+",
        "$sesame/#",
        "$distkv/#",
        "$delayed/#",
        "$share/g/#",
        "$share/g/plain/b",
        "plain/b",
        "own/#",
        "own/../plain/b",
        "/#",
        "//plain/b",
        "own/+/#",
        ".distkv/#",
        "acl/#",
        "auth/#",
    ];
    for version in [4, 5] {
        let mut stream = TcpStream::connect(scene.mqtt).unwrap();
        let mut connect = Connect { clean: false, ..as_user("eve", "eve") };
        if version == 5 {
            connect = connect.mqtt5();
        }
        let mut packets = vec![connect.encode()];
        for (number, filter) in (1..).zip(filters) {
            packets.push(match version {
                5 => packet::subscribe5(number, &[(filter, 1)]),
                _ => packet::subscribe(number, &[(filter, 1)]),
            });
        }
        let mut id = 100;
        for topic in [
            "plain/b",
            "sesame/a",
            "$sesame/c",
            "$SYS/x",
            ".distkv/x",
            "$delayed/0/plain/x",
            "$distkv/replay/x",
            "own/e",
            "#",
        ] {
            // What is no topic ends the connection: it comes last.
            for retain in [false, true] {
                id += 1;
                let mut message = Publish::new(topic, "guess").qos(1, id);
                if version == 5 {
                    // Is there such an entry, and of which version?
                    let condition = packet::property(
                        packet::USER_PROPERTY,
                        &[packet::string(b"distkv-if"), packet::string(b"new")].concat(),
                    );
                    message = message.properties(if retain { condition } else { Vec::new() });
                }
                packets.push(if retain { message.retain() } else { message }.encode());
            }
        }
        holds_nothing(&exchange(&mut stream, &packets), &format!("MQTT {version}"));
    }
    // Everything that happens while she listens.
    let mut eve = scene.connect("eve2", "eve");
    let subscribe: Vec<(&str, u8)> = filters.iter().map(|filter| (*filter, 0)).collect();
    let mut stream = TcpStream::connect(scene.mqtt).unwrap();
    let first = exchange(&mut stream, &[as_user("eve3", "eve").encode(), packet::subscribe(1, &subscribe)]);
    holds_nothing(&first, "subscribed");
    dying.vanish();
    for topic in ["plain/b", "plain/new", "sesame/new", "$sesame/new"] {
        publish(&mut admin, topic, MARK, topic.contains("new"));
        publish(&mut admin, topic, "", true);
    }
    scene.set(&"plain.native".parse().unwrap(), distkv_store::value::Value::string(MARK));
    let drops = || {
        scene.broker.metrics().wills_published.get() > 0 && scene.broker.metrics().delayed_released.get() > 0
    };
    crate::harness::clock::wait_until("the will and the delayed message", SOON, drops);
    publish(&mut eve, "own/x", "end", false);
    let rest = exchange(&mut stream, &[]);
    holds_nothing(&rest, "live");
    assert!(rest.windows(3).any(|window| window == b"end"), "what is hers arrives");
    // The replay may come some time after the SUBACK.
    let all = [first, rest].concat();
    assert!(all.windows(4).any(|window| window == b"hers"), "what is hers is replayed");
}

#[test]
fn by_http() {
    let scene = scene();
    let _secret = scene.connect(MARK, MARK);
    let eve = format!("Authorization: Basic {}\r\n", BASE64.encode("eve:eve!"));
    for login in ["", &eve] {
        for path in [
            "/metrics",
            "/api/clients",
            "/api/clients/sesame",
            "/api/clients/sesame/drops",
            "/api/clients/sesame/subscriptions",
            "/api/subscriptions?topic=plain/b",
            "/api/delayed",
            "/api/acl/why?user=sesame&topic=x&action=receive",
            "/api/other",
            "/health/live",
            "/health/ready",
            "/other",
        ] {
            for method in ["GET", "POST", "DELETE"] {
                let (status, body) =
                    scene.request(method, path, &format!("{login}X-Requested-With: distkv\r\n"));
                let health = path.starts_with("/health") || path == "/other";
                assert!(health || [401, 403, 503].contains(&status), "{method} {path}: {status}");
                holds_nothing(body.as_bytes(), path);
            }
        }
    }
    // A token that is none, though it names somebody.
    let (status, body) = scene.request("GET", "/api/clients", "Authorization: Bearer distkv.c2VzYW1l.x\r\n");
    assert_eq!(status, 401);
    holds_nothing(body.as_bytes(), "a token");
    assert!(scene.broker.client(MARK).is_some_and(|client| client.connected));
}
