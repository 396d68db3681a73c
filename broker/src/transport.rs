//! What a connection needs of its socket, and how TCP sockets are set up.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// A stream of bytes to one client: TCP, or whatever comes on top of it.
///
/// `poll_read` is asked with a buffer that belongs to the worker, so an idle connection holds none.
pub trait Transport: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Transport for T {}

/// Half-open connections whose client asked for no keep alive are found by the system after this silence.
const PROBE_AFTER: Duration = Duration::from_secs(300);
const PROBE_INTERVAL: Duration = Duration::from_secs(30);

/// Prepares an accepted socket: no delay for small packets, and probes against half-open connections.
pub(crate) fn set_up(socket: &TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let probes = TcpKeepalive::new().with_time(PROBE_AFTER).with_interval(PROBE_INTERVAL);
    SockRef::from(socket).set_tcp_keepalive(&probes)
}
