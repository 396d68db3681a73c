//! What must hold for any sequence of operations at all, as one function: the operation of the fuzzer and of property tests.
//!
//! A small world: three clients with persistent sessions, each of which publishes to all three and itself; connections that may
//! end at any packet; a log of which a crash keeps no more than what was settled and any number of records behind that. At the
//! end everything heals, and then each client must have got each message: at least once at QoS 1, exactly once at QoS 2, in the
//! order of its publisher and topic, but for what full queues are known to have dropped.

mod client;
mod disk;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use self::client::{Client, FromClient, ToClient};
use self::disk::Disk;
use super::record::decode::{Change, Record, decode};
use super::{
    Ack, Connect, Delivery, DropPolicy, Goodbye, Incoming, Origin, PacketId, ProtocolVersion, Recovery, Room,
    Session, SessionLimits, Subscription, Transmit,
};
use crate::message::{Message, QoS, Terms};

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
    /// Messages that a full queue dropped.
    dropped: BTreeSet<usize>,
}

struct World {
    limits: SessionLimits,
    now: u64,
    disk: Disk,
    seats: Vec<Seat>,
    messages: Vec<Published>,
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
            checkpoint: None,
            report: CheckReport::default(),
        };
        for seat in 0..CLIENTS {
            world.connect(seat, false);
        }
        world.disk.settle_all();
        world
    }

    fn play(&mut self, operation: u8, argument: u8) {
        self.now += 1;
        let seat = usize::from(argument) % CLIENTS;
        match operation % 32 {
            0..=6 => self.publish(seat, argument / 3),
            7..=11 => self.step_to_broker(seat, argument / 3),
            12..=16 => self.step_to_client(seat),
            17..=19 => self.disk.settle(argument.into()),
            20 => self.lose_connection(seat),
            21 | 22 => self.connect(seat, true),
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
        self.messages.push(Published { publisher: seat, topic: usize::from(argument / 2) % TOPICS, qos });
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
                self.seats[seat].open.remove(&id);
            }
            FromClient::Pubrec(id) => {
                let ack = self.seats[seat].session.handle_pubrec(id, &mut self.disk);
                assert!(ack.is_ok(), "an honest client's PUBREC is right");
                self.send(seat, ToClient::Pubrel(id));
            }
            FromClient::Pubcomp(id) => {
                let ack = self.seats[seat].session.handle_pubcomp(id, &mut self.disk);
                assert!(ack.is_ok(), "an honest client's PUBCOMP is right");
                self.seats[seat].open.remove(&id);
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
        let origin = Origin { sid: session.sid(), packet_id: id };
        match session.check_incoming(id, dup) {
            Incoming::New => self.route(message, Some(origin), &[], argument),
            Incoming::Unfinished(served) => {
                self.report.unfinished += usize::from(!served.is_empty());
                self.route(message, Some(origin), &served, argument);
            }
            Incoming::Duplicate => {}
            Incoming::TooMany => panic!("the client has not so many unreleased messages"),
        }
        self.seats[seat].session.note_incoming(id, &mut self.disk);
        self.send(seat, ToClient::Pubrec(id));
    }

    /// Delivers a message to all sessions but those in `served`. With some arguments the log begins a new generation amid it and
    /// all sessions are written again; older records stay until it is over (see [`Origin`]).
    fn route(&mut self, number: usize, origin: Option<Origin>, served: &[u64], argument: u8) {
        let published = &self.messages[number];
        let qos = published.qos;
        let message = Arc::new(Message {
            topic: format!("topic/{}", published.topic).into(),
            payload: Bytes::from(format!("{number:0width$}", width = 4 + number % 60)),
            qos,
            extras: None,
        });
        self.disk.begin_message(argument & 4 == 0, origin);
        for seat in 0..CLIENTS {
            if argument % 32 == 7 && seat == 1 {
                self.begin_generation();
                (0..CLIENTS).for_each(|_| self.checkpoint_one());
            }
            if !served.contains(&self.seats[seat].session.sid()) {
                self.deliver(seat, number, &message, qos);
            }
        }
        self.disk.end_message();
    }

    fn deliver(&mut self, seat: usize, number: usize, message: &Arc<Message>, qos: QoS) {
        let Seat { session, queue, dropped, blocked, .. } = &mut self.seats[seat];
        let room = Room { outbox: !*blocked, queues: true };
        match session.deliver(message, &Terms::plain(qos), room, &mut self.disk) {
            Delivery::Send { packet_id } => {
                assert!(queue.is_empty(), "nothing overtakes the queue");
                self.launch(seat, packet_id, number, qos);
            }
            Delivery::Queued { displaced } => {
                self.report.dropped += displaced;
                dropped.extend(queue.drain(..displaced));
                queue.push_back(number);
            }
            Delivery::Dropped(_) => {
                self.report.dropped += 1;
                dropped.insert(number);
            }
        }
    }

    fn launch(&mut self, seat: usize, id: PacketId, message: usize, qos: QoS) {
        assert!(self.seats[seat].open.insert(id), "an identifier is under way once");
        self.seats[seat].sends.push((self.disk.len(), id, message));
        self.send(seat, ToClient::Publish { id, message, qos });
    }

    fn send(&mut self, seat: usize, packet: ToClient) {
        let mark = self.disk.len();
        self.seats[seat].to_client.push_back((packet, mark));
    }

    /// Sends what may leave.
    fn poll(&mut self, seat: usize) {
        while !self.seats[seat].blocked {
            let can = self.seats[seat].session.can_transmit();
            let transmit = self.seats[seat].session.poll_transmit(0, &mut self.disk);
            assert_eq!(can, transmit.is_some(), "can_transmit foretells poll_transmit");
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

    fn lose_connection(&mut self, seat: usize) {
        let Some(epoch) = self.seats[seat].epoch else { return };
        self.report.lost_connections += 1;
        let ended = self.seats[seat].session.disconnect(epoch, Goodbye::Lost, self.now, &mut self.disk);
        assert!(ended.is_some_and(|ended| !ended.over), "a persistent session stays");
        self.seats[seat].unplug();
    }

    /// Connects, or takes over.
    fn connect(&mut self, seat: usize, present: bool) {
        let connect = Connect {
            clean: false,
            expiry: None,
            receive_maximum: None,
            user: None,
            version: ProtocolVersion::V3_1_1,
            will: None,
        };
        self.seats[seat].unplug();
        let connected = self.seats[seat].session.connect(connect, self.now, &mut self.disk);
        assert_eq!(connected.session_present, present);
        self.seats[seat].epoch = Some(connected.epoch);
        let again = self.seats[seat].client.connected();
        self.seats[seat].to_broker.extend(again);
        self.poll(seat);
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
        // While it is blocked not all that is under way was sent again.
        if epoch.is_none() || *blocked || open.contains(&id) {
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

/// Crash and recovery.
impl World {
    fn crash(&mut self, argument: usize) {
        self.report.crashes += 1;
        self.report.lost_records += self.disk.crash(argument);
        self.checkpoint = None;
        let mut sessions = self.recover();
        for seat in &mut self.seats {
            seat.unplug();
            let Some(session) = sessions.remove(seat.session.client_id()) else {
                panic!("a session is lost")
            };
            assert!(session.epoch() < seat.session.epoch() + 1 && !session.is_connected());
            seat.session = session;
            seat.blocked = false;
            seat.open.clear();
            seat.sends.retain(|(records, _, _)| *records <= self.disk.len());
            seat.queue = queue(&mut seat.session);
        }
        self.disk.restart();
    }

    fn recover(&self) -> BTreeMap<Arc<str>, Session> {
        let mut recovery = Recovery::new(self.limits, self.now);
        for record in self.disk.records() {
            assert_eq!(recovery.apply(record), Ok(()));
        }
        let recovered = recovery.finish();
        assert_eq!((recovered.lost, recovered.contradictions), (0, 0));
        assert_eq!(recovered.highest_number, CLIENTS as u64);
        recovered.sessions.into_iter().map(|session| (session.client_id().clone(), session)).collect()
    }

    /// What would be recovered from all records is what there is.
    fn check_recovery(&mut self) {
        let mut recovered = self.recover();
        for seat in &mut self.seats {
            let mut twin = recovered.remove(seat.session.client_id());
            assert_eq!(twin.as_mut().map(whole), Some(whole(&mut seat.session)));
        }
    }

    fn check_limits(&self) {
        for seat in &self.seats {
            let session = &seat.session;
            assert!(session.inflight() <= usize::from(self.limits.inflight));
            assert!(session.queued_messages() <= self.limits.queue_messages);
            assert!(session.queued_bytes() <= self.limits.queue_bytes);
            assert_eq!(session.queued_messages(), seat.queue.len());
        }
    }

    fn heal(&mut self) {
        for seat in 0..CLIENTS {
            self.seats[seat].blocked = false;
            self.connect(seat, true);
        }
        // Each message costs at most a few packets to each client.
        for _ in 0..100 + 100 * self.messages.len() {
            self.disk.settle_all();
            for seat in 0..CLIENTS {
                self.step_to_client(seat);
                self.step_to_broker(seat, 0);
            }
        }
        self.check_recovery();
    }

    fn check_outcome(&self) {
        for seat in &self.seats {
            assert_eq!(seat.client.outgoing(), 0, "every publisher's flow has ended");
            let session = &seat.session;
            assert_eq!((session.inflight(), session.queued_messages(), session.incoming()), (0, 0, 0));
            let got = seat.client.got();
            for (number, published) in self.messages.iter().enumerate() {
                let count = got.iter().filter(|got| **got == number).count();
                let dropped = seat.dropped.contains(&number);
                assert!(count > 0 || dropped, "message {number} is lost");
                assert!(
                    count <= 1 || published.qos == QoS::AtLeastOnce,
                    "message {number} came {count} times"
                );
            }
            self.check_order(seat);
        }
    }

    /// Messages arrive, for the first time, in the order of their publisher, topic and QoS [MQTT-4.6.0-5].
    fn check_order(&self, seat: &Seat) {
        let mut last = BTreeMap::new();
        let mut seen = BTreeSet::new();
        for number in seat.client.got() {
            if !seen.insert(*number) || seat.dropped.contains(number) {
                continue;
            }
            let published = &self.messages[*number];
            let before = last.insert((published.publisher, published.topic, published.qos), *number);
            assert!(before.is_none_or(|before| before < *number), "{number} came after {before:?}");
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
        }
    }

    /// The connection is gone with everything that was in it.
    fn unplug(&mut self) {
        self.epoch = None;
        self.to_client.clear();
        self.to_broker.clear();
    }
}

/// Everything that is to survive of a session, as the records of a checkpoint without the first, which tells times.
fn whole(session: &mut Session) -> Vec<Vec<u8>> {
    let mut disk = Disk::default();
    let generation = session.generation;
    session.checkpoint(&mut disk);
    session.generation = generation;
    disk.records().skip(1).map(<[u8]>::to_vec).collect()
}

/// The numbers of the messages in a session's queue.
fn queue(session: &mut Session) -> VecDeque<usize> {
    let queued = |record: &Vec<u8>| match decode(record) {
        Ok(Record::Change { change: Change::EnqueueInline { message, id: None, .. }, .. }) => {
            Some(number(&message.payload))
        }
        _ => None,
    };
    whole(session).iter().filter_map(queued).collect()
}

fn number(payload: &[u8]) -> usize {
    std::str::from_utf8(payload).ok().and_then(|text| text.parse().ok()).unwrap_or(usize::MAX)
}
