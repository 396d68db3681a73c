//! The native port: the typed, versioned view of the store for programs, in the protocol of the original DistKV clients.
//!
//! [`wire`] is what travels, for both ends. A [`connection`](serve) is a thin shell with a socket around a session, which takes messages and
//! makes replies; sessions know no sockets. What takes a while (a tree, a watch, a login) is a *stream*: a source of messages that is
//! asked for the next one when there is room for it, so nothing piles up here for a client that does not read.
//!
//! docs/native-protocol.md says what clients may rely on.

mod actions;
mod check;
mod connection;
mod failure;
mod figures;
mod session;
mod stream;
pub mod wire;

use std::sync::Arc;
use std::time::Duration;

use distkv_broker::Broker;
use distkv_store::store::Store;
use tokio::sync::{Semaphore, watch};

use crate::auth::logins::Logins;
use crate::bridge::Bridge;
use crate::original::{EventLog, Folder};

pub use check::check_session;
pub use connection::serve;
pub use figures::{Figure, Figures};

/// How many keys are agreed on at a time.
const EXCHANGES: usize = 2;

/// What a client may take, and what it is told.
#[derive(Clone, Debug)]
pub struct Options {
    /// The greatest window of a stream: how many messages may be unread. A client may ask for less.
    pub window: u64,
    /// The longest message.
    pub message_bytes: usize,
    /// The bytes of all unfinished long messages together.
    pub unfinished_bytes: usize,
    /// How many streams a connection may have at a time.
    pub streams: usize,
    /// How many changes may wait for the reader of one watch.
    pub watch_events: usize,
    /// The time a client has for logging in.
    pub login_timeout: Duration,
    /// A client that takes nothing of what is sent for so long is gone.
    pub write_stall: Duration,
    /// Are clients on other machines let in where there is no method of login in force?
    pub allow_anonymous: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            window: 1000,
            message_bytes: 65 << 20,
            unfinished_bytes: 256 << 20,
            streams: 1024,
            watch_events: 4096,
            login_timeout: Duration::from_secs(15),
            write_stall: Duration::from_secs(30),
            allow_anonymous: false,
        }
    }
}

/// Where `save` and `log` write, and who does that.
#[derive(Clone, Debug)]
pub struct Files {
    /// The directory below which they may.
    pub folder: Folder,
    /// The one log.
    pub log: EventLog,
}

/// What all connections of the native port share.
pub struct Face {
    node: String,
    store: Store,
    broker: Arc<Broker>,
    bridge: Bridge,
    logins: Arc<Logins>,
    /// Tells connections that users or access lists have changed.
    changes: Arc<watch::Sender<()>>,
    /// For key exchanges, which take a while, and which anybody may ask for.
    exchanges: Arc<Semaphore>,
    options: Options,
    /// Where `save` and `log` may write.
    folder: Folder,
    log: EventLog,
    figures: Figures,
}

impl Face {
    /// The face of the node `node` to its store, and to the broker for messages.
    pub fn new(
        node: &str,
        store: Store,
        (broker, bridge): (Arc<Broker>, Bridge),
        logins: Arc<Logins>,
        files: Files,
        options: Options,
    ) -> Self {
        let Files { folder, log } = files;
        let changes = Arc::new(watch::Sender::new(()));
        let told = Arc::clone(&changes);
        store.access().on_change(Box::new(move || {
            told.send_replace(());
        }));
        Self {
            node: node.to_owned(),
            store,
            broker,
            bridge,
            logins,
            changes,
            exchanges: Arc::new(Semaphore::new(EXCHANGES)),
            options,
            folder,
            log,
            figures: Figures::default(),
        }
    }

    /// What has happened so far.
    pub fn figures(&self) -> &Figures {
        &self.figures
    }
}

impl std::fmt::Debug for Face {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Face").field("node", &self.node).finish_non_exhaustive()
    }
}
