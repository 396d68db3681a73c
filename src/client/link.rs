//! The task of a connection: it sends what the handles ask for, hands out what comes, and connects again.
//!
//! Requests of all handles share one socket and are answered in any order. Whatever waits at once goes out with one write. A stream has a queue as long as its
//! window, so that the server's flow control bounds it, and who reads it slowly holds nobody else up.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use bytes::BytesMut;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::sync::{mpsc, oneshot};

use super::backoff::Backoff;
use super::error::Error;
use super::login;
use super::options::Options;
use super::reply::{Reply, State};
use super::request::Request;
use super::socket::{self, Socket};
use crate::native::wire::Frames;

/// How many commands may wait for the task; then whoever asks waits.
pub(super) const COMMANDS_MAX: usize = 1024;
/// Above this many bytes on their way out, no more commands are taken.
const OUTPUT_MAX: usize = 1 << 20;
/// Above this many requests without an answer, no more commands are taken.
const PENDING_MAX: usize = 65_536;
/// Commands taken at once.
const BATCH: usize = 64;
/// Messages of a stream that may come when its window is full: start, end, an error.
const STREAM_SLACK: usize = 4;
/// The queue of a stream from a server without flow control. If it is full, the stream ends with an error.
const STREAM_QUEUE: usize = 4096;

/// One stream: of which connection, and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StreamId {
    connection: u64,
    seq: u64,
}

/// What a stream's handle gets.
pub(super) type Incoming = mpsc::Receiver<Result<Reply, Error>>;

/// A stream that was asked for.
pub(super) struct Opened {
    pub(super) id: StreamId,
    pub(super) window: u64,
    pub(super) incoming: Incoming,
}

/// What the handles ask the task for.
pub(super) enum Command {
    /// One request with one answer.
    Call { request: Request, answer: oneshot::Sender<Result<Reply, Error>> },
    /// A request that is answered by a stream.
    Open { request: Request, opened: oneshot::Sender<Opened> },
    /// The messages of a stream up to this number have been read.
    Acknowledge { stream: StreamId, read: u64 },
    /// Nobody reads this stream any more.
    Stop { stream: StreamId },
}

enum Pending {
    Call(oneshot::Sender<Result<Reply, Error>>),
    Stream(mpsc::Sender<Result<Reply, Error>>),
}

/// Why there is no connection at present, or why there will be none any more.
pub(super) type Trouble = Arc<Mutex<Option<Error>>>;

/// A connection.
pub(super) struct Link {
    reader: ReadHalf<Box<dyn Socket>>,
    writer: WriteHalf<Box<dyn Socket>>,
    server: String,
    number: u64,
    frames: Frames,
    input: BytesMut,
    output: Vec<u8>,
    next_seq: u64,
    /// How many messages of a stream may be under way; 0: no flow control.
    pub(super) window: u64,
    /// Did the server ask for a login?
    pub(super) logged_in: bool,
    pending: HashMap<u64, Pending>,
    /// What the server said before it closed.
    last_word: Option<Error>,
}

/// What the task waited for.
enum Done {
    Read(usize),
    Wrote(io::Result<usize>),
    Asked(usize),
}

/// Writes what the socket takes at once; if nothing is left, what it has taken is to leave.
async fn push(writer: &mut WriteHalf<Box<dyn Socket>>, rest: &[u8]) -> io::Result<usize> {
    if rest.is_empty() {
        return writer.flush().await.map(|()| 0);
    }
    match writer.write(rest).await? {
        0 => Err(io::ErrorKind::WriteZero.into()),
        count => Ok(count),
    }
}

/// Connects and logs in.
pub(super) async fn connect(options: &Options, number: u64) -> Result<Link, Error> {
    let work = async {
        let (reader, writer) = tokio::io::split(socket::open(options).await?);
        let mut link = Link {
            reader,
            writer,
            server: options.server.clone(),
            number,
            frames: Frames::new(options.message_max),
            input: BytesMut::new(),
            output: Vec::new(),
            next_seq: 1,
            window: 0,
            logged_in: false,
            pending: HashMap::new(),
            last_word: None,
        };
        login::log_in(&mut link, options).await?;
        Ok(link)
    };
    match tokio::time::timeout(options.timeout, work).await {
        Ok(result) => result,
        Err(_) => {
            let hint = if options.tls.is_none() { "; does it speak TLS?" } else { "" };
            let reason = format!("no answer within {:?}{hint}", options.timeout);
            Err(Error::Unreachable { server: options.server.clone(), reason })
        }
    }
}

/// What the task does, from the first connection on until there is nobody left to serve, or no way to go on.
pub(super) async fn drive(
    mut link: Link,
    options: Options,
    mut commands: mpsc::Receiver<Command>,
    trouble: Trouble,
) {
    loop {
        let Err(why) = link.serve(&mut commands).await else { return };
        let why = link.fail(why);
        *trouble.lock() = Some(why);
        if !options.reconnect {
            return;
        }
        let mut backoff = Backoff::default();
        link = loop {
            let chance = login::random::<4>().map_or(u32::MAX, u32::from_ne_bytes);
            tokio::time::sleep(backoff.next(chance)).await;
            match connect(&options, link.number + 1).await {
                Ok(link) => break link,
                Err(error) => {
                    let end = error.is_final();
                    *trouble.lock() = Some(error);
                    if end {
                        return;
                    }
                }
            }
        };
        *trouble.lock() = None;
    }
}

impl Link {
    /// Sends one request by itself; before the task has begun.
    pub(super) async fn send(&mut self, request: &Request) -> Result<u64, Error> {
        let seq = self.draw_seq();
        self.send_as(seq, request).await.map(|()| seq)
    }

    /// As [`Link::send`], with a given number.
    pub(super) async fn send_as(&mut self, seq: u64, request: &Request) -> Result<(), Error> {
        let mut message = Vec::new();
        request.encode(seq, &mut message);
        let lost = |_| Error::Lost { server: self.server.clone() };
        self.writer.write_all(&message).await.map_err(lost)?;
        self.writer.flush().await.map_err(lost)
    }

    /// Waits for the next message; before the task has begun.
    pub(super) async fn receive(&mut self) -> Result<Reply, Error> {
        loop {
            if let Some(reply) = self.take_message()? {
                return Ok(reply);
            }
            match self.reader.read_buf(&mut self.input).await {
                Ok(1..) => {}
                _ => return Err(self.lost()),
            }
        }
    }

    fn lost(&self) -> Error {
        Error::Lost { server: self.server.clone() }
    }

    fn draw_seq(&mut self) -> u64 {
        let seq = self.next_seq;
        self.next_seq += 1;
        seq
    }

    fn take_message(&mut self) -> Result<Option<Reply>, Error> {
        let found = self.frames.next(&self.input).map_err(|error| Error::Malformed(error.to_string()))?;
        found.map(|len| Reply::new(self.input.split_to(len).freeze())).transpose()
    }

    /// Serves until the connection is lost (an error), or all handles are gone.
    async fn serve(&mut self, commands: &mut mpsc::Receiver<Command>) -> Result<(), Error> {
        let mut batch = Vec::with_capacity(BATCH);
        let (mut written, mut unflushed) = (0, false);
        loop {
            let room = self.output.len() < OUTPUT_MAX && self.pending.len() < PENDING_MAX;
            let rest = self.output.get(written..).unwrap_or_default();
            // Each of these can be dropped before it is done and has then done nothing.
            let done = tokio::select! {
                read = self.reader.read_buf(&mut self.input) => Done::Read(read.unwrap_or(0)),
                wrote = push(&mut self.writer, rest), if !rest.is_empty() || unflushed => Done::Wrote(wrote),
                count = commands.recv_many(&mut batch, BATCH), if room => Done::Asked(count),
            };
            match done {
                Done::Read(0) | Done::Wrote(Err(_)) => return Err(self.lost()),
                Done::Asked(0) => return Ok(()),
                Done::Read(_) => {
                    while let Some(reply) = self.take_message()? {
                        self.hand_out(reply);
                    }
                }
                Done::Wrote(Ok(count)) => {
                    unflushed = count > 0;
                    written += count;
                    if written == self.output.len() {
                        self.output.clear();
                        self.output.shrink_to(OUTPUT_MAX);
                        written = 0;
                    }
                }
                Done::Asked(_) => batch.drain(..).for_each(|command| self.obey(command)),
            }
            if self.pending.len() >= PENDING_MAX {
                self.forget_the_impatient();
            }
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            // Whoever asked has given up meanwhile.
            Command::Call { answer, .. } if answer.is_closed() => {}
            Command::Open { opened, .. } if opened.is_closed() => {}
            Command::Call { request, answer } => {
                let seq = self.draw_seq();
                request.encode(seq, &mut self.output);
                self.pending.insert(seq, Pending::Call(answer));
            }
            Command::Open { request, opened } => {
                let seq = self.draw_seq();
                let request = if self.window > 0 { request.count("wseq", 1) } else { request };
                request.encode(seq, &mut self.output);
                let queue = match self.window {
                    0 => STREAM_QUEUE,
                    window => window as usize + STREAM_SLACK,
                };
                let (sink, incoming) = mpsc::channel(queue);
                self.pending.insert(seq, Pending::Stream(sink));
                let id = StreamId { connection: self.number, seq };
                // If nobody waits for it any more, its first message will tell.
                let _ = opened.send(Opened { id, window: self.window, incoming });
            }
            Command::Acknowledge { stream, read } => {
                if stream.connection == self.number && self.pending.contains_key(&stream.seq) {
                    let ack = Request::follow_up().text("state", "ack").count("ack", read);
                    ack.encode(stream.seq, &mut self.output);
                }
            }
            Command::Stop { stream } => {
                if stream.connection == self.number && self.pending.remove(&stream.seq).is_some() {
                    self.stop(stream.seq);
                }
            }
        }
    }

    /// Asks the server to end a stream. The answer interests nobody.
    fn stop(&mut self, stream: u64) {
        let seq = self.draw_seq();
        Request::new("stop").count("task", stream).encode(seq, &mut self.output);
    }

    fn hand_out(&mut self, reply: Reply) {
        let Some(seq) = reply.seq() else {
            self.last_word = reply.refusal();
            return;
        };
        match self.pending.remove(&seq) {
            None => {}
            Some(Pending::Call(answer)) => {
                // Whoever asked may have given up.
                let _ = answer.send(reply.accepted());
            }
            Some(Pending::Stream(sink)) => {
                let end = reply.state() == Some(State::End);
                match sink.try_send(Ok(reply)) {
                    Ok(()) if end => {}
                    Ok(()) => {
                        self.pending.insert(seq, Pending::Stream(sink));
                    }
                    // Full only if the server sends more than its window, or knows none; then the handle finds no end.
                    Err(_) => self.stop(seq),
                }
            }
        }
    }

    /// Requests which nobody waits for any more, and which the server does not answer.
    fn forget_the_impatient(&mut self) {
        self.pending.retain(|_, pending| match pending {
            Pending::Call(answer) => !answer.is_closed(),
            Pending::Stream(sink) => !sink.is_closed(),
        });
    }

    /// Tells everybody who waits that the connection is gone, and why.
    fn fail(&mut self, why: Error) -> Error {
        let why = self.last_word.take().unwrap_or(why);
        for (_, pending) in self.pending.drain() {
            match pending {
                Pending::Call(answer) => drop(answer.send(Err(why.clone()))),
                // If the queue is full, the handle finds that the stream has no end.
                Pending::Stream(sink) => drop(sink.try_send(Err(why.clone()))),
            }
        }
        why
    }
}
