//! What the broker asks of its embedder: users and rights, retained messages (`Hooks`, `Principal`, `Replay`), and a
//! place for what must survive a restart (`SessionLog`).
//!
//! The broker never looks behind these traits. All methods but [`Hooks::authenticate`] are called on connection tasks
//! and must return soon, without blocking on the network.

pub mod memory;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;

use crate::peer::Peer;

/// A future that an embedder returns.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A position in the [`SessionLog`] (and in the embedder's journal, which is the same log). Marks grow;
/// the default mark stands for "nothing to wait for".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark(pub u64);

/// Who wants to come in, as the CONNECT packet says.
pub struct Login<'a> {
    /// The client identifier, already assigned if the client sent none.
    pub client_id: &'a str,
    /// The user name, if one was sent.
    pub user: Option<&'a str>,
    /// The password, if one was sent.
    pub password: Option<&'a [u8]>,
    /// Where the client is, the listener that he came in by, and who his certificate says he is.
    pub peer: &'a Peer,
}

/// Without the password.
impl std::fmt::Debug for Login<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { client_id, user, password, peer } = self;
        f.debug_struct("Login")
            .field("client_id", client_id)
            .field("user", user)
            .field("password", &password.map(|_| "..."))
            .field("peer", peer)
            .finish()
    }
}

/// Why a login is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginRefused {
    /// User name or password are wrong (CONNACK 4).
    BadCredentials,
    /// Credentials are right or absent, but this client may not connect (CONNACK 5).
    NotAuthorized,
    /// The method of enhanced authentication is unknown (MQTT 5 alone: 0x8C).
    BadMethod,
    /// Nobody can be checked at the moment (CONNACK 3).
    Unavailable,
}

/// An enhanced authentication under way [MQTT 5: 4.12]. It can also begin anew on a connection that stands.
pub trait Exchange: Send {
    /// Takes the client's next word; the first one may be empty.
    fn step<'a>(&'a mut self, data: Vec<u8>) -> BoxFuture<'a, Result<Step, LoginRefused>>;
}

/// What an [`Exchange`] says to a word.
pub enum Step {
    /// The client has to say more. This is the broker's word to it.
    Continue(Vec<u8>),
    /// It is proven who the client is.
    Done {
        /// Who it is. On a connection that stands this must be the same user as before.
        principal: Arc<dyn Principal>,
        /// The last word to the client, if the method has one.
        data: Option<Vec<u8>>,
    },
}

/// The embedder as the broker sees it.
pub trait Hooks: Send + Sync + 'static {
    /// Checks a login. The result stands for that user until the connection ends.
    fn authenticate<'a>(
        &'a self,
        login: Login<'a>,
    ) -> BoxFuture<'a, Result<Arc<dyn Principal>, LoginRefused>>;

    /// Begins an enhanced authentication. `None`: the method is unknown. `login` has what the CONNECT said beside it.
    fn exchange(&self, _method: &str, _login: &Login<'_>) -> Option<Box<dyn Exchange>> {
        None
    }

    /// The principal of a session or a will that was restored from the log and has no connection yet.
    fn restored(&self, client_id: &str, user: Option<&str>) -> Arc<dyn Principal>;

    /// How many retained messages there are (`$SYS/broker/retained messages/count`).
    fn retained_count(&self) -> u64;

    /// How far the embedder's clock of changes has come: a replay that ends now holds all changes up to there. 0 if it has none.
    fn tock(&self) -> u64 {
        0
    }

    /// About how much memory the retained messages take, for [`Limits::memory_bytes`](crate::limits::Limits::memory_bytes).
    fn retained_bytes(&self) -> u64 {
        0
    }
}

/// One logged-in user as the broker sees it: rights and retained messages.
pub trait Principal: Send + Sync + 'static {
    /// The user's name; `None` for an anonymous one.
    fn user(&self) -> Option<&str>;

    /// The user's rights. `None` (everything is allowed) keeps the plain path free of calls. Whether there are any stays as it is as long
    /// as the principal lives; what they allow may change ([`Broker::rights_changed`](crate::Broker::rights_changed)).
    fn rights(&self) -> Option<&dyn Rights> {
        None
    }

    /// What all topics of the user begin with, unseen by him; it ends with `/`. It comes before a mount point of the listener. His client
    /// identifiers begin with it, too.
    fn mount(&self) -> Option<&str> {
        None
    }

    /// May the user still be here? Asked by [`Broker::recheck_users`](crate::Broker::recheck_users).
    fn standing(&self) -> Standing {
        Standing::Welcome
    }

    /// Stores a retained message, or deletes it if the payload is empty [MQTT-3.3.1-5, 3.3.1-10]: always, or only if `condition`
    /// holds at that moment.
    ///
    /// `deliver` must be called exactly once if, and only if, the message was taken: at the point which fixes its
    /// place in the order of all changes of this topic. It delivers the message to the subscribers, and is told the version
    /// that it has from now on, if the embedder knows versions.
    /// The mark says when an acknowledgement may leave.
    fn retain(
        &self,
        message: &RetainedMessage<'_>,
        condition: Option<Condition<'_>>,
        deliver: &mut dyn FnMut(Option<&Provenance<'_>>),
    ) -> Result<Mark, RetainRefused>;

    /// Starts the replay of the retained messages that match `filter` (a valid filter without share prefix).
    fn replay(&self, filter: &str) -> Box<dyn Replay>;
}

/// How a user stands who is logged in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// He may stay.
    Welcome,
    /// His login would be refused now: he is gone, or what he has shown is right no longer. (MQTT 5: 0x87)
    NotAuthorized,
    /// He has to log in anew, since what he sees has changed. (MQTT 5: 0x98)
    LogInAnew,
}

/// What a user does with a topic or filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// He publishes.
    Publish {
        /// The message is to be retained.
        retain: bool,
        /// It deletes the retained message.
        empty: bool,
    },
    /// He subscribes.
    Subscribe,
    /// He gets a message.
    Receive,
}

/// May a user publish?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// No.
    Denied,
    /// Yes, this time.
    Once,
    /// Yes, and with such messages always, until rights change.
    Always,
}

/// What a user may do, at the moment of the question. Topics and filters are valid ones, with all mount points.
pub trait Rights: Send + Sync {
    /// May the user publish to `topic`? `empty`: the message has no payload, so that a retained one deletes.
    fn publish(&self, topic: &str, retain: bool, empty: bool) -> Permission;
    /// May the user subscribe to `filter`?
    fn subscribe(&self, filter: &str) -> bool;
    /// May the user get a message on `topic`?
    fn receive(&self, topic: &str) -> bool;
    /// By which rule an action is allowed or denied, in words for whoever administers the broker. Nothing where that is not known.
    fn why(&self, _action: Action, _topic: &str) -> String {
        String::new()
    }
}

/// A retained message on its way into or out of the embedder.
#[derive(Clone, Copy, Debug)]
pub struct RetainedMessage<'a> {
    /// The topic name.
    pub topic: &'a str,
    /// The payload.
    pub payload: &'a [u8],
    /// The payload as a buffer that may be shared instead of copied, which pays for large ones. On its way in it may be a slice of a
    /// larger buffer: who keeps it for long keeps a copy.
    pub shared: Option<&'a Bytes>,
    /// The QoS it was published with: 0, 1 or 2.
    pub qos: u8,
    /// The properties that travel with it, encoded as in a PUBLISH (see [`Extras`](crate::message::Extras::properties)). They
    /// are valid; who gives back others disturbs clients.
    pub properties: &'a [u8],
    /// When it counts as deleted, in milliseconds of Unix time [MQTT5-3.3.2-5].
    pub expires_at: Option<u64>,
    /// Where it comes from; only on its way out.
    pub provenance: Option<Provenance<'a>>,
}

impl<'a> RetainedMessage<'a> {
    /// A message of MQTT 3.
    #[must_use]
    pub fn new(topic: &'a str, payload: &'a [u8], qos: u8) -> Self {
        Self { topic, payload, shared: None, qos, properties: &[], expires_at: None, provenance: None }
    }
}

/// Where a retained message comes from: the version of the embedder's entry, and who has written it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Provenance<'a> {
    /// The node that took the write.
    pub node: &'a str,
    /// That node's number for it.
    pub tick: u64,
    /// The place of the write among all that the nodes know of.
    pub tock: u64,
    /// When, in milliseconds of Unix time, by that node's clock.
    pub time_ms: u64,
    /// Who has written it.
    pub user: Option<&'a str>,
}

/// What must hold for a retained message to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition<'a> {
    /// There is no such entry.
    New,
    /// The entry's version is this one.
    Version {
        /// The node that took its last write.
        node: &'a str,
        /// That node's number for it.
        tick: u64,
    },
}

/// The version of an entry, as people write it: `NODE:TICK`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// The node that took its last write.
    pub node: String,
    /// That node's number for it.
    pub tick: u64,
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.node, self.tick)
    }
}

/// Why a retained message was not taken. Nothing was changed, and nobody was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RetainRefused {
    /// The condition does not hold. The version that the entry has; `None` if there is no such entry, or the embedder knows no
    /// conditions.
    Conflict(Option<Version>),
    /// The user has no right to. MQTT 3: acknowledged and dropped.
    Denied,
    /// The payload is not what this topic holds. MQTT 3: acknowledged and dropped.
    BadPayload,
    /// A limit is reached (topic too deep for the store, message too large, out of space). MQTT 3: acknowledged and dropped.
    Quota,
    /// Nothing can be kept any more (failed disk). The connection is closed without an acknowledgement.
    Unavailable,
}

/// How a replay stands after a slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// There may be more.
    More,
    /// That was all.
    Done,
}

/// A replay under way. It holds a position, never the messages.
pub trait Replay: Send {
    /// Hands at most `messages` retained messages, or about `bytes` bytes of them, to `sink`, which must not block. The embedder calls
    /// `sink` so that no message that it hands over is older than a change of the same topic that was delivered before.
    /// A slice may be empty and still answer [`Progress::More`] (it looked at its share of entries and none matched).
    fn slice(&mut self, messages: usize, bytes: usize, sink: &mut dyn FnMut(RetainedMessage<'_>))
    -> Progress;
}

/// What could not be kept. After that nothing is acknowledged any more.
#[derive(Clone, Debug, thiserror::Error)]
#[error("session state can't be kept: {0}")]
pub struct LogFailed(pub Arc<str>);

/// Where changes of sessions and wills go, so that they survive a restart. Records are opaque to the embedder; it gives
/// them back in the order of the `append` calls when the broker starts again.
pub trait SessionLog: Send + Sync + 'static {
    /// Appends one record.
    fn append(&self, record: &[u8]) -> Mark;

    /// Is everything up to `mark` kept, as the configured durability understands it? It may write to a file
    /// (the page cache) while it is asked; it wakes `cx` when a pending answer can change.
    fn poll_settled(&self, mark: Mark, cx: &mut Context<'_>) -> Poll<Result<(), LogFailed>>;
}
