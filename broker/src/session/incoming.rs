//! QoS 2 messages from the client: the packet identifiers that were received and not yet released.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use super::PacketId;
use super::record::{self, Log};

/// Up to so many identifiers are kept as a list, more as a bit map.
const LISTED_MAX: usize = 64;
const WORDS: usize = 1024;

/// What to do with a QoS 2 PUBLISH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// Route it, note it, answer PUBREC.
    New,
    /// As a new one, but not to the sessions with these numbers: they got it before a crash of the broker.
    Unfinished(Arc<[u64]>),
    /// It was received before: answer PUBREC only [MQTT-4.3.3-2].
    Duplicate,
    /// The client has too many unreleased messages: close the connection.
    TooMany,
}

/// A set of packet identifiers. Releases come mostly in the order of arrival.
#[derive(Debug, Default)]
pub(super) struct IncomingIds {
    listed: VecDeque<PacketId>,
    /// In use instead of the list once that was too long, until the set is empty.
    map: Option<Box<[u64; WORDS]>>,
    len: usize,
    /// Messages that a crash interrupted on their way to the sessions; who got them already. Only after a restart.
    unfinished: Vec<(PacketId, Arc<[u64]>)>,
}

impl IncomingIds {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn check(&self, id: PacketId, dup: bool, limit: u16) -> Incoming {
        if self.contains(id) {
            return Incoming::Duplicate;
        }
        if self.len >= usize::from(limit) {
            return Incoming::TooMany;
        }
        match self.unfinished.iter().find(|(unfinished, _)| *unfinished == id) {
            Some((_, sids)) if dup => Incoming::Unfinished(sids.clone()),
            _ => Incoming::New,
        }
    }

    /// Remembers who got a message before the crash, besides those who got it before an earlier one.
    pub(super) fn restore_unfinished(&mut self, id: PacketId, sids: &[u64]) {
        if self.contains(id) {
            return;
        }
        let index = self.unfinished.iter().position(|(known, _)| *known == id);
        let earlier = index.map(|index| self.unfinished.swap_remove(index).1);
        let all: BTreeSet<u64> =
            earlier.iter().flat_map(|sids| sids.iter()).chain(sids.iter()).copied().collect();
        self.unfinished.push((id, all.into_iter().collect()));
    }

    fn finish(&mut self, id: PacketId) {
        if !self.unfinished.is_empty() {
            self.unfinished.retain(|(unfinished, _)| *unfinished != id);
        }
    }

    fn contains(&self, id: PacketId) -> bool {
        match &self.map {
            Some(map) => {
                let (word, bit) = place(id);
                map[word] & bit != 0
            }
            None => self.listed.contains(&id),
        }
    }

    /// Returns whether it is new.
    pub(super) fn insert(&mut self, id: PacketId) -> bool {
        self.finish(id);
        if self.contains(id) {
            return false;
        }
        self.len += 1;
        if self.map.is_none() && self.listed.len() == LISTED_MAX {
            let mut map = Box::new([0; WORDS]);
            for listed in std::mem::take(&mut self.listed) {
                let (word, bit) = place(listed);
                map[word] |= bit;
            }
            self.map = Some(map);
        }
        match &mut self.map {
            Some(map) => {
                let (word, bit) = place(id);
                map[word] |= bit;
            }
            None => self.listed.push_back(id),
        }
        true
    }

    /// Returns whether it was there.
    pub(super) fn remove(&mut self, id: PacketId) -> bool {
        self.finish(id);
        let known = match &mut self.map {
            Some(map) => {
                let (word, bit) = place(id);
                let known = map[word] & bit != 0;
                map[word] &= !bit;
                known
            }
            None => {
                let index = self.listed.iter().position(|listed| *listed == id);
                index.and_then(|index| self.listed.remove(index)).is_some()
            }
        };
        if known {
            self.len -= 1;
            if self.len == 0 {
                self.map = None;
            }
        }
        known
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(super) fn record_all(&self, sid: u64, log: &mut dyn Log) {
        for id in &self.listed {
            record::incoming(log, sid, *id);
        }
        for (id, sids) in &self.unfinished {
            record::unfinished(log, sid, *id, sids);
        }
        if let Some(map) = &self.map {
            for id in (1..=u16::MAX).filter_map(PacketId::new) {
                let (word, bit) = place(id);
                if map[word] & bit != 0 {
                    record::incoming(log, sid, id);
                }
            }
        }
    }
}

fn place(id: PacketId) -> (usize, u64) {
    (usize::from(id.get()) / 64, 1 << (id.get() % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_known_from_insert_to_remove_as_list_and_as_map() {
        let ids: Vec<PacketId> =
            [1, 65_535, 64, 63, 4_000].into_iter().chain(100..300).filter_map(PacketId::new).collect();
        let mut set = IncomingIds::default();
        for (n, id) in ids.iter().enumerate() {
            assert_eq!(set.check(*id, false, u16::MAX), Incoming::New);
            assert!(set.insert(*id));
            assert!(!set.insert(*id));
            assert_eq!(set.len(), n + 1);
        }
        assert!(ids.iter().all(|id| set.check(*id, true, 1) == Incoming::Duplicate));
        assert_eq!(set.check(PacketId::new(7).unwrap(), false, 205), Incoming::TooMany);
        for id in &ids {
            assert!(set.remove(*id));
            assert!(!set.remove(*id));
        }
        assert_eq!(set.len(), 0);
        assert!(set.map.is_none(), "an empty set holds no map");
    }
}
