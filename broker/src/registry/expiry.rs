//! Forgets persistent sessions whose clients stayed away too long.

use std::sync::Arc;
use std::time::Duration;

use super::{Client, Registry};
use crate::broker::Core;
use crate::clock;
use crate::tasks::Stop;

/// Sessions looked at between two looks at other tasks.
const AT_ONCE: usize = 256;
/// Between two rounds; at most a quarter of the age itself.
const ROUND: Duration = Duration::from_secs(60);

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
                forget_if_old(&core, client, now);
            }
            tokio::task::yield_now().await;
        }
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
        let filters = client.lock().end(&mut core.records.recorder(), core);
        core.forget_client(client, &filters);
        core.metrics.sessions_expired.add(1);
        tracing::info!(client = &*client.id, "session expired");
    }
    core.registry.leave(seat, !over);
}
