//! The journal of what was dropped or refused, for whoever asks why a client does not get or send something. It holds the newest
//! few of each client, of the clients that lost something last. It reads no clock.

use std::collections::VecDeque;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use parking_lot::Mutex;

/// Entries of one client.
const OF_ONE: usize = 32;
/// Bytes of a topic, of a detail, and of a client identifier that are kept.
const TEXT_MAX: usize = 256;

/// Something that was dropped or refused, once or again and again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drop {
    /// When, in milliseconds of Unix time; the last time, if it was more than once.
    pub at_ms: u64,
    /// Why: a name as in the metrics, or `subscribe_denied`, `login_refused`.
    pub reason: &'static str,
    /// The topic or the topic filter; empty where there is none. Long ones are cut.
    pub topic: Box<str>,
    /// More about it, such as the rule that denies it; may be empty.
    pub detail: Box<str>,
    /// How often. Where much is dropped in a short time, only some of it is noted here; the client's counters have all.
    pub times: u64,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Drops {
    halves: Mutex<Halves>,
    half: usize,
}

type Clients = HashMap<Arc<str>, VecDeque<Drop>, RandomState>;

/// When the new half is full it becomes the old one, and whose last drop is longer ago is forgotten.
#[derive(Debug, Default)]
struct Halves {
    new: Clients,
    old: Clients,
}

impl Drops {
    /// A journal of so many clients, or a few more.
    pub(crate) fn new(clients: usize) -> Self {
        Self { halves: Mutex::default(), half: clients.div_ceil(2) }
    }

    /// Notes something.
    pub(crate) fn note(
        &self,
        client: &str,
        at_ms: u64,
        reason: &'static str,
        topic: &str,
        detail: impl FnOnce() -> String,
    ) {
        let (client, topic) = (cut(client), cut(topic));
        let mut halves = self.halves.lock();
        let drops = halves.of(client, self.half);
        let same = drops.iter().position(|it| it.reason == reason && *it.topic == *topic);
        if let Some(mut drop) = same.and_then(|at| drops.remove(at)) {
            drop.at_ms = at_ms;
            drop.times += 1;
            drops.push_back(drop);
            return;
        }
        if drops.len() == OF_ONE {
            drops.pop_front();
        }
        let detail = cut(&detail()).into();
        drops.push_back(Drop { at_ms, reason, topic: topic.into(), detail, times: 1 });
    }

    /// What was noted of a client, the newest last.
    pub(crate) fn of(&self, client: &str) -> Vec<Drop> {
        let (client, halves) = (cut(client), self.halves.lock());
        let drops = halves.new.get(client).or_else(|| halves.old.get(client));
        drops.map(|drops| drops.iter().cloned().collect()).unwrap_or_default()
    }
}

impl Halves {
    fn of(&mut self, client: &str, half: usize) -> &mut VecDeque<Drop> {
        if !self.new.contains_key(client) {
            if self.new.len() >= half {
                self.old = std::mem::take(&mut self.new);
            }
            let known = self.old.remove(client).unwrap_or_default();
            self.new.insert(client.into(), known);
        }
        self.new.entry(client.into()).or_default()
    }
}

fn cut(text: &str) -> &str {
    text.get(..text.floor_char_boundary(TEXT_MAX)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn none() -> String {
        String::new()
    }

    #[test]
    fn what_happens_again_is_counted() {
        let drops = Drops::new(4);
        drops.note("a", 1, "payload", "x", || "first".to_owned());
        drops.note("a", 2, "payload", "y", none);
        drops.note("a", 3, "payload", "x", || "second".to_owned());
        let noted = drops.of("a");
        assert_eq!(
            noted.iter().map(|it| (it.at_ms, &*it.topic, it.times)).collect::<Vec<_>>(),
            [(2, "y", 1), (3, "x", 2)]
        );
        assert_eq!(&*noted[1].detail, "first");
        assert_eq!(drops.of("b"), []);
    }

    #[test]
    fn it_is_bounded_in_all_directions() {
        let drops = Drops::new(4);
        let long = "\u{e4}".repeat(1000);
        for n in 0..100 {
            drops.note("a", n, "quota", &format!("{n}{long}"), || long.clone());
        }
        let noted = drops.of("a");
        assert_eq!((noted.len(), noted[0].at_ms), (OF_ONE, 100 - OF_ONE as u64));
        assert!(noted.iter().all(|it| it.topic.len() <= TEXT_MAX && it.detail.len() <= TEXT_MAX));
        for n in 0..100 {
            drops.note(&n.to_string(), n, "quota", "t", none);
        }
        drops.note(&long, 0, "quota", "t", none);
        assert_eq!(drops.of(&long).len(), 1);
        let halves = drops.halves.lock();
        assert!(halves.new.len() + halves.old.len() <= 4);
        assert!(halves.new.keys().all(|client| client.len() <= TEXT_MAX));
    }
}
