//! Views: the one door to a store. What somebody may see and do is decided here; for now everybody may do everything.

mod batch;
mod condition;
mod read;
mod since;
mod state;
mod walk;

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::chain::Dot;
use crate::clock;
use crate::feed::{Carrier, Queue, WatchEvent};
use crate::journal::{JournalFailed, Lsn};
use crate::meta::Meta;
use crate::path::{Element, Path, PathRef, Pattern};
use crate::replica;
use crate::store::{Shared, Store};
use crate::ticks::Tock;
use crate::tree::{Entry, Progress, Scan};
use crate::value::Value;

pub use batch::{BYTES_MAX as BATCH_BYTES_MAX, BatchError, WRITES_MAX as BATCH_WRITES_MAX, Write};
pub use condition::{Condition, Terms, Unmet};
pub use read::{Child, Finder, Found};
pub use since::CHANGES_MAX as CHANGES_SINCE_MAX;
pub use state::{NodeState, Survey};
pub use walk::{Step, Walk, WalkOptions};

use since::Resume;

/// How many keys a slice looks at, at most: so long it may hold the replica's lock.
const LOOKS: usize = 1024;

/// The first element, besides null, of internal data.
const INTERNAL: &str = ".distkv";

/// Whom a view is for.
#[derive(Clone, Debug, Default)]
pub struct Who {
    user: Option<Arc<str>>,
}

impl Who {
    /// A user; `None` for an anonymous one.
    pub fn user(name: Option<Arc<str>>) -> Self {
        Self { user: name }
    }

    /// The program itself: jobs, imports, the command line.
    pub fn system() -> Self {
        Self::default()
    }

    /// The user's name.
    pub fn name(&self) -> Option<&Arc<str>> {
        self.user.as_ref()
    }
}

/// What one user sees of a store, and may do there. Clones are cheap.
#[derive(Clone)]
pub struct View {
    store: Store,
    who: Who,
}

/// A write that was taken.
#[derive(Clone, Debug)]
pub struct Committed {
    /// The entry which it made; `None` if nothing has changed: there was nothing to delete, or the value was there already.
    pub entry: Option<Arc<Entry>>,
    /// The entry as it was; it may be a tombstone, or have a value that has expired.
    pub previous: Option<Arc<Entry>>,
    /// It is kept when this place of the journal is settled.
    pub lsn: Lsn,
}

impl Committed {
    /// The entry as it is now, be it unchanged.
    pub fn now(&self) -> Option<&Arc<Entry>> {
        self.entry.as_ref().or(self.previous.as_ref())
    }

    /// The value that was there before, if there was one which had not expired.
    pub fn previous_value(&self) -> Option<&Value> {
        self.previous.as_ref().filter(|entry| has_value(entry)).and_then(|entry| entry.value.as_ref())
    }
}

/// Why a write was not taken. Nothing has changed, and nobody was told.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The journal has failed: nothing can be kept any more.
    #[error(transparent)]
    Unavailable(#[from] JournalFailed),
    /// The disk is full. Writes are taken again when there is space.
    #[error("the disk is full: free some space, writes are taken again by themselves")]
    DiskFull,
    /// Much more is written, by those who do not wait for their acknowledgements, than the disk takes.
    #[error("more is written than the disk takes: write again later, and wait for acknowledgements")]
    Overloaded,
    /// The value is larger than the store takes.
    #[error("the value has {bytes} bytes, and {limit} are the limit")]
    TooLarge {
        /// Its length.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// A condition does not hold.
    #[error("the entry has changed: read it again, and write anew")]
    Conflict {
        /// Which.
        unmet: Unmet,
        /// The event that the entry has now; `None` if it has no value.
        now: Option<Dot>,
    },
    /// The store holds as many entries as it may ([`Quota`](crate::store::Quota)), and this would be a new one.
    #[error("there are {limit} entries, which is the limit: delete some first")]
    TooManyEntries {
        /// The limit.
        limit: u64,
    },
    /// The store holds as much as it may, and this would add to it.
    #[error("all entries together have {limit} bytes as their limit: delete some first")]
    TooManyBytes {
        /// The limit.
        limit: u64,
    },
    /// No event can be made.
    #[error("no event can be made any more: the cluster's clock has reached its limit of 2^62")]
    ClockExhausted,
}

impl From<replica::WriteError> for WriteError {
    fn from(error: replica::WriteError) -> Self {
        match error {
            replica::WriteError::ClockExhausted => Self::ClockExhausted,
        }
    }
}

impl View {
    pub(crate) fn new(store: Store, who: Who) -> Self {
        Self { store, who }
    }

    /// Whose view this is.
    pub fn who(&self) -> &Who {
        &self.who
    }

    /// The entry at `path`, if it has a value which has not expired.
    pub fn get(&self, path: PathRef<'_>) -> Option<Arc<Entry>> {
        let entry = self.shared().read().replica.get(path).cloned()?;
        has_value(&entry).then_some(entry)
    }

    /// Writes a value. Time and user of `meta` are set here.
    pub fn set(
        &self,
        path: PathRef<'_>,
        value: Value,
        meta: Meta,
        carrier: Option<Carrier<'_>>,
    ) -> Result<Committed, WriteError> {
        self.shared().commit(path, Some(value), self.stamp(meta), Terms::default(), carrier)
    }

    /// Writes a value, or deletes it with `None`, if `condition` holds; otherwise [`WriteError::Conflict`] tells what is there.
    pub fn write_if(
        &self,
        path: PathRef<'_>,
        condition: Condition<'_>,
        value: Option<Value>,
        meta: Meta,
        carrier: Option<Carrier<'_>>,
    ) -> Result<Committed, WriteError> {
        let terms = Terms { conditions: &[condition], idempotent: false };
        self.shared().commit(path, value, self.stamp(meta), terms, carrier)
    }

    /// Writes a value, or deletes it with `None`, on such terms. A condition that does not hold is a [`WriteError::Conflict`].
    pub fn write(&self, write: Write<'_>, carrier: Option<Carrier<'_>>) -> Result<Committed, WriteError> {
        let Write { path, value, meta, terms } = write;
        self.shared().commit(path, value, self.stamp(meta), terms, carrier)
    }

    /// Deletes the value at `path`. Where there is none nothing happens, but the carrier is called all the same.
    pub fn delete(
        &self,
        path: PathRef<'_>,
        meta: Meta,
        carrier: Option<Carrier<'_>>,
    ) -> Result<Committed, WriteError> {
        self.shared().commit(path, None, self.stamp(meta), Terms::default(), carrier)
    }

    /// Begins to read all entries which match. Internal data is left out unless the pattern begins with it.
    pub fn cursor(&self, pattern: Pattern) -> Cursor {
        Cursor { scan: Scan::new(without_internal(pattern)), batch: Batch::default() }
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
        let Cursor { scan, batch } = cursor;
        let held = shared.read();
        let progress = batch.collect(&held.replica, scan, entries, bytes);
        if batch.items.is_empty() {
            return progress;
        }
        let feed = shared.feed.lock();
        drop(held);
        for (key, entry) in &batch.items {
            sink(PathRef::known(&batch.keys[key.clone()]), entry);
        }
        drop(feed);
        batch.clear();
        progress
    }

    /// Watches all entries which match: first those that are there (if `options` ask for them), then every change, with no gap
    /// and nothing twice between, and never an older value after a newer one.
    pub fn watch(&self, pattern: Pattern, options: WatchOptions) -> Watch {
        let pattern = if options.programs { without_null(pattern) } else { without_internal(pattern) };
        let scan = (options.existing || options.since.is_some()).then(|| Scan::new(pattern.clone()));
        let queue = Arc::new(Queue::new(pattern, options.events.max(2), options.bytes, scan));
        let shared = self.shared();
        // Under the replica's lock as well: a change that is made but not yet told lies before the watch's beginning.
        let held = shared.read();
        shared.feed.lock().watch(Arc::clone(&queue));
        drop(held);
        let resume = options.since.map(|since| Resume::new(since, options.bytes));
        Watch { view: self.clone(), queue, resume, ready: VecDeque::new() }
    }

    fn stamp(&self, meta: Meta) -> Meta {
        meta.with_time(clock::wall_ms()).with_user(self.who.user.clone())
    }

    fn shared(&self) -> &Shared {
        self.store.shared()
    }
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View").field("who", &self.who).finish_non_exhaustive()
    }
}

pub(crate) fn has_value(entry: &Entry) -> bool {
    match entry.meta.expiry() {
        None => !entry.is_tombstone(),
        Some(_) => entry.value_at(clock::wall_ms()).is_some(),
    }
}

/// Hides internal data, unless the pattern begins with it.
fn without_internal(mut pattern: Pattern) -> Pattern {
    hide(&mut pattern, Element::str(INTERNAL));
    without_null(pattern)
}

/// Hides what lies below null, unless the pattern begins with it.
fn without_null(mut pattern: Pattern) -> Pattern {
    hide(&mut pattern, Element::Null);
    pattern
}

fn hide(pattern: &mut Pattern, first: Element<'_>) {
    // One short element is within all limits.
    if let Ok(path) = Path::from_elements([first])
        && !pattern.start().starts_with(path.as_bytes())
    {
        pattern.hide(path.as_path());
    }
}

/// A reading of many entries under way. It holds a place, no entries and no lock.
#[derive(Debug)]
pub struct Cursor {
    scan: Scan,
    batch: Batch,
}

impl Cursor {
    /// Whether it has come to its end.
    pub fn is_done(&self) -> bool {
        self.scan.is_done()
    }
}

/// What one slice has found. Between slices it is empty; its memory is used again.
#[derive(Debug, Default)]
struct Batch {
    keys: Vec<u8>,
    items: Vec<(Range<usize>, Arc<Entry>)>,
}

impl Batch {
    fn collect(
        &mut self,
        replica: &replica::Replica,
        scan: &mut Scan,
        entries: usize,
        bytes: usize,
    ) -> Progress {
        let mut left = bytes;
        replica.scan(scan, LOOKS, |path, entry| {
            if has_value(entry) {
                let start = self.keys.len();
                self.keys.extend_from_slice(path.as_bytes());
                self.items.push((start..self.keys.len(), Arc::clone(entry)));
                let size = entry.value.as_ref().map_or(0, |value| value.as_bytes().len());
                left = left.saturating_sub(path.as_bytes().len() + size);
            }
            left > 0 && self.items.len() < entries
        })
    }

    fn clear(&mut self) {
        self.keys.clear();
        self.items.clear();
    }
}

/// How a watch works.
#[derive(Clone, Copy, Debug)]
pub struct WatchOptions {
    /// First tell what is there.
    pub existing: bool,
    /// First tell what has changed since this tock: see [`WatchEvent::TooOld`] and [`WatchEvent::Complete`].
    pub since: Option<Tock>,
    /// See also what programs keep for themselves below `.distkv`, which else is seen only by a pattern that begins with it.
    pub programs: bool,
    /// How many events may wait. One more change, and the watch ends with [`WatchEvent::Lagged`].
    pub events: usize,
    /// How many bytes they may have (paths and values). A single event may have more.
    pub bytes: usize,
}

impl Default for WatchOptions {
    fn default() -> Self {
        Self { existing: true, since: None, programs: false, events: 1024, bytes: 16 << 20 }
    }
}

/// A watch. Dropping it ends it.
pub struct Watch {
    view: View,
    queue: Arc<Queue>,
    /// What is gathered for going on from a tock, until it is complete.
    resume: Option<Resume>,
    /// What was gathered: it goes before the queue.
    ready: VecDeque<WatchEvent>,
}

impl Watch {
    /// The next event; `None` after [`WatchEvent::Lagged`] or when the store was closed. While it is pending, `cx` is woken when there is one.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<WatchEvent>> {
        if !self.resume() {
            // Others have their turn before the next look.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if let Some(event) = self.ready.pop_front() {
            return Poll::Ready(Some(event));
        }
        loop {
            // What waits is older than what a slice would find.
            if let Some((mut scan, room, bytes)) = self.queue.next_slice() {
                self.slice(&mut scan, room, bytes);
                if !scan.is_done() && self.queue.next_slice().is_some() {
                    // Nothing found so far: others have their turn before the next look.
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                continue;
            }
            return self.queue.poll_next(cx);
        }
    }

    fn slice(&self, scan: &mut Scan, room: usize, bytes: usize) {
        let shared = self.view.shared();
        let mut batch = Batch::default();
        let held = shared.read();
        batch.collect(&held.replica, scan, room, bytes);
        let tock = held.replica.tock();
        let feed = shared.feed.lock();
        drop(held);
        let Batch { keys, items } = batch;
        let found = items
            .into_iter()
            .map(|(key, entry)| WatchEvent::Existing { path: PathRef::known(&keys[key]).to_path(), entry });
        self.queue.sliced(scan.clone(), found, tock);
        drop(feed);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.view.shared().feed.lock().unwatch(&self.queue);
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}
