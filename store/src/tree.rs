//! The entries, in the order of their paths; scans which skip what a pattern can't match.

use std::collections::btree_map;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::chain::Version;
use crate::meta::Meta;
use crate::path::{AFTER, PathRef, Pattern, Seek};
use crate::value::Value;

/// What is held at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The value. `None`: the entry is deleted and this is its tombstone.
    pub value: Option<Value>,
    /// The facts beside the value.
    pub meta: Meta,
    /// The event which made it.
    pub version: Version,
}

impl Entry {
    /// The value, unless it has expired. `now` is in milliseconds since 1970-01-01 UTC.
    pub fn value_at(&self, now: u64) -> Option<&Value> {
        self.value.as_ref().filter(|_| self.meta.expiry().is_none_or(|expiry| now < expiry))
    }

    /// Whether the entry is deleted. (Expiry is another matter.)
    pub fn is_tombstone(&self) -> bool {
        self.value.is_none()
    }
}

/// How much there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Entries with a value, internal ones left out.
    pub values: u64,
    /// Entries with a value below the null element.
    pub internal: u64,
    /// Tombstones.
    pub tombstones: u64,
    /// The size of all paths and values, in bytes.
    pub bytes: u64,
}

impl Counts {
    fn add(&mut self, path: PathRef<'_>, entry: &Entry) {
        *self.kind(path, entry) += 1;
        self.bytes += size(path, entry);
    }

    fn subtract(&mut self, path: PathRef<'_>, entry: &Entry) {
        *self.kind(path, entry) -= 1;
        self.bytes -= size(path, entry);
    }

    fn kind(&mut self, path: PathRef<'_>, entry: &Entry) -> &mut u64 {
        match &entry.value {
            None => &mut self.tombstones,
            Some(_) if path.is_internal() => &mut self.internal,
            Some(_) => &mut self.values,
        }
    }
}

/// When the entry's value expires, if it has one that does.
fn end_of(entry: &Entry) -> Option<u64> {
    entry.value.as_ref().and(entry.meta.expiry())
}

fn size(path: PathRef<'_>, entry: &Entry) -> u64 {
    (path.as_bytes().len() + entry.value.as_ref().map_or(0, |value| value.as_bytes().len())) as u64
}

/// Most paths lie in the map's own nodes: no allocation for each, and a search follows fewer pointers.
type Key = SmallVec<[u8; 40]>;

/// An ordered map from paths to entries.
#[derive(Debug, Default)]
pub struct Tree {
    entries: BTreeMap<Key, Arc<Entry>>,
    counts: Counts,
    /// When values expire, in milliseconds of Unix time, and where.
    expiring: BTreeSet<(u64, Key)>,
}

impl Tree {
    /// An empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// How much there is.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The entry at `path`, be it a tombstone.
    pub fn get(&self, path: PathRef<'_>) -> Option<&Arc<Entry>> {
        self.entries.get(path.as_bytes())
    }

    /// Puts at `path` what `make` makes of the entry that is there. Answers the new entry and the old one.
    ///
    /// One search in either case. A path that has no room in the map's nodes is copied for it, even where an entry is there.
    pub fn update(
        &mut self,
        path: PathRef<'_>,
        make: impl FnOnce(Option<&Arc<Entry>>) -> Arc<Entry>,
    ) -> (Arc<Entry>, Option<Arc<Entry>>) {
        let (new, old) = match self.entries.entry(Key::from_slice(path.as_bytes())) {
            btree_map::Entry::Occupied(mut place) => {
                let new = make(Some(place.get()));
                (new.clone(), Some(place.insert(new)))
            }
            btree_map::Entry::Vacant(place) => {
                let new = make(None);
                (place.insert(new).clone(), None)
            }
        };
        self.counts.add(path, &new);
        if let Some(old) = &old {
            self.counts.subtract(path, old);
        }
        let ends = (old.as_ref().and_then(|old| end_of(old)), end_of(&new));
        if ends != (None, None) {
            self.note_expiry(path, ends);
        }
        (new, old)
    }

    /// The value that was there no longer ends, and the new one does.
    #[cold]
    fn note_expiry(&mut self, path: PathRef<'_>, (old, new): (Option<u64>, Option<u64>)) {
        let key = Key::from_slice(path.as_bytes());
        if let Some(old) = old.filter(|_| old != new) {
            self.expiring.remove(&(old, key.clone()));
        }
        if let Some(new) = new {
            self.expiring.insert((new, key));
        }
    }

    /// When the next value expires, in milliseconds of Unix time.
    pub fn next_expiry(&self) -> Option<u64> {
        self.expiring.first().map(|(at, _)| *at)
    }

    /// Makes tombstones, of the same version, of at most `limit` entries whose value has expired by now. That is no event: who knows the
    /// entry knows when it ends. Answers how many there were.
    pub fn expire(&mut self, now: u64, limit: usize) -> usize {
        for done in 0..limit {
            if self.next_expiry().is_none_or(|at| at > now) {
                return done;
            }
            let Some((_, key)) = self.expiring.pop_first() else { return done };
            let Some(place) = self.entries.get_mut(&key) else { continue };
            let path = PathRef::known(&key);
            self.counts.subtract(path, place);
            let Entry { meta, version, .. } = &**place;
            *place = Arc::new(Entry { value: None, meta: meta.clone(), version: version.clone() });
            self.counts.add(path, place);
        }
        limit
    }

    /// Takes the entry at `path` out.
    pub fn remove(&mut self, path: PathRef<'_>) -> Option<Arc<Entry>> {
        let entry = self.entries.remove(path.as_bytes())?;
        self.counts.subtract(path, &entry);
        if let Some(end) = end_of(&entry) {
            self.expiring.remove(&(end, Key::from_slice(path.as_bytes())));
        }
        Some(entry)
    }

    /// Takes out every tombstone which `gone` points at.
    pub fn drop_tombstones(&mut self, mut gone: impl FnMut(&Entry) -> bool) {
        let counts = &mut self.counts;
        self.entries.retain(|key, entry| {
            let keep = !entry.is_tombstone() || !gone(entry);
            if !keep {
                counts.subtract(PathRef::known(key), entry);
            }
            keep
        });
    }

    /// All entries in order, tombstones among them.
    pub fn iter(&self) -> impl Iterator<Item = (PathRef<'_>, &Arc<Entry>)> {
        self.entries.iter().map(|(key, entry)| (PathRef::known(key), entry))
    }

    /// The entries from a place in the order of keys on, tombstones among them.
    pub fn range_from<'t>(
        &'t self,
        place: &[u8],
    ) -> impl Iterator<Item = (PathRef<'t>, &'t Arc<Entry>)> + use<'t> {
        self.from(place).map(|(key, entry)| (PathRef::known(key), entry))
    }

    /// Goes on with a scan: hands entries which match, tombstones among them, to `sink` until that answers false, or until `looks` keys
    /// have been looked at.
    ///
    /// Changes of the tree between two calls are no harm: the scan stands between paths. What is there all the time is
    /// handed over exactly once.
    pub fn scan(
        &self,
        scan: &mut Scan,
        looks: usize,
        mut sink: impl FnMut(PathRef<'_>, &Arc<Entry>) -> bool,
    ) -> Progress {
        self.walk(scan, looks, |path, entry| if sink(path, entry) { Advance::On } else { Advance::Stop })
    }

    /// As [`Tree::scan`], but `sink` may also leave out what is below a path.
    pub fn walk(
        &self,
        scan: &mut Scan,
        mut looks: usize,
        mut sink: impl FnMut(PathRef<'_>, &Arc<Entry>) -> Advance,
    ) -> Progress {
        if scan.done {
            return Progress::Done;
        }
        let mut keys = self.from(&scan.next);
        // How many keys in a row lay before the place that is sought.
        let mut stepped = 0;
        while looks > 0 {
            let Some((key, entry)) = keys.next() else {
                scan.done = true;
                return Progress::Done;
            };
            looks -= 1;
            if key[..] < *scan.next {
                // A few steps cost less than a search, many cost more.
                stepped += 1;
                if stepped == STEPS {
                    stepped = 0;
                    keys = self.from(&scan.next);
                }
                continue;
            }
            stepped = 0;
            let path = PathRef::known(key);
            match scan.pattern.seek_into(path, &mut scan.next) {
                Seek::Match => {
                    scan.next.clear();
                    scan.next.extend_from_slice(key);
                    scan.next.push(0);
                    match sink(path, entry) {
                        Advance::On => {}
                        Advance::Stop => return Progress::More,
                        Advance::Past(elements) => {
                            scan.next.clear();
                            scan.next.extend_from_slice(path.first(elements).as_bytes());
                            scan.next.push(AFTER);
                        }
                    }
                }
                Seek::Skip => {}
                Seek::End => {
                    scan.done = true;
                    return Progress::Done;
                }
            }
        }
        Progress::More
    }

    /// Whether there is an entry, be it a tombstone, at `path` or below it.
    pub fn reaches(&self, path: PathRef<'_>) -> bool {
        self.range_from(path.as_bytes()).next().is_some_and(|(key, _)| key.starts_with(path))
    }

    fn from(&self, key: &[u8]) -> btree_map::Range<'_, Key, Arc<Entry>> {
        self.entries.range::<[u8], _>((Bound::Included(key), Bound::Unbounded))
    }
}

/// After so many keys before the sought place, search for it.
const STEPS: usize = 8;

/// How a [walk](Tree::walk) goes on behind a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advance {
    /// With the next path.
    On,
    /// Not, for now.
    Stop,
    /// Behind all paths that begin with the first so many elements of this one.
    Past(usize),
}

/// How a scan stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// There may be more.
    More,
    /// That was all.
    Done,
}

/// A scan under way: a pattern and a place between two paths. It holds no entry and no lock.
#[derive(Clone, Debug)]
pub struct Scan {
    pattern: Pattern,
    /// No path before this one is of interest any more.
    next: Vec<u8>,
    done: bool,
}

impl Scan {
    /// Begins a scan for all paths that match.
    pub fn new(pattern: Pattern) -> Self {
        let next = pattern.start().to_vec();
        Self { pattern, next, done: false }
    }

    /// Ends it where it is.
    pub fn end(&mut self) {
        self.done = true;
    }

    /// What it looks for.
    pub fn pattern(&self) -> &Pattern {
        &self.pattern
    }

    /// Whether it has come to its end.
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// Whether it has gone past `path`: whatever happens there will not be seen by it any more.
    pub fn is_past(&self, path: PathRef<'_>) -> bool {
        self.done || path.as_bytes() < &self.next[..]
    }
}

#[cfg(test)]
mod tests;
