//! Replays of retained messages to this client: each is taken in slices, in turn with the others, when the outbox (and at QoS 1
//! and 2 the window and the queue) has room. What is owed is the session's; here are the positions.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use tokio::time::Instant;

use super::requests;
use super::restraint::{Allowed, Restraint};
use crate::broker::Core;
use crate::clock;
use crate::hooks::{Principal, Progress, Replay, RetainedMessage};
use crate::message::{Message, QoS, Special, Terms};
use crate::metrics::Dropped;
use crate::registry::Client;
use crate::router::{Expiry, Frames, Grant, Outgoing, Routing, put};
use crate::session::{Delivery, PendingReplay, ReplayId, Room, Session};
use crate::{sys, topic};

/// Messages of one slice, at most.
const SLICE_MESSAGES: usize = 256;
/// Bytes of one slice, about.
const SLICE_BYTES: usize = 64 << 10;
/// Replays looked at for one that may go on.
const TURNS: usize = 16;
/// No slice while so much waits in the outbox.
const FULL_BYTES: usize = 64 << 10;
/// Replays of one connection whose end is still to be told; of more it is not told.
const MARKERS: usize = 32;
/// What these may name together, in bytes of filters.
const MARKED_BYTES: usize = 256 << 10;
/// What each filter takes beside its bytes.
const FILTER_BYTES: usize = 32;

/// See the module.
#[derive(Default)]
pub(super) struct Replays {
    /// None is owed.
    none: bool,
    last: Option<ReplayId>,
    under_way: HashMap<ReplayId, Box<dyn Replay>>,
    markers: Vec<Marker>,
    restraint: Restraint,
    /// Nothing is given before this moment.
    held_until: Option<Instant>,
}

/// The replays that one packet is owed.
pub(super) type Owed = HashSet<ReplayId, foldhash::fast::RandomState>;

/// The end of the replays of one packet, which the client wants to be told. It belongs to the connection: a client that comes back
/// asks again.
#[derive(Debug)]
pub(super) struct Marker {
    name: String,
    filters: Vec<String>,
    /// What the client asked for without being subscribed to it.
    unknown: Vec<String>,
    /// What all of these take.
    bytes: usize,
    /// Replays that are not yet at their end.
    open: Owed,
    /// Messages handed over so far.
    messages: u64,
}

impl Marker {
    /// A marker for the replays that a packet is about to be owed.
    pub(super) fn new(name: &str) -> Self {
        let (filters, unknown) = (Vec::new(), Vec::new());
        Self { name: name.to_owned(), filters, unknown, bytes: 0, open: Owed::default(), messages: 0 }
    }

    /// A filter whose replay is owed.
    pub(super) fn names(&mut self, filter: &str) {
        if self.has_room(filter) {
            self.filters.push(filter.to_owned());
        }
    }

    /// A filter that could not be replayed.
    pub(super) fn lacks(&mut self, filter: &str) {
        if self.has_room(filter) {
            self.unknown.push(filter.to_owned());
        }
    }

    /// Counts a filter. What is beyond the limit is not kept: such a marker is never told.
    fn has_room(&mut self, filter: &str) -> bool {
        self.bytes = self.bytes.saturating_add(filter.len() + FILTER_BYTES);
        self.bytes <= MARKED_BYTES
    }

    /// What the client is told, as JSON.
    fn text(&self, tock: u64) -> String {
        let mut text = format!(r#"{{"messages":{},"filters":{}"#, self.messages, list(&self.filters));
        if !self.unknown.is_empty() {
            text += &format!(r#","not_subscribed":{}"#, list(&self.unknown));
        }
        text + &format!(r#","tock":{tock}}}"#)
    }
}

/// A JSON list of strings.
fn list(texts: &[String]) -> String {
    let quoted: Vec<String> = texts.iter().map(|text| quoted(text)).collect();
    format!("[{}]", quoted.join(","))
}

/// A JSON string.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

impl fmt::Debug for Replays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replays").field("none", &self.none).field("last", &self.last).finish_non_exhaustive()
    }
}

impl Replays {
    /// Positions for a connection whose session may owe some from before.
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// The session may owe some: it has subscribed, or has come back.
    pub(super) fn look(&mut self) {
        self.none = false;
    }

    /// The client has subscribed, and may be about to do so again.
    pub(super) fn subscribed(&mut self, now: Instant) {
        self.restraint.subscribed(now);
        self.look();
    }

    /// When to come back, if replays are held back until then.
    pub(super) fn held_until(&self) -> Option<Instant> {
        self.held_until
    }

    /// Takes one slice, if there is room. Answers whether that brought anything forward. `mount` is the mount point of the client's
    /// listener.
    pub(super) fn advance(
        &mut self,
        client: &Arc<Client>,
        principal: &dyn Principal,
        mount: Option<&str>,
        now: Instant,
        routing: &mut Routing,
        core: &Core,
    ) -> bool {
        self.held_until = None;
        if self.none || client.outbox.held_bytes() >= FULL_BYTES {
            return false;
        }
        if self.tell_ends(client, mount, routing, core) {
            return true;
        }
        let (few_messages, few_bytes) = match self.restraint.allowed(now) {
            Allowed::All => (SLICE_MESSAGES, SLICE_BYTES),
            Allowed::Few(messages, bytes) => (messages, bytes),
            Allowed::Nothing(until) => {
                self.held_until = Some(until);
                return false;
            }
        };
        let Some((turn, messages, bytes)) = self.next_turn(client, core) else { return false };
        let (messages, bytes) = (messages.min(few_messages), bytes.min(few_bytes));
        let replay = self.under_way.entry(turn.id).or_insert_with(|| {
            core.metrics.replays_pending.add(1);
            if sys::owns(&turn.filter) {
                sys::replay(&core.sys, &turn.filter)
            } else {
                principal.replay(&turn.filter)
            }
        });
        let rights = principal.rights();
        let giver = Giver::new(client, &turn, core);
        let (mut handed, mut handed_bytes) = (0, 0);
        let progress = replay.slice(messages, bytes, &mut |retained| {
            if rights.is_none_or(|rights| rights.receive(retained.topic)) {
                giver.hand_over(&retained, routing);
                handed += 1;
                handed_bytes += retained.topic.len() + retained.payload.len();
            }
        });
        self.restraint.charge(handed, handed_bytes);
        for marker in self.markers.iter_mut().filter(|marker| marker.open.contains(&turn.id)) {
            marker.messages += handed as u64;
            if progress == Progress::Done {
                marker.open.retain(|open| *open != turn.id);
            }
        }
        if progress == Progress::Done {
            self.under_way.remove(&turn.id);
            core.metrics.replays_pending.sub(1);
            client.lock().session().replay_done(turn.id, &mut core.records.recorder());
        }
        true
    }

    /// The client wants to know when these replays are over.
    pub(super) fn mark(&mut self, marker: Marker, core: &Core) {
        let bytes: usize = self.markers.iter().map(|marker| marker.bytes).sum();
        if self.markers.len() < MARKERS && bytes.saturating_add(marker.bytes) <= MARKED_BYTES {
            self.markers.push(marker);
        } else {
            core.metrics.dropped(Dropped::Quota, 1);
        }
        self.look();
    }

    /// A packet is owed a replay, whose end `marker` is to tell. If it takes the place of an earlier one of its filter, who waits for that
    /// one's end waits for the new one's.
    pub(super) fn owe(
        &mut self,
        before: Option<ReplayId>,
        now: Option<ReplayId>,
        marker: Option<&mut Marker>,
    ) {
        if let (Some(before), Some(now)) = (before, now) {
            for marker in &mut self.markers {
                if marker.open.remove(&before) {
                    marker.open.insert(now);
                }
            }
        }
        if let Some(marker) = marker {
            if let Some(before) = before {
                marker.open.remove(&before);
            }
            marker.open.extend(now);
        }
    }

    /// Subscriptions are gone: their replays are over.
    pub(super) fn cut_short(&mut self, client: &Client) {
        if self.markers.is_empty() {
            return;
        }
        let mut locked = client.lock();
        for marker in &mut self.markers {
            marker.open.retain(|open| locked.session().is_owed(*open));
        }
        self.look();
    }

    /// Tells the client which replays have come to their end, if it has a subscription by which it gets that.
    fn tell_ends(
        &mut self,
        client: &Arc<Client>,
        mount: Option<&str>,
        routing: &mut Routing,
        core: &Core,
    ) -> bool {
        let Some(at) = self.markers.iter().position(|marker| marker.open.is_empty()) else { return false };
        // What waits in the queue is of the replay, or before it.
        if client.has_queue() {
            return false;
        }
        let marker = self.markers.remove(at);
        let topic = format!("{}{}", requests::REPLAY_TOPIC, marker.name);
        // As the client sees them: a wildcard behind a mount point is a wildcard.
        let ours = |filter: &str| {
            filter
                .strip_prefix(mount.unwrap_or_default())
                .is_some_and(|filter| topic::matches(filter, &topic))
        };
        let mut locked = client.lock();
        let subscriptions = locked.session().subscriptions().filter(|(filter, _)| ours(filter));
        let grant = Grant::of_all(subscriptions.map(|(_, subscription)| subscription));
        drop(locked);
        if let Some(grant) = grant {
            let topic = topic::mounted(mount, &topic);
            let text = marker.text(core.hooks.tock());
            let message = Outgoing::new(&topic, text.as_bytes(), QoS::AtLeastOnce);
            give(client, &message, &grant.terms(QoS::AtLeastOnce, false), routing, core);
        }
        true
    }

    /// Whose turn it is, and how much may come. `None`: nobody's, or the window and queue are full.
    fn next_turn(&mut self, client: &Client, core: &Core) -> Option<(PendingReplay, usize, usize)> {
        let mut locked = client.lock();
        let session = locked.session();
        if self.under_way.len() > session.replays() {
            let before = self.under_way.len();
            self.under_way.retain(|id, _| session.is_owed(*id));
            core.metrics.replays_pending.sub((before - self.under_way.len()) as u64);
        }
        if session.replays() == 0 {
            // Ends that are still to be told wait for room in the queue.
            self.none = self.markers.is_empty();
            self.under_way = HashMap::new();
            return None;
        }
        // Those of QoS 1 and 2 may have to wait while others may go on.
        for _ in 0..session.replays().min(TURNS) {
            let turn = session.next_replay(self.last)?;
            self.last = Some(turn.id);
            let (messages, bytes) = room(session, turn.subscription.qos);
            if messages > 0 {
                return Some((turn, messages, bytes));
            }
        }
        None
    }

    /// The connection ends: positions are lost, what is owed stays with the session.
    pub(super) fn forget(&mut self, core: &Core) {
        core.metrics.replays_pending.sub(self.under_way.len() as u64);
        self.under_way = HashMap::new();
    }
}

/// How much a replay at that QoS may hand over now.
fn room(session: &Session, qos: QoS) -> (usize, usize) {
    if qos > QoS::AtMostOnce {
        let room = session.replay_room();
        (room.messages.min(SLICE_MESSAGES), room.bytes.min(SLICE_BYTES))
    } else if session.queued_messages() > 0 {
        // What waits is older: the replay must not overtake it.
        (0, 0)
    } else {
        (SLICE_MESSAGES, SLICE_BYTES)
    }
}

/// Gives retained messages of one replay to the client: at most at the subscription's QoS and with RETAIN 1 [MQTT-3.3.1-8].
struct Giver<'a> {
    client: &'a Arc<Client>,
    special: Option<Arc<Special>>,
    qos: QoS,
    core: &'a Core,
}

impl<'a> Giver<'a> {
    fn new(client: &'a Arc<Client>, turn: &PendingReplay, core: &'a Core) -> Self {
        let grant = Grant::of_one(&turn.subscription);
        Self { client, special: grant.special, qos: grant.qos, core }
    }

    fn hand_over(&self, retained: &RetainedMessage<'_>, routing: &mut Routing) {
        let qos = QoS::from_u8(retained.qos).unwrap_or(QoS::ExactlyOnce);
        let message = Outgoing {
            shared: retained.shared,
            properties: retained.properties,
            expiry: retained.expires_at.map(|at| Expiry::at(at, clock::unix_ms())),
            provenance: retained.provenance.as_ref(),
            ..Outgoing::new(retained.topic, retained.payload, qos)
        };
        let terms = Terms { qos: qos.min(self.qos), retain: true, special: self.special.clone() };
        give(self.client, &message, &terms, routing, self.core);
    }
}

/// Gives a message to this client alone, in the order of what it gets; the caller has looked whether there is room.
fn give(client: &Client, message: &Outgoing<'_>, terms: &Terms, routing: &mut Routing, core: &Core) {
    let mut frames = Frames::new(message, routing.take_buffers());
    if terms.qos == QoS::AtMostOnce {
        if !put(&mut client.outbox.lock(), &mut frames, terms, None, false, &mut routing.dirty) {
            client.lose(Dropped::TooLarge, 1, message.topic, core);
        }
        routing.give_buffers(frames.into_buffers());
        return;
    }
    let provenance = terms.special.as_ref().is_some_and(|special| special.provenance);
    let kept: Arc<Message> = Arc::new(frames.keep(&message.topic.into(), provenance));
    let mut recorder = core.records.recorder();
    let mut locked = client.lock();
    let mut outbox = client.outbox.lock();
    if outbox.is_choosy() && !outbox.takes(frames.len_for(outbox.shape(), terms, true)) {
        client.lose(Dropped::TooLarge, 1, message.topic, core);
        routing.give_buffers(frames.into_buffers());
        return;
    }
    let room = Room { outbox: outbox.has_room(kept.size()), queues: true };
    match locked.session().deliver_replayed(&kept, terms, room, &mut recorder) {
        Delivery::Send { packet_id } => {
            put(&mut outbox, &mut frames, terms, Some(packet_id), false, &mut routing.dirty);
            outbox.mark(recorder.mark());
        }
        Delivery::Queued { .. } => locked.count_queue(core),
        Delivery::Dropped(_) => client.lose(Dropped::QueueFull, 1, message.topic, core),
    }
    routing.give_buffers(frames.into_buffers());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_replay_is_told_as_json() {
        let mut marker = Marker::new("x");
        marker.names("a/#");
        marker.names("say \"hi\"\\\n");
        marker.messages = 3;
        assert_eq!(marker.text(9), r#"{"messages":3,"filters":["a/#","say \"hi\"\\\u000a"],"tock":9}"#);
    }

    #[test]
    fn a_marker_holds_no_more_filters_than_its_connection_may_name() {
        let mut marker = Marker::new("x");
        let long = "x".repeat(1000);
        for _ in 0..10_000 {
            marker.names(&long);
            marker.lacks(&long);
        }
        assert!(marker.bytes > MARKED_BYTES);
        assert!((marker.filters.len() + marker.unknown.len()) * long.len() <= MARKED_BYTES);
    }
}
