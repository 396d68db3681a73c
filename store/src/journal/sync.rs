//! The sync thread: it makes the log durable in the background or for those who wait, and reserves space ahead.

use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::writer::Shared;
use super::{Durability, JournalFailed, Lsn};
use crate::clock::Stopwatch;

/// How often a full disk is looked at again.
const SHORT_RETRY: Duration = Duration::from_secs(1);

/// With `Interval`, so many segments' worth may be unsynced before those who ask have to wait.
const UNSYNCED_SEGMENTS: u64 = 4;

/// What the thread is to do, and who waits for it.
#[derive(Default)]
pub(super) struct Signals {
    /// Something was appended since the last sync began.
    armed: bool,
    /// Somebody waits for a sync.
    urgent: bool,
    /// The next segment's space is to be reserved.
    spare: bool,
    stop: bool,
    /// Who waits, for which place. One task may stand here more than once; the list is emptied at each sync.
    waiting: Vec<(u64, Waker)>,
}

enum Job {
    Sync,
    Spare,
    Stop,
}

impl Shared {
    /// The thread's main function.
    pub(super) fn run(&self) {
        loop {
            match self.next_job() {
                Job::Stop => {
                    // The last writes of a journal that is dropped without being closed; a failure has been logged.
                    let _ = self.sync_now();
                    return;
                }
                Job::Sync => {
                    // A failure has been logged and told to all who wait.
                    let _ = self.sync_now();
                    if self.is_short() {
                        self.reserve_next();
                    }
                }
                Job::Spare => self.reserve_next(),
            }
        }
    }

    fn next_job(&self) -> Job {
        let mut signals = self.signals.lock();
        loop {
            if signals.stop {
                return Job::Stop;
            }
            if std::mem::take(&mut signals.spare) {
                return Job::Spare;
            }
            if std::mem::take(&mut signals.urgent) {
                signals.armed = false;
                return Job::Sync;
            }
            let pause = self.options.sync_interval;
            let pause = if self.is_short() { pause.min(SHORT_RETRY) } else { pause };
            if signals.armed || self.is_short() {
                if self.wake.wait_for(&mut signals, pause).timed_out() {
                    signals.armed = false;
                    return Job::Sync;
                }
            } else {
                self.wake.wait(&mut signals);
            }
        }
    }

    pub(super) fn arm(&self) {
        self.signals.lock().armed = true;
        self.wake.notify_one();
    }

    pub(super) fn ask_for_spare(&self) {
        self.signals.lock().spare = true;
        self.wake.notify_one();
    }

    pub(super) fn ask_for_sync(&self) {
        self.signals.lock().urgent = true;
        self.wake.notify_one();
    }

    pub(super) fn stop(&self) {
        self.signals.lock().stop = true;
        self.wake.notify_one();
    }

    pub(super) fn poll_settled(&self, lsn: Lsn, cx: &mut Context<'_>) -> Poll<Result<(), JournalFailed>> {
        if let Some(failed) = self.failed() {
            return Poll::Ready(Err(failed.clone()));
        }
        if self.options.durability == Durability::Interval && self.written() < lsn.0 {
            self.write_out()?;
        }
        if self.is_settled(lsn) { Poll::Ready(Ok(())) } else { self.wait(lsn, cx) }
    }

    /// Is a place kept, for a journal that has not failed?
    fn is_settled(&self, lsn: Lsn) -> bool {
        if lsn.0 > self.hold.load(Ordering::Acquire) {
            return false;
        }
        match self.options.durability {
            Durability::Memory => true,
            // Where the disk does not keep up, those who wait for it keep the loss by a power cut small.
            Durability::Interval => {
                self.written() >= lsn.0 && self.is_synced(Lsn(lsn.0.saturating_sub(self.unsynced_max())))
            }
            Durability::Always => self.is_synced(lsn),
        }
    }

    fn unsynced_max(&self) -> u64 {
        self.options.segment_bytes.saturating_mul(UNSYNCED_SEGMENTS)
    }

    /// Settles nothing beyond this place until further notice.
    pub(super) fn hold(&self, place: u64) {
        self.hold.store(place, Ordering::Release);
        self.wake_waiting();
    }

    pub(super) fn is_synced(&self, lsn: Lsn) -> bool {
        self.synced.load(Ordering::Acquire) >= lsn.0
    }

    fn wait(&self, lsn: Lsn, cx: &mut Context<'_>) -> Poll<Result<(), JournalFailed>> {
        let mut signals = self.signals.lock();
        // Once more under the lock: whoever makes progress takes the list after it has noted its progress or its failure.
        if let Some(failed) = self.failed() {
            return Poll::Ready(Err(failed.clone()));
        }
        if self.is_settled(lsn) {
            return Poll::Ready(Ok(()));
        }
        signals.waiting.push((lsn.0, cx.waker().clone()));
        let wake = !self.is_synced(lsn);
        signals.urgent |= wake;
        drop(signals);
        if wake {
            self.wake.notify_one();
        }
        Poll::Pending
    }

    /// Writes and syncs everything that was appended before.
    pub(super) fn sync_now(&self) -> Result<(), JournalFailed> {
        let _one = self.syncing.lock();
        let unsynced = self.take_unsynced()?;
        let watch = Stopwatch::start();
        let upto = self.sync_files(&unsynced)?;
        let nanos = watch.elapsed().as_nanos() as u64;
        self.counters.syncs.fetch_add(1, Ordering::Relaxed);
        self.counters.sync_nanos.fetch_add(nanos, Ordering::Relaxed);
        self.counters.sync_nanos_max.fetch_max(nanos, Ordering::Relaxed);
        self.synced.store(upto, Ordering::Release);
        self.append_synced(upto);
        self.wake_waiting();
        Ok(())
    }

    /// Wakes all whose waiting is over, and all if the journal has failed.
    pub(super) fn wake_waiting(&self) {
        let failed = self.failed().is_some();
        let mut settled = Vec::new();
        {
            let mut signals = self.signals.lock();
            let waiting = std::mem::take(&mut signals.waiting);
            for (lsn, waker) in waiting {
                if failed || self.is_settled(Lsn(lsn)) {
                    settled.push(waker);
                } else {
                    signals.waiting.push((lsn, waker));
                }
            }
        }
        // Without the lock: a waker may run whatever its task has for it.
        for waker in settled {
            waker.wake();
        }
    }

    /// Reserves the next segment's space, if it is time.
    fn reserve_next(&self) {
        let _one = self.syncing.lock();
        let wanted = self.is_short() || self.writer.lock().wants_spare();
        if wanted && self.failed().is_none() {
            self.reserve();
        }
    }

    /// Reserves the next segment's space, if that is not done. Needs `syncing`.
    pub(super) fn reserve(&self) {
        if self.writer.lock().spare.is_some() {
            return;
        }
        match self.make_spare() {
            Ok(file) => {
                self.writer.lock().spare = Some(file);
                if self.short.swap(false, Ordering::Relaxed) {
                    tracing::info!("there is disk space again: writes are taken");
                }
            }
            Err(error) => {
                let path = self.path();
                if !self.short.swap(true, Ordering::Relaxed) {
                    tracing::error!(
                        "can't reserve space for the journal in {}: {error}. Writes are refused until there is some",
                        path.display()
                    );
                }
            }
        }
    }
}
