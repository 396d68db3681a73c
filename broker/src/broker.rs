//! The handle that an embedder holds: start, restore, listen, publish, checkpoint, stop.
//!
//! ```no_run
//! use std::sync::Arc;
//! use distkv_broker::hooks::memory::{MemoryHooks, NoLog};
//! use distkv_broker::{Broker, limits::Limits};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let broker = Broker::new(Limits::default(), Arc::new(MemoryHooks::new()), Arc::new(NoLog));
//! broker.start();
//! broker.listen(tokio::net::TcpListener::bind("127.0.0.1:1883").await?);
//! // Serves until the program ends its service:
//! # let end_of_service = async {};
//! end_of_service.await;
//! broker.shutdown(std::time::Duration::from_secs(5)).await;
//! # Ok(())
//! # }
//! ```

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;

use crate::conn::{self, LineLimit};
use crate::delayed::{self, Delayed};
use crate::drops::{Drop, Drops};
use crate::flapping::Flapping;
use crate::hooks::{Hooks, Mark, Principal, Provenance, SessionLog};
use crate::limits::{Budget, HotLimits, Limits, SharedRates};
use crate::listener::Entry;
use crate::message::Message;
use crate::metrics::{Dropped, Metrics};
use crate::outbox::{Close, Outbox};
use crate::peer::{Listener, Peer, Place};
use crate::pressure::{self, Pressure};
use crate::records::Records;
use crate::registry::expiry::{self, Expiring};
use crate::registry::{Client, Estate, Registry, Seat};
use crate::router::{self, Accepted, Outgoing, Router, accept};
use crate::session::{Recovered, Recovery, RecoveryError, Session};
use crate::tasks::Tasks;
use crate::transport::{ListeningSocket, Transport};
use crate::wills::{self, Wills};
use crate::{ListenerConfig, clock, listener, sys, worker};

/// Clients of which the last drops are known, and clients of which the last refused logins are.
const DROPS_OF: usize = 1024;

/// A broker. Its methods that start something must be called within a tokio runtime.
pub struct Broker {
    core: Arc<Core>,
    /// Accepts, housekeeping: what stops first.
    service: Tasks,
    recovery: Mutex<Option<Recovery>>,
}

/// What all parts of one broker share.
pub(crate) struct Core {
    pub(crate) hooks: Arc<dyn Hooks>,
    pub(crate) records: Records,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) router: Router,
    pub(crate) registry: Registry,
    pub(crate) wills: Wills,
    pub(crate) delayed: Delayed,
    pub(crate) expiring: Expiring,
    /// The current `$SYS` values.
    pub(crate) sys: sys::Values,
    /// Bytes of unfinished large packets.
    pub(crate) unfinished: Arc<Budget>,
    /// Bytes in all outboxes.
    pub(crate) outboxes: Arc<Budget>,
    /// One permit per connection that is not yet through with its CONNECT.
    pub(crate) handshakes: Arc<Semaphore>,
    /// Limits the log lines about connections that are none.
    pub(crate) lines: LineLimit,
    /// The same for those about drops.
    drop_lines: LineLimit,
    drops: Drops,
    /// Logins that were refused, by the client identifier that they named: whoever makes these up pushes nobody out of `drops`.
    refusals: Drops,
    pub(crate) connections: Tasks,
    /// The listener of connections that come in by no configured one.
    plain: Arc<Listener>,
    pub(crate) started: Instant,
    pub(crate) hot: HotLimits,
    pub(crate) rates: SharedRates,
    pub(crate) flapping: Mutex<Flapping>,
    pub(crate) pressure: Arc<Pressure>,
    /// For whoever sleeps while a limit is off.
    pub(crate) limits_changed: Notify,
    limits: ArcSwap<Limits>,
}

impl Core {
    pub(crate) fn limits(&self) -> Guard<Arc<Limits>> {
        self.limits.load()
    }

    /// Notes for a client that something was dropped or refused, and logs it if there is not too much of that.
    pub(crate) fn note_drop(
        &self,
        client: &str,
        reason: &'static str,
        topic: &str,
        detail: impl FnOnce() -> String,
    ) {
        let detail = detail();
        if let Some(left_out) = self.drop_lines.allow(clock::now()) {
            tracing::info!(client, topic, reason, detail, left_out, "dropped");
        }
        self.drops.note(client, clock::unix_ms(), reason, topic, || detail);
    }

    /// Notes a message that a client would have published: a will, or one that was delayed.
    pub(crate) fn note_loss(
        &self,
        client: &str,
        principal: &dyn Principal,
        message: &Outgoing<'_>,
        reason: Dropped,
    ) {
        let why = || router::why_dropped(principal, message, reason);
        self.drops.note(client, clock::unix_ms(), reason.name(), message.topic, why);
    }

    /// Notes that a login was refused.
    pub(crate) fn note_refusal(&self, client: &str, words: &str) {
        self.refusals.note(client, clock::unix_ms(), "login_refused", "", || words.to_owned());
    }

    /// What was noted of a client, in the order of time.
    pub(crate) fn drops_of(&self, client: &str) -> Vec<Drop> {
        let mut drops = self.drops.of(client);
        drops.extend(self.refusals.of(client));
        drops.sort_by_key(|drop| drop.at_ms);
        drops
    }

    /// May another message wait in a session's queue?
    pub(crate) fn queues_have_room(&self) -> bool {
        self.metrics.queued_bytes.get() < self.hot.queues_bytes() as u64
    }

    /// Makes a client and gives it its number; `None` if there is no room for another session.
    pub(crate) fn make_client(&self, id: &Arc<str>, principal: &Arc<dyn Principal>) -> Option<Arc<Client>> {
        let limits = self.limits();
        if self.metrics.sessions.get() >= limits.sessions as u64 {
            return None;
        }
        let number = self.records.number();
        let session = Session::new(number, Arc::clone(id), limits.of_session(), clock::unix_time().as_secs());
        Some(self.enter_client(session, Arc::clone(principal)))
    }

    fn enter_client(&self, session: Session, principal: Arc<dyn Principal>) -> Arc<Client> {
        self.metrics.sessions.add(1);
        let outbox = Outbox::new(Arc::clone(&self.outboxes));
        self.router.enter(|subscriber| Arc::new(Client::new(subscriber, session, principal, outbox)))
    }

    /// Forgets a client whose session is over, apart from the registry.
    pub(crate) fn forget_client(&self, client: &Client, estate: &Estate) {
        self.metrics.subscriptions.sub(self.router.unsubscribe(client, &estate.filters) as u64);
        self.router.leave(client);
        self.expiring.forget(&client.id);
        self.metrics.sessions.sub(1);
        if !estate.unanswered.is_empty() {
            worker::with(|worker| {
                for left in &estate.unanswered {
                    self.router.hand_on(left, &mut worker.routing, self);
                }
                worker.routing.finish(None, self);
            });
        }
    }

    /// Ends the session of a client whose seat is taken for that, and forgets it. Its will waits no longer [MQTT5-3.1.2-8]; but for
    /// that of a session which was to end with its connection, if a restart has ended both: this one has its grace like any other.
    pub(crate) fn end_session(&self, seat: Seat) -> Mark {
        let client = &seat.client;
        let mut recorder = self.records.recorder();
        let mut locked = client.lock();
        let with_connection = locked.session().expiry() == Some(0);
        let estate = locked.end(&mut recorder, self);
        let principal = locked.principal();
        drop(locked);
        self.forget_client(client, &estate);
        let has_grace = with_connection && self.wills.awaits_return(&client.id);
        if !has_grace && let Some(will) = self.wills.cancel(&client.id) {
            wills::publish_now(self, &*principal, &will);
        }
        self.registry.leave(seat, false);
        recorder.mark()
    }

    fn set_limits(&self, limits: Limits) {
        self.metrics.show_limits(&limits);
        self.hot.set(&limits);
        // How many copies a client gets is part of what workers remember.
        self.router.look_again();
        self.rates.set(&limits);
        self.unfinished.set_limit(limits.unfinished_bytes);
        self.outboxes.set_limit(limits.outboxes_bytes);
        let before = self.limits.load().pending_handshakes;
        if limits.pending_handshakes > before {
            self.handshakes.add_permits(limits.pending_handshakes - before);
        } else {
            self.handshakes.forget_permits(before - limits.pending_handshakes);
        }
        self.limits.store(Arc::new(limits));
        self.limits_changed.notify_one();
    }
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker").field("limits", &self.core.limits()).finish_non_exhaustive()
    }
}

impl Broker {
    /// A broker that does nothing yet. If `log` has records from before, give them to [`Broker::restore`] in their order; then
    /// call [`Broker::start`].
    #[must_use]
    pub fn new(limits: Limits, hooks: Arc<dyn Hooks>, log: Arc<dyn SessionLog>) -> Self {
        let now = clock::now();
        let core = Core {
            hooks,
            records: Records::new(log),
            metrics: Arc::default(),
            router: Router::new(),
            registry: Registry::default(),
            wills: Wills::default(),
            delayed: Delayed::default(),
            expiring: Expiring::default(),
            sys: sys::Values::default(),
            unfinished: Arc::default(),
            outboxes: Arc::default(),
            handshakes: Arc::new(Semaphore::new(limits.pending_handshakes)),
            lines: LineLimit::new(now),
            drop_lines: LineLimit::new(now),
            drops: Drops::new(DROPS_OF),
            refusals: Drops::new(DROPS_OF),
            connections: Tasks::new(),
            plain: Arc::default(),
            started: now,
            limits: ArcSwap::from_pointee(limits.clone()),
            hot: HotLimits::default(),
            rates: SharedRates::default(),
            flapping: Mutex::default(),
            pressure: Arc::default(),
            limits_changed: Notify::new(),
        };
        core.set_limits(limits);
        Self { core: Arc::new(core), service: Tasks::new(), recovery: Mutex::new(None) }
    }

    /// Takes one record of the session log back. Must not be called after [`Broker::start`].
    ///
    /// # Errors
    /// The record can't be understood and changed nothing; the next ones may be.
    pub fn restore(&self, record: &[u8]) -> Result<(), RecoveryError> {
        let mut recovery = self.recovery.lock();
        let recovery = recovery.get_or_insert_with(|| {
            Recovery::new(self.core.limits().of_session(), clock::unix_time().as_secs())
        });
        recovery.apply(record)
    }

    /// Takes up what was restored and begins to keep house: session expiry, wills of before, `$SYS`.
    pub fn start(&self) {
        let core = &self.core;
        let recovered = self.recovery.lock().take().map(Recovery::finish);
        core.records.reset();
        if let Some(recovered) = recovered {
            self.take_up(recovered);
        }
        self.service.spawn("wills", wills::publish_due(Arc::clone(core), self.service.stop_signal()));
        self.service.spawn("delayed", delayed::publish_due(Arc::clone(core), self.service.stop_signal()));
        self.service.spawn("session expiry", expiry::sweep(Arc::clone(core), self.service.stop_signal()));
        self.service.spawn("sessions due", expiry::end_due(Arc::clone(core), self.service.stop_signal()));
        self.service.spawn("memory", pressure::watch(Arc::clone(core), self.service.stop_signal()));
        self.service.spawn("$SYS", sys::publish(Arc::clone(core), self.service.stop_signal()));
    }

    fn take_up(&self, recovered: Recovered) {
        let core = &self.core;
        core.records.resume_after(recovered.highest_number, recovered.highest_mid);
        if recovered.lost > 0 || recovered.contradictions > 0 {
            let (lost, contradictions) = (recovered.lost, recovered.contradictions);
            tracing::warn!(
                lost,
                contradictions,
                "the session log was damaged; what could be read is restored"
            );
        }
        for session in recovered.sessions {
            let principal = core.hooks.restored(session.client_id(), session.user().map(|user| &**user));
            let own_end = session.expiry().and(session.expires_at(core.limits().session_expiry));
            let client = core.enter_client(session, principal);
            if let Some(end) = own_end {
                core.expiring.set(&client.id, end);
            }
            let mut locked = client.lock();
            let subscriptions: Vec<_> = locked
                .session()
                .subscriptions()
                .map(|(filter, subscription)| (Arc::clone(filter), subscription))
                .collect();
            locked.count_queue(core);
            drop(locked);
            for (filter, subscription) in &subscriptions {
                core.router.subscribe(&client, filter, subscription);
            }
            core.metrics.subscriptions.add(subscriptions.len() as u64);
            core.registry.insert(client);
        }
        for message in recovered.delayed {
            core.delayed.restore(message);
        }
        let grace = core.limits().will_grace;
        for will in recovered.wills {
            // Those that did not wait yet: their connection has ended with the broker, and the client may come back. Where the session
            // has ended with it, there is nothing to wait for longer.
            let delay = if core.registry.get(&will.client_id).is_some() { will.will.delay } else { 0 };
            let delay = Duration::from_secs(delay.into());
            let at = will.due.map_or_else(|| clock::now() + grace.max(delay), clock::at_second);
            if let Some(earlier) = core.wills.add(will, at) {
                let principal = core.hooks.restored(&earlier.client_id, earlier.user.as_deref());
                worker::with(|worker| wills::publish(core, &*principal, &earlier, &mut worker.routing));
            }
        }
        core.metrics.wills_waiting.set(core.wills.len() as u64);
    }

    /// Accepts connections of plain MQTT from `socket`, until the broker is shut down.
    pub fn listen(&self, socket: TcpListener) {
        let listener = Arc::clone(&self.core.plain);
        self.listen_on(socket, ListenerConfig { listener, ..ListenerConfig::default() });
    }

    /// Accepts connections from `socket`, by the rules of `config`, until the broker is shut down. Several sockets may share
    /// one [`Listener`], and then its limits, too.
    pub fn listen_on(&self, socket: impl Into<ListeningSocket>, config: ListenerConfig) {
        let stop = self.service.stop_signal();
        let accept = listener::accept(Arc::clone(&self.core), socket.into(), Arc::new(config), stop);
        self.service.spawn("listener", accept);
    }

    /// Serves one client on a stream that somebody else accepted.
    pub fn serve(&self, stream: impl Transport, peer: SocketAddr) {
        self.serve_peer(stream, Peer::plain(peer.into(), Arc::clone(&self.core.plain)));
    }

    /// As [`Broker::serve`], for a client of whom more is known than his address.
    pub fn serve_peer(&self, stream: impl Transport, peer: Peer) {
        let core = &self.core;
        core.metrics.sockets_opened.add(1);
        let deadline = clock::now() + core.limits().connect_timeout;
        let entry = Entry { permit: None, deadline, place: Place::take(&core.metrics, &peer.listener) };
        conn::start(core, stream, peer, entry);
    }

    /// Is anybody subscribed to anything? Otherwise nothing need be [published](Self::publish).
    pub fn has_subscriptions(&self) -> bool {
        self.core.router.has_subscriptions()
    }

    /// Delivers a message to the subscribers here and now. For messages of other writers than MQTT clients: those of retained
    /// topics must be handed over in the order of all changes, with where the new value comes from. It does not block.
    pub fn publish(&self, message: &Message, provenance: Option<&Provenance<'_>>) {
        worker::with(|worker| {
            let routing = &mut worker.routing;
            let outgoing = Outgoing { retained: provenance.is_some(), provenance, ..Outgoing::of(message) };
            self.core.router.publish(&outgoing, routing, &self.core);
            routing.finish(None, &self.core);
        });
    }

    /// Publishes a message that is not retained in the name of somebody who has come by another way than MQTT: the same rules hold for him,
    /// as to rights, the broker's own topics and the length of topics. It does not block.
    ///
    /// # Errors
    /// Why it was dropped, which is counted.
    pub fn publish_as(&self, principal: &dyn Principal, message: &Message) -> Result<(), Dropped> {
        worker::with(|worker| {
            let routing = &mut worker.routing;
            let accepted = accept(&self.core, principal, &Outgoing::of(message), routing);
            routing.finish(None, &self.core);
            match accepted {
                Accepted::Dropped(reason) => Err(reason),
                // Only what is retained knows of conditions, and can be unavailable.
                Accepted::Routed(_) | Accepted::Conflict(_) | Accepted::Unavailable => Ok(()),
            }
        })
    }

    /// Appends every session, every will and every delayed message to the log again, whole: then records from before the call are not needed any more.
    /// Each is written under its own lock. To be called when a new segment of the log has begun.
    pub fn checkpoint(&self) {
        let core = &self.core;
        core.records.begin_generation();
        core.delayed.record_all(&core.records);
        for client in core.registry.all() {
            let mut recorder = core.records.recorder();
            client.lock().session().checkpoint(&mut recorder);
        }
        core.wills.checkpoint(&core.records);
    }

    /// The messages that wait to be published and that `query` describes, in the order in which they came.
    #[must_use]
    pub fn delayed(&self, query: &delayed::Query) -> delayed::Page {
        self.core.delayed.list(query)
    }

    /// Has a message that waits not published. Answers whether it still waited, and only when the cancellation is kept (or nothing can be
    /// kept any more).
    pub async fn cancel_delayed(&self, number: u64) -> bool {
        let Some(mark) = self.core.delayed.cancel(number, &self.core) else { return false };
        // A failure of the log shows wherever something is acknowledged.
        let _kept = std::future::poll_fn(|cx| self.core.records.poll_settled(mark, cx)).await;
        true
    }

    /// All counters.
    #[must_use]
    pub fn metrics(&self) -> Arc<Metrics> {
        self.refresh_gauges();
        Arc::clone(&self.core.metrics)
    }

    fn refresh_gauges(&self) {
        let core = &self.core;
        core.metrics.outbox_bytes.set(core.outboxes.used() as u64);
        core.metrics.unfinished_bytes.set(core.unfinished.used() as u64);
        core.metrics.wills_waiting.set(core.wills.len() as u64);
        let (messages, bytes) = core.delayed.amount();
        core.metrics.delayed_messages.set(messages as u64);
        core.metrics.delayed_bytes.set(bytes as u64);
    }

    /// How near the end of the memory budget is. The embedder keeps to [`Shed::NewRetained`](pressure::Shed::NewRetained).
    #[must_use]
    pub fn pressure(&self) -> Arc<Pressure> {
        Arc::clone(&self.core.pressure)
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.core
    }

    /// The limits in force.
    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits::clone(&self.core.limits())
    }

    /// Changes the limits. Those of one connection or session hold for connections made from now on.
    pub fn set_limits(&self, limits: Limits) {
        self.core.set_limits(limits);
    }

    /// Stops: accepts nothing more, sends what waits for clients that read it within `drain`, closes. Wills are not published: they are in
    /// the log, as are the persistent sessions.
    pub async fn shutdown(&self, drain: Duration) {
        self.service.stop();
        self.service.ended().await;
        self.core.connections.stop();
        for client in self.core.registry.all() {
            client.outbox.close(Close::Shutdown);
        }
        if tokio::time::timeout(drain, self.core.connections.ended()).await.is_err() {
            for client in self.core.registry.all() {
                client.outbox.close(Close::Now);
            }
            // They end at once, unless the embedder holds one of them up.
            let _ = tokio::time::timeout(Duration::from_secs(1), self.core.connections.ended()).await;
        }
    }
}
