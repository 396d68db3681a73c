//! Names and headers of the journal's files.
//!
//! ```text
//! LOCK              who has the directory open
//! NODE              whose directory this is, and its format; text
//! journal-00000007  a segment: header, records, zeros
//! journal-spare     space reserved for the next segment; zeros
//! snapshot-00000007 a snapshot: header, records, an `End`. Segment 7 follows it
//! *.tmp             files under way; removed when the directory is opened
//!
//! header = magic version zeros id number base synced zeros sum    64 bytes
//! magic   = 8 bytes   "distkv J" for segments, "distkv S" for snapshots
//! version = u16       `FORMAT`
//! id      = u64       of the directory, drawn when it was made
//! number  = u64       as in the name
//! base    = u64       segment: the position in the log of its first record; snapshot: that of the segment which follows
//! synced  = u64       the log was durable up to here when the header was written
//! sum     = u32       CRC32C of the 60 bytes before
//! ```
//!
//! Magic, version and sum keep their places in every later format, so that a newer file is told from a damaged one.

use std::io;

use super::fs::Fs;
use super::record::Source;

/// The format that this program writes, and the only one it reads.
pub(super) const FORMAT: u16 = 1;

/// The length of a file's header.
pub(super) const FILE_HEADER: u64 = 64;

/// The name of the reserved file.
pub(super) const SPARE: &str = "journal-spare";

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileKind {
    /// A part of the log.
    Segment,
    /// The whole state at one position.
    Snapshot,
}

impl FileKind {
    /// The name of the file with this number.
    pub(super) fn name(self, number: u64) -> String {
        format!("{}{number:08}", self.prefix())
    }

    fn number(self, name: &str) -> Option<u64> {
        let digits = name.strip_prefix(self.prefix())?;
        let number = digits.parse().ok()?;
        (self.name(number) == name).then_some(number)
    }

    fn prefix(self) -> &'static str {
        match self {
            Self::Segment => "journal-",
            Self::Snapshot => "snapshot-",
        }
    }

    fn magic(self) -> &'static [u8; 8] {
        match self {
            Self::Segment => b"distkv J",
            Self::Snapshot => b"distkv S",
        }
    }
}

/// The header of a segment or snapshot; the module's head tells the fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileHeader {
    pub kind: FileKind,
    pub id: u64,
    pub number: u64,
    pub base: u64,
    pub synced: u64,
}

/// Why a header can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadHeader {
    /// Shorter than a header, or nothing but zeros: it was never written.
    #[error("an empty header")]
    Empty,
    /// Magic or sum are wrong, or the number is not that of the name.
    #[error("a damaged header")]
    Damaged,
    /// A right header of another format.
    #[error("format {0}")]
    Format(u16),
    /// A right header of another directory.
    #[error("the header of another data directory's file")]
    Foreign,
}

impl FileHeader {
    /// The header's bytes.
    pub(super) fn encode(&self) -> [u8; FILE_HEADER as usize] {
        let mut bytes = [0; FILE_HEADER as usize];
        bytes[..8].copy_from_slice(self.kind.magic());
        bytes[8..10].copy_from_slice(&FORMAT.to_le_bytes());
        for (place, field) in [(16, self.id), (24, self.number), (32, self.base), (40, self.synced)] {
            bytes[place..place + 8].copy_from_slice(&field.to_le_bytes());
        }
        let sum = crc32c::crc32c(&bytes[..60]);
        bytes[60..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// Reads the header of the file with this number. `id` is the directory's, where it is known.
    pub(super) fn read(
        source: &impl Source,
        kind: FileKind,
        number: u64,
        id: Option<u64>,
    ) -> io::Result<Result<Self, BadHeader>> {
        let mut bytes = [0; FILE_HEADER as usize];
        let mut have = 0;
        while have < bytes.len() {
            let got = source.read_at(&mut bytes[have..], have as u64)?;
            if got == 0 {
                break;
            }
            have += got;
        }
        Ok(Self::decode(&bytes, kind, number, id))
    }

    fn decode(
        bytes: &[u8; FILE_HEADER as usize],
        kind: FileKind,
        number: u64,
        id: Option<u64>,
    ) -> Result<Self, BadHeader> {
        if bytes.iter().all(|byte| *byte == 0) {
            return Err(BadHeader::Empty);
        }
        let sum = crc32c::crc32c(&bytes[..60]).to_le_bytes();
        if !bytes.starts_with(kind.magic()) || sum != bytes[60..] {
            return Err(BadHeader::Damaged);
        }
        let version = u16::from_le_bytes([bytes[8], bytes[9]]);
        if version != FORMAT {
            return Err(BadHeader::Format(version));
        }
        let field = |place: usize| {
            let mut le = [0; 8];
            le.copy_from_slice(&bytes[place..place + 8]);
            u64::from_le_bytes(le)
        };
        let header = Self { kind, id: field(16), number: field(24), base: field(32), synced: field(40) };
        if header.number != number {
            return Err(BadHeader::Damaged);
        }
        if id.is_some_and(|id| id != header.id) {
            return Err(BadHeader::Foreign);
        }
        Ok(header)
    }
}

/// Which of the journal's files a directory holds; numbers ascend.
#[derive(Debug, Default)]
pub(super) struct Inventory {
    pub segments: Vec<u64>,
    pub snapshots: Vec<u64>,
    /// Files under way and reserved ones: nothing that counts.
    pub leftovers: Vec<String>,
}

impl Inventory {
    /// Looks into the directory.
    pub(super) fn read(fs: &dyn Fs) -> io::Result<Self> {
        let mut found = Self::default();
        for name in fs.list()? {
            if let Some(number) = FileKind::Segment.number(&name) {
                found.segments.push(number);
            } else if let Some(number) = FileKind::Snapshot.number(&name) {
                found.snapshots.push(number);
            } else if name == SPARE || is_temporary(&name) {
                found.leftovers.push(name);
            }
        }
        found.segments.sort_unstable();
        found.snapshots.sort_unstable();
        Ok(found)
    }

    /// Is there nothing that counts?
    pub(super) fn is_empty(&self) -> bool {
        self.segments.is_empty() && self.snapshots.is_empty()
    }
}

/// The name of a file under way to be `name`.
pub(super) fn temporary(name: &str) -> String {
    format!("{name}.tmp")
}

fn is_temporary(name: &str) -> bool {
    name.strip_suffix(".tmp")
        .is_some_and(|name| name == super::directory::NODE_FILE || FileKind::Snapshot.number(name).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: FileHeader =
        FileHeader { kind: FileKind::Segment, id: 5, number: 12, base: 1000, synced: 900 };

    fn read(bytes: &[u8], kind: FileKind, number: u64, id: Option<u64>) -> Result<FileHeader, BadHeader> {
        FileHeader::read(&bytes, kind, number, id).unwrap()
    }

    #[test]
    fn a_header_is_read_as_written() {
        let bytes = HEADER.encode();
        assert_eq!(read(&bytes, FileKind::Segment, 12, Some(5)), Ok(HEADER));
        assert_eq!(read(&bytes, FileKind::Segment, 12, None), Ok(HEADER));
    }

    #[test]
    fn what_is_wrong_with_a_header_is_told_apart() {
        let bytes = HEADER.encode();
        assert_eq!(read(&bytes, FileKind::Segment, 13, Some(5)), Err(BadHeader::Damaged));
        assert_eq!(read(&bytes, FileKind::Snapshot, 12, Some(5)), Err(BadHeader::Damaged));
        assert_eq!(read(&bytes, FileKind::Segment, 12, Some(6)), Err(BadHeader::Foreign));
        assert_eq!(read(&[], FileKind::Segment, 12, Some(5)), Err(BadHeader::Empty));
        assert_eq!(read(&[0; 100], FileKind::Segment, 12, Some(5)), Err(BadHeader::Empty));
        assert_eq!(read(&bytes[..50], FileKind::Segment, 12, Some(5)), Err(BadHeader::Damaged));
        for at in 0..bytes.len() {
            let mut damaged = bytes;
            damaged[at] ^= 0x10;
            assert_eq!(read(&damaged, FileKind::Segment, 12, Some(5)), Err(BadHeader::Damaged), "{at}");
        }
        let mut newer = bytes;
        newer[8] = 2;
        let sum = crc32c::crc32c(&newer[..60]);
        newer[60..].copy_from_slice(&sum.to_le_bytes());
        assert_eq!(read(&newer, FileKind::Segment, 12, Some(5)), Err(BadHeader::Format(2)));
    }

    #[test]
    fn names_and_numbers_belong_together() {
        assert_eq!(FileKind::Segment.name(7), "journal-00000007");
        assert_eq!(FileKind::Snapshot.number("snapshot-00000007"), Some(7));
        assert_eq!(FileKind::Segment.number("journal-123456789"), Some(123_456_789));
        for other in ["journal-7", "journal-+0000007", "journal-spare", "snapshot-00000007.tmp", "NODE"] {
            assert_eq!(FileKind::Segment.number(other), None, "{other}");
            assert_eq!(FileKind::Snapshot.number(other), None, "{other}");
        }
    }
}
