//! A client of the model test: it takes packets as they come and acknowledges as it is told.

use std::collections::VecDeque;

use super::naive::{Message, Session};
use crate::client::{self, Client, Connect, Got, PINGREQ, PUBACK, PUBCOMP, PUBREC, PUBREL, ack};

/// What a client acknowledges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Acks {
    All,
    None,
    /// QoS 1 with PUBACK, QoS 2 with PUBREC only.
    Half,
}

pub(crate) struct Peer {
    client: Client,
    /// Came while something else was waited for.
    inbox: VecDeque<Got>,
}

impl Peer {
    pub(crate) fn new(client: Client) -> Self {
        Self { client, inbox: VecDeque::new() }
    }

    pub(crate) async fn connect(&mut self, connect: &Connect) -> bool {
        self.client.connect(connect).await
    }

    pub(crate) fn packet_id(&mut self) -> u16 {
        self.client.id()
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.client.send(bytes).await;
    }

    pub(crate) async fn wait_for(&mut self, expected: &Got) {
        loop {
            let got = self.client.next().await.unwrap_or_else(|| panic!("closed instead of {expected:?}"));
            if got == *expected {
                return;
            }
            self.inbox.push_back(got);
        }
    }

    pub(crate) async fn publish(&mut self, topic: &str, payload: &[u8], qos: u8, retain: bool) {
        let id = if qos > 0 { self.packet_id() } else { 0 };
        self.send(&client::publish(topic, payload, qos, retain, false, id)).await;
        match qos {
            0 => self.ping().await,
            1 => self.wait_for(&Got::Puback(id)).await,
            _ => {
                self.wait_for(&Got::Pubrec(id)).await;
                self.send(&ack(PUBREL, id)).await;
                self.wait_for(&Got::Pubcomp(id)).await;
            }
        }
    }

    async fn ping(&mut self) {
        self.send(&PINGREQ).await;
        self.wait_for(&Got::Pingresp).await;
    }

    pub(crate) async fn read_to_end(&mut self) {
        while self.client.next().await.is_some() {}
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
            while let Some(got) = self.inbox.pop_front() {
                came += 1;
                self.handle(got, session, acks).await;
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

    async fn handle(&mut self, got: Got, session: &mut Session, acks: Acks) {
        match got {
            Got::Publish { topic, payload, qos, retain, dup, id } => {
                let message = Message { topic, payload, qos, retain, again: false };
                session.take(&message, dup);
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
