//! The one place of the login that reads the clock.

use std::time::Instant;

/// The monotonic time.
#[expect(clippy::disallowed_methods, reason = "this is the login's clock")]
pub(super) fn now() -> Instant {
    Instant::now()
}
