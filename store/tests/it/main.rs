//! Tests of the store as a whole.
#![expect(missing_docs, reason = "tests are told by their names")]

mod disk;
mod journal;
mod journal_crash;
