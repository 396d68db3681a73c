//! An honest client, reduced to its flows.

use std::collections::BTreeSet;

use super::super::PacketId;
use crate::message::QoS;

/// A packet of the broker. Messages go by their number.
#[derive(Clone, Copy, Debug)]
pub(super) enum ToClient {
    Publish { id: PacketId, message: usize, qos: QoS },
    Puback(PacketId),
    Pubrec(PacketId),
    Pubrel(PacketId),
    Pubcomp(PacketId),
}

/// A packet of the client.
#[derive(Clone, Copy, Debug)]
pub(super) enum FromClient {
    Publish {
        id: PacketId,
        message: usize,
        qos: QoS,
        dup: bool,
    },
    Puback(PacketId),
    Pubrec(PacketId),
    Pubrel(PacketId),
    Pubcomp(PacketId),
    /// A PUBREC that says no.
    Refusal {
        id: PacketId,
        message: usize,
    },
}

#[derive(Debug)]
struct Flow {
    id: PacketId,
    message: usize,
    qos: QoS,
    released: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Client {
    flows: Vec<Flow>,
    last: u16,
    received: BTreeSet<PacketId>,
    got: Vec<usize>,
    /// The next QoS 2 message is refused.
    refuses: bool,
    /// Messages that it has refused, though the broker may not know.
    refused: BTreeSet<usize>,
}

impl Client {
    /// Flows that have not ended.
    pub(super) fn outgoing(&self) -> usize {
        self.flows.len()
    }

    /// The messages that reached the application.
    pub(super) fn got(&self) -> &[usize] {
        &self.got
    }

    pub(super) fn has_refused(&self, message: usize) -> bool {
        self.refused.contains(&message)
    }

    pub(super) fn refuse_next(&mut self) {
        self.refuses = true;
    }

    /// Forgets all flows. Answers the messages it has published and whose flows have not ended.
    pub(super) fn forget(&mut self) -> Vec<usize> {
        self.received.clear();
        self.flows.drain(..).map(|flow| flow.message).collect()
    }

    pub(super) fn publish(&mut self, message: usize, qos: QoS) -> FromClient {
        let id = loop {
            // Few identifiers, so that they are soon used again.
            self.last = self.last % 20 + 1;
            if let Some(id) = PacketId::new(self.last)
                && self.flows.iter().all(|flow| flow.id != id)
            {
                break id;
            }
        };
        self.flows.push(Flow { id, message, qos, released: false });
        FromClient::Publish { id, message, qos, dup: false }
    }

    /// What to send again on a new connection [MQTT-4.4.0-1].
    pub(super) fn connected(&self) -> Vec<FromClient> {
        let again = |flow: &Flow| match flow.released {
            true => FromClient::Pubrel(flow.id),
            false => FromClient::Publish { id: flow.id, message: flow.message, qos: flow.qos, dup: true },
        };
        self.flows.iter().map(again).collect()
    }

    pub(super) fn handle(&mut self, packet: ToClient) -> Option<FromClient> {
        match packet {
            ToClient::Publish { id, message, qos: QoS::ExactlyOnce }
                if self.refuses && !self.received.contains(&id) =>
            {
                self.refuses = false;
                self.refused.insert(message);
                Some(FromClient::Refusal { id, message })
            }
            ToClient::Publish { id, message, qos: QoS::ExactlyOnce } => {
                if self.received.insert(id) {
                    self.got.push(message);
                }
                Some(FromClient::Pubrec(id))
            }
            ToClient::Publish { id, message, .. } => {
                self.got.push(message);
                Some(FromClient::Puback(id))
            }
            ToClient::Puback(id) | ToClient::Pubcomp(id) => {
                self.flows.retain(|flow| flow.id != id);
                None
            }
            ToClient::Pubrec(id) => {
                let flow = self.flows.iter_mut().find(|flow| flow.id == id);
                if let Some(flow) = flow {
                    flow.released = true;
                }
                Some(FromClient::Pubrel(id))
            }
            ToClient::Pubrel(id) => {
                self.received.remove(&id);
                Some(FromClient::Pubcomp(id))
            }
        }
    }
}
