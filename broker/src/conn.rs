//! The task of one connection: reads and decodes, routes what its client publishes, writes what is in its outbox, watches its
//! deadlines, replays retained messages. Everything happens in one poll function, so that one wake does one round:
//!
//! 1. read a batch and handle its packets: messages go straight into the outboxes of their subscribers, who have their turn
//!    before the publisher's own acknowledgements leave (a subscriber waits for the message, a publisher only for a formality);
//! 2. let go of what the session holds back, if there is room now;
//! 3. write what is in the own outbox, once its mark is settled;
//! 4. take a slice of a replay, if the outbox has room.

mod aliases;
mod authentication;
mod end;
mod farewell;
mod gate;
mod handshake;
mod input;
mod junk;
mod output;
mod pace;
mod packets;
mod patience;
mod publish;
mod replays;
mod requests;
mod restraint;
mod subscribe;
mod timers;

use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::time::Instant;

pub(crate) use self::input::READ_BYTES;
pub(crate) use self::junk::LineLimit;
pub(crate) use self::packets::Acks;
pub(crate) use self::requests::OWN_TOPICS;

use self::aliases::Aliases;
use self::authentication::Reauthentication;
use self::end::End;
use self::handshake::{Accepted, Manner};
use self::input::{Input, Read};
use self::output::{Output, Written};
use self::pace::Pace;
use self::patience::Patience;
use self::replays::Replays;
use self::timers::{Due, Timers};
use crate::broker::Core;
use crate::clock;
use crate::codec::ProtocolVersion;
use crate::hooks::{Mark, Principal};
use crate::listener::Entry;
use crate::peer::Peer;
use crate::registry::{Client, Seat};
use crate::session::Goodbye;
use crate::transport::Transport;
use crate::wills;
use crate::worker::{self, Worker};

/// Rounds in one poll; then other tasks have their turn.
const ROUNDS: usize = 8;

/// Starts the task of a connection.
pub(crate) fn start(core: &Arc<Core>, socket: impl Transport, peer: Peer, entry: Entry) {
    core.connections.spawn("connection", run(Arc::clone(core), socket, peer, entry));
}

async fn run(core: Arc<Core>, mut socket: impl Transport, peer: Peer, entry: Entry) {
    let Entry { mut permit, deadline, place: _place } = entry;
    let shaken = Box::pin(handshake::shake_hands(&core, &mut socket, &peer, deadline, &mut permit)).await;
    if let Some(accepted) = shaken {
        drop(permit);
        let mut connection = Connection::new(Arc::clone(&core), socket, accepted, peer);
        let end = poll_fn(|cx| connection.poll(cx)).await;
        let last_words = connection.last_words(&end);
        if let Some(mut socket) = connection.leave(&end)
            && let Some(packet) = last_words
        {
            farewell::say(&mut socket, &packet).await;
        }
    }
}

/// A connection whose CONNECT was accepted.
struct Connection<T> {
    core: Arc<Core>,
    socket: T,
    client: Arc<Client>,
    /// `None` only while leaving.
    seat: Option<Seat>,
    epoch: u64,
    version: ProtocolVersion,
    peer: Peer,
    principal: Arc<dyn Principal>,
    manner: Manner,
    reauthentication: Reauthentication,
    /// Topic aliases that the client has set.
    aliases: Aliases,
    /// How many messages of QoS 1 and 2 it may send without an acknowledgement, and those of QoS 1 whose PUBACK has not left.
    receive_maximum: u16,
    unanswered: usize,
    input: Input,
    output: Output,
    timers: Timers,
    replays: Replays,
    patience: Patience,
    pace: Pace,
    /// What this publisher has written to the log. No more is read from it before that is kept: so a client which waits for no
    /// acknowledgements (QoS 0, RETAIN) is slowed down to what the log takes.
    unkept: Mark,
    /// The next round begins with writing: subscribers had their turn.
    gave_way: bool,
}

/// What one round achieved.
enum Round {
    /// There may be more to do at once.
    Busy,
    /// Nothing to do until something wakes the task.
    Idle,
    /// Those who were woken come first; the task is woken behind them.
    GivesWay,
}

impl<T: Transport> Connection<T> {
    fn new(core: Arc<Core>, socket: T, accepted: Accepted, peer: Peer) -> Self {
        let Accepted { seat, epoch, version, principal, keep_alive, input, manner } = accepted;
        let client = Arc::clone(&seat.client);
        let timers = Timers::new(keep_alive, core.limits().write_stall, clock::now());
        let pace = Pace::new(&core.limits());
        core.metrics.connects.add(1);
        core.metrics.connections.add(1);
        core.metrics.connections_max.raise_to(core.metrics.connections.get());
        let receive_maximum = core.limits().receive_maximum;
        Self {
            core,
            socket,
            client,
            seat: Some(seat),
            epoch,
            version,
            peer,
            principal,
            manner,
            reauthentication: Reauthentication::None,
            aliases: Aliases::default(),
            receive_maximum,
            unanswered: 0,
            input,
            output: Output::default(),
            timers,
            replays: Replays::new(),
            patience: Patience::default(),
            pace,
            unkept: Mark::default(),
            gave_way: false,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        worker::with(|worker| {
            let now = clock::now();
            for _ in 0..ROUNDS {
                let round = self.round(cx, worker, now);
                worker.routing.finish(Some(cx.waker()), &self.core);
                match round {
                    Ok(Round::Busy) => {}
                    Ok(Round::Idle) => return Poll::Pending,
                    Ok(Round::GivesWay) => {
                        // Wakes the task when its worker has looked at the sockets again, and no other worker for it.
                        let _woken_later = pin!(tokio::task::yield_now()).poll(cx);
                        return Poll::Pending;
                    }
                    Err(end) => {
                        if end.is_the_clients_own() {
                            // What was answered before may still leave, as far as the socket takes it and it is settled.
                            let _ = self.output.poll_write(
                                &mut self.socket,
                                &self.client,
                                &self.core,
                                worker,
                                cx,
                            );
                        }
                        self.output.recycle(worker);
                        return Poll::Ready(end);
                    }
                }
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
    }

    fn round(&mut self, cx: &mut Context<'_>, worker: &mut Worker, now: Instant) -> Result<Round, End> {
        let read = if std::mem::take(&mut self.gave_way) { true } else { self.read(cx, worker, now)? };
        let read = read | self.poll_reauthentication(cx, &mut worker.routing)?;
        let answered = std::mem::take(&mut worker.routing.answered);
        // Before the own outbox is written: others can work while this task is in the system call.
        if worker.routing.finish(Some(cx.waker()), &self.core) && answered {
            self.gave_way = true;
            return Ok(Round::GivesWay);
        }
        let written = self.write(cx, worker, now)?;
        let replayed = written == Written::All
            && self.replays.advance(
                &self.client,
                &*self.principal,
                self.manner.mount.as_deref(),
                now,
                &mut worker.routing,
                &self.core,
            );
        // What can't be written now is looked at again when it can.
        self.timers.replay = self.replays.held_until().filter(|_| written == Written::All);
        match self.timers.poll(now, cx) {
            Some(Due::KeepAlive) => return Err(End::KeepAlive),
            Some(Due::Stall) if self.input.waits_for_room() => return Err(End::PacketStall),
            Some(Due::Stall) => return Err(End::WriteStall),
            Some(Due::Relief) => {
                self.patience.give_up(now, self.core.limits().publisher_stall);
                self.timers.relief = None;
                return Ok(Round::Busy);
            }
            Some(Due::Replay) => return Ok(Round::Busy),
            Some(Due::Pace) => {
                self.timers.pace = None;
                self.timers.heard(now);
                return Ok(Round::Busy);
            }
            None => {}
        }
        Ok(if read || replayed { Round::Busy } else { Round::Idle })
    }

    /// Reads and handles one batch. Answers whether to try again: only a read that finds nothing leaves a waker behind.
    fn read(&mut self, cx: &mut Context<'_>, worker: &mut Worker, now: Instant) -> Result<bool, End> {
        if !self.may_read(cx)? {
            return Ok(false);
        }
        self.pace.begin(&self.core, now);
        let Worker { buffer, routing } = worker;
        let waits = self.core.hot.publishers_wait() && self.patience.is_there(now);
        routing.waiting_publisher = waits.then_some(self.client.subscriber);
        let Poll::Ready(read) = self.input.poll_read(&mut self.socket, cx, buffer) else { return Ok(false) };
        let received = match read.map_err(End::Failed)? {
            Read::End => return Err(End::Closed),
            Read::NoRoom => {
                self.timers.stalled.get_or_insert(now);
                // Others give room back without telling; a look from time to time is enough.
                self.timers.relief.get_or_insert(now + input::ROOM_RETRY);
                return Ok(false);
            }
            Read::Part { received } => received,
            Read::Bytes { len, received } => {
                let bytes = &buffer[..len];
                let done = self.handle_bytes(bytes, None, routing)?;
                if !self.input.keep(&bytes[done.decoded..], done.needed, done.more) {
                    return Err(End::PacketStall);
                }
                received
            }
            Read::Packet { packet, received } => {
                self.handle_bytes(&packet, Some(&packet), routing)?;
                received
            }
        };
        self.timers.pace = self.pace.charge(&routing.tally, &self.core, now)?;
        self.client.counts.messages_in.add(routing.tally.publish_received);
        if !routing.pressed.is_empty() {
            self.core.metrics.publisher_stalls.add(1);
            self.timers.relief = Some(now + self.core.limits().publisher_stall);
            self.patience.wait_for(std::mem::take(&mut routing.pressed));
        }
        if received > 0 {
            self.timers.heard(now);
            routing.tally.bytes_received += received as u64;
        }
        Ok(true)
    }

    fn may_read(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        if self.timers.pace.is_some() || self.patience.poll(cx).is_pending() {
            return Ok(false);
        }
        if !self.input.waits_for_room() {
            self.timers.relief = None;
        }
        match self.core.records.poll_settled(self.unkept, cx) {
            Poll::Pending => return Ok(false),
            Poll::Ready(kept) => kept.map_err(End::LogFailed)?,
        }
        self.unkept = Mark::default();
        // A client that reads no acknowledgements gets no further ones.
        Ok(!(self.output.is_blocked() && self.client.outbox.is_clogged()))
    }

    fn write(&mut self, cx: &mut Context<'_>, worker: &mut Worker, now: Instant) -> Result<Written, End> {
        if self.client.has_queue() {
            let mut recorder = self.core.records.recorder();
            self.client.lock().transmit(&mut worker.routing, &mut recorder, &self.core);
        }
        let written = self.output.poll_write(&mut self.socket, &self.client, &self.core, worker, cx)?;
        match written {
            Written::Some => self.timers.stalled = Some(now),
            Written::None => {
                self.timers.stalled.get_or_insert(now);
            }
            Written::All => self.unanswered = 0,
            Written::Unsettled => {}
        }
        match written {
            Written::Some | Written::None => {}
            Written::Unsettled | Written::All if self.input.waits_for_room() => {}
            Written::Unsettled | Written::All => self.timers.stalled = None,
        }
        Ok(written)
    }

    /// What a client of MQTT 5 is told at the end. A packet that was cut in the middle can't be followed by another.
    fn last_words(&self, end: &End) -> Option<Vec<u8>> {
        if self.output.is_within_a_packet() {
            return None;
        }
        let limits = self.core.limits();
        let redirect = limits.offer.redirect.as_ref().filter(|_| end.is_shutdown());
        farewell::words(end, self.version, &self.manner, redirect)
    }

    /// Ends it: the session learns how, the will is published, and whoever waits for the seat gets it. Answers the socket.
    fn leave(mut self, end: &End) -> Option<T> {
        let core = Arc::clone(&self.core);
        end.count(&core.metrics);
        self.replays.forget(&core);
        let keep = if end.is_shutdown() { true } else { self.end_session(end) };
        core.metrics.connections.sub(1);
        if let Some(seat) = self.seat.take() {
            core.registry.leave(seat, keep);
        }
        tracing::info!(client = &*self.client.id, peer = %self.peer, reason = %end, "disconnected");
        Some(self.socket)
    }

    /// Answers whether the session outlives the connection.
    fn end_session(&mut self, end: &End) -> bool {
        let core = &self.core;
        let goodbye = if matches!(end, End::Disconnect) { Goodbye::Disconnect } else { Goodbye::Lost };
        // Rounded up: nothing ends earlier than it was asked for.
        let now = clock::unix_time().as_secs() + 1;
        let mut locked = self.client.lock();
        let mut recorder = core.records.recorder();
        let Some(ended) = locked.session().disconnect(self.epoch, goodbye, now, &mut recorder) else {
            return true;
        };
        let own_end =
            locked.session().expiry().and(locked.session().expires_at(core.limits().session_expiry));
        let over = ended.over.then(|| locked.end(&mut recorder, core));
        locked.count_queue(core);
        // Under the lock, for the sake of a checkpoint.
        let (will, earlier) = match ended.will.map(|will| (will.due, will)) {
            Some((Some(due), will)) => (None, core.wills.add(will, clock::at_second(due))),
            Some((None, will)) => (Some(will), None),
            None => (None, None),
        };
        drop(locked);
        if let Some(end) = own_end.filter(|_| over.is_none()) {
            core.expiring.set(&self.client.id, end);
        }
        let ended_at = recorder.mark();
        for will in [earlier, will].iter().flatten() {
            wills::publish_now(core, &*self.principal, will);
        }
        core.records.hasten(ended_at);
        if let Some(over) = &over {
            core.forget_client(&self.client, over);
        }
        !ended.over
    }
}
