//! One client's connection: a blocking handshake first, then frames in and bytes out as its socket is ready.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};

use super::BenchError;
use super::target::MqttVersion;
use super::transport::{Layers, Output, Received, Transport};
use super::wire::{self, Connack, Frame, Login};

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
    version: MqttVersion,
    transport: Transport,
    input: Input,
    output: Output,
    closed: bool,
}

/// What has come and is not handed over yet.
#[derive(Debug, Default)]
struct Input {
    /// The beginning of a frame whose end has not come yet.
    partial: Vec<u8>,
    /// The reason that the broker gave for leaving.
    farewell: Option<u8>,
}

impl Link {
    /// Connects, and waits for CONNACK. The broker may use so many topic aliases.
    pub(super) fn open(
        address: SocketAddr,
        layers: &Layers,
        client: String,
        login: &Login,
        aliases: u16,
    ) -> Result<(Self, Connack), BenchError> {
        let connect = || {
            let stream = TcpStream::connect_timeout(&address, HANDSHAKE_MAX)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(HANDSHAKE_MAX))?;
            Transport::new(stream, layers)
        };
        let transport = connect().map_err(|source| BenchError::Connect {
            client: client.clone(),
            server: address.to_string(),
            source,
        })?;
        let version = login.version;
        let mut link = Self::new(client, version, transport);
        wire::connect(&mut link.output.bytes, &link.client, login, aliases);
        let connack = link.wait_for(wire::CONNACK, |frame| match frame.connack(version) {
            Some(connack) if connack.code == 0 => Ok(connack),
            Some(Connack { code, .. }) => Err(format!("the broker refused the connection with code {code}")),
            None => Err("the broker's CONNACK is malformed".to_owned()),
        })?;
        Ok((link, connack))
    }

    /// A connection without a handshake.
    pub(super) fn new(client: String, version: MqttVersion, transport: Transport) -> Self {
        Self { client, version, transport, input: Input::default(), output: Output::default(), closed: false }
    }

    /// The version of MQTT that it speaks.
    pub(super) fn version(&self) -> MqttVersion {
        self.version
    }

    /// Subscribes, and waits for the acknowledgements. Other packets which come in between are dropped.
    pub(super) fn subscribe(&mut self, filters: &[String], qos: u8) -> Result<(), BenchError> {
        let version = self.version;
        for (chunk, id) in filters.chunks(FILTERS_PER_PACKET).zip((1..=u16::MAX).cycle()) {
            wire::subscribe(&mut self.output.bytes, version, id, chunk, qos);
            self.wait_for(wire::SUBACK, |frame| match frame.codes(version) {
                Some(codes) if codes.len() == chunk.len() && codes.iter().all(|&code| code == qos) => Ok(()),
                _ => Err(format!("the broker did not grant QoS {qos} to {} filters", chunk.len())),
            })?;
        }
        Ok(())
    }

    /// Sends PINGREQ, and waits for the answer.
    pub(super) fn ping(&mut self) -> Result<(), BenchError> {
        self.output.bytes.extend_from_slice(&wire::PINGREQ_FRAME);
        self.wait_for(wire::PINGRESP, |_| Ok(()))
    }

    /// From now on reads and writes do not block.
    pub(super) fn register(&mut self, registry: &Registry, token: usize) -> Result<(), BenchError> {
        let registered = self.transport.set_nonblocking().and_then(|()| {
            let fd = self.transport.as_raw_fd();
            registry.register(&mut SourceFd(&fd), Token(token), Interest::READABLE | Interest::WRITABLE)
        });
        registered.map_err(super::system("poll"))
    }

    /// Where packets to be sent are put.
    pub(super) fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output.bytes
    }

    /// Bytes which the socket has not taken yet; not 0 as long as there are any.
    pub(super) fn pending(&self) -> usize {
        self.output.left().len() + self.transport.pending()
    }

    /// Has the broker closed the connection?
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Writes what the socket takes.
    pub(super) fn flush(&mut self) -> Result<(), BenchError> {
        self.transport.flush(&mut self.output).map_err(|source| self.lost(source))
    }

    /// Reads what is there, and hands over each whole frame together with the output.
    /// `scratch` is a buffer of [`READ_BYTES`] that all links share.
    pub(super) fn read(
        &mut self,
        scratch: &mut [u8],
        mut on_frame: impl FnMut(Frame<'_>, &mut Vec<u8>),
    ) -> Result<(), BenchError> {
        loop {
            let Self { transport, input, output, .. } = self;
            let mut on_bytes = |bytes: &[u8]| input.take(bytes, &mut output.bytes, &mut on_frame);
            match transport.read(scratch, &mut on_bytes) {
                Ok(Received::End) => {
                    self.closed = true;
                    return Ok(());
                }
                // A read that does not fill the buffer has drained the socket; what comes now wakes the poll.
                Ok(Received::Bytes(count)) if count == scratch.len() => {}
                Ok(Received::Bytes(_) | Received::Nothing) => return Ok(()),
                Err(error) => return Err(self.lost(error)),
            }
        }
    }

    /// The connection's end as an error.
    pub(super) fn lost(&self, source: io::Error) -> BenchError {
        match self.input.farewell {
            Some(reason) => {
                self.protocol(format!("the broker closed the connection with reason {reason:#04X}"))
            }
            None => BenchError::Lost { client: self.client.clone(), source },
        }
    }

    /// Writes the output and reads, blocking, until a frame of this type has come.
    fn wait_for<T>(
        &mut self,
        first: u8,
        check: impl Fn(Frame<'_>) -> Result<T, String>,
    ) -> Result<T, BenchError> {
        let mut scratch = vec![0; 4096];
        let mut answer = None;
        loop {
            // Each read may have brought something of TLS or WebSocket that is to be answered.
            self.flush()?;
            if let Some(answer) = answer {
                return Result::map_err(answer, |what| self.protocol(what));
            }
            let Self { transport, input, output, .. } = self;
            let mut on_frame = |frame: Frame<'_>, _: &mut Vec<u8>| {
                if frame.first == first && answer.is_none() {
                    answer = Some(check(frame));
                }
            };
            let mut on_bytes = |bytes: &[u8]| input.take(bytes, &mut output.bytes, &mut on_frame);
            match transport.read(&mut scratch, &mut on_bytes) {
                Ok(Received::End) if answer.is_none() => {
                    return Err(self.lost(io::ErrorKind::UnexpectedEof.into()));
                }
                Ok(Received::Nothing) => return Err(self.lost(io::ErrorKind::TimedOut.into())),
                Ok(Received::Bytes(_) | Received::End) => {}
                Err(error) => return Err(self.lost(error)),
            }
        }
    }

    /// A message that the broker did not take, as an error.
    pub(super) fn refused(&self, reason: u8) -> BenchError {
        self.protocol(format!("the broker refused a message with reason {reason:#04X}"))
    }

    /// A breach of the protocol as an error.
    pub(super) fn protocol(&self, what: String) -> BenchError {
        BenchError::Protocol { client: self.client.clone(), what }
    }
}

impl Input {
    /// Hands over each whole frame, and keeps the rest.
    fn take(
        &mut self,
        bytes: &[u8],
        output: &mut Vec<u8>,
        on_frame: &mut impl FnMut(Frame<'_>, &mut Vec<u8>),
    ) {
        let farewell = &mut self.farewell;
        if self.partial.is_empty() {
            let rest = frames(bytes, farewell, output, on_frame);
            self.partial.extend_from_slice(rest);
        } else {
            self.partial.extend_from_slice(bytes);
            let left = frames(&self.partial, farewell, output, on_frame).len();
            self.partial.drain(..self.partial.len() - left);
        }
    }
}

/// Hands over each whole frame; returns what is left.
fn frames<'a>(
    mut bytes: &'a [u8],
    farewell: &mut Option<u8>,
    output: &mut Vec<u8>,
    on_frame: &mut impl FnMut(Frame<'_>, &mut Vec<u8>),
) -> &'a [u8] {
    while let Some(frame) = Frame::take(&mut bytes) {
        if frame.first == wire::DISCONNECT {
            *farewell = Some(frame.body.first().copied().unwrap_or_default());
        }
        on_frame(frame, output);
    }
    bytes
}
