//! A raw MQTT 3 client for tests, with a codec of its own: it sends what a test says, right or wrong, and shows what comes.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

/// A test that waits longer has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A packet from the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Got {
    Connack { present: bool, code: u8 },
    Publish { topic: String, payload: Vec<u8>, qos: u8, retain: bool, dup: bool, id: u16 },
    Puback(u16),
    Pubrec(u16),
    Pubrel(u16),
    Pubcomp(u16),
    Suback(u16, Vec<u8>),
    Unsuback(u16),
    Pingresp,
}

/// What a CONNECT says. `Connect::new("id")` is clean, without keep alive.
#[derive(Clone, Debug)]
pub(crate) struct Connect {
    pub(crate) id: String,
    pub(crate) clean: bool,
    pub(crate) keep_alive: u16,
    pub(crate) will: Option<(String, Vec<u8>, u8, bool)>,
    pub(crate) user: Option<(String, String)>,
    pub(crate) name: &'static str,
    pub(crate) level: u8,
}

impl Connect {
    pub(crate) fn new(id: &str) -> Self {
        let (name, level) = ("MQTT", 4);
        Self { id: id.into(), clean: true, keep_alive: 0, will: None, user: None, name, level }
    }

    pub(crate) fn persistent(id: &str) -> Self {
        Self { clean: false, ..Self::new(id) }
    }

    pub(crate) fn will(mut self, topic: &str, payload: &str, qos: u8, retain: bool) -> Self {
        self.will = Some((topic.into(), payload.into(), qos, retain));
        self
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut body = Vec::new();
        put_text(&mut body, self.name.as_bytes());
        let mut flags = u8::from(self.clean) << 1;
        if let Some((_, _, qos, retain)) = &self.will {
            flags |= 4 | qos << 3 | u8::from(*retain) << 5;
        }
        if self.user.is_some() {
            flags |= 0xc0;
        }
        body.extend([self.level, flags]);
        body.extend(self.keep_alive.to_be_bytes());
        put_text(&mut body, self.id.as_bytes());
        if let Some((topic, payload, ..)) = &self.will {
            put_text(&mut body, topic.as_bytes());
            put_text(&mut body, payload);
        }
        if let Some((user, password)) = &self.user {
            put_text(&mut body, user.as_bytes());
            put_text(&mut body, password.as_bytes());
        }
        packet(0x10, &body)
    }
}

pub(crate) fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    out.extend((text.len() as u16).to_be_bytes());
    out.extend(text);
}

/// A packet with its fixed header.
pub(crate) fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    let mut len = body.len();
    while len >= 0x80 {
        out.push(len as u8 | 0x80);
        len >>= 7;
    }
    out.push(len as u8);
    out.extend(body);
    out
}

pub(crate) fn publish(topic: &str, payload: &[u8], qos: u8, retain: bool, dup: bool, id: u16) -> Vec<u8> {
    let mut body = Vec::new();
    put_text(&mut body, topic.as_bytes());
    if qos > 0 {
        body.extend(id.to_be_bytes());
    }
    body.extend(payload);
    packet(0x30 | u8::from(dup) << 3 | qos << 1 | u8::from(retain), &body)
}

pub(crate) fn subscribe(id: u16, filters: &[(&str, u8)]) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    for (filter, qos) in filters {
        put_text(&mut body, filter.as_bytes());
        body.push(*qos);
    }
    packet(0x82, &body)
}

pub(crate) fn unsubscribe(id: u16, filters: &[&str]) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    for filter in filters {
        put_text(&mut body, filter.as_bytes());
    }
    packet(0xa2, &body)
}

pub(crate) fn ack(first: u8, id: u16) -> Vec<u8> {
    packet(first, &id.to_be_bytes())
}

pub(crate) const PUBACK: u8 = 0x40;
pub(crate) const PUBREC: u8 = 0x50;
pub(crate) const PUBREL: u8 = 0x62;
pub(crate) const PUBCOMP: u8 = 0x70;
pub(crate) const DISCONNECT: [u8; 2] = [0xe0, 0];
pub(crate) const PINGREQ: [u8; 2] = [0xc0, 0];

/// Takes the first packet out of `bytes`, if it is whole.
pub(crate) fn decode(bytes: &mut Vec<u8>) -> Option<Got> {
    let mut len = 0;
    let mut at = 1;
    loop {
        let byte = *bytes.get(at)?;
        len |= usize::from(byte & 0x7f) << (7 * (at - 1));
        at += 1;
        if byte & 0x80 == 0 {
            break;
        }
    }
    if bytes.len() < at + len {
        return None;
    }
    let whole: Vec<u8> = bytes.drain(..at + len).collect();
    let (first, body) = (whole[0], &whole[at..]);
    let number = |at: usize| u16::from_be_bytes([body[at], body[at + 1]]);
    Some(match first >> 4 {
        2 => Got::Connack { present: body[0] == 1, code: body[1] },
        3 => {
            let qos = first >> 1 & 3;
            let topic_end = 2 + usize::from(number(0));
            let id = if qos > 0 { number(topic_end) } else { 0 };
            Got::Publish {
                topic: String::from_utf8(body[2..topic_end].to_vec()).unwrap(),
                payload: body[topic_end + if qos > 0 { 2 } else { 0 }..].to_vec(),
                qos,
                retain: first & 1 != 0,
                dup: first & 8 != 0,
                id,
            }
        }
        4 => Got::Puback(number(0)),
        5 => Got::Pubrec(number(0)),
        6 => Got::Pubrel(number(0)),
        7 => Got::Pubcomp(number(0)),
        9 => Got::Suback(number(0), body[2..].to_vec()),
        11 => Got::Unsuback(number(0)),
        13 => Got::Pingresp,
        other => panic!("the server sent a packet of type {other}"),
    })
}

/// A client's end of a connection.
pub(crate) struct Client {
    pub(crate) stream: DuplexStream,
    received: Vec<u8>,
    /// Packets that came while another one was waited for.
    waiting: VecDeque<Got>,
    next_id: u16,
}

impl Client {
    pub(crate) fn new(stream: DuplexStream) -> Self {
        Self { stream, received: Vec::new(), waiting: VecDeque::new(), next_id: 0 }
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        tokio::time::timeout(PATIENCE, self.stream.write_all(bytes))
            .await
            .expect("the server reads")
            .unwrap();
    }

    /// As `send`, for as long as it takes.
    pub(crate) async fn stream_write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
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
            if let Some(got) = decode(&mut self.received) {
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

    pub(crate) async fn expect(&mut self, expected: Got) {
        assert_eq!(self.next().await, Some(expected));
    }

    /// Waits for a packet of a flow; others keep their order and come later.
    pub(crate) async fn expect_flow(&mut self, expected: Got) {
        if let Some(at) = self.waiting.iter().position(|got| *got == expected) {
            self.waiting.remove(at);
            return;
        }
        loop {
            let got = self.receive().await.unwrap_or_else(|| panic!("closed instead of {expected:?}"));
            if got == expected {
                return;
            }
            self.waiting.push_back(got);
        }
    }

    pub(crate) async fn expect_closed(&mut self) {
        assert_eq!(self.next().await, None, "the server closes");
    }

    pub(crate) async fn connect(&mut self, connect: &Connect) -> bool {
        self.send(&connect.encode()).await;
        match self.next().await {
            Some(Got::Connack { present, code: 0 }) => present,
            other => panic!("no CONNACK: {other:?}"),
        }
    }

    pub(crate) fn id(&mut self) -> u16 {
        self.next_id = self.next_id % 60_000 + 1;
        self.next_id
    }

    /// Subscribes and takes the SUBACK.
    pub(crate) async fn subscribe(&mut self, filters: &[(&str, u8)]) {
        let id = self.id();
        self.send(&subscribe(id, filters)).await;
        // Messages may come before it.
        self.expect_flow(Got::Suback(id, filters.iter().map(|(_, qos)| *qos).collect())).await;
    }

    pub(crate) async fn unsubscribe(&mut self, filters: &[&str]) {
        let id = self.id();
        self.send(&unsubscribe(id, filters)).await;
        self.expect(Got::Unsuback(id)).await;
    }

    /// Publishes and goes through the whole flow.
    pub(crate) async fn publish(&mut self, topic: &str, payload: &[u8], qos: u8, retain: bool) {
        let id = if qos > 0 { self.id() } else { 0 };
        self.send(&publish(topic, payload, qos, retain, false, id)).await;
        match qos {
            0 => {}
            1 => self.expect_flow(Got::Puback(id)).await,
            _ => {
                self.expect_flow(Got::Pubrec(id)).await;
                self.send(&ack(PUBREL, id)).await;
                self.expect_flow(Got::Pubcomp(id)).await;
            }
        }
    }

    /// Makes sure that everything sent before was handled.
    pub(crate) async fn ping(&mut self) {
        self.send(&PINGREQ).await;
        self.expect(Got::Pingresp).await;
    }

    /// Takes a PUBLISH and acknowledges it: topic, payload, QoS, RETAIN.
    pub(crate) async fn message(&mut self) -> (String, Vec<u8>, u8, bool) {
        match self.next().await {
            Some(Got::Publish { topic, payload, qos, retain, id, .. }) => {
                match qos {
                    0 => {}
                    1 => self.send(&ack(PUBACK, id)).await,
                    _ => {
                        self.send(&ack(PUBREC, id)).await;
                        self.expect_flow(Got::Pubrel(id)).await;
                        self.send(&ack(PUBCOMP, id)).await;
                    }
                }
                (topic, payload, qos, retain)
            }
            other => panic!("no message: {other:?}"),
        }
    }

    pub(crate) async fn expect_message(&mut self, topic: &str, payload: &[u8], qos: u8, retain: bool) {
        assert_eq!(self.message().await, (topic.to_owned(), payload.to_vec(), qos, retain));
    }

    pub(crate) async fn disconnect(mut self) {
        self.send(&DISCONNECT).await;
        self.expect_closed().await;
    }
}
