//! rumqttc, the client of `distkv mqtt`. It speaks MQTT 3.1.1.

use std::time::Duration;

use rumqttc::{AsyncClient, ConnectReturnCode, Event, EventLoop, LastWill, MqttOptions, Packet, QoS};

use crate::harness::clock::SOON;
use crate::harness::server::Server;

const EVERY_QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

struct Client {
    client: AsyncClient,
    events: EventLoop,
    session_present: bool,
}

impl Client {
    async fn connect(server: &Server, id: &str, change: impl FnOnce(&mut MqttOptions)) -> Self {
        let mut options = MqttOptions::new(id, "127.0.0.1", server.mqtt().port());
        options.set_keep_alive(Duration::from_secs(30));
        change(&mut options);
        let (client, events) = AsyncClient::new(options, 100);
        let mut client = Self { client, events, session_present: false };
        let Packet::ConnAck(connack) = client.incoming().await else { panic!("CONNACK comes first") };
        assert_eq!(connack.code, ConnectReturnCode::Success);
        client.session_present = connack.session_present;
        client
    }

    /// The next packet from the server.
    async fn incoming(&mut self) -> Packet {
        let next = async {
            loop {
                if let Event::Incoming(packet) = self.events.poll().await.expect("a connection") {
                    return packet;
                }
            }
        };
        tokio::time::timeout(SOON, next).await.expect("a packet")
    }

    async fn subscribe(&mut self, filter: &str, qos: QoS) {
        self.client.subscribe(filter, qos).await.unwrap();
        while !matches!(self.incoming().await, Packet::SubAck(_)) {}
    }

    async fn publish(&mut self, topic: &str, payload: &str, qos: QoS, retain: bool) {
        self.client.publish(topic, qos, retain, payload).await.unwrap();
        match qos {
            QoS::AtMostOnce => {}
            QoS::AtLeastOnce => while !matches!(self.incoming().await, Packet::PubAck(_)) {},
            QoS::ExactlyOnce => while !matches!(self.incoming().await, Packet::PubComp(_)) {},
        }
    }

    /// The next message: topic, payload, QoS, retain.
    async fn message(&mut self) -> (String, String, QoS, bool) {
        loop {
            if let Packet::Publish(publish) = self.incoming().await {
                let payload = String::from_utf8(publish.payload.to_vec()).unwrap();
                return (publish.topic, payload, publish.qos, publish.retain);
            }
        }
    }

    async fn expect(&mut self, topic: &str, payload: &str, qos: QoS, retain: bool) {
        assert_eq!(self.message().await, (topic.to_owned(), payload.to_owned(), qos, retain));
    }

    /// Sends DISCONNECT.
    async fn disconnect(mut self) {
        self.client.disconnect().await.unwrap();
        let sent = async { while self.events.poll().await.is_ok() {} };
        tokio::time::timeout(SOON, sent).await.expect("the server closes");
    }
}

#[tokio::test]
async fn every_qos() {
    let server = Server::start();
    for granted in EVERY_QOS {
        let mut client = Client::connect(&server, "one", |_| {}).await;
        client.subscribe("a/#", granted).await;
        // A client that is its own publisher gets PUBLISH and PUBACK in any order: so a second one publishes.
        let mut publisher = Client::connect(&server, "two", |_| {}).await;
        for sent in EVERY_QOS {
            publisher.publish("a/b", "x", sent, false).await;
            if sent == QoS::AtMostOnce {
                // QoS 0 leaves when the event loop is polled: the acknowledgement of the next one shows it.
                publisher.publish("other", "x", QoS::AtLeastOnce, false).await;
            }
        }
        for sent in EVERY_QOS {
            let lower = EVERY_QOS[(sent as usize).min(granted as usize)];
            client.expect("a/b", "x", lower, false).await;
        }
        client.disconnect().await;
        publisher.disconnect().await;
    }
}

#[tokio::test]
async fn retained() {
    let server = Server::start();
    let mut publisher = Client::connect(&server, "publisher", |_| {}).await;
    publisher.publish("kept/a", "first", QoS::AtLeastOnce, true).await;
    publisher.publish("kept/a", "second", QoS::ExactlyOnce, true).await;
    publisher.publish("kept/b", "deleted", QoS::AtLeastOnce, true).await;
    publisher.publish("kept/b", "", QoS::AtLeastOnce, true).await;
    let mut late = Client::connect(&server, "late", |_| {}).await;
    late.subscribe("kept/#", QoS::ExactlyOnce).await;
    late.expect("kept/a", "second", QoS::ExactlyOnce, true).await;
    publisher.publish("kept/end", "end", QoS::AtLeastOnce, false).await;
    late.expect("kept/end", "end", QoS::AtLeastOnce, false).await;
}

#[tokio::test]
async fn wills() {
    let server = Server::start();
    let mut watcher = Client::connect(&server, "watcher", |_| {}).await;
    watcher.subscribe("will/#", QoS::AtLeastOnce).await;
    let with_will = |payload: &'static str| {
        move |options: &mut MqttOptions| {
            options.set_last_will(LastWill::new("will/x", payload, QoS::AtLeastOnce, false));
        }
    };
    Client::connect(&server, "polite", with_will("must not come")).await.disconnect().await;
    drop(Client::connect(&server, "lost", with_will("gone")).await);
    watcher.expect("will/x", "gone", QoS::AtLeastOnce, false).await;
}

#[tokio::test]
async fn a_persistent_session_gets_what_it_missed_also_after_a_crash() {
    let server = Server::start();
    let keep = |options: &mut MqttOptions| {
        options.set_clean_session(false);
    };
    let mut keeper = Client::connect(&server, "keeper", keep).await;
    assert!(!keeper.session_present);
    keeper.subscribe("queue/#", QoS::ExactlyOnce).await;
    keeper.disconnect().await;
    let mut publisher = Client::connect(&server, "publisher", |_| {}).await;
    for number in 0..100 {
        publisher.publish("queue/x", &number.to_string(), EVERY_QOS[1 + number % 2], false).await;
    }
    let server = server.restart();
    let mut keeper = Client::connect(&server, "keeper", keep).await;
    assert!(keeper.session_present);
    for number in 0..100 {
        keeper.expect("queue/x", &number.to_string(), EVERY_QOS[1 + number % 2], false).await;
    }
}

#[tokio::test]
async fn takeover() {
    let server = Server::start();
    let mut first = Client::connect(&server, "twin", |_| {}).await;
    let mut second = Client::connect(&server, "twin", |_| {}).await;
    let ended = async { while first.events.poll().await.is_ok() {} };
    tokio::time::timeout(SOON, ended).await.expect("the first connection ends");
    second.subscribe("twin", QoS::AtLeastOnce).await;
    let mut other = Client::connect(&server, "other", |_| {}).await;
    other.publish("twin", "alive", QoS::AtLeastOnce, false).await;
    second.expect("twin", "alive", QoS::AtLeastOnce, false).await;
}
