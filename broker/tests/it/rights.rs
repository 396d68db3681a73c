//! Rights that change while clients are connected: what was allowed before is cut off at once, on every way to a client; and
//! users who may not stay are closed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use distkv_broker::Broker;
use distkv_broker::hooks::memory::MemoryHooks;
use distkv_broker::hooks::{
    Action, BoxFuture, Condition, Hooks, Login, LoginRefused, Mark, Permission, Principal, Provenance,
    Replay, RetainRefused, RetainedMessage, Rights, Standing,
};
use distkv_broker::limits::Limits;
use parking_lot::RwLock;
use tokio::io::duplex;

use crate::client::{Client, Connect, Got};
use crate::client5;
use crate::server::{STREAM_BYTES, Server, limits, peer};

/// What users may not do: words that are in the topics, by user. Who is not in it may do everything.
#[derive(Clone, Default)]
struct Changing {
    memory: MemoryHooks,
    table: Arc<Table>,
}

#[derive(Default)]
struct Table {
    denied: RwLock<HashMap<String, &'static str>>,
    standing: RwLock<HashMap<String, Standing>>,
}

struct User {
    inner: Arc<dyn Principal>,
    table: Arc<Table>,
    mount: Option<String>,
}

impl User {
    fn may(&self, topic: &str) -> bool {
        let denied = self.table.denied.read();
        let inside = self.mount.as_deref().is_none_or(|mount| topic.starts_with(mount));
        inside && !self.user().and_then(|user| denied.get(user)).is_some_and(|word| topic.contains(word))
    }
}

impl Hooks for Changing {
    fn authenticate<'a>(
        &'a self,
        login: Login<'a>,
    ) -> BoxFuture<'a, Result<Arc<dyn Principal>, LoginRefused>> {
        Box::pin(std::future::ready(Ok(self.restored(login.client_id, login.user))))
    }

    /// A user `NAME@ROOT` lives below that root.
    fn restored(&self, client_id: &str, user: Option<&str>) -> Arc<dyn Principal> {
        let mount = user.and_then(|user| user.split_once('@')).map(|(_, root)| format!("{root}/"));
        Arc::new(User { inner: self.memory.restored(client_id, user), table: Arc::clone(&self.table), mount })
    }

    fn retained_count(&self) -> u64 {
        self.memory.retained_count()
    }
}

impl Principal for User {
    fn user(&self) -> Option<&str> {
        self.inner.user()
    }

    fn rights(&self) -> Option<&dyn Rights> {
        Some(self)
    }

    fn mount(&self) -> Option<&str> {
        self.mount.as_deref()
    }

    fn standing(&self) -> Standing {
        let standing = self.table.standing.read();
        self.user().and_then(|user| standing.get(user)).copied().unwrap_or(Standing::Welcome)
    }

    fn retain(
        &self,
        message: &RetainedMessage<'_>,
        condition: Option<Condition<'_>>,
        deliver: &mut dyn FnMut(Option<&Provenance<'_>>),
    ) -> Result<Mark, RetainRefused> {
        self.inner.retain(message, condition, deliver)
    }

    fn replay(&self, filter: &str) -> Box<dyn Replay> {
        self.inner.replay(filter)
    }
}

impl Rights for User {
    fn publish(&self, topic: &str, _retain: bool, _empty: bool) -> Permission {
        if self.may(topic) { Permission::Always } else { Permission::Denied }
    }

    fn subscribe(&self, filter: &str) -> bool {
        self.may(filter)
    }

    fn receive(&self, topic: &str) -> bool {
        self.may(topic)
    }

    fn why(&self, action: Action, _topic: &str) -> String {
        format!("the test says no to {action:?}")
    }
}

struct Scene {
    broker: Broker,
    table: Arc<Table>,
}

impl Scene {
    fn start() -> Self {
        Self::with(limits())
    }

    fn with(limits: Limits) -> Self {
        let hooks = Changing::default();
        Self { table: Arc::clone(&hooks.table), broker: Server::with_hooks(limits, hooks) }
    }

    async fn connect(&self, connect: &Connect) -> Client {
        let (ours, theirs) = duplex(STREAM_BYTES);
        self.broker.serve(theirs, peer());
        let mut client = Client::new(ours);
        client.connect(connect).await;
        client
    }

    /// From now on the user may do nothing with topics that have the word in them; an empty one means all.
    fn deny(&self, user: &str, word: &'static str) {
        self.table.denied.write().insert(user.into(), word);
        self.broker.rights_changed();
    }
}

/// Takes all messages that are on their way.
async fn settle(client: &mut Client) {
    client.send(&[0xc0, 0]).await;
    while client.next().await != Some(Got::Pingresp) {}
}

fn user(id: &str, name: &str) -> Connect {
    Connect { user: Some((name.into(), String::new())), ..Connect::new(id) }
}

#[tokio::test]
async fn an_open_subscription_loses_what_its_user_may_get_no_longer() {
    let scene = Scene::start();
    let mut ann = scene.connect(&user("a", "ann")).await;
    let mut publisher = scene.connect(&user("p", "bob")).await;
    ann.subscribe(&[("#", 2), ("$share/g/#", 2)]).await;
    for round in 0..2 {
        for qos in 0..3 {
            for topic in ["secret/x", "open/x"] {
                publisher.publish(topic, b"x", qos, false).await;
                if topic == "open/x" || round == 0 {
                    // By its own subscription, and by the shared one.
                    ann.expect_message(topic, b"x", qos, false).await;
                    ann.expect_message(topic, b"x", qos, false).await;
                }
            }
        }
        ann.ping().await;
        scene.deny("ann", "secret");
    }
    let metrics = scene.broker.metrics();
    assert_eq!(metrics.dropped_receive_denied.get(), 6);
    let drops = scene.broker.drops("a");
    assert_eq!(drops.len(), 1, "{drops:?}");
    assert_eq!((drops[0].reason, &*drops[0].topic, drops[0].times), ("receive_denied", "secret/x", 6));
    assert_eq!(&*drops[0].detail, "the test says no to Receive");
}

#[tokio::test]
async fn another_member_of_the_group_gets_what_one_may_not() {
    let scene = Scene::start();
    let mut ann = scene.connect(&user("a", "ann")).await;
    let mut carl = scene.connect(&user("c", "carl")).await;
    let mut publisher = scene.connect(&user("p", "bob")).await;
    ann.subscribe(&[("$share/g/#", 1)]).await;
    carl.subscribe(&[("$share/g/#", 1)]).await;
    scene.deny("ann", "secret");
    for _ in 0..4 {
        publisher.publish("secret/x", b"x", 1, false).await;
        carl.expect_message("secret/x", b"x", 1, false).await;
    }
    ann.ping().await;
}

#[tokio::test]
async fn what_waits_in_a_queue_is_checked_when_it_is_sent() {
    let scene = Scene::start();
    let away = Connect { clean: false, ..user("a", "ann") };
    let mut ann = scene.connect(&away).await;
    ann.subscribe(&[("#", 2)]).await;
    ann.disconnect().await;
    let mut publisher = scene.connect(&user("p", "bob")).await;
    for qos in 1..3 {
        publisher.publish("secret/x", b"x", qos, false).await;
        publisher.publish("open/x", b"x", qos, false).await;
    }
    scene.deny("ann", "secret");
    let mut ann = scene.connect(&away).await;
    for qos in 1..3 {
        ann.expect_message("open/x", b"x", qos, false).await;
    }
    ann.ping().await;
    assert_eq!(scene.broker.metrics().dropped_receive_denied.get(), 2);
}

#[tokio::test]
async fn another_user_does_not_inherit_what_waits_for_a_client() {
    let scene = Scene::start();
    scene.deny("eve", "secret");
    let mut ann = scene.connect(&Connect { clean: false, ..user("a", "ann") }).await;
    ann.subscribe(&[("#", 1)]).await;
    ann.disconnect().await;
    let mut publisher = scene.connect(&user("p", "bob")).await;
    publisher.publish("secret/x", b"x", 1, false).await;
    let mut eve = scene.connect(&Connect { clean: false, ..user("a", "eve") }).await;
    publisher.publish("secret/x", b"x", 0, false).await;
    publisher.publish("open/x", b"x", 0, false).await;
    eve.expect_message("open/x", b"x", 0, false).await;
    eve.ping().await;
}

#[tokio::test]
async fn wills_and_delayed_messages_have_the_rights_of_the_moment_when_they_are_sent() {
    let scene = Scene::start();
    let mut watcher = scene.connect(&user("w", "bob")).await;
    watcher.subscribe(&[("#", 1)]).await;
    let will = |id: &str, topic: &str| user(id, "ann").will(topic, "gone", 1, false);
    let ann = scene.connect(&will("a", "secret/will")).await;
    let other = scene.connect(&will("b", "open/will")).await;
    let mut sender = scene.connect(&user("s", "ann")).await;
    sender.publish("$delayed/1/secret/late", b"x", 1, false).await;
    sender.publish("$delayed/1/open/late", b"x", 1, false).await;
    scene.deny("ann", "secret");
    drop(ann);
    drop(other);
    let mut got = vec![watcher.message().await.0, watcher.message().await.0];
    got.sort();
    assert_eq!(got, ["open/late", "open/will"]);
    watcher.ping().await;
    assert_eq!(scene.broker.drops("a")[0].reason, "publish_denied");
    assert_eq!(&*scene.broker.drops("s")[0].topic, "secret/late");
}

#[tokio::test]
async fn replays_and_sys_values_are_checked_message_by_message() {
    let scene = Scene::with(Limits { sys_interval: Duration::from_millis(20), ..limits() });
    let mut publisher = scene.connect(&user("p", "bob")).await;
    publisher.publish("secret/x", b"x", 1, true).await;
    publisher.publish("open/x", b"x", 1, true).await;
    let mut ann = scene.connect(&user("a", "ann")).await;
    ann.subscribe(&[("$SYS/broker/uptime", 0)]).await;
    assert_eq!(ann.message().await.0, "$SYS/broker/uptime");
    scene.deny("ann", "secret");
    ann.unsubscribe(&["$SYS/broker/uptime"]).await;
    ann.subscribe(&[("#", 1)]).await;
    ann.expect_message("open/x", b"x", 1, true).await;
    ann.subscribe(&[("$SYS/broker/#", 0)]).await;
    ann.message().await;
    scene.deny("ann", "$SYS");
    let denied = || scene.broker.metrics().dropped_receive_denied.get();
    let before = denied();
    while denied() == before {
        tokio::task::yield_now().await;
    }
    settle(&mut ann).await;
    publisher.publish("open/y", b"x", 0, false).await;
    ann.expect_message("open/y", b"x", 0, false).await;
}

#[tokio::test]
async fn users_who_may_not_stay_are_closed_with_a_reason() {
    let scene = Scene::start();
    let open = |id: &'static str, name: &'static str| {
        let (ours, theirs) = duplex(STREAM_BYTES);
        scene.broker.serve(theirs, peer());
        async move {
            let mut client = client5::Client::new(ours);
            let connect =
                client5::Connect { user: Some((name.into(), String::new())), ..client5::Connect::new(id) };
            assert_eq!(client.connect(&connect).await.reason, 0);
            client
        }
    };
    let (mut ann, mut bob, mut carl) =
        (open("a", "ann").await, open("b", "bob").await, open("c", "carl").await);
    scene.table.standing.write().insert("ann".into(), Standing::NotAuthorized);
    scene.table.standing.write().insert("bob".into(), Standing::LogInAnew);
    assert_eq!(scene.broker.recheck_users().await, 2);
    ann.expect_end(&[0x87]).await;
    bob.expect_end(&[0x98]).await;
    carl.ping().await;
    assert_eq!(scene.broker.metrics().users_closed.get(), 2);
}

#[tokio::test]
async fn users_of_two_roots_never_meet() {
    let scene = Scene::start();
    let mut one = scene.connect(&user("1", "ann@one").will("gone", "1", 0, false)).await;
    let mut two = scene.connect(&user("2", "ann@two")).await;
    let mut all = scene.connect(&user("0", "root")).await;
    for client in [&mut one, &mut two] {
        client.subscribe(&[("#", 1), ("$share/g/#", 0)]).await;
    }
    all.subscribe(&[("#", 1)]).await;
    one.publish("t", b"1", 1, true).await;
    all.expect_message("one/t", b"1", 1, false).await;
    for _ in 0..2 {
        assert_eq!(one.message().await.0, "t");
    }
    two.ping().await;
    // It asks for the messages that it gets anyway, and finds no others.
    for filter in ["one/t", "/one/t", "../one/#", "+/+", "$share/g/one/#"] {
        two.subscribe(&[(filter, 1)]).await;
    }
    two.ping().await;
    drop(one);
    all.expect_message("one/gone", b"1", 0, false).await;
    two.publish("one/t", b"2", 0, false).await;
    all.expect_message("two/one/t", b"2", 0, false).await;
    // Clients of one name at two roots are two; and nobody takes over from outside.
    let mut third = scene.connect(&user("2", "ann@one")).await;
    third.ping().await;
    settle(&mut two).await;
    assert!(scene.broker.client("two/2").is_some_and(|client| client.connected));
    let (ours, theirs) = duplex(STREAM_BYTES);
    scene.broker.serve(theirs, peer());
    let mut thief = Client::new(ours);
    thief.send(&user("two/2", "root").encode()).await;
    thief.expect(Got::Connack { present: false, code: 2 }).await;
    two.ping().await;
}

#[tokio::test]
async fn what_is_refused_is_found_in_the_journal() {
    let scene = Scene::start();
    scene.deny("ann", "secret");
    let mut ann = scene.connect(&user("a", "ann")).await;
    ann.send(&crate::client::subscribe(1, &[("secret/#", 1)])).await;
    ann.expect(Got::Suback(1, vec![0x80])).await;
    ann.publish("secret/x", b"x", 1, false).await;
    ann.publish("$SYS/x", b"x", 1, false).await;
    let told: Vec<_> = scene
        .broker
        .drops("a")
        .iter()
        .map(|it| (it.reason, it.topic.to_string(), it.detail.to_string()))
        .collect();
    let line = |reason, topic: &str, detail: &str| (reason, topic.to_owned(), detail.to_owned());
    assert_eq!(
        told,
        [
            line("subscribe_denied", "secret/#", "the test says no to Subscribe"),
            line("publish_denied", "secret/x", "the test says no to Publish { retain: false, empty: false }"),
            line("reserved_topic", "$SYS/x", ""),
        ]
    );
}
