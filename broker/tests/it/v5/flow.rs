//! Receive maximum, in both directions [3.3.4, 4.9].

use super::{pair, publish};
use crate::client5::{Connect, Got, PUBACK, PUBCOMP, PUBREC, Props, Publish, ack, prop, subscribe};
use crate::server::Server;

/// [MQTT5-3.3.4-9, 3.3.4-10, 4.9.0-1, 4.9.0-2, 4.9.0-3]
#[tokio::test]
async fn no_more_than_the_clients_receive_maximum_is_under_way_and_other_packets_are_not_delayed() {
    let server = Server::start();
    let connect = Connect::new("sub").with(Props::none().number(prop::RECEIVE_MAXIMUM, 2));
    let mut subscriber = server.connect5(&connect).await;
    subscriber.subscribe(&[("t", 2)]).await;
    let mut publisher = server.clean5("pub").await;
    for n in 0..6 {
        publish(&mut publisher, Publish::new("t", [n], n % 2 + 1)).await;
    }
    let (first, second) = (subscriber.publication().await, subscriber.publication().await);
    assert_eq!((first.qos, second.qos), (1, 2));
    subscriber.ping().await;
    // QoS 0 and answers pass.
    publish(&mut publisher, Publish::new("t", "unhindered", 0)).await;
    subscriber.expect("t", "unhindered", 0, false).await;
    subscriber.send(subscribe(9, &Props::none(), &[("other", 0)])).await;
    assert_eq!(subscriber.suback(9).await, [0]);
    assert_eq!(subscriber.publish(Publish::new("other", "own", 1)).await, 0);
    subscriber.expect("other", "own", 0, false).await;
    // PUBREC gives no room, PUBCOMP does.
    subscriber.send(ack(PUBREC, second.id, 0)).await;
    assert_eq!(subscriber.next().await, Some(Got::Pubrel(second.id, 0, Props::none())));
    subscriber.ping().await;
    subscriber.send(ack(PUBCOMP, second.id, 0)).await;
    let third = subscriber.publication().await;
    assert_eq!(third.payload, [2]);
    subscriber.ping().await;
    subscriber.send(ack(PUBACK, first.id, 0)).await;
    assert_eq!(subscriber.publication().await.payload, [3]);
    subscriber.ping().await;
    // A refusal gives room as well.
    subscriber.send(ack(PUBACK, third.id, 0x97)).await;
    assert_eq!(subscriber.publication().await.payload, [4]);
    subscriber.ping().await;
}

/// [MQTT5-3.3.4-7]
#[tokio::test]
async fn a_client_that_exceeds_the_servers_receive_maximum_is_disconnected() {
    let server = Server::start();
    let mut publisher = server.open5();
    let connack = publisher.connect(&Connect::new("pub")).await;
    let most = connack.props.get_number(prop::RECEIVE_MAXIMUM).unwrap_or(65535);
    let flood = async {
        for id in 1..=most.min(65535) as u16 {
            publisher.send(Publish::new("t", "", 2).id(id).encode()).await;
            assert!(publisher.pubrec(id).await < 0x80);
        }
        if most < 65535 {
            publisher.send(Publish::new("t", "", 2).id(65535).encode()).await;
            publisher.expect_end(&[0x93]).await;
        }
    };
    flood.await;
}

/// [MQTT5-3.3.4-7]
#[tokio::test]
async fn room_is_given_back_by_each_answer() {
    let server = Server::start();
    let (mut subscriber, _) = pair(&server, 0).await;
    let mut publisher = server.open5();
    let connack = publisher.connect(&Connect::new("pub")).await;
    let most = connack.props.get_number(prop::RECEIVE_MAXIMUM).unwrap_or(65535).min(1000);
    for n in 0..most + 100 {
        publish(&mut publisher, Publish::new("t/a", "", (n % 2 + 1) as u8)).await;
        subscriber.expect("t/a", "", 0, false).await;
    }
}
