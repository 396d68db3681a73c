//! Bytes on their way to one socket: filled by any task, drained by the connection.
//!
//! Small frames are copied one behind the other; the payloads of large ones are shared and only noted with their place.
//! An outbox is bounded by bytes and messages, and beyond its first bytes by a budget of all outboxes. It holds no buffer
//! while it is empty.
//!
//! Whoever appends gets the connection's waker, if it sleeps, and wakes it when its own batch is done: once for many
//! messages. [`Mark`]s travel with the bytes: a batch knows what must be settled before it may leave.

mod aliases;

use std::io::IoSlice;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use smallvec::SmallVec;

pub(crate) use aliases::Alias;

use aliases::Aliases;

use crate::hooks::Mark;
use crate::limits::{Budget, Limits};

/// What each outbox may hold without asking the common budget.
const FREE_BYTES: usize = 4 << 10;
/// What it takes from the common budget at a time.
const RESERVED_STEP: usize = 64 << 10;
/// Buffers larger than this are freed, not used again.
const SPARE_BYTES: usize = 128 << 10;
const SPARE_BUFFERS: usize = 64;
/// By so much an alias makes the first packet of its topic longer, at most: the property itself, and one byte more for each of the two
/// lengths.
pub(crate) const ALIAS_BYTES: usize = 5;
/// Acknowledgements that may wait for a client which does not read.
const CONTROL_BYTES: usize = 64 << 10;
/// Slices of one vectored write.
pub(crate) const SLICES: usize = 64;

/// In what form a client gets its PUBLISH packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shape {
    /// With properties, as in MQTT 5.
    pub(crate) v5: bool,
    /// So many bytes of the topic are the listener's mount point, which its clients do not see.
    pub(crate) mount: u16,
}

/// What a CONNECT says about the packets that its client takes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Taste {
    pub(crate) shape: Shape,
    /// Bytes of the largest packet, if there is a limit.
    pub(crate) maximum_packet: Option<u32>,
    /// Topic aliases.
    pub(crate) aliases: u16,
}

/// A PUBLISH in pieces: what is before the packet identifier, the identifier, properties, the payload or a shared payload.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame<'a> {
    pub(crate) head: &'a [u8],
    pub(crate) id: Option<u16>,
    pub(crate) properties: &'a [u8],
    pub(crate) tail: &'a [u8],
    pub(crate) shared: Option<&'a Bytes>,
    /// Payload bytes, for the counters.
    pub(crate) payload: usize,
}

/// What a worker keeps while it fills outboxes: whom to wake, and buffers to use again.
#[derive(Debug, Default)]
pub(crate) struct Dirty {
    wakers: Vec<Waker>,
    spare: Vec<Vec<u8>>,
}

impl Dirty {
    /// Wakes each connection that got something, except the one that asks. Answers whether there was any.
    pub(crate) fn wake_all(&mut self, own: Option<&Waker>) -> bool {
        let mut woke = false;
        for waker in self.wakers.drain(..) {
            if own.is_none_or(|own| !own.will_wake(&waker)) {
                waker.wake();
                woke = true;
            }
        }
        woke
    }

    /// Takes a written batch's buffer for the next one that needs one.
    pub(crate) fn recycle(&mut self, batch: &mut Batch) {
        let mut buffer = std::mem::take(batch).bytes;
        if (1..=SPARE_BYTES).contains(&buffer.capacity()) && self.spare.len() < SPARE_BUFFERS {
            buffer.clear();
            self.spare.push(buffer);
        }
    }
}

/// Why a connection is told to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Close {
    /// The client connected anew. At once.
    TakenOver,
    /// An administrator wants it (MQTT 5: 0x98). At once.
    Administrative,
    /// The user may not be here any more (MQTT 5: 0x87). At once.
    NotAuthorized,
    /// The server stops. What waits is sent first.
    Shutdown,
    /// The server stops and has waited long enough.
    Now,
}

impl Close {
    fn is_immediate(self) -> bool {
        self != Self::Shutdown
    }
}

/// What a connection finds in its outbox.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// The batch was filled.
    Batch,
    /// The connection is to end.
    Close(Close),
}

/// Numbers of what a batch holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) packets: u64,
    pub(crate) publishes: u64,
    pub(crate) payload_bytes: u64,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Outbox {
    state: Mutex<State>,
    budget: Arc<Budget>,
}

#[derive(Debug, Default)]
struct State {
    open: bool,
    bytes: Vec<u8>,
    shared: Vec<Shared>,
    shared_bytes: usize,
    /// Bytes of packets other than PUBLISH since all was written last.
    control_bytes: usize,
    counts: Counts,
    mark: Mark,
    /// Bytes and messages that the connection took and has not yet written.
    taken_bytes: usize,
    taken_publishes: u64,
    reserved: usize,
    max_bytes: usize,
    max_publishes: u64,
    /// With more than this in it, publishers wait: three quarters of what it may hold.
    pressed_bytes: usize,
    pressed_publishes: u64,
    waker: Option<Waker>,
    /// Does the waker wait for bytes, or only for `close`?
    waits_for_bytes: bool,
    close: Option<Close>,
    pressure: Pressure,
    taste: Taste,
    /// Topic aliases in use, if the client takes any.
    aliases: Option<Box<Aliases>>,
}

/// Publishers that wait until a slower subscriber has caught up.
#[derive(Debug, Default)]
struct Pressure {
    /// The session's queue is nearly full.
    queue: bool,
    /// The subscriber did not catch up while a publisher waited: nobody waits again until it has.
    given_up: bool,
    publishers: Vec<Waker>,
}

/// A shared payload which belongs behind the first `at` copied bytes.
#[derive(Debug)]
struct Shared {
    at: usize,
    body: Bytes,
}

impl Outbox {
    /// A closed outbox, which takes nothing.
    pub(crate) fn new(budget: Arc<Budget>) -> Self {
        Self { state: Mutex::default(), budget }
    }

    /// Opens it for a new connection. `first` is what the client gets before anything else.
    pub(crate) fn open(&self, limits: &Limits, taste: Taste, first: &[u8]) {
        let mut state = self.state.lock();
        self.budget.give_back(state.reserved);
        *state = State {
            open: true,
            bytes: first.to_vec(),
            counts: Counts { packets: u64::from(!first.is_empty()), ..Counts::default() },
            max_bytes: limits.outbox_bytes,
            max_publishes: limits.outbox_messages as u64,
            pressed_bytes: limits.outbox_bytes / 4 * 3,
            pressed_publishes: limits.outbox_messages as u64 / 4 * 3,
            close: state.close,
            taste,
            aliases: (taste.aliases > 0).then(|| Box::new(Aliases::new(taste.aliases))),
            ..State::default()
        };
    }

    /// Closes it and frees what it holds. Answers how many messages were lost with it.
    pub(crate) fn shut(&self) -> u64 {
        let mut state = self.state.lock();
        self.budget.give_back(state.reserved);
        let shut = std::mem::take(&mut *state);
        drop(state);
        for publisher in shut.pressure.publishers {
            publisher.wake();
        }
        shut.counts.publishes
    }

    /// Tells the connection to end.
    pub(crate) fn close(&self, reason: Close) {
        let mut state = self.state.lock();
        if !state.close.is_some_and(Close::is_immediate) {
            state.close = Some(reason);
        }
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Locks it to append.
    pub(crate) fn lock(&self) -> Appender<'_> {
        Appender { state: self.state.lock(), budget: &self.budget }
    }

    /// Takes all that waits into `batch`, which must be empty: whatever was taken before counts as written.
    /// If nothing waits, the task is woken when something does.
    pub(crate) fn poll_take(&self, batch: &mut Batch, cx: &mut Context<'_>) -> Poll<Taken> {
        debug_assert!(batch.is_empty());
        let mut state = self.state.lock();
        state.taken_bytes = 0;
        state.taken_publishes = 0;
        if let Some(reason) = state.close.filter(|reason| reason.is_immediate()) {
            return Poll::Ready(Taken::Close(reason));
        }
        let publishers = state.relieve();
        let waiting = state.waiting_bytes();
        if waiting == 0 {
            state.control_bytes = 0;
            self.budget.give_back(std::mem::take(&mut state.reserved));
            if let Some(reason) = state.close {
                return Poll::Ready(Taken::Close(reason));
            }
            state.sleep(cx, true);
            drop(state);
            wake(publishers);
            return Poll::Pending;
        }
        batch.bytes = std::mem::take(&mut state.bytes);
        batch.shared = std::mem::take(&mut state.shared);
        batch.counts = std::mem::take(&mut state.counts);
        batch.mark = std::mem::take(&mut state.mark);
        state.shared_bytes = 0;
        state.taken_bytes = waiting;
        state.taken_publishes = batch.counts.publishes;
        drop(state);
        wake(publishers);
        Poll::Ready(Taken::Batch)
    }

    /// Waits only for the end, while a batch can't be written.
    pub(crate) fn poll_close(&self, cx: &mut Context<'_>) -> Poll<Close> {
        let mut state = self.state.lock();
        if let Some(reason) = state.close.filter(|reason| reason.is_immediate()) {
            return Poll::Ready(reason);
        }
        state.sleep(cx, false);
        Poll::Pending
    }

    /// Are there so many acknowledgements that the client should read them before more is read from it?
    pub(crate) fn is_clogged(&self) -> bool {
        self.state.lock().control_bytes >= CONTROL_BYTES
    }

    /// Bytes that wait or are being written.
    pub(crate) fn held_bytes(&self) -> usize {
        self.state.lock().held_bytes()
    }

    /// For a publisher: ready once the subscriber has caught up, is gone, or nobody waits for it any more.
    pub(crate) fn poll_relief(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state.lock();
        if !state.open || state.pressure.given_up || state.is_relieved() {
            return Poll::Ready(());
        }
        if !state.pressure.publishers.iter().any(|waker| waker.will_wake(cx.waker())) {
            state.pressure.publishers.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// For a publisher: it waited in vain.
    pub(crate) fn give_up(&self) {
        let mut state = self.state.lock();
        state.pressure.given_up = true;
        let publishers = std::mem::take(&mut state.pressure.publishers);
        drop(state);
        wake(publishers);
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.budget.give_back(self.state.get_mut().reserved);
    }
}

fn wake(publishers: Vec<Waker>) {
    for publisher in publishers {
        publisher.wake();
    }
}

/// A locked outbox.
pub(crate) struct Appender<'a> {
    state: MutexGuard<'a, State>,
    budget: &'a Budget,
}

impl Appender<'_> {
    /// Is a connection behind it?
    pub(crate) fn is_open(&self) -> bool {
        self.state.open
    }

    /// In what form the client gets messages.
    pub(crate) fn shape(&self) -> Shape {
        self.state.taste.shape
    }

    /// Does the client take a packet of this many bytes?
    pub(crate) fn takes(&self, bytes: usize) -> bool {
        self.state.taste.maximum_packet.is_none_or(|maximum| bytes <= maximum as usize)
    }

    /// Is there any limit to the size of packets?
    pub(crate) fn is_choosy(&self) -> bool {
        self.state.taste.maximum_packet.is_some()
    }

    /// What stands for `topic` in a PUBLISH that is sent next and has `len` bytes without an alias.
    #[inline]
    pub(crate) fn alias(&mut self, topic: &str, len: impl FnOnce() -> usize) -> Alias {
        let state = &mut *self.state;
        let Some(aliases) = &mut state.aliases else { return Alias::None };
        if state.taste.maximum_packet.is_some_and(|maximum| len() + ALIAS_BYTES > maximum as usize) {
            return Alias::None;
        }
        aliases.take(topic)
    }

    /// Does more wait in it than each outbox may hold anyway?
    pub(crate) fn is_slow(&self) -> bool {
        self.state.held_bytes() > FREE_BYTES
    }

    /// Would a message of this many bytes be taken?
    pub(crate) fn has_room(&mut self, bytes: usize) -> bool {
        self.state.open && !self.state.is_full() && self.reserve(bytes)
    }

    /// Appends a PUBLISH which the session has counted already: it is bounded by the window.
    pub(crate) fn put(&mut self, frame: &Frame<'_>, dirty: &mut Dirty) {
        let state = &mut *self.state;
        if !state.open {
            return;
        }
        let buffer = state.buffer(dirty);
        buffer.extend_from_slice(frame.head);
        if let Some(id) = frame.id {
            buffer.extend_from_slice(&id.to_be_bytes());
        }
        // A call to copy nothing is not free.
        for piece in [frame.properties, frame.tail] {
            if !piece.is_empty() {
                buffer.extend_from_slice(piece);
            }
        }
        if let Some(body) = frame.shared {
            let at = buffer.len();
            state.shared.push(Shared { at, body: body.clone() });
            state.shared_bytes += body.len();
        }
        state.counts.packets += 1;
        state.counts.publishes += 1;
        state.counts.payload_bytes += frame.payload as u64;
        state.rouse(dirty);
    }

    /// Appends `number` packets of other types. They are never refused: a connection whose outbox is clogged reads no more.
    pub(crate) fn control(&mut self, packets: &[u8], number: u64, dirty: &mut Dirty) {
        let state = &mut *self.state;
        if !state.open {
            return;
        }
        state.buffer(dirty).extend_from_slice(packets);
        state.control_bytes += packets.len();
        state.counts.packets += number;
        state.rouse(dirty);
    }

    /// What is in the outbox now may leave only when `mark` is settled.
    pub(crate) fn mark(&mut self, mark: Mark) {
        self.state.mark = self.state.mark.max(mark);
    }

    /// Notes whether the session's queue is nearly full. That wakes nobody: publishers see it when the outbox is taken.
    pub(crate) fn press_queue(&mut self, pressed: bool) {
        self.state.pressure.queue = pressed;
    }

    /// Should the publisher wait for this subscriber?
    pub(crate) fn presses(&self) -> bool {
        let state = &*self.state;
        let pressed = state.pressure.queue
            || state.held_bytes() > state.pressed_bytes
            || state.held_publishes() > state.pressed_publishes;
        pressed && state.open && !state.pressure.given_up
    }

    fn reserve(&mut self, more: usize) -> bool {
        let state = &mut *self.state;
        let needed = state.held_bytes() + more;
        if needed <= FREE_BYTES + state.reserved {
            return true;
        }
        let step = (needed - FREE_BYTES - state.reserved).max(RESERVED_STEP);
        let taken = self.budget.take(step);
        if taken {
            state.reserved += step;
        }
        taken
    }
}

impl State {
    fn waiting_bytes(&self) -> usize {
        self.bytes.len() + self.shared_bytes
    }

    fn held_bytes(&self) -> usize {
        self.waiting_bytes() + self.taken_bytes
    }

    fn held_publishes(&self) -> u64 {
        self.counts.publishes + self.taken_publishes
    }

    fn is_full(&self) -> bool {
        self.held_bytes() >= self.max_bytes || self.held_publishes() >= self.max_publishes
    }

    fn is_relieved(&self) -> bool {
        !self.pressure.queue
            && self.held_bytes() <= self.max_bytes / 2
            && self.held_publishes() <= self.max_publishes / 2
    }

    fn relieve(&mut self) -> Vec<Waker> {
        if (self.pressure.given_up || !self.pressure.publishers.is_empty()) && self.is_relieved() {
            self.pressure.given_up = false;
            return std::mem::take(&mut self.pressure.publishers);
        }
        Vec::new()
    }

    fn buffer(&mut self, dirty: &mut Dirty) -> &mut Vec<u8> {
        if self.bytes.capacity() == 0 {
            self.bytes = dirty.spare.pop().unwrap_or_else(|| Vec::with_capacity(512));
        }
        &mut self.bytes
    }

    fn rouse(&mut self, dirty: &mut Dirty) {
        if self.waits_for_bytes {
            self.waits_for_bytes = false;
            dirty.wakers.extend(self.waker.take());
        }
    }

    fn sleep(&mut self, cx: &Context<'_>, for_bytes: bool) {
        self.waits_for_bytes = for_bytes;
        match &mut self.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            waker @ None => *waker = Some(cx.waker().clone()),
        }
    }
}

/// What a connection writes: taken at once, written in as many steps as the socket needs.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    shared: Vec<Shared>,
    at: Place,
    pub(crate) mark: Mark,
    pub(crate) counts: Counts,
}

/// How far a batch is written: copied bytes, shared payloads, and bytes of the payload that is next.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    copied: usize,
    shared: usize,
    within: usize,
}

impl Batch {
    /// Is everything written?
    pub(crate) fn is_empty(&self) -> bool {
        self.at.copied == self.bytes.len() && self.at.shared == self.shared.len()
    }

    /// Is a part of it written, and a part not?
    pub(crate) fn is_begun(&self) -> bool {
        !self.is_empty() && (self.at.copied > 0 || self.at.shared > 0 || self.at.within > 0)
    }

    /// The next slices to write, at most [`SLICES`].
    pub(crate) fn slices(&self) -> SmallVec<[IoSlice<'_>; 4]> {
        let mut slices = SmallVec::new();
        let Place { mut copied, shared, mut within } = self.at;
        for next in self.shared.iter().skip(shared) {
            if slices.len() + 1 >= SLICES {
                return slices;
            }
            if copied < next.at {
                slices.push(IoSlice::new(&self.bytes[copied..next.at]));
                copied = next.at;
            }
            slices.push(IoSlice::new(&next.body[within..]));
            within = 0;
        }
        if copied < self.bytes.len() {
            slices.push(IoSlice::new(&self.bytes[copied..]));
        }
        slices
    }

    /// Notes that the next `written` bytes have left.
    pub(crate) fn advance(&mut self, mut written: usize) {
        while written > 0 {
            let next = self.shared.get(self.at.shared);
            let end = next.map_or(self.bytes.len(), |next| next.at);
            if self.at.copied < end {
                let step = written.min(end - self.at.copied);
                self.at.copied += step;
                written -= step;
                continue;
            }
            let Some(next) = next else {
                debug_assert!(false, "wrote more than there was");
                return;
            };
            let step = written.min(next.body.len() - self.at.within);
            self.at.within += step;
            written -= step;
            if self.at.within == next.body.len() {
                self.at.shared += 1;
                self.at.within = 0;
            }
        }
        if self.is_empty() {
            self.shared = Vec::new();
            self.at = Place { copied: self.bytes.len(), ..Place::default() };
        }
    }
}

#[cfg(test)]
mod tests;
