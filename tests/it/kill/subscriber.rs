//! A persistent subscriber which dies with the server again and again, and keeps on its side what a client must keep.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;

use crate::harness::client::{Client, Next};
use crate::harness::clock::SOON;
use crate::harness::packet::{PINGREQ, Packet, Publish, puback, pubcomp, pubrec};
use crate::harness::random::Random;

use super::publisher::Publisher;
use super::version::Version;

/// Has one subscription, at QoS 2.
#[derive(Debug)]
pub(super) struct Subscriber {
    name: &'static str,
    filter: &'static str,
    version: Version,
    /// The numbers of each topic, in the order in which they came first (QoS 1) or at all (QoS 2).
    received: HashMap<String, Vec<u64>>,
    pub(super) seen: HashSet<(String, u64)>,
    /// Packet identifiers of QoS 2 whose PUBREL has not come [MQTT-4.3.3-2].
    unreleased: HashSet<u16>,
}

impl Subscriber {
    pub(super) fn new(version: Version, name: &'static str, filter: &'static str) -> Self {
        let (received, seen, unreleased) = (HashMap::new(), HashSet::new(), HashSet::new());
        Self { name, filter, version, received, seen, unreleased }
    }

    pub(super) fn subscribe(&mut self, server: SocketAddr) {
        let mut client = Client::connect(server, &self.version.persistent(self.name));
        client.subscribe(self.filter, 2);
    }

    /// How many different messages have come.
    pub(super) fn seen(&self) -> usize {
        self.seen.len()
    }

    /// Reads until the connection ends.
    pub(super) fn run(&mut self, server: SocketAddr, seed: u64) {
        let mut random = Random::new(seed);
        let Some(mut client) = self.reconnect(server) else { return };
        // Now and then it leaves by itself in the middle.
        let end = random.below(400);
        for _ in 0..end {
            if !self.step(&mut client) {
                return;
            }
        }
        client.vanish();
        if let Some(mut client) = self.reconnect(server) {
            while self.step(&mut client) {}
        }
    }

    /// Reads until everything is there that the publishers have got acknowledged.
    pub(super) fn drain(&mut self, server: SocketAddr, publishers: &[Publisher]) {
        let wanted: u64 = publishers.iter().map(Publisher::acknowledged).sum();
        let mut client = self.reconnect(server).expect("the server runs");
        while (self.seen.len() as u64) < wanted {
            match client.next(SOON) {
                Next::Packet(packet) => assert!(self.take(&mut client, packet), "the server runs"),
                _ => {
                    for publisher in publishers {
                        self.check(publisher);
                    }
                    panic!("{} messages of {wanted} have come", self.seen.len());
                }
            }
        }
        // Nothing more may come, and nothing twice.
        self.empty(&mut client);
        assert_eq!(self.seen.len() as u64, wanted);
    }

    /// Reads all that the server has for it, when no publisher publishes any more.
    pub(super) fn drain_all(&mut self, server: SocketAddr) {
        let mut client = self.reconnect(server).expect("the server runs");
        while self.empty(&mut client) > 0 || !self.unreleased.is_empty() {}
    }

    /// Reads what the server has sent before it answers a PINGREQ: how much that was.
    fn empty(&mut self, client: &mut Client) -> usize {
        client.send(PINGREQ);
        for count in 0.. {
            match client.packet() {
                Packet::Pingresp => return count,
                packet => assert!(self.take(client, packet)),
            }
        }
        unreachable!("PINGRESP comes")
    }

    fn reconnect(&self, server: SocketAddr) -> Option<Client> {
        let client = Client::try_connect(server, &self.version.persistent(self.name))?;
        assert!(client.session_present, "the session is lost");
        Some(client)
    }

    /// Takes one packet. False: the connection has ended.
    fn step(&mut self, client: &mut Client) -> bool {
        match client.next(SOON) {
            Next::Packet(packet) => self.take(client, packet),
            Next::Closed => false,
            // The publishers have sent all they send in this life.
            Next::Silence => true,
        }
    }

    fn take(&mut self, client: &mut Client, packet: Packet) -> bool {
        let answer = match packet {
            Packet::Publish(publish) => match publish.qos {
                1 => {
                    self.note(&publish);
                    puback(publish.id)
                }
                2 => {
                    // A known identifier is the same message again.
                    if self.unreleased.insert(publish.id) {
                        let new = self.note(&publish);
                        assert!(new, "QoS 2, a second time: {publish:?}");
                    } else {
                        assert!(publish.dup, "an identifier that is not released is used anew: {publish:?}");
                    }
                    pubrec(publish.id)
                }
                _ => panic!("subscribed at QoS 2: {publish:?}"),
            },
            Packet::Pubrel(id) => {
                self.unreleased.remove(&id);
                pubcomp(id)
            }
            other => panic!("{other:?}"),
        };
        client.try_send(&answer).is_ok()
    }

    /// True if the message is a new one.
    fn note(&mut self, publish: &Publish) -> bool {
        let number: u64 = publish.text().parse().expect("a number");
        self.version.check(publish, number);
        let new = self.seen.insert((publish.topic.clone(), number));
        if new {
            self.received.entry(publish.topic.clone()).or_default().push(number);
        }
        new
    }

    /// Everything has come, in order. (That QoS 2 came once is checked at each message.)
    pub(super) fn check(&self, publisher: &Publisher) {
        let received = self.received.get(&publisher.topic()).cloned().unwrap_or_default();
        let missing: Vec<u64> = (0..publisher.acknowledged())
            .filter(|number| !self.seen.contains(&(publisher.topic(), *number)))
            .take(20)
            .collect();
        assert!(missing.is_empty(), "{}: acknowledged and lost: {missing:?}...", publisher.topic());
        let disorder = received.windows(2).find(|pair| pair[0] >= pair[1]);
        assert_eq!(disorder, None, "{}: out of order", publisher.topic());
    }
}
