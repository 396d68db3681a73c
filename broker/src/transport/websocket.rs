//! WebSocket under MQTT: the stream of bytes that is left when the frames are taken off.
//!
//! It reads into the buffer that it is given and takes the frames off in place; it writes each batch as one frame, with the
//! head before it in the same write. So it costs little beside plain TCP, and an idle connection holds no buffer.

mod frame;
mod upgrade;

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use smallvec::SmallVec;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use self::frame::{CLOSE, CONTROL_MAX, PONG};
pub use self::frame::{Control, Decoder, FrameError, check_frames};
pub use self::upgrade::check_request;

/// A close without complaint.
const NORMAL: u16 = 1000;

/// Which requests become WebSockets, and what their clients may send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebSocketOptions {
    /// The only path; `None`: any.
    pub path: Option<String>,
    /// The origins of pages that may connect, such as `https://example.org`; empty: all. Programs have no origin, so this
    /// protects the users of browsers, and nobody else.
    pub origins: Vec<String>,
    /// Bytes of one frame; a longer one closes the connection (1009). A packet may have many frames.
    pub frame_bytes: usize,
    /// Bytes of the head of the request; a longer one is refused (431).
    pub head_bytes: usize,
}

impl Default for WebSocketOptions {
    fn default() -> Self {
        Self { path: None, origins: Vec::new(), frame_bytes: 16 << 20, head_bytes: 8 << 10 }
    }
}

/// A stream within the binary frames of another one.
#[derive(Debug)]
pub(crate) struct WebSocket<S: AsyncRead + AsyncWrite + Unpin> {
    stream: S,
    decoder: Decoder,
    /// What came right behind the request.
    early: Vec<u8>,
    /// The head of the frame that is being written.
    head: Pending<10>,
    /// How much of its payload is still to be written.
    frame_left: usize,
    /// A control frame that waits for its turn: between two frames. Of several pings only the last is answered, as the
    /// standard allows, so one is all that ever waits.
    control: Pending<{ 2 + CONTROL_MAX }>,
    /// The client has said that it is the end, or has broken the rules: nothing is read any more.
    ended: bool,
    /// Our Close is said, or about to be: no data may follow.
    closing: bool,
}

/// Some bytes that are on their way out.
#[derive(Debug)]
struct Pending<const N: usize> {
    bytes: [u8; N],
    len: u8,
    sent: u8,
}

impl<const N: usize> Pending<N> {
    const NONE: Self = Self { bytes: [0; N], len: 0, sent: 0 };

    fn left(&self) -> &[u8] {
        &self.bytes[usize::from(self.sent)..usize::from(self.len)]
    }

    /// So many bytes more are sent.
    fn advance(&mut self, sent: usize) {
        self.sent = self.sent.saturating_add(u8::try_from(sent).unwrap_or(u8::MAX)).min(self.len);
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// Makes a WebSocket of a stream on which a client asks for one.
    ///
    /// # Errors
    /// It did not come about; the client was told why.
    pub(crate) async fn accept(mut stream: S, options: &WebSocketOptions) -> io::Result<Self> {
        let early = upgrade::shake_hands(&mut stream, options).await?;
        Ok(Self {
            stream,
            decoder: Decoder::new(options.frame_bytes as u64),
            early,
            head: Pending::NONE,
            frame_left: 0,
            control: Pending::NONE,
            ended: false,
            closing: false,
        })
    }

    /// Takes the frames off the bytes in `buf` from `from` on. Answers whether payload is left.
    fn take_frames_off(&mut self, buf: &mut ReadBuf<'_>, from: usize) -> io::Result<bool> {
        let Self { decoder, control, ended, closing, .. } = self;
        let decoded = decoder.decode(&mut buf.filled_mut()[from..], &mut |frame| match frame {
            // A control frame that has left in part must stay as it is.
            _ if *closing || control.sent > 0 => *ended |= matches!(frame, Control::Close(_)),
            Control::Ping(payload) => control.set(PONG, payload),
            Control::Close(code) => {
                let code = code.unwrap_or(NORMAL);
                control.set(CLOSE, &code.to_be_bytes());
                (*ended, *closing) = (true, true);
            }
        });
        match decoded {
            Ok(len) => {
                buf.set_filled(from + len);
                Ok(len > 0)
            }
            Err(error) => {
                buf.set_filled(from);
                self.ended = true;
                self.close(error.close_code());
                Err(io::Error::new(io::ErrorKind::InvalidData, error))
            }
        }
    }

    /// Has a Close sent, if none was.
    fn close(&mut self, code: u16) {
        if !std::mem::replace(&mut self.closing, true) && self.control.sent == 0 {
            self.control.set(CLOSE, &code.to_be_bytes());
        }
    }

    /// Writes the control frame that waits, unless a data frame is under way.
    fn poll_control(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.frame_left > 0 {
            return Poll::Pending;
        }
        while !self.control.left().is_empty() {
            let sent = ready!(Pin::new(&mut self.stream).poll_write(cx, self.control.left()))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.control.advance(sent);
            if self.control.left().is_empty() {
                self.control = Pending::NONE;
                return Pin::new(&mut self.stream).poll_flush(cx);
            }
        }
        Poll::Ready(Ok(()))
    }

    /// The control frame, if it can be sent now; who is busy with something else is woken for it.
    fn try_control(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.poll_control(cx) {
            Poll::Ready(result) => result,
            Poll::Pending => Ok(()),
        }
    }
}

impl Pending<{ 2 + CONTROL_MAX }> {
    fn set(&mut self, opcode: u8, payload: &[u8]) {
        let payload = &payload[..payload.len().min(CONTROL_MAX)];
        let (head, _) = frame::head(opcode, payload.len());
        self.bytes[..2].copy_from_slice(&head[..2]);
        self.bytes[2..2 + payload.len()].copy_from_slice(payload);
        self.len = 2 + payload.len() as u8;
        self.sent = 0;
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for WebSocket<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let from = buf.filled().len();
        loop {
            this.try_control(cx)?;
            if this.ended {
                return Poll::Ready(Ok(()));
            }
            if this.early.is_empty() {
                ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
                if buf.filled().len() == from {
                    this.ended = true;
                    return Poll::Ready(Ok(()));
                }
            } else {
                let len = this.early.len().min(buf.remaining());
                buf.put_slice(&this.early[..len]);
                this.early.drain(..len);
                this.early.shrink_to_fit();
            }
            match this.take_frames_off(buf, from) {
                Ok(true) => {
                    this.try_control(cx)?;
                    return Poll::Ready(Ok(()));
                }
                // Only control frames, or the beginning of one with data.
                Ok(false) => {}
                Err(error) => {
                    let _ = this.try_control(cx);
                    return Poll::Ready(Err(error));
                }
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WebSocket<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    /// All that is offered becomes one frame. If the stream takes less, the rest of the frame is what is offered the next time.
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let offered: usize = bufs.iter().map(|buf| buf.len()).sum();
        if offered == 0 {
            return Poll::Ready(Ok(0));
        }
        if this.frame_left == 0 {
            ready!(this.poll_control(cx))?;
            if this.closing {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            let (bytes, len) = frame::binary_head(offered);
            this.head = Pending { bytes, len, sent: 0 };
            this.frame_left = offered;
        }
        loop {
            let head = this.head.left().len();
            let sent = {
                let slices = parts(this.head.left(), bufs, this.frame_left);
                ready!(Pin::new(&mut this.stream).poll_write_vectored(cx, &slices))?
            };
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let of_head = sent.min(head);
            this.head.advance(of_head);
            let of_payload = sent - of_head;
            this.frame_left -= of_payload;
            if of_payload > 0 {
                if this.frame_left == 0 && !this.control.left().is_empty() {
                    this.try_control(cx)?;
                }
                return Poll::Ready(Ok(of_payload));
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.frame_left == 0 {
            ready!(this.poll_control(cx))?;
        }
        Pin::new(&mut this.stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.close(NORMAL);
        if this.frame_left == 0 {
            ready!(this.poll_control(cx))?;
        }
        Pin::new(&mut this.stream).poll_shutdown(cx)
    }
}

/// What is to be written of a frame: the rest of its head, and as much of the buffers as belongs to it.
fn parts<'a>(head: &'a [u8], bufs: &'a [IoSlice<'a>], mut left: usize) -> SmallVec<[IoSlice<'a>; 8]> {
    let mut slices = SmallVec::new();
    if !head.is_empty() {
        slices.push(IoSlice::new(head));
    }
    for buf in bufs {
        let len = buf.len().min(left);
        if len > 0 {
            slices.push(IoSlice::new(&buf[..len]));
        }
        left -= len;
    }
    slices
}

impl<S: AsyncRead + AsyncWrite + Unpin> Drop for WebSocket<S> {
    /// Says Close, if the stream takes it at once.
    fn drop(&mut self) {
        self.close(NORMAL);
        let _ = self.try_control(&mut Context::from_waker(Waker::noop()));
    }
}

#[cfg(test)]
mod tests;
