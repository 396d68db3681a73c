//! Waiting for conditions. The only module of these tests that reads the clock.

use std::thread;
use std::time::{Duration, Instant};

/// How long a test waits for what should come soon: generous, since machines are shared.
pub(crate) const SOON: Duration = Duration::from_secs(30);

#[expect(clippy::disallowed_methods, reason = "this is the module that reads the clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Asks until there is an answer; panics with `what` after `within`.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, within: Duration, mut answer: impl FnMut() -> Option<T>) -> T {
    let deadline = now() + within;
    loop {
        if let Some(answer) = answer() {
            return answer;
        }
        assert!(now() < deadline, "waited {within:?} for this: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Asks until `condition` holds; panics with `what` after `within`.
#[track_caller]
pub(crate) fn wait_until(what: &str, within: Duration, mut condition: impl FnMut() -> bool) {
    wait_for(what, within, || condition().then_some(()));
}
