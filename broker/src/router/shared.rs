//! Shared subscriptions: `$share/GROUP/FILTER`, of which each message goes to one member [MQTT 5: 4.8.2].
//!
//! Who is connected comes before who is not; among these the strategy decides. A member that can't take the message (its
//! outbox or queue is full) is passed over.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::RwLock;

use super::targets::{Grant, Wanted};
use crate::limits::SharedStrategy;
use crate::registry::Client;
use crate::trie::SubscriberId;

/// Members that are compared when the one with the shortest queue is looked for.
const COMPARED: usize = 64;

/// One shared subscription with those who share it.
#[derive(Debug)]
pub(crate) struct Group {
    /// The whole filter, `$share/GROUP/FILTER`.
    pub(crate) share: Arc<str>,
    members: RwLock<Vec<Member>>,
    /// Whose turn it is.
    turn: AtomicUsize,
}

/// One member and what it gets.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) client: Arc<Client>,
    pub(crate) grant: Grant,
}

impl Group {
    pub(super) fn new(share: Arc<str>) -> Self {
        Self { share, members: RwLock::default(), turn: AtomicUsize::new(0) }
    }

    /// Adds a member, or changes what it wants. Answers whether it is new.
    pub(super) fn join(&self, client: &Arc<Client>, wanted: &Wanted) -> bool {
        let grant = Grant::of(std::iter::once(wanted), Some(&self.share));
        let mut members = self.members.write();
        if let Some(member) = members.iter_mut().find(|member| member.client.subscriber == client.subscriber)
        {
            member.grant = grant;
            return false;
        }
        members.push(Member { client: Arc::clone(client), grant });
        true
    }

    /// Answers whether it was a member, and whether anybody is left.
    pub(super) fn leave(&self, subscriber: SubscriberId) -> (bool, bool) {
        let mut members = self.members.write();
        let at = members.iter().position(|member| member.client.subscriber == subscriber);
        if let Some(at) = at {
            members.remove(at);
        }
        (at.is_some(), !members.is_empty())
    }

    /// Hands a message to one member: `give` answers whether that one took it. Answers whether anybody did.
    ///
    /// The lock is not held while a member is tried; in the time between, others may join or leave.
    pub(crate) fn hand_out(&self, strategy: SharedStrategy, mut give: impl FnMut(&Member) -> bool) -> bool {
        let count = self.members.read().len();
        if count == 0 {
            return false;
        }
        let start = self.start(strategy, count);
        for connected in [true, false] {
            for step in 0..count {
                let at = (start + step) % count;
                let member = self.members.read().get(at).cloned();
                let Some(member) = member.filter(|member| member.client.is_connected() == connected) else {
                    continue;
                };
                if give(&member) {
                    if strategy == SharedStrategy::Sticky {
                        self.turn.store(at, Ordering::Relaxed);
                    }
                    return true;
                }
            }
        }
        false
    }

    /// With whom to begin.
    fn start(&self, strategy: SharedStrategy, count: usize) -> usize {
        match strategy {
            SharedStrategy::RoundRobin => self.turn.fetch_add(1, Ordering::Relaxed) % count,
            SharedStrategy::Sticky => self.turn.load(Ordering::Relaxed) % count,
            SharedStrategy::LeastQueued => {
                let from = self.turn.fetch_add(1, Ordering::Relaxed) % count;
                let members = self.members.read();
                let count = members.len().max(1);
                (0..count.min(COMPARED))
                    .map(|step| (from + step) % count)
                    .min_by_key(|at| {
                        members.get(*at).map_or((true, usize::MAX), |member| {
                            (!member.client.is_connected(), member.client.waiting())
                        })
                    })
                    .unwrap_or(0)
            }
        }
    }
}
