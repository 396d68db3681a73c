//! Topic aliases towards one client: which topic has which number, the one that was used longest ago making room for a new one
//! [MQTT 5: 3.3.2.3.4].

use std::hash::BuildHasher as _;

use compact_str::CompactString;
use foldhash::fast::FixedState;
use hashbrown::HashTable;

/// Longer topics get no alias: what a client can make the broker remember is bounded.
const TOPIC_BYTES_MAX: usize = 1024;
const NONE: u16 = u16::MAX;

/// What stands for the topic of one PUBLISH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Alias {
    /// The topic itself.
    None,
    /// The topic, and the number that it has from now on.
    New(u16),
    /// The number alone.
    Known(u16),
}

impl Alias {
    pub(crate) fn number(self) -> Option<u16> {
        match self {
            Self::None => None,
            Self::New(number) | Self::Known(number) => Some(number),
        }
    }
}

/// See the module. Numbers begin with 1; place `n` belongs to number `n + 1`.
#[derive(Debug)]
pub(super) struct Aliases {
    max: u16,
    places: Vec<Place>,
    index: HashTable<u16>,
    hasher: FixedState,
    newest: u16,
    oldest: u16,
}

#[derive(Debug)]
struct Place {
    topic: CompactString,
    newer: u16,
    older: u16,
}

impl Aliases {
    /// At most `max` of them, which is less than 65 535.
    pub(super) fn new(max: u16) -> Self {
        Self {
            max: max.min(NONE - 1),
            places: Vec::new(),
            index: HashTable::new(),
            hasher: FixedState::default(),
            newest: NONE,
            oldest: NONE,
        }
    }

    /// What stands for `topic` in the next PUBLISH, which must then be sent.
    pub(super) fn take(&mut self, topic: &str) -> Alias {
        if self.max == 0 || topic.len() > TOPIC_BYTES_MAX {
            return Alias::None;
        }
        // Again and again the same topic: the usual case.
        if self.places.get(usize::from(self.newest)).is_some_and(|place| place.topic == topic) {
            return Alias::Known(self.newest + 1);
        }
        let hash = self.hasher.hash_one(topic);
        let known = self.index.find(hash, |&at| self.places[usize::from(at)].topic == topic).copied();
        if let Some(at) = known {
            if at != self.newest {
                self.unlink(at);
                self.link_newest(at);
            }
            return Alias::Known(at + 1);
        }
        let at = self.free_place(topic);
        let Self { index, places, hasher, .. } = self;
        index.insert_unique(hash, at, |&at| hasher.hash_one(places[usize::from(at)].topic.as_str()));
        self.link_newest(at);
        Alias::New(at + 1)
    }

    /// A place for a topic: a new one, or that of the topic used longest ago.
    fn free_place(&mut self, topic: &str) -> u16 {
        if self.places.len() < usize::from(self.max) {
            self.places.push(Place { topic: topic.into(), newer: NONE, older: NONE });
            return (self.places.len() - 1) as u16;
        }
        let at = self.oldest;
        self.unlink(at);
        let place = &mut self.places[usize::from(at)];
        let before = std::mem::replace(&mut place.topic, topic.into());
        if let Ok(entry) = self.index.find_entry(self.hasher.hash_one(before.as_str()), |&other| other == at)
        {
            entry.remove();
        }
        at
    }

    fn unlink(&mut self, at: u16) {
        let Place { newer, older, .. } = self.places[usize::from(at)];
        match newer {
            NONE => self.newest = older,
            newer => self.places[usize::from(newer)].older = older,
        }
        match older {
            NONE => self.oldest = newer,
            older => self.places[usize::from(older)].newer = newer,
        }
    }

    fn link_newest(&mut self, at: u16) {
        let before = self.newest;
        let place = &mut self.places[usize::from(at)];
        place.newer = NONE;
        place.older = before;
        match before {
            NONE => self.oldest = at,
            before => self.places[usize::from(before)].newer = at,
        }
        self.newest = at;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_named_once_and_numbered_from_then_on() {
        let mut aliases = Aliases::new(2);
        assert_eq!(aliases.take("a"), Alias::New(1));
        assert_eq!(aliases.take("b"), Alias::New(2));
        assert_eq!(aliases.take("a"), Alias::Known(1));
        assert_eq!(aliases.take("b"), Alias::Known(2));
    }

    #[test]
    fn the_topic_used_longest_ago_makes_room() {
        let mut aliases = Aliases::new(3);
        for topic in ["a", "b", "c", "a"] {
            aliases.take(topic);
        }
        assert_eq!(aliases.take("d"), Alias::New(2));
        assert_eq!(aliases.take("a"), Alias::Known(1));
        assert_eq!(aliases.take("c"), Alias::Known(3));
        assert_eq!(aliases.take("b"), Alias::New(2));
        assert_eq!(aliases.take("d"), Alias::New(1));
    }

    #[test]
    fn a_naive_list_gives_the_same_numbers() {
        let mut aliases = Aliases::new(5);
        let mut naive: Vec<(String, u16)> = Vec::new();
        let mut state = 7_u64;
        for _ in 0..5_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let topic = format!("topic/{}", (state >> 33) % 9);
            let expected = match naive.iter().position(|(known, _)| *known == topic) {
                Some(at) => {
                    let entry = naive.remove(at);
                    let number = entry.1;
                    naive.push(entry);
                    Alias::Known(number)
                }
                None => {
                    let number = if naive.len() < 5 { naive.len() as u16 + 1 } else { naive.remove(0).1 };
                    naive.push((topic.clone(), number));
                    Alias::New(number)
                }
            };
            assert_eq!(aliases.take(&topic), expected);
        }
    }

    #[test]
    fn without_aliases_and_for_very_long_topics_there_is_none() {
        assert_eq!(Aliases::new(0).take("a"), Alias::None);
        assert_eq!(Aliases::new(9).take(&"x".repeat(TOPIC_BYTES_MAX + 1)), Alias::None);
    }
}
