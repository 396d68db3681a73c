//! Which clients connect again and again: those that do it by themselves (*flapping*), and pairs of devices with one client id
//! that throw each other out (*takeover loops*). It reads no clock.
//!
//! The table is bounded: when it is full, the clients that connected longest ago are forgotten, and counted.

use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

/// Clients that one half of the table holds. Together it takes some megabytes at most.
const HALF: usize = 16_384;

/// So many takeovers within [`LOOP_WINDOW`] are a loop. A device which changes its network has one or two.
const LOOP_TAKEOVERS: u32 = 5;
/// See [`LOOP_TAKEOVERS`]. When there was no takeover for so long, a loop is over.
const LOOP_WINDOW: Duration = Duration::from_secs(60);

/// When a client flaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    /// Connections; 0: never.
    pub(crate) count: u32,
    /// ... in this time.
    pub(crate) window: Duration,
}

/// What a connection of a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing special.
    Fine,
    /// The client flaps. `first`: it began with this connection.
    Flaps {
        /// Tell it now, and not again while it lasts.
        first: bool,
    },
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Flapping {
    /// When the new half is full it becomes the old one, and what was not seen since goes.
    new: HashMap<Arc<str>, History, RandomState>,
    old: HashMap<Arc<str>, History, RandomState>,
    forgotten: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct History {
    connects: Counted,
    takeovers: Counted,
}

/// How often something happened in a window that begins with its first time.
#[derive(Clone, Copy, Debug, Default)]
struct Counted {
    began: Duration,
    count: u32,
    /// It was too often, and that was told.
    told: bool,
}

impl Counted {
    /// Counts it once more. Answers whether that is more than `limit`.
    fn count(&mut self, now: Duration, limit: u32, window: Duration) -> bool {
        if now.saturating_sub(self.began) > window {
            *self = Self { began: now, ..Self::default() };
        }
        self.count = self.count.saturating_add(1);
        let too_often = self.count > limit;
        if too_often {
            // It goes on being so until there was quiet for a whole window.
            self.began = now;
        }
        too_often
    }

    fn tell(&mut self) -> bool {
        !std::mem::replace(&mut self.told, true)
    }
}

impl Flapping {
    /// A client connects.
    pub(crate) fn connects(&mut self, client: &Arc<str>, now: Duration, rule: Rule) -> Verdict {
        if rule.count == 0 {
            return Verdict::Fine;
        }
        let connects = &mut self.history(client, now).connects;
        if connects.count(now, rule.count, rule.window) {
            Verdict::Flaps { first: connects.tell() }
        } else {
            Verdict::Fine
        }
    }

    /// A connection takes over from another one of the same client. Answers whether this shows a loop that is not told yet.
    pub(crate) fn takes_over(&mut self, client: &Arc<str>, now: Duration) -> bool {
        let takeovers = &mut self.history(client, now).takeovers;
        takeovers.count(now, LOOP_TAKEOVERS - 1, LOOP_WINDOW) && takeovers.tell()
    }

    /// Clients that were forgotten for lack of room since the last call.
    pub(crate) fn take_forgotten(&mut self) -> u64 {
        std::mem::take(&mut self.forgotten)
    }

    fn history(&mut self, client: &Arc<str>, now: Duration) -> &mut History {
        if !self.new.contains_key(client) {
            if self.new.len() >= HALF {
                self.forgotten += self.old.len() as u64;
                self.old = std::mem::take(&mut self.new);
            }
            let fresh = || {
                let counted = Counted { began: now, ..Counted::default() };
                History { connects: counted, takeovers: counted }
            };
            let known = self.old.remove(client).unwrap_or_else(fresh);
            self.new.insert(Arc::clone(client), known);
        }
        self.new.entry(Arc::clone(client)).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: Rule = Rule { count: 3, window: Duration::from_secs(60) };

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn id(name: &str) -> Arc<str> {
        name.into()
    }

    #[test]
    fn a_client_flaps_after_more_connections_than_allowed_and_is_told_once() {
        let mut flapping = Flapping::default();
        let a = id("a");
        for second in 100..103 {
            assert_eq!(flapping.connects(&a, at(second), RULE), Verdict::Fine);
            assert_eq!(flapping.connects(&id("b"), at(second), RULE), Verdict::Fine);
        }
        assert_eq!(flapping.connects(&a, at(103), RULE), Verdict::Flaps { first: true });
        assert_eq!(flapping.connects(&a, at(104), RULE), Verdict::Flaps { first: false });
    }

    #[test]
    fn it_goes_on_flapping_until_a_window_without_connections() {
        let mut flapping = Flapping::default();
        let a = id("a");
        for _ in 0..4 {
            flapping.connects(&a, at(0), RULE);
        }
        for second in [50, 100, 150] {
            assert_eq!(flapping.connects(&a, at(second), RULE), Verdict::Flaps { first: false });
        }
        for _ in 0..3 {
            assert_eq!(flapping.connects(&a, at(211), RULE), Verdict::Fine);
        }
        assert_eq!(flapping.connects(&a, at(212), RULE), Verdict::Flaps { first: true });
    }

    #[test]
    fn who_connects_slowly_never_flaps_and_without_a_rule_nobody_does() {
        let mut flapping = Flapping::default();
        for n in 0..100 {
            assert_eq!(flapping.connects(&id("slow"), at(n * 21), RULE), Verdict::Fine, "{n}");
            let off = Rule { count: 0, ..RULE };
            assert_eq!(flapping.connects(&id("fast"), at(0), off), Verdict::Fine);
        }
    }

    #[test]
    fn the_fifth_takeover_in_a_minute_is_a_loop_and_told_once_while_it_lasts() {
        let mut flapping = Flapping::default();
        let a = id("a");
        let told: Vec<u64> = (0..200).filter(|second| flapping.takes_over(&a, at(*second))).collect();
        assert_eq!(told, [4]);
        let again: Vec<u64> = (300..400).filter(|second| flapping.takes_over(&a, at(*second))).collect();
        assert_eq!(again, [304]);
    }

    #[test]
    fn a_takeover_now_and_then_is_no_loop() {
        let mut flapping = Flapping::default();
        assert!(!(0..100).any(|n| flapping.takes_over(&id("a"), at(n * 20))));
    }

    #[test]
    fn the_table_is_bounded_and_forgets_those_that_were_not_seen_for_longest() {
        let mut flapping = Flapping::default();
        let often = id("often");
        for n in 0..5 * HALF {
            flapping.connects(&id(&n.to_string()), at(0), RULE);
            if n % 100 == 0 {
                flapping.connects(&often, at(0), RULE);
            }
        }
        assert!(flapping.new.len() + flapping.old.len() <= 2 * HALF);
        assert!(flapping.take_forgotten() > 2 * HALF as u64);
        assert_eq!(flapping.connects(&often, at(0), RULE), Verdict::Flaps { first: false });
    }
}
