//! Streams: what is answered with more than one message, or later. Each has a source that is asked for its next message when the client
//! has room for it.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::task::{Context, Poll};

use super::failure::Failure;
use super::figures::Figures;
use super::session::Out;
use super::wire::{Fields, Seq, Window, Writer};

/// How many messages of one stream are written before others have their turn.
const TURN: usize = 64;

/// What a source has done.
pub(super) enum Next {
    /// It has written a message; if it has no tock of its own, the present one is added.
    Message {
        /// Whether it has.
        has_tock: bool,
    },
    /// It has come to its end, and written nothing.
    End,
    /// It has failed, and ends. What it may have written does not count.
    Failed(Failure),
}

/// Where the messages of a stream come from.
pub(super) trait Source: Send {
    /// Adds to the message that says that the stream begins. While that is pending, `cx` is woken.
    fn poll_start(&mut self, _cx: &mut Context<'_>, _message: &mut Writer<'_>) -> Poll<()> {
        Poll::Ready(())
    }

    /// Writes the next message, but for what ties it to its request. While that is pending, nothing is written, and `cx` is woken.
    fn poll_next(&mut self, cx: &mut Context<'_>, message: &mut Writer<'_>) -> Poll<Next>;

    /// Takes a message that the client has sent into the stream.
    fn told(&mut self, _message: &Fields<'_>) -> Result<(), Failure> {
        Err(Failure::SeqInUse)
    }
}

/// How a stream is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    /// With `start` and `end`.
    Stream,
    /// One message, which comes later.
    Single,
}

struct Stream {
    window: Window,
    framing: Framing,
    source: Box<dyn Source>,
    started: bool,
    /// The source has ended: only `end` is left to be sent.
    ended: bool,
}

/// The open streams of one connection.
#[derive(Default)]
pub(super) struct Streams {
    open: BTreeMap<Seq, Stream>,
    /// Whose turn was last.
    turn: Option<Seq>,
}

impl Streams {
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    pub(super) fn has(&self, seq: &Seq) -> bool {
        self.open.contains_key(seq)
    }

    /// Opens a stream.
    pub(super) fn open(&mut self, seq: &Seq, window: Window, source: Box<dyn Source>) {
        let stream = Stream { window, framing: Framing::Stream, source, started: false, ended: false };
        self.open.insert(seq.clone(), stream);
    }

    /// Has one message sent as soon as there is one.
    pub(super) fn later(&mut self, seq: &Seq, source: Box<dyn Source>) {
        // Zero is a size that can be.
        let Some(window) = Window::new(0) else { return };
        let stream = Stream { window, framing: Framing::Single, source, started: true, ended: false };
        self.open.insert(seq.clone(), stream);
    }

    /// The client has read up to this number.
    pub(super) fn read_to(&mut self, seq: &Seq, number: u64) {
        if let Some(stream) = self.open.get_mut(seq) {
            stream.window.read_to(number);
        }
    }

    /// The client sends a message into a stream.
    pub(super) fn tell(&mut self, seq: &Seq, message: &Fields<'_>) -> Result<(), Failure> {
        self.open.get_mut(seq).map_or(Ok(()), |stream| stream.source.told(message))
    }

    /// Ends a stream; `end` follows. Answers whether there was one.
    pub(super) fn stop(&mut self, seq: &Seq) -> bool {
        let found = self.open.get_mut(seq).filter(|stream| !stream.ended);
        found.map(|stream| stream.ended = true).is_some()
    }

    /// Ends all streams: who was let in before must log in now.
    pub(super) fn fail_all(&mut self) {
        for stream in self.open.values_mut().filter(|stream| !stream.ended) {
            stream.source = Box::new(LoginNeeded);
        }
    }

    /// Writes what there is of each stream in turn, until `out` is full. Else `cx` is woken when there is more.
    pub(super) fn pump(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut Out,
        tock: &dyn Fn() -> u64,
        figures: &Figures,
    ) {
        let mut gone = Vec::new();
        let first = self.turn.take();
        let behind = first.clone().map_or(Bound::Unbounded, Bound::Excluded);
        let up_to = first.map_or(Bound::Excluded(Seq::Int(i64::MIN)), Bound::Included);
        // All of them once, beginning behind the one which was last.
        for round in [(behind, Bound::Unbounded), (Bound::Unbounded, up_to)] {
            for (seq, stream) in self.open.range_mut(round) {
                if out.is_full() {
                    break;
                }
                if stream.advance(cx, seq, out, tock, figures) {
                    gone.push(seq.clone());
                }
                if out.is_full() {
                    self.turn = Some(seq.clone());
                }
            }
        }
        for seq in gone {
            self.open.remove(&seq);
            Figures::uncount(&figures.streams);
        }
    }
}

/// In place of a source which the client may not read from any more.
struct LoginNeeded;

impl Source for LoginNeeded {
    fn poll_next(&mut self, _cx: &mut Context<'_>, _message: &mut Writer<'_>) -> Poll<Next> {
        Poll::Ready(Next::End)
    }
}

impl Stream {
    /// Writes what there is, for one turn. Answers whether the stream is over.
    fn advance(
        &mut self,
        cx: &mut Context<'_>,
        seq: &Seq,
        out: &mut Out,
        tock: &dyn Fn() -> u64,
        figures: &Figures,
    ) -> bool {
        if !self.started && self.begin(cx, seq, out, tock()).is_pending() {
            return false;
        }
        for _ in 0..TURN {
            if !self.window.is_open() || out.is_full() {
                return false;
            }
            if self.ended {
                if self.framing == Framing::Stream {
                    state(&mut Writer::new(&mut out.bytes), seq, &mut self.window, "end", tock());
                }
                return true;
            }
            let start = out.bytes.len();
            let mut message = Writer::new(&mut out.bytes);
            match self.source.poll_next(cx, &mut message) {
                Poll::Pending => {
                    out.bytes.truncate(start);
                    return false;
                }
                Poll::Ready(Next::Message { has_tock }) => {
                    if !has_tock {
                        message.uint("tock", tock());
                    }
                    message.seq(seq);
                    if let Some(number) = self.window.take() {
                        message.uint("wseq", number);
                    }
                    self.ended = self.framing == Framing::Single;
                }
                Poll::Ready(Next::End) => {
                    out.bytes.truncate(start);
                    self.ended = true;
                }
                Poll::Ready(Next::Failed(failure)) => {
                    out.bytes.truncate(start);
                    Figures::count(&figures.failed);
                    if matches!(failure, Failure::TooSlow) {
                        Figures::count(&figures.too_slow);
                    }
                    let number = self.window.take();
                    out.failure(Some(seq), &failure, tock(), number);
                    self.ended = true;
                }
            }
        }
        // There may be more; whoever sends what was written comes again.
        false
    }

    /// Says that the stream begins. (Its window is fresh, so there is room.)
    fn begin(&mut self, cx: &mut Context<'_>, seq: &Seq, out: &mut Out, tock: u64) -> Poll<()> {
        let start = out.bytes.len();
        let mut message = Writer::new(&mut out.bytes);
        if self.source.poll_start(cx, &mut message).is_pending() {
            out.bytes.truncate(start);
            return Poll::Pending;
        }
        state(&mut message, seq, &mut self.window, "start", tock);
        self.started = true;
        Poll::Ready(())
    }
}

/// Makes of a message the beginning or the end of a stream.
fn state(message: &mut Writer<'_>, seq: &Seq, window: &mut Window, state: &str, tock: u64) {
    message.str("state", state).seq(seq).uint("tock", tock);
    if let Some(number) = window.take() {
        message.uint("wseq", number);
    }
}
