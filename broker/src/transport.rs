//! The ways in: sockets, and what may lie over them. Each step is one module; `listener` puts them in their order.
//!
//! Whatever a step needs while nothing happens, ten thousand idle connections need ten thousand times: so none of them keeps a
//! buffer of its own between two reads, apart from the beginning of an unfinished frame.

pub mod certificate;
pub mod proxy;
mod socket;
mod tcp;
pub mod tls;
pub mod websocket;

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

pub use self::socket::ListeningSocket;
pub(crate) use self::socket::Socket;
use self::tls::TlsStream;
use self::websocket::WebSocket;

/// A stream of bytes to one client: TCP, or whatever comes on top of it.
///
/// `poll_read` is asked with a buffer that belongs to the worker, so an idle connection holds none.
pub trait Transport: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Transport for T {}

/// A stream of any other kind than plain TCP: one type, so that the connection's code exists for it once.
#[derive(Debug)]
pub(crate) enum Layered {
    Plain(Socket),
    Tls(Box<TlsStream>),
    WebSocket(Box<WebSocket<Socket>>),
    WebSocketOverTls(Box<WebSocket<TlsStream>>),
}

/// Calls the method of whichever stream it is.
macro_rules! of_each {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self {
            Layered::Plain($stream) => $call,
            Layered::Tls($stream) => $call,
            Layered::WebSocket($stream) => $call,
            Layered::WebSocketOverTls($stream) => $call,
        }
    };
}

impl AsyncRead for Layered {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        of_each!(this, stream => Pin::new(stream).poll_read(cx, buf))
    }
}

impl AsyncWrite for Layered {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        of_each!(this, stream => Pin::new(stream).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        of_each!(this, stream => Pin::new(stream).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        of_each!(this, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        of_each!(this, stream => Pin::new(stream).poll_shutdown(cx))
    }
}
