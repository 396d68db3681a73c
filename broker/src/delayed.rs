//! Messages that are published later: who publishes to `$delayed/SECONDS/TOPIC` has it published on `TOPIC` when that time is over.
//!
//! What waits is bounded, in memory, and (at QoS 1 and 2) in the log before it is acknowledged, so that it outlives the broker. Its
//! publisher's rights are asked twice: when it is taken and when it is published. An operator can list what waits and cancel it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::broker::Core;
use crate::hooks::{Mark, Permission, Principal};
use crate::message::QoS;
use crate::metrics::Dropped;
use crate::records::Records;
use crate::router::{Accepted, Expiry, Outgoing, Routing, accept};
use crate::session::{RecordedDelayed, was_taken};
use crate::tasks::Stop;
use crate::{clock, sys, topic, worker};

/// The root of the topics for it. Nobody gets messages there.
const ROOT: &str = "$delayed";
/// Topics of the broker's own, which are not published to.
const OWN: [&str; 2] = [ROOT, "$distkv"];
/// The longest delay, 49 days: its milliseconds fit into 32 bits.
pub const SECONDS_MAX: u32 = 4_294_967;
/// Messages that one page holds at most.
pub const PAGE_MAX: usize = 1000;
/// Messages published between two looks at other tasks.
const AT_ONCE: usize = 64;
/// Messages looked at under one lock.
const LOOKED_AT: usize = 1024;
/// Between two looks while none waits. (Who adds one says so.)
const PAUSE: Duration = Duration::from_secs(3600);
/// A message that could not be kept when it was to be published (the disk is full) is tried again after this.
const RETRY: Duration = Duration::from_secs(10);

/// What the topic of a PUBLISH says about its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delay {
    /// It is published at once.
    None,
    /// It is published after so many seconds.
    Seconds(u32),
    /// The topic is not of the form that it should have.
    Malformed,
}

impl Delay {
    /// Reads a topic as a client sent it, before the mount point of its listener. Answers also the topic for which the message is.
    pub(crate) fn of(topic: &str) -> (Self, &str) {
        if !owns(topic) {
            return (Self::None, topic);
        }
        let parts = topic.get(ROOT.len() + 1..).and_then(|rest| rest.split_once('/'));
        match parts.and_then(|(number, inner)| Some((seconds(number)?, inner))) {
            Some((seconds, inner)) if !inner.is_empty() && !OWN.iter().any(|own| is_below(own, inner)) => {
                (Self::Seconds(seconds), inner)
            }
            _ => (Self::Malformed, topic),
        }
    }
}

/// Digits alone, and no more than it needs.
fn seconds(number: &str) -> Option<u32> {
    let digits = (1..=7).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit());
    number.parse().ok().filter(|seconds| digits && *seconds <= SECONDS_MAX)
}

/// Is this topic one of those to which nothing is published?
pub(crate) fn owns(topic: &str) -> bool {
    is_below(ROOT, topic)
}

fn is_below(root: &str, topic: &str) -> bool {
    topic.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Which of the messages that wait an operator wants to see.
#[derive(Clone, Debug)]
pub struct Query {
    /// Only those of the client with this identifier.
    pub client: Option<String>,
    /// Only those for topics that match this filter.
    pub topic: Option<String>,
    /// Only those behind this number: the last one of the page before.
    pub after: Option<u64>,
    /// So many at most, and never more than [`PAGE_MAX`].
    pub limit: usize,
}

impl Default for Query {
    fn default() -> Self {
        Self { client: None, topic: None, after: None, limit: PAGE_MAX }
    }
}

/// A message that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DelayedInfo {
    /// Its number, by which it can be cancelled. No other message has or had it.
    pub number: u64,
    /// The topic on which it will be published.
    pub topic: Arc<str>,
    /// When, in milliseconds of Unix time.
    pub due_ms: u64,
    /// The QoS it will be published with.
    pub qos: QoS,
    /// Whether it will be a retained message.
    pub retain: bool,
    /// Bytes of topic, payload and properties.
    pub size: usize,
    /// The client that has published it.
    pub client_id: Arc<str>,
    /// The user whose rights count.
    pub user: Option<Arc<str>>,
}

/// Some of the messages that wait, by their numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The messages.
    pub items: Vec<DelayedInfo>,
    /// There are more behind them.
    pub more: bool,
}

/// All messages that wait.
#[derive(Debug, Default)]
pub(crate) struct Delayed {
    waiting: Mutex<Waiting>,
    /// There is an earlier one than before.
    earlier: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    by_number: BTreeMap<u64, Entry>,
    /// Those that are not being published at the moment.
    by_time: BTreeSet<(Instant, u64)>,
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    at: Instant,
    message: Arc<RecordedDelayed>,
}

impl Waiting {
    fn insert(&mut self, at: Instant, message: RecordedDelayed) {
        self.bytes += message.size();
        self.by_time.insert((at, message.number));
        self.by_number.insert(message.number, Entry { at, message: Arc::new(message) });
    }

    fn remove(&mut self, number: u64) -> Option<Arc<RecordedDelayed>> {
        let Entry { at, message } = self.by_number.remove(&number)?;
        self.by_time.remove(&(at, number));
        self.bytes -= message.size();
        Some(message)
    }

    fn from(&self, after: Option<u64>) -> impl Iterator<Item = &Arc<RecordedDelayed>> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.by_number.range((from, Bound::Unbounded)).map(|(_, entry)| &entry.message)
    }
}

impl Delayed {
    /// Lets a message wait, if there is room. `make` is given its number. Numbers are given in the order in which the records are
    /// appended, on which [`Delayed::record_all`] relies.
    fn add(
        &self,
        at: Instant,
        size: usize,
        core: &Core,
        make: impl FnOnce(u64) -> RecordedDelayed,
        append: impl FnOnce(&RecordedDelayed) -> Mark,
    ) -> Option<Mark> {
        let limits = core.limits();
        let mut waiting = self.waiting.lock();
        if waiting.by_number.len() >= limits.delayed_messages
            || waiting.bytes.saturating_add(size) > limits.delayed_bytes
        {
            return None;
        }
        let message = make(core.records.number());
        let mark = append(&message);
        let first = waiting.by_time.first().is_none_or(|(earliest, _)| at < *earliest);
        waiting.insert(at, message);
        drop(waiting);
        if first {
            self.earlier.notify_one();
        }
        Some(mark)
    }

    /// Takes up one from before a restart, whatever the limits.
    pub(crate) fn restore(&self, message: RecordedDelayed) {
        self.waiting.lock().insert(clock::at_ms(message.due_ms), message);
    }

    /// The next one, if its time has come; otherwise when it does. It still waits until [`Delayed::end`] or [`Delayed::put_off`].
    fn begin(&self, now: Instant) -> Result<Arc<RecordedDelayed>, Option<Instant>> {
        let mut waiting = self.waiting.lock();
        let Some(&(at, number)) = waiting.by_time.first() else { return Err(None) };
        if at > now {
            return Err(Some(at));
        }
        waiting.by_time.pop_first();
        waiting.by_number.get(&number).map(|entry| Arc::clone(&entry.message)).ok_or(None)
    }

    /// One that was begun is published or discarded.
    fn end(&self, number: u64, records: &Records) -> Mark {
        let mut waiting = self.waiting.lock();
        waiting.remove(number).map_or_else(Mark::default, |message| forget(&message, records))
    }

    /// One that was begun waits again.
    fn put_off(&self, number: u64, at: Instant) {
        let mut waiting = self.waiting.lock();
        if let Some(entry) = waiting.by_number.get_mut(&number) {
            entry.at = at;
            waiting.by_time.insert((at, number));
        }
    }

    /// Takes one out that is not being published at this moment, if there is one. The cancellation is kept when the mark is settled.
    pub(crate) fn cancel(&self, number: u64, core: &Core) -> Option<Mark> {
        let mut waiting = self.waiting.lock();
        let at = waiting.by_number.get(&number).map(|entry| entry.at);
        if !at.is_some_and(|at| waiting.by_time.contains(&(at, number))) {
            return None;
        }
        let message = waiting.remove(number)?;
        let mark = forget(&message, &core.records);
        drop(waiting);
        core.metrics.delayed_cancelled.add(1);
        tracing::info!(
            number,
            topic = &*message.topic,
            client = &*message.client_id,
            "delayed message cancelled"
        );
        Some(mark)
    }

    /// How many wait, and their bytes.
    pub(crate) fn amount(&self) -> (usize, usize) {
        let waiting = self.waiting.lock();
        (waiting.by_number.len(), waiting.bytes)
    }

    /// Those that an operator asks for.
    pub(crate) fn list(&self, query: &Query) -> Page {
        let limit = query.limit.min(PAGE_MAX);
        let mut page = Page::default();
        let mut after = query.after;
        loop {
            let waiting = self.waiting.lock();
            let mut looked_at = 0;
            for message in waiting.from(after).take(LOOKED_AT) {
                looked_at += 1;
                after = Some(message.number);
                if !query.wants(message) {
                    continue;
                }
                if page.items.len() == limit {
                    page.more = true;
                    return page;
                }
                page.items.push(DelayedInfo::of(message));
            }
            if looked_at < LOOKED_AT {
                return page;
            }
        }
    }

    /// Appends those that wait to the log again, a few under each lock. What comes meanwhile has a higher number, or a record of
    /// its own behind the call.
    pub(crate) fn record_all(&self, records: &Records) {
        let mut after = None;
        loop {
            let waiting = self.waiting.lock();
            let mut looked_at = 0;
            for message in waiting.from(after).take(LOOKED_AT) {
                looked_at += 1;
                after = Some(message.number);
                if message.qos > QoS::AtMostOnce {
                    records.delayed(message, None);
                }
            }
            if looked_at < LOOKED_AT {
                return;
            }
        }
    }
}

/// One of QoS 0 is in no log.
fn forget(message: &RecordedDelayed, records: &Records) -> Mark {
    if message.qos == QoS::AtMostOnce { Mark::default() } else { records.delayed_gone(message.number) }
}

impl Query {
    fn wants(&self, message: &RecordedDelayed) -> bool {
        self.client.as_deref().is_none_or(|client| *client == *message.client_id)
            && self.topic.as_deref().is_none_or(|filter| topic::matches(filter, &message.topic))
    }
}

impl DelayedInfo {
    fn of(message: &RecordedDelayed) -> Self {
        Self {
            number: message.number,
            topic: Arc::clone(&message.topic),
            due_ms: message.due_ms,
            qos: message.qos,
            retain: message.retain,
            size: message.size(),
            client_id: Arc::clone(&message.client_id),
            user: message.user.clone(),
        }
    }
}

/// Takes a message that is to be published later. An acknowledgement waits for the mark. Drops are counted.
pub(crate) fn take(
    core: &Core,
    principal: &dyn Principal,
    client_id: &Arc<str>,
    seconds: u32,
    message: &Outgoing<'_>,
) -> Result<Mark, Dropped> {
    let taken = check(core, principal, message).and_then(|()| {
        if was_taken(message.served) {
            return Ok(Mark::default());
        }
        let delay = Duration::from_secs(seconds.into());
        let due_ms = clock::unix_ms().saturating_add(u64::from(seconds) * 1000);
        let make = |number| RecordedDelayed {
            number,
            client_id: Arc::clone(client_id),
            user: principal.user().map(Arc::from),
            due_ms,
            topic: message.topic.into(),
            // A copy: it may wait for long, and must not keep a read buffer alive.
            payload: Bytes::copy_from_slice(message.payload),
            qos: message.qos,
            retain: message.retained,
            properties: Bytes::copy_from_slice(message.properties),
            message_expiry: message.expiry.map(|expiry| expiry.seconds),
            served: Arc::default(),
        };
        let append = |delayed: &RecordedDelayed| match delayed.qos {
            QoS::AtMostOnce => Mark::default(),
            _ => core.records.delayed(delayed, message.origin),
        };
        let size = message.topic.len() + message.payload.len() + message.properties.len();
        let at = clock::now() + delay;
        core.delayed.add(at, size, core, make, append).ok_or(Dropped::DelayedFull)
    });
    if let Err(reason) = taken {
        core.metrics.dropped(reason, 1);
    }
    taken
}

/// May it be published on its topic, as far as that is known already?
fn check(core: &Core, principal: &dyn Principal, message: &Outgoing<'_>) -> Result<(), Dropped> {
    let topic = message.topic;
    if sys::owns(topic) {
        return Err(Dropped::Reserved);
    }
    if core.hot.is_too_long(topic) {
        return Err(Dropped::TopicTooLong);
    }
    match principal.rights() {
        Some(rights) => match rights.publish(topic, message.retained, message.payload.is_empty()) {
            Permission::Denied => Err(Dropped::PublishDenied),
            Permission::Once | Permission::Always => Ok(()),
        },
        None => Ok(()),
    }
}

/// Publishes what waits, each when its time has come.
pub(crate) async fn publish_due(core: Arc<Core>, mut stop: Stop) {
    loop {
        let next = publish_some(&core);
        tokio::select! {
            biased;
            () = stop.stopped() => return,
            () = core.delayed.earlier.notified() => {}
            () = tokio::time::sleep_until(next) => {}
        }
        // Between two of many batches, too, others have their turn.
        tokio::task::yield_now().await;
    }
}

/// Publishes a few of those whose time has come; answers when to go on.
fn publish_some(core: &Core) -> Instant {
    let now = clock::now();
    worker::with(|worker| {
        let mut next = now;
        for _ in 0..AT_ONCE {
            match core.delayed.begin(now) {
                Ok(message) => publish(core, &message, &mut worker.routing),
                Err(later) => {
                    next = later.unwrap_or(now + PAUSE);
                    break;
                }
            }
        }
        worker.routing.finish(None, core);
        next
    })
}

/// Publishes a message whose time has come, with the rights that its publisher has now.
fn publish(core: &Core, delayed: &RecordedDelayed, routing: &mut Routing) {
    let principal = core.hooks.restored(&delayed.client_id, delayed.user.as_deref());
    let message = Outgoing {
        retained: delayed.retain,
        properties: &delayed.properties,
        expiry: delayed.message_expiry.map(|seconds| Expiry::after(seconds, clock::unix_ms())),
        publisher: core.registry.get(&delayed.client_id).map(|client| client.subscriber),
        origin: (delayed.qos > QoS::AtMostOnce).then(|| delayed.origin()),
        served: &delayed.served,
        ..Outgoing::with_shared(&delayed.topic, &delayed.payload, delayed.qos)
    };
    match accept(core, &*principal, &message, routing) {
        Accepted::Routed(routed) => {
            routing.unanswered = routing.unanswered.max(routed.mark);
            core.metrics.delayed_released.add(1);
        }
        Accepted::Dropped(reason) => {
            let (client, topic) = (&*delayed.client_id, &*delayed.topic);
            core.note_loss(client, &*principal, &message, reason);
            tracing::info!(client, topic, ?reason, "delayed message not published");
        }
        // It has no condition.
        Accepted::Conflict(_) => {}
        Accepted::Unavailable => return core.delayed.put_off(delayed.number, clock::now() + RETRY),
    }
    let mark = core.delayed.end(delayed.number, &core.records);
    routing.unanswered = routing.unanswered.max(mark);
}

#[cfg(test)]
mod tests;
