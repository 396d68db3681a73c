//! Files that the server writes for a native client.

use std::fs;

use distkv_store::value::Value as Packed;
use serde_json::{Value as Json, json};

use crate::harness::clock::{SOON, wait_until};
use crate::harness::native::{Native, decoded};
use crate::harness::server::Options;

/// The records of a file.
fn records(path: &std::path::Path) -> Vec<Json> {
    let bytes = fs::read(path).unwrap();
    let (mut from, mut all) = (0, Vec::new());
    while from < bytes.len() {
        let len =
            (from + 1..=bytes.len()).find(|&to| Packed::from_msgpack(&bytes[from..to]).is_ok()).unwrap();
        all.push(decoded(&bytes[from..len]));
        from = len;
    }
    all
}

#[test]
fn save_and_log_write_below_their_directory_only() {
    let mut stopped = Options::new().prepare();
    let directory = stopped.beside("files");
    fs::create_dir(&directory).unwrap();
    *stopped.options_mut() = Options::new().set(&format!("native.save_dir={}", directory.display()));
    let server = stopped.run();
    let mut client = Native::open(server.native());
    client.set(&["a"], json!(1));
    assert_eq!(client.call(json!({ "action": "log", "path": "log.mp" }))["result"], true);
    client.set(&["b"], json!(2));
    client.call(json!({ "action": "delete_value", "path": ["a"] }));
    wait_until("both changes are in the log", SOON, || records(&directory.join("log.mp")).len() >= 3);
    assert_eq!(client.call(json!({ "action": "log", "path": null }))["result"], true);
    assert_eq!(client.call(json!({ "action": "log" }))["result"], false, "there is none any more");
    client.set(&["c"], json!(3));
    let log = records(&directory.join("log.mp"));
    assert!(log.iter().any(|record| record["value"] == 2), "{log:?}");
    assert!(!log.iter().any(|record| record["value"] == 3), "{log:?}");
    assert_eq!(client.call(json!({ "action": "save", "path": "all.mp", "full": true }))["result"], true);
    let saved = records(&directory.join("all.mp"));
    assert!(saved.iter().any(|record| record["value"] == 3), "{saved:?}");
    for name in ["../x", "/etc/x", "", "no/such/directory/x"] {
        for action in ["save", "log"] {
            let kind = client.fails(json!({ "action": action, "path": name }));
            assert!(["invalid", "unavailable"].contains(&kind.as_str()), "{action} {name}: {kind}");
        }
    }
    assert_eq!(client.fails(json!({ "action": "save" })), "invalid");
}

#[test]
fn without_a_directory_nothing_is_written() {
    let server = crate::harness::server::Server::start();
    let mut client = Native::open(server.native());
    assert_eq!(client.fails(json!({ "action": "save", "path": "x" })), "unsupported");
    assert_eq!(client.fails(json!({ "action": "log", "path": "x" })), "unsupported");
}
