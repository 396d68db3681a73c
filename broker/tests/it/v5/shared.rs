//! Shared subscriptions [4.8.2].

use super::publish;
use crate::client5::{
    Client, Connect, Got, PINGREQ, PUBACK, PUBCOMP, PUBREC, Props, Publish, ack, subscribe,
};
use crate::server::Server;

async fn member(server: &Server, id: &str, filter: &str, qos: u8) -> Client {
    let mut member = server.connect5(&Connect::lasting(id)).await;
    member.subscribe(&[(filter, qos)]).await;
    member
}

/// Everything that comes, answered: payloads and QoS.
async fn drain(client: &mut Client) -> Vec<(u8, u8)> {
    let mut came = Vec::new();
    let mut before = usize::MAX;
    client.send(PINGREQ).await;
    loop {
        match client.next().await {
            Some(Got::Publish(publish)) => {
                came.push((publish.payload[0], publish.qos));
                match publish.qos {
                    0 => {}
                    1 => client.send(ack(PUBACK, publish.id, 0)).await,
                    _ => {
                        client.send(ack(PUBREC, publish.id, 0)).await;
                        assert_eq!(client.pubrel(publish.id).await, 0);
                        client.send(ack(PUBCOMP, publish.id, 0)).await;
                    }
                }
            }
            // Answers make room for more, until there is no more.
            Some(Got::Pingresp) if came.len() == before => return came,
            Some(Got::Pingresp) => {
                before = came.len();
                client.send(PINGREQ).await;
            }
            other => panic!("{other:?}"),
        }
    }
}

/// [MQTT5-4.8.2-1, 4.8.2-3]
#[tokio::test]
async fn one_member_of_each_share_gets_a_message_with_its_own_qos() {
    let server = Server::start();
    let mut members = Vec::new();
    for (id, filter, qos) in [
        ("a0", "$share/a/t/#", 0),
        ("a1", "$share/a/t/#", 1),
        ("a2", "$share/a/t/#", 2),
        ("b2", "$share/b/t/+", 2),
    ] {
        members.push((member(&server, id, filter, qos).await, qos));
    }
    let mut whole = server.clean5("whole").await;
    whole.subscribe(&[("t/#", 2)]).await;
    let mut publisher = server.clean5("pub").await;
    for n in 0..60 {
        publish(&mut publisher, Publish::new("t/x", [n], n % 3)).await;
        whole.expect("t/x", [n], n % 3, false).await;
    }
    let mut in_a: Vec<u8> = Vec::new();
    for (member, qos) in &mut members[..3] {
        let came = drain(member).await;
        assert!(came.iter().all(|(n, its)| *its == (n % 3).min(*qos)), "{came:?}");
        assert!(!came.is_empty(), "each member has its share");
        in_a.extend(came.iter().map(|(n, _)| n));
    }
    in_a.sort_unstable();
    assert_eq!(in_a, (0..60).collect::<Vec<u8>>());
    let in_b = drain(&mut members[3].0).await;
    assert_eq!(in_b.len(), 60);
}

/// [MQTT5-4.8.2-1, 4.8.2-2, 3.8.3-4]
#[tokio::test]
async fn a_wrong_shared_subscription_is_refused() {
    let server = Server::start();
    for filter in ["$share/", "$share/g", "$share/g/", "$share//a", "$share/+/a", "$share/#", "$share/g#/a"] {
        let mut client = server.clean5("a").await;
        client.send(subscribe(1, &Props::none(), &[(filter, 0)])).await;
        match client.next().await {
            Some(Got::Suback(1, reasons, _)) => assert_eq!(reasons, [0x8f], "{filter}"),
            Some(Got::Disconnect(0x81 | 0x82 | 0x8f, _)) => client.expect_closed().await,
            other => panic!("{filter}: {other:?}"),
        }
    }
    let mut client = server.clean5("a").await;
    client.send(subscribe(1, &Props::none(), &[("$share/g/a", 4)])).await;
    client.expect_end(&[0x82]).await;
}

/// [MQTT5-4.8.2-4]
#[tokio::test]
async fn qos_2_that_was_sent_to_a_member_is_completed_with_it() {
    let server = Server::start();
    let mut first = member(&server, "first", "$share/g/t", 2).await;
    let mut publisher = server.clean5("pub").await;
    publish(&mut publisher, Publish::new("t", "x", 2)).await;
    let sent = first.publication().await;
    let mut second = member(&server, "second", "$share/g/t", 2).await;
    drop(first);
    second.ping().await;
    let mut first = server.resume5(&Connect::lasting("first")).await;
    let again = first.publication().await;
    assert_eq!((again.id, again.dup), (sent.id, true));
    first.send(ack(PUBREC, sent.id, 0)).await;
    assert_eq!(first.pubrel(sent.id).await, 0);
    first.send(ack(PUBCOMP, sent.id, 0)).await;
    second.ping().await;
}

/// [MQTT5-4.8.2-5]
#[tokio::test]
async fn qos_2_that_was_sent_to_a_member_whose_session_ends_goes_to_nobody_else() {
    let server = Server::start();
    let mut first = member(&server, "first", "$share/g/t", 2).await;
    let mut publisher = server.clean5("pub").await;
    publish(&mut publisher, Publish::new("t", "x", 2)).await;
    first.publication().await;
    let mut second = member(&server, "second", "$share/g/t", 2).await;
    drop(first);
    server.clean5("first").await.disconnect().await;
    second.ping().await;
    publish(&mut publisher, Publish::new("t", "y", 2)).await;
    second.expect("t", "y", 2, false).await;
}

/// [MQTT5-4.8.2-6]
#[tokio::test]
async fn a_message_that_a_member_refuses_goes_to_nobody_else() {
    let server = Server::start();
    let mut first = member(&server, "first", "$share/g/t", 2).await;
    let mut publisher = server.clean5("pub").await;
    let mut sent = Vec::new();
    for qos in [1, 2] {
        publish(&mut publisher, Publish::new("t", "x", qos)).await;
        sent.push(first.publication().await);
    }
    let mut second = member(&server, "second", "$share/g/t", 2).await;
    first.send(ack(PUBACK, sent[0].id, 0x80)).await;
    first.send(ack(PUBREC, sent[1].id, 0x83)).await;
    first.ping().await;
    second.ping().await;
    drop(first);
    server.resume5(&Connect::lasting("first")).await.ping().await;
}
