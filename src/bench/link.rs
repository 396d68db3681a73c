//! One client's connection: a blocking handshake first, then frames in and bytes out as its socket is ready.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};

use super::BenchError;
use super::wire::{self, Frame, Login};

/// How long a handshake may take.
const HANDSHAKE_MAX: Duration = Duration::from_secs(20);

/// Filters in one SUBSCRIBE, so that the packet stays below every broker's limit.
const FILTERS_PER_PACKET: usize = 200;

/// What one read takes at most. One buffer serves all links.
pub(super) const READ_BYTES: usize = 256 * 1024;

/// A connection.
#[derive(Debug)]
pub(super) struct Link {
    client: String,
    stream: TcpStream,
    /// The beginning of a frame whose end has not come yet.
    partial: Vec<u8>,
    output: Vec<u8>,
    /// How much of `output` is written.
    written: usize,
    closed: bool,
}

impl Link {
    /// Connects, and waits for CONNACK.
    pub(super) fn open(address: SocketAddr, client: String, login: &Login) -> Result<Self, BenchError> {
        let connect = || {
            let stream = TcpStream::connect_timeout(&address, HANDSHAKE_MAX)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(HANDSHAKE_MAX))?;
            io::Result::Ok(stream)
        };
        let stream = connect().map_err(|source| BenchError::Connect {
            client: client.clone(),
            server: address.to_string(),
            source,
        })?;
        let mut link = Self::new(client, stream);
        wire::connect(&mut link.output, &link.client, login);
        link.wait_for(wire::CONNACK, |frame| match frame.body {
            [_, 0] => Ok(()),
            [_, code] => Err(format!("the broker refused the connection with code {code}")),
            _ => Err("the broker's CONNACK is malformed".to_owned()),
        })?;
        Ok(link)
    }

    /// A connection without a handshake.
    pub(super) fn new(client: String, stream: TcpStream) -> Self {
        Self { client, stream, partial: Vec::new(), output: Vec::new(), written: 0, closed: false }
    }

    /// Subscribes, and waits for the acknowledgements. Other packets which come in between are dropped.
    pub(super) fn subscribe(&mut self, filters: &[String], qos: u8) -> Result<(), BenchError> {
        for (chunk, id) in filters.chunks(FILTERS_PER_PACKET).zip((1..=u16::MAX).cycle()) {
            wire::subscribe(&mut self.output, id, chunk, qos);
            self.wait_for(wire::SUBACK, |frame| match frame.body.get(2..) {
                Some(codes) if codes.len() == chunk.len() && codes.iter().all(|&code| code == qos) => Ok(()),
                _ => Err(format!("the broker did not grant QoS {qos} to {} filters", chunk.len())),
            })?;
        }
        Ok(())
    }

    /// Sends PINGREQ, and waits for the answer.
    pub(super) fn ping(&mut self) -> Result<(), BenchError> {
        self.output.extend_from_slice(&wire::PINGREQ_FRAME);
        self.wait_for(wire::PINGRESP, |_| Ok(()))
    }

    /// From now on reads and writes do not block.
    pub(super) fn register(&mut self, registry: &Registry, token: usize) -> Result<(), BenchError> {
        let registered = self.stream.set_nonblocking(true).and_then(|()| {
            let fd = self.stream.as_raw_fd();
            registry.register(&mut SourceFd(&fd), Token(token), Interest::READABLE | Interest::WRITABLE)
        });
        registered.map_err(super::system("poll"))
    }

    /// Where packets to be sent are put.
    pub(super) fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// Bytes which the socket has not taken yet.
    pub(super) fn pending(&self) -> usize {
        self.output.len() - self.written
    }

    /// Has the broker closed the connection?
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Writes what the socket takes.
    pub(super) fn flush(&mut self) -> Result<(), BenchError> {
        while self.written < self.output.len() {
            match self.stream.write(self.output.get(self.written..).unwrap_or_default()) {
                Ok(0) => return Err(self.lost(io::ErrorKind::WriteZero.into())),
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.lost(error)),
            }
        }
        self.output.clear();
        self.written = 0;
        Ok(())
    }

    /// Reads what is there, and hands over each whole frame together with the output.
    /// `scratch` is a buffer of [`READ_BYTES`] that all links share.
    pub(super) fn read(
        &mut self,
        scratch: &mut [u8],
        mut on_frame: impl FnMut(Frame<'_>, &mut Vec<u8>),
    ) -> Result<(), BenchError> {
        loop {
            let count = match self.stream.read(scratch) {
                Ok(0) => {
                    self.closed = true;
                    return Ok(());
                }
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.lost(error)),
            };
            let bytes = scratch.get(..count).unwrap_or_default();
            if self.partial.is_empty() {
                let rest = frames(bytes, &mut self.output, &mut on_frame);
                self.partial.extend_from_slice(rest);
            } else {
                self.partial.extend_from_slice(bytes);
                let left = frames(&self.partial, &mut self.output, &mut on_frame).len();
                self.partial.drain(..self.partial.len() - left);
            }
            if count < scratch.len() {
                // The socket is drained; what comes now wakes the poll.
                return Ok(());
            }
        }
    }

    /// The connection's end as an error.
    pub(super) fn lost(&self, source: io::Error) -> BenchError {
        BenchError::Lost { client: self.client.clone(), source }
    }

    /// Writes the output and reads, blocking, until a frame of this type has come.
    fn wait_for(
        &mut self,
        first: u8,
        check: impl Fn(Frame<'_>) -> Result<(), String>,
    ) -> Result<(), BenchError> {
        self.flush()?;
        let mut scratch = vec![0; 4096];
        let mut answer = None;
        while answer.is_none() {
            let count = match self.stream.read(&mut scratch) {
                Ok(0) => return Err(self.protocol("the broker closed the connection".to_owned())),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.lost(error)),
            };
            self.partial.extend_from_slice(scratch.get(..count).unwrap_or_default());
            let mut rest = self.partial.as_slice();
            while answer.is_none()
                && let Some(frame) = Frame::take(&mut rest)
            {
                answer = (frame.first == first).then(|| check(frame));
            }
            let left = rest.len();
            self.partial.drain(..self.partial.len() - left);
        }
        answer.unwrap_or(Ok(())).map_err(|what| self.protocol(what))
    }

    /// A breach of the protocol as an error.
    pub(super) fn protocol(&self, what: String) -> BenchError {
        BenchError::Protocol { client: self.client.clone(), what }
    }
}

/// Hands over each whole frame; returns what is left.
fn frames<'a>(
    mut bytes: &'a [u8],
    output: &mut Vec<u8>,
    on_frame: &mut impl FnMut(Frame<'_>, &mut Vec<u8>),
) -> &'a [u8] {
    while let Some(frame) = Frame::take(&mut bytes) {
        on_frame(frame, output);
    }
    bytes
}
