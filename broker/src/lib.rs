//! A complete MQTT broker as a library. It asks its embedder for users, rights and retained messages (see [`hooks`])
//! and knows nothing of a store.

mod broker;
pub mod clients;
mod clock;
pub mod codec;
mod conn;
pub mod delayed;
mod drops;
mod flapping;
pub mod hooks;
pub mod limits;
mod listener;
pub mod message;
pub mod metrics;
mod outbox;
mod peer;
pub mod pressure;
pub mod rate;
mod records;
mod registry;
mod router;
pub mod session;
mod sys;
mod tasks;
pub mod topic;
pub mod transport;
pub mod trie;
mod wills;
mod worker;

pub use broker::Broker;
pub use listener::ListenerConfig;
pub use peer::{Address, ConnectionRate, Listener, ListenerCounters, Peer, TlsInfo, Versions};
pub use session::RecoveryError;
pub use transport::{ListeningSocket, Transport};
