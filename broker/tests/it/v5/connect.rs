//! CONNECT and CONNACK [3.1, 3.2].

use std::sync::Arc;

use distkv_broker::hooks::memory::MemoryHooks;
use distkv_broker::hooks::{BoxFuture, Hooks, Login, LoginRefused, Principal};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{pair, publish};
use crate::client::packet;
use crate::client5::{self, Client, Connack, Connect, Got, PINGREQ, Props, Publish, ack, prop, subscribe};
use crate::server::{STREAM_BYTES, Server, limits, peer};

/// [MQTT5-3.1.4-5, 3.2.2-1, 3.2.2-2, 3.2.2-8, 3.12.4-1, 4.12.0-6]
#[tokio::test]
async fn a_client_is_let_in_and_told_only_what_a_server_may_tell() {
    let server = Server::start();
    let mut client = server.open5();
    let Connack { present, reason, props } = client.connect(&Connect::new("a")).await;
    assert_eq!((present, reason), (false, 0));
    assert_eq!(props.get(prop::AUTH_METHOD), None);
    // What is there by default needs no word.
    for id in [
        prop::MAXIMUM_QOS,
        prop::RETAIN_AVAILABLE,
        prop::WILDCARDS_AVAILABLE,
        prop::IDS_AVAILABLE,
        prop::SHARES_AVAILABLE,
    ] {
        assert_eq!(props.get(id), None, "{id:#x}");
    }
    client.ping().await;
}

/// [MQTT5-4.2-1, 4.2.0-1]
#[tokio::test]
async fn tcp_is_a_transport() {
    let server = Server::start();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    server.broker.listen(listener);
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let all = [&Connect::new("a").encode()[..], &PINGREQ].concat();
    // In pieces: what counts is the stream of bytes.
    for byte in all {
        stream.write_all(&[byte]).await.unwrap();
    }
    let mut connack = [0; 2];
    stream.read_exact(&mut connack).await.unwrap();
    assert_eq!(connack[0], 0x20);
    let mut rest = vec![0; usize::from(connack[1])];
    stream.read_exact(&mut rest).await.unwrap();
    assert_eq!(rest[..2], [0, 0]);
    let mut pingresp = [0; 2];
    stream.read_exact(&mut pingresp).await.unwrap();
    assert_eq!(pingresp, [0xd0, 0]);
}

/// [MQTT5-3.1.0-1]
#[tokio::test]
async fn a_first_packet_that_is_no_connect_closes() {
    let server = Server::start();
    for bytes in [PINGREQ.to_vec(), Publish::new("t", "", 0).encode(), packet(0xf0, &[0x18, 0])] {
        let mut client = server.open5();
        client.send(bytes).await;
        client.expect_closed().await;
    }
}

/// [MQTT5-3.1.0-2, 3.2.0-2, 4.13.1-1, 4.13.2-1]
#[tokio::test]
async fn a_second_connect_is_a_protocol_error() {
    let server = Server::start();
    let mut client = server.clean5("a").await;
    client.send(Connect::new("a").encode()).await;
    client.expect_end(&[0x82]).await;
}

/// [MQTT5-3.1.2-1, 3.1.2-2]
#[tokio::test]
async fn another_protocol_name_or_version_is_not_served() {
    let server = Server::start();
    for (name, version) in [("MQTT", 6), ("MQTT", 0), ("MQTt", 5), ("MQIsdp", 5)] {
        let mut body = Vec::new();
        crate::client::put_text(&mut body, name.as_bytes());
        body.extend([version, 2, 0, 0, 0, 0, 1, b'a']);
        let mut stream = server.stream(STREAM_BYTES);
        stream.write_all(&packet(0x10, &body)).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        // Nothing, the code of MQTT 3, or that of MQTT 5, which may be followed by the reason in words.
        let refusals: [&[u8]; 2] = [&[], &[0x20, 2, 0, 1]];
        let refused = matches!(&*answer, [0x20, _, 0, 0x84, ..]) || refusals.contains(&&*answer);
        assert!(refused, "{name} {version}: {answer:02x?}");
    }
}

/// [MQTT5-3.1.3-5]
#[tokio::test]
async fn identifiers_of_up_to_23_digits_and_letters_are_taken() {
    let server = Server::start();
    let all = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    for id in all.as_bytes().chunks(23).chain(all.as_bytes().chunks(1)) {
        server.clean5(std::str::from_utf8(id).unwrap()).await.ping().await;
    }
}

/// [MQTT5-3.1.3-6, 3.1.3-7, 3.2.2-16]
#[tokio::test]
async fn an_empty_identifier_is_answered_with_one_by_which_the_session_is_found_again() {
    let server = Server::start();
    let mut ids = Vec::new();
    for clean in [true, false] {
        let mut client = server.open5();
        let connack = client.connect(&Connect { clean, ..Connect::lasting("") }).await;
        assert_eq!(connack.reason, 0);
        ids.push(connack.props.get_text(prop::ASSIGNED_CLIENT_ID).unwrap().to_owned());
        client.subscribe(&[("t", 1)]).await;
        client.disconnect().await;
    }
    assert_ne!(ids[0], ids[1]);
    let mut publisher = server.clean5("pub").await;
    publish(&mut publisher, Publish::new("t", "x", 1)).await;
    for id in ids {
        let mut client = server.resume5(&Connect::lasting(&id)).await;
        client.expect("t", "x", 1, false).await;
    }
    let mut named = server.open5();
    let connack = named.connect(&Connect::new("named")).await;
    assert_eq!(connack.props.get(prop::ASSIGNED_CLIENT_ID), None);
}

/// [MQTT5-3.1.3-2, 3.1.4-3]
#[tokio::test]
async fn a_takeover_tells_the_old_connection() {
    let server = Server::start();
    let mut first = server.connect5(&Connect::lasting("same")).await;
    first.subscribe(&[("t", 1)]).await;
    let mut second = server.resume5(&Connect::lasting("same")).await;
    first.expect_end(&[0x8e]).await;
    let mut publisher = server.clean5("pub").await;
    publish(&mut publisher, Publish::new("t", "x", 1)).await;
    second.expect("t", "x", 1, false).await;
}

/// [MQTT5-3.1.3-1, 3.1.2-9, 3.1.2-17, 3.1.2-19]
#[tokio::test]
async fn a_connect_may_have_every_field() {
    let server = Server::start();
    let (mut watcher, _) = pair(&server, 2).await;
    let will = Publish::new("t/will", b"\0\xff", 2)
        .with(Props::none().number(prop::PAYLOAD_FORMAT, 0).text(prop::CONTENT_TYPE, "x/y"));
    let connect = Connect { user: Some(("me".into(), "pw".into())), keep_alive: 60, ..Connect::new("all") }
        .will(will.clone())
        .with(
            Props::none()
                .number(prop::SESSION_EXPIRY, 0)
                .number(prop::RECEIVE_MAXIMUM, 10)
                .number(prop::MAXIMUM_PACKET_SIZE, 10_000)
                .number(prop::TOPIC_ALIAS_MAXIMUM, 10)
                .number(prop::REQUEST_RESPONSE, 1)
                .number(prop::REQUEST_PROBLEM, 1)
                .user("a", "b")
                .user("a", "c"),
        );
    drop(server.connect5(&connect).await);
    let came = watcher.message().await;
    assert_eq!((&*came.topic, &came.payload, came.qos), ("t/will", &will.payload, 2));
    assert_eq!(came.props.get_text(prop::CONTENT_TYPE), Some("x/y"));
}

/// [MQTT5-3.1.2-28]
#[tokio::test]
async fn response_information_is_for_those_who_ask() {
    let server = Server::start();
    for props in [Props::none(), Props::none().number(prop::REQUEST_RESPONSE, 0)] {
        let connack = server.open5().connect(&Connect::new("a").with(props)).await;
        assert_eq!((connack.reason, connack.props.get(prop::RESPONSE_INFORMATION)), (0, None));
    }
}

/// [MQTT5-3.2.0-1]
#[tokio::test]
async fn connack_comes_before_everything_that_waited_for_the_session() {
    let server = Server::start();
    let mut client = server.connect5(&Connect::lasting("a")).await;
    client.subscribe(&[("t", 1)]).await;
    client.disconnect().await;
    let mut publisher = server.clean5("pub").await;
    publish(&mut publisher, Publish::new("t", "waits", 1)).await;
    let mut client = server.open5();
    client.send([&Connect::lasting("a").encode()[..], &PINGREQ].concat()).await;
    assert!(matches!(client.next().await, Some(Got::Connack(Connack { present: true, reason: 0, .. }))));
    client.find(|got| matches!(got, Got::Pingresp).then_some(())).await;
    client.expect("t", "waits", 1, false).await;
}

/// [MQTT5-3.1.4-6]
#[tokio::test]
async fn what_follows_a_refused_connect_is_not_handled() {
    let server = Server::start();
    let (mut subscriber, mut publisher) = pair(&server, 1).await;
    let mut refused = server.open5();
    let connect = Connect::new("a").with(Props::none().text(prop::AUTH_METHOD, "no such method"));
    refused.send([connect.encode(), Publish::new("t/refused", "x", 1).id(1).encode()].concat()).await;
    refusal(&mut refused, &[0x87, 0x8c]).await;
    publish(&mut publisher, Publish::new("t/end", "", 1)).await;
    subscriber.expect("t/end", "", 1, false).await;
}

/// Takes a refusing CONNACK and the close.
async fn refusal(client: &mut Client, reasons: &[u8]) {
    match client.next().await {
        Some(Got::Connack(Connack { present: false, reason, .. })) if reasons.contains(&reason) => {}
        other => panic!("no CONNACK with one of {reasons:02x?}: {other:?}"),
    }
    client.expect_closed().await;
}

/// [MQTT5-4.12.0-1, 3.2.2-7, 3.14.0-1]
#[tokio::test]
async fn an_unknown_authentication_method_is_refused() {
    let server = Server::start();
    let mut client = server.open5();
    let props = Props::none().text(prop::AUTH_METHOD, "no such method").binary(prop::AUTH_DATA, b"x");
    client.send(Connect::new("a").with(props).encode()).await;
    refusal(&mut client, &[0x87, 0x8c]).await;
}

/// [MQTT5-4.12.0-7]
#[tokio::test]
async fn auth_without_a_method_in_the_connect_is_a_protocol_error() {
    let server = Server::start();
    for reason in [0x18, 0x19] {
        let mut client = server.clean5("a").await;
        let mut body = vec![reason];
        Props::none().text(prop::AUTH_METHOD, "x").encode(&mut body);
        client.send(packet(0xf0, &body)).await;
        client.expect_end(&[0x82]).await;
    }
}

struct Guarded(MemoryHooks);

impl Hooks for Guarded {
    fn authenticate<'a>(
        &'a self,
        login: Login<'a>,
    ) -> BoxFuture<'a, Result<Arc<dyn Principal>, LoginRefused>> {
        match login.user {
            Some("ada") => Box::pin(std::future::ready(Err(LoginRefused::BadCredentials))),
            Some("eve") => Box::pin(std::future::ready(Err(LoginRefused::NotAuthorized))),
            Some("bob") => Box::pin(std::future::ready(Err(LoginRefused::Unavailable))),
            _ => self.0.authenticate(login),
        }
    }

    fn restored(&self, client_id: &str, user: Option<&str>) -> Arc<dyn Principal> {
        self.0.restored(client_id, user)
    }

    fn retained_count(&self) -> u64 {
        0
    }
}

/// [MQTT5-3.1.4-2, 3.2.2-6, 3.2.2-7, 3.14.0-1, 4.13.2-1]
#[tokio::test]
async fn a_failed_login_is_told_and_closed() {
    let broker = Server::with_hooks(limits(), Guarded(MemoryHooks::new()));
    for (user, reason) in [("ada", 0x86), ("eve", 0x87), ("bob", 0x88)] {
        let (ours, theirs) = tokio::io::duplex(1000);
        broker.serve(theirs, peer());
        let mut client = Client::new(ours);
        let connect = Connect { user: Some((user.into(), "x".into())), ..Connect::lasting("a") };
        client.send(connect.encode()).await;
        refusal(&mut client, &[reason]).await;
    }
}

/// [MQTT5-3.1.2-22, 3.2.2-22]
#[tokio::test(start_paused = true)]
async fn silence_of_one_and_a_half_keep_alives_is_told_and_closed() {
    let server = Server::start();
    let mut client = server.open5();
    let connack = client.connect(&Connect { keep_alive: 10, ..Connect::new("a") }).await;
    assert_eq!(connack.props.get(prop::SERVER_KEEP_ALIVE), None);
    let start = tokio::time::Instant::now();
    client.expect_end(&[0x8d]).await;
    assert_eq!(start.elapsed().as_secs(), 15);
}

/// [MQTT5-2.2.1-5, 2.2.1-6, 3.8.4-1, 3.8.4-2, 3.10.4-4, 3.10.4-5]
#[tokio::test]
async fn answers_carry_the_identifier_of_what_they_answer() {
    let server = Server::start();
    let mut client = server.clean5("a").await;
    for id in [1, 0x1234, 65535] {
        client.subscribe(&[("t", 0)]).await;
        assert_eq!(client.publish(Publish::new("t", "", 1).id(id)).await, 0);
        assert_eq!(client.publish(Publish::new("t", "", 2).id(id)).await, 0);
        client.message().await;
        client.message().await;
        client.send(subscribe(id, &Props::none(), &[("y", 1)])).await;
        assert_eq!(client.suback(id).await, [1]);
        client.send(client5::unsubscribe(id, &["y"])).await;
        assert_eq!(client.next().await, Some(Got::Unsuback(id, vec![0], Props::none())));
        client.send(client5::unsubscribe(id, &["y"])).await;
        assert_eq!(client.next().await, Some(Got::Unsuback(id, vec![0x11], Props::none())));
        client.send(ack(client5::PUBREL, id, 0)).await;
        let Some(Got::Pubcomp(its, 0x92 | 0, _)) = client.next().await else { panic!("no PUBCOMP") };
        assert_eq!(its, id);
    }
}
