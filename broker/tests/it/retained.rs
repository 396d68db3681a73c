//! Retained messages and their replay.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use distkv_broker::hooks::RetainedMessage;
use distkv_broker::limits::Limits;

use crate::client::{self, Connect, Got};
use crate::server::{Server, limits};

fn retain(server: &Server, topic: &str, payload: &[u8], qos: u8) {
    server.hooks.set(&RetainedMessage::new(topic, payload, qos), &mut |_| {});
}

/// [MQTT-3.3.1-5, 3.3.1-6, 3.3.1-8, 3.3.1-9, 3.3.1-10, 3.3.1-11]
#[tokio::test]
async fn a_retained_message_goes_live_without_the_flag_and_is_replayed_with_it() {
    let server = Server::start();
    let mut live = server.clean("live").await;
    live.subscribe(&[("r/#", 2)]).await;
    let mut publisher = server.clean("pub").await;
    publisher.publish("r/a", b"\0\xff", 1, true).await;
    live.expect_message("r/a", b"\0\xff", 1, false).await;
    let mut late = server.clean("late").await;
    late.subscribe(&[("r/+", 2)]).await;
    late.expect_message("r/a", b"\0\xff", 1, true).await;
    late.subscribe(&[("r/+", 0)]).await;
    late.expect_message("r/a", b"\0\xff", 0, true).await;
    publisher.publish("r/a", b"", 1, true).await;
    live.expect_message("r/a", b"", 1, false).await;
    late.expect_message("r/a", b"", 0, false).await;
    late.subscribe(&[("r/+", 1)]).await;
    late.ping().await;
    assert_eq!(server.hooks.get("r/a"), None);
}

/// [MQTT-3.3.1-6, 3.8.4-4]
#[tokio::test]
async fn the_suback_comes_before_the_replay_and_each_filter_has_its_own() {
    let server = Server::start();
    retain(&server, "a", b"1", 0);
    retain(&server, "b", b"2", 0);
    let mut client = server.clean("c").await;
    client.subscribe(&[("a", 0), ("+", 0), ("x", 0)]).await;
    let mut got = vec![client.message().await.0, client.message().await.0, client.message().await.0];
    got.sort();
    assert_eq!(got, ["a", "a", "b"]);
    client.ping().await;
}

/// [MQTT-3.3.1-6, 3.8.4-6]
#[tokio::test]
async fn a_replay_of_any_length_is_complete_at_every_qos_for_a_slow_reader() {
    const TOPICS: usize = 20_000;
    let server = Server::start();
    for n in 0..TOPICS {
        retain(&server, &format!("r/{n:06}"), &n.to_be_bytes(), 2);
    }
    for qos in 0..3 {
        let mut slow = server.open_with(1000);
        slow.connect(&Connect::new(&format!("slow{qos}"))).await;
        slow.subscribe(&[("r/#", qos)]).await;
        // Others are served meanwhile.
        let mut other = server.clean("other").await;
        other.subscribe(&[("live", 1)]).await;
        other.send(&client::publish("live", b"x", 0, false, false, 0)).await;
        other.expect_message("live", b"x", 0, false).await;
        for n in 0..TOPICS {
            slow.expect_message(&format!("r/{n:06}"), &n.to_be_bytes(), qos, true).await;
            if n % 1000 == 0 {
                assert!(server.metrics().outbox_bytes.get() < 1 << 20);
            }
        }
        slow.ping().await;
        slow.disconnect().await;
    }
    assert_eq!(server.metrics().dropped_total(), 0);
    server.until("no replay is left", |metrics| metrics.replays_pending.get() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_older_value_follows_a_newer_one_while_topics_change_during_the_replay() {
    const TOPICS: usize = 300;
    let server = std::sync::Arc::new(Server::start());
    for n in 0..TOPICS {
        retain(&server, &format!("r/{n}"), &0_u64.to_be_bytes(), 1);
    }
    let stop = std::sync::Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn({
        let (server, stop) = (server.clone(), stop.clone());
        async move {
            let mut publisher = server.clean("pub").await;
            let mut version = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                version += 1;
                for n in 0..TOPICS {
                    publisher.publish(&format!("r/{n}"), &version.to_be_bytes(), 1, true).await;
                }
            }
            version
        }
    });
    for qos in [0, 1, 2, 0, 1, 2] {
        let mut reader = server.clean("reader").await;
        reader.subscribe(&[("r/#", qos)]).await;
        let mut seen = std::collections::HashMap::new();
        let mut replayed = 0;
        while replayed < TOPICS {
            let (topic, payload, _, retained) = reader.message().await;
            let version = u64::from_be_bytes(payload.try_into().unwrap());
            let last = seen.insert(topic.clone(), version).unwrap_or(0);
            assert!(last <= version, "{topic}: {version} after {last} (retained: {retained})");
            replayed += usize::from(retained);
        }
    }
    stop.store(true, Ordering::Relaxed);
    assert!(writer.await.unwrap() > 0);
}

#[tokio::test]
async fn a_client_that_leaves_amid_a_replay_gets_the_whole_of_it_after_its_return() {
    let server = Server::start();
    for n in 0..500 {
        retain(&server, &format!("r/{n:03}"), b"x", 1);
    }
    let mut client = server.open_with(500);
    client.connect(&Connect::persistent("a")).await;
    client.subscribe(&[("r/#", 1)]).await;
    client.message().await;
    drop(client);
    server.until("it is gone", |metrics| metrics.connections.get() == 0).await;
    let mut client = server.open();
    assert!(client.connect(&Connect::persistent("a")).await);
    let mut topics = std::collections::BTreeSet::new();
    while topics.len() < 500 {
        topics.insert(client.message().await.0);
    }
    client.disconnect().await;
    server.until("it is gone", |metrics| metrics.connections.get() == 0).await;
    let mut client = server.connect(&Connect::persistent("a")).await;
    client.ping().await;
}

#[tokio::test]
async fn an_unsubscribe_ends_the_replay() {
    let server = Server::start();
    for n in 0..10_000 {
        retain(&server, &format!("r/{n}"), &[0; 100], 0);
    }
    let mut client = server.open_with(1000);
    client.connect(&Connect::new("a")).await;
    client.subscribe(&[("r/#", 0)]).await;
    client.send(&client::unsubscribe(7, &["r/#"])).await;
    let mut before = 0;
    while client.next().await != Some(Got::Unsuback(7)) {
        before += 1;
    }
    assert!(before < 5000, "{before}");
    client.ping().await;
}

#[tokio::test]
async fn sys_values_are_published_replayed_and_not_for_clients_to_write() {
    let server = Server::with(Limits { sys_interval: Duration::from_millis(50), ..limits() });
    let mut client = server.clean("a").await;
    server.until("the client is seen", |metrics| metrics.connections.get() == 1).await;
    client.subscribe(&[("$SYS/broker/clients/connected", 1)]).await;
    loop {
        let (topic, payload, qos, _) = client.message().await;
        assert_eq!((&*topic, qos), ("$SYS/broker/clients/connected", 0));
        if payload == b"1" {
            break;
        }
    }
    client.publish("$SYS/broker/clients/connected", b"99", 1, true).await;
    assert_eq!(server.metrics().dropped_reserved.get(), 1);
    let mut all = server.clean("all").await;
    all.subscribe(&[("#", 0)]).await;
    all.publish("seen", b"", 0, false).await;
    all.expect_message("seen", b"", 0, false).await;
}
