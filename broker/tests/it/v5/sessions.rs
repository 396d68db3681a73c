//! Sessions: how they begin, what they keep, how they end [3.1.2, 4.1, 4.4, 4.5].

use std::time::Duration;

use super::publish;
use crate::client5::{
    self, Client, Connect, Got, PUBACK, PUBCOMP, PUBREC, Props, Publish, ack, disconnect, prop,
};
use crate::server::Server;

fn expiring(id: &str, seconds: u32) -> Connect {
    Connect { clean: false, ..Connect::new(id) }.with(Props::none().number(prop::SESSION_EXPIRY, seconds))
}

/// Is a session of that name there? It is left as it was found.
async fn is_present(server: &Server, id: &str) -> bool {
    let mut client = server.open5();
    let connack = client.connect(&Connect::lasting(id)).await;
    assert_eq!(connack.reason, 0);
    let end = if connack.present { u32::MAX } else { 0 };
    client.send(disconnect(0, &Props::none().number(prop::SESSION_EXPIRY, end))).await;
    client.expect_closed().await;
    connack.present
}

/// [MQTT5-3.1.2-5, 3.1.2-6, 3.1.2-23, 3.2.2-3, 4.5.0-1]
#[tokio::test]
async fn a_session_gets_what_came_while_it_was_away() {
    let server = Server::start();
    let mut client = server.open5();
    assert!(!client.connect(&Connect::lasting("a")).await.present);
    client.subscribe(&[("t/#", 2)]).await;
    client.disconnect().await;
    let mut publisher = server.clean5("pub").await;
    for n in 0..15 {
        publish(&mut publisher, Publish::new("t/x", [n], n % 2 + 1)).await;
    }
    let mut client = server.resume5(&Connect::lasting("a")).await;
    for n in 0..15 {
        client.expect("t/x", [n], n % 2 + 1, false).await;
    }
    client.ping().await;
}

/// [MQTT5-3.1.2-4, 3.1.4-4, 3.2.2-2]
#[tokio::test]
async fn a_clean_start_throws_the_session_away() {
    let server = Server::start();
    let mut client = server.connect5(&Connect::lasting("a")).await;
    client.subscribe(&[("t", 1)]).await;
    client.disconnect().await;
    let mut publisher = server.clean5("pub").await;
    publish(&mut publisher, Publish::new("t", "lost", 1)).await;
    let mut client = server.open5();
    let connack = client.connect(&Connect { clean: true, ..Connect::lasting("a") }).await;
    assert!(!connack.present);
    publish(&mut publisher, Publish::new("t", "nobody is subscribed", 1)).await;
    client.ping().await;
    client.disconnect().await;
    assert!(is_present(&server, "a").await, "a clean start may leave a session");
}

/// [MQTT5-4.1.0-1, 4.1.0-2]
#[tokio::test]
async fn a_session_without_expiry_lasts_as_long_as_its_connection() {
    let server = Server::start();
    for connect in [expiring("a", 0), Connect { clean: false, ..Connect::new("a") }] {
        let mut client = server.connect5(&connect).await;
        client.subscribe(&[("t", 1)]).await;
        let mut publisher = server.clean5("pub").await;
        publish(&mut publisher, Publish::new("t", "x", 1)).await;
        client.expect("t", "x", 1, false).await;
        client.disconnect().await;
        assert!(!is_present(&server, "a").await);
    }
}

/// [MQTT5-4.1.0-2]
#[tokio::test]
async fn a_session_is_over_when_its_time_is() {
    let server = Server::start();
    server.connect5(&expiring("short", 1)).await.disconnect().await;
    server.connect5(&expiring("long", 1000)).await.disconnect().await;
    let kept = server.connect5(&expiring("kept", 1)).await;
    // The time itself is what is tested.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(!is_present(&server, "short").await);
    assert!(is_present(&server, "long").await);
    drop(kept);
    assert!(is_present(&server, "kept").await, "time counts from the end of the connection");
}

/// [MQTT5-3.1.2-23, 4.1.0-2]
#[tokio::test]
async fn disconnect_may_change_the_expiry_but_not_from_0() {
    let server = Server::start();
    let change = |seconds| disconnect(0, &Props::none().number(prop::SESSION_EXPIRY, seconds));
    let mut client = server.connect5(&expiring("a", 1000)).await;
    client.send(change(0)).await;
    client.expect_closed().await;
    assert!(!is_present(&server, "a").await);
    let mut client = server.connect5(&expiring("b", 1)).await;
    client.send(change(1000)).await;
    client.expect_closed().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(is_present(&server, "b").await);
    let mut client = server.connect5(&expiring("c", 0)).await;
    client.send(change(1000)).await;
    client.expect_end(&[0x82]).await;
    assert!(!is_present(&server, "c").await);
}

async fn three_under_way(server: &Server) -> (Client, Vec<u16>) {
    let mut client = server.connect5(&Connect::lasting("a")).await;
    client.subscribe(&[("t", 2)]).await;
    let mut publisher = server.clean5("pub").await;
    let mut ids = Vec::new();
    for (qos, payload) in [(1, "one"), (2, "two"), (2, "three")] {
        publish(&mut publisher, Publish::new("t", payload, qos)).await;
        let publish = client.publication().await;
        assert_eq!((publish.qos, publish.dup), (qos, false));
        assert!(publish.id > 0 && !ids.contains(&publish.id));
        ids.push(publish.id);
    }
    (client, ids)
}

/// [MQTT5-2.2.1-4, 3.3.1-1, 4.3.2-1, 4.3.2-2, 4.3.2-3, 4.3.3-1, 4.3.3-2, 4.3.3-3, 4.3.3-5, 4.3.3-6, 4.4.0-1]
#[tokio::test]
async fn what_was_not_answered_is_sent_again_on_the_next_connection_only() {
    let server = Server::start();
    let (mut client, ids) = three_under_way(&server).await;
    client.send(ack(PUBREC, ids[1], 0)).await;
    assert_eq!(client.pubrel(ids[1]).await, 0);
    client.ping().await;
    drop(client);
    let mut client = server.resume5(&Connect::lasting("a")).await;
    let (mut published, mut released) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        match client.next().await {
            Some(Got::Publish(Publish { id, dup: true, qos, .. })) => published.push((id, qos)),
            Some(Got::Pubrel(id, 0, _)) => released.push(id),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((published, released), (vec![(ids[0], 1), (ids[2], 2)], vec![ids[1]]));
    client.send(ack(PUBACK, ids[0], 0)).await;
    client.send(ack(PUBCOMP, ids[1], 0)).await;
    client.send(ack(PUBREC, ids[2], 0)).await;
    assert_eq!(client.pubrel(ids[2]).await, 0);
    client.send(ack(PUBCOMP, ids[2], 0)).await;
    client.ping().await;
    drop(client);
    server.resume5(&Connect::lasting("a")).await.ping().await;
}

/// [MQTT5-4.4.0-2]
#[tokio::test]
async fn a_refusing_acknowledgement_ends_a_message() {
    let server = Server::start();
    let (mut client, ids) = three_under_way(&server).await;
    client.send(ack(PUBACK, ids[0], 0x83)).await;
    client.send(ack(PUBREC, ids[1], 0x80)).await;
    client.ping().await;
    drop(client);
    let mut client = server.resume5(&Connect::lasting("a")).await;
    let publish = client.publication().await;
    assert_eq!((publish.id, publish.dup), (ids[2], true));
    client.ping().await;
}

/// [MQTT5-4.6.0-1]
#[tokio::test]
async fn messages_are_sent_again_in_their_order() {
    let server = Server::start();
    let mut client = server.connect5(&Connect::lasting("a")).await;
    client.subscribe(&[("t", 2)]).await;
    let mut publisher = server.clean5("pub").await;
    for n in 0..10 {
        publish(&mut publisher, Publish::new("t", [n], n % 2 + 1)).await;
        client.publication().await;
    }
    drop(client);
    let mut client = server.resume5(&Connect::lasting("a")).await;
    for n in 0..10 {
        let publish = client.publication().await;
        assert_eq!((&publish.payload[..], publish.dup), (&[n][..], true));
    }
}

/// [MQTT5-4.3.3-8, 4.3.3-10]
#[tokio::test]
async fn qos_2_without_duplicates_across_a_reconnect_of_the_publisher() {
    let server = Server::start();
    let (mut subscriber, _) = super::pair(&server, 2).await;
    let mut publisher = server.connect5(&Connect::lasting("twice")).await;
    let once = Publish::new("t/x", "once", 2).id(5);
    publisher.send(once.encode()).await;
    assert_eq!(publisher.pubrec(5).await, 0);
    drop(publisher);
    let mut publisher = server.resume5(&Connect::lasting("twice")).await;
    publisher.send(once.dup().encode()).await;
    assert_eq!(publisher.pubrec(5).await, 0);
    publisher.send(ack(client5::PUBREL, 5, 0)).await;
    assert_eq!(publisher.pubcomp(5).await, 0);
    subscriber.expect("t/x", "once", 2, false).await;
    subscriber.ping().await;
}
