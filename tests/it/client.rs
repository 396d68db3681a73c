//! The client library against a real server; the examples, too.

#[path = "../../examples/counter.rs"]
mod counter;
#[path = "../../examples/follow.rs"]
mod follow;
#[path = "../../examples/values.rs"]
mod values;

use std::time::Duration;

use distkv::client::{Begin, Client, Element, Error, Event, Kind, Options, Scope, Value, internal};

use crate::harness::clock::SOON;
use crate::harness::server::{Options as ServerOptions, Server};

fn options(server: &Server) -> Options {
    Options::new(&server.native().to_string())
}

async fn connect(server: &Server) -> Client {
    Client::connect(options(server)).await.unwrap()
}

/// Waits for what must come soon.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, what).await.expect("it takes too long")
}

#[tokio::test]
async fn values_travel_as_rust_types() {
    let server = Server::start();
    let client = connect(&server).await;
    let written = client.set("a.b", &vec![1, 2]).await.unwrap();
    assert!(written.changed && written.previous.is_none());
    assert_eq!(client.get::<Vec<u8>>("a.b").await.unwrap(), Some(vec![1, 2]));
    assert_eq!(client.get::<u8>("nothing").await.unwrap(), None);
    assert!(matches!(client.get::<u8>("a.b").await, Err(Error::Type(_))));
    let entry = client.entry("a.b", 5).await.unwrap();
    assert_eq!((entry.version(), entry.tock), (written.version(), written.tock));
    let written = client.set("a.b", "text").await.unwrap();
    assert_eq!(written.decode_previous::<Vec<u8>>().unwrap(), Some(vec![1, 2]));
    // Null is a value, deleted is none.
    client.set_raw("a.b", &Value::nil()).await.unwrap();
    assert_eq!(client.entry("a.b", 0).await.unwrap().value, Some(Value::nil()));
    client.delete("a.b").await.unwrap();
    let gone = client.entry("a.b", 1).await.unwrap();
    assert!(gone.value.is_none() && gone.version().is_some());
    assert!(matches!(client.get::<u8>("a..b").await, Err(Error::Invalid(_))));
}

#[tokio::test]
async fn conditions_are_looked_at_in_the_step_that_writes() {
    let server = Server::start();
    let client = connect(&server).await;
    let first = client.set("a", &1).if_new().await.unwrap().version().unwrap().clone();
    let conflict = |error: Error| assert!(error.is_conflict(), "{error}");
    conflict(client.set("a", &2).if_new().await.unwrap_err());
    let second = client.set("a", &2).if_version(&first).await.unwrap().version().unwrap().clone();
    conflict(client.set("a", &3).if_version(&first).await.unwrap_err());
    conflict(client.set("a", &3).if_value(&1).await.unwrap_err());
    conflict(client.delete("a").if_version(&first).await.unwrap_err());
    let same = client.set("a", &2).unless_same().await.unwrap();
    assert!(!same.changed);
    assert_eq!(same.version(), Some(&second));
    assert_eq!(client.get::<u8>("a").await.unwrap(), Some(2));

    conflict(client.batch().set("b", &1).set("a", &9).if_version(&first).await.unwrap_err());
    assert_eq!(client.get::<u8>("b").await.unwrap(), None, "half of a batch was written");
    let written = client.batch().set("b", &1).if_new().delete("a").if_version(&second).await.unwrap();
    assert_eq!(written.len(), 2);
    assert_eq!(client.get::<u8>("a").await.unwrap(), None);
    assert!(client.batch().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_counter_of_many_loses_nothing() {
    let server = Server::start();
    counter::run(&server.native().to_string()).await.unwrap();
    assert_eq!(connect(&server).await.get::<u64>("example.counter").await.unwrap(), Some(100));
}

#[tokio::test]
async fn the_examples_run() {
    let server = Server::start();
    let address = server.native().to_string();
    soon(values::run(&address)).await.unwrap();
    soon(follow::run(&address)).await.unwrap();
}

#[tokio::test]
async fn a_tree_comes_whole_beyond_every_window() {
    let server = Server::start();
    let client = connect(&server).await;
    let count = 3000;
    for chunk in (0..count).collect::<Vec<u32>>().chunks(200) {
        let batch = chunk.iter().fold(client.batch(), |batch, n| batch.set(format!("t.{}:{n}", n % 7), n));
        batch.await.unwrap();
    }
    for window in [4, 5, 10, 1000] {
        let client = Client::connect(options(&server).window(window)).await.unwrap();
        let entries = soon(client.tree("t", &Scope::default()).await.unwrap().collect()).await.unwrap();
        assert_eq!(entries.len(), count as usize, "window {window}");
        for entry in entries {
            let n = entry.decode::<u32>().unwrap().unwrap();
            assert_eq!(entry.path.to_string(), format!("t.{}:{n}", n % 7));
        }
    }
    let one = Scope { min_depth: 1, max_depth: Some(1), empty: true, chain: 0 };
    assert_eq!(client.tree("t", &one).await.unwrap().collect().await.unwrap().len(), 7);
    let missing = match client.tree("nothing", &Scope::default()).await {
        Ok(tree) => tree.collect().await.unwrap_err(),
        Err(error) => error,
    };
    assert!(missing.is_not_found(), "{missing}");

    assert_eq!(client.names("t").await.unwrap().len(), 7);
    assert_eq!(client.delete_tree("t:3").await.unwrap(), 0);
    assert!(client.delete_tree("t.3").await.unwrap() > 400);
    let names = client.names("t").await.unwrap();
    assert!(!names.contains(&Element::str("3")), "{names:?}");
}

#[tokio::test]
async fn a_slow_reader_of_one_stream_holds_nobody_up() {
    let server = Server::start();
    let client = Client::connect(options(&server).window(8)).await.unwrap();
    for n in 0..200 {
        client.set(format!("t:{n}"), &n).await.unwrap();
    }
    let mut tree = client.tree("t", &Scope::default()).await.unwrap();
    assert!(tree.next().await.unwrap().is_some());
    // The stream waits half-read; calls and other streams go on.
    assert_eq!(client.get::<u32>("t:7").await.unwrap(), Some(7));
    assert_eq!(client.tree("t", &Scope::default()).await.unwrap().collect().await.unwrap().len(), 200);
    assert_eq!(tree.collect().await.unwrap().len(), 199);
}

/// The events up to and with `Current`, in short.
async fn until_current(watch: &mut distkv::client::Watch) -> Vec<String> {
    let mut told = Vec::new();
    loop {
        let event = soon(watch.next()).await.unwrap();
        told.push(short(&event));
        if event == Event::Current {
            return told;
        }
    }
}

fn short(event: &Event) -> String {
    match event {
        Event::Whole => "whole".to_owned(),
        Event::Current => "current".to_owned(),
        Event::Entry(entry) => format!("{} is {:?}", entry.path, entry.decode::<u32>().unwrap()),
        Event::Change(entry) => format!("{} = {:?}", entry.path, entry.decode::<u32>().unwrap()),
    }
}

#[tokio::test]
async fn a_watch_tells_the_whole_and_then_each_change() {
    let server = Server::start();
    let client = connect(&server).await;
    client.set("w.a", &1).await.unwrap();
    client.set("elsewhere", &1).await.unwrap();
    let mut watch = client.watch("w").await.unwrap();
    assert_eq!(until_current(&mut watch).await, ["whole", "w.a is Some(1)", "current"]);
    let since = watch.tock();
    client.set("w.b.c", &2).await.unwrap();
    assert_eq!(short(&soon(watch.next()).await.unwrap()), "w.b.c = Some(2)");
    client.delete("w.a").await.unwrap();
    assert_eq!(short(&soon(watch.next()).await.unwrap()), "w.a = None");

    let mut later = client.watch_from("w", Scope::default(), Begin::Since(since)).await.unwrap();
    assert_eq!(until_current(&mut later).await, ["w.b.c = Some(2)", "w.a = None", "current"]);
    let mut now = client.watch_from("w", Scope::default(), Begin::Now).await.unwrap();
    assert_eq!(until_current(&mut now).await, ["current"]);
    client.set("w.d", &3).await.unwrap();
    assert_eq!(short(&soon(now.next()).await.unwrap()), "w.d = Some(3)");
}

#[tokio::test]
async fn a_watch_and_a_mirror_outlive_the_server() {
    let server = ServerOptions::new().durability("always").start();
    let client = connect(&server).await;
    client.set("m.a", &1).await.unwrap();
    client.set("m.b", &1).await.unwrap();
    let mirror = client.mirror("m").await.unwrap();
    let mut watch = client.watch("m").await.unwrap();
    until_current(&mut watch).await;

    let server = server.restart();
    let other = connect(&server).await;
    other.set("m.a", &2).await.unwrap();
    other.delete("m.b").await.unwrap();
    let mut told = Vec::new();
    while !told.iter().any(|line| line == "current") {
        told.push(short(&soon(watch.next()).await.unwrap()));
    }
    // What was changed meanwhile is told, whether by changes or by the whole.
    assert!(told.iter().any(|line| line.starts_with("m.a") && line.ends_with("Some(2)")), "{told:?}");
    soon(mirror.wait_until_current()).await.unwrap();
    assert_eq!(mirror.get::<u32>("m.a").unwrap(), Some(2));
    assert_eq!(mirror.get::<u32>("m.b").unwrap(), None);
    assert_eq!(mirror.len(), 1);
    // The handle itself is connected again, too.
    assert_eq!(client.get::<u32>("m.a").await.unwrap(), Some(2));
}

#[tokio::test]
async fn a_mirror_is_current_when_it_says_so() {
    let server = Server::start();
    let (writer, client) = (connect(&server).await, connect(&server).await);
    let mirror = client.mirror("m").await.unwrap();
    for round in 0..50_u32 {
        writer.set(format!("m:{}", round % 5), &round).await.unwrap();
        if round % 7 == 0 {
            writer.delete(format!("m:{}", (round + 2) % 5)).await.unwrap();
        }
        soon(mirror.wait_until_current()).await.unwrap();
        let scope = Scope::default();
        let there = writer.tree("m", &scope).await.unwrap().collect().await.unwrap();
        let here = mirror.entries("m").unwrap();
        let shown = |entries: &[distkv::client::Entry]| -> Vec<String> {
            entries.iter().map(|entry| format!("{} {:?}", entry.path, entry.value)).collect()
        };
        assert_eq!(shown(&here), shown(&there), "round {round}");
    }
}

#[tokio::test]
async fn messages_pass_between_both_faces() {
    let server = Server::start();
    let client = connect(&server).await;
    let mut messages = client.messages("m/+").await.unwrap();
    client.publish("other/1", b"no").await.unwrap();
    client.publish("m/1", b"\xff\x00").await.unwrap();
    let message = soon(messages.next()).await.unwrap();
    assert_eq!((message.topic.as_str(), &message.payload[..]), ("m/1", &b"\xff\x00"[..]));
    // A retained message is an entry, and the other way round.
    client.set("m.2", "on").await.unwrap();
    let message = soon(messages.next()).await.unwrap();
    assert_eq!((message.topic.as_str(), &message.payload[..]), ("m/2", &b"on"[..]));
    assert_eq!(messages.gaps(), 0);
}

#[tokio::test]
async fn a_lost_server_is_told_within_the_time_given() {
    let server = Server::start();
    let quick = options(&server).timeout(Duration::from_millis(300));
    let client = Client::connect(quick.clone()).await.unwrap();
    let once = Client::connect(quick.reconnect(false)).await.unwrap();
    client.set("a", &1).await.unwrap();
    let stopped = server.kill();
    let error = soon(client.get::<u8>("a")).await.unwrap_err();
    assert!(error.is_unreachable(), "{error}");
    let error = soon(once.get::<u8>("a")).await.unwrap_err();
    assert!(error.is_unreachable(), "{error}");
    let server = stopped.run();
    // It comes back by itself.
    let value = soon(async {
        loop {
            if let Ok(value) = client.get::<u8>("a").await {
                return value;
            }
        }
    });
    assert_eq!(value.await, Some(1));
    assert!(once.get::<u8>("a").await.is_err());
    drop(server);
}

#[tokio::test]
async fn refusals_have_kinds() {
    let server = Server::start();
    let client = connect(&server).await;
    let kind = async |request| client.request(request).await.unwrap_err().kind();
    use distkv::client::Request;
    assert_eq!(kind(Request::new("no_such_action")).await, Some(Kind::Invalid));
    assert_eq!(kind(Request::new("set_value")).await, Some(Kind::Invalid));
    let nothing: distkv::client::Path = "nothing".parse().unwrap();
    assert_eq!(kind(Request::new("enum").path(&nothing)).await, Some(Kind::NotFound));
    assert!(client.tree(internal(&[]), &Scope::default()).await.is_ok());
}
