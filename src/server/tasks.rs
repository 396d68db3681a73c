//! The program's own long-lived tasks: each has a name, and the end of one is noticed.

use std::future::Future;

use tokio::task::JoinSet;

/// Tasks that are to run as long as the program. Dropping the set ends them.
#[derive(Debug, Default)]
pub(super) struct Tasks(JoinSet<&'static str>);

impl Tasks {
    /// Starts a task.
    pub(super) fn spawn(&mut self, name: &'static str, task: impl Future + Send + 'static) {
        self.0.spawn(async move {
            task.await;
            name
        });
    }

    /// Waits until a task ends, which it should not; its name.
    pub(super) async fn ended(&mut self) -> String {
        match self.0.join_next().await {
            Some(Ok(name)) => name.to_owned(),
            // The panic was logged where it happened.
            Some(Err(_panicked)) => "a task that failed by an internal error".to_owned(),
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_end_of_a_task_is_noticed() {
        let mut tasks = Tasks::default();
        tasks.spawn("long", std::future::pending::<()>());
        tasks.spawn("short", async {});
        assert_eq!(tasks.ended().await, "short");
    }
}
