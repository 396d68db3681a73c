//! The only module that starts tasks: each has a name, is counted, and can be told to stop.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Notify, watch};

/// A group of tasks that end together.
#[derive(Clone, Debug)]
pub(crate) struct Tasks {
    stop: Arc<watch::Sender<bool>>,
    running: Arc<Running>,
}

#[derive(Debug, Default)]
struct Running {
    tasks: AtomicUsize,
    none: Notify,
}

/// Tells a task when to stop.
#[derive(Clone, Debug)]
pub(crate) struct Stop(watch::Receiver<bool>);

impl Tasks {
    pub(crate) fn new() -> Self {
        Self { stop: Arc::new(watch::Sender::new(false)), running: Arc::default() }
    }

    /// Starts a task on the current runtime.
    #[expect(clippy::disallowed_methods, reason = "this is the module that spawns")]
    pub(crate) fn spawn<F>(&self, name: &'static str, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.running.tasks.fetch_add(1, Ordering::Relaxed);
        let counted = Counted { name, running: Arc::clone(&self.running) };
        tokio::spawn(async move {
            let _counted = counted;
            task.await;
        });
    }

    /// The signal that [`Tasks::stop`] gives.
    pub(crate) fn stop_signal(&self) -> Stop {
        Stop(self.stop.subscribe())
    }

    /// Tells all tasks that listen to it to stop.
    pub(crate) fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Waits until all tasks have ended.
    pub(crate) async fn ended(&self) {
        loop {
            let none = self.running.none.notified();
            if self.running.tasks.load(Ordering::Acquire) == 0 {
                return;
            }
            none.await;
        }
    }
}

impl Stop {
    /// Ready when the task is to stop.
    pub(crate) async fn stopped(&mut self) {
        // An error says that the group is gone, which is as good.
        let _ = self.0.wait_for(|stop| *stop).await;
    }
}

/// Counts a task down when it ends, in whatever way.
struct Counted {
    name: &'static str,
    running: Arc<Running>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!(task = self.name, "a task failed by an internal error; others go on");
        }
        if self.running.tasks.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.running.none.notify_waiters();
        }
    }
}
