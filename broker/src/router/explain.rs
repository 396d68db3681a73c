//! Who gets a topic, by which filter: the tree's answer with the names of clients.

use super::Router;
use crate::clients::Receiver;

impl Router {
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
