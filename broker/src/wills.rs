//! Wills: they are published when their connection ends without a DISCONNECT. Those that the log gives back after a restart wait
//! for their client's return first.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::broker::Core;
use crate::hooks::Principal;
use crate::router::{Accepted, Outgoing, Routing, accept};
use crate::session::RecordedWill;
use crate::tasks::Stop;
use crate::worker;

/// Wills published between two looks at other tasks.
const AT_ONCE: usize = 64;

/// Wills that wait for their client's return, by client id.
#[derive(Debug, Default)]
pub(crate) struct Wills {
    waiting: Mutex<HashMap<Arc<str>, RecordedWill>>,
    /// How many: mostly none, and then nobody has to look.
    count: AtomicUsize,
}

impl Wills {
    /// Lets a will wait. (The log may have two of one client: that of an earlier connection was about to be published.)
    pub(crate) fn add(&self, will: RecordedWill) -> Option<RecordedWill> {
        let mut waiting = self.waiting.lock();
        let earlier = waiting.insert(Arc::clone(&will.client_id), will);
        self.count.store(waiting.len(), Ordering::Release);
        earlier
    }

    /// The client is back: its will is not published.
    pub(crate) fn cancel(&self, client_id: &str) -> Option<RecordedWill> {
        if self.count.load(Ordering::Acquire) == 0 {
            return None;
        }
        let mut waiting = self.waiting.lock();
        let cancelled = waiting.remove(client_id);
        self.count.store(waiting.len(), Ordering::Release);
        cancelled
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// Those that wait, for the log.
    pub(crate) fn all(&self) -> Vec<RecordedWill> {
        self.waiting.lock().values().cloned().collect()
    }

    fn next(&self) -> Option<Arc<str>> {
        self.waiting.lock().keys().next().cloned()
    }
}

/// Publishes what waits when the grace time is over.
pub(crate) async fn publish_after_grace(core: Arc<Core>, grace: Duration, mut stop: Stop) {
    tokio::select! {
        () = stop.stopped() => return,
        () = tokio::time::sleep(grace) => {}
    }
    loop {
        for _ in 0..AT_ONCE {
            let Some(client_id) = core.wills.next() else { return };
            // Between the two the client may come back; then there is nothing to publish.
            let Some(will) = core.wills.cancel(&client_id) else { continue };
            let principal = core.hooks.restored(&will.client_id, will.user.as_deref());
            worker::with(|worker| {
                publish(&core, &*principal, &will, &mut worker.routing);
                worker.routing.finish(None, &core);
            });
            core.metrics.wills_waiting.set(core.wills.len() as u64);
        }
        tokio::task::yield_now().await;
    }
}

/// Publishes a will, with the rights of `principal`.
pub(crate) fn publish(
    core: &Core,
    principal: &dyn Principal,
    recorded: &RecordedWill,
    routing: &mut Routing,
) {
    let will = &recorded.will;
    let message = Outgoing::with_shared(&will.topic, &will.payload, will.qos);
    match accept(core, principal, &message, will.retain, routing) {
        Accepted::Routed(mark) => {
            routing.unanswered = routing.unanswered.max(mark);
            core.metrics.wills_published.add(1);
        }
        Accepted::Dropped(reason) => {
            tracing::info!(
                client = &*recorded.client_id,
                topic = &*will.topic,
                ?reason,
                "will not published"
            );
        }
        // It stays in the log, for the next start.
        Accepted::Unavailable => return,
    }
    core.records.will_gone(recorded.number);
}
