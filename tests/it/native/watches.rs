//! Watches, flow control, and going on after a lost connection.

use serde_json::json;

use crate::harness::native::Native;
use crate::harness::server::{Options, Server};

#[test]
fn a_watch_tells_what_is_there_and_what_changes() {
    let server = Server::start();
    let (mut writer, mut watcher) = (Native::open(server.native()), Native::open(server.native()));
    writer.set(&["w", "old"], json!(1));
    let watch = watcher.begin(json!({ "action": "watch", "path": ["w"], "fetch": true, "nchain": 2 }));
    assert_eq!(watcher.reply(watch)["state"], "start");
    assert_eq!(watcher.reply(watch)["value"], 1);
    assert_eq!(watcher.reply(watch)["state"], "uptodate");
    writer.set(&["w", "new", "deep"], json!(2));
    let change = watcher.reply(watch);
    assert_eq!((&change["path"], &change["depth"]), (&json!(["new", "deep"]), &json!(0)));
    assert!(change["chain"]["tick"].is_u64());
    writer.call(json!({ "action": "delete_value", "path": ["w", "new", "deep"] }));
    let change = watcher.reply(watch);
    assert!(change.get("value").is_none() && change["depth"] == 2, "{change}");
    assert_eq!(watcher.call(json!({ "action": "stop", "task": watch }))["result"], true);
    assert_eq!(watcher.reply(watch)["state"], "end");
    assert_eq!(watcher.call(json!({ "action": "stop", "task": watch }))["result"], false);
    writer.set(&["w", "later"], json!(3));
    assert_eq!(watcher.get(&["w", "later"])["value"], 3, "and nothing of the watch before");
}

#[test]
fn a_watch_sees_internal_data_where_it_is_asked_for() {
    let server = Server::start();
    let (mut writer, mut watcher) = (Native::open(server.native()), Native::open(server.native()));
    let all = watcher.begin(json!({ "action": "watch", "path": [] }));
    let internal = watcher.begin(json!({ "action": "watch", "path": [null, "x"] }));
    watcher.reply(all);
    watcher.reply(internal);
    writer.call(json!({ "action": "set_internal", "path": ["x", "y"], "value": 1 }));
    writer.set(&[".distkv", "config"], json!(2));
    assert_eq!(watcher.reply(internal)["path"], json!(["y"]));
    assert_eq!(watcher.reply(all)["path"], json!({ "$path": [".distkv", "config"] }));
}

#[test]
fn no_more_is_sent_than_the_window_has_room_for() {
    let server = Server::start();
    let mut client = Native::open(server.native());
    for name in ["a", "b", "c", "d", "e", "f"] {
        client.set(&["f", name], json!(name));
    }
    client.send(&json!({ "seq": 0, "qlen": 4 }));
    let tree = client.begin(json!({ "action": "get_tree", "path": ["f"] }));
    let numbers = |client: &mut Native, count: usize| {
        (0..count).map(|_| client.reply(tree)["wseq"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(numbers(&mut client, 3), [1, 2, 3]);
    client.call(json!({ "action": "get_tock" }));
    client.send(&json!({ "seq": tree, "state": "ack", "ack": 2 }));
    assert_eq!(numbers(&mut client, 2), [4, 5]);
    client.send(&json!({ "seq": tree, "state": "ack", "ack": 20 }));
    assert_eq!(numbers(&mut client, 3), [6, 7, 8]);
    client.send(&json!({ "seq": tree, "state": "ack", "ack": 8 }));
    let own = client.begin(json!({ "action": "get_tree", "path": ["f"], "qlen": 5 }));
    for number in 1..=4 {
        assert_eq!(client.reply(own)["wseq"], number);
    }
    let mut tiny = Native::open(server.native());
    tiny.send(&json!({ "seq": 0, "qlen": 2 }));
    assert_eq!(tiny.until_closed()[0]["etype"], "invalid");
}

#[test]
fn a_watch_goes_on_where_the_last_one_ended() {
    let server = Options::new().argument("--name").argument("s1").start();
    let mut client = Native::open(server.native());
    client.set(&["r", "before"], json!(1));
    let tock = client.set(&["r", "seen"], json!(2))["tock"].clone();
    client.set(&["r", "changed"], json!(3));
    client.call(json!({ "action": "delete_value", "path": ["r", "before"] }));
    client.set(&["elsewhere"], json!(0));
    let watch = client.begin(json!({ "action": "watch", "path": ["r"], "since": tock }));
    let start = client.reply(watch);
    assert_eq!((&start["state"], &start["resumed"]), (&json!("start"), &json!(true)));
    assert_eq!(client.reply(watch)["value"], 3);
    let gone = client.reply(watch);
    assert_eq!(gone["path"], json!(["before"]));
    assert!(gone.get("value").is_none(), "{gone}");
    let current = client.reply(watch);
    assert_eq!(current["state"], "uptodate");
    client.set(&["r", "live"], json!(4));
    let live = client.reply(watch);
    assert_eq!(live["value"], 4);
    // A tock which the server does not know yet can't be gone on from.
    let future = live["tock"].as_u64().unwrap() + 1000;
    let watch = client.begin(json!({ "action": "watch", "path": ["r"], "since": future }));
    assert_eq!(client.reply(watch)["resumed"], false);
    assert_eq!(client.reply(watch)["path"], json!(["changed"]));
}

#[test]
fn who_reads_too_slowly_is_told_and_can_go_on() {
    let server = Options::new().set("native.watch_events=8").start();
    let (mut writer, mut watcher) = (Native::open(server.native()), Native::open(server.native()));
    watcher.send(&json!({ "seq": 0, "qlen": 4 }));
    let watch = watcher.begin(json!({ "action": "watch", "path": ["s"] }));
    let start = watcher.reply(watch);
    for number in 0..30 {
        writer.set(&["s", &number.to_string()], json!(number));
    }
    // Two of them were in the window.
    watcher.reply(watch);
    watcher.reply(watch);
    watcher.send(&json!({ "seq": watch, "state": "ack", "ack": 3 }));
    assert_eq!(watcher.reply(watch)["etype"], "too_slow");
    assert_eq!(watcher.reply(watch)["state"], "end");
    let again = watcher.begin(json!({ "action": "watch", "path": ["s"], "since": start["tock"], "qlen": 0 }));
    assert_eq!(watcher.reply(again)["resumed"], true);
    for number in 0..30 {
        assert_eq!(watcher.reply(again)["value"], number);
    }
}
