//! MQTT packets as these tests write and read them: those of MQTT 3, and of MQTT 5 what few tests need, with properties as
//! bytes. Written again from the standard, apart from the broker's codec, so that a fault in one is not hidden by the same
//! fault in the other.

/// A packet from the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Packet {
    Connack {
        session_present: bool,
        code: u8,
    },
    Publish(Publish),
    Puback(u16),
    Pubrec(u16),
    Pubrel(u16),
    Pubcomp(u16),
    Suback {
        id: u16,
        codes: Vec<u8>,
    },
    Unsuback(u16),
    Pingresp,
    /// MQTT 5 only: why the server ends the connection.
    Disconnect(u8),
}

/// An application message on the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Publish {
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    pub(crate) dup: bool,
    /// 0 at QoS 0.
    pub(crate) id: u16,
    /// None: MQTT 3. Some: MQTT 5, these properties without their length.
    pub(crate) properties: Option<Vec<u8>>,
}

impl Publish {
    pub(crate) fn new(topic: &str, payload: impl AsRef<[u8]>) -> Self {
        Self { topic: topic.to_owned(), payload: payload.as_ref().to_vec(), ..Self::default() }
    }

    pub(crate) fn qos(mut self, qos: u8, id: u16) -> Self {
        self.qos = qos;
        self.id = id;
        self
    }

    pub(crate) fn retain(mut self) -> Self {
        self.retain = true;
        self
    }

    pub(crate) fn dup(mut self) -> Self {
        self.dup = true;
        self
    }

    /// Makes it a packet of MQTT 5.
    pub(crate) fn properties(mut self, properties: Vec<u8>) -> Self {
        self.properties = Some(properties);
        self
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.payload).into_owned()
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let flags = u8::from(self.dup) << 3 | self.qos << 1 | u8::from(self.retain);
        let mut body = string(self.topic.as_bytes());
        if self.qos > 0 {
            body.extend(self.id.to_be_bytes());
        }
        if let Some(properties) = &self.properties {
            body.extend(with_length(properties));
        }
        body.extend(&self.payload);
        frame(0x30 | flags, &body)
    }
}

/// A CONNECT packet in the making: clean session, keep alive 60 s, MQTT 3.1.1.
#[derive(Clone)]
pub(crate) struct Connect {
    pub(crate) client_id: String,
    pub(crate) mqtt31: bool,
    pub(crate) clean: bool,
    pub(crate) keep_alive: u16,
    pub(crate) will: Option<Publish>,
    pub(crate) user: Option<(String, String)>,
    /// Some: MQTT 5, with these properties; `clean` is clean start.
    pub(crate) mqtt5: Option<Vec<u8>>,
}

impl Connect {
    pub(crate) fn new(client_id: &str) -> Self {
        Self {
            client_id: client_id.to_owned(),
            mqtt31: false,
            clean: true,
            keep_alive: 60,
            will: None,
            user: None,
            mqtt5: None,
        }
    }

    /// A client whose session is kept.
    pub(crate) fn persistent(client_id: &str) -> Self {
        Self { clean: false, ..Self::new(client_id) }
    }

    pub(crate) fn mqtt31(mut self) -> Self {
        self.mqtt31 = true;
        self
    }

    /// MQTT 5. A session that is not clean lasts an hour.
    pub(crate) fn mqtt5(mut self) -> Self {
        self.mqtt5 =
            Some(if self.clean { Vec::new() } else { property(SESSION_EXPIRY, &3600_u32.to_be_bytes()) });
        self
    }

    pub(crate) fn keep_alive(mut self, seconds: u16) -> Self {
        self.keep_alive = seconds;
        self
    }

    pub(crate) fn will(mut self, will: Publish) -> Self {
        self.will = Some(will);
        self
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let (name, level): (&[u8], u8) = match (self.mqtt31, &self.mqtt5) {
            (true, _) => (b"MQIsdp", 3),
            (false, None) => (b"MQTT", 4),
            (false, Some(_)) => (b"MQTT", 5),
        };
        let mut flags = u8::from(self.clean) << 1;
        let mut payload = string(self.client_id.as_bytes());
        if let Some(will) = &self.will {
            flags |= 0x04 | will.qos << 3 | u8::from(will.retain) << 5;
            if self.mqtt5.is_some() {
                payload.extend(with_length(will.properties.as_deref().unwrap_or_default()));
            }
            payload.extend(string(will.topic.as_bytes()));
            payload.extend(string(&will.payload));
        }
        if let Some((user, password)) = &self.user {
            flags |= 0xc0;
            payload.extend(string(user.as_bytes()));
            payload.extend(string(password.as_bytes()));
        }
        let mut body = string(name);
        body.extend([level, flags]);
        body.extend(self.keep_alive.to_be_bytes());
        if let Some(properties) = &self.mqtt5 {
            body.extend(with_length(properties));
        }
        body.extend(payload);
        frame(0x10, &body)
    }
}

pub(crate) const PINGREQ: &[u8] = &[0xc0, 0];
pub(crate) const DISCONNECT: &[u8] = &[0xe0, 0];

pub(crate) fn puback(id: u16) -> Vec<u8> {
    frame(0x40, &id.to_be_bytes())
}

pub(crate) fn pubrec(id: u16) -> Vec<u8> {
    frame(0x50, &id.to_be_bytes())
}

pub(crate) fn pubrel(id: u16) -> Vec<u8> {
    frame(0x62, &id.to_be_bytes())
}

pub(crate) fn pubcomp(id: u16) -> Vec<u8> {
    frame(0x70, &id.to_be_bytes())
}

pub(crate) fn subscribe<F: AsRef<str>>(id: u16, filters: &[(F, u8)]) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    for (filter, qos) in filters {
        body.extend(string(filter.as_ref().as_bytes()));
        body.push(*qos);
    }
    frame(0x82, &body)
}

/// A SUBSCRIBE of MQTT 5 without properties.
pub(crate) fn subscribe5<F: AsRef<str>>(id: u16, filters: &[(F, u8)]) -> Vec<u8> {
    let mut body = [&id.to_be_bytes()[..], &[0]].concat();
    for (filter, options) in filters {
        body.extend(string(filter.as_ref().as_bytes()));
        body.push(*options);
    }
    frame(0x82, &body)
}

pub(crate) fn unsubscribe(id: u16, filters: &[&str]) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    for filter in filters {
        body.extend(string(filter.as_bytes()));
    }
    frame(0xa2, &body)
}

/// A string or byte field: two bytes of length, then the bytes.
pub(crate) fn string(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).expect("a field of at most 65 535 bytes");
    let mut field = length.to_be_bytes().to_vec();
    field.extend(bytes);
    field
}

/// Identifiers of properties of MQTT 5.
pub(crate) const MESSAGE_EXPIRY: u8 = 0x02;
pub(crate) const SESSION_EXPIRY: u8 = 0x11;
pub(crate) const USER_PROPERTY: u8 = 0x26;

/// One property of MQTT 5.
pub(crate) fn property(id: u8, value: &[u8]) -> Vec<u8> {
    [&[id], value].concat()
}

/// The properties of a PUBLISH, one by one: sorted by identifiers, of which only a user property may come twice, and these
/// keep their order.
pub(crate) fn sorted_properties(mut bytes: &[u8]) -> Vec<(u8, &[u8])> {
    let mut found = Vec::new();
    while let [id, rest @ ..] = bytes {
        let field = |at: usize| 2 + usize::from(u16::from_be_bytes([rest[at], rest[at + 1]]));
        let length = match *id {
            0x01 => 1,
            MESSAGE_EXPIRY => 4,
            0x03 | 0x08 | 0x09 => field(0),
            USER_PROPERTY => field(0) + field(field(0)),
            other => panic!("a PUBLISH with the property {other:#x}"),
        };
        found.push((*id, &rest[..length]));
        bytes = &rest[length..];
    }
    found.sort_by_key(|(id, _)| *id);
    found
}

/// A whole packet: first byte, remaining length, the rest.
pub(crate) fn frame(first: u8, body: &[u8]) -> Vec<u8> {
    [&[first], &with_length(body)[..]].concat()
}

/// Its length as a variable byte integer, then the rest.
fn with_length(body: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    let mut rest = body.len();
    loop {
        let low = (rest % 128) as u8;
        rest /= 128;
        packet.push(if rest > 0 { low | 0x80 } else { low });
        if rest == 0 {
            break;
        }
    }
    packet.extend(body);
    packet
}

/// The length of the packet that `bytes` begins with, if it is all there.
pub(crate) fn packet_length(bytes: &[u8]) -> Option<usize> {
    let mut length = 0;
    for (index, byte) in bytes.iter().skip(1).take(4).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            let whole = 2 + index + length;
            return (bytes.len() >= whole).then_some(whole);
        }
    }
    None
}

/// Reads one whole packet of MQTT 5: as far as its properties matter here, and with no reasons but success.
pub(crate) fn decode5(bytes: &[u8]) -> Packet {
    let header = 1 + bytes[1..].iter().position(|byte| byte & 0x80 == 0).expect("an end of the length") + 1;
    let body = &bytes[header..];
    match bytes[0] {
        0x20 => Packet::Connack { session_present: body[0] == 1, code: body[1] },
        first @ 0x30..=0x3f => Packet::Publish(decode_publish(first, body, true)),
        0x40 | 0x50 | 0x62 | 0x70 if body.len() > 2 => {
            // No subscriber; or PUBCOMP for a PUBREL that came twice: nothing that a publisher must know.
            let harmless = if bytes[0] == 0x70 { 0x92 } else { 0x10 };
            assert!(body[2] == 0 || body[2] == harmless && bytes[0] != 0x62, "{bytes:02x?}");
            decode(&frame(bytes[0], &body[..2]))
        }
        0x90 => {
            let (_, codes) = split_properties(&body[2..]);
            decode(&frame(bytes[0], &[&body[..2], codes].concat()))
        }
        0xe0 => Packet::Disconnect(body.first().copied().unwrap_or_default()),
        _ => decode(bytes),
    }
}

/// The properties that `bytes` begin with, and what follows them.
fn split_properties(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = bytes.iter().position(|byte| byte & 0x80 == 0).expect("an end of the length") + 1;
    let length = bytes[..end].iter().rev().fold(0, |sum, byte| sum << 7 | usize::from(byte & 0x7f));
    bytes[end..].split_at(length)
}

/// Reads one whole packet of MQTT 3. Panics on anything that a server may not send.
pub(crate) fn decode(bytes: &[u8]) -> Packet {
    let header = 1 + bytes[1..].iter().position(|byte| byte & 0x80 == 0).expect("an end of the length") + 1;
    let body = &bytes[header..];
    let id = || u16::from_be_bytes([body[0], body[1]]);
    let only_id = |make: fn(u16) -> Packet| {
        assert_eq!(body.len(), 2, "{bytes:02x?}");
        make(id())
    };
    match bytes[0] {
        0x20 => {
            assert!(body.len() == 2 && body[0] <= 1, "{bytes:02x?}");
            Packet::Connack { session_present: body[0] == 1, code: body[1] }
        }
        first @ 0x30..=0x3f => Packet::Publish(decode_publish(first, body, false)),
        0x40 => only_id(Packet::Puback),
        0x50 => only_id(Packet::Pubrec),
        0x62 => only_id(Packet::Pubrel),
        0x70 => only_id(Packet::Pubcomp),
        0x90 => Packet::Suback { id: id(), codes: body[2..].to_vec() },
        0xb0 => only_id(Packet::Unsuback),
        0xd0 => {
            assert!(body.is_empty(), "{bytes:02x?}");
            Packet::Pingresp
        }
        _ => panic!("not a packet of a server: {bytes:02x?}"),
    }
}

fn decode_publish(first: u8, body: &[u8], mqtt5: bool) -> Publish {
    let qos = first >> 1 & 3;
    let topic_end = 2 + usize::from(u16::from_be_bytes([body[0], body[1]]));
    let payload_start = if qos > 0 { topic_end + 2 } else { topic_end };
    let rest = &body[payload_start..];
    let (properties, payload) = if mqtt5 { split_properties(rest) } else { (&[][..], rest) };
    let publish = Publish {
        topic: String::from_utf8(body[2..topic_end].to_vec()).expect("a topic in UTF-8"),
        payload: payload.to_vec(),
        properties: mqtt5.then(|| properties.to_vec()),
        qos,
        retain: first & 1 != 0,
        dup: first & 8 != 0,
        id: if qos > 0 { u16::from_be_bytes([body[topic_end], body[topic_end + 1]]) } else { 0 },
    };
    assert!(qos < 3 && (qos == 0) == (publish.id == 0) && !(publish.dup && qos == 0), "{publish:?}");
    publish
}
