//! What an operator sees of the clients and does to them: list, look at one, its subscriptions, who gets a topic; disconnect, drop
//! a session.
//!
//! Nothing here holds a lock for longer than one client (or one page of subscriptions) takes. A list over many clients is made in
//! steps, and lets other tasks have their turn in between.

mod select;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use crate::broker::{Broker, Core};
use crate::codec::ProtocolVersion;
use crate::hooks::Standing;
use crate::message::QoS;
use crate::metrics::Dropped;
use crate::outbox::Close;
use crate::peer::{Address, Listener};
use crate::registry::{Client, NoSeat};
use crate::session::Subscription;

pub use crate::drops::Drop;
pub use select::Query;

/// Clients, subscriptions or subscribers that one answer holds at most.
pub const PAGE_MAX: usize = 1000;
/// Clients looked at between two looks at other tasks.
const AT_ONCE: usize = 256;
/// How long [`Broker::drop_session`] waits for the client's connection to end.
const LEAVE: Duration = Duration::from_secs(10);

/// The present connection of a client, or the last one.
#[derive(Clone, Debug)]
pub(crate) struct Presence {
    pub(crate) peer: Address,
    pub(crate) listener: Arc<Listener>,
    /// Seconds of Unix time at which it was accepted.
    pub(crate) since: u64,
    /// Seconds; 0: none.
    pub(crate) keep_alive: u16,
    /// The user name that the CONNECT said. Nobody may have checked it.
    pub(crate) claimed: Option<Arc<str>>,
}

/// One client: its session and its present or last connection.
#[derive(Clone, Debug)]
pub struct ClientInfo {
    /// The client identifier.
    pub id: Arc<str>,
    /// The user that it is logged in as; or, where nobody has checked that, the user name that it connected with.
    pub user: Option<Arc<str>>,
    /// The address of its present or last connection; unknown if there was none since the start of the broker.
    pub address: Option<Address>,
    /// The listener of that connection.
    pub listener: Option<String>,
    /// The protocol version of its present or last connection.
    pub version: ProtocolVersion,
    /// Is it connected?
    pub connected: bool,
    /// Seconds of Unix time: since when it is connected, or away.
    pub since: u64,
    /// Seconds of Unix time at which its session began.
    pub created: u64,
    /// Does its session end with its connection?
    pub clean: bool,
    /// For how long its session is kept while it is away; `None`: for ever. Says nothing of a clean session.
    pub session_expiry: Option<Duration>,
    /// Seconds of keep alive; 0: none.
    pub keep_alive: u16,
    /// Its subscriptions.
    pub subscriptions: usize,
    /// Messages that wait in its queue.
    pub queue_messages: usize,
    /// Their bytes.
    pub queue_bytes: usize,
    /// Messages of QoS 1 and 2 under way to it.
    pub inflight: usize,
    /// QoS 2 messages from it that wait for its PUBREL.
    pub incoming: usize,
    /// Bytes on their way to it.
    pub outbox_bytes: usize,
    /// PUBLISH packets from it since the broker knows it.
    pub messages_in: u64,
    /// PUBLISH packets to it.
    pub messages_out: u64,
    /// Its messages (from it or to it) that were dropped, by reason, where there are any.
    pub dropped: Vec<(Dropped, u64)>,
}

/// One subscription of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriptionInfo {
    /// The topic filter.
    pub filter: Arc<str>,
    /// The granted QoS.
    pub qos: QoS,
    /// The client does not get its own messages by it.
    pub no_local: bool,
    /// The client gets the RETAIN flag as it was published.
    pub retain_as_published: bool,
    /// The number by which the client knows it.
    pub identifier: Option<NonZeroU32>,
}

/// A client that gets the messages on a topic, by one of its subscriptions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receiver {
    /// The client identifier.
    pub client: Arc<str>,
    /// The topic filter that matches.
    pub filter: String,
    /// The granted QoS of that subscription.
    pub qos: QoS,
}

/// A part of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// The part.
    pub items: Vec<T>,
    /// There is more behind it.
    pub more: bool,
}

/// What became of a wish to drop a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotDropped {
    /// There is no such client.
    #[error("there is no client of that id")]
    Unknown,
    /// Its connection did not end in time, or it connected anew meanwhile. Its session is still there.
    #[error("the client's connection did not end in time, or it connected anew meanwhile")]
    Busy,
}

impl Broker {
    /// The clients that `query` describes, in the order of their ids.
    pub async fn clients(&self, query: &Query) -> Page<ClientInfo> {
        let core = self.core();
        let mut selection = select::Selection::new(query);
        let mut from = 0;
        while let Some(clients) = core.router.clients(from..from + AT_ONCE) {
            for client in &clients {
                selection.offer(client);
            }
            from += AT_ONCE;
            tokio::task::yield_now().await;
        }
        let (clients, more) = selection.finish();
        Page { items: clients.iter().map(|client| info(client, core)).collect(), more }
    }

    /// One client.
    #[must_use]
    pub fn client(&self, id: &str) -> Option<ClientInfo> {
        let core = self.core();
        core.registry.get(id).map(|client| info(&client, core))
    }

    /// The subscriptions of one client in the order of their filters: at most `limit` (and [`PAGE_MAX`]) of those behind `after`.
    /// `None`: there is no such client.
    #[must_use]
    pub fn subscriptions_of(
        &self,
        id: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Option<Page<SubscriptionInfo>> {
        let client = self.core().registry.get(id)?;
        let limit = limit.clamp(1, PAGE_MAX);
        let mut locked = client.lock();
        let behind = |filter: &Arc<str>| after.is_none_or(|after| **filter > *after);
        let mut items: Vec<_> = locked
            .session()
            .subscriptions()
            .filter(|(filter, _)| behind(filter))
            .take(limit + 1)
            .map(|(filter, kind)| subscription(filter, kind))
            .collect();
        let more = items.len() > limit;
        items.truncate(limit);
        Some(Page { items, more })
    }

    /// Who gets the messages on `topic` (a valid topic name), and by which subscriptions: at most `limit` (and [`PAGE_MAX`]) of them,
    /// in no order that could be relied on.
    #[must_use]
    pub fn who_gets(&self, topic: &str, limit: usize) -> Page<Receiver> {
        let limit = limit.clamp(1, PAGE_MAX);
        let mut items = self.core().router.who_gets(topic, limit + 1);
        let more = items.len() > limit;
        items.truncate(limit);
        Page { items, more }
    }

    /// The last messages of a client (from it or to it) that were dropped, and what was refused to it, the newest last. Clients whose
    /// last drop was long ago are forgotten, and it need not have a session.
    #[must_use]
    pub fn drops(&self, id: &str) -> Vec<Drop> {
        self.core().drops_of(id)
    }

    /// Rights have changed ([`Rights`](crate::hooks::Rights)): from now on nobody gets what he may get no longer, also by subscriptions
    /// that are open. It does not block, and may be called where changes of retained messages are told.
    pub fn rights_changed(&self) {
        self.core().router.rights_changed();
    }

    /// Asks of everybody who is connected whether he may still be here ([`Principal::standing`](crate::hooks::Principal::standing)), and
    /// closes the connections of those who may not. Answers how many these were.
    pub async fn recheck_users(&self) -> usize {
        let core = self.core();
        let (mut from, mut closed) = (0, 0);
        while let Some(clients) = core.router.clients(from..from + AT_ONCE) {
            for client in &clients {
                let mut locked = client.lock();
                let (connected, principal) = (locked.session().is_connected(), locked.principal());
                drop(locked);
                let reason = match principal.standing() {
                    Standing::Welcome => continue,
                    Standing::NotAuthorized => Close::NotAuthorized,
                    Standing::LogInAnew => Close::Administrative,
                };
                if connected && client.tell(reason) {
                    closed += 1;
                    core.metrics.users_closed.add(1);
                    let user = principal.user().unwrap_or("-");
                    tracing::info!(client = &*client.id, user, "closed: the user or his rights have changed");
                }
            }
            from += AT_ONCE;
            tokio::task::yield_now().await;
        }
        closed
    }

    /// Closes a client's connection. Its will is published and its session stays, as when the connection were lost. `false`: it is not
    /// connected. `reason` is for the log.
    pub fn disconnect(&self, id: &str, reason: &str) -> bool {
        let core = self.core();
        let told = core.registry.get(id).is_some_and(|client| client.tell(Close::Administrative));
        if told {
            core.metrics.admin_disconnects.add(1);
            tracing::info!(client = id, reason, "disconnected by an administrator");
        }
        told
    }

    /// Closes a client's connection, if it has one, and ends its session: subscriptions and all that waits for it are gone.
    ///
    /// # Errors
    /// There is nothing to drop, or the client held on to it; it can be tried again.
    pub async fn drop_session(&self, id: &str) -> Result<(), NotDropped> {
        let core = self.core();
        let client = core.registry.get(id).ok_or(NotDropped::Unknown)?;
        match core.registry.unseat(&client, LEAVE, core).await {
            // A clean session ended with its connection.
            None => {}
            Some(Ok(seat)) => {
                let mark = core.end_session(seat);
                // Who hears that it is dropped shall not meet it again after a crash.
                let kept = std::future::poll_fn(|cx| core.records.poll_settled(mark, cx)).await;
                if let Err(failed) = kept {
                    tracing::error!(client = id, "the end of a session can't be kept: {failed}");
                    return Err(NotDropped::Busy);
                }
            }
            Some(Err(NoSeat::Overtaken | NoSeat::Timeout | NoSeat::Full)) => return Err(NotDropped::Busy),
        }
        core.metrics.sessions_dropped.add(1);
        tracing::info!(client = id, "session dropped by an administrator");
        Ok(())
    }
}

fn subscription(filter: &Arc<str>, kind: Subscription) -> SubscriptionInfo {
    let Subscription { qos, no_local, retain_as_published, identifier, .. } = kind;
    SubscriptionInfo { filter: Arc::clone(filter), qos, no_local, retain_as_published, identifier }
}

fn info(client: &Client, core: &Core) -> ClientInfo {
    let outbox_bytes = client.outbox.held_bytes();
    let kept = core.limits().session_expiry;
    let mut locked = client.lock();
    let presence = locked.presence().cloned();
    let session = locked.session();
    let expiry = session.expiry().map(|seconds| Duration::from_secs(seconds.into()));
    let connected_since = presence.as_ref().map_or(session.created(), |presence| presence.since);
    ClientInfo {
        id: Arc::clone(&client.id),
        user: session.user().cloned().or_else(|| presence.as_ref().and_then(|it| it.claimed.clone())),
        address: presence.as_ref().map(|presence| presence.peer.clone()),
        listener: presence.as_ref().map(|presence| presence.listener.name.clone()),
        version: session.version(),
        connected: session.is_connected(),
        since: session.away_since().unwrap_or(connected_since),
        created: session.created(),
        clean: session.expiry() == Some(0),
        session_expiry: [(!kept.is_zero()).then_some(kept), expiry].into_iter().flatten().min(),
        keep_alive: presence.map_or(0, |presence| presence.keep_alive),
        subscriptions: session.subscriptions().len(),
        queue_messages: session.queued_messages(),
        queue_bytes: session.queued_bytes(),
        inflight: session.inflight(),
        incoming: session.incoming(),
        outbox_bytes,
        messages_in: client.counts.messages_in.get(),
        messages_out: client.counts.messages_out.get(),
        dropped: client.counts.dropped(),
    }
}
