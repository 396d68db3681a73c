//! rumqttc with MQTT 5.

use std::time::Duration;

use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    ConnAck, ConnectReturnCode, DisconnectReasonCode, Filter, LastWill, LastWillProperties, Packet,
    PubAckReason, Publish, PublishProperties, RetainForwardRule, SubscribeProperties, SubscribeReasonCode,
};
use rumqttc::v5::{AsyncClient, ConnectionError, Event, EventLoop, MqttOptions, StateError};

use crate::harness::clock::{SOON, now};
use crate::harness::server::Server;

const EVERY_QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

struct Client {
    client: AsyncClient,
    events: EventLoop,
    connack: ConnAck,
}

impl Client {
    async fn connect(server: &Server, id: &str, change: impl FnOnce(&mut MqttOptions)) -> Self {
        let mut options = MqttOptions::new(id, "127.0.0.1", server.mqtt().port());
        options.set_keep_alive(Duration::from_secs(30));
        change(&mut options);
        let (client, events) = AsyncClient::new(options, 100);
        let connack = ConnAck { session_present: false, code: ConnectReturnCode::Success, properties: None };
        let mut client = Self { client, events, connack };
        let Packet::ConnAck(connack) = client.incoming().await else { panic!("CONNACK comes first") };
        assert_eq!(connack.code, ConnectReturnCode::Success);
        client.connack = connack;
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
        self.subscribe_with(Filter::new(filter, qos), None).await;
    }

    async fn subscribe_with(&mut self, filter: Filter, id: Option<usize>) {
        let granted = SubscribeReasonCode::Success(filter.qos);
        match id {
            Some(_) => {
                let properties = SubscribeProperties { id, user_properties: Vec::new() };
                self.client.subscribe_many_with_properties([filter], properties).await.unwrap();
            }
            None => self.client.subscribe_many([filter]).await.unwrap(),
        }
        loop {
            if let Packet::SubAck(suback) = self.incoming().await {
                assert_eq!(suback.return_codes, [granted]);
                return;
            }
        }
    }

    /// The reason in PUBACK, at QoS 1.
    async fn publish(&mut self, topic: &str, payload: &str, qos: QoS, retain: bool) -> Option<PubAckReason> {
        self.publish_with(topic, payload, qos, retain, PublishProperties::default()).await
    }

    async fn publish_with(
        &mut self,
        topic: &str,
        payload: &str,
        qos: QoS,
        retain: bool,
        properties: PublishProperties,
    ) -> Option<PubAckReason> {
        let payload = payload.to_owned();
        self.client.publish_with_properties(topic, qos, retain, payload, properties).await.unwrap();
        loop {
            match self.incoming().await {
                Packet::PubAck(puback) if qos == QoS::AtLeastOnce => return Some(puback.reason),
                Packet::PubComp(_) if qos == QoS::ExactlyOnce => return None,
                _ => assert!(qos > QoS::AtMostOnce, "nothing answers QoS 0"),
            }
        }
    }

    /// The next message.
    async fn message(&mut self) -> Publish {
        loop {
            if let Packet::Publish(publish) = self.incoming().await {
                return publish;
            }
        }
    }

    async fn expect(&mut self, topic: &str, payload: &str, qos: QoS, retain: bool) -> PublishProperties {
        let publish = self.message().await;
        assert_eq!((&publish.topic[..], &publish.payload[..]), (topic.as_bytes(), payload.as_bytes()));
        assert_eq!((publish.qos, publish.retain), (qos, retain));
        publish.properties.unwrap_or_default()
    }

    /// Sends DISCONNECT.
    async fn disconnect(mut self) {
        self.client.disconnect().await.unwrap();
        let sent = async { while self.events.poll().await.is_ok() {} };
        tokio::time::timeout(SOON, sent).await.expect("the server closes");
    }
}

fn lasting(options: &mut MqttOptions) {
    options.set_clean_start(false).set_session_expiry_interval(Some(3600));
}

#[tokio::test]
async fn every_qos() {
    let server = Server::start();
    for granted in EVERY_QOS {
        let mut client = Client::connect(&server, "one", |_| {}).await;
        client.subscribe("a/#", granted).await;
        let mut publisher = Client::connect(&server, "two", |_| {}).await;
        for sent in EVERY_QOS {
            if sent == QoS::AtMostOnce {
                publisher.client.publish("a/b", sent, false, "x").await.unwrap();
                // QoS 0 leaves when the event loop is polled: the acknowledgement of the next one shows it.
                publisher.publish("other", "x", QoS::AtLeastOnce, false).await;
            } else {
                publisher.publish("a/b", "x", sent, false).await;
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

/// [MQTT5-3.3.2-4, 3.3.2-15, 3.3.2-16, 3.3.2-17, 3.3.2-18, 3.3.2-20]
#[tokio::test]
async fn retained_with_its_properties_also_after_a_crash() {
    let server = Server::start();
    let mut publisher = Client::connect(&server, "publisher", |_| {}).await;
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let properties = PublishProperties {
        payload_format_indicator: Some(1),
        response_topic: Some("answers".into()),
        correlation_data: Some(vec![0, 255, 7].into()),
        user_properties: vec![pair("b", "1"), pair("a", ""), pair("b", "1")],
        content_type: Some("text/plain".into()),
        ..PublishProperties::default()
    };
    publisher.publish("kept/a", "first", QoS::AtLeastOnce, true).await;
    publisher.publish_with("kept/a", "second", QoS::ExactlyOnce, true, properties.clone()).await;
    publisher.publish("kept/b", "deleted", QoS::AtLeastOnce, true).await;
    publisher.publish("kept/b", "", QoS::AtLeastOnce, true).await;
    let server = server.restart();
    let mut late = Client::connect(&server, "late", |_| {}).await;
    late.subscribe("kept/#", QoS::ExactlyOnce).await;
    let found = late.expect("kept/a", "second", QoS::ExactlyOnce, true).await;
    assert_eq!(found, properties);
    let mut publisher = Client::connect(&server, "publisher", |_| {}).await;
    publisher.publish("kept/end", "end", QoS::AtLeastOnce, false).await;
    late.expect("kept/end", "end", QoS::AtLeastOnce, false).await;
}

/// [MQTT5-3.1.2-8, 3.1.3-9]
#[tokio::test]
async fn wills_also_with_a_delay() {
    let server = Server::start();
    let mut watcher = Client::connect(&server, "watcher", |_| {}).await;
    watcher.subscribe("will/#", QoS::AtLeastOnce).await;
    let with_will = |payload: &'static str, delay: u32| {
        move |options: &mut MqttOptions| {
            lasting(options);
            let properties = LastWillProperties {
                delay_interval: Some(delay),
                payload_format_indicator: None,
                message_expiry_interval: None,
                content_type: Some("text/plain".into()),
                response_topic: None,
                correlation_data: None,
                user_properties: Vec::new(),
            };
            options.set_last_will(LastWill::new(
                "will/x",
                payload,
                QoS::AtLeastOnce,
                false,
                Some(properties),
            ));
        }
    };
    Client::connect(&server, "polite", with_will("must not come", 0)).await.disconnect().await;
    drop(Client::connect(&server, "back", with_will("must not come", 2)).await);
    let back = Client::connect(&server, "back", lasting).await;
    assert!(back.connack.session_present);
    let start = now();
    drop(Client::connect(&server, "late", with_will("late", 2)).await);
    drop(Client::connect(&server, "lost", with_will("gone", 0)).await);
    watcher.expect("will/x", "gone", QoS::AtLeastOnce, false).await;
    let properties = watcher.expect("will/x", "late", QoS::AtLeastOnce, false).await;
    assert!(start.elapsed() >= Duration::from_secs(2), "after {:?}", start.elapsed());
    assert_eq!(properties.content_type.as_deref(), Some("text/plain"));
}

#[tokio::test]
async fn a_persistent_session_gets_what_it_missed_also_after_a_crash() {
    let server = Server::start();
    let mut keeper = Client::connect(&server, "keeper", lasting).await;
    assert!(!keeper.connack.session_present);
    keeper.subscribe("queue/#", QoS::ExactlyOnce).await;
    keeper.disconnect().await;
    let mut publisher = Client::connect(&server, "publisher", |_| {}).await;
    for number in 0..100 {
        publisher.publish("queue/x", &number.to_string(), EVERY_QOS[1 + number % 2], false).await;
    }
    let server = server.restart();
    let mut keeper = Client::connect(&server, "keeper", lasting).await;
    assert!(keeper.connack.session_present);
    for number in 0..100 {
        keeper.expect("queue/x", &number.to_string(), EVERY_QOS[1 + number % 2], false).await;
    }
}

/// [MQTT5-3.1.4-3]
#[tokio::test]
async fn takeover_is_told_to_the_first() {
    let server = Server::start();
    let mut first = Client::connect(&server, "twin", |_| {}).await;
    let mut second = Client::connect(&server, "twin", |_| {}).await;
    let ended = async {
        loop {
            if let Err(error) = first.events.poll().await {
                return error;
            }
        }
    };
    match tokio::time::timeout(SOON, ended).await.expect("the first connection ends") {
        ConnectionError::MqttState(StateError::ServerDisconnect { reason_code, .. }) => {
            assert_eq!(reason_code, DisconnectReasonCode::SessionTakenOver);
        }
        other => panic!("instead of DISCONNECT: {other:?}"),
    }
    second.subscribe("twin", QoS::AtLeastOnce).await;
    let mut other = Client::connect(&server, "other", |_| {}).await;
    other.publish("twin", "alive", QoS::AtLeastOnce, false).await;
    second.expect("twin", "alive", QoS::AtLeastOnce, false).await;
}

/// [MQTT5-3.8.3-3] [MQTT5-3.3.1-12] [MQTT5-3.3.1-11] [MQTT5-3.3.4-3]
#[tokio::test]
async fn options_and_identifiers_of_subscriptions() {
    let server = Server::start();
    let mut publisher = Client::connect(&server, "publisher", |_| {}).await;
    publisher.publish("a/b", "old", QoS::AtLeastOnce, true).await;
    let mut client = Client::connect(&server, "client", |_| {}).await;
    let mut filter = Filter::new("a/b", QoS::AtLeastOnce);
    filter.nolocal = true;
    filter.preserve_retain = true;
    filter.retain_forward_rule = RetainForwardRule::Never;
    client.subscribe_with(filter, Some(300)).await;
    client.subscribe_with(Filter::new("a/+/c", QoS::AtLeastOnce), Some(2)).await;
    client.subscribe_with(Filter::new("a/#", QoS::AtLeastOnce), Some(3)).await;
    // The replay is that of the last one only.
    let properties = client.expect("a/b", "old", QoS::AtLeastOnce, true).await;
    assert_eq!(properties.subscription_identifiers, [3]);
    publisher.publish("a/b", "new", QoS::AtLeastOnce, true).await;
    let mut ids = client.expect("a/b", "new", QoS::AtLeastOnce, true).await.subscription_identifiers;
    ids.sort_unstable();
    assert_eq!(ids, [3, 300]);
    // Its own message comes for the sake of the other subscription alone.
    client.client.publish("a/b", QoS::AtLeastOnce, false, "own").await.unwrap();
    let properties = client.expect("a/b", "own", QoS::AtLeastOnce, false).await;
    assert_eq!(properties.subscription_identifiers, [3]);
}

#[tokio::test]
async fn aliases_and_reasons() {
    let server = Server::start();
    let mut publisher = Client::connect(&server, "publisher", |_| {}).await;
    let reason = publisher.publish("nobody/listens", "x", QoS::AtLeastOnce, false).await;
    assert_eq!(reason, Some(PubAckReason::NoMatchingSubscribers));
    let reason = publisher.publish("$SYS/broker/version", "mine", QoS::AtLeastOnce, false).await;
    assert_eq!(reason, Some(PubAckReason::NotAuthorized));
    let mut client = Client::connect(&server, "client", |options| {
        options.set_topic_alias_max(Some(2)).set_receive_maximum(Some(2));
    })
    .await;
    client.subscribe("topic/#", QoS::ExactlyOnce).await;
    for number in 0..60 {
        let topic = format!("topic/{}", number % 3);
        let properties = PublishProperties { topic_alias: Some(1), ..PublishProperties::default() };
        publisher
            .publish_with(&topic, &number.to_string(), EVERY_QOS[1 + number % 2], false, properties)
            .await;
    }
    // rumqttc fills in the topics that aliases stand for.
    for number in 0..60 {
        let topic = format!("topic/{}", number % 3);
        client.expect(&topic, &number.to_string(), EVERY_QOS[1 + number % 2], false).await;
    }
}
