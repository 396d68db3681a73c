//! What can be wrong with a packet, in words for the log, and what is to be answered.
//!
//! MQTT 3 has one answer to a malformed packet: the connection is closed [MQTT-4.8.0-1]. Only two faults of a
//! CONNECT are told to the client before: see [`DecodeError::answer`].

use thiserror::Error;

use super::{ConnectReturnCode, PacketType};
use crate::topic::{FilterError, NameError};

/// Why a packet is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// Packet type 0 or 15 [MQTT 3.1.1: 2.2.1].
    #[error("packet type {0} is reserved")]
    PacketType(u8),
    /// Flags of the fixed header that this packet type must not have [MQTT-2.2.2-2, 3.6.1-1, 3.8.1-1,
    /// 3.10.1-1].
    #[error("{packet} with the flags {flags:#06b} in its fixed header")]
    Flags {
        /// The packet.
        packet: PacketType,
        /// The low four bits of its first byte.
        flags: u8,
    },
    /// A PUBLISH with both QoS bits set [MQTT-3.3.1-4].
    #[error("PUBLISH with QoS 3")]
    PublishQos,
    /// A PUBLISH with DUP 1 and QoS 0 [MQTT-3.3.1-2].
    #[error("PUBLISH with DUP set and QoS 0")]
    DupWithoutQos,
    /// The remaining length goes on after four bytes [MQTT 3.1.1: 2.2.3].
    #[error("the remaining length has more than four bytes")]
    RemainingLength,
    /// The packet is larger than this server takes.
    #[error("the packet has {size} bytes, the limit (max packet size) is {limit}")]
    TooLarge {
        /// The whole packet's size in bytes, as its fixed header says.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The packet's end comes before the end of a field.
    #[error("{0} ends in the middle of a field")]
    Truncated(PacketType),
    /// There are bytes behind the last field.
    #[error("{0} has bytes behind its last field")]
    Trailing(PacketType),
    /// A string is no UTF-8 [MQTT-1.5.3-1].
    #[error("{0} with a string that is not UTF-8")]
    Utf8(PacketType),
    /// A string contains U+0000 [MQTT-1.5.3-2].
    #[error("{0} with the character U+0000 in a string")]
    Nul(PacketType),
    /// A packet identifier is 0 [MQTT-2.3.1-1].
    #[error("{0} with packet identifier 0")]
    PacketIdZero(PacketType),
    /// The topic of a PUBLISH or of a will [MQTT-3.3.2-1, 3.3.2-2, 4.7.3-1].
    #[error("{packet}: {error}")]
    Topic {
        /// The packet.
        packet: PacketType,
        /// What is wrong with the name.
        #[source]
        error: NameError,
    },
    /// A filter of a SUBSCRIBE or UNSUBSCRIBE [MQTT-3.8.3-1, 3.10.3-1, 4.7.1-2, 4.7.1-3].
    #[error("{packet}: {error}")]
    Filter {
        /// The packet.
        packet: PacketType,
        /// What is wrong with the filter.
        #[source]
        error: FilterError,
    },
    /// A SUBSCRIBE or UNSUBSCRIBE without a filter [MQTT-3.8.3-3, 3.10.3-2].
    #[error("{0} without a topic filter")]
    NoFilters(PacketType),
    /// A requested QoS that is none, or reserved bits beside it [MQTT-3-8.3-4].
    #[error("SUBSCRIBE requests QoS {0:#04x}")]
    RequestedQos(u8),
    /// Neither `MQTT` nor `MQIsdp` [MQTT-3.1.2-1].
    #[error("CONNECT with an unknown protocol name")]
    ProtocolName,
    /// A protocol level that is not served under this name [MQTT-3.1.2-2].
    #[error("CONNECT with protocol level {0}, which is not supported: use MQTT 3.1.1 or 3.1")]
    ProtocolLevel(u8),
    /// The lowest bit of the connect flags is set [MQTT-3.1.2-3].
    #[error("CONNECT with the reserved flag set")]
    ConnectReserved,
    /// A will QoS of 3 [MQTT-3.1.2-14].
    #[error("CONNECT with will QoS 3")]
    WillQos,
    /// Will QoS or will retain without a will [MQTT-3.1.2-11, 3.1.2-13, 3.1.2-15].
    #[error("CONNECT with will QoS or will retain, but without a will")]
    WillFlags,
    /// A password without a user name [MQTT-3.1.2-22].
    #[error("CONNECT with a password, but without a user name")]
    PasswordWithoutUser,
    /// No client identifier, where one is needed: in MQTT 3.1 always, in 3.1.1 without clean session
    /// [MQTT-3.1.3-8].
    #[error("CONNECT without a client identifier: set one, or ask MQTT 3.1.1 for a clean session")]
    ClientIdEmpty,
    /// A CONNACK with reserved bits, an unknown return code, or session present where it can't be
    /// [MQTT-3.2.2-1, 3.2.2-4]. Only clients see it.
    #[error("CONNACK with the bytes {0:02x?}")]
    Connack([u8; 2]),
    /// A SUBACK with an unknown return code [MQTT-3.9.3-2]. Only clients see it.
    #[error("SUBACK with return code {0:#04x}")]
    SubackCode(u8),
    /// The first packet of a connection is no CONNECT [MQTT-3.1.0-1].
    #[error("the first packet is not CONNECT")]
    NotConnect,
    /// The connection begins with a TLS handshake.
    #[error("this is a TLS handshake, but the listener speaks plain MQTT")]
    Tls,
    /// A second CONNECT on one connection [MQTT-3.1.0-2]. The connection finds it, not the decoder.
    #[error("a second CONNECT on one connection")]
    SecondConnect,
    /// A packet that only a server may send. The connection finds it, not the decoder.
    #[error("{0} from a client")]
    Unexpected(PacketType),
}

/// What a server does about a [`DecodeError`]. The connection ends in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Close without a word.
    Close,
    /// Send a CONNACK with this code, then close.
    Connack(ConnectReturnCode),
}

impl DecodeError {
    /// What is to be answered.
    #[must_use]
    pub fn answer(&self) -> Answer {
        match self {
            Self::ProtocolLevel(_) => Answer::Connack(ConnectReturnCode::UnacceptableProtocolVersion), // MQTT-3.1.2-2
            Self::ClientIdEmpty => Answer::Connack(ConnectReturnCode::IdentifierRejected), // MQTT-3.1.3-8
            _ => Answer::Close,                                                            // MQTT-4.8.0-1
        }
    }
}

/// Why a packet can't be written. Nothing was appended then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum EncodeError {
    /// A string or binary field of more than 65535 bytes.
    #[error("a field of {0} bytes does not fit into a packet: 65535 is the most")]
    FieldTooLong(usize),
    /// A packet whose remaining length can't be expressed.
    #[error("a packet of {0} bytes is more than MQTT can express (268435455)")]
    PacketTooLong(usize),
}
