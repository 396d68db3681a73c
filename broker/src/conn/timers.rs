//! The deadlines of one connection, behind one timer which is set lazily: mostly a deadline only moves away, and then the
//! timer is left alone until it fires.

use std::pin::Pin;
use std::task::Context;
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// See the module.
#[derive(Debug)]
pub(crate) struct Timers {
    keep_alive: Option<Duration>,
    heard: Instant,
    /// The client does not read, or there is no room for its packet, since then.
    pub(crate) stalled: Option<Instant>,
    /// Until when this publisher waits for a slower subscriber.
    pub(crate) relief: Option<Instant>,
    /// Until when this publisher is not read from, since it was too fast. Meanwhile its silence means nothing.
    pub(crate) pace: Option<Instant>,
    /// Until when replays are held back.
    pub(crate) replay: Option<Instant>,
    stall: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
}

/// Which deadline is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    KeepAlive,
    Stall,
    Relief,
    Pace,
    Replay,
}

impl Timers {
    pub(crate) fn new(keep_alive: Option<Duration>, stall: Duration, now: Instant) -> Self {
        Self {
            keep_alive,
            heard: now,
            stalled: None,
            relief: None,
            pace: None,
            replay: None,
            stall,
            sleep: None,
        }
    }

    /// Something came from the client.
    pub(crate) fn heard(&mut self, now: Instant) {
        self.heard = now;
    }

    /// Answers a deadline that is over; otherwise the task is woken when the next one is.
    pub(crate) fn poll(&mut self, now: Instant, cx: &mut Context<'_>) -> Option<Due> {
        let deadlines = [
            (self.keep_alive.filter(|_| self.pace.is_none()).map(|limit| self.heard + limit), Due::KeepAlive),
            (self.stalled.map(|since| since + self.stall), Due::Stall),
            (self.relief, Due::Relief),
            (self.pace, Due::Pace),
            (self.replay, Due::Replay),
        ];
        let (next, due) =
            deadlines.into_iter().filter_map(|(at, due)| Some((at?, due))).min_by_key(|(at, _)| *at)?;
        if next <= now {
            return Some(due);
        }
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(next)));
        if next < sleep.deadline() || sleep.is_elapsed() {
            sleep.as_mut().reset(next);
        }
        while sleep.as_mut().poll(cx).is_ready() {
            // It stood at an earlier deadline, which has moved on.
            sleep.as_mut().reset(next.max(now + Duration::from_millis(1)));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Poll;

    use super::*;
    use crate::clock;

    async fn next(timers: &mut Timers) -> Due {
        poll_fn(|cx| timers.poll(clock::now(), cx).map_or(Poll::Pending, Poll::Ready)).await
    }

    #[tokio::test(start_paused = true)]
    async fn keep_alive_counts_from_what_was_heard_last() {
        let start = clock::now();
        let mut timers = Timers::new(Some(Duration::from_secs(15)), Duration::from_secs(60), start);
        let quiet = tokio::time::timeout(Duration::from_secs(10), next(&mut timers)).await;
        assert!(quiet.is_err());
        timers.heard(clock::now());
        assert_eq!(next(&mut timers).await, Due::KeepAlive);
        assert_eq!((clock::now() - start).as_secs(), 25);
    }

    #[tokio::test(start_paused = true)]
    async fn the_earliest_deadline_comes_first() {
        let start = clock::now();
        let mut timers = Timers::new(Some(Duration::from_secs(90)), Duration::from_secs(60), start);
        assert!(tokio::time::timeout(Duration::from_secs(1), next(&mut timers)).await.is_err());
        timers.stalled = Some(clock::now());
        timers.relief = Some(clock::now() + Duration::from_millis(50));
        assert_eq!(next(&mut timers).await, Due::Relief);
        timers.relief = None;
        assert_eq!(next(&mut timers).await, Due::Stall);
        assert_eq!((clock::now() - start).as_secs(), 61);
        timers.stalled = None;
        assert_eq!(next(&mut timers).await, Due::KeepAlive);
        assert_eq!((clock::now() - start).as_secs(), 90);
    }

    #[tokio::test(start_paused = true)]
    async fn a_publisher_that_is_kept_waiting_is_not_taken_for_silent() {
        let start = clock::now();
        let mut timers = Timers::new(Some(Duration::from_secs(15)), Duration::from_secs(60), start);
        timers.pace = Some(start + Duration::from_secs(100));
        assert_eq!(next(&mut timers).await, Due::Pace);
        assert_eq!((clock::now() - start).as_secs(), 100);
        timers.pace = None;
        timers.heard(clock::now());
        assert_eq!(next(&mut timers).await, Due::KeepAlive);
        assert_eq!((clock::now() - start).as_secs(), 115);
    }

    #[tokio::test(start_paused = true)]
    async fn without_deadlines_nothing_is_due() {
        let mut timers = Timers::new(None, Duration::from_secs(60), clock::now());
        let waited = tokio::time::timeout(Duration::from_secs(100_000), next(&mut timers)).await;
        assert!(waited.is_err() && timers.sleep.is_none());
    }
}
