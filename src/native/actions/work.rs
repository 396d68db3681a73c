//! Work that goes on elsewhere (a login, a file), as the source of a stream or of one reply.

use std::pin::Pin;
use std::task::{Context, Poll};

use super::super::failure::Failure;
use super::super::stream::{Next, Source};
use super::super::wire::Writer;

/// What is done when some work is through: it writes the reply.
pub(super) type Reply = Box<dyn FnOnce(&mut Writer<'_>) -> Next + Send>;

/// Work under way.
type Running = Pin<Box<dyn Future<Output = Result<Reply, Failure>> + Send>>;

/// Work that goes on elsewhere, until it is through.
pub(super) struct Work(Option<Running>);

impl Work {
    pub(super) fn new(work: impl Future<Output = Result<Reply, Failure>> + Send + 'static) -> Box<Self> {
        Box::new(Self(Some(Box::pin(work))))
    }
}

impl Source for Work {
    fn poll_next(&mut self, cx: &mut Context<'_>, message: &mut Writer<'_>) -> Poll<Next> {
        let Some(work) = &mut self.0 else { return Poll::Ready(Next::End) };
        let Poll::Ready(done) = work.as_mut().poll(cx) else { return Poll::Pending };
        self.0 = None;
        Poll::Ready(match done {
            Ok(reply) => reply(message),
            Err(failure) => Next::Failed(failure),
        })
    }
}
