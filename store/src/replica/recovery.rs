//! From records back to a replica: a snapshot's first, then the journal's from where the snapshot began.
//!
//! Records may come again, and older ones after the snapshot has taken in what followed them: each event is merged, so what
//! counts is the greatest, not the last. Tombstones that were purged are swept out at the end, when nothing older can follow.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::record::{self, Item, RecordError};
use super::since::Forgotten;
use super::{Config, Meeting, Replica};
use crate::chain;
use crate::ledger::Ledger;
use crate::meta::Users;
use crate::path::PathRef;
use crate::ticks::{Lease, Life, NodeName, Tick, Tock};
use crate::tree::{Counts, Entry, Tree};

/// A replica on its way back. It begins empty; [`start`](Self::start) turns it into a [`Replica`].
#[derive(Debug, Default)]
pub struct Recovery {
    tree: Tree,
    ledger: Ledger,
    users: Users,
    tock: Tock,
    /// By node: a directory may have been used under several names.
    ceilings: BTreeMap<NodeName, Tick>,
    /// `None`: the records are by a program that did not note it.
    forgotten: Option<Forgotten>,
}

impl Recovery {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in one record.
    ///
    /// # Errors
    /// If the record can't be read, nothing of it has been taken in.
    pub fn apply(&mut self, record: &[u8]) -> Result<(), RecordError> {
        let mut entries = Vec::new();
        let items = record::read(record)?;
        for item in &items {
            match item {
                Item::Event(event) => {
                    entries.push((event.path, event.entry(&mut self.ledger, &mut self.users)?));
                }
                Item::Ceiling { node, .. } => drop(NodeName::new(node)?),
                Item::Life { origin } | Item::Account { origin, .. } => drop(origin.share(&mut self.ledger)?),
                Item::Clock(_) | Item::Forgotten(_) => {}
            }
        }
        for (path, entry) in entries {
            self.event(path, entry);
        }
        for item in &items {
            match item {
                Item::Event(_) => {}
                Item::Ceiling { node, tick } => self.ceiling(&NodeName::new(node)?, *tick),
                Item::Life { origin } => {
                    let node = origin.share(&mut self.ledger)?.origin.node().clone();
                    self.ceiling(&node, origin.tick);
                }
                Item::Account { origin, seen, purged } => {
                    let origin = origin.share(&mut self.ledger)?.origin;
                    self.ledger.take_over(&origin, seen, purged);
                }
                Item::Clock(tock) => self.tock = self.tock.max(*tock),
                Item::Forgotten(tocks) => {
                    self.forgotten.get_or_insert_default().union(tocks);
                }
            }
        }
        Ok(())
    }

    /// How much there is so far.
    pub fn counts(&self) -> Counts {
        self.tree.counts()
    }

    /// What there is so far: for reading without a running node.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Whether any record was taken in that a running node leaves.
    pub fn is_empty(&self) -> bool {
        self.ceilings.is_empty() && self.tree.counts() == Counts::default()
    }

    /// Drops the tombstones which were purged. Only when the last record has been taken in: an older one may bring a tombstone
    /// back for a while.
    pub fn sweep(&mut self) {
        if self.ledger.any_purged() {
            let ledger = &self.ledger;
            self.tree.drop_tombstones(|entry| ledger.is_purged(entry.version.dot()));
        }
    }

    /// Begins a new life of the node, above every tick that an earlier one may have used.
    ///
    /// `life` must be freshly drawn at random. `record` gets what must go on record before anything else does.
    pub fn start(mut self, config: Config, life: Life, record: &mut Vec<u8>) -> Replica {
        self.sweep();
        let used = self.ledger.last_tick(&config.node).unwrap_or_default();
        let above = self.ceilings.get(&config.node).copied().unwrap_or_default().max(used);
        let mut lease = Lease::above(above);
        let own = self.ledger.own(config.node.clone(), life);
        record::life(record, &own, above);
        if let Some(ceiling) = lease.renewal() {
            record::ceiling(record, &config.node, ceiling);
            lease.renewed(ceiling);
        }
        self.ceilings.insert(config.node, lease.ceiling());
        let forgotten = self.begin_clock(above.0 - used.0);
        record::clock(record, self.tock);
        record::forgotten(record, forgotten.ranges());
        Replica {
            tree: self.tree,
            ledger: self.ledger,
            users: self.users,
            own,
            lease,
            tock: self.tock,
            forgotten,
            ceilings: self.ceilings,
            chain_length: config.chain_length,
        }
    }

    /// For a replica of which nothing is kept: its clock begins at `tock`, and changes since what an earlier one has told can't be told.
    pub fn begin_at(&mut self, tock: Tock) {
        self.tock = self.tock.max(tock);
        self.forgotten.get_or_insert_default().below(self.tock);
    }

    /// Sets the clock above all that the life before can have told, of which up to `lost` events may not be on record.
    fn begin_clock(&mut self, lost: u64) -> Forgotten {
        let recovered = self.tock;
        if lost > 0 {
            // Where the numbers are at their end nothing will be written any more.
            self.tock = Tock::new(recovered.get() + lost + 1).unwrap_or(recovered);
        }
        let mut forgotten = self.forgotten.take().unwrap_or_else(|| {
            let mut forgotten = Forgotten::default();
            if self.ledger.any_purged() {
                forgotten.below(self.tock);
            }
            forgotten
        });
        forgotten.between(recovered, self.tock);
        forgotten
    }

    fn ceiling(&mut self, node: &NodeName, tick: Tick) {
        let known = self.ceilings.entry(node.clone()).or_default();
        *known = tick.max(*known);
    }

    /// Merges without making conflict records: those were written in the same record as the event which made them.
    fn event(&mut self, path: PathRef<'_>, event: Entry) {
        self.ledger.see(event.version.dot());
        self.tock = self.tock.max(event.version.tock());
        let ledger = &self.ledger;
        self.tree.update(path, |held| {
            // A purged tombstone was not there any more when the event came.
            let held = held.filter(|held| !(held.is_tombstone() && ledger.is_purged(held.version.dot())));
            let Some(held) = held else { return Arc::new(event) };
            match Meeting::of(held, event, chain::MAX_LENGTH) {
                Meeting::Head(entry) | Meeting::Noted(entry) => Arc::new(entry),
                Meeting::Nothing => held.clone(),
            }
        });
    }
}
