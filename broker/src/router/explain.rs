//! What people ask: who gets a topic, by which filter; and all clients, a few at a time.

use std::ops::Range;
use std::sync::Arc;

use super::Router;
use crate::clients::Receiver;
use crate::registry::Client;

impl Router {
    /// The clients whose numbers are in this range. `None`: there are no such numbers any more.
    pub(crate) fn clients(&self, numbers: Range<usize>) -> Option<Vec<Arc<Client>>> {
        let index = self.index.read();
        if numbers.start >= index.clients.capacity() {
            return None;
        }
        Some(numbers.filter_map(|number| index.clients.get(number)).map(Arc::clone).collect())
    }

    /// At most `limit` subscriptions that match `topic`. Of a shared one all members are named, though a message goes to one of them.
    pub(crate) fn who_gets(&self, topic: &str, limit: usize) -> Vec<Receiver> {
        let index = self.index.read();
        let found = index.trie.explain(topic, limit);
        let named = found.into_iter().filter_map(|(filter, subscriber, wanted)| {
            let client = index.clients.get(subscriber.0 as usize)?;
            Some(Receiver { client: client.id.clone(), filter, qos: wanted.qos() })
        });
        let mut named: Vec<_> = named.collect();
        for (_, place, ()) in index.shared.explain(topic, limit.saturating_sub(named.len())) {
            let Some(group) = index.groups.get(place.0 as usize) else { continue };
            let filter = &group.share;
            let members = group.shown(limit.saturating_sub(named.len()));
            let members = members.into_iter();
            named.extend(members.map(|(client, qos)| Receiver { client, filter: filter.to_string(), qos }));
        }
        named
    }
}
