//! Snapshots: when one is due, and how it is taken without holding anybody up.
//!
//! Space: the journal may grow by half of what lives before a snapshot is taken, and goes on growing meanwhile. Where writers
//! are faster than the snapshot gets done, first their acknowledgements are held back (at three quarters of what lives),
//! then (at the whole, which only those reach who wait for none) writes are refused. So old snapshot, new snapshot and journal together stay
//! below three times what lives. For small data the least growth stands in for what lives.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::{Options, Shared};
use crate::clock::{self, Stopwatch};
use crate::journal::{Durability, JournalStats, Kind, Lsn, OpenError, SnapshotError, SnapshotWriter};
use crate::replica::Export;
use crate::tree::Progress;

/// How many entries and bytes are exported in one go, which is as long as the replica's lock is held.
const SLICE_ENTRIES: usize = 256;
const SLICE_BYTES: usize = 128 << 10;

/// How often the background looks for values that have expired. (Readers do not see them from the moment on.)
const EXPIRY_ROUND: Duration = Duration::from_secs(1);

/// How many of them become tombstones in one go.
const EXPIRE: usize = 256;

/// How many tombstones are dropped in one go.
const PURGE: usize = 256;

/// The state of the background.
pub(super) struct Snapshots {
    /// The next one is due when the journal is here.
    due: AtomicU64,
    /// None is begun yet: see [`Options::hold_snapshots`].
    held: AtomicBool,
    /// The least growth of the journal between two.
    least: u64,
    /// While one is taken, writes are refused when the journal is here.
    limit: AtomicU64,
    /// It is.
    overrun: AtomicBool,
    /// Held while one is taken.
    taking: Mutex<()>,
    signals: Mutex<Signals>,
    wake: Condvar,
    thread: Mutex<Option<JoinHandle<()>>>,
    stats: Mutex<SnapshotStats>,
}

/// What the background has to do.
enum Task {
    Snapshot,
    Expire,
    Stop,
}

#[derive(Default)]
struct Signals {
    due: bool,
    stop: bool,
}

/// Figures of the snapshots.
#[derive(Clone, Debug, Default)]
pub struct SnapshotStats {
    /// How many were taken since the start.
    pub taken: u64,
    /// How many attempts have failed.
    pub failed: u64,
    /// How long the last one took.
    pub last_took: Duration,
    /// How many slices they were exported in.
    pub slices: u64,
    /// How long the replica was locked for these, together.
    pub locked: Duration,
    /// How long for the longest of them.
    pub longest_slice: Duration,
    /// How many tombstones were dropped.
    pub purged: u64,
}

impl Snapshots {
    pub(super) fn new(options: &Options, journal: &JournalStats) -> Self {
        let snapshots = Self {
            due: AtomicU64::new(0),
            held: AtomicBool::new(options.hold_snapshots),
            limit: AtomicU64::new(u64::MAX),
            overrun: AtomicBool::new(false),
            least: options.snapshot_bytes,
            taking: Mutex::new(()),
            signals: Mutex::new(Signals::default()),
            wake: Condvar::new(),
            thread: Mutex::new(None),
            stats: Mutex::new(SnapshotStats::default()),
        };
        snapshots.plan(journal.end - journal.log_bytes, journal.snapshot_bytes);
        snapshots
    }

    pub(super) fn stats(&self) -> SnapshotStats {
        self.stats.lock().clone()
    }

    /// The journal has grown up to `lsn`.
    pub(super) fn grown(&self, lsn: Lsn) {
        if lsn.0 >= self.due.load(Ordering::Relaxed) && !self.held.load(Ordering::Acquire) {
            // Once: the next is planned when this one is done.
            self.due.store(u64::MAX, Ordering::Relaxed);
            self.signals.lock().due = true;
            self.wake.notify_one();
        }
        if lsn.0 >= self.limit.load(Ordering::Relaxed) {
            self.overrun.store(true, Ordering::Relaxed);
        }
    }

    /// From now on they are taken when they are due; one that is overdue with the next growth of the journal.
    pub(super) fn release(&self) {
        self.held.store(false, Ordering::Release);
    }

    /// Must writes be refused until the snapshot under way is done?
    pub(super) fn is_overrun(&self) -> bool {
        self.overrun.load(Ordering::Relaxed)
    }

    fn set_limit(&self, place: u64) {
        self.limit.store(place, Ordering::Relaxed);
        self.overrun.store(false, Ordering::Relaxed);
    }

    /// Plans the next one: when the journal has grown beyond `from` by half of what lives, or by the least growth.
    fn plan(&self, from: u64, live_bytes: u64) {
        let growth = self.least.max(live_bytes / 2);
        self.due.store(from.saturating_add(growth), Ordering::Relaxed);
    }

    /// Stops the thread and waits for it; a snapshot under way is given up.
    pub(super) fn stop(&self) {
        self.signals.lock().stop = true;
        self.wake.notify_one();
        let thread = self.thread.lock().take();
        if let Some(thread) = thread {
            // It does not panic; if it did, it is gone, which is what is wanted here.
            let _ = thread.join();
        }
    }

    fn is_stopped(&self) -> bool {
        self.signals.lock().stop
    }

    /// Waits until there is something to do.
    fn wait(&self) -> Task {
        let mut signals = self.signals.lock();
        if !signals.stop && !signals.due {
            self.wake.wait_for(&mut signals, EXPIRY_ROUND);
        }
        if signals.stop {
            Task::Stop
        } else if std::mem::take(&mut signals.due) {
            Task::Snapshot
        } else {
            Task::Expire
        }
    }
}

/// Starts the background thread.
pub(super) fn start(shared: &Arc<Shared>) -> Result<(), OpenError> {
    let of_thread = Arc::clone(shared);
    let thread = std::thread::Builder::new()
        .name("distkv-snapshot".to_owned())
        .spawn(move || {
            loop {
                let snapshots = &of_thread.snapshots;
                match snapshots.wait() {
                    Task::Stop => return,
                    Task::Expire => of_thread.expire(),
                    // Nothing is kept, so there is nothing to drop.
                    Task::Snapshot if of_thread.options.durability == Durability::Memory => {}
                    Task::Snapshot => {
                        if let Err(error) = of_thread.take_snapshot(&|| snapshots.is_stopped()) {
                            tracing::warn!(
                                "{error}. The journal keeps all; the next snapshot is tried later"
                            );
                        }
                    }
                }
            }
        })
        .map_err(|error| OpenError::io("start a thread for", "snapshots".into(), error))?;
    *shared.snapshots.thread.lock() = Some(thread);
    Ok(())
}

impl Shared {
    /// Takes a snapshot now.
    pub(super) fn snapshot(&self) -> Result<(), SnapshotError> {
        self.take_snapshot(&|| false)
    }

    fn take_snapshot(&self, stopped: &dyn Fn() -> bool) -> Result<(), SnapshotError> {
        let _one = self.snapshots.taking.lock();
        let watch = Stopwatch::start();
        self.press();
        let result = self.write_snapshot(stopped);
        self.snapshots.set_limit(u64::MAX);
        self.journal.hold(None);
        let stats = self.journal.stats();
        // What the embedder has written again lives in the journal, and lives as well as the rest.
        let live = stats.snapshot_bytes + *result.as_ref().unwrap_or(&0);
        self.snapshots.plan(stats.end, live);
        let mut figures = self.snapshots.stats.lock();
        match result {
            Ok(_) => {
                figures.taken += 1;
                figures.last_took = watch.elapsed();
                Ok(())
            }
            Err(error) => {
                figures.failed += 1;
                Err(error)
            }
        }
    }

    /// Makes tombstones of values that have expired.
    pub(super) fn expire(&self) {
        let now = clock::wall_ms();
        while self.read().replica.next_expiry().is_some_and(|at| at <= now) {
            let mut held = self.held.write();
            held.replica.expire(now, EXPIRE);
            self.let_go(held);
        }
    }

    /// Limits the growth of the journal while a snapshot is taken.
    fn press(&self) {
        let stats = self.journal.stats();
        let live = self.read().replica.counts().bytes.max(stats.snapshot_bytes);
        let least = self.snapshots.least;
        let start = stats.end - stats.log_bytes;
        let soft = least.saturating_mul(2).max(live / 4 * 3);
        let hard = least.saturating_mul(4).max(live);
        // A snapshot that was asked for, or comes late, leaves some room whatever the journal has now.
        let soft = start.saturating_add(soft).max(stats.end.saturating_add(least / 2));
        let hard = start.saturating_add(hard).max(stats.end.saturating_add(least));
        self.journal.hold(Some(Lsn(soft)));
        self.snapshots.set_limit(hard);
    }

    /// Answers how many bytes the embedder has written again.
    fn write_snapshot(&self, stopped: &dyn Fn() -> bool) -> Result<u64, SnapshotError> {
        let Some(mut writer) = self.journal.begin_snapshot()? else {
            return Ok(0);
        };
        let Some(export) = self.export(&mut writer, stopped)? else {
            return Ok(0);
        };
        let before = self.journal.end();
        let checkpoints = self.checkpoints.lock().clone();
        for checkpoint in checkpoints {
            checkpoint(&mut |record| {
                self.journal.append(Kind::Local, record);
            });
        }
        let local = self.journal.end().0 - before.0;
        writer.finish()?;
        self.purge(export)?;
        Ok(local)
    }

    /// Exports the replica in slices; `None` if it was stopped.
    fn export(
        &self,
        writer: &mut SnapshotWriter,
        stopped: &dyn Fn() -> bool,
    ) -> Result<Option<Export>, SnapshotError> {
        let mut export = self.read().replica.begin_export(&mut |record| writer.record(Kind::Replica, record));
        let mut stats = SnapshotStats::default();
        loop {
            if stopped() {
                return Ok(None);
            }
            let held = self.read();
            let watch = Stopwatch::start();
            let progress = held.replica.export(&mut export, SLICE_ENTRIES, SLICE_BYTES, &mut |record| {
                writer.record(Kind::Replica, record);
            });
            drop(held);
            let locked = watch.elapsed();
            stats.slices += 1;
            stats.locked += locked;
            stats.longest_slice = stats.longest_slice.max(locked);
            writer.write_out()?;
            if progress == Progress::Done {
                break;
            }
        }
        let mut total = self.snapshots.stats.lock();
        total.slices += stats.slices;
        total.locked += stats.locked;
        total.longest_slice = total.longest_slice.max(stats.longest_slice);
        drop(total);
        Ok(Some(export))
    }

    /// Drops the tombstones which the snapshot holds: nothing older than they can come back now.
    fn purge(&self, export: Export) -> Result<(), SnapshotError> {
        let mut tombstones = export.into_tombstones();
        let before = self.read().replica.counts().tombstones;
        let mut more = !tombstones.is_empty();
        while more {
            let mut guard = self.held.write();
            let held = &mut *guard;
            held.record.clear();
            more = held.replica.purge(&mut tombstones, PURGE, &mut held.record) == Progress::More;
            if !held.record.is_empty() {
                self.journal.append(Kind::Replica, &held.record);
            }
            self.let_go(guard);
        }
        let after = self.read().replica.counts().tombstones;
        self.snapshots.stats.lock().purged += before.saturating_sub(after);
        Ok(())
    }
}
