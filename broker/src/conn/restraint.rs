//! Replays are held back a little from a client that is still subscribing.
//!
//! Whatever is in its socket already stands before the next SUBACK: a client that awaits each SUBACK before it sends the next
//! SUBSCRIBE would have to read the whole replay of the first one in between. So until it has been quiet for a moment it gets
//! only a few retained messages after each SUBSCRIBE.

use std::time::Duration;

use tokio::time::Instant;

/// No further SUBSCRIBE for so long: it was the only one.
const QUIET_AFTER_ONE: Duration = Duration::from_millis(20);
/// No further SUBSCRIBE for so long: it was the last of several. Clients stumble while they start.
const QUIET_AFTER_SEVERAL: Duration = Duration::from_millis(250);
/// Nothing is held back for longer than this.
const LONGEST: Duration = Duration::from_secs(5);
/// What is given after each SUBSCRIBE all the same; smaller replays are never held back.
const FEW_MESSAGES: usize = 64;
const FEW_BYTES: usize = 16 << 10;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Restraint(Option<Subscribing>);

#[derive(Debug)]
struct Subscribing {
    since: Instant,
    until: Instant,
    messages: usize,
    bytes: usize,
}

/// How much a replay may give now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Allowed {
    All,
    /// So many messages, of about so many bytes.
    Few(usize, usize),
    /// Nothing before this moment, unless there is another SUBSCRIBE.
    Nothing(Instant),
}

impl Restraint {
    /// The client has subscribed.
    pub(super) fn subscribed(&mut self, now: Instant) {
        let (since, quiet) = match &self.0 {
            Some(before) if now < before.until => (before.since, QUIET_AFTER_SEVERAL),
            _ => (now, QUIET_AFTER_ONE),
        };
        let until = (now + quiet).min(since + LONGEST);
        self.0 = Some(Subscribing { since, until, messages: FEW_MESSAGES, bytes: FEW_BYTES });
    }

    pub(super) fn allowed(&mut self, now: Instant) -> Allowed {
        match &self.0 {
            Some(subscribing) if now < subscribing.until => match *subscribing {
                Subscribing { messages: 0, until, .. } | Subscribing { bytes: 0, until, .. } => {
                    Allowed::Nothing(until)
                }
                Subscribing { messages, bytes, .. } => Allowed::Few(messages, bytes),
            },
            _ => Allowed::All,
        }
    }

    /// So much was given.
    pub(super) fn charge(&mut self, messages: usize, bytes: usize) {
        if let Some(subscribing) = &mut self.0 {
            subscribing.messages = subscribing.messages.saturating_sub(messages);
            subscribing.bytes = subscribing.bytes.saturating_sub(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn who_is_quiet_gets_everything() {
        let now = clock::now();
        let mut restraint = Restraint::default();
        assert_eq!(restraint.allowed(now), Allowed::All);
        restraint.subscribed(now);
        assert_eq!(restraint.allowed(now), Allowed::Few(FEW_MESSAGES, FEW_BYTES));
        restraint.charge(10, 100);
        assert_eq!(restraint.allowed(now), Allowed::Few(FEW_MESSAGES - 10, FEW_BYTES - 100));
        restraint.charge(FEW_MESSAGES, 0);
        assert_eq!(restraint.allowed(now), Allowed::Nothing(now + QUIET_AFTER_ONE));
        assert_eq!(restraint.allowed(now + QUIET_AFTER_ONE), Allowed::All);
        // The second one within that time is taken for the second of many.
        restraint.subscribed(now);
        restraint.charge(FEW_MESSAGES, 0);
        assert_eq!(restraint.allowed(now), Allowed::Nothing(now + QUIET_AFTER_SEVERAL));
    }

    #[test]
    fn each_subscribe_brings_a_few_more_but_not_for_ever() {
        let start = clock::now();
        let mut restraint = Restraint::default();
        let mut now = start;
        while now < start + LONGEST {
            restraint.subscribed(now);
            assert_eq!(restraint.allowed(now), Allowed::Few(FEW_MESSAGES, FEW_BYTES));
            restraint.charge(1, FEW_BYTES);
            assert!(matches!(restraint.allowed(now), Allowed::Nothing(until) if until <= start + LONGEST));
            now += millis(10);
        }
        assert_eq!(restraint.allowed(start + LONGEST), Allowed::All);
        // It goes on subscribing: that is another time.
        restraint.subscribed(start + LONGEST + millis(1));
        assert!(matches!(restraint.allowed(start + LONGEST + millis(1)), Allowed::Few(..)));
    }
}
