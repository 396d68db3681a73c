//! The replica: what one node holds, and the rules by which it changes. `PROTOCOL.md` beside this crate's manifest states them.
//!
//! It is a plain state machine. Methods are of these kinds:
//! - a [`Recovery`] takes in the records of the journal and [starts](Recovery::start) a new life;
//! - *getters* look;
//! - *commands* ([`set`](Replica::set), [`delete`](Replica::delete)) make events here;
//! - [`merge`](Replica::merge) takes an event that was made elsewhere;
//! - [`begin_export`](Replica::begin_export), [`export`](Replica::export) and [`purge`](Replica::purge) serve snapshots.
//!
//! Whatever changes the state appends to a `record` given by the caller, who must put that on record, as one, before the change is
//! acknowledged or told to anybody; in the order of the calls. (A record is empty if nothing must be kept.) Changes which are to count
//! together or not at all append to one record. Looking and writing under one lock is an atomic compare-and-set.
//! Nothing here reads a clock, draws at random or touches a file.

mod conflict;
mod import;
mod record;
mod recovery;
mod since;
mod snapshot;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use conflict::CONFLICT;
pub use import::{FOREIGN, Foreign};
pub use record::RecordError;
pub use recovery::Recovery;
pub use snapshot::{Export, Tombstones};

use crate::chain::{self, Dot, Origin, Relation, Version};
use crate::ledger::{Account, Ledger};
use crate::meta::{Meta, Users};
use crate::path::{Path, PathRef};
use crate::ticks::{Lease, NodeName, Tick, Tock};
use crate::tree::{Counts, Entry, Progress, Scan, Tree};
use crate::value::Value;

/// How a replica is set up.
#[derive(Clone, Debug)]
pub struct Config {
    /// The node's name.
    pub node: NodeName,
    /// At how many dots chains are cut: the number of members, at least [`chain::MIN_LENGTH`].
    pub chain_length: usize,
}

impl Config {
    /// A node that is alone.
    pub fn alone(node: NodeName) -> Self {
        Self { node, chain_length: chain::MIN_LENGTH }
    }
}

/// Why a replica makes no event. Its state is as before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// A node with a mad clock has used the numbers up.
    #[error("no event can be made any more: the cluster's clock has reached its limit of 2^62")]
    ClockExhausted,
}

/// Why an event from elsewhere is not taken in. The state is as before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// It claims to be of this node's present life, which has not made it.
    #[error("{0:?} claims to be an event of this node, which has not made it")]
    NotMine(Dot),
    /// It is in conflict with what is held, and the conflict can't be recorded.
    #[error(transparent)]
    NoRecord(#[from] WriteError),
}

/// An entry has changed.
#[derive(Clone, Debug)]
pub struct Change {
    /// The entry as it is now.
    pub entry: Arc<Entry>,
    /// The entry as it was.
    pub previous: Option<Arc<Entry>>,
}

/// An event that was made elsewhere, or is being sent there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The entry it makes or changes.
    pub path: Path,
    /// What it makes of the entry.
    pub entry: Entry,
}

/// What has come of an event from elsewhere.
#[derive(Clone, Debug, Default)]
pub struct Merged {
    /// Whether the event had been seen before. Then nothing else has happened.
    pub known: bool,
    /// The entry's change, if the event is its head now.
    pub change: Option<Change>,
    /// The record which was made about a loser, with its path.
    pub conflict: Option<(Path, Change)>,
}

/// All that a node holds.
#[derive(Debug)]
pub struct Replica {
    tree: Tree,
    ledger: Ledger,
    users: Users,
    /// This node in this life.
    own: Origin,
    lease: Lease,
    /// The greatest tock seen.
    tock: Tock,
    /// The tocks since which changes can't be told.
    forgotten: since::Forgotten,
    /// The ceilings on record, of every name this node has had.
    ceilings: BTreeMap<NodeName, Tick>,
    chain_length: usize,
}

// Getters.
impl Replica {
    /// The entry at `path`, be it a tombstone.
    pub fn get(&self, path: PathRef<'_>) -> Option<&Arc<Entry>> {
        self.tree.get(path)
    }

    /// Goes on with a scan: see [`Tree::scan`].
    pub fn scan(
        &self,
        scan: &mut Scan,
        looks: usize,
        sink: impl FnMut(PathRef<'_>, &Arc<Entry>) -> bool,
    ) -> Progress {
        self.tree.scan(scan, looks, sink)
    }

    /// The entries.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// How much there is.
    pub fn counts(&self) -> Counts {
        self.tree.counts()
    }

    /// This node in this life.
    pub fn origin(&self) -> &Origin {
        &self.own
    }

    /// The tick of the next event that is made here.
    pub fn next_tick(&self) -> Tick {
        self.lease.next()
    }

    /// The greatest tick which this node may use according to the records so far. Whoever keeps these must not let a tick be used
    /// before the record which allows it is durable.
    pub fn ceiling(&self) -> Tick {
        self.lease.ceiling()
    }

    /// The greatest tock seen.
    pub fn tock(&self) -> Tock {
        self.tock
    }

    /// Whether who has known everything up to `tock` misses just the entries whose heads have greater tocks, and those whose value has
    /// expired. Else too much has been forgotten since then, or it was never the clock's.
    pub fn can_tell_since(&self, tock: Tock) -> bool {
        tock <= self.tock && !self.forgotten.contains(tock)
    }

    /// What is accounted for, per life.
    pub fn accounts(&self) -> impl Iterator<Item = &Account> {
        self.ledger.accounts()
    }

    /// When the next value expires, in milliseconds of Unix time.
    pub fn next_expiry(&self) -> Option<u64> {
        self.tree.next_expiry()
    }

    /// Makes tombstones of values that have expired by now: see [`Tree::expire`].
    pub fn expire(&mut self, now: u64, limit: usize) -> usize {
        self.tree.expire(now, limit)
    }

    /// The shared form of a user's name.
    pub fn share_user(&mut self, name: &str) -> Arc<str> {
        self.users.share(name)
    }
}

// Commands.
impl Replica {
    /// Writes a value.
    pub fn set(
        &mut self,
        path: PathRef<'_>,
        value: Value,
        meta: Meta,
        record: &mut Vec<u8>,
    ) -> Result<Change, WriteError> {
        self.write(path, Some(value), meta, record)
    }

    /// Deletes a value: the entry becomes a tombstone. `None`: there is no value, so nothing happens.
    pub fn delete(
        &mut self,
        path: PathRef<'_>,
        meta: Meta,
        record: &mut Vec<u8>,
    ) -> Result<Option<Change>, WriteError> {
        if self.tree.get(path).is_none_or(|held| held.is_tombstone()) {
            return Ok(None);
        }
        self.write(path, None, meta, record).map(Some)
    }

    fn write(
        &mut self,
        path: PathRef<'_>,
        value: Option<Value>,
        meta: Meta,
        record: &mut Vec<u8>,
    ) -> Result<Change, WriteError> {
        let (dot, tock) = self.next_event(record)?;
        let length = self.chain_length;
        let (entry, previous) = self.tree.update(path, |held| {
            let version = match held {
                Some(held) => held.version.next(dot, tock, length),
                None => Version::first(dot, tock),
            };
            Arc::new(Entry { value, meta, version })
        });
        record::event(record, path, &entry);
        Ok(Change { entry, previous })
    }

    /// Names the next event and accounts for it.
    fn next_event(&mut self, record: &mut Vec<u8>) -> Result<(Dot, Tock), WriteError> {
        let tock = self.tock.next().ok_or(WriteError::ClockExhausted)?;
        if let Some(ceiling) = self.lease.renewal() {
            record::ceiling(record, self.own.node(), ceiling);
            self.lease.renewed(ceiling);
            self.ceilings.insert(self.own.node().clone(), ceiling);
        }
        // Only at the end of all numbers is there none after a renewal.
        let tick = self.lease.take().ok_or(WriteError::ClockExhausted)?;
        let dot = Dot { origin: self.own.clone(), tick };
        self.ledger.see(&dot);
        self.tock = tock;
        Ok((dot, tock))
    }
}

// Events from elsewhere.
impl Replica {
    /// Reads the events of a record that another replica has written. Names are shared with what is held here.
    pub fn read_events(&mut self, record: &[u8]) -> Result<Vec<Event>, RecordError> {
        let mut events = Vec::new();
        for item in record::read(record)? {
            if let record::Item::Event(event) = item {
                let entry = event.entry(&mut self.ledger, &mut self.users)?;
                events.push(Event { path: event.path.to_path(), entry });
            }
        }
        Ok(events)
    }

    /// Takes in an event that was made elsewhere. Late, twice or out of order is all the same to the outcome.
    ///
    /// If it is concurrent with what is held, the greater wins and the loser is kept as a conflict record, made here at the time `now` (in
    /// milliseconds since 1970-01-01 UTC).
    ///
    /// # Errors
    /// Nothing has been taken in then.
    pub fn merge(&mut self, event: Event, now: u64, record: &mut Vec<u8>) -> Result<Merged, MergeError> {
        let Event { path, entry } = event;
        let path = path.as_path();
        let dot = entry.version.dot().clone();
        if self.ledger.has(&dot) {
            return Ok(Merged { known: true, ..Merged::default() });
        }
        if dot.origin == self.own {
            return Err(MergeError::NotMine(dot));
        }
        let held = self.tree.get(path).cloned();
        let conflict = held.as_deref().and_then(|held| self.conflict_record(path, held, &entry));
        let tock = self.tock.max(entry.version.tock());
        if conflict.is_some() && tock.next().is_none() {
            return Err(WriteError::ClockExhausted.into());
        }
        self.ledger.see(&dot);
        let late = entry.version.tock() <= self.tock;
        self.tock = tock;
        let change = self.take_in(path, held, entry, &dot, record);
        if late && change.is_some() && self.forgotten.below(tock.next().unwrap_or(tock)) {
            record::forgotten(record, self.forgotten.ranges());
        }
        let Some((path, value)) = conflict else { return Ok(Merged { change, ..Merged::default() }) };
        let made = self.write(path.as_path(), Some(value), Meta::at(now), record)?;
        Ok(Merged { known: false, change, conflict: Some((path, made)) })
    }

    /// What is to be recorded about a conflict: nothing, if there is none, both hold the same, or the loser has its record.
    fn conflict_record(&self, path: PathRef<'_>, held: &Entry, event: &Entry) -> Option<(Path, Value)> {
        let concurrent = Version::compare(&held.version, &event.version) == Relation::Concurrent;
        if !concurrent || held.value == event.value || conflict::is_record(path) {
            return None;
        }
        let (winner, loser) =
            if held.version.order(&event.version).is_lt() { (event, held) } else { (held, event) };
        let record_path = conflict::path(loser.version.dot());
        let recorded = self.tree.get(record_path.as_path()).is_some();
        (!recorded).then(|| (record_path, conflict::value(path, loser, winner.version.dot())))
    }

    /// Puts a new event, named `dot`, where it belongs: at the head, or among what is past.
    fn take_in(
        &mut self,
        path: PathRef<'_>,
        held: Option<Arc<Entry>>,
        event: Entry,
        dot: &Dot,
        record: &mut Vec<u8>,
    ) -> Option<Change> {
        let head = match held {
            None => event,
            Some(held) => match Meeting::of(&held, event, self.chain_length) {
                Meeting::Head(head) => head,
                Meeting::Noted(noted) => {
                    // Not the event goes on record, but what is held: replaying an event that has lost to a tombstone would bring
                    // it to life if that has been purged in between.
                    record::event(record, path, &noted);
                    record::tick(record, dot);
                    self.tree.update(path, |_| Arc::new(noted));
                    return None;
                }
                Meeting::Nothing => {
                    record::tick(record, dot);
                    return None;
                }
            },
        };
        record::event(record, path, &head);
        let (entry, previous) = self.tree.update(path, |_| Arc::new(head));
        Some(Change { entry, previous })
    }
}

/// What comes of it when an event meets the entry that is held. It depends on these two alone, whether the event arrives or is replayed.
enum Meeting {
    /// The event is the new head.
    Head(Entry),
    /// What is held stays, and has absorbed something.
    Noted(Entry),
    /// What is held stays as it is.
    Nothing,
}

impl Meeting {
    fn of(held: &Entry, mut event: Entry, length: usize) -> Self {
        let relation = Version::compare(&held.version, &event.version);
        let concurrent = relation == Relation::Concurrent;
        let note = |version: &mut Version, other: &Version| {
            if concurrent { version.absorb(other, length) } else { version.inherit(other, length) }
        };
        if relation == Relation::Past || (concurrent && held.version.order(&event.version).is_lt()) {
            note(&mut event.version, &held.version);
            return Self::Head(event);
        }
        let mut version = held.version.clone();
        if note(&mut version, &event.version) {
            Self::Noted(Entry { version, value: held.value.clone(), meta: held.meta.clone() })
        } else {
            Self::Nothing
        }
    }
}

#[cfg(test)]
mod tests;
