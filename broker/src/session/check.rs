//! What must hold for any sequence of operations at all, as one function: the operation of the fuzzer and of property tests.
//!
//! A small world: three clients, each of which publishes to all three and itself, or to one of a group that all three form;
//! connections that may end at any packet; a log of which a crash keeps no more than what was settled and any number of records
//! behind that. At the end everything heals, and then each client must have got each message: at least once at QoS 1, exactly
//! once at QoS 2, in the order of its publisher and topic. Of a shared message the same holds for all clients together. What is
//! known to be lost does not count: what full queues have dropped, what grew too old or was refused, and what ended with a session.

mod client;
mod disk;
mod life;
mod outcome;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use self::client::{Client, FromClient, ToClient};
use self::disk::Disk;
use self::outcome::number;
use super::{
    Ack, Delivery, DropPolicy, Incoming, Origin, PacketId, Room, Session, SessionLimits, Subscription,
    Transmit,
};
use crate::message::{Extras, Message, QoS, Special, Terms};

const CLIENTS: usize = 3;
const TOPICS: usize = 2;
/// Unfinished flows of one publisher.
const PUBLISHER_WINDOW: usize = 8;

/// How often something happened, so that a test can see that it tested what it should.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// Messages published.
    pub published: usize,
    /// Packets sent again on a new connection.
    pub resent: usize,
    /// Messages that a full queue dropped.
    pub dropped: usize,
    /// Connections lost.
    pub lost_connections: usize,
    /// Crashes.
    pub crashes: usize,
    /// Records that a crash took.
    pub lost_records: usize,
    /// QoS 2 messages that were routed again to those who had not got them.
    pub unfinished: usize,
    /// Times that all sessions were written again and older records thrown away.
    pub trimmed: usize,
    /// Acknowledgements that belong to no flow.
    pub wrong_acks: usize,
    /// Messages that were dropped since they had waited too long.
    pub expired: usize,
    /// QoS 2 messages that a client refused.
    pub refused: usize,
    /// Connections of clients that take less at a time than was under way to them.
    pub narrowed: usize,
    /// Sessions that ended.
    pub ended: usize,
    /// Shared messages that an ended session left to another one.
    pub handed_on: usize,
}

/// Plays the operations that `bytes` stand for, heals the world, and looks at the outcome.
///
/// # Panics
/// If a session breaks its word.
#[must_use]
pub fn check_operations(bytes: &[u8]) -> CheckReport {
    let (first, rest) = bytes.split_first().unwrap_or((&0, &[]));
    let mut world = World::new(*first);
    for operation in rest.chunks_exact(2) {
        world.play(operation[0], operation[1]);
        world.check_limits();
    }
    world.heal();
    world.check_outcome();
    world.report
}

/// A message as its publisher made it.
struct Published {
    publisher: usize,
    topic: usize,
    qos: QoS,
    /// For one of the group.
    shared: bool,
    expires_at: Option<u64>,
}

/// One client, its session and what is between them.
struct Seat {
    session: Session,
    client: Client,
    /// The connection's number while there is one.
    epoch: Option<u64>,
    /// Packets, and how many records must be settled before each may leave.
    to_client: VecDeque<(ToClient, usize)>,
    to_broker: VecDeque<FromClient>,
    /// The outbox takes nothing more.
    blocked: bool,
    /// What the queue should hold.
    queue: VecDeque<usize>,
    /// Identifiers under way.
    open: BTreeSet<PacketId>,
    /// Which message was sent with which identifier, and how many records there were then.
    sends: Vec<(usize, PacketId, usize)>,
    /// Messages that it need not get.
    dropped: BTreeSet<usize>,
    /// Shared messages that its session was given.
    shared: BTreeSet<usize>,
    /// PUBLISH packets of this connection whose flows have not ended, and how many there may be.
    unanswered: BTreeSet<PacketId>,
    receive_maximum: Option<u16>,
    /// There is no session: nothing is delivered.
    over: bool,
    /// The client has no session state: it asks for a clean start.
    fresh: bool,
}

struct World {
    limits: SessionLimits,
    now: u64,
    disk: Disk,
    seats: Vec<Seat>,
    messages: Vec<Published>,
    /// Shared messages that nobody need get.
    excused: BTreeSet<usize>,
    /// Shared messages that were handed on, and how many records there were then.
    handed: Vec<(usize, usize)>,
    /// Seats whose session is still to be written to the present generation, and where that began.
    checkpoint: Option<(VecDeque<usize>, usize)>,
    report: CheckReport,
}

/// Operations.
impl World {
    fn new(variant: u8) -> Self {
        let limits = SessionLimits {
            inflight: u16::from(variant % 4) + 1,
            queue_messages: 1 + usize::from(variant / 4 % 8) * 3,
            queue_bytes: 400,
            queue_drop: if variant & 0x80 == 0 { DropPolicy::Newest } else { DropPolicy::Oldest },
            subscriptions: 4,
            incoming: PUBLISHER_WINDOW as u16,
        };
        let seats = (0..CLIENTS)
            .map(|n| Seat::new(Session::new(n as u64 + 1, format!("client-{n}").into(), limits, 0)))
            .collect();
        let mut world = Self {
            limits,
            now: 0,
            disk: Disk::default(),
            seats,
            messages: Vec::new(),
            excused: BTreeSet::new(),
            handed: Vec::new(),
            checkpoint: None,
            report: CheckReport::default(),
        };
        for seat in 0..CLIENTS {
            world.connect(seat, 0);
        }
        world.disk.settle_all();
        world
    }

    fn play(&mut self, operation: u8, argument: u8) {
        self.now += 1;
        let seat = usize::from(argument) % CLIENTS;
        match operation % 32 {
            0..=5 => self.publish(seat, argument / 3),
            6 => self.seats[seat].client.refuse_next(),
            7..=11 => self.step_to_broker(seat, argument / 3),
            12..=15 => self.step_to_client(seat),
            16 => self.leave(seat, argument / 3),
            17..=18 => self.disk.settle(argument.into()),
            19 => self.drop_expired(seat),
            20 => self.lose_connection(seat),
            21 | 22 => self.connect(seat, argument / 3),
            23 => self.seats[seat].blocked = true,
            24 => {
                self.seats[seat].blocked = false;
                self.poll(seat);
            }
            25 => self.crash(argument.into()),
            26 => self.begin_generation(),
            27 => self.checkpoint_one(),
            28 => self.wrong_ack(seat, argument / 3),
            29 => self.subscribe(seat, argument / 3),
            30 => self.replay_done(seat),
            _ => self.check_recovery(),
        }
    }

    fn publish(&mut self, seat: usize, argument: u8) {
        let Seat { client, epoch, .. } = &self.seats[seat];
        if epoch.is_none() || client.outgoing() >= PUBLISHER_WINDOW {
            return;
        }
        let qos = if argument & 1 == 0 { QoS::AtLeastOnce } else { QoS::ExactlyOnce };
        let number = self.messages.len();
        let expires_at = (argument % 8 > 5).then_some(self.now + u64::from(argument / 4));
        let (topic, shared) = (usize::from(argument / 2) % TOPICS, argument / 4 % 4 == 0);
        self.messages.push(Published { publisher: seat, topic, qos, shared, expires_at });
        self.report.published += 1;
        let packet = self.seats[seat].client.publish(number, qos);
        self.seats[seat].to_broker.push_back(packet);
    }

    fn step_to_broker(&mut self, seat: usize, argument: u8) {
        let Some(packet) = self.seats[seat].to_broker.pop_front() else { return };
        match packet {
            FromClient::Publish { id, message, qos, dup } => {
                self.handle_publish(seat, id, message, qos, dup, argument);
            }
            FromClient::Pubrel(id) => {
                self.seats[seat].session.handle_pubrel(id, &mut self.disk);
                self.send(seat, ToClient::Pubcomp(id));
            }
            FromClient::Puback(id) => {
                let ack = self.seats[seat].session.handle_puback(id, &mut self.disk);
                assert!(ack.is_ok(), "an honest client's PUBACK is right");
                self.seats[seat].flow_ended(id);
            }
            FromClient::Pubrec(id) => {
                let ack = self.seats[seat].session.handle_pubrec(id, &mut self.disk);
                assert!(ack.is_ok(), "an honest client's PUBREC is right");
                self.send(seat, ToClient::Pubrel(id));
            }
            FromClient::Pubcomp(id) => {
                let ack = self.seats[seat].session.handle_pubcomp(id, &mut self.disk);
                assert!(ack.is_ok(), "an honest client's PUBCOMP is right");
                self.seats[seat].flow_ended(id);
            }
            FromClient::Refusal { id, message } => {
                let ack = self.seats[seat].session.handle_refusal(id, &mut self.disk);
                assert_eq!(ack, Ok(Ack::Known), "an honest client refuses what it was sent");
                self.report.refused += 1;
                self.lose(seat, message);
                self.seats[seat].flow_ended(id);
            }
        }
        self.poll(seat);
    }

    fn handle_publish(
        &mut self,
        seat: usize,
        id: PacketId,
        message: usize,
        qos: QoS,
        dup: bool,
        argument: u8,
    ) {
        if qos == QoS::AtLeastOnce {
            self.route(message, None, &[], argument);
            self.send(seat, ToClient::Puback(id));
            return;
        }
        let session = &self.seats[seat].session;
        let origin = session.is_recorded().then(|| Origin { sid: session.sid(), packet_id: id });
        match session.check_incoming(id, dup) {
            Incoming::New => self.route(message, origin, &[], argument),
            Incoming::Unfinished(served) => {
                self.report.unfinished += usize::from(!served.is_empty());
                self.route(message, origin, &served, argument);
            }
            Incoming::Duplicate => {}
            Incoming::TooMany => panic!("the client has not so many unreleased messages"),
        }
        self.seats[seat].session.note_incoming(id, &mut self.disk);
        self.send(seat, ToClient::Pubrec(id));
    }

    /// Delivers a message to all sessions but those in `served`, or to one of them if it is shared. With some arguments the log begins
    /// a new generation amid it and all sessions are written again; older records stay until it is over (see [`Origin`]).
    fn route(&mut self, number: usize, origin: Option<Origin>, served: &[u64], argument: u8) {
        let Published { qos, shared, .. } = self.messages[number];
        let message = self.message(number);
        self.disk.begin_message(argument & 4 == 0, origin);
        if shared {
            if served.is_empty() {
                self.hand_out(number, &message, usize::from(argument));
            }
            return self.disk.end_message();
        }
        for seat in 0..CLIENTS {
            if argument % 32 == 7 && seat == 1 {
                self.begin_generation();
                (0..CLIENTS).for_each(|_| self.checkpoint_one());
            }
            if !served.contains(&self.seats[seat].session.sid()) {
                self.deliver(seat, number, &message, &Terms::plain(qos));
            }
        }
        self.disk.end_message();
    }

    fn message(&self, number: usize) -> Arc<Message> {
        let Published { topic, qos, expires_at, .. } = self.messages[number];
        let extras = expires_at
            .map(|expires_at| Box::new(Extras { expires_at: Some(expires_at), ..Extras::default() }));
        Arc::new(Message {
            topic: format!("topic/{topic}").into(),
            payload: Bytes::from(format!("{number:0width$}", width = 4 + number % 60)),
            qos,
            extras,
        })
    }

    /// Gives a shared message to the first one of the group, from `from` on, that takes it.
    fn hand_out(&mut self, number: usize, message: &Arc<Message>, from: usize) {
        let special = Special { share: Some("$share/group/#".into()), ..Special::default() };
        let terms = Terms { special: Some(Arc::new(special)), ..Terms::plain(message.qos) };
        let taken = (0..CLIENTS).any(|n| self.deliver((from + n) % CLIENTS, number, message, &terms));
        if !taken {
            self.excused.insert(number);
        }
    }

    /// Notes that a client need not get a message.
    fn lose(&mut self, seat: usize, number: usize) {
        if self.messages[number].shared {
            self.excused.insert(number);
        } else {
            self.seats[seat].dropped.insert(number);
        }
    }

    fn deliver(&mut self, seat: usize, number: usize, message: &Arc<Message>, terms: &Terms) -> bool {
        let shared = self.messages[number].shared;
        if self.seats[seat].over {
            self.seats[seat].dropped.insert(number);
            return false;
        }
        let Seat { session, queue, blocked, .. } = &mut self.seats[seat];
        let room = Room { outbox: !*blocked, queues: true };
        match session.deliver(message, terms, room, &mut self.disk) {
            Delivery::Send { packet_id } => {
                assert!(queue.is_empty(), "nothing overtakes the queue");
                self.launch(seat, packet_id, number, terms.qos);
            }
            Delivery::Queued { displaced } => {
                self.report.dropped += displaced;
                let displaced: Vec<usize> = queue.drain(..displaced).collect();
                queue.push_back(number);
                displaced.into_iter().for_each(|number| self.lose(seat, number));
            }
            Delivery::Dropped(_) => {
                self.report.dropped += 1;
                self.seats[seat].dropped.insert(number);
                return false;
            }
        }
        if shared {
            self.seats[seat].shared.insert(number);
        }
        true
    }

    fn launch(&mut self, seat: usize, id: PacketId, message: usize, qos: QoS) {
        assert!(self.seats[seat].open.insert(id), "an identifier is under way once");
        self.seats[seat].sends.push((self.disk.len(), id, message));
        self.send(seat, ToClient::Publish { id, message, qos });
    }

    fn send(&mut self, seat: usize, packet: ToClient) {
        let mark = self.disk.len();
        let Seat { to_client, unanswered, receive_maximum, .. } = &mut self.seats[seat];
        if let ToClient::Publish { id, .. } = packet {
            unanswered.insert(id);
            let maximum = receive_maximum.map_or(usize::MAX, usize::from);
            assert!(unanswered.len() <= maximum, "no more than the client takes");
        }
        to_client.push_back((packet, mark));
    }

    /// Sends what may leave.
    fn poll(&mut self, seat: usize) {
        while !self.seats[seat].blocked {
            let can = self.seats[seat].session.can_transmit();
            let transmit = self.seats[seat].session.poll_transmit(self.now, &mut self.disk);
            let expired = self.note_expired(seat);
            assert!(can || transmit.is_none(), "can_transmit foretells poll_transmit");
            assert!(!can || transmit.is_some() || expired > 0, "but for what is too old");
            match transmit {
                None => return,
                Some(Transmit::Pubrel { packet_id }) => {
                    self.report.resent += 1;
                    self.seats[seat].open.insert(packet_id);
                    self.send(seat, ToClient::Pubrel(packet_id));
                }
                Some(Transmit::Publish { packet_id, dup, message, terms }) => {
                    let qos = terms.qos;
                    let number = number(&message.payload);
                    assert_eq!(message, self.message(number));
                    assert_eq!(terms.special.is_some(), self.messages[number].shared);
                    assert!(dup || !message.is_expired(self.now), "nothing that is too old is sent first");
                    if dup {
                        self.resend(seat, packet_id, number, qos);
                    } else {
                        assert_eq!(
                            self.seats[seat].queue.pop_front(),
                            Some(number),
                            "the queue keeps its order"
                        );
                        self.launch(seat, packet_id, number, qos);
                    }
                }
            }
        }
    }

    /// What stood first in the queue and was too old is gone. Answers how many.
    fn note_expired(&mut self, seat: usize) -> usize {
        let expired = self.seats[seat].session.take_expired();
        for _ in 0..expired {
            let Some(number) = self.seats[seat].queue.pop_front() else { panic!("more than there were") };
            assert!(
                self.messages[number].expires_at.is_some_and(|end| end <= self.now),
                "{number} is not old"
            );
            self.report.expired += 1;
            self.lose(seat, number);
        }
        expired
    }

    fn drop_expired(&mut self, seat: usize) {
        self.seats[seat].session.drop_expired(self.now, &mut self.disk);
        self.note_expired(seat);
    }

    fn resend(&mut self, seat: usize, id: PacketId, message: usize, qos: QoS) {
        self.report.resent += 1;
        self.seats[seat].open.insert(id);
        let before = self.seats[seat].sends.iter().rfind(|(_, sent, _)| *sent == id);
        assert_eq!(before.map(|(_, _, message)| *message), Some(message), "sent again with its identifier");
        self.send(seat, ToClient::Publish { id, message, qos });
    }

    fn step_to_client(&mut self, seat: usize) {
        let settled = self.disk.settled();
        let Seat { to_client, to_broker, client, .. } = &mut self.seats[seat];
        if to_client.front().is_some_and(|(_, mark)| *mark <= settled)
            && let Some((packet, _)) = to_client.pop_front()
        {
            to_broker.extend(client.handle(packet));
        }
    }

    fn begin_generation(&mut self) {
        let start = self.disk.begin_generation();
        self.checkpoint = Some(((0..CLIENTS).collect(), start));
    }

    /// Writes one more session whole; once all are written, older records go.
    fn checkpoint_one(&mut self) {
        let Some((seats, start)) = &mut self.checkpoint else { return };
        if let Some(seat) = seats.pop_front() {
            self.seats[seat].session.checkpoint(&mut self.disk);
        } else {
            self.report.trimmed += 1;
            self.disk.trim(*start);
            self.checkpoint = None;
        }
    }

    /// An acknowledgement which no honest client would send.
    fn wrong_ack(&mut self, seat: usize, argument: u8) {
        let Some(id) = PacketId::new(argument.into()) else { return };
        let Seat { session, open, epoch, blocked, .. } = &mut self.seats[seat];
        // Maybe not all that is under way was sent again.
        if epoch.is_none() || *blocked || open.contains(&id) || session.inflight() != open.len() {
            return;
        }
        self.report.wrong_acks += 1;
        let records = self.disk.len();
        for ack in [
            session.handle_puback(id, &mut self.disk),
            session.handle_pubrec(id, &mut self.disk),
            session.handle_pubcomp(id, &mut self.disk),
        ] {
            assert_eq!(ack, Ok(Ack::Unknown));
        }
        assert_eq!(self.disk.len(), records, "what changes nothing is not recorded");
    }

    fn subscribe(&mut self, seat: usize, argument: u8) {
        let session = &mut self.seats[seat].session;
        let filter: Arc<str> = format!("filter/{}", argument % 8).into();
        if argument & 8 == 0 {
            let subscription = Subscription::of(QoS::from_u8(argument % 3).unwrap_or_default());
            let known = session.subscription(&filter).is_some() || session.subscriptions().len() < 4;
            let done = session.subscribe(&filter, subscription, argument & 16 == 0, &mut self.disk);
            assert_eq!(done.is_ok(), known);
        } else {
            session.unsubscribe(&filter, &mut self.disk);
        }
    }

    fn replay_done(&mut self, seat: usize) {
        let session = &mut self.seats[seat].session;
        if let Some(replay) = session.next_replay(None) {
            session.replay_done(replay.id, &mut self.disk);
            assert!(!session.is_owed(replay.id));
        }
    }
}

impl Seat {
    fn new(session: Session) -> Self {
        Self {
            session,
            client: Client::default(),
            epoch: None,
            to_client: VecDeque::new(),
            to_broker: VecDeque::new(),
            blocked: false,
            queue: VecDeque::new(),
            open: BTreeSet::new(),
            sends: Vec::new(),
            dropped: BTreeSet::new(),
            shared: BTreeSet::new(),
            unanswered: BTreeSet::new(),
            receive_maximum: None,
            over: true,
            fresh: true,
        }
    }

    fn flow_ended(&mut self, id: PacketId) {
        self.open.remove(&id);
        self.unanswered.remove(&id);
    }

    /// The connection is gone with everything that was in it.
    fn unplug(&mut self) {
        self.epoch = None;
        self.unanswered.clear();
        self.to_client.clear();
        self.to_broker.clear();
    }
}
