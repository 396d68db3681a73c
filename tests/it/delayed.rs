//! Delayed messages with the tools of docs/mqtt-extensions.md, and over `kill -9`.

use std::time::Duration;

use crate::harness::client::Client;
use crate::harness::clock::now;
use crate::harness::packet::{Connect, Packet, Publish, subscribe};
use crate::harness::server::{Options, Server, wait_for_metric};
use crate::harness::tools::{Tool, mosquitto_pub, mosquitto_sub};

/// A persistent session that gets everything on `t/#`; its client is away.
fn absent_subscriber(server: &Server) {
    let mut subscriber = Client::connect(server.mqtt(), &Connect::persistent("subscriber"));
    subscriber.send(&subscribe(1, &[("t/#", 2)]));
    subscriber.expect(Packet::Suback { id: 1, codes: vec![2] });
    subscriber.disconnect();
}

#[test]
fn mosquittos_tools_publish_later_in_each_version() {
    let server = Server::start();
    let port = server.port();
    for version in ["31", "311", "5"] {
        let mut watcher = mosquitto_sub(&port, &["-v", "-t", "t/#", "-t", "$delayed/#"]);
        let start = now();
        mosquitto_pub(&port, &["-V", version, "-q", "1", "-t", "$delayed/1/t/later", "-m", version]);
        mosquitto_pub(&port, &["-V", version, "-q", "1", "-t", "t/now", "-m", version]);
        watcher.wait_for_text(&format!("t/later {version}\n"));
        assert!(start.elapsed() >= Duration::from_secs(1), "{:?}", start.elapsed());
        let text = watcher.text();
        assert!(text.find("t/now") < text.find("t/later"), "{text}");
        assert!(!text.contains("\n$delayed/"), "{text}");
    }
    assert_eq!(server.metric("distkv_delayed_released_total", &[]), 3.0);
}

#[test]
fn a_client_of_mqtt_5_is_told_why_its_message_is_not_taken() {
    let server = Options::new().set("limits.delayed_messages=1").start();
    let port = server.port();
    let publish = |topic: &str| {
        let arguments = ["-h", "127.0.0.1", "-p", &port, "-V", "5", "-d", "-q", "1", "-t", topic, "-m", "x"];
        let mut tool = Tool::start("mosquitto_pub", &arguments);
        tool.status();
        format!("{tool}")
    };
    let told = publish("$delayed/soon/t");
    assert!(told.contains("RC:144"), "{told}");
    assert!(publish("$delayed/1000/t").contains("RC:0"));
    let told = publish("$delayed/1000/t");
    assert!(told.contains("RC:151"), "{told}");
    assert_eq!(server.metric("distkv_publish_dropped_total", &[("reason", "delayed_full")]), 1.0);
    assert_eq!(server.metric("distkv_limit", &[("of", "delayed_messages")]), 1.0);
    assert_eq!(server.metric("distkv_delayed_bytes", &[]), 2.0);
}

#[test]
fn over_kill_9_messages_come_once_and_not_before_their_time() {
    let server = Options::new().start();
    absent_subscriber(&server);
    let port = server.port();
    let start = now();
    mosquitto_pub(&port, &["-q", "2", "-t", "$delayed/1/t/late", "-m", "2"]);
    mosquitto_pub(&port, &["-q", "1", "-r", "-t", "$delayed/4/t/kept", "-m", "1"]);
    mosquitto_pub(&port, &["-q", "1", "-t", "$delayed/1000/t/waits", "-m", "1"]);
    mosquitto_pub(&port, &["-q", "0", "-t", "$delayed/2/t/lost", "-m", "0"]);
    let server = server.restart();
    wait_for_metric(&server, "distkv_delayed_messages", &[], |waiting| waiting == 1.0);
    assert!(start.elapsed() >= Duration::from_secs(4), "{:?}", start.elapsed());
    // What was released is done with, in the next life, too.
    let server = server.restart();
    assert_eq!(server.metric("distkv_delayed_messages", &[]), 1.0);
    let mut subscriber = Client::connect(server.mqtt(), &Connect::persistent("subscriber"));
    for (topic, text) in [("t/late", "2"), ("t/kept", "1")] {
        let publish = subscriber.publication();
        assert_eq!((&*publish.topic, publish.text()), (topic, text.to_owned()));
    }
    subscriber.expect_nothing_more();
    let mut late = Client::connect(server.mqtt(), &Connect::new("late"));
    late.subscribe("t/kept", 1);
    assert!(late.message().retain);
}

#[test]
fn a_snapshot_keeps_what_waits() {
    let server = Options::new().set("store.segment_bytes=64KiB").set("store.snapshot_bytes=64KiB").start();
    let mut publisher = Client::connect(server.mqtt(), &Connect::new("publisher"));
    publisher.publish("$delayed/1000/t", "waits", 1);
    let taken = server.metric("distkv_snapshots_total", &[]);
    while server.metric("distkv_snapshots_total", &[]) < taken + 2.0 {
        publisher.publish_retained("fill", [b'x'; 1000], 1);
    }
    let server = server.restart();
    assert_eq!(server.metric("distkv_delayed_messages", &[]), 1.0);
    let (status, stopped) = server.terminate();
    assert!(status.success(), "{status}");
    assert_eq!(stopped.run().metric("distkv_delayed_messages", &[]), 1.0);
}

#[test]
fn a_message_without_acknowledgement_is_sent_again_and_comes_once() {
    let server = Server::start();
    absent_subscriber(&server);
    let connect = Connect::persistent("publisher");
    let mut publisher = Client::connect(server.mqtt(), &connect);
    let publish = Publish::new("$delayed/1/t/once", "once").qos(2, 7);
    publisher.send(&publish.encode());
    publisher.expect(Packet::Pubrec(7));
    let server = server.restart();
    let mut publisher = Client::connect(server.mqtt(), &connect);
    publisher.send(&Publish { dup: true, ..publish }.encode());
    publisher.expect(Packet::Pubrec(7));
    wait_for_metric(&server, "distkv_delayed_released_total", &[], |released| released == 1.0);
    let mut subscriber = Client::connect(server.mqtt(), &Connect::persistent("subscriber"));
    assert_eq!(subscriber.message().text(), "once");
    subscriber.expect_nothing_more();
}
