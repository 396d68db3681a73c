//! Watches that go on where an earlier one ended.
//!
//! Who has been told everything up to a tock is told what has changed since: each entry whose head has a greater tock, tombstones among
//! them, in the order of their tocks, as it is now; then [`WatchEvent::Complete`], then what changes from then on. An entry whose value has
//! expired is told as deleted whatever its tock is, since that it expired was no event. (So take the greatest tock that was told,
//! not the last.)
//!
//! If the user's rights have changed since then, if that is not all there is to know ([`Replica::can_tell_since`](crate::replica::Replica::can_tell_since) says when), or if it is too
//! much to be gathered, [`WatchEvent::TooOld`] comes first, and then everything that is there, as from a new watch.
//!
//! What has changed is gathered from a scan in slices. Meanwhile changes of what the scan has passed wait in the watch's queue and are
//! gathered from there; what it has not passed it finds as it is then. When it ends, all that is gathered is put in order
//! and handed out; the changes that follow have greater tocks.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::{Watch, has_value};
use crate::feed::WatchEvent;
use crate::path::{Path, PathRef};
use crate::ticks::Tock;
use crate::tree::{Entry, Scan};

/// How many keys a slice looks at, at most: so long it may hold the replica's lock.
const LOOKS: usize = 2048;

/// How many changed entries are gathered. Who has missed more gets the whole.
pub const CHANGES_MAX: usize = 16 * 1024;

/// What is gathered for a watch that goes on.
pub(super) struct Resume {
    since: Tock,
    /// Since when the user has had the rights that he has now. Before, other entries could be seen.
    rights: Tock,
    found: BTreeMap<Path, Arc<Entry>>,
    bytes: usize,
    bytes_max: usize,
}

/// What a slice has come to.
enum Step {
    More,
    /// All is gathered.
    Done,
    /// It must be told as a whole.
    TooOld,
    /// The watch has ended, with this as its last word.
    Ended(Option<WatchEvent>),
}

impl Resume {
    pub(super) fn new(since: Tock, rights: Tock, bytes_max: usize) -> Self {
        Self { since, rights, found: BTreeMap::new(), bytes: 0, bytes_max }
    }

    fn add(&mut self, path: PathRef<'_>, entry: &Arc<Entry>) {
        let size = |entry: &Entry| entry.value.as_ref().map_or(0, |value| value.as_bytes().len());
        let (bytes, entry) = if has_value(entry) || entry.is_tombstone() {
            (size(entry), Arc::clone(entry))
        } else {
            // As the tombstone that it is about to become.
            let Entry { meta, version, .. } = &**entry;
            (0, Arc::new(Entry { value: None, meta: meta.clone(), version: version.clone() }))
        };
        match self.found.insert(path.to_path(), entry) {
            Some(old) => self.bytes = self.bytes.saturating_sub(size(&old)) + bytes,
            None => self.bytes += path.as_bytes().len() + bytes,
        }
    }

    fn is_too_much(&self) -> bool {
        self.found.len() > CHANGES_MAX || self.bytes > self.bytes_max
    }

    /// Takes in what one entry tells.
    fn look(&mut self, path: PathRef<'_>, entry: &Arc<Entry>) {
        if entry.version.tock() > self.since || (entry.meta.expiry().is_some() && !has_value(entry)) {
            self.add(path, entry);
        }
    }

    /// All that was gathered, in the order in which it was made.
    fn finish(self) -> VecDeque<WatchEvent> {
        let mut found: Vec<(Path, Arc<Entry>)> = self.found.into_iter().collect();
        found.sort_by(|(_, a), (_, b)| a.version.order(&b.version));
        found.into_iter().map(|(path, entry)| WatchEvent::Changed { path, entry, previous: None }).collect()
    }
}

impl Watch {
    /// Goes on with gathering; answers whether there is something to hand out, or nothing more to gather.
    pub(super) fn resume(&mut self) -> bool {
        let Some(mut resume) = self.resume.take() else { return true };
        match self.gather(&mut resume) {
            Step::More => {
                self.resume = Some(resume);
                return false;
            }
            Step::Done => self.ready = resume.finish(),
            Step::TooOld => self.ready.push_back(WatchEvent::TooOld),
            Step::Ended(last) => self.ready.extend(last),
        }
        true
    }

    fn gather(&self, resume: &mut Resume) -> Step {
        let shared = self.view.shared();
        let held = shared.read();
        let Some(mut scan) = self.queue.scan() else { return Step::Ended(self.queue.take().pop_back()) };
        let mut known = resume.rights <= resume.since && held.replica.can_tell_since(resume.since);
        if known {
            let guard = self.view.guard.as_deref();
            held.replica.scan(&mut scan, LOOKS, |path, entry| {
                if guard.is_none_or(|guard| guard.tells(path, self.listed.as_ref())) {
                    resume.look(path, entry);
                }
                !resume.is_too_much()
            });
        }
        let tock = held.replica.tock();
        let feed = shared.feed.lock();
        drop(held);
        for event in self.queue.take() {
            match event {
                WatchEvent::Changed { path, entry, .. } => resume.add(path.as_path(), &entry),
                last => return Step::Ended(Some(last)),
            }
        }
        known &= !resume.is_too_much();
        if !known {
            self.queue.restart(Scan::new(scan.pattern().clone()));
            drop(feed);
            return Step::TooOld;
        }
        let done = scan.is_done();
        self.queue.sliced(scan, std::iter::empty(), tock);
        drop(feed);
        if done { Step::Done } else { Step::More }
    }
}
