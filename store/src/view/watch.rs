//! Watches: what is there, then every change.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::cursor::Batch;
use super::guard::Listed;
use super::since::Resume;
use super::{View, without_internal, without_null};
use crate::feed::{Filter, Queue, WatchEvent};
use crate::path::{PathRef, Pattern};
use crate::ticks::Tock;
use crate::tree::Scan;

/// After so many events which the user may not see, others have their turn.
const HIDDEN: usize = 256;

impl View {
    /// Watches all entries which match: first those that are there (if `options` ask for them), then every change, with no gap
    /// and nothing twice between, and never an older value after a newer one.
    ///
    /// A change is told to those who had the right to it when it was made, and have it still when it is handed out. The right to list is asked
    /// for as by [`Cursor::by_level`](super::Cursor::by_level).
    pub fn watch(&self, pattern: Pattern, options: WatchOptions) -> Watch {
        let pattern = match options {
            WatchOptions { internal: true, programs: true, .. } => pattern,
            WatchOptions { programs: true, .. } => without_null(pattern),
            _ => without_internal(pattern),
        };
        let (pattern, mut listed) = self.pattern(pattern);
        if let Some(listed) = &mut listed {
            listed.by_level();
        }
        let scan = (options.existing || options.since.is_some()).then(|| Scan::new(pattern.clone()));
        let filter = self.guard.clone().map(|guard| {
            let listed = listed.clone();
            let filter: Filter = Box::new(move |place| guard.tells(place, listed.as_ref()));
            filter
        });
        let limits = (options.events.max(2), options.bytes);
        let queue = Arc::new(Queue::new(pattern, filter, limits, scan));
        let shared = self.shared();
        // Under the replica's lock as well: a change that is made but not yet told lies before the watch's beginning.
        let held = shared.read();
        shared.feed.lock().watch(Arc::clone(&queue));
        drop(held);
        let rights = self.guard.as_ref().map_or_else(Tock::default, |guard| guard.unchanged_since());
        let resume = options.since.map(|since| Resume::new(since, rights, options.bytes));
        Watch { view: self.clone(), queue, listed, resume, ready: VecDeque::new() }
    }
}

/// How a watch works.
#[derive(Clone, Copy, Debug)]
pub struct WatchOptions {
    /// First tell what is there.
    pub existing: bool,
    /// First tell what has changed since this tock: see [`WatchEvent::TooOld`] and [`WatchEvent::Complete`].
    pub since: Option<Tock>,
    /// See also what programs keep for themselves below `.distkv`, which else is seen only by a pattern that begins with it.
    pub programs: bool,
    /// With `programs`: see all internal data as well, which else is seen only by a pattern that begins with it.
    pub internal: bool,
    /// How many events may wait. One more change, and the watch ends with [`WatchEvent::Lagged`].
    pub events: usize,
    /// How many bytes they may have (paths and values). A single event may have more.
    pub bytes: usize,
}

impl Default for WatchOptions {
    fn default() -> Self {
        Self { existing: true, since: None, programs: false, internal: false, events: 1024, bytes: 16 << 20 }
    }
}

/// A watch. Dropping it ends it.
pub struct Watch {
    pub(super) view: View,
    pub(super) queue: Arc<Queue>,
    pub(super) listed: Option<Listed>,
    /// What is gathered for going on from a tock, until it is complete.
    pub(super) resume: Option<Resume>,
    /// What was gathered: it goes before the queue.
    pub(super) ready: VecDeque<WatchEvent>,
}

impl Watch {
    /// The next event; `None` after [`WatchEvent::Lagged`] or when the store was closed. While it is pending, `cx` is woken when there is one.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<WatchEvent>> {
        if !self.resume() {
            // Others have their turn before the next look.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let mut hidden = 0;
        loop {
            // What was gathered goes first.
            if let Some(event) = self.ready.pop_front() {
                if let Some(event) = self.shown(event) {
                    return Poll::Ready(Some(event));
                }
                continue;
            }
            // What waits is older than what a slice would find.
            if let Some((mut scan, room, bytes)) = self.queue.next_slice() {
                self.slice(&mut scan, room, bytes);
                if !scan.is_done() && self.queue.next_slice().is_some() {
                    // Nothing found so far: others have their turn before the next look.
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                continue;
            }
            let event = match self.queue.poll_next(cx) {
                Poll::Ready(Some(event)) => event,
                other => return other,
            };
            if let Some(event) = self.shown(event) {
                return Poll::Ready(Some(event));
            }
            hidden += 1;
            if hidden == HIDDEN {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
    }

    /// The event as the user gets it, if he may.
    fn shown(&self, mut event: WatchEvent) -> Option<WatchEvent> {
        let Some(guard) = &self.view.guard else { return Some(event) };
        let path = match &mut event {
            WatchEvent::Existing { path, .. } | WatchEvent::Changed { path, .. } => path,
            WatchEvent::TooOld | WatchEvent::Complete { .. } | WatchEvent::Lagged => return Some(event),
        };
        if !guard.tells(path.as_path(), self.listed.as_ref()) {
            return None;
        }
        *path = guard.name(path)?;
        Some(event)
    }

    fn slice(&self, scan: &mut Scan, room: usize, bytes: usize) {
        let shared = self.view.shared();
        let mut batch = Batch::default();
        let held = shared.read();
        let limits = self.view.guard.as_deref().map(|guard| (guard, self.listed.as_ref()));
        batch.collect(&held.replica, scan, room, bytes, limits);
        let tock = held.replica.tock();
        let feed = shared.feed.lock();
        drop(held);
        let Batch { keys, items } = batch;
        let found = items
            .into_iter()
            .map(|(key, entry)| WatchEvent::Existing { path: PathRef::known(&keys[key]).to_path(), entry });
        self.queue.sliced(scan.clone(), found, tock);
        drop(feed);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.view.shared().feed.lock().unwatch(&self.queue);
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}
