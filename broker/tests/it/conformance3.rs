//! Statements of MQTT 3.1.1 that no other test has for its subject, chapter by chapter.

use crate::client::{self, Client, Connect, DISCONNECT, Got, PINGREQ, PUBACK, PUBCOMP, PUBREC, PUBREL, ack};
use crate::server::Server;

/// A subscriber of `t/#` and a publisher.
async fn pair(server: &Server, qos: u8) -> (Client, Client) {
    let mut subscriber = server.clean("sub").await;
    subscriber.subscribe(&[("t/#", qos)]).await;
    (subscriber, server.clean("pub").await)
}

/// The identifier of the next PUBLISH, which has this QoS and DUP.
async fn next_id(client: &mut Client, qos: u8, dup: bool) -> u16 {
    match client.next().await {
        Some(Got::Publish { qos: its, dup: again, id, .. }) if (its, again) == (qos, dup) => id,
        other => panic!("no PUBLISH with QoS {qos} and DUP {dup}: {other:?}"),
    }
}

/// Reads whole packets as bytes: their first bytes.
fn first_bytes(mut bytes: &[u8]) -> Vec<u8> {
    let mut found = Vec::new();
    while let [first, len, rest @ ..] = bytes {
        assert!(*len < 0x80, "only short packets are sent here");
        found.push(*first);
        bytes = &rest[usize::from(*len)..];
    }
    found
}

/// [MQTT-2.2.2-1]
#[tokio::test]
async fn every_packet_has_the_flags_of_its_type() {
    use tokio::io::AsyncReadExt;

    let server = Server::start();
    let mut client = server.open();
    let mut all = Connect::new("a").encode();
    all.extend(client::subscribe(1, &[("own", 2)]));
    all.extend(client::publish("x", b"", 1, false, false, 2));
    all.extend(client::publish("x", b"", 2, false, false, 3));
    all.extend(ack(PUBREL, 3));
    all.extend(ack(PUBREC, 4));
    all.extend(client::unsubscribe(5, &["own"]));
    all.extend(PINGREQ);
    client.send(&all).await;
    let mut answers = [0; 4 + 5 + 6 * 4 - 4 + 2];
    client.stream.read_exact(&mut answers).await.unwrap();
    let mut seen = first_bytes(&answers);
    assert_eq!(seen.remove(0), 0x20, "CONNACK comes first");
    seen.sort_unstable();
    assert_eq!(seen, [0x40, 0x50, 0x62, 0x70, 0x90, 0xb0, 0xd0]);
}

/// [MQTT-2.3.1-5, 3.3.1-2, 4.3.1-1]
#[tokio::test]
async fn qos_0_is_sent_without_identifier_and_without_dup() {
    use tokio::io::AsyncReadExt;

    let server = Server::start();
    let (mut subscriber, mut publisher) = pair(&server, 2).await;
    publisher.publish("t/a", b"x", 0, false).await;
    let mut packet = [0; 8];
    subscriber.stream.read_exact(&mut packet).await.unwrap();
    assert_eq!(packet, *b"\x30\x06\0\x03t/ax");
}

/// [MQTT-2.3.1-6, 2.3.1-7, 3.8.4-1, 3.8.4-2, 3.10.4-4, 3.12.4-1]
#[tokio::test]
async fn answers_carry_the_identifier_of_what_they_answer() {
    let server = Server::start();
    let mut client = server.clean("a").await;
    for id in [1, 0x1234, 65535] {
        client.send(&client::publish("x", b"", 1, false, false, id)).await;
        client.expect(Got::Puback(id)).await;
        client.send(&client::publish("x", b"", 2, false, false, id)).await;
        client.expect(Got::Pubrec(id)).await;
        client.send(&ack(PUBREL, id)).await;
        client.expect(Got::Pubcomp(id)).await;
        client.send(&client::subscribe(id, &[("y", 1)])).await;
        client.expect(Got::Suback(id, vec![1])).await;
        client.send(&client::unsubscribe(id, &["y"])).await;
        client.expect(Got::Unsuback(id)).await;
        client.send(&ack(PUBREC, id)).await;
        client.expect(Got::Pubrel(id)).await;
    }
    client.send(&PINGREQ).await;
    client.expect(Got::Pingresp).await;
}

/// [MQTT-3.1.2-7]
#[tokio::test]
async fn retained_messages_outlive_the_session_that_published_them() {
    let server = Server::start();
    let mut publisher = server.connect(&Connect::persistent("pub")).await;
    publisher.publish("t/kept", b"x", 1, true).await;
    publisher.disconnect().await;
    server.clean("pub").await.disconnect().await;
    server.until("the session is gone", |metrics| metrics.sessions.get() == 0).await;
    let mut late = server.clean("late").await;
    late.subscribe(&[("t/#", 1)]).await;
    late.expect_message("t/kept", b"x", 1, true).await;
}

/// [MQTT-3.1.2-12, 3.1.2-16]
#[tokio::test]
async fn without_a_will_nothing_is_published_and_a_will_without_retain_is_not_kept() {
    let server = Server::start();
    let (mut watcher, mut publisher) = pair(&server, 1).await;
    drop(server.clean("without").await);
    drop(server.connect(&Connect::new("with").will("t/with", "gone", 1, false)).await);
    server.until("both are gone", |metrics| metrics.connections.get() == 2).await;
    watcher.expect_message("t/with", b"gone", 1, false).await;
    publisher.publish("t/end", b"", 0, false).await;
    watcher.expect_message("t/end", b"", 0, false).await;
    let mut late = server.clean("late").await;
    late.subscribe(&[("t/#", 1)]).await;
    late.ping().await;
    assert_eq!(server.metrics().wills_published.get(), 1);
}

/// [MQTT-3.1.3-5]
#[tokio::test]
async fn identifiers_of_up_to_23_digits_and_letters_are_taken() {
    let server = Server::start();
    let all = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    for id in all.as_bytes().chunks(23).chain(all.as_bytes().chunks(1)) {
        let id = std::str::from_utf8(id).unwrap();
        let mut client = server.clean(id).await;
        client.ping().await;
    }
}

/// [MQTT-3.1.2-1, 3.1.2-3, 3.1.2-9, 3.1.2-22, 3.1.4-1, 3.2.2-6]
#[tokio::test]
async fn a_connect_that_breaks_the_format_is_closed_without_a_connack() {
    let server = Server::start();
    for bytes in [
        &b"\x10\x0d\0\x04MqTT\x04\x02\0\0\0\x01a"[..], // another protocol name
        b"\x10\x0d\0\x04MQTT\x04\x03\0\0\0\x01a",      // the reserved flag
        b"\x10\x0d\0\x04MQTT\x04\x06\0\0\0\x01a",      // a will that is not there
        b"\x10\x10\0\x04MQTT\x04\x42\0\0\0\x01a\0\x01p", // a password without a user name
        b"\x10\x0e\0\x04MQTT\x04\x02\0\0\0\x01ab",     // more than it says
        b"\x10\x0d\0\x04MQTT\x04\x02\0\0\0\x01\xff",   // no UTF-8
    ] {
        let mut client = server.open();
        client.send(bytes).await;
        client.expect_closed().await;
    }
    assert_eq!(server.metrics().connections.get(), 0);
}

/// [MQTT-3.1.4-5, 3.2.2-5]
#[tokio::test]
async fn what_follows_a_refused_connect_is_not_handled() {
    let server = Server::start();
    let (mut subscriber, mut publisher) = pair(&server, 1).await;
    let mut refused = server.open();
    let mut bytes = Connect { level: 3, ..Connect::new("a") }.encode();
    bytes.extend(client::publish("t/refused", b"x", 1, true, false, 1));
    refused.send(&bytes).await;
    refused.expect(Got::Connack { present: false, code: 1 }).await;
    refused.expect_closed().await;
    publisher.publish("t/end", b"", 1, false).await;
    subscriber.expect_message("t/end", b"", 1, false).await;
}

/// [MQTT-3.2.0-1]
#[tokio::test]
async fn connack_comes_before_everything_that_waited_for_the_session() {
    let server = Server::start();
    let mut client = server.connect(&Connect::persistent("a")).await;
    client.subscribe(&[("t", 1)]).await;
    client.disconnect().await;
    server.until("it is gone", |metrics| metrics.connections.get() == 0).await;
    server.clean("pub").await.publish("t", b"waits", 1, false).await;
    let mut client = server.open();
    let mut bytes = Connect::persistent("a").encode();
    bytes.extend(PINGREQ);
    client.send(&bytes).await;
    client.expect(Got::Connack { present: true, code: 0 }).await;
    client.expect_message("t", b"waits", 1, false).await;
}

/// [MQTT-3.3.1-3]
#[tokio::test]
async fn dup_of_a_publisher_is_not_passed_on() {
    let server = Server::start();
    let (mut subscriber, mut publisher) = pair(&server, 2).await;
    for qos in [1, 2] {
        publisher.send(&client::publish("t/a", b"x", qos, false, true, 9)).await;
        if qos == 2 {
            // Some brokers deliver at PUBREL only.
            publisher.expect_flow(Got::Pubrec(9)).await;
            publisher.send(&ack(PUBREL, 9)).await;
        }
        next_id(&mut subscriber, qos, false).await;
    }
}

/// [MQTT-3.3.1-7, 3.3.1-12]
#[tokio::test]
async fn a_retained_message_of_qos_0_replaces_and_one_without_retain_does_not() {
    let server = Server::start();
    let mut publisher = server.clean("pub").await;
    publisher.publish("t/a", b"first", 1, true).await;
    publisher.publish("t/a", b"second", 0, true).await;
    for (payload, qos) in [(&b"third"[..], 0), (b"fourth", 2), (b"", 1)] {
        publisher.publish("t/a", payload, qos, false).await;
    }
    publisher.publish("t/b", b"never kept", 1, false).await;
    let mut late = server.clean("late").await;
    late.subscribe(&[("t/#", 1)]).await;
    late.expect_message("t/a", b"second", 0, true).await;
    late.ping().await;
}

/// [MQTT-3.3.2-3, 3.8.3-2, 4.7.1-1, 4.7.1-2, 4.7.1-3, 4.7.3-4]
#[tokio::test]
async fn filters_with_wildcards_are_granted_and_get_what_they_match() {
    let server = Server::start();
    let mut publisher = server.clean("pub").await;
    for (number, (filter, topics)) in [
        ("+/b/#", vec!["a/b", "/b/c", "x/b/c/d"]),
        ("#", vec!["A", "/", "a/b", "a", "/b/c", "x/b/c/d", "caf\u{e9}", "cafe\u{301}"]),
        ("a", vec!["a"]),
        ("+", vec!["A", "a", "caf\u{e9}", "cafe\u{301}"]),
        ("cafe\u{301}", vec!["cafe\u{301}"]),
    ]
    .into_iter()
    .enumerate()
    {
        let mut subscriber = server.clean(&format!("sub{number}")).await;
        subscriber.subscribe(&[(filter, 0)]).await;
        for topic in ["A", "/", "a/b", "a", "/b/c", "x/b/c/d", "caf\u{e9}", "cafe\u{301}"] {
            publisher.publish(topic, b"", 0, false).await;
            if topics.contains(&topic) {
                subscriber.expect_message(topic, b"", 0, false).await;
            }
        }
        publisher.ping().await;
        subscriber.ping().await;
    }
}

/// [MQTT-1.5.3-2, 4.7.3-1, 4.7.3-2]
#[tokio::test]
async fn topics_and_filters_that_are_empty_or_have_nul_close_the_connection() {
    let server = Server::start();
    for text in ["", "a\0b"] {
        for bytes in [
            client::publish(text, b"", 0, false, false, 0),
            client::subscribe(1, &[(text, 0)]),
            client::unsubscribe(1, &[text]),
        ] {
            let mut client = server.clean("a").await;
            client.send(&bytes).await;
            client.expect_closed().await;
        }
    }
}

/// [MQTT-4.7.3-3]
#[tokio::test]
async fn topics_have_up_to_65535_bytes() {
    let server = Server::start();
    let longest = "x".repeat(65535);
    let mut subscriber = server.clean("sub").await;
    subscriber.subscribe(&[(&longest, 1)]).await;
    let mut publisher = server.clean("pub").await;
    let publish = async { publisher.publish(&longest, b"end", 1, false).await };
    let receive = async { subscriber.expect_message(&longest, b"end", 1, false).await };
    tokio::join!(publish, receive);
}

/// [MQTT-3.8.4-3]
#[tokio::test]
async fn a_repeated_subscribe_replaces_repeats_retained_messages_and_loses_nothing() {
    let server = Server::start();
    let (mut subscriber, mut publisher) = pair(&server, 1).await;
    publisher.publish("t/kept", b"kept", 1, true).await;
    subscriber.expect_message("t/kept", b"kept", 1, false).await;
    for n in 0..20_u8 {
        // Sent at the same time: in whatever order they are handled, the message comes once.
        subscriber.send(&client::subscribe(9, &[("t/#", n % 3)])).await;
        publisher.publish("t/live", &[n], 2, false).await;
        subscriber.expect_flow(Got::Suback(9, vec![n % 3])).await;
        let mut came = [subscriber.message().await, subscriber.message().await];
        came.sort();
        assert_eq!(came[0], ("t/kept".into(), b"kept".to_vec(), (n % 3).min(1), true));
        assert_eq!((&*came[1].0, &*came[1].1), ("t/live", &[n][..]));
    }
    assert_eq!(server.metrics().subscriptions.get(), 1);
    publisher.publish("t/end", b"", 2, false).await;
    subscriber.expect_message("t/end", b"", 1, false).await;
}

/// [MQTT-3.10.4-3]
#[tokio::test]
async fn what_is_under_way_is_completed_after_an_unsubscribe() {
    let server = Server::start();
    let mut subscriber = server.connect(&Connect::persistent("sub")).await;
    subscriber.subscribe(&[("t", 2)]).await;
    let mut publisher = server.clean("pub").await;
    publisher.publish("t", b"one", 1, false).await;
    publisher.publish("t", b"two", 2, false).await;
    let (one, two) = (next_id(&mut subscriber, 1, false).await, next_id(&mut subscriber, 2, false).await);
    subscriber.unsubscribe(&["t"]).await;
    publisher.publish("t", b"three", 1, false).await;
    drop(subscriber);
    let mut subscriber = server.connect(&Connect::persistent("sub")).await;
    assert_eq!(next_id(&mut subscriber, 1, true).await, one);
    assert_eq!(next_id(&mut subscriber, 2, true).await, two);
    subscriber.send(&ack(PUBACK, one)).await;
    subscriber.send(&ack(PUBREC, two)).await;
    subscriber.expect(Got::Pubrel(two)).await;
    subscriber.send(&ack(PUBCOMP, two)).await;
    subscriber.ping().await;
}

/// [MQTT-3.10.4-1, 3.10.4-5, 3.10.4-6]
#[tokio::test]
async fn unsubscribe_ends_exactly_the_filters_it_names() {
    let server = Server::start();
    let mut subscriber = server.clean("sub").await;
    subscriber.subscribe(&[("a/+", 0), ("a/b", 1), ("A/b", 1), ("b/#", 1), ("c", 1)]).await;
    subscriber.unsubscribe(&["never"]).await;
    subscriber.unsubscribe(&["a/b", "b/#", "never", "+"]).await;
    let mut publisher = server.clean("pub").await;
    for topic in ["a/b", "A/b", "b/x", "c"] {
        publisher.publish(topic, b"", 1, false).await;
    }
    subscriber.expect_message("a/b", b"", 0, false).await;
    subscriber.expect_message("A/b", b"", 1, false).await;
    subscriber.expect_message("c", b"", 1, false).await;
    subscriber.ping().await;
}

/// [MQTT-3.14.4-2, 3.14.4-3]
#[tokio::test]
async fn what_follows_a_disconnect_is_not_handled() {
    let server = Server::start();
    let (mut subscriber, mut publisher) = pair(&server, 1).await;
    let mut polite = server.connect(&Connect::new("polite").will("t/will", "never", 1, false)).await;
    let mut bytes = DISCONNECT.to_vec();
    bytes.extend(client::publish("t/late", b"x", 1, true, false, 1));
    polite.send(&bytes).await;
    polite.expect_closed().await;
    publisher.publish("t/end", b"", 1, false).await;
    subscriber.expect_message("t/end", b"", 1, false).await;
}

/// [MQTT-4.3.2-1, 2.3.1-4, 4.4.0-1]
#[tokio::test]
async fn a_qos_1_message_has_a_free_identifier_and_is_kept_until_its_puback() {
    let server = Server::start();
    let mut subscriber = server.connect(&Connect::persistent("sub")).await;
    subscriber.subscribe(&[("t", 1)]).await;
    let mut publisher = server.clean("pub").await;
    let mut under_way = Vec::new();
    for n in 0..30 {
        publisher.publish("t", &[n], 1, false).await;
        let id = next_id(&mut subscriber, 1, false).await;
        assert!(id > 0 && !under_way.contains(&id), "{id} is not free: {under_way:?}");
        if n % 3 == 0 {
            under_way.push(id);
        } else {
            subscriber.send(&ack(PUBACK, id)).await;
            subscriber.ping().await;
        }
    }
    drop(subscriber);
    let mut subscriber = server.connect(&Connect::persistent("sub")).await;
    for id in under_way {
        assert_eq!(next_id(&mut subscriber, 1, true).await, id);
    }
    subscriber.ping().await;
}

/// [MQTT-4.3.2-2]
#[tokio::test]
async fn after_a_puback_the_same_identifier_is_a_new_message() {
    let server = Server::start();
    let (mut subscriber, mut publisher) = pair(&server, 1).await;
    for (payload, dup) in [(b"1", false), (b"2", false), (b"3", true)] {
        publisher.send(&client::publish("t/a", payload, 1, false, dup, 7)).await;
        publisher.expect(Got::Puback(7)).await;
        subscriber.expect_message("t/a", payload, 1, false).await;
    }
}

/// [MQTT-4.3.3-1, 4.4.0-1]
#[tokio::test]
async fn a_qos_2_message_goes_through_its_four_packets_whatever_reconnects_come_between() {
    let server = Server::start();
    let mut subscriber = server.connect(&Connect::persistent("sub")).await;
    subscriber.subscribe(&[("t", 2)]).await;
    server.clean("pub").await.publish("t", b"x", 2, false).await;
    let id = next_id(&mut subscriber, 2, false).await;
    drop(subscriber);
    let mut subscriber = server.connect(&Connect::persistent("sub")).await;
    assert_eq!(next_id(&mut subscriber, 2, true).await, id);
    subscriber.send(&ack(PUBREC, id)).await;
    subscriber.expect(Got::Pubrel(id)).await;
    drop(subscriber);
    let mut subscriber = server.connect(&Connect::persistent("sub")).await;
    subscriber.expect(Got::Pubrel(id)).await;
    subscriber.send(&ack(PUBCOMP, id)).await;
    subscriber.ping().await;
    drop(subscriber);
    let mut subscriber = server.connect(&Connect::persistent("sub")).await;
    subscriber.ping().await;
}

/// [MQTT-4.6.0-2, 4.6.0-3]
#[tokio::test]
async fn acknowledgements_come_in_the_order_of_the_messages() {
    let server = Server::start();
    let mut publisher = server.clean("pub").await;
    for (qos, answer) in [(1, Got::Puback as fn(u16) -> Got), (2, Got::Pubrec)] {
        let ids = [9, 3, 7, 1, 500, 2];
        let packets = ids.map(|id| client::publish("t", b"", qos, false, false, id)).concat();
        publisher.send(&packets).await;
        for id in ids {
            publisher.expect(answer(id)).await;
        }
    }
}

/// [MQTT-4.6.0-1, 4.6.0-4]
#[tokio::test]
async fn pubrels_come_in_the_order_of_the_pubrecs_and_both_are_repeated_in_their_order() {
    let server = Server::start();
    let mut subscriber = server.connect(&Connect::persistent("sub")).await;
    subscriber.subscribe(&[("t", 2)]).await;
    let mut publisher = server.clean("pub").await;
    let mut ids = Vec::new();
    for _ in 0..6 {
        publisher.publish("t", b"", 2, false).await;
        ids.push(next_id(&mut subscriber, 2, false).await);
    }
    for id in [ids[2], ids[0], ids[1]] {
        subscriber.send(&ack(PUBREC, id)).await;
    }
    for id in [ids[2], ids[0], ids[1]] {
        subscriber.expect(Got::Pubrel(id)).await;
    }
    drop(subscriber);
    let mut subscriber = server.connect(&Connect::persistent("sub")).await;
    let (mut released, mut published) = (Vec::new(), Vec::new());
    for _ in 0..6 {
        match subscriber.next().await {
            Some(Got::Pubrel(id)) => released.push(id),
            Some(Got::Publish { dup: true, id, .. }) => published.push(id),
            other => panic!("{other:?}"),
        }
    }
    released.sort_unstable();
    assert_eq!((&released[..], &published[..]), ids.split_at(3));
}
