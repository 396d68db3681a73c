//! Views: the one door to a store. What somebody may see and do is decided here, and what he sees as the whole.

mod ask;
mod children;
mod guard;
mod root;
mod who;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::task::{Context, Poll};

pub use ask::Verdict;
pub use children::{Child, Children};
pub use who::Who;

pub(crate) use guard::Gate;

use crate::access::{Denied, OWN_DATA, Right};
use crate::chain::Dot;
use crate::clock;
use crate::feed::{Carrier, Queue, WatchEvent};
use crate::journal::{JournalFailed, Lsn};
use crate::meta::Meta;
use crate::path::{Element, Path, PathRef, Pattern};
use crate::replica;
use crate::store::{Shared, Store};
use crate::tree::{Entry, Progress, Scan, Step};
use crate::value::Value;
use guard::{Guard, Listed, Sight};

/// How many keys a slice looks at, at most: so long it may hold the replica's lock.
const LOOKS: usize = 1024;

/// After so many events which the user may not see, others have their turn.
const HIDDEN: usize = 256;

/// What one user sees of a store, and may do there. Clones are cheap.
///
/// Paths are as the user says them: relative to his root, and `[null]` is the internal data of that root. Each call holds to his rights
/// as they are at that moment; `docs/access.md` has the table. Who has no limits pays one comparison for all this.
#[derive(Clone)]
pub struct View {
    store: Store,
    who: Who,
    /// `None`: everything is allowed.
    guard: Option<Arc<Guard>>,
}

/// What must hold for a write to be taken. It is looked at in the moment of the write, so that of several writers with the same
/// condition one succeeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition<'a> {
    /// There is no value.
    New,
    /// There is a value, and this is its version.
    Version {
        /// The node that took its last write.
        node: &'a str,
        /// That node's number for it.
        tick: u64,
    },
}

impl Condition<'_> {
    pub(crate) fn check(&self, entry: Option<&Arc<Entry>>) -> Result<(), WriteError> {
        let now = entry.filter(|entry| has_value(entry)).map(|entry| entry.version.dot());
        let holds = match (self, now) {
            (Self::New, None) => true,
            (Self::Version { node, tick }, Some(dot)) => {
                dot.origin.node().as_str() == *node && dot.tick.0 == *tick
            }
            _ => false,
        };
        if holds { Ok(()) } else { Err(WriteError::Conflict { now: now.cloned() }) }
    }
}

/// A write that was taken.
#[derive(Clone, Debug)]
pub struct Committed {
    /// The entry which it made; `None` if there was nothing to delete and so nothing has changed.
    pub entry: Option<Arc<Entry>>,
    /// It is kept when this place of the journal is settled.
    pub lsn: Lsn,
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
    /// The condition does not hold.
    #[error("the entry has changed: read it again, and write anew")]
    Conflict {
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
    /// The user has no right to.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// Below the user's root the path would be longer than a path can be.
    #[error("the path is too long to lie below your root: use a shorter one")]
    NoPlace,
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
        let guard = Guard::new(store.access(), &who);
        Self { store, who, guard }
    }

    /// Whose view this is.
    pub fn who(&self) -> &Who {
        &self.who
    }

    /// The entry at `path`, if it has a value which has not expired. Whether there is one is told only to those who may read it.
    pub fn get(&self, path: PathRef<'_>) -> Result<Option<Arc<Entry>>, Denied> {
        let Some(guard) = &self.guard else { return Ok(self.look(path)) };
        let place = guard.enter(path, Right::Read)?;
        Ok(place.and_then(|place| self.look(place.as_path())))
    }

    /// Writes a value. Time and user of `meta` are set here.
    pub fn set(
        &self,
        path: PathRef<'_>,
        value: Value,
        meta: Meta,
        carrier: Option<Carrier<'_>>,
    ) -> Result<Committed, WriteError> {
        self.write(path, Some(value), meta, None, carrier)
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
        self.write(path, value, meta, Some(condition), carrier)
    }

    /// Deletes the value at `path`. Where there is none nothing happens, but the carrier is called all the same.
    pub fn delete(
        &self,
        path: PathRef<'_>,
        meta: Meta,
        carrier: Option<Carrier<'_>>,
    ) -> Result<Committed, WriteError> {
        self.write(path, None, meta, None, carrier)
    }

    fn write(
        &self,
        path: PathRef<'_>,
        value: Option<Value>,
        meta: Meta,
        condition: Option<Condition<'_>>,
        carrier: Option<Carrier<'_>>,
    ) -> Result<Committed, WriteError> {
        let meta = self.stamp(meta);
        let Some(guard) = &self.guard else {
            return self.shared().commit(path, value, meta, condition, None, carrier);
        };
        let (place, gate) = match value {
            Some(_) => guard.enter_to_write(path)?,
            None => (guard.enter(path, Right::Delete)?, None),
        };
        let place = place.ok_or(WriteError::NoPlace)?;
        self.shared().commit(place.as_path(), value, meta, condition, gate, carrier)
    }

    fn look(&self, place: PathRef<'_>) -> Option<Arc<Entry>> {
        let entry = self.shared().read().replica.get(place).cloned()?;
        has_value(&entry).then_some(entry)
    }

    /// Begins to read all entries which match. Internal data is left out unless the pattern begins with it.
    ///
    /// What the user may not read is left out. If the pattern has a wildcard, he must have the right to list where the first one stands, or there is
    /// nothing to be found ([`View::check_list`] says so).
    pub fn cursor(&self, pattern: Pattern) -> Cursor {
        let (pattern, listed) = self.pattern(pattern);
        Cursor { scan: Scan::new(pattern), batch: Batch::default(), listed }
    }

    /// The pattern in the store, and where it lists.
    fn pattern(&self, said: Pattern) -> (Pattern, Option<Listed>) {
        let said = without_internal(said);
        match &self.guard {
            None => (said, None),
            Some(guard) => {
                let listed = guard.listed(&said);
                (guard.pattern(said), listed)
            }
        }
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

    /// Watches all entries which match: first those that are there (if `options` ask for them), then every change, with no gap
    /// and nothing twice between, and never an older value after a newer one.
    ///
    /// What is told is looked at once more when it is handed out: whoever has lost the right to it by then does not get it. The right to
    /// list is asked for as by [`Cursor::by_level`].
    pub fn watch(&self, pattern: Pattern, options: WatchOptions) -> Watch {
        let (pattern, mut listed) = self.pattern(pattern);
        if let Some(listed) = &mut listed {
            listed.by_level();
        }
        let scan = options.existing.then(|| Scan::new(pattern.clone()));
        let queue = Arc::new(Queue::new(pattern, options.events.max(2), options.bytes, scan));
        let shared = self.shared();
        // Under the replica's lock as well: a change that is made but not yet told lies before the watch's beginning.
        let held = shared.read();
        shared.feed.lock().watch(Arc::clone(&queue));
        drop(held);
        Watch { view: self.clone(), queue, listed }
    }

    fn stamp(&self, meta: Meta) -> Meta {
        meta.with_time(clock::wall_ms()).with_user(self.who.name().cloned())
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

fn has_value(entry: &Entry) -> bool {
    match entry.meta.expiry() {
        None => !entry.is_tombstone(),
        Some(_) => entry.value_at(clock::wall_ms()).is_some(),
    }
}

/// Hides internal data, unless the pattern begins with it.
fn without_internal(mut pattern: Pattern) -> Pattern {
    for element in [Element::Null, Element::str(OWN_DATA)] {
        // One short element is within all limits.
        let Ok(path) = Path::from_elements([element]) else { continue };
        if !pattern.start().starts_with(path.as_bytes()) {
            pattern.hide(path.as_path());
        }
    }
    pattern
}

/// A reading of many entries under way. It holds a place, no entries and no lock.
#[derive(Debug)]
pub struct Cursor {
    scan: Scan,
    batch: Batch,
    listed: Option<Listed>,
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
                return Step::Past(elements);
            }
            if sight == Sight::Shown && has_value(entry) {
                let start = self.keys.len();
                self.keys.extend_from_slice(path.as_bytes());
                self.items.push((start..self.keys.len(), Arc::clone(entry)));
                let size = entry.value.as_ref().map_or(0, |value| value.as_bytes().len());
                left = left.saturating_sub(path.as_bytes().len() + size);
            }
            if left > 0 && self.items.len() < entries { Step::On } else { Step::Stop }
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
    /// How many events may wait. One more change, and the watch ends with [`WatchEvent::Lagged`].
    pub events: usize,
    /// How many bytes they may have (paths and values). A single event may have more.
    pub bytes: usize,
}

impl Default for WatchOptions {
    fn default() -> Self {
        Self { existing: true, events: 1024, bytes: 16 << 20 }
    }
}

/// A watch. Dropping it ends it.
pub struct Watch {
    view: View,
    queue: Arc<Queue>,
    listed: Option<Listed>,
}

impl Watch {
    /// The next event; `None` after [`WatchEvent::Lagged`] or when the store was closed. While it is pending, `cx` is woken when there is one.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<WatchEvent>> {
        let mut hidden = 0;
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
            let event = match self.queue.poll_next(cx) {
                Poll::Ready(Some(event)) => event,
                other => return other,
            };
            if let Some(event) = self.shown(event) {
                return Poll::Ready(Some(event));
            }
            hidden += 1;
            if hidden == HIDDEN {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
    }

    /// The event as the user gets it, if he may.
    fn shown(&self, mut event: WatchEvent) -> Option<WatchEvent> {
        let Some(guard) = &self.view.guard else { return Some(event) };
        let path = match &mut event {
            WatchEvent::Existing { path, .. } | WatchEvent::Changed { path, .. } => path,
            WatchEvent::Complete | WatchEvent::Lagged => return Some(event),
        };
        let listed = self.listed.as_ref();
        if !guard.may_list(listed) || guard.sight(path.as_path(), listed) != Sight::Shown {
            return None;
        }
        *path = guard.with_name(path.as_path(), |path| path.to_path())?;
        Some(event)
    }

    fn slice(&self, scan: &mut Scan, room: usize, bytes: usize) {
        let shared = self.view.shared();
        let mut batch = Batch::default();
        let held = shared.read();
        let limits = self.view.guard.as_deref().map(|guard| (guard, self.listed.as_ref()));
        batch.collect(&held.replica, scan, room, bytes, limits);
        let feed = shared.feed.lock();
        drop(held);
        let Batch { keys, items } = batch;
        let found = items
            .into_iter()
            .map(|(key, entry)| WatchEvent::Existing { path: PathRef::known(&keys[key]).to_path(), entry });
        self.queue.sliced(scan.clone(), found);
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
