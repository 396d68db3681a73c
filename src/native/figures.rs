//! The counters of the native port.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// What has happened at the native port since the start.
#[derive(Debug, Default)]
pub struct Figures {
    /// Connections that are open.
    pub(super) connections: AtomicU64,
    /// Connections that were accepted.
    pub(super) accepted: AtomicU64,
    /// Requests.
    pub(super) requests: AtomicU64,
    /// Requests that were answered with an error.
    pub(super) failed: AtomicU64,
    /// Streams that are open.
    pub(super) streams: AtomicU64,
    /// Watches that were ended since their reader was too slow.
    pub(super) too_slow: AtomicU64,
    /// Connections closed since what came was no message, or a limit was passed.
    pub(super) broken: AtomicU64,
    /// Logins that were refused.
    pub(super) refused: AtomicU64,
    /// Bytes of unfinished long messages.
    pub(super) unfinished: AtomicUsize,
}

/// One figure: its name, what it counts, its value, and whether it only grows.
pub type Figure = (&'static str, &'static str, u64, bool);

impl Figures {
    pub(super) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn uncount(gauge: &AtomicU64) {
        gauge.fetch_sub(1, Ordering::Relaxed);
    }

    /// All of them.
    pub fn all(&self) -> [Figure; 9] {
        let of = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let unfinished = self.unfinished.load(Ordering::Relaxed) as u64;
        [
            ("native_connections", "Open connections of native clients.", of(&self.connections), false),
            (
                "native_connections_accepted_total",
                "Connections of native clients that were accepted.",
                of(&self.accepted),
                true,
            ),
            ("native_requests_total", "Requests of native clients.", of(&self.requests), true),
            (
                "native_requests_failed_total",
                "Requests of native clients that were answered with an error.",
                of(&self.failed),
                true,
            ),
            ("native_streams", "Open streams of native clients.", of(&self.streams), false),
            (
                "native_watches_too_slow_total",
                "Watches ended since their reader was too slow.",
                of(&self.too_slow),
                true,
            ),
            (
                "native_connections_broken_total",
                "Native connections closed since a message was malformed or too long.",
                of(&self.broken),
                true,
            ),
            (
                "native_logins_refused_total",
                "Logins of native clients that were refused.",
                of(&self.refused),
                true,
            ),
            (
                "native_unfinished_bytes",
                "Bytes of native messages whose end has not arrived.",
                unfinished,
                false,
            ),
        ]
    }
}
