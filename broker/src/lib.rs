//! A complete MQTT broker as a library. It asks its embedder for users, rights and retained messages (see [`hooks`])
//! and knows nothing of a store.

mod broker;
mod clock;
pub mod codec;
mod conn;
pub mod delayed;
pub mod hooks;
pub mod limits;
mod listener;
pub mod message;
pub mod metrics;
mod outbox;
mod records;
mod registry;
mod router;
pub mod session;
mod sys;
mod tasks;
pub mod topic;
mod transport;
pub mod trie;
mod wills;
mod worker;

pub use broker::Broker;
pub use session::RecoveryError;
pub use transport::Transport;
