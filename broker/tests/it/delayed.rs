//! `$delayed/SECONDS/TOPIC`: what is published later, when, with which rights, and what of it survives a crash.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use distkv_broker::Broker;
use distkv_broker::delayed::Query;
use distkv_broker::hooks::memory::MemoryHooks;
use distkv_broker::hooks::{
    BoxFuture, Condition, Hooks, Login, LoginRefused, Mark, Permission, Principal, Provenance, Replay,
    RetainRefused, RetainedMessage, Rights,
};
use distkv_broker::limits::Limits;
use distkv_broker::message::QoS;
use distkv_broker::session::{RecordedDelayed, record};
use tokio::time::Instant;

use crate::client::{self, Client, Connect, Got, PUBREL, ack};
use crate::client5::{self, Props, Publish, prop};
use crate::server::{STREAM_BYTES, Server, limits, peer};

const MALFORMED: u8 = 0x90;
const NOT_AUTHORIZED: u8 = 0x87;
const QUOTA: u8 = 0x97;
const SPECIFIC: u8 = 0x83;

async fn watcher(server: &Server) -> Client {
    let mut watcher = server.clean("watcher").await;
    watcher.subscribe(&[("#", 2), ("$delayed/#", 2)]).await;
    watcher
}

async fn none_waits(server: &Server) {
    server.until("none waits", |metrics| metrics.delayed_messages.get() == 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_message_comes_when_its_time_is_over_and_those_of_one_time_in_their_order() {
    let server = Server::start();
    let mut watcher = watcher(&server).await;
    let mut publisher = server.clean("pub").await;
    let start = Instant::now();
    for (seconds, topic, qos) in [(15, "c", 2), (5, "a", 0), (10, "b", 1), (10, "b", 2), (0, "now", 1)] {
        publisher.publish(&format!("$delayed/{seconds}/t/{topic}"), topic.as_bytes(), qos, false).await;
    }
    publisher.ping().await;
    assert_eq!(server.metrics().delayed_messages.get() + server.metrics().delayed_released.get(), 5);
    for (seconds, topic, qos) in [(0, "now", 1), (5, "a", 0), (10, "b", 1), (10, "b", 2), (15, "c", 2)] {
        watcher.expect_message(&format!("t/{topic}"), topic.as_bytes(), qos, false).await;
        assert_eq!(start.elapsed().as_secs(), seconds, "{topic}");
    }
    watcher.ping().await;
    let metrics = server.metrics();
    assert_eq!((metrics.delayed_messages.get(), metrics.delayed_bytes.get()), (0, 0));
    assert_eq!(metrics.delayed_released.get(), 5);
}

#[tokio::test]
async fn what_is_not_of_the_form_is_refused_and_reaches_nobody() {
    let server = Server::start();
    let mut watcher = watcher(&server).await;
    let mut publisher = server.clean5("pub").await;
    for (topic, reason) in [
        ("$delayed", MALFORMED),
        ("$delayed/x/a", MALFORMED),
        ("$delayed/4294968/a", MALFORMED),
        ("$delayed/1/", MALFORMED),
        ("$delayed/1/$delayed/1/a", MALFORMED),
        ("$delayed/1/$SYS/broker/uptime", NOT_AUTHORIZED),
    ] {
        for qos in [1, 2] {
            assert_eq!(publisher.publish(Publish::new(topic, "no", qos)).await, reason, "{topic}");
        }
    }
    let condition = Publish::new("$delayed/1/a", "no", 1).retained();
    let condition = condition.with(Props::none().user("distkv-if", "new"));
    assert_eq!(publisher.publish(condition).await, SPECIFIC);
    // MQTT 3 has no words for it.
    let mut old = server.clean("old").await;
    old.publish("$delayed/x/a", b"no", 1, false).await;
    old.publish("$delayed/x/a", b"no", 2, false).await;
    // Nor can a will be delayed so.
    drop(server.connect(&Connect::new("gone").will("$delayed/0/a", "no", 1, false)).await);
    server.until("the will is dropped", |metrics| metrics.dropped_reserved.get() == 3).await;
    watcher.ping().await;
    assert_eq!(server.metrics().dropped_invalid.get(), 10 + 1 + 2);
    assert_eq!(server.metrics().delayed_messages.get(), 0);
}

#[tokio::test]
async fn what_is_beyond_the_limits_is_dropped_and_counted() {
    let few = Limits { delayed_messages: 2, delayed_bytes: 20, ..limits() };
    let server = Server::with(few);
    let mut publisher = server.clean5("pub").await;
    assert_eq!(publisher.publish(Publish::new("$delayed/100/a", "1234567890", 1)).await, 0);
    assert_eq!(publisher.publish(Publish::new("$delayed/100/a", "1234567890", 1)).await, QUOTA);
    assert_eq!(publisher.publish(Publish::new("$delayed/100/a", "", 2)).await, 0);
    assert_eq!(publisher.publish(Publish::new("$delayed/100/a", "", 2)).await, QUOTA);
    let mut old = server.clean("old").await;
    old.publish("$delayed/100/a", b"", 1, false).await;
    let metrics = server.metrics();
    assert_eq!((metrics.delayed_messages.get(), metrics.delayed_bytes.get()), (2, 12));
    assert_eq!(metrics.dropped_delayed.get(), 3);
}

#[tokio::test(start_paused = true)]
async fn properties_expiry_and_retain_are_kept_and_the_expiry_counts_from_the_release() {
    let server = Server::start();
    let mut watcher = server.clean5("watcher").await;
    watcher.subscribe(&[("t", 1)]).await;
    let mut publisher = server.clean5("pub").await;
    let props = Props::none().number(prop::MESSAGE_EXPIRY, 7).text(prop::CONTENT_TYPE, "x").user("k", "v");
    let publish = Publish::new("$delayed/10/t", "kept", 1).retained().with(props.clone());
    assert_eq!(publisher.publish(publish).await, 0);
    assert!(server.hooks.get("t").is_none());
    let mut came = watcher.message().await;
    assert_eq!((&*came.topic, &*came.payload, came.qos), ("t", &b"kept"[..], 1));
    came.props.0.sort();
    assert_eq!(came.props, props);
    assert_eq!(server.hooks.get("t").as_deref(), Some(&b"kept"[..]));
}

#[tokio::test(start_paused = true)]
async fn no_local_holds_for_the_client_that_published_it() {
    let server = Server::start();
    let mut own = server.clean5("own").await;
    own.subscribe(&[("t", 1 | 4)]).await;
    assert_eq!(own.publish(Publish::new("$delayed/5/t", "mine", 1)).await, 0);
    server.clean5("other").await.publish(Publish::new("$delayed/6/t", "other's", 1)).await;
    own.expect("t", "other's", 1, false).await;
    assert_eq!(server.metrics().delayed_released.get(), 2);
}

#[tokio::test]
async fn an_operator_sees_what_waits_and_cancels_it_for_good() {
    let server = Server::start();
    let mut publisher = server.clean("pub").await;
    publisher.publish("$delayed/1000/t/a", b"12345", 1, true).await;
    publisher.publish("$delayed/2000/t/b", b"", 0, false).await;
    server.clean("other").await.publish("$delayed/3000/u", b"", 2, false).await;
    server.until("three wait", |metrics| metrics.delayed_messages.get() == 3).await;
    let page = server.broker.delayed(&Query::default());
    let topics: Vec<&str> = page.items.iter().map(|item| &*item.topic).collect();
    assert_eq!((topics, page.more), (vec!["t/a", "t/b", "u"], false));
    let first = page.items[0].clone();
    assert_eq!((first.qos, first.retain, first.size), (QoS::AtLeastOnce, true, 8));
    assert_eq!((&*first.client_id, first.user), ("pub", None));
    assert_eq!(page.items[1].due_ms.saturating_sub(first.due_ms).div_ceil(60_000), 17);
    let of_pub = Query { client: Some("pub".into()), limit: 1, ..Query::default() };
    let page = server.broker.delayed(&of_pub);
    assert_eq!((page.items.len(), page.more), (1, true));
    assert!(server.broker.cancel_delayed(first.number).await);
    assert!(!server.broker.cancel_delayed(first.number).await);
    assert_eq!(server.metrics().delayed_cancelled.get(), 1);
    let (hooks, records) = server.crash();
    let server = Server::resume(limits(), hooks, &records);
    let page = server.broker.delayed(&Query::default());
    let topics: Vec<&str> = page.items.iter().map(|item| &*item.topic).collect();
    assert_eq!(topics, ["u"], "one was cancelled, one was of QoS 0");
}

#[tokio::test(start_paused = true)]
async fn after_a_crash_what_was_acknowledged_comes_at_its_time_also_by_a_checkpoint_alone() {
    for checkpoint in [false, true] {
        let server = Server::start();
        let mut publisher = server.clean("pub").await;
        let start = Instant::now();
        publisher.publish("$delayed/10/t", b"one", 1, false).await;
        publisher.publish("$delayed/15/t", b"two", 2, true).await;
        publisher.publish("$delayed/5/t", b"lost", 0, false).await;
        publisher.ping().await;
        let cut = if checkpoint { server.log.records().len() } else { 0 };
        server.broker.checkpoint();
        let (hooks, records) = server.crash();
        let server = Server::resume(limits(), hooks, &records[cut..]);
        assert_eq!(server.metrics().delayed_messages.get(), 2);
        let mut watcher = watcher(&server).await;
        watcher.expect_message("t", b"one", 1, false).await;
        // The clock that never jumps stands still meanwhile, the other one does not.
        assert!((9..=10).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
        watcher.expect_message("t", b"two", 2, false).await;
        none_waits(&server).await;
        let (hooks, records) = server.crash();
        let server = Server::resume(limits(), hooks, &records);
        assert_eq!(server.metrics().delayed_messages.get(), 0);
    }
}

#[tokio::test]
async fn what_is_late_after_a_start_comes_at_once() {
    let late = RecordedDelayed {
        number: 7,
        client_id: "gone".into(),
        user: None,
        due_ms: 1000,
        topic: "t".into(),
        payload: "late"[..].into(),
        qos: QoS::AtLeastOnce,
        retain: true,
        properties: ""[..].into(),
        message_expiry: None,
        served: Arc::default(),
    };
    let mut bytes = Vec::new();
    record::delayed(&mut bytes, &late, None);
    let server = Server::resume(limits(), MemoryHooks::new(), &[bytes]);
    none_waits(&server).await;
    assert_eq!(server.hooks.get("t").as_deref(), Some(&b"late"[..]));
    let mut publisher = server.clean("pub").await;
    publisher.publish("$delayed/1000/t", b"", 1, false).await;
    let number = server.broker.delayed(&Query::default()).items[0].number;
    assert!(number > 7, "{number} is used again");
}

#[tokio::test]
async fn a_crash_at_any_record_of_taking_and_releasing_at_qos_2_neither_loses_nor_doubles_it() {
    let server = Server::start();
    for n in 0..3 {
        let mut subscriber = server.connect(&Connect::persistent(&format!("sub{n}"))).await;
        subscriber.subscribe(&[("t", 2)]).await;
        subscriber.disconnect().await;
    }
    let mut publisher = server.connect(&Connect::persistent("pub")).await;
    server.until("only the publisher is left", |metrics| metrics.connections.get() == 1).await;
    let before = server.log.records().len();
    publisher.send(&client::publish("$delayed/0/t", b"once", 2, false, false, 5)).await;
    publisher.expect(Got::Pubrec(5)).await;
    server.until("it is released", |metrics| metrics.delayed_released.get() == 1).await;
    none_waits(&server).await;
    let (_, records) = server.crash();
    assert!(records.len() > before + 6);
    for cut in before..=records.len() {
        let server = Server::resume(limits(), MemoryHooks::new(), &records[..cut]);
        let mut publisher = server.open();
        assert!(publisher.connect(&Connect::persistent("pub")).await);
        publisher.send(&client::publish("$delayed/0/t", b"once", 2, false, true, 5)).await;
        publisher.expect(Got::Pubrec(5)).await;
        publisher.send(&ack(PUBREL, 5)).await;
        publisher.expect(Got::Pubcomp(5)).await;
        none_waits(&server).await;
        for n in 0..3 {
            let mut subscriber = server.connect(&Connect::persistent(&format!("sub{n}"))).await;
            subscriber.expect_message("t", b"once", 2, false).await;
            subscriber.ping().await;
        }
    }
}

#[tokio::test]
async fn what_can_not_be_kept_is_not_acknowledged() {
    let server = Server::start();
    let mut publisher = server.clean("pub").await;
    server.log.fail();
    publisher.send(&client::publish("$delayed/1000/t", b"not kept", 1, false, false, 9)).await;
    publisher.expect_closed().await;
}

/// Users may not publish on `never`; on `now` only while the test allows it. While the store is broken, nothing is retained.
#[derive(Clone)]
struct Strict {
    memory: MemoryHooks,
    allowed: Arc<AtomicBool>,
    broken: Arc<AtomicBool>,
}

struct StrictPrincipal(Strict, Arc<dyn Principal>);

impl Strict {
    fn new() -> Self {
        Self { memory: MemoryHooks::new(), allowed: Arc::new(true.into()), broken: Arc::default() }
    }
}

impl Hooks for Strict {
    fn authenticate<'a>(
        &'a self,
        login: Login<'a>,
    ) -> BoxFuture<'a, Result<Arc<dyn Principal>, LoginRefused>> {
        Box::pin(std::future::ready(Ok(self.restored(login.client_id, login.user))))
    }

    fn restored(&self, client_id: &str, user: Option<&str>) -> Arc<dyn Principal> {
        Arc::new(StrictPrincipal(self.clone(), self.memory.restored(client_id, user)))
    }

    fn retained_count(&self) -> u64 {
        0
    }
}

impl Principal for StrictPrincipal {
    fn user(&self) -> Option<&str> {
        self.1.user()
    }

    fn rights(&self) -> Option<&dyn Rights> {
        Some(self)
    }

    fn retain(
        &self,
        message: &RetainedMessage<'_>,
        condition: Option<Condition<'_>>,
        deliver: &mut dyn FnMut(Option<&Provenance<'_>>),
    ) -> Result<Mark, RetainRefused> {
        if self.0.broken.load(Ordering::SeqCst) {
            return Err(RetainRefused::Unavailable);
        }
        self.1.retain(message, condition, deliver)
    }

    fn replay(&self, filter: &str) -> Box<dyn Replay> {
        self.1.replay(filter)
    }
}

impl Rights for StrictPrincipal {
    fn publish(&self, topic: &str, _retain: bool, _empty: bool) -> Permission {
        let known = self.user() == Some("ann") && topic != "never";
        let may = known && (topic != "now" || self.0.allowed.load(Ordering::SeqCst));
        if may { Permission::Once } else { Permission::Denied }
    }

    fn subscribe(&self, _filter: &str) -> bool {
        true
    }

    fn receive(&self, _topic: &str) -> bool {
        true
    }
}

async fn ann(broker: &Broker) -> client5::Client {
    let (ours, theirs) = tokio::io::duplex(STREAM_BYTES);
    broker.serve(theirs, peer());
    let mut client = client5::Client::new(ours);
    let user = Some(("ann".into(), "secret".into()));
    client.connect(&client5::Connect { user, ..client5::Connect::new("a") }).await;
    client
}

#[tokio::test(start_paused = true)]
async fn the_publishers_rights_count_when_it_is_taken_and_when_it_is_sent() {
    let hooks = Strict::new();
    let broker = Server::with_hooks(limits(), hooks.clone());
    let mut client = ann(&broker).await;
    client.subscribe(&[("#", 1)]).await;
    assert_eq!(client.publish(Publish::new("$delayed/5/never", "no", 1)).await, NOT_AUTHORIZED);
    assert_eq!(client.publish(Publish::new("$delayed/5/now", "no", 1)).await, 0);
    hooks.allowed.store(false, Ordering::SeqCst);
    assert_eq!(client.publish(Publish::new("$delayed/5/now", "no", 1)).await, NOT_AUTHORIZED);
    assert_eq!(client.publish(Publish::new("$delayed/6/other", "yes", 1)).await, 0);
    client.expect("other", "yes", 1, false).await;
    let metrics = broker.metrics();
    assert_eq!((metrics.dropped_publish_denied.get(), metrics.delayed_released.get()), (3, 1));
    assert_eq!(metrics.delayed_messages.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_can_not_be_retained_at_its_time_is_tried_again() {
    let hooks = Strict::new();
    let broker = Server::with_hooks(limits(), hooks.clone());
    let mut client = ann(&broker).await;
    client.subscribe(&[("#", 1)]).await;
    hooks.broken.store(true, Ordering::SeqCst);
    assert_eq!(client.publish(Publish::new("$delayed/1/t", "kept", 1).retained()).await, 0);
    let start = Instant::now();
    tokio::time::advance(Duration::from_secs(2)).await;
    client.ping().await;
    assert_eq!(broker.metrics().delayed_messages.get(), 1);
    hooks.broken.store(false, Ordering::SeqCst);
    client.expect("t", "kept", 1, false).await;
    assert!(start.elapsed().as_secs() >= 10, "{:?}", start.elapsed());
    assert_eq!(broker.metrics().delayed_messages.get(), 0);
}
