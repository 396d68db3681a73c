//! Wills: they are published when their connection ends without a DISCONNECT, or when the delay that they ask for is over. Those
//! that the log gives back after a restart wait for their client's return first.
//!
//! A will goes from its session to those that wait under the session's lock, so that a checkpoint (sessions first, then what
//! waits) finds it in one of the two places.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::broker::Core;
use crate::hooks::Principal;
use crate::records::Records;
use crate::router::{Accepted, Expiry, Outgoing, Routing, accept};
use crate::session::RecordedWill;
use crate::tasks::Stop;
use crate::{clock, worker};

/// Wills published between two looks at other tasks.
const AT_ONCE: usize = 64;
/// Between two looks while none waits. (Who adds one says so.)
const PAUSE: Duration = Duration::from_secs(3600);

/// Wills that wait, one for each client at most.
#[derive(Debug, Default)]
pub(crate) struct Wills {
    waiting: Mutex<Waiting>,
    /// How many: mostly none, and then nobody has to look.
    count: AtomicUsize,
    /// There is an earlier one than before.
    earlier: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    by_client: HashMap<Arc<str>, (Instant, RecordedWill)>,
    by_time: BTreeSet<(Instant, Arc<str>)>,
}

impl Waiting {
    fn remove(&mut self, client_id: &str) -> Option<RecordedWill> {
        let (at, will) = self.by_client.remove(client_id)?;
        self.by_time.remove(&(at, Arc::clone(&will.client_id)));
        Some(will)
    }
}

impl Wills {
    /// Lets a will wait until then. Answers one of the same client that waited before. (The log may have two: that of an earlier
    /// connection was about to be published.)
    pub(crate) fn add(&self, will: RecordedWill, at: Instant) -> Option<RecordedWill> {
        let mut waiting = self.waiting.lock();
        let before = waiting.remove(&will.client_id);
        waiting.by_time.insert((at, Arc::clone(&will.client_id)));
        waiting.by_client.insert(Arc::clone(&will.client_id), (at, will));
        self.count.store(waiting.by_client.len(), Ordering::Release);
        drop(waiting);
        self.earlier.notify_one();
        before
    }

    /// The client is back: takes its will out.
    pub(crate) fn cancel(&self, client_id: &str) -> Option<RecordedWill> {
        if self.count.load(Ordering::Acquire) == 0 {
            return None;
        }
        let mut waiting = self.waiting.lock();
        let cancelled = waiting.remove(client_id);
        self.count.store(waiting.by_client.len(), Ordering::Release);
        cancelled
    }

    /// Does a will wait for this client to come back after a restart?
    pub(crate) fn awaits_return(&self, client_id: &str) -> bool {
        self.waiting.lock().by_client.get(client_id).is_some_and(|(_, will)| will.due.is_none())
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// Writes those that wait to the log again. None of them can go meanwhile: what is said of it in the log comes later.
    pub(crate) fn checkpoint(&self, records: &Records) {
        let waiting = self.waiting.lock();
        for (_, will) in waiting.by_client.values() {
            records.will(will);
        }
    }

    /// The next one, if its time has come; otherwise when it does.
    fn next(&self, now: Instant) -> Result<RecordedWill, Option<Instant>> {
        let mut waiting = self.waiting.lock();
        let Some((at, client_id)) = waiting.by_time.first().cloned() else { return Err(None) };
        if at > now {
            return Err(Some(at));
        }
        let will = waiting.remove(&client_id).ok_or(None)?;
        self.count.store(waiting.by_client.len(), Ordering::Release);
        Ok(will)
    }
}

/// Publishes what waits, each when its time has come.
pub(crate) async fn publish_due(core: Arc<Core>, mut stop: Stop) {
    loop {
        let next = publish_some(&core);
        core.metrics.wills_waiting.set(core.wills.len() as u64);
        tokio::select! {
            () = stop.stopped() => return,
            () = core.wills.earlier.notified() => {}
            () = tokio::time::sleep_until(next) => {}
        }
    }
}

/// Publishes a few of those whose time has come; answers when to go on.
fn publish_some(core: &Core) -> Instant {
    let now = clock::now();
    for _ in 0..AT_ONCE {
        match core.wills.next(now) {
            Ok(will) => {
                let principal = core.hooks.restored(&will.client_id, will.user.as_deref());
                publish_now(core, &*principal, &will);
            }
            Err(next) => return next.unwrap_or(now + PAUSE),
        }
    }
    now
}

/// Publishes a will from a task that routes nothing else at the moment.
pub(crate) fn publish_now(core: &Core, principal: &dyn Principal, will: &RecordedWill) {
    worker::with(|worker| {
        publish(core, principal, will, &mut worker.routing);
        worker.routing.finish(None, core);
    });
}

/// Publishes a will, with the rights of `principal`.
pub(crate) fn publish(
    core: &Core,
    principal: &dyn Principal,
    recorded: &RecordedWill,
    routing: &mut Routing,
) {
    let will = &recorded.will;
    let expiry = will.message_expiry.map(|seconds| Expiry::after(seconds, clock::unix_ms()));
    let publisher = core.registry.get(&recorded.client_id).map(|client| client.subscriber);
    let message = Outgoing {
        retained: will.retain,
        properties: &will.properties,
        expiry,
        publisher,
        ..Outgoing::with_shared(&will.topic, &will.payload, will.qos)
    };
    match accept(core, principal, &message, routing) {
        Accepted::Routed(routed) => {
            routing.unanswered = routing.unanswered.max(routed.mark);
            core.metrics.wills_published.add(1);
        }
        Accepted::Dropped(reason) => {
            core.note_loss(&recorded.client_id, principal, &message, reason);
            tracing::info!(
                client = &*recorded.client_id,
                topic = &*will.topic,
                ?reason,
                "will not published"
            );
        }
        // A will has no condition.
        Accepted::Conflict(_) => {}
        // It stays in the log, for the next start.
        Accepted::Unavailable => return,
    }
    core.records.will_gone(recorded.number);
}
