//! Recovery: what a data directory holds, and what a crash left of it.
//!
//! The newest snapshot is read, then the segments from its number on. Each segment must begin where the one before ended.
//! The first place at which that chain breaks (a torn record, a hole, a missing segment) is either the end of what a
//! crash left, or damage, and these are told apart by evidence: whenever the log was synced, a later record (`Synced`),
//! segment header or snapshot says up to where. If anything behind the break (or the snapshot) says that the log was durable beyond
//! the break, something that was safe is gone: that is damage, and recovery refuses. Else the break lies in what was not
//! synced when the power went. There the disk may have kept later pages and lost earlier ones; what comes after the
//! break is dropped all the same, since the log is only true as a whole up to some place. The cut is reported.
//!
//! So a power cut costs at most what was not synced, and nothing that was confirmed as synced is dropped in silence,
//! with one limit, which all logs share: of the very last sync there is no later evidence. Damage there looks like a torn tail,
//! and is reported as one.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::OpenError;
use super::fs::{Access, File, Fs};
use super::record::{Flaw, Kind, Records, Seed, Step};
use super::segment::{BadHeader, FILE_HEADER, FORMAT, FileHeader, FileKind, Inventory};

/// Takes the records which recovery finds. An error is told to people with the record's place.
pub(super) type Apply<'a> = dyn FnMut(Kind, &[u8]) -> Result<(), String> + 'a;

/// What recovery found, for the log.
#[derive(Clone, Debug, Default)]
pub struct RecoveryReport {
    /// How many records the snapshot held; `None` without a snapshot.
    pub snapshot_records: Option<u64>,
    /// Newer snapshots which were damaged and could be replaced by an older one and its segments.
    pub snapshots_skipped: Vec<PathBuf>,
    /// How many segments were read.
    pub segments: u64,
    /// How many records they held.
    pub log_records: u64,
    /// The tail that a crash left half written.
    pub cut: Option<Cut>,
}

/// A tail that was cut off: it had not been synced when the power went.
#[derive(Clone, Debug)]
pub struct Cut {
    /// The file with the first byte that was cut.
    pub path: PathBuf,
    /// Where the cut is.
    pub offset: u64,
    /// How many bytes of content were dropped, in this file and those behind it.
    pub bytes: u64,
    /// What is wrong at the cut.
    pub what: String,
}

/// Where the log goes on.
pub(super) struct Recovered {
    /// The position behind the last record.
    pub end: u64,
    /// The number for the next segment.
    pub next_segment: u64,
    /// Where the log begins behind the snapshot.
    pub log_start: u64,
    pub snapshot_bytes: u64,
    pub report: RecoveryReport,
}

/// Reads all, hands it to `apply`, and makes the directory fit for going on.
pub(super) fn recover(
    fs: &dyn Fs,
    id: u64,
    files: &Inventory,
    apply: &mut Apply<'_>,
) -> Result<Recovered, OpenError> {
    let mut replay = Replay { fs, id, files, apply, report: RecoveryReport::default() };
    let start = replay.snapshot()?;
    let end = replay.segments(&start)?;
    let report = replay.report;
    tidy(fs, files, &start, end.next_segment).map_err(|error| OpenError::io("tidy", fs.path(""), error))?;
    Ok(Recovered {
        end: end.position,
        next_segment: end.next_segment,
        log_start: start.position,
        snapshot_bytes: start.snapshot_bytes,
        report,
    })
}

/// Where the reading of the log starts.
#[derive(Default)]
struct Start {
    /// The first segment, and the position of its first record.
    segment: u64,
    position: u64,
    /// The log is known to have been durable up to here.
    synced: u64,
    /// The snapshot it starts from.
    snapshot: Option<u64>,
    snapshot_bytes: u64,
}

struct End {
    position: u64,
    next_segment: u64,
}

/// The first place at which the chain does not hold.
struct Break {
    segment: u64,
    /// Where in the file; `None` if there is no such file.
    offset: Option<u64>,
    position: u64,
    what: String,
}

struct Replay<'r, 'a> {
    fs: &'r dyn Fs,
    id: u64,
    files: &'r Inventory,
    apply: &'r mut Apply<'a>,
    report: RecoveryReport,
}

impl Replay<'_, '_> {
    /// Applies the newest snapshot that is whole.
    fn snapshot(&mut self) -> Result<Start, OpenError> {
        let first = self.files.segments.first().copied();
        if self.files.snapshots.is_empty() {
            return match first {
                None | Some(1) => Ok(Start { segment: 1, ..Start::default() }),
                Some(first) => {
                    Err(OpenError::Missing { path: self.fs.path(&FileKind::Snapshot.name(first)) })
                }
            };
        }
        let mut damage = None;
        for number in self.files.snapshots.iter().rev().copied() {
            let usable = self.files.segments.binary_search(&number).is_ok();
            let last = self.files.snapshots.first() == Some(&number);
            // With an older one to fall back on it must be known whole before its first record is applied.
            if !(last && damage.is_none())
                && let Err(error) = self.read_snapshot(number, &mut |_, _| Ok(()))
            {
                match error {
                    OpenError::Damaged { .. } => {
                        self.report.snapshots_skipped.push(self.fs.path(&FileKind::Snapshot.name(number)));
                        damage.get_or_insert(error);
                        continue;
                    }
                    error => return Err(error),
                }
            }
            if !usable {
                let path = self.fs.path(&FileKind::Segment.name(number));
                return Err(damage.unwrap_or(OpenError::Missing { path }));
            }
            return self.apply_snapshot(number);
        }
        Err(damage.unwrap_or(OpenError::Missing { path: self.fs.path("") }))
    }

    fn apply_snapshot(&mut self, number: u64) -> Result<Start, OpenError> {
        let fs = self.fs;
        let id = self.id;
        let apply = &mut *self.apply;
        let (start, records) = read_snapshot(fs, id, number, apply)?;
        self.report.snapshot_records = Some(records);
        Ok(start)
    }

    fn read_snapshot(&self, number: u64, apply: &mut Apply<'_>) -> Result<(Start, u64), OpenError> {
        read_snapshot(self.fs, self.id, number, apply)
    }

    /// Applies the segments up to the end, and cuts what lies behind it.
    fn segments(&mut self, start: &Start) -> Result<End, OpenError> {
        let mut position = start.position;
        let mut segment = start.segment;
        while self.files.segments.binary_search(&segment).is_ok() {
            match self.segment(segment, position)? {
                Ok(end) => position = end,
                Err(broken) => return self.settle(&broken, start.synced),
            }
            self.report.segments += 1;
            segment += 1;
        }
        let what = "the segment is missing".to_owned();
        self.settle(&Break { segment, offset: None, position, what }, start.synced)
    }

    /// Applies one segment, which must begin at `position`. Answers where it ends.
    fn segment(&mut self, number: u64, position: u64) -> Result<Result<u64, Break>, OpenError> {
        let name = FileKind::Segment.name(number);
        let path = || self.fs.path(&name);
        let io = |error| OpenError::io("read", path(), error);
        let file = self.fs.open(&name, Access::Read).map_err(io)?;
        let broken =
            |offset, position, what| Ok(Err(Break { segment: number, offset: Some(offset), position, what }));
        match FileHeader::read(&&*file, FileKind::Segment, number, Some(self.id)).map_err(io)? {
            Ok(header) if header.base == position => {}
            Ok(header) => {
                let what = format!("it begins at position {} instead of {position}", header.base);
                return broken(0, position, what);
            }
            Err(BadHeader::Format(found)) => {
                return Err(OpenError::Format { path: path(), found, known: FORMAT });
            }
            Err(BadHeader::Foreign) => return Err(OpenError::Foreign { path: path() }),
            Err(bad @ (BadHeader::Empty | BadHeader::Damaged)) => {
                return broken(0, position, bad.to_string());
            }
        }
        let mut records = Records::new(&*file, Seed::log(self.id), FILE_HEADER, position);
        loop {
            match records.step().map_err(io)? {
                Step::Record { kind: Kind::Synced | Kind::End, .. } => {}
                Step::Record { offset, kind, payload } => {
                    self.report.log_records += 1;
                    (self.apply)(kind, payload).map_err(|what| OpenError::Record {
                        path: path(),
                        offset,
                        what,
                    })?;
                }
                Step::End { offset } => return Ok(Ok(position + (offset - FILE_HEADER))),
                Step::Flaw { offset, flaw: flaw @ Flaw::Kind(_) } => {
                    return Err(OpenError::Record { path: path(), offset, what: flaw.to_string() });
                }
                Step::Flaw { offset, flaw } => {
                    return broken(offset, position + (offset - FILE_HEADER), flaw.to_string());
                }
            }
        }
    }

    /// Decides whether a break is the end or damage. The end is made a clean one.
    fn settle(&mut self, broken: &Break, synced: u64) -> Result<End, OpenError> {
        let name = FileKind::Segment.name(broken.segment);
        let path = self.fs.path(&name);
        let evidence =
            self.evidence(broken).map_err(|error| OpenError::io("read", path.clone(), error))?.max(synced);
        if evidence > broken.position {
            return Err(match broken.offset {
                None => OpenError::Missing { path },
                Some(offset) => {
                    let later = evidence - broken.position;
                    let what =
                        format!("{}, though the log had been synced {later} bytes further", broken.what);
                    OpenError::Damaged { path, offset, what }
                }
            });
        }
        let bytes = self.cut(broken).map_err(|error| OpenError::io("cut", path.clone(), error))?;
        if bytes > 0 {
            let offset = broken.offset.unwrap_or_default();
            self.report.cut = Some(Cut { path, offset, bytes, what: broken.what.clone() });
        }
        let keeps_file = broken.offset.is_some_and(|offset| offset >= FILE_HEADER);
        let next_segment = if keeps_file { broken.segment + 1 } else { broken.segment };
        Ok(End { position: broken.position, next_segment })
    }

    /// Up to where anything behind the break says that the log was durable.
    fn evidence(&self, broken: &Break) -> io::Result<u64> {
        let mut evidence = 0;
        if let Some(offset) = broken.offset {
            let number = broken.segment;
            let file = self.fs.open(&FileKind::Segment.name(number), Access::Read)?;
            let mut base = broken.position;
            if offset < FILE_HEADER
                && let Ok(header) = FileHeader::read(&&*file, FileKind::Segment, number, Some(self.id))?
            {
                base = header.base;
                evidence = header.synced;
            }
            // A damaged header is no reason not to look at what follows it: it should begin at the break.
            let mut records = Records::new(&*file, Seed::log(self.id), offset.max(FILE_HEADER), base);
            evidence = evidence.max(synced_in(&mut records)?);
        }
        for number in self.behind(broken) {
            let file = self.fs.open(&FileKind::Segment.name(number), Access::Read)?;
            let header = FileHeader::read(&&*file, FileKind::Segment, number, Some(self.id))?;
            let Ok(header) = header else { continue };
            let mut records = Records::new(&*file, Seed::log(self.id), FILE_HEADER, header.base);
            evidence = evidence.max(header.synced).max(synced_in(&mut records)?);
        }
        Ok(evidence)
    }

    /// Drops all from the break on; answers how many bytes of content that were. It is made durable with the rest: see [`tidy`].
    fn cut(&self, broken: &Break) -> io::Result<u64> {
        let mut bytes = 0;
        // From the end, so that what is left after a crash in the middle of this is a log with the same break.
        for number in self.behind(broken).rev() {
            let name = FileKind::Segment.name(number);
            let file = self.fs.open(&name, Access::Read)?;
            bytes += content_bytes(&*file, 0)?;
            self.fs.remove(&name)?;
        }
        let name = FileKind::Segment.name(broken.segment);
        match broken.offset {
            Some(offset) if offset >= FILE_HEADER => {
                let file = self.fs.open(&name, Access::Write)?;
                bytes += content_bytes(&*file, offset)?;
                file.truncate(offset)?;
            }
            Some(_) => {
                let file = self.fs.open(&name, Access::Read)?;
                bytes += content_bytes(&*file, 0)?;
                self.fs.remove(&name)?;
            }
            None => {}
        }
        Ok(bytes)
    }

    fn behind(&self, broken: &Break) -> impl DoubleEndedIterator<Item = u64> {
        let segment = broken.segment;
        self.files.segments.iter().copied().filter(move |number| *number > segment)
    }
}

/// Reads a whole snapshot. Answers where the log goes on, and how many records there were.
fn read_snapshot(
    fs: &dyn Fs,
    id: u64,
    number: u64,
    apply: &mut Apply<'_>,
) -> Result<(Start, u64), OpenError> {
    let name = FileKind::Snapshot.name(number);
    let path = || fs.path(&name);
    let io = |error| OpenError::io("read", path(), error);
    let damaged =
        |offset, what: &dyn ToString| OpenError::Damaged { path: path(), offset, what: what.to_string() };
    let file = fs.open(&name, Access::Read).map_err(io)?;
    let header = match FileHeader::read(&&*file, FileKind::Snapshot, number, Some(id)).map_err(io)? {
        Ok(header) => header,
        Err(BadHeader::Format(found)) => {
            return Err(OpenError::Format { path: path(), found, known: FORMAT });
        }
        Err(BadHeader::Foreign) => return Err(OpenError::Foreign { path: path() }),
        Err(bad @ (BadHeader::Empty | BadHeader::Damaged)) => return Err(damaged(0, &bad)),
    };
    let mut records = Records::new(&*file, Seed::snapshot(id, number), FILE_HEADER, 0);
    let mut count = 0;
    loop {
        match records.step().map_err(io)? {
            Step::Record { offset, kind: Kind::End, payload } => {
                let (claimed, synced) = parse_end(payload).unwrap_or_default();
                if claimed != count {
                    return Err(damaged(offset, &format!("it holds {count} records instead of {claimed}")));
                }
                let start = Start {
                    segment: number,
                    position: header.base,
                    synced,
                    snapshot: Some(number),
                    snapshot_bytes: file.size().map_err(io)?,
                };
                return Ok((start, count));
            }
            Step::Record { offset, kind, payload } => {
                count += 1;
                apply(kind, payload).map_err(|what| OpenError::Record { path: path(), offset, what })?;
            }
            Step::End { offset } => return Err(damaged(offset, &"its end is missing")),
            Step::Flaw { offset, flaw: flaw @ Flaw::Kind(_) } => {
                return Err(OpenError::Record { path: path(), offset, what: flaw.to_string() });
            }
            Step::Flaw { offset, flaw } => return Err(damaged(offset, &flaw)),
        }
    }
}

/// The two numbers of an `End`: records, and the place up to which the log was synced.
pub(super) fn parse_end(payload: &[u8]) -> Option<(u64, u64)> {
    let (records, synced) = payload.split_first_chunk::<8>()?;
    Some((u64::from_le_bytes(*records), u64::from_le_bytes(synced.try_into().ok()?)))
}

/// The number of a `Synced`.
pub(super) fn parse_synced(payload: &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(payload.try_into().ok()?))
}

/// The furthest place that the valid records from here on say was synced.
fn synced_in(records: &mut Records<&dyn File>) -> io::Result<u64> {
    let mut furthest = 0;
    loop {
        match records.step()? {
            Step::Record { kind: Kind::Synced, payload, .. } => {
                furthest = furthest.max(parse_synced(payload).unwrap_or_default());
            }
            Step::Record { .. } => {}
            Step::End { .. } => return Ok(furthest),
            Step::Flaw { .. } => {
                if !records.resync()? {
                    return Ok(furthest);
                }
            }
        }
    }
}

/// How many bytes lie between `offset` and the zeros at the end.
fn content_bytes(file: &dyn File, offset: u64) -> io::Result<u64> {
    let mut records = Records::new(file, Seed::log(0), offset, 0);
    Ok(records.content_end()? - offset)
}

/// Makes durable what was found, since the process that wrote it may have crashed before its sync; then removes what is
/// no longer needed.
fn tidy(fs: &dyn Fs, files: &Inventory, start: &Start, next_segment: u64) -> io::Result<()> {
    let kept = |number: &&u64| (start.segment..next_segment).contains(*number);
    for number in files.segments.iter().filter(kept) {
        let file: Arc<dyn File> = fs.open(&FileKind::Segment.name(*number), Access::Write)?;
        file.sync()?;
    }
    fs.sync_dir()?;
    for name in &files.leftovers {
        fs.remove(name)?;
    }
    for number in files.snapshots.iter().filter(|number| Some(**number) != start.snapshot) {
        fs.remove(&FileKind::Snapshot.name(*number))?;
    }
    for number in files.segments.iter().filter(|number| **number < start.segment) {
        fs.remove(&FileKind::Segment.name(*number))?;
    }
    Ok(())
}
