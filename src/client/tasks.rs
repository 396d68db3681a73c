//! The tasks of a client: each ends when the handle that needs it is dropped.

use std::future::Future;

use tokio::task::JoinSet;

/// A task that runs as long as this lives.
#[derive(Debug)]
pub(super) struct Task(#[expect(dead_code, reason = "dropping it ends the task")] JoinSet<()>);

impl Task {
    /// Starts it on the runtime of the caller.
    pub(super) fn start(task: impl Future<Output = ()> + Send + 'static) -> Self {
        let mut set = JoinSet::new();
        set.spawn(task);
        Self(set)
    }
}
