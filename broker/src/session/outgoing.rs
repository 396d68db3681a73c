//! Messages to the client at QoS 1 and 2: what is under way, the queue behind it, and the flows that end them.
//!
//! Everything leaves in the order of arrival: a message may be sent at once only if nothing waits before it.

use std::collections::VecDeque;
use std::sync::Arc;

use super::inflight::{Awaiting, Flight, Inflight};
use super::record::{self, Log};
use super::replay::ReplayRoom;
use super::{PacketId, SessionLimits};
use crate::message::{Message, QoS, Terms};

/// An empty queue keeps room for so many messages.
const SPARE_MESSAGES: usize = 256;
/// A replay keeps at least so many messages waiting behind the window.
const REPLAY_AHEAD: usize = 16;
/// A replay uses this part of the queue at most; the rest is for live messages.
const REPLAY_SHARE: usize = 4;

/// What a full queue drops.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DropPolicy {
    /// The message that arrives is dropped: what is already promised stays.
    #[default]
    Newest,
    /// The oldest waiting messages make room.
    Oldest,
}

/// Where a delivery may go, as far as the session can't know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// The client's outbox takes the message.
    pub outbox: bool,
    /// The queues of all sessions together have room.
    pub queues: bool,
}

impl Room {
    /// Room everywhere.
    pub const FREE: Self = Self { outbox: true, queues: true };
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// It is under way: append the PUBLISH to the outbox now, with this identifier and DUP 0 [MQTT-3.3.1-1].
    Send {
        /// The packet identifier.
        packet_id: PacketId,
    },
    /// It waits in the queue.
    Queued {
        /// How many older messages were dropped to make room.
        displaced: usize,
    },
    /// It is lost to this client.
    Dropped(DropReason),
}

/// Why a message was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropReason {
    /// QoS 0 has no place in a session.
    AtMostOnce,
    /// The session's queue is full.
    QueueFull,
    /// The queues of all sessions together are full.
    QueuesFull,
}

/// A packet to be sent now.
#[derive(Clone, Debug)]
pub enum Transmit {
    /// A PUBLISH.
    Publish {
        /// The packet identifier.
        packet_id: PacketId,
        /// Whether it was sent before, on an earlier connection [MQTT-3.3.1-1].
        dup: bool,
        /// Topic, payload and properties.
        message: Arc<Message>,
        /// The effective QoS, the RETAIN flag, and what the subscription asks for.
        terms: Terms,
    },
    /// A PUBREL, sent before on an earlier connection.
    Pubrel {
        /// The packet identifier.
        packet_id: PacketId,
    },
}

impl Transmit {
    /// The packet identifier.
    #[must_use]
    pub fn packet_id(&self) -> PacketId {
        match self {
            Self::Publish { packet_id, .. } | Self::Pubrel { packet_id } => *packet_id,
        }
    }
}

/// How an acknowledgement fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ack {
    /// It moved its flow on.
    Known,
    /// It says what is known already (a repeated PUBREC).
    Repeated,
    /// No flow has this identifier.
    Unknown,
}

/// An acknowledgement that does not belong to the flow of its identifier. The state is as before; the connection is to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{got} for packet identifier {}, for which {expected} is due", .id.get())]
pub struct WrongAck {
    /// The packet identifier.
    pub id: PacketId,
    /// What the client sent.
    pub got: &'static str,
    /// What it should have sent.
    pub expected: &'static str,
}

#[derive(Clone, Debug)]
struct Queued {
    message: Arc<Message>,
    terms: Terms,
}

/// A message that came by a shared subscription and that its session could not deliver: another member is to get it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unanswered {
    /// The message.
    pub message: Arc<Message>,
    /// Whether it was to be delivered with RETAIN 1.
    pub retain: bool,
    /// The shared subscription, `$share/GROUP/FILTER`.
    pub share: Arc<str>,
}

/// What is on its way to the client.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    inflight: Inflight,
    /// How many of `inflight`, from the oldest, were sent on the present connection. Short of all only while a resumed session
    /// sends again.
    sent: usize,
    queue: VecDeque<Queued>,
    queue_bytes: usize,
    /// The client's own limit on what is under way to it, if it has set one [MQTT5-3.3.4-9].
    receive_maximum: Option<u16>,
    /// Messages that were dropped since their time was over, until somebody counts them.
    expired: usize,
}

impl Outgoing {
    pub(super) fn inflight(&self) -> usize {
        self.inflight.len()
    }

    pub(super) fn queued_messages(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn queued_bytes(&self) -> usize {
        self.queue_bytes
    }

    pub(super) fn can_transmit(&self, limits: &SessionLimits) -> bool {
        self.may_resend() || (!self.queue.is_empty() && self.window_open(limits))
    }

    fn may_resend(&self) -> bool {
        self.sent < self.inflight.len()
            && self.receive_maximum.is_none_or(|maximum| self.sent < usize::from(maximum))
    }

    fn window_open(&self, limits: &SessionLimits) -> bool {
        self.inflight.len() < self.window(limits)
    }

    fn window(&self, limits: &SessionLimits) -> usize {
        usize::from(self.receive_maximum.unwrap_or(u16::MAX).min(limits.inflight).max(1))
    }

    /// Takes the number of messages that were dropped since their time was over.
    pub(super) fn take_expired(&mut self) -> usize {
        std::mem::take(&mut self.expired)
    }

    pub(super) fn deliver(
        &mut self,
        message: &Arc<Message>,
        terms: &Terms,
        room: Room,
        limits: &SessionLimits,
    ) -> Delivery {
        if terms.qos == QoS::AtMostOnce {
            return Delivery::Dropped(DropReason::AtMostOnce);
        }
        let first = self.queue.is_empty() && self.sent == self.inflight.len();
        if room.outbox
            && first
            && self.window_open(limits)
            && let Some(packet_id) = self.inflight.allocate()
        {
            self.launch(packet_id, message.clone(), terms.clone());
            return Delivery::Send { packet_id };
        }
        if !room.queues {
            return Delivery::Dropped(DropReason::QueuesFull);
        }
        self.enqueue(message, terms, limits)
    }

    fn launch(&mut self, id: PacketId, message: Arc<Message>, terms: Terms) {
        self.inflight.push(Flight {
            id,
            awaiting: Awaiting::first(terms.qos),
            message: Some(message),
            terms,
        });
        self.sent = self.inflight.len();
    }

    fn enqueue(&mut self, message: &Arc<Message>, terms: &Terms, limits: &SessionLimits) -> Delivery {
        let size = message.size();
        let fits_alone = limits.queue_messages > 0 && size <= limits.queue_bytes;
        let mut displaced = 0;
        while self.queue.len() >= limits.queue_messages
            || self.queue_bytes.saturating_add(size) > limits.queue_bytes
        {
            if limits.queue_drop == DropPolicy::Newest || !fits_alone || self.pop_queue().is_none() {
                return Delivery::Dropped(DropReason::QueueFull);
            }
            displaced += 1;
        }
        self.push_queue(message.clone(), terms.clone());
        Delivery::Queued { displaced }
    }

    fn push_queue(&mut self, message: Arc<Message>, terms: Terms) {
        self.queue_bytes += message.size();
        self.queue.push_back(Queued { message, terms });
    }

    fn pop_queue(&mut self) -> Option<Queued> {
        let first = self.queue.pop_front()?;
        self.queue_bytes -= first.message.size();
        if self.queue.is_empty() && self.queue.capacity() > SPARE_MESSAGES {
            self.queue = VecDeque::new();
        }
        Some(first)
    }

    /// A new connection, on which the client takes so much at a time: everything under way is to be sent again.
    pub(super) fn resend_all(&mut self, receive_maximum: Option<u16>) {
        self.sent = 0;
        self.receive_maximum = receive_maximum;
    }

    pub(super) fn poll_resend(&mut self) -> Option<Transmit> {
        if !self.may_resend() {
            return None;
        }
        let flight = self.inflight.get(self.sent)?;
        self.sent += 1;
        Some(match &flight.message {
            Some(message) => Transmit::Publish {
                packet_id: flight.id,
                dup: true,
                message: message.clone(),
                terms: flight.terms.clone(),
            },
            None => Transmit::Pubrel { packet_id: flight.id },
        })
    }

    /// Takes the first message of the queue into the window.
    pub(super) fn poll_promote(&mut self, limits: &SessionLimits) -> Option<Transmit> {
        if self.queue.is_empty() || self.sent < self.inflight.len() || !self.window_open(limits) {
            return None;
        }
        let packet_id = self.inflight.allocate()?;
        let Queued { message, terms } = self.pop_queue()?;
        self.launch(packet_id, message.clone(), terms.clone());
        Some(Transmit::Publish { packet_id, dup: false, message, terms })
    }

    /// Drops the first message of the queue if its time is over [MQTT5-3.3.2-5].
    pub(super) fn drop_expired(&mut self, now_ms: u64) -> bool {
        let over = self.queue.front().is_some_and(|first| first.message.is_expired(now_ms));
        if over {
            self.pop_queue();
            self.expired += 1;
        }
        over
    }

    /// Messages of shared subscriptions that other members are to get when this session ends: those that wait, and those of QoS 1
    /// whose acknowledgement is missing. What was begun at QoS 2 stays with its session [MQTT 5: 4.8.2].
    pub(super) fn take_unanswered(&mut self) -> Vec<Unanswered> {
        let mut unanswered = Vec::new();
        let mut note = |message: &Arc<Message>, terms: &Terms| {
            if let Some(share) = terms.special.as_ref().and_then(|special| special.share.clone()) {
                unanswered.push(Unanswered { message: message.clone(), retain: terms.retain, share });
            }
        };
        for flight in self.inflight.iter().filter(|flight| flight.awaiting == Awaiting::Puback) {
            if let Some(message) = &flight.message {
                note(message, &flight.terms);
            }
        }
        for Queued { message, terms } in &self.queue {
            note(message, terms);
        }
        unanswered
    }

    pub(super) fn handle_puback(&mut self, id: PacketId) -> Result<Ack, WrongAck> {
        self.finish(id, Awaiting::Puback)
    }

    pub(super) fn handle_pubcomp(&mut self, id: PacketId) -> Result<Ack, WrongAck> {
        self.finish(id, Awaiting::Pubcomp)
    }

    fn finish(&mut self, id: PacketId, got: Awaiting) -> Result<Ack, WrongAck> {
        let Some(index) = self.inflight.find(id) else { return Ok(Ack::Unknown) };
        match self.inflight.get(index) {
            Some(flight) if flight.awaiting != got => Err(wrong(flight, got)),
            _ => {
                self.remove(index);
                Ok(Ack::Known)
            }
        }
    }

    fn remove(&mut self, index: usize) {
        self.inflight.remove(index);
        if index < self.sent {
            self.sent -= 1;
        }
    }

    pub(super) fn handle_pubrec(&mut self, id: PacketId) -> Result<Ack, WrongAck> {
        let index = self.inflight.find(id);
        let Some(flight) = index.and_then(|index| self.inflight.get_mut(index)) else {
            return Ok(Ack::Unknown);
        };
        match flight.awaiting {
            Awaiting::Puback => Err(wrong(flight, Awaiting::Pubrec)),
            Awaiting::Pubcomp => Ok(Ack::Repeated),
            Awaiting::Pubrec => {
                flight.awaiting = Awaiting::Pubcomp;
                flight.message = None;
                flight.terms = Terms::default();
                Ok(Ack::Known)
            }
        }
    }

    /// The client refused a QoS 2 message: its flow ends without PUBREL [MQTT 5: 4.3.3].
    pub(super) fn handle_refusal(&mut self, id: PacketId) -> Result<Ack, WrongAck> {
        let Some(index) = self.inflight.find(id) else { return Ok(Ack::Unknown) };
        match self.inflight.get(index) {
            Some(flight) if flight.awaiting == Awaiting::Puback => Err(wrong(flight, Awaiting::Pubrec)),
            _ => {
                self.remove(index);
                Ok(Ack::Known)
            }
        }
    }

    /// A message is too large for the client: its flow ends, whatever it waits for.
    pub(super) fn end_flow(&mut self, id: PacketId) -> bool {
        let index = self.inflight.find(id);
        index.inspect(|index| self.remove(*index)).is_some()
    }

    pub(super) fn replay_room(&self, limits: &SessionLimits) -> ReplayRoom {
        let window = self.window(limits);
        let ahead = (2 * window).max(REPLAY_AHEAD).min(limits.queue_messages / REPLAY_SHARE).max(1);
        let bytes = (limits.queue_bytes / REPLAY_SHARE).max(1);
        if self.queue.len() >= ahead || self.queue_bytes >= bytes {
            return ReplayRoom { messages: 0, bytes: 0 };
        }
        let flights = window.saturating_sub(self.inflight.len());
        ReplayRoom { messages: flights + ahead - self.queue.len(), bytes: bytes - self.queue_bytes }
    }

    pub(super) fn clear(&mut self) {
        *self = Self { receive_maximum: self.receive_maximum, expired: self.expired, ..Self::default() };
    }

    pub(super) fn record_all(&self, sid: u64, log: &mut dyn Log) {
        for flight in self.inflight.iter() {
            match &flight.message {
                Some(message) => {
                    record::enqueue_inline(log, sid, message, &flight.terms, Some(flight.id));
                }
                None => record::releasing(log, sid, flight.id),
            }
        }
        for queued in &self.queue {
            record::enqueue_inline(log, sid, &queued.message, &queued.terms, None);
        }
    }
}

fn wrong(flight: &Flight, got: Awaiting) -> WrongAck {
    let name = |awaiting| match awaiting {
        Awaiting::Puback => "PUBACK",
        Awaiting::Pubrec => "PUBREC",
        Awaiting::Pubcomp => "PUBCOMP",
    };
    WrongAck { id: flight.id, got: name(got), expected: name(flight.awaiting) }
}

/// Records played back. Each answers whether the record fits what came before it.
impl Outgoing {
    pub(super) fn restore_enqueue(
        &mut self,
        message: Arc<Message>,
        terms: Terms,
        id: Option<PacketId>,
    ) -> bool {
        match id {
            None => self.push_queue(message, terms),
            Some(id) if self.inflight.find(id).is_some() => return false,
            Some(id) => self.launch(id, message, terms),
        }
        true
    }

    pub(super) fn restore_sent(&mut self, id: PacketId) -> bool {
        if self.inflight.find(id).is_some() {
            return false;
        }
        let Some(Queued { message, terms }) = self.pop_queue() else { return false };
        self.launch(id, message, terms);
        true
    }

    pub(super) fn restore_dropped(&mut self) -> bool {
        self.pop_queue().is_some()
    }

    pub(super) fn restore_acked(&mut self, id: PacketId) -> bool {
        let Some(index) = self.inflight.find(id) else { return false };
        self.remove(index);
        true
    }

    pub(super) fn restore_received(&mut self, id: PacketId) -> bool {
        self.handle_pubrec(id) == Ok(Ack::Known)
    }

    pub(super) fn restore_releasing(&mut self, id: PacketId) -> bool {
        if self.inflight.find(id).is_some() {
            return false;
        }
        let (message, terms) = (None, Terms::default());
        self.inflight.push(Flight { id, awaiting: Awaiting::Pubcomp, message, terms });
        self.sent = self.inflight.len();
        true
    }

    /// Removes messages that were recorded without a body; see [`super::recovery`]. Returns how many.
    pub(super) fn remove_lost(&mut self, lost: impl Fn(&Message) -> bool) -> u64 {
        let before = self.queue.len() + self.inflight.len();
        self.queue.retain(|queued| !lost(&queued.message));
        self.inflight.retain(|flight| !flight.message.as_ref().is_some_and(|message| lost(message)));
        self.sent = self.inflight.len();
        (before - self.queue.len() - self.inflight.len()) as u64
    }
}
