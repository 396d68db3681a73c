//! What DistKV adds to MQTT (docs/mqtt-extensions.md), with the tools that its examples use: marked replay, provenance,
//! compare-and-set.

use std::thread;

use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Packet as V5, PubAckReason, PublishProperties};
use rumqttc::v5::{Client, Connection, Event, MqttOptions};

use super::harness::server::{Options, Server};
use super::harness::tools::{Tool, mosquitto_pub, mosquitto_sub};
use crate::harness::client::{Client as RawClient, Next};
use crate::harness::clock::SOON;
use crate::harness::packet::{Connect, Packet, Publish};

fn server() -> Server {
    Options::new().argument("--name").argument("hub").start()
}

/// A mosquitto_sub of MQTT 5 that ends by itself after so many messages.
fn subscriber(port: &str, arguments: &[&str]) -> String {
    let mut all = vec!["-V", "5", "-h", "127.0.0.1", "-p", port, "-W", "60"];
    all.extend(arguments);
    Tool::start("mosquitto_sub", &all).finish()
}

#[test]
fn a_marked_replay_says_when_all_retained_messages_were_sent() {
    let server = server();
    let port = server.port();
    for n in 0..3 {
        mosquitto_pub(&port, &["-r", "-q", "1", "-t", &format!("home/{n}"), "-m", "on"]);
    }
    for qos in ["0", "1"] {
        let told = subscriber(
            &port,
            &["-v", "-q", qos, "-t", "home/#", "-t", "$distkv/replay/#", "-C", "4"]
                .into_iter()
                .chain(["-D", "subscribe", "user-property", "distkv-replay", "boot"])
                .collect::<Vec<_>>(),
        );
        let lines: Vec<&str> = told.lines().collect();
        assert_eq!(lines[..3], ["home/0 on", "home/1 on", "home/2 on"], "{told}");
        let mark = lines[3].strip_prefix("$distkv/replay/boot ").unwrap_or_else(|| panic!("{told}"));
        let mark: serde_json::Value = serde_json::from_str(mark).unwrap();
        assert_eq!(mark["messages"], 3);
        assert_eq!(mark["filters"], serde_json::json!(["home/#", "$distkv/replay/#"]));
        assert_eq!(mark["tock"], 3);
    }
}

#[test]
fn a_marked_replay_of_nothing_is_an_answer_too() {
    let server = server();
    let arguments = ["-v", "-t", "no/such/topic", "-t", "$distkv/replay/+", "-C", "1"];
    let asked = ["-D", "subscribe", "user-property", "distkv-replay", "empty"];
    let told = subscriber(&server.port(), &[&arguments[..], &asked].concat());
    assert!(told.starts_with(r#"$distkv/replay/empty {"messages":0,"#), "{told}");
}

#[test]
fn a_client_of_mqtt_3_asks_for_a_marked_replay_by_publishing_a_filter() {
    let server = server();
    mosquitto_pub(&server.port(), &["-r", "-t", "a/b", "-m", "x"]);
    let mut client = RawClient::connect(server.mqtt(), &Connect::new("three"));
    client.subscribe("a/#", 0);
    assert_eq!(client.message().text(), "x");
    client.subscribe("$distkv/replay/#", 0);
    let id = client.id();
    let ask = Publish { qos: 1, id, ..Publish::new("$distkv/replay/again", b"a/#\nb/#") };
    client.send(&ask.encode());
    assert_eq!(client.next(SOON), Next::Packet(Packet::Puback(id)));
    assert_eq!(client.message().text(), "x");
    let mark = client.message();
    assert_eq!(mark.topic, "$distkv/replay/again");
    let mark: serde_json::Value = serde_json::from_str(&mark.text()).unwrap();
    assert_eq!((&mark["messages"], &mark["filters"][0]), (&1.into(), &"a/#".into()));
    assert_eq!(mark["not_subscribed"], serde_json::json!(["b/#"]));
}

#[test]
fn provenance_tells_the_version_of_each_entry_replayed_and_live() {
    let server = server();
    let port = server.port();
    mosquitto_pub(&port, &["-r", "-q", "1", "-t", "home/light", "-m", "on"]);
    let mut arguments = vec!["-V", "5", "-q", "1", "-t", "home/#", "-F", "%t %p [%P]"];
    let meta = ["-D", "subscribe", "user-property", "distkv-meta", "1"];
    let mut plain = mosquitto_sub(&port, &arguments);
    arguments.extend(meta);
    let mut told = mosquitto_sub(&port, &arguments);
    told.wait_for_text("home/light on [distkv-node:hub distkv-tick:1 distkv-tock:1 distkv-time:1");
    plain.wait_for_text("home/light on []");
    // Nobody can pass for the broker; other properties travel.
    let forged = ["-D", "publish", "user-property", "distkv-user", "root"];
    let other = ["-D", "publish", "user-property", "colour", "red"];
    let publish = ["-V", "5", "-r", "-q", "1", "-t", "home/light", "-m", "off"];
    mosquitto_pub(&port, &[&publish[..], &forged, &other].concat());
    told.wait_for_text(
        "home/light off [colour:red distkv-node:hub distkv-tick:2 distkv-tock:2 distkv-time:1",
    );
    plain.wait_for_text("home/light off [colour:red]");
    let unretained = ["-V", "5", "-q", "1", "-t", "home/light", "-m", "dim"];
    mosquitto_pub(&port, &[&unretained[..], &forged].concat());
    told.wait_for_text("home/light dim []");
    assert!(!told.text().contains("distkv-user"), "{told}");
}

#[test]
fn a_write_with_a_condition_happens_only_if_it_holds() {
    let server = server();
    let port = server.port();
    let mut watcher = mosquitto_sub(&port, &["-V", "5", "-v", "-t", "counter"]);
    let write = |payload: &str, condition: &str| {
        let tool = Tool::start(
            "mosquitto_pub",
            &[
                "-V",
                "5",
                "-h",
                "127.0.0.1",
                "-p",
                &port,
                "-r",
                "-q",
                "1",
                "-t",
                "counter",
                "-m",
                payload,
                "-d",
                "-D",
                "publish",
                "user-property",
                "distkv-if",
                condition,
            ],
        );
        tool.finish()
    };
    assert!(write("1", "new").contains("RC:0)"));
    assert!(write("2", "hub:1").contains("RC:0)"));
    for (payload, condition) in [("9", "hub:1"), ("9", "new"), ("9", "other:2"), ("9", "nonsense")] {
        let told = write(payload, condition);
        assert!(told.contains("RC:131)"), "{condition}: {told}");
    }
    assert!(write("3", "hub:2").contains("RC:0)"));
    watcher.wait_for_text("counter 3");
    assert!(!watcher.text().contains("counter 9"), "{watcher}");
}

#[test]
fn two_clients_that_count_to_ten_thousand_each_end_at_twenty_thousand() {
    const EACH: u64 = 10_000;
    let server = server();
    let counters: Vec<_> = ["one", "two"]
        .map(|name| {
            let port = server.mqtt().port();
            thread::spawn(move || Counter::new(name, port).count(EACH))
        })
        .into_iter()
        .collect();
    let conflicts: u64 = counters.into_iter().map(|counter| counter.join().unwrap()).sum();
    assert!(conflicts > 0, "they never met, so this showed nothing");
    let sum = subscriber(&server.port(), &["-t", "sum", "-C", "1"]);
    assert_eq!(sum.trim(), (2 * EACH).to_string());
}

/// A client that knows the sum and its version only from what the broker tells it.
struct Counter {
    client: Client,
    connection: Connection,
    value: u64,
    version: String,
}

impl Counter {
    fn new(name: &str, port: u16) -> Self {
        let mut options = MqttOptions::new(name, "127.0.0.1", port);
        options.set_outgoing_inflight_upper_limit(10);
        let mut network = rumqttc::NetworkOptions::new();
        network.set_tcp_nodelay(true);
        options.set_network_options(network);
        let (client, connection) = Client::new(options, 10);
        let properties = rumqttc::v5::mqttbytes::v5::SubscribeProperties {
            id: None,
            user_properties: vec![("distkv-meta".into(), "1".into())],
        };
        client.subscribe_with_properties("sum", QoS::AtLeastOnce, properties).unwrap();
        let mut counter = Self { client, connection, value: 0, version: "new".into() };
        counter.until(|event| matches!(event, V5::SubAck(_)).then_some(()));
        counter
    }

    /// Adds one, so many times; answers how often the other one was faster.
    fn count(&mut self, times: u64) -> u64 {
        let (mut done, mut conflicts) = (0, 0);
        while done < times {
            let properties = PublishProperties {
                user_properties: vec![("distkv-if".into(), self.version.clone())],
                ..PublishProperties::default()
            };
            let next = (self.value + 1).to_string();
            self.client.publish_with_properties("sum", QoS::AtLeastOnce, true, next, properties).unwrap();
            let ack = self.until(|packet| match packet {
                V5::PubAck(ack) => Some(ack.clone()),
                _ => None,
            });
            if ack.reason == PubAckReason::ImplementationSpecificError {
                conflicts += 1;
                // What the other one has written is on its way, if it is not here yet.
                let told = ack.properties.unwrap().user_properties;
                let now = told.iter().find(|(name, _)| name == "distkv-now").unwrap().1.clone();
                while self.version != now {
                    if !self.is_newer(&now) {
                        break;
                    }
                    // At the beginning a value may come twice, live and by the replay, but no older one behind a newer.
                    let before = self.version.clone();
                    self.read_one();
                    assert!(!self.is_newer(&before));
                }
            } else {
                done += 1;
                let told = ack.properties.unwrap().user_properties;
                let now = told.iter().find(|(name, _)| name == "distkv-now").unwrap().1.clone();
                while self.is_newer(&now) {
                    self.read_one();
                }
            }
        }
        conflicts
    }

    /// Is this version newer than the one that is known?
    fn is_newer(&self, version: &str) -> bool {
        let tick = |version: &str| version.rsplit_once(':').map_or(0, |(_, tick)| tick.parse().unwrap());
        let (now, known): (u64, u64) = (tick(version), tick(&self.version));
        now > known
    }

    fn read_one(&mut self) {
        self.until(|packet| matches!(packet, V5::Publish(_)).then_some(()));
    }

    /// The first packet for which `wanted` has an answer. Messages are taken in on the way.
    fn until<R>(&mut self, wanted: impl Fn(&V5) -> Option<R>) -> R {
        loop {
            let event = self.connection.recv_timeout(SOON).expect("a packet in time").expect("a connection");
            let Event::Incoming(packet) = event else { continue };
            if let V5::Publish(publish) = &packet {
                let told = &publish.properties.as_ref().unwrap().user_properties;
                let find = |wanted: &str| &told.iter().find(|(name, _)| name == wanted).unwrap().1;
                self.version = format!("{}:{}", find("distkv-node"), find("distkv-tick"));
                self.value = std::str::from_utf8(&publish.payload).unwrap().parse().unwrap();
            }
            if let Some(found) = wanted(&packet) {
                return found;
            }
        }
    }
}
