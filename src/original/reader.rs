//! Reads a file of the original program, record by record.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Read};

use distkv_store::meta::Meta;
use distkv_store::replica::Foreign;
use distkv_store::ticks::{BadNodeName, MAX_NAME_BYTES, NodeName, Tick, TickSet, Tock};
use distkv_store::value::{Token, Tokens};
use sha2::{Digest as _, Sha256};

use crate::native::wire::{Fault, Fields, FrameError, Frames, Lengthener, Link, read_chain};

/// The longest record: the longest value, and room for all else.
const RECORD_MAX: usize = 80 << 20;

/// How much is read at a time.
const CHUNK: usize = 256 << 10;

/// No event has a greater number: whoever claims one is damaged.
const TICK_MAX: u64 = 1 << 62;

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It can't be read.
    #[error("it can't be read: {0}")]
    Io(#[from] io::Error),
    /// It is not a sequence of records.
    #[error("this is no file of the original program, or it is damaged: {0}")]
    Frame(#[from] FrameError),
    /// A record is something else than a map.
    #[error("this is no file of the original program, or it is damaged: a record is a map")]
    NoRecord,
    /// A record is not as it should be.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// A node without a name.
    #[error(transparent)]
    Name(#[from] BadNodeName),
    /// A number that no event has.
    #[error("an event has the number {0}, which is no possible one")]
    Number(u64),
}

/// What a record says.
#[derive(Debug)]
pub(super) enum Record {
    /// An entry was given a value, or deleted.
    Event(Box<Foreign>),
    /// Which events there are.
    State(State),
    /// Something that is not known here.
    Strange,
}

/// Which events of which nodes were known when it was written.
#[derive(Debug, Default)]
pub(super) struct State {
    /// The numbers of their last events.
    pub(super) nodes: BTreeMap<NodeName, Tick>,
    /// Replaced ones.
    pub(super) known: BTreeMap<NodeName, TickSet>,
    /// Deletions.
    pub(super) deleted: BTreeMap<NodeName, TickSet>,
}

/// A file that is being read.
pub(super) struct Reader<R> {
    source: R,
    frames: Frames,
    buffer: Vec<u8>,
    /// How much of the buffer was used.
    used: usize,
    lengthener: Lengthener,
    names: Names,
    tock: Tock,
    ended: bool,
    /// How many records there were, the one that is wrong among them.
    pub(super) records: u64,
    /// How many bytes were read.
    pub(super) bytes: u64,
}

impl<R: Read> Reader<R> {
    pub(super) fn new(source: R) -> Self {
        Self {
            source,
            frames: Frames::new(RECORD_MAX),
            buffer: Vec::new(),
            used: 0,
            lengthener: Lengthener::default(),
            names: Names::default(),
            tock: Tock::ZERO,
            ended: false,
            records: 0,
            bytes: 0,
        }
    }

    /// The next record; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Record>, ReadError> {
        loop {
            let rest = self.buffer.get(self.used..).unwrap_or_default();
            let framed = if rest.is_empty() { Ok(None) } else { self.frames.next(rest) };
            // The one that can't be found counts, too: it is the one that errors are about.
            self.records += u64::from(framed.is_err());
            if let Some(len) = framed? {
                let record = rest.get(..len).unwrap_or_default().to_vec();
                self.used += len;
                self.records += 1;
                return self.record(&record).map(Some);
            }
            if self.ended {
                return Ok(None);
            }
            self.fill()?;
        }
    }

    /// How many bytes of an unfinished record there are at the end: its writer was stopped in the middle of it.
    pub(super) fn rest(&self) -> usize {
        self.buffer.len() - self.used
    }

    /// The names that had to be changed: as they are in the file, and as they are here.
    pub(super) fn renamed(&self) -> Vec<(String, NodeName)> {
        let changed = self.names.0.iter().filter(|(there, here)| *there != here.as_str());
        changed.map(|(there, here)| (there.clone(), here.clone())).collect()
    }

    fn fill(&mut self) -> Result<(), ReadError> {
        self.buffer.drain(..self.used);
        self.used = 0;
        let before = self.buffer.len();
        let read = self.source.by_ref().take(CHUNK as u64).read_to_end(&mut self.buffer)?;
        debug_assert_eq!(self.buffer.len(), before + read);
        self.bytes += read as u64;
        self.ended = read == 0;
        Ok(())
    }

    fn record(&mut self, record: &[u8]) -> Result<Record, ReadError> {
        let fields = Fields::parse(record).map_err(|bad| match bad.fault {
            Fault::NotAMap => ReadError::NoRecord,
            fault => fault.into(),
        })?;
        let info = fields.raw("info").map(Fields::parse).transpose().map_err(|bad| bad.fault)?;
        let state = info.as_ref().unwrap_or(&fields);
        if fields.has("path") {
            Ok(Record::Event(Box::new(self.event(&fields)?)))
        } else if ["nodes", "known", "superseded", "deleted", "tock"].iter().any(|key| state.has(key)) {
            Ok(Record::State(self.state(state)?))
        } else {
            Ok(Record::Strange)
        }
    }

    fn event(&mut self, fields: &Fields<'_>) -> Result<Foreign, ReadError> {
        let depth = fields.uint("depth")?.unwrap_or_default();
        let rest = fields.raw("path").ok_or(Fault::Missing("path"))?;
        let path = self.lengthener.lengthen(depth, rest).map_err(Fault::from)?;
        let mut chain = match fields.chain("chain")? {
            Some(chain) => chain,
            None => {
                let first = Link { node: fields.needed_text("node")?, tick: fields.uint("tick")? };
                let prev = fields.raw("prev").map(|raw| read_chain(raw, "prev")).transpose()?;
                std::iter::once(first).chain(prev.unwrap_or_default()).collect()
            }
        }
        .into_iter();
        let mut link = |link: Link<'_>| -> Result<(NodeName, Tick), ReadError> {
            let tick = tick(link.tick.ok_or(Fault::Missing("tick"))?)?;
            Ok((self.names.name(link.node)?, tick))
        };
        let (node, tick) = link(chain.next().ok_or(Fault::Missing("chain"))?)?;
        let chain = chain.map(link).collect::<Result<_, _>>()?;
        // Where it is missing, the event is as young as the one before.
        if let Some(tock) = fields.uint("tock")? {
            self.tock = Tock::new(tock).ok_or(ReadError::Number(tock))?;
        }
        let value = fields.value("value")?;
        Ok(Foreign { path, value, meta: Meta::default(), tock: self.tock, node, tick, chain })
    }

    fn state(&mut self, fields: &Fields<'_>) -> Result<State, ReadError> {
        let mut state = State::default();
        for (name, last) in pairs(fields, "nodes")? {
            match Tokens::new(last).next() {
                Some(Token::Int(last)) if last >= 0 => {
                    state.nodes.insert(self.names.name(name)?, tick(last.unsigned_abs())?);
                }
                Some(Token::Nil) => {}
                _ => return Err(bad_ranges("nodes").into()),
            }
        }
        for field in ["known", "superseded", "deleted"] {
            let sets = if field == "deleted" { &mut state.deleted } else { &mut state.known };
            for (name, ranges) in pairs(fields, field)? {
                let set = read_ranges(ranges, field)?;
                sets.entry(self.names.name(name)?).or_default().union(&set);
            }
        }
        Ok(state)
    }
}

fn tick(number: u64) -> Result<Tick, ReadError> {
    if number < TICK_MAX { Ok(Tick(number)) } else { Err(ReadError::Number(number)) }
}

fn bad_ranges(field: &'static str) -> Fault {
    Fault::Type { field, expected: "a map from names to numbers, or to arrays of numbers and pairs" }
}

/// The pairs of a field that is a map from names; none if it is missing.
fn pairs<'a>(fields: &Fields<'a>, field: &'static str) -> Result<Vec<(&'a str, &'a [u8])>, ReadError> {
    let Some(raw) = fields.raw(field) else { return Ok(Vec::new()) };
    let mut tokens = Tokens::new(raw);
    let Some(Token::Map(count)) = tokens.next() else { return Err(bad_ranges(field).into()) };
    let mut pairs = Vec::new();
    for _ in 0..count {
        let name = tokens.whole().map_err(Fault::from)?;
        let value = tokens.whole().map_err(Fault::from)?;
        let Some(Token::Str(name)) = Tokens::new(name).next() else { return Err(bad_ranges(field).into()) };
        pairs.push((name, value));
    }
    Ok(pairs)
}

fn read_ranges(raw: &[u8], field: &'static str) -> Result<TickSet, ReadError> {
    let mut tokens = Tokens::new(raw);
    let Some(Token::Array(count)) = tokens.next() else { return Err(bad_ranges(field).into()) };
    let number = |token: Option<Token<'_>>| match token {
        Some(Token::Int(number)) if number >= 0 => Ok(tick(number.unsigned_abs())?.0),
        _ => Err(ReadError::from(bad_ranges(field))),
    };
    let mut ranges = Vec::new();
    for _ in 0..count {
        match tokens.next() {
            Some(Token::Array(2)) => {
                let (first, end) = (number(tokens.next())?, number(tokens.next())?);
                ranges.push((first, end));
            }
            token => {
                let one = number(token)?;
                ranges.push((one, one + 1));
            }
        }
    }
    // In ascending order each goes in at once.
    ranges.sort_unstable();
    let mut set = TickSet::new();
    for (first, end) in ranges.into_iter().filter(|(first, end)| first < end) {
        set.insert_range(Tick(first), Tick(end - 1));
    }
    Ok(set)
}

/// What the nodes of the file are called here. Where a name is none that a node may have, what can't be in one is replaced, and a sum of
/// the whole keeps it apart from all others.
#[derive(Debug, Default)]
struct Names(HashMap<String, NodeName>);

impl Names {
    fn name(&mut self, there: &str) -> Result<NodeName, ReadError> {
        if let Some(here) = self.0.get(there) {
            return Ok(here.clone());
        }
        let here = match NodeName::new(there) {
            Ok(here) => here,
            Err(_) => {
                let good = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
                let sum: String =
                    Sha256::digest(there).iter().take(4).map(|byte| format!("{byte:02x}")).collect();
                let start: String = there.chars().map(good).take(MAX_NAME_BYTES - 1 - sum.len()).collect();
                NodeName::new(&format!("{start}-{sum}"))?
            }
        };
        self.0.insert(there.to_owned(), here.clone());
        Ok(here)
    }
}

#[cfg(test)]
mod tests;
