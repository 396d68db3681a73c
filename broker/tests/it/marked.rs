//! What only ours has, rule by rule: the marked replay and writes with a condition. (Provenance is with the groups.)

use std::collections::HashMap;
use std::sync::Arc;

use distkv_broker::hooks::memory::MemoryHooks;
use distkv_broker::hooks::{
    BoxFuture, Condition, Hooks, Login, LoginRefused, Mark, Principal, Provenance, Replay, RetainRefused,
    RetainedMessage, Version,
};
use distkv_broker::limits::{Limits, Offer};
use parking_lot::Mutex;
use tokio::io::duplex;

use crate::client5::{Client, Connect, Got, PUBACK, PUBREL, Props, Publish, ack, prop, subscribe};
use crate::server::{STREAM_BYTES, Server, limits, peer};

fn marked(name: &str) -> Props {
    Props::none().user("distkv-replay", name)
}

/// A broker with so many retained messages `t/0`, `t/1`, ..., and a client that wants to be told the end of replays.
async fn with_retained(count: usize, id: Option<u32>) -> (Server, Client) {
    let server = Server::start();
    let mut publisher = server.clean5("pub").await;
    for n in 0..count {
        let kept = Publish::new(&format!("t/{n}"), "kept", 1).retained();
        assert!(publisher.publish(kept).await < 0x80);
    }
    let mut client = server.clean5("a").await;
    let props = id.map_or(Props::none(), |id| Props::none().number(prop::SUBSCRIPTION_ID, id));
    client.subscribe_with(props, &[("$distkv/replay/#", 1)]).await;
    (server, client)
}

/// Acknowledges all that comes until a replay's end is told: how many messages came, and what is told.
async fn until_the_end(client: &mut Client, first: Option<Publish>) -> (usize, Publish) {
    let mut messages = 0;
    let mut next = first;
    loop {
        let publish = match next.take() {
            Some(publish) => publish,
            None => client.publication().await,
        };
        client.send(ack(PUBACK, publish.id, 0)).await;
        if publish.topic.starts_with('$') {
            return (messages, publish);
        }
        messages += 1;
    }
}

fn text(publish: &Publish) -> &str {
    std::str::from_utf8(&publish.payload).unwrap()
}

#[tokio::test]
async fn the_end_comes_behind_all_messages_that_wait_for_acknowledgements() {
    let (_server, mut client) = with_retained(200, Some(9)).await;
    client.subscribe_with(marked("boot"), &[("t/#", 1)]).await;
    let (messages, end) = until_the_end(&mut client, None).await;
    assert_eq!((messages, &*end.topic, end.qos, end.retain), (200, "$distkv/replay/boot", 1, false));
    assert_eq!(text(&end), r#"{"messages":200,"filters":["t/#"],"tock":0}"#);
    assert_eq!(end.props.subscription_ids(), [9], "the identifier of the subscription by which it comes");
    client.ping().await;
}

#[tokio::test]
async fn a_replay_that_an_unsubscribe_ends_has_its_end_told() {
    let (_server, mut client) = with_retained(200, None).await;
    client.subscribe_with(marked("boot"), &[("t/#", 1)]).await;
    let first = client.publication().await;
    assert_eq!(client.unsubscribe(&["t/#"]).await, [0]);
    let (messages, end) = until_the_end(&mut client, Some(first)).await;
    assert!(messages < 200, "the replay was under way");
    assert_eq!(text(&end), format!(r#"{{"messages":{messages},"filters":["t/#"],"tock":0}}"#));
    client.ping().await;
}

#[tokio::test]
async fn a_replay_that_begins_anew_is_at_its_end_when_the_new_one_is() {
    let (_server, mut client) = with_retained(200, None).await;
    client.subscribe_with(marked("boot"), &[("t/#", 1)]).await;
    let first = client.publication().await;
    client.send(subscribe(7, &Props::none(), &[("t/#", 1)])).await;
    assert_eq!(client.suback(7).await, [1]);
    let (messages, end) = until_the_end(&mut client, Some(first)).await;
    assert!(messages > 200, "some come twice: {messages}");
    assert_eq!(text(&end), format!(r#"{{"messages":{messages},"filters":["t/#"],"tock":0}}"#));
    client.ping().await;
}

#[tokio::test]
async fn of_a_replay_with_too_many_filters_the_end_is_not_told() {
    let (server, mut client) = with_retained(1, None).await;
    let long = "x".repeat(60_000);
    let filters: Vec<String> = (0..6).map(|n| format!("{long}/{n}")).collect();
    let mut wanted: Vec<(&str, u8)> = filters.iter().map(|filter| (&**filter, 0)).collect();
    wanted.push(("t/#", 0));
    client.subscribe_with(marked("large"), &wanted).await;
    assert_eq!(client.publication().await.topic, "t/0");
    client.subscribe_with(marked("small"), &[("t/#", 0)]).await;
    let (messages, end) = until_the_end(&mut client, None).await;
    assert_eq!((messages, &*end.topic), (1, "$distkv/replay/small"));
    assert_eq!(server.metrics().dropped_quota.get(), 1);
}

#[tokio::test]
async fn a_packet_that_repeats_its_filters_is_cut_where_a_client_has_as_many_as_it_may() {
    let server = Server::with(Limits { subscriptions: 3, ..limits() });
    let mut client = server.clean5("a").await;
    client.send(subscribe(7, &marked("x"), &[("a", 1); 1030])).await;
    let codes = client.suback(7).await;
    assert_eq!((codes.len(), &codes[1022..1026]), (1030, &[1, 1, 0x97, 0x97][..]));
    client.ping().await;
}

#[tokio::test]
async fn a_filter_that_an_unsubscribe_repeats_is_there_once() {
    let server = Server::start();
    let mut client = server.clean5("a").await;
    client.subscribe(&[("a", 0), ("b", 0)]).await;
    assert_eq!(client.unsubscribe(&["a", "c", "a", "b"]).await, [0, 0x11, 0x11, 0]);
    assert_eq!(server.metrics().subscriptions.get(), 0);
}

#[tokio::test]
async fn a_name_that_no_topic_can_have_asks_for_nothing() {
    let (_server, mut client) = with_retained(0, None).await;
    for name in ["", "a/#", "+", &"x".repeat(257)] {
        client.subscribe_with(marked(name), &[("t", 0)]).await;
        client.ping().await;
        // And is none to publish to.
        let topic = format!("$distkv/replay/{name}");
        if !name.contains(['#', '+']) {
            assert_eq!(client.publish(Publish::new(&topic, "t", 1)).await, 0x90);
        }
    }
    for name in ["a/b", &"x".repeat(256)] {
        client.subscribe_with(marked(name), &[("t", 0)]).await;
        let (_, end) = until_the_end(&mut client, None).await;
        assert_eq!(end.topic, format!("$distkv/replay/{name}"));
    }
    client.ping().await;
}

#[tokio::test]
async fn filters_that_were_refused_are_not_among_those_of_the_replay() {
    let server = Server::with(Limits { offer: Offer { wildcards: false, ..Offer::default() }, ..limits() });
    let mut client = server.clean5("a").await;
    client.subscribe(&[("$distkv/replay/boot", 0)]).await;
    client.send(subscribe(1, &marked("boot"), &[("a/+", 0), ("b", 0), ("$share/g/c", 0)])).await;
    assert_eq!(client.suback(1).await, [0xa2, 0, 0]);
    let told = r#"{"messages":0,"filters":["b","$share/g/c"],"tock":0}"#;
    client.expect("$distkv/replay/boot", told, 0, false).await;
    client.ping().await;
}

/// A store of versions only.
#[derive(Clone, Default)]
struct Versioned {
    memory: MemoryHooks,
    ticks: Arc<Mutex<HashMap<String, u64>>>,
}

struct VersionedPrincipal(Versioned, Arc<dyn Principal>);

impl Hooks for Versioned {
    fn authenticate<'a>(
        &'a self,
        login: Login<'a>,
    ) -> BoxFuture<'a, Result<Arc<dyn Principal>, LoginRefused>> {
        Box::pin(std::future::ready(Ok(self.restored(login.client_id, login.user))))
    }

    fn restored(&self, client_id: &str, user: Option<&str>) -> Arc<dyn Principal> {
        Arc::new(VersionedPrincipal(self.clone(), self.memory.restored(client_id, user)))
    }

    fn retained_count(&self) -> u64 {
        self.memory.retained_count()
    }
}

impl Principal for VersionedPrincipal {
    fn user(&self) -> Option<&str> {
        self.1.user()
    }

    fn retain(
        &self,
        message: &RetainedMessage<'_>,
        condition: Option<Condition<'_>>,
        deliver: &mut dyn FnMut(Option<&Provenance<'_>>),
    ) -> Result<Mark, RetainRefused> {
        let mut ticks = self.0.ticks.lock();
        let now = ticks.get(message.topic).copied();
        let holds = match condition {
            None => true,
            Some(Condition::New) => now.is_none(),
            Some(Condition::Version { node, tick }) => node == "n" && now == Some(tick),
        };
        if !holds {
            let version = now.map(|tick| Version { node: "n".into(), tick });
            return Err(RetainRefused::Conflict(version));
        }
        let tick = now.unwrap_or(0) + 1;
        ticks.insert(message.topic.into(), tick);
        let provenance = Provenance { node: "n", tick, tock: tick, time_ms: 0, user: None };
        self.1.retain(message, None, &mut |_| deliver(Some(&provenance)))
    }

    fn replay(&self, filter: &str) -> Box<dyn Replay> {
        self.1.replay(filter)
    }
}

fn conditional(condition: &str, qos: u8, id: u16) -> Publish {
    Publish::new("t", "x", qos).retained().id(id).with(Props::none().user("distkv-if", condition))
}

/// The answer to a PUBLISH at QoS 1 or 2: its reason, and the version that it tells.
async fn answer(client: &mut Client, publish: Publish) -> (u8, Option<String>) {
    client.send(publish.encode()).await;
    let props = |props: &Props| {
        let told = props.get(prop::USER).map(|value| match value {
            crate::client5::Value::Pair(name, value) if name == "distkv-now" => value.clone(),
            other => panic!("{other:?}"),
        });
        assert_eq!(props.0.len(), usize::from(told.is_some()));
        told
    };
    match client.next().await {
        Some(Got::Puback(id, reason, told) | Got::Pubrec(id, reason, told)) if id == publish.id => {
            (reason, props(&told))
        }
        other => panic!("{other:?}"),
    }
}

async fn release(client: &mut Client, id: u16, reason: u8) {
    client.send(ack(PUBREL, id, 0)).await;
    assert_eq!(client.pubcomp(id).await, reason);
}

/// [MQTT5-3.1.2-29, 4.3.3-9]
#[tokio::test]
async fn a_write_with_a_condition_is_answered_with_the_version_and_a_refused_one_frees_its_identifier() {
    let broker = Server::with_hooks(limits(), Versioned::default());
    let open = || {
        let (ours, theirs) = duplex(STREAM_BYTES);
        broker.serve(theirs, peer());
        Client::new(ours)
    };
    let mut watcher = open();
    assert_eq!(watcher.connect(&Connect::new("watcher")).await.reason, 0);
    watcher.subscribe(&[("t", 2)]).await;
    let now = |version: &str| Some(version.to_owned());
    for (problem_information, first) in [(true, 0), (false, 3)] {
        let mut client = open();
        let wants = Props::none().number(prop::REQUEST_PROBLEM, problem_information.into());
        assert_eq!(client.connect(&Connect::new("a").with(wants)).await.reason, 0);
        let told = |version: String| now(&version).filter(|_| problem_information);
        let before = if first == 0 { "new".to_owned() } else { format!("n:{first}") };
        assert_eq!(
            answer(&mut client, conditional(&before, 2, 5)).await,
            (0, told(format!("n:{}", first + 1)))
        );
        release(&mut client, 5, 0).await;
        let conflict = (0x83, told(format!("n:{}", first + 1)));
        assert_eq!(answer(&mut client, conditional("n:77", 2, 5)).await, conflict);
        assert_eq!(answer(&mut client, conditional("new", 1, 6)).await, conflict);
        // Nothing is known of the refused one: the identifier stands for a new message at once, without PUBREL.
        let second = conditional(&format!("n:{}", first + 1), 2, 5);
        assert_eq!(answer(&mut client, second).await, (0, told(format!("n:{}", first + 2))));
        assert_eq!(answer(&mut client, conditional("new", 2, 5).dup()).await, (0, None), "a duplicate");
        release(&mut client, 5, 0).await;
        release(&mut client, 5, 0x92).await;
        assert_eq!(
            answer(&mut client, conditional(&format!("n:{}", first + 2), 1, 6)).await,
            (0, told(format!("n:{}", first + 3)))
        );
        // What is no condition, or belongs to nothing that is kept, is refused.
        for wrong in [conditional("7", 1, 6), Publish { retain: false, ..conditional("new", 1, 6) }] {
            assert_eq!(answer(&mut client, wrong).await, (0x83, None));
        }
        client.ping().await;
    }
    for qos in [2, 2, 1, 2, 2, 1] {
        watcher.expect("t", "x", qos, false).await;
    }
    watcher.ping().await;
}
