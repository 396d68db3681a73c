//! Replays of retained messages to this client: each is taken in slices, in turn with the others, when the outbox (and at QoS 1
//! and 2 the window and the queue) has room. What is owed is the session's; here are the positions.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use crate::broker::Core;
use crate::hooks::{Principal, Progress, Replay, RetainedMessage};
use crate::message::{Message, QoS};
use crate::registry::Client;
use crate::router::{Frames, Outgoing, Routing};
use crate::session::{Delivery, PendingReplay, ReplayId, Room, Session};
use crate::sys;

/// Messages of one slice, at most.
const SLICE_MESSAGES: usize = 256;
/// Bytes of one slice, about.
const SLICE_BYTES: usize = 64 << 10;
/// Replays looked at for one that may go on.
const TURNS: usize = 16;
/// No slice while so much waits in the outbox.
const FULL_BYTES: usize = 64 << 10;

/// See the module.
#[derive(Default)]
pub(super) struct Replays {
    /// None is owed.
    none: bool,
    last: Option<ReplayId>,
    under_way: HashMap<ReplayId, Box<dyn Replay>>,
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

    /// Takes one slice, if there is room. Answers whether that brought anything forward.
    pub(super) fn advance(
        &mut self,
        client: &Arc<Client>,
        principal: &dyn Principal,
        routing: &mut Routing,
        core: &Core,
    ) -> bool {
        if self.none || client.outbox.held_bytes() >= FULL_BYTES {
            return false;
        }
        let Some((turn, messages, bytes)) = self.next_turn(client, core) else { return false };
        let replay = self.under_way.entry(turn.id).or_insert_with(|| {
            core.metrics.replays_pending.add(1);
            if sys::owns(&turn.filter) {
                sys::replay(&core.sys, &turn.filter)
            } else {
                principal.replay(&turn.filter)
            }
        });
        let rights = principal.rights();
        let progress = replay.slice(messages, bytes, &mut |retained| {
            if rights.is_none_or(|rights| rights.receive(retained.topic)) {
                hand_over(client, &turn, &retained, routing, core);
            }
        });
        if progress == Progress::Done {
            self.under_way.remove(&turn.id);
            core.metrics.replays_pending.sub(1);
            client.lock().session().replay_done(turn.id, &mut core.records.recorder());
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
            self.none = true;
            self.under_way = HashMap::new();
            return None;
        }
        // Those of QoS 1 and 2 may have to wait while others may go on.
        for _ in 0..session.replays().min(TURNS) {
            let turn = session.next_replay(self.last)?;
            self.last = Some(turn.id);
            let (messages, bytes) = room(session, turn.qos);
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

/// Gives one retained message to the client, at most at the subscription's QoS and with RETAIN 1 [MQTT-3.3.1-8].
fn hand_over(
    client: &Client,
    turn: &PendingReplay,
    retained: &RetainedMessage<'_>,
    routing: &mut Routing,
    core: &Core,
) {
    let qos = QoS::from_u8(retained.qos).unwrap_or(QoS::ExactlyOnce);
    let live = Outgoing::new(retained.topic, retained.payload, qos);
    let outgoing = Outgoing { retain: true, shared: retained.shared, ..live };
    let mut frames = Frames::new(&outgoing, routing.take_heads());
    match qos.min(turn.qos) {
        QoS::AtMostOnce => client.outbox.lock().put(&frames.plain(), &mut routing.dirty),
        qos => {
            let message: Arc<Message> = Arc::new(frames.keep(&retained.topic.into()));
            let mut recorder = core.records.recorder();
            let mut locked = client.lock();
            let mut outbox = client.outbox.lock();
            let room = Room { outbox: outbox.has_room(message.size()), queues: true };
            match locked.session().deliver_replayed(&message, qos, room, &mut recorder) {
                Delivery::Send { packet_id } => {
                    outbox.put(&frames.with_id(qos, packet_id, false), &mut routing.dirty);
                    outbox.mark(recorder.mark());
                }
                Delivery::Queued { .. } => locked.count_queue(core),
                Delivery::Dropped(_) => core.metrics.dropped_queue.add(1),
            }
        }
    }
    routing.give_heads(frames.into_heads());
}
