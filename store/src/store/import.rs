//! What comes from files: taken in by the rules for events from elsewhere, told and kept as every change.

use super::batch::Made;
use super::{Shared, Store};
use crate::clock;
use crate::journal::Kind;
use crate::path::Path;
use crate::replica::{Change, Foreign, MergeError, Merged};
use crate::ticks::{NodeName, Tick, TickSet};
use crate::view::WriteError;

/// How many events are taken in at a time, under one lock and in one record of the journal.
const EVENTS: usize = 1024;

/// From here on such a record gets nothing more. (With an event may come the value that lost against it.)
const RECORD: usize = 32 << 20;

/// What has come of an import.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Events that entries show now.
    pub taken: u64,
    /// Events that were known before.
    pub known: u64,
    /// Events that were replaced by what the store has.
    pub past: u64,
    /// Events, of these or of the store, which lost against one that did not know them: each has a conflict record now.
    pub conflicts: u64,
}

impl Imported {
    fn count(&mut self, merged: &Merged) {
        self.taken += u64::from(merged.change.is_some());
        self.known += u64::from(merged.known);
        self.past += u64::from(merged.change.is_none() && !merged.known);
        self.conflicts += u64::from(merged.conflict.is_some());
    }

    /// Adds what another part of the same import has come to.
    pub fn add(&mut self, other: Self) {
        self.taken += other.taken;
        self.known += other.known;
        self.past += other.past;
        self.conflicts += other.conflicts;
    }
}

impl Store {
    /// Takes in events of nodes which knew no lives. The quota does not hold for them: what is loaded was asked for by whoever runs the node.
    ///
    /// # Errors
    /// Some of the events may have been taken in; it does no harm to try all of them again.
    pub fn import(&self, events: Vec<Foreign>) -> Result<Imported, WriteError> {
        let mut imported = Imported::default();
        let mut events = events.into_iter();
        while !events.as_slice().is_empty() {
            imported.add(self.shared().import(&mut events)?);
        }
        Ok(imported)
    }

    /// Notes that events of a node which knew no lives are accounted for: `known` ones were replaced; `deleted` ones were deletions of what the
    /// store never had, or has forgotten.
    pub fn account_for(&self, node: &NodeName, known: &TickSet, deleted: &TickSet) -> Result<(), WriteError> {
        let shared = self.shared();
        shared.admit(None)?;
        self.go_above(node, known.last().max(deleted.last()).unwrap_or_default());
        let mut guard = shared.write()?;
        let held = &mut *guard;
        held.record.clear();
        held.replica.account_for(node.clone(), known, deleted, &mut held.record);
        shared.tell_all(guard, std::iter::empty());
        Ok(())
    }

    /// If that node is this one: its next event gets a number above `tick`, which another event of its name may have.
    pub fn go_above(&self, node: &NodeName, tick: Tick) {
        self.shared().go_above(node, tick);
    }
}

impl Shared {
    fn go_above(&self, node: &NodeName, tick: Tick) {
        if *node != self.options.node {
            return;
        }
        let mut guard = self.held.write();
        let held = &mut *guard;
        held.record.clear();
        held.replica.go_above(tick, &mut held.record);
        if !held.record.is_empty() {
            // It stands in for one that is not synced yet: no tick above the old ceiling is used before this one is.
            held.raising = Some(self.journal.append(Kind::Replica, &held.record));
            self.journal.sync_soon();
        }
        self.let_go(guard);
    }

    /// Takes in the next of these events, as many as go together.
    fn import(&self, events: &mut std::vec::IntoIter<Foreign>) -> Result<Imported, WriteError> {
        let next = || events.as_slice().iter().take(EVENTS);
        for event in next() {
            self.admit(event.value.as_ref())?;
        }
        let own = &self.options.node;
        let ticks = next().filter(|event| event.node == *own).map(|event| event.tick);
        self.go_above(own, ticks.max().unwrap_or_default());
        let now = clock::wall_ms();
        // Each may bring a conflict record with it, which is an event.
        let mut guard = self.write_many(EVENTS as u64)?;
        let held = &mut *guard;
        held.record.clear();
        let mut made: Vec<(Path, Change)> = Vec::new();
        let mut imported = Imported::default();
        let mut refused = None;
        for event in events.take(EVENTS) {
            let path = event.path.clone();
            match held.replica.import(event, now, &mut held.record) {
                Ok(merged) => {
                    imported.count(&merged);
                    made.extend(merged.change.map(|change| (path, change)));
                    made.extend(merged.conflict);
                }
                Err(error) => {
                    refused = Some(error);
                    break;
                }
            }
            if held.record.len() >= RECORD {
                break;
            }
        }
        let changes = made.iter();
        let made = changes.map(|(path, change)| Made { path: path.as_path(), change: change.clone() });
        self.tell_all(guard, made);
        match refused {
            None => Ok(imported),
            Some(MergeError::NoRecord(error)) => Err(error.into()),
            // Only if this life had drawn the number that stands for none.
            Some(MergeError::NotMine(_)) => Err(WriteError::ClockExhausted),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meta::Meta;
    use crate::store::{Durability, Options};
    use crate::ticks::Tock;
    use crate::value::Value;
    use crate::view::Who;

    fn foreign(path: &str, value: &Value, tick: u64) -> Foreign {
        Foreign {
            path: path.parse().unwrap(),
            value: Some(value.clone()),
            meta: Meta::default(),
            tock: Tock::new(tick).unwrap(),
            node: NodeName::new("old").unwrap(),
            tick: Tick(tick),
            chain: Vec::new(),
        }
    }

    fn store() -> Store {
        let options = Options { durability: Durability::Memory, ..Options::new(NodeName::new("a").unwrap()) };
        Store::open("/nowhere".as_ref(), options, &mut |_| ()).unwrap().0
    }

    #[test]
    fn any_number_of_events_is_taken_in_each_once() {
        let store = store();
        let one = Value::string("1");
        let events: Vec<Foreign> =
            (1..=3000).map(|tick| foreign(&format!("a.x{}", tick % 2000), &one, tick)).collect();
        let imported = store.import(events.clone()).unwrap();
        assert_eq!(imported, Imported { taken: 3000, known: 0, past: 0, conflicts: 0 });
        assert_eq!(store.import(events).unwrap().known, 3000);
        assert_eq!(store.counts().values, 2000);
    }

    #[test]
    fn large_values_that_lose_are_kept_whatever_their_number() {
        let store = store();
        let view = store.view(Who::system());
        let large = Value::string(&"x".repeat(20 << 20));
        for number in 0..20 {
            let path: Path = format!("a.x{number}").parse().unwrap();
            view.set(path.as_path(), large.clone(), Meta::default(), None).unwrap();
        }
        let above = store.tock().get() + 1;
        let small = Value::string("small");
        let events = (0..20).map(|number| foreign(&format!("a.x{number}"), &small, above + number));
        let imported = store.import(events.collect()).unwrap();
        assert_eq!((imported.taken, imported.conflicts), (20, 20));
        assert_eq!(store.counts().internal, 20);
    }
}
