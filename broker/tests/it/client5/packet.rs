//! Packets of MQTT 5, written as a client does and read as a server sends them.

use super::props::{Props, Reader, may_say};
use crate::client::{packet, put_text};

/// A PUBLISH, sent or received. `id` 0: none yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Publish {
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    pub(crate) dup: bool,
    pub(crate) id: u16,
    pub(crate) props: Props,
}

impl Publish {
    pub(crate) fn new(topic: &str, payload: impl AsRef<[u8]>, qos: u8) -> Self {
        Self { topic: topic.into(), payload: payload.as_ref().into(), qos, ..Self::default() }
    }

    pub(crate) fn retained(mut self) -> Self {
        self.retain = true;
        self
    }

    pub(crate) fn with(mut self, props: Props) -> Self {
        self.props = props;
        self
    }

    pub(crate) fn id(mut self, id: u16) -> Self {
        self.id = id;
        self
    }

    pub(crate) fn dup(mut self) -> Self {
        self.dup = true;
        self
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut body = Vec::new();
        put_text(&mut body, self.topic.as_bytes());
        if self.qos > 0 {
            body.extend(self.id.to_be_bytes());
        }
        self.props.encode(&mut body);
        body.extend(&self.payload);
        packet(0x30 | u8::from(self.dup) << 3 | self.qos << 1 | u8::from(self.retain), &body)
    }
}

/// What a CONNECT says. `Connect::new("id")`: clean start, no keep alive, session expiry 0.
#[derive(Clone, Debug)]
pub(crate) struct Connect {
    pub(crate) id: String,
    pub(crate) clean: bool,
    pub(crate) keep_alive: u16,
    pub(crate) props: Props,
    pub(crate) will: Option<Publish>,
    pub(crate) user: Option<(String, String)>,
}

impl Connect {
    pub(crate) fn new(id: &str) -> Self {
        let props = Props::none();
        Self { id: id.into(), clean: true, keep_alive: 0, props, will: None, user: None }
    }

    /// Takes up a session that is there, and leaves one that lasts.
    pub(crate) fn lasting(id: &str) -> Self {
        let props = Props::none().number(super::prop::SESSION_EXPIRY, u32::MAX);
        Self { clean: false, ..Self::new(id) }.with(props)
    }

    pub(crate) fn with(mut self, props: Props) -> Self {
        self.props.0.extend(props.0);
        self
    }

    pub(crate) fn will(mut self, will: Publish) -> Self {
        self.will = Some(will);
        self
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut body = b"\0\x04MQTT\x05".to_vec();
        let mut flags = u8::from(self.clean) << 1;
        if let Some(will) = &self.will {
            flags |= 4 | will.qos << 3 | u8::from(will.retain) << 5;
        }
        if self.user.is_some() {
            flags |= 0xc0;
        }
        body.push(flags);
        body.extend(self.keep_alive.to_be_bytes());
        self.props.encode(&mut body);
        put_text(&mut body, self.id.as_bytes());
        if let Some(will) = &self.will {
            will.props.encode(&mut body);
            put_text(&mut body, will.topic.as_bytes());
            put_text(&mut body, &will.payload);
        }
        if let Some((user, password)) = &self.user {
            put_text(&mut body, user.as_bytes());
            put_text(&mut body, password.as_bytes());
        }
        packet(0x10, &body)
    }
}

pub(crate) const PUBACK: u8 = 0x40;
pub(crate) const PUBREC: u8 = 0x50;
pub(crate) const PUBREL: u8 = 0x62;
pub(crate) const PUBCOMP: u8 = 0x70;
pub(crate) const PINGREQ: [u8; 2] = [0xc0, 0];
pub(crate) const DISCONNECT: [u8; 2] = [0xe0, 0];

/// An acknowledgement; in the short form if the reason is 0.
pub(crate) fn ack(first: u8, id: u16, reason: u8) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    if reason > 0 {
        body.push(reason);
    }
    packet(first, &body)
}

/// Filters with their options: QoS, no local 4, retain as published 8, retain handling 0x10 or 0x20.
pub(crate) fn subscribe(id: u16, props: &Props, filters: &[(&str, u8)]) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    props.encode(&mut body);
    for (filter, options) in filters {
        put_text(&mut body, filter.as_bytes());
        body.push(*options);
    }
    packet(0x82, &body)
}

pub(crate) fn unsubscribe(id: u16, filters: &[&str]) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    Props::none().encode(&mut body);
    for filter in filters {
        put_text(&mut body, filter.as_bytes());
    }
    packet(0xa2, &body)
}

pub(crate) fn disconnect(reason: u8, props: &Props) -> Vec<u8> {
    let mut body = vec![reason];
    props.encode(&mut body);
    packet(0xe0, &body)
}

/// A packet from the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Got {
    Connack(Connack),
    Publish(Publish),
    Puback(u16, u8, Props),
    Pubrec(u16, u8, Props),
    Pubrel(u16, u8, Props),
    Pubcomp(u16, u8, Props),
    Suback(u16, Vec<u8>, Props),
    Unsuback(u16, Vec<u8>, Props),
    Pingresp,
    Disconnect(u8, Props),
    Auth(u8, Props),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Connack {
    pub(crate) present: bool,
    pub(crate) reason: u8,
    pub(crate) props: Props,
}

/// Takes the first packet out of `bytes`, if it is whole: it, and its size.
pub(super) fn decode(bytes: &mut Vec<u8>) -> Option<(Got, usize)> {
    let len_bytes = bytes.iter().skip(1).take(4).position(|byte| byte & 0x80 == 0)? + 1;
    let len = Reader(&bytes[1..=len_bytes]).varint() as usize;
    let size = 1 + len_bytes + len;
    if bytes.len() < size {
        return None;
    }
    let whole: Vec<u8> = bytes.drain(..size).collect();
    let first = whole[0];
    let packet_type = first >> 4;
    if packet_type != 3 {
        let flags = if packet_type == 6 { 2 } else { 0 };
        assert_eq!(first & 15, flags, "flags of a packet of type {packet_type}");
    }
    let mut reader = Reader(&whole[1 + len_bytes..]);
    let got = decode_body(first, &mut reader);
    assert!(reader.0.is_empty(), "{got:?} and then {:02x?}", reader.0);
    Some((got, size))
}

fn decode_body(first: u8, reader: &mut Reader<'_>) -> Got {
    let packet_type = first >> 4;
    match packet_type {
        2 => {
            let flags = reader.byte();
            assert!(flags <= 1, "reserved flags of CONNACK");
            let reason = reason(reader, 2);
            let props = Props::decode(reader, 2);
            assert!(flags == 0 || reason == 0, "session present in a refusal");
            Got::Connack(Connack { present: flags == 1, reason, props })
        }
        3 => {
            let qos = first >> 1 & 3;
            assert!(qos < 3 && (qos > 0 || first & 8 == 0), "QoS and DUP");
            let topic = reader.text();
            let id = if qos > 0 { reader.two() } else { 0 };
            assert!(qos == 0 || id > 0, "packet identifier 0");
            let props = Props::decode(reader, 3);
            let payload = reader.take(reader.0.len()).to_vec();
            let (retain, dup) = (first & 1 != 0, first & 8 != 0);
            Got::Publish(Publish { topic, payload, qos, retain, dup, id, props })
        }
        4..=7 => {
            let id = reader.two();
            let reason = if reader.0.is_empty() { 0 } else { reason(reader, packet_type) };
            let props = if reader.0.is_empty() { Props::none() } else { Props::decode(reader, packet_type) };
            match packet_type {
                4 => Got::Puback(id, reason, props),
                5 => Got::Pubrec(id, reason, props),
                6 => Got::Pubrel(id, reason, props),
                _ => Got::Pubcomp(id, reason, props),
            }
        }
        9 | 11 => {
            let id = reader.two();
            let props = Props::decode(reader, packet_type);
            let mut reasons = Vec::new();
            while !reader.0.is_empty() {
                reasons.push(reason(reader, packet_type));
            }
            if packet_type == 9 { Got::Suback(id, reasons, props) } else { Got::Unsuback(id, reasons, props) }
        }
        13 => Got::Pingresp,
        14 | 15 => {
            let reason = if reader.0.is_empty() { 0 } else { reason(reader, packet_type) };
            let props = if reader.0.is_empty() { Props::none() } else { Props::decode(reader, packet_type) };
            if packet_type == 14 { Got::Disconnect(reason, props) } else { Got::Auth(reason, props) }
        }
        other => panic!("the server sent a packet of type {other}"),
    }
}

fn reason(reader: &mut Reader<'_>, packet_type: u8) -> u8 {
    let reason = reader.byte();
    assert!(may_say(packet_type, reason), "a packet of type {packet_type} with the reason {reason:#04x}");
    reason
}
