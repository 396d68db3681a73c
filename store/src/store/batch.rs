//! Commits of several writes: under one lock, in one record of the journal, told one after another.

use std::sync::Arc;

use super::{Change, Held, Shared};
use crate::feed::Carrier;
use crate::journal::{Kind, Lsn, PAYLOAD_MAX};
use crate::meta::Meta;
use crate::path::{Path, PathRef};
use crate::replica;
use crate::ticks::{LEASE, Tock};
use crate::tree::{Progress, Scan};
use crate::view::{
    BATCH_BYTES_MAX, BATCH_WRITES_MAX, BatchError, Committed, Gate, Write, WriteError, has_value,
};

/// How many keys are looked at for entries to delete, in one go.
const LOOKS: usize = 4096;

/// How long an event's record is at most, beside what counts for a batch's length: a chain of 256 members with the longest names.
const EVENT_MAX: usize = 32 << 10;

/// How much memory the buffer for records keeps after a large one.
const RECORD_KEPT: usize = 1 << 20;

// The record of a batch must fit into the journal, and its ticks into what is leased ahead.
const _: () = assert!(BATCH_BYTES_MAX + BATCH_WRITES_MAX * EVENT_MAX < PAYLOAD_MAX);
const _: () = assert!((BATCH_WRITES_MAX as u64) < LEASE / 4);

/// One change of a batch, made but not told yet.
pub(super) struct Made<'a> {
    pub(super) path: PathRef<'a>,
    pub(super) change: replica::Change,
}

impl Shared {
    /// Takes all of the writes or none. No path is written twice, and there are at most [`BATCH_WRITES_MAX`].
    /// Those of `gates` that are there are asked whether what is there may be written.
    pub(crate) fn commit_batch(
        &self,
        writes: Vec<Write<'_>>,
        gates: &[Option<Gate>],
    ) -> Result<Vec<Committed>, BatchError> {
        let refused = |at: usize| move |error: WriteError| BatchError::Write { at, error };
        for (at, write) in writes.iter().enumerate() {
            self.admit(write.value.as_ref()).map_err(refused(at))?;
        }
        let count = writes.len() as u64;
        let mut guard = self.write_many(count).map_err(|failed| refused(0)(failed.into()))?;
        let held = &mut *guard;
        for (at, (write, gate)) in writes.iter().zip(gates).enumerate() {
            if let Some(gate) = gate {
                gate.check(&held.replica, write.path).map_err(|denied| refused(at)(denied.into()))?;
            }
        }
        let mut wanted = Vec::with_capacity(writes.len());
        for (at, write) in writes.iter().enumerate() {
            let entry = held.replica.get(write.path);
            wanted.push(write.terms.check(entry, write.value.as_ref()).map_err(refused(at))?);
        }
        let adding = || writes.iter().map(|write| (write.path, write.value.as_ref()));
        self.quota.admit_all(&held.replica, adding()).map_err(|(at, error)| refused(at)(error))?;
        if Tock::new(held.replica.tock().get().saturating_add(count)).is_none() {
            return Err(refused(0)(WriteError::ClockExhausted));
        }
        held.record.clear();
        let mut made: Vec<Made<'_>> = Vec::with_capacity(writes.len());
        let mut answers = Vec::with_capacity(writes.len());
        for ((at, write), wanted) in writes.into_iter().enumerate().zip(wanted) {
            let Write { path, value, meta, .. } = write;
            let previous = held.replica.get(path).cloned();
            let change = match value {
                _ if !wanted => Ok(None),
                Some(value) => held.replica.set(path, value, meta, &mut held.record).map(Some),
                None => held.replica.delete(path, meta, &mut held.record),
            };
            // The clock was looked at before: none of them can fail.
            let change = change.map_err(|error| refused(at)(error.into()))?;
            let entry = change.as_ref().map(|change| Arc::clone(&change.entry));
            answers.push(Committed { entry, previous, lsn: Lsn::default() });
            made.extend(change.map(|change| Made { path, change }));
        }
        let lsn = self.tell_all(guard, made.into_iter());
        answers.iter_mut().for_each(|answer| answer.lsn = lsn);
        Ok(answers)
    }

    /// Deletes the next entries of a scan which `spare` does not hold back: at most `max`, in one commit.
    pub(crate) fn delete_some(
        &self,
        scan: &mut Scan,
        max: usize,
        meta: &Meta,
        spare: &dyn Fn(PathRef<'_>) -> bool,
        deleted: &mut dyn FnMut(PathRef<'_>, &Committed),
    ) -> Result<Progress, WriteError> {
        self.admit(None)?;
        let mut guard = self.write_many(max as u64)?;
        let held = &mut *guard;
        if Tock::new(held.replica.tock().get().saturating_add(max as u64)).is_none() {
            return Err(WriteError::ClockExhausted);
        }
        let mut paths: Vec<Path> = Vec::new();
        let progress = held.replica.scan(scan, LOOKS, |path, entry| {
            if has_value(entry) && !spare(path) {
                paths.push(path.to_path());
            }
            paths.len() < max
        });
        held.record.clear();
        let mut made = Vec::with_capacity(paths.len());
        for path in &paths {
            let path = path.as_path();
            if let Some(change) = held.replica.delete(path, meta.clone(), &mut held.record)? {
                made.push(Made { path, change });
            }
        }
        let answers: Vec<(PathRef<'_>, replica::Change)> =
            made.iter().map(|made| (made.path, made.change.clone())).collect();
        let lsn = self.tell_all(guard, made.into_iter());
        for (path, change) in answers {
            let replica::Change { entry, previous } = change;
            deleted(path, &Committed { entry: Some(entry), previous, lsn });
        }
        Ok(progress)
    }

    /// Puts the record of what was made into the journal, lets the replica go and tells everybody.
    pub(super) fn tell_all<'a>(
        &self,
        mut guard: parking_lot::RwLockWriteGuard<'_, Held>,
        made: impl Iterator<Item = Made<'a>>,
    ) -> Lsn {
        let held = &mut *guard;
        if held.record.is_empty() {
            // What was found may not be settled yet, and the answer tells of it.
            let lsn = self.journal.end();
            self.let_go(guard);
            return lsn;
        }
        let lsn = self.journal.append(Kind::Replica, &held.record);
        held.record.shrink_to(RECORD_KEPT);
        held.watch_ceiling(lsn, &self.journal);
        let mut feed = self.feed.lock();
        self.let_go(guard);
        for Made { path, change } in made {
            let replica::Change { entry, previous } = &change;
            feed.tell(&Change { path, entry, previous: previous.as_ref(), lsn }, None::<Carrier<'_>>);
        }
        drop(feed);
        self.snapshots.grown(lsn);
        lsn
    }
}
