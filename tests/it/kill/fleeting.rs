//! Messages that expire: short ones may be lost, and never come when they have expired; long ones among them are not lost.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::harness::client::{Client, Next};
use crate::harness::clock::{SOON, now};
use crate::harness::packet::{
    MESSAGE_EXPIRY, PINGREQ, Packet, Publish, USER_PROPERTY, property, puback, sorted_properties, string,
};

use super::version::{Version, seconds};

/// Seconds until a message of either kind expires.
const SHORT: u32 = 1;
const LONG: u32 = 3600;
/// What is late by less may have been under way.
const SLACK: Duration = Duration::from_secs(1);
/// Messages in one life of the server.
const PER_LIFE: u64 = 20;

/// Publishes numbers at QoS 1, also retained ones, and visits now and then the session that they wait in. An odd number has
/// a long life.
#[derive(Debug)]
pub(super) struct Fleeting {
    /// When each number was first sent.
    sent: Vec<Instant>,
    acknowledged: HashSet<u64>,
    seen: HashSet<u64>,
    visited: Instant,
    /// How often there was a visit after short messages had expired.
    pub(super) visits: u64,
}

impl Fleeting {
    pub(super) fn new() -> Self {
        let (acknowledged, seen) = (HashSet::new(), HashSet::new());
        Self { sent: Vec::new(), acknowledged, seen, visited: now(), visits: 0 }
    }

    pub(super) fn subscribe(&mut self, server: SocketAddr) {
        Client::connect(server, &Version::Mqtt5.persistent("visitor")).subscribe("fleeting/#", 1);
    }

    /// Publishes until the connection ends.
    pub(super) fn run(&mut self, server: SocketAddr) {
        let Some(mut client) = Client::try_connect(server, &Version::Mqtt5.clean("fleeting")) else { return };
        for _ in 0..PER_LIFE {
            let number = self.sent.len() as u64;
            self.sent.push(now());
            let id = (number % 60_000) as u16 + 1;
            for (topic, retain) in [("fleeting/queued", false), ("remains/kept", true)] {
                let mut publish =
                    Publish::new(topic, number.to_string()).qos(1, id).properties(expiring(number));
                publish.retain = retain;
                if client.try_send(&publish.encode()).is_err() {
                    return;
                }
                match client.next(SOON) {
                    Next::Packet(packet) => assert_eq!(packet, Packet::Puback(id)),
                    Next::Closed => return,
                    Next::Silence => panic!("no answer to {publish:?}"),
                }
            }
            self.acknowledged.insert(number);
        }
        // The server's death.
        assert_eq!(client.next(SOON), Next::Closed);
    }

    /// Looks at what waits, if short messages of the time since the last look have expired.
    pub(super) fn visit(&mut self, server: SocketAddr) {
        if self.visited.elapsed() < 3 * (Duration::from_secs(SHORT.into()) + SLACK) / 2 {
            return;
        }
        self.visits += 1;
        self.look(server);
    }

    pub(super) fn look(&mut self, server: SocketAddr) {
        self.visited = now();
        let mut client = Client::connect(server, &Version::Mqtt5.persistent("visitor"));
        assert!(client.session_present, "the session is lost");
        while self.empty(&mut client) > 0 {}
        let missing: Vec<&u64> = self
            .acknowledged
            .iter()
            .filter(|number| is_long(**number) && !self.seen.contains(number))
            .collect();
        assert!(missing.is_empty(), "acknowledged, not expired, and lost: {missing:?}");
        client.vanish();
        // Of retained messages the last one counts, and only a long one may be there in the end.
        let mut client = Client::connect(server, &Version::Mqtt5.clean("looker"));
        client.subscribe("remains/#", 1);
        self.empty(&mut client);
    }

    /// Takes all that comes before the answer to a PINGREQ: how much that was.
    fn empty(&mut self, client: &mut Client) -> usize {
        client.send(PINGREQ);
        let mut count = 0;
        loop {
            match client.packet() {
                Packet::Pingresp => return count,
                Packet::Publish(publish) => {
                    self.take(&publish);
                    client.send(&puback(publish.id));
                }
                other => panic!("{other:?}"),
            }
            count += 1;
        }
    }

    fn take(&mut self, publish: &Publish) {
        let number: u64 = publish.text().parse().expect("a number");
        let age = self.sent[number as usize].elapsed();
        let properties = sorted_properties(publish.properties.as_deref().unwrap_or_default());
        let [(MESSAGE_EXPIRY, left), (USER_PROPERTY, _)] = properties[..] else { panic!("{publish:?}") };
        let whole = if is_long(number) { LONG } else { SHORT };
        // Whole seconds, and the server had it a moment after it was sent.
        let least = (Duration::from_secs(whole.into()) + SLACK).checked_sub(age);
        // What was under way before it expired may be sent again.
        assert!(least.is_some() || publish.dup, "expired {age:?} after it was sent: {publish:?}");
        let most = u64::from(whole).saturating_sub(age.as_secs().saturating_sub(SLACK.as_secs()));
        assert!(u64::from(seconds(left)) <= most || publish.dup, "{age:?} after it was sent: {publish:?}");
        assert!(!is_long(number) || seconds(left) > LONG - 600, "{age:?} after it was sent: {publish:?}");
        if !publish.retain {
            self.seen.insert(number);
        }
    }
}

fn is_long(number: u64) -> bool {
    number % 2 == 1
}

fn expiring(number: u64) -> Vec<u8> {
    let expiry = if is_long(number) { LONG } else { SHORT };
    let user = [string(b"number"), string(number.to_string().as_bytes())].concat();
    [property(MESSAGE_EXPIRY, &expiry.to_be_bytes()), property(USER_PROPERTY, &user)].concat()
}
