//! The feed: the one order in which changes are told, to observers and to the queues of watches.
//!
//! Its lock is taken while the lock of the replica is still held, and let go when all have been told: so everybody sees the
//! changes of an entry in the order in which they were made. Whoever is told must be quick, must not block, and must not
//! write to the store, read from it or watch it: these need locks which come before this one.

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

use crate::access::Access;
use crate::journal::Lsn;
use crate::path::{Path, PathRef, Pattern};
use crate::ticks::Tock;
use crate::tree::{Entry, Scan};

/// A change of one entry, as it is told.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// Where.
    pub path: PathRef<'a>,
    /// The entry as it is now. Without a value it was deleted.
    pub entry: &'a Arc<Entry>,
    /// The entry as it was.
    pub previous: Option<&'a Arc<Entry>>,
    /// The place of its record in the journal: the change is kept when that is settled.
    pub lsn: Lsn,
}

/// Somebody who is told of every change, in order, while the writer waits.
pub trait Observer: Send + Sync {
    /// An entry has changed.
    fn changed(&self, change: &Change<'_>);
}

/// Names an observer of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ObserverId(u64);

/// A writer's own way to tell one observer of its write: called in place of that observer's [`Observer::changed`], at the same
/// point of the order. It is called for a deletion of what had no value as well, with `None`: nothing has changed, but
/// this is its place among the changes.
pub struct Carrier<'a> {
    /// The observer which is not to be told otherwise.
    pub observer: ObserverId,
    /// Tells it.
    pub deliver: &'a mut dyn FnMut(Option<&Change<'_>>),
}

/// Who is told. It lives under one lock.
pub(crate) struct Feed {
    access: Arc<Access>,
    observers: Vec<(ObserverId, Arc<dyn Observer>)>,
    watches: Vec<Arc<Queue>>,
    ids: u64,
    told: u64,
    lagged: u64,
}

/// Figures of the feed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FeedStats {
    /// How many changes were told.
    pub told: u64,
    /// How many observers there are.
    pub observers: u64,
    /// How many watches there are.
    pub watches: u64,
    /// How many events wait in the queues of watches.
    pub queued: u64,
    /// How many watches were ended since they did not keep up.
    pub lagged: u64,
}

impl Feed {
    /// A feed that tells nobody yet but `access`: it hears of internal data first, since others are told by what it says.
    pub(crate) fn new(access: Arc<Access>) -> Self {
        Self { access, observers: Vec::new(), watches: Vec::new(), ids: 0, told: 0, lagged: 0 }
    }

    pub(crate) fn observe(&mut self, observer: Arc<dyn Observer>) -> ObserverId {
        self.ids += 1;
        let id = ObserverId(self.ids);
        self.observers.push((id, observer));
        id
    }

    pub(crate) fn forget(&mut self, id: ObserverId) {
        self.observers.retain(|(known, _)| *known != id);
    }

    pub(crate) fn watch(&mut self, queue: Arc<Queue>) {
        self.watches.push(queue);
    }

    pub(crate) fn unwatch(&mut self, queue: &Arc<Queue>) {
        self.watches.retain(|known| !Arc::ptr_eq(known, queue));
    }

    /// Tells all of a change, with the carrier in place of its observer.
    pub(crate) fn tell(&mut self, change: &Change<'_>, carrier: Option<Carrier<'_>>) {
        self.told += 1;
        if change.path.is_internal() {
            self.access.changed(change.path, change.entry);
        }
        let carried = carrier.as_ref().map(|carrier| carrier.observer);
        if let Some(carrier) = carrier {
            (carrier.deliver)(Some(change));
        }
        for (id, observer) in &self.observers {
            if Some(*id) != carried {
                observer.changed(change);
            }
        }
        if !self.watches.is_empty() {
            let lagged = &mut self.lagged;
            self.watches.retain(|queue| {
                let keeps_up = queue.changed(change);
                *lagged += u64::from(!keeps_up);
                keeps_up
            });
        }
    }

    /// Ends all watches, and hands the observers out.
    pub(crate) fn close(&mut self) -> Vec<(ObserverId, Arc<dyn Observer>)> {
        for queue in mem::take(&mut self.watches) {
            queue.end();
        }
        mem::take(&mut self.observers)
    }

    pub(crate) fn stats(&self) -> FeedStats {
        FeedStats {
            told: self.told,
            observers: self.observers.len() as u64,
            watches: self.watches.len() as u64,
            queued: self.watches.iter().map(|queue| queue.len() as u64).sum(),
            lagged: self.lagged,
        }
    }
}

/// What a watch tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchEvent {
    /// An entry that was there when the watch came to it.
    Existing {
        /// Where.
        path: Path,
        /// The entry.
        entry: Arc<Entry>,
    },
    /// The watch was to [go on from a tock](crate::view::WatchOptions::since), but what has changed since then can't be told, or is too much.
    /// So all that is there follows, as from a new watch; what does not come is not there.
    TooOld,
    /// All that was there has been told; only changes follow.
    Complete {
        /// All that has happened up to here has been told: a later watch can go on from here.
        tock: Tock,
    },
    /// An entry has changed.
    Changed {
        /// Where.
        path: Path,
        /// The entry as it is now. Without a value it was deleted.
        entry: Arc<Entry>,
        /// The entry as it was.
        previous: Option<Arc<Entry>>,
    },
    /// The watch did not keep up: events were lost, and it has ended. Begin a new one; it can go on from the greatest tock that this one has
    /// told, if that was complete.
    Lagged,
}

impl WatchEvent {
    fn size(&self) -> usize {
        match self {
            Self::Existing { path, entry } | Self::Changed { path, entry, .. } => {
                path.as_bytes().len() + entry.value.as_ref().map_or(0, |value| value.as_bytes().len())
            }
            Self::TooOld | Self::Complete { .. } | Self::Lagged => 0,
        }
    }
}

/// Whether a change at a path is for whoever watches, at the moment when it is made. Called under the feed's lock.
pub(crate) type Filter = Box<dyn Fn(PathRef<'_>) -> bool + Send + Sync>;

/// The queue between the feed and one watch. Its lock is a leaf below the feed's.
pub(crate) struct Queue {
    pattern: Pattern,
    /// `None`: every change that matches is told.
    filter: Option<Filter>,
    events_max: usize,
    bytes_max: usize,
    state: Mutex<QueueState>,
}

struct QueueState {
    events: VecDeque<WatchEvent>,
    /// The size of their paths and values.
    bytes: usize,
    /// Where the reading of what exists stands; `None` when it is over. What it has not come to yet it will find as it is
    /// then: changes there need not be told.
    scan: Option<Scan>,
    ended: bool,
    waker: Option<Waker>,
}

impl QueueState {
    fn push(&mut self, event: WatchEvent) {
        self.bytes += event.size();
        self.events.push_back(event);
    }
}

impl Queue {
    /// A queue of so many events and bytes. With a scan, changes of what that has not passed yet are left out.
    pub(crate) fn new(
        pattern: Pattern,
        filter: Option<Filter>,
        (events_max, bytes_max): (usize, usize),
        scan: Option<Scan>,
    ) -> Self {
        let state = QueueState { events: VecDeque::new(), bytes: 0, scan, ended: false, waker: None };
        Self { pattern, filter, events_max, bytes_max, state: Mutex::new(state) }
    }

    /// Notes a change; false if the queue has overrun and the watch has ended. Needs the feed's lock.
    fn changed(&self, change: &Change<'_>) -> bool {
        let is_told = |filter: &Filter| filter(change.path);
        if !self.pattern.matches(change.path) || !self.filter.as_ref().is_none_or(is_told) {
            return true;
        }
        let mut state = self.state.lock();
        if state.scan.as_ref().is_some_and(|scan| !scan.is_past(change.path)) {
            return true;
        }
        let event = WatchEvent::Changed {
            path: change.path.to_path(),
            entry: Arc::clone(change.entry),
            previous: change.previous.cloned(),
        };
        let room = state.events.len() < self.events_max && state.bytes + event.size() <= self.bytes_max;
        let keeps_up = room || state.events.is_empty();
        if keeps_up {
            state.push(event);
        } else {
            state.events = VecDeque::from([WatchEvent::Lagged]);
            state.ended = true;
        }
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        keeps_up
    }

    /// Where the reading of what exists stands, and how many events and bytes it may add: half of what there is room for, since changes
    /// need some as well. `None` if it is over or must wait.
    pub(crate) fn next_slice(&self) -> Option<(Scan, usize, usize)> {
        let state = self.state.lock();
        let scan = state.scan.as_ref().filter(|_| !state.ended && state.events.is_empty())?;
        Some((scan.clone(), self.events_max / 2, self.bytes_max / 2))
    }

    /// Takes in what a slice has found. Needs the feed's lock, taken before the replica's was let go.
    /// `tock` is the clock of the moment.
    pub(crate) fn sliced(&self, scan: Scan, found: impl Iterator<Item = WatchEvent>, tock: Tock) {
        let mut state = self.state.lock();
        if state.ended {
            return;
        }
        found.for_each(|event| state.push(event));
        if scan.is_done() {
            state.events.push_back(WatchEvent::Complete { tock });
            state.scan = None;
        } else {
            state.scan = Some(scan);
        }
    }

    /// Where the reading stands; `None` if it is over or the watch has ended.
    pub(crate) fn scan(&self) -> Option<Scan> {
        let state = self.state.lock();
        state.scan.clone().filter(|_| !state.ended)
    }

    /// All that waits.
    pub(crate) fn take(&self) -> VecDeque<WatchEvent> {
        let mut state = self.state.lock();
        state.bytes = 0;
        mem::take(&mut state.events)
    }

    /// Begins again to read what exists. Needs the feed's lock.
    pub(crate) fn restart(&self, scan: Scan) {
        let mut state = self.state.lock();
        state.bytes = 0;
        state.events.clear();
        state.scan = Some(scan);
    }

    pub(crate) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Option<WatchEvent>> {
        let mut state = self.state.lock();
        if let Some(event) = state.events.pop_front() {
            state.bytes = state.bytes.saturating_sub(event.size());
            return Poll::Ready(Some(event));
        }
        if state.ended {
            return Poll::Ready(None);
        }
        if !state.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            state.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    fn len(&self) -> usize {
        self.state.lock().events.len()
    }

    /// Ends the watch, once what waits is told, and wakes whoever waits.
    fn end(&self) {
        let waker = {
            let mut state = self.state.lock();
            state.ended = true;
            mem::take(&mut state.waker)
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}
