//! The append path: the buffer, the file at the end of the log, and the change to the next one.

use std::io;
use std::mem;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::{Condvar, Mutex};

use super::fs::{File, Fs};
use super::record::{self, Kind, PAYLOAD_MAX, RECORD_HEADER, Seed};
use super::recovery::Recovered;
use super::segment::{FILE_HEADER, FileHeader, FileKind, SPARE};
use super::sync::Signals;
use super::{JournalFailed, JournalOptions, JournalStats, Lsn, OpenError};

/// When so much has gathered, the appender writes it out itself: the buffer is bounded.
const GATHER_MAX: usize = 1 << 20;

/// A buffer which one large record has made longer than this is given back.
const GATHER_KEEP: usize = 2 * GATHER_MAX;

/// All of a journal but its thread.
pub(super) struct Shared {
    pub(super) fs: Arc<dyn Fs>,
    pub(super) id: u64,
    seed: Seed,
    pub(super) options: JournalOptions,
    gather: Mutex<Gather>,
    pub(super) writer: Mutex<Writer>,
    /// Held through a sync, so that there is one at a time; and while a spare file is made.
    pub(super) syncing: Mutex<()>,
    pub(super) signals: Mutex<Signals>,
    pub(super) wake: Condvar,
    /// Up to where the log is written.
    written: AtomicU64,
    /// Up to where it is synced.
    pub(super) synced: AtomicU64,
    /// Nothing beyond this place is settled, whatever is written or synced.
    pub(super) hold: AtomicU64,
    failed: OnceLock<JournalFailed>,
    pub(super) short: AtomicBool,
    pub(super) counters: Counters,
}

/// What was appended and not yet written.
struct Gather {
    bytes: Vec<u8>,
    /// The position of its first byte.
    base: u64,
    /// Does the thread know that there is something to sync?
    armed: bool,
    /// After a failure nothing is gathered any more.
    closed: bool,
}

/// The file at the end of the log.
pub(super) struct Writer {
    file: Arc<dyn File>,
    number: u64,
    /// Where the next batch goes in the file.
    used: u64,
    /// How much of the file is reserved.
    room: u64,
    /// Reserved for the next segment.
    pub(super) spare: Option<Arc<dyn File>>,
    /// The thread was asked for a spare.
    asked: bool,
    /// Former ends of the log, which are not synced yet.
    retired: Vec<Retired>,
    /// Names were changed since the directory was synced.
    names_changed: bool,
    /// An empty buffer, to be exchanged for the gathered one.
    buffer: Vec<u8>,
}

struct Retired {
    number: u64,
    file: Arc<dyn File>,
    used: u64,
}

/// What a sync has to make durable.
pub(super) struct Unsynced {
    retired: Vec<Retired>,
    current: (u64, Arc<dyn File>),
    names_changed: bool,
    upto: u64,
}

/// Figures that several threads count.
#[derive(Default)]
pub(super) struct Counters {
    /// Where the log begins behind the last snapshot.
    pub(super) log_start: AtomicU64,
    pub(super) snapshot_bytes: AtomicU64,
    pub(super) snapshots: AtomicU64,
    writes: AtomicU64,
    pub(super) syncs: AtomicU64,
    pub(super) sync_nanos: AtomicU64,
    pub(super) sync_nanos_max: AtomicU64,
}

impl Shared {
    /// Begins a new segment behind what was recovered.
    pub(super) fn start(
        fs: Arc<dyn Fs>,
        id: u64,
        options: JournalOptions,
        recovered: &Recovered,
    ) -> Result<Self, OpenError> {
        let (number, end) = (recovered.next_segment, recovered.end);
        let header = FileHeader { kind: FileKind::Segment, id, number, base: end, synced: end };
        let name = FileKind::Segment.name(number);
        let file = new_segment(&*fs, &name, options.segment_bytes, &header)
            .map_err(|error| OpenError::io("make", fs.path(&name), error))?;
        let writer = Writer {
            file,
            number,
            used: FILE_HEADER,
            room: options.segment_bytes,
            spare: None,
            asked: false,
            retired: Vec::new(),
            names_changed: true,
            buffer: Vec::new(),
        };
        let counters = Counters::default();
        counters.log_start.store(recovered.log_start, Ordering::Relaxed);
        counters.snapshot_bytes.store(recovered.snapshot_bytes, Ordering::Relaxed);
        Ok(Self {
            fs,
            id,
            seed: Seed::log(id),
            options,
            gather: Mutex::new(Gather { bytes: Vec::new(), base: end, armed: false, closed: false }),
            writer: Mutex::new(writer),
            syncing: Mutex::new(()),
            signals: Mutex::new(Signals::default()),
            wake: Condvar::new(),
            written: AtomicU64::new(end),
            synced: AtomicU64::new(end),
            hold: AtomicU64::new(u64::MAX),
            failed: OnceLock::new(),
            short: AtomicBool::new(false),
            counters,
        })
    }

    pub(super) fn path(&self) -> PathBuf {
        self.fs.path("")
    }

    pub(super) fn append(&self, kind: Kind, payload: &[u8]) -> Lsn {
        if payload.len() > PAYLOAD_MAX {
            // Nothing makes such a record; if something did, no reader would take it.
            self.poison("append to", self.path(), io::ErrorKind::FileTooLarge.into());
        }
        let sum = crc32c::crc32c(payload);
        let mut gather = self.gather.lock();
        let lsn = self.put(&mut gather, kind, payload, sum);
        let arm = !gather.closed && !mem::replace(&mut gather.armed, true);
        let full = gather.bytes.len() >= GATHER_MAX;
        drop(gather);
        if arm {
            self.arm();
        }
        if full {
            // A failure has poisoned the journal: whoever waits for this record gets to know.
            let _ = self.write_out();
        }
        lsn
    }

    /// Notes that the log is synced up to a position. This by itself needs no sync.
    pub(super) fn append_synced(&self, upto: u64) {
        let payload = upto.to_le_bytes();
        let mut gather = self.gather.lock();
        self.put(&mut gather, Kind::Synced, &payload, crc32c::crc32c(&payload));
    }

    fn put(&self, gather: &mut Gather, kind: Kind, payload: &[u8], sum: u32) -> Lsn {
        let position = gather.base + gather.bytes.len() as u64;
        if gather.closed {
            // A place that is never settled.
            return Lsn(position + (RECORD_HEADER + payload.len()) as u64);
        }
        record::put(&mut gather.bytes, self.seed, position, kind, payload, sum);
        Lsn(gather.base + gather.bytes.len() as u64)
    }

    pub(super) fn end(&self) -> Lsn {
        let gather = self.gather.lock();
        Lsn(gather.base + gather.bytes.len() as u64)
    }

    pub(super) fn written(&self) -> u64 {
        self.written.load(Ordering::Acquire)
    }

    /// Writes what has gathered to the file.
    pub(super) fn write_out(&self) -> Result<(), JournalFailed> {
        self.write_gathered(&mut self.writer.lock(), false)
    }

    /// As [`Shared::write_out`], and takes what is to be synced after it.
    pub(super) fn take_unsynced(&self) -> Result<Unsynced, JournalFailed> {
        let mut writer = self.writer.lock();
        self.write_gathered(&mut writer, true)?;
        Ok(Unsynced {
            retired: mem::take(&mut writer.retired),
            current: (writer.number, Arc::clone(&writer.file)),
            names_changed: mem::take(&mut writer.names_changed),
            upto: self.written(),
        })
    }

    /// Makes it durable; answers up to where the log is synced by that.
    pub(super) fn sync_files(&self, unsynced: &Unsynced) -> Result<u64, JournalFailed> {
        for old in &unsynced.retired {
            // For tidiness only: the zeros mark the end as well.
            let _ = old.file.truncate(old.used);
            self.sync_file(old.number, &*old.file)?;
        }
        let (number, file) = &unsynced.current;
        self.sync_file(*number, &**file)?;
        if unsynced.names_changed {
            self.fs.sync_dir().map_err(|error| self.poison("sync", self.path(), error))?;
        }
        Ok(unsynced.upto)
    }

    fn sync_file(&self, number: u64, file: &dyn File) -> Result<(), JournalFailed> {
        file.sync().map_err(|error| {
            let path = self.fs.path(&FileKind::Segment.name(number));
            self.poison("sync", path, error)
        })
    }

    /// Goes on in a segment of which nothing is written yet; answers its number and base.
    pub(super) fn begin_segment(&self) -> Result<(u64, u64), JournalFailed> {
        let mut writer = self.writer.lock();
        self.write_gathered(&mut writer, false)?;
        if writer.used > FILE_HEADER {
            self.next_segment(&mut writer, self.written())?;
        }
        Ok((writer.number, self.written()))
    }

    fn write_gathered(&self, writer: &mut Writer, disarm: bool) -> Result<(), JournalFailed> {
        if let Some(failed) = self.failed() {
            return Err(failed.clone());
        }
        let mut batch = mem::take(&mut writer.buffer);
        let base = {
            let mut gather = self.gather.lock();
            if disarm {
                gather.armed = false;
            }
            mem::swap(&mut gather.bytes, &mut batch);
            let base = gather.base;
            gather.base += batch.len() as u64;
            base
        };
        if !batch.is_empty() {
            self.write_batch(writer, base, &batch)?;
            batch.clear();
            batch.shrink_to(GATHER_KEEP);
        }
        writer.buffer = batch;
        Ok(())
    }

    fn write_batch(&self, writer: &mut Writer, base: u64, batch: &[u8]) -> Result<(), JournalFailed> {
        let length = batch.len() as u64;
        // A batch is never split over two segments; one that is longer than a segment makes it longer.
        if writer.used > FILE_HEADER && writer.used + length > writer.room {
            self.next_segment(writer, base)?;
        }
        writer.file.write_all_at(batch, writer.used).map_err(|error| {
            let path = self.fs.path(&FileKind::Segment.name(writer.number));
            self.poison("write", path, error)
        })?;
        writer.used += length;
        self.counters.writes.fetch_add(1, Ordering::Relaxed);
        self.written.store(base + length, Ordering::Release);
        if writer.wants_spare() && !mem::replace(&mut writer.asked, true) {
            self.ask_for_spare();
        }
        Ok(())
    }

    fn next_segment(&self, writer: &mut Writer, base: u64) -> Result<(), JournalFailed> {
        let number = writer.number + 1;
        let synced = self.synced.load(Ordering::Acquire);
        let header = FileHeader { kind: FileKind::Segment, id: self.id, number, base, synced };
        let name = FileKind::Segment.name(number);
        let made = match writer.spare.take() {
            Some(spare) => self
                .fs
                .rename(SPARE, &name)
                .and_then(|()| spare.write_all_at(&header.encode(), 0))
                .map(|()| spare),
            None => new_segment(&*self.fs, &name, self.options.segment_bytes, &header),
        };
        let file = made.map_err(|error| self.poison("make", self.fs.path(&name), error))?;
        let old =
            Retired { number: writer.number, file: mem::replace(&mut writer.file, file), used: writer.used };
        writer.retired.push(old);
        writer.number = number;
        writer.used = FILE_HEADER;
        writer.room = self.options.segment_bytes;
        writer.asked = false;
        writer.names_changed = true;
        Ok(())
    }

    /// Reserves the next segment's space.
    pub(super) fn make_spare(&self) -> io::Result<Arc<dyn File>> {
        let file = self.fs.create(SPARE)?;
        if let Err(error) = file.reserve(self.options.segment_bytes) {
            // What it got of a full disk is needed by others.
            let _ = self.fs.remove(SPARE);
            return Err(error);
        }
        Ok(file)
    }

    pub(super) fn failed(&self) -> Option<&JournalFailed> {
        self.failed.get()
    }

    pub(super) fn is_short(&self) -> bool {
        self.short.load(Ordering::Relaxed)
    }

    /// Nothing is kept from now on.
    fn poison(&self, what: &'static str, path: PathBuf, error: io::Error) -> JournalFailed {
        let failed = JournalFailed::Io { what, path, source: Arc::new(error) };
        tracing::error!("{failed}");
        self.fail(failed)
    }

    /// Notes the failure, if it is the first, and tells all who wait. Answers the first failure.
    pub(super) fn fail(&self, failed: JournalFailed) -> JournalFailed {
        let first = self.failed.get_or_init(|| failed).clone();
        let mut gather = self.gather.lock();
        gather.closed = true;
        gather.bytes = Vec::new();
        drop(gather);
        self.wake_waiting();
        first
    }

    pub(super) fn stats(&self) -> JournalStats {
        let counters = &self.counters;
        let nanos = |counter: &AtomicU64| std::time::Duration::from_nanos(counter.load(Ordering::Relaxed));
        let end = self.end().0;
        JournalStats {
            end,
            synced: self.synced.load(Ordering::Relaxed),
            log_bytes: end.saturating_sub(counters.log_start.load(Ordering::Relaxed)),
            snapshot_bytes: counters.snapshot_bytes.load(Ordering::Relaxed),
            snapshots: counters.snapshots.load(Ordering::Relaxed),
            writes: counters.writes.load(Ordering::Relaxed),
            syncs: counters.syncs.load(Ordering::Relaxed),
            sync_time: nanos(&counters.sync_nanos),
            sync_time_max: nanos(&counters.sync_nanos_max),
            gathered: end.saturating_sub(self.written()),
            short: self.is_short(),
            failed: self.failed().cloned(),
        }
    }
}

impl Writer {
    /// Half of this segment is used: time to reserve the next.
    pub(super) fn wants_spare(&self) -> bool {
        self.spare.is_none() && self.used > self.room / 2
    }
}

fn new_segment(fs: &dyn Fs, name: &str, reserve: u64, header: &FileHeader) -> io::Result<Arc<dyn File>> {
    let file = fs.create(name)?;
    file.reserve(reserve)?;
    file.write_all_at(&header.encode(), 0)?;
    Ok(file)
}
