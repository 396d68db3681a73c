//! Sessions on the wire of the whole program: what a client is promised over disconnects and restarts, packet by packet.

use crate::harness::client::{Client, Next};
use crate::harness::clock::SOON;
use crate::harness::packet::{
    Connect, Packet, Publish, frame, puback, pubcomp, pubrec, pubrel, string, subscribe, unsubscribe,
};
use crate::harness::server::{Options, Server, wait_for_metric};

/// A client with the session `keeper`, subscribed to `queue/#`, which has gone.
fn leave_session(server: &Server, qos: u8) {
    let mut keeper = Client::connect(server.mqtt(), &Connect::persistent("keeper"));
    assert!(!keeper.session_present);
    keeper.subscribe("queue/#", qos);
    keeper.disconnect();
}

fn come_back(server: &Server) -> Client {
    let keeper = Client::connect(server.mqtt(), &Connect::persistent("keeper"));
    assert!(keeper.session_present);
    keeper
}

/// [MQTT-3.1.2-5, 4.6.0-6]
#[test]
fn thousands_of_queued_messages_come_in_order_after_a_crash() {
    const COUNT: usize = 5_000;
    let server = Server::start();
    leave_session(&server, 2);
    let mut publisher = Client::connect(server.mqtt(), &Connect::new("publisher"));
    for number in 0..COUNT {
        let publish = Publish::new("queue/x", number.to_string()).qos(1, number as u16 + 1);
        publisher.send(&publish.encode());
        // A window of 100: no need to wait for each.
        if number >= 100 {
            publisher.expect(Packet::Puback(number as u16 - 99));
        }
    }
    for id in COUNT - 99..=COUNT {
        publisher.expect(Packet::Puback(id as u16));
    }
    let server = server.restart();
    let mut keeper = come_back(&server);
    for number in 0..COUNT {
        let publish = keeper.message();
        assert_eq!((publish.text(), publish.qos, publish.dup), (number.to_string(), 1, false));
    }
    keeper.expect_nothing_more();
}

#[test]
fn a_snapshot_that_is_due_at_the_start_does_not_forget_the_sessions() {
    // Every record asks for a snapshot, those too which a start makes before the broker has taken its sessions up.
    let mut server = Options::new().set("store.snapshot_bytes=1B").start();
    leave_session(&server, 1);
    for round in 0..5 {
        let mut publisher = Client::connect(server.mqtt(), &Connect::new("publisher"));
        publisher.publish("queue/x", round.to_string(), 1);
        wait_for_metric(&server, "distkv_snapshots_total", &[], |taken| taken > 0.0);
        server = server.restart();
    }
    let mut keeper = come_back(&server);
    for round in 0..5 {
        assert_eq!(keeper.message().text(), round.to_string());
    }
    keeper.expect_nothing_more();
}

/// What the keeper gets of 250 messages when its queue takes 100.
fn after_a_full_queue(drop: &str) -> Vec<String> {
    let setting = format!("limits.queue_drop={drop}");
    let server = Options::new().set("limits.queue_messages=100").set(&setting).start();
    leave_session(&server, 1);
    let mut publisher = Client::connect(server.mqtt(), &Connect::new("publisher"));
    for number in 0..250 {
        publisher.publish("queue/x", number.to_string(), 1);
    }
    assert_eq!(server.metric("distkv_publish_dropped_total", &[("reason", "queue_full")]), 150.0);
    assert_eq!(server.metric("distkv_queued_messages", &[]), 100.0);
    let mut keeper = come_back(&server);
    let came = (0..100).map(|_| keeper.message().text()).collect();
    keeper.expect_nothing_more();
    came
}

#[test]
fn a_full_queue_drops_the_newest_by_default() {
    let expected: Vec<String> = (0..100).map(|number| number.to_string()).collect();
    assert_eq!(after_a_full_queue("newest"), expected);
}

#[test]
fn a_full_queue_drops_the_oldest_if_told_to() {
    let expected: Vec<String> = (150..250).map(|number| number.to_string()).collect();
    assert_eq!(after_a_full_queue("oldest"), expected);
}

#[test]
fn a_queue_is_bounded_in_bytes() {
    let server = Options::new().set("limits.queue_bytes=100KiB").start();
    leave_session(&server, 1);
    let mut publisher = Client::connect(server.mqtt(), &Connect::new("publisher"));
    for _ in 0..50 {
        publisher.publish("queue/x", [7; 10_000], 1);
    }
    let dropped = server.metric("distkv_publish_dropped_total", &[("reason", "queue_full")]);
    assert!((40.0..=45.0).contains(&dropped), "{dropped}");
    assert!(server.metric("distkv_queued_bytes", &[]) <= 102_400.0);
    let mut keeper = come_back(&server);
    for _ in 0..50 - dropped as usize {
        assert_eq!(keeper.message().payload, [7; 10_000]);
    }
    keeper.expect_nothing_more();
}

/// [MQTT-3.3.1-1, 4.3.2-1, 4.4.0-1, 4.6.0-1]
#[test]
fn no_more_than_the_window_is_under_way_and_dup_is_set_after_a_reconnect_only() {
    let server = Server::start();
    leave_session(&server, 1);
    let mut publisher = Client::connect(server.mqtt(), &Connect::new("publisher"));
    for number in 0..30 {
        publisher.publish("queue/x", number.to_string(), 1);
    }
    let mut keeper = come_back(&server);
    let first: Vec<Publish> = (0..20).map(|_| keeper.publication()).collect();
    keeper.expect_nothing_more();
    keeper.send(&puback(first[0].id));
    let next = keeper.publication();
    assert_eq!(next.text(), "20");
    keeper.expect_nothing_more();
    keeper.vanish();

    let server = server.restart();
    let mut keeper = come_back(&server);
    for sent in first[1..].iter().chain([&next]) {
        assert_eq!(keeper.publication(), sent.clone().dup());
        keeper.send(&puback(sent.id));
    }
    for number in 21..30 {
        let publish = keeper.message();
        assert_eq!((publish.text(), publish.dup), (number.to_string(), false));
    }
    keeper.expect_nothing_more();
}

/// [MQTT-4.3.3-1, 4.4.0-1]
#[test]
fn qos_2_to_a_subscriber_goes_on_after_a_crash_where_it_was() {
    let server = Server::start();
    leave_session(&server, 2);
    let mut publisher = Client::connect(server.mqtt(), &Connect::new("publisher"));
    publisher.publish("queue/x", "first", 2);
    publisher.publish("queue/x", "second", 2);
    let mut keeper = come_back(&server);
    let (first, second) = (keeper.publication(), keeper.publication());
    keeper.send(&pubrec(first.id));
    keeper.expect(Packet::Pubrel(first.id));
    keeper.vanish();

    let server = server.restart();
    let mut keeper = come_back(&server);
    keeper.expect(Packet::Pubrel(first.id));
    assert_eq!(keeper.publication(), second.clone().dup());
    keeper.send(&pubcomp(first.id));
    keeper.send(&pubrec(second.id));
    keeper.expect(Packet::Pubrel(second.id));
    keeper.send(&pubcomp(second.id));
    keeper.expect_nothing_more();
}

/// [MQTT-4.3.3-2]
#[test]
fn qos_2_of_a_publisher_is_taken_once_although_the_server_crashed_in_between() {
    let server = Server::start();
    leave_session(&server, 2);
    let mut publisher = Client::connect(server.mqtt(), &Connect::persistent("publisher"));
    let publish = Publish::new("queue/x", "once").qos(2, 77);
    publisher.send(&publish.encode());
    publisher.expect(Packet::Pubrec(77));
    let server = server.restart();
    let mut publisher = Client::connect(server.mqtt(), &Connect::persistent("publisher"));
    assert!(publisher.session_present);
    publisher.send(&publish.dup().encode());
    publisher.expect(Packet::Pubrec(77));
    publisher.send(&pubrel(77));
    publisher.expect(Packet::Pubcomp(77));
    let mut keeper = come_back(&server);
    assert_eq!(keeper.message().text(), "once");
    keeper.expect_nothing_more();
}

/// [MQTT-3.1.2-6]
#[test]
fn a_clean_session_leaves_nothing_behind() {
    let server = Server::start();
    leave_session(&server, 1);
    wait_for_metric(&server, "distkv_sessions", &[], |sessions| sessions == 1.0);
    let mut keeper = Client::connect(server.mqtt(), &Connect::new("keeper"));
    assert!(!keeper.session_present);
    keeper.publish("queue/x", "nobody is subscribed", 1);
    keeper.expect_nothing_more();
    keeper.vanish();
    wait_for_metric(&server, "distkv_sessions", &[], |sessions| sessions == 0.0);
    let server = server.restart();
    assert!(!Client::connect(server.mqtt(), &Connect::persistent("keeper")).session_present);
}

/// [MQTT-3.10.4-2, 3.10.4-4]
#[test]
fn unsubscribing_is_kept_as_subscribing_is() {
    let server = Server::start();
    let mut keeper = Client::connect(server.mqtt(), &Connect::persistent("keeper"));
    keeper.subscribe("queue/a", 1);
    keeper.subscribe("queue/b", 1);
    keeper.send(&unsubscribe(9, &["queue/a", "never/subscribed"]));
    keeper.expect(Packet::Unsuback(9));
    let server = server.restart();
    let mut publisher = Client::connect(server.mqtt(), &Connect::new("publisher"));
    publisher.publish("queue/a", "a", 1);
    publisher.publish("queue/b", "b", 1);
    let mut keeper = come_back(&server);
    assert_eq!(keeper.message().text(), "b");
    keeper.expect_nothing_more();
}

#[test]
fn the_age_of_a_session_is_limited() {
    let server = Options::new().set("limits.session_expiry=1s").start();
    leave_session(&server, 1);
    wait_for_metric(&server, "distkv_sessions_expired_total", &[], |expired| expired == 1.0);
    let keeper = Client::connect(server.mqtt(), &Connect::persistent("keeper"));
    assert!(!keeper.session_present);
}

#[test]
fn several_hundred_filters_fit_in_one_subscribe() {
    let server = Server::start();
    let mut client = Client::connect(server.mqtt(), &Connect::new("many"));
    let filters: Vec<(String, u8)> =
        (0..700).map(|n| (format!("house/{n}/+/state"), (n % 3) as u8)).collect();
    client.send(&subscribe(1, &filters));
    client.expect(Packet::Suback { id: 1, codes: filters.iter().map(|(_, qos)| *qos).collect() });
    let mut publisher = Client::connect(server.mqtt(), &Connect::new("publisher"));
    for number in 0..700 {
        publisher.publish(&format!("house/{number}/lamp/state"), "on", 1);
        let publish = client.message();
        assert_eq!(publish.topic, format!("house/{number}/lamp/state"));
        assert_eq!(publish.qos, (number % 3).min(1) as u8);
    }
    assert_eq!(server.metric("distkv_subscriptions", &[]), 700.0);
}

#[test]
fn topics_have_up_to_200_levels() {
    let server = Server::start();
    let mut client = Client::connect(server.mqtt(), &Connect::new("deep"));
    // 200 levels, one of them empty.
    let deep = format!("a{}", "/b".repeat(198)) + "/";
    client.subscribe(&deep, 1);
    client.publish_retained("unrelated", "x", 1);
    let mut publisher = Client::connect(server.mqtt(), &Connect::new("publisher"));
    publisher.publish_retained(&deep, "deep", 1);
    assert_eq!(client.message().text(), "deep");
    let deeper = format!("{deep}/c");
    client.send(&subscribe(5, &[(&deeper, 1)]));
    client.expect(Packet::Suback { id: 5, codes: vec![0x80] });
    publisher.publish_retained(&deeper, "too deep", 1);
    assert_eq!(server.metric("distkv_publish_dropped_total", &[("reason", "topic_too_long")]), 1.0);
    let server = server.restart();
    let mut client = Client::connect(server.mqtt(), &Connect::new("deep"));
    client.subscribe("a/#", 1);
    assert_eq!(client.message(), Publish::new(&deep, "deep").qos(1, 1).retain());
    client.expect_nothing_more();
}

/// [MQTT-3.3.5-1]
#[test]
fn overlapping_filters_bring_one_copy_with_the_highest_qos() {
    let server = Server::start();
    let mut client = Client::connect(server.mqtt(), &Connect::new("overlap"));
    client.subscribe("a/#", 0);
    client.subscribe("a/+", 2);
    client.subscribe("a/b", 1);
    let mut publisher = Client::connect(server.mqtt(), &Connect::new("publisher"));
    publisher.publish("a/b", "x", 2);
    assert_eq!(client.message().qos, 2);
    client.expect_nothing_more();
}

/// [MQTT-3.1.4-2]
#[test]
fn a_takeover_closes_the_first_connection_and_keeps_the_session() {
    let server = Server::start();
    leave_session(&server, 1);
    let mut first = come_back(&server);
    let mut publisher = Client::connect(server.mqtt(), &Connect::new("publisher"));
    publisher.publish("queue/x", "unacknowledged", 1);
    let sent = first.publication();
    let mut second = come_back(&server);
    first.expect_closed();
    assert_eq!(second.publication(), sent.dup());
    second.send(&puback(1));
    publisher.publish("queue/x", "next", 1);
    assert_eq!(second.message().text(), "next");
    assert_eq!(server.metric("distkv_takeovers_total", &[]), 1.0);
}

/// [MQTT-3.1.3-6, 3.1.3-8, 3.1.3-9]
#[test]
fn client_ids_are_as_each_version_has_them() {
    let server = Server::start();
    let long = "x".repeat(200);
    for connect in [
        Connect::new(""),
        Connect::new(&long),
        Connect::persistent("Grüße/+/# ?"),
        Connect::new("short").mqtt31(),
        // Longer than 23: the standard of 3.1 forbids it, devices do it, brokers take it.
        Connect::new(&long).mqtt31(),
    ] {
        Client::connect(server.mqtt(), &connect).disconnect();
    }
    for connect in [Connect::persistent(""), Connect::new("").mqtt31()] {
        let mut client = Client::open(server.mqtt());
        client.send(&connect.encode());
        client.expect(Packet::Connack { session_present: false, code: 2 });
        client.expect_closed();
    }
}

/// [MQTT-3.1.2-2]
#[test]
fn an_unknown_protocol_level_is_answered_with_code_1() {
    let server = Server::start();
    for (name, level) in [(&b"MQTT"[..], 3), (b"MQIsdp", 4), (b"MQTT", 0)] {
        let mut body = string(name);
        body.extend([level, 2, 0, 60]);
        body.extend(string(b"client"));
        let mut client = Client::open(server.mqtt());
        client.send(&frame(0x10, &body));
        client.expect(Packet::Connack { session_present: false, code: 1 });
        client.expect_closed();
    }
}

/// [MQTT-1.5.3-1, 3.1.0-2, 4.8.0-1]
#[test]
fn a_broken_packet_closes_the_connection_and_no_other() {
    let server = Server::start();
    let mut other = Client::connect(server.mqtt(), &Connect::new("other"));
    other.subscribe("#", 0);
    let broken: [&[u8]; 10] = [
        &[0x00, 0x00],                                                 // no such packet
        &[0x36, 0x05, 0, 1, b'a', 0, 1],                               // QoS 3
        &[0x30, 0x03, 0, 1, b'#'],                                     // wildcard in a topic name
        &[0x30, 0x02, 0, 0],                                           // empty topic
        &[0x32, 0x05, 0, 1, b'a', 0, 0],                               // packet id 0
        &[0x80, 0x06, 0, 1, 0, 1, b'a', 0],                            // flags of SUBSCRIBE
        &[0x82, 0x02, 0, 1],                                           // empty SUBSCRIBE
        &[0x30, 0xff, 0xff, 0xff, 0xff, 0x01],                         // over-long length
        &[0x30, 0x04, 0, 2, 0xc3, 0x28],                               // not UTF-8
        &[0x10, 0x0c, 0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 0, 0, 0], // second CONNECT
    ];
    for bytes in broken {
        let mut client = Client::connect(server.mqtt(), &Connect::new("broken"));
        client.send(bytes);
        assert_eq!(client.next(SOON), Next::Closed, "{bytes:02x?}");
    }
    other.expect_nothing_more();
    assert_eq!(server.metric("distkv_protocol_errors_total", &[]), 10.0);
}
