//! The record: how one piece of the log lies in a file, and how a file is read record by record.
//!
//! ```text
//! record  = length kind check sum payload
//! length  = u32       bytes of payload
//! kind    = u8        see `Kind`; never 0
//! check   = u24       low bits of CRC32C(seed, position, length, kind, sum)
//! sum     = u32       CRC32C(payload)
//! payload = length bytes
//! ```
//!
//! Numbers are little endian. `position` is the record's place in the log (or in the snapshot), and `seed` comes from the
//! directory's id: so a record is valid at its own place only, and one that lies within the payload of another, or in
//! a file of another directory, is not taken for one. A header of twelve zeros is the end: segments are made of zeros.

use std::io;

use super::fs::File;

/// The bytes before a payload.
pub(super) const RECORD_HEADER: usize = 12;

/// The longest payload.
pub const PAYLOAD_MAX: usize = 256 << 20;

/// How much of a file is read at once.
const CHUNK: usize = 1 << 20;

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A u64: the log was durable up to that position when this was written. It tells damage from a tail that was
    /// never synced.
    Synced = 1,
    /// The last record of a snapshot: a u64, the number of records before it; and a u64, a position up to which the log was
    /// durable before the snapshot became valid.
    End = 2,
    /// A record of the replica.
    Replica = 16,
    /// A record of the embedder, opaque to the store.
    Local = 17,
}

impl Kind {
    /// The kind that a byte stands for.
    pub fn from_byte(byte: u8) -> Option<Self> {
        [Self::Synced, Self::End, Self::Replica, Self::Local].into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// What the checks of all records of one log (or of one snapshot) start from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seed(u32);

impl Seed {
    /// The seed of the log of the directory with this id.
    pub(super) fn log(id: u64) -> Self {
        Self(crc32c::crc32c(&id.to_le_bytes()))
    }

    /// The seed of one of its snapshots.
    pub(super) fn snapshot(id: u64, number: u64) -> Self {
        let log = Self::log(id);
        Self(crc32c::crc32c_append(log.0, &number.to_le_bytes()))
    }

    fn check(self, position: u64, length: u32, kind: u8, sum: u32) -> [u8; 3] {
        let mut bytes = [0; 17];
        bytes[..8].copy_from_slice(&position.to_le_bytes());
        bytes[8..12].copy_from_slice(&length.to_le_bytes());
        bytes[12] = kind;
        bytes[13..].copy_from_slice(&sum.to_le_bytes());
        let [a, b, c, _] = crc32c::crc32c_append(self.0, &bytes).to_le_bytes();
        [a, b, c]
    }
}

/// Appends one record, which will lie at `position`.
///
/// The payload is at most [`PAYLOAD_MAX`] long; `sum` is its CRC32C.
pub(super) fn put(out: &mut Vec<u8>, seed: Seed, position: u64, kind: Kind, payload: &[u8], sum: u32) {
    debug_assert!(payload.len() <= PAYLOAD_MAX, "the callers check it");
    let length = payload.len() as u32;
    let kind = kind as u8;
    let [a, b, c] = seed.check(position, length, kind, sum);
    let mut header = [0; RECORD_HEADER];
    header[..4].copy_from_slice(&length.to_le_bytes());
    header[4..8].copy_from_slice(&[kind, a, b, c]);
    header[8..].copy_from_slice(&sum.to_le_bytes());
    out.extend_from_slice(&header);
    out.extend_from_slice(payload);
}

/// Where bytes are read from: a file, or a slice of memory.
pub(super) trait Source {
    /// As [`File::read_at`].
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
}

impl Source for &dyn File {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        File::read_at(*self, buf, offset)
    }
}

impl Source for &[u8] {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.get(offset..)).unwrap_or_default();
        let n = rest.len().min(buf.len());
        buf[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    }
}

/// What lies at a place of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step<'r> {
    /// A whole and valid record.
    Record {
        /// Where it begins in the file.
        offset: u64,
        /// What it is.
        kind: Kind,
        /// What it says.
        payload: &'r [u8],
    },
    /// The end: of the file, or of what was written to it.
    End {
        /// Where it is.
        offset: u64,
    },
    /// Something that is not a record.
    Flaw {
        /// Where it begins.
        offset: u64,
        /// What is wrong.
        flaw: Flaw,
    },
}

/// What is wrong with a place where a record should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Flaw {
    /// The header's check is wrong.
    #[error("a damaged record header")]
    Header,
    /// The header is right, the payload is not.
    #[error("a record whose content does not match its checksum")]
    Payload,
    /// The file ends within the record.
    #[error("a record that goes on after the end of the file")]
    Short,
    /// A right header of a kind that is not known.
    #[error("a record of the unknown kind {0}")]
    Kind(u8),
    /// Zeros, and then something that is not zero.
    #[error("a hole of zeros")]
    Hole,
}

/// Reads records one after another. It holds one chunk of the file (or one record, where that is longer).
pub(super) struct Records<S> {
    source: S,
    seed: Seed,
    /// The position in the log of the file's first byte; wraps, since a header precedes the first position.
    base: u64,
    /// Where the next record begins in the file.
    offset: u64,
    /// A part of the file, and where it begins.
    chunk: Vec<u8>,
    chunk_offset: u64,
}

impl<S: Source> Records<S> {
    /// Reads from `offset` on, where the record with that `position` begins.
    pub(super) fn new(source: S, seed: Seed, offset: u64, position: u64) -> Self {
        let base = position.wrapping_sub(offset);
        Self { source, seed, base, offset, chunk: Vec::new(), chunk_offset: offset }
    }

    /// Where the next record begins in the file.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// The next record; after a flaw or the end the same answer again.
    pub(super) fn step(&mut self) -> io::Result<Step<'_>> {
        let offset = self.offset;
        let Some(header) = self.header_at(offset)? else {
            return self.short_end();
        };
        if header == [0; RECORD_HEADER] {
            let clean = self.zeros_from(offset)?;
            return Ok(if clean { Step::End { offset } } else { Step::Flaw { offset, flaw: Flaw::Hole } });
        }
        let parsed = match self.parse(offset, header) {
            Ok(parsed) => parsed,
            Err(flaw) => return Ok(Step::Flaw { offset, flaw }),
        };
        let end = RECORD_HEADER + parsed.length;
        self.load(offset, end)?;
        let start = self.index(offset) + RECORD_HEADER;
        let Some(payload) = self.chunk.get(start..start + parsed.length) else {
            return Ok(Step::Flaw { offset, flaw: Flaw::Short });
        };
        if crc32c::crc32c(payload) != parsed.sum {
            return Ok(Step::Flaw { offset, flaw: Flaw::Payload });
        }
        self.offset += end as u64;
        Ok(Step::Record { offset, kind: parsed.kind, payload })
    }

    /// After a flaw: goes on to the next place at which a valid record begins. False if there is none.
    pub(super) fn resync(&mut self) -> io::Result<bool> {
        let mut offset = self.offset;
        loop {
            offset += 1;
            let Some(header) = self.header_at(offset)? else {
                return Ok(false);
            };
            // A cheap look first: most bytes of a damaged file are no header.
            if Kind::from_byte(header[4]).is_none() || self.parse(offset, header).is_err() {
                continue;
            }
            self.offset = offset;
            if matches!(self.step()?, Step::Record { .. }) {
                self.offset = offset;
                return Ok(true);
            }
        }
    }

    /// Where the last byte which is not zero ends, from the current place on.
    pub(super) fn content_end(&mut self) -> io::Result<u64> {
        let mut end = self.offset;
        let mut offset = self.offset;
        loop {
            self.load(offset, 1)?;
            let rest = self.chunk.get(self.index(offset)..).unwrap_or_default();
            if rest.is_empty() {
                return Ok(end);
            }
            if let Some(last) = rest.iter().rposition(|byte| *byte != 0) {
                end = offset + last as u64 + 1;
            }
            offset += rest.len() as u64;
        }
    }

    /// Fewer bytes than a header are left: the end, if they are zeros.
    fn short_end(&self) -> io::Result<Step<'static>> {
        let offset = self.offset;
        let rest = self.chunk.get(self.index(offset)..).unwrap_or_default();
        let clean = rest.iter().all(|byte| *byte == 0);
        Ok(if clean { Step::End { offset } } else { Step::Flaw { offset, flaw: Flaw::Short } })
    }

    fn parse(&self, offset: u64, header: [u8; RECORD_HEADER]) -> Result<Parsed, Flaw> {
        let [l0, l1, l2, l3, kind, c0, c1, c2, s0, s1, s2, s3] = header;
        let length = u32::from_le_bytes([l0, l1, l2, l3]);
        let sum = u32::from_le_bytes([s0, s1, s2, s3]);
        let check = self.seed.check(self.base.wrapping_add(offset), length, kind, sum);
        if length as usize > PAYLOAD_MAX || check != [c0, c1, c2] {
            return Err(Flaw::Header);
        }
        let kind = Kind::from_byte(kind).ok_or(Flaw::Kind(kind))?;
        Ok(Parsed { length: length as usize, kind, sum })
    }

    fn header_at(&mut self, offset: u64) -> io::Result<Option<[u8; RECORD_HEADER]>> {
        self.load(offset, RECORD_HEADER)?;
        let start = self.index(offset);
        Ok(self.chunk.get(start..start + RECORD_HEADER).and_then(|bytes| bytes.try_into().ok()))
    }

    /// Are there only zeros from `offset` on?
    fn zeros_from(&mut self, mut offset: u64) -> io::Result<bool> {
        let keep = offset;
        loop {
            self.load(offset, 1)?;
            let rest = self.chunk.get(self.index(offset)..).unwrap_or_default();
            if rest.is_empty() {
                break;
            }
            if rest.iter().any(|byte| *byte != 0) {
                self.load(keep, 1)?;
                return Ok(false);
            }
            offset += rest.len() as u64;
        }
        self.load(keep, 1)?;
        Ok(true)
    }

    fn index(&self, offset: u64) -> usize {
        (offset - self.chunk_offset) as usize
    }

    /// Makes the chunk begin at or before `offset` and hold `n` bytes from there, or all that the file has.
    fn load(&mut self, offset: u64, n: usize) -> io::Result<()> {
        if offset >= self.chunk_offset && self.index(offset) + n <= self.chunk.len() {
            return Ok(());
        }
        if offset >= self.chunk_offset && self.index(offset) <= self.chunk.len() {
            let start = self.index(offset);
            self.chunk.drain(..start);
        } else {
            self.chunk.clear();
        }
        self.chunk_offset = offset;
        let mut have = self.chunk.len();
        while have < n {
            // Grown step by step: what a header claims is believed as far as the file goes, no further.
            self.chunk.resize(have + CHUNK, 0);
            let got = self.source.read_at(&mut self.chunk[have..], offset + have as u64)?;
            have += got;
            if got == 0 {
                break;
            }
        }
        self.chunk.truncate(have);
        Ok(())
    }
}

struct Parsed {
    length: usize,
    kind: Kind,
    sum: u32,
}

#[cfg(test)]
mod tests;
