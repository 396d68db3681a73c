//! The parts of the program `distkv`: an MQTT broker (`distkv-broker`) on a versioned store (`distkv-store`), with
//! what joins them and the faces around them. ARCHITECTURE.md has the map.

mod accept;
pub mod auth;
pub mod bench;
pub mod bridge;
pub mod cli;
pub mod client;
pub mod config;
pub mod http;
pub mod log;
pub mod mqtt_client;
pub mod native;
pub mod original;
pub mod server;
