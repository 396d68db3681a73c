//! A client that does only what it is told: for dialogues that are exact to the byte, and for tests that need to say when an
//! acknowledgement leaves.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use super::clock::{SOON, now};
use super::packet::{self, Connect, Packet, Publish};

/// One connection.
pub(crate) struct Client {
    stream: TcpStream,
    /// What has been read and not yet taken.
    input: Vec<u8>,
    /// Where the next packet begins in `input`.
    taken: usize,
    next_id: u16,
    /// What CONNACK said.
    pub(crate) session_present: bool,
    mqtt5: bool,
}

/// What came next on a connection.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Packet(Packet),
    Closed,
    /// Nothing within the time given.
    Silence,
}

impl Client {
    /// A connection on which nothing has been said yet.
    pub(crate) fn open(address: SocketAddr) -> Self {
        Self::try_open(address).unwrap_or_else(|error| panic!("can't connect to {address}: {error}"))
    }

    pub(crate) fn try_open(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, input: Vec::new(), taken: 0, next_id: 0, session_present: false, mqtt5: false })
    }

    /// A connection that begins at an address of the test's choice.
    pub(crate) fn open_from(from: SocketAddr, address: SocketAddr) -> Self {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&from.into()).unwrap();
        socket.connect(&address.into()).unwrap_or_else(|error| panic!("can't connect to {address}: {error}"));
        let stream = TcpStream::from(socket);
        stream.set_nodelay(true).unwrap();
        Self { stream, input: Vec::new(), taken: 0, next_id: 0, session_present: false, mqtt5: false }
    }

    /// A client whose CONNECT was accepted, and whose connection begins at an address of the test's choice.
    pub(crate) fn connect_from(from: SocketAddr, address: SocketAddr, connect: &Connect) -> Self {
        let mut client = Self::open_from(from, address);
        client.send(&connect.encode());
        client.expect(Packet::Connack { session_present: false, code: 0 });
        client
    }

    /// A connection which takes few bytes that are not read.
    pub(crate) fn open_with_small_buffer(address: SocketAddr) -> Self {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(4_096).unwrap();
        socket.connect(&address.into()).unwrap_or_else(|error| panic!("can't connect to {address}: {error}"));
        let stream = TcpStream::from(socket);
        stream.set_nodelay(true).unwrap();
        Self { stream, input: Vec::new(), taken: 0, next_id: 0, session_present: false, mqtt5: false }
    }

    /// A client whose CONNECT was accepted.
    pub(crate) fn connect(address: SocketAddr, connect: &Connect) -> Self {
        Self::try_connect(address, connect).unwrap_or_else(|| panic!("the server closed instead of CONNACK"))
    }

    /// As `connect`; `None` if the connection fails or ends before CONNACK.
    pub(crate) fn try_connect(address: SocketAddr, connect: &Connect) -> Option<Self> {
        let mut client = Self::try_open(address).ok()?;
        client.mqtt5 = connect.mqtt5.is_some();
        client.try_send(&connect.encode()).ok()?;
        match client.next(SOON) {
            Next::Packet(Packet::Connack { session_present, code: 0 }) => {
                client.session_present = session_present;
                Some(client)
            }
            Next::Closed => None,
            other => panic!("instead of an accepting CONNACK: {other:?}"),
        }
    }

    /// A packet identifier that was not used lately.
    pub(crate) fn id(&mut self) -> u16 {
        self.next_id = self.next_id % 65_535 + 1;
        self.next_id
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).unwrap_or_else(|error| panic!("can't send: {error}"));
    }

    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Gives up on a `send` that takes longer than this.
    pub(crate) fn set_send_timeout(&mut self, timeout: Duration) {
        self.stream.set_write_timeout(Some(timeout)).unwrap();
    }

    /// Waits for the next packet.
    pub(crate) fn next(&mut self, within: Duration) -> Next {
        let deadline = now() + within;
        loop {
            if let Some(length) = packet::packet_length(&self.input[self.taken..]) {
                let decode = if self.mqtt5 { packet::decode5 } else { packet::decode };
                let packet = decode(&self.input[self.taken..self.taken + length]);
                self.taken += length;
                return Next::Packet(packet);
            }
            if self.taken > 0 {
                self.input.drain(..self.taken);
                self.taken = 0;
            }
            let left = deadline.saturating_duration_since(now());
            if left.is_zero() {
                return Next::Silence;
            }
            self.stream.set_read_timeout(Some(left)).unwrap();
            let mut chunk = [0; 16 * 1024];
            match self.stream.read(&mut chunk) {
                Ok(0) => return Next::Closed,
                Ok(count) => self.input.extend(&chunk[..count]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Next::Closed,
            }
        }
    }

    /// The next packet, which must come soon.
    #[track_caller]
    pub(crate) fn packet(&mut self) -> Packet {
        match self.next(SOON) {
            Next::Packet(packet) => packet,
            other => panic!("instead of a packet: {other:?}"),
        }
    }

    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "the caller makes it for this")]
    pub(crate) fn expect(&mut self, expected: Packet) {
        assert_eq!(self.packet(), expected);
    }

    /// The next packet, which must be a PUBLISH; it is not acknowledged.
    #[track_caller]
    pub(crate) fn publication(&mut self) -> Publish {
        match self.packet() {
            Packet::Publish(publish) => publish,
            other => panic!("instead of a PUBLISH: {other:?}"),
        }
    }

    /// The next message, with the whole of its acknowledgement done.
    #[track_caller]
    pub(crate) fn message(&mut self) -> Publish {
        let publish = self.publication();
        match publish.qos {
            0 => {}
            1 => self.send(&packet::puback(publish.id)),
            _ => {
                self.send(&packet::pubrec(publish.id));
                self.expect(Packet::Pubrel(publish.id));
                self.send(&packet::pubcomp(publish.id));
            }
        }
        publish
    }

    /// The next message, acknowledged, if one is on its way: asked by a PINGREQ.
    #[track_caller]
    pub(crate) fn poll_message(&mut self) -> Option<Publish> {
        self.send(packet::PINGREQ);
        match self.packet() {
            Packet::Pingresp => None,
            Packet::Publish(publish) if publish.qos < 2 => {
                if publish.qos == 1 {
                    self.send(&packet::puback(publish.id));
                }
                // The answer to PINGREQ comes behind it.
                self.expect(Packet::Pingresp);
                Some(publish)
            }
            other => panic!("instead of a message or nothing: {other:?}"),
        }
    }

    /// The messages of QoS 0 that are on their way: asked by a PINGREQ.
    #[track_caller]
    pub(crate) fn messages_so_far(&mut self) -> Vec<Publish> {
        self.send(packet::PINGREQ);
        let mut messages = Vec::new();
        loop {
            match self.packet() {
                Packet::Pingresp => return messages,
                Packet::Publish(publish) => messages.push(publish),
                other => panic!("instead of a message or nothing: {other:?}"),
            }
        }
    }

    /// The next packet, which must be a PUBACK of MQTT 5 that refuses a message: its identifier and the reason.
    #[track_caller]
    pub(crate) fn refusal(&mut self) -> (u16, u8) {
        let mut packet = [0; 6];
        self.stream.set_read_timeout(Some(SOON)).unwrap();
        self.stream.read_exact(&mut packet[..5]).unwrap();
        assert_eq!(packet[0], 0x40, "{packet:02x?}");
        (u16::from_be_bytes([packet[2], packet[3]]), packet[4])
    }

    #[track_caller]
    pub(crate) fn expect_closed(&mut self) {
        match self.next(SOON) {
            Next::Closed => {}
            other => panic!("instead of the end of the connection: {other:?}"),
        }
    }

    /// Sends PINGREQ and demands that PINGRESP is the next packet: so nothing else was on its way.
    #[track_caller]
    pub(crate) fn expect_nothing_more(&mut self) {
        self.send(packet::PINGREQ);
        self.expect(Packet::Pingresp);
    }

    /// Subscribes and demands that it is granted as asked.
    #[track_caller]
    pub(crate) fn subscribe(&mut self, filter: &str, qos: u8) {
        let id = self.id();
        let subscribe = if self.mqtt5 { packet::subscribe5 } else { packet::subscribe };
        self.send(&subscribe(id, &[(filter, qos)]));
        self.expect(Packet::Suback { id, codes: vec![qos] });
    }

    /// Publishes and waits for the whole of the acknowledgement. No other packet may come in between.
    #[track_caller]
    pub(crate) fn publish(&mut self, topic: &str, payload: impl AsRef<[u8]>, qos: u8) {
        let id = if qos > 0 { self.id() } else { 0 };
        self.publish_whole(&Publish::new(topic, payload).qos(qos, id));
    }

    /// As `publish`, with the flag RETAIN.
    #[track_caller]
    pub(crate) fn publish_retained(&mut self, topic: &str, payload: impl AsRef<[u8]>, qos: u8) {
        let id = if qos > 0 { self.id() } else { 0 };
        self.publish_whole(&Publish::new(topic, payload).qos(qos, id).retain());
    }

    #[track_caller]
    fn publish_whole(&mut self, publish: &Publish) {
        self.send(&publish.encode());
        match publish.qos {
            0 => {}
            1 => self.expect(Packet::Puback(publish.id)),
            _ => {
                self.expect(Packet::Pubrec(publish.id));
                self.send(&packet::pubrel(publish.id));
                self.expect(Packet::Pubcomp(publish.id));
            }
        }
    }

    /// Ends the session's connection as a client should.
    pub(crate) fn disconnect(mut self) {
        self.send(packet::DISCONNECT);
        self.expect_closed();
    }

    /// Ends the connection without DISCONNECT.
    pub(crate) fn vanish(self) {
        // The server may have closed already.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}
