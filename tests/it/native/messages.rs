//! Messages: native clients and MQTT clients get each other's.

use serde_json::json;

use crate::harness::client::Client;
use crate::harness::native::Native;
use crate::harness::packet::Connect;
use crate::harness::server::Server;

#[test]
fn messages_go_to_whoever_is_subscribed() {
    let server = Server::start();
    let (mut sender, mut monitor) = (Native::open(server.native()), Native::open(server.native()));
    let mut mqtt = Client::connect(server.mqtt(), &Connect::new("m"));
    mqtt.subscribe("a/#", 0);
    let plain = monitor.begin(json!({ "action": "msg_monitor", "topic": ["a", "+"] }));
    let raw = monitor.begin(json!({ "action": "msg_monitor", "topic": "a/b", "raw": true }));
    assert_eq!(monitor.reply(plain)["state"], "start");
    assert_eq!(monitor.reply(raw)["state"], "start");
    for topic in [json!(["a", "b"]), json!({ "$path": ["a", "b"] }), json!("a/b")] {
        sender.call(json!({ "action": "msg_send", "topic": topic, "data": { "x": 1 } }));
        let message = monitor.reply(plain);
        assert_eq!((&message["topic"], &message["data"]), (&json!(["a", "b"]), &json!({ "x": 1 })));
        assert_eq!(monitor.reply(raw)["raw"], json!({ "$bytes": "81a17801" }));
        assert_eq!(mqtt.message().payload, b"\x81\xa1x\x01");
    }
    mqtt.publish("a/b", b"\xc1", 0);
    let message = monitor.reply(plain);
    assert!(message["error"].is_string() && message["raw"] == json!({ "$bytes": "c1" }), "{message}");
    sender.call(json!({ "action": "msg_send", "topic": ["a", "c"], "raw": { "$bytes": "05" } }));
    assert_eq!(monitor.reply(plain)["data"], 5);
    assert_eq!(monitor.call(json!({ "action": "stop", "task": plain }))["result"], true);
    assert_eq!(monitor.reply(plain)["state"], "end");
}

#[test]
fn what_is_no_message_is_refused() {
    let server = Server::start();
    let mut client = Native::open(server.native());
    for (topic, more) in [
        (json!([]), json!({ "data": 1 })),
        (json!(["a", "#"]), json!({ "data": 1 })),
        (json!("$SYS/x"), json!({ "data": 1 })),
        (json!(["a", 1]), json!({ "data": 1 })),
        (json!("a"), json!({})),
        (json!("a"), json!({ "data": 1, "raw": { "$bytes": "01" } })),
        (json!("a"), json!({ "raw": "text" })),
    ] {
        let mut request = json!({ "action": "msg_send", "topic": topic });
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        assert_eq!(client.fails(request.clone()), "invalid", "{request}");
    }
    // What holds for topics of MQTT clients holds here.
    let deep = vec!["a"; 201].join("/");
    assert_eq!(client.fails(json!({ "action": "msg_send", "topic": deep, "data": 1 })), "limit");
    for topic in [json!(""), json!([]), json!("a/#/b")] {
        assert_eq!(client.fails(json!({ "action": "msg_monitor", "topic": topic })), "invalid");
    }
}
