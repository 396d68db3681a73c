//! Rates of publishers and connections, quotas of retained messages, and the memory budget, as a user sets them.

use std::time::Duration;

use crate::harness::client::{Client, Next};
use crate::harness::clock::{SOON, now};
use crate::harness::packet::{self, Connect, Packet, Publish};
use crate::harness::server::{Options, Server, wait_for_metric};

/// Sends so many messages at once, and waits until all were handled; how long that took.
fn flood(client: &mut Client, count: usize) -> Duration {
    let start = now();
    let mut packets = Publish::new("t", "x").encode().repeat(count);
    packets.extend(packet::PINGREQ);
    client.send(&packets);
    client.expect(Packet::Pingresp);
    start.elapsed()
}

#[test]
fn a_publisher_beyond_its_rate_waits_and_others_do_not() {
    let server = Options::new().set("limits.publish_rate=100").set("limits.publish_burst=50").start();
    let mut reader = Client::connect(server.mqtt(), &Connect::new("reader"));
    reader.subscribe("t", 0);
    let mut fast = Client::connect(server.mqtt(), &Connect::new("fast").keep_alive(1));
    let mut packets = Publish::new("t", "x").encode().repeat(250);
    packets.extend(packet::PINGREQ);
    let start = now();
    fast.send(&packets);
    let mut other = Client::connect(server.mqtt(), &Connect::new("other"));
    other.publish("elsewhere", "x", 1);
    let others_took = start.elapsed();
    fast.expect(Packet::Pingresp);
    let took = start.elapsed();
    // 50 at once, 200 at 100 a second: longer than 1.5 of its keep alives.
    assert!(took >= Duration::from_millis(1_900), "{took:?}");
    assert!(others_took < took, "{others_took:?}");
    for _ in 0..250 {
        reader.message();
    }
    assert!(server.metric("distkv_rate_waits_total", &[("limit", "publish_rate")]) > 0.0);
    assert_eq!(server.metric("distkv_keep_alive_timeouts_total", &[]), 0.0);
}

#[test]
fn a_publisher_beyond_its_rate_is_disconnected_if_that_is_set() {
    let server =
        Options::new().set("limits.publish_bytes_rate=1KiB").set("limits.rate_action=disconnect").start();
    let mut client = Client::connect(server.mqtt(), &Connect::new("greedy"));
    client.publish("t", [0; 1_000], 0);
    client.publish("t", [0; 1_000], 0);
    client.expect_closed();
    assert_eq!(server.metric("distkv_rate_disconnects_total", &[("limit", "publish_bytes_rate")]), 1.0);
}

#[test]
fn a_rate_is_taken_up_by_a_reload() {
    let mut stopped = Options::new().prepare();
    let file = stopped.beside("distkv.toml");
    std::fs::write(&file, "").unwrap();
    let options = stopped.options_mut();
    *options = options.clone().argument("--config").argument(file.display().to_string());
    let server = stopped.run();
    let mut before = Client::connect(server.mqtt(), &Connect::new("before"));
    assert!(flood(&mut before, 500) < SOON);
    assert_eq!(server.metric("distkv_rate_waits_total", &[]), 0.0);
    std::fs::write(&file, "[limits]\npublish_rate = 200\nretained_messages = 1\n").unwrap();
    server.signal("HUP");
    wait_for_metric(&server, "distkv_limit", &[("of", "publish_rate")], |n| n == 200.0);
    let mut after = Client::connect(server.mqtt(), &Connect::new("after"));
    assert!(flood(&mut after, 300) >= Duration::from_millis(490));
    after.publish_retained("a", "1", 1);
    after.publish_retained("b", "1", 1);
    wait_for_metric(&server, "distkv_publish_dropped_total", &[("reason", "quota")], |n| n == 1.0);
}

#[test]
fn connections_beyond_their_rate_wait_and_are_served() {
    let server = Options::new().set("limits.connection_rate=10").set("limits.connection_burst=1").start();
    let start = now();
    for n in 0..5 {
        Client::connect(server.mqtt(), &Connect::new(&n.to_string())).disconnect();
    }
    assert!(start.elapsed() >= Duration::from_millis(390), "{:?}", start.elapsed());
    assert!(server.metric("distkv_rate_waits_total", &[("limit", "connection_rate")]) >= 3.0);
}

fn retained(server: &Server, count: f64) {
    wait_for_metric(server, "distkv_retained_messages", &[], |n| n == count);
}

#[test]
fn beyond_the_number_of_retained_messages_old_ones_change_and_go_and_new_ones_are_refused() {
    let server = Options::new().set("limits.retained_messages=2").start();
    let mut client = Client::connect(server.mqtt(), &Connect::new("a"));
    client.publish_retained("a", "1", 1);
    client.publish_retained("b", "1", 1);
    client.publish_retained("c", "1", 1);
    client.publish_retained("a", "2", 1);
    retained(&server, 2.0);
    client.publish_retained("b", "", 1);
    client.publish_retained("c", "2", 1);
    retained(&server, 2.0);
    assert_eq!(server.metric("distkv_publish_dropped_total", &[("reason", "quota")]), 1.0);
    let server = server.restart();
    let mut late = Client::connect(server.mqtt(), &Connect::new("late"));
    late.subscribe("#", 0);
    let mut found = [late.message(), late.message()].map(|message| message.topic);
    found.sort();
    assert_eq!(found, ["a", "c"]);
    late.expect_nothing_more();
}

#[test]
fn beyond_the_bytes_of_retained_messages_nothing_grows() {
    let server = Options::new().set("limits.retained_bytes=10KiB").start();
    let mut client = Client::connect(server.mqtt(), &Connect::new("a"));
    client.publish_retained("a", [b'x'; 9_000], 1);
    client.publish_retained("b", [b'x'; 2_000], 1);
    client.publish_retained("a", [b'x'; 11_000], 1);
    retained(&server, 1.0);
    assert_eq!(server.metric("distkv_publish_dropped_total", &[("reason", "quota")]), 2.0);
    client.publish_retained("a", [b'x'; 5_000], 1);
    client.publish_retained("b", [b'x'; 2_000], 1);
    retained(&server, 2.0);
}

#[test]
fn at_the_end_of_the_memory_budget_new_topics_and_new_clients_are_refused() {
    let server = Options::new().set("limits.memory_bytes=1MiB").start();
    let mut client = Client::connect(server.mqtt(), &Connect::new("a"));
    client.publish_retained("large", vec![b'x'; 1_000_000], 1);
    wait_for_metric(&server, "distkv_memory_pressure", &[], |n| n == 4.0);
    client.publish_retained("new", "x", 1);
    client.publish_retained("large", vec![b'y'; 1_000_000], 1);
    assert_eq!(server.metric("distkv_publish_dropped_total", &[("reason", "quota")]), 1.0);
    let mut late = Client::open(server.mqtt());
    late.send(&Connect::new("late").encode());
    late.expect(Packet::Connack { session_present: false, code: 3 });
    assert_eq!(late.next(SOON), Next::Closed);
    assert_eq!(server.metric("distkv_refused_total", &[("reason", "memory")]), 1.0);
    client.publish_retained("large", "", 1);
    wait_for_metric(&server, "distkv_memory_pressure", &[], |n| n == 0.0);
    client.publish_retained("new", "x", 1);
    Client::connect(server.mqtt(), &Connect::new("late")).disconnect();
    retained(&server, 1.0);
}
