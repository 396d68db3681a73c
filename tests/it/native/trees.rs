//! Trees, lists, the deletion of a tree, and a root.

use serde_json::{Value as Json, json};

use crate::harness::native::Native;
use crate::harness::server::Server;

fn filled() -> (Server, Native) {
    let server = Server::start();
    let mut client = Native::open(server.native());
    let entries = [
        ("t", "top"),
        ("t.a", "1"),
        ("t.a.x", "2"),
        ("t.a.y", "3"),
        ("t.b", "4"),
        ("t.b.z.q", "5"),
        ("t.c.only", "6"),
        ("u", "7"),
    ];
    for (path, value) in entries {
        client.set(&path.split('.').collect::<Vec<_>>(), json!(value));
    }
    (server, client)
}

/// Depth and rest of the path of each entry.
fn places(stream: &[Json]) -> Vec<(u64, Json)> {
    let entries = stream.iter().filter(|message| message.get("state").is_none());
    entries.map(|entry| (entry["depth"].as_u64().unwrap(), entry["path"].clone())).collect()
}

#[test]
fn a_tree_comes_in_order_with_short_paths() {
    let (_server, mut client) = filled();
    let tree = client.stream(json!({ "action": "get_tree", "path": { "$path": ["t"] }, "nchain": 1 }));
    assert_eq!(tree[0]["state"], "start");
    let expected = [
        (0, json!([])),
        (0, json!(["a"])),
        (1, json!(["x"])),
        (1, json!(["y"])),
        (0, json!(["b"])),
        (1, json!(["z", "q"])),
        (0, json!(["c", "only"])),
    ];
    assert_eq!(places(&tree), expected);
    assert!(tree[1..tree.len() - 1].iter().all(|entry| entry["chain"]["node"].is_string()), "{tree:?}");
    let whole = client.stream(json!({ "action": "get_tree", "path": { "$path": [] } }));
    assert_eq!(places(&whole)[0], (0, json!({ "$path": ["t"] })), "what is whole is an extension");
    assert_eq!(places(&whole)[1], (1, json!(["a"])), "what is cut is an array");
    let empty = client.stream(
        json!({ "action": "get_tree", "path": ["t"], "empty": true, "min_depth": 1, "max_depth": 2 }),
    );
    let depths: Vec<_> = places(&empty).into_iter().map(|(_, path)| path).collect();
    assert_eq!(
        depths,
        [json!(["a"]), json!(["x"]), json!(["y"]), json!(["b"]), json!(["z"]), json!(["c"]), json!(["only"])]
    );
    let missing = client.stream(json!({ "action": "get_tree", "path": ["nope"] }));
    assert_eq!(missing[1]["etype"], "not_found");
    assert_eq!(missing.len(), 3, "start, error, end: {missing:?}");
}

#[test]
fn lists_name_children() {
    let (_server, mut client) = filled();
    let mut list = |more: Json| {
        let mut request = json!({ "action": "enum", "path": ["t"] });
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        client.call(request)["result"].clone()
    };
    assert_eq!(list(json!({})), json!(["a", "b"]));
    assert_eq!(list(json!({ "empty": true })), json!(["a", "b", "c"]));
    assert_eq!(list(json!({ "with_data": true })), json!({ "a": "1", "b": "4" }));
    assert_eq!(list(json!({ "with_data": true, "empty": true })), json!({ "a": "1", "b": "4", "c": null }));
    assert_eq!(client.call(json!({ "action": "enumerate", "path": ["u"] }))["result"], json!([]));
    assert_eq!(client.fails(json!({ "action": "enum", "path": ["nope"] })), "not_found");
}

#[test]
fn a_tree_is_deleted_and_what_was_there_is_told() {
    let (_server, mut client) = filled();
    assert_eq!(client.call(json!({ "action": "delete_tree", "path": ["t", "a"] }))["changed"], 3);
    let told = client.stream(json!({ "action": "delete_tree", "path": ["t"], "nchain": 2 }));
    let old: Vec<_> = told[1..told.len() - 1].iter().map(|gone| gone["old_value"].clone()).collect();
    assert_eq!(old, [json!("top"), json!("4"), json!("5"), json!("6")]);
    assert!(
        told[1]["node"].is_string() && told[1]["tick"].is_u64() && told[1].get("prev").is_some(),
        "{:?}",
        told[1]
    );
    assert_eq!(client.call(json!({ "action": "enum", "path": [] }))["result"], json!(["u"]));
    for path in [json!([]), json!({ "$path": [] })] {
        assert_eq!(client.fails(json!({ "action": "delete_tree", "path": path })), "invalid");
    }
    assert_eq!(client.get(&["u"])["value"], "7");
}

#[test]
fn a_root_is_the_whole_from_then_on() {
    let (_server, mut client) = filled();
    let mut other = client_of(&_server);
    let root = client.call(json!({ "action": "root", "path": ["t"] }));
    assert_eq!((&root["value"], &root["path"]), (&json!("top"), &json!([])));
    assert_eq!(client.get(&["a"])["value"], "1");
    let tree = client.stream(json!({ "action": "get_tree", "path": [], "max_depth": 1 }));
    assert_eq!(
        places(&tree),
        [(0, json!({ "$path": [] })), (0, json!({ "$path": ["a"] })), (0, json!({ "$path": ["b"] }))]
    );
    let watch = client.begin(json!({ "action": "watch", "path": ["a"] }));
    assert_eq!(client.reply(watch)["state"], "start");
    other.set(&["t", "a", "new"], json!(8));
    let change = client.reply(watch);
    assert_eq!((&change["path"], &change["value"]), (&json!(["new"]), &json!(8)));
    client.call(json!({ "action": "root", "path": ["a"] }));
    assert_eq!(client.get(&["new"])["value"], 8);
}

fn client_of(server: &Server) -> Native {
    Native::open(server.native())
}
