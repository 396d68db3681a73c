//! What is counted of one client: a few numbers, so that each costs one atomic and there is no table to bound.

use crate::metrics::{Dropped, Number};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct ClientCounts {
    /// PUBLISH packets from it.
    pub(crate) messages_in: Number,
    /// PUBLISH packets to it.
    pub(crate) messages_out: Number,
    drops: [Number; Dropped::ALL.len()],
}

impl ClientCounts {
    /// Messages of this client, or to it, were dropped.
    pub(crate) fn drop(&self, reason: Dropped, n: u64) {
        if let Some(number) = self.drops.get(reason as usize) {
            number.add(n);
        }
    }

    /// The reasons for which anything was dropped, each with how much.
    pub(crate) fn dropped(&self) -> Vec<(Dropped, u64)> {
        let counted = Dropped::ALL.iter().zip(&self.drops);
        counted.map(|(reason, number)| (*reason, number.get())).filter(|(_, n)| *n > 0).collect()
    }
}
