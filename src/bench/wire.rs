//! The few packets of MQTT 3.1.1 and MQTT 5 that a load needs, written as bytes and read in place.
//!
//! It does not use the broker's codec: that one is under test here as well, and a template with three patched fields is cheaper
//! than any encoder. In MQTT 5 it writes no property but those about topic aliases, and reads past all that it does not need.

mod property;

use self::property::{RECEIVE_MAXIMUM, TOPIC_ALIAS, TOPIC_ALIAS_MAXIMUM};
use super::target::MqttVersion;

/// The bytes at the head of each payload: lane, sequence number, time of sending.
pub(super) const STAMP_BYTES: usize = 16;

pub(super) const CONNACK: u8 = 0x20;
pub(super) const PUBLISH: u8 = 0x30;
pub(super) const PUBACK: u8 = 0x40;
pub(super) const PUBREC: u8 = 0x50;
pub(super) const PUBREL: u8 = 0x62;
pub(super) const PUBCOMP: u8 = 0x70;
pub(super) const SUBACK: u8 = 0x90;
pub(super) const PINGRESP: u8 = 0xD0;
pub(super) const DISCONNECT: u8 = 0xE0;

pub(super) const PINGREQ_FRAME: [u8; 2] = [0xC0, 0];
/// In MQTT 5, too: "normal" needs no reason code.
pub(super) const DISCONNECT_FRAME: [u8; 2] = [DISCONNECT, 0];

/// From this reason code on it is a failure.
pub(super) const FAILURE: u8 = 0x80;

/// Who a client says it is.
#[derive(Clone, Debug, Default)]
pub(super) struct Login {
    pub(super) version: MqttVersion,
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
}

/// Appends CONNECT with a clean session and the longest keep alive (some brokers refuse 0), so that nobody need ping.
/// In MQTT 5 the broker may use as many topic aliases as `aliases` says.
pub(super) fn connect(out: &mut Vec<u8>, client: &str, login: &Login, aliases: u16) {
    let mut flags = 0x02;
    let mut tail = Vec::new();
    if login.version == MqttVersion::V5 {
        let [high, low] = aliases.to_be_bytes();
        match aliases {
            0 => tail.push(0),
            _ => tail.extend_from_slice(&[3, TOPIC_ALIAS_MAXIMUM, high, low]),
        }
    }
    string(&mut tail, client);
    if let Some(user) = &login.user {
        flags |= 0x80;
        string(&mut tail, user);
        if let Some(password) = &login.password {
            flags |= 0x40;
            string(&mut tail, password);
        }
    }
    let level = match login.version {
        MqttVersion::V3_1_1 => 4,
        MqttVersion::V5 => 5,
    };
    out.push(0x10);
    length(out, 10 + tail.len());
    out.extend_from_slice(&[0, 4, b'M', b'Q', b'T', b'T', level, flags, 0xFF, 0xFF]);
    out.extend_from_slice(&tail);
}

/// Appends SUBSCRIBE.
pub(super) fn subscribe(out: &mut Vec<u8>, version: MqttVersion, id: u16, filters: &[String], qos: u8) {
    let properties: &[u8] = if version == MqttVersion::V5 { &[0] } else { &[] };
    out.push(0x82);
    length(out, 2 + properties.len() + filters.iter().map(|filter| filter.len() + 3).sum::<usize>());
    out.extend_from_slice(&id.to_be_bytes());
    out.extend_from_slice(properties);
    for filter in filters {
        string(out, filter);
        out.push(qos);
    }
}

/// Appends PUBACK, PUBREC, PUBREL or PUBCOMP: success, in the short form that all versions have.
pub(super) fn acknowledge(out: &mut Vec<u8>, first: u8, id: u16) {
    let [high, low] = id.to_be_bytes();
    out.extend_from_slice(&[first, 2, high, low]);
}

/// What stands before the payload of a PUBLISH, but for the packet id.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head<'a> {
    pub(super) version: MqttVersion,
    /// Empty: the one that the alias stands for.
    pub(super) topic: &'a str,
    /// MQTT 5 only.
    pub(super) alias: Option<u16>,
    pub(super) qos: u8,
    pub(super) retain: bool,
}

impl Head<'_> {
    /// Appends it with packet id 0. Returns where the packet id is.
    fn append(&self, out: &mut Vec<u8>, payload_bytes: usize) -> Option<usize> {
        let Self { version, topic, alias, qos, retain } = *self;
        let id = [0; 2];
        let id = if qos > 0 { id.as_slice() } else { &[] };
        let [high, low] = alias.unwrap_or_default().to_be_bytes();
        let with_alias = [3, TOPIC_ALIAS, high, low];
        let properties = match (version, alias) {
            (MqttVersion::V3_1_1, _) => &[],
            (MqttVersion::V5, None) => [0].as_slice(),
            (MqttVersion::V5, Some(_)) => &with_alias,
        };
        out.push(PUBLISH | qos << 1 | u8::from(retain));
        length(out, 2 + topic.len() + id.len() + properties.len() + payload_bytes);
        string(out, topic);
        let id_at = out.len();
        out.extend_from_slice(id);
        out.extend_from_slice(properties);
        (qos > 0).then_some(id_at)
    }
}

/// Appends a PUBLISH. Without a stamp its payload is empty: if it is retained, it deletes.
pub(super) fn publish(out: &mut Vec<u8>, head: &Head<'_>, id: u16, payload: Option<(Stamp, usize)>) {
    let id_at = head.append(out, payload.map_or(0, |(_, bytes)| bytes));
    let payload_at = out.len();
    if let Some(at) = id_at {
        patch(out, at, &id.to_be_bytes());
    }
    if let Some((stamp, bytes)) = payload {
        out.resize(payload_at + bytes, b'x');
        patch(out, payload_at, &stamp.to_bytes());
    }
}

/// A PUBLISH that is sent many times, with another packet id and stamp each time.
#[derive(Clone, Debug)]
pub(super) struct Template {
    bytes: Vec<u8>,
    id_at: Option<usize>,
    stamp_at: usize,
}

impl Template {
    /// A PUBLISH with a payload of `payload_bytes`, of which there are at least [`STAMP_BYTES`].
    pub(super) fn new(head: &Head<'_>, payload_bytes: usize) -> Self {
        let mut bytes = Vec::new();
        let id_at = head.append(&mut bytes, payload_bytes);
        let stamp_at = bytes.len();
        bytes.resize(stamp_at + payload_bytes, b'x');
        Self { bytes, id_at, stamp_at }
    }

    /// Appends the packet.
    pub(super) fn append(&self, out: &mut Vec<u8>, id: u16, stamp: Stamp) {
        let start = out.len();
        out.extend_from_slice(&self.bytes);
        if let Some(at) = self.id_at {
            patch(out, start + at, &id.to_be_bytes());
        }
        patch(out, start + self.stamp_at, &stamp.to_bytes());
    }
}

fn patch(out: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(place) = out.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

/// What the head of a payload says, so that the receiver can check it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) lane: u32,
    pub(super) sequence: u32,
    pub(super) sent_nanos: u64,
}

impl Stamp {
    fn to_bytes(self) -> [u8; STAMP_BYTES] {
        let mut bytes = [0; STAMP_BYTES];
        patch(&mut bytes, 0, &self.lane.to_be_bytes());
        patch(&mut bytes, 4, &self.sequence.to_be_bytes());
        patch(&mut bytes, 8, &self.sent_nanos.to_be_bytes());
        bytes
    }

    /// Reads the head of a payload.
    pub(super) fn read(payload: &[u8]) -> Option<Self> {
        let (lane, rest) = payload.split_first_chunk::<4>()?;
        let (sequence, rest) = rest.split_first_chunk::<4>()?;
        let (sent, _) = rest.split_first_chunk::<8>()?;
        Some(Self {
            lane: u32::from_be_bytes(*lane),
            sequence: u32::from_be_bytes(*sequence),
            sent_nanos: u64::from_be_bytes(*sent),
        })
    }
}

/// One packet as it lies in the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    /// Type and flags.
    pub(super) first: u8,
    /// What follows the remaining length.
    pub(super) body: &'a [u8],
}

/// A PUBLISH as it lies in the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Publish<'a> {
    pub(super) qos: u8,
    pub(super) retain: bool,
    pub(super) id: u16,
    /// Empty: the one that the alias stands for.
    pub(super) topic: &'a [u8],
    /// 0: none.
    pub(super) alias: u16,
    pub(super) payload: &'a [u8],
}

/// What a CONNACK says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Connack {
    /// 0 is success.
    pub(super) code: u8,
    /// How many messages the broker takes that it has not acknowledged.
    pub(super) receive_maximum: u16,
    /// How many topic aliases it takes.
    pub(super) aliases: u16,
}

impl<'a> Frame<'a> {
    /// Takes the first packet off `bytes`, if it is whole.
    pub(super) fn take(bytes: &mut &'a [u8]) -> Option<Self> {
        let (&first, mut rest) = bytes.split_first()?;
        let len = property::number(&mut rest)?;
        let (body, after) = rest.split_at_checked(len)?;
        *bytes = after;
        Some(Self { first, body })
    }

    /// The packet id at the body's head.
    pub(super) fn id(&self) -> Option<u16> {
        Some(u16::from_be_bytes(*self.body.first_chunk::<2>()?))
    }

    /// The reason code behind the packet id of an acknowledgement. Where none is said it is success.
    pub(super) fn reason(&self) -> u8 {
        self.body.get(2).copied().unwrap_or_default()
    }

    /// The packet as a CONNACK.
    pub(super) fn connack(&self, version: MqttVersion) -> Option<Connack> {
        let ([_, code], mut rest) = self.body.split_first_chunk::<2>()?;
        let mut connack = Connack { code: *code, receive_maximum: u16::MAX, aliases: 0 };
        if version == MqttVersion::V5 && self.first == CONNACK {
            let mut properties = property::block(&mut rest)?;
            while !properties.is_empty() {
                let value = |number: u32| u16::try_from(number).ok();
                match property::take(&mut properties)? {
                    (RECEIVE_MAXIMUM, number) => connack.receive_maximum = value(number)?,
                    (TOPIC_ALIAS_MAXIMUM, number) => connack.aliases = value(number)?,
                    _ => {}
                }
            }
        }
        (self.first == CONNACK && rest.is_empty()).then_some(connack)
    }

    /// The codes of a SUBACK.
    pub(super) fn codes(&self, version: MqttVersion) -> Option<&'a [u8]> {
        let mut rest = self.body.get(2..)?;
        if version == MqttVersion::V5 {
            property::block(&mut rest)?;
        }
        Some(rest)
    }

    /// The packet as a PUBLISH.
    pub(super) fn publish(&self, version: MqttVersion) -> Option<Publish<'a>> {
        let qos = self.first >> 1 & 3;
        let topic_bytes = usize::from(self.id()?);
        let (topic, mut payload) = self.body.get(2..)?.split_at_checked(topic_bytes)?;
        let mut id = 0;
        if qos > 0 {
            let (bytes, rest) = payload.split_first_chunk::<2>()?;
            (id, payload) = (u16::from_be_bytes(*bytes), rest);
        }
        let mut alias = 0;
        if version == MqttVersion::V5 {
            let mut properties = property::block(&mut payload)?;
            while !properties.is_empty() {
                if let (TOPIC_ALIAS, number) = property::take(&mut properties)? {
                    alias = u16::try_from(number).ok()?;
                }
            }
        }
        Some(Publish { qos, retain: self.first & 1 == 1, id, topic, alias, payload })
    }
}

fn string(out: &mut Vec<u8>, text: &str) {
    // Options are checked to be far shorter than 64 KiB.
    out.extend_from_slice(&u16::try_from(text.len()).unwrap_or(u16::MAX).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn length(out: &mut Vec<u8>, mut len: usize) {
    loop {
        let low = (len & 0x7F) as u8;
        len >>= 7;
        if len == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

#[cfg(test)]
mod tests;
