//! Walks: a tree from its root down, parents before what is below them, with the nodes that hold nothing where somebody wants them.

use std::ops::Range;
use std::sync::Arc;

use super::guard::{Guard, Listed, Sight};
use super::root::Place;
use super::{View, has_value};
use crate::access::{Denied, Right};
use crate::path::{AFTER, Path, PathRef};
use crate::replica::Replica;
use crate::tree::{Entry, Progress};

/// How many keys are looked at in one go, at most: so long it may hold the replica's lock.
const LOOKS: usize = 1024;

/// What of a tree is of interest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WalkOptions {
    /// Leave out what lies less deep. The place where the walk begins is at depth 0.
    pub min_depth: usize,
    /// Leave out what lies deeper.
    pub max_depth: Option<usize>,
    /// Also tell of nodes without a value: tombstones, and those that only have something below them.
    pub empty: bool,
}

/// What to do behind a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Go on.
    On,
    /// Leave out all that is below it.
    Over,
}

/// A walk under way. It holds a place, no entries and no lock.
#[derive(Debug)]
pub struct Walk {
    base: Path,
    /// How many elements that has.
    base_len: usize,
    options: WalkOptions,
    /// No path before this one is of interest any more.
    next: Vec<u8>,
    /// The path that was come to last: the nodes on the way to it are told.
    last: Option<Path>,
    done: bool,
    listed: Option<Listed>,
    found: Vec<(Range<usize>, Option<Arc<Entry>>)>,
    paths: Vec<u8>,
}

impl Walk {
    /// Whether it has come to its end.
    pub fn is_done(&self) -> bool {
        self.done
    }

    fn collect(&mut self, replica: &Replica, entries: usize, bytes: usize) {
        let mut left = bytes;
        let mut looks = LOOKS;
        let mut keys = replica.tree().range_from(&self.next);
        while looks > 0 && left > 0 && self.found.len() < entries {
            looks -= 1;
            let next = keys.next().filter(|(key, _)| key.starts_with(self.base.as_path()));
            let Some((key, entry)) = next else {
                self.done = true;
                return;
            };
            let hidden = key.is_internal() && !self.base.as_path().is_internal();
            let end = if hidden { key.ends().next() } else { self.too_deep(key) };
            if self.options.empty && !hidden {
                self.note_the_way(key);
            }
            self.next.clear();
            if let Some(end) = end {
                // Nothing below this node is of interest.
                self.next.extend_from_slice(key.as_bytes().get(..end).unwrap_or_default());
                self.next.push(AFTER);
                keys = replica.tree().range_from(&self.next);
                continue;
            }
            self.next.extend_from_slice(key.as_bytes());
            self.next.push(0);
            if self.options.empty || has_value(entry) {
                let size = entry.value.as_ref().map_or(0, |value| value.as_bytes().len());
                left = left.saturating_sub(key.as_bytes().len() + size);
                self.note(key, Some(Arc::clone(entry)), key.len());
            }
        }
    }

    /// Where the deepest node on the way to `key` ends that is not too deep, if `key` itself is.
    fn too_deep(&self, key: PathRef<'_>) -> Option<usize> {
        let max = self.base_len + self.options.max_depth?;
        let mut ends = key.ends();
        let end = match max.checked_sub(1) {
            Some(before) => ends.nth(before)?,
            None => 0,
        };
        ends.next().map(|_| end)
    }

    /// Notes the nodes on the way to `key`, which hold nothing or they would have come themselves.
    fn note_the_way(&mut self, key: PathRef<'_>) {
        let shared = self.last.as_ref().map(|last| {
            let pairs = last.as_bytes().iter().zip(key.as_bytes());
            pairs.take_while(|(a, b)| a == b).count()
        });
        let from = self.base.as_bytes().len();
        let on_the_way = std::iter::once(0).chain(key.ends()).enumerate().filter(|&(_, end)| {
            let told = shared.is_some_and(|shared| end <= shared);
            end >= from && end < key.as_bytes().len() && !told
        });
        let deepest = self.options.max_depth.map_or(usize::MAX, |max| self.base_len + max);
        let nodes: Vec<(usize, usize)> = on_the_way.filter(|(len, _)| *len <= deepest).collect();
        for (len, end) in nodes {
            if let Some(node) = key.until(end) {
                self.note(node, None, len);
            }
        }
        self.last = Some(key.to_path());
    }

    /// Notes a node of so many elements.
    fn note(&mut self, node: PathRef<'_>, entry: Option<Arc<Entry>>, len: usize) {
        if len - self.base_len.min(len) >= self.options.min_depth {
            let start = self.paths.len();
            self.paths.extend_from_slice(node.as_bytes());
            self.found.push((start..self.paths.len(), entry));
        }
    }

    /// What the user is shown of each node that was found.
    fn sights(&self, guard: &Guard) -> Vec<Sight> {
        let sight = |at: &Range<usize>| {
            let node = self.paths.get(at.clone()).unwrap_or_default();
            guard.sight(PathRef::known(node), self.listed.as_ref())
        };
        self.found.iter().map(|(at, _)| sight(at)).collect()
    }

    /// Leaves out all that is below `node`.
    fn skip(&mut self, node: &[u8]) {
        let end = [node, &[AFTER]].concat();
        if self.next < end {
            self.next = end;
        }
    }
}

impl View {
    /// Begins a walk at `path`. Internal data is left out unless it begins there.
    ///
    /// It needs the right to list at `path`, and on every level it comes to. What the user may not read is left out, and all below a level that he
    /// may not list or pass; a node without an entry is shown to those who may list or read it.
    pub fn walk(&self, path: PathRef<'_>, options: WalkOptions) -> Result<Walk, Denied> {
        let (place, listed) = match &self.guard {
            None => (Some(Place::Same(path)), None),
            Some(guard) => {
                guard.check(path, Right::List)?;
                (guard.place(path), Some(guard.listed_at(path)))
            }
        };
        let done = place.is_none();
        let base = place.map_or_else(Path::root, |place| place.as_path().to_path());
        Ok(Walk {
            base_len: base.len(),
            next: base.as_bytes().to_vec(),
            base,
            options,
            listed,
            last: None,
            done,
            found: Vec::new(),
            paths: Vec::new(),
        })
    }

    /// Goes on with a walk: hands nodes to `sink`, about `entries` of them, and no more after about `bytes` bytes. Without an entry it is a
    /// node which has something below it, but nothing itself. A slice looks at a limited number of entries; it may be empty
    /// and still answer [`Progress::More`]. No lock is held while `sink` is called.
    pub fn walk_on(
        &self,
        walk: &mut Walk,
        entries: usize,
        bytes: usize,
        sink: &mut dyn FnMut(PathRef<'_>, Option<&Arc<Entry>>) -> Step,
    ) -> Progress {
        let guard = self.guard.as_deref();
        walk.done |= guard.is_some_and(|guard| !guard.may_list(walk.listed.as_ref()));
        if walk.done {
            return Progress::Done;
        }
        let sights: Vec<Sight> = {
            let held = self.shared().read();
            walk.collect(&held.replica, entries, bytes);
            // What is hidden as it is read stays so, whatever is allowed a moment later.
            guard.map_or_else(Vec::new, |guard| walk.sights(guard))
        };
        let (found, paths) = (std::mem::take(&mut walk.found), std::mem::take(&mut walk.paths));
        let mut over: Option<&[u8]> = None;
        for (index, (at, entry)) in found.iter().enumerate() {
            let Some(node) = paths.get(at.clone()) else { continue };
            if over.is_some_and(|over| node.starts_with(over)) {
                continue;
            }
            let place = PathRef::known(node);
            let (step, over_all) = match guard {
                None => (sink(place, entry.as_ref()), place),
                Some(guard) => {
                    let then = sights.get(index).copied().filter(|sight| *sight != Sight::Shown);
                    match then.unwrap_or_else(|| guard.sight(place, walk.listed.as_ref())) {
                        Sight::HiddenBelow(elements) => (Step::Over, place.first(elements)),
                        Sight::Hidden if entry.is_some() || !guard.may_list_at(place) => (Step::On, place),
                        Sight::Hidden | Sight::Shown => {
                            let step = guard.with_name(place, |path| sink(path, entry.as_ref()));
                            (step.unwrap_or(Step::Over), place)
                        }
                    }
                }
            };
            if step == Step::Over {
                over = Some(over_all.as_bytes());
                walk.skip(over_all.as_bytes());
            }
        }
        // Their memory is used again.
        (walk.found, walk.paths) = (found, paths);
        walk.found.clear();
        walk.paths.clear();
        if walk.done { Progress::Done } else { Progress::More }
    }
}
