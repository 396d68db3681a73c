//! The journal: files that hold what must survive. An append-only log in segments, and from time to time a snapshot, after
//! which older segments go. It knows nothing of entries: records are opaque bytes with a kind.
//!
//! # The way of a record
//!
//! [`Journal::append`] puts it into a buffer in memory and gives it its place, an [`Lsn`]. [`Journal::poll_settled`] asks
//! whether all up to a place is kept, as the [`Durability`] understands it: with `Interval` the asker itself
//! writes out what has gathered, one write(2) for everybody's records, and a thread syncs later; with `Always` the
//! asker waits for that thread, which writes and syncs for all who wait at once (group commit). With `Interval`, too, an asker
//! has to wait when the disk does not keep up with the syncs and much is unsynced: a power cut shall cost little.
//!
//! Locks: `syncing` (one sync at a time), then `writer` (who writes to the file), then `gather` (the buffer) or
//! `signals` (what the thread is to do), both leaves. A commit takes only `gather`, unless the buffer is full.
//!
//! # After a failure
//!
//! A failed write or sync poisons the journal: see [`JournalFailed`]. Before a disk is full it shows: each segment's space
//! is reserved while half of the one before is still free. Where that fails, [`Journal::is_short`] tells, writes are to
//! be refused, and it is tried again each second. So a full disk refuses writes and does not poison.
//!
//! # After a crash
//!
//! Recovery reads the newest snapshot and the segments behind it (`recovery` has the rules). It cuts what a power cut left
//! half written, and refuses to start over damage of what had been synced. Appending goes on in a new segment always.

mod directory;
mod error;
pub mod fs;
mod lock;
mod reader;
mod record;
mod recovery;
mod repair;
mod segment;
mod snapshot;
mod sync;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;

pub use error::{JournalFailed, OpenError, SnapshotError};
pub use lock::{Holder, Lock};
pub use reader::{Found, Reader, Summary, Trouble, read_bytes};
pub use record::{Kind, PAYLOAD_MAX};
pub use recovery::{Cut, RecoveryReport};
pub use repair::{RepairReport, repair};
pub use snapshot::SnapshotWriter;

use directory::Directory;
use fs::{DiskFs, Fs};
use recovery::Apply;
use segment::Inventory;
use writer::Shared;

/// A place in the log: the position behind a record. The default stands before everything: it is settled always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(pub u64);

/// When a write counts as kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// After fdatasync: a power cut loses nothing that was acknowledged.
    Always,
    /// After write(2), synced in the background: a crash of the process loses nothing that was acknowledged, a
    /// power cut at most the last interval.
    #[default]
    Interval,
    /// At once: nothing is kept, and there are no files.
    Memory,
}

/// How a journal works.
#[derive(Clone, Debug)]
pub struct JournalOptions {
    /// When a write counts as kept.
    pub durability: Durability,
    /// How long a write may stay unsynced.
    pub sync_interval: Duration,
    /// How much space is reserved for a segment. A segment grows longer when one batch needs it.
    pub segment_bytes: u64,
}

impl Default for JournalOptions {
    fn default() -> Self {
        Self {
            durability: Durability::default(),
            sync_interval: Duration::from_millis(200),
            segment_bytes: 16 << 20,
        }
    }
}

/// The journal of one data directory, open for appending. Dropping it stops its thread and lets the directory go.
pub struct Journal {
    /// `None`: nothing is kept.
    shared: Option<Arc<Shared>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    lock: Mutex<Option<Lock>>,
}

impl Journal {
    /// Opens (or makes) a data directory, and hands all that it holds to `apply`: first the records of the snapshot,
    /// then those of the log, in order.
    pub fn open(
        dir: &Path,
        node: &str,
        options: JournalOptions,
        apply: &mut Apply<'_>,
    ) -> Result<(Self, RecoveryReport), OpenError> {
        let fs =
            DiskFs::create(dir).map_err(|error| OpenError::io("make directory", dir.to_owned(), error))?;
        let lock = Lock::acquire(dir).map_err(|error| OpenError::lock(dir.to_owned(), error))?;
        let (journal, report) = Self::open_on(Arc::new(fs), node, options, apply)?;
        *journal.lock.lock() = Some(lock);
        Ok((journal, report))
    }

    /// As [`Journal::open`], over any files, and without a lock.
    pub fn open_on(
        fs: Arc<dyn Fs>,
        node: &str,
        options: JournalOptions,
        apply: &mut Apply<'_>,
    ) -> Result<(Self, RecoveryReport), OpenError> {
        let files = Inventory::read(&*fs).map_err(|error| OpenError::io("list", fs.path(""), error))?;
        let new_id = getrandom::u64().map_err(|error| OpenError::Random(error.to_string()))?;
        let directory = Directory::claim(&*fs, &files, node, new_id)?;
        let recovered = recovery::recover(&*fs, directory.id, &files, apply)?;
        let report = recovered.report.clone();
        let shared = Arc::new(Shared::start(fs, directory.id, options, &recovered)?);
        let of_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("distkv-sync".to_owned())
            .spawn(move || of_thread.run())
            .map_err(|error| OpenError::io("start a thread for", shared.path(), error))?;
        let journal = Self { shared: Some(shared), thread: Mutex::new(Some(thread)), lock: Mutex::new(None) };
        Ok((journal, report))
    }

    /// A journal that keeps nothing.
    pub fn memory() -> Self {
        Self { shared: None, thread: Mutex::new(None), lock: Mutex::new(None) }
    }

    /// Appends a record of at most [`PAYLOAD_MAX`] bytes, which becomes durable in its turn. After a failure it goes nowhere,
    /// and [`Journal::poll_settled`] says so.
    ///
    /// It never waits for the disk, unless more than a megabyte has gathered, which it then writes out itself.
    pub fn append(&self, kind: Kind, payload: &[u8]) -> Lsn {
        match &self.shared {
            Some(shared) => shared.append(kind, payload),
            None => Lsn::default(),
        }
    }

    /// Is everything up to `lsn` kept? While the answer is pending, `cx` is woken when it can change.
    pub fn poll_settled(&self, lsn: Lsn, cx: &mut Context<'_>) -> Poll<Result<(), JournalFailed>> {
        match &self.shared {
            Some(shared) => shared.poll_settled(lsn, cx),
            None => Poll::Ready(Ok(())),
        }
    }

    /// Makes everything durable that was appended before, and waits for it.
    pub fn sync(&self) -> Result<(), JournalFailed> {
        self.shared.as_ref().map_or(Ok(()), |shared| shared.sync_now())
    }

    /// Has everything up to `lsn` been synced?
    pub fn is_synced(&self, lsn: Lsn) -> bool {
        self.shared.as_ref().is_none_or(|shared| shared.is_synced(lsn))
    }

    /// Has everything synced soon that was appended before, without waiting for it.
    pub fn sync_soon(&self) {
        if let Some(shared) = &self.shared {
            shared.ask_for_sync();
        }
    }

    /// Settles nothing beyond `lsn` until it is called again with a later place: back pressure for those who wait for their
    /// acknowledgements. `None` ends it.
    pub fn hold(&self, lsn: Option<Lsn>) {
        if let Some(shared) = &self.shared {
            shared.hold(lsn.map_or(u64::MAX, |lsn| lsn.0));
        }
    }

    /// The place behind the last record.
    pub fn end(&self) -> Lsn {
        self.shared.as_ref().map_or_else(Lsn::default, |shared| shared.end())
    }

    /// The failure, if there was one.
    pub fn failed(&self) -> Option<&JournalFailed> {
        self.shared.as_ref().and_then(|shared| shared.failed())
    }

    /// Is the disk so full that no space could be reserved? Then writes are to be refused until it ends by itself.
    pub fn is_short(&self) -> bool {
        self.shared.as_ref().is_some_and(|shared| shared.is_short())
    }

    /// Begins a new segment and a snapshot of all that lies before it. `None` if nothing is kept.
    pub fn begin_snapshot(&self) -> Result<Option<SnapshotWriter>, SnapshotError> {
        self.shared.as_ref().map(SnapshotWriter::begin).transpose()
    }

    /// Figures for metrics.
    pub fn stats(&self) -> JournalStats {
        self.shared.as_ref().map_or_else(JournalStats::default, |shared| shared.stats())
    }

    /// Writes and syncs all, stops the thread, and lets the directory go. After that nothing can be appended.
    pub fn close(&self) -> Result<(), JournalFailed> {
        let Some(shared) = &self.shared else {
            return Ok(());
        };
        self.stop_thread();
        let result = shared.sync_now();
        shared.fail(JournalFailed::Closed);
        *self.lock.lock() = None;
        result
    }

    fn stop_thread(&self) {
        let Some(thread) = self.thread.lock().take() else {
            return;
        };
        if let Some(shared) = &self.shared {
            shared.stop();
        }
        // It does not panic; if it did, it is gone, which is what is wanted here.
        let _ = thread.join();
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.stop_thread();
    }
}

/// Figures of a journal. Counters begin at 0 when it is opened.
#[derive(Clone, Debug, Default)]
pub struct JournalStats {
    /// The position behind the last record.
    pub end: u64,
    /// Up to where it is synced.
    pub synced: u64,
    /// The length of the log behind the last snapshot.
    pub log_bytes: u64,
    /// The length of the last snapshot.
    pub snapshot_bytes: u64,
    /// How many snapshots were finished.
    pub snapshots: u64,
    /// How many writes went to the log.
    pub writes: u64,
    /// How many syncs there were.
    pub syncs: u64,
    /// How long they took together.
    pub sync_time: Duration,
    /// How long the longest took.
    pub sync_time_max: Duration,
    /// Bytes that are gathered and not yet written.
    pub gathered: u64,
    /// Is the disk short of space?
    pub short: bool,
    /// The failure that poisoned the journal.
    pub failed: Option<JournalFailed>,
}
