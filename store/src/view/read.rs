//! Looking closer than [`View::get`]: at tombstones, at events by their numbers, at what lies right below a path.

use std::sync::Arc;

use super::root::Place;
use super::{View, has_value};
use crate::access::{Denied, Right};
use crate::path::{AFTER, Element, Path, PathRef, Pattern};
use crate::ticks::Tick;
use crate::tree::{Entry, Progress, Scan};
use crate::value::Value;

/// How many keys are looked at in one go, at most: so long it may hold the replica's lock.
const LOOKS: usize = 4096;

/// What lies right below a path: an entry, or a name that only has entries below it.
#[derive(Clone, Debug)]
pub struct Child {
    /// Its name: the last element of its path.
    pub name: Element<'static>,
    /// Its path.
    pub path: Path,
    /// Its entry, if there is one and the user may read it; it may be a tombstone, or have a value that has expired.
    pub entry: Option<Arc<Entry>>,
    /// Whether it has a value, be it one which the user may not read.
    pub has_value: bool,
    /// Whether there are entries below it, be they tombstones.
    pub below: bool,
}

impl Child {
    /// Its value.
    pub fn value(&self) -> Option<&Value> {
        self.entry.as_ref().filter(|entry| has_value(entry)).and_then(|entry| entry.value.as_ref())
    }
}

/// A search for an event under way. It holds a place, no entries and no lock.
#[derive(Clone, Debug)]
pub struct Finder {
    scan: Scan,
    node: Arc<str>,
    tick: Tick,
}

/// What has come of a search.
#[derive(Clone, Debug)]
pub enum Found {
    /// The entry which the event has made.
    Here(Path, Arc<Entry>),
    /// No entry shows it.
    Nowhere,
    /// Go on.
    Searching,
}

impl View {
    /// The entry at `path`, be it a tombstone, or have a value that has expired. (Tombstones go after a while: see
    /// `PROTOCOL.md`.)
    pub fn entry(&self, path: PathRef<'_>) -> Result<Option<Arc<Entry>>, Denied> {
        // The rights are asked for under the lock: what is hidden as it is read is not told, whatever is allowed a moment later.
        let held = self.shared().read();
        let place = match &self.guard {
            None => Some(Place::Same(path)),
            Some(guard) => guard.enter(path, Right::Read)?,
        };
        Ok(place.and_then(|place| held.replica.get(place.as_path()).cloned()))
    }

    /// Whether there is an entry at `path` or below it, be it a tombstone. Who may neither list nor read there hears of none.
    pub fn exists(&self, path: PathRef<'_>) -> bool {
        let place = match &self.guard {
            None => Some(Place::Same(path)),
            Some(_) if !self.may(path, Right::List) && !self.may(path, Right::Read) => None,
            Some(guard) => guard.place(path),
        };
        place.is_some_and(|place| self.shared().read().replica.tree().reaches(place.as_path()))
    }

    /// What lies right below `path`, in the order of names, behind the name `after` if that is given; at most `max` of them, and at most some
    /// thousands are looked at. Answers after which name there may be more, too.
    ///
    /// It needs the right to list at `path`. A child is shown to those who may list or read it.
    pub fn children(
        &self,
        path: PathRef<'_>,
        after: Option<&Element<'_>>,
        max: usize,
    ) -> Result<(Vec<Child>, Option<Element<'static>>), Denied> {
        let Some(guard) = &self.guard else { return Ok(self.children_of(path, after, max, |_| true)) };
        guard.check(path, Right::List)?;
        let Some(place) = guard.place(path) else { return Ok((Vec::new(), None)) };
        Ok(self.children_of(place.as_path(), after, max, |child| {
            let readable = guard.may_read(child.path.as_path());
            let shown = readable || guard.may_list_at(child.path.as_path());
            child.entry = child.entry.take().filter(|_| readable);
            match guard.name(&child.path) {
                Some(path) if shown => {
                    child.path = path;
                    true
                }
                _ => false,
            }
        }))
    }

    /// The children which `keep` keeps; it is called as they are read.
    fn children_of(
        &self,
        path: PathRef<'_>,
        after: Option<&Element<'_>>,
        max: usize,
        mut keep: impl FnMut(&mut Child) -> bool,
    ) -> (Vec<Child>, Option<Element<'static>>) {
        let mut place = path.as_bytes().to_vec();
        match after.map(|after| path.child(after)) {
            None => place.push(0),
            Some(Ok(after)) => {
                place = after.as_bytes().to_vec();
                place.push(AFTER);
            }
            // No path is as long.
            Some(Err(_)) => return (Vec::new(), None),
        }
        let mut children = Vec::new();
        let mut last = None;
        let held = self.shared().read();
        for _ in 0..max.min(LOOKS) {
            let mut keys = held.replica.tree().range_from(&place);
            let next = keys.next().filter(|(key, _)| key.starts_with(path));
            let Some((key, entry)) = next else { return (children, None) };
            let child = key.ends().find(|&end| end > path.as_bytes().len()).and_then(|end| key.until(end));
            let name = |child: PathRef<'_>| child.below(path)?.elements().next().map(Element::into_owned);
            let named = child.and_then(|child| Some((child, name(child)?)));
            let Some((child, name)) = named else { return (children, None) };
            let here = (key == child).then(|| Arc::clone(entry));
            let below = here.is_none() || keys.next().is_some_and(|(key, _)| key.starts_with(child));
            place.clear();
            place.extend_from_slice(child.as_bytes());
            place.push(AFTER);
            let has_value = here.as_ref().is_some_and(|entry| has_value(entry));
            let mut child = Child { name, path: child.to_path(), entry: here, has_value, below };
            last = Some(child.name.clone());
            if keep(&mut child) {
                children.push(child);
            }
        }
        (children, last)
    }

    /// Begins to look for the entry which shows a node's event of that number. `None` if no such event is known.
    pub fn finder(&self, node: &str, tick: u64) -> Option<Finder> {
        let tick = Tick(tick);
        let held = self.shared().read();
        let known = held
            .replica
            .accounts()
            .any(|account| account.origin().node().as_str() == node && account.seen().contains(tick));
        known.then(|| Finder { scan: Scan::new(everything()), node: node.into(), tick })
    }

    /// Goes on with a search, for as long as nobody is held up by it.
    pub fn find(&self, finder: &mut Finder) -> Found {
        let Finder { scan, node, tick } = finder;
        let mut found = None;
        let held = self.shared().read();
        let progress = held.replica.scan(scan, LOOKS, |path, entry| {
            let dot = entry.version.dot();
            if dot.tick == *tick && dot.origin.node().as_str() == &**node {
                found = Some((path.to_path(), Arc::clone(entry)));
            }
            found.is_none()
        });
        match (found, progress) {
            (Some((place, entry)), _) => match &self.guard {
                None => Found::Here(place, entry),
                Some(guard) if guard.may_read(place.as_path()) => {
                    guard.name(&place).map_or(Found::Nowhere, |path| Found::Here(path, entry))
                }
                Some(_) => Found::Nowhere,
            },
            (None, Progress::Done) => Found::Nowhere,
            (None, Progress::More) => Found::Searching,
        }
    }
}

/// Every entry there is.
pub(super) fn everything() -> Pattern {
    let mut everything = Pattern::new();
    // One element of a pattern can't exceed the limits of a path.
    let _ = everything.push_many();
    everything.tail_may_be_empty();
    everything
}
