//! Is the program ready? Where it stands between start and stop, and whether it can still keep what it acknowledges.

use std::fmt;
use std::sync::OnceLock;

use parking_lot::Mutex;

/// Where the program stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// It reads its data and opens its sockets.
    #[default]
    Starting,
    /// Clients are served.
    Serving,
    /// It sends what is queued, and leaves.
    Stopping,
}

/// Says why nothing can be kept any more, if that is so.
pub type Failure = Box<dyn Fn() -> Option<String> + Send + Sync>;

/// Readiness. Starts as [`Phase::Starting`].
#[derive(Default)]
pub struct Health {
    phase: Mutex<Phase>,
    failure: OnceLock<Failure>,
}

impl Health {
    /// From now on the program stands there.
    pub fn set_phase(&self, phase: Phase) {
        *self.phase.lock() = phase;
    }

    /// From now on `failure` is asked, too. Only the first call counts.
    pub fn watch(&self, failure: Failure) {
        let _second = self.failure.set(failure);
    }

    /// Is it ready? Else the reason.
    pub fn ready(&self) -> Result<(), String> {
        match *self.phase.lock() {
            Phase::Starting => return Err("starting".to_owned()),
            Phase::Stopping => return Err("stopping".to_owned()),
            Phase::Serving => {}
        }
        match self.failure.get().and_then(|failure| failure()) {
            Some(reason) => Err(reason),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Health").field("phase", &self.phase).finish_non_exhaustive()
    }
}
