//! One client: its session behind a mutex, its outbox, who it is logged in as. Messages of QoS 1 and 2 reach it here.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::{Mutex, MutexGuard};
use smallvec::SmallVec;

use super::Chair;
use super::counts::ClientCounts;
use crate::broker::Core;
use crate::clients::Presence;
use crate::clock;
use crate::conn::OWN_TOPICS;
use crate::hooks::{Action, Principal};
use crate::message::{Message, Terms};
use crate::metrics::{Dropped, Number};
use crate::outbox::{Close, Outbox};
use crate::peer::Address;
use crate::pressure::Shed;
use crate::records::Recorder;
use crate::router::{self, Frames, Outgoing, Routing};
use crate::session::{Delivery, Room, Session, Transmit, Unanswered};
use crate::trie::SubscriberId;

/// The next number of a client's rights. None is given twice.
static RIGHTS: AtomicU64 = AtomicU64::new(1);

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
    /// Grows when the client logs in with other rights, so that verdicts of before stand no longer. 0: all may be received.
    rights: AtomicU64,
    /// Messages that the session holds back. Changed under its lock.
    queued: AtomicUsize,
}

/// Whether a client may get messages on a topic, as it was found at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    rights: u64,
    allowed: bool,
}

struct State {
    session: Session,
    principal: Arc<dyn Principal>,
    /// What all its topics begin with, unseen by it.
    mount: Option<Arc<str>>,
    /// The topic of the last message that had waited and was allowed, and for which rights that holds.
    allowed: Option<(u64, u64, Arc<str>)>,
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
        let rights = AtomicU64::new(match principal.rights() {
            Some(_) => RIGHTS.fetch_add(1, Ordering::Relaxed),
            None => 0,
        });
        Self {
            id: Arc::clone(session.client_id()),
            subscriber,
            outbox,
            counts: ClientCounts::default(),
            chair: Chair::default(),
            state: Mutex::new(State {
                session,
                principal,
                mount: None,
                allowed: None,
                presence: None,
                counted: Queue::default(),
                over: false,
            }),
            rights,
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

    /// Counts and notes messages to it that are lost.
    pub(crate) fn lose(&self, reason: Dropped, n: u64, topic: &str, core: &Core) {
        if n == 0 {
            return;
        }
        core.metrics.dropped(reason, n);
        self.counts.drop(reason, n);
        self.note(reason, topic, core);
    }

    /// Counts and notes a message that the user may not get. Its session must not be locked.
    pub(crate) fn deny(&self, topic: &str, core: &Core) {
        let principal = Arc::clone(&self.state.lock().principal);
        self.deny_to(&*principal, topic, core);
    }

    fn deny_to(&self, principal: &dyn Principal, topic: &str, core: &Core) {
        let reason = Dropped::ReceiveDenied;
        core.metrics.dropped(reason, 1);
        self.counts.drop(reason, 1);
        let why = || principal.rights().map_or_else(String::new, |rights| rights.why(Action::Receive, topic));
        self.note_with(reason.name(), topic, why, core);
    }

    /// Notes a message that is lost.
    pub(crate) fn note(&self, reason: Dropped, topic: &str, core: &Core) {
        self.note_with(reason.name(), topic, String::new, core);
    }

    /// Notes something that was dropped or refused, unless so much is that nobody would read it.
    pub(crate) fn note_with(
        &self,
        reason: &'static str,
        topic: &str,
        detail: impl FnOnce() -> String,
        core: &Core,
    ) {
        if self.counts.may_note(clock::unix_time().as_secs()) {
            core.note_drop(&self.id, reason, topic, detail);
        }
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

    /// What stands for its rights: a number that no other client has, and that it has as long as it is logged in as the same user.
    /// 0: it has no limits.
    #[inline]
    pub(crate) fn rights(&self) -> u64 {
        self.rights.load(Ordering::Acquire)
    }

    /// Is the user allowed to get messages on `topic`?
    pub(crate) fn may_receive(&self, topic: &str) -> bool {
        self.verdict_on(topic).allowed
    }

    /// The same, to be remembered as long as no rights change ([`Client::stands_by`]).
    pub(crate) fn verdict_on(&self, topic: &str) -> Verdict {
        // Before the principal is looked at: if that changes meanwhile, the verdict does not stand.
        let rights = self.rights.load(Ordering::Acquire);
        let allowed = rights == 0 || {
            let state = self.state.lock();
            let (principal, mount) = (Arc::clone(&state.principal), state.mount.clone());
            drop(state);
            may_receive(&*principal, mount.as_deref(), topic)
        };
        Verdict { rights, allowed }
    }

    /// The verdict on `topic`, unless the client has logged in with other rights since: then a new one.
    #[inline]
    pub(crate) fn stands_by(&self, verdict: Verdict, topic: &str) -> bool {
        if verdict.rights == self.rights.load(Ordering::Acquire) {
            verdict.allowed
        } else {
            self.may_receive(topic)
        }
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
            self.lose(Dropped::TooLarge, 1, &message.topic, core);
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
                if displaced > 0 {
                    self.note(Dropped::QueueFull, &message.topic, core);
                }
                locked.count_queue(core);
                outbox.press_queue(locked.is_queue_nearly_full(core));
            }
            Delivery::Dropped(_) if shed => {
                self.lose(Dropped::Memory, 1, &message.topic, core);
            }
            Delivery::Dropped(_) => {
                routing.tally.dropped_queue += 1;
                self.counts.drop(Dropped::QueueFull, 1);
                self.note(Dropped::QueueFull, &message.topic, core);
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

    /// The client has logged in anew. `mount`: what its topics begin with, unseen by it.
    pub(crate) fn log_in(&mut self, principal: Arc<dyn Principal>, mount: Option<Arc<str>>) {
        let State { principal: before, mount: mounted, .. } = &mut *self.state;
        let rights = &self.client.rights;
        let same = principal.user().is_some() && before.user() == principal.user() && *mounted == mount;
        let next = match principal.rights() {
            None => 0,
            Some(_) if same && rights.load(Ordering::Relaxed) > 0 => rights.load(Ordering::Relaxed),
            Some(_) => RIGHTS.fetch_add(1, Ordering::Relaxed),
        };
        (*before, *mounted) = (principal, mount);
        rights.store(next, Ordering::Release);
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
        self.client.lose(Dropped::Expired, self.state.session.take_expired() as u64, "", core);
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
        // What has waited was allowed when it came.
        let restricted = client.rights.load(Ordering::Relaxed) > 0;
        let asked = restricted.then(|| (Arc::clone(&self.state.principal), self.state.mount.clone()));
        let (generation, number) = (core.router.generation(), client.rights.load(Ordering::Relaxed));
        let mut allowed = self.state.allowed.take();
        let mut may = |topic: &Arc<str>| {
            let Some((principal, mount)) = &asked else { return true };
            if let Some((at, rights, known)) = allowed.as_ref()
                && (*at, *rights) == (generation, number)
                && (Arc::ptr_eq(known, topic) || known == topic)
            {
                return true;
            }
            let may = may_receive(&**principal, mount.as_deref(), topic);
            if may {
                allowed = Some((generation, number, Arc::clone(topic)));
            }
            may
        };
        let mut denied: SmallVec<[Arc<str>; 4]> = SmallVec::new();
        let mut outbox = client.outbox.lock();
        while outbox.has_room(0) {
            let Some(transmit) = self.state.session.poll_transmit(now, recorder) else { break };
            match transmit {
                Transmit::Publish { packet_id, message, .. } if !may(&message.topic) => {
                    self.state.session.end_flow(packet_id, recorder);
                    denied.push(Arc::clone(&message.topic));
                }
                Transmit::Publish { packet_id, dup, message, terms } => {
                    let outgoing = Outgoing::of(&message);
                    let mut frames = Frames::new(&outgoing, routing.take_buffers());
                    let dirty = &mut routing.dirty;
                    if !router::put(&mut outbox, &mut frames, &terms, Some(packet_id), dup, dirty) {
                        self.state.session.end_flow(packet_id, recorder);
                        client.lose(Dropped::TooLarge, 1, &message.topic, core);
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
        self.state.allowed = allowed;
        outbox.mark(recorder.mark());
        outbox.press_queue(self.is_queue_nearly_full(core));
        drop(outbox);
        client.lose(Dropped::Expired, self.state.session.take_expired() as u64, "", core);
        if let Some((principal, _)) = &asked {
            denied.iter().for_each(|topic| client.deny_to(&**principal, topic, core));
        }
        self.count_queue(core);
    }

    /// Is the queue so full that a publisher should wait for this subscriber?
    fn is_queue_nearly_full(&self, core: &Core) -> bool {
        let Queue { messages, bytes } = self.state.counted;
        core.hot.is_nearly_full(messages, bytes)
    }
}

/// May the principal get messages on `topic`? What the broker itself tells a client on topics of its own, it may always.
fn may_receive(principal: &dyn Principal, mount: Option<&str>, topic: &str) -> bool {
    let Some(rights) = principal.rights() else { return true };
    let own = topic.strip_prefix(mount.unwrap_or_default()).is_some_and(|it| it.starts_with(OWN_TOPICS));
    own || rights.receive(topic)
}

fn change(gauge: &Number, before: usize, now: usize) {
    if now > before {
        gauge.add((now - before) as u64);
    } else {
        gauge.sub((before - now) as u64);
    }
}
