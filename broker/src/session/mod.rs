//! One client's session as a state machine: packet identifiers, QoS 1 and 2 flows, in-flight window, queue, subscriptions,
//! pending replays, will, age; and its changes as records, from which it is restored after a restart.
//!
//! Nothing here reads a clock, a socket or a file. The caller keeps one [`Session`] per client behind a mutex and calls
//!
//! - *getters*, which change nothing;
//! - *commands*, which the broker wants done: [`Session::connect`], [`Session::disconnect`], [`Session::deliver`],
//!   [`Session::subscribe`], [`Session::unsubscribe`], [`Session::checkpoint`], [`Session::end`];
//! - *handlers* of what the client sent: [`Session::handle_puback`] and the other `handle_*`;
//! - [`Session::poll_transmit`] for what may leave now: after a `connect`, after each acknowledgement, and when an
//!   outbox that was full has room again. It must be called until it answers `None` or the outbox is full.
//!
//! **Order.** Whoever puts a delivery into the outbox does so before it lets go of the session's mutex.
//!
//! **Durability.** Methods that change what must survive take a [`Log`] and append records to it while the mutex is held. What a
//! method lets the caller send (CONNACK, PUBLISH, PUBREC, PUBREL, PUBCOMP, SUBACK) must not leave before those records, and all before
//! them on the same connection, are settled: a client that has seen a packet identifier or the end of a flow may not meet a broker
//! which has forgotten it. (Since CONNACK waits, what an earlier connection recorded is settled as well.)
//! A clean session appends nothing but its will.

mod check;
mod delayed;
mod incoming;
mod inflight;
mod outgoing;
pub mod record;
mod recovery;
mod replay;
mod subscriptions;
mod will;

use std::sync::Arc;
use std::time::Duration;

pub use self::check::{CheckReport, check_operations};
pub use self::delayed::{RecordedDelayed, was_taken};
pub use self::incoming::Incoming;
pub use self::outgoing::{Ack, Delivery, DropPolicy, DropReason, Room, Transmit, Unanswered, WrongAck};
pub use self::record::{Log, NoLog, Origin};
pub use self::recovery::{Recovered, Recovery, RecoveryError};
pub use self::replay::{PendingReplay, ReplayId, ReplayRoom};
pub use self::subscriptions::{Subscription, TooManySubscriptions};
pub use self::will::{RecordedWill, Will};
pub use crate::codec::{PacketId, ProtocolVersion};
use crate::message::{Message, Terms};

use self::incoming::IncomingIds;
use self::outgoing::Outgoing;
use self::subscriptions::Subscriptions;

/// The limits of one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionLimits {
    /// Messages of QoS 1 and 2 under way without their last acknowledgement; the next ones wait in the queue. At least 1.
    pub inflight: u16,
    /// Messages in the queue; at the limit see `queue_drop`.
    pub queue_messages: usize,
    /// Bytes (topics and payloads) in the queue; as for messages.
    pub queue_bytes: usize,
    /// What a full queue drops.
    pub queue_drop: DropPolicy,
    /// Subscriptions; one more is refused.
    pub subscriptions: usize,
    /// QoS 2 messages from the client that wait for its PUBREL; one more is a breach of the protocol. All there can be (65 535)
    /// take 8 KiB.
    pub incoming: u16,
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self {
            inflight: 20,
            queue_messages: 10_000,
            queue_bytes: 64 << 20,
            queue_drop: DropPolicy::Newest,
            subscriptions: 20_000,
            incoming: u16::MAX,
        }
    }
}

/// What a CONNECT says about the session.
#[derive(Clone, Debug)]
pub struct Connect {
    /// Nothing from before is used [MQTT-3.1.2-6] [MQTT5-3.1.2-4].
    pub clean: bool,
    /// For how many seconds the session outlives its connection; `None`: as long as the broker keeps any. With 0 nothing of a new
    /// session is recorded. (In MQTT 3 a clean session has 0, any other `None`.)
    pub expiry: Option<u32>,
    /// How many messages of QoS 1 and 2 the client takes at a time, if it says so [MQTT5-3.3.4-9].
    pub receive_maximum: Option<u16>,
    /// The user who logged in.
    pub user: Option<Arc<str>>,
    /// The protocol version of this connection.
    pub version: ProtocolVersion,
    /// The will, and a number for it that no other will of this log has or had.
    pub will: Option<(u64, Will)>,
}

/// What [`Session::connect`] did.
#[derive(Debug)]
pub struct Connected {
    /// The flag of the CONNACK [MQTT-3.2.2-2, 3.2.2-3].
    pub session_present: bool,
    /// Names this connection; see [`Session::is_current`].
    pub epoch: u64,
    /// Filters that are not subscribed any more, since an earlier session of this client was thrown away.
    pub unsubscribed: Vec<Arc<str>>,
    /// The will of the connection that is taken over, if it was still there. The caller publishes it [MQTT-3.1.2-8] and appends
    /// [`record::will_gone`] when that is done.
    pub will: Option<RecordedWill>,
}

/// What [`Session::disconnect`] did.
#[derive(Debug)]
pub struct Disconnected {
    /// The session does not outlive its connection: the caller ends it, removes its subscriptions and forgets it.
    pub over: bool,
    /// The will; the caller appends [`record::will_gone`] when it is published. If it has a time at which it is
    /// [`RecordedWill::due`], it waits until then, and is discarded if the client comes back before [MQTT5-3.1.3-9].
    /// `None` after a DISCONNECT [MQTT-3.1.2-10].
    pub will: Option<RecordedWill>,
}

/// Why a connection ended, as far as the session has to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goodbye {
    /// The client sent DISCONNECT: its will is discarded [MQTT-3.14.4-3].
    Disconnect,
    /// Anything else: its will is to be published.
    Lost,
}

/// How many seconds a connection with that keep alive may be silent [MQTT-3.1.2-24]; `None`: for ever.
#[must_use]
pub fn keep_alive_timeout(keep_alive: u16) -> Option<Duration> {
    (keep_alive > 0).then(|| Duration::from_millis(u64::from(keep_alive) * 1500))
}

/// One client's session.
#[derive(Debug)]
pub struct Session {
    /// The session's number in the log.
    sid: u64,
    client_id: Arc<str>,
    user: Option<Arc<str>>,
    version: ProtocolVersion,
    /// Whether its changes are recorded, so that it survives a restart.
    recorded: bool,
    /// For how many seconds it outlives its connection; `None`: as long as the broker keeps any.
    expiry: Option<u32>,
    limits: SessionLimits,
    /// Seconds of Unix time at which the session began.
    created: u64,
    /// Seconds of Unix time since when it has no connection; `None` while it has one.
    away_since: Option<u64>,
    /// Grows with each connection.
    epoch: u64,
    /// The log's generation at the last record from which the whole session can be rebuilt.
    generation: u64,
    outgoing: Outgoing,
    incoming: IncomingIds,
    subscriptions: Subscriptions,
    will: Option<RecordedWill>,
}

/// Life of a session.
impl Session {
    /// A session for a client that has none. It is not connected and nothing is recorded before [`Session::connect`]. `sid` is a
    /// number that no other session of this log has or had.
    #[must_use]
    pub fn new(sid: u64, client_id: Arc<str>, limits: SessionLimits, now: u64) -> Self {
        Self {
            sid,
            client_id,
            user: None,
            version: ProtocolVersion::V3_1_1,
            recorded: false,
            expiry: Some(0),
            limits,
            created: now,
            away_since: Some(now),
            epoch: 0,
            generation: 0,
            outgoing: Outgoing::default(),
            incoming: IncomingIds::default(),
            subscriptions: Subscriptions::default(),
            will: None,
        }
    }

    /// Begins a connection: the session is taken up where it was left, or begins anew. A connection that it still has is taken
    /// over; its late inputs are those of an old epoch. Next, the caller sends CONNACK and polls [`Session::poll_transmit`].
    pub fn connect(&mut self, connect: Connect, now: u64, log: &mut dyn Log) -> Connected {
        let session_present = self.recorded && !connect.clean;
        let will = self.will.take();
        self.away_since = None;
        let unsubscribed = if session_present { Vec::new() } else { self.begin_anew(&connect, now, log) };
        self.user = connect.user;
        self.version = connect.version;
        self.expiry = connect.expiry;
        self.epoch += 1;
        self.outgoing.resend_all(connect.receive_maximum);
        if session_present {
            record::present(log, self.sid, self.user.as_deref(), self.version);
        }
        if self.recorded && self.expiry.is_some() {
            record::expiry(log, self.sid, self.expiry);
        }
        if let Some((number, new)) = connect.will {
            let recorded = RecordedWill {
                number,
                client_id: self.client_id.clone(),
                user: self.user.clone(),
                will: Arc::new(new),
                due: None,
            };
            record::will(log.buffer(), &recorded);
            log.append();
            self.will = Some(recorded);
        }
        Connected { session_present, epoch: self.epoch, unsubscribed, will }
    }

    /// Throws away everything but the identity and begins a session as `connect` wants it. Returns the filters it had.
    fn begin_anew(&mut self, connect: &Connect, now: u64, log: &mut dyn Log) -> Vec<Arc<str>> {
        let unsubscribed = self.subscriptions.iter().map(|(filter, _)| filter.clone()).collect();
        self.end(log);
        self.created = now;
        self.recorded = connect.expiry != Some(0);
        if self.recorded {
            self.generation = log.generation();
            record::start(log, &self.head(connect.user.as_deref(), connect.version), false);
        }
        unsubscribed
    }

    /// Changes how long the session outlives its connection, as a DISCONNECT may. One that would have ended with its connection can't
    /// be made to last: the answer is `false` then, and nothing has changed [MQTT5-3.14.2-2].
    pub fn set_expiry(&mut self, expiry: Option<u32>, log: &mut dyn Log) -> bool {
        if self.expiry == Some(0) && expiry != Some(0) {
            return false;
        }
        self.expiry = expiry;
        self.record_if(true, log, |log, sid| record::expiry(log, sid, expiry));
        true
    }

    /// Ends a connection. `None` if `epoch` is not that of the present one.
    pub fn disconnect(
        &mut self,
        epoch: u64,
        goodbye: Goodbye,
        now: u64,
        log: &mut dyn Log,
    ) -> Option<Disconnected> {
        if !self.is_current(epoch) {
            return None;
        }
        self.away_since = Some(now);
        let over = self.expiry == Some(0);
        let mut will = self.will.take();
        if goodbye == Goodbye::Disconnect
            && let Some(discarded) = will.take()
        {
            record::will_gone(log.buffer(), discarded.number);
            log.append();
        }
        // The session's end comes before the delay's if it is earlier.
        let delay = will.as_ref().map_or(0, |will| will.will.delay.min(self.expiry.unwrap_or(u32::MAX)));
        if let Some(waiting) = will.as_mut().filter(|_| delay > 0) {
            let due = now.saturating_add(delay.into());
            waiting.due = Some(due);
            record::will_due(log.buffer(), waiting.number, due);
            log.append();
        }
        if self.recorded {
            record::away(log, self.sid, now);
        }
        Some(Disconnected { over, will })
    }

    /// Messages of shared subscriptions which others should get when this session ends; to be asked before [`Session::end`].
    pub fn take_unanswered(&mut self) -> Vec<Unanswered> {
        self.outgoing.take_unanswered()
    }

    /// Throws away everything but the identity and the will: the session has expired or is removed.
    pub fn end(&mut self, log: &mut dyn Log) {
        if self.recorded {
            record::end(log, self.sid);
        }
        self.recorded = false;
        self.outgoing.clear();
        self.incoming.clear();
        self.subscriptions.clear();
    }

    /// Appends the whole session: what was recorded of it before is not needed any more. Of a clean session that is its will.
    /// To be called for each session after the log began a new generation.
    pub fn checkpoint(&mut self, log: &mut dyn Log) {
        if let Some(will) = &self.will {
            record::will(log.buffer(), will);
            log.append();
        }
        if !self.recorded {
            return;
        }
        self.generation = log.generation();
        record::start(log, &self.head(self.user.as_deref(), self.version), true);
        if self.expiry.is_some() {
            record::expiry(log, self.sid, self.expiry);
        }
        self.subscriptions.record_all(self.sid, log);
        self.incoming.record_all(self.sid, log);
        self.outgoing.record_all(self.sid, log);
        record::whole(log, self.sid);
    }

    fn head<'a>(&'a self, user: Option<&'a str>, version: ProtocolVersion) -> record::Head<'a> {
        record::Head {
            sid: self.sid,
            client_id: &self.client_id,
            user,
            version,
            created: self.created,
            away_since: self.away_since,
        }
    }

    /// When a session without a connection is too old to be kept, in seconds of Unix time: by its own expiry, or by `limit` if that
    /// is less. `None`: it has a connection, or no expiry and `limit` is zero, which stands for ever.
    #[must_use]
    pub fn expires_at(&self, limit: Duration) -> Option<u64> {
        let since = self.away_since?;
        let limit = (!limit.is_zero()).then(|| limit.as_secs().max(1));
        let age = [limit, self.expiry.map(u64::from)].into_iter().flatten().min()?;
        Some(since.saturating_add(age))
    }

    /// Changes the limits. What is beyond a new limit stays until it is gone by itself.
    pub fn set_limits(&mut self, limits: SessionLimits) {
        self.limits = limits;
    }
}

/// Getters.
impl Session {
    /// The number in the log.
    #[must_use]
    pub fn sid(&self) -> u64 {
        self.sid
    }

    /// The client identifier.
    #[must_use]
    pub fn client_id(&self) -> &Arc<str> {
        &self.client_id
    }

    /// The user of the present or last connection.
    #[must_use]
    pub fn user(&self) -> Option<&Arc<str>> {
        self.user.as_ref()
    }

    /// The protocol version of the present or last connection.
    #[must_use]
    pub fn version(&self) -> ProtocolVersion {
        self.version
    }

    /// Whether the session is recorded, so that it survives a restart. One which is not does not outlive its connection.
    #[must_use]
    pub fn is_recorded(&self) -> bool {
        self.recorded
    }

    /// For how many seconds it outlives its connection; `None`: as long as the broker keeps any.
    #[must_use]
    pub fn expiry(&self) -> Option<u32> {
        self.expiry
    }

    /// Seconds of Unix time since when it has no connection; `None` while it has one.
    #[must_use]
    pub fn away_since(&self) -> Option<u64> {
        self.away_since
    }

    /// Whether it has a connection.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.away_since.is_none()
    }

    /// The number of the present or last connection.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Whether `epoch` names the present connection. A task whose connection is not current must leave the session alone.
    #[must_use]
    pub fn is_current(&self, epoch: u64) -> bool {
        self.is_connected() && self.epoch == epoch
    }

    /// The will of the present connection.
    #[must_use]
    pub fn will(&self) -> Option<&RecordedWill> {
        self.will.as_ref()
    }

    /// Seconds of Unix time at which the session began.
    #[must_use]
    pub fn created(&self) -> u64 {
        self.created
    }

    /// Messages of QoS 1 and 2 that are under way.
    #[must_use]
    pub fn inflight(&self) -> usize {
        self.outgoing.inflight()
    }

    /// Messages in the queue.
    #[must_use]
    pub fn queued_messages(&self) -> usize {
        self.outgoing.queued_messages()
    }

    /// Bytes (topics and payloads) in the queue.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.outgoing.queued_bytes()
    }

    /// Whether [`Session::poll_transmit`] would answer something now.
    #[must_use]
    pub fn can_transmit(&self) -> bool {
        self.is_connected() && self.outgoing.can_transmit(&self.limits)
    }
}

/// Messages to the client.
impl Session {
    /// Takes a message for the client, at an effective QoS of 1 or 2. Answer [`Delivery::Send`]: the caller appends the PUBLISH to the
    /// outbox before it lets go of the session. It is O(1) and copies nothing. (Messages of QoS 0 are not the session's: they go to
    /// the outbox, or nowhere while the client is away. Given here they are dropped.)
    pub fn deliver(
        &mut self,
        message: &Arc<Message>,
        terms: &Terms,
        room: Room,
        log: &mut dyn Log,
    ) -> Delivery {
        let room = Room { outbox: room.outbox && self.is_connected(), ..room };
        let delivery = self.outgoing.deliver(message, terms, room, &self.limits);
        self.record_delivery(message, terms, delivery, log);
        delivery
    }

    /// Takes a retained message of a replay, at QoS 1 or 2. It is never dropped: [`Session::replay_room`] says how many may come.
    pub fn deliver_replayed(
        &mut self,
        message: &Arc<Message>,
        terms: &Terms,
        room: Room,
        log: &mut dyn Log,
    ) -> Delivery {
        let unlimited = SessionLimits { queue_messages: usize::MAX, queue_bytes: usize::MAX, ..self.limits };
        let room = Room { outbox: room.outbox && self.is_connected(), queues: true };
        let delivery = self.outgoing.deliver(message, terms, room, &unlimited);
        self.record_delivery(message, terms, delivery, log);
        delivery
    }

    fn record_delivery(&self, message: &Message, terms: &Terms, delivery: Delivery, log: &mut dyn Log) {
        if !self.recorded {
            return;
        }
        let packet_id = match delivery {
            Delivery::Dropped(_) => return,
            Delivery::Send { packet_id } => Some(packet_id),
            Delivery::Queued { displaced } => {
                for _ in 0..displaced {
                    record::dropped(log, self.sid);
                }
                None
            }
        };
        match log.body(message, self.generation) {
            Some(mid) => record::enqueue(log, self.sid, mid, terms, packet_id),
            None => record::enqueue_inline(log, self.sid, message, terms, packet_id),
        }
    }

    /// What may leave now: first what was under way when the last connection ended, in its original order and with its packet
    /// identifiers [MQTT-4.4.0-1], then what waits in the queue, as far as the window goes. What has waited too long, at the time
    /// `now_ms` in milliseconds of Unix time, is dropped and not sent.
    pub fn poll_transmit(&mut self, now_ms: u64, log: &mut dyn Log) -> Option<Transmit> {
        if !self.is_connected() {
            return None;
        }
        if let Some(again) = self.outgoing.poll_resend() {
            return Some(again);
        }
        self.drop_expired(now_ms, log);
        let transmit = self.outgoing.poll_promote(&self.limits)?;
        if self.recorded {
            record::sent(log, self.sid, transmit.packet_id());
        }
        Some(transmit)
    }

    /// Drops what stands first in the queue and has waited too long.
    pub fn drop_expired(&mut self, now_ms: u64, log: &mut dyn Log) {
        while self.outgoing.drop_expired(now_ms) {
            self.record_if(true, log, record::dropped);
        }
    }

    /// Takes the number of messages that were dropped since they had waited too long.
    pub fn take_expired(&mut self) -> usize {
        self.outgoing.take_expired()
    }

    /// The message of that identifier can't be sent since it is larger than the client takes: its flow is over, as if it was
    /// acknowledged [MQTT5-3.1.2-25].
    pub fn end_flow(&mut self, id: PacketId, log: &mut dyn Log) -> Ack {
        let known = self.outgoing.end_flow(id);
        self.record_if(known, log, |log, sid| record::acked(log, sid, id));
        if known { Ack::Known } else { Ack::Unknown }
    }

    /// The client acknowledged a QoS 1 message. An error closes the connection; an unknown identifier is no error, since it can
    /// come from the time before a restart.
    pub fn handle_puback(&mut self, id: PacketId, log: &mut dyn Log) -> Result<Ack, WrongAck> {
        let ack = self.outgoing.handle_puback(id)?;
        self.record_if(ack == Ack::Known, log, |log, sid| record::acked(log, sid, id));
        Ok(ack)
    }

    /// The client received a QoS 2 message. The caller answers PUBREL [MQTT-4.3.3-1], also for an unknown
    /// identifier: so a client that remembers more than we do can end its flow.
    pub fn handle_pubrec(&mut self, id: PacketId, log: &mut dyn Log) -> Result<Ack, WrongAck> {
        let ack = self.outgoing.handle_pubrec(id)?;
        self.record_if(ack == Ack::Known, log, |log, sid| record::received(log, sid, id));
        Ok(ack)
    }

    /// The client refused a QoS 2 message, by a PUBREC with an error: its flow is over, without PUBREL. As for
    /// [`Session::handle_puback`].
    pub fn handle_refusal(&mut self, id: PacketId, log: &mut dyn Log) -> Result<Ack, WrongAck> {
        let ack = self.outgoing.handle_refusal(id)?;
        self.record_if(ack == Ack::Known, log, |log, sid| record::acked(log, sid, id));
        Ok(ack)
    }

    /// The client ended the flow of a QoS 2 message. As for [`Session::handle_puback`].
    pub fn handle_pubcomp(&mut self, id: PacketId, log: &mut dyn Log) -> Result<Ack, WrongAck> {
        let ack = self.outgoing.handle_pubcomp(id)?;
        self.record_if(ack == Ack::Known, log, |log, sid| record::acked(log, sid, id));
        Ok(ack)
    }

    fn record_if(&self, changed: bool, log: &mut dyn Log, write: impl FnOnce(&mut dyn Log, u64)) {
        if changed && self.recorded {
            write(log, self.sid);
        }
    }
}

/// Messages from the client.
impl Session {
    /// What to do with a QoS 2 PUBLISH from the client: is it new? Changes nothing. A new one is routed first and then noted with
    /// [`Session::note_incoming`]; then the caller answers PUBREC.
    #[must_use]
    pub fn check_incoming(&self, id: PacketId, dup: bool) -> Incoming {
        self.incoming.check(id, dup, self.limits.incoming)
    }

    /// Notes that the QoS 2 message of that identifier is in the broker's hands [MQTT-4.3.3-2].
    pub fn note_incoming(&mut self, id: PacketId, log: &mut dyn Log) {
        let new = self.incoming.insert(id);
        self.record_if(new, log, |log, sid| record::incoming(log, sid, id));
    }

    /// The client released a QoS 2 message. The caller answers PUBCOMP in any case: an unknown identifier is one whose PUBCOMP
    /// got lost. Returns whether it was known.
    pub fn handle_pubrel(&mut self, id: PacketId, log: &mut dyn Log) -> bool {
        let known = self.incoming.remove(id);
        self.record_if(known, log, |log, sid| record::released(log, sid, id));
        known
    }

    /// QoS 2 messages from the client that wait for its PUBREL.
    #[must_use]
    pub fn incoming(&self) -> usize {
        self.incoming.len()
    }
}

/// Subscriptions and replays.
impl Session {
    /// Adds a subscription or replaces one of the same filter [MQTT-3.8.4-3]. If `replay`, a replay of the retained messages is
    /// owed from now on, whose name is the answer; one that was under way for this filter begins again.
    pub fn subscribe(
        &mut self,
        filter: &Arc<str>,
        subscription: Subscription,
        replay: bool,
        log: &mut dyn Log,
    ) -> Result<Option<ReplayId>, TooManySubscriptions> {
        let owed = self.subscriptions.insert(filter, subscription, replay, self.limits.subscriptions)?;
        self.record_if(true, log, |log, sid| record::subscribe(log, sid, filter, subscription, replay));
        Ok(owed)
    }

    /// Removes a subscription, and its replay if one is owed. Returns what it was.
    pub fn unsubscribe(&mut self, filter: &str, log: &mut dyn Log) -> Option<Subscription> {
        let removed = self.subscriptions.remove(filter)?;
        self.record_if(true, log, |log, sid| record::unsubscribe(log, sid, filter));
        Some(removed)
    }

    /// The subscription of that filter.
    #[must_use]
    pub fn subscription(&self, filter: &str) -> Option<Subscription> {
        self.subscriptions.get(filter)
    }

    /// All subscriptions in the order of their filters.
    pub fn subscriptions(&self) -> impl ExactSizeIterator<Item = (&Arc<str>, Subscription)> {
        self.subscriptions.iter()
    }

    /// Replays that are owed.
    #[must_use]
    pub fn replays(&self) -> usize {
        self.subscriptions.replays().len()
    }

    /// The replay that is next in turn: that after `last`, going round. The caller holds the position of each replay under its
    /// [`ReplayId`]; one that is not owed any more ([`Session::is_owed`]) is to be thrown away.
    #[must_use]
    pub fn next_replay(&self, last: Option<ReplayId>) -> Option<PendingReplay> {
        self.subscriptions.next_replay(last)
    }

    /// The replay that is owed for that filter.
    #[must_use]
    pub fn owed_for(&self, filter: &str) -> Option<ReplayId> {
        self.subscriptions.owed_for(filter)
    }

    /// Whether that replay is still owed.
    #[must_use]
    pub fn is_owed(&self, replay: ReplayId) -> bool {
        self.subscriptions.replays().contains(replay)
    }

    /// How much a replay at QoS 1 or 2 may hand over now.
    #[must_use]
    pub fn replay_room(&self) -> ReplayRoom {
        self.outgoing.replay_room(&self.limits)
    }

    /// The replay has come to its end.
    pub fn replay_done(&mut self, replay: ReplayId, log: &mut dyn Log) {
        if let Some(filter) = self.subscriptions.replay_done(replay) {
            self.record_if(true, log, |log, sid| record::replay_done(log, sid, &filter));
        }
    }
}

#[cfg(test)]
mod tests;
