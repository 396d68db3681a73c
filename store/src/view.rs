//! Views: the one door to a store. What somebody may see and do is decided here, and what he sees as the whole.

mod ask;
mod batch;
mod condition;
mod cursor;
mod gate;
mod guard;
mod read;
mod root;
mod since;
mod state;
mod walk;
mod watch;
mod who;

use std::fmt;
use std::sync::Arc;

use crate::access::{Denied, OWN_DATA};
use crate::chain::Dot;
use crate::clock;
use crate::feed::Carrier;
use crate::journal::{JournalFailed, Lsn};
use crate::meta::Meta;
use crate::path::{Element, Path, PathRef, Pattern};
use crate::replica;
use crate::store::{Shared, Store};
use crate::tree::Entry;
use crate::value::Value;
use guard::{Guard, Listed};

pub use ask::Verdict;
pub use batch::{BYTES_MAX as BATCH_BYTES_MAX, BatchError, WRITES_MAX as BATCH_WRITES_MAX, Write};
pub use condition::{Condition, Terms, Unmet};
pub use cursor::Cursor;
pub use read::{Child, Finder, Found};
pub use since::CHANGES_MAX as CHANGES_SINCE_MAX;
pub use state::{NodeState, Survey};
pub use walk::{Step, Walk, WalkOptions};
pub use watch::{Watch, WatchOptions};
pub use who::Who;

pub(crate) use gate::Gate;

/// How many keys a slice looks at, at most: so long it may hold the replica's lock.
const LOOKS: usize = 1024;

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
        Ok(self.entry(path)?.filter(|entry| has_value(entry)))
    }

    /// Writes a value. Time and user of `meta` are set here.
    pub fn set(
        &self,
        path: PathRef<'_>,
        value: Value,
        meta: Meta,
        carrier: Option<Carrier<'_>>,
    ) -> Result<Committed, WriteError> {
        self.commit(Write { path, value: Some(value), meta, terms: Terms::default() }, carrier)
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
        self.commit(Write { path, value, meta, terms }, carrier)
    }

    /// Writes a value, or deletes it with `None`, on such terms. A condition that does not hold is a [`WriteError::Conflict`].
    ///
    /// Who may not read the entry can't have a condition on its value or version, and an idempotent write of his is as any other. He
    /// does not get what was there before.
    pub fn write(&self, write: Write<'_>, carrier: Option<Carrier<'_>>) -> Result<Committed, WriteError> {
        self.commit(write, carrier)
    }

    /// Deletes the value at `path`. Where there is none nothing happens, but the carrier is called all the same.
    pub fn delete(
        &self,
        path: PathRef<'_>,
        meta: Meta,
        carrier: Option<Carrier<'_>>,
    ) -> Result<Committed, WriteError> {
        self.commit(Write { path, value: None, meta, terms: Terms::default() }, carrier)
    }

    #[inline]
    fn commit(&self, write: Write<'_>, carrier: Option<Carrier<'_>>) -> Result<Committed, WriteError> {
        let Write { path, value, meta, mut terms } = write;
        let meta = self.stamp(meta);
        let Some(guard) = &self.guard else {
            return self.shared().commit(path, value, meta, terms, None, carrier);
        };
        let entrance = guard.enter_to_write(path, value.is_some(), &mut terms)?;
        let place = entrance.place.as_path();
        let committed = self.shared().commit(place, value, meta, terms, entrance.gate.as_ref(), carrier);
        committed.map(|it| entrance.answer(guard, it)).map_err(|error| entrance.refusal(error))
    }

    /// The pattern in the store, and where it lists.
    fn pattern(&self, said: Pattern) -> (Pattern, Option<Listed>) {
        match &self.guard {
            None => (said, None),
            Some(guard) => {
                let listed = guard.listed(&said);
                (guard.pattern(said), listed)
            }
        }
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

pub(crate) fn has_value(entry: &Entry) -> bool {
    match entry.meta.expiry() {
        None => !entry.is_tombstone(),
        Some(_) => entry.value_at(clock::wall_ms()).is_some(),
    }
}

/// Hides internal data, unless the pattern begins with it.
fn without_internal(mut pattern: Pattern) -> Pattern {
    hide(&mut pattern, Element::str(OWN_DATA));
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
