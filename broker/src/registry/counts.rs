//! What is counted of one client: a few numbers, so that each costs one atomic and there is no table to bound.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::metrics::{Dropped, Number};

/// Drops of one client that are noted in one second.
const NOTED: u64 = 8;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct ClientCounts {
    /// PUBLISH packets from it.
    pub(crate) messages_in: Number,
    /// PUBLISH packets to it.
    pub(crate) messages_out: Number,
    drops: [Number; Dropped::ALL.len()],
    /// The second in which a drop was noted last, and how many were in it (the lowest 8 bits).
    noted: AtomicU64,
}

impl ClientCounts {
    /// Messages of this client, or to it, were dropped.
    pub(crate) fn drop(&self, reason: Dropped, n: u64) {
        if let Some(number) = self.drops.get(reason as usize) {
            number.add(n);
        }
    }

    /// May a drop be noted in this second, or are there too many?
    pub(crate) fn may_note(&self, second: u64) -> bool {
        let noted = self.noted.load(Ordering::Relaxed);
        let next = if noted >> 8 == second { noted + 1 } else { (second << 8) + 1 };
        let few = next & 0xff <= NOTED;
        if few {
            self.noted.store(next, Ordering::Relaxed);
        }
        few
    }

    /// The reasons for which anything was dropped, each with how much.
    pub(crate) fn dropped(&self) -> Vec<(Dropped, u64)> {
        let counted = Dropped::ALL.iter().zip(&self.drops);
        counted.map(|(reason, number)| (*reason, number.get())).filter(|(_, n)| *n > 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_drops_of_each_second_are_noted() {
        let counts = ClientCounts::default();
        for second in [1_700_000_000, 1_700_000_001] {
            let noted = (0..100).filter(|_| counts.may_note(second)).count();
            assert_eq!(noted as u64, NOTED);
        }
    }
}
