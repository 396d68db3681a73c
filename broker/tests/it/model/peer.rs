//! A client of the model test: it takes packets as they come and acknowledges as it is told.

use std::collections::{BTreeMap, VecDeque};

use super::naive::{Hello, Message, Options, Sent, Session};
use crate::client::{self, Got, PINGREQ, PUBACK, PUBCOMP, PUBREC, PUBREL, ack};
use crate::client5::{self, Props, Value, prop};
use crate::server::Server;

/// What a client acknowledges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Acks {
    All,
    None,
    /// QoS 1 with PUBACK, QoS 2 with PUBREC only.
    Half,
}

/// A connection in one of the two languages.
enum Wire {
    V3(client::Client),
    V5(client5::Client),
}

pub(crate) struct Peer {
    wire: Wire,
    /// Came while something else was waited for; a PUBLISH of MQTT 5 with its properties.
    inbox: VecDeque<(Got, Props)>,
    /// Topics that stand behind the broker's aliases, and behind ours, of which we may use so many.
    broker_aliases: BTreeMap<u32, String>,
    own_aliases: BTreeMap<u32, String>,
    aliases: u32,
}

impl Peer {
    pub(crate) fn open(server: &Server, v5: bool) -> Self {
        let wire = if v5 { Wire::V5(server.open5()) } else { Wire::V3(server.open()) };
        let (inbox, aliases) = (VecDeque::new(), 0);
        Self { wire, inbox, broker_aliases: BTreeMap::new(), own_aliases: BTreeMap::new(), aliases }
    }

    pub(crate) fn is_v5(&self) -> bool {
        matches!(self.wire, Wire::V5(_))
    }

    /// Answers "session present".
    pub(crate) async fn connect(&mut self, id: &str, hello: &Hello) -> bool {
        match &mut self.wire {
            Wire::V3(client) => {
                let mut connect = client::Connect { clean: hello.clean, ..client::Connect::new(id) };
                connect.will =
                    hello.will.clone().map(|will| (will.topic, will.payload, will.qos, will.retain));
                client.connect(&connect).await
            }
            Wire::V5(client) => {
                let mut connect = client5::Connect { clean: hello.clean, ..client5::Connect::new(id) };
                if hello.lasts {
                    connect = connect.with(Props::none().number(prop::SESSION_EXPIRY, u32::MAX));
                }
                if hello.aliases > 0 {
                    connect =
                        connect.with(Props::none().number(prop::TOPIC_ALIAS_MAXIMUM, hello.aliases.into()));
                }
                connect.will = hello.will.as_ref().map(publication);
                let connack = client.connect(&connect).await;
                assert_eq!(connack.reason, 0, "{connack:?}");
                self.aliases = connack.props.get_number(prop::TOPIC_ALIAS_MAXIMUM).unwrap_or(0).min(2);
                connack.present
            }
        }
    }

    pub(crate) fn packet_id(&mut self) -> u16 {
        match &mut self.wire {
            Wire::V3(client) => client.id(),
            Wire::V5(client) => client.id(),
        }
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        match &mut self.wire {
            Wire::V3(client) => client.send(bytes).await,
            Wire::V5(client) => client.send(bytes).await,
        }
    }

    /// The next packet, in the terms of MQTT 3; a PUBLISH with its whole topic.
    async fn next(&mut self) -> Option<(Got, Props)> {
        let client = match &mut self.wire {
            Wire::V3(client) => return client.next().await.map(|got| (got, Props::none())),
            Wire::V5(client) => client,
        };
        let got = match client.next().await? {
            client5::Got::Publish(mut publish) => {
                if let Some(alias) = publish.props.get_number(prop::TOPIC_ALIAS) {
                    if publish.topic.is_empty() {
                        publish.topic.clone_from(&self.broker_aliases[&alias]);
                    }
                    self.broker_aliases.insert(alias, publish.topic.clone());
                }
                let client5::Publish { topic, payload, qos, retain, dup, id, props } = publish;
                return Some((Got::Publish { topic, payload, qos, retain, dup, id }, props));
            }
            // Nobody is subscribed.
            client5::Got::Puback(id, 0 | 0x10, _) => Got::Puback(id),
            client5::Got::Pubrec(id, 0 | 0x10, _) => Got::Pubrec(id),
            client5::Got::Pubrel(id, 0, _) => Got::Pubrel(id),
            client5::Got::Pubcomp(id, 0, _) => Got::Pubcomp(id),
            client5::Got::Suback(id, codes, _) => Got::Suback(id, codes),
            // There was no such subscription.
            client5::Got::Unsuback(id, reasons, _) if reasons == [0] || reasons == [0x11] => {
                Got::Unsuback(id)
            }
            client5::Got::Pingresp => Got::Pingresp,
            other => panic!("unexpected {other:?}"),
        };
        Some((got, Props::none()))
    }

    pub(crate) async fn wait_for(&mut self, expected: &Got) {
        loop {
            let got = self.next().await.unwrap_or_else(|| panic!("closed instead of {expected:?}"));
            if got.0 == *expected {
                return;
            }
            self.inbox.push_back(got);
        }
    }

    pub(crate) async fn subscribe(&mut self, filters: &[(&str, Options)]) {
        let id = self.packet_id();
        let granted = filters.iter().map(|(_, options)| options.qos).collect();
        let packet = if self.is_v5() {
            let mut props = Props::none();
            // One for the whole packet.
            if let Some(identifier) = filters.first().and_then(|(_, options)| options.identifier) {
                props = props.number(prop::SUBSCRIPTION_ID, identifier);
            }
            let filters: Vec<(&str, u8)> =
                filters.iter().map(|(filter, options)| (*filter, byte_of(options))).collect();
            client5::subscribe(id, &props, &filters)
        } else {
            let filters: Vec<(&str, u8)> =
                filters.iter().map(|(filter, options)| (*filter, options.qos)).collect();
            client::subscribe(id, &filters)
        };
        self.send(&packet).await;
        self.wait_for(&Got::Suback(id, granted)).await;
    }

    pub(crate) async fn unsubscribe(&mut self, filter: &str) {
        let id = self.packet_id();
        let encode = if self.is_v5() { client5::unsubscribe } else { client::unsubscribe };
        self.send(&encode(id, &[filter])).await;
        self.wait_for(&Got::Unsuback(id)).await;
    }

    /// The packet in which it publishes.
    pub(crate) fn encode(&self, sent: &Sent, id: u16) -> Vec<u8> {
        if self.is_v5() {
            publication(sent).id(id).encode()
        } else {
            client::publish(&sent.topic, &sent.payload, sent.qos, sent.retain, false, id)
        }
    }

    /// Publishes and goes through the whole flow; under this alias, if MQTT 5 has it.
    pub(crate) async fn publish(&mut self, sent: &Sent, alias: u32) {
        let id = if sent.qos > 0 { self.packet_id() } else { 0 };
        let packet = if self.is_v5() && (1..=self.aliases).contains(&alias) {
            let mut packet = publication(sent).id(id);
            packet.props = packet.props.number(prop::TOPIC_ALIAS, alias);
            let known = self.own_aliases.insert(alias, sent.topic.clone());
            if known.as_ref() == Some(&sent.topic) {
                packet.topic.clear();
            }
            packet.encode()
        } else {
            self.encode(sent, id)
        };
        self.send(&packet).await;
        match sent.qos {
            0 => self.ping().await,
            1 => self.wait_for(&Got::Puback(id)).await,
            _ => {
                self.wait_for(&Got::Pubrec(id)).await;
                self.send(&ack(PUBREL, id)).await;
                self.wait_for(&Got::Pubcomp(id)).await;
            }
        }
    }

    /// DISCONNECT; `ends`: the session is to end, though it was to last.
    pub(crate) async fn disconnect(mut self, ends: bool) {
        if ends {
            let props = Props::none().number(prop::SESSION_EXPIRY, 0);
            self.send(&client5::disconnect(0, &props)).await;
        } else {
            self.send(&client::DISCONNECT).await;
        }
        self.read_to_end().await;
    }

    async fn ping(&mut self) {
        self.send(&PINGREQ).await;
        self.wait_for(&Got::Pingresp).await;
    }

    pub(crate) async fn read_to_end(&mut self) {
        match &mut self.wire {
            Wire::V3(client) => while client.next().await.is_some() {},
            // The last one may be a DISCONNECT.
            Wire::V5(client) => while client.next().await.is_some() {},
        }
    }

    /// Reads until everything is there that must come, and makes sure that nothing else does.
    pub(crate) async fn read(&mut self, session: &mut Session, acks: Acks) {
        if acks == Acks::All {
            self.acknowledge_rest(session).await;
        }
        for round in 0.. {
            assert!(round < 10_000, "never came: {:?}", session.expected);
            self.ping().await;
            let mut came = 0;
            while let Some((got, props)) = self.inbox.pop_front() {
                came += 1;
                self.handle(got, &props, session, acks).await;
            }
            let waiting = session.expected.iter().filter(|message| message.qos > 0).count();
            let rest = session.expected.len() - waiting;
            if came == 0 && rest == 0 && (waiting == 0 || session.window() == 0) {
                return;
            }
            if came == 0 {
                tokio::task::yield_now().await;
            }
        }
    }

    async fn handle(&mut self, got: Got, props: &Props, session: &mut Session, acks: Acks) {
        match got {
            Got::Publish { topic, payload, qos, retain, dup, id } => {
                let (identifiers, user) = (props.subscription_ids(), user_of(props));
                let message = Message { topic, payload, qos, retain, again: false, identifiers, user };
                let message = session.take(&message, dup);
                match (qos, acks) {
                    (0, _) => {}
                    (_, Acks::None) => session.unacknowledged.push((id, message)),
                    (1, _) => self.send(&ack(PUBACK, id)).await,
                    (_, _) => {
                        session.received.push(id);
                        self.send(&ack(PUBREC, id)).await;
                    }
                }
            }
            Got::Pubrel(id) => {
                if !session.received.contains(&id) {
                    // From an earlier connection.
                    session.received.push(id);
                }
                if acks == Acks::All {
                    session.received.retain(|received| *received != id);
                    self.send(&ack(PUBCOMP, id)).await;
                }
            }
            other => panic!("unexpected {other:?}"),
        }
    }

    /// Acknowledges what was left unacknowledged before.
    async fn acknowledge_rest(&mut self, session: &mut Session) {
        for id in std::mem::take(&mut session.received) {
            self.send(&ack(PUBCOMP, id)).await;
        }
        for (id, message) in std::mem::take(&mut session.unacknowledged) {
            if message.qos == 1 {
                self.send(&ack(PUBACK, id)).await;
            } else {
                session.received.push(id);
                self.send(&ack(PUBREC, id)).await;
            }
        }
    }
}

/// A message as MQTT 5 publishes it.
fn publication(sent: &Sent) -> client5::Publish {
    let mut publish = client5::Publish::new(&sent.topic, &sent.payload, sent.qos);
    publish.retain = sent.retain;
    if let Some(user) = &sent.user {
        publish.props = publish.props.user("user", user);
    }
    publish
}

fn user_of(props: &Props) -> Option<String> {
    match props.get(prop::USER) {
        Some(Value::Pair(_, value)) => Some(value.clone()),
        _ => None,
    }
}

/// Options as the byte behind a filter.
fn byte_of(options: &Options) -> u8 {
    options.qos
        | u8::from(options.no_local) << 2
        | u8::from(options.retain_as_published) << 3
        | options.retain_handling << 4
}
