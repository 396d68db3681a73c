//! The memory budget: how much of it is used, and what is shed as it comes to its end.
//!
//! What counts is added up ten times a second; in between everybody asks one atomic number. So for a tenth of a second more may
//! come than the budget has; that is what the distance between the first step and the end of the budget is for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use crate::broker::Core;
use crate::tasks::Stop;

/// What is shed, from the first to the last. Each is shed together with all before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shed {
    /// From 80 % of the budget on: messages of QoS 0 for clients which have not read yet what they got before.
    AtMostOnce = 1,
    /// From 85 %: messages for the queues of sessions without a connection.
    AwayQueues = 2,
    /// From 90 %: new connections, which are refused (CONNACK 3).
    Connections = 3,
    /// From 95 %: retained messages of topics that have none yet.
    NewRetained = 4,
}

const STEPS: [(Shed, usize); 4] =
    [(Shed::AtMostOnce, 80), (Shed::AwayQueues, 85), (Shed::Connections, 90), (Shed::NewRetained, 95)];

/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);

/// How much is shed at the moment.
#[derive(Debug, Default)]
pub struct Pressure(AtomicU8);

impl Pressure {
    /// Is this shed?
    #[must_use]
    pub fn sheds(&self, what: Shed) -> bool {
        self.level() >= what as u8
    }

    /// How many of the steps are taken: 0 to 4.
    #[must_use]
    pub fn level(&self) -> u8 {
        self.0.load(Ordering::Relaxed)
    }

    /// Notes how much is used. Answers the level before and now.
    fn note(&self, used: usize, budget: usize) -> (u8, u8) {
        let now = level(used, budget);
        (self.0.swap(now, Ordering::Relaxed), now)
    }
}

/// How many steps are taken when so much of the budget is used.
fn level(used: usize, budget: usize) -> u8 {
    if budget == 0 {
        return 0;
    }
    let reached = |percent: usize| used as u128 * 100 >= budget as u128 * percent as u128;
    STEPS.iter().filter(|(_, percent)| reached(*percent)).map(|(shed, _)| *shed as u8).max().unwrap_or(0)
}

/// Adds up what counts against the budget, again and again.
pub(crate) async fn watch(core: Arc<Core>, mut stop: Stop) {
    loop {
        let budget = core.limits().memory_bytes;
        look(&core);
        let pause = async {
            if budget == 0 {
                core.limits_changed.notified().await;
            } else {
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::select! {
            () = stop.stopped() => return,
            () = pause => {}
        }
    }
}

fn look(core: &Core) {
    let budget = core.limits().memory_bytes;
    let used = if budget == 0 { 0 } else { used(core) };
    let (before, now) = core.pressure.note(used, budget);
    core.metrics.memory_bytes.set(used as u64);
    core.metrics.memory_pressure.set(now.into());
    if now > before {
        tracing::warn!(used, budget, "the memory budget comes to its end: {}", words(now));
    } else if now < before {
        tracing::info!(used, budget, "the memory budget has room again: {}", words(now));
    }
}

fn used(core: &Core) -> usize {
    let far = core.metrics.queued_bytes.get().saturating_add(core.hooks.retained_bytes());
    let (_, delayed) = core.delayed.amount();
    let near = core.outboxes.used().saturating_add(core.unfinished.used()).saturating_add(delayed);
    usize::try_from(far).unwrap_or(usize::MAX).saturating_add(near)
}

fn words(level: u8) -> &'static str {
    match level {
        0 => "nothing is shed",
        1 => "QoS 0 to slow clients is dropped",
        2 => "messages for clients that are away are dropped, too",
        3 => "new connections are refused, too",
        _ => "new retained messages are refused, too",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steps_follow_the_documented_order() {
        let levels = [79, 80, 85, 90, 95, 200].map(|used| level(used, 100));
        assert_eq!(levels, [0, 1, 2, 3, 4, 4]);
        let pressure = Pressure::default();
        assert_eq!(pressure.note(90, 100), (0, 3));
        assert!(pressure.sheds(Shed::AtMostOnce) && pressure.sheds(Shed::Connections));
        assert!(!pressure.sheds(Shed::NewRetained));
        assert_eq!(pressure.note(0, 100), (3, 0));
        assert!(!pressure.sheds(Shed::AtMostOnce));
    }

    #[test]
    fn without_a_budget_nothing_is_shed() {
        assert_eq!(level(usize::MAX, 0), 0);
        assert_eq!(level(usize::MAX, usize::MAX), 4);
    }
}
