//! The memory budget: what is shed as it comes to its end, and in which order.

use distkv_broker::limits::Limits;
use distkv_broker::metrics::Dropped;
use distkv_broker::pressure::Shed;

use crate::client::{Connect, Got};
use crate::server::{Server, limits};

/// Fills the queue of a session that is away with so many bytes.
async fn fill(server: &Server, bytes: usize) {
    let mut publisher = server.clean("filler").await;
    let payload = vec![0; bytes - "fill".len()];
    publisher.publish("fill", &payload, 1, false).await;
}

async fn away(server: &Server) {
    let mut away = server.connect(&Connect::persistent("away")).await;
    away.subscribe(&[("fill", 1), ("more", 1)]).await;
    away.disconnect().await;
}

#[tokio::test]
async fn queues_of_those_who_are_away_are_shed_and_then_new_connections() {
    let server = Server::with(Limits { memory_bytes: 100_000, ..limits() });
    away(&server).await;
    let mut here = server.clean("here").await;
    here.subscribe(&[("more", 1)]).await;
    fill(&server, 85_000).await;
    server.until("it is noticed", |metrics| metrics.memory_pressure.get() == 2).await;
    assert_eq!(server.metrics().memory_bytes.get(), 85_000);
    let mut publisher = server.clean("publisher").await;
    publisher.publish("more", b"x", 1, false).await;
    here.expect_message("more", b"x", 1, false).await;
    assert_eq!(server.metrics().dropped_memory.get(), 1);
    let away = server.broker.client("away").unwrap();
    assert_eq!((away.dropped, away.queue_messages), (vec![(Dropped::Memory, 1)], 1));
    // A higher budget at once means room.
    server.broker.set_limits(Limits { memory_bytes: 1_000_000, ..limits() });
    server.until("it is noticed", |metrics| metrics.memory_pressure.get() == 0).await;
    publisher.publish("more", b"x", 1, false).await;
    assert_eq!(server.broker.client("away").unwrap().queue_messages, 2);
    server.broker.set_limits(Limits { memory_bytes: 94_000, ..limits() });
    server.until("it is noticed", |metrics| metrics.memory_pressure.get() == 3).await;
    let mut late = server.open();
    late.send(&Connect::new("late").encode()).await;
    late.expect(Got::Connack { present: false, code: 3 }).await;
    assert_eq!(server.metrics().refused_memory.get(), 1);
    assert!(!server.broker.pressure().sheds(Shed::NewRetained));
    server.broker.set_limits(limits());
    server.until("it is off", |metrics| metrics.memory_pressure.get() == 0).await;
    server.clean("late").await.ping().await;
}

#[tokio::test]
async fn qos_0_is_shed_for_slow_clients_first() {
    let server = Server::with(Limits { memory_bytes: 200_000, ..limits() });
    away(&server).await;
    let mut slow = server.open_with(100);
    slow.connect(&Connect::new("slow")).await;
    slow.subscribe(&[("t", 0)]).await;
    let mut quick = server.clean("quick").await;
    quick.subscribe(&[("t", 0)]).await;
    fill(&server, 165_000).await;
    server.until("it is noticed", |metrics| metrics.memory_pressure.get() == 1).await;
    let mut publisher = server.clean("publisher").await;
    for n in 0..10_u8 {
        publisher.publish("t", &[n; 1000], 0, false).await;
        quick.expect_message("t", &[n; 1000], 0, false).await;
    }
    let dropped = server.broker.client("slow").unwrap().dropped;
    assert!(matches!(dropped[..], [(Dropped::Memory, 4..=6)]), "{dropped:?}");
    assert_eq!(server.broker.client("quick").unwrap().dropped, []);
    // QoS 1 still goes to the queue of the client that is away.
    publisher.publish("more", b"x", 1, false).await;
    assert_eq!(server.broker.client("away").unwrap().queue_messages, 2);
}

#[tokio::test]
async fn retained_messages_count() {
    let server = Server::with(Limits { memory_bytes: 100_000, ..limits() });
    let mut publisher = server.clean("publisher").await;
    publisher.publish("t", &[0; 97_000], 1, true).await;
    server.until("it is noticed", |metrics| metrics.memory_pressure.get() == 4).await;
    assert!(server.broker.pressure().sheds(Shed::NewRetained));
    publisher.publish("t", b"", 1, true).await;
    server.until("it is noticed", |metrics| metrics.memory_pressure.get() == 0).await;
}
