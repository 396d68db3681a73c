//! The client's subscriptions and the replays they are owed.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::num::NonZeroU32;
use std::sync::Arc;

use super::record::{self, Log};
use super::replay::{PendingReplay, ReplayId, Replays};
use crate::message::QoS;

/// One subscription.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Subscription {
    /// The granted QoS [MQTT-3.8.4-6].
    pub qos: QoS,
    /// The client does not want its own messages [MQTT5-3.8.3-3].
    pub no_local: bool,
    /// The client wants the RETAIN flag as it was published [MQTT5-3.3.1-13].
    pub retain_as_published: bool,
    /// The client wants to know where an entry's value comes from.
    pub provenance: bool,
    /// The number by which the client knows the subscription [MQTT5-3.3.4-3].
    pub identifier: Option<NonZeroU32>,
}

impl Subscription {
    /// A subscription as MQTT 3 knows it.
    #[must_use]
    pub fn of(qos: QoS) -> Self {
        Self { qos, ..Self::default() }
    }

    /// The options beside the QoS as bits, for records.
    pub(super) fn options(&self) -> u8 {
        u8::from(self.no_local) | u8::from(self.retain_as_published) << 1 | u8::from(self.provenance) << 2
    }

    pub(super) fn from_options(qos: QoS, options: u8, identifier: Option<NonZeroU32>) -> Option<Self> {
        (options < 8).then_some(Self {
            qos,
            no_local: options & 1 != 0,
            retain_as_published: options & 2 != 0,
            provenance: options & 4 != 0,
            identifier,
        })
    }
}

/// The client has as many subscriptions as it may; this one is refused (SUBACK 0x80) and nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the client already has {limit} subscriptions, its limit")]
pub struct TooManySubscriptions {
    /// The limit.
    pub limit: usize,
}

#[derive(Debug)]
struct Slot {
    subscription: Subscription,
    replay: Option<ReplayId>,
}

/// Filter -> subscription.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    slots: BTreeMap<Arc<str>, Slot>,
    replays: Replays,
}

impl Subscriptions {
    pub(super) fn insert(
        &mut self,
        filter: &Arc<str>,
        subscription: Subscription,
        replay: bool,
        limit: usize,
    ) -> Result<Option<ReplayId>, TooManySubscriptions> {
        let full = self.slots.len() >= limit;
        let slot = match self.slots.entry(filter.clone()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(_) if full => return Err(TooManySubscriptions { limit }),
            Entry::Vacant(free) => free.insert(Slot { subscription, replay: None }),
        };
        slot.subscription = subscription;
        if !replay {
            return Ok(None);
        }
        if let Some(earlier) = slot.replay {
            self.replays.remove(earlier);
        }
        slot.replay = Some(self.replays.push(filter));
        Ok(slot.replay)
    }

    pub(super) fn remove(&mut self, filter: &str) -> Option<Subscription> {
        let slot = self.slots.remove(filter)?;
        if let Some(replay) = slot.replay {
            self.replays.remove(replay);
        }
        Some(slot.subscription)
    }

    pub(super) fn get(&self, filter: &str) -> Option<Subscription> {
        self.slots.get(filter).map(|slot| slot.subscription)
    }

    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = (&Arc<str>, Subscription)> {
        self.slots.iter().map(|(filter, slot)| (filter, slot.subscription))
    }

    pub(super) fn owed_for(&self, filter: &str) -> Option<ReplayId> {
        self.slots.get(filter)?.replay
    }

    pub(super) fn replays(&self) -> &Replays {
        &self.replays
    }

    pub(super) fn next_replay(&self, last: Option<ReplayId>) -> Option<PendingReplay> {
        let (id, filter) = self.replays.next(last)?;
        let subscription = self.get(filter)?;
        Some(PendingReplay { id, filter: filter.clone(), subscription })
    }

    /// Returns the filter, if the replay was still owed.
    pub(super) fn replay_done(&mut self, id: ReplayId) -> Option<Arc<str>> {
        let filter = self.replays.remove(id)?;
        if let Some(slot) = self.slots.get_mut(&filter) {
            slot.replay = None;
        }
        Some(filter)
    }

    /// A recorded end of a replay, which names the filter only.
    pub(super) fn restore_replay_done(&mut self, filter: &str) -> bool {
        let replay = self.slots.get_mut(filter).and_then(|slot| slot.replay.take());
        replay.is_some_and(|id| self.replays.remove(id).is_some())
    }

    pub(super) fn clear(&mut self) {
        self.slots.clear();
        self.replays.clear();
    }

    pub(super) fn record_all(&self, sid: u64, log: &mut dyn Log) {
        for (filter, slot) in &self.slots {
            if slot.replay.is_none() {
                record::subscribe(log, sid, filter, slot.subscription, false);
            }
        }
        for filter in self.replays.iter() {
            if let Some(subscription) = self.get(filter) {
                record::subscribe(log, sid, filter, subscription, true);
            }
        }
    }
}
