//! Tests of the store as a whole.
#![expect(clippy::unwrap_used, reason = "a test may fail by a panic")]

mod batches;
mod disk;
mod dots;
mod histories;
mod journal;
mod journal_crash;
mod node;
mod reading;
mod records;
mod recovery;
mod rights;
mod roots;
mod since;
mod store;
mod store_crash;
