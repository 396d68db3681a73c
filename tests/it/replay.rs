//! The replay of retained messages to a new subscriber: complete for any number of them, at the pace of its reader, and
//! nobody's burden.

use std::collections::HashSet;
use std::thread;
use std::time::Duration;

use crate::harness::client::Client;
use crate::harness::clock::now;
use crate::harness::heavy;
use crate::harness::packet::{Connect, Packet, Publish, puback, pubcomp, pubrec, subscribe};
use crate::harness::server::Server;

const COUNT: usize = 100_000;

fn topic(index: usize) -> String {
    format!("retained/{}/{}/value", index % 313, index)
}

fn fill(server: &Server) {
    let mut publisher = Client::connect(server.mqtt(), &Connect::new("filler"));
    const WINDOW: usize = 500;
    for start in (0..COUNT).step_by(WINDOW) {
        let mut batch = Vec::new();
        for index in start..start + WINDOW {
            let id = (index % 60_000) as u16 + 1;
            batch.extend(Publish::new(&topic(index), format!("value {index}")).qos(1, id).retain().encode());
        }
        publisher.send(&batch);
        for index in start..start + WINDOW {
            publisher.expect(Packet::Puback((index % 60_000) as u16 + 1));
        }
    }
}

/// Reads the whole replay; pauses in the beginning, so that it is the server that has to wait.
fn read_all(server: &Server, qos: u8) {
    let mut client = Client::open_with_small_buffer(server.mqtt());
    client.send(&Connect::new(&format!("reader{qos}")).keep_alive(0).encode());
    client.expect(Packet::Connack { session_present: false, code: 0 });
    client.send(&subscribe(1, &[("retained/#", qos)]));
    client.expect(Packet::Suback { id: 1, codes: vec![qos] });
    // A slow reader, not a wait for a result.
    thread::sleep(Duration::from_secs(2));
    let mut seen = HashSet::with_capacity(COUNT);
    while seen.len() < COUNT {
        match client.packet() {
            Packet::Publish(publish) => {
                assert!(publish.retain && !publish.dup, "{publish:?}");
                // Published at QoS 1, so no more than that.
                assert_eq!(publish.qos, qos.min(1));
                if publish.qos == 1 {
                    client.send(&puback(publish.id));
                }
                let index: usize = publish.text()["value ".len()..].parse().unwrap();
                assert_eq!(publish.topic, topic(index));
                assert!(seen.insert(index), "twice: {publish:?}");
            }
            Packet::Pubrel(id) => client.send(&pubcomp(id)),
            other => panic!("{other:?}"),
        }
    }
    client.expect_nothing_more();
}

#[test]
fn a_hundred_thousand_are_replayed_whole_while_others_are_served() {
    let _alone = heavy();
    let server = Server::start();
    fill(&server);
    let before = server.resident_bytes();
    let mut slowest = Duration::ZERO;
    let mut most = 0;
    thread::scope(|scope| {
        let readers: Vec<_> = (0..3)
            .map(|qos| {
                scope.spawn({
                    let server = &server;
                    move || read_all(server, qos)
                })
            })
            .collect();
        let mut prober = Client::connect(server.mqtt(), &Connect::new("prober"));
        prober.subscribe("probe", 0);
        while !readers.iter().all(thread::ScopedJoinHandle::is_finished) {
            let start = now();
            prober.publish("probe", "x", 0);
            prober.publication();
            slowest = slowest.max(now() - start);
            most = most.max(server.resident_bytes());
            thread::sleep(Duration::from_millis(5));
        }
        for reader in readers {
            reader.join().unwrap();
        }
    });
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    let grown = most.saturating_sub(before);
    assert!(grown < 32 << 20, "grown by {grown} bytes: is the replay held whole?");
    assert_eq!(server.metric("distkv_publish_dropped_total", &[]), 0.0);
    assert_eq!(server.metric("distkv_replays_pending", &[]), 0.0);
}

#[test]
fn a_replay_goes_on_after_a_disconnect_and_after_a_crash() {
    const FEW: usize = 400;
    let server = Server::start();
    let mut publisher = Client::connect(server.mqtt(), &Connect::new("publisher"));
    for index in 0..FEW {
        publisher.publish_retained(&format!("r/{index}"), index.to_string(), 2);
    }
    let mut keeper = Client::connect(server.mqtt(), &Connect::persistent("keeper"));
    keeper.send(&subscribe(1, &[("r/#", 2)]));
    keeper.expect(Packet::Suback { id: 1, codes: vec![2] });
    let mut seen = HashSet::new();
    while seen.len() < 50 {
        take(&mut keeper, &mut seen);
    }
    keeper.vanish();
    let mut keeper = Client::connect(server.mqtt(), &Connect::persistent("keeper"));
    while seen.len() < 100 {
        take(&mut keeper, &mut seen);
    }
    keeper.vanish();
    let server = server.restart();
    let mut keeper = Client::connect(server.mqtt(), &Connect::persistent("keeper"));
    while seen.len() < FEW {
        take(&mut keeper, &mut seen);
    }
}

/// Takes one message, which may be one of before: a replay that was cut off may begin anew.
fn take(client: &mut Client, seen: &mut HashSet<String>) {
    match client.packet() {
        Packet::Publish(publish) => {
            assert!(publish.retain, "{publish:?}");
            seen.insert(publish.text());
            client.send(&pubrec(publish.id));
        }
        Packet::Pubrel(id) => client.send(&pubcomp(id)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn no_older_value_follows_a_newer_one_while_a_replay_runs() {
    const TOPICS: usize = 2_000;
    let server = Server::start();
    let mut publisher = Client::connect(server.mqtt(), &Connect::new("publisher"));
    for index in 0..TOPICS {
        publisher.publish_retained(&format!("n/{index}"), "0", 1);
    }
    let mut reader = Client::connect(server.mqtt(), &Connect::new("reader"));
    let mut latest = vec![None; TOPICS];
    thread::scope(|scope| {
        scope.spawn(|| {
            for round in 1..=3 {
                for index in 0..TOPICS {
                    publisher.publish_retained(&format!("n/{index}"), round.to_string(), 1);
                }
            }
        });
        reader.send(&subscribe(1, &[("n/+", 1)]));
        reader.expect(Packet::Suback { id: 1, codes: vec![1] });
        while latest.iter().any(|value| *value != Some(3)) {
            let message = reader.message();
            let index: usize = message.topic["n/".len()..].parse().unwrap();
            let value: u32 = message.text().parse().unwrap();
            assert!(
                latest[index] < Some(value) || (message.retain && latest[index] == Some(value)),
                "{message:?} after {:?}",
                latest[index]
            );
            latest[index] = Some(value);
        }
    });
    reader.expect_nothing_more();
}

#[test]
fn each_subscribe_is_answered_with_a_replay() {
    let server = Server::start();
    let mut client = Client::connect(server.mqtt(), &Connect::new("client"));
    client.publish_retained("a/b", "kept", 1);
    for (filter, qos) in [("a/b", 0), ("a/b", 0), ("a/+", 1), ("#", 1), ("+/b/#", 0), ("a/b", 1)] {
        client.subscribe(filter, qos);
        let message = client.message();
        assert_eq!((message.text(), message.qos, message.retain), ("kept".to_owned(), qos, true), "{filter}");
        client.expect_nothing_more();
    }
    client.subscribe("a", 1);
    client.subscribe("+", 1);
    client.expect_nothing_more();
}
