//! Clients against a little server which answers as an MQTT broker does, by each way to connect.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use mio::{Events, Poll};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::super::BenchError;
use super::super::link::Link;
use super::super::target::MqttVersion;
use super::super::wire::{self, Login};
use super::*;

/// The size of the message that the server sends: longer than a record of TLS.
const PAYLOAD_BYTES: usize = 40_000;

trait Stream: io::Read + io::Write {}
impl<S: io::Read + io::Write> Stream for S {}

/// A server of one connection: it answers CONNECT, and PINGREQ with a PUBLISH before.
struct Little {
    address: SocketAddr,
    thread: JoinHandle<()>,
    certificate: String,
}

impl Little {
    fn start(tls: bool, websocket: bool) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("bound");
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let certificate = made.cert.pem();
        let thread = thread::spawn(move || {
            let (socket, _) = listener.accept().expect("a client");
            let mut stream: Box<dyn Stream> = if tls {
                let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
                let provider = Arc::new(rustls::crypto::ring::default_provider());
                let config = ServerConfig::builder_with_provider(provider)
                    .with_safe_default_protocol_versions()
                    .expect("versions")
                    .with_no_client_auth()
                    .with_single_cert(vec![made.cert.der().clone()], key.into())
                    .expect("a certificate");
                let connection = ServerConnection::new(Arc::new(config)).expect("a server");
                Box::new(StreamOwned::new(connection, socket))
            } else {
                Box::new(socket)
            };
            // A client that does not trust it leaves.
            let _served = serve(&mut *stream, websocket);
        });
        Self { address, thread, certificate }
    }

    fn connect(&self, layers: &Layers) -> Result<Link, BenchError> {
        Ok(Link::open(self.address, layers, "me".to_owned(), &Login::default(), 0)?.0)
    }
}

/// Reads until what has come ends so.
fn read_until(stream: &mut dyn Stream, end: &[u8]) -> io::Result<()> {
    let mut got = Vec::new();
    while !got.ends_with(end) {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        got.extend_from_slice(&byte);
    }
    Ok(())
}

/// Reads the next packet; by WebSocket it is one frame of less than 126 bytes.
fn read_packet(stream: &mut dyn Stream, websocket: bool) -> io::Result<Vec<u8>> {
    let mut head = [0; 2];
    stream.read_exact(&mut head)?;
    if !websocket {
        let mut packet = vec![0; head[1].into()];
        stream.read_exact(&mut packet)?;
        return Ok([head.as_slice(), &packet].concat());
    }
    let mut mask = [0; 4];
    stream.read_exact(&mut mask)?;
    let mut packet = vec![0; usize::from(head[1] & 0x7F)];
    stream.read_exact(&mut packet)?;
    packet.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
    Ok(packet)
}

fn write_packet(stream: &mut dyn Stream, websocket: bool, packet: &[u8]) -> io::Result<()> {
    if websocket {
        let mut head = vec![0x82];
        match packet.len() {
            len @ 0..126 => head.push(len as u8),
            len => head.extend_from_slice(&[126, (len >> 8) as u8, len as u8]),
        }
        stream.write_all(&head)?;
    }
    stream.write_all(packet)?;
    stream.flush()
}

fn serve(stream: &mut dyn Stream, websocket: bool) -> io::Result<()> {
    if websocket {
        read_until(stream, b"\r\n\r\n")?;
        stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n")?;
    }
    assert_eq!(read_packet(stream, websocket)?.first(), Some(&0x10), "CONNECT");
    write_packet(stream, websocket, &[wire::CONNACK, 2, 0, 0])?;
    assert_eq!(read_packet(stream, websocket)?, wire::PINGREQ_FRAME);
    let mut publish = Vec::new();
    let head = wire::Head { version: MqttVersion::default(), topic: "t", alias: None, qos: 0, retain: false };
    let stamp = wire::Stamp { lane: 0, sequence: 7, sent_nanos: 0 };
    wire::publish(&mut publish, &head, 0, Some((stamp, PAYLOAD_BYTES)));
    write_packet(stream, websocket, &publish)?;
    write_packet(stream, websocket, &[wire::PINGRESP, 0])
}

fn layers(tls: bool, websocket: bool) -> Layers {
    Layers {
        tls: tls.then(|| Trust::new("localhost", None).expect("no file")),
        websocket: websocket.then(|| "localhost".to_owned()),
    }
}

/// Sends PINGREQ, and reads until the answer to it with a buffer of that size. Returns the sizes of the messages before it.
fn messages_before_pong(link: &mut Link, buffer: usize) -> Vec<usize> {
    let mut poll = Poll::new().expect("a poll");
    let mut events = Events::with_capacity(8);
    link.register(poll.registry(), 0).expect("registered");
    link.output().extend_from_slice(&wire::PINGREQ_FRAME);
    let mut scratch = vec![0; buffer];
    let mut sizes = Vec::new();
    let mut ponged = false;
    while !ponged {
        link.flush().expect("written");
        poll.poll(&mut events, Some(Duration::from_secs(20))).expect("a poll");
        assert!(!events.is_empty(), "nothing comes any more");
        let read = link.read(&mut scratch, |frame, _| {
            if frame.first == wire::PINGRESP {
                ponged = true;
            } else {
                sizes.push(frame.publish(MqttVersion::default()).expect("a PUBLISH").payload.len());
            }
        });
        read.expect("read");
        assert!(ponged || !link.is_closed(), "the server has left too early");
    }
    sizes
}

#[test]
fn a_client_talks_by_every_way_whatever_the_size_of_its_buffer() {
    for (tls, websocket) in [(false, false), (true, false), (false, true), (true, true)] {
        for buffer in [1, 100, 5000, 100_000] {
            let server = Little::start(tls, websocket);
            let mut link = server.connect(&layers(tls, websocket)).expect("a connection");
            assert_eq!(
                messages_before_pong(&mut link, buffer),
                [PAYLOAD_BYTES],
                "{tls} {websocket} {buffer}"
            );
            assert_eq!(link.pending(), 0);
            server.thread.join().expect("no failed assertion");
        }
    }
}

#[test]
fn with_a_file_only_those_whom_it_vouches_for_are_trusted() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("ca.pem");
    let connect = |server: &Little, host: &str| {
        let trust = Trust::new(host, Some(&file)).expect("a file with a certificate");
        server.connect(&Layers { tls: Some(trust), websocket: None }).map(|_| ()).map_err(|error| {
            let source = std::error::Error::source(&error).map(ToString::to_string);
            source.unwrap_or_else(|| error.to_string())
        })
    };
    let server = Little::start(true, false);
    fs::write(&file, &server.certificate).expect("written");
    assert_eq!(connect(&server, "localhost"), Ok(()));
    server.thread.join().expect("no failed assertion");

    let server = Little::start(true, false);
    let error = connect(&server, "localhost").expect_err("another certificate than the one in the file");
    assert!(error.contains("certificate"), "{error}");

    let server = Little::start(true, false);
    fs::write(&file, &server.certificate).expect("written");
    let error = connect(&server, "elsewhere").expect_err("another name");
    assert!(error.contains("certificate"), "{error}");
}

#[test]
fn a_file_that_vouches_for_nobody_is_told() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("ca.pem");
    let error = Trust::new("localhost", Some(&file)).expect_err("no file").to_string();
    assert!(error.contains("--ca") && error.contains("ca.pem"), "{error}");
    fs::write(&file, "nothing\n").expect("written");
    let error = Trust::new("localhost", Some(&file)).expect_err("no certificate").to_string();
    assert!(error.contains("--ca"), "{error}");
}
