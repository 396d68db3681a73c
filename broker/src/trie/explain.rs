//! By which filters a topic is matched: for people who ask why a message goes where it goes. Routing asks [`Trie::matches`].

use smallvec::SmallVec;

use super::{NONE, Node, ROOT, SubscriberId, Subscribers, Trie};

impl<V: Copy + Ord> Trie<V> {
    /// All subscriptions that match `topic`, at most `limit` of them, each with its filter.
    pub fn explain(&self, topic: &str, limit: usize) -> Vec<(String, SubscriberId, V)> {
        let mut found = Vec::new();
        let names: SmallVec<[u32; 16]> = topic.split('/').map(|name| self.levels.find(name)).collect();
        let hidden = topic.starts_with('$');
        let mut todo: SmallVec<[(u32, usize); 16]> = SmallVec::new();
        todo.push((ROOT, 0));
        while let Some((at, depth)) = todo.pop()
            && found.len() < limit
        {
            let node = self.node(at);
            // [MQTT-4.7.2-1]
            let wildcards = depth > 0 || !hidden;
            if node.hash != NONE && wildcards {
                self.name_subscribers(node.hash, limit, &mut found);
            }
            let Some(&name) = names.get(depth) else {
                self.name_subscribers(at, limit, &mut found);
                continue;
            };
            if node.plus != NONE && wildcards {
                todo.push((node.plus, depth + 1));
            }
            let child = self.child(at, name);
            if child != NONE {
                todo.push((child, depth + 1));
            }
        }
        found
    }

    /// Adds the subscribers of one filter, while there is room.
    fn name_subscribers(&self, at: u32, limit: usize, found: &mut Vec<(String, SubscriberId, V)>) {
        let room = limit.saturating_sub(found.len());
        let node = self.node(at);
        if room == 0 || matches!(node.subscribers, Subscribers::None) {
            return;
        }
        let filter = self.filter_of(at);
        let mut add = |subscriber: SubscriberId, value: V| found.push((filter.clone(), subscriber, value));
        match &node.subscribers {
            Subscribers::None => {}
            Subscribers::One(subscriber, value) => add(*subscriber, *value),
            Subscribers::Few(few) => few.iter().take(room).for_each(|(s, value)| add(*s, *value)),
            Subscribers::Many(many) => many.iter().take(room).for_each(|(s, value)| add(*s, *value)),
        }
    }

    /// The filter that ends at a node.
    fn filter_of(&self, mut at: u32) -> String {
        let mut levels: SmallVec<[&str; 16]> = SmallVec::new();
        while at != ROOT {
            let Node { parent, level, .. } = *self.node(at);
            levels.push(if level != NONE {
                self.levels.name(level)
            } else if self.node(parent).hash == at {
                "#"
            } else {
                "+"
            });
            at = parent;
        }
        levels.reverse();
        levels.join("/")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::topic;

    const FILTERS: [&str; 14] =
        ["a", "a/b", "a/+", "a/#", "#", "+", "+/b", "+/+", "/", "", "a//b", "a/+/b", "$SYS/#", "+/#"];

    #[test]
    fn names_each_filter_that_matches_with_all_its_subscribers() {
        let mut trie = Trie::new();
        for subscriber in 0..40 {
            trie.insert("a/+", SubscriberId(subscriber), 1);
        }
        trie.insert("#", SubscriberId(7), 2);
        trie.insert("b", SubscriberId(7), 0);
        let found = trie.explain("a/x", 1000);
        assert_eq!(found.len(), 41);
        assert!(found.contains(&("#".to_owned(), SubscriberId(7), 2)));
        assert!(found.contains(&("a/+".to_owned(), SubscriberId(7), 1)));
        assert_eq!(trie.explain("a/x", 10).len(), 10);
        assert!(trie.explain("c/d/e", 0).is_empty());
    }

    proptest! {
        #[test]
        fn finds_exactly_the_filters_that_match(
            subscribed in prop::collection::vec((0..FILTERS.len(), 0_u32..4), 0..30),
            topic in prop::sample::select(vec!["a", "a/b", "a/c", "a//b", "/", "x", "$SYS/a", "a/b/c", "b/b"]),
        ) {
            let mut trie = Trie::new();
            let mut expected = std::collections::BTreeSet::new();
            for (filter, subscriber) in subscribed {
                let filter = FILTERS[filter];
                if filter.is_empty() {
                    continue;
                }
                trie.insert(filter, SubscriberId(subscriber), 0);
                if topic::matches(filter, topic) {
                    expected.insert((filter.to_owned(), SubscriberId(subscriber)));
                }
            }
            let found = trie.explain(topic, 1000);
            prop_assert_eq!(found.len(), expected.len());
            let found: std::collections::BTreeSet<_> =
                found.into_iter().map(|(filter, subscriber, _)| (filter, subscriber)).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
