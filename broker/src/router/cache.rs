//! What a worker remembers of the tree: topic -> targets, as long as no subscription changed.

use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::Matched;

/// Targets and shared subscriptions kept at most, over all topics of one cache: they are what takes memory.
const TARGETS: usize = 1 << 17;

/// Recently used topics in two halves: when the new half is full it becomes the old one, and what was not used since goes.
#[derive(Debug, Default)]
pub(crate) struct MatchCache {
    /// The router and its generation for which the contents hold.
    valid_for: (u64, u64),
    /// What was looked up last: often many messages on one topic follow each other.
    last: Option<Arc<Matched>>,
    new: HashMap<Arc<str>, Arc<Matched>, RandomState>,
    old: HashMap<Arc<str>, Arc<Matched>, RandomState>,
    targets: usize,
}

impl MatchCache {
    /// Looks a topic up. Everything is forgotten if the generation is another than before.
    #[inline]
    pub(crate) fn get(&mut self, valid_for: (u64, u64), topic: &str) -> Option<Arc<Matched>> {
        if self.valid_for != valid_for {
            self.clear();
            self.valid_for = valid_for;
            return None;
        }
        if let Some(last) = self.last.as_ref().filter(|last| *last.topic == *topic) {
            return Some(Arc::clone(last));
        }
        self.look_up(topic)
    }

    #[inline(never)]
    fn look_up(&mut self, topic: &str) -> Option<Arc<Matched>> {
        let matched = match self.new.get(topic) {
            Some(matched) => Arc::clone(matched),
            None => {
                let (topic, matched) = self.old.remove_entry(topic)?;
                self.new.insert(topic, Arc::clone(&matched));
                matched
            }
        };
        self.last = Some(Arc::clone(&matched));
        Some(matched)
    }

    /// Remembers what was found, for at most `limit` topics.
    pub(crate) fn insert(&mut self, valid_for: (u64, u64), matched: Arc<Matched>, limit: usize) {
        let targets = matched.targets.len() + matched.groups.len();
        if limit == 0 || self.valid_for != valid_for || targets > TARGETS / 2 {
            return;
        }
        if self.new.len() >= limit.div_ceil(2) || self.targets + targets > TARGETS / 2 {
            std::mem::swap(&mut self.new, &mut self.old);
            self.new.clear();
            self.targets = 0;
        }
        self.targets += targets;
        self.new.insert(Arc::clone(&matched.topic), matched);
    }

    fn clear(&mut self) {
        self.last = None;
        self.new.clear();
        self.old.clear();
        self.targets = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::super::shared::Group;
    use super::*;

    fn bare(topic: &str) -> Matched {
        let (targets, groups) = (Box::default(), Box::default());
        Matched { topic: topic.into(), targets, groups, provenance: false, admitted: Default::default() }
    }

    fn matched(topic: &str) -> Arc<Matched> {
        Arc::new(bare(topic))
    }

    #[test]
    fn forgets_everything_when_the_generation_changes() {
        let mut cache = MatchCache::default();
        assert!(cache.get((1, 1), "a").is_none());
        cache.insert((1, 1), matched("a"), 10);
        assert!(cache.get((1, 1), "a").is_some());
        assert!(cache.get((1, 2), "a").is_none());
        assert!(cache.get((1, 1), "a").is_none());
    }

    #[test]
    fn keeps_what_is_used_and_stays_below_its_limit() {
        let mut cache = MatchCache::default();
        cache.get((1, 1), "");
        cache.insert((1, 1), matched("often"), 10);
        for n in 0..100 {
            cache.insert((1, 1), matched(&n.to_string()), 10);
            assert!(cache.get((1, 1), "often").is_some());
            assert!(cache.new.len() + cache.old.len() <= 11);
        }
        assert!(cache.get((1, 1), "3").is_none());
    }

    #[test]
    fn shared_subscriptions_count_as_targets() {
        let mut cache = MatchCache::default();
        cache.get((1, 1), "");
        let groups: Box<[_]> = (0..TARGETS / 8).map(|_| Arc::new(Group::new("$share/g/a".into()))).collect();
        for n in 0..20 {
            cache.insert((1, 1), Arc::new(Matched { groups: groups.clone(), ..bare(&n.to_string()) }), 1000);
        }
        assert!(cache.new.len() + cache.old.len() <= 8);
    }

    #[test]
    fn a_stale_result_is_not_kept() {
        let mut cache = MatchCache::default();
        cache.get((1, 2), "a");
        cache.insert((1, 1), matched("a"), 10);
        assert!(cache.get((1, 2), "a").is_none());
    }
}
