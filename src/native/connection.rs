//! One connection: a socket around a [`Session`]. It reads while there is nothing to write, and answers what it has read in one batch with
//! one write; what is on its way waits for the journal first, so that no reply promises what is not kept.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::sync::watch;
use tokio::time::{Sleep, sleep, timeout};

use super::Face;
use super::failure::Failure;
use super::figures::Figures;
use super::session::{Out, Session};
use super::wire::Frames;

/// How much is read at a time.
const READ_BYTES: usize = 64 << 10;

/// The longest message of somebody who has not logged in.
const STRANGER_BYTES: usize = 64 << 10;

/// How much memory buffers keep while nothing happens.
const KEPT_BYTES: usize = 4 << 10;

thread_local! {
    /// What is read arrives here, so that idle connections hold no buffer.
    static READ: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into());
}

/// Serves one client until either side ends the connection. Dropping the future ends it at once.
pub async fn serve<S: AsyncRead + AsyncWrite + Unpin>(stream: S, peer: SocketAddr, face: Arc<Face>) {
    Figures::count(&face.figures.accepted);
    Figures::count(&face.figures.connections);
    let mut connection = Connection {
        session: Session::new(Arc::clone(&face), peer),
        frames: Frames::new(STRANGER_BYTES),
        deadline: Some(Box::pin(sleep(face.options.login_timeout))),
        stream,
        input: Vec::new(),
        counted: 0,
        out: Out::default(),
        admitted: false,
        changes: changed(face.changes.subscribe()),
        face,
    };
    if let Err(error) = connection.run().await {
        tracing::debug!(%peer, "a native connection has ended: {error}");
    }
}

struct Connection<S> {
    face: Arc<Face>,
    stream: S,
    session: Session,
    frames: Frames,
    /// What has arrived and is not a whole message yet, or waits since much is on its way out.
    input: Vec<u8>,
    /// How much of `input` is counted as unfinished.
    counted: usize,
    out: Out,
    /// Whether the client has logged in, as far as this connection has noticed.
    admitted: bool,
    deadline: Option<Pin<Box<Sleep>>>,
    changes: Changes,
}

/// Ready when users or access lists have changed.
type Changes = Pin<Box<dyn Future<Output = watch::Receiver<()>> + Send>>;

fn changed(mut changes: watch::Receiver<()>) -> Changes {
    Box::pin(async move {
        if changes.changed().await.is_err() {
            // Nobody can tell any more.
            std::future::pending::<()>().await;
        }
        changes
    })
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    async fn run(&mut self) -> io::Result<()> {
        self.session.greet(&mut self.out);
        loop {
            self.flush().await?;
            if self.out.is_closing() {
                return self.stream.shutdown().await;
            }
            if !poll_fn(|cx| self.poll_work(cx)).await? {
                return Ok(());
            }
        }
    }

    /// Sends what was made, once it is kept what that promises.
    async fn flush(&mut self) -> io::Result<()> {
        if self.out.bytes.is_empty() {
            return Ok(());
        }
        let stall = self.face.options.write_stall;
        let lsn = self.out.promise(&self.face.store);
        let store = &self.face.store;
        poll_fn(|cx| store.poll_settled(lsn, cx)).await.map_err(io::Error::other)?;
        let mut rest = &self.out.bytes[..];
        while !rest.is_empty() {
            let written = timeout(stall, self.stream.write(rest)).await??;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            rest = rest.get(written..).unwrap_or_default();
        }
        timeout(stall, self.stream.flush()).await??;
        self.out.clear();
        Ok(())
    }

    /// Ready when there is something to send, or the end (false).
    fn poll_work(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        loop {
            if let Poll::Ready(changes) = self.changes.as_mut().poll(cx) {
                self.changes = changed(changes);
                self.session.recheck(&mut self.out);
                // The new one must be polled, too.
                continue;
            }
            self.take_messages();
            self.session.pump(cx, &mut self.out);
            self.notice_login();
            if self.out.has_something() {
                return Poll::Ready(Ok(true));
            }
            if let Some(deadline) = &mut self.deadline
                && deadline.as_mut().poll(cx).is_ready()
            {
                self.deadline = None;
                self.session.refuse(None, &Failure::LoginTooLate, &mut self.out);
                return Poll::Ready(Ok(true));
            }
            if self.session.is_busy() {
                return Poll::Pending;
            }
            if self.input.is_empty() && self.input.capacity() > KEPT_BYTES {
                self.input = Vec::new();
            }
            match self.poll_read(cx) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Ok(false)),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        READ.with_borrow_mut(|buffer| {
            let mut buffer = ReadBuf::new(buffer);
            match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) => {
                    self.input.extend_from_slice(buffer.filled());
                    Poll::Ready(Ok(buffer.filled().len()))
                }
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                Poll::Pending => Poll::Pending,
            }
        })
    }

    /// Handles the messages that have arrived, until much is on its way out.
    fn take_messages(&mut self) {
        let mut at = 0;
        while !self.out.is_full() && !self.out.is_closing() && !self.session.is_busy() {
            let rest = self.input.get(at..).unwrap_or_default();
            match self.session.take_first(rest, &mut self.frames, &mut self.out) {
                Ok(Some(len)) => at += len,
                Ok(None) => break,
                Err(error) => {
                    Figures::count(&self.face.figures.broken);
                    self.session.refuse(None, &error.into(), &mut self.out);
                    break;
                }
            }
        }
        self.input.drain(..at);
        self.count_unfinished();
    }

    /// Counts the bytes of an unfinished long message among those of all connections, which have a limit together.
    fn count_unfinished(&mut self) {
        let now = if self.input.len() > READ_BYTES { self.input.len() } else { 0 };
        let unfinished = &self.face.figures.unfinished;
        if now > self.counted {
            let all = unfinished.fetch_add(now - self.counted, Ordering::Relaxed) + now - self.counted;
            if all > self.face.options.unfinished_bytes && !self.out.is_closing() {
                Figures::count(&self.face.figures.broken);
                let text = "too many long messages are on their way to this server: send it again later";
                self.session.refuse(None, &Failure::Limit(text.to_owned()), &mut self.out);
                self.out.close();
            }
        } else {
            unfinished.fetch_sub(self.counted - now, Ordering::Relaxed);
        }
        self.counted = now;
    }

    /// Who has logged in may send long messages, and take his time.
    fn notice_login(&mut self) {
        if !self.admitted && self.session.is_admitted() {
            self.admitted = true;
            self.deadline = None;
            self.frames.set_limit(self.face.options.message_bytes);
        }
    }
}

impl<S> Drop for Connection<S> {
    fn drop(&mut self) {
        self.face.figures.unfinished.fetch_sub(self.counted, Ordering::Relaxed);
        Figures::uncount(&self.face.figures.connections);
    }
}
