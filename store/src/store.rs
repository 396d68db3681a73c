//! The store: the handle that an embedder holds, the one commit point, and the snapshots in the background.
//!
//! Locks, in the order in which they are taken: replica, feed, whatever an embedder locks when it is told of a
//! change, the journal's buffer.

mod batch;
mod import;
mod open;
mod quota;
mod snapshots;

use std::path::Path as FilePath;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use parking_lot::{Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};

pub use crate::feed::{Carrier, Change, FeedStats, Observer, ObserverId, WatchEvent};
pub use crate::journal::{Durability, JournalFailed, JournalStats, Lsn, OpenError, SnapshotError};
pub use import::Imported;
pub use open::{OpenReport, Saved, inspect, inspect_dir};
pub use quota::Quota;
pub use snapshots::SnapshotStats;

use crate::access::{Access, AccessStats};
use crate::feed::Feed;
use crate::journal::fs::Fs;
use crate::journal::{Journal, JournalOptions, Kind};
use crate::meta::Meta;
use crate::path::PathRef;
use crate::replica::Replica;
use crate::ticks::{Life, NodeName, Tick, Tock};
use crate::tree::Counts;
use crate::value::Value;
use crate::view::{Committed, Gate, Terms, View, Who, WriteError};
use snapshots::Snapshots;

/// How a store works.
#[derive(Clone, Debug)]
pub struct Options {
    /// The node's name; a data directory belongs to one name.
    pub node: NodeName,
    /// When a write counts as kept.
    pub durability: Durability,
    /// How long a write may stay unsynced.
    pub sync_interval: Duration,
    /// How much space is reserved for each segment of the journal.
    pub segment_bytes: u64,
    /// A snapshot is taken when the journal has grown by so much since the last one, or by half of that snapshot's length if that is more.
    pub snapshot_bytes: u64,
    /// No snapshot is begun before [`Store::release_snapshots`]. A snapshot drops the local records before it, so an embedder which
    /// has some must have taken them up first, and have said by [`Store::on_checkpoint`] how they are written again.
    pub hold_snapshots: bool,
    /// The longest value, in bytes.
    pub value_bytes_max: usize,
}

impl Options {
    /// The defaults for a node.
    pub fn new(node: NodeName) -> Self {
        let journal = JournalOptions::default();
        Self {
            node,
            durability: journal.durability,
            sync_interval: journal.sync_interval,
            segment_bytes: journal.segment_bytes,
            snapshot_bytes: 16 << 20,
            hold_snapshots: false,
            value_bytes_max: 64 << 20,
        }
    }

    fn journal(&self) -> JournalOptions {
        JournalOptions {
            durability: self.durability,
            sync_interval: self.sync_interval,
            segment_bytes: self.segment_bytes,
        }
    }
}

/// Appends all state of the embedder again, through [`Store::append_local`] or the function that it is given.
pub type Checkpoint = Box<dyn Fn(&mut dyn FnMut(&[u8])) + Send + Sync>;

/// A store. Clones are the same one; when the last is gone, its threads stop.
#[derive(Clone)]
pub struct Store(Arc<Owner>);

/// Stops the background when the last handle is gone.
struct Owner {
    shared: Arc<Shared>,
}

/// What handles, views and the background share.
pub(crate) struct Shared {
    held: RwLock<Held>,
    /// How many wait for reading, roughly: a writer that sees them hands the lock over.
    readers: AtomicUsize,
    pub(crate) feed: Mutex<Feed>,
    pub(crate) access: Arc<Access>,
    journal: Journal,
    snapshots: Snapshots,
    checkpoints: Mutex<Vec<Arc<Checkpoint>>>,
    quota: quota::InForce,
    options: Options,
}

/// What the replica's lock guards.
pub(crate) struct Held {
    pub(crate) replica: Replica,
    /// The record of the write under way; kept for its memory.
    record: Vec<u8>,
    /// Ticks up to this one may be used: the record that allows it is synced.
    ceiling: Tick,
    /// The place of a record that allows more, and is not synced yet.
    raising: Option<Lsn>,
}

impl Store {
    /// Opens (or makes) the data directory `dir`; with [`Durability::Memory`] no file is touched. `local` gets the records of
    /// [`Store::append_local`], in their order.
    pub fn open(
        dir: &FilePath,
        options: Options,
        local: &mut dyn FnMut(&[u8]),
    ) -> Result<(Self, OpenReport), OpenError> {
        open::open(options, local, |options, apply| {
            Journal::open(dir, options.node.as_str(), options.journal(), apply)
        })
    }

    /// As [`Store::open`], over any files, and without a lock.
    pub fn open_on(
        fs: Arc<dyn Fs>,
        options: Options,
        local: &mut dyn FnMut(&[u8]),
    ) -> Result<(Self, OpenReport), OpenError> {
        open::open(options, local, |options, apply| {
            Journal::open_on(fs, options.node.as_str(), options.journal(), apply)
        })
    }

    /// What somebody sees of the store.
    pub fn view(&self, who: Who) -> View {
        View::new(self.clone(), who)
    }

    /// The users and access lists that are in the store.
    pub fn access(&self) -> &Arc<Access> {
        &self.0.shared.access
    }

    /// Tells `observer` of every change from now on.
    pub fn observe(&self, observer: Arc<dyn Observer>) -> ObserverId {
        let held = self.0.shared.read();
        let id = self.0.shared.feed.lock().observe(observer);
        drop(held);
        id
    }

    /// Tells an observer nothing any more.
    pub fn forget(&self, observer: ObserverId) {
        self.0.shared.feed.lock().forget(observer);
    }

    /// Appends a record of the embedder to the journal, in one order with everything else there. It must be shorter than
    /// [`crate::journal::PAYLOAD_MAX`].
    pub fn append_local(&self, record: &[u8]) -> Lsn {
        self.0.shared.append_local(record)
    }

    /// Has `checkpoint` called, in the background, whenever a snapshot is taken: it must append all of the embedder's state
    /// again, since the records before are dropped when it is done. It may take locks, one after another. A store that is held by
    /// its own checkpoint or observer is not dropped before [`Store::close`].
    pub fn on_checkpoint(&self, checkpoint: Checkpoint) {
        self.0.shared.checkpoints.lock().push(Arc::new(checkpoint));
    }

    /// Is everything up to `lsn` kept, as the [`Durability`] of the store understands it? With `Interval` this writes out what has gathered;
    /// with `Always` it may be pending, and `cx` is woken when it is synced.
    ///
    /// # Errors
    /// When the journal has failed, for any `lsn`: nothing may be acknowledged any more.
    pub fn poll_settled(&self, lsn: Lsn, cx: &mut Context<'_>) -> Poll<Result<(), JournalFailed>> {
        self.0.shared.journal.poll_settled(lsn, cx)
    }

    /// Makes everything durable that was written before, and waits for it.
    pub fn sync(&self) -> Result<(), JournalFailed> {
        self.0.shared.journal.sync()
    }

    /// Ends what [`Options::hold_snapshots`] began.
    pub fn release_snapshots(&self) {
        self.0.shared.snapshots.release();
    }

    /// Takes a snapshot now, and waits for it. One that is under way in the background is waited for first.
    pub fn snapshot(&self) -> Result<(), SnapshotError> {
        self.0.shared.snapshot()
    }

    /// Takes a last snapshot, syncs, and lets the data directory go. After that nothing can be written; watches end.
    pub fn close(&self) -> Result<(), SnapshotError> {
        let shared = &self.0.shared;
        shared.snapshots.stop();
        let snapshot = match shared.journal.failed() {
            Some(failed) => Err(SnapshotError::Journal(failed.clone())),
            None => shared.snapshot(),
        };
        let closed = shared.journal.close();
        let observers = shared.feed.lock().close();
        let checkpoints = std::mem::take(&mut *shared.checkpoints.lock());
        // Without a lock, since they may hold anything.
        drop((observers, checkpoints));
        snapshot.and(closed.map_err(SnapshotError::from))
    }

    /// From now on local writes may bring the store to no more than this.
    pub fn set_quota(&self, quota: Quota) {
        self.0.shared.quota.set(quota);
    }

    /// How much there is.
    pub fn counts(&self) -> Counts {
        self.0.shared.read().replica.counts()
    }

    /// Figures for metrics.
    pub fn stats(&self) -> Stats {
        let shared = &self.0.shared;
        let counts = shared.read().replica.counts();
        let feed = shared.feed.lock().stats();
        let (journal, snapshots) = (shared.journal.stats(), shared.snapshots.stats());
        Stats { counts, journal, feed, snapshots, access: shared.access.stats() }
    }

    /// The greatest tock of all changes that this node knows of.
    pub fn tock(&self) -> Tock {
        self.0.shared.read().replica.tock()
    }

    /// The number of the last event that was made here; 0 if there was none.
    pub fn last_tick(&self) -> Tick {
        Tick(self.0.shared.read().replica.next_tick().0.saturating_sub(1))
    }

    /// The end of the journal: everything that has happened so far lies before it.
    pub fn end(&self) -> Lsn {
        self.0.shared.journal.end()
    }

    /// The node's name.
    pub fn node(&self) -> &NodeName {
        &self.0.shared.options.node
    }

    /// This life of the node.
    pub fn life(&self) -> Life {
        self.0.shared.read().replica.origin().life()
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.0.shared
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.shared.snapshots.stop();
    }
}

impl Shared {
    /// Locks the replica for reading.
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Held> {
        if let Some(held) = self.held.try_read() {
            return held;
        }
        self.readers.fetch_add(1, Ordering::Relaxed);
        let held = self.held.read();
        self.readers.fetch_sub(1, Ordering::Relaxed);
        held
    }

    /// Locks the replica for a write that makes an event.
    fn write(&self) -> Result<RwLockWriteGuard<'_, Held>, JournalFailed> {
        self.write_many(1)
    }

    /// Locks the replica for writes that make at most so many events: fewer than half a lease of ticks.
    fn write_many(&self, events: u64) -> Result<RwLockWriteGuard<'_, Held>, JournalFailed> {
        let mut held = self.held.write();
        while held.replica.next_tick().0.saturating_add(events) > held.ceiling.0.saturating_add(1) {
            // The disk is slower than half a lease of writes.
            drop(held);
            self.journal.sync()?;
            held = self.held.write();
            held.raise_ceiling(&self.journal);
        }
        Ok(held)
    }

    /// Lets the replica go after writing. Where writers follow each other closely a reader would wait for very long if it
    /// were not handed over.
    fn let_go(&self, held: RwLockWriteGuard<'_, Held>) {
        if self.readers.load(Ordering::Relaxed) > 0 {
            RwLockWriteGuard::unlock_fair(held);
        }
    }

    /// The one commit point of local writes: `None` deletes. A `gate` is asked whether what is there now may be written.
    pub(crate) fn commit(
        &self,
        path: PathRef<'_>,
        value: Option<Value>,
        meta: Meta,
        terms: Terms<'_>,
        gate: Option<&Gate>,
        carrier: Option<Carrier<'_>>,
    ) -> Result<Committed, WriteError> {
        self.admit(value.as_ref())?;
        let mut guard = self.write()?;
        let held = &mut *guard;
        if let Some(gate) = gate {
            gate.check(&held.replica, path)?;
        }
        let wanted = terms.are_none() || terms.check(held.replica.get(path), value.as_ref())?;
        self.quota.admit(&held.replica, path, value.as_ref())?;
        held.record.clear();
        let change = match value {
            _ if !wanted => None,
            Some(value) => Some(held.replica.set(path, value, meta, &mut held.record)?),
            None => held.replica.delete(path, meta, &mut held.record)?,
        };
        let Some(change) = change else {
            // What made it so may not be settled yet, and this answer promises the same.
            let lsn = self.journal.end();
            let previous = held.replica.get(path).cloned();
            let feed = self.feed.lock();
            self.let_go(guard);
            if let Some(carrier) = carrier {
                (carrier.deliver)(None);
            }
            drop(feed);
            return Ok(Committed { entry: None, previous, lsn });
        };
        let lsn = self.journal.append(Kind::Replica, &held.record);
        held.watch_ceiling(lsn, &self.journal);
        let mut feed = self.feed.lock();
        self.let_go(guard);
        let told = Change { path, entry: &change.entry, previous: change.previous.as_ref(), lsn };
        feed.tell(&told, carrier);
        drop(feed);
        self.snapshots.grown(lsn);
        Ok(Committed { entry: Some(change.entry), previous: change.previous, lsn })
    }

    /// Can a write be kept?
    fn admit(&self, value: Option<&Value>) -> Result<(), WriteError> {
        if let Some(failed) = self.journal.failed() {
            return Err(failed.clone().into());
        }
        if self.journal.is_short() {
            return Err(WriteError::DiskFull);
        }
        if self.snapshots.is_overrun() {
            return Err(WriteError::Overloaded);
        }
        let bytes = value.map_or(0, |value| value.as_bytes().len());
        let limit = self.options.value_bytes_max;
        if bytes > limit {
            return Err(WriteError::TooLarge { bytes, limit });
        }
        Ok(())
    }

    fn append_local(&self, record: &[u8]) -> Lsn {
        let lsn = self.journal.append(Kind::Local, record);
        self.snapshots.grown(lsn);
        lsn
    }
}

impl Held {
    fn new(replica: Replica) -> Self {
        let ceiling = replica.ceiling();
        Self { replica, record: Vec::new(), ceiling, raising: None }
    }

    /// Notes that the record at `lsn` may have raised the ceiling of ticks, and has it synced in time.
    fn watch_ceiling(&mut self, lsn: Lsn, journal: &Journal) {
        if self.raising.is_some() {
            self.raise_ceiling(journal);
        } else if self.replica.ceiling() > self.ceiling {
            self.raising = Some(lsn);
            journal.sync_soon();
        }
    }

    fn raise_ceiling(&mut self, journal: &Journal) {
        if self.raising.is_some_and(|lsn| journal.is_synced(lsn)) {
            // While a record is not synced no other is made: the ticks that it allows are not used.
            self.ceiling = self.replica.ceiling();
            self.raising = None;
        }
    }
}

/// Figures of a store.
#[derive(Clone, Debug)]
pub struct Stats {
    /// How much there is.
    pub counts: Counts,
    /// The journal's.
    pub journal: JournalStats,
    /// The feed's.
    pub feed: FeedStats,
    /// Those of the snapshots.
    pub snapshots: SnapshotStats,
    /// Those of users and access lists.
    pub access: AccessStats,
}
