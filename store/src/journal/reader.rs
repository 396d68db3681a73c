//! Reading a data directory without changing it: for `distkv dump`, for checks, and for saving what is left of a damaged one.
//!
//! Where recovery stops at the first damage, this goes on at the next whole record and notes what lies between.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::OpenError;
use super::directory::Directory;
use super::fs::{Access, DiskFs, File, Fs};
use super::lock::{Holder, Lock, LockError};
use super::record::{Kind, Records, Seed, Source, Step};
use super::recovery::{parse_end, parse_synced};
use super::segment::{FILE_HEADER, FileHeader, FileKind, Inventory};

/// More places than this are counted, not listed.
const TROUBLES_MAX: usize = 1000;

/// A data directory, open for reading. It is locked meanwhile, if nobody else has it and its lock file can be written.
pub struct Reader {
    fs: Arc<dyn Fs>,
    files: Inventory,
    directory: Option<Directory>,
    directory_trouble: Option<OpenError>,
    in_use: Option<Holder>,
    _lock: Option<Lock>,
}

/// A whole record.
#[derive(Debug)]
pub struct Found<'a> {
    /// The name of its file.
    pub file: &'a str,
    /// Where it begins there.
    pub offset: u64,
    /// What it is.
    pub kind: Kind,
    /// What it says.
    pub payload: &'a [u8],
}

/// A place that can't be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// The file.
    pub path: PathBuf,
    /// The bytes in question.
    pub bytes: Range<u64>,
    /// What is wrong.
    pub what: String,
    /// Something that had been synced is lost. Otherwise it is the tail that a crash (or a server at work) has left unfinished.
    pub damage: bool,
}

/// What a reading found.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// How many files were read.
    pub files: u64,
    /// How many whole records they hold, without the journal's own.
    pub records: u64,
    /// What can't be read: the first thousand places, in order.
    pub troubles: Vec<Trouble>,
    /// How many places there are beyond those.
    pub troubles_more: u64,
}

impl Summary {
    /// Is anything lost that had been synced?
    pub fn is_damaged(&self) -> bool {
        self.troubles_more > 0 || self.troubles.iter().any(|trouble| trouble.damage)
    }
}

impl Reader {
    /// Opens a directory. If a server has it, that is no error: see [`Reader::in_use`].
    pub fn open(dir: &Path) -> Result<Self, OpenError> {
        let fs = DiskFs::existing(dir).map_err(|error| OpenError::io("open", dir.to_owned(), error))?;
        let mut reader = Self::open_on(Arc::new(fs))?;
        match Lock::acquire(dir) {
            Ok(lock) => reader._lock = Some(lock),
            Err(LockError::Held(holder)) => reader.in_use = Some(holder),
            Err(LockError::Io(error)) => {
                // Read-only media and foreign files can be read all the same.
                tracing::debug!(%error, "reading without a lock");
            }
        }
        // Once more: a server that has just ended may have changed the files.
        reader.files = reader.inventory()?;
        Ok(reader)
    }

    /// As [`Reader::open`], over any files, and without a lock.
    pub fn open_on(fs: Arc<dyn Fs>) -> Result<Self, OpenError> {
        let mut reader = Self {
            fs,
            files: Inventory::default(),
            directory: None,
            directory_trouble: None,
            in_use: None,
            _lock: None,
        };
        reader.files = reader.inventory()?;
        match Directory::read(&*reader.fs, &reader.files) {
            Ok(None) => return Err(OpenError::Nothing { dir: reader.fs.path("") }),
            Ok(found) => reader.directory = found,
            Err(error) if reader.files.is_empty() => return Err(error),
            Err(error @ OpenError::Format { .. }) => return Err(error),
            Err(error) => reader.directory_trouble = Some(error),
        }
        Ok(reader)
    }

    /// Whose directory it is, if it tells.
    pub fn node(&self) -> Option<&str> {
        self.directory.as_ref().map(|directory| directory.node.as_str())
    }

    /// Who else has the directory open. Then files may change and vanish while they are read, and the end may be unfinished.
    pub fn in_use(&self) -> Option<&Holder> {
        self.in_use.as_ref()
    }

    /// Hands all whole records to `visit`: those of the newest snapshot (and, if that is damaged, of an older one before it), then those
    /// of the log.
    pub fn read(&self, visit: &mut dyn FnMut(Found<'_>)) -> Result<Summary, OpenError> {
        let mut survey = Survey {
            fs: &*self.fs,
            id: self.id()?,
            visit,
            summary: Summary::default(),
            flaws: Vec::new(),
            synced: 0,
        };
        if let Some(error) = &self.directory_trouble {
            survey.note(self.fs.path(super::directory::NODE_FILE), 0..0, error.to_string(), None);
        }
        let snapshots = self.snapshots(survey.id)?;
        let mut base = None;
        for number in snapshots {
            let found = survey.snapshot(*number)?;
            base = base.or(found);
        }
        let first = snapshots.first().or(self.files.segments.first()).copied().unwrap_or_default();
        survey.log(&self.files, first, base, !snapshots.is_empty())?;
        Ok(survey.finish())
    }

    /// The newest snapshot, and the older ones if that one is not whole.
    fn snapshots(&self, id: u64) -> Result<&[u64], OpenError> {
        let all = self.files.snapshots.as_slice();
        let Some((newest, [_, ..])) = all.split_last() else {
            return Ok(all);
        };
        let mut ignore = |_: Found<'_>| {};
        let mut survey = Survey {
            fs: &*self.fs,
            id,
            visit: &mut ignore,
            summary: Summary::default(),
            flaws: Vec::new(),
            synced: 0,
        };
        survey.snapshot(*newest)?;
        let whole = survey.flaws.is_empty();
        Ok(if whole { &all[all.len() - 1..] } else { all })
    }

    fn inventory(&self) -> Result<Inventory, OpenError> {
        Inventory::read(&*self.fs).map_err(|error| OpenError::io("list", self.fs.path(""), error))
    }

    /// The id of the directory; if `NODE` does not tell it, the first readable header does.
    fn id(&self) -> Result<u64, OpenError> {
        if let Some(directory) = &self.directory {
            return Ok(directory.id);
        }
        let snapshots = self.files.snapshots.iter().map(|number| (FileKind::Snapshot, *number));
        let segments = self.files.segments.iter().map(|number| (FileKind::Segment, *number));
        for (kind, number) in snapshots.chain(segments) {
            let name = kind.name(number);
            let io = |error| OpenError::io("read", self.fs.path(&name), error);
            let file = self.fs.open(&name, Access::Read).map_err(io)?;
            if let Ok(header) = FileHeader::read(&&*file, kind, number, None).map_err(io)? {
                return Ok(header.id);
            }
        }
        Err(OpenError::Nothing { dir: self.fs.path("") })
    }
}

/// A header, or what is wrong with it.
type Header = Result<FileHeader, String>;

/// One reading under way.
struct Survey<'r> {
    fs: &'r dyn Fs,
    id: u64,
    visit: &'r mut dyn FnMut(Found<'_>),
    summary: Summary,
    /// What was noted, with its position in the log.
    flaws: Vec<(Trouble, Option<u64>)>,
    /// Up to where the log is known to have been synced.
    synced: u64,
}

impl Survey<'_> {
    /// Reads a snapshot; answers where the log goes on, if its header tells.
    fn snapshot(&mut self, number: u64) -> Result<Option<u64>, OpenError> {
        let name = FileKind::Snapshot.name(number);
        let (file, header) = self.open(FileKind::Snapshot, number)?;
        let path = self.fs.path(&name);
        let base = header.as_ref().ok().map(|header| header.base);
        if let Err(what) = header {
            self.note(path.clone(), 0..FILE_HEADER, what, None);
        }
        let mut records = Records::new(&*file, Seed::snapshot(self.id, number), FILE_HEADER, 0);
        let mut ended = false;
        let end = self.records(&name, &mut records, &mut |survey, kind, payload| {
            if let (Kind::End, Some((_, synced))) = (kind, parse_end(payload)) {
                ended = true;
                survey.synced = survey.synced.max(synced);
            }
        })?;
        if !ended {
            self.note(path, end..end, "the end of the snapshot is missing".to_owned(), None);
        }
        Ok(base)
    }

    /// Reads the segments from `first` on, whose first record should lie at `position`.
    fn log(
        &mut self,
        files: &Inventory,
        first: u64,
        mut position: Option<u64>,
        after_snapshot: bool,
    ) -> Result<(), OpenError> {
        let mut expected = if after_snapshot { first } else { 1 };
        for number in files.segments.iter().copied().filter(|number| *number >= first) {
            if number != expected {
                let path = self.fs.path(&FileKind::Segment.name(expected));
                let what = format!("missing, with all up to {}", FileKind::Segment.name(number));
                self.note(path, 0..0, what, Some(position.unwrap_or_default()));
            }
            position = Some(self.segment(number, position)?);
            expected = number + 1;
        }
        if after_snapshot && expected == first {
            let path = self.fs.path(&FileKind::Segment.name(first));
            self.note(path, 0..0, "missing".to_owned(), None);
        }
        Ok(())
    }

    /// Reads a segment which should begin at `expected`; answers the position of its end.
    fn segment(&mut self, number: u64, expected: Option<u64>) -> Result<u64, OpenError> {
        let name = FileKind::Segment.name(number);
        let (file, header) = self.open(FileKind::Segment, number)?;
        let base = match header {
            Ok(header) => {
                self.synced = self.synced.max(header.synced);
                let before = expected.unwrap_or(header.base);
                if before != header.base {
                    let what = format!("it begins at position {} instead of {before}", header.base);
                    self.note(self.fs.path(&name), 0..0, what, Some(before.min(header.base)));
                }
                header.base
            }
            Err(what) => {
                let base = expected.unwrap_or_default();
                let size = file.size().map_err(|error| OpenError::io("read", self.fs.path(&name), error))?;
                self.note(self.fs.path(&name), 0..FILE_HEADER.min(size), what, Some(base));
                base
            }
        };
        let mut records = Records::new(&*file, Seed::log(self.id), FILE_HEADER, base);
        let before = self.flaws.len();
        let end = self.records(&name, &mut records, &mut |survey, kind, payload| {
            if let (Kind::Synced, Some(synced)) = (kind, parse_synced(payload)) {
                survey.synced = survey.synced.max(synced);
            }
        })?;
        for (trouble, position) in self.flaws.iter_mut().skip(before) {
            *position = Some(base + trouble.bytes.start.saturating_sub(FILE_HEADER));
        }
        Ok(base + end.saturating_sub(FILE_HEADER))
    }

    /// Reads records up to the end of the file; answers where that is.
    fn records(
        &mut self,
        name: &str,
        records: &mut Records<&dyn File>,
        own: &mut dyn FnMut(&mut Self, Kind, &[u8]),
    ) -> Result<u64, OpenError> {
        let path = self.fs.path(name);
        let io = |error| OpenError::io("read", path.clone(), error);
        loop {
            match records.step().map_err(io)? {
                Step::Record { kind: kind @ (Kind::Synced | Kind::End), payload, .. } => {
                    own(self, kind, payload);
                }
                Step::Record { offset, kind, payload } => {
                    self.summary.records += 1;
                    (self.visit)(Found { file: name, offset, kind, payload });
                }
                Step::End { offset } => return Ok(offset),
                Step::Flaw { offset, flaw } => {
                    let found = records.resync().map_err(io)?;
                    let end = if found { records.offset() } else { records.content_end().map_err(io)? };
                    self.note(path.clone(), offset..end, flaw.to_string(), None);
                    if !found {
                        return Ok(offset);
                    }
                }
            }
        }
    }

    fn open(&mut self, kind: FileKind, number: u64) -> Result<(Arc<dyn File>, Header), OpenError> {
        let name = kind.name(number);
        let io = |error| OpenError::io("read", self.fs.path(&name), error);
        let file = self.fs.open(&name, Access::Read).map_err(io)?;
        self.summary.files += 1;
        let header = FileHeader::read(&&*file, kind, number, Some(self.id)).map_err(io)?;
        Ok((file, header.map_err(|bad| bad.to_string())))
    }

    fn note(&mut self, path: PathBuf, bytes: Range<u64>, what: String, position: Option<u64>) {
        if self.flaws.len() < TROUBLES_MAX {
            self.flaws.push((Trouble { path, bytes, what, damage: true }, position));
        } else {
            self.summary.troubles_more += 1;
        }
    }

    fn finish(self) -> Summary {
        let mut summary = self.summary;
        let synced = self.synced;
        summary.troubles = self
            .flaws
            .into_iter()
            .map(|(trouble, position)| Trouble {
                damage: position.is_none_or(|position| position < synced),
                ..trouble
            })
            .collect();
        summary
    }
}

/// Reads any bytes as a segment and as a snapshot, as far as they make sense, and answers how many records they hold. For
/// fuzzing: this must never panic, whatever it gets.
pub fn read_bytes(bytes: &[u8]) -> usize {
    let mut count = 0;
    for kind in [FileKind::Segment, FileKind::Snapshot] {
        let number = bytes.get(24..32).and_then(|le| le.try_into().ok()).map_or(0, u64::from_le_bytes);
        let header = FileHeader::read(&bytes, kind, number, None);
        let Ok(Ok(header)) = header else { continue };
        let (seed, base) = match kind {
            FileKind::Segment => (Seed::log(header.id), header.base),
            FileKind::Snapshot => (Seed::snapshot(header.id, number), 0),
        };
        let mut records = Records::new(bytes, seed, FILE_HEADER, base);
        count += count_records(&mut records).unwrap_or_default();
    }
    // Without a right header as well, which a fuzzer would seldom make.
    let mut records = Records::new(bytes, Seed::log(0), 0, 0);
    count + count_records(&mut records).unwrap_or_default()
}

fn count_records<S: Source>(records: &mut Records<S>) -> io::Result<usize> {
    let mut count = 0;
    loop {
        match records.step()? {
            Step::Record { .. } => count += 1,
            Step::End { .. } => return Ok(count),
            Step::Flaw { .. } => {
                if !records.resync()? {
                    return Ok(count);
                }
            }
        }
    }
}
