//! How accepted TCP sockets are set up. Addresses, backlog and interface are the business of whoever binds the socket.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

/// Half-open connections whose client asked for no keep alive are found by the system after this silence.
const PROBE_AFTER: Duration = Duration::from_secs(300);
const PROBE_INTERVAL: Duration = Duration::from_secs(30);

/// Prepares an accepted socket: no delay for small packets, and probes against half-open connections.
pub(crate) fn set_up(socket: &TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let probes = TcpKeepalive::new().with_time(PROBE_AFTER).with_interval(PROBE_INTERVAL);
    SockRef::from(socket).set_tcp_keepalive(&probes)
}
