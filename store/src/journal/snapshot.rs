//! Snapshots: the whole state in one file, which lets older segments go.
//!
//! A snapshot is valid once it has its name, and it gets that after it is synced, and after the log is synced up to all
//! that the snapshot may hold: it never knows more than the log.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::fs::File;
use super::record::{self, Kind, Seed};
use super::segment::{FILE_HEADER, FileHeader, FileKind, Inventory, temporary};
use super::writer::Shared;
use super::{Lsn, SnapshotError};

/// How much is gathered before it is written.
const BUFFER: usize = 256 << 10;

/// How much is written before it is synced: a large heap of unsynced bytes would hold up the log's own syncs.
const SYNC_EACH: u64 = 8 << 20;

/// A snapshot under way. Dropped before [`SnapshotWriter::finish`], it never was.
pub struct SnapshotWriter {
    shared: Arc<Shared>,
    file: Arc<dyn File>,
    number: u64,
    base: u64,
    seed: Seed,
    buffer: Vec<u8>,
    written: u64,
    synced: u64,
    records: u64,
    finished: bool,
}

impl SnapshotWriter {
    pub(super) fn begin(shared: &Arc<Shared>) -> Result<Self, SnapshotError> {
        let (number, base) = {
            // So that the change of segments, which all writers would wait for, takes no longer than a rename.
            let _one = shared.syncing.lock();
            shared.reserve();
            shared.begin_segment()?
        };
        let name = temporary(&FileKind::Snapshot.name(number));
        let io = |what, error| SnapshotError::Io { what, path: shared.fs.path(&name), source: error };
        let file = shared.fs.create(&name).map_err(|error| io("make", error))?;
        let header = FileHeader {
            kind: FileKind::Snapshot,
            id: shared.id,
            number,
            base,
            synced: shared.synced.load(Ordering::Acquire),
        };
        Ok(Self {
            file,
            number,
            base,
            seed: Seed::snapshot(shared.id, number),
            buffer: header.encode().to_vec(),
            written: 0,
            synced: 0,
            records: 0,
            finished: false,
            shared: Arc::clone(shared),
        })
    }

    /// The position at which the segment behind this snapshot begins.
    pub fn base(&self) -> Lsn {
        Lsn(self.base)
    }

    /// Takes one record of at most [`super::PAYLOAD_MAX`] bytes into the buffer.
    pub fn record(&mut self, kind: Kind, payload: &[u8]) {
        self.put(kind, payload);
        self.records += 1;
    }

    /// Writes the buffer to the file, if much has gathered: to be called between records, without a lock.
    pub fn write_out(&mut self) -> Result<(), SnapshotError> {
        if self.buffer.len() >= BUFFER {
            self.flush().map_err(|error| self.failed("write", error))?;
        }
        Ok(())
    }

    /// Makes it valid and removes what it replaces. Answers its length.
    pub fn finish(mut self) -> Result<u64, SnapshotError> {
        self.shared.sync_now()?;
        let synced = self.shared.synced.load(Ordering::Acquire);
        let mut payload = [0; 16];
        payload[..8].copy_from_slice(&self.records.to_le_bytes());
        payload[8..].copy_from_slice(&synced.to_le_bytes());
        self.put(Kind::End, &payload);
        let name = FileKind::Snapshot.name(self.number);
        let done = self
            .flush()
            .and_then(|()| self.file.sync())
            .and_then(|()| self.shared.fs.rename(&temporary(&name), &name))
            .and_then(|()| self.shared.fs.sync_dir());
        done.map_err(|error| self.failed("finish", error))?;
        self.finished = true;
        let counters = &self.shared.counters;
        counters.log_start.store(self.base, Ordering::Relaxed);
        counters.snapshot_bytes.store(self.written, Ordering::Relaxed);
        counters.snapshots.fetch_add(1, Ordering::Relaxed);
        if let Err(error) = self.remove_older() {
            // The next snapshot or the next start tries again.
            tracing::warn!(%error, "can't remove what a snapshot has replaced");
        }
        Ok(self.written)
    }

    fn put(&mut self, kind: Kind, payload: &[u8]) {
        let position = self.written + self.buffer.len() as u64 - FILE_HEADER;
        record::put(&mut self.buffer, self.seed, position, kind, payload, crc32c::crc32c(payload));
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write_all_at(&self.buffer, self.written)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        if self.written - self.synced >= SYNC_EACH {
            self.file.sync()?;
            self.synced = self.written;
        }
        Ok(())
    }

    fn remove_older(&self) -> io::Result<()> {
        let fs = &self.shared.fs;
        let files = Inventory::read(&**fs)?;
        // Snapshots first: one without its segments would be taken for damage, segments without a snapshot are never
        // looked at while a newer snapshot is there.
        for number in files.snapshots.into_iter().filter(|number| *number < self.number) {
            fs.remove(&FileKind::Snapshot.name(number))?;
        }
        for number in files.segments.into_iter().filter(|number| *number < self.number) {
            fs.remove(&FileKind::Segment.name(number))?;
        }
        Ok(())
    }

    fn failed(&self, what: &'static str, source: io::Error) -> SnapshotError {
        let path = self.shared.fs.path(&FileKind::Snapshot.name(self.number));
        SnapshotError::Io { what, path, source }
    }
}

impl Drop for SnapshotWriter {
    fn drop(&mut self) {
        if !self.finished {
            // If it stays it is removed at the next start.
            let _ = self.shared.fs.remove(&temporary(&FileKind::Snapshot.name(self.number)));
        }
    }
}
