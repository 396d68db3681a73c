//! SUBSCRIBE and UNSUBSCRIBE with their options and answers [3.8 to 3.11].

use super::{pair, publish};
use crate::client5::{self, Client, Connect, PUBACK, PUBCOMP, PUBREC, Props, Publish, ack, prop, subscribe};
use crate::server::Server;

const NO_LOCAL: u8 = 4;
const RETAIN_AS_PUBLISHED: u8 = 8;
const IF_NEW: u8 = 0x10;
const NEVER: u8 = 0x20;

/// [MQTT5-3.8.3-3]
#[tokio::test]
async fn no_local_keeps_a_clients_own_messages_from_it() {
    let server = Server::start();
    let mut client = server.clean5("a").await;
    client.subscribe(&[("t", 1 | NO_LOCAL), ("u", 1)]).await;
    for topic in ["t", "u"] {
        publish(&mut client, Publish::new(topic, "own", 1)).await;
    }
    client.expect("u", "own", 1, false).await;
    let mut other = server.clean5("b").await;
    publish(&mut other, Publish::new("t", "other", 1)).await;
    client.expect("t", "other", 1, false).await;
    client.ping().await;
}

/// [MQTT5-3.3.1-12, 3.3.1-13]
#[tokio::test]
async fn retain_is_passed_on_as_the_subscription_says() {
    let server = Server::start();
    let (mut without, mut publisher) = pair(&server, 1).await;
    let mut with = server.clean5("with").await;
    with.subscribe(&[("t/#", 1 | RETAIN_AS_PUBLISHED)]).await;
    for (retain, payload) in [(true, "x"), (false, "x"), (true, "")] {
        publish(&mut publisher, Publish { retain, ..Publish::new("t/a", payload, 1) }).await;
        without.expect("t/a", payload, 1, false).await;
        with.expect("t/a", payload, 1, retain).await;
    }
}

/// [MQTT5-3.3.1-9, 3.3.1-10, 3.3.1-11]
#[tokio::test]
async fn retained_messages_come_as_retain_handling_says() {
    let server = Server::start();
    let mut publisher = server.clean5("pub").await;
    publish(&mut publisher, Publish::new("t/a", "kept", 1).retained()).await;
    let mut client = server.connect5(&Connect::lasting("a")).await;
    client.subscribe(&[("t/#", 1 | NEVER)]).await;
    client.ping().await;
    client.subscribe(&[("t/#", 1 | IF_NEW)]).await;
    client.ping().await;
    for _ in 0..2 {
        client.subscribe(&[("t/#", 1)]).await;
        client.expect("t/a", "kept", 1, true).await;
    }
    client.subscribe(&[("+/a", 1 | IF_NEW)]).await;
    client.expect("t/a", "kept", 1, true).await;
    client.unsubscribe(&["+/a"]).await;
    client.subscribe(&[("+/a", 1 | IF_NEW)]).await;
    client.expect("t/a", "kept", 1, true).await;
    client.disconnect().await;
    let mut client = server.resume5(&Connect::lasting("a")).await;
    client.subscribe(&[("+/a", 1 | IF_NEW), ("t/#", 1 | IF_NEW)]).await;
    client.ping().await;
}

/// [MQTT5-3.8.4-3, 3.8.4-4]
#[tokio::test]
async fn a_repeated_subscribe_replaces_repeats_retained_messages_and_loses_nothing() {
    let server = Server::start();
    let (mut subscriber, mut publisher) = pair(&server, 1).await;
    publish(&mut publisher, Publish::new("t/kept", "kept", 1).retained()).await;
    subscriber.expect("t/kept", "kept", 1, false).await;
    for n in 0..20_u8 {
        // Sent at the same time: in whatever order they are handled, the message comes once.
        subscriber.send(subscribe(9, &Props::none(), &[("t/#", n % 3)])).await;
        publish(&mut publisher, Publish::new("t/live", [n], 2)).await;
        assert_eq!(subscriber.suback(9).await, [n % 3]);
        let mut came = [subscriber.message().await, subscriber.message().await];
        came.sort();
        let [kept, live] = came;
        assert_eq!((&*kept.topic, kept.qos, kept.retain), ("t/kept", (n % 3).min(1), true));
        assert_eq!((&*live.topic, &live.payload[..]), ("t/live", &[n][..]));
    }
    publish(&mut publisher, Publish::new("t/end", "", 2)).await;
    subscriber.expect("t/end", "", 1, false).await;
    subscriber.ping().await;
}

/// [MQTT5-3.8.4-5, 3.8.4-6, 3.8.4-7, 3.9.3-1, 3.9.3-2]
#[tokio::test]
async fn each_filter_of_a_subscribe_has_its_reason_in_its_place() {
    let server = Server::start();
    let mut client = server.clean5("a").await;
    client
        .send(subscribe(1, &Props::none(), &[("a", 2), ("$share/g/b", 0), ("c/#", 1), ("+", 0), ("a", 1)]))
        .await;
    assert_eq!(client.suback(1).await, [2, 0, 1, 0, 1]);
    let mut publisher = server.clean5("pub").await;
    publish(&mut publisher, Publish::new("a", "x", 2)).await;
    client.expect("a", "x", 1, false).await;
    client.ping().await;
}

/// [MQTT5-3.10.4-1, 3.10.4-2, 3.10.4-6, 3.11.3-1, 3.11.3-2]
#[tokio::test]
async fn unsubscribe_ends_exactly_the_filters_it_names() {
    let server = Server::start();
    let mut subscriber = server.clean5("sub").await;
    subscriber.subscribe(&[("a/+", 0), ("a/b", 1), ("A/b", 1), ("b/#", 1), ("c", 1)]).await;
    assert_eq!(subscriber.unsubscribe(&["a/b", "never", "b/#", "+"]).await, [0, 0x11, 0, 0x11]);
    let mut publisher = server.clean5("pub").await;
    for topic in ["a/b", "A/b", "b/x", "c"] {
        publish(&mut publisher, Publish::new(topic, "", 1)).await;
    }
    subscriber.expect("a/b", "", 0, false).await;
    subscriber.expect("A/b", "", 1, false).await;
    subscriber.expect("c", "", 1, false).await;
    subscriber.ping().await;
}

async fn under_way(server: &Server) -> (Client, u16, u16) {
    let mut subscriber = server.connect5(&Connect::lasting("sub")).await;
    subscriber.subscribe(&[("t", 2)]).await;
    let mut publisher = server.clean5("pub").await;
    publish(&mut publisher, Publish::new("t", "one", 1)).await;
    publish(&mut publisher, Publish::new("t", "two", 2)).await;
    let (one, two) = (subscriber.publication().await.id, subscriber.publication().await.id);
    assert_eq!(subscriber.unsubscribe(&["t"]).await, [0]);
    publish(&mut publisher, Publish::new("t", "three", 1)).await;
    (subscriber, one, two)
}

/// [MQTT5-3.10.4-3]
#[tokio::test]
async fn what_is_under_way_is_completed_after_an_unsubscribe() {
    let server = Server::start();
    let (subscriber, one, two) = under_way(&server).await;
    drop(subscriber);
    let mut subscriber = server.resume5(&Connect::lasting("sub")).await;
    assert_eq!(subscriber.publication().await.id, one);
    assert_eq!(subscriber.publication().await.id, two);
    subscriber.send(ack(PUBACK, one, 0)).await;
    subscriber.send(ack(PUBREC, two, 0)).await;
    assert_eq!(subscriber.pubrel(two).await, 0);
    subscriber.send(ack(PUBCOMP, two, 0)).await;
    subscriber.ping().await;
}

/// [MQTT5-3.3.4-3]
#[tokio::test]
async fn identifiers_come_with_retained_and_queued_messages() {
    let server = Server::start();
    let mut publisher = server.clean5("pub").await;
    publish(&mut publisher, Publish::new("t/a", "kept", 1).retained()).await;
    let mut client = server.connect5(&Connect::lasting("a")).await;
    client.subscribe_with(Props::none().number(prop::SUBSCRIPTION_ID, 7), &[("t/#", 1)]).await;
    assert_eq!(client.message().await.props.subscription_ids(), [7]);
    client.disconnect().await;
    publish(&mut publisher, Publish::new("t/a", "queued", 1)).await;
    let mut client = server.resume5(&Connect::lasting("a")).await;
    assert_eq!(client.message().await.props.subscription_ids(), [7]);
}

/// [MQTT5-3.8.1-1, 3.8.3-2, 3.8.3-5, 3.10.1-1, 3.10.3-2, 4.13.1-1]
#[tokio::test]
async fn a_wrong_subscribe_or_unsubscribe_ends_the_connection() {
    let server = Server::start();
    for (bytes, reasons) in [
        (crate::client::packet(0x80, b"\0\x01\0\0\x01a\0"), &[0x81][..]),
        (crate::client::packet(0x82, b"\0\x01\0"), &[0x82, 0x81]),
        (subscribe(1, &Props::none(), &[("a", 3)]), &[0x82, 0x81]),
        (subscribe(1, &Props::none(), &[("a", 0x40)]), &[0x81]),
        (subscribe(1, &Props::none(), &[("a", 0x80)]), &[0x81]),
        (subscribe(1, &Props::none(), &[("a", 0x30)]), &[0x82, 0x81]),
        (subscribe(1, &Props::none().number(prop::SUBSCRIPTION_ID, 0), &[("a", 0)]), &[0x82, 0x81]),
        (crate::client::packet(0xa0, b"\0\x01\0\0\x01a"), &[0x81]),
        (client5::unsubscribe(1, &[]), &[0x82, 0x81]),
    ] {
        let mut client = server.clean5("a").await;
        client.send(bytes).await;
        client.expect_end(reasons).await;
    }
}
