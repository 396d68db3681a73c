//! Who publishes what to whom, and what has arrived: pure bookkeeping, without sockets and clock.
//!
//! A *lane* is one publisher on one topic; messages of a lane arrive in order, so each is known by its lane and its number in it.
//! A *group* is a set of topics that the same subscribers take. If its subscriptions are shared, each message comes to any one of
//! them, and only what comes to the same one is in order.

use super::super::report::Faults;
use super::super::wire::Stamp;

/// Numbers of publishers, subscribers and topics, each at least 1 but that of the subscribers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Topology {
    pub(super) publishers: usize,
    pub(super) subscribers: usize,
    pub(super) topics: usize,
    /// Subscribers of the same topics share each message: one of them gets it.
    pub(super) shared: bool,
}

impl Topology {
    /// With more topics than publishers each publisher has several, with fewer they share them.
    pub(super) fn lanes(self) -> usize {
        self.publishers.max(self.topics)
    }

    pub(super) fn topic_of_lane(self, lane: usize) -> usize {
        lane % self.topics
    }

    pub(super) fn publisher_of_lane(self, lane: usize) -> usize {
        lane % self.publishers
    }

    /// With more topics than subscribers each subscriber takes several, with fewer they share them.
    fn groups(self) -> usize {
        self.subscribers.min(self.topics).max(1)
    }

    fn group_of_subscriber(self, subscriber: usize) -> usize {
        subscriber % self.groups()
    }

    fn group_of_topic(self, topic: usize) -> usize {
        topic % self.groups()
    }

    pub(super) fn topics_of_subscriber(self, subscriber: usize) -> impl Iterator<Item = usize> {
        (self.group_of_subscriber(subscriber)..self.topics).step_by(self.groups())
    }

    /// How many subscribers get a message of a topic.
    fn fan_out(self, topic: usize) -> usize {
        let group = self.group_of_topic(topic);
        let takes = |&subscriber: &usize| self.group_of_subscriber(subscriber) == group;
        let takers = (0..self.subscribers).filter(takes).count();
        if self.shared { takers.min(1) } else { takers }
    }
}

/// What was sent, what is on its way, what has arrived.
#[derive(Debug)]
pub(super) struct Ledger {
    lanes: Vec<Lane>,
    receivers: Vec<Receiver>,
    shared: bool,
    /// Messages published.
    pub(super) sent: u64,
    /// Messages received, by all subscribers.
    pub(super) received: u64,
    /// Messages that subscribers should have received, by now or soon.
    expected: u64,
    pub(super) faults: Faults,
}

#[derive(Debug)]
struct Lane {
    publisher: usize,
    group: usize,
    /// Its place in its receivers' tables.
    slot: usize,
    fan_out: u32,
    /// The next message's number.
    next: u32,
    /// All messages before this one have arrived everywhere.
    settled: u32,
    /// For each message from `settled` to `next`: how many subscribers lack it. A ring, its size a power of two.
    lacking: Box<[u32]>,
    /// How many messages may be on their way.
    window: u32,
}

#[derive(Debug)]
struct Receiver {
    group: usize,
    /// For each lane of its group: the number that comes next.
    next: Vec<u32>,
}

impl Ledger {
    /// At most `window` messages of each lane are on their way at any time.
    pub(super) fn new(topology: Topology, window: u32) -> Self {
        let mut slots = vec![0; topology.groups()];
        let lanes = (0..topology.lanes()).map(|lane| {
            let topic = topology.topic_of_lane(lane);
            let group = topology.group_of_topic(topic);
            let mut slot = 0;
            if let Some(next) = slots.get_mut(group) {
                slot = *next;
                *next += 1;
            }
            Lane {
                publisher: topology.publisher_of_lane(lane),
                group,
                slot,
                fan_out: u32::try_from(topology.fan_out(topic)).unwrap_or(u32::MAX),
                next: 0,
                settled: 0,
                lacking: vec![0; window.next_power_of_two() as usize].into_boxed_slice(),
                window,
            }
        });
        let lanes = lanes.collect();
        let receivers = (0..topology.subscribers).map(|subscriber| {
            let group = topology.group_of_subscriber(subscriber);
            Receiver { group, next: vec![0; slots.get(group).copied().unwrap_or(0)] }
        });
        let receivers = receivers.collect();
        let shared = topology.shared;
        Self { lanes, receivers, shared, sent: 0, received: 0, expected: 0, faults: Faults::default() }
    }

    /// Counts the next message of a lane as sent; `None` if its window is full.
    pub(super) fn send(&mut self, lane: usize, now: u64) -> Option<Stamp> {
        let entry = self.lanes.get_mut(lane)?;
        if entry.next.wrapping_sub(entry.settled) >= entry.window {
            return None;
        }
        let stamp = Stamp { lane: u32::try_from(lane).ok()?, sequence: entry.next, sent_nanos: now };
        entry.next = entry.next.wrapping_add(1);
        *entry.lacking_mut(stamp.sequence) = entry.fan_out;
        entry.settle();
        self.sent += 1;
        self.expected += u64::from(entry.fan_out);
        Some(stamp)
    }

    /// Counts a message as received. Returns the publisher which may now send more.
    pub(super) fn receive(&mut self, receiver: usize, stamp: Stamp) -> Option<usize> {
        let lane = self.lanes.get_mut(stamp.lane as usize);
        let (Some(lane), Some(receiver)) = (lane, self.receivers.get_mut(receiver)) else {
            self.faults.wrong += 1;
            return None;
        };
        let next = receiver.next.get_mut(lane.slot);
        let Some(next) = next.filter(|_| receiver.group == lane.group) else {
            self.faults.wrong += 1;
            return None;
        };
        self.received += 1;
        if self.shared {
            return lane.receive_shared(next, stamp.sequence, &mut self.faults);
        }
        // Numbers wrap around; a window is far smaller than half of their range.
        let skipped = stamp.sequence.wrapping_sub(*next);
        if skipped >= u32::MAX / 2 {
            self.faults.repeated += 1;
            return None;
        }
        if stamp.sequence.wrapping_sub(lane.settled) >= lane.next.wrapping_sub(lane.settled) {
            // A number that was never sent.
            self.faults.wrong += 1;
            return None;
        }
        // Order is kept in a lane: what is skipped does not come any more.
        self.faults.missing += u64::from(skipped);
        for sequence in 0..=skipped {
            let lacking = lane.lacking_mut(next.wrapping_add(sequence));
            *lacking = lacking.saturating_sub(1);
        }
        *next = stamp.sequence.wrapping_add(1);
        lane.settle();
        Some(lane.publisher)
    }

    /// Messages that are still to come.
    pub(super) fn outstanding(&self) -> u64 {
        // Repeated and wrong ones are not among the expected.
        let Faults { missing, repeated, .. } = self.faults;
        (self.expected + repeated).saturating_sub(self.received + missing)
    }
}

impl Lane {
    /// Counts a message as received by one of those who share it, and for whom `next` is the least number that is in order.
    fn receive_shared(&mut self, next: &mut u32, sequence: u32, faults: &mut Faults) -> Option<usize> {
        if sequence.wrapping_sub(self.settled) >= self.next.wrapping_sub(self.settled) {
            // Before the window: long there. Behind it: never sent.
            match sequence.wrapping_sub(self.settled) > u32::MAX / 2 {
                true => faults.repeated += 1,
                false => faults.wrong += 1,
            }
            return None;
        }
        let lacking = self.lacking_mut(sequence);
        if *lacking == 0 {
            faults.repeated += 1;
            return None;
        }
        *lacking = 0;
        if sequence.wrapping_sub(*next) >= u32::MAX / 2 {
            faults.wrong += 1;
        } else {
            *next = sequence.wrapping_add(1);
        }
        self.settle();
        Some(self.publisher)
    }

    fn lacking_mut(&mut self, sequence: u32) -> &mut u32 {
        let mask = self.lacking.len() - 1;
        // The ring has at least one place, and the mask is below its size.
        #[expect(clippy::indexing_slicing, reason = "the index is masked by the size")]
        &mut self.lacking[sequence as usize & mask]
    }

    fn settle(&mut self) {
        while self.settled != self.next && *self.lacking_mut(self.settled) == 0 {
            self.settled = self.settled.wrapping_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topology(publishers: usize, subscribers: usize, topics: usize) -> Topology {
        Topology { publishers, subscribers, topics, shared: false }
    }

    fn shared(subscribers: usize) -> Topology {
        Topology { shared: true, ..topology(1, subscribers, 1) }
    }

    fn topics(topology: Topology, subscriber: usize) -> Vec<usize> {
        topology.topics_of_subscriber(subscriber).collect()
    }

    #[test]
    fn subscribers_share_topics_or_have_several() {
        assert_eq!(topics(topology(1, 3, 1), 2), [0]);
        assert_eq!(topics(topology(1, 2, 5), 0), [0, 2, 4]);
        assert_eq!(topics(topology(1, 2, 5), 1), [1, 3]);
        assert_eq!(topics(topology(3, 3, 3), 1), [1]);
    }

    #[test]
    fn every_message_reaches_whoever_subscribed_to_its_topic() {
        for publishers in 1..5 {
            for subscribers in 0..5 {
                for topics in 1..5 {
                    let topology = topology(publishers, subscribers, topics);
                    let mut ledger = Ledger::new(topology, 4);
                    for lane in 0..topology.lanes() {
                        let stamp = ledger.send(lane, 0).expect("the window is open");
                        let topic = topology.topic_of_lane(lane);
                        for subscriber in 0..subscribers {
                            if topology.topics_of_subscriber(subscriber).any(|taken| taken == topic) {
                                ledger.receive(subscriber, stamp);
                            }
                        }
                    }
                    assert_eq!(ledger.outstanding(), 0, "{topology:?}");
                    assert!(ledger.faults.none(), "{topology:?}");
                    assert_eq!(ledger.sent, topology.lanes() as u64);
                }
            }
        }
    }

    #[test]
    fn the_slowest_subscriber_holds_the_window() {
        let mut ledger = Ledger::new(topology(1, 2, 1), 2);
        let first = ledger.send(0, 0).expect("open");
        let second = ledger.send(0, 0).expect("open");
        assert_eq!(ledger.send(0, 0), None);
        ledger.receive(0, first);
        ledger.receive(0, second);
        assert_eq!(ledger.send(0, 0), None);
        assert_eq!(ledger.receive(1, first), Some(0));
        assert!(ledger.send(0, 0).is_some());
    }

    #[test]
    fn a_gap_is_missing_and_does_not_close_the_window() {
        let mut ledger = Ledger::new(topology(1, 1, 1), 2);
        ledger.send(0, 0);
        let second = ledger.send(0, 0).expect("open");
        ledger.receive(0, second);
        assert_eq!(ledger.faults, Faults { missing: 1, ..Faults::default() });
        assert_eq!(ledger.outstanding(), 0);
        assert!(ledger.send(0, 0).is_some());
    }

    #[test]
    fn a_message_that_comes_twice_is_told() {
        let mut ledger = Ledger::new(topology(1, 1, 1), 2);
        let stamp = ledger.send(0, 0).expect("open");
        ledger.receive(0, stamp);
        ledger.receive(0, stamp);
        assert_eq!(ledger.faults, Faults { repeated: 1, ..Faults::default() });
        assert_eq!(ledger.outstanding(), 0);
    }

    #[test]
    fn what_nobody_sent_is_wrong() {
        let mut ledger = Ledger::new(topology(2, 2, 2), 2);
        let stamp = ledger.send(0, 0).expect("open");
        // Another group's subscriber, an unknown lane, a number of the future.
        ledger.receive(1, stamp);
        ledger.receive(0, Stamp { lane: 9, ..stamp });
        ledger.receive(0, Stamp { sequence: 1, ..stamp });
        assert_eq!(ledger.faults.wrong, 3);
    }

    #[test]
    fn without_subscribers_the_window_never_closes() {
        let mut ledger = Ledger::new(topology(1, 0, 1), 1);
        for _ in 0..10 {
            assert!(ledger.send(0, 0).is_some());
        }
        assert_eq!(ledger.outstanding(), 0);
    }

    #[test]
    fn a_shared_message_may_come_to_any_member_and_opens_the_window() {
        let mut ledger = Ledger::new(shared(3), 2);
        for round in 0..10 {
            let first = ledger.send(0, 0).expect("open");
            let second = ledger.send(0, 0).expect("open");
            assert_eq!(ledger.send(0, 0), None);
            // What comes to different members is not in order.
            assert_eq!(ledger.receive(round % 3, second), Some(0));
            assert_eq!(ledger.send(0, 0), None);
            assert_eq!(ledger.receive((round + 1) % 3, first), Some(0));
        }
        assert_eq!(ledger.outstanding(), 0);
        assert!(ledger.faults.none());
    }

    #[test]
    fn a_shared_message_that_comes_to_two_members_is_told() {
        let mut ledger = Ledger::new(shared(3), 4);
        let first = ledger.send(0, 0).expect("open");
        let second = ledger.send(0, 0).expect("open");
        // While an earlier one is still to come, and when all are there.
        ledger.receive(0, second);
        ledger.receive(1, second);
        ledger.receive(1, first);
        ledger.receive(2, first);
        assert_eq!(ledger.faults, Faults { repeated: 2, ..Faults::default() });
        assert_eq!(ledger.outstanding(), 0);
    }

    #[test]
    fn a_shared_message_that_came_to_nobody_is_outstanding() {
        let mut ledger = Ledger::new(shared(2), 2);
        ledger.send(0, 0).expect("open");
        let second = ledger.send(0, 0).expect("open");
        ledger.receive(0, second);
        assert_eq!(ledger.outstanding(), 1);
        assert_eq!(ledger.send(0, 0), None);
    }

    #[test]
    fn shared_messages_that_change_places_or_that_nobody_sent_are_wrong() {
        let mut ledger = Ledger::new(shared(2), 4);
        let first = ledger.send(0, 0).expect("open");
        let second = ledger.send(0, 0).expect("open");
        ledger.receive(0, second);
        ledger.receive(0, first);
        assert_eq!(ledger.faults, Faults { wrong: 1, ..Faults::default() });
        ledger.receive(0, Stamp { sequence: 2, ..second });
        assert_eq!(ledger.faults.wrong, 2);
    }
}
