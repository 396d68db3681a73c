//! The replica's part of a snapshot: everything as records, in slices; and the tombstones which may go after it.

use std::sync::Arc;

use super::{Replica, record};
use crate::chain::{Dot, Origin};
use crate::path::{Path, PathRef, Pattern};
use crate::ticks::TickSet;
use crate::tree::{Entry, Progress, Scan};

/// An export under way. It stands between two paths and holds no lock.
#[derive(Debug)]
pub struct Export {
    scan: Scan,
    tombstones: Tombstones,
}

/// Tombstones which a snapshot holds, with the events they were at the time.
#[derive(Debug, Default)]
pub struct Tombstones(Vec<(Path, Dot)>);

impl Export {
    /// The tombstones that were exported: to be purged once the snapshot is safe.
    pub fn into_tombstones(self) -> Tombstones {
        self.tombstones
    }
}

impl Tombstones {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Replica {
    /// Begins an export: hands the bookkeeping to `sink`, a record at a time.
    ///
    /// To be called when a new segment of the journal has begun, under the same lock: what the bookkeeping says is seen must be in
    /// the entries which the export will find, or in later records of the journal that can't be lost without the snapshot. That holds for all
    /// that is seen before this call, and for nothing that is seen after it.
    pub fn begin_export(&self, sink: &mut dyn FnMut(&[u8])) -> Export {
        let mut out = Vec::new();
        record::clock(&mut out, self.tock);
        record::forgotten(&mut out, self.forgotten.ranges());
        for (node, ceiling) in &self.ceilings {
            record::ceiling(&mut out, node, *ceiling);
        }
        sink(&out);
        for account in self.ledger.accounts() {
            out.clear();
            record::whole_account(&mut out, account);
            sink(&out);
        }
        let mut everything = Pattern::new();
        // One element of a pattern can't exceed the limits of a path.
        let _ = everything.push_many();
        everything.tail_may_be_empty();
        Export { scan: Scan::new(everything), tombstones: Tombstones::default() }
    }

    /// Goes on with an export: hands the next entries to `sink`, a record at a time; at most `entries` of them, and no more after `bytes`
    /// bytes. Entries may change between the calls.
    pub fn export(
        &self,
        export: &mut Export,
        entries: usize,
        bytes: usize,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Progress {
        let mut out = Vec::new();
        let mut left = bytes;
        let Export { scan, tombstones } = export;
        self.tree.scan(scan, entries, |path, entry| {
            out.clear();
            record::event(&mut out, path, entry);
            sink(&out);
            if entry.is_tombstone() {
                tombstones.0.push((path.to_path(), entry.version.dot().clone()));
            }
            left = left.saturating_sub(out.len());
            left > 0
        })
    }

    /// Drops up to `max` of the tombstones of an export, if they are still what they were, and puts that on record. `Done`
    /// if none is left; `record` stays empty where there is nothing to say.
    ///
    /// To be called when the snapshot and its name are synced and the segments before it are gone, so that no older record of these paths
    /// can come back; and only by a node that has no other members to wait for.
    pub fn purge(&mut self, tombstones: &mut Tombstones, max: usize, record: &mut Vec<u8>) -> Progress {
        let mut purged: Vec<(Origin, TickSet)> = Vec::new();
        let mut forgets = false;
        for _ in 0..max {
            let Some((path, dot)) = tombstones.0.pop() else { break };
            let Some(dropped) = self.drop_tombstone(path.as_path(), &dot) else { continue };
            self.ledger.purge(&dot);
            // When a value has expired nobody knows any more: at some time until now.
            let now = self.tock.next().unwrap_or(self.tock);
            let known_from = if dropped.meta.expiry().is_some() { now } else { dropped.version.tock() };
            forgets |= self.forgotten.below(known_from);
            match purged.iter_mut().find(|(origin, _)| *origin == dot.origin) {
                Some((_, ticks)) => {
                    ticks.insert(dot.tick);
                }
                None => purged.push((dot.origin, TickSet::from_iter([dot.tick]))),
            }
        }
        for (origin, ticks) in &purged {
            record::account(record, origin, &TickSet::new(), ticks);
        }
        if forgets {
            record::forgotten(record, self.forgotten.ranges());
        }
        if tombstones.is_empty() { Progress::Done } else { Progress::More }
    }

    fn drop_tombstone(&mut self, path: PathRef<'_>, dot: &Dot) -> Option<Arc<Entry>> {
        let same = |held: &Entry| held.is_tombstone() && held.version.dot() == dot;
        let drop = self.tree.get(path).is_some_and(|held| same(held));
        if drop { self.tree.remove(path) } else { None }
    }
}
