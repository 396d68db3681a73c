//! Where an entry's value comes from, in the broker's terms.

use distkv_broker::hooks::Provenance;
use distkv_store::tree::Entry;

pub(super) fn of(entry: &Entry) -> Provenance<'_> {
    let dot = entry.version.dot();
    Provenance {
        node: dot.origin.node().as_str(),
        tick: dot.tick.0,
        tock: entry.version.tock().get(),
        time_ms: entry.meta.time(),
        user: entry.meta.user().map(AsRef::as_ref),
    }
}
