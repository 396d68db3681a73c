//! The load tool behind `distkv bench`: it makes clients by the thousand for any MQTT broker, checks that every message arrives,
//! and tells what it cost the server.
//!
//! All clients live in one thread and one poll, and their packets are patched copies of a template, so that the tool takes less
//! of a small machine than the broker which it measures. It always ends: each wait has a limit.

pub mod flow;
pub mod idle;
pub mod report;
pub mod retained;
pub mod storm;
pub mod target;

mod clock;
mod link;
mod server;
mod tls;
mod transport;
mod websocket;
mod wire;

use std::io;

/// Why a run could not be done. A run that was done and lost messages is no error, but a report which says so.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// Options which do not go together.
    #[error("{0}")]
    Usage(String),
    /// The name has no address.
    #[error("can't find the host {host:?}")]
    Resolve {
        /// The name.
        host: String,
        /// What the system says.
        source: io::Error,
    },
    /// No connection.
    #[error(
        "can't connect client {client} to {server} (is a broker running there, and does it allow so many?)"
    )]
    Connect {
        /// The client id.
        client: String,
        /// Host and port.
        server: String,
        /// What the system says.
        source: io::Error,
    },
    /// The broker did not answer as it should.
    #[error("client {client}: {what}")]
    Protocol {
        /// The client id.
        client: String,
        /// What was wrong.
        what: String,
    },
    /// A connection broke in the middle of a run.
    #[error("client {client} lost its connection")]
    Lost {
        /// The client id.
        client: String,
        /// What the system says.
        source: io::Error,
    },
    /// Something of this machine: poll, limits.
    #[error("{what}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system says.
        source: io::Error,
    },
}

fn system(what: &'static str) -> impl FnOnce(io::Error) -> BenchError {
    move |source| BenchError::System { what, source }
}
