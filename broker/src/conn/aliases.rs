//! Topic aliases that the client has set on this connection [MQTT 5: 3.3.2.3.4].

use std::num::NonZeroU16;

use crate::codec::Publish;

/// By alias, counted from 1. Empty until the first one is set.
#[derive(Debug, Default)]
pub(super) struct Aliases {
    topics: Vec<Option<Box<str>>>,
}

/// An alias beyond the limit: the connection ends [MQTT5-3.3.2-9].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BadAlias;

impl Aliases {
    /// Sets `alias` to a topic.
    pub(super) fn set(&mut self, alias: NonZeroU16, topic: &str, limit: u16) -> Result<(), BadAlias> {
        if alias.get() > limit {
            return Err(BadAlias);
        }
        let at = usize::from(alias.get()) - 1;
        if self.topics.len() <= at {
            self.topics.resize(at + 1, None);
        }
        match self.topics.get_mut(at) {
            Some(Some(known)) if **known == *topic => {}
            Some(place) => *place = Some(topic.into()),
            None => return Err(BadAlias),
        }
        Ok(())
    }

    /// The topic of a PUBLISH: its own, or the one for which its alias stands.
    pub(super) fn topic_of<'a>(&'a self, publish: &Publish<'a>) -> Option<&'a str> {
        match publish.properties.topic_alias {
            Some(alias) if publish.topic.is_empty() => self.get(alias),
            _ => Some(publish.topic),
        }
    }

    fn get(&self, alias: NonZeroU16) -> Option<&str> {
        self.topics.get(usize::from(alias.get()) - 1)?.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_stands_for_the_topic_it_was_set_to_last() {
        let mut aliases = Aliases::default();
        let (one, two, three) = (NonZeroU16::MIN, NonZeroU16::new(2).unwrap(), NonZeroU16::new(3).unwrap());
        assert_eq!(aliases.get(one), None);
        assert_eq!(aliases.set(two, "a", 2), Ok(()));
        assert_eq!(aliases.get(one), None);
        assert_eq!(aliases.get(two), Some("a"));
        assert_eq!(aliases.set(two, "b", 2), Ok(()));
        assert_eq!(aliases.get(two), Some("b"));
        assert_eq!(aliases.set(three, "c", 2), Err(BadAlias));
        assert_eq!(aliases.get(three), None);
    }
}
