//! Both faces on one store: what is written on one is seen on the other.

use serde_json::json;

use crate::harness::client::Client;
use crate::harness::native::Native;
use crate::harness::packet::Connect;
use crate::harness::server::Server;

/// Topic, payload and RETAIN of the next message.
#[track_caller]
fn message(client: &mut Client) -> (String, Vec<u8>, bool) {
    let message = client.message();
    (message.topic, message.payload, message.retain)
}

#[test]
fn a_native_write_is_a_live_message() {
    let server = Server::start();
    let mut subscriber = Client::connect(server.mqtt(), &Connect::new("s"));
    subscriber.subscribe("#", 0);
    let mut native = Native::open(server.native());
    for (value, payload) in [
        (json!("on"), &b"on"[..]),
        (json!({ "$bytes": "ff00" }), b"\xff\x00"),
        (json!(5), b"5"),
        (json!({ "a": [1, null] }), br#"{"a":[1,null]}"#),
        (json!(null), b"null"),
    ] {
        native.set(&["room", "light"], value);
        assert_eq!(message(&mut subscriber), ("room/light".to_owned(), payload.to_vec(), false));
    }
    // What is no topic is told to nobody.
    native.call(json!({ "action": "set_value", "path": ["room", 1], "value": "x" }));
    native.call(json!({ "action": "set_internal", "path": ["x"], "value": "x" }));
    native.call(json!({ "action": "delete_value", "path": ["room", "light"] }));
    assert_eq!(message(&mut subscriber), ("room/light".to_owned(), Vec::new(), false));
    native.set(&["room", "door"], json!("shut"));
    assert_eq!(message(&mut subscriber).0, "room/door");
    let mut late = Client::connect(server.mqtt(), &Connect::new("l"));
    late.subscribe("room/#", 0);
    assert_eq!(message(&mut late), ("room/door".to_owned(), b"shut".to_vec(), true));
}

#[test]
fn a_retained_message_is_an_entry() {
    let server = Server::start();
    let mut native = Native::open(server.native());
    let watch = native.begin(json!({ "action": "watch", "path": [], "nchain": 3 }));
    native.reply(watch);
    let mut publisher = Client::connect(server.mqtt(), &Connect::new("p"));
    publisher.publish_retained("room/light", b"on", 1);
    let change = native.reply(watch);
    assert_eq!((&change["path"], &change["value"]), (&json!({ "$path": ["room", "light"] }), &json!("on")));
    assert!(change["chain"]["tick"].is_u64(), "{change}");
    publisher.publish_retained("room/light", b"\xff", 1);
    assert_eq!(native.reply(watch)["value"], json!({ "$bytes": "ff" }));
    publisher.publish_retained("room/light", b"", 1);
    let gone = native.reply(watch);
    assert!(gone.get("value").is_none() && gone["depth"] == 2, "{gone}");
    publisher.publish("room/light", b"passing", 1);
    assert!(native.get(&["room", "light"]).get("value").is_none());
}
