//! Properties of PUBLISH on their way from publisher to subscriber [3.3.2].

use std::time::Duration;

use super::{pair, publish};
use crate::client5::{Connect, PUBCOMP, PUBREC, PUBREL, Props, Publish, Value, ack, prop};
use crate::server::Server;

fn everything() -> Props {
    Props::none()
        .number(prop::PAYLOAD_FORMAT, 1)
        .text(prop::CONTENT_TYPE, "text/\u{e9}")
        .text(prop::RESPONSE_TOPIC, "answer/to")
        .binary(prop::CORRELATION_DATA, b"\0\xff")
        .user("b", "1")
        .user("a", "2")
        .user("b", "1")
        .user("", "")
}

/// The same properties, user properties in the same order, whatever the order of the others.
#[track_caller]
fn assert_same(came: &Props, sent: &Props) {
    let parts = |props: &Props| {
        let (users, mut others): (Vec<_>, Vec<_>) =
            props.0.iter().cloned().partition(|(_, value)| matches!(value, Value::Pair(..)));
        others.sort();
        (users, others)
    };
    assert_eq!(parts(came), parts(sent));
}

/// [MQTT5-3.3.2-4, 3.3.2-15, 3.3.2-16, 3.3.2-17, 3.3.2-18, 3.3.2-20]
#[tokio::test]
async fn properties_reach_live_retained_and_absent_subscribers_as_they_came() {
    let server = Server::start();
    let (mut live, mut publisher) = pair(&server, 2).await;
    let mut away = server.connect5(&Connect::lasting("away")).await;
    away.subscribe(&[("t/#", 2)]).await;
    away.disconnect().await;
    for qos in [0, 1, 2] {
        let message = Publish::new(&format!("t/{qos}"), "x", qos).retained().with(everything());
        publish(&mut publisher, message).await;
        assert_same(&live.message().await.props, &everything());
    }
    let mut late = server.clean5("late").await;
    late.subscribe(&[("t/#", 2)]).await;
    for _ in 0..3 {
        assert_same(&late.message().await.props, &everything());
    }
    let mut away = server.resume5(&Connect::lasting("away")).await;
    for _ in 0..2 {
        assert_same(&away.message().await.props, &everything());
    }
    away.ping().await;
}

/// [MQTT5-3.3.2-4]
#[tokio::test]
async fn a_payload_format_of_0_is_passed_on_or_left_out_as_it_means_the_same() {
    let server = Server::start();
    let (mut subscriber, mut publisher) = pair(&server, 0).await;
    let message = Publish::new("t/a", b"\xff", 0).with(Props::none().number(prop::PAYLOAD_FORMAT, 0));
    publish(&mut publisher, message).await;
    assert_ne!(subscriber.message().await.props.get_number(prop::PAYLOAD_FORMAT), Some(1));
}

fn expiring(topic: &str, payload: &str, qos: u8, seconds: u32) -> Publish {
    Publish::new(topic, payload, qos).with(Props::none().number(prop::MESSAGE_EXPIRY, seconds))
}

/// [MQTT5-3.3.2-5, 3.3.2-6, 4.3.3-7, 4.3.3-13]
#[tokio::test]
async fn what_waits_grows_old_and_what_is_under_way_does_not() {
    let server = Server::start();
    let mut client = server.connect5(&Connect::lasting("a")).await;
    client.subscribe(&[("t/#", 2)]).await;
    let mut publisher = server.clean5("pub").await;
    // Under way before it expires.
    publish(&mut publisher, expiring("t/sent", "", 2, 1)).await;
    let sent = client.publication().await;
    client.send(ack(PUBREC, sent.id, 0)).await;
    assert_eq!(client.pubrel(sent.id).await, 0);
    client.disconnect().await;
    publish(&mut publisher, expiring("t/short", "", 1, 1)).await;
    publish(&mut publisher, expiring("t/long", "", 1, 1000)).await;
    publish(&mut publisher, expiring("t/kept", "", 1, 1).retained()).await;
    publish(&mut publisher, Publish::new("t/ever", "", 1)).await;
    publisher.send(expiring("t/unreleased", "", 2, 1).id(77).encode()).await;
    assert_eq!(publisher.pubrec(77).await, 0);
    // The time itself is what is tested.
    tokio::time::sleep(Duration::from_secs(3)).await;
    publisher.send(ack(PUBREL, 77, 0)).await;
    assert_eq!(publisher.pubcomp(77).await, 0);
    let mut client = server.resume5(&Connect::lasting("a")).await;
    assert_eq!(client.pubrel(sent.id).await, 0);
    client.send(ack(PUBCOMP, sent.id, 0)).await;
    let long = client.message().await;
    assert_eq!(long.topic, "t/long");
    let left = long.props.get_number(prop::MESSAGE_EXPIRY).unwrap();
    assert!((900..=998).contains(&left), "{left}");
    client.expect("t/ever", "", 1, false).await;
    client.ping().await;
    let mut late = server.clean5("late").await;
    late.subscribe(&[("t/#", 2)]).await;
    late.ping().await;
}

/// [MQTT5-3.3.2-6]
#[tokio::test]
async fn a_message_that_does_not_wait_keeps_its_expiry() {
    let server = Server::start();
    let (mut subscriber, mut publisher) = pair(&server, 1).await;
    for qos in [0, 1] {
        publish(&mut publisher, expiring("t/a", "", qos, 1000)).await;
        let left = subscriber.message().await.props.get_number(prop::MESSAGE_EXPIRY).unwrap();
        assert!((990..=1000).contains(&left), "{left}");
    }
    publish(&mut publisher, Publish::new("t/a", "", 1)).await;
    assert_eq!(subscriber.message().await.props, Props::none());
}
