//! `$SYS/broker/...`: the names that monitoring tools read, and their meanings.

use std::collections::HashMap;

use crate::harness::client::Client;
use crate::harness::clock::{SOON, now};
use crate::harness::packet::{Connect, Packet};
use crate::harness::server::{Options, Server};

/// Those of mosquitto's names that Nagios and Telegraf plugins, exporters and Home Assistant look for.
const NAMES: &[&str] = &[
    "version",
    "uptime",
    "clients/total",
    "clients/connected",
    "clients/active",
    "clients/disconnected",
    "clients/inactive",
    "clients/maximum",
    "clients/expired",
    "messages/received",
    "messages/sent",
    "messages/stored",
    "store/messages/count",
    "store/messages/bytes",
    "publish/messages/received",
    "publish/messages/sent",
    "publish/messages/dropped",
    "publish/bytes/received",
    "publish/bytes/sent",
    "bytes/received",
    "bytes/sent",
    "subscriptions/count",
    "retained messages/count",
    "load/messages/received/1min",
    "load/messages/received/5min",
    "load/messages/received/15min",
    "load/messages/sent/1min",
    "load/publish/received/1min",
    "load/publish/sent/1min",
    "load/publish/dropped/1min",
    "load/bytes/received/1min",
    "load/bytes/sent/1min",
    "load/connections/1min",
    "load/sockets/1min",
];

fn start() -> Server {
    Options::new().set("limits.sys_interval=1s").start()
}

/// Reads until `holds`; what the topics said last.
#[track_caller]
fn read_until(
    client: &mut Client,
    holds: impl Fn(&HashMap<String, String>) -> bool,
) -> HashMap<String, String> {
    let mut values = HashMap::new();
    let deadline = now() + SOON;
    while now() < deadline {
        let message = client.message();
        let name = message.topic.strip_prefix("$SYS/broker/").expect("a topic below $SYS/broker").to_owned();
        values.insert(name, message.text());
        if holds(&values) {
            return values;
        }
    }
    panic!("not in {SOON:?}: {values:#?}");
}

fn number(values: &HashMap<String, String>, name: &str) -> f64 {
    values.get(name).and_then(|text| text.parse().ok()).unwrap_or(-1.0)
}

#[test]
fn all_names_are_told_to_a_new_subscriber() {
    let server = start();
    let mut client = Client::connect(server.mqtt(), &Connect::new("monitor"));
    client.subscribe("$SYS/broker/#", 0);
    let mut missing = NAMES.to_vec();
    let deadline = now() + SOON;
    while !missing.is_empty() {
        assert!(now() < deadline, "missing: {missing:?}");
        let message = client.message();
        missing.retain(|name| message.topic != format!("$SYS/broker/{name}"));
    }
}

#[test]
fn numbers_mean_what_their_names_say() {
    let server = start();
    let mut keeper = Client::connect(server.mqtt(), &Connect::persistent("keeper"));
    keeper.subscribe("a/#", 1);
    keeper.subscribe("b", 1);
    keeper.disconnect();
    let mut publisher = Client::connect(server.mqtt(), &Connect::new("publisher"));
    for index in 0..5 {
        publisher.publish_retained(&format!("kept/{index}"), "x", 1);
    }
    publisher.publish("b", "queued", 1);
    let mut monitor = Client::connect(server.mqtt(), &Connect::new("monitor"));
    monitor.subscribe("$SYS/#", 0);
    let values = read_until(&mut monitor, |values| {
        number(values, "clients/connected") == 2.0
            && number(values, "clients/disconnected") == 1.0
            && number(values, "clients/total") == 3.0
            && number(values, "clients/maximum") >= 2.0
            && number(values, "subscriptions/count") == 3.0
            && number(values, "retained messages/count") >= 5.0
            && number(values, "publish/messages/received") == 6.0
            && number(values, "messages/received") > 10.0
            && number(values, "bytes/received") > 100.0
            && number(values, "load/messages/received/1min") > 0.0
            && values.get("uptime").is_some_and(|text| text.ends_with(" seconds"))
    });
    assert!(values.get("version").is_none_or(|text| text.to_lowercase().contains("distkv")), "{values:?}");
}

#[test]
fn system_topics_are_out_of_sight_of_wildcards_and_closed_to_writers() {
    let server = start();
    let mut all = Client::connect(server.mqtt(), &Connect::new("all"));
    all.subscribe("#", 0);
    all.subscribe("+/broker/#", 0);
    let mut monitor = Client::connect(server.mqtt(), &Connect::new("monitor"));
    monitor.subscribe("$SYS/broker/uptime", 0);
    // Two rounds of them.
    monitor.message();
    monitor.message();
    all.publish("$SYS/broker/uptime", "forged", 1);
    all.publish_retained("$SYS/broker/forged", "forged", 1);
    all.expect_nothing_more();
    assert_ne!(monitor.message().text(), "forged");
    assert_eq!(server.metric("distkv_publish_dropped_total", &[("reason", "reserved_topic")]), 2.0);
    let mut late = Client::connect(server.mqtt(), &Connect::new("late"));
    late.send(&crate::harness::packet::subscribe(1, &[("$SYS/broker/forged", 0)]));
    late.expect(Packet::Suback { id: 1, codes: vec![0] });
    late.expect_nothing_more();
}

#[test]
fn an_interval_of_0_turns_them_off() {
    let server = Options::new().set("limits.sys_interval=0ms").start();
    let mut monitor = Client::connect(server.mqtt(), &Connect::new("monitor"));
    monitor.subscribe("$SYS/#", 0);
    monitor.expect_nothing_more();
}
