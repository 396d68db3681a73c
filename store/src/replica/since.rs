//! From which tocks on the changes can be told: what somebody who was away has to know.
//!
//! Who knew everything up to a tock *S* misses the entries whose heads have greater tocks, and nothing else, unless
//!
//! - a tombstone with a tock above *S* was purged: nothing tells of that deletion any more;
//! - a value expired, which changes no version, and its tombstone was purged since *S* was the clock's;
//! - an event from elsewhere came late: when the clock here had gone past its tock, up to *S* or further;
//! - *S* was told by an earlier life of this node whose last records were lost: what it told after them never happened.
//!
//! For each of these the tocks that are no good any more are noted here, and go on record. For the last one, a life begins its clock
//! above all that the one before can have told: that made at most as many events as its lease of ticks had left.

use crate::ticks::{Tick, TickSet, Tock};

/// So many ranges of tocks are kept apart. Then the oldest gaps between them close: more is forgotten, never less.
const RANGES_MAX: usize = 64;

/// The tocks since which changes can't be told.
#[derive(Clone, Debug, Default)]
pub(super) struct Forgotten(TickSet);

impl Forgotten {
    /// Notes that all below `tock` are no good; answers whether that is new.
    pub(super) fn below(&mut self, tock: Tock) -> bool {
        let Some(last) = tock.get().checked_sub(1) else { return false };
        let known = self.0.ranges().next().is_some_and(|(first, end)| first == Tick(0) && end.0 >= last);
        if known {
            return false;
        }
        self.0.insert_range(Tick(0), Tick(last));
        true
    }

    /// Notes that those above `from` and below `to` are no good.
    pub(super) fn between(&mut self, from: Tock, to: Tock) {
        if let (Some(first), Some(last)) = (from.get().checked_add(1), to.get().checked_sub(1)) {
            self.0.insert_range(Tick(first), Tick(last));
            self.limit();
        }
    }

    pub(super) fn contains(&self, tock: Tock) -> bool {
        self.0.contains(Tick(tock.get()))
    }

    /// Takes over what is on record.
    pub(super) fn union(&mut self, ranges: &TickSet) {
        self.0.union(ranges);
        self.limit();
    }

    pub(super) fn ranges(&self) -> &TickSet {
        &self.0
    }

    fn limit(&mut self) {
        let excess = self.0.ranges().len().saturating_sub(RANGES_MAX);
        let last = self.0.ranges().nth(excess).filter(|_| excess > 0);
        if let Some((_, last)) = last {
            self.0.insert_range(Tick(0), last);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tock(number: u64) -> Tock {
        Tock::new(number).unwrap()
    }

    #[test]
    fn what_is_forgotten_stays_so_and_more_when_there_are_too_many_ranges() {
        let mut forgotten = Forgotten::default();
        assert!(!forgotten.below(tock(0)));
        for start in 1..=200 {
            forgotten.between(tock(start * 10), tock(start * 10 + 5));
        }
        assert!(forgotten.ranges().ranges().len() <= RANGES_MAX);
        for start in 1..=200 {
            assert!(!forgotten.contains(tock(2010)));
            assert!((1..5).all(|more| forgotten.contains(tock(start * 10 + more))));
        }
        assert!(!forgotten.contains(tock(2000)) && !forgotten.contains(tock(2005)));
        assert!(forgotten.below(tock(2003)));
        assert!(!forgotten.below(tock(2003)) && !forgotten.below(tock(7)));
        assert!(forgotten.contains(tock(0)) && forgotten.contains(tock(2002)));
        assert!(forgotten.contains(tock(2004)) && !forgotten.contains(tock(2005)));
    }
}
