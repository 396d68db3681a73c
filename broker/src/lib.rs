//! A complete MQTT broker as a library. It asks its embedder for users, rights and retained messages (see [`hooks`])
//! and knows nothing of a store.

pub mod codec;
pub mod hooks;
pub mod message;
pub mod session;
pub mod topic;
