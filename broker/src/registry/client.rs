//! One client: its session behind a mutex, its outbox, who it is logged in as. Messages of QoS 1 and 2 reach it here.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::{Mutex, MutexGuard};

use super::Chair;
use super::counts::ClientCounts;
use crate::broker::Core;
use crate::clients::Presence;
use crate::clock;
use crate::hooks::Principal;
use crate::message::{Message, Terms};
use crate::metrics::{Dropped, Number};
use crate::outbox::{Close, Outbox};
use crate::peer::Address;
use crate::pressure::Shed;
use crate::records::Recorder;
use crate::router::{self, Frames, Outgoing, Routing};
use crate::session::{Delivery, Room, Session, Transmit, Unanswered};
use crate::trie::SubscriberId;

/// What the queue of a connected client may hold when the queues of all sessions together are full.
const FREE_QUEUE_BYTES: usize = 8 << 10;

/// See the module. It is shared by the registry, the tree, and the match caches; when the client is gone only its empty shell may
/// stay in caches.
pub(crate) struct Client {
    pub(crate) id: Arc<str>,
    pub(crate) subscriber: SubscriberId,
    pub(crate) outbox: Outbox,
    pub(crate) counts: ClientCounts,
    pub(super) chair: Chair,
    state: Mutex<State>,
    /// Whether the user's rights must be asked at each delivery.
    restricted: AtomicBool,
    /// Messages that the session holds back. Changed under its lock.
    queued: AtomicUsize,
}

struct State {
    session: Session,
    principal: Arc<dyn Principal>,
    /// The present or last connection.
    presence: Option<Presence>,
    /// What of the session's queue is in the metrics.
    counted: Queue,
    /// The session is over. Publishers that looked its client up before must not fill it again.
    over: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Queue {
    messages: usize,
    bytes: usize,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Client {
    pub(crate) fn new(
        subscriber: SubscriberId,
        session: Session,
        principal: Arc<dyn Principal>,
        outbox: Outbox,
    ) -> Self {
        let restricted = AtomicBool::new(principal.rights().is_some());
        Self {
            id: Arc::clone(session.client_id()),
            subscriber,
            outbox,
            counts: ClientCounts::default(),
            chair: Chair::default(),
            state: Mutex::new(State {
                session,
                principal,
                presence: None,
                counted: Queue::default(),
                over: false,
            }),
            restricted,
            queued: AtomicUsize::new(0),
        }
    }

    /// Does the session hold messages back which may leave when there is room?
    pub(crate) fn has_queue(&self) -> bool {
        self.waiting() > 0
    }

    /// How many messages the session holds back.
    pub(crate) fn waiting(&self) -> usize {
        self.queued.load(Ordering::Acquire)
    }

    /// Is there a connection which takes messages?
    pub(crate) fn is_connected(&self) -> bool {
        self.outbox.lock().is_open()
    }

    /// Locks the session. Do not lock the registry, the tree or another session meanwhile.
    pub(crate) fn lock(&self) -> Locked<'_> {
        Locked { state: self.state.lock(), client: self }
    }

    /// Counts messages to it that are lost.
    pub(crate) fn lose(&self, reason: Dropped, n: u64, core: &Core) {
        core.metrics.dropped(reason, n);
        self.counts.drop(reason, n);
    }

    /// Tells its connection to end. `false`: it has none.
    pub(crate) fn tell(&self, reason: Close) -> bool {
        self.chair.tell(self, reason)
    }

    /// The address of its connection, if it has one.
    pub(crate) fn seated_peer(&self) -> Option<Address> {
        let seated = self.chair.is_taken();
        let state = self.state.lock();
        let connected = seated && state.session.is_connected();
        state.presence.as_ref().filter(|_| connected).map(|presence| presence.peer.clone())
    }

    /// The same; what it may not get is counted.
    #[inline]
    pub(crate) fn receives(&self, topic: &str, core: &Core) -> bool {
        let receives = self.may_receive(topic);
        if !receives {
            self.lose(Dropped::ReceiveDenied, 1, core);
        }
        receives
    }

    /// Is the user allowed to get messages on `topic`?
    #[inline]
    pub(crate) fn may_receive(&self, topic: &str) -> bool {
        !self.restricted.load(Ordering::Relaxed) || self.is_permitted(topic)
    }

    #[inline(never)]
    fn is_permitted(&self, topic: &str) -> bool {
        let principal = Arc::clone(&self.state.lock().principal);
        principal.rights().is_none_or(|rights| rights.receive(topic))
    }

    /// Gives a message of QoS 1 or 2 to the session: from there it goes to the outbox at once, or waits in the queue. Answers
    /// whether it does.
    pub(crate) fn deliver(
        self: &Arc<Self>,
        message: &Arc<Message>,
        terms: &Terms,
        frames: &mut Frames<'_>,
        routing: &mut Routing,
        recorder: &mut Recorder<'_>,
        core: &Core,
    ) -> bool {
        let mut locked = self.lock();
        if locked.state.over {
            return false;
        }
        if frames.message().served.contains(&locked.session().sid()) {
            return true;
        }
        let mut outbox = self.outbox.lock();
        if outbox.is_choosy() && !outbox.takes(frames.len_for(outbox.shape(), terms, true)) {
            self.lose(Dropped::TooLarge, 1, core);
            return false;
        }
        // A connected client which keeps up shall not lose messages because others, who do not, have filled all queues.
        let small = outbox.is_open() && locked.session().queued_bytes() + message.size() <= FREE_QUEUE_BYTES;
        let shed = !outbox.is_open() && core.pressure.sheds(Shed::AwayQueues);
        let queues = !shed && (small || core.queues_have_room());
        let room = Room { outbox: outbox.has_room(message.size()), queues };
        let delivery = locked.session().deliver(message, terms, room, recorder);
        match delivery {
            Delivery::Send { packet_id } => {
                router::put(&mut outbox, frames, terms, Some(packet_id), false, &mut routing.dirty);
                outbox.mark(recorder.mark());
            }
            Delivery::Queued { displaced } => {
                routing.tally.dropped_queue += displaced as u64;
                self.counts.drop(Dropped::QueueFull, displaced as u64);
                locked.count_queue(core);
                outbox.press_queue(locked.is_queue_nearly_full(core));
            }
            Delivery::Dropped(_) if shed => {
                self.lose(Dropped::Memory, 1, core);
            }
            Delivery::Dropped(_) => {
                routing.tally.dropped_queue += 1;
                self.counts.drop(Dropped::QueueFull, 1);
            }
        }
        if outbox.presses() {
            routing.press(self);
        }
        !matches!(delivery, Delivery::Dropped(_))
    }

    /// It lost a race and is known to nobody.
    pub(super) fn abandon(self: &Arc<Self>, core: &Core) {
        core.router.leave(self);
        core.metrics.sessions.sub(1);
    }
}

/// What a session leaves when it is over.
pub(crate) struct Estate {
    /// Its filters, which are still in the tree.
    pub(crate) filters: Vec<Arc<str>>,
    /// Messages of shared subscriptions for other members.
    pub(crate) unanswered: Vec<Unanswered>,
}

/// A client whose session is locked.
pub(crate) struct Locked<'a> {
    state: MutexGuard<'a, State>,
    client: &'a Client,
}

impl Locked<'_> {
    /// The session.
    pub(crate) fn session(&mut self) -> &mut Session {
        &mut self.state.session
    }

    /// As whom the client is, or was last, logged in.
    pub(crate) fn principal(&self) -> Arc<dyn Principal> {
        Arc::clone(&self.state.principal)
    }

    /// The client has logged in anew.
    pub(crate) fn log_in(&mut self, principal: Arc<dyn Principal>) {
        self.client.restricted.store(principal.rights().is_some(), Ordering::Relaxed);
        self.state.principal = principal;
    }

    /// The present or last connection.
    pub(crate) fn presence(&self) -> Option<&Presence> {
        self.state.presence.as_ref()
    }

    /// Notes the connection that begins.
    pub(crate) fn set_presence(&mut self, presence: Presence) {
        self.state.presence = Some(presence);
    }

    /// Ends the session for good. Answers what it leaves.
    pub(crate) fn end(&mut self, recorder: &mut Recorder<'_>, core: &Core) -> Estate {
        let session = &mut self.state.session;
        let filters = session.subscriptions().map(|(filter, _)| Arc::clone(filter)).collect();
        let unanswered = session.take_unanswered();
        session.end(recorder);
        self.state.over = true;
        self.count_queue(core);
        Estate { filters, unanswered }
    }

    /// Drops what has waited too long.
    pub(crate) fn drop_expired(&mut self, recorder: &mut Recorder<'_>, core: &Core) {
        self.state.session.drop_expired(clock::unix_ms(), recorder);
        self.client.lose(Dropped::Expired, self.state.session.take_expired() as u64, core);
        self.count_queue(core);
    }

    /// Brings the metrics up to the queue as it is now.
    pub(crate) fn count_queue(&mut self, core: &Core) {
        let State { session, counted, .. } = &mut *self.state;
        let now = Queue { messages: session.queued_messages(), bytes: session.queued_bytes() };
        let before = std::mem::replace(counted, now);
        self.client.queued.store(now.messages, Ordering::Release);
        if now.messages != before.messages {
            change(&core.metrics.queued_messages, before.messages, now.messages);
            change(&core.metrics.queued_bytes, before.bytes, now.bytes);
        }
    }

    /// Moves what may leave now into the outbox: as much as the window and the outbox take.
    pub(crate) fn transmit(&mut self, routing: &mut Routing, recorder: &mut Recorder<'_>, core: &Core) {
        if !self.state.session.can_transmit() {
            return;
        }
        let client = self.client;
        let now = clock::unix_ms();
        let mut outbox = client.outbox.lock();
        while outbox.has_room(0) {
            let Some(transmit) = self.state.session.poll_transmit(now, recorder) else { break };
            match transmit {
                Transmit::Publish { packet_id, dup, message, terms } => {
                    let outgoing = Outgoing::of(&message);
                    let mut frames = Frames::new(&outgoing, routing.take_buffers());
                    let dirty = &mut routing.dirty;
                    if !router::put(&mut outbox, &mut frames, &terms, Some(packet_id), dup, dirty) {
                        self.state.session.end_flow(packet_id, recorder);
                        client.lose(Dropped::TooLarge, 1, core);
                    }
                    routing.give_buffers(frames.into_buffers());
                }
                Transmit::Pubrel { packet_id } => {
                    let mut packet = [0x62, 2, 0, 0];
                    packet[2..].copy_from_slice(&packet_id.get().to_be_bytes());
                    outbox.control(&packet, 1, &mut routing.dirty);
                }
            }
        }
        outbox.mark(recorder.mark());
        outbox.press_queue(self.is_queue_nearly_full(core));
        drop(outbox);
        client.lose(Dropped::Expired, self.state.session.take_expired() as u64, core);
        self.count_queue(core);
    }

    /// Is the queue so full that a publisher should wait for this subscriber?
    fn is_queue_nearly_full(&self, core: &Core) -> bool {
        let Queue { messages, bytes } = self.state.counted;
        core.hot.is_nearly_full(messages, bytes)
    }
}

fn change(gauge: &Number, before: usize, now: usize) {
    if now > before {
        gauge.add((now - before) as u64);
    } else {
        gauge.sub((before - now) as u64);
    }
}
