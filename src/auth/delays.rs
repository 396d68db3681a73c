//! Who tries passwords waits longer and longer: failed logins are counted for each address and for each user. A user who has been right from
//! an address before has a count of his own there, so that he does not suffer from others who fail at the same address. It reads no
//! clock.
//!
//! The table is bounded: when it is full, those who failed longest ago are forgotten, and counted.

use core::net::IpAddr;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// Failures that cost nothing: a wrong password in a new device's form.
pub(super) const FREE: u32 = 3;
/// What the first failure beyond them costs; each further one twice as much.
const FIRST: Duration = Duration::from_millis(250);
/// And at most so much, for the address and for the user each: together less than a client waits for its CONNACK.
const MOST: Duration = Duration::from_secs(3);
/// Logins of one user that wait at a time; further ones are refused unseen.
pub(super) const WAITING: u32 = 8;
/// The same for one address, behind which many devices may be.
const WAITING_AT_ADDRESS: u32 = 32;
/// When nothing failed for so long, all is forgotten.
const FORGIVEN: Duration = Duration::from_secs(600);
/// What one half of the table holds. Together it takes some megabytes at most.
const HALF: usize = 16_384;

/// Whose failures are counted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key {
    /// An address; of IPv6 the network of 64 bits, as whoever has one address there has all.
    Address(IpAddr),
    /// A user's name, whether there is such a user or not.
    User(Arc<str>),
    /// A user at an address from which he has been right before.
    Known(IpAddr, Arc<str>),
}

impl Key {
    /// That of an address.
    pub(super) fn address(address: IpAddr) -> Self {
        Self::Address(network(address))
    }

    /// That of a user at an address.
    pub(super) fn known(address: IpAddr, user: Arc<str>) -> Self {
        Self::Known(network(address), user)
    }

    fn waiting(&self) -> u32 {
        match self {
            Self::Address(_) => WAITING_AT_ADDRESS,
            Self::User(_) | Self::Known(..) => WAITING,
        }
    }
}

/// The addresses that are as good as one.
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// What a login has to do first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// It is checked when it has waited; [`Delays::waited`] is to be told.
    Wait(Duration),
    /// Too many wait already.
    Refused,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Delays {
    /// When the new half is full it becomes the old one, and what was not touched since goes.
    new: HashMap<Key, Failures>,
    old: HashMap<Key, Failures>,
    forgotten: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Failures {
    count: u32,
    last: Duration,
    waiting: u32,
}

impl Failures {
    fn delay(&self, now: Duration) -> Duration {
        if self.count < FREE || now.saturating_sub(self.last) > FORGIVEN {
            return Duration::ZERO;
        }
        let doubled = 1_u32.checked_shl(self.count - FREE).unwrap_or(u32::MAX);
        FIRST.saturating_mul(doubled).min(MOST)
    }
}

impl Delays {
    /// Nobody has failed.
    pub(super) fn is_empty(&self) -> bool {
        self.new.is_empty() && self.old.is_empty()
    }

    /// Does a login have to wait?
    pub(super) fn is_late(&mut self, key: &Key, now: Duration) -> bool {
        self.find(key).is_some_and(|failures| !failures.delay(now).is_zero())
    }

    /// A login begins.
    pub(super) fn begin(&mut self, key: &Key, now: Duration) -> Turn {
        let Some(failures) = self.find(key) else { return Turn::Wait(Duration::ZERO) };
        let delay = failures.delay(now);
        if delay.is_zero() {
            return Turn::Wait(delay);
        }
        if failures.waiting >= key.waiting() {
            return Turn::Refused;
        }
        failures.waiting += 1;
        Turn::Wait(delay)
    }

    /// A login has waited (or waits no longer).
    pub(super) fn waited(&mut self, key: &Key) {
        if let Some(failures) = self.find(key) {
            failures.waiting = failures.waiting.saturating_sub(1);
        }
    }

    /// A login has failed. Answers whether it is the first one that makes the next ones wait.
    pub(super) fn failed(&mut self, key: &Key, now: Duration) -> bool {
        let failures = self.touch(key);
        if now.saturating_sub(failures.last) > FORGIVEN {
            failures.count = 0;
        }
        failures.count = failures.count.saturating_add(1);
        failures.last = now;
        failures.count == FREE
    }

    /// A login was right: what failed before is forgiven.
    pub(super) fn succeeded(&mut self, key: &Key) {
        // The number of those who wait stays.
        if let Some(failures) = self.find(key) {
            failures.count = 0;
        }
    }

    /// Those that were forgotten for lack of room since the last call.
    pub(super) fn take_forgotten(&mut self) -> u64 {
        std::mem::take(&mut self.forgotten)
    }

    fn find(&mut self, key: &Key) -> Option<&mut Failures> {
        match self.new.get_mut(key) {
            Some(failures) => Some(failures),
            None => self.old.get_mut(key),
        }
    }

    fn touch(&mut self, key: &Key) -> &mut Failures {
        if !self.new.contains_key(key) {
            if self.new.len() >= HALF {
                self.forgotten += self.old.len() as u64;
                self.old = std::mem::take(&mut self.new);
            }
            let known = self.old.remove(key).unwrap_or_default();
            self.new.insert(key.clone(), known);
        }
        self.new.entry(key.clone()).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> Key {
        Key::User(name.into())
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(1000 + seconds)
    }

    fn wait_ms(delays: &mut Delays, key: &Key, now: Duration) -> u128 {
        let Turn::Wait(wait) = delays.begin(key, now) else { panic!("refused") };
        delays.waited(key);
        wait.as_millis()
    }

    #[test]
    fn each_failure_costs_more_until_one_is_right() {
        let (mut delays, ann) = (Delays::default(), user("ann"));
        let mut waits = Vec::new();
        for n in 0..10 {
            waits.push(wait_ms(&mut delays, &ann, at(n)));
            assert_eq!(delays.failed(&ann, at(n)), n + 1 == u64::from(FREE));
        }
        assert_eq!(waits, [0, 0, 0, 250, 500, 1000, 2000, 3000, 3000, 3000]);
        assert_eq!(wait_ms(&mut delays, &user("bob"), at(10)), 0);
        delays.succeeded(&ann);
        assert_eq!(wait_ms(&mut delays, &ann, at(10)), 0);
    }

    #[test]
    fn all_is_forgiven_after_a_while() {
        let (mut delays, ann) = (Delays::default(), user("ann"));
        for n in 0..5 {
            delays.failed(&ann, at(n));
        }
        assert!(wait_ms(&mut delays, &ann, at(4)) > 0);
        assert_eq!(wait_ms(&mut delays, &ann, at(5) + FORGIVEN), 0);
        assert!(!delays.failed(&ann, at(5) + FORGIVEN));
    }

    #[test]
    fn trying_many_at_a_time_does_not_help() {
        let (mut delays, ann) = (Delays::default(), user("ann"));
        for n in 0..5 {
            delays.failed(&ann, at(n));
        }
        for _ in 0..WAITING {
            assert!(matches!(delays.begin(&ann, at(5)), Turn::Wait(_)));
        }
        assert_eq!(delays.begin(&ann, at(5)), Turn::Refused);
        delays.waited(&ann);
        assert!(matches!(delays.begin(&ann, at(5)), Turn::Wait(_)));
    }

    #[test]
    fn an_address_of_ipv6_stands_for_its_network() {
        let key = |text: &str| Key::address(text.parse().unwrap());
        assert_eq!(key("2001:db8:1:2:3::4"), key("2001:db8:1:2:ffff::1"));
        assert_ne!(key("2001:db8:1:2::1"), key("2001:db8:1:3::1"));
        assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
        assert_ne!(key("192.0.2.2"), key("192.0.2.1"));
    }

    #[test]
    fn the_table_is_bounded_and_says_what_it_forgot() {
        let mut delays = Delays::default();
        for n in 0..3 * HALF {
            delays.failed(&user(&n.to_string()), at(0));
        }
        assert!(delays.new.len() <= HALF && delays.old.len() <= HALF);
        assert_eq!(delays.take_forgotten(), HALF as u64);
    }
}
