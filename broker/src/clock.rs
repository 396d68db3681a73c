//! The only module that reads a clock. Everybody else is told the time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// Time for timeouts: it never jumps. (Tokio's, so that tests can hold it.)
#[expect(clippy::disallowed_methods, reason = "this is the clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Wall-clock time since 1970, for what must be compared across restarts.
#[expect(clippy::disallowed_methods, reason = "this is the clock")]
pub(crate) fn unix_time() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
