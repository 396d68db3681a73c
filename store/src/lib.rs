//! A masterless, versioned key-value store that every node holds whole. It knows nothing of MQTT.

pub mod chain;
mod clock;
pub mod journal;
pub mod ledger;
pub mod meta;
pub mod path;
pub mod replica;
pub mod ticks;
pub mod tree;
pub mod value;
