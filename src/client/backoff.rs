//! How long to wait before the next attempt to connect: twice as long each time, with chance in it, so that many clients that lost one server do not
//! come back at one moment.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(10);

/// The pauses of one series of attempts. Pure: chance comes in.
#[derive(Clone, Debug, Default)]
pub(super) struct Backoff {
    attempts: u32,
}

impl Backoff {
    /// The pause before the next attempt: from half of the full one to all of it, by `chance`.
    pub(super) fn next(&mut self, chance: u32) -> Duration {
        let full = FIRST.saturating_mul(1 << self.attempts.min(10)).min(LONGEST);
        self.attempts = self.attempts.saturating_add(1);
        full / 2 + (full / 2).mul_f64(f64::from(chance) / f64::from(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_vary() {
        let (mut least, mut most) = (Backoff::default(), Backoff::default());
        for full in [50, 100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000] {
            assert_eq!(least.next(0), Duration::from_millis(full / 2));
            assert_eq!(most.next(u32::MAX), Duration::from_millis(full));
        }
    }
}
