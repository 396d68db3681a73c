//! Reason codes [MQTT 5: 2.4]: what became of a packet, in one byte; and what MQTT 3 says in their place.

use std::fmt;

use super::error::DecodeError;
use super::reader::Reader;
use super::{PacketType, ProtocolVersion};
use crate::message::QoS;

const CONNACK: u16 = 1 << PacketType::Connack as u16;
/// PUBACK and PUBREC, which answer PUBLISH.
const RECEIVED: u16 = 1 << PacketType::Puback as u16 | 1 << PacketType::Pubrec as u16;
/// PUBREL and PUBCOMP.
const RELEASED: u16 = 1 << PacketType::Pubrel as u16 | 1 << PacketType::Pubcomp as u16;
const SUBACK: u16 = 1 << PacketType::Suback as u16;
const UNSUBACK: u16 = 1 << PacketType::Unsuback as u16;
const DISCONNECT: u16 = 1 << PacketType::Disconnect as u16;
const AUTH: u16 = 1 << PacketType::Auth as u16;

/// Makes the enum from one table: name, number, words for people, and the packets that may carry the code.
macro_rules! reason_codes {
    ($($(#[$default:meta])? $name:ident = $code:literal, $words:literal, $packets:expr;)+) => {
        /// A reason code of MQTT 5. From 0x80 on it tells a failure. Shown in plain words.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum ReasonCode {
            $($(#[$default])? #[doc = concat!(stringify!($code), ": ", $words, ".")] $name = $code,)+
        }

        impl ReasonCode {
            /// The code of that number, if the standard has one.
            #[must_use]
            pub const fn from_u8(number: u8) -> Option<Self> {
                Some(match number {
                    $($code => Self::$name,)+
                    _ => return None,
                })
            }

            const fn words(self) -> &'static str {
                match self { $(Self::$name => $words,)+ }
            }

            /// The packets that may carry it, as a set: bit n stands for packet type n.
            const fn packets(self) -> u16 {
                match self { $(Self::$name => $packets,)+ }
            }
        }
    };
}

reason_codes! {
    #[default] Success = 0x00, "success", CONNACK | RECEIVED | RELEASED | SUBACK | UNSUBACK | DISCONNECT | AUTH;
    GrantedQos1 = 0x01, "granted with QoS 1", SUBACK;
    GrantedQos2 = 0x02, "granted with QoS 2", SUBACK;
    DisconnectWithWill = 0x04, "leaves, and wants its will published", DISCONNECT;
    NoMatchingSubscribers = 0x10, "no subscriber matches", RECEIVED;
    NoSubscriptionExisted = 0x11, "there was no such subscription", UNSUBACK;
    ContinueAuthentication = 0x18, "the authentication goes on", AUTH;
    ReAuthenticate = 0x19, "authenticates once more", AUTH;
    UnspecifiedError = 0x80, "unspecified error", CONNACK | RECEIVED | SUBACK | UNSUBACK | DISCONNECT;
    MalformedPacket = 0x81, "malformed packet", CONNACK | DISCONNECT;
    ProtocolError = 0x82, "protocol error", CONNACK | DISCONNECT;
    ImplementationSpecificError = 0x83, "not valid for this receiver",
        CONNACK | RECEIVED | SUBACK | UNSUBACK | DISCONNECT;
    UnsupportedProtocolVersion = 0x84, "protocol version not supported", CONNACK;
    ClientIdentifierNotValid = 0x85, "client identifier not allowed", CONNACK;
    BadUserNameOrPassword = 0x86, "wrong user name or password", CONNACK;
    NotAuthorized = 0x87, "not authorized", CONNACK | RECEIVED | SUBACK | UNSUBACK | DISCONNECT;
    ServerUnavailable = 0x88, "server unavailable", CONNACK;
    ServerBusy = 0x89, "server busy", CONNACK | DISCONNECT;
    Banned = 0x8a, "banned", CONNACK;
    ServerShuttingDown = 0x8b, "server shutting down", DISCONNECT;
    BadAuthenticationMethod = 0x8c, "authentication method not supported, or not the one in use",
        CONNACK | DISCONNECT;
    KeepAliveTimeout = 0x8d, "nothing came within the keep alive time", DISCONNECT;
    SessionTakenOver = 0x8e, "session taken over by another connection", DISCONNECT;
    TopicFilterInvalid = 0x8f, "topic filter not accepted", SUBACK | UNSUBACK | DISCONNECT;
    TopicNameInvalid = 0x90, "topic name not accepted", CONNACK | RECEIVED | DISCONNECT;
    PacketIdentifierInUse = 0x91, "packet identifier in use", RECEIVED | SUBACK | UNSUBACK;
    PacketIdentifierNotFound = 0x92, "packet identifier not known", RELEASED;
    ReceiveMaximumExceeded = 0x93, "more unacknowledged messages than the receive maximum", DISCONNECT;
    TopicAliasInvalid = 0x94, "topic alias not valid", DISCONNECT;
    PacketTooLarge = 0x95, "packet too large", CONNACK | DISCONNECT;
    MessageRateTooHigh = 0x96, "message rate too high", DISCONNECT;
    QuotaExceeded = 0x97, "quota exceeded", CONNACK | RECEIVED | SUBACK | DISCONNECT;
    AdministrativeAction = 0x98, "closed by an administrator", DISCONNECT;
    PayloadFormatInvalid = 0x99, "payload is not in the format it claims", CONNACK | RECEIVED | DISCONNECT;
    RetainNotSupported = 0x9a, "retained messages not supported", CONNACK | DISCONNECT;
    QosNotSupported = 0x9b, "QoS not supported", CONNACK | DISCONNECT;
    UseAnotherServer = 0x9c, "use another server for now", CONNACK | DISCONNECT;
    ServerMoved = 0x9d, "use another server from now on", CONNACK | DISCONNECT;
    SharedSubscriptionsNotSupported = 0x9e, "shared subscriptions not supported", SUBACK | DISCONNECT;
    ConnectionRateExceeded = 0x9f, "too many connections in a short time", CONNACK | DISCONNECT;
    MaximumConnectTime = 0xa0, "connected for the longest time allowed", DISCONNECT;
    SubscriptionIdentifiersNotSupported = 0xa1, "subscription identifiers not supported", SUBACK | DISCONNECT;
    WildcardSubscriptionsNotSupported = 0xa2, "wildcard subscriptions not supported", SUBACK | DISCONNECT;
}

impl ReasonCode {
    /// The code's number as it travels.
    #[must_use]
    pub const fn as_u8(self) -> u8 {
        self as u8
    }

    /// Does it tell a failure?
    #[must_use]
    pub const fn is_error(self) -> bool {
        self.as_u8() >= 0x80
    }

    /// May this packet carry it?
    #[must_use]
    pub const fn allowed_in(self, packet: PacketType) -> bool {
        self.packets() & 1 << packet as u16 != 0
    }

    /// The code that grants a subscription with this QoS.
    #[must_use]
    pub const fn granted(qos: QoS) -> Self {
        match qos {
            QoS::AtMostOnce => Self::Success,
            QoS::AtLeastOnce => Self::GrantedQos1,
            QoS::ExactlyOnce => Self::GrantedQos2,
        }
    }

    /// What the CONNACK of MQTT 3 has in its place [MQTT 3.1.1: 3.2.2.3]: 0 accepted, 1 protocol version, 2 client
    /// identifier, 3 server unavailable (which covers all that 3 has no words for), 4 user name or password, 5 not
    /// authorized.
    #[must_use]
    pub const fn connect_return_code(self) -> u8 {
        match self {
            Self::UnsupportedProtocolVersion => 1,
            Self::ClientIdentifierNotValid => 2,
            Self::BadUserNameOrPassword => 4,
            Self::NotAuthorized | Self::Banned | Self::BadAuthenticationMethod => 5,
            _ if self.is_error() => 3,
            _ => 0,
        }
    }

    pub(super) const fn from_connect_return_code(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::Success,
            1 => Self::UnsupportedProtocolVersion,
            2 => Self::ClientIdentifierNotValid,
            3 => Self::ServerUnavailable,
            4 => Self::BadUserNameOrPassword,
            5 => Self::NotAuthorized,
            _ => return None,
        })
    }

    /// The code of that number, if `packet` may carry it. (A SUBACK of MQTT 3 knows no failure but 0x80.)
    pub(super) fn in_packet(
        number: u8,
        packet: PacketType,
        version: ProtocolVersion,
    ) -> Result<Self, DecodeError> {
        Self::from_u8(number)
            .filter(|code| code.allowed_in(packet) && (version == ProtocolVersion::V5 || number <= 0x80))
            .ok_or(DecodeError::ReasonCode { packet, code: number })
    }

    /// Reads the reason code of a packet of MQTT 5.
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Self::in_packet(reader.u8()?, reader.packet(), ProtocolVersion::V5)
    }
}

impl fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}
