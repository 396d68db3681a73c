//! What a CONNECT has to pass between its login and its seat: the memory budget, and the patience with clients that connect
//! again and again. It also sees when two devices with one id throw each other out.

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use crate::broker::Core;
use crate::clock;
use crate::flapping::{Rule, Verdict};
use crate::hooks::{Principal, Standing};
use crate::limits::Limits;
use crate::peer::{Address, Peer};
use crate::pressure::Shed;

/// Is there memory for another connection?
pub(super) fn has_memory(core: &Core) -> bool {
    !core.pressure.sheds(Shed::Connections)
}

/// Keeps a flapping client waiting. It gives its place among the unfinished handshakes up for that: others are not to wait for it.
pub(super) async fn hold_back(
    core: &Core,
    client: &Arc<str>,
    peer: &Peer,
    limits: &Limits,
    place: &mut Option<OwnedSemaphorePermit>,
) {
    let rule = Rule { count: limits.flap_count, window: limits.flap_window };
    if rule.count == 0 {
        return;
    }
    let verdict = {
        let mut flapping = core.flapping.lock();
        let verdict = flapping.connects(client, clock::now() - core.started, rule);
        core.metrics.flapping_forgotten.add(flapping.take_forgotten());
        verdict
    };
    let Verdict::Flaps { first } = verdict else { return };
    if first {
        core.metrics.flapping_clients.add(1);
        let delay = limits.flap_delay;
        tracing::warn!(
            client = &**client, %peer, ?delay,
            "the client connects too often; from now on it is answered late"
        );
    }
    core.metrics.flapping_delays.add(1);
    *place = None;
    tokio::time::sleep(limits.flap_delay).await;
}

/// Is a client of that identifier, if there is one, of a user with the same root? Nobody takes a session over from another root,
/// unless its user is gone.
pub(super) fn is_of_the_same_root(core: &Core, id: &str, principal: &dyn Principal) -> bool {
    core.registry.get(id).is_none_or(|client| {
        let before = client.lock().principal();
        before.mount() == principal.mount() || before.standing() != Standing::Welcome
    })
}

/// The client is about to take its seat. Whoever sits there is noted: is it a loop?
pub(super) fn note_takeover(core: &Core, id: &Arc<str>, peer: &Peer) {
    let Some(previous) = core.registry.get(id).and_then(|client| client.seated_peer()) else { return };
    let is_loop = {
        let mut flapping = core.flapping.lock();
        let is_loop = flapping.takes_over(id, clock::now() - core.started);
        core.metrics.flapping_forgotten.add(flapping.take_forgotten());
        is_loop
    };
    if is_loop {
        core.metrics.takeover_loops.add(1);
        let client = &**id;
        let why = explain_loop(&previous, &peer.address);
        tracing::warn!(client, %previous, new = %peer, "connections of one client throw each other out: {why}");
    }
}

/// What a takeover loop looks like from its addresses.
fn explain_loop(previous: &Address, new: &Address) -> &'static str {
    if previous.ip() == new.ip() {
        "two programs of one machine, or two devices behind one router, use one client id; or one does not close its connections"
    } else {
        "two devices use one client id: give each its own"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_about_a_loop_depend_on_its_addresses() {
        let at = |text: &str| Address::from(text.parse::<std::net::SocketAddr>().unwrap());
        let one = &at("192.0.2.1:1000");
        assert!(explain_loop(one, &at("[::ffff:192.0.2.1]:2000")).contains("one machine"));
        assert!(explain_loop(one, &at("192.0.2.2:1000")).contains("two devices use"));
    }
}
