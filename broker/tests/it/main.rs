//! The broker as its clients see it: over in-memory streams, with a raw client that has a codec of its own.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests read the clock, spawn, and fail by panic"
)]

mod client;
mod client5;
mod clients;
mod conformance3;
mod connect;
mod delayed;
mod delivery;
mod embedder;
mod foreign;
mod groups;
mod limits;
mod marked;
mod memory;
mod model;
mod mounted;
mod rates;
mod restart;
mod retained;
mod rights;
mod server;
mod sessions;
mod v5;
mod wills;
