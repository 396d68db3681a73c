//! From the outbox to the socket: one batch at a time, when its mark is settled.

use std::pin::Pin;
use std::task::{Context, Poll};

use super::end::End;
use crate::broker::Core;
use crate::outbox::{Batch, Outbox, Taken};
use crate::transport::Transport;
use crate::worker::Worker;

/// What is being written.
#[derive(Debug, Default)]
pub(super) struct Output {
    batch: Batch,
    settled: bool,
}

/// How far writing got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// Nothing waits any more.
    All,
    /// The socket took some and then no more.
    Some,
    /// The socket takes nothing.
    None,
    /// The log has still to keep what the batch promises.
    Unsettled,
}

impl Output {
    /// Is there a batch that the socket doesn't take?
    pub(super) fn is_blocked(&self) -> bool {
        !self.batch.is_empty()
    }

    /// Was a packet cut in the middle? (It may also have ended with the last write: that is not looked at.)
    pub(super) fn is_within_a_packet(&self) -> bool {
        self.batch.is_begun()
    }

    /// The buffer goes back to the worker.
    pub(super) fn recycle(&mut self, worker: &mut Worker) {
        worker.routing.dirty.recycle(&mut self.batch);
    }

    /// Writes until nothing waits or the socket takes no more.
    pub(super) fn poll_write<T: Transport>(
        &mut self,
        socket: &mut T,
        outbox: &Outbox,
        core: &Core,
        worker: &mut Worker,
        cx: &mut Context<'_>,
    ) -> Result<Written, End> {
        let mut progress = false;
        loop {
            if self.batch.is_empty() {
                self.recycle(worker);
                match outbox.poll_take(&mut self.batch, cx) {
                    Poll::Pending => return Ok(Written::All),
                    Poll::Ready(Taken::Close(reason)) => return Err(End::Told(reason)),
                    Poll::Ready(Taken::Batch) => self.settled = false,
                }
            }
            if !self.settled {
                match core.records.poll_settled(self.batch.mark, cx) {
                    Poll::Ready(kept) => kept.map_err(End::LogFailed)?,
                    Poll::Pending => return wait(outbox, cx, Written::Unsettled),
                }
                self.settled = true;
            }
            match write_once(socket, &self.batch, cx) {
                Poll::Ready(Ok(0)) => return Err(End::Closed),
                Poll::Ready(Ok(written)) => {
                    progress = true;
                    self.batch.advance(written);
                    core.metrics.bytes_sent.add(written as u64);
                    if self.batch.is_empty() {
                        count(&self.batch, core);
                    }
                }
                Poll::Ready(Err(error)) => return Err(End::Failed(error)),
                Poll::Pending => {
                    return wait(outbox, cx, if progress { Written::Some } else { Written::None });
                }
            }
        }
    }
}

/// While a batch can't be written, the task still wants to know when it is told to end.
fn wait(outbox: &Outbox, cx: &mut Context<'_>, written: Written) -> Result<Written, End> {
    match outbox.poll_close(cx) {
        Poll::Ready(reason) => Err(End::Told(reason)),
        Poll::Pending => Ok(written),
    }
}

fn write_once<T: Transport>(
    socket: &mut T,
    batch: &Batch,
    cx: &mut Context<'_>,
) -> Poll<std::io::Result<usize>> {
    let slices = batch.slices();
    match slices.as_slice() {
        [only] => Pin::new(socket).poll_write(cx, only),
        several => Pin::new(socket).poll_write_vectored(cx, several),
    }
}

fn count(batch: &Batch, core: &Core) {
    core.metrics.packets_sent.add(batch.counts.packets);
    core.metrics.publish_sent.add(batch.counts.publishes);
    core.metrics.publish_bytes_sent.add(batch.counts.payload_bytes);
}
