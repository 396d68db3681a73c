//! What can be wrong with a packet, in words for the log, and what is to be answered.
//!
//! MQTT 3 has one answer to a malformed packet: the connection is closed [MQTT-4.8.0-1]. Only two faults of a
//! CONNECT are told to the client before: see [`DecodeError::answer`]. In MQTT 5 every fault has a reason code
//! [MQTT5-4.13.1-1]: see [`DecodeError::reason`].

use thiserror::Error;

use super::{PacketType, Property, ReasonCode};
use crate::topic::{FilterError, NameError};

/// Why a packet is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// Packet type 0, or in MQTT 3 type 15 [MQTT 3.1.1: 2.2.1].
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
    /// The remaining length has more bytes than it needs, which MQTT 5 does not allow [MQTT5-1.5.5-1].
    #[error("the remaining length has more bytes than it needs")]
    RemainingLengthNotMinimal,
    /// A variable byte integer in the packet goes on after four bytes, or has more than it needs [MQTT5-1.5.5-1].
    #[error("{0} with a variable byte integer that has more bytes than it needs or may have")]
    VariableInteger(PacketType),
    /// The packet is larger than this server takes.
    #[error("the packet has {size} bytes, the limit (max packet size) is {limit}")]
    TooLarge {
        /// The whole packet's size in bytes, as its fixed header says.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The end of the packet, or of a block of properties, comes before the end of a field.
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
    /// A PUBLISH with neither a topic name nor a topic alias.
    #[error("PUBLISH without a topic name and without a topic alias")]
    NoTopic,
    /// A response topic that is no topic name [MQTT5-3.3.2-14].
    #[error("{packet}, response topic: {error}")]
    ResponseTopic {
        /// The packet: CONNECT for a will.
        packet: PacketType,
        /// What is wrong with the name.
        #[source]
        error: NameError,
    },
    /// There is no property with this identifier.
    #[error("{packet} with the unknown property {id:#04x}")]
    PropertyUnknown {
        /// The packet.
        packet: PacketType,
        /// The identifier.
        id: u8,
    },
    /// A property that this packet, or this place in it, may not carry.
    #[error("{packet} may not carry the property {property} there")]
    PropertyNotAllowed {
        /// The packet.
        packet: PacketType,
        /// The property.
        property: Property,
    },
    /// A property twice that may be there once.
    #[error("{packet} with two properties {property}")]
    PropertyTwice {
        /// The packet.
        packet: PacketType,
        /// The property.
        property: Property,
    },
    /// A property with a value out of its range.
    #[error("{packet} with the value {value} of the property {property}")]
    PropertyValue {
        /// The packet.
        packet: PacketType,
        /// The property.
        property: Property,
        /// Its value.
        value: u32,
    },
    /// Authentication data, but no authentication method.
    #[error("{0} with authentication data, but without an authentication method")]
    AuthenticationDataAlone(PacketType),
    /// An AUTH without an authentication method.
    #[error("AUTH without an authentication method")]
    NoAuthenticationMethod,
    /// A reason code that is none, or none of this packet [MQTT-3.9.3-2, MQTT5-3.2.2-8, 3.4.2-1, 3.5.2-1, 3.6.2-1, 3.7.2-1,
    /// 3.9.3-2, 3.11.3-2, 3.14.2-1, 3.15.2-1].
    #[error("{packet} with reason code {code:#04x}")]
    ReasonCode {
        /// The packet.
        packet: PacketType,
        /// The code's number.
        code: u8,
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
    /// Subscription options with reserved bits [MQTT5-3.8.3-5].
    #[error("SUBSCRIBE with the subscription options {0:#04x}")]
    SubscriptionOptions(u8),
    /// A retain handling of 3.
    #[error("SUBSCRIBE with retain handling 3")]
    RetainHandling,
    /// The option No Local on a shared subscription [MQTT5-3.8.3-4].
    #[error("SUBSCRIBE with the option no local on a shared subscription")]
    NoLocalShared,
    /// Neither `MQTT` nor `MQIsdp` [MQTT-3.1.2-1].
    #[error("CONNECT with an unknown protocol name")]
    ProtocolName,
    /// A protocol level that is not served under this name [MQTT-3.1.2-2].
    #[error("CONNECT with protocol level {0}, which is not supported: use MQTT 5, 3.1.1 or 3.1")]
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
    Connack(ReasonCode),
}

impl DecodeError {
    /// What is to be answered in MQTT 3.
    #[must_use]
    pub fn answer(&self) -> Answer {
        match self {
            // MQTT-3.1.2-2, 3.1.3-8
            Self::ProtocolLevel(_) | Self::ClientIdEmpty => Answer::Connack(self.reason()),
            _ => Answer::Close, // MQTT-4.8.0-1
        }
    }

    /// The most precise reason for the CONNACK or DISCONNECT of MQTT 5 [MQTT5-4.13.1-1]. What can't be parsed by the standard
    /// is malformed; what can, but is not allowed, is a protocol error, as far as the standard has no closer word.
    #[must_use]
    pub fn reason(&self) -> ReasonCode {
        match self {
            Self::TooLarge { .. } => ReasonCode::PacketTooLarge,
            Self::ProtocolName | Self::ProtocolLevel(_) => ReasonCode::UnsupportedProtocolVersion,
            Self::ClientIdEmpty => ReasonCode::ClientIdentifierNotValid,
            Self::PropertyValue { property: Property::TopicAlias, .. } => ReasonCode::TopicAliasInvalid,
            Self::PacketIdZero(_)
            | Self::NoTopic
            | Self::ResponseTopic { .. }
            | Self::PropertyTwice { .. }
            | Self::PropertyValue { .. }
            | Self::AuthenticationDataAlone(_)
            | Self::NoAuthenticationMethod
            | Self::NoFilters(_)
            | Self::RequestedQos(_)
            | Self::RetainHandling
            | Self::NoLocalShared
            | Self::PasswordWithoutUser
            | Self::NotConnect
            | Self::Tls
            | Self::SecondConnect
            | Self::Unexpected(_) => ReasonCode::ProtocolError,
            Self::PacketType(_)
            | Self::Flags { .. }
            | Self::PublishQos
            | Self::DupWithoutQos
            | Self::RemainingLength
            | Self::RemainingLengthNotMinimal
            | Self::VariableInteger(_)
            | Self::Truncated(_)
            | Self::Trailing(_)
            | Self::Utf8(_)
            | Self::Nul(_)
            | Self::Topic { .. }
            | Self::Filter { .. }
            | Self::PropertyUnknown { .. }
            | Self::PropertyNotAllowed { .. }
            | Self::ReasonCode { .. }
            | Self::SubscriptionOptions(_)
            | Self::ConnectReserved
            | Self::WillQos
            | Self::WillFlags
            | Self::Connack(_) => ReasonCode::MalformedPacket,
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
    /// A subscription identifier that can't be expressed.
    #[error("{0} is no subscription identifier: they go from 1 to 268435455")]
    SubscriptionIdentifier(u32),
}
