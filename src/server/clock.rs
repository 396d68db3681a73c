//! The one place of the server that reads the clock: for the time that certificates have left.

use std::time::{Duration, SystemTime};

/// The time since 1970, in UTC.
#[expect(clippy::disallowed_methods, reason = "this is the server's clock")]
pub(super) fn since_epoch() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}
