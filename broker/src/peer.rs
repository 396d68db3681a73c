//! Who is at the other end of a connection, and by which listener he came in: what every layer above the socket may ask.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use crate::limits::Limits;
use crate::metrics::{Metrics, Number};

/// The other end of a connection.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Where it is: the client itself, as a trusted proxy tells it, if there is one in between.
    pub address: Address,
    /// The listener that it came in by.
    pub listener: Arc<Listener>,
    /// How the connection is encrypted; `None` if it is not (or if a proxy took the encryption off).
    pub tls: Option<TlsInfo>,
    /// The user name which a verified client certificate gives, if the listener takes names from there.
    pub identity: Option<Arc<str>>,
}

/// Where a peer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// By IP.
    Socket(SocketAddr),
    /// On this machine, by a Unix socket.
    Unix {
        /// The listener's socket; a client's has no name.
        path: Arc<Path>,
        /// The client's process, if the system tells.
        process: Option<i32>,
    },
}

/// What was agreed on for an encrypted connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlsInfo {
    /// Such as `TLSv1_3`.
    pub version: &'static str,
    /// Such as `TLS13_AES_256_GCM_SHA384`.
    pub cipher: &'static str,
}

/// What holds for all connections of one listener, and what they count.
#[derive(Debug)]
pub struct Listener {
    /// Its name in logs and metrics.
    pub name: String,
    /// The protocol versions that it accepts.
    pub versions: Versions,
    /// May clients come in without a user name that somebody has checked?
    pub allow_anonymous: bool,
    /// May they as long as the embedder has no users at all?
    pub open_without_users: bool,
    /// A prefix of all topics of its clients.
    pub mount_point: Option<Arc<str>>,
    /// Connections at a time, handshakes included; one more is closed as soon as it is accepted.
    pub max_connections: Option<usize>,
    /// The longest packet, where that is less than [`Limits::packet_bytes`](crate::limits::Limits::packet_bytes).
    pub max_packet_bytes: Option<usize>,
    /// The longest keep alive, in seconds.
    pub max_keep_alive: Option<u16>,
    /// How many connections are accepted in a second; further ones wait in the system's backlog.
    pub connection_rate: Option<ConnectionRate>,
    /// What happened at this listener.
    pub counters: ListenerCounters,
}

/// A number of connections in a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionRate {
    /// In the long run.
    pub per_second: u32,
    /// So many at once after a pause. At least one.
    pub burst: u32,
}

/// Versions of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    /// MQTT 3.1
    pub v3_1: bool,
    /// MQTT 3.1.1
    pub v3_1_1: bool,
    /// MQTT 5
    pub v5: bool,
}

/// The numbers of one listener.
#[derive(Debug, Default)]
pub struct ListenerCounters {
    /// Open connections, handshakes included.
    pub connections: Number,
    /// Connections accepted from the system.
    pub accepted: Number,
    /// Connections closed at once since the listener's limit was reached.
    pub full: Number,
    /// Times that the connection rate was reached, so that further connections had to wait.
    pub delayed: Number,
    /// Connections closed since their PROXY header was wrong, or missing.
    pub proxy_failed: Number,
    /// Connections closed since TLS did not come about.
    pub tls_failed: Number,
    /// Connections closed since WebSocket did not come about.
    pub websocket_failed: Number,
}

impl Default for Versions {
    fn default() -> Self {
        Self { v3_1: true, v3_1_1: true, v5: true }
    }
}

impl Default for Listener {
    /// Plain MQTT, with no limits of its own. Who may come in is left to the embedder.
    fn default() -> Self {
        Self {
            name: "mqtt".to_owned(),
            versions: Versions::default(),
            allow_anonymous: true,
            open_without_users: true,
            mount_point: None,
            max_connections: None,
            max_packet_bytes: None,
            max_keep_alive: None,
            connection_rate: None,
            counters: ListenerCounters::default(),
        }
    }
}

impl Listener {
    /// The longest packet that a client may send.
    pub(crate) fn packet_bytes(&self, limits: &Limits) -> usize {
        self.max_packet_bytes.unwrap_or(usize::MAX).min(limits.packet_bytes)
    }
}

impl Peer {
    /// A peer of plain MQTT.
    #[must_use]
    pub fn plain(address: Address, listener: Arc<Listener>) -> Self {
        Self { address, listener, tls: None, identity: None }
    }
}

impl Address {
    /// The IP address, if there is one.
    #[must_use]
    pub fn ip(&self) -> Option<std::net::IpAddr> {
        match self {
            Self::Socket(address) => Some(address.ip().to_canonical()),
            Self::Unix { .. } => None,
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Socket(address)
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(address) => address.fmt(f),
            Self::Unix { path, process: Some(process) } => {
                write!(f, "unix:{} (process {process})", path.display())
            }
            Self::Unix { path, process: None } => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A connection's place among those of its listener, and of the broker; given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    metrics: Arc<Metrics>,
    listener: Arc<Listener>,
}

impl Place {
    /// A place, whatever the limits say.
    pub(crate) fn take(metrics: &Arc<Metrics>, listener: &Arc<Listener>) -> Self {
        metrics.sockets.add(1);
        listener.counters.connections.add(1);
        Self { metrics: Arc::clone(metrics), listener: Arc::clone(listener) }
    }

    /// Is it one more than the listener has room for?
    pub(crate) fn is_beyond_the_limit(&self) -> bool {
        let used = self.listener.counters.connections.get();
        self.listener.max_connections.is_some_and(|limit| used > limit as u64)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.metrics.sockets.sub(1);
        self.listener.counters.connections.sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_told_with_what_finds_the_client() {
        let address: SocketAddr = "192.0.2.1:4711".parse().unwrap();
        assert_eq!(Address::from(address).to_string(), "192.0.2.1:4711");
        let path: Arc<Path> = Path::new("/run/distkv.sock").into();
        let unix = Address::Unix { path: Arc::clone(&path), process: Some(812) };
        assert_eq!(unix.to_string(), "unix:/run/distkv.sock (process 812)");
        assert_eq!(Address::Unix { path, process: None }.to_string(), "unix:/run/distkv.sock");
    }

    #[test]
    fn a_place_is_given_back() {
        let metrics = Arc::<Metrics>::default();
        let listener = Arc::new(Listener { max_connections: Some(1), ..Listener::default() });
        let first = Place::take(&metrics, &listener);
        assert!(!first.is_beyond_the_limit());
        let second = Place::take(&metrics, &listener);
        assert!(second.is_beyond_the_limit());
        drop(second);
        assert!(!first.is_beyond_the_limit());
        drop(first);
        assert_eq!((metrics.sockets.get(), listener.counters.connections.get()), (0, 0));
    }
}
