//! One message -> all its targets. It owns the tree of subscriptions with the clients behind it, and what a worker needs to route
//! a batch of messages: its match cache and whom to wake afterwards.
//!
//! The publisher's task does it all: it matches (mostly from the cache) and appends to the outbox of each subscriber.

mod accept;
mod cache;
mod frames;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;

use parking_lot::RwLock;
use slab::Slab;

pub(crate) use accept::{Accepted, accept};
use cache::MatchCache;
pub(crate) use frames::{Frames, Outgoing};

use crate::broker::Core;
use crate::conn::Acks;
use crate::hooks::Mark;
use crate::message::{Message, QoS};
use crate::metrics::{Dropped, Tally};
use crate::outbox::Dirty;
use crate::registry::Client;
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
}

#[derive(Debug, Default)]
struct Index {
    trie: Trie<QoS>,
    clients: Slab<Arc<Client>>,
}

/// Who gets the messages on a topic.
#[derive(Debug)]
pub(crate) struct Matched {
    pub(crate) topic: Arc<str>,
    pub(crate) targets: Box<[Target]>,
}

/// One client with the highest QoS of its matching subscriptions.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) client: Arc<Client>,
    pub(crate) qos: QoS,
}

/// What a worker keeps from batch to batch.
#[derive(Debug, Default)]
pub(crate) struct Routing {
    cache: MatchCache,
    found: Vec<(SubscriberId, QoS)>,
    /// Buffers to use again: for the heads of the message under way, and for records.
    heads: [Vec<u8>; 3],
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
    /// Lends the buffers for frames; [`Routing::give_heads`] takes them back.
    pub(crate) fn take_heads(&mut self) -> [Vec<u8>; 3] {
        std::mem::take(&mut self.heads)
    }

    /// Lends the buffer for records.
    pub(crate) fn take_record(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.record)
    }

    pub(crate) fn give_record(&mut self, buffer: Vec<u8>) {
        self.record = buffer;
    }

    pub(crate) fn give_heads(&mut self, heads: [Vec<u8>; 3]) {
        self.heads = heads;
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
    pub(crate) fn subscribe(&self, client: &Client, filter: &str, qos: QoS) -> bool {
        let mut index = self.index.write();
        self.generation.fetch_add(1, Ordering::Release);
        index.trie.insert(filter, client.subscriber, qos).is_none()
    }

    /// Takes subscriptions away, a few at a time so that nobody waits long. Answers how many there were.
    pub(crate) fn unsubscribe(&self, client: &Client, filters: &[Arc<str>]) -> usize {
        let mut removed = 0;
        for some in filters.chunks(UNSUBSCRIBED_AT_ONCE) {
            let mut index = self.index.write();
            self.generation.fetch_add(1, Ordering::Release);
            removed +=
                some.iter().filter(|filter| index.trie.remove(filter, client.subscriber).is_some()).count();
        }
        removed
    }

    /// Delivers a message to all subscribers, from this task and at once. Answers the mark that an acknowledgement has to wait for.
    pub(crate) fn publish(&self, message: &Outgoing<'_>, routing: &mut Routing, core: &Core) -> Mark {
        let matched = self.targets(message.topic, routing, core.hot.match_cache());
        if matched.targets.is_empty() {
            return Mark::default();
        }
        routing.deliveries += matched.targets.len();
        let mut frames = Frames::new(message, routing.take_heads());
        let mark = if message.qos == QoS::AtMostOnce {
            for target in &matched.targets {
                deliver_at_most_once(&target.client, &mut frames, routing, core);
            }
            Mark::default()
        } else {
            deliver_acknowledged(&matched, &mut frames, routing, core)
        };
        routing.give_heads(frames.into_heads());
        mark
    }

    fn targets(&self, topic: &str, routing: &mut Routing, cache: usize) -> Arc<Matched> {
        let valid_for = (self.number, self.generation.load(Ordering::Acquire));
        if let Some(matched) = routing.cache.get(valid_for, topic) {
            return matched;
        }
        let index = self.index.read();
        index.trie.matches(topic, &mut routing.found);
        let targets = routing.found.iter().filter_map(|(subscriber, qos)| {
            let client = index.clients.get(subscriber.0 as usize)?;
            Some(Target { client: Arc::clone(client), qos: *qos })
        });
        let matched = Arc::new(Matched { topic: topic.into(), targets: targets.collect() });
        drop(index);
        routing.cache.insert(valid_for, Arc::clone(&matched), cache);
        matched
    }
}

/// A message of QoS 1 or 2: to each subscriber at most with the QoS of its subscription.
fn deliver_acknowledged(
    matched: &Matched,
    frames: &mut Frames<'_>,
    routing: &mut Routing,
    core: &Core,
) -> Mark {
    let recorder = core.records.recorder_with(routing.take_record());
    let mut recorder = recorder.for_message(matched.targets.len() > 1, frames.message().origin);
    let mut kept: Option<Arc<Message>> = None;
    for Target { client, qos } in &matched.targets {
        match frames.message().qos.min(*qos) {
            QoS::AtMostOnce => deliver_at_most_once(client, frames, routing, core),
            qos if may_receive(client, frames, core) => {
                let message = kept.get_or_insert_with(|| Arc::new(frames.keep(&matched.topic)));
                client.deliver(message, qos, frames, routing, &mut recorder, core);
            }
            _ => {}
        }
    }
    let (buffer, mark) = recorder.finish();
    routing.give_record(buffer);
    mark
}

/// QoS 0 goes straight to the outbox: a client without a connection does not get it.
fn deliver_at_most_once(client: &Arc<Client>, frames: &mut Frames<'_>, routing: &mut Routing, core: &Core) {
    if !may_receive(client, frames, core) {
        return;
    }
    let mut outbox = client.outbox.lock();
    if !outbox.is_open() {
        return;
    }
    if !outbox.publish(&frames.plain(), &mut routing.dirty) {
        routing.tally.dropped_outbox += 1;
    }
    if outbox.presses() {
        routing.press(client);
    }
}

fn may_receive(client: &Client, frames: &Frames<'_>, core: &Core) -> bool {
    let may = client.may_receive(frames.message().topic);
    if !may {
        core.metrics.dropped(Dropped::ReceiveDenied, 1);
    }
    may
}
