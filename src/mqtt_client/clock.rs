//! The one place of the MQTT client that reads the clock: the time at which a message arrived.

use std::time::{Duration, SystemTime};

/// The time since 1970, in UTC.
#[expect(clippy::disallowed_methods, reason = "this is the client's clock")]
pub(super) fn since_epoch() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}
