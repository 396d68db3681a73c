//! `/api`: what it tells about clients and does to them, who is refused, and that the examples of its description work.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::client::Client;
use crate::harness::clock::SOON;
use crate::harness::packet::{Connect, Publish};
use crate::harness::server::{Options, Server, wait_for_metric};

const CHANGES: &str = "X-Requested-With: distkv\r\n";

/// One request: its status and its JSON.
fn ask(server: &Server, method: &str, path: &str, headers: &str) -> (u16, Value) {
    let request =
        format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n");
    send(server.http(), &request)
}

fn send(address: SocketAddr, request: &str) -> (u16, Value) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let body = answer.split_once("\r\n\r\n").unwrap().1;
    (status, serde_json::from_str(body).unwrap_or_else(|_| panic!("no JSON: {answer}")))
}

#[track_caller]
fn get(server: &Server, path: &str) -> Value {
    let (status, body) = ask(server, "GET", path, "");
    assert_eq!(status, 200, "{body}");
    body
}

fn ids(list: &Value) -> Vec<&str> {
    list["clients"].as_array().unwrap().iter().map(|client| client["id"].as_str().unwrap()).collect()
}

fn filters(list: &Value) -> Vec<(&str, u64)> {
    let all = list["subscriptions"].as_array().unwrap().iter();
    all.map(|one| (one["filter"].as_str().unwrap(), one["qos"].as_u64().unwrap())).collect()
}

#[test]
fn clients_are_listed_filtered_and_paged() {
    let server = Server::start();
    let user = Some(("ada".to_owned(), "x".to_owned()));
    let _one = Client::connect(server.mqtt(), &Connect { user, ..Connect::new("lamp/1") });
    let _two = Client::connect(server.mqtt(), &Connect::new("lamp/2").mqtt31());
    Client::connect(server.mqtt(), &Connect::persistent("sensor")).disconnect();
    wait_for_metric(&server, "distkv_connections", &[], |n| n == 2.0);
    let list = get(&server, "/api/clients");
    assert_eq!((ids(&list), &list["next"]), (vec!["lamp/1", "lamp/2", "sensor"], &Value::Null));
    for (parameters, expected) in [
        ("id=sor", vec!["sensor"]),
        ("id_prefix=lamp%2F", vec!["lamp/1", "lamp/2"]),
        ("user=ada", vec!["lamp/1"]),
        ("protocol=3.1", vec!["lamp/2"]),
        ("connected=false", vec!["sensor"]),
        ("connected=true&id=2", vec!["lamp/2"]),
        ("address=127.0.0.1", vec!["lamp/1", "lamp/2", "sensor"]),
        ("address=192.0.2.1", vec![]),
    ] {
        assert_eq!(ids(&get(&server, &format!("/api/clients?{parameters}"))), expected, "{parameters}");
    }
    let page = get(&server, "/api/clients?limit=2");
    assert_eq!((ids(&page), &page["next"]), (vec!["lamp/1", "lamp/2"], &json!("lamp/2")));
    assert_eq!(ids(&get(&server, "/api/clients?limit=2&after=lamp/2")), ["sensor"]);
}

#[test]
fn one_client_is_shown_with_its_queue_and_its_losses() {
    let server = Options::new().set("limits.queue_messages=2").start();
    let mut away = Client::connect(server.mqtt(), &Connect::persistent("attic/1").keep_alive(17));
    away.subscribe("t/#", 1);
    away.subscribe("a", 0);
    away.disconnect();
    let mut publisher = Client::connect(server.mqtt(), &Connect::new("publisher"));
    for _ in 0..5 {
        publisher.publish("t/x", "hello", 1);
    }
    let shown = get(&server, "/api/clients/attic%2F1");
    assert_eq!(shown["id"], "attic/1");
    assert_eq!((&shown["connected"], &shown["clean"]), (&json!(false), &json!(false)));
    assert_eq!((&shown["keep_alive"], &shown["subscriptions"]), (&json!(17), &json!(2)));
    assert_eq!(shown["queue"], json!({ "messages": 2, "bytes": 16 }));
    assert_eq!(shown["dropped"], json!({ "queue_full": 3 }));
    assert_eq!(shown["protocol"], "3.1.1");
    assert_eq!(shown["session_expiry"], 30 * 24 * 3600);
    assert!(shown["away_since"].as_u64().unwrap() > 1_700_000_000 && shown.get("connected_since").is_none());
    let subscriptions = get(&server, "/api/clients/attic%2F1/subscriptions?limit=1");
    assert_eq!(filters(&subscriptions), [("a", 0)]);
    assert_eq!(subscriptions["next"], "a");
    let rest = get(&server, "/api/clients/attic%2F1/subscriptions?after=a");
    assert_eq!((filters(&rest), &rest["next"]), (vec![("t/#", 1)], &Value::Null));
    assert_eq!(rest["subscriptions"][0]["identifier"], Value::Null);
    let publisher = get(&server, "/api/clients/publisher");
    assert_eq!((&publisher["messages_in"], &publisher["connected"]), (&json!(5), &json!(true)));
    assert!(publisher["address"].as_str().unwrap().starts_with("127.0.0.1:"));
}

#[test]
fn who_gets_a_topic_is_told() {
    let server = Server::start();
    let mut a = Client::connect(server.mqtt(), &Connect::new("a"));
    a.subscribe("home/#", 1);
    a.subscribe("other", 1);
    let found = get(&server, "/api/subscriptions?topic=home/light");
    let expected = json!([{ "client": "a", "filter": "home/#", "qos": 1 }]);
    assert_eq!((&found["subscriptions"], &found["more"]), (&expected, &json!(false)));
    let (status, wrong) = ask(&server, "GET", "/api/subscriptions?topic=home/%23", "");
    assert_eq!(status, 400, "{wrong}");
}

#[test]
fn a_client_is_disconnected_and_its_session_stays() {
    let server = Server::start();
    let mut watcher = Client::connect(server.mqtt(), &Connect::new("watcher"));
    watcher.subscribe("will", 0);
    let will = Publish::new("will", "gone");
    let mut a = Client::connect(server.mqtt(), &Connect::persistent("a").will(will));
    let (status, body) = ask(&server, "POST", "/api/clients/a/disconnect?reason=test", CHANGES);
    assert_eq!((status, body), (200, json!({ "disconnected": "a" })));
    a.expect_closed();
    assert_eq!(watcher.message().text(), "gone");
    wait_for_metric(&server, "distkv_connections", &[], |n| n == 1.0);
    let (status, body) = ask(&server, "POST", "/api/clients/a/disconnect", CHANGES);
    assert_eq!(status, 409, "{body}");
    assert!(Client::connect(server.mqtt(), &Connect::persistent("a")).session_present);
    assert!(
        server.log().contains("reason=\"test\"") || server.log().contains("reason=test"),
        "{}",
        server.log()
    );
    assert_eq!(server.metric("distkv_admin_disconnects_total", &[]), 1.0);
}

#[test]
fn a_session_is_dropped_for_good() {
    let server = Options::new().durability("always").start();
    let mut a = Client::connect(server.mqtt(), &Connect::persistent("a"));
    a.subscribe("t", 1);
    let (status, body) = ask(&server, "DELETE", "/api/clients/a", CHANGES);
    assert_eq!((status, body), (200, json!({ "dropped": "a" })));
    a.expect_closed();
    let (status, body) = ask(&server, "DELETE", "/api/clients/a", CHANGES);
    assert_eq!(status, 404, "{body}");
    let server = server.restart();
    assert!(!Client::connect(server.mqtt(), &Connect::persistent("a")).session_present);
}

#[test]
fn delayed_messages_are_listed_and_cancelled_for_good() {
    let server = Server::start();
    let mut client = Client::connect(server.mqtt(), &Connect::new("boiler"));
    for topic in ["a/1", "a/2", "b"] {
        client.publish(&format!("$delayed/1000/{topic}"), "on", 1);
    }
    let topics = |path: &str| {
        let list = get(&server, path);
        let all = list["delayed"].as_array().unwrap().iter();
        let all: Vec<String> = all.map(|one| one["topic"].as_str().unwrap().to_owned()).collect();
        (all, list["next"].clone())
    };
    assert_eq!(topics("/api/delayed").0, ["a/1", "a/2", "b"]);
    assert_eq!(topics("/api/delayed?topic=a%2F%2B&client=boiler").0, ["a/1", "a/2"]);
    assert_eq!(topics("/api/delayed?client=other").0, [""; 0]);
    let (first, next) = topics("/api/delayed?limit=2");
    assert_eq!(first, ["a/1", "a/2"]);
    assert_eq!(topics(&format!("/api/delayed?limit=2&after={next}")), (vec!["b".into()], Value::Null));
    let shown = &get(&server, "/api/delayed?topic=b")["delayed"][0];
    assert_eq!((&shown["qos"], &shown["bytes"], &shown["client"]), (&json!(1), &json!(3), &json!("boiler")));
    assert!(shown["due"].as_u64().unwrap() > 1_700_000_000);
    let path = format!("/api/delayed/{}", shown["number"]);
    assert_eq!(ask(&server, "DELETE", &path, CHANGES), (200, json!({ "cancelled": shown["number"] })));
    assert_eq!(ask(&server, "DELETE", &path, CHANGES).0, 404);
    assert_eq!(server.metric("distkv_delayed_cancelled_total", &[]), 1.0);
    let server = server.restart();
    assert_eq!(server.metric("distkv_delayed_messages", &[]), 2.0);
}

#[test]
fn what_is_wrong_is_told_with_what_to_do() {
    let server = Server::start();
    for (method, path, headers, status) in [
        ("GET", "/api/clients/nobody", "", 404),
        ("GET", "/api/clients/nobody/subscriptions", "", 404),
        ("GET", "/api/nothing", "", 404),
        ("GET", "/api/clients?limit=0", "", 400),
        ("GET", "/api/clients?limit=1001", "", 400),
        ("GET", "/api/clients?limit=many", "", 400),
        ("GET", "/api/clients?protocol=4", "", 400),
        ("GET", "/api/clients?adress=127.0.0.1", "", 400),
        ("GET", "/api/clients/%FF", "", 400),
        ("GET", "/api/subscriptions", "", 400),
        ("GET", "/api/delayed?topic=a%2F%23%2Fb", "", 400),
        ("DELETE", "/api/delayed/1", "", 403),
        ("DELETE", "/api/delayed/1", CHANGES, 404),
        ("DELETE", "/api/delayed/x", CHANGES, 400),
        ("GET", "/api/delayed/1", "", 405),
        ("PUT", "/api/clients/a", CHANGES, 405),
        ("POST", "/api/clients/nobody/disconnect", CHANGES, 404),
        ("POST", "/api/clients/nobody/disconnect", "", 403),
        ("DELETE", "/api/clients/nobody", "", 403),
        ("OPTIONS", "/api/clients/nobody", "Origin: http://localhost\r\n", 403),
        ("GET", "/api/clients", "Origin: http://evil.example\r\n", 403),
        ("GET", "/api/clients", "X-Forwarded-For: 192.0.2.1\r\n", 403),
    ] {
        let (found, body) = ask(&server, method, path, headers);
        assert_eq!(found, status, "{method} {path}: {body}");
        for word in ["error", "help"] {
            assert!(body[word].as_str().is_some_and(|text| text.len() > 8), "{method} {path}: {body}");
        }
    }
    let rebound = "GET /api/clients HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
    assert_eq!(send(server.http(), rebound).0, 403);
    // Metrics stay open to monitoring by any name.
    assert_eq!(server.get("/metrics").0, 200);
}

/// An address of this machine that is not loopback, if it has one.
fn own_address() -> Option<SocketAddr> {
    // Nothing is sent: the system only chooses the address that it would use.
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    let ip = socket.local_addr().ok()?.ip();
    let listener = TcpListener::bind((ip, 0)).ok()?;
    (!ip.is_loopback()).then(|| listener.local_addr().ok()).flatten()
}

#[test]
fn requests_from_beyond_loopback_are_refused() {
    // A machine without a network has nobody to refuse; the rule itself has its unit tests.
    let Some(address) = own_address() else { return };
    let _server = Options::new().argument("--http").argument(address.to_string()).start();
    let (status, body) =
        send(address, "GET /api/clients HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert_eq!(status, 403, "{body}");
    assert!(body["error"].as_str().unwrap().contains("this machine only"), "{body}");
}

#[test]
fn each_example_of_the_description_works() {
    let server = Server::start();
    let mut kitchen = Client::connect(server.mqtt(), &Connect::new("kitchen"));
    kitchen.publish("$delayed/3600/home/boiler/set", "off", 1);
    kitchen.disconnect();
    let number = get(&server, "/api/delayed")["delayed"][0]["number"].to_string();
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/http-api.md")).unwrap();
    let examples: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("    ")).collect();
    let examples: Vec<&str> = examples.into_iter().filter(|line| line.starts_with("curl ")).collect();
    assert!(examples.len() >= 10, "{examples:?}");
    for example in examples {
        let mut kitchen = Client::connect(server.mqtt(), &Connect::persistent("kitchen"));
        kitchen.subscribe("home/#", 1);
        let command = example.replacen("curl ", "curl --silent --show-error --fail-with-body ", 1);
        let command = command.replace("localhost:27588", &server.http().to_string());
        let command = command.replace("/delayed/17", &format!("/delayed/{number}"));
        let output = Command::new("sh").arg("-c").arg(&command).output().unwrap();
        let answer = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{command}: {answer}{}", String::from_utf8_lossy(&output.stderr));
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let told = answer.to_string();
        assert!(["kitchen", "home/#", "cancelled"].iter().any(|word| told.contains(word)), "{told}");
        kitchen.vanish();
    }
}
