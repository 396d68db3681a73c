//! Persistent sessions, while the broker runs.

use std::time::Duration;

use distkv_broker::limits::{DropPolicy, Limits};

use crate::client::{self, Connect, Got, PUBACK, PUBCOMP, PUBREC, ack};
use crate::server::{Server, limits};

/// [MQTT-3.1.2-4, 3.1.2-5, 3.2.2-2, 3.2.2-3, 4.1.0-1, 4.5.0-1]
#[tokio::test]
async fn a_persistent_session_gets_what_came_while_it_was_away() {
    let server = Server::start();
    let mut client = server.open();
    assert!(!client.connect(&Connect::persistent("a")).await);
    client.subscribe(&[("t/#", 1)]).await;
    client.disconnect().await;
    server.until("it is gone", |metrics| metrics.connections.get() == 0).await;
    let mut publisher = server.clean("pub").await;
    for n in 0..30 {
        publisher.publish("t/x", &[n], 1, false).await;
        publisher.publish("t/x", b"QoS 0 is not kept", 0, false).await;
    }
    assert_eq!(server.metrics().queued_messages.get(), 30);
    let mut client = server.open();
    assert!(client.connect(&Connect::persistent("a")).await, "session present");
    for n in 0..30 {
        client.expect_message("t/x", &[n], 1, false).await;
    }
    client.ping().await;
    assert_eq!((server.metrics().queued_messages.get(), server.metrics().queued_bytes.get()), (0, 0));
}

/// [MQTT-3.3.1-1, 4.4.0-1, 4.6.0-1]
#[tokio::test]
async fn what_was_not_acknowledged_is_sent_again_with_dup() {
    let server = Server::start();
    let mut client = server.connect(&Connect::persistent("a")).await;
    client.subscribe(&[("t", 2)]).await;
    let mut publisher = server.clean("pub").await;
    for (qos, payload) in [(1, b"one"), (2, b"two"), (2, b"tri")] {
        publisher.publish("t", payload, qos, false).await;
    }
    let mut ids = Vec::new();
    for _ in 0..3 {
        let Some(Got::Publish { id, dup: false, .. }) = client.next().await else { panic!("no message") };
        ids.push(id);
    }
    client.send(&ack(PUBREC, ids[1])).await;
    client.expect(Got::Pubrel(ids[1])).await;
    drop(client);
    let mut client = server.open();
    assert!(client.connect(&Connect::persistent("a")).await);
    let Some(Got::Publish { dup: true, qos: 1, id, .. }) = client.next().await else {
        panic!("the first again")
    };
    assert_eq!(id, ids[0]);
    client.expect(Got::Pubrel(ids[1])).await;
    let Some(Got::Publish { dup: true, qos: 2, id, .. }) = client.next().await else {
        panic!("the third again")
    };
    assert_eq!(id, ids[2]);
    client.send(&ack(PUBACK, ids[0])).await;
    client.send(&ack(PUBCOMP, ids[1])).await;
    client.ping().await;
}

/// [MQTT-3.1.2-6, 3.1.4-3, 3.2.2-1]
#[tokio::test]
async fn a_clean_connect_throws_the_session_away() {
    let server = Server::start();
    let mut client = server.connect(&Connect::persistent("a")).await;
    client.subscribe(&[("t", 1)]).await;
    client.disconnect().await;
    server.until("it is gone", |metrics| metrics.connections.get() == 0).await;
    server.clean("pub").await.publish("t", b"lost", 1, false).await;
    let mut client = server.open();
    assert!(!client.connect(&Connect::new("a")).await);
    client.ping().await;
    assert_eq!((server.metrics().subscriptions.get(), server.metrics().queued_messages.get()), (0, 0));
    client.disconnect().await;
    let mut client = server.open();
    assert!(!client.connect(&Connect::persistent("a")).await, "the clean session left nothing");
}

/// [MQTT-3.1.3-2, 3.1.4-2]
#[tokio::test]
async fn a_takeover_hands_the_persistent_session_over() {
    let server = Server::start();
    let mut first = server.connect(&Connect::persistent("a")).await;
    first.subscribe(&[("t", 1)]).await;
    let mut second = server.open();
    assert!(second.connect(&Connect::persistent("a")).await);
    first.expect_closed().await;
    server.clean("pub").await.publish("t", b"x", 1, false).await;
    second.expect_message("t", b"x", 1, false).await;
}

/// [MQTT-4.3.3-2]
#[tokio::test]
async fn qos_2_without_duplicates_across_a_reconnect_of_the_publisher() {
    let server = Server::start();
    let mut subscriber = server.clean("sub").await;
    subscriber.subscribe(&[("t", 2)]).await;
    let mut publisher = server.connect(&Connect::persistent("pub")).await;
    publisher.send(&client::publish("t", b"once", 2, false, false, 5)).await;
    publisher.expect(Got::Pubrec(5)).await;
    drop(publisher);
    let mut publisher = server.open();
    assert!(publisher.connect(&Connect::persistent("pub")).await);
    publisher.send(&client::publish("t", b"once", 2, false, true, 5)).await;
    publisher.expect(Got::Pubrec(5)).await;
    publisher.send(&ack(client::PUBREL, 5)).await;
    publisher.expect(Got::Pubcomp(5)).await;
    subscriber.expect_message("t", b"once", 2, false).await;
    subscriber.ping().await;
}

#[tokio::test]
async fn a_full_queue_drops_the_newest_or_the_oldest() {
    for (queue_drop, kept) in [(DropPolicy::Newest, [0, 1, 2]), (DropPolicy::Oldest, [7, 8, 9])] {
        let server = Server::with(Limits { queue_messages: 3, queue_drop, ..limits() });
        let mut client = server.connect(&Connect::persistent("a")).await;
        client.subscribe(&[("t", 1)]).await;
        client.disconnect().await;
        server.until("it is gone", |metrics| metrics.connections.get() == 0).await;
        let mut publisher = server.clean("pub").await;
        for n in 0..10 {
            publisher.publish("t", &[n], 1, false).await;
        }
        let mut client = server.connect(&Connect::persistent("a")).await;
        for n in kept {
            client.expect_message("t", &[n], 1, false).await;
        }
        client.ping().await;
        assert_eq!(server.metrics().dropped_queue.get(), 7);
    }
}

#[tokio::test]
async fn the_queues_of_all_sessions_share_a_limit() {
    let server = Server::with(Limits { queues_bytes: 1000, ..limits() });
    for n in 0..3 {
        let mut client = server.connect(&Connect::persistent(&format!("a{n}"))).await;
        client.subscribe(&[("t", 1)]).await;
        client.disconnect().await;
    }
    server.until("they are gone", |metrics| metrics.connections.get() == 0).await;
    let mut publisher = server.clean("pub").await;
    for _ in 0..10 {
        publisher.publish("t", &[0; 199], 1, false).await;
    }
    let metrics = server.metrics();
    assert_eq!(metrics.queued_messages.get(), 5);
    assert_eq!((metrics.queued_bytes.get(), metrics.dropped_queue.get()), (1000, 25));
}

/// [MQTT-4.1.0-2]
#[tokio::test]
async fn old_sessions_are_forgotten_and_connected_ones_are_not() {
    let server = Server::with(Limits { session_expiry: Duration::from_secs(1), ..limits() });
    let mut old = server.connect(&Connect::persistent("old")).await;
    old.subscribe(&[("t", 1)]).await;
    old.disconnect().await;
    let mut here = server.connect(&Connect::persistent("here")).await;
    server.until("it is forgotten", |metrics| metrics.sessions_expired.get() == 1).await;
    assert_eq!((server.metrics().sessions.get(), server.metrics().subscriptions.get()), (1, 0));
    here.ping().await;
    let mut old = server.open();
    assert!(!old.connect(&Connect::persistent("old")).await);
}

/// [MQTT-3.2.2-4, 3.2.2-5]
#[tokio::test]
async fn one_session_too_many_is_refused() {
    let server = Server::with(Limits { sessions: 2, ..limits() });
    let _first = server.clean("a").await;
    let second = server.clean("b").await;
    let mut third = server.open();
    third.send(&Connect::new("c").encode()).await;
    third.expect(Got::Connack { present: false, code: 3 }).await;
    third.expect_closed().await;
    let second_again = server.clean("b").await;
    drop((second, second_again));
    server.until("there is room", |metrics| metrics.sessions.get() == 1).await;
    server.clean("c").await.ping().await;
}
