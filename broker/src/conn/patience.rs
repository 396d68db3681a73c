//! A publisher's patience: it waits a moment for subscribers that are slower, so that a short flood loses nothing; but not
//! for those that are stuck, and only for a small part of its time.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use crate::registry::Client;

/// After it waited in vain, a publisher waits for nobody for so many times as long.
const PAUSE: u32 = 20;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Patience {
    /// The subscribers it waits for.
    slower: Vec<Arc<Client>>,
    /// It waited in vain, and waits no more before then.
    exhausted_until: Option<Instant>,
}

impl Patience {
    /// Would it wait now?
    pub(super) fn is_there(&mut self, now: Instant) -> bool {
        if self.exhausted_until.is_some_and(|end| end <= now) {
            self.exhausted_until = None;
        }
        self.exhausted_until.is_none()
    }

    /// Waits for these subscribers.
    pub(super) fn wait_for(&mut self, slower: Vec<Arc<Client>>) {
        self.slower = slower;
    }

    /// Ready when there is nobody (any more) to wait for.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.slower.is_empty() {
            return Poll::Ready(());
        }
        self.slower.retain(|client| client.outbox.poll_relief(cx).is_pending());
        if self.slower.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// It waited for all of `stall`: those who did not catch up are not waited for until they have.
    pub(super) fn give_up(&mut self, now: Instant, stall: Duration) {
        if self.slower.is_empty() {
            return;
        }
        for client in self.slower.drain(..) {
            client.outbox.give_up();
        }
        self.exhausted_until = Some(now + stall * PAUSE);
    }
}
