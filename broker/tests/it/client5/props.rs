//! Properties of MQTT 5, written and read; which of them, and which reasons, a packet of a server may have.

use crate::client::put_text;

/// Identifiers of properties.
pub(crate) mod prop {
    pub(crate) const PAYLOAD_FORMAT: u8 = 0x01;
    pub(crate) const MESSAGE_EXPIRY: u8 = 0x02;
    pub(crate) const CONTENT_TYPE: u8 = 0x03;
    pub(crate) const RESPONSE_TOPIC: u8 = 0x08;
    pub(crate) const CORRELATION_DATA: u8 = 0x09;
    pub(crate) const SUBSCRIPTION_ID: u8 = 0x0b;
    pub(crate) const SESSION_EXPIRY: u8 = 0x11;
    pub(crate) const ASSIGNED_CLIENT_ID: u8 = 0x12;
    pub(crate) const SERVER_KEEP_ALIVE: u8 = 0x13;
    pub(crate) const AUTH_METHOD: u8 = 0x15;
    pub(crate) const AUTH_DATA: u8 = 0x16;
    pub(crate) const REQUEST_PROBLEM: u8 = 0x17;
    pub(crate) const WILL_DELAY: u8 = 0x18;
    pub(crate) const REQUEST_RESPONSE: u8 = 0x19;
    pub(crate) const RESPONSE_INFORMATION: u8 = 0x1a;
    pub(crate) const SERVER_REFERENCE: u8 = 0x1c;
    pub(crate) const REASON_STRING: u8 = 0x1f;
    pub(crate) const RECEIVE_MAXIMUM: u8 = 0x21;
    pub(crate) const TOPIC_ALIAS_MAXIMUM: u8 = 0x22;
    pub(crate) const TOPIC_ALIAS: u8 = 0x23;
    pub(crate) const MAXIMUM_QOS: u8 = 0x24;
    pub(crate) const RETAIN_AVAILABLE: u8 = 0x25;
    pub(crate) const USER: u8 = 0x26;
    pub(crate) const MAXIMUM_PACKET_SIZE: u8 = 0x27;
    pub(crate) const WILDCARDS_AVAILABLE: u8 = 0x28;
    pub(crate) const IDS_AVAILABLE: u8 = 0x29;
    pub(crate) const SHARES_AVAILABLE: u8 = 0x2a;
}

/// The value of a property; its identifier says how a number is written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Value {
    Number(u32),
    Text(String),
    Binary(Vec<u8>),
    Pair(String, String),
}

/// Properties in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Props(pub(crate) Vec<(u8, Value)>);

impl Props {
    pub(crate) fn none() -> Self {
        Self::default()
    }

    pub(crate) fn number(mut self, id: u8, number: u32) -> Self {
        self.0.push((id, Value::Number(number)));
        self
    }

    pub(crate) fn text(mut self, id: u8, text: &str) -> Self {
        self.0.push((id, Value::Text(text.into())));
        self
    }

    pub(crate) fn binary(mut self, id: u8, bytes: &[u8]) -> Self {
        self.0.push((id, Value::Binary(bytes.into())));
        self
    }

    pub(crate) fn user(mut self, name: &str, value: &str) -> Self {
        self.0.push((prop::USER, Value::Pair(name.into(), value.into())));
        self
    }

    pub(crate) fn get(&self, id: u8) -> Option<&Value> {
        self.0.iter().find(|(its, _)| *its == id).map(|(_, value)| value)
    }

    pub(crate) fn get_number(&self, id: u8) -> Option<u32> {
        match self.get(id) {
            Some(Value::Number(number)) => Some(*number),
            _ => None,
        }
    }

    pub(crate) fn get_text(&self, id: u8) -> Option<&str> {
        match self.get(id) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// Identifiers of subscriptions, sorted: their order means nothing.
    pub(crate) fn subscription_ids(&self) -> Vec<u32> {
        let mut ids: Vec<u32> = self
            .0
            .iter()
            .filter_map(|(id, value)| match value {
                Value::Number(number) if *id == prop::SUBSCRIPTION_ID => Some(*number),
                _ => None,
            })
            .collect();
        ids.sort_unstable();
        ids
    }

    /// With their length before them.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let mut body = Vec::new();
        for (id, value) in &self.0 {
            body.push(*id);
            match value {
                Value::Number(number) => match Kind::of(*id) {
                    Kind::Byte => body.push(*number as u8),
                    Kind::Two => body.extend((*number as u16).to_be_bytes()),
                    Kind::Four => body.extend(number.to_be_bytes()),
                    _ => put_varint(&mut body, *number),
                },
                Value::Text(text) => put_text(&mut body, text.as_bytes()),
                Value::Binary(bytes) => put_text(&mut body, bytes),
                Value::Pair(name, value) => {
                    put_text(&mut body, name.as_bytes());
                    put_text(&mut body, value.as_bytes());
                }
            }
        }
        put_varint(out, body.len() as u32);
        out.extend(body);
    }

    /// Reads those of a packet of that type.
    pub(super) fn decode(reader: &mut Reader<'_>, packet_type: u8) -> Self {
        let len = reader.varint() as usize;
        let mut inner = Reader(reader.take(len));
        let mut props = Self::default();
        while !inner.0.is_empty() {
            let id = inner.byte();
            assert!(may_have(packet_type, id), "a packet of type {packet_type} with the property {id:#x}");
            let repeats = id == prop::USER || id == prop::SUBSCRIPTION_ID;
            assert!(repeats || props.get(id).is_none(), "the property {id:#x} comes twice");
            let value = match Kind::of(id) {
                Kind::Byte => Value::Number(inner.byte().into()),
                Kind::Two => Value::Number(inner.two().into()),
                Kind::Four => Value::Number(u32::from(inner.two()) << 16 | u32::from(inner.two())),
                Kind::Var => Value::Number(inner.varint()),
                Kind::Text => Value::Text(inner.text()),
                Kind::Binary => Value::Binary(inner.binary().to_vec()),
                Kind::Pair => Value::Pair(inner.text(), inner.text()),
            };
            props.0.push((id, value));
        }
        props
    }
}

enum Kind {
    Byte,
    Two,
    Four,
    Var,
    Text,
    Binary,
    Pair,
}

impl Kind {
    fn of(id: u8) -> Self {
        match id {
            0x01 | 0x17 | 0x19 | 0x24 | 0x25 | 0x28 | 0x29 | 0x2a => Self::Byte,
            0x13 | 0x21 | 0x22 | 0x23 => Self::Two,
            0x02 | 0x11 | 0x18 | 0x27 => Self::Four,
            0x0b => Self::Var,
            0x03 | 0x08 | 0x12 | 0x15 | 0x1a | 0x1c | 0x1f => Self::Text,
            0x09 | 0x16 => Self::Binary,
            0x26 => Self::Pair,
            _ => panic!("there is no property {id:#x}"),
        }
    }
}

/// May a server's packet of that type have this property?
fn may_have(packet_type: u8, id: u8) -> bool {
    let may: &[u8] = match packet_type {
        2 => &[
            0x11, 0x12, 0x13, 0x15, 0x16, 0x1a, 0x1c, 0x1f, 0x21, 0x22, 0x24, 0x25, 0x26, 0x27, 0x28, 0x29,
            0x2a,
        ],
        3 => &[0x01, 0x02, 0x03, 0x08, 0x09, 0x0b, 0x23, 0x26],
        14 => &[0x1c, 0x1f, 0x26],
        15 => &[0x15, 0x16, 0x1f, 0x26],
        _ => &[0x1f, 0x26],
    };
    may.contains(&id)
}

/// May a server's packet of that type have this reason?
pub(super) fn may_say(packet_type: u8, reason: u8) -> bool {
    let may: &[u8] = match packet_type {
        2 => &[
            0x00, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x8c, 0x90, 0x95, 0x97,
            0x99, 0x9a, 0x9b, 0x9c, 0x9d, 0x9f,
        ],
        4 | 5 => &[0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99],
        6 | 7 => &[0x00, 0x92],
        9 => &[0x00, 0x01, 0x02, 0x80, 0x83, 0x87, 0x8f, 0x91, 0x97, 0x9e, 0xa1, 0xa2],
        11 => &[0x00, 0x11, 0x80, 0x83, 0x87, 0x8f, 0x91],
        // 0x8c stands in the table of all reasons (2.4), not in that of DISCONNECT (3.14.2.1).
        14 => &[
            0x00, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8b, 0x8c, 0x8d, 0x8e, 0x8f, 0x90, 0x93, 0x94, 0x95,
            0x96, 0x97, 0x98, 0x99, 0x9a, 0x9b, 0x9c, 0x9d, 0x9e, 0x9f, 0xa0, 0xa1, 0xa2,
        ],
        15 => &[0x00, 0x18],
        _ => &[],
    };
    may.contains(&reason)
}

fn put_varint(out: &mut Vec<u8>, mut number: u32) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// The rest of a packet's bytes.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len);
        self.0 = rest;
        taken
    }

    pub(super) fn byte(&mut self) -> u8 {
        self.take(1)[0]
    }

    pub(super) fn two(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    pub(super) fn varint(&mut self) -> u32 {
        let mut number = 0;
        for shift in [0, 7, 14, 21] {
            let byte = self.byte();
            number |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                assert!(byte > 0 || shift == 0, "an integer in more bytes than it needs");
                return number;
            }
        }
        panic!("an integer of more than four bytes")
    }

    fn binary(&mut self) -> &'a [u8] {
        let len = self.two();
        self.take(len.into())
    }

    pub(super) fn text(&mut self) -> String {
        let text = String::from_utf8(self.binary().to_vec()).unwrap();
        assert!(!text.contains('\0'), "a string with NUL");
        text
    }
}
