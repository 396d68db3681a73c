//! Bytes from a socket, cut into packets: read into the worker's buffer, decoded in place; only an unfinished tail stays
//! with the connection, and a large packet gets a buffer of its own size from the common budget.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, ReadBuf};

use crate::limits::Budget;
use crate::transport::Transport;

/// When a connection looks again whether there is room for its large packet.
pub(crate) const ROOM_RETRY: Duration = Duration::from_millis(50);
/// Bytes of an unfinished packet that need no room in the budget.
const FREE_BYTES: usize = 4 << 10;
/// Bytes of a worker's read buffer. Packets up to this size need no buffer of their own.
pub(crate) const READ_BYTES: usize = 64 << 10;

/// What a connection keeps of its input between two reads.
#[derive(Debug)]
pub(crate) struct Input {
    /// The beginning of the next packet.
    tail: Vec<u8>,
    /// Bytes of the budget that the tail takes.
    counted: usize,
    /// `tail` may hold whole packets: look at them before the next read.
    again: bool,
    large: Option<Large>,
    budget: Arc<Budget>,
}

/// A packet larger than the read buffer.
#[derive(Debug)]
struct Large {
    /// Its length with the fixed header.
    len: usize,
    /// `None` while the budget has no room for it.
    buffer: Option<BytesMut>,
}

/// What there is to decode.
#[derive(Debug)]
pub(crate) enum Read {
    /// So many bytes of the worker's buffer.
    Bytes { len: usize, received: usize },
    /// One whole large packet.
    Packet { packet: Bytes, received: usize },
    /// A part of a large packet.
    Part { received: usize },
    /// There is no room for a large packet at the moment.
    NoRoom,
    /// The peer has closed its side.
    End,
}

impl Input {
    pub(crate) fn new(budget: Arc<Budget>) -> Self {
        Self { tail: Vec::new(), counted: 0, again: false, large: None, budget }
    }

    /// Reads once, if there is something to read. `buffer` is the worker's, of [`READ_BYTES`].
    pub(crate) fn poll_read<T: Transport>(
        &mut self,
        socket: &mut T,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<Read>> {
        if self.large.is_some() {
            return self.poll_large(socket, cx);
        }
        let kept = self.tail.len();
        if std::mem::take(&mut self.again) {
            buffer[..kept].copy_from_slice(&self.take_tail());
            return Poll::Ready(Ok(Read::Bytes { len: kept, received: 0 }));
        }
        let mut free = ReadBuf::new(&mut buffer[kept..]);
        ready!(Pin::new(socket).poll_read(cx, &mut free))?;
        let received = free.filled().len();
        if received == 0 {
            return Poll::Ready(Ok(Read::End));
        }
        if kept > 0 {
            buffer[..kept].copy_from_slice(&self.take_tail());
        }
        Poll::Ready(Ok(Read::Bytes { len: kept + received, received }))
    }

    /// Keeps what was not decoded. `needed` is the length of the packet that it begins, as far as it is known; `again` says
    /// that there may be whole packets in it. If not, there is no room for it: the connection has to end.
    #[must_use]
    pub(crate) fn keep(&mut self, rest: &[u8], needed: usize, again: bool) -> bool {
        self.again = again;
        if needed > READ_BYTES {
            self.large = Some(Large { len: needed, buffer: None });
        }
        if rest.is_empty() {
            return true;
        }
        self.tail = rest.to_vec();
        if rest.len() <= FREE_BYTES {
            return true;
        }
        let room = self.budget.take_with_reserve(rest.len());
        if room {
            self.counted = rest.len();
        }
        room
    }

    /// Takes the tail, out of the budget too.
    fn take_tail(&mut self) -> Vec<u8> {
        self.budget.give_back(std::mem::take(&mut self.counted));
        std::mem::take(&mut self.tail)
    }

    /// Does a large packet wait for room?
    pub(crate) fn waits_for_room(&self) -> bool {
        self.large.as_ref().is_some_and(|large| large.buffer.is_none())
    }

    /// The bytes that are kept, for a guess at what a stranger speaks.
    pub(crate) fn kept(&self) -> &[u8] {
        &self.tail
    }

    fn poll_large<T: Transport>(&mut self, socket: &mut T, cx: &mut Context<'_>) -> Poll<io::Result<Read>> {
        if let Some(Large { len, buffer: None }) = self.large {
            // The tail is part of it, and counted already.
            if !self.budget.take(len - self.counted) {
                return Poll::Ready(Ok(Read::NoRoom));
            }
            self.counted = 0;
            let mut buffer = BytesMut::with_capacity(len);
            buffer.put_slice(&self.take_tail());
            self.large = Some(Large { len, buffer: Some(buffer) });
        }
        let Some(Large { len, buffer: Some(buffer) }) = &mut self.large else { return Poll::Pending };
        let missing = *len - buffer.len();
        let mut limited = buffer.limit(missing);
        let received = ready!(pin!(socket.read_buf(&mut limited)).poll(cx))?;
        if received == 0 {
            return Poll::Ready(Ok(Read::End));
        }
        if received < missing {
            return Poll::Ready(Ok(Read::Part { received }));
        }
        let packet = self.large.take().and_then(|large| large.buffer).unwrap_or_default().freeze();
        self.budget.give_back(packet.len());
        Poll::Ready(Ok(Read::Packet { packet, received }))
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        self.budget.give_back(self.counted);
        if let Some(Large { len, buffer: Some(_) }) = self.large {
            self.budget.give_back(len);
        }
    }
}
