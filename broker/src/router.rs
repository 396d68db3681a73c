//! One message -> all its targets. It owns the tree of subscriptions with the clients behind it, and what a worker needs to route
//! a batch of messages: its match cache and whom to wake afterwards.
//!
//! The publisher's task does it all: it matches (mostly from the cache) and appends to the outbox of each subscriber.

mod accept;
mod cache;
mod explain;
mod frames;
mod shared;
mod targets;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Waker;

use foldhash::fast::RandomState;
use parking_lot::RwLock;
use slab::Slab;

pub(crate) use accept::{Accepted, accept, accept_if, why_dropped};
use cache::MatchCache;
pub(crate) use frames::{Buffers, Carried, Expiry, Frames, Outgoing};
use shared::{Group, Member};
use targets::{Admitted, Wanted, targets};
pub(crate) use targets::{Grant, Matched};

use crate::broker::Core;
use crate::clock;
use crate::codec::ReasonCode;
use crate::conn::Acks;
use crate::hooks::Mark;
use crate::message::{Message, QoS, Terms};
use crate::metrics::{Dropped, Tally};
use crate::outbox::{Appender, Dirty};
use crate::pressure::Shed;
use crate::records::Recorder;
use crate::registry::Client;
use crate::session::{PacketId, Subscription, Unanswered};
use crate::topic;
use crate::trie::{SubscriberId, Trie};

/// Filters that are removed under one lock of the tree.
const UNSUBSCRIBED_AT_ONCE: usize = 128;

static ROUTERS: AtomicU64 = AtomicU64::new(1);

/// See the module.
#[derive(Debug)]
pub(crate) struct Router {
    index: RwLock<Index>,
    /// Tells routers apart in a worker's cache: a process may have several brokers.
    number: u64,
    /// Changes with each change of a subscription, while `index` is locked for writing.
    generation: AtomicU64,
    /// There is a subscription. Changed while `index` is locked for writing.
    subscribed: AtomicBool,
}

#[derive(Debug, Default)]
struct Index {
    trie: Trie<Wanted>,
    clients: Slab<Arc<Client>>,
    /// The filters of shared subscriptions; whose "subscribers" are places in `groups`.
    shared: Trie<()>,
    groups: Slab<Arc<Group>>,
    /// `$share/GROUP/FILTER` -> place in `groups`.
    by_share: HashMap<Arc<str>, u32, RandomState>,
}

/// What became of a message that was routed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Routed {
    /// An acknowledgement has to wait for it.
    pub(crate) mark: Mark,
    /// There was a subscription that matches.
    pub(crate) matched: bool,
}

impl Routed {
    /// What the publisher is told.
    #[inline]
    pub(crate) fn reason(&self) -> ReasonCode {
        if self.matched { ReasonCode::Success } else { ReasonCode::NoMatchingSubscribers }
    }
}

/// What a worker keeps from batch to batch.
#[derive(Debug, Default)]
pub(crate) struct Routing {
    cache: MatchCache,
    found: Vec<(SubscriberId, Wanted)>,
    found_groups: Vec<(SubscriberId, ())>,
    /// Buffers to use again: for the frames of the message under way, and for records.
    buffers: Option<Box<Buffers>>,
    record: Vec<u8>,
    pub(crate) dirty: Dirty,
    pub(crate) tally: Tally,
    /// For the publisher itself.
    pub(crate) acks: Acks,
    /// What is to be kept of this batch without an acknowledgement that waits for it.
    pub(crate) unanswered: Mark,
    /// The publisher of this batch, if it would wait for slower subscribers, and those that it has to wait for.
    pub(crate) waiting_publisher: Option<SubscriberId>,
    pub(crate) pressed: Vec<Arc<Client>>,
    /// Deliveries made in this batch.
    pub(crate) deliveries: usize,
    /// The batch left acknowledgements in the publisher's own outbox.
    pub(crate) answered: bool,
}

impl Routing {
    /// Lends the buffers for frames; [`Routing::give_buffers`] takes them back.
    pub(crate) fn take_buffers(&mut self) -> Box<Buffers> {
        self.buffers.take().unwrap_or_default()
    }

    /// Lends the buffer for records.
    pub(crate) fn take_record(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.record)
    }

    pub(crate) fn give_record(&mut self, buffer: Vec<u8>) {
        self.record = buffer;
    }

    pub(crate) fn give_buffers(&mut self, buffers: Box<Buffers>) {
        self.buffers = Some(buffers);
    }

    /// Notes a subscriber that the publisher should wait for.
    pub(crate) fn press(&mut self, client: &Arc<Client>) {
        if self.waiting_publisher.is_some_and(|publisher| publisher != client.subscriber) {
            self.pressed.push(Arc::clone(client));
        }
    }

    /// Ends a batch: wakes who got something and adds the counts up. Answers whether anybody but `own` was woken.
    pub(crate) fn finish(&mut self, own: Option<&Waker>, core: &Core) -> bool {
        core.records.hasten(std::mem::take(&mut self.unanswered));
        let woke = self.dirty.wake_all(own);
        self.tally.flush(&core.metrics);
        self.deliveries = 0;
        self.waiting_publisher = None;
        self.pressed.clear();
        woke
    }
}

impl Router {
    pub(crate) fn new() -> Self {
        Self {
            index: RwLock::default(),
            number: ROUTERS.fetch_add(1, Ordering::Relaxed),
            generation: AtomicU64::new(1),
            subscribed: AtomicBool::new(false),
        }
    }

    /// Gives a client a number.
    pub(crate) fn enter(&self, make: impl FnOnce(SubscriberId) -> Arc<Client>) -> Arc<Client> {
        let mut index = self.index.write();
        let entry = index.clients.vacant_entry();
        let id = u32::try_from(entry.key()).expect("2^32 clients are beyond any limit of sessions");
        Arc::clone(entry.insert(make(SubscriberId(id))))
    }

    /// Forgets a client, whose subscriptions are gone.
    pub(crate) fn leave(&self, client: &Client) {
        self.index.write().clients.try_remove(client.subscriber.0 as usize);
    }

    /// Adds or replaces a subscription. Answers whether it is new.
    pub(crate) fn subscribe(&self, client: &Arc<Client>, filter: &str, subscription: &Subscription) -> bool {
        let wanted = Wanted::new(subscription);
        let mut index = self.index.write();
        self.generation.fetch_add(1, Ordering::Release);
        let new = match topic::share(filter) {
            Ok(Some(share)) => index.join(client, filter, share.filter, &wanted),
            _ => index.trie.insert(filter, client.subscriber, wanted).is_none(),
        };
        self.subscribed.store(true, Ordering::Release);
        new
    }

    /// Is anybody subscribed to anything? Who is just about to be counts when the SUBACK is made, at the latest.
    pub(crate) fn has_subscriptions(&self) -> bool {
        self.subscribed.load(Ordering::Acquire)
    }

    /// Takes subscriptions away, a few at a time so that nobody waits long. Answers how many there were.
    pub(crate) fn unsubscribe(&self, client: &Client, filters: &[Arc<str>]) -> usize {
        let mut removed = 0;
        for some in filters.chunks(UNSUBSCRIBED_AT_ONCE) {
            let mut index = self.index.write();
            self.generation.fetch_add(1, Ordering::Release);
            removed += some.iter().filter(|filter| index.remove(client, filter)).count();
            let anybody = !index.trie.is_empty() || !index.shared.is_empty();
            self.subscribed.store(anybody, Ordering::Release);
        }
        removed
    }

    /// What matches a topic comes to something else from now on: workers are to look again.
    pub(crate) fn look_again(&self) {
        let _index = self.index.write();
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// Rights have changed. It takes no lock: what is found from now on is found with the new ones, and what was found before is of an
    /// older generation.
    pub(crate) fn rights_changed(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    /// It changes with every change of subscriptions or rights.
    #[inline]
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Shared subscriptions: groups, not members.
    pub(crate) fn shared_groups(&self) -> usize {
        self.index.read().groups.len()
    }

    /// Delivers a message to all subscribers, from this task and at once.
    pub(crate) fn publish(&self, message: &Outgoing<'_>, routing: &mut Routing, core: &Core) -> Routed {
        let matched = self.targets(message.topic, routing, core);
        self.publish_to(&matched, message, routing, core)
    }

    /// The same, to those who are found already.
    pub(crate) fn publish_to(
        &self,
        matched: &Matched,
        message: &Outgoing<'_>,
        routing: &mut Routing,
        core: &Core,
    ) -> Routed {
        if matched.targets.is_empty() && matched.groups.is_empty() {
            return Routed::default();
        }
        routing.deliveries += matched.targets.len() + matched.groups.len();
        let mut frames = Frames::new(message, routing.take_buffers());
        if message.qos == QoS::AtMostOnce && matched.groups.is_empty() {
            // The most frequent kind, and the one that costs least.
            for target in &matched.targets {
                let Some(grant) = target.grant(message.publisher) else { continue };
                if target.client.stands_by(target.may, message.topic) {
                    let terms = grant.terms(QoS::AtMostOnce, message.retained);
                    give_at_most_once(&target.client, &terms, &mut frames, routing, core);
                } else {
                    target.client.deny(message.topic, core);
                }
            }
            routing.give_buffers(frames.into_buffers());
            return Routed { mark: Mark::default(), matched: true };
        }
        let several = matched.targets.len() + matched.groups.len() > 1;
        let provenance = matched.provenance;
        let mut delivery = Delivery { frames, recorder: None, kept: None, several, provenance };
        for target in &matched.targets {
            let Some(grant) = target.grant(message.publisher) else { continue };
            if target.client.stands_by(target.may, message.topic) {
                delivery.give(&target.client, grant, &matched.topic, routing, core);
            } else {
                target.client.deny(message.topic, core);
            }
        }
        for group in &matched.groups {
            let topic = &matched.topic;
            if group.is_served(message.served, |subscriber| matched.is_target(subscriber)) {
                continue;
            }
            let handed = group.hand_out(core.hot.shared_strategy(), |member| {
                delivery.give_member(member, topic, routing, core)
            });
            if !handed {
                core.metrics.dropped(Dropped::NoMember, 1);
            }
        }
        Routed { mark: delivery.finish(routing), matched: true }
    }

    /// Hands a message which a member of a shared subscription has left behind to another one.
    pub(crate) fn hand_on(&self, left: &Unanswered, routing: &mut Routing, core: &Core) {
        let group = {
            let index = self.index.read();
            let place = index.by_share.get(&*left.share);
            place.and_then(|place| index.groups.get(*place as usize)).map(Arc::clone)
        };
        if left.message.is_expired(clock::unix_ms()) {
            core.metrics.dropped(Dropped::Expired, 1);
            return;
        }
        let message = Outgoing { retained: left.retain, ..Outgoing::of(&left.message) };
        let frames = Frames::new(&message, routing.take_buffers());
        let mut delivery = Delivery { frames, recorder: None, kept: None, several: false, provenance: true };
        let handed = group.is_some_and(|group| {
            group.hand_out(core.hot.shared_strategy(), |member| {
                delivery.give_member(member, &left.message.topic, routing, core)
            })
        });
        if !handed {
            core.metrics.dropped(Dropped::NoMember, 1);
        }
        let mark = delivery.finish(routing);
        routing.unanswered = routing.unanswered.max(mark);
    }

    /// Who gets messages on a topic.
    #[inline]
    pub(crate) fn targets(&self, topic: &str, routing: &mut Routing, core: &Core) -> Arc<Matched> {
        let valid_for = (self.number, self.generation());
        if let Some(matched) = routing.cache.get(valid_for, topic) {
            return matched;
        }
        let index = self.index.read();
        index.trie.matches(topic, &mut routing.found);
        let each = core.hot.copies_for_each();
        let (targets, provenance) = targets(topic, &routing.found, &index.clients, each);
        let groups: Box<[Arc<Group>]> = if index.shared.is_empty() {
            Box::default()
        } else {
            index.shared.matches(topic, &mut routing.found_groups);
            let groups = routing.found_groups.iter();
            groups.filter_map(|(place, ())| index.groups.get(place.0 as usize).map(Arc::clone)).collect()
        };
        let provenance = provenance || groups.iter().any(|group| group.wants_provenance());
        let admitted = Admitted::default();
        let matched = Arc::new(Matched { topic: topic.into(), targets, groups, provenance, admitted });
        drop(index);
        routing.cache.insert(valid_for, Arc::clone(&matched), core.hot.match_cache());
        matched
    }
}

impl Index {
    fn join(&mut self, client: &Arc<Client>, share: &str, filter: &str, wanted: &Wanted) -> bool {
        let place = match self.by_share.get(share) {
            Some(place) => *place,
            None => {
                let share: Arc<str> = share.into();
                let place = self.groups.insert(Arc::new(Group::new(Arc::clone(&share))));
                let place = u32::try_from(place).expect("2^32 groups are beyond any limit of subscriptions");
                self.by_share.insert(share, place);
                self.shared.insert(filter, SubscriberId(place), ());
                place
            }
        };
        self.groups.get(place as usize).is_some_and(|group| group.join(client, wanted))
    }

    fn remove(&mut self, client: &Client, filter: &str) -> bool {
        let Ok(Some(share)) = topic::share(filter) else {
            return self.trie.remove(filter, client.subscriber).is_some();
        };
        let Some(&place) = self.by_share.get(filter) else { return false };
        let Some(group) = self.groups.get(place as usize) else { return false };
        let (was_member, anybody) = group.leave(client.subscriber);
        if !anybody {
            self.by_share.remove(filter);
            self.groups.try_remove(place as usize);
            self.shared.remove(share.filter, SubscriberId(place));
        }
        was_member
    }
}

/// One message on its way to its subscribers.
struct Delivery<'a, 'm> {
    frames: Frames<'m>,
    /// The message as sessions keep it, once one does, and the writer of their records.
    kept: Option<Arc<Message>>,
    recorder: Option<Recorder<'a>>,
    /// More than one session may keep it.
    several: bool,
    provenance: bool,
}

impl<'a> Delivery<'a, '_> {
    /// Gives the message to one client. Answers whether it is on its way or waits in its queue.
    #[inline]
    fn give(
        &mut self,
        client: &Arc<Client>,
        grant: &Grant,
        topic: &Arc<str>,
        routing: &mut Routing,
        core: &'a Core,
    ) -> bool {
        let message = self.frames.message();
        let terms = grant.terms(message.qos, message.retained);
        if terms.qos == QoS::AtMostOnce {
            return give_at_most_once(client, &terms, &mut self.frames, routing, core);
        }
        let Self { frames, recorder, kept, several, provenance } = self;
        let recorder = recorder.get_or_insert_with(|| {
            core.records.recorder_with(routing.take_record()).for_message(*several, message.origin)
        });
        let message = kept.get_or_insert_with(|| Arc::new(frames.keep(topic, *provenance)));
        client.deliver(message, &terms, frames, routing, recorder, core)
    }

    /// Gives the message to a member of a shared subscription, if that may get it.
    fn give_member(
        &mut self,
        member: &Member,
        topic: &Arc<str>,
        routing: &mut Routing,
        core: &'a Core,
    ) -> bool {
        if !member.client.may_receive(topic) {
            member.client.deny(topic, core);
            return false;
        }
        self.give(&member.client, &member.grant, topic, routing, core)
    }

    /// Gives back what was lent. Answers the mark that an acknowledgement has to wait for.
    #[inline]
    fn finish(self, routing: &mut Routing) -> Mark {
        routing.give_buffers(self.frames.into_buffers());
        let Some(recorder) = self.recorder else { return Mark::default() };
        let (record, mark) = recorder.finish();
        routing.give_record(record);
        mark
    }
}

/// QoS 0 goes straight to the outbox: a client without a connection does not get it.
fn give_at_most_once(
    client: &Arc<Client>,
    terms: &Terms,
    frames: &mut Frames<'_>,
    routing: &mut Routing,
    core: &Core,
) -> bool {
    let mut outbox = client.outbox.lock();
    if !outbox.is_open() {
        return false;
    }
    if core.pressure.sheds(Shed::AtMostOnce) && outbox.is_slow() {
        client.lose(Dropped::Memory, 1, frames.message().topic, core);
        return false;
    }
    let mut taken = outbox.has_room(frames.message().size());
    if !taken {
        routing.tally.dropped_outbox += 1;
        client.counts.drop(Dropped::OutboxFull, 1);
        client.note(Dropped::OutboxFull, frames.message().topic, core);
    } else if !put(&mut outbox, frames, terms, None, false, &mut routing.dirty) {
        client.lose(Dropped::TooLarge, 1, frames.message().topic, core);
        taken = false;
    }
    if outbox.presses() {
        routing.press(client);
    }
    taken
}

/// Puts a PUBLISH into an outbox that has room for it, in the form that its client wants. `false`: the packet is larger than
/// the client takes, and must not be sent [MQTT5-3.1.2-24].
#[inline]
pub(crate) fn put(
    outbox: &mut Appender<'_>,
    frames: &mut Frames<'_>,
    terms: &Terms,
    id: Option<PacketId>,
    dup: bool,
    dirty: &mut Dirty,
) -> bool {
    let shape = outbox.shape();
    if outbox.is_choosy() && !outbox.takes(frames.len_for(shape, terms, id.is_some())) {
        return false;
    }
    let topic = frames.message().topic;
    let alias = outbox.alias(topic, || frames.len_for(shape, terms, id.is_some()));
    outbox.put(&frames.make(shape, terms, id, dup, alias), dirty);
    true
}
