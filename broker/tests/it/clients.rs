//! What an operator sees of the clients, and what it means to disconnect one or to drop its session.

use std::collections::BTreeSet;
use std::time::Duration;

use distkv_broker::clients::{NotDropped, PAGE_MAX, Query};
use distkv_broker::codec::ProtocolVersion;
use distkv_broker::limits::{Limits, RateAction};
use distkv_broker::message::QoS;
use distkv_broker::metrics::Dropped;
use tokio::io::AsyncReadExt as _;

use crate::client::{self, Connect, Got};
use crate::server::{Server, limits, peer};

async fn ids(server: &Server, query: Query) -> Vec<String> {
    server.broker.clients(&query).await.items.iter().map(|client| client.id.to_string()).collect()
}

#[tokio::test]
async fn a_client_is_shown_with_all_that_is_known_of_it() {
    let server = Server::start();
    let user = Some(("ada".to_owned(), "secret".to_owned()));
    let mut a = server.connect(&Connect { keep_alive: 45, user, ..Connect::persistent("a") }).await;
    a.subscribe(&[("x/#", 1), ("y", 0)]).await;
    a.publish("z", b"1", 2, false).await;
    a.send(&client::publish("z", b"2", 2, false, false, 99)).await;
    a.expect(Got::Pubrec(99)).await;
    let mut b = server.clean("b").await;
    b.publish("x/1", b"hello", 1, false).await;
    assert!(matches!(a.next().await, Some(Got::Publish { .. })));
    server.until("it is written", |metrics| metrics.publish_sent.get() == 1).await;
    let info = server.broker.client("a").unwrap();
    assert_eq!((&*info.id, info.user.as_deref(), info.address), ("a", Some("ada"), Some(peer().into())));
    assert_eq!(info.version, ProtocolVersion::V3_1_1);
    assert_eq!((info.connected, info.clean, info.keep_alive), (true, false, 45));
    assert!(info.since >= info.created && info.created > 1_700_000_000);
    assert_eq!((info.subscriptions, info.inflight, info.incoming), (2, 1, 1));
    assert_eq!((info.messages_in, info.messages_out, info.queue_messages), (2, 1, 0));
    assert_eq!(info.dropped, []);
    a.disconnect().await;
    server.until("it is away", |metrics| metrics.connections.get() == 1).await;
    b.publish("x/1", b"hello", 1, false).await;
    let info = server.broker.client("a").unwrap();
    assert_eq!((info.connected, info.queue_messages, info.queue_bytes), (false, 1, 8));
    assert!(info.session_expiry.is_some());
    assert!(server.broker.client("b").unwrap().clean);
    assert!(server.broker.client("c").is_none());
}

#[tokio::test]
async fn a_list_comes_in_pages_that_hold_every_client_once_and_in_order() {
    let server = Server::start();
    let mut clients = Vec::new();
    for n in 0..25 {
        clients.push(server.clean(&format!("c{}", n * 7 % 25)).await);
    }
    let mut seen = Vec::new();
    let mut query = Query { limit: 4, ..Query::default() };
    loop {
        let page = server.broker.clients(&query).await;
        assert!(page.items.len() == 4 || !page.more);
        seen.extend(page.items.iter().map(|client| client.id.to_string()));
        query.after = seen.last().cloned();
        if !page.more {
            break;
        }
    }
    let expected: BTreeSet<String> = (0..25).map(|n| format!("c{n}")).collect();
    assert_eq!(seen, expected.into_iter().collect::<Vec<_>>());
}

#[tokio::test]
async fn a_list_is_filtered_by_all_that_is_asked_for() {
    let server = Server::start();
    let mut one = server.open_from("192.0.2.1:1000".parse().unwrap());
    let user = Some(("ada".to_owned(), String::new()));
    one.connect(&Connect { user: user.clone(), ..Connect::persistent("sensor-1") }).await;
    let mut two = server.open_from("192.0.2.2:1000".parse().unwrap());
    two.connect(&Connect { name: "MQIsdp", level: 3, ..Connect::persistent("sensor-2") }).await;
    let _three = server.connect(&Connect { user, ..Connect::new("lamp-1") }).await;
    two.disconnect().await;
    server.until("one is away", |metrics| metrics.connections.get() == 2).await;
    let all = Query::default();
    let address = Some("192.0.2.2".parse().unwrap());
    for (query, expected) in [
        (all.clone(), vec!["lamp-1", "sensor-1", "sensor-2"]),
        (Query { id: Some("-1".into()), ..all.clone() }, vec!["lamp-1", "sensor-1"]),
        (Query { id_prefix: Some("sensor".into()), ..all.clone() }, vec!["sensor-1", "sensor-2"]),
        (Query { user: Some("ada".into()), ..all.clone() }, vec!["lamp-1", "sensor-1"]),
        (Query { address, ..all.clone() }, vec!["sensor-2"]),
        (Query { version: Some(ProtocolVersion::V3_1), ..all.clone() }, vec!["sensor-2"]),
        (Query { connected: Some(false), ..all.clone() }, vec!["sensor-2"]),
        (Query { connected: Some(true), id: Some("sensor".into()), ..all.clone() }, vec!["sensor-1"]),
        (Query { after: Some("sensor-1".into()), ..all.clone() }, vec!["sensor-2"]),
        (Query { user: Some("bob".into()), ..all.clone() }, vec![]),
    ] {
        assert_eq!(ids(&server, query.clone()).await, expected, "{query:?}");
    }
}

#[tokio::test]
async fn others_have_their_turn_while_a_long_list_is_made() {
    let server = Server::start();
    let mut clients = Vec::new();
    for n in 0..1100 {
        clients.push(server.clean(&format!("{n:04}")).await);
    }
    let query = Query { limit: usize::MAX, ..Query::default() };
    let mut turns = 0;
    let list = server.broker.clients(&query);
    let mut list = std::pin::pin!(list);
    let page = loop {
        tokio::select! {
            biased;
            page = &mut list => break page,
            () = std::future::ready(()) => turns += 1,
        }
        tokio::task::yield_now().await;
    };
    assert_eq!((page.items.len(), page.more), (PAGE_MAX, true));
    assert!(turns >= 4, "{turns}");
}

#[tokio::test]
async fn dropped_messages_are_counted_for_the_client_that_loses_them() {
    let server = Server::with(Limits { queue_messages: 2, topic_levels: 3, ..limits() });
    let mut away = server.connect(&Connect::persistent("away")).await;
    away.subscribe(&[("t", 1)]).await;
    away.disconnect().await;
    let mut publisher = server.clean("pub").await;
    for _ in 0..5 {
        publisher.publish("t", b"x", 1, false).await;
    }
    publisher.publish("a/b/c/d", b"x", 1, false).await;
    publisher.publish("$SYS/x", b"x", 1, false).await;
    assert_eq!(server.broker.client("away").unwrap().dropped, [(Dropped::QueueFull, 3)]);
    let dropped = server.broker.client("pub").unwrap().dropped;
    assert_eq!(dropped, [(Dropped::Reserved, 1), (Dropped::TopicTooLong, 1)]);
}

#[tokio::test]
async fn subscriptions_come_in_pages_in_the_order_of_their_filters() {
    let server = Server::start();
    let mut a = server.clean("a").await;
    a.subscribe(&[("c", 2), ("a/#", 1), ("b", 0)]).await;
    let page = server.broker.subscriptions_of("a", None, 2).unwrap();
    let shown: Vec<_> = page.items.iter().map(|shown| (&*shown.filter, shown.qos)).collect();
    assert_eq!((shown, page.more), (vec![("a/#", QoS::AtLeastOnce), ("b", QoS::AtMostOnce)], true));
    let page = server.broker.subscriptions_of("a", Some("b"), 2).unwrap();
    assert_eq!((page.items.len(), &*page.items[0].filter, page.more), (1, "c", false));
    assert!(server.broker.subscriptions_of("b", None, 2).is_none());
}

#[tokio::test]
async fn who_gets_a_topic_is_told_with_each_filter() {
    let server = Server::start();
    let mut a = server.clean("a").await;
    a.subscribe(&[("x/+", 1), ("#", 0), ("y", 2)]).await;
    let mut b = server.clean("b").await;
    b.subscribe(&[("x/1", 2)]).await;
    let page = server.broker.who_gets("x/1", 10);
    let mut found: Vec<_> = page.items.iter().map(|r| (&*r.client, &*r.filter, r.qos)).collect();
    found.sort_unstable();
    let expected =
        [("a", "#", QoS::AtMostOnce), ("a", "x/+", QoS::AtLeastOnce), ("b", "x/1", QoS::ExactlyOnce)];
    assert_eq!((found.as_slice(), page.more), (&expected[..], false));
    let page = server.broker.who_gets("x/1", 2);
    assert_eq!((page.items.len(), page.more), (2, true));
}

#[tokio::test]
async fn an_administrator_disconnects_a_client_whose_session_stays() {
    let server = Server::start();
    let mut watcher = server.clean("watcher").await;
    watcher.subscribe(&[("will", 0)]).await;
    let mut a = server.connect(&Connect::persistent("a").will("will", "gone", 0, false)).await;
    assert!(server.broker.disconnect("a", "a test"));
    a.expect_closed().await;
    watcher.expect_message("will", b"gone", 0, false).await;
    server.until("it is away", |metrics| metrics.connections.get() == 1).await;
    assert!(!server.broker.disconnect("a", "it is away"));
    assert!(!server.broker.disconnect("nobody", "there is none"));
    // The order to end was for that connection only.
    let mut again = server.open();
    assert!(again.connect(&Connect::persistent("a")).await);
    again.ping().await;
    assert_eq!(server.metrics().admin_disconnects.get(), 1);
}

#[tokio::test]
async fn a_dropped_session_is_gone_with_its_subscriptions_and_its_queue() {
    let server = Server::start();
    for connected in [true, false] {
        let mut a = server.connect(&Connect::persistent("a")).await;
        a.subscribe(&[("t", 1)]).await;
        if !connected {
            a.send(&client::DISCONNECT).await;
            a.expect_closed().await;
            server.until("it is away", |metrics| metrics.connections.get() == 0).await;
            server.clean("pub").await.publish("t", b"waits", 1, false).await;
            assert_eq!(server.metrics().queued_messages.get(), 1);
        }
        server.broker.drop_session("a").await.unwrap();
        if connected {
            a.expect_closed().await;
        }
        server.until("nothing is left", |m| (m.sessions.get(), m.subscriptions.get()) == (0, 0)).await;
        assert_eq!(server.metrics().queued_messages.get(), 0);
        assert!(server.broker.client("a").is_none());
        assert_eq!(server.broker.drop_session("a").await, Err(NotDropped::Unknown));
        assert!(!server.open().connect(&Connect::persistent("a")).await);
        server.broker.drop_session("a").await.unwrap();
    }
    assert_eq!(server.metrics().sessions_dropped.get(), 4);
}

#[tokio::test]
async fn a_dropped_session_does_not_come_back_after_a_restart() {
    let server = Server::start();
    let mut a = server.connect(&Connect::persistent("a")).await;
    a.subscribe(&[("t", 1)]).await;
    server.broker.drop_session("a").await.unwrap();
    let (hooks, records) = server.crash();
    let server = Server::resume(limits(), hooks, &records);
    assert!(server.broker.client("a").is_none());
}

#[tokio::test]
async fn a_restored_session_is_shown_as_away_and_without_an_address() {
    let server = Server::start();
    let _a = server.connect(&Connect::persistent("a")).await;
    let (hooks, records) = server.crash();
    let server = Server::resume(limits(), hooks, &records);
    let info = server.broker.client("a").unwrap();
    assert_eq!((info.connected, info.address), (false, None));
    assert!(info.since > 1_700_000_000);
}

/// A client of MQTT 5 whose CONNECT was accepted.
async fn connect_5(server: &Server, id: &str, will_after: Option<u8>) -> client::Client {
    let mut body = b"\0\x04MQTT\x05".to_vec();
    body.extend([if will_after.is_some() { 0x06 } else { 0x02 }, 0, 0]);
    // The session is kept for a while.
    body.extend([5, 0x11, 0, 0, 1, 0]);
    client::put_text(&mut body, id.as_bytes());
    if let Some(seconds) = will_after {
        body.extend([5, 0x18, 0, 0, 0, seconds]);
        client::put_text(&mut body, b"will");
        client::put_text(&mut body, b"gone");
    }
    let mut client = server.open();
    client.send(&client::packet(0x10, &body)).await;
    let connack = read_packet(&mut client).await;
    assert_eq!((connack[0], connack[3]), (0x20, 0), "{connack:02x?}");
    client
}

/// One short packet, as it came.
async fn read_packet(client: &mut client::Client) -> Vec<u8> {
    let reading = async {
        let mut packet = vec![0; 2];
        client.stream.read_exact(&mut packet).await.unwrap();
        assert!(packet[1] < 0x80, "{packet:02x?}");
        packet.resize(2 + usize::from(packet[1]), 0);
        client.stream.read_exact(&mut packet[2..]).await.unwrap();
        packet
    };
    tokio::time::timeout(client::PATIENCE, reading).await.unwrap()
}

#[tokio::test]
async fn mqtt_5_is_told_why_it_is_disconnected() {
    let limits = Limits { publish_rate: 1, rate_action: RateAction::Disconnect, ..limits() };
    let server = Server::with(limits);
    let mut a = connect_5(&server, "a", None).await;
    assert!(server.broker.disconnect("a", "a test"));
    let disconnect = read_packet(&mut a).await;
    assert_eq!((disconnect[0], disconnect[2]), (0xe0, 0x98), "{disconnect:02x?}");
    let mut fast = connect_5(&server, "fast", None).await;
    fast.send(&client::packet(0x30, b"\0\x01t\0x").repeat(2)).await;
    let disconnect = read_packet(&mut fast).await;
    assert_eq!((disconnect[0], disconnect[2]), (0xe0, 0x96), "{disconnect:02x?}");
}

#[tokio::test]
async fn a_dropped_session_ends_the_delay_of_its_will() {
    let server = Server::start();
    let mut watcher = server.clean("watcher").await;
    watcher.subscribe(&[("will", 0)]).await;
    let _a = connect_5(&server, "a", Some(200)).await;
    assert_eq!(server.broker.client("a").unwrap().session_expiry, Some(Duration::from_secs(256)));
    assert_eq!(ids(&server, Query { version: Some(ProtocolVersion::V5), ..Query::default() }).await, ["a"]);
    assert!(server.broker.disconnect("a", "a test"));
    server.until("it is away", |metrics| metrics.connections.get() == 1).await;
    watcher.ping().await;
    server.broker.drop_session("a").await.unwrap();
    watcher.expect_message("will", b"gone", 0, false).await;
}

#[tokio::test]
async fn members_of_a_shared_subscription_are_told_too() {
    let server = Server::start();
    let mut a = server.clean("a").await;
    a.subscribe(&[("$share/g/x/+", 1), ("x/1", 0)]).await;
    let mut b = server.clean("b").await;
    b.subscribe(&[("$share/g/x/+", 0)]).await;
    let page = server.broker.who_gets("x/1", 10);
    let found: BTreeSet<_> = page.items.iter().map(|r| (&*r.client, &*r.filter)).collect();
    assert_eq!(found, [("a", "$share/g/x/+"), ("a", "x/1"), ("b", "$share/g/x/+")].into());
    assert_eq!(server.broker.who_gets("x/1", 2).items.len(), 2);
}
