//! The names right below a path, in order, without reading what lies below them.

use std::sync::Arc;

use super::guard::{Sight, is_internal};
use super::{LOOKS, View, has_value};
use crate::access::{Denied, Right};
use crate::path::{AFTER, Element, Path, PathRef};
use crate::tree::{Entry, Progress};

/// A name below a path.
#[derive(Debug)]
pub struct Child<'a> {
    /// Its path, as the user calls it.
    pub path: PathRef<'a>,
    /// Its last element.
    pub name: Element<'a>,
    /// Its entry, if it has a value which the user may read.
    pub entry: Option<&'a Arc<Entry>>,
    /// Whether it has a value.
    pub has_value: bool,
}

/// A listing under way. It holds a place, no entries and no lock.
#[derive(Debug)]
pub struct Children {
    parent: Path,
    /// `None`: it can't exist.
    place: Option<Path>,
    next: Vec<u8>,
    done: bool,
}

impl Children {
    /// Whether it has come to its end.
    pub fn is_done(&self) -> bool {
        self.done
    }
}

impl View {
    /// Begins to list what is right below `path`: the right to list there is needed, now and for each slice.
    ///
    /// A child is shown to those who may list it or read it. Internal data is left out, unless `path` lies in it.
    pub fn children(&self, path: PathRef<'_>) -> Result<Children, Denied> {
        let place = match &self.guard {
            None => Some(path.to_path()),
            Some(guard) => {
                guard.check(path, Right::List)?;
                guard.place(path).map(|place| place.as_path().to_path())
            }
        };
        let mut next = place.as_ref().map_or_else(Vec::new, |place| place.as_bytes().to_vec());
        // The first place below it.
        next.push(0);
        Ok(Children { parent: path.to_path(), done: place.is_none(), place, next })
    }

    /// Goes on with a listing: hands at most `limit` children to `sink`, which must not block or use the store. A slice looks at a
    /// limited number of entries; it may be empty and still answer [`Progress::More`].
    ///
    /// A name with nothing but deleted entries at and below it is among them, as a name without a value.
    pub fn list(
        &self,
        children: &mut Children,
        limit: usize,
        sink: &mut dyn FnMut(Child<'_>),
    ) -> Result<Progress, Denied> {
        let Children { parent, place, next, done } = children;
        if let Some(guard) = &self.guard {
            guard.check(parent.as_path(), Right::List)?;
        }
        let (Some(place), false) = (place, *done) else { return Ok(Progress::Done) };
        let held = self.shared().read();
        let mut found = 0;
        for _ in 0..LOOKS.min(limit.saturating_mul(4)) {
            let Some((key, entry)) = held.replica.tree().next_from(next) else { break };
            let Some((name, _)) = key.below(place.as_path()).and_then(PathRef::split_first) else { break };
            let child = key.first(place.len() + 1);
            next.clear();
            next.extend_from_slice(child.as_bytes());
            next.push(AFTER);
            let entry = (key == child && has_value(entry)).then_some(entry);
            if self.show(child, name, entry, sink) {
                found += 1;
            }
            if found == limit {
                return Ok(Progress::More);
            }
        }
        let more =
            held.replica.tree().next_from(next).is_some_and(|(key, _)| key.starts_with(place.as_path()));
        *done = !more;
        Ok(if more { Progress::More } else { Progress::Done })
    }

    /// Shows a child, if it may be. `name` is its last element, as a path.
    fn show(
        &self,
        child: PathRef<'_>,
        name: PathRef<'_>,
        entry: Option<&Arc<Entry>>,
        sink: &mut dyn FnMut(Child<'_>),
    ) -> bool {
        let Some(element) = name.elements().next() else { return false };
        let mut tell = |path: PathRef<'_>, readable: bool| {
            if path.len() == 1 && is_internal(path) {
                return false;
            }
            let entry_shown = entry.filter(|_| readable);
            let name = element.clone();
            sink(Child { path, name, entry: entry_shown, has_value: entry.is_some() });
            true
        };
        match &self.guard {
            None => tell(child, true),
            Some(guard) => {
                let readable = guard.sight(child, None) == Sight::Shown;
                if !readable && !guard.lists(child) {
                    return false;
                }
                guard.with_name(child, |path| tell(path, readable)).unwrap_or(false)
            }
        }
    }
}
