//! Slow, stuck and greedy clients: they cost bounded memory, and nobody else's time.

use std::sync::Arc;
use std::time::Duration;

use distkv_broker::limits::Limits;

use crate::client::{self, Connect, Got, PINGREQ};
use crate::server::{Server, limits};

#[tokio::test]
async fn a_stuck_subscriber_loses_qos_0_beyond_its_outbox_and_others_lose_nothing() {
    let server = Server::with(Limits { outbox_bytes: 4000, ..limits() });
    let mut stuck = server.open_with(100);
    stuck.connect(&Connect::new("stuck")).await;
    stuck.subscribe(&[("t", 0)]).await;
    let mut reader = server.clean("reader").await;
    reader.subscribe(&[("t", 0)]).await;
    let mut publisher = server.clean("pub").await;
    for n in 0..1000_u16 {
        publisher.publish("t", &[n.to_be_bytes(), [0; 2]].concat(), 0, false).await;
        reader.expect_message("t", &[n.to_be_bytes(), [0; 2]].concat(), 0, false).await;
    }
    let dropped = server.metrics().dropped_outbox.get();
    assert!(dropped > 0 && dropped < 700, "{dropped}");
    for n in 0..100_u16 {
        stuck.expect_message("t", &[n.to_be_bytes(), [0; 2]].concat(), 0, false).await;
    }
}

#[tokio::test]
async fn a_slow_subscriber_of_qos_1_gets_everything_from_its_queue() {
    let server = Server::with(Limits { outbox_bytes: 1000, ..limits() });
    let mut slow = server.open_with(100);
    slow.connect(&Connect::new("slow")).await;
    slow.subscribe(&[("t", 1)]).await;
    let mut publisher = server.clean("pub").await;
    for n in 0..500_u16 {
        publisher.publish("t", &n.to_be_bytes(), 1, false).await;
    }
    assert!(server.metrics().queued_messages.get() > 400);
    for n in 0..500_u16 {
        slow.expect_message("t", &n.to_be_bytes(), 1, false).await;
    }
    assert_eq!(server.metrics().dropped_total(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_nothing_is_closed_after_a_while() {
    let server = Server::start();
    let mut stuck = server.open_with(100);
    stuck.connect(&Connect::new("stuck")).await;
    stuck.subscribe(&[("t", 0)]).await;
    let mut publisher = server.clean("pub").await;
    let start = tokio::time::Instant::now();
    for _ in 0..10 {
        publisher.publish("t", &[0; 100], 0, false).await;
    }
    while server.metrics().write_stalls.get() == 0 {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert!((60..=62).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
    publisher.ping().await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_a_little_is_not_closed() {
    let server = Server::start();
    let mut slow = server.open_with(100);
    slow.connect(&Connect::new("slow")).await;
    slow.subscribe(&[("t", 0)]).await;
    let mut publisher = server.clean("pub").await;
    for _ in 0..20 {
        publisher.publish("t", &[0; 100], 0, false).await;
    }
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_secs(30)).await;
        slow.expect_message("t", &[0; 100], 0, false).await;
    }
    assert_eq!(server.metrics().write_stalls.get(), 0);
}

#[tokio::test]
async fn who_reads_no_acknowledgements_is_not_read_from_for_ever() {
    let server = Server::start();
    let mut greedy = server.open_with(1000);
    greedy.connect(&Connect::new("greedy")).await;
    let publish = client::publish("t", b"", 1, false, false, 1);
    let flood = async {
        loop {
            greedy.send(&publish).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_millis(500), flood).await.is_err());
    let received = server.metrics().publish_received.get();
    assert!(received < 60_000, "{received}");
    let mut other = server.clean("other").await;
    other.ping().await;
    for _ in 0..1000 {
        greedy.expect(Got::Puback(1)).await;
    }
}

#[tokio::test]
async fn a_packet_beyond_the_limit_closes_before_its_body_comes() {
    let server = Server::with(Limits { packet_bytes: 1000, ..limits() });
    let mut client = server.clean("a").await;
    client.publish("t", &[0; 990], 1, false).await;
    client.send(&[0x30, 0xe9, 0x07]).await;
    client.expect_closed().await;
}

#[tokio::test(start_paused = true)]
async fn large_packets_share_a_budget_and_wait_for_room() {
    let server =
        Server::with(Limits { unfinished_bytes: 150_000, write_stall: Duration::from_secs(10), ..limits() });
    let packet = client::publish("t", &[7; 100_000], 1, false, false, 1);
    let mut first = server.clean("first").await;
    let mut second = server.clean("second").await;
    let mut third = server.clean("third").await;
    first.send(&packet[..70_000]).await;
    server.until("the first holds it", |metrics| metrics.unfinished_bytes.get() > 100_000).await;
    second.send(&packet[..70_000]).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(server.metrics().unfinished_bytes.get() < 187_500);
    first.send(&packet[70_000..]).await;
    first.expect(Got::Puback(1)).await;
    second.send(&packet[70_000..]).await;
    second.expect(Got::Puback(1)).await;
    assert_eq!(server.metrics().unfinished_bytes.get(), 0);
    // Without room in the end, the one that waits is closed.
    first.send(&packet[..70_000]).await;
    server.until("the first holds it", |metrics| metrics.unfinished_bytes.get() > 100_000).await;
    third.send(&packet[..70_000]).await;
    third.expect_closed().await;
    assert_eq!(server.metrics().packet_stalls.get(), 1);
    drop(first);
    server.until("it is given back", |metrics| metrics.unfinished_bytes.get() == 0).await;
}

#[tokio::test]
async fn unfinished_packets_of_middling_size_are_counted_too() {
    let server = Server::with(Limits { unfinished_bytes: 40_000, ..limits() });
    let packet = client::publish("t", &[7; 40_000], 1, false, false, 1);
    let mut first = server.clean("first").await;
    first.send(&packet[..30_000]).await;
    server.until("the first is counted", |metrics| metrics.unfinished_bytes.get() >= 30_000).await;
    let mut second = server.clean("second").await;
    second.send(&packet[..30_000]).await;
    second.expect_closed().await;
    first.send(&packet[30_000..]).await;
    first.expect(Got::Puback(1)).await;
    assert_eq!(server.metrics().unfinished_bytes.get(), 0);
    assert_eq!(server.metrics().packet_stalls.get(), 1);
}

/// [MQTT-3.8.4-5, 3.9.3-1, 3.9.3-2]
#[tokio::test]
async fn too_many_subscriptions_and_too_deep_topics_are_refused() {
    let server = Server::with(Limits { subscriptions: 2, topic_levels: 3, ..limits() });
    let mut client = server.clean("a").await;
    client.send(&client::subscribe(1, &[("a", 0), ("a/b/c/d", 1), ("b", 2), ("c", 0), ("a", 1)])).await;
    client.expect(Got::Suback(1, vec![0, 0x80, 2, 0x80, 1])).await;
    client.publish("a/b/c/d", b"too deep", 1, false).await;
    client.publish("a", b"fine", 1, false).await;
    assert_eq!(client.message().await.1, b"fine");
    let metrics = server.metrics();
    assert_eq!((metrics.subscriptions_refused.get(), metrics.dropped_topic.get()), (2, 1));
}

#[tokio::test]
async fn limits_change_while_the_broker_runs() {
    let server = Server::start();
    server.broker.set_limits(Limits { packet_bytes: 100, ..limits() });
    let mut client = server.clean("a").await;
    client.send(&client::publish("t", &[0; 200], 0, false, false, 0)).await;
    client.expect_closed().await;
    assert_eq!(server.metrics().limit_packet_bytes.get(), 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fast_publisher_waits_for_a_subscriber_that_keeps_up_on_average() {
    let limits = Limits { outbox_bytes: 4000, publisher_stall: Duration::from_secs(10), ..limits() };
    let server = Arc::new(Server::with(limits));
    let mut subscriber = server.open_with(500);
    subscriber.connect(&Connect::new("sub")).await;
    subscriber.subscribe(&[("t", 0)]).await;
    let publisher = tokio::spawn({
        let server = server.clone();
        async move {
            let mut publisher = server.clean("pub").await;
            for n in 0..20_000_u32 {
                publisher.publish("t", &n.to_be_bytes(), 0, false).await;
            }
            publisher.ping().await;
        }
    });
    for n in 0..20_000_u32 {
        subscriber.expect_message("t", &n.to_be_bytes(), 0, false).await;
    }
    publisher.await.unwrap();
    assert!(server.metrics().publisher_stalls.get() > 0);
    assert_eq!(server.metrics().dropped_total(), 0);
}

#[tokio::test]
async fn stuck_subscribers_stall_a_publisher_only_once_however_many_they_are() {
    let stall = Duration::from_millis(200);
    let server = Server::with(Limits { outbox_bytes: 1000, publisher_stall: stall, ..limits() });
    let mut all = Vec::new();
    for n in 0..50 {
        let mut stuck = server.open_with(100);
        stuck.connect(&Connect::new(&format!("stuck{n}"))).await;
        stuck.subscribe(&[("t", 0)]).await;
        all.push(stuck);
    }
    let mut publisher = server.clean("pub").await;
    for _ in 0..100 {
        publisher.publish("t", &[0; 50], 0, false).await;
        publisher.ping().await;
    }
    assert_eq!(server.metrics().publisher_stalls.get(), 1);
    assert!(server.metrics().dropped_outbox.get() > 50 * 50);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_sends_what_waits_for_those_who_read_and_does_not_wait_for_others() {
    let server = Server::start();
    let mut reader = server.clean("reader").await;
    let mut stuck = server.open_with(50);
    stuck.connect(&Connect::new("stuck")).await;
    for client in [&mut reader, &mut stuck] {
        client.subscribe(&[("t", 0)]).await;
    }
    let mut publisher = server.clean("pub").await;
    let mut messages = Vec::new();
    for n in 0..100 {
        messages.extend(client::publish("t", &[n; 20], 0, false, false, 0));
    }
    messages.extend(PINGREQ);
    publisher.send(&messages).await;
    publisher.expect(Got::Pingresp).await;
    let start = tokio::time::Instant::now();
    let read = async {
        for n in 0..100 {
            reader.expect_message("t", &[n; 20], 0, false).await;
        }
        reader.expect_closed().await;
    };
    tokio::join!(server.broker.shutdown(Duration::from_secs(5)), read);
    assert_eq!(start.elapsed().as_secs(), 5);
    assert_eq!((server.metrics().sockets.get(), server.metrics().connections.get()), (0, 0));
}
