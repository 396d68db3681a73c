//! Clients that are broken or mean: each gets a clear word or is closed, and others notice nothing.

use serde_json::json;

use crate::harness::clock::{SOON, wait_until};
use crate::harness::native::Native;
use crate::harness::server::{Options, Server};

#[test]
fn bytes_that_are_no_message_end_the_connection() {
    let server = Server::start();
    for bytes in [
        &b"\xc1"[..],
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\x81\xa1x\xc6\xff\xff\xff\xff",
        &[0x91; 100],
        b"\x82\xa3seq\x01\xa1x\xdb\xff\xff\xff\xff",
    ] {
        let mut client = Native::open(server.native());
        client.send_bytes(bytes);
        let last = client.until_closed().pop().unwrap();
        assert!(["invalid", "limit"].contains(&last["etype"].as_str().unwrap()), "{last}");
    }
    assert_eq!(server.metric("distkv_native_connections_broken_total", &[]), 6.0);
    Native::open(server.native()).set(&["a"], json!(1));
}

#[test]
fn messages_that_make_no_sense_get_a_sentence_and_the_connection_goes_on() {
    let server = Server::start();
    let mut client = Native::open(server.native());
    for message in [
        json!([1, 2]),
        json!(5),
        json!({ "action": "get_tock" }),
        json!({ "seq": 1 }),
        json!({ "seq": 2, "action": "does_not_exist" }),
        json!({ "seq": 3, "action": 7 }),
        json!({ "seq": 4, "action": "get_value" }),
        json!({ "seq": 5, "action": "get_value", "path": "a.b" }),
        json!({ "seq": 6, "action": "get_value", "path": [{}] }),
        json!({ "seq": 7, "action": "set_value", "path": ["a"], "value": 1, "chain": ["s1", 3] }),
        json!({ "seq": 8, "action": "set_value", "path": ["a"], "value": 1, "chain": { "tick": 3 } }),
        json!({ "seq": 9, "action": "get_value", "path": ["a"], "nchain": "x" }),
        json!({ "seq": 10, "action": "get_value", "path": [], "state": "start" }),
        json!({ "seq": 11, "action": "watch", "path": [], "since": "now" }),
        json!({ "seq": 12, "action": "set_many", "entries": 5 }),
        json!({ "seq": 13, "action": "stop" }),
    ] {
        client.send(&message);
        let mut reply = client.message();
        if reply["state"] == "start" {
            reply = client.message();
            assert_eq!(client.message()["state"], "end");
        }
        assert_eq!(reply["etype"], "invalid", "{message}: {reply}");
        assert!(reply["error"].as_str().unwrap().len() > 10, "{message}: {reply}");
        assert_eq!(reply.get("seq"), message.get("seq"), "{message}: {reply}");
    }
    // Bytes in a string that are not UTF-8.
    client.send_bytes(b"\x82\xa3seq\x0e\xa6action\xa2\xff\xfe");
    assert_eq!(client.reply(14)["etype"], "invalid");
    client.set(&["a"], json!(1));
}

#[test]
fn odd_numbers_are_given_back() {
    let server = Server::start();
    let mut client = Native::open(server.native());
    for seq in [
        json!(5),
        json!(5),
        json!(3),
        json!("abc"),
        json!(-1),
        json!(1.5),
        json!({ "$int": "18446744073709551615" }),
    ] {
        client.send(&json!({ "seq": seq, "action": "get_tock" }));
        assert_eq!(client.message()["seq"], seq);
    }
    client.send(&json!({ "seq": 0, "qlen": 10 }));
    client.send(&json!({ "seq": 0, "qlen": 10 }));
    assert_eq!(client.until_closed().len(), 1);
}

#[test]
fn a_million_streams_are_refused_from_some_number_on() {
    let server = Options::new().set("native.streams=100").start();
    let mut client = Native::open(server.native());
    let mut bytes = Vec::new();
    for seq in 1..=20_000 {
        bytes.extend(crate::harness::native::encoded(
            &json!({ "seq": seq, "action": "watch", "path": ["a"] }),
        ));
    }
    client.send_bytes(&bytes);
    let mut refused = 0;
    while refused < 19_900 {
        let message = client.message();
        refused += u32::from(message["etype"] == "limit");
    }
    assert_eq!(server.metric("distkv_native_streams", &[]), 100.0);
    drop(client);
    wait_until("the streams are gone", SOON, || server.metric("distkv_native_streams", &[]) == 0.0);
    wait_until("their watches are gone", SOON, || server.metric("distkv_feed_watches", &[]) == 0.0);
}

#[test]
fn who_reads_nothing_is_closed_and_holds_up_nobody() {
    let server = Options::new().set("native.write_stall=1s").set("native.watch_events=16").start();
    let mut sleeper = Native::open(server.native());
    let watch = sleeper.begin(json!({ "action": "watch", "path": ["a"] }));
    assert_eq!(sleeper.reply(watch)["state"], "start");
    let mut writer = Native::open(server.native());
    let before = server.resident_bytes();
    let text = "x".repeat(200_000);
    wait_until("the sleeper is closed", SOON, || {
        writer.set(&["a"], json!(text));
        server.metric("distkv_native_connections", &[]) == 1.0
    });
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 200 << 20, "{grown}");
}

#[test]
fn long_messages_have_a_limit_each_and_together() {
    let options = Options::new().set("native.message_bytes=1MiB").set("native.unfinished_bytes=1MiB");
    let server = options.start();
    let mut client = Native::open(server.native());
    client.set(&["big"], json!("x".repeat(1_000_000)));
    client.send(&json!({ "seq": 9, "action": "set_value", "path": ["big"], "value": "x".repeat(1 << 20) }));
    assert_eq!(client.until_closed()[0]["etype"], "limit");
    // Two that are not finished do not fit together.
    let half = [b"\x81\xa1x\xc6\x00\x0f\x00\x00".to_vec(), vec![0; 700_000]].concat();
    let (mut one, mut two) = (Native::open(server.native()), Native::open(server.native()));
    one.send_bytes(&half);
    wait_until("the first is counted", SOON, || {
        server.metric("distkv_native_unfinished_bytes", &[]) > 600_000.0
    });
    two.send_bytes(&half);
    assert_eq!(two.until_closed()[0]["etype"], "limit");
    drop(one);
    wait_until("nothing is counted", SOON, || server.metric("distkv_native_unfinished_bytes", &[]) == 0.0);
}
