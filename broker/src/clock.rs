//! The only module that reads a clock. Everybody else is told the time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// Time for timeouts: it never jumps. (Tokio's, so that tests can hold it.)
#[expect(clippy::disallowed_methods, reason = "this is the clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// When that second of Unix time begins, as seen from now: at once if it is over.
pub(crate) fn at_second(second: u64) -> Instant {
    now() + Duration::from_secs(second).saturating_sub(unix_time())
}

/// When that millisecond of Unix time begins, as seen from now: at once if it is over.
pub(crate) fn at_ms(ms: u64) -> Instant {
    now() + Duration::from_millis(ms).saturating_sub(unix_time())
}

/// Milliseconds of Unix time, for message expiry.
pub(crate) fn unix_ms() -> u64 {
    u64::try_from(unix_time().as_millis()).unwrap_or(u64::MAX)
}

/// Wall-clock time since 1970, for what must be compared across restarts.
#[expect(clippy::disallowed_methods, reason = "this is the clock")]
pub(crate) fn unix_time() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
