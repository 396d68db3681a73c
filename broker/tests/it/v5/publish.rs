//! PUBLISH: delivery, retained messages, order, flows of QoS 1 and 2 [3.3, 4.3, 4.6].

use super::{pair, publish};
use crate::client5::{Client, Got, PUBACK, PUBREC, PUBREL, Props, Publish, ack, prop};
use crate::server::Server;

/// [MQTT5-3.3.4-1, 3.8.4-8, 4.3.1-1, 2.2.1-2, 2.2.2-1, 3.3.1-2]
#[tokio::test]
async fn every_publisher_qos_meets_every_subscriber_qos() {
    let server = Server::start();
    let mut subscribers = Vec::new();
    for qos in 0..3 {
        let mut subscriber = server.clean5(&format!("sub{qos}")).await;
        subscriber.subscribe(&[("t/#", qos)]).await;
        subscribers.push(subscriber);
    }
    let mut publisher = server.clean5("pub").await;
    for published in 0..3 {
        publish(&mut publisher, Publish::new("t/x", [published], published)).await;
        for (granted, subscriber) in (0..).zip(&mut subscribers) {
            subscriber.expect("t/x", [published], published.min(granted), false).await;
        }
    }
    publisher.ping().await;
}

/// [MQTT5-2.2.2-1, 4.3.1-1]
#[tokio::test]
async fn qos_0_is_sent_without_identifier_without_dup_and_with_a_property_length() {
    use tokio::io::AsyncReadExt;

    let server = Server::start();
    let (mut subscriber, mut publisher) = pair(&server, 2).await;
    publish(&mut publisher, Publish::new("t/a", "x", 0)).await;
    let mut packet = [0; 9];
    subscriber.stream.read_exact(&mut packet).await.unwrap();
    assert_eq!(packet, *b"\x30\x07\0\x03t/a\0x");
}

/// [MQTT5-3.3.1-3, 4.3.2-2, 4.3.3-2]
#[tokio::test]
async fn dup_of_a_publisher_is_not_passed_on() {
    let server = Server::start();
    let (mut subscriber, mut publisher) = pair(&server, 2).await;
    for qos in [1, 2] {
        publish(&mut publisher, Publish::new("t/a", "x", qos).dup()).await;
        let came = subscriber.publication().await;
        assert_eq!((came.qos, came.dup), (qos, false));
    }
}

/// [MQTT5-3.3.1-5, 3.3.1-6, 3.3.1-7, 3.3.1-8, 3.3.1-12]
#[tokio::test]
async fn a_retained_message_is_kept_replaced_and_deleted() {
    let server = Server::start();
    let (mut live, mut publisher) = pair(&server, 1).await;
    let late = async |n: u8| {
        let mut late = server.clean5(&format!("late{n}")).await;
        late.subscribe(&[("t/#", 2)]).await;
        late
    };
    publish(&mut publisher, Publish::new("t/a", "first", 1).retained()).await;
    live.expect("t/a", "first", 1, false).await;
    publish(&mut publisher, Publish::new("t/a", "second", 0).retained()).await;
    live.expect("t/a", "second", 0, false).await;
    for payload in ["third", ""] {
        publish(&mut publisher, Publish::new("t/a", payload, 1)).await;
        live.expect("t/a", payload, 1, false).await;
    }
    late(1).await.expect("t/a", "second", 0, true).await;
    publish(&mut publisher, Publish::new("t/a", "", 1).retained()).await;
    live.expect("t/a", "", 1, false).await;
    late(2).await.ping().await;
}

/// [MQTT5-3.3.2-3, 4.7.0-1, 4.7.1-1, 4.7.1-2, 4.7.2-1, 4.7.3-4]
#[tokio::test]
async fn filters_get_what_they_match() {
    let server = Server::start();
    let mut publisher = server.clean5("pub").await;
    let topics = ["A", "/", "a/b", "a", "/b/c", "x/b/c/d", "caf\u{e9}", "cafe\u{301}", "$x/b"];
    for (number, (filter, wanted)) in [
        ("+/b/#", vec!["a/b", "/b/c", "x/b/c/d"]),
        ("#", topics[..8].to_vec()),
        ("a/#", vec!["a/b", "a"]),
        ("+", vec!["A", "a", "caf\u{e9}", "cafe\u{301}"]),
        ("+/b", vec!["a/b"]),
        ("cafe\u{301}", vec!["cafe\u{301}"]),
    ]
    .into_iter()
    .enumerate()
    {
        let mut subscriber = server.clean5(&format!("sub{number}")).await;
        subscriber.subscribe(&[(filter, 0)]).await;
        for topic in topics {
            publish(&mut publisher, Publish::new(topic, "", 0)).await;
            if wanted.contains(&topic) {
                subscriber.expect(topic, "", 0, false).await;
            }
        }
        publisher.ping().await;
        subscriber.ping().await;
    }
}

/// [MQTT5-4.7.3-3]
#[tokio::test]
async fn topics_have_up_to_65535_bytes() {
    let server = Server::start();
    let longest = "x".repeat(65535);
    let mut subscriber = server.clean5("sub").await;
    subscriber.subscribe(&[(&longest, 1)]).await;
    let mut publisher = server.clean5("pub").await;
    let publish = async { publish(&mut publisher, Publish::new(&longest, "end", 1)).await };
    let receive = async { subscriber.expect(&longest, "end", 1, false).await };
    tokio::join!(publish, receive);
}

/// [MQTT5-4.3.2-4, 4.3.2-5]
#[tokio::test]
async fn after_a_puback_the_same_identifier_is_a_new_message() {
    let server = Server::start();
    let (mut subscriber, mut publisher) = pair(&server, 1).await;
    for (payload, dup) in [("1", false), ("2", false), ("3", true)] {
        assert_eq!(publisher.publish(Publish { dup, ..Publish::new("t/a", payload, 1).id(7) }).await, 0);
        subscriber.expect("t/a", payload, 1, false).await;
    }
}

/// [MQTT5-4.3.3-8, 4.3.3-10, 4.3.3-11, 4.3.3-12, 3.5.2-1, 3.7.2-1]
#[tokio::test]
async fn a_repeated_qos_2_publish_is_delivered_once_until_it_is_released() {
    let server = Server::start();
    let (mut subscriber, mut publisher) = pair(&server, 2).await;
    for (payload, dup) in [("once", false), ("twice", true)] {
        let message = Publish { dup, ..Publish::new("t/a", payload, 2).id(5) };
        for again in [message.clone(), message.clone().dup(), message.clone().dup()] {
            publisher.send(again.encode()).await;
            assert_eq!(publisher.pubrec(5).await, 0);
        }
        publisher.send(ack(PUBREL, 5, 0)).await;
        assert_eq!(publisher.pubcomp(5).await, 0);
        subscriber.expect("t/a", payload, 2, false).await;
    }
    subscriber.ping().await;
}

/// [MQTT5-4.3.3-4, 3.6.2-1]
#[tokio::test]
async fn a_pubrec_is_answered_by_pubrel_also_where_nothing_is_known_of_it() {
    let server = Server::start();
    let (mut subscriber, mut publisher) = pair(&server, 2).await;
    publish(&mut publisher, Publish::new("t/a", "x", 2)).await;
    let id = subscriber.publication().await.id;
    subscriber.send(ack(PUBREC, id, 0)).await;
    assert_eq!(subscriber.pubrel(id).await, 0);
    subscriber.send(ack(PUBREC, 777, 0)).await;
    assert!(matches!(subscriber.pubrel(777).await, 0 | 0x92));
}

/// [MQTT5-3.4.2-1, 3.5.2-1]
#[tokio::test]
async fn a_publisher_is_told_that_nobody_is_subscribed() {
    let server = Server::start();
    let (_subscriber, mut publisher) = pair(&server, 1).await;
    for qos in [1, 2] {
        assert_eq!(publisher.publish(Publish::new("nobody/here", "x", qos)).await, 0x10);
        assert_eq!(publisher.publish(Publish::new("t/a", "x", qos)).await, 0);
    }
}

/// [MQTT5-4.6.0-5, 4.6.0-6]
#[tokio::test]
async fn order_is_kept_per_publisher_beyond_the_window() {
    let server = Server::start();
    let (mut subscriber, mut publisher) = pair(&server, 2).await;
    let publish = async {
        for n in 0..300_u16 {
            publish(&mut publisher, Publish::new("t/a", n.to_be_bytes(), (n % 2 + 1) as u8)).await;
        }
    };
    let receive = async {
        for n in 0..300_u16 {
            subscriber.expect("t/a", n.to_be_bytes(), (n % 2 + 1) as u8, false).await;
        }
    };
    tokio::join!(publish, receive);
}

/// [MQTT5-4.6.0-2, 4.6.0-3]
#[tokio::test]
async fn acknowledgements_come_in_the_order_of_the_messages() {
    let server = Server::start();
    let mut publisher = server.clean5("pub").await;
    let ids = [9, 3, 7, 1, 500, 2];
    for qos in [1, 2] {
        let packets = ids.map(|id| Publish::new("t", "", qos).id(id).encode()).concat();
        publisher.send(packets).await;
        for id in ids {
            match publisher.next().await {
                Some(Got::Puback(its, ..) | Got::Pubrec(its, ..)) => assert_eq!(its, id),
                other => panic!("{other:?}"),
            }
        }
    }
}

/// [MQTT5-4.6.0-4]
#[tokio::test]
async fn pubrels_come_in_the_order_of_the_pubrecs() {
    let server = Server::start();
    let (mut subscriber, mut publisher) = pair(&server, 2).await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        publish(&mut publisher, Publish::new("t/a", "", 2)).await;
        ids.push(subscriber.publication().await.id);
    }
    ids.rotate_right(1);
    for id in &ids {
        subscriber.send(ack(PUBREC, *id, 0)).await;
    }
    for id in ids {
        assert_eq!(subscriber.next().await, Some(Got::Pubrel(id, 0, Props::none())));
    }
}

/// Messages that came, with the identifiers of the subscriptions that they match.
async fn copies(subscriber: &mut Client) -> Vec<(u8, Vec<u32>)> {
    subscriber.send(crate::client5::PINGREQ).await;
    let mut copies = Vec::new();
    loop {
        match subscriber.next().await {
            Some(Got::Publish(publish)) => {
                if publish.qos == 1 {
                    subscriber.send(ack(PUBACK, publish.id, 0)).await;
                }
                copies.push((publish.qos, publish.props.subscription_ids()));
            }
            Some(Got::Pingresp) => return copies,
            other => panic!("{other:?}"),
        }
    }
}

/// [MQTT5-3.3.4-2, 3.3.4-3, 3.3.4-4]
#[tokio::test]
async fn overlapping_filters_bring_one_copy_with_the_highest_qos_and_all_identifiers() {
    let server = Server::start();
    let mut subscriber = server.clean5("sub").await;
    let id = |number| Props::none().number(prop::SUBSCRIPTION_ID, number);
    subscriber.subscribe_with(id(1), &[("a/#", 0)]).await;
    subscriber.subscribe_with(id(268_435_455), &[("a/+", 1)]).await;
    subscriber.subscribe(&[("+/b", 0)]).await;
    subscriber.subscribe_with(id(3), &[("b", 1)]).await;
    let mut publisher = server.clean5("pub").await;
    publish(&mut publisher, Publish::new("a/b", "", 1)).await;
    assert_eq!(copies(&mut subscriber).await, [(1, vec![1, 268_435_455])]);
    publish(&mut publisher, Publish::new("x/b", "", 1)).await;
    assert_eq!(copies(&mut subscriber).await, [(0, vec![])]);
    // Another SUBSCRIBE takes the identifier away, or gives another.
    subscriber.subscribe(&[("a/+", 1)]).await;
    subscriber.subscribe_with(id(7), &[("a/#", 0)]).await;
    publish(&mut publisher, Publish::new("a/b", "", 1)).await;
    assert_eq!(copies(&mut subscriber).await, [(1, vec![7])]);
}
