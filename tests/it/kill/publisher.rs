//! A publisher with a window of messages in flight, which survive the server's death on the client's side.

use std::collections::VecDeque;
use std::net::SocketAddr;

use crate::harness::client::{Client, Next};
use crate::harness::clock::SOON;
use crate::harness::packet::{Packet, Publish, pubrel};
use crate::harness::random::Random;

use super::version::Version;

/// How many messages are on their way at most.
const WINDOW: u64 = 8;
/// New messages in one life of the server: less than the queue of the subscriber's session takes.
const PER_LIFE: u64 = 150;

/// Publishes the numbers 0, 1, 2... to `STREAM/NAME`.
#[derive(Debug)]
pub(super) struct Publisher {
    pub(super) name: &'static str,
    pub(super) qos: u8,
    stream: &'static str,
    version: Version,
    next: u64,
    in_flight: VecDeque<InFlight>,
}

#[derive(Debug)]
struct InFlight {
    number: u64,
    id: u16,
    /// QoS 2: PUBREC has come, so PUBREL is what is to be sent again.
    received: bool,
}

impl Publisher {
    pub(super) fn new(version: Version, stream: &'static str, name: &'static str, qos: u8) -> Self {
        Self { name, qos, stream, version, next: 0, in_flight: VecDeque::new() }
    }

    pub(super) fn topic(&self) -> String {
        format!("{}/{}", self.stream, self.name)
    }

    /// How many messages have been acknowledged to the end. After `finish` it is all of them.
    pub(super) fn acknowledged(&self) -> u64 {
        self.next - self.in_flight.len() as u64
    }

    /// Publishes until the connection ends.
    pub(super) fn run(&mut self, server: SocketAddr, seed: u64) {
        let mut random = Random::new(seed);
        let end = self.next + PER_LIFE;
        let Some(mut client) = self.reconnect(server) else { return };
        loop {
            let window = 1 + random.below(WINDOW) as usize;
            while self.in_flight.len() < window && self.next < end {
                if !self.publish_next(&mut client) {
                    return;
                }
            }
            // With nothing in flight this waits for the server's death.
            if !self.step(&mut client) {
                return;
            }
        }
    }

    /// Gets the acknowledgements that are still missing.
    pub(super) fn finish(&mut self, server: SocketAddr) {
        let mut client = self.reconnect(server).expect("the server runs");
        while !self.in_flight.is_empty() {
            assert!(self.step(&mut client), "the server runs");
        }
        client.disconnect();
    }

    /// Connects, and sends again what was not acknowledged, in the order of the first time [MQTT-4.4.0-1, 4.6.0-1].
    fn reconnect(&mut self, server: SocketAddr) -> Option<Client> {
        let mut client = Client::try_connect(server, &self.version.persistent(self.name))?;
        for message in &self.in_flight {
            let again =
                if message.received { pubrel(message.id) } else { self.publish(message).dup().encode() };
            client.try_send(&again).ok()?;
        }
        Some(client)
    }

    fn publish(&self, message: &InFlight) -> Publish {
        let publish = Publish::new(&self.topic(), message.number.to_string()).qos(self.qos, message.id);
        self.version.dress(publish, message.number)
    }

    fn publish_next(&mut self, client: &mut Client) -> bool {
        let number = self.next;
        let message = InFlight { number, id: (number % 60_000) as u16 + 1, received: false };
        let sent = client.try_send(&self.publish(&message).encode());
        // Even if `send` has failed the server may have it.
        self.in_flight.push_back(message);
        self.next += 1;
        sent.is_ok()
    }

    /// Takes one acknowledgement. False: the connection has ended.
    fn step(&mut self, client: &mut Client) -> bool {
        match client.next(SOON) {
            Next::Packet(Packet::Puback(id)) if self.qos == 1 => self.remove(id),
            Next::Packet(Packet::Pubrec(id)) if self.qos == 2 => {
                let message = self.in_flight.iter_mut().find(|message| message.id == id);
                message.unwrap_or_else(|| panic!("PUBREC {id} of nothing")).received = true;
                return client.try_send(&pubrel(id)).is_ok();
            }
            Next::Packet(Packet::Pubcomp(id)) if self.qos == 2 => self.remove(id),
            Next::Closed => return false,
            other => panic!("{}: {other:?}", self.name),
        }
        true
    }

    fn remove(&mut self, id: u16) {
        let before = self.in_flight.len();
        self.in_flight.retain(|message| message.id != id);
        assert_eq!(self.in_flight.len() + 1, before, "{}: acknowledged twice or never sent: {id}", self.name);
    }
}
