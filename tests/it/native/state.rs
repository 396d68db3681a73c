//! What is told of nodes and their events.

use serde_json::json;

use crate::harness::native::Native;
use crate::harness::server::Options;

#[test]
fn the_state_accounts_for_every_event() {
    let server = Options::new().argument("--name").argument("s1").start();
    let mut client = Native::open(server.native());
    for (path, value) in [("r", 0), ("a", 1), ("b", 2), ("a", 3), ("c", 4)] {
        client.set(&[path], json!(value));
    }
    client.call(json!({ "action": "delete_value", "path": ["c"] }));
    let state = client.call(json!({
        "action": "get_state", "nodes": true, "superseded": true, "present": true, "deleted": true, "missing": true,
        "remote_missing": true, "node_drop": true, "debug": true,
    }));
    assert_eq!(state["node"], "s1");
    assert_eq!(state["nodes"], json!({ "s1": 6 }));
    assert_eq!(state["known"], json!({ "s1": [2, 5] }));
    assert_eq!(state["present"], json!({ "s1": [1, [3, 5], 6] }));
    assert_eq!(state["deleted"], json!({ "s1": [6] }));
    for empty in ["missing", "remote_missing", "debug"] {
        assert_eq!(state[empty], json!({}), "{empty}");
    }
    assert_eq!(state["node_drop"], json!([]));
    assert!(client.call(json!({ "action": "get_state" })).get("nodes").is_none());
    assert_eq!(client.call(json!({ "action": "enum_node", "node": "s1" }))["result"], json!([1, 3, 4, 6]));
    assert_eq!(client.call(json!({ "action": "enum_node", "node": "s1", "max": 1 }))["result"], json!([1]));
    assert_eq!(client.fails(json!({ "action": "enum_node", "node": "zz" })), "not_found");
    assert_eq!(client.fails(json!({ "action": "kill_node", "node": "s1" })), "invalid");
    assert_eq!(client.fails(json!({ "action": "kill_node", "node": "zz" })), "not_found");
    client.call(json!({ "action": "check_deleted", "nodes": { "s1": [[1, 6]], "yy": [3] } }));
    assert_eq!(client.fails(json!({ "action": "check_deleted", "nodes": 3 })), "invalid");
    client.call(json!({ "action": "fake_info", "ticks": { "zz": 9 } }));
    assert_eq!(client.fails(json!({ "action": "update" })), "unsupported");
    // A chain in a request moves nothing, whatever it names.
    client.fails(
        json!({ "action": "set_value", "path": ["a"], "value": 1, "chain": { "node": "zz", "tick": 500 } }),
    );
    client.fails(
        json!({ "action": "set_value", "path": ["a"], "value": 1, "chain": { "node": "s1", "tick": 500 } }),
    );
    let state = client.call(json!({ "action": "get_state", "nodes": true }));
    assert_eq!(state["nodes"], json!({ "s1": 6 }));
}
