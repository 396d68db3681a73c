//! What must hold at any time, and at the end.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::super::Session;
use super::super::record::decode::{Change, Record, decode};
use super::disk::Disk;
use super::{CLIENTS, Seat, World};
use crate::message::QoS;

impl World {
    /// What would be recovered from all records is what there is.
    pub(super) fn check_recovery(&mut self) {
        let mut recovered = self.recover();
        for seat in &mut self.seats {
            let twin = recovered.remove(seat.session.client_id());
            assert_eq!(twin.is_some(), seat.session.is_recorded());
            let twin = twin.map(|mut twin| whole(&mut twin));
            assert_eq!(twin.unwrap_or_default(), whole(&mut seat.session));
        }
    }

    pub(super) fn check_limits(&self) {
        for seat in &self.seats {
            let session = &seat.session;
            assert!(session.inflight() <= usize::from(self.limits.inflight));
            assert!(session.queued_messages() <= self.limits.queue_messages);
            assert!(session.queued_bytes() <= self.limits.queue_bytes);
            assert_eq!(session.queued_messages(), seat.queue.len());
        }
    }

    /// All clients come back, and nothing is lost any more.
    pub(super) fn heal(&mut self) {
        for seat in 0..CLIENTS {
            self.seats[seat].blocked = false;
            self.connect(seat, 0);
        }
        // Each message costs at most a few packets to each client.
        for _ in 0..100 + 100 * self.messages.len() {
            self.disk.settle_all();
            for seat in 0..CLIENTS {
                self.step_to_client(seat);
                self.step_to_broker(seat, 0);
            }
        }
        self.check_recovery();
    }

    pub(super) fn check_outcome(&self) {
        let mut totals = vec![0; self.messages.len()];
        for seat in &self.seats {
            assert_eq!(seat.client.outgoing(), 0, "every publisher's flow has ended");
            let session = &seat.session;
            assert_eq!((session.inflight(), session.queued_messages(), session.incoming()), (0, 0, 0));
            let mut counts = vec![0; self.messages.len()];
            seat.client.got().iter().for_each(|number| counts[*number] += 1);
            for (number, count) in counts.iter().enumerate().filter(|(n, _)| !self.messages[*n].shared) {
                self.check_count(number, *count, seat.dropped.contains(&number));
            }
            totals.iter_mut().zip(counts).for_each(|(total, count)| *total += count);
            self.check_order(seat);
        }
        for (number, total) in totals.into_iter().enumerate().filter(|(n, _)| self.messages[*n].shared) {
            self.check_count(number, total, self.excused.contains(&number));
        }
    }

    fn check_count(&self, number: usize, count: usize, excused: bool) {
        assert!(count > 0 || excused, "message {number} is lost");
        let may_repeat = self.messages[number].qos == QoS::AtLeastOnce;
        assert!(count <= 1 || may_repeat, "message {number} came {count} times");
    }

    /// Messages arrive, for the first time, in the order of their publisher, topic and QoS [MQTT-4.6.0-5].
    fn check_order(&self, seat: &Seat) {
        let mut last = BTreeMap::new();
        let mut seen = BTreeSet::new();
        for number in seat.client.got() {
            let published = &self.messages[*number];
            let excused = seat.dropped.contains(number) || seat.client.has_refused(*number);
            if published.shared || !seen.insert(*number) || excused {
                continue;
            }
            let before = last.insert((published.publisher, published.topic, published.qos), *number);
            assert!(before.is_none_or(|before| before < *number), "{number} came after {before:?}");
        }
    }
}

/// Everything that is to survive of a session, as the records of a checkpoint without the first, which tells times.
fn whole(session: &mut Session) -> Vec<Vec<u8>> {
    let mut disk = Disk::default();
    let generation = session.generation;
    session.checkpoint(&mut disk);
    session.generation = generation;
    disk.records().skip(1).map(<[u8]>::to_vec).collect()
}

/// The numbers of the messages in a session's queue.
pub(super) fn queue(session: &mut Session) -> VecDeque<usize> {
    let queued = |record: &Vec<u8>| match decode(record) {
        Ok(Record::Change { change: Change::EnqueueInline { message, id: None, .. }, .. }) => {
            Some(number(&message.payload))
        }
        _ => None,
    };
    whole(session).iter().filter_map(queued).collect()
}

pub(super) fn number(payload: &[u8]) -> usize {
    std::str::from_utf8(payload).ok().and_then(|text| text.parse().ok()).unwrap_or(usize::MAX)
}
