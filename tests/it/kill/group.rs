//! Two members of a shared subscription, whose sessions last, and what is published to them.

use std::collections::HashSet;
use std::net::SocketAddr;

use super::publisher::Publisher;
use super::subscriber::Subscriber;
use super::version::Version;

/// Subscribed to `$share/group/shared/#`.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) publishers: Vec<Publisher>,
    pub(super) members: Vec<Subscriber>,
}

impl Group {
    pub(super) fn new(version: Version) -> Self {
        let member = |name| Subscriber::new(version, name, "$share/group/shared/#");
        Self {
            publishers: vec![
                Publisher::new(version, "shared", "four", 1),
                Publisher::new(version, "shared", "five", 2),
            ],
            members: vec![member("first"), member("second")],
        }
    }

    pub(super) fn subscribe(&mut self, server: SocketAddr) {
        for member in &mut self.members {
            member.subscribe(server);
        }
    }

    /// Lets everybody finish what is under way, and looks at the whole: each message has come to a member, and those of QoS 2
    /// to one only.
    pub(super) fn end(&mut self, server: SocketAddr) {
        for publisher in &mut self.publishers {
            publisher.finish(server);
        }
        for member in &mut self.members {
            member.drain_all(server);
        }
        let [first, second] = &self.members[..] else { unreachable!("two members") };
        for publisher in &self.publishers {
            let topic = publisher.topic();
            let of = |member: &Subscriber| -> HashSet<u64> {
                member.seen.iter().filter(|(its, _)| *its == topic).map(|(_, number)| *number).collect()
            };
            let (left, right) = (of(first), of(second));
            let lost: Vec<u64> = (0..publisher.acknowledged())
                .filter(|number| !left.contains(number) && !right.contains(number))
                .take(20)
                .collect();
            assert!(lost.is_empty(), "{topic}: acknowledged and lost: {lost:?}...");
            let twice: Vec<&u64> = left.intersection(&right).take(20).collect();
            assert!(publisher.qos < 2 || twice.is_empty(), "{topic}: came to both members: {twice:?}...");
            assert!(!left.is_empty() && !right.is_empty(), "{topic}: one member has got it all");
        }
    }
}
