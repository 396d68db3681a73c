//! TCP and Unix sockets as one type: listening, and accepted.

use std::io::{self, IoSlice};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::tcp;
use crate::peer::Address;

/// A socket that connections come in by.
#[derive(Debug)]
pub enum ListeningSocket {
    /// By IP.
    Tcp(TcpListener),
    /// On this machine. Its file belongs to whoever made it.
    Unix(UnixListener),
}

/// An accepted socket.
#[derive(Debug)]
pub(crate) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl From<TcpListener> for ListeningSocket {
    fn from(listener: TcpListener) -> Self {
        Self::Tcp(listener)
    }
}

impl From<UnixListener> for ListeningSocket {
    fn from(listener: UnixListener) -> Self {
        Self::Unix(listener)
    }
}

impl ListeningSocket {
    pub(crate) async fn accept(&self) -> io::Result<(Socket, Address)> {
        match self {
            Self::Tcp(listener) => {
                let (socket, address) = listener.accept().await?;
                Ok((Socket::Tcp(socket), Address::Socket(address)))
            }
            Self::Unix(listener) => {
                let (socket, _unnamed) = listener.accept().await?;
                let process = socket.peer_cred().ok().and_then(|peer| peer.pid());
                let own = listener.local_addr()?;
                let path: Arc<Path> = own.as_pathname().unwrap_or_else(|| Path::new("(unnamed)")).into();
                Ok((Socket::Unix(socket), Address::Unix { path, process }))
            }
        }
    }
}

impl Socket {
    /// Prepares an accepted socket.
    pub(crate) fn set_up(&self) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => tcp::set_up(socket),
            Self::Unix(_) => Ok(()),
        }
    }
}

/// Calls the method of whichever socket it is.
macro_rules! of_each {
    ($self:ident, $socket:ident => $call:expr) => {
        match $self {
            Socket::Tcp($socket) => $call,
            Socket::Unix($socket) => $call,
        }
    };
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        of_each!(this, socket => Pin::new(socket).poll_read(cx, buf))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        of_each!(this, socket => Pin::new(socket).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        of_each!(this, socket => Pin::new(socket).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        of_each!(this, socket => Pin::new(socket).poll_shutdown(cx))
    }
}
