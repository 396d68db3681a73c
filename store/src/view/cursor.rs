//! Reading many entries, a slice at a time.

use std::ops::Range;
use std::sync::Arc;

use super::guard::{Guard, Listed, Sight};
use super::{LOOKS, View, has_value, without_internal};
use crate::path::{PathRef, Pattern};
use crate::replica;
use crate::tree::{Advance, Entry, Progress, Scan};

impl View {
    /// Begins to read all entries which match. Internal data is left out unless the pattern begins with it.
    ///
    /// What the user may not read is left out. If the pattern has a wildcard, he must have the right to list where the first one stands, or there is
    /// nothing to be found ([`View::check_list`] says so).
    pub fn cursor(&self, pattern: Pattern) -> Cursor {
        let (pattern, listed) = self.pattern(without_internal(pattern));
        Cursor { scan: Scan::new(pattern), batch: Batch::default(), listed }
    }

    /// Goes on with a cursor: hands entries with a value to `sink`, at most `entries` of them, and no more after about `bytes`
    /// bytes.
    ///
    /// `sink` is called at a point of the feed's order: a change of the same entry is either in what it gets, or will be told after
    /// it. So it must not block or use the store, as observers. A slice looks at a limited number of entries; it may be
    /// empty and still answer [`Progress::More`].
    pub fn slice(
        &self,
        cursor: &mut Cursor,
        entries: usize,
        bytes: usize,
        sink: &mut dyn FnMut(PathRef<'_>, &Arc<Entry>),
    ) -> Progress {
        let shared = self.shared();
        let Cursor { scan, batch, listed } = cursor;
        let limits = self.guard.as_deref().map(|guard| (guard, listed.as_ref()));
        let held = shared.read();
        let progress = batch.collect(&held.replica, scan, entries, bytes, limits);
        if batch.items.is_empty() {
            return progress;
        }
        let feed = shared.feed.lock();
        drop(held);
        for (key, entry) in &batch.items {
            let place = PathRef::known(&batch.keys[key.clone()]);
            match &self.guard {
                None => sink(place, entry),
                Some(guard) => drop(guard.with_name(place, |path| sink(path, entry))),
            }
        }
        drop(feed);
        batch.clear();
        progress
    }
}

/// A reading of many entries under way. It holds a place, no entries and no lock.
#[derive(Debug)]
pub struct Cursor {
    pub(super) scan: Scan,
    batch: Batch,
    pub(super) listed: Option<Listed>,
}

impl Cursor {
    /// As a tree is walked: every level from the first wildcard on must be open to listing. What lies below one that is not is left out.
    #[must_use]
    pub fn by_level(mut self) -> Self {
        if let Some(listed) = &mut self.listed {
            listed.by_level();
        }
        self
    }

    /// Whether it has come to its end.
    pub fn is_done(&self) -> bool {
        self.scan.is_done()
    }
}

/// What one slice has found. Between slices it is empty; its memory is used again.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) keys: Vec<u8>,
    pub(super) items: Vec<(Range<usize>, Arc<Entry>)>,
}

impl Batch {
    /// Goes on with a scan, to at most so many entries and about so many bytes.
    pub(super) fn collect(
        &mut self,
        replica: &replica::Replica,
        scan: &mut Scan,
        entries: usize,
        bytes: usize,
        limits: Option<(&Guard, Option<&Listed>)>,
    ) -> Progress {
        if limits.is_some_and(|(guard, listed)| !guard.may_list(listed)) {
            scan.end();
            return Progress::Done;
        }
        let mut left = bytes;
        replica.tree().walk(scan, LOOKS, |path, entry| {
            let sight = limits.map_or(Sight::Shown, |(guard, listed)| guard.sight(path, listed));
            if let Sight::HiddenBelow(elements) = sight {
                return Advance::Past(elements);
            }
            if sight == Sight::Shown && has_value(entry) {
                let start = self.keys.len();
                self.keys.extend_from_slice(path.as_bytes());
                self.items.push((start..self.keys.len(), Arc::clone(entry)));
                let size = entry.value.as_ref().map_or(0, |value| value.as_bytes().len());
                left = left.saturating_sub(path.as_bytes().len() + size);
            }
            if left > 0 && self.items.len() < entries { Advance::On } else { Advance::Stop }
        })
    }

    fn clear(&mut self) {
        self.keys.clear();
        self.items.clear();
    }
}
