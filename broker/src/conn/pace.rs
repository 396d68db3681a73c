//! The rates of one publisher, and of all together: after each batch it says until when no more is read.

use std::time::Duration;

use tokio::time::Instant;

use super::end::End;
use crate::broker::Core;
use crate::limits::{Limits, RateAction};
use crate::metrics::Tally;
use crate::rate::TokenBucket;

/// See the module.
#[derive(Debug)]
pub(super) struct Pace {
    messages: Option<TokenBucket>,
    bytes: Option<TokenBucket>,
    action: RateAction,
    /// What the batch under way may hold: PUBLISH packets and payload bytes. It is cut behind the packet that reaches either.
    room: (u64, u64),
}

/// A rate of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rate {
    /// Of PUBLISH packets.
    Messages,
    /// Of payload bytes.
    Bytes,
}

impl Pace {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            messages: TokenBucket::new(limits.publish_rate.into(), limits.publish_burst.into()),
            bytes: TokenBucket::new(limits.publish_bytes_rate as u64, limits.publish_bytes_burst as u64),
            action: limits.rate_action,
            room: (u64::MAX, u64::MAX),
        }
    }

    /// A batch begins.
    pub(super) fn begin(&mut self, core: &Core, now: Instant) {
        if self.messages.is_none() && self.bytes.is_none() {
            return;
        }
        let now = now - core.started;
        let left = |bucket: &Option<TokenBucket>| bucket.as_ref().map_or(u64::MAX, |bucket| bucket.left(now));
        self.room = (left(&self.messages), left(&self.bytes));
    }

    /// Must the batch be cut here?
    pub(super) fn is_spent(&self, tally: &Tally) -> bool {
        let (messages, bytes) = self.room;
        // What is no PUBLISH is never held up.
        tally.publish_received > 0
            && (tally.publish_received >= messages || tally.publish_bytes_received >= bytes)
    }

    /// A batch has ended. Answers until when nothing more may be read.
    pub(super) fn charge(
        &mut self,
        tally: &Tally,
        core: &Core,
        now: Instant,
    ) -> Result<Option<Instant>, End> {
        let (messages, bytes) = (tally.publish_received, tally.publish_bytes_received);
        if messages == 0 {
            return Ok(None);
        }
        let at = now - core.started;
        let numbers = &core.metrics;
        let mut wait = Duration::ZERO;
        for (bucket, n, rate) in
            [(&mut self.messages, messages, Rate::Messages), (&mut self.bytes, bytes, Rate::Bytes)]
        {
            let debt = bucket.as_mut().map_or(Duration::ZERO, |bucket| bucket.charge(at, n));
            if debt.is_zero() {
                continue;
            }
            if self.action == RateAction::Disconnect {
                return Err(End::TooFast(rate));
            }
            match rate {
                Rate::Messages => numbers.rate_waits_messages.add(1),
                Rate::Bytes => numbers.rate_waits_bytes.add(1),
            }
            wait = wait.max(debt);
        }
        if core.hot.has_total_rates() {
            let debts = core.rates.charge(at, messages, bytes);
            numbers.rate_waits_total_messages.add(u64::from(!debts[0].is_zero()));
            numbers.rate_waits_total_bytes.add(u64::from(!debts[1].is_zero()));
            wait = wait.max(debts[0]).max(debts[1]);
        }
        Ok((!wait.is_zero()).then(|| now + wait))
    }
}
