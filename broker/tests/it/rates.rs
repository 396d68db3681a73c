//! Clients that are too fast, connect too often, or throw each other out.

use std::time::Duration;

use distkv_broker::limits::{Limits, RateAction};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use crate::client::{self, Client, Connect, Got, PINGREQ};
use crate::server::{Server, limits};

/// Sends so many messages at once and waits until all were handled; how long that took.
async fn publish_all(client: &mut Client, count: usize, payload: &[u8]) -> Duration {
    let start = Instant::now();
    let mut packets = client::publish("t", payload, 0, false, false, 0).repeat(count);
    packets.extend(PINGREQ);
    client.stream_write(&packets).await;
    client.expect(Got::Pingresp).await;
    start.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_publisher_beyond_its_rate_waits_and_loses_nothing() {
    let server = Server::with(Limits { publish_rate: 10, publish_burst: 20, ..limits() });
    let mut reader = server.clean("reader").await;
    reader.subscribe(&[("t", 0)]).await;
    let mut publisher = server.connect(&Connect { keep_alive: 2, ..Connect::new("pub") }).await;
    let took = publish_all(&mut publisher, 70, b"x").await;
    // 20 at once, 50 at 10 a second. The keep alive of 2 s does not end it meanwhile.
    assert!((4900..=5300).contains(&took.as_millis()), "{took:?}");
    for _ in 0..70 {
        reader.expect_message("t", b"x", 0, false).await;
    }
    assert!(server.metrics().rate_waits_messages.get() > 0);
    assert_eq!(server.broker.client("pub").unwrap().messages_in, 70);
}

#[tokio::test(start_paused = true)]
async fn bytes_have_a_rate_of_their_own() {
    let server = Server::with(Limits { publish_bytes_rate: 1000, publish_bytes_burst: 1000, ..limits() });
    let mut publisher = server.clean("pub").await;
    let took = publish_all(&mut publisher, 50, &[0; 100]).await;
    assert!((3900..=4300).contains(&took.as_millis()), "{took:?}");
    assert!(server.metrics().rate_waits_bytes.get() > 0);
    assert_eq!(server.metrics().rate_waits_messages.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn all_publishers_share_the_total_rate() {
    let server = Server::with(Limits { total_publish_rate: 10, ..limits() });
    let mut publishers = Vec::new();
    for n in 0..4 {
        publishers.push(server.clean(&n.to_string()).await);
    }
    let start = Instant::now();
    for round in 0..15 {
        for publisher in &mut publishers {
            let packet = client::publish("t", &[round], 0, false, false, 0);
            publisher.stream_write(&packet).await;
        }
    }
    for publisher in &mut publishers {
        publisher.send(&PINGREQ).await;
        publisher.expect(Got::Pingresp).await;
    }
    let took = start.elapsed();
    assert!((4500..=6500).contains(&took.as_millis()), "{took:?}");
    assert!(server.metrics().rate_waits_total_messages.get() > 0);
}

#[tokio::test]
async fn a_publisher_beyond_its_rate_is_disconnected_where_that_is_wanted() {
    let fast = Limits { publish_rate: 5, rate_action: RateAction::Disconnect, ..limits() };
    let server = Server::with(Limits { publish_bytes_rate: 5000, ..fast });
    let mut publisher = server.clean("pub").await;
    publisher.send(&client::publish("t", b"x", 0, false, false, 0).repeat(6)).await;
    publisher.expect_closed().await;
    assert_eq!(server.metrics().rate_disconnects_messages.get(), 1);
    let mut publisher = server.clean("pub").await;
    publisher.send(&client::publish("t", &[0; 5001], 0, false, false, 0)).await;
    publisher.expect_closed().await;
    assert_eq!(server.metrics().rate_disconnects_bytes.get(), 1);
    let mut publisher = server.clean("pub").await;
    for _ in 0..5 {
        publisher.publish("t", b"x", 1, false).await;
    }
    publisher.ping().await;
}

#[tokio::test]
async fn connections_beyond_their_rate_wait_in_the_backlog() {
    let server = Server::with(Limits { connection_rate: 20, connection_burst: 2, ..limits() });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    server.broker.listen(listener);
    let start = Instant::now();
    let mut sockets = Vec::new();
    for _ in 0..6 {
        sockets.push(TcpStream::connect(address).await.unwrap());
    }
    server.until("all are accepted", |metrics| metrics.sockets.get() == 6).await;
    assert!(start.elapsed() >= Duration::from_millis(190), "{:?}", start.elapsed());
    assert!(server.metrics().rate_waits_connections.get() >= 3);
}

#[tokio::test(start_paused = true)]
async fn a_flapping_client_is_answered_late_and_others_are_not() {
    let flap = Limits { flap_count: 3, flap_delay: Duration::from_secs(7), ..limits() };
    let server = Server::with(Limits { pending_handshakes: 1, ..flap });
    for n in 0..6 {
        let start = Instant::now();
        server.clean("flaps").await.disconnect().await;
        let late = if n < 3 { 0 } else { 7 };
        assert_eq!(start.elapsed().as_secs(), late, "{n}");
        let start = Instant::now();
        server.clean(&format!("other{n}")).await.disconnect().await;
        assert_eq!(start.elapsed().as_secs(), 0);
    }
    let metrics = server.metrics();
    assert_eq!((metrics.flapping_clients.get(), metrics.flapping_delays.get()), (1, 3));
    // Quiet for a whole window, and all is well again.
    tokio::time::sleep(Duration::from_secs(61)).await;
    let start = Instant::now();
    server.clean("flaps").await.disconnect().await;
    assert_eq!(start.elapsed().as_secs(), 0);
}

#[tokio::test]
async fn two_devices_with_one_id_are_a_loop_and_counted_once() {
    let server = Server::start();
    let addresses = ["192.0.2.1:1000".parse().unwrap(), "192.0.2.2:1000".parse().unwrap()];
    let mut last = None;
    for n in 0..12 {
        let mut device = server.open_from(addresses[n % 2]);
        device.connect(&Connect::new("twin")).await;
        if let Some(mut previous) = last.replace(device) {
            Client::expect_closed(&mut previous).await;
        }
        let loops = server.metrics().takeover_loops.get();
        assert_eq!(loops, u64::from(n >= 5), "{n}");
    }
    assert_eq!(server.metrics().takeovers.get(), 11);
}

#[tokio::test]
async fn a_client_that_disconnects_before_it_connects_again_is_no_loop() {
    let server = Server::start();
    for _ in 0..20 {
        server.clean("a").await.disconnect().await;
    }
    assert_eq!(server.metrics().takeover_loops.get(), 0);
}
