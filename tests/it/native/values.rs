//! Single values: what is set is got, conditions are atomic, several writes count together or not at all.

use std::thread;

use serde_json::json;

use crate::harness::native::Native;
use crate::harness::server::{Options, Server};

#[test]
fn the_server_speaks_first_and_says_what_it_is() {
    let server = Server::start();
    let client = Native::open(server.native());
    let greeting = &client.greeting;
    assert_eq!(greeting["version"], json!([0, 57, 4]));
    assert!(greeting["qlen"].as_u64().unwrap() >= 10, "{greeting}");
    assert!(greeting["node"].is_string() && greeting.get("tock").is_some(), "{greeting}");
    assert!(greeting.get("auth").is_none(), "nobody needs to log in: {greeting}");
}

#[test]
fn what_is_set_is_got_with_its_chain() {
    let server = Options::new().argument("--name").argument("s1").start();
    let mut client = Native::open(server.native());
    let missing = client.ask(json!({ "action": "get_value", "path": ["a"], "nchain": 2 }));
    assert!(missing.get("value").is_none() && missing["chain"].is_null(), "{missing}");
    let first = client.set(&["a"], json!({ "x": [1, 2.5, null, { "$bytes": "00ff" }] }));
    assert_eq!(first["changed"], true);
    assert!(first.get("prev").is_none());
    assert_eq!(first["chain"], json!({ "node": "s1", "tick": 1, "prev": null }));
    let got = client.get(&["a"]);
    assert_eq!(got["value"], json!({ "x": [1, 2.5, null, { "$bytes": "00ff" }] }));
    assert_eq!((&got["chain"], &got["tock"]), (&first["chain"], &first["tock"]));
    let by_event = client.call(json!({ "action": "get_value", "node": "s1", "tick": 1, "nchain": 1 }));
    assert_eq!((&by_event["path"], &by_event["value"]), (&json!({ "$path": ["a"] }), &got["value"]));
    let deleted = client.call(json!({ "action": "delete_value", "path": ["a"] }));
    assert_eq!((&deleted["changed"], &deleted["prev"]), (&json!(true), &got["value"]));
    let gone = client.get(&["a"]);
    assert!(gone.get("value").is_none(), "{gone}");
    assert_eq!(gone["chain"]["tick"], 2, "a deleted entry keeps its chain: {gone}");
    assert_eq!(client.fails(json!({ "action": "get_value", "node": "s1", "tick": 1 })), "not_found");
}

#[test]
fn conditions_hold_or_nothing_happens() {
    let server = Server::start();
    let mut client = Native::open(server.native());
    let set = |value: i64, more: serde_json::Value| {
        let mut request = json!({ "action": "set_value", "path": ["c"], "value": value, "nchain": 3 });
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        request
    };
    let first = client.call(set(1, json!({ "chain": null })));
    assert_eq!(client.fails(set(2, json!({ "chain": null }))), "conflict");
    let second = client.call(set(2, json!({ "chain": first["chain"] })));
    assert!(second.get("prev").is_none(), "who names the version knows the value: {second}");
    assert_eq!(client.fails(set(3, json!({ "chain": first["chain"] }))), "conflict");
    assert_eq!(client.fails(set(3, json!({ "prev": 99 }))), "conflict");
    client.call(set(3, json!({ "prev": 2.0 })));
    let same = client.call(set(3, json!({ "idem": true })));
    assert_eq!(same["changed"], false);
    assert_eq!(same["chain"], client.get(&["c"])["chain"], "no event was made");
    let other_type = client.call(json!({ "action": "set_value", "path": ["c"], "value": 3.0, "idem": true }));
    assert_ne!(other_type["chain"], same["chain"], "another type is another value");
    assert_eq!(client.fails(json!({ "action": "set_value", "path": ["c"] })), "invalid");
    assert_eq!(client.fails(json!({ "action": "set_value", "value": 1 })), "invalid");
    assert_eq!(client.fails(json!({ "action": "delete_value", "path": ["c"], "value": 1 })), "invalid");
}

#[test]
fn counting_with_chains_on_four_connections_loses_nothing() {
    const EACH: i64 = 40;
    let server = Server::start();
    let address = server.native();
    Native::open(address).set(&["n"], json!(0));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = Native::open(address);
                let mut done = 0;
                while done < EACH {
                    let now = client.get(&["n"]);
                    let value = now["value"].as_i64().unwrap() + 1;
                    let request =
                        json!({ "action": "set_value", "path": ["n"], "value": value, "chain": now["chain"] });
                    done += i64::from(client.ask(request).get("error").is_none());
                }
            });
        }
    });
    assert_eq!(Native::open(address).get(&["n"])["value"], 4 * EACH);
}

#[test]
fn set_many_is_all_or_nothing() {
    let server = Server::start();
    let mut client = Native::open(server.native());
    client.set(&["b", "old"], json!("old"));
    let done = client.call(json!({ "action": "set_many", "entries": [
        { "path": ["b", "one"], "value": 1, "chain": null },
        { "path": ["b", "two"], "value": 2 },
        { "path": ["b", "old"] },
    ] }));
    assert_eq!(done["result"].as_array().unwrap().len(), 3, "{done}");
    assert_eq!(done["result"][2]["prev"], "old");
    assert!(client.get(&["b", "old"]).get("value").is_none());
    let refused = client.fails(json!({ "action": "set_many", "entries": [
        { "path": ["b", "three"], "value": 3 },
        { "path": ["b", "one"], "value": 9, "chain": null },
    ] }));
    assert_eq!(refused, "conflict");
    assert!(client.get(&["b", "three"]).get("value").is_none());
    let twice = json!([{ "path": ["b", "x"], "value": 1 }, { "path": ["b", "x"], "value": 2 }]);
    assert_eq!(client.fails(json!({ "action": "set_many", "entries": twice })), "invalid");
}

#[test]
fn a_reply_survives_kill_9() {
    for durability in ["interval", "always"] {
        let server = Options::new().durability(durability).start();
        let mut client = Native::open(server.native());
        let chain = client.set(&["kept"], json!(durability))["chain"].clone();
        let server = server.restart();
        let got = Native::open(server.native()).get(&["kept"]);
        assert_eq!((&got["value"], &got["chain"]), (&json!(durability), &chain));
    }
}

#[test]
fn internal_data_is_reached_by_its_own_actions_and_by_null() {
    let server = Server::start();
    let mut client = Native::open(server.native());
    client.call(json!({ "action": "set_internal", "path": ["x", "y"], "value": 1 }));
    let plain = client.call(json!({ "action": "get_value", "path": [null, "x", "y"] }));
    assert_eq!(plain["value"], 1);
    assert_eq!(
        client.call(json!({ "action": "enum_internal", "path": [], "empty": true }))["result"],
        json!(["x"])
    );
    for path in [json!([]), json!(["acl"]), json!(["type"]), json!(["conv", "mine"])] {
        assert_eq!(
            client.fails(json!({ "action": "set_internal", "path": path, "value": null })),
            "invalid",
            "{path}"
        );
    }
    assert_eq!(
        client.fails(json!({ "action": "set_value", "path": ["a", null, "b"], "value": 1 })),
        "invalid"
    );
    assert_eq!(
        client.fails(json!({ "action": "set_internal", "path": ["acl", "a", "#"], "value": 5 })),
        "invalid"
    );
}
