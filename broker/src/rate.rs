//! A token bucket: how much may happen in a time, with some of it at once. It reads no clock; moments are told to it as the
//! time since a start that its owner chose.

use std::time::Duration;

/// So many a second in the long run, and a burst of them at once after a pause.
///
/// It is either asked before something happens ([`TokenBucket::take`]), or told of what has happened already
/// ([`TokenBucket::charge`]). In the second case it goes into debt, and says how long nothing more should happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenBucket {
    rate: u64,
    burst: u64,
    /// When the bucket is full again, in nanoseconds.
    full_at: u128,
}

impl TokenBucket {
    /// A full bucket: `rate` a second, `burst` at once (0: those of one second). `None` if the rate is 0, which stands for no limit.
    #[must_use]
    pub fn new(rate: u64, burst: u64) -> Option<Self> {
        (rate > 0).then_some(Self { rate, burst: if burst == 0 { rate } else { burst }, full_at: 0 })
    }

    /// Takes `n`, or answers in how long they will be there and changes nothing. More than the burst are there when the bucket is
    /// full.
    pub fn take(&mut self, now: Duration, n: u64) -> Result<(), Duration> {
        let wait = self.wait(now, n.min(self.burst));
        if wait > Duration::ZERO {
            return Err(wait);
        }
        self.charge(now, n);
        Ok(())
    }

    /// Takes `n` in any case. Answers for how long the bucket is in debt.
    pub fn charge(&mut self, now: Duration, n: u64) -> Duration {
        self.full_at = self.full_at.max(now.as_nanos()) + self.time_of(n);
        self.wait(now, 0)
    }

    /// How many are there.
    #[must_use]
    pub fn left(&self, now: Duration) -> u64 {
        let missing = (self.full_at.saturating_sub(now.as_nanos()) * u128::from(self.rate)).div_ceil(NANOS);
        self.burst.saturating_sub(u64::try_from(missing).unwrap_or(u64::MAX))
    }

    /// In how long `n` will be there.
    fn wait(&self, now: Duration, n: u64) -> Duration {
        let filled_enough = now.as_nanos() + self.time_of(self.burst - n);
        let nanos = self.full_at.saturating_sub(filled_enough);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// How long it takes until `n` have come.
    fn time_of(&self, n: u64) -> u128 {
        (u128::from(n) * NANOS).div_ceil(u128::from(self.rate))
    }
}

const NANOS: u128 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_burst_passes_at_once_and_the_rest_at_the_rate() {
        let mut bucket = TokenBucket::new(10, 3).unwrap();
        for _ in 0..3 {
            assert_eq!(bucket.take(at(5000), 1), Ok(()));
        }
        assert_eq!(bucket.take(at(5000), 1), Err(at(100)));
        assert_eq!(bucket.take(at(5060), 1), Err(at(40)));
        assert_eq!(bucket.take(at(5100), 1), Ok(()));
        assert_eq!(bucket.take(at(5100), 2), Err(at(200)));
    }

    #[test]
    fn a_pause_fills_it_to_the_burst_and_no_further() {
        let mut bucket = TokenBucket::new(10, 3).unwrap();
        assert_eq!(bucket.charge(at(0), 3), at(0));
        assert_eq!(bucket.left(at(0)), 0);
        assert_eq!(bucket.left(at(250)), 2);
        assert_eq!(bucket.left(at(1_000_000)), 3);
    }

    #[test]
    fn what_has_happened_already_is_a_debt_that_takes_time() {
        let mut bucket = TokenBucket::new(100, 10).unwrap();
        assert_eq!(bucket.charge(at(0), 10), at(0));
        assert_eq!(bucket.charge(at(0), 50), at(500));
        assert_eq!(bucket.charge(at(200), 0), at(300));
        assert_eq!(bucket.charge(at(500), 0), at(0));
        assert_eq!((bucket.left(at(500)), bucket.left(at(550))), (0, 5));
    }

    #[test]
    fn without_a_burst_it_holds_one_second_and_without_a_rate_there_is_none() {
        assert_eq!(TokenBucket::new(7, 0).unwrap().left(at(0)), 7);
        assert_eq!(TokenBucket::new(0, 5), None);
    }

    #[test]
    fn more_than_the_burst_passes_when_it_is_full() {
        let mut bucket = TokenBucket::new(10, 5).unwrap();
        assert_eq!(bucket.take(at(0), 20), Ok(()));
        assert_eq!(bucket.take(at(0), 20), Err(at(2000)));
        assert_eq!(bucket.take(at(2000), 20), Ok(()));
    }

    proptest! {
        #[test]
        fn no_more_passes_than_rate_and_burst_allow(
            rate in 1_u64..2000,
            burst in 1_u64..50,
            steps in prop::collection::vec((0_u64..200, 1_u64..5), 1..200),
        ) {
            let mut bucket = TokenBucket::new(rate, burst).unwrap();
            let (mut now, mut passed) = (at(0), 0);
            for (pause, n) in steps {
                now += at(pause);
                let n = n.min(burst);
                let left = bucket.left(now);
                match bucket.take(now, n) {
                    Ok(()) => passed += n,
                    Err(wait) => {
                        prop_assert!(left < n);
                        // It keeps its promise.
                        prop_assert_eq!(bucket.clone().take(now + wait, n), Ok(()));
                    }
                }
                let most = u128::from(burst) + now.as_nanos() * u128::from(rate) / NANOS;
                prop_assert!(u128::from(passed) <= most, "{} of {}", passed, most);
            }
        }

        #[test]
        fn no_number_overflows(rate in 1_u64.., burst in 0_u64.., n in 0_u64.., now in 0_u64..) {
            let mut bucket = TokenBucket::new(rate, burst).unwrap();
            let now = Duration::from_nanos(now);
            for _ in 0..3 {
                let _ = bucket.charge(now, n);
                let _ = bucket.take(now, n);
                let _ = bucket.left(now);
            }
        }
    }
}
