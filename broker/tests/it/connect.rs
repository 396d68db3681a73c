//! How connections begin and end.

use std::time::Duration;

use distkv_broker::hooks::memory::MemoryHooks;
use distkv_broker::hooks::{BoxFuture, Hooks, Login, LoginRefused, Principal};
use distkv_broker::limits::Limits;
use std::sync::Arc;
use tokio::io::AsyncWriteExt;

use crate::client::{self, Connect, DISCONNECT, Got, PINGREQ, put_text};
use crate::server::{Server, limits, peer};

/// [MQTT-3.1.4-4]
#[tokio::test]
async fn both_protocol_versions_are_let_in() {
    let server = Server::start();
    let mut new = server.clean("a").await;
    new.ping().await;
    let mut old = server.connect(&Connect { name: "MQIsdp", level: 3, ..Connect::new("b") }).await;
    old.ping().await;
    assert_eq!(server.metrics().connections.get(), 2);
    old.disconnect().await;
    server.until("one is left", |metrics| metrics.connections.get() == 1).await;
}

/// [MQTT-3.1.2-2, 3.2.2-4, 3.2.2-5]
#[tokio::test]
async fn an_unknown_protocol_level_is_answered_with_a_code_of_its_age() {
    let server = Server::start();
    for (name, level, code) in [("MQTT", 6, 0x84), ("MQTT", 3, 1), ("MQIsdp", 4, 1), ("MQTT", 77, 0x84)] {
        let mut client = server.open();
        client.send(&Connect { name, level, ..Connect::new("a") }.encode()).await;
        client.expect(Got::Connack { present: false, code }).await;
        client.expect_closed().await;
    }
    assert_eq!(server.metrics().refused_level.get(), 4);
}

/// [MQTT-3.1.0-1, 3.2.2-6]
#[tokio::test]
async fn a_first_packet_that_is_no_connect_closes_without_a_word() {
    let server = Server::start();
    let junk: [&[u8]; 5] =
        [&PINGREQ, b"GET / HTTP/1.1\r\n\r\n", &[0x16, 3, 1, 2, 0, 1, 0], b"\0\0\0\0", &[0xff; 64]];
    for bytes in junk {
        let mut client = server.open();
        client.send(bytes).await;
        client.expect_closed().await;
    }
    assert_eq!(server.metrics().refused_not_mqtt.get(), 5);
    server.until("no socket is left", |metrics| metrics.sockets.get() == 0).await;
}

/// [MQTT-3.1.0-2, 4.8.0-1]
#[tokio::test]
async fn a_second_connect_closes_the_connection() {
    let server = Server::start();
    let mut client = server.clean("a").await;
    client.send(&Connect::new("a").encode()).await;
    client.expect_closed().await;
    server.until("it is counted", |metrics| metrics.protocol_errors.get() == 1).await;
}

/// [MQTT-3.1.3-6, 3.1.3-7, 3.1.3-8, 3.1.3-9, 3.2.2-4, 3.2.2-5]
#[tokio::test]
async fn an_empty_client_id_needs_a_clean_session() {
    let server = Server::start();
    let mut client = server.open();
    client.send(&Connect::persistent("").encode()).await;
    client.expect(Got::Connack { present: false, code: 2 }).await;
    client.expect_closed().await;
    let mut first = server.clean("").await;
    let mut second = server.clean("").await;
    first.ping().await;
    second.ping().await;
}

#[tokio::test(start_paused = true)]
async fn whoever_sends_no_connect_in_time_is_closed() {
    let server = Server::start();
    let mut silent = server.open();
    let mut slow = server.open();
    slow.send(&Connect::new("a").encode()[..5]).await;
    let start = tokio::time::Instant::now();
    silent.expect_closed().await;
    slow.expect_closed().await;
    assert_eq!(start.elapsed().as_secs(), 10);
    assert_eq!(server.metrics().refused_timeout.get(), 2);
}

#[tokio::test]
async fn packets_may_be_cut_at_any_byte_and_follow_each_other_without_a_pause() {
    let server = Server::start();
    let mut bytes = Connect::new("a").encode();
    bytes.extend(client::subscribe(1, &[("t", 0)]));
    bytes.extend(client::publish("t", b"payload", 1, false, false, 2));
    bytes.extend(PINGREQ);
    for cut in 0..bytes.len() {
        let mut client = server.open_with(3);
        let (head, tail) = bytes.split_at(cut);
        client.send(head).await;
        tokio::task::yield_now().await;
        client.send(tail).await;
        client.expect(Got::Connack { present: false, code: 0 }).await;
        let mut seen = Vec::new();
        for _ in 0..4 {
            seen.push(client.next().await.unwrap());
        }
        assert!(seen.contains(&Got::Suback(1, vec![0])) && seen.contains(&Got::Pingresp), "{seen:?}");
        assert!(seen.contains(&Got::Puback(2)), "{seen:?}");
        client.disconnect().await;
    }
}

/// [MQTT-3.1.2-24]
#[tokio::test(start_paused = true)]
async fn silence_of_one_and_a_half_keep_alives_closes() {
    let server = Server::start();
    let mut client = server.connect(&Connect { keep_alive: 10, ..Connect::new("a") }).await;
    let start = tokio::time::Instant::now();
    tokio::time::sleep(Duration::from_secs(12)).await;
    client.ping().await;
    client.expect_closed().await;
    assert_eq!(start.elapsed().as_secs(), 27);
    assert_eq!(server.metrics().keep_alive_timeouts.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn without_keep_alive_silence_is_no_reason_to_close() {
    let server = Server::start();
    let mut client = server.clean("a").await;
    tokio::time::sleep(Duration::from_secs(1_000_000)).await;
    client.ping().await;
}

/// [MQTT-2.3.1-1, 3.3.1-4, 3.3.2-2, 3.8.1-1, 3.8.3-3, 3.8.3-4, 4.7.3-1, 4.8.0-1]
#[tokio::test]
async fn malformed_packets_close_the_connection() {
    let server = Server::start();
    let mut empty_topic = Vec::new();
    put_text(&mut empty_topic, b"");
    let mut wildcard = Vec::new();
    put_text(&mut wildcard, b"a/+");
    let bad: Vec<Vec<u8>> = vec![
        client::packet(0x36, &[0, 1, b'a', 0, 1]),
        client::packet(0x32, &[0, 1, b'a', 0, 0]),
        client::packet(0x30, &empty_topic),
        client::packet(0x30, &wildcard),
        client::packet(0x82, &[0, 1]),
        client::packet(0x80, &[0, 1, 0, 1, b'a', 0]),
        client::packet(0x82, &[0, 1, 0, 1, b'a', 3]),
        client::packet(0x00, &[]),
        client::packet(0x20, &[0, 0]),
        vec![0x30, 0xff, 0xff, 0xff, 0xff, 0x01],
    ];
    for packet in &bad {
        let mut client = server.clean("a").await;
        client.send(packet).await;
        client.expect_closed().await;
    }
    server.until("all are counted", |metrics| metrics.protocol_errors.get() == bad.len() as u64).await;
}

/// [MQTT-3.1.4-2]
#[tokio::test]
async fn a_new_connection_takes_over_and_the_old_one_is_closed() {
    let server = Server::start();
    let mut first = server.clean("same").await;
    for _ in 0..20 {
        let mut second = server.clean("same").await;
        first.expect_closed().await;
        second.ping().await;
        assert_eq!(server.metrics().connections.get(), 1);
        first = second;
    }
    assert_eq!(server.metrics().takeovers.get(), 20);
    assert_eq!(server.metrics().sessions.get(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_connections_at_once_exactly_one_survives() {
    let server = Server::start();
    let mut clients = Vec::new();
    for n in 0..50 {
        let mut client = server.open();
        let clean = n % 2 == 0;
        client.send(&Connect { clean, ..Connect::new("same") }.encode()).await;
        client.send(&client::subscribe(1, &[("t", 1)])).await;
        clients.push(client);
    }
    server.until("one is left", |metrics| metrics.sockets.get() == 1 && metrics.connections.get() == 1).await;
    assert_eq!(server.metrics().sessions.get(), 1);
    assert!(server.metrics().subscriptions.get() <= 1);
}

struct Guarded(MemoryHooks);

impl Hooks for Guarded {
    fn authenticate<'a>(
        &'a self,
        login: Login<'a>,
    ) -> BoxFuture<'a, Result<Arc<dyn Principal>, LoginRefused>> {
        match (login.user, login.password) {
            (Some("ada"), Some(b"secret")) => self.0.authenticate(login),
            (Some("ada"), _) => Box::pin(std::future::ready(Err(LoginRefused::BadCredentials))),
            (Some("slow"), _) => Box::pin(std::future::pending()),
            _ => Box::pin(std::future::ready(Err(LoginRefused::NotAuthorized))),
        }
    }

    fn restored(&self, client_id: &str, user: Option<&str>) -> Arc<dyn Principal> {
        self.0.restored(client_id, user)
    }

    fn retained_count(&self) -> u64 {
        0
    }
}

/// [MQTT-3.2.2-4, 3.2.2-5]
#[tokio::test(start_paused = true)]
async fn logins_are_checked_and_refusals_told() {
    let broker = Server::with_hooks(limits(), Guarded(MemoryHooks::new()));
    for (user, code) in [
        (Some(("ada", "secret")), 0),
        (Some(("ada", "wrong")), 4),
        (Some(("eve", "secret")), 5),
        (None, 5),
        (Some(("slow", "x")), 3),
    ] {
        let (ours, theirs) = tokio::io::duplex(1000);
        broker.serve(theirs, peer());
        let mut client = client::Client::new(ours);
        let user = user.map(|(user, password)| (user.to_owned(), password.to_owned()));
        client.send(&Connect { user, ..Connect::new("a") }.encode()).await;
        client.expect(Got::Connack { present: false, code }).await;
        if code == 0 {
            client.send(&DISCONNECT).await;
        }
        client.expect_closed().await;
    }
    assert_eq!(broker.metrics().refused_not_authorized.get(), 2);
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed_and_later_ones_served_again() {
    let server = Server::with(Limits { connections: 2, ..limits() });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    server.broker.listen(listener);
    let mut first = tokio::net::TcpStream::connect(address).await.unwrap();
    first.write_all(&Connect::new("a").encode()).await.unwrap();
    let second = tokio::net::TcpStream::connect(address).await.unwrap();
    server.until("two are there", |metrics| metrics.sockets.get() == 2).await;
    let _third = tokio::net::TcpStream::connect(address).await.unwrap();
    server.until("the third is refused", |metrics| metrics.refused_connections.get() == 1).await;
    drop(second);
    server.until("one is left", |metrics| metrics.sockets.get() == 1).await;
    let _fourth = tokio::net::TcpStream::connect(address).await.unwrap();
    server.until("the fourth is in", |metrics| metrics.sockets.get() == 2).await;
}

#[tokio::test]
async fn while_too_many_shake_hands_no_more_are_accepted() {
    let server = Server::with(Limits { pending_handshakes: 1, ..limits() });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    server.broker.listen(listener);
    let silent = tokio::net::TcpStream::connect(address).await.unwrap();
    server.until("it is accepted", |metrics| metrics.sockets.get() == 1).await;
    let mut next = tokio::net::TcpStream::connect(address).await.unwrap();
    next.write_all(&Connect::new("a").encode()).await.unwrap();
    assert_eq!(server.metrics().sockets_opened.get(), 1);
    drop(silent);
    server.until("the next is in", |metrics| metrics.connections.get() == 1).await;
}

#[tokio::test]
async fn what_a_client_is_owed_when_it_goes_never_reaches_another_one() {
    let server = Server::start();
    let mut bystander = server.clean("bystander").await;
    for farewell in [&DISCONNECT[..], &client::publish("#", b"", 0, false, false, 0)] {
        let mut hasty = server.clean("hasty").await;
        let mut all = client::publish("a", b"1", 1, false, false, 7);
        all.extend(client::publish("a", b"2", 2, false, false, 8));
        all.extend(farewell);
        hasty.send(&all).await;
        while hasty.next().await.is_some() {}
        bystander.send(&PINGREQ).await;
        bystander.expect(Got::Pingresp).await;
    }
}
