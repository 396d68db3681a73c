//! `/metrics`: the numbers that an operator needs, and that they count what their names say.

use crate::harness::client::Client;
use crate::harness::packet::Connect;
use crate::harness::server::{Options, Server, wait_for_metric};

#[test]
fn each_limit_is_told_as_it_is_set() {
    let server = Options::new()
        .set("limits.connections=500")
        .set("limits.packet_bytes=1MiB")
        .set("limits.topic_levels=7")
        .set("limits.session_expiry=2h")
        .set("limits.publish_rate=7")
        .set("limits.publish_bytes_rate=1KiB")
        .set("limits.retained_messages=8")
        .set("limits.retained_bytes=2KiB")
        .set("limits.memory_bytes=1GiB")
        .start();
    for (of, value) in [
        ("connections", 500.0),
        ("packet_bytes", 1_048_576.0),
        ("topic_levels", 7.0),
        ("session_expiry_seconds", 7_200.0),
        // Defaults.
        ("pending_handshakes", 1_024.0),
        ("connect_timeout_seconds", 10.0),
        ("topic_bytes", 65_535.0),
        ("subscriptions_per_client", 20_000.0),
        ("inflight_messages", 20.0),
        ("queue_messages", 10_000.0),
        ("queue_bytes", (64 << 20) as f64),
        ("queues_bytes", (1_u64 << 30) as f64),
        ("outbox_bytes", (1 << 20) as f64),
        ("outbox_messages", 20_000.0),
        ("outboxes_bytes", (512 << 20) as f64),
        ("unfinished_packet_bytes", (256 << 20) as f64),
        ("sessions", 200_000.0),
        ("write_stall_seconds", 60.0),
        ("publisher_stall_milliseconds", 50.0),
        ("will_grace_seconds", 30.0),
        ("match_cache_topics", 4_096.0),
        ("sys_interval_seconds", 10.0),
        ("publish_rate", 7.0),
        ("publish_burst", 0.0),
        ("publish_bytes_rate", 1_024.0),
        ("publish_bytes_burst", 0.0),
        ("total_publish_rate", 0.0),
        ("total_publish_bytes_rate", 0.0),
        ("connection_rate", 0.0),
        ("connection_burst", 0.0),
        ("flap_count", 0.0),
        ("flap_window_seconds", 60.0),
        ("flap_delay_seconds", 10.0),
        ("retained_messages", 8.0),
        ("retained_bytes", 2_048.0),
        ("memory_bytes", (1_u64 << 30) as f64),
    ] {
        assert_eq!(server.metric("distkv_limit", &[("of", of)]), value, "{of}");
    }
}

#[test]
fn messages_bytes_and_clients_are_counted() {
    let server = Server::start();
    let mut subscriber = Client::connect(server.mqtt(), &Connect::new("subscriber"));
    subscriber.subscribe("a/#", 1);
    subscriber.subscribe("b", 0);
    let mut publisher = Client::connect(server.mqtt(), &Connect::persistent("publisher"));
    for _ in 0..10 {
        publisher.publish("a/x", [1; 100], 1);
        subscriber.message();
    }
    publisher.publish_retained("kept", "x", 2);
    for (name, value) in [
        ("distkv_connections", 2.0),
        ("distkv_sockets", 2.0),
        ("distkv_sessions", 2.0),
        ("distkv_connects_total", 2.0),
        ("distkv_subscriptions", 2.0),
        ("distkv_publish_received_total", 11.0),
        ("distkv_publish_sent_total", 10.0),
        ("distkv_publish_received_bytes_total", 1_001.0),
        ("distkv_publish_sent_bytes_total", 1_000.0),
        ("distkv_retained_messages", 1.0),
        ("distkv_entries", 1.0),
        ("distkv_publish_dropped_total", 0.0),
        ("distkv_queued_messages", 0.0),
    ] {
        wait_for_metric(&server, name, &[], |found| found == value);
    }
    let received = server.metric("distkv_received_bytes_total", &[]);
    assert!((1_100.0..2_000.0).contains(&received), "{received}");
    assert!(server.metric("distkv_sent_bytes_total", &[]) >= 1_000.0);
    assert!(server.metric("distkv_journal_bytes", &[]) > 0.0);
    publisher.disconnect();
    subscriber.vanish();
    for (name, value) in [("distkv_connections", 0.0), ("distkv_sockets", 0.0), ("distkv_sessions", 1.0)] {
        wait_for_metric(&server, name, &[], |found| found == value);
    }
}

#[test]
fn syncs_are_counted_and_timed() {
    let server = Options::new().durability("always").start();
    let before = server.metric("distkv_journal_syncs_total", &[]);
    let mut publisher = Client::connect(server.mqtt(), &Connect::new("publisher"));
    for number in 0..5 {
        publisher.publish_retained("kept", number.to_string(), 1);
    }
    // One at a time, each acknowledged after its own sync.
    assert!(server.metric("distkv_journal_syncs_total", &[]) >= before + 5.0);
    assert!(server.metric("distkv_journal_sync_seconds_total", &[]) > 0.0);
}
