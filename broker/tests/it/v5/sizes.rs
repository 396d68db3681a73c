//! The client's maximum packet size, and what is left out or not sent because of it [3.1.2.11.4].
//!
//! The test client checks the size of everything that it is sent.

use super::publish;
use crate::client5::{
    Client, Connect, DISCONNECT, Got, PUBREL, Props, Publish, ack, prop, subscribe, unsubscribe,
};
use crate::server::Server;

fn small(id: &str, most: u32) -> Connect {
    Connect::lasting(id).with(Props::none().number(prop::MAXIMUM_PACKET_SIZE, most))
}

/// [MQTT5-3.1.2-24, 3.1.2-25]
#[tokio::test]
async fn a_message_that_is_too_large_is_not_sent_and_counts_as_sent() {
    let server = Server::start();
    let mut client = server.connect5(&small("a", 100)).await;
    client.subscribe(&[("t", 2)]).await;
    let mut publisher = server.clean5("pub").await;
    for round in 0..2 {
        for qos in [0, 1, 2] {
            // More of them than may be under way.
            for _ in 0..30 {
                publish(&mut publisher, Publish::new("t", [0; 200], qos)).await;
            }
            publish(&mut publisher, Publish::new("t", [qos; 50], qos)).await;
            let user = Props::none().user("much", &"x".repeat(100));
            publish(&mut publisher, Publish::new("t", "", qos).with(user)).await;
            client.expect("t", [qos; 50], qos, false).await;
            client.ping().await;
        }
        if round == 0 {
            client.send(DISCONNECT).await;
            client.expect_closed().await;
            client = server.resume5(&small("a", 100)).await;
            client.ping().await;
        }
    }
    // What is too large after a resume is left out, too.
    client.send(DISCONNECT).await;
    client.expect_closed().await;
    publish(&mut publisher, Publish::new("t", [0; 50], 1)).await;
    publish(&mut publisher, Publish::new("t", "fits", 1)).await;
    let mut client = server.resume5(&small("a", 40)).await;
    client.expect("t", "fits", 1, false).await;
    client.ping().await;
}

/// Goes through every kind of answer, many of which have a reason that words could explain.
async fn every_answer(client: &mut Client) {
    for qos in [1, 2] {
        client.publish(Publish::new("nobody/here", "", qos)).await;
    }
    client.send(ack(PUBREL, 999, 0)).await;
    assert!(matches!(client.pubcomp(999).await, 0 | 0x92));
    client.send(ack(crate::client5::PUBREC, 999, 0)).await;
    assert!(matches!(client.pubrel(999).await, 0 | 0x92));
    let deep = "x/".repeat(300);
    client.send(subscribe(1, &Props::none(), &[(&deep, 0), ("a", 0)])).await;
    assert_eq!(client.suback(1).await.len(), 2);
    client.send(unsubscribe(2, &["never"])).await;
    assert!(matches!(client.next().await, Some(Got::Unsuback(2, ..))));
    client.send(crate::client::packet(0x36, b"\0\x01a\0\x01\0")).await;
}

/// [MQTT5-3.2.2-19, 3.2.2-20]
#[tokio::test]
async fn words_are_left_out_of_a_refusal_that_would_be_too_large() {
    let server = Server::start();
    for most in [5, 20, 1000] {
        let connect = small("a", most).with(Props::none().text(prop::AUTH_METHOD, "no such method"));
        let mut client = server.open5();
        let connack = client.connect(&connect).await;
        assert!(connack.reason >= 0x80);
        client.expect_closed().await;
    }
}

/// [MQTT5-3.4.2-2, 3.4.2-3, 3.5.2-2, 3.5.2-3, 3.6.2-2, 3.6.2-3, 3.7.2-2, 3.7.2-3, 3.9.2-1, 3.9.2-2, 3.11.2-1, 3.11.2-2, 3.14.2-3, 3.14.2-4]
#[tokio::test]
async fn words_are_left_out_of_answers_that_would_be_too_large() {
    let server = Server::start();
    let mut with_words = 0;
    for most in [32, 40, 64, 10_000] {
        let mut client = server.connect5(&small("a", most)).await;
        every_answer(&mut client).await;
        let Some(Got::Disconnect(0x81, props)) = client.next().await else { panic!("no DISCONNECT") };
        with_words += usize::from(props.get(prop::REASON_STRING).is_some());
        client.expect_closed().await;
        server.clean5("a").await.disconnect().await;
    }
    assert!(with_words > 0, "words where there is room for them");
}

/// [MQTT5-3.1.2-29]
#[tokio::test]
async fn who_wants_no_problem_information_gets_no_words_in_answers() {
    let server = Server::start();
    let connect = Connect::new("a").with(Props::none().number(prop::REQUEST_PROBLEM, 0));
    let mut client = server.connect5(&connect).await;
    client.send(Publish::new("nobody/here", "", 1).id(1).encode()).await;
    client.send(Publish::new("nobody/here", "", 2).id(2).encode()).await;
    client.send(ack(PUBREL, 2, 0)).await;
    client.send(ack(PUBREL, 999, 0)).await;
    client.send(ack(crate::client5::PUBREC, 999, 0)).await;
    client.send(subscribe(3, &Props::none(), &[(&"x/".repeat(300), 0)])).await;
    client.send(unsubscribe(4, &["never"])).await;
    client.send(crate::client5::PINGREQ).await;
    let mut count = 0;
    loop {
        let props = match client.next().await {
            Some(
                Got::Puback(_, _, props)
                | Got::Pubrec(_, _, props)
                | Got::Pubrel(_, _, props)
                | Got::Pubcomp(_, _, props)
                | Got::Suback(_, _, props)
                | Got::Unsuback(_, _, props),
            ) => props,
            Some(Got::Pingresp) => break,
            other => panic!("{other:?}"),
        };
        assert_eq!(props, Props::none());
        count += 1;
    }
    assert_eq!(count, 7);
}

/// [MQTT5-3.2.2-15]
#[tokio::test]
async fn a_packet_above_the_servers_maximum_ends_the_connection() {
    let server = Server::start();
    let mut client = server.open5();
    let connack = client.connect(&Connect::new("a")).await;
    let most = connack.props.get_number(prop::MAXIMUM_PACKET_SIZE).unwrap_or(268_435_460);
    // Only the fixed header is sent: one byte more than fits.
    let mut len = most - 4;
    let mut header = vec![0x30];
    for _ in 0..3 {
        header.push(len as u8 | 0x80);
        len >>= 7;
    }
    header.push(len as u8);
    assert!(len < 128, "{most} is not a limit");
    client.send(header).await;
    client.expect_end(&[0x95]).await;
}

/// [MQTT5-3.1.2-24]
#[tokio::test]
async fn an_answer_that_must_be_too_large_ends_the_connection() {
    let server = Server::start();
    let many = vec![("x", 0); 200];
    let mut client = server.connect5(&small("a", 100)).await;
    client.send(subscribe(1, &Props::none(), &many)).await;
    client.expect_end(&[0x95]).await;
    let mut client = server.connect5(&small("a", 100)).await;
    client.send(unsubscribe(1, &["x"; 200])).await;
    client.expect_end(&[0x95]).await;
    let mut client = server.open5();
    assert_eq!(client.connect(&small("b", 10)).await.reason, 0x95, "what has to be told is larger");
    client.expect_closed().await;
    assert_eq!(server.metrics().sessions.get(), 1);
}
