//! Tests of the store as a whole.
#![expect(clippy::unwrap_used, reason = "a test may fail by a panic")]

mod disk;
mod dots;
mod histories;
mod journal;
mod journal_crash;
mod node;
mod records;
mod recovery;
mod store;
mod store_crash;
