//! A raw MQTT 5 client for tests, with a codec of its own: it sends what a test says, right or wrong, and shows what comes.
//!
//! What comes is checked as it is read: flags of the fixed header, lengths, minimal integers, which properties and reasons a packet
//! may have, that no packet is larger than the client's maximum, and that nothing follows a DISCONNECT.

mod packet;
mod props;

use std::collections::VecDeque;
use std::sync::Arc;

use distkv_broker::{Listener, Peer};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

pub(crate) use packet::*;
pub(crate) use props::{Props, Value, prop};

use crate::client::PATIENCE;
use crate::server::{STREAM_BYTES, Server, peer};

/// A client's end of a connection.
pub(crate) struct Client {
    pub(crate) stream: DuplexStream,
    received: Vec<u8>,
    /// Packets that came while another one was waited for.
    waiting: VecDeque<Got>,
    next_id: u16,
    largest: usize,
    ended: bool,
}

impl Client {
    pub(crate) fn new(stream: DuplexStream) -> Self {
        let (received, waiting) = (Vec::new(), VecDeque::new());
        Self { stream, received, waiting, next_id: 0, largest: usize::MAX, ended: false }
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let written = tokio::time::timeout(PATIENCE, self.stream.write_all(bytes.as_ref())).await;
        // An error: the server has closed. What it said before is for the test to read.
        let _ = written.expect("the server reads");
    }

    /// The next packet, or `None` when the server has closed the connection.
    pub(crate) async fn next(&mut self) -> Option<Got> {
        match self.waiting.pop_front() {
            Some(got) => Some(got),
            None => self.receive().await,
        }
    }

    async fn receive(&mut self) -> Option<Got> {
        loop {
            if let Some((got, size)) = decode(&mut self.received) {
                assert!(!self.ended, "{got:?} behind DISCONNECT");
                assert!(size <= self.largest, "{size} bytes: {got:?}");
                self.ended = matches!(got, Got::Disconnect(..));
                return Some(got);
            }
            let mut buffer = [0; 4096];
            let read = tokio::time::timeout(PATIENCE, self.stream.read(&mut buffer)).await;
            match read.expect("a packet from the server") {
                Ok(0) | Err(_) => return None,
                Ok(len) => self.received.extend(&buffer[..len]),
            }
        }
    }

    /// The next packet for which `wanted` has an answer; others keep their order and come later.
    pub(crate) async fn find<T>(&mut self, mut wanted: impl FnMut(&Got) -> Option<T>) -> T {
        for at in 0..self.waiting.len() {
            if let Some(found) = wanted(&self.waiting[at]) {
                self.waiting.remove(at);
                return found;
            }
        }
        loop {
            let got = self
                .receive()
                .await
                .unwrap_or_else(|| panic!("closed; what came besides: {:?}", self.waiting));
            if let Some(found) = wanted(&got) {
                return found;
            }
            self.waiting.push_back(got);
        }
    }

    pub(crate) async fn connect(&mut self, connect: &Connect) -> Connack {
        if let Some(size) = connect.props.get_number(prop::MAXIMUM_PACKET_SIZE) {
            self.largest = size as usize;
        }
        self.send(connect.encode()).await;
        match self.next().await {
            Some(Got::Connack(connack)) => connack,
            other => panic!("no CONNACK: {other:?}"),
        }
    }

    pub(crate) fn id(&mut self) -> u16 {
        self.next_id = self.next_id % 60_000 + 1;
        self.next_id
    }

    /// Subscribes, and takes the SUBACK, which grants what is asked for.
    pub(crate) async fn subscribe(&mut self, filters: &[(&str, u8)]) {
        self.subscribe_with(Props::none(), filters).await;
    }

    pub(crate) async fn subscribe_with(&mut self, props: Props, filters: &[(&str, u8)]) {
        let id = self.id();
        self.send(subscribe(id, &props, filters)).await;
        let granted: Vec<u8> = filters.iter().map(|(_, options)| options & 3).collect();
        assert_eq!(self.suback(id).await, granted);
    }

    pub(crate) async fn suback(&mut self, id: u16) -> Vec<u8> {
        self.find(|got| match got {
            Got::Suback(its, reasons, _) if *its == id => Some(reasons.clone()),
            _ => None,
        })
        .await
    }

    pub(crate) async fn unsubscribe(&mut self, filters: &[&str]) -> Vec<u8> {
        let id = self.id();
        self.send(unsubscribe(id, filters)).await;
        self.find(|got| match got {
            Got::Unsuback(its, reasons, _) if *its == id => Some(reasons.clone()),
            _ => None,
        })
        .await
    }

    /// Publishes and goes through the whole flow: the reason of PUBACK or PUBREC.
    pub(crate) async fn publish(&mut self, mut publish: Publish) -> u8 {
        if publish.qos > 0 && publish.id == 0 {
            publish.id = self.id();
        }
        self.send(publish.encode()).await;
        let id = publish.id;
        match publish.qos {
            0 => 0,
            1 => {
                self.find(|got| match got {
                    Got::Puback(its, reason, _) if *its == id => Some(*reason),
                    _ => None,
                })
                .await
            }
            _ => {
                let reason = self.pubrec(id).await;
                if reason < 0x80 {
                    self.send(ack(PUBREL, id, 0)).await;
                    assert_eq!(self.pubcomp(id).await, 0);
                }
                reason
            }
        }
    }

    pub(crate) async fn pubrec(&mut self, id: u16) -> u8 {
        self.find(|got| match got {
            Got::Pubrec(its, reason, _) if *its == id => Some(*reason),
            _ => None,
        })
        .await
    }

    pub(crate) async fn pubrel(&mut self, id: u16) -> u8 {
        self.find(|got| match got {
            Got::Pubrel(its, reason, _) if *its == id => Some(*reason),
            _ => None,
        })
        .await
    }

    pub(crate) async fn pubcomp(&mut self, id: u16) -> u8 {
        self.find(|got| match got {
            Got::Pubcomp(its, reason, _) if *its == id => Some(*reason),
            _ => None,
        })
        .await
    }

    /// The next PUBLISH, without an answer to it.
    pub(crate) async fn publication(&mut self) -> Publish {
        match self.next().await {
            Some(Got::Publish(publish)) => publish,
            other => panic!("no message: {other:?}"),
        }
    }

    /// Takes a PUBLISH and acknowledges it.
    pub(crate) async fn message(&mut self) -> Publish {
        let publish = self.publication().await;
        let id = publish.id;
        match publish.qos {
            0 => {}
            1 => self.send(ack(PUBACK, id, 0)).await,
            _ => {
                self.send(ack(PUBREC, id, 0)).await;
                assert_eq!(self.pubrel(id).await, 0);
                self.send(ack(PUBCOMP, id, 0)).await;
            }
        }
        publish
    }

    /// Takes a message, of which only these matter: topic, payload, QoS, RETAIN.
    pub(crate) async fn expect(&mut self, topic: &str, payload: impl AsRef<[u8]>, qos: u8, retain: bool) {
        let got = self.message().await;
        assert_eq!(
            (&*got.topic, &*got.payload, got.qos, got.retain),
            (topic, payload.as_ref(), qos, retain),
            "{got:?}"
        );
    }

    /// Makes sure that everything sent before was handled, and that nothing else has come.
    pub(crate) async fn ping(&mut self) {
        self.send(PINGREQ).await;
        assert_eq!(self.next().await, Some(Got::Pingresp));
    }

    pub(crate) async fn expect_closed(&mut self) {
        assert_eq!(self.next().await, None, "the server closes");
    }

    /// The server closes, and says why.
    #[track_caller]
    pub(crate) fn expect_end(&mut self, reasons: &[u8]) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            match self.next().await {
                Some(Got::Disconnect(reason, _)) => {
                    assert!(reasons.contains(&reason), "{caller}: DISCONNECT {reason:#04x}");
                }
                other => panic!("{caller}: no DISCONNECT with one of {reasons:02x?}: {other:?}"),
            }
            self.expect_closed().await;
        }
    }

    pub(crate) async fn disconnect(mut self) {
        self.send(DISCONNECT).await;
        self.expect_closed().await;
    }
}

impl Server {
    pub(crate) fn open5(&self) -> Client {
        Client::new(self.stream(STREAM_BYTES))
    }

    /// A connection that comes in by that listener.
    pub(crate) fn open5_by(&self, listener: &Arc<Listener>) -> Client {
        let (ours, theirs) = tokio::io::duplex(STREAM_BYTES);
        self.broker.serve_peer(theirs, Peer::plain(peer().into(), Arc::clone(listener)));
        Client::new(ours)
    }

    /// A client that is let in.
    pub(crate) async fn connect5(&self, connect: &Connect) -> Client {
        let mut client = self.open5();
        let connack = client.connect(connect).await;
        assert_eq!(connack.reason, 0, "{connack:?}");
        client
    }

    /// A client that comes back to its session.
    pub(crate) async fn resume5(&self, connect: &Connect) -> Client {
        let mut client = self.open5();
        let connack = client.connect(connect).await;
        assert!(connack.reason == 0 && connack.present, "{connack:?}");
        client
    }

    /// Connects with a clean start and a session that ends with the connection.
    pub(crate) async fn clean5(&self, id: &str) -> Client {
        self.connect5(&Connect::new(id)).await
    }
}
