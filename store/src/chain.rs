//! Versions: what names an event, what it was made from, which of two wins, and whether one knew the other.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use crate::ticks::{Life, NodeName, Tick, Tock};

/// The least length at which chains are cut.
pub const MIN_LENGTH: usize = 5;
/// The greatest number of dots in a chain (and of absorbed dots) that is taken from elsewhere.
pub const MAX_LENGTH: usize = 256;

/// One life of one node: whoever makes events. A clone shares it.
#[derive(Clone)]
pub struct Origin(Arc<(NodeName, Life)>);

impl Origin {
    /// That life of that node.
    pub fn new(node: NodeName, life: Life) -> Self {
        Self(Arc::new((node, life)))
    }

    /// The node.
    pub fn node(&self) -> &NodeName {
        &self.0.0
    }

    /// Its life.
    pub fn life(&self) -> Life {
        self.0.1
    }
}

impl PartialEq for Origin {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}

impl Eq for Origin {}

impl PartialOrd for Origin {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Origin {
    fn cmp(&self, other: &Self) -> Ordering {
        if Arc::ptr_eq(&self.0, &other.0) { Ordering::Equal } else { self.0.cmp(&other.0) }
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.node(), self.life())
    }
}

/// The name of an event. No two events ever have the same.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Dot {
    /// Who made it.
    pub origin: Origin,
    /// The node's count.
    pub tick: Tick,
}

impl fmt::Debug for Dot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}:{}", self.origin, self.tick.0)
    }
}

/// How one version stands to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// They are the same event.
    Equal,
    /// The first is in the past of the second: whoever made the second knew it.
    Past,
    /// The second is in the past of the first.
    Future,
    /// Neither is known to be in the other's past. True of all concurrent events; of ordered ones only where a chain was cut.
    Concurrent,
}

/// Why parts make no version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadVersion {
    /// A life is in the chain twice.
    #[error("a chain names a life twice")]
    Repeated,
    /// More than [`MAX_LENGTH`] dots.
    #[error("a chain has at most {MAX_LENGTH} dots")]
    TooLong,
}

/// The version of an entry: its current event, that event's tock, and the chain of the latest dots that made it.
///
/// The chain is newest first, names each life at most once (with the latest tick) and is cut at a length. It belongs to the
/// event and is the same everywhere.
///
/// Beside it a version remembers which dots it has *absorbed*: events that lost a conflict against this one here. They are no
/// part of the event, and a comparison does not look at them; but whoever writes next has known them, so they go into the
/// chain of the next event.
///
/// Equal are versions of the same event with the same chain, whatever they have absorbed.
#[derive(Clone)]
pub struct Version {
    dot: Dot,
    tock: Tock,
    /// Shared by the successive events of one life, so that overwriting does not allocate. `None` if both lists are empty.
    past: Option<Arc<Past>>,
}

#[derive(Clone, Debug, Default)]
struct Past {
    /// The chain without its first dot, which is the version's own.
    chain: Box<[Dot]>,
    /// Each life once; no dot that the chain includes.
    absorbed: Box<[Dot]>,
}

impl Past {
    fn share(chain: Vec<Dot>, absorbed: Vec<Dot>) -> Option<Arc<Self>> {
        (!chain.is_empty() || !absorbed.is_empty())
            .then(|| Arc::new(Self { chain: chain.into(), absorbed: absorbed.into() }))
    }
}

impl Version {
    /// The first event of an entry.
    pub fn first(dot: Dot, tock: Tock) -> Self {
        Self { dot, tock, past: None }
    }

    /// A version from its parts: `chain` without the dot itself.
    pub fn from_parts(dot: Dot, tock: Tock, chain: Vec<Dot>, absorbed: Vec<Dot>) -> Result<Self, BadVersion> {
        if chain.len() > MAX_LENGTH || absorbed.len() > MAX_LENGTH {
            return Err(BadVersion::TooLong);
        }
        let mut version = Self { dot, tock, past: None };
        let repeats = |dots: &[Dot]| {
            dots.iter().enumerate().any(|(index, dot)| {
                dots.get(..index).unwrap_or_default().iter().any(|other| other.origin == dot.origin)
            })
        };
        if chain.iter().any(|dot| dot.origin == version.dot.origin) || repeats(&chain) || repeats(&absorbed) {
            return Err(BadVersion::Repeated);
        }
        version.past = Past::share(chain, absorbed);
        Ok(version)
    }

    /// The version of an event that replaces this one, its chain cut at `length` dots.
    ///
    /// The dot must be new: of a new tick of its life.
    pub fn next(&self, dot: Dot, tock: Tock, length: usize) -> Self {
        let same_life = dot.origin == self.dot.origin;
        if same_life && self.absorbed().is_empty() {
            return Self { dot, tock, past: self.past.clone() };
        }
        let known = self.chain().skip(usize::from(same_life)).chain(self.absorbed());
        let mut chain: Vec<Dot> = Vec::new();
        for known in known.filter(|known| known.origin != dot.origin) {
            remember(&mut chain, known);
        }
        chain.truncate(length.max(MIN_LENGTH) - 1);
        Self { dot, tock, past: Past::share(chain, Vec::new()) }
    }

    /// The event's name.
    pub fn dot(&self) -> &Dot {
        &self.dot
    }

    /// The event's place in the order of all events.
    pub fn tock(&self) -> Tock {
        self.tock
    }

    /// The chain, with the event's own dot first.
    pub fn chain(&self) -> impl Iterator<Item = &Dot> {
        std::iter::once(&self.dot).chain(self.tail())
    }

    /// The chain without the event's own dot.
    pub fn tail(&self) -> &[Dot] {
        self.past.as_deref().map_or(&[], |past| &past.chain)
    }

    /// The dots that were absorbed.
    pub fn absorbed(&self) -> &[Dot] {
        self.past.as_deref().map_or(&[], |past| &past.absorbed)
    }

    /// Whether `dot` is this event or in its past, as far as the chain tells.
    pub fn includes(&self, dot: &Dot) -> bool {
        self.chain().any(|known| known.origin == dot.origin && known.tick >= dot.tick)
    }

    /// Takes note that `other` has lost a conflict against this version here: all that its chain names and what it has absorbed will be
    /// in the past of the next event. Keeps at most `length` such dots. Answers whether that is anything new.
    pub fn absorb(&mut self, other: &Self, length: usize) -> bool {
        self.absorb_dots(other.chain().chain(other.absorbed()), length)
    }

    /// Takes over what another version of the same entry has absorbed. Answers whether that is anything new.
    pub fn inherit(&mut self, other: &Self, length: usize) -> bool {
        !other.absorbed().is_empty() && self.absorb_dots(other.absorbed().iter(), length)
    }

    fn absorb_dots<'d>(&mut self, dots: impl Iterator<Item = &'d Dot>, length: usize) -> bool {
        let mut absorbed: Vec<Dot> = Vec::new();
        dots.filter(|dot| !self.includes(dot)).for_each(|dot| remember(&mut absorbed, dot));
        // A version read from a record may have absorbed what its chain includes.
        self.absorbed().iter().filter(|dot| !self.includes(dot)).for_each(|dot| remember(&mut absorbed, dot));
        absorbed.truncate(length.max(MIN_LENGTH));
        // Their order says nothing.
        let known = |dot| self.absorbed().contains(dot);
        if absorbed.len() == self.absorbed().len() && absorbed.iter().all(known) {
            return false;
        }
        self.past = Past::share(self.tail().to_vec(), absorbed);
        true
    }

    /// How `a` stands to `b`.
    pub fn compare(a: &Self, b: &Self) -> Relation {
        if a.dot == b.dot {
            return Relation::Equal;
        }
        match (b.includes(&a.dot), a.includes(&b.dot)) {
            (true, false) => Relation::Past,
            (false, true) => Relation::Future,
            // Each claims to have known the other: a lie. Nothing is lost by calling it a conflict.
            (false, false) | (true, true) => Relation::Concurrent,
        }
    }

    /// The order in which the greater wins: by tock, node, life, tick. It agrees with causality.
    pub fn order(&self, other: &Self) -> Ordering {
        self.tock.cmp(&other.tock).then_with(|| self.dot.cmp(&other.dot))
    }
}

/// Adds `dot`, or raises the tick of its life.
fn remember(dots: &mut Vec<Dot>, dot: &Dot) {
    match dots.iter_mut().find(|known| known.origin == dot.origin) {
        Some(known) => known.tick = known.tick.max(dot.tick),
        None => dots.push(dot.clone()),
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.dot == other.dot && self.tock == other.tock && self.tail() == other.tail()
    }
}

impl Eq for Version {}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@", self.tock.get())?;
        f.debug_list().entries(self.chain()).finish()?;
        if !self.absorbed().is_empty() {
            write!(f, "+{:?}", self.absorbed())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
