//! Shared subscriptions: `$share/GROUP/FILTER`, of which each message goes to one member [MQTT 5: 4.8.2].
//!
//! Who is connected comes before who is not; among these the strategy decides. A member that can't take the message (its
//! outbox or queue is full) is passed over.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::RwLock;
use smallvec::SmallVec;

use super::targets::{Grant, Wanted};
use crate::limits::SharedStrategy;
use crate::message::QoS;
use crate::registry::Client;
use crate::trie::SubscriberId;

/// Members that are compared when the one with the shortest queue is looked for.
const COMPARED: usize = 64;

/// One shared subscription with those who share it.
#[derive(Debug)]
pub(crate) struct Group {
    /// The whole filter, `$share/GROUP/FILTER`.
    pub(crate) share: Arc<str>,
    /// Whoever hands a message out holds the list as it was; it is copied only if it changes meanwhile.
    members: RwLock<Arc<Vec<Member>>>,
    /// Whose turn it is.
    turn: AtomicUsize,
    /// A member wants to know where an entry's value comes from, or one did.
    provenance: AtomicBool,
}

/// One member and what it gets.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) client: Arc<Client>,
    pub(crate) grant: Grant,
}

impl Group {
    pub(super) fn new(share: Arc<str>) -> Self {
        Self {
            share,
            members: RwLock::default(),
            turn: AtomicUsize::new(0),
            provenance: AtomicBool::new(false),
        }
    }

    /// Adds a member, or changes what it wants. Answers whether it is new.
    pub(super) fn join(&self, client: &Arc<Client>, wanted: &Wanted) -> bool {
        let grant = Grant::of(std::iter::once(wanted), Some(&self.share));
        if grant.special.as_ref().is_some_and(|special| special.provenance) {
            self.provenance.store(true, Ordering::Relaxed);
        }
        let mut members = self.members.write();
        let members = Arc::make_mut(&mut members);
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
            // The turn stays with the one whose it is.
            let turn = self.turn.load(Ordering::Relaxed) % members.len();
            self.turn.store(turn - usize::from(at < turn), Ordering::Relaxed);
            Arc::make_mut(&mut members).remove(at);
        }
        (at.is_some(), !members.is_empty())
    }

    pub(super) fn wants_provenance(&self) -> bool {
        self.provenance.load(Ordering::Relaxed)
    }

    /// Hands a message to one member: `give` answers whether that one took it. Answers whether anybody did.
    ///
    /// No lock is held while a member is tried.
    pub(crate) fn hand_out(&self, strategy: SharedStrategy, mut give: impl FnMut(&Member) -> bool) -> bool {
        let members = Arc::clone(&self.members.read());
        let count = members.len();
        if count == 0 {
            return false;
        }
        let start = self.start(strategy, &members);
        let mut away: SmallVec<[usize; 16]> = SmallVec::new();
        let mut take = |at: usize| {
            let taken = members.get(at).is_some_and(&mut give);
            match strategy {
                // It goes on behind the one who took it, so that those passed over do not double another one's share.
                SharedStrategy::RoundRobin if taken && at != start => {
                    self.turn.fetch_add((at + count - start) % count, Ordering::Relaxed);
                }
                SharedStrategy::Sticky if taken => self.turn.store(at, Ordering::Relaxed),
                _ => {}
            }
            taken
        };
        for at in (start..count).chain(0..start) {
            if !members.get(at).is_some_and(|member| member.client.is_connected()) {
                away.push(at);
            } else if take(at) {
                return true;
            }
        }
        away.into_iter().any(take)
    }

    /// Has a member got the message already, before a crash, by this subscription? `served` are the numbers of the sessions that
    /// got it by any; whoever `has_own` may have got it by a subscription of its own and does not count.
    pub(super) fn is_served(&self, served: &[u64], has_own: impl Fn(SubscriberId) -> bool) -> bool {
        if served.is_empty() {
            return false;
        }
        let members = Arc::clone(&self.members.read());
        members.iter().any(|member| {
            let sid = member.client.lock().session().sid();
            served.contains(&sid) && !has_own(member.client.subscriber)
        })
    }

    /// With whom to begin.
    fn start(&self, strategy: SharedStrategy, members: &[Member]) -> usize {
        let count = members.len();
        match strategy {
            SharedStrategy::RoundRobin => self.turn.fetch_add(1, Ordering::Relaxed) % count,
            SharedStrategy::Sticky => self.turn.load(Ordering::Relaxed) % count,
            SharedStrategy::LeastQueued => {
                let from = self.turn.fetch_add(1, Ordering::Relaxed) % count;
                let compared = (0..count.min(COMPARED)).map(|step| (from + step) % count);
                let load = |at: &usize| {
                    let client = members.get(*at).map(|member| &member.client);
                    client.map_or((true, usize::MAX), |client| (!client.is_connected(), client.waiting()))
                };
                compared.min_by_key(load).unwrap_or(0)
            }
        }
    }

    /// Those who share it, for people: at most `limit`, each with its QoS.
    pub(super) fn shown(&self, limit: usize) -> Vec<(Arc<str>, QoS)> {
        let members = self.members.read();
        members.iter().take(limit).map(|member| (Arc::clone(&member.client.id), member.grant.qos)).collect()
    }
}
