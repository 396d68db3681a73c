//! The broker's side of the [`SessionLog`]: numbers for what is recorded, and the writer that sessions append through.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use crate::hooks::{LogFailed, Mark, SessionLog};
use crate::message::Message;
use crate::session::record::{self, Origin};
use crate::session::{Log, RecordedDelayed, RecordedWill};

/// See the module.
pub(crate) struct Records {
    log: Arc<dyn SessionLog>,
    generation: AtomicU64,
    next_body: AtomicU64,
    next_number: AtomicU64,
}

impl Records {
    pub(crate) fn new(log: Arc<dyn SessionLog>) -> Self {
        Self {
            log,
            generation: AtomicU64::new(1),
            next_body: AtomicU64::new(1),
            next_number: AtomicU64::new(1),
        }
    }

    /// Numbers up to these were in use before the restart.
    pub(crate) fn resume_after(&self, highest_number: u64, highest_body: u64) {
        self.next_number.fetch_max(highest_number + 1, Ordering::Relaxed);
        self.next_body.fetch_max(highest_body + 1, Ordering::Relaxed);
    }

    /// A number for a session, a will or a delayed message that no other has or had.
    pub(crate) fn number(&self) -> u64 {
        self.next_number.fetch_add(1, Ordering::Relaxed)
    }

    /// From now on sessions are written again, whole: what was recorded before will go.
    pub(crate) fn begin_generation(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    /// A writer for changes of one client's own making.
    pub(crate) fn recorder(&self) -> Recorder<'_> {
        self.recorder_with(Vec::new())
    }

    /// The same with a buffer to use again; see [`Recorder::into_buffer`].
    pub(crate) fn recorder_with(&self, buffer: Vec<u8>) -> Recorder<'_> {
        Recorder { records: self, buffer, mark: Mark::default(), origin: None, several: false, body: None }
    }

    /// The first record of a broker that begins to write.
    pub(crate) fn reset(&self) {
        let mut recorder = self.recorder();
        record::reset(recorder.buffer());
        recorder.append();
    }

    /// A will that waits is written again.
    pub(crate) fn will(&self, will: &RecordedWill) {
        let mut recorder = self.recorder();
        record::will(recorder.buffer(), will);
        recorder.append();
    }

    /// A will is published or discarded.
    pub(crate) fn will_gone(&self, number: u64) {
        let mut recorder = self.recorder();
        record::will_gone(recorder.buffer(), number);
        recorder.append();
    }

    /// A message waits to be published. `origin`: it has just come by QoS 2 from there.
    pub(crate) fn delayed(&self, delayed: &RecordedDelayed, origin: Option<Origin>) -> Mark {
        let mut recorder = self.recorder();
        record::delayed(recorder.buffer(), delayed, origin);
        recorder.append();
        recorder.mark()
    }

    /// A message waits no more.
    pub(crate) fn delayed_gone(&self, number: u64) -> Mark {
        let mut recorder = self.recorder();
        record::delayed_gone(recorder.buffer(), number);
        recorder.append();
        recorder.mark()
    }

    /// Has what was appended so far written, although no acknowledgement waits for it: a message of QoS 0 that is retained, a
    /// will, the end of a session. Else a crash would undo what others may already have seen.
    pub(crate) fn hasten(&self, mark: Mark) {
        // Nobody waits, and a failure of the log shows wherever somebody does.
        let _nobody_waits = self.poll_settled(mark, &mut Context::from_waker(Waker::noop()));
    }

    /// Is everything up to `mark` kept?
    pub(crate) fn poll_settled(&self, mark: Mark, cx: &mut Context<'_>) -> Poll<Result<(), LogFailed>> {
        if mark == Mark::default() {
            return Poll::Ready(Ok(()));
        }
        self.log.poll_settled(mark, cx)
    }
}

/// A writer for the records that one packet or one message makes. It remembers the last mark.
pub(crate) struct Recorder<'a> {
    records: &'a Records,
    buffer: Vec<u8>,
    mark: Mark,
    origin: Option<Origin>,
    several: bool,
    /// The number of the message's body and the generation in which it was appended.
    body: Option<(u64, u64)>,
}

impl Recorder<'_> {
    /// For a message that may go to `several` sessions, or that came from `origin`.
    pub(crate) fn for_message(mut self, several: bool, origin: Option<Origin>) -> Self {
        self.several = several;
        self.origin = origin;
        self
    }

    /// What was appended so far is kept when this is settled.
    pub(crate) fn mark(&self) -> Mark {
        self.mark
    }

    /// No further session gets the message. Answers the buffer and the mark.
    pub(crate) fn finish(mut self) -> (Vec<u8>, Mark) {
        if let Some((mid, _)) = self.body.take() {
            record::body_end(self.buffer(), mid);
            self.append();
        }
        (self.buffer, self.mark)
    }
}

impl Log for Recorder<'_> {
    fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    fn append(&mut self) {
        self.mark = self.mark.max(self.records.log.append(&self.buffer));
        self.buffer.clear();
    }

    fn generation(&self) -> u64 {
        self.records.generation.load(Ordering::Acquire)
    }

    fn body(&mut self, message: &Message, generation: u64) -> Option<u64> {
        if !self.several && self.origin.is_none() {
            return None;
        }
        if let Some((mid, appended_in)) = self.body
            && appended_in >= generation
        {
            return Some(mid);
        }
        let appended_in = self.generation();
        if let Some((old, _)) = self.body.take() {
            record::body_end(self.buffer(), old);
            self.append();
        }
        let mid = self.records.next_body.fetch_add(1, Ordering::Relaxed);
        record::body(&mut self.buffer, mid, self.origin, message);
        self.append();
        self.body = Some((mid, appended_in));
        Some(mid)
    }
}
