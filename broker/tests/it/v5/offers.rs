//! What the broker is configured not to offer, how it says so, and what it does with clients that ask for it all the same [3.2.2.3].

use distkv_broker::limits::{Copies, Limits, Offer, Redirect};
use distkv_broker::message::QoS;

use super::publish;
use crate::client::packet;
use crate::client5::{Client, Connack, Connect, Got, Props, Publish, prop, subscribe};
use crate::server::{Server, limits};

fn offering(offer: Offer) -> Server {
    Server::with(Limits { offer, ..limits() })
}

/// A client that is let in, and what it is told.
async fn told(server: &Server, id: &str) -> (Client, Props) {
    let mut client = server.open5();
    let connack = client.connect(&Connect::new(id)).await;
    assert_eq!(connack.reason, 0);
    (client, connack.props)
}

async fn refused(server: &Server, connect: &Connect) -> Connack {
    let mut client = server.open5();
    let connack = client.connect(connect).await;
    client.expect_closed().await;
    connack
}

/// [MQTT5-3.2.2-9, 3.2.2-10, 3.2.2-11, 3.2.2-12]
#[tokio::test]
async fn a_maximum_qos_is_told_and_kept_to() {
    for (most, maximum_qos) in [(0, QoS::AtMostOnce), (1, QoS::AtLeastOnce)] {
        let server = offering(Offer { maximum_qos, ..Offer::default() });
        let (mut client, props) = told(&server, "a").await;
        assert_eq!(props.get_number(prop::MAXIMUM_QOS), Some(most));
        client.send(subscribe(1, &Props::none(), &[("t", 0), ("u", 1), ("v", 2)])).await;
        assert_eq!(client.suback(1).await, [0, most.min(1) as u8, most.min(2) as u8]);
        publish(&mut client, Publish::new("v", "", most as u8)).await;
        client.expect("v", "", most as u8, false).await;
        client.send(Publish::new("v", "", most as u8 + 1).id(7).encode()).await;
        client.expect_end(&[0x9b]).await;
        let will = |qos| Connect::new("b").will(Publish::new("t", "", qos));
        assert_eq!(refused(&server, &will(most as u8 + 1)).await.reason, 0x9b);
        server.connect5(&will(most as u8)).await.disconnect().await;
    }
}

/// [MQTT5-3.2.2-13, 3.2.2-14]
#[tokio::test]
async fn without_retained_messages_retain_is_refused() {
    let server = offering(Offer { retain: false, ..Offer::default() });
    let (mut client, props) = told(&server, "a").await;
    assert_eq!(props.get_number(prop::RETAIN_AVAILABLE), Some(0));
    publish(&mut client, Publish::new("t", "", 1)).await;
    client.send(Publish::new("t", "", 0).retained().encode()).await;
    client.expect_end(&[0x9a]).await;
    let will = Publish::new("t", "", 0).retained();
    assert_eq!(refused(&server, &Connect::new("b").will(will)).await.reason, 0x9a);
}

/// What becomes of a SUBSCRIBE that asks for what is not offered: the reason, told in either way.
async fn asked_in_vain(client: &mut Client, props: &Props, filter: &str) -> u8 {
    client.send(subscribe(1, props, &[(filter, 0)])).await;
    match client.next().await {
        Some(Got::Suback(1, reasons, _)) => reasons[0],
        Some(Got::Disconnect(reason, _)) => {
            client.expect_closed().await;
            reason
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_subscriptions_may_not_have_is_told_and_refused() {
    let id = Props::none().number(prop::SUBSCRIPTION_ID, 1);
    let all = Offer::default();
    for (offer, told_by, props, filter, reason) in [
        (Offer { wildcards: false, ..all.clone() }, prop::WILDCARDS_AVAILABLE, Props::none(), "a/+", 0xa2),
        (Offer { identifiers: false, ..all.clone() }, prop::IDS_AVAILABLE, id, "a", 0xa1),
        (Offer { shared: false, ..all.clone() }, prop::SHARES_AVAILABLE, Props::none(), "$share/g/a", 0x9e),
    ] {
        let server = offering(offer);
        let (mut client, told) = told(&server, "a").await;
        assert_eq!(told.get_number(told_by), Some(0), "{told_by:#x}");
        client.subscribe(&[("plain", 1)]).await;
        assert_eq!(asked_in_vain(&mut client, &props, filter).await, reason);
    }
}

/// [MQTT5-3.2.2-18]
#[tokio::test]
async fn without_a_topic_alias_maximum_no_alias_is_taken() {
    let server = Server::with(Limits { topic_aliases: 0, ..limits() });
    let (mut client, props) = told(&server, "a").await;
    assert_eq!(props.get_number(prop::TOPIC_ALIAS_MAXIMUM).unwrap_or(0), 0);
    let aliased = Publish::new("t", "", 0).with(Props::none().number(prop::TOPIC_ALIAS, 1));
    client.send(aliased.encode()).await;
    client.expect_end(&[0x94]).await;
}

/// [MQTT5-3.3.4-7]
#[tokio::test]
async fn a_receive_maximum_is_told_and_kept_to() {
    let server = Server::with(Limits { receive_maximum: 3, ..limits() });
    let (mut client, props) = told(&server, "a").await;
    assert_eq!(props.get_number(prop::RECEIVE_MAXIMUM), Some(3));
    for id in 1..=3 {
        client.send(Publish::new("t", "", 2).id(id).encode()).await;
        assert!(client.pubrec(id).await < 0x80);
    }
    client.send(Publish::new("t", "", 2).id(4).encode()).await;
    client.expect_end(&[0x93]).await;
}

/// [MQTT5-3.2.2-15]
#[tokio::test]
async fn a_maximum_packet_size_is_told_and_kept_to() {
    let server = Server::with(Limits { packet_bytes: 1000, ..limits() });
    let (mut client, props) = told(&server, "a").await;
    assert_eq!(props.get_number(prop::MAXIMUM_PACKET_SIZE), Some(1000));
    publish(&mut client, Publish::new("t", [0; 990], 1)).await;
    client.send([0x30, 0xe6, 0x07]).await;
    client.expect_end(&[0x95]).await;
}

/// [MQTT5-3.1.2-22]
#[tokio::test(start_paused = true)]
async fn a_keep_alive_of_the_server_is_told_and_kept_to() {
    let server = Server::with(Limits { keep_alive_max: 4, ..limits() });
    for keep_alive in [0, 10] {
        let mut client = server.open5();
        let connack = client.connect(&Connect { keep_alive, ..Connect::new("a") }).await;
        assert_eq!(connack.props.get_number(prop::SERVER_KEEP_ALIVE), Some(4));
        let start = tokio::time::Instant::now();
        client.expect_end(&[0x8d]).await;
        assert_eq!(start.elapsed().as_secs(), 6);
    }
    let connack = server.open5().connect(&Connect { keep_alive: 3, ..Connect::new("a") }).await;
    assert_eq!(connack.props.get(prop::SERVER_KEEP_ALIVE), None);
}

/// [MQTT5-3.3.4-5]
#[tokio::test]
async fn of_several_copies_each_has_the_identifier_of_its_subscription() {
    let server = Server::with(Limits { copies: Copies::Each, ..limits() });
    let mut client = server.clean5("a").await;
    for (number, filter, qos) in [(1, "t/#", 0), (2, "t/+", 1)] {
        client.subscribe_with(Props::none().number(prop::SUBSCRIPTION_ID, number), &[(filter, qos)]).await;
    }
    client.subscribe(&[("+/a", 2)]).await;
    publish(&mut client, Publish::new("t/a", "", 2)).await;
    let mut copies = Vec::new();
    for _ in 0..3 {
        let message = client.message().await;
        copies.push((message.qos, message.props.subscription_ids()));
    }
    copies.sort();
    assert_eq!(copies, [(0, vec![1]), (1, vec![2]), (2, vec![])]);
    client.ping().await;
}

#[tokio::test]
async fn payloads_that_are_not_what_they_say_are_refused_if_they_are_looked_at() {
    let text = |payload: &[u8], qos| {
        Publish::new("t", payload, qos).with(Props::none().number(prop::PAYLOAD_FORMAT, 1))
    };
    let server = offering(Offer { check_payloads: true, ..Offer::default() });
    let mut client = server.clean5("a").await;
    client.subscribe(&[("t", 1)]).await;
    for qos in [1, 2] {
        assert_eq!(client.publish(text(b"\xff", qos)).await, 0x99);
        assert_eq!(client.publish(text("\u{e9}".as_bytes(), qos)).await, 0);
        client.expect("t", "\u{e9}", 1, false).await;
    }
    client.ping().await;
}

/// [MQTT5-3.2.2-7, 4.13.2-1]
#[tokio::test]
async fn clients_are_sent_elsewhere() {
    for (permanent, reason) in [(false, 0x9c), (true, 0x9d)] {
        let redirect = Some(Redirect { to: "other:1883".into(), permanent });
        let server = offering(Offer { redirect, ..Offer::default() });
        let connack = refused(&server, &Connect::new("a")).await;
        assert_eq!(
            (connack.reason, connack.props.get_text(prop::SERVER_REFERENCE)),
            (reason, Some("other:1883"))
        );
        let mut old = server.open5();
        old.send(packet(0x10, b"\0\x04MQTT\x04\x02\0\0\0\x01a")).await;
        let mut answer = [0; 4];
        tokio::io::AsyncReadExt::read_exact(&mut old.stream, &mut answer).await.unwrap();
        assert_eq!(answer, [0x20, 2, 0, 3]);
    }
}

/// [MQTT5-4.13.2-1]
#[tokio::test]
async fn a_stopping_server_sends_its_clients_elsewhere() {
    for (permanent, reason) in [(false, 0x9c), (true, 0x9d)] {
        let server = Server::start();
        let mut client = server.clean5("a").await;
        let redirect = Some(Redirect { to: "other:1883".into(), permanent });
        server.broker.set_limits(Limits { offer: Offer { redirect, ..Offer::default() }, ..limits() });
        let stop = server.broker.shutdown(std::time::Duration::from_secs(5));
        let told = async {
            match client.next().await {
                Some(Got::Disconnect(its, props)) => {
                    assert_eq!((its, props.get_text(prop::SERVER_REFERENCE)), (reason, Some("other:1883")));
                }
                other => panic!("{other:?}"),
            }
        };
        tokio::join!(stop, told);
    }
}

#[tokio::test]
async fn the_number_of_copies_changes_also_for_topics_that_were_routed_before() {
    let server = Server::start();
    let mut client = server.clean5("a").await;
    client.subscribe(&[("a/#", 0), ("a/b", 0)]).await;
    let mut publisher = server.clean5("b").await;
    for (copies, expected) in [(Copies::One, 1), (Copies::Each, 2), (Copies::One, 1)] {
        server.broker.set_limits(Limits { copies, ..limits() });
        publisher.publish(Publish::new("a/b", "x", 1)).await;
        publisher.publish(Publish::new("a/end", "x", 1)).await;
        let mut came = 0;
        while client.publication().await.topic == "a/b" {
            came += 1;
        }
        assert_eq!(came, expected, "{copies:?}");
    }
}
