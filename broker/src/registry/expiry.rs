//! Forgets sessions whose clients stayed away too long: those with an expiry of their own to the second, those that only the
//! broker's limit ends in a round from time to time.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{Client, Registry};
use crate::broker::Core;
use crate::clock;
use crate::tasks::Stop;

/// Sessions looked at between two looks at other tasks.
const AT_ONCE: usize = 256;
/// Between two rounds; at most a quarter of the age itself.
const ROUND: Duration = Duration::from_secs(60);

/// When sessions without a connection are to be looked at again, each client once.
#[derive(Debug, Default)]
pub(crate) struct Expiring {
    due: Mutex<Due>,
    earlier: Notify,
}

#[derive(Debug, Default)]
struct Due {
    by_client: HashMap<Arc<str>, u64>,
    /// Seconds of Unix time, and the client.
    by_time: BTreeSet<(u64, Arc<str>)>,
}

impl Expiring {
    /// Has the session of that client looked at then, and not at the time that was set before.
    pub(crate) fn set(&self, client_id: &Arc<str>, at: u64) {
        let mut due = self.due.lock();
        if let Some(before) = due.by_client.insert(Arc::clone(client_id), at) {
            due.by_time.remove(&(before, Arc::clone(client_id)));
        }
        due.by_time.insert((at, Arc::clone(client_id)));
        drop(due);
        self.earlier.notify_one();
    }

    /// That client's session is over: there is nothing to look at. So there are never more clients in here than sessions.
    pub(crate) fn forget(&self, client_id: &Arc<str>) {
        let mut due = self.due.lock();
        if let Some(at) = due.by_client.remove(client_id) {
            due.by_time.remove(&(at, Arc::clone(client_id)));
        }
    }

    /// How many are to be looked at.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.due.lock().by_time.len()
    }

    /// A client whose time has come, or the seconds until there is one.
    fn next(&self, now: u64) -> Result<Arc<str>, Option<u64>> {
        let mut due = self.due.lock();
        let Some((at, client_id)) = due.by_time.first().cloned() else { return Err(None) };
        if at > now {
            return Err(Some(at - now));
        }
        due.by_time.remove(&(at, Arc::clone(&client_id)));
        due.by_client.remove(&client_id);
        Ok(client_id)
    }
}

/// Ends sessions with an expiry of their own, each when it is due.
pub(crate) async fn end_due(core: Arc<Core>, mut stop: Stop) {
    loop {
        let mut pause = Duration::ZERO;
        for _ in 0..AT_ONCE {
            let now = clock::unix_time().as_secs();
            match core.expiring.next(now) {
                Ok(client_id) => {
                    if let Some(client) = core.registry.get(&client_id) {
                        forget_if_old(&core, &client, now);
                    }
                }
                Err(left) => {
                    pause = left.map_or(ROUND, |left| Duration::from_secs(left).min(ROUND));
                    break;
                }
            }
        }
        tokio::select! {
            () = stop.stopped() => return,
            () = core.expiring.earlier.notified() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Looks at all sessions from time to time.
pub(crate) async fn sweep(core: Arc<Core>, mut stop: Stop) {
    loop {
        let age = core.limits().session_expiry;
        let round = if age.is_zero() { ROUND } else { ROUND.min(age / 4).max(Duration::from_millis(250)) };
        tokio::select! {
            () = stop.stopped() => return,
            () = tokio::time::sleep(round) => {}
        }
        let now = clock::unix_time().as_secs();
        for clients in core.registry.all().chunks(AT_ONCE) {
            for client in clients {
                drop_old_messages(&core, client);
                forget_if_old(&core, client, now);
            }
            tokio::task::yield_now().await;
        }
    }
}

/// Drops messages that have waited too long for a client without a connection [MQTT5-3.3.2-5].
fn drop_old_messages(core: &Core, client: &Arc<Client>) {
    if client.has_queue() && !client.is_connected() {
        client.lock().drop_expired(&mut core.records.recorder(), core);
    }
}

fn forget_if_old(core: &Core, client: &Arc<Client>, now: u64) {
    let age = core.limits().session_expiry;
    let is_old = || client.lock().session().expires_at(age).is_some_and(|end| end <= now);
    if !is_old() {
        return;
    }
    // With the seat nobody can connect meanwhile.
    let Some(seat) = Registry::sit_if_free(client) else { return };
    let over = is_old();
    if over {
        core.end_session(seat);
        core.metrics.sessions_expired.add(1);
        tracing::info!(client = &*client.id, "session expired");
    } else {
        core.registry.leave(seat, true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Broker;
    use crate::hooks::memory::{MemoryHooks, NoLog};
    use crate::limits::Limits;

    #[test]
    fn each_client_is_due_once_at_the_time_that_was_set_last() {
        let expiring = Expiring::default();
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        expiring.set(&a, 10);
        expiring.set(&b, 20);
        expiring.set(&a, 30);
        assert_eq!(expiring.next(5), Err(Some(15)));
        assert_eq!(expiring.next(40), Ok(b));
        assert_eq!(expiring.next(40), Ok(a));
        assert_eq!(expiring.next(40), Err(None));
    }

    #[test]
    fn a_client_whose_session_is_over_is_not_kept_in_mind() {
        let core = Broker::new(Limits::default(), Arc::new(MemoryHooks::new()), Arc::new(NoLog));
        let core = core.core();
        let principal = core.hooks.restored("a", None);
        let client = core.make_client(&"a".into(), &principal).unwrap();
        core.expiring.set(&client.id, u64::MAX);
        core.registry.insert(Arc::clone(&client));
        let seat = Registry::sit_if_free(&client).unwrap();
        core.end_session(seat);
        assert_eq!((core.expiring.len(), core.metrics.sessions.get()), (0, 0));
    }
}
