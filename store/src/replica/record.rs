//! What the replica writes into the journal, and reads back: the bytes of one record.
//!
//! A record is one or more *items*; those of one record count together or not at all. An item begins with a byte that
//! tells its kind and the version of its layout; what is not known here was written by a newer program.
//!
//! ```text
//! event      1, flags, origin, tick, tock, path, meta, [value], [dots: chain], [dots: absorbed]
//! ceiling    2, name, tick                    the node may use ticks up to this one
//! life       3, origin, tick                  a life begins; its first tick is above this one
//! account    4, origin, ranges, ranges        ticks that are seen; those of them which are purged
//! clock      5, tock                          the greatest tock seen
//! forgotten  6, ranges                        tocks since which changes can't be told any more
//!
//! flags      bit 0: value, 1: chain, 2: absorbed
//! origin     name, life: 8 bytes, little-endian
//! name       length: 1 byte, ASCII
//! dots       count, then origin and tick of each
//! ranges     count, then of each the gap from the end of the one before and its length less one
//! path       length, its byte form
//! meta       a msgpack map
//! value      a msgpack value
//! ```
//!
//! Counts, lengths, ticks and tocks are LEB128.

use smallvec::SmallVec;

use crate::chain::{self, BadVersion, Dot, Origin, Version};
use crate::ledger::{Account, Ledger};
use crate::meta::{Meta, MetaError, Users};
use crate::path::{PathError, PathRef};
use crate::ticks::{BadNodeName, Life, NodeName, Tick, TickSet, Tock};
use crate::tree::Entry;
use crate::value::{Tokens, Value, ValueError};

const EVENT: u8 = 1;
const CEILING: u8 = 2;
const LIFE: u8 = 3;
const ACCOUNT: u8 = 4;
const CLOCK: u8 = 5;
const FORGOTTEN: u8 = 6;

const HAS_VALUE: u8 = 1;
const HAS_CHAIN: u8 = 2;
const HAS_ABSORBED: u8 = 4;

/// Why bytes are no record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// They end in the middle of an item.
    #[error("the record ends too early")]
    Truncated,
    /// An item of an unknown kind.
    #[error(
        "the record has an item of kind {0}, which this version does not know; was it written by a newer one?"
    )]
    UnknownItem(u8),
    /// A flag of an event that has no meaning here.
    #[error("the record has an event with unknown flags {0:#x}; was it written by a newer version?")]
    UnknownFlags(u8),
    /// A number that is too large, or ranges of ticks that overlap.
    #[error("the record has a number out of range")]
    Number,
    /// A tock at or above its limit.
    #[error("the record has a tock of 2^62 or more, which no node takes")]
    Tock,
    /// Too many dots, or a life twice.
    #[error("the record has a bad chain: {0}")]
    Chain(#[from] BadVersion),
    /// A bad name of a node.
    #[error("the record has a bad name of a node: {0}")]
    Name(#[from] BadNodeName),
    /// A bad path.
    #[error("the record has a bad path: {0}")]
    Path(#[from] PathError),
    /// Bad meta data.
    #[error("the record has bad meta data: {0}")]
    Meta(#[from] MetaError),
    /// A bad value.
    #[error("the record has a bad value: {0}")]
    Value(#[from] ValueError),
}

/// Appends an event.
pub(super) fn event(out: &mut Vec<u8>, path: PathRef<'_>, entry: &Entry) {
    let version = &entry.version;
    let mut flags = 0;
    if entry.value.is_some() {
        flags |= HAS_VALUE;
    }
    if !version.tail().is_empty() {
        flags |= HAS_CHAIN;
    }
    if !version.absorbed().is_empty() {
        flags |= HAS_ABSORBED;
    }
    out.extend_from_slice(&[EVENT, flags]);
    dot(out, version.dot());
    number(out, version.tock().get());
    number(out, path.as_bytes().len() as u64);
    out.extend_from_slice(path.as_bytes());
    entry.meta.encode(out);
    if let Some(value) = &entry.value {
        out.extend_from_slice(value.as_bytes());
    }
    for dots in [version.tail(), version.absorbed()].into_iter().filter(|dots| !dots.is_empty()) {
        number(out, dots.len() as u64);
        for known in dots {
            dot(out, known);
        }
    }
}

/// Appends a ceiling of a node's ticks.
pub(super) fn ceiling(out: &mut Vec<u8>, node: &NodeName, tick: Tick) {
    out.push(CEILING);
    name(out, node);
    number(out, tick.0);
}

/// Appends the beginning of a life.
pub(super) fn life(out: &mut Vec<u8>, origin: &Origin, above: Tick) {
    out.push(LIFE);
    put_origin(out, origin);
    number(out, above.0);
}

/// Appends what is known of a life's ticks.
pub(super) fn account(out: &mut Vec<u8>, origin: &Origin, seen: &TickSet, purged: &TickSet) {
    out.push(ACCOUNT);
    put_origin(out, origin);
    put_ranges(out, seen);
    put_ranges(out, purged);
}

/// Appends tocks since which changes can't be told any more.
pub(super) fn forgotten(out: &mut Vec<u8>, tocks: &TickSet) {
    out.push(FORGOTTEN);
    put_ranges(out, tocks);
}

fn put_ranges(out: &mut Vec<u8>, set: &TickSet) {
    let ranges = set.ranges();
    number(out, ranges.len() as u64);
    let mut end = 0;
    for (first, last) in ranges {
        number(out, first.0 - end);
        number(out, last.0 - first.0);
        end = last.0;
    }
}

/// Appends that an event is seen.
pub(super) fn tick(out: &mut Vec<u8>, dot: &Dot) {
    account(out, &dot.origin, &TickSet::from_iter([dot.tick]), &TickSet::new());
}

/// Appends the whole of an account.
pub(super) fn whole_account(out: &mut Vec<u8>, account: &Account) {
    self::account(out, account.origin(), account.seen(), account.purged());
}

/// Appends the greatest tock seen.
pub(super) fn clock(out: &mut Vec<u8>, tock: Tock) {
    out.push(CLOCK);
    number(out, tock.get());
}

fn name(out: &mut Vec<u8>, node: &NodeName) {
    // A name has at most 64 bytes.
    out.push(node.as_str().len() as u8);
    out.extend_from_slice(node.as_str().as_bytes());
}

fn put_origin(out: &mut Vec<u8>, origin: &Origin) {
    name(out, origin.node());
    out.extend_from_slice(&origin.life().0.to_le_bytes());
}

fn dot(out: &mut Vec<u8>, dot: &Dot) {
    put_origin(out, &dot.origin);
    number(out, dot.tick.0);
}

fn number(out: &mut Vec<u8>, mut rest: u64) {
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// A dot as it is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct RawDot<'a> {
    pub(super) node: &'a str,
    pub(super) life: Life,
    pub(super) tick: Tick,
}

impl RawDot<'_> {
    /// The dot, its origin shared through `ledger`.
    pub(super) fn share(self, ledger: &mut Ledger) -> Result<Dot, RecordError> {
        Ok(Dot { origin: ledger.origin(self.node, self.life)?, tick: self.tick })
    }
}

/// An event as it is written: checked, but not yet shared.
#[derive(Debug)]
pub(super) struct RawEvent<'a> {
    pub(super) path: PathRef<'a>,
    value: Option<&'a [u8]>,
    meta: &'a [u8],
    dot: RawDot<'a>,
    tock: Tock,
    chain: Vec<RawDot<'a>>,
    absorbed: Vec<RawDot<'a>>,
}

impl RawEvent<'_> {
    #[cfg(test)]
    pub(super) fn tick(&self) -> Tick {
        self.dot.tick
    }

    /// The entry which the event makes, its names shared.
    pub(super) fn entry(&self, ledger: &mut Ledger, users: &mut Users) -> Result<Entry, RecordError> {
        let mut share =
            |dots: &[RawDot<'_>]| dots.iter().map(|dot| dot.share(ledger)).collect::<Result<_, _>>();
        let (chain, absorbed) = (share(&self.chain)?, share(&self.absorbed)?);
        let version = Version::from_parts(self.dot.share(ledger)?, self.tock, chain, absorbed)?;
        let meta = Meta::decode(self.meta, users)?;
        Ok(Entry { value: self.value.map(Value::known), meta, version })
    }
}

/// One item of a record.
#[derive(Debug)]
pub(super) enum Item<'a> {
    Event(RawEvent<'a>),
    Ceiling { node: &'a str, tick: Tick },
    Life { origin: RawDot<'a> },
    Account { origin: RawDot<'a>, seen: TickSet, purged: TickSet },
    Clock(Tock),
    Forgotten(TickSet),
}

/// Reads the items of a record. Safe on bytes from anywhere.
pub(super) fn read(bytes: &[u8]) -> Result<SmallVec<[Item<'_>; 2]>, RecordError> {
    let mut reader = Reader { rest: bytes };
    let mut items = SmallVec::new();
    while !reader.rest.is_empty() {
        items.push(reader.item()?);
    }
    Ok(items)
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn item(&mut self) -> Result<Item<'a>, RecordError> {
        match self.byte()? {
            EVENT => self.event().map(Item::Event),
            CEILING => Ok(Item::Ceiling { node: self.name()?, tick: Tick(self.number()?) }),
            LIFE => Ok(Item::Life { origin: self.dot()? }),
            ACCOUNT => {
                let (node, life) = self.origin()?;
                let origin = RawDot { node, life, tick: Tick(0) };
                Ok(Item::Account { origin, seen: self.ranges()?, purged: self.ranges()? })
            }
            CLOCK => self.tock().map(Item::Clock),
            FORGOTTEN => self.ranges().map(Item::Forgotten),
            kind => Err(RecordError::UnknownItem(kind)),
        }
    }

    fn event(&mut self) -> Result<RawEvent<'a>, RecordError> {
        let flags = self.byte()?;
        if flags & !(HAS_VALUE | HAS_CHAIN | HAS_ABSORBED) != 0 {
            return Err(RecordError::UnknownFlags(flags));
        }
        let dot = self.dot()?;
        let tock = self.tock()?;
        let len = usize::try_from(self.number()?).map_err(|_| RecordError::Truncated)?;
        let path = PathRef::from_bytes(self.take(len)?)?;
        let meta = self.msgpack().map_err(MetaError::from)?;
        let value = if flags & HAS_VALUE != 0 { Some(self.msgpack()?) } else { None };
        let chain = if flags & HAS_CHAIN != 0 { self.dots()? } else { Vec::new() };
        let absorbed = if flags & HAS_ABSORBED != 0 { self.dots()? } else { Vec::new() };
        Ok(RawEvent { path, value, meta, dot, tock, chain, absorbed })
    }

    fn msgpack(&mut self) -> Result<&'a [u8], ValueError> {
        let mut tokens = Tokens::new(self.rest);
        let value = tokens.whole()?;
        self.rest = tokens.rest();
        Ok(value)
    }

    fn dots(&mut self) -> Result<Vec<RawDot<'a>>, RecordError> {
        let count = self.number()?;
        if count > chain::MAX_LENGTH as u64 {
            return Err(BadVersion::TooLong.into());
        }
        (0..count).map(|_| self.dot()).collect()
    }

    fn dot(&mut self) -> Result<RawDot<'a>, RecordError> {
        let (node, life) = self.origin()?;
        Ok(RawDot { node, life, tick: Tick(self.number()?) })
    }

    fn origin(&mut self) -> Result<(&'a str, Life), RecordError> {
        let node = self.name()?;
        let (life, rest) = self.rest.split_first_chunk::<8>().ok_or(RecordError::Truncated)?;
        self.rest = rest;
        Ok((node, Life(u64::from_le_bytes(*life))))
    }

    fn name(&mut self) -> Result<&'a str, RecordError> {
        let len = usize::from(self.byte()?);
        let name = self.take(len)?;
        let bad = || BadNodeName { name: String::from_utf8_lossy(name).into_owned() };
        Ok(std::str::from_utf8(name).map_err(|_| bad())?)
    }

    fn ranges(&mut self) -> Result<TickSet, RecordError> {
        let count = self.number()?;
        let mut set = TickSet::new();
        let mut end = 0_u64;
        for _ in 0..count {
            let first = end.checked_add(self.number()?).ok_or(RecordError::Number)?;
            let last = first.checked_add(self.number()?).ok_or(RecordError::Number)?;
            set.insert_range(Tick(first), Tick(last));
            end = last;
        }
        Ok(set)
    }

    fn tock(&mut self) -> Result<Tock, RecordError> {
        Tock::new(self.number()?).ok_or(RecordError::Tock)
    }

    fn number(&mut self) -> Result<u64, RecordError> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7F);
            if bits << shift >> shift != bits {
                return Err(RecordError::Number);
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(RecordError::Number)
    }

    fn byte(&mut self) -> Result<u8, RecordError> {
        let (&byte, rest) = self.rest.split_first().ok_or(RecordError::Truncated)?;
        self.rest = rest;
        Ok(byte)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], RecordError> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(RecordError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }
}
