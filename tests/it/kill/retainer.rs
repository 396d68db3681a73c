//! Sets and deletes retained messages one at a time, and knows what must be there after a crash.

use std::net::SocketAddr;

use crate::harness::client::{Client, Next};
use crate::harness::clock::SOON;
use crate::harness::packet::{Packet, Publish, pubrel};
use crate::harness::random::Random;

use super::version::Version;

const TOPICS: usize = 12;
/// Operations in one life of the server.
const PER_LIFE: usize = 100;

/// Works on `kept/NAME/0`, `kept/NAME/1`...
#[derive(Debug)]
pub(super) struct Retainer {
    name: &'static str,
    qos: u8,
    version: Version,
    count: u64,
    /// How many deletions were acknowledged.
    pub(super) deleted: u64,
    /// What the server has acknowledged for each topic; empty: nothing is retained.
    kept: Vec<String>,
    /// What was sent and not yet acknowledged: may or may not have happened.
    pending: Option<(usize, String)>,
}

impl Retainer {
    pub(super) fn new(version: Version, name: &'static str, qos: u8) -> Self {
        Self { name, qos, version, count: 0, deleted: 0, kept: vec![String::new(); TOPICS], pending: None }
    }

    /// Sets and deletes until the connection ends.
    pub(super) fn run(&mut self, server: SocketAddr, seed: u64) {
        let mut random = Random::new(seed);
        let Some(mut client) = self.reconnect(server) else { return };
        for _ in 0..PER_LIFE {
            if self.pending.is_none() {
                self.count += 1;
                let deletes = random.below(3) == 0;
                let value = if deletes { String::new() } else { format!("{} {}", self.name, self.count) };
                self.pending = Some((random.below(TOPICS as u64) as usize, value));
            }
            if !self.complete(&mut client) {
                return;
            }
        }
        // The server's death.
        assert_eq!(client.next(SOON), Next::Closed);
    }

    /// Gets the acknowledgement that may still be missing.
    pub(super) fn finish(&mut self, server: SocketAddr) {
        let mut client = self.reconnect(server).expect("the server runs");
        if self.pending.is_some() {
            assert!(self.complete(&mut client), "the server runs");
        }
    }

    /// A clean session: what is pending is published anew, which changes nothing for a retained message.
    fn reconnect(&self, server: SocketAddr) -> Option<Client> {
        Client::try_connect(server, &self.version.clean(self.name))
    }

    /// Publishes what is pending. False: the connection has ended before the acknowledgement.
    fn complete(&mut self, client: &mut Client) -> bool {
        let (topic, value) = self.pending.clone().expect("something pending");
        let id = client.id();
        let publish = Publish::new(&self.topic(topic), &value).qos(self.qos, id).retain();
        let publish = self.version.dress(publish, number_in(&value));
        if client.try_send(&publish.encode()).is_err() {
            return false;
        }
        loop {
            match client.next(SOON) {
                Next::Packet(Packet::Pubrec(rec)) if self.qos == 2 && rec == id => {
                    // From now on the server has it [MQTT-4.3.3-2].
                    if client.try_send(&pubrel(id)).is_err() {
                        break;
                    }
                }
                Next::Packet(Packet::Puback(ack) | Packet::Pubcomp(ack)) if ack == id => break,
                Next::Closed => return false,
                other => panic!("{}: {other:?}", self.name),
            }
        }
        self.deleted += u64::from(value.is_empty());
        self.kept[topic] = value;
        self.pending = None;
        true
    }

    fn topic(&self, index: usize) -> String {
        format!("kept/{}/{index}", self.name)
    }

    /// Compares what the server has with what it may have.
    pub(super) fn check(&self, server: SocketAddr) {
        let mut client = Client::connect(server, &self.version.clean("auditor"));
        let mut found = vec![String::new(); TOPICS];
        // Replays come in the order of their subscriptions: that of the second one ends that of the first.
        let end = Publish::new("audited", "end").qos(1, 1).retain();
        client.send(&self.version.dress(end, 0).encode());
        client.expect(Packet::Puback(1));
        client.send(&self.version.subscribe(1, &format!("kept/{}/+", self.name), 0));
        client.send(&self.version.subscribe(2, "audited", 0));
        loop {
            match client.packet() {
                Packet::Suback { .. } => {}
                Packet::Publish(publish) if publish.topic == "audited" => break,
                Packet::Publish(publish) => {
                    let index =
                        (0..TOPICS).find(|index| self.topic(*index) == publish.topic).expect("a known topic");
                    assert!(publish.retain && !publish.payload.is_empty(), "{publish:?}");
                    assert_eq!(found[index], "", "{publish:?} comes twice");
                    found[index] = publish.text();
                    self.version.check(&publish, number_in(&found[index]));
                }
                other => panic!("{other:?}"),
            }
        }
        for (index, found) in found.iter().enumerate() {
            let pending =
                self.pending.as_ref().is_some_and(|(topic, value)| *topic == index && value == found);
            assert!(
                *found == self.kept[index] || pending,
                "{}: {found:?} is retained, {:?} was acknowledged, {:?} pending",
                self.topic(index),
                self.kept[index],
                self.pending
            );
        }
    }
}

/// The number that a value ends with.
fn number_in(value: &str) -> u64 {
    value.rsplit(' ').next().and_then(|number| number.parse().ok()).unwrap_or_default()
}
