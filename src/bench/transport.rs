//! What is under the packets of one client: a socket, bare or with TLS, WebSocket or both on it. It works with sockets that
//! block and with those that don't, and knows of packets only where they end (each is a WebSocket frame of its own, as
//! clients do it).

use std::io::{self, BufRead as _, Read as _, Write as _};
use std::net::TcpStream;
use std::os::fd::{AsRawFd, RawFd};

use rustls::ClientConnection;

use super::tls::Trust;
use super::websocket::WebSocket;

/// Bytes on their way out.
#[derive(Debug, Default)]
pub(super) struct Output {
    pub(super) bytes: Vec<u8>,
    /// How many of them have left.
    written: usize,
}

impl Output {
    /// These, none of which has left.
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, written: 0 }
    }

    /// Those that have not left.
    pub(super) fn left(&self) -> &[u8] {
        self.bytes.get(self.written..).unwrap_or_default()
    }

    /// All of them are gone.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.written = 0;
    }
}

/// What one read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// So many bytes came from the socket.
    Bytes(usize),
    /// Nothing is there yet.
    Nothing,
    /// The other side has ended it.
    End,
}

/// How clients connect: what is on the socket.
#[derive(Clone, Debug, Default)]
pub(super) struct Layers {
    pub(super) tls: Option<Trust>,
    /// With the host's name, for the request.
    pub(super) websocket: Option<String>,
}

/// The stream of one client.
#[derive(Debug)]
pub(super) struct Transport {
    stream: TcpStream,
    tls: Option<Box<ClientConnection>>,
    websocket: Option<Box<WebSocket>>,
}

impl Transport {
    /// Begins with what is to be on the socket; the bytes for it leave with the first flush.
    pub(super) fn new(stream: TcpStream, layers: &Layers) -> io::Result<Self> {
        let tls = layers.tls.as_ref().map(Trust::connection).transpose().map_err(io::Error::other)?;
        let websocket = layers.websocket.as_deref().map(WebSocket::new);
        Ok(Self { stream, tls: tls.map(Box::new), websocket: websocket.map(Box::new) })
    }

    /// From now on reads and writes do not block.
    pub(super) fn set_nonblocking(&self) -> io::Result<()> {
        self.stream.set_nonblocking(true)
    }

    /// Are there bytes which the socket has not taken yet, and of how many is it known?
    pub(super) fn pending(&self) -> usize {
        let tls = self.tls.as_ref().is_some_and(|tls| tls.wants_write());
        let websocket = self.websocket.as_ref().map_or(0, |websocket| websocket.pending());
        usize::from(tls) + websocket
    }

    /// Writes what the socket takes.
    pub(super) fn flush(&mut self, packets: &mut Output) -> io::Result<()> {
        let Self { stream, tls, websocket } = self;
        let output = match websocket {
            Some(websocket) => websocket.wrap(packets),
            None => packets,
        };
        match tls {
            Some(tls) => encrypt(tls, stream, output),
            None => write(stream, output),
        }
    }

    /// Reads once, and hands over what is in it for MQTT, in as many pieces as it comes.
    pub(super) fn read(
        &mut self,
        scratch: &mut [u8],
        on_bytes: &mut dyn FnMut(&[u8]),
    ) -> io::Result<Received> {
        let count = loop {
            match self.stream.read(scratch) {
                Ok(0) => return Ok(Received::End),
                Ok(count) => break count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Received::Nothing),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        };
        let bytes = scratch.get(..count).unwrap_or_default();
        let websocket = &mut self.websocket;
        let mut on_plain = |plain: &[u8]| match websocket {
            Some(websocket) => websocket.unwrap(plain, on_bytes),
            None => {
                on_bytes(plain);
                Ok(())
            }
        };
        let ended = match &mut self.tls {
            Some(tls) => decrypt(tls, bytes, &mut on_plain)?,
            None => {
                on_plain(bytes)?;
                false
            }
        };
        let ended = ended || self.websocket.as_ref().is_some_and(|websocket| websocket.is_closed());
        Ok(if ended { Received::End } else { Received::Bytes(count) })
    }
}

impl AsRawFd for Transport {
    fn as_raw_fd(&self) -> RawFd {
        self.stream.as_raw_fd()
    }
}

/// Writes what the socket takes.
fn write(stream: &mut TcpStream, output: &mut Output) -> io::Result<()> {
    while !output.left().is_empty() {
        match stream.write(output.left()) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => output.written += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    output.clear();
    Ok(())
}

/// Writes what the socket takes. During a handshake `tls` keeps what is given to it, up to a limit, and sends it afterwards.
fn encrypt(tls: &mut ClientConnection, stream: &mut TcpStream, output: &mut Output) -> io::Result<()> {
    loop {
        output.written += tls.writer().write(output.left())?;
        if !tls.wants_write() {
            if output.left().is_empty() {
                output.clear();
            }
            return Ok(());
        }
        match tls.write_tls(stream) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Hands over the plain text in `bytes`. Is it the end of the stream?
fn decrypt(
    tls: &mut ClientConnection,
    mut bytes: &[u8],
    on_plain: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<bool> {
    while !bytes.is_empty() {
        if tls.read_tls(&mut bytes)? == 0 {
            return Ok(true);
        }
        let state = tls.process_new_packets().map_err(io::Error::other)?;
        if state.plaintext_bytes_to_read() > 0 {
            let mut reader = tls.reader();
            loop {
                let count = match reader.fill_buf() {
                    Ok([]) => break,
                    Ok(plain) => {
                        on_plain(plain)?;
                        plain.len()
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error),
                };
                reader.consume(count);
            }
        }
        if state.peer_has_closed() {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests;
