//! One subscribing client: what comes to it, whose it is, and the acknowledgements.

use hdrhistogram::Histogram;

use super::super::BenchError;
use super::super::clock::Clock;
use super::super::link::Link;
use super::super::wire::{self, Publish, Stamp};
use super::ledger::{Ledger, Topology};

pub(super) struct Subscriber {
    pub(super) link: Link,
    number: usize,
    /// By topic alias, the first at 0: the number of the topic that it stands for.
    aliases: Vec<Option<usize>>,
}

/// What has come to all subscribers.
pub(super) struct Arrivals {
    pub(super) ledger: Ledger,
    pub(super) topology: Topology,
    /// The size of each payload.
    pub(super) payload_bytes: usize,
    /// What stands before the number of a topic.
    pub(super) prefix: String,
    pub(super) latency: Histogram<u64>,
    /// Messages whose topic was told by an alias alone.
    pub(super) aliased: u64,
    /// Publishers which may send more.
    pub(super) wakes: Vec<usize>,
}

impl Subscriber {
    /// The subscriber of that number, which allows so many topic aliases.
    pub(super) fn new(link: Link, number: usize, aliases: u16) -> Self {
        Self { link, number, aliases: vec![None; aliases.into()] }
    }

    /// Reads what has come, and acknowledges it.
    pub(super) fn receive(
        &mut self,
        scratch: &mut [u8],
        clock: Clock,
        arrivals: &mut Arrivals,
        pings: &mut usize,
    ) -> Result<(), BenchError> {
        let Self { link, number, aliases } = self;
        let version = link.version();
        let mut now = None;
        link.read(scratch, |frame, out| match frame.first {
            wire::PINGRESP => *pings = pings.saturating_sub(1),
            wire::PUBREL => wire::acknowledge(out, wire::PUBCOMP, frame.id().unwrap_or_default()),
            first if first & 0xF0 == wire::PUBLISH => {
                let Some(publish) = frame.publish(version) else {
                    arrivals.ledger.faults.wrong += 1;
                    return;
                };
                match publish.qos {
                    1 => wire::acknowledge(out, wire::PUBACK, publish.id),
                    2 => wire::acknowledge(out, wire::PUBREC, publish.id),
                    _ => {}
                }
                // One look at the clock for all that one read brought.
                let now = *now.get_or_insert_with(|| clock.nanos());
                arrivals.take(*number, aliases, &publish, now);
            }
            _ => {}
        })?;
        link.flush()?;
        if link.is_closed() {
            return Err(link.lost(std::io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(())
    }
}

impl Arrivals {
    /// Counts a message which has come to a subscriber.
    fn take(&mut self, subscriber: usize, aliases: &mut [Option<usize>], publish: &Publish<'_>, now: u64) {
        // With an alias it is checked that it stands for the right topic. Without, the number of the lane says enough.
        let mut aliased = None;
        if publish.alias > 0 || publish.topic.is_empty() {
            let Some(place) = aliases.get_mut(usize::from(publish.alias).wrapping_sub(1)) else {
                self.ledger.faults.wrong += 1;
                return;
            };
            if !publish.topic.is_empty() {
                *place = topic_number(&self.prefix, publish.topic);
            }
            let Some(topic) = *place else {
                self.ledger.faults.wrong += 1;
                return;
            };
            aliased = Some(topic);
        }
        if publish.retain {
            // Left by an earlier run.
            return;
        }
        let right_topic = |stamp: &Stamp| {
            aliased.is_none_or(|topic| topic == self.topology.topic_of_lane(stamp.lane as usize))
        };
        let whole = publish.payload.len() == self.payload_bytes;
        let Some(stamp) = Stamp::read(publish.payload).filter(right_topic).filter(|_| whole) else {
            self.ledger.faults.wrong += 1;
            return;
        };
        self.aliased += u64::from(publish.topic.is_empty());
        self.latency.saturating_record(now.saturating_sub(stamp.sent_nanos));
        if let Some(publisher) = self.ledger.receive(subscriber, stamp)
            && self.wakes.last() != Some(&publisher)
        {
            self.wakes.push(publisher);
        }
    }
}

/// The number in `prefix/NUMBER/state`.
fn topic_number(prefix: &str, topic: &[u8]) -> Option<usize> {
    let rest = str::from_utf8(topic).ok()?.strip_prefix(prefix)?;
    rest.strip_suffix("/state")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::super::report::{self, Faults};
    use super::super::super::wire::{Frame, Head, Template};
    use super::super::MqttVersion;
    use super::*;

    struct Receiving {
        arrivals: Arrivals,
        aliases: Vec<Option<usize>>,
    }

    impl Receiving {
        /// A subscriber of two topics that allows two aliases; both lanes have sent one message.
        fn new() -> Self {
            let topology = Topology { publishers: 1, subscribers: 1, topics: 2, shared: false };
            let mut arrivals = Arrivals {
                ledger: Ledger::new(topology, 8),
                topology,
                payload_bytes: 16,
                prefix: "bench/".to_owned(),
                latency: report::histogram(),
                aliased: 0,
                wakes: Vec::new(),
            };
            (0..2).for_each(|lane| assert!(arrivals.ledger.send(lane, 0).is_some()));
            Self { arrivals, aliases: vec![None; 2] }
        }

        fn take(&mut self, topic: &str, alias: u16, lane: u32) -> Faults {
            let alias = (alias > 0).then_some(alias);
            let head = Head { version: MqttVersion::V5, topic, alias, qos: 0, retain: false };
            let mut bytes = Vec::new();
            let stamp = Stamp { lane, sequence: 0, sent_nanos: 0 };
            Template::new(&head, 16).append(&mut bytes, 0, stamp);
            let publish = Frame::take(&mut bytes.as_slice()).and_then(|frame| frame.publish(MqttVersion::V5));
            self.arrivals.take(0, &mut self.aliases, &publish.expect("a PUBLISH"), 0);
            self.arrivals.ledger.faults
        }
    }

    #[test]
    fn an_alias_that_is_told_stands_for_its_topic() {
        let mut receiving = Receiving::new();
        assert!(receiving.take("bench/1/state", 2, 1).none());
        assert_eq!(receiving.arrivals.aliased, 0);
        assert_eq!(receiving.arrivals.ledger.send(1, 0).map(|stamp| stamp.sequence), Some(1));
        assert!(receiving.take("bench/0/state", 2, 0).none(), "it is told anew");
        assert_eq!(receiving.aliases, [None, Some(0)]);
        assert_eq!(receiving.arrivals.ledger.received, 2);
    }

    #[test]
    fn a_message_by_an_alias_alone_is_counted() {
        let mut receiving = Receiving::new();
        receiving.aliases = vec![Some(0), None];
        assert!(receiving.take("", 1, 0).none());
        assert_eq!((receiving.arrivals.aliased, receiving.arrivals.ledger.received), (1, 1));
    }

    #[test]
    fn an_alias_that_is_unknown_too_great_or_of_another_topic_is_wrong() {
        for (alias, lane) in [(1, 0), (2, 0), (3, 1), (0, 1)] {
            let mut receiving = Receiving::new();
            // The second alias stands for the topic of the other lane.
            receiving.aliases = vec![None, Some(1)];
            let faults = receiving.take("", alias, lane);
            assert_eq!(faults, Faults { wrong: 1, ..Faults::default() }, "alias {alias}");
        }
    }
}
