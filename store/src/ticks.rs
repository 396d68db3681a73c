//! Who counts events and how: names of nodes, their lives, ticks and tocks; sets of ticks; the lease of ticks.

use std::fmt;
use std::sync::Arc;

/// The greatest length of a node's name, in bytes.
pub const MAX_NAME_BYTES: usize = 64;

/// Why a text is no node's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} can't be a node's name: use 1 to {MAX_NAME_BYTES} letters, digits, `-`, `_` or `.`")]
pub struct BadNodeName {
    /// The text (the beginning of it, if it is long).
    pub name: String,
}

/// The name of a node. A clone shares the text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeName(Arc<str>);

impl NodeName {
    /// Checks a name: 1 to [`MAX_NAME_BYTES`] ASCII letters, digits, `-`, `_` or `.`.
    pub fn new(name: &str) -> Result<Self, BadNodeName> {
        let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if (1..=MAX_NAME_BYTES).contains(&name.len()) && name.bytes().all(good) {
            Ok(Self(name.into()))
        } else {
            Err(BadNodeName { name: name.chars().take(MAX_NAME_BYTES).collect() })
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One run of a node: a random number that it draws at each start. So no dot is given twice, whatever happens to disks and
/// directories.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Life(pub u64);

impl fmt::Display for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A node's own count of its events: 1, 2, 3. It goes on over its lives, with gaps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tick(pub u64);

/// The Lamport clock of all nodes together: an event's tock is above every tock its node had seen. Always below
/// [`Tock::LIMIT`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tock(u64);

impl Tock {
    /// All nodes refuse tocks from here on, so that a mad clock does not end the count for everybody.
    pub const LIMIT: u64 = 1 << 62;

    /// Before all events.
    pub const ZERO: Self = Self(0);

    /// A tock with that number, unless it reaches the limit.
    pub fn new(number: u64) -> Option<Self> {
        (number < Self::LIMIT).then_some(Self(number))
    }

    /// The number.
    pub fn get(self) -> u64 {
        self.0
    }

    /// The tock of the next event. `None` at the limit.
    pub fn next(self) -> Option<Self> {
        Self::new(self.0 + 1)
    }
}

/// A set of ticks, kept as inclusive ranges in ascending order which neither overlap nor touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TickSet {
    ranges: Vec<(u64, u64)>,
}

impl TickSet {
    /// The empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// How many ticks are in it.
    pub fn len(&self) -> u64 {
        self.ranges.iter().fold(0, |sum, &(first, last)| sum.saturating_add(last - first).saturating_add(1))
    }

    /// The greatest tick in it.
    pub fn last(&self) -> Option<Tick> {
        self.ranges.last().map(|&(_, last)| Tick(last))
    }

    /// The ranges, both ends included, ascending.
    pub fn ranges(&self) -> impl ExactSizeIterator<Item = (Tick, Tick)> + '_ {
        self.ranges.iter().map(|&(first, last)| (Tick(first), Tick(last)))
    }

    /// All ticks, ascending.
    pub fn iter(&self) -> impl Iterator<Item = Tick> + '_ {
        self.ranges.iter().flat_map(|&(first, last)| (first..=last).map(Tick))
    }

    /// Whether `tick` is in it.
    pub fn contains(&self, tick: Tick) -> bool {
        let behind = self.ranges.partition_point(|&(first, _)| first <= tick.0);
        behind.checked_sub(1).and_then(|at| self.ranges.get(at)).is_some_and(|&(_, last)| tick.0 <= last)
    }

    /// Puts `tick` in; answers whether it was not there. At once if it follows the greatest one.
    pub fn insert(&mut self, tick: Tick) -> bool {
        if let Some((_, last)) = self.ranges.last_mut()
            && last.checked_add(1) == Some(tick.0)
        {
            *last = tick.0;
            return true;
        }
        let new = !self.contains(tick);
        if new {
            self.insert_range(tick, tick);
        }
        new
    }

    /// Puts all ticks from `first` to `last` in; none if `first` is the greater.
    pub fn insert_range(&mut self, first: Tick, last: Tick) {
        let (Tick(mut first), Tick(mut last)) = (first, last);
        if first > last {
            return;
        }
        // All ranges which overlap the new one or touch it become one with it.
        let from = self.ranges.partition_point(|&(_, end)| end.saturating_add(1) < first);
        let to = self.ranges.partition_point(|&(start, _)| start <= last.saturating_add(1));
        if let Some((start, _)) = self.ranges.get(from).filter(|_| from < to) {
            first = first.min(*start);
        }
        if let Some((_, end)) = to.checked_sub(1).and_then(|at| self.ranges.get(at)).filter(|_| from < to) {
            last = last.max(*end);
        }
        self.ranges.splice(from..to, [(first, last)]);
    }

    /// Puts all of `other` in.
    pub fn union(&mut self, other: &Self) {
        for (first, last) in other.ranges() {
            self.insert_range(first, last);
        }
    }

    /// What is in this set and not in `other`.
    pub fn difference(&self, other: &Self) -> Self {
        let mut left = Self::new();
        let mut holes = other.ranges.iter().peekable();
        for &(mut first, last) in &self.ranges {
            let mut open = true;
            while let Some(&&(start, end)) = holes.peek() {
                if end < first {
                    holes.next();
                    continue;
                }
                if start > last {
                    break;
                }
                if start > first {
                    left.ranges.push((first, start - 1));
                }
                if end >= last {
                    open = false;
                    break;
                }
                first = end + 1;
            }
            if open {
                left.ranges.push((first, last));
            }
        }
        left
    }

    /// Whether all of `other` is in this set.
    pub fn includes(&self, other: &Self) -> bool {
        other.difference(self).is_empty()
    }
}

impl FromIterator<Tick> for TickSet {
    fn from_iter<I: IntoIterator<Item = Tick>>(ticks: I) -> Self {
        let mut set = Self::new();
        for tick in ticks {
            set.insert(tick);
        }
        set
    }
}

/// How many ticks are leased at a time: so many that even at the highest rate of writes the record about the next lease is
/// synced before half of this one is used.
pub const LEASE: u64 = 1 << 16;

/// The ticks that a node may give to its events: those up to a ceiling which is on record before the first of them is used.
/// After a crash the node goes on above the ceiling, so it names no two events alike even where the last ones were lost.
#[derive(Clone, Debug)]
pub struct Lease {
    next: u64,
    ceiling: u64,
}

impl Lease {
    /// Goes on above `ceiling`, the greatest tick that may have been used. Nothing is leased yet.
    pub fn above(ceiling: Tick) -> Self {
        Self { next: ceiling.0.saturating_add(1), ceiling: ceiling.0 }
    }

    /// The ceiling on record.
    pub fn ceiling(&self) -> Tick {
        Tick(self.ceiling)
    }

    /// The tick that comes next.
    pub fn next(&self) -> Tick {
        Tick(self.next)
    }

    /// The ceiling to put on record now, if less than half a lease is left. (Early, so that its record has long been synced when the
    /// ticks above the old ceiling are reached.)
    pub fn renewal(&self) -> Option<Tick> {
        let left = self.ceiling.saturating_add(1).saturating_sub(self.next);
        (left < LEASE / 2).then(|| Tick(self.ceiling.saturating_add(LEASE)))
    }

    /// A new ceiling is on record.
    pub fn renewed(&mut self, ceiling: Tick) {
        self.ceiling = self.ceiling.max(ceiling.0);
    }

    /// Goes on above `tick`. The ceiling to put on record for it, if it has changed.
    pub fn go_above(&mut self, tick: Tick) -> Option<Tick> {
        self.next = self.next.max(tick.0.saturating_add(1));
        let before = self.ceiling;
        if self.next > self.ceiling {
            self.ceiling = self.next.saturating_add(LEASE);
        }
        (self.ceiling > before).then_some(Tick(self.ceiling))
    }

    /// The next tick; `None` if a new ceiling must go on record first.
    pub fn take(&mut self) -> Option<Tick> {
        if self.next > self.ceiling {
            return None;
        }
        let tick = Tick(self.next);
        self.next = self.next.saturating_add(1);
        Some(tick)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn ticks() -> impl Strategy<Value = Vec<u64>> {
        prop::collection::vec(prop_oneof![8 => 0_u64..60, 1 => u64::MAX - 3..=u64::MAX], 0..60)
    }

    fn set(ticks: &[u64]) -> TickSet {
        ticks.iter().copied().map(Tick).collect()
    }

    fn model(set: &TickSet) -> BTreeSet<u64> {
        set.iter().map(|tick| tick.0).collect()
    }

    fn well_formed(set: &TickSet) -> bool {
        set.ranges.iter().all(|&(first, last)| first <= last)
            && set.ranges.windows(2).all(|pair| pair[0].1.checked_add(1).is_some_and(|next| next < pair[1].0))
    }

    proptest! {
        #[test]
        fn a_set_of_ticks_is_a_set(a in ticks(), b in ticks()) {
            let (left, right) = (set(&a), set(&b));
            let (slow_left, slow_right): (BTreeSet<u64>, BTreeSet<u64>) = (a.into_iter().collect(), b.into_iter().collect());
            prop_assert!(well_formed(&left));
            prop_assert_eq!(model(&left), slow_left.clone());
            prop_assert_eq!(left.len(), slow_left.len() as u64);
            prop_assert_eq!(left.last().map(|tick| tick.0), slow_left.last().copied());
            for tick in 0..60 {
                prop_assert_eq!(left.contains(Tick(tick)), slow_left.contains(&tick));
            }
            let mut both = left.clone();
            both.union(&right);
            prop_assert!(well_formed(&both));
            prop_assert_eq!(model(&both), &slow_left | &slow_right);
            prop_assert!(both.includes(&left) && both.includes(&right));
            let difference = left.difference(&right);
            prop_assert!(well_formed(&difference));
            prop_assert_eq!(model(&difference), &slow_left - &slow_right);
            prop_assert_eq!(left.includes(&right), slow_right.is_subset(&slow_left));
        }

        #[test]
        fn ranges_go_in_as_their_ticks_would(ranges in prop::collection::vec((0_u64..60, 0_u64..60), 0..12)) {
            let mut set = TickSet::new();
            let mut slow = BTreeSet::new();
            for (first, last) in ranges {
                set.insert_range(Tick(first), Tick(last));
                slow.extend(first..=last);
                prop_assert!(well_formed(&set));
                prop_assert_eq!(model(&set), slow.clone());
            }
        }
    }

    #[test]
    fn inserting_tells_whether_it_is_new() {
        let mut set = TickSet::new();
        assert!(set.insert(Tick(5)));
        assert!(set.insert(Tick(6)));
        assert!(!set.insert(Tick(5)));
        assert!(set.insert(Tick(4)));
        assert_eq!(set.ranges, [(4, 6)]);
    }

    #[test]
    fn a_lease_gives_nothing_above_the_ceiling_on_record() {
        let mut lease = Lease::above(Tick(10));
        assert_eq!(lease.take(), None);
        assert_eq!(lease.renewal(), Some(Tick(10 + LEASE)));
        lease.renewed(Tick(10 + LEASE));
        let taken: Vec<_> = std::iter::from_fn(|| lease.take()).collect();
        assert_eq!(taken, (11..=10 + LEASE).map(Tick).collect::<Vec<_>>());
        assert_eq!(lease.renewal(), Some(Tick(10 + 2 * LEASE)));
    }

    #[test]
    fn a_lease_is_renewed_at_its_half() {
        let mut lease = Lease::above(Tick(0));
        lease.renewed(Tick(LEASE));
        for _ in 0..LEASE / 2 {
            assert_eq!(lease.renewal(), None);
            assert!(lease.take().is_some());
        }
        lease.take();
        assert!(lease.renewal().is_some());
    }

    #[test]
    fn tocks_end_below_their_limit() {
        assert_eq!(Tock::new(Tock::LIMIT), None);
        assert_eq!(Tock::new(Tock::LIMIT - 1).and_then(Tock::next), None);
        assert_eq!(Tock::ZERO.next(), Tock::new(1));
    }

    #[test]
    fn names_of_nodes_are_checked() {
        for good in ["a", "node-1.example_x", &"n".repeat(MAX_NAME_BYTES)] {
            assert_eq!(NodeName::new(good).unwrap().as_str(), good);
        }
        for bad in ["", "a b", "ä", "a/b", &"n".repeat(MAX_NAME_BYTES + 1)] {
            assert!(NodeName::new(bad).is_err(), "{bad}");
        }
    }
}
