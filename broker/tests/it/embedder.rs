//! What the embedder decides: rights, refused retained messages, and when something is kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use distkv_broker::hooks::memory::MemoryHooks;
use distkv_broker::hooks::{
    BoxFuture, Condition, Hooks, LogFailed, Login, LoginRefused, Mark, Permission, Principal, Provenance,
    Replay, RetainRefused, RetainedMessage, Rights, SessionLog,
};
use distkv_broker::{Broker, Listener, ListenerConfig, Peer};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, duplex};

use crate::client::{self, Client, Connect, Got};
use crate::server::{STREAM_BYTES, Server, limits, peer};

/// Users may do everything but what topics with these words in them say.
pub(crate) struct Picky(pub(crate) MemoryHooks);

struct PickyPrincipal(Arc<dyn Principal>);

impl Hooks for Picky {
    fn authenticate<'a>(
        &'a self,
        login: Login<'a>,
    ) -> BoxFuture<'a, Result<Arc<dyn Principal>, LoginRefused>> {
        Box::pin(std::future::ready(Ok(self.restored(login.client_id, login.user))))
    }

    fn restored(&self, client_id: &str, user: Option<&str>) -> Arc<dyn Principal> {
        Arc::new(PickyPrincipal(self.0.restored(client_id, user)))
    }

    fn retained_count(&self) -> u64 {
        self.0.retained_count()
    }
}

impl Principal for PickyPrincipal {
    fn user(&self) -> Option<&str> {
        self.0.user()
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
        match message.topic {
            "denied" => Err(RetainRefused::Denied),
            "bad" => Err(RetainRefused::BadPayload),
            "quota" => Err(RetainRefused::Quota),
            "broken" => Err(RetainRefused::Unavailable),
            _ => self.0.retain(message, condition, deliver),
        }
    }

    fn replay(&self, filter: &str) -> Box<dyn Replay> {
        self.0.replay(filter)
    }
}

impl Rights for PickyPrincipal {
    fn publish(&self, topic: &str, _retain: bool, _empty: bool) -> Permission {
        if !topic.contains("unwritable") { Permission::Always } else { Permission::Denied }
    }

    fn subscribe(&self, filter: &str) -> bool {
        !filter.contains("unsubscribable")
    }

    fn receive(&self, topic: &str) -> bool {
        !topic.contains("unreadable")
    }
}

fn open(broker: &Broker) -> Client {
    let (ours, theirs) = duplex(STREAM_BYTES);
    broker.serve(theirs, peer());
    Client::new(ours)
}

/// [MQTT-3.3.5-2, 3.9.3-1]
#[tokio::test]
async fn rights_are_asked_at_publish_subscribe_and_each_delivery() {
    let hooks = MemoryHooks::new();
    let broker = Server::with_hooks(limits(), Picky(hooks.clone()));
    let mut client = open(&broker);
    client.connect(&Connect::new("a")).await;
    for (payload, topic) in [("hidden", "unreadable/old"), ("shown", "old")] {
        let message = RetainedMessage::new(topic, payload.as_bytes(), 1);
        hooks.set(&message, &mut |_| {});
    }
    client.send(&client::subscribe(1, &[("unsubscribable/#", 1), ("#", 1)])).await;
    client.expect(Got::Suback(1, vec![0x80, 1])).await;
    client.expect_message("old", b"shown", 1, true).await;
    for topic in ["unwritable/x", "unreadable/x", "fine"] {
        for qos in 0..3 {
            client.publish(topic, topic.as_bytes(), qos, false).await;
        }
    }
    for qos in [0, 1, 1] {
        client.expect_message("fine", b"fine", qos, false).await;
    }
    client.ping().await;
    let metrics = broker.metrics();
    assert_eq!(metrics.dropped_publish_denied.get(), 3);
    assert_eq!((metrics.dropped_receive_denied.get(), metrics.subscriptions_refused.get()), (3, 1));
}

/// [MQTT-3.3.5-2, 4.8.0-2]
#[tokio::test]
async fn refused_retained_messages_are_acknowledged_and_dropped_but_a_broken_store_is_no_place_to_stay() {
    let broker = Server::with_hooks(limits(), Picky(MemoryHooks::new()));
    let mut client = open(&broker);
    client.connect(&Connect::new("a")).await;
    client.subscribe(&[("#", 0)]).await;
    for topic in ["denied", "bad", "quota"] {
        for qos in 1..3 {
            client.publish(topic, b"x", qos, true).await;
        }
    }
    client.ping().await;
    let metrics = broker.metrics();
    assert_eq!(metrics.dropped_publish_denied.get(), 2);
    assert_eq!((metrics.dropped_payload.get(), metrics.dropped_quota.get()), (2, 2));
    client.send(&client::publish("broken", b"x", 1, true, false, 9)).await;
    client.expect_closed().await;
}

/// A log that has kept everything up to a mark which the test moves.
#[derive(Clone, Default)]
struct SlowLog {
    last: Arc<AtomicU64>,
    settled: Arc<AtomicU64>,
    waiting: Arc<Mutex<Vec<Waker>>>,
}

impl SlowLog {
    fn settle_all(&self) {
        self.settled.store(u64::MAX, Ordering::SeqCst);
        self.waiting.lock().drain(..).for_each(Waker::wake);
    }

    fn hold(&self) {
        self.settled.store(self.last.load(Ordering::SeqCst), Ordering::SeqCst);
    }
}

impl SessionLog for SlowLog {
    fn append(&self, _record: &[u8]) -> Mark {
        Mark(self.last.fetch_add(1, Ordering::SeqCst) + 1)
    }

    fn poll_settled(&self, mark: Mark, cx: &mut Context<'_>) -> Poll<Result<(), LogFailed>> {
        let mut waiting = self.waiting.lock();
        if mark.0 <= self.settled.load(Ordering::SeqCst) {
            return Poll::Ready(Ok(()));
        }
        waiting.push(cx.waker().clone());
        Poll::Pending
    }
}

#[tokio::test]
async fn nothing_that_could_be_acknowledged_leaves_before_it_is_kept_and_order_stays() {
    let log = SlowLog::default();
    log.settle_all();
    let broker = Broker::new(limits(), Arc::new(MemoryHooks::new()), Arc::new(log.clone()));
    broker.start();
    let mut subscriber = open(&broker);
    subscriber.connect(&Connect::persistent("sub")).await;
    subscriber.subscribe(&[("t", 1)]).await;
    let mut publisher = open(&broker);
    publisher.connect(&Connect::new("pub")).await;
    log.hold();
    publisher.send(&client::publish("t", b"1", 1, false, false, 5)).await;
    publisher.send(&client::PINGREQ).await;
    while broker.metrics().packets_received.get() < 5 {
        tokio::task::yield_now().await;
    }
    let before = broker.metrics().packets_sent.get();
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(broker.metrics().packets_sent.get(), before, "neither PUBLISH nor PUBACK has left");
    log.settle_all();
    publisher.expect(Got::Puback(5)).await;
    publisher.expect(Got::Pingresp).await;
    subscriber.expect_message("t", b"1", 1, false).await;
}

#[tokio::test]
async fn an_embedder_learns_whether_anybody_is_subscribed() {
    let server = Server::start();
    assert!(!server.broker.has_subscriptions());
    let mut client = server.clean("a").await;
    client.subscribe(&[("a", 0), ("$share/g/a", 0)]).await;
    assert!(server.broker.has_subscriptions());
    client.unsubscribe(&["a"]).await;
    assert!(server.broker.has_subscriptions(), "a shared one is left");
    client.unsubscribe(&["$share/g/a"]).await;
    assert!(!server.broker.has_subscriptions());
}

/// Notes who logs in: by which listener, from where, as whom.
struct Doorkeeper(MemoryHooks, Arc<Mutex<Vec<String>>>);

impl Hooks for Doorkeeper {
    fn authenticate<'a>(
        &'a self,
        login: Login<'a>,
    ) -> BoxFuture<'a, Result<Arc<dyn Principal>, LoginRefused>> {
        let Peer { address, listener, identity, .. } = login.peer;
        let (name, user) = (&listener.name, login.user.unwrap_or("-"));
        self.1.lock().push(format!("{name} {address} {} {user}", identity.as_deref().unwrap_or("-")));
        self.0.authenticate(login)
    }

    fn restored(&self, client_id: &str, user: Option<&str>) -> Arc<dyn Principal> {
        self.0.restored(client_id, user)
    }

    fn retained_count(&self) -> u64 {
        self.0.retained_count()
    }
}

#[tokio::test]
async fn a_login_tells_by_which_listener_and_as_whom_a_client_comes() {
    let logins = Arc::<Mutex<Vec<String>>>::default();
    let broker = Server::with_hooks(limits(), Doorkeeper(MemoryHooks::new(), Arc::clone(&logins)));
    let mut client = open(&broker);
    client.connect(&Connect::new("a")).await;
    let listener = Arc::new(Listener { name: "devices".to_owned(), ..Listener::default() });
    let identity = Some("kitchen".into());
    let known = Peer { identity, ..Peer::plain(peer().into(), Arc::clone(&listener)) };
    let (ours, theirs) = duplex(STREAM_BYTES);
    broker.serve_peer(theirs, known);
    let mut client = Client::new(ours);
    client.connect(&Connect::new("b")).await;
    let wanted = ["mqtt 127.0.0.1:4711 - -", "devices 127.0.0.1:4711 kitchen kitchen"];
    assert_eq!(*logins.lock(), wanted);
    assert_eq!(listener.counters.connections.get(), 1);
}

#[tokio::test]
async fn sockets_of_one_listener_share_its_limit() {
    let server = Server::start();
    let listener = Arc::new(Listener { max_connections: Some(1), ..Listener::default() });
    let mut addresses = Vec::new();
    for _ in 0..2 {
        let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        addresses.push(socket.local_addr().unwrap());
        let config = ListenerConfig { listener: Arc::clone(&listener), ..ListenerConfig::default() };
        server.broker.listen_on(socket, config);
    }
    let _first = tokio::net::TcpStream::connect(addresses[0]).await.unwrap();
    server.until("the first is there", |_| listener.counters.connections.get() == 1).await;
    let mut second = tokio::net::TcpStream::connect(addresses[1]).await.unwrap();
    assert_eq!(second.read(&mut [0]).await.unwrap_or(0), 0, "it is closed");
    assert_eq!((listener.counters.full.get(), server.metrics().refused_connections.get()), (1, 1));
}
