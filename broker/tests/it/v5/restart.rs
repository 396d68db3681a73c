//! What of MQTT 5 survives a crash of the broker: the records of its log are all that is left.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::task::{Context, Poll};
use std::time::Duration;

use distkv_broker::Broker;
use distkv_broker::hooks::memory::{MemoryHooks, MemoryLog};
use distkv_broker::hooks::{LogFailed, Mark, SessionLog};
use distkv_broker::limits::Limits;

use super::{pair, publish};
use crate::client5::{Client, Connect, Props, Publish, Value, ack, prop};
use crate::server::{STREAM_BYTES, Server, limits, peer};

fn restarted(server: Server) -> Server {
    let (hooks, records) = server.crash();
    Server::resume(limits(), hooks, &records)
}

fn expiring(id: &str, seconds: u32) -> Connect {
    Connect { clean: false, ..Connect::new(id) }.with(Props::none().number(prop::SESSION_EXPIRY, seconds))
}

fn users(props: &Props) -> Vec<Value> {
    props.0.iter().filter(|(id, _)| *id == prop::USER).map(|(_, value)| value.clone()).collect()
}

/// [MQTT5-3.1.2-23, 3.3.2-18, 3.3.4-3]
#[tokio::test]
async fn queued_messages_keep_properties_and_identifiers() {
    let server = Server::start();
    let mut client = server.connect5(&Connect::lasting("a")).await;
    client.subscribe_with(Props::none().number(prop::SUBSCRIPTION_ID, 7), &[("t/#", 2)]).await;
    client.disconnect().await;
    let props = Props::none()
        .text(prop::CONTENT_TYPE, "x")
        .binary(prop::CORRELATION_DATA, b"\0")
        .number(prop::MESSAGE_EXPIRY, 1000)
        .user("b", "1")
        .user("a", "2");
    let mut publisher = server.clean5("pub").await;
    for qos in [1, 2] {
        publish(&mut publisher, Publish::new("t/x", [qos], qos).with(props.clone())).await;
    }
    let server = restarted(server);
    let mut publisher = server.clean5("pub").await;
    publish(&mut publisher, Publish::new("t/x", [3], 1).with(props.clone())).await;
    let mut client = server.resume5(&Connect::lasting("a")).await;
    for (payload, qos) in [(1, 1), (2, 2), (3, 1)] {
        let came = client.message().await;
        assert_eq!((&came.payload[..], came.qos), (&[payload][..], qos));
        assert_eq!(came.props.subscription_ids(), [7], "message {payload}");
        assert_eq!(users(&came.props), users(&props));
        assert_eq!(came.props.get_text(prop::CONTENT_TYPE), Some("x"));
        assert_eq!(came.props.get(prop::CORRELATION_DATA), props.get(prop::CORRELATION_DATA));
        assert!(came.props.get_number(prop::MESSAGE_EXPIRY).is_some_and(|left| (900..=1000).contains(&left)));
    }
    client.ping().await;
}

/// [MQTT5-3.8.3-3, 3.3.1-13]
#[tokio::test]
async fn options_of_subscriptions_are_kept() {
    let server = Server::start();
    let mut client = server.connect5(&Connect::lasting("a")).await;
    client.subscribe(&[("own", 1 | 4), ("kept", 1 | 8)]).await;
    client.disconnect().await;
    let server = restarted(server);
    let mut client = server.resume5(&Connect::lasting("a")).await;
    publish(&mut client, Publish::new("own", "", 1)).await;
    publish(&mut client, Publish::new("kept", "x", 1).retained()).await;
    client.expect("kept", "x", 1, true).await;
    // The filter is known: retain handling 1 brings nothing.
    client.subscribe(&[("kept", 1 | 0x10)]).await;
    client.ping().await;
}

/// [MQTT5-4.1.0-2]
#[tokio::test]
async fn the_expiry_of_a_session_is_kept() {
    let server = Server::start();
    server.connect5(&expiring("short", 1)).await.disconnect().await;
    server.connect5(&expiring("long", 1000)).await.disconnect().await;
    let there = server.connect5(&expiring("there", 1000)).await;
    let none = server.connect5(&expiring("none", 0)).await;
    let server = restarted(server);
    drop((there, none));
    // The time itself is what is tested.
    tokio::time::sleep(Duration::from_secs(3)).await;
    for (id, present) in [("short", false), ("long", true), ("there", true), ("none", false)] {
        assert_eq!(server.open5().connect(&Connect::lasting(id)).await.present, present, "{id}");
    }
}

/// [MQTT5-4.3.3-5, 4.3.3-6, 4.4.0-1]
#[tokio::test]
async fn flows_go_on_where_they_were() {
    let server = Server::start();
    let mut client = server.connect5(&Connect::lasting("a")).await;
    client.subscribe(&[("t", 2)]).await;
    let mut publisher = server.clean5("pub").await;
    for qos in [1, 2, 2] {
        publish(&mut publisher, Publish::new("t", [qos], qos).with(Props::none().user("n", "v"))).await;
    }
    let (one, two, three) =
        (client.publication().await, client.publication().await, client.publication().await);
    client.send(ack(crate::client5::PUBREC, two.id, 0)).await;
    assert_eq!(client.pubrel(two.id).await, 0);
    let server = restarted(server);
    let mut client = server.resume5(&Connect::lasting("a")).await;
    assert_eq!(client.publication().await, one.dup());
    assert_eq!(client.pubrel(two.id).await, 0);
    assert_eq!(client.publication().await, three.dup());
    client.ping().await;
}

/// [MQTT5-3.1.2-8, 3.1.3-9]
#[tokio::test]
async fn a_delayed_will_is_published_after_the_crash_unless_its_client_is_back() {
    let server = Server::start();
    let testator = |id: &str| {
        let will = Publish::new(&format!("t/{id}"), "gone", 1)
            .with(Props::none().number(prop::WILL_DELAY, 2).user("a", "b"));
        expiring(id, 1000).will(will)
    };
    drop(server.connect5(&testator("back")).await);
    drop(server.connect5(&testator("away")).await);
    server.until("both are gone", |metrics| metrics.connections.get() == 0).await;
    let (hooks, records) = server.crash();
    let server = Server::resume(Limits { will_grace: Duration::ZERO, ..limits() }, hooks, &records);
    let (mut watcher, _) = pair(&server, 1).await;
    let mut back = server.resume5(&Connect { will: None, ..testator("back") }).await;
    let will = watcher.message().await;
    assert_eq!((&*will.topic, users(&will.props).len()), ("t/away", 1));
    back.ping().await;
    watcher.ping().await;
}

#[tokio::test]
async fn the_will_has_its_grace_also_where_the_session_is_over_since_the_crash() {
    let server = Server::start();
    server.connect5(&Connect::lasting("a")).await.disconnect().await;
    // It comes back to a session that lasted until now, and is to end with this connection.
    let client = server.resume5(&expiring("a", 0).will(Publish::new("t/will", "gone", 1))).await;
    let (hooks, records) = server.crash();
    let grace = Limits { will_grace: Duration::from_secs(3600), ..limits() };
    let server = Server::resume(grace, hooks, &records);
    drop(client);
    server.until("the session is over", |metrics| metrics.sessions.get() == 0).await;
    let (mut watcher, _) = pair(&server, 1).await;
    assert_eq!(server.metrics().wills_waiting.get(), 1);
    server.clean5("a").await.disconnect().await;
    // Back in time: nobody needs the will.
    watcher.ping().await;
    assert_eq!((server.metrics().wills_waiting.get(), server.metrics().wills_published.get()), (0, 0));
}

#[tokio::test]
async fn shared_subscriptions_are_kept() {
    let server = Server::start();
    for id in ["a", "b"] {
        let mut member = server.connect5(&Connect::lasting(id)).await;
        member.subscribe(&[("$share/g/t", 1)]).await;
    }
    server.until("both are gone", |metrics| metrics.connections.get() == 0).await;
    let server = restarted(server);
    let mut a = server.resume5(&Connect::lasting("a")).await;
    let mut b = server.resume5(&Connect::lasting("b")).await;
    let mut publisher = server.clean5("pub").await;
    for n in 0..10 {
        publish(&mut publisher, Publish::new("t", [n], 1)).await;
    }
    let mut came = Vec::new();
    for _ in 0..5 {
        came.push(a.message().await.payload[0]);
        came.push(b.message().await.payload[0]);
    }
    came.sort_unstable();
    assert_eq!(came, (0..10).collect::<Vec<u8>>());
}

/// With a will that waits for long.
fn testator(id: &str, expiry: u32) -> Connect {
    let will = Publish::new("t/will", "gone", 1).retained();
    expiring(id, expiry).will(will.with(Props::none().number(prop::WILL_DELAY, 1000)))
}

/// [MQTT5-3.1.2-8]
#[tokio::test]
async fn a_will_does_not_wait_for_a_session_that_ended_with_the_crash() {
    let server = Server::start();
    let _client = server.connect5(&testator("a", 0)).await;
    let (hooks, records) = server.crash();
    let server = Server::resume(Limits { will_grace: Duration::ZERO, ..limits() }, hooks, &records);
    server.until("the will is published", |metrics| metrics.wills_published.get() == 1).await;
}

/// Whoever was told that he is back must not be thought of as gone after a crash.
#[tokio::test]
async fn a_will_is_recorded_as_gone_before_its_client_is_told_that_it_is_back() {
    let server = Server::start();
    drop(server.connect5(&testator("a", 1000)).await);
    server.until("its will waits", |metrics| metrics.wills_waiting.get() == 1).await;
    server.resume5(&Connect::lasting("a")).await.ping().await;
    let records = server.log.records();
    let last = |kind| records.iter().rposition(|record| record[0] == kind).unwrap();
    assert!(last(23) < last(8), "will gone, present");
}

/// A session whose time was over when its client came back, however late the broker looks at it.
/// [MQTT5-3.1.2-23, 3.2.2-2]
#[tokio::test]
async fn a_session_whose_time_is_over_is_not_taken_up() {
    let server = Server::start();
    let mut client = server.connect5(&Connect::lasting("a")).await;
    client.subscribe(&[("t", 1)]).await;
    client.disconnect().await;
    server.until("it is gone", |metrics| metrics.connections.get() == 0).await;
    let (hooks, mut records) = server.crash();
    // It left in 1970: kind 9.
    let away = records.iter_mut().rfind(|record| record[0] == 9).unwrap();
    away.truncate(2);
    away.push(1);
    let server = Server::resume(limits(), hooks, &records);
    let mut client = server.open5();
    assert!(!client.connect(&Connect::lasting("a")).await.present);
    publish(&mut client, Publish::new("t", "", 1)).await;
    client.ping().await;
}

/// The first record of a broker parts what a crash has cut off from what follows.
#[tokio::test]
async fn nothing_is_recorded_before_the_reset() {
    let server = Server::start();
    let _client = server.connect5(&testator("a", 1000)).await;
    let (hooks, mut records) = server.crash();
    // Another will of the same client: the earlier one is published at the start.
    let mut second = records.iter().rfind(|record| record[0] == 30).unwrap().clone();
    second[1] = 100;
    records.push(second);
    let server = Server::resume(limits(), hooks, &records);
    assert_eq!(server.metrics().wills_published.get(), 1);
    assert_eq!(server.log.records()[records.len()], [1]);
}

/// A log that stops a checkpoint amid the first session.
#[derive(Clone)]
struct Holding {
    log: MemoryLog,
    armed: Arc<AtomicBool>,
    meet: Arc<Barrier>,
}

impl SessionLog for Holding {
    fn append(&self, record: &[u8]) -> Mark {
        let mark = self.log.append(record);
        if record[0] == 5 && self.armed.swap(false, Ordering::SeqCst) {
            self.meet.wait();
            self.meet.wait();
        }
        mark
    }

    fn poll_settled(&self, mark: Mark, cx: &mut Context<'_>) -> Poll<Result<(), LogFailed>> {
        self.log.poll_settled(mark, cx)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_will_that_begins_to_wait_amid_a_checkpoint_is_in_it() {
    let log = Holding { log: MemoryLog::default(), armed: Arc::default(), meet: Arc::new(Barrier::new(2)) };
    let broker = Arc::new(Broker::new(limits(), Arc::new(MemoryHooks::new()), Arc::new(log.clone())));
    broker.start();
    let mut clients = Vec::new();
    for n in 10..30 {
        let (ours, theirs) = tokio::io::duplex(STREAM_BYTES);
        broker.serve(theirs, peer());
        let mut client = Client::new(ours);
        client.connect(&testator(&format!("c{n}"), 1000)).await;
        clients.push((format!("c{n}"), client));
    }
    let start = log.log.records().len();
    log.armed.store(true, Ordering::SeqCst);
    let checkpoint = tokio::task::spawn_blocking({
        let broker = Arc::clone(&broker);
        move || broker.checkpoint()
    });
    let meet = |log: &Holding| {
        let meet = Arc::clone(&log.meet);
        tokio::task::spawn_blocking(move || {
            meet.wait();
        })
    };
    meet(&log).await.unwrap();
    // All but the one that is being written leave.
    let written = log.log.records().pop().unwrap();
    clients.retain(|(id, _)| written.windows(id.len()).any(|part| part == id.as_bytes()));
    while broker.metrics().connections.get() > 1 {
        tokio::task::yield_now().await;
    }
    meet(&log).await.unwrap();
    checkpoint.await.unwrap();
    let server = Server::resume(limits(), MemoryHooks::new(), &log.log.records()[start..]);
    assert_eq!(server.metrics().sessions.get(), 20);
    assert_eq!(server.metrics().wills_waiting.get(), 20);
}
