//! The vocabulary of all packets: protocol versions, packet identifiers, packet types, and [`Packet`], which
//! is any of them.

use std::fmt;
use std::num::NonZeroU16;

use super::{
    Ack, Auth, Connack, Connect, Disconnect, EncodeError, PINGREQ, PINGRESP, Publish, Suback, Subscribe,
    Unsuback, Unsubscribe, suback, subscribe, unsuback, unsubscribe,
};

/// The protocol versions that are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProtocolVersion {
    /// MQTT 3.1: `MQIsdp`, level 3.
    V3_1,
    /// MQTT 3.1.1: `MQTT`, level 4.
    V3_1_1,
    /// MQTT 5: `MQTT`, level 5.
    V5,
}

impl ProtocolVersion {
    /// The protocol name in CONNECT.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::V3_1 => "MQIsdp",
            Self::V3_1_1 | Self::V5 => "MQTT",
        }
    }

    /// The protocol level in CONNECT.
    #[must_use]
    pub fn level(self) -> u8 {
        match self {
            Self::V3_1 => 3,
            Self::V3_1_1 => 4,
            Self::V5 => 5,
        }
    }
}

impl fmt::Display for ProtocolVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V3_1 => "MQTT 3.1",
            Self::V3_1_1 => "MQTT 3.1.1",
            Self::V5 => "MQTT 5",
        })
    }
}

/// A packet identifier: 1 to 65535 [MQTT-2.3.1-1].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PacketId(NonZeroU16);

impl PacketId {
    /// The smallest identifier.
    pub const MIN: Self = Self(NonZeroU16::MIN);
    /// The largest identifier.
    pub const MAX: Self = Self(NonZeroU16::MAX);

    /// The identifier of that number; `None` for 0.
    #[must_use]
    #[inline]
    pub const fn new(number: u16) -> Option<Self> {
        match NonZeroU16::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// The number.
    #[must_use]
    #[inline]
    pub const fn get(self) -> u16 {
        self.0.get()
    }

    /// The identifier after this one; after the largest comes the smallest.
    #[must_use]
    #[inline]
    pub const fn next(self) -> Self {
        match self.0.checked_add(1) {
            Some(number) => Self(number),
            None => Self::MIN,
        }
    }

    /// The two bytes as they travel.
    #[must_use]
    #[inline]
    pub const fn to_be_bytes(self) -> [u8; 2] {
        self.0.get().to_be_bytes()
    }
}

impl fmt::Display for PacketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The packet types with their numbers [MQTT 3.1.1: 2.2.1]. Shown by the name which the standard gives them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[expect(missing_docs, reason = "the names are the standard's")]
pub enum PacketType {
    Connect = 1,
    Connack = 2,
    Publish = 3,
    Puback = 4,
    Pubrec = 5,
    Pubrel = 6,
    Pubcomp = 7,
    Subscribe = 8,
    Suback = 9,
    Unsubscribe = 10,
    Unsuback = 11,
    Pingreq = 12,
    Pingresp = 13,
    Disconnect = 14,
    /// In MQTT 5 alone.
    Auth = 15,
}

impl PacketType {
    #[inline]
    pub(super) fn from_u8(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Connect,
            2 => Self::Connack,
            3 => Self::Publish,
            4 => Self::Puback,
            5 => Self::Pubrec,
            6 => Self::Pubrel,
            7 => Self::Pubcomp,
            8 => Self::Subscribe,
            9 => Self::Suback,
            10 => Self::Unsubscribe,
            11 => Self::Unsuback,
            12 => Self::Pingreq,
            13 => Self::Pingresp,
            14 => Self::Disconnect,
            15 => Self::Auth,
            _ => return None,
        })
    }

    /// The packet's first byte with the flags that its type demands (none of its own for PUBLISH).
    #[inline]
    pub(super) const fn first_byte(self) -> u8 {
        let flags = match self {
            Self::Pubrel | Self::Subscribe | Self::Unsubscribe => 0b0010, // MQTT-3.6.1-1, 3.8.1-1, 3.10.1-1
            _ => 0,
        };
        (self as u8) << 4 | flags
    }
}

impl fmt::Display for PacketType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "CONNECT",
            Self::Connack => "CONNACK",
            Self::Publish => "PUBLISH",
            Self::Puback => "PUBACK",
            Self::Pubrec => "PUBREC",
            Self::Pubrel => "PUBREL",
            Self::Pubcomp => "PUBCOMP",
            Self::Subscribe => "SUBSCRIBE",
            Self::Suback => "SUBACK",
            Self::Unsubscribe => "UNSUBSCRIBE",
            Self::Unsuback => "UNSUBACK",
            Self::Pingreq => "PINGREQ",
            Self::Pingresp => "PINGRESP",
            Self::Disconnect => "DISCONNECT",
            Self::Auth => "AUTH",
        })
    }
}

/// A packet, valid in itself. Strings and payloads are borrowed from the buffer that it was decoded from.
///
/// The two that open a connection have many fields and come once: they are boxed, so that all others are smaller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// A client wants in.
    Connect(Box<Connect<'a>>),
    /// The server's answer to CONNECT.
    Connack(Box<Connack<'a>>),
    /// An application message.
    Publish(Publish<'a>),
    /// A QoS 1 message has arrived, or was refused.
    Puback(Ack<'a>),
    /// A QoS 2 message has arrived, or was refused.
    Pubrec(Ack<'a>),
    /// The identifier of a QoS 2 message may be used again.
    Pubrel(Ack<'a>),
    /// A QoS 2 delivery is complete.
    Pubcomp(Ack<'a>),
    /// New subscriptions.
    Subscribe(Subscribe<'a>),
    /// The server's answer to SUBSCRIBE.
    Suback(Suback<'a>),
    /// Ends subscriptions.
    Unsubscribe(Unsubscribe<'a>),
    /// The server's answer to UNSUBSCRIBE.
    Unsuback(Unsuback<'a>),
    /// A client is alive.
    Pingreq,
    /// The server's answer to PINGREQ.
    Pingresp,
    /// A client leaves, or in MQTT 5 the server ends the connection.
    Disconnect(Disconnect<'a>),
    /// A step of an enhanced authentication.
    Auth(Auth<'a>),
}

impl Packet<'_> {
    /// The packet's type.
    #[must_use]
    pub fn packet_type(&self) -> PacketType {
        match self {
            Self::Connect(_) => PacketType::Connect,
            Self::Connack(_) => PacketType::Connack,
            Self::Publish(_) => PacketType::Publish,
            Self::Puback(_) => PacketType::Puback,
            Self::Pubrec(_) => PacketType::Pubrec,
            Self::Pubrel(_) => PacketType::Pubrel,
            Self::Pubcomp(_) => PacketType::Pubcomp,
            Self::Subscribe(_) => PacketType::Subscribe,
            Self::Suback(_) => PacketType::Suback,
            Self::Unsubscribe(_) => PacketType::Unsubscribe,
            Self::Unsuback(_) => PacketType::Unsuback,
            Self::Pingreq => PacketType::Pingreq,
            Self::Pingresp => PacketType::Pingresp,
            Self::Disconnect(_) => PacketType::Disconnect,
            Self::Auth(_) => PacketType::Auth,
        }
    }

    /// Appends the packet. What the version has no place for is left out.
    ///
    /// # Errors
    /// A field or the packet is too long; nothing was appended.
    pub fn encode(&self, out: &mut Vec<u8>, version: ProtocolVersion) -> Result<(), EncodeError> {
        match self {
            Self::Connect(connect) => connect.encode(out),
            Self::Connack(connack) => connack.encode(out, version),
            Self::Publish(publish) => publish.encode(out, version),
            Self::Puback(ack) | Self::Pubrec(ack) | Self::Pubrel(ack) | Self::Pubcomp(ack) => {
                ack.encode(out, self.packet_type(), version)
            }
            Self::Subscribe(packet) => {
                let (id, list) = (packet.packet_id, packet.subscriptions());
                subscribe(out, id, packet.identifier, packet.user, list, version)
            }
            Self::Suback(packet) => {
                let (id, codes) = (packet.packet_id, packet.codes());
                suback(out, id, codes, packet.reason_string, packet.user, version)
            }
            Self::Unsubscribe(packet) => {
                unsubscribe(out, packet.packet_id, packet.user, packet.filters(), version)
            }
            Self::Unsuback(packet) => {
                let (id, codes) = (packet.packet_id, packet.codes());
                unsuback(out, id, codes, packet.reason_string, packet.user, version)
            }
            Self::Pingreq => {
                out.extend_from_slice(&PINGREQ);
                Ok(())
            }
            Self::Pingresp => {
                out.extend_from_slice(&PINGRESP);
                Ok(())
            }
            Self::Disconnect(disconnect) => disconnect.encode(out, version),
            Self::Auth(auth) => auth.encode(out),
        }
    }
}
