//! Replays of retained messages that are owed to the client: one per SUBSCRIBE of a filter, served in turn.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use super::Subscription;

/// Names one owed replay. A repeated SUBSCRIBE gives its filter's replay a new name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplayId(u64);

/// A replay that is owed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingReplay {
    /// Its name.
    pub id: ReplayId,
    /// The subscription's filter.
    pub filter: Arc<str>,
    /// The subscription itself.
    pub subscription: Subscription,
}

/// How much a replay may hand over now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplayRoom {
    /// Messages.
    pub messages: usize,
    /// Bytes of topics and payloads.
    pub bytes: usize,
}

/// All that is owed, in the order of the requests.
#[derive(Debug, Default)]
pub(super) struct Replays {
    owed: BTreeMap<ReplayId, Arc<str>>,
    last: u64,
}

impl Replays {
    pub(super) fn len(&self) -> usize {
        self.owed.len()
    }

    pub(super) fn contains(&self, id: ReplayId) -> bool {
        self.owed.contains_key(&id)
    }

    pub(super) fn push(&mut self, filter: &Arc<str>) -> ReplayId {
        self.last += 1;
        let id = ReplayId(self.last);
        self.owed.insert(id, filter.clone());
        id
    }

    pub(super) fn remove(&mut self, id: ReplayId) -> Option<Arc<str>> {
        self.owed.remove(&id)
    }

    /// Nothing is owed any more. Names are not used again: those of earlier replays can't be taken for new ones.
    pub(super) fn clear(&mut self) {
        self.owed.clear();
    }

    /// The one after `last`, going round.
    pub(super) fn next(&self, last: Option<ReplayId>) -> Option<(ReplayId, &Arc<str>)> {
        let after = last.map_or(Bound::Unbounded, Bound::Excluded);
        let mut rest = self.owed.range((after, Bound::Unbounded));
        rest.next().or_else(|| self.owed.first_key_value()).map(|(id, filter)| (*id, filter))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<str>> {
        self.owed.values()
    }
}
