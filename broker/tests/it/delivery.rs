//! From publishers to subscribers.

use distkv_broker::message::{Message, QoS};

use crate::client::{self, Connect, Got, PUBREL, ack};
use crate::server::Server;

/// [MQTT-3.3.4-1, 3.8.4-6]
#[tokio::test]
async fn every_publisher_qos_meets_every_subscriber_qos() {
    let server = Server::start();
    let mut subscribers = Vec::new();
    for qos in 0..3 {
        let mut subscriber = server.clean(&format!("sub{qos}")).await;
        subscriber.subscribe(&[("t/#", qos)]).await;
        subscribers.push(subscriber);
    }
    let mut publisher = server.clean("pub").await;
    for published in 0..3 {
        publisher.publish("t/x", &[published], published, false).await;
        for (granted, subscriber) in (0..).zip(&mut subscribers) {
            subscriber.expect_message("t/x", &[published], published.min(granted), false).await;
        }
    }
    publisher.ping().await;
    let metrics = server.metrics();
    assert_eq!((metrics.publish_received.get(), metrics.publish_bytes_received.get()), (3, 3));
    assert_eq!((metrics.publish_sent.get(), metrics.dropped_total()), (9, 0));
}

#[tokio::test]
async fn payloads_of_every_size_arrive_exactly() {
    let server = Server::start();
    for qos in 0..3 {
        let mut subscriber = server.clean("sub").await;
        subscriber.subscribe(&[("big", qos)]).await;
        let mut publisher = server.clean("pub").await;
        for size in [0, 1, 120, 121, 511, 512, 513, 4000, 16_000, 65_000, 65_520, 65_536, 70_000, 1_000_000] {
            let payload: Vec<u8> = (0..size).map(|n| (n * 7 + n / 256) as u8).collect();
            let publish = async { publisher.publish("big", &payload, qos, false).await };
            let receive = async { subscriber.message().await };
            let ((), (_, received, ..)) = tokio::join!(publish, receive);
            assert!(received == payload, "{size} bytes at QoS {qos}");
        }
    }
    assert_eq!(server.metrics().unfinished_bytes.get(), 0);
}

#[tokio::test]
async fn a_client_gets_its_own_messages_too() {
    let server = Server::start();
    let mut client = server.clean("a").await;
    client.subscribe(&[("self", 1)]).await;
    client.send(&client::publish("self", b"me", 1, false, false, 9)).await;
    let both = [client.next().await.unwrap(), client.next().await.unwrap()];
    assert!(both.contains(&Got::Puback(9)), "{both:?}");
    assert!(
        both.iter().any(|got| matches!(got, Got::Publish { payload, .. } if payload == b"me")),
        "{both:?}"
    );
}

/// [MQTT-3.3.5-1]
#[tokio::test]
async fn overlapping_filters_bring_one_copy_with_the_highest_qos() {
    let server = Server::start();
    let mut subscriber = server.clean("sub").await;
    subscriber.subscribe(&[("a/#", 0), ("a/+", 2), ("a/b", 1)]).await;
    server.clean("pub").await.publish("a/b", b"1", 2, false).await;
    subscriber.expect_message("a/b", b"1", 2, false).await;
    subscriber.ping().await;
}

/// [MQTT-3.10.4-1, 3.10.4-2, 3.10.4-4]
#[tokio::test]
async fn after_unsubscribe_nothing_comes_any_more() {
    let server = Server::start();
    let mut subscriber = server.clean("sub").await;
    subscriber.subscribe(&[("a", 1), ("b", 1)]).await;
    subscriber.unsubscribe(&["a", "never"]).await;
    let mut publisher = server.clean("pub").await;
    publisher.publish("a", b"no", 1, false).await;
    publisher.publish("b", b"yes", 1, false).await;
    subscriber.expect_message("b", b"yes", 1, false).await;
    assert_eq!(server.metrics().subscriptions.get(), 1);
}

/// [MQTT-3.8.4-4, 3.8.4-5]
#[tokio::test]
async fn several_hundred_filters_fit_into_one_subscribe() {
    let server = Server::start();
    let filters: Vec<String> = (0..900).map(|n| format!("building/floor/room/{n}")).collect();
    let mut subscriber = server.clean("sub").await;
    subscriber.subscribe(&filters.iter().map(|filter| (&**filter, 1)).collect::<Vec<_>>()).await;
    server.clean("pub").await.publish("building/floor/room/899", b"x", 1, false).await;
    subscriber.expect_message("building/floor/room/899", b"x", 1, false).await;
    assert_eq!(server.metrics().subscriptions.get(), 900);
    subscriber.disconnect().await;
    server.until("they are gone", |metrics| metrics.subscriptions.get() == 0).await;
}

/// [MQTT-4.3.3-2]
#[tokio::test]
async fn a_repeated_qos_2_publish_is_delivered_once() {
    let server = Server::start();
    let mut subscriber = server.clean("sub").await;
    subscriber.subscribe(&[("t", 2)]).await;
    let mut publisher = server.clean("pub").await;
    for dup in [false, true, true] {
        publisher.send(&client::publish("t", b"once", 2, false, dup, 5)).await;
        publisher.expect(Got::Pubrec(5)).await;
    }
    publisher.send(&ack(PUBREL, 5)).await;
    publisher.expect(Got::Pubcomp(5)).await;
    publisher.send(&ack(PUBREL, 5)).await;
    publisher.expect(Got::Pubcomp(5)).await;
    publisher.publish("t", b"next", 2, false).await;
    subscriber.expect_message("t", b"once", 2, false).await;
    subscriber.expect_message("t", b"next", 2, false).await;
}

/// [MQTT-4.6.0-5, 4.6.0-6]
#[tokio::test]
async fn order_is_kept_per_publisher_beyond_the_window() {
    let server = Server::start();
    let mut subscriber = server.clean("sub").await;
    subscriber.subscribe(&[("t", 2)]).await;
    let mut publisher = server.clean("pub").await;
    let publish = async {
        for n in 0..500_u16 {
            publisher.publish("t", &n.to_be_bytes(), (n % 2 + 1) as u8, false).await;
        }
    };
    let receive = async {
        for n in 0..500_u16 {
            subscriber.expect_message("t", &n.to_be_bytes(), (n % 2 + 1) as u8, false).await;
        }
    };
    tokio::join!(publish, receive);
    assert_eq!(server.metrics().queued_messages.get(), 0);
}

/// [MQTT-4.8.0-1]
#[tokio::test]
async fn a_wrong_acknowledgement_closes_and_an_unknown_one_does_not() {
    let server = Server::start();
    let mut client = server.clean("a").await;
    for first in [client::PUBACK, client::PUBCOMP] {
        client.send(&ack(first, 77)).await;
    }
    client.send(&ack(client::PUBREC, 77)).await;
    client.expect(Got::Pubrel(77)).await;
    client.subscribe(&[("t", 1)]).await;
    server.clean("pub").await.publish("t", b"x", 1, false).await;
    let Some(Got::Publish { id, .. }) = client.next().await else { panic!("no message") };
    client.send(&ack(client::PUBREC, id)).await;
    client.expect_closed().await;
}

#[tokio::test]
async fn a_superfluous_length_byte_is_taken_and_not_passed_on() {
    let server = Server::start();
    let mut subscriber = server.clean("sub").await;
    subscriber.subscribe(&[("t", 0)]).await;
    let mut publisher = server.clean("pub").await;
    publisher.send(b"\x30\x84\x00\0\x01tx").await;
    subscriber.expect_message("t", b"x", 0, false).await;
    subscriber.ping().await;
    assert_eq!(
        server.metrics().bytes_sent.get(),
        2 * 4 + 5 + 6 + 2,
        "two CONNACK, SUBACK, PUBLISH, PINGRESP"
    );
}

#[tokio::test]
async fn the_embedder_publishes_too() {
    let server = Server::start();
    let mut subscriber = server.clean("sub").await;
    subscriber.subscribe(&[("from/+", 2)]).await;
    let payload = bytes::Bytes::from_static(b"native");
    let message = Message::new("from/store".into(), payload, QoS::AtLeastOnce);
    server.broker.publish(&message, None);
    subscriber.expect_message("from/store", b"native", 1, false).await;
}

/// [MQTT-4.5.0-1, 4.6.0-6]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_publishers_and_subscribers_lose_nothing() {
    const MESSAGES: u32 = 2000;
    let server = std::sync::Arc::new(Server::start());
    let mut tasks = tokio::task::JoinSet::new();
    let ready = std::sync::Arc::new(tokio::sync::Barrier::new(8));
    for n in 0..4 {
        let (server, ready) = (server.clone(), ready.clone());
        tasks.spawn(async move {
            let mut subscriber = server.clean(&format!("sub{n}")).await;
            subscriber.subscribe(&[("load/+", n % 3)]).await;
            ready.wait().await;
            let mut next = [0_u32; 4];
            for _ in 0..4 * MESSAGES {
                let (topic, payload, ..) = subscriber.message().await;
                let publisher: usize = topic.strip_prefix("load/").unwrap().parse().unwrap();
                let number = u32::from_be_bytes(payload.try_into().unwrap());
                assert_eq!(number, next[publisher], "in order from publisher {publisher}");
                next[publisher] += 1;
            }
        });
    }
    for n in 0..4 {
        let (server, ready) = (server.clone(), ready.clone());
        tasks.spawn(async move {
            let mut publisher = server.connect(&Connect::new(&format!("pub{n}"))).await;
            ready.wait().await;
            for number in 0..MESSAGES {
                publisher.publish(&format!("load/{n}"), &number.to_be_bytes(), (n % 3) as u8, false).await;
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    assert_eq!(server.metrics().dropped_total(), 0);
}
