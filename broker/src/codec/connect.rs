//! CONNECT and CONNACK [MQTT 3.1.1: 3.1, 3.2], and where MQTT 3.1 differs:
//!
//! | | 3.1 | 3.1.1 |
//! |---|---|---|
//! | reserved flag | ignored | must be 0 [MQTT-3.1.2-3] |
//! | will QoS, will retain without a will | ignored | must be 0 [MQTT-3.1.2-13, 3.1.2-15] |
//! | user name or password announced, but the packet ends before | taken as not sent (3.1 says so) | malformed |
//! | client identifier | 1 to 23 characters; longer ones are taken, as other brokers do | any, also none with clean session |
//! | CONNACK | first byte reserved | session present |

use super::error::{DecodeError, EncodeError};
use super::reader::Reader;
use super::writer::{self, FixedHeaderBytes};
use super::{PacketType, ProtocolVersion};
use crate::message::QoS;
use crate::topic;

/// The longest client identifier that MQTT 3.1 knows, and that every 3.1.1 server must take [MQTT-3.1.3-5],
/// in characters. Longer ones are taken from both; a client that wants to reach any server keeps to it.
pub const RECOMMENDED_CLIENT_ID_MAX: usize = 23;

/// No CONNECT is longer: fixed header, twelve bytes in front (with `MQTT` ten), and five fields (client
/// identifier, will topic, will payload, user name, password) of at most 65535 bytes behind their lengths.
pub const CONNECT_LEN_MAX: usize = 5 + 12 + 5 * (2 + u16::MAX as usize);

/// Set in the protocol level by bridges of some brokers: the client is a broker itself.
const BRIDGE: u8 = 0x80;

const RESERVED: u8 = 0x01;
const CLEAN_SESSION: u8 = 0x02;
const WILL: u8 = 0x04;
const WILL_QOS_SHIFT: u8 = 3;
const WILL_RETAIN: u8 = 0x20;
const PASSWORD: u8 = 0x40;
const USER: u8 = 0x80;

/// A CONNECT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connect<'a> {
    /// The protocol version for the whole connection.
    pub version: ProtocolVersion,
    /// Whether the level's highest bit was set: the client is a bridge of another broker. Such a client wants
    /// RETAIN as it was published, and its own messages not back.
    pub bridge: bool,
    /// Whether to begin anew [MQTT-3.1.2-6] or to go on with the stored session [MQTT-3.1.2-4].
    pub clean_session: bool,
    /// In seconds; 0 turns it off.
    pub keep_alive: u16,
    /// The client identifier; empty only in 3.1.1 with clean session: then the server gives one
    /// [MQTT-3.1.3-6].
    pub client_id: &'a str,
    /// What to publish if the client is lost.
    pub will: Option<Will<'a>>,
    /// The user name.
    pub user: Option<&'a str>,
    /// The password; never without a user name.
    pub password: Option<&'a [u8]>,
}

/// A will as CONNECT has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Will<'a> {
    /// The topic name, valid.
    pub topic: &'a str,
    /// The payload.
    pub payload: &'a [u8],
    /// The QoS to publish it with.
    pub qos: QoS,
    /// Whether to publish it as a retained message.
    pub retain: bool,
}

impl<'a> Connect<'a> {
    pub(super) fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let (version, bridge) = decode_protocol(reader)?;
        let flags = reader.u8()?;
        check_flags(flags, version)?;
        let keep_alive = reader.u16()?;
        let client_id = reader.string()?;
        let will = if flags & WILL == 0 { None } else { Some(Will::decode(flags, reader)?) };
        // In 3.1 the packet's length takes precedence over these two flags.
        let sent = |flag: u8, reader: &Reader<'_>| {
            flags & flag != 0 && !(version == ProtocolVersion::V3_1 && reader.is_empty())
        };
        let user = if sent(USER, reader) { Some(reader.string()?) } else { None };
        let password = if sent(PASSWORD, reader) { Some(reader.binary()?) } else { None };
        reader.end()?;
        let clean_session = flags & CLEAN_SESSION != 0;
        // Last, since only a CONNECT that is right otherwise gets an answer [MQTT-3.1.4-1].
        if client_id.is_empty() && (version == ProtocolVersion::V3_1 || !clean_session) {
            return Err(DecodeError::ClientIdEmpty);
        }
        Ok(Self { version, bridge, clean_session, keep_alive, client_id, will, user, password })
    }

    /// Appends the packet.
    ///
    /// # Errors
    /// A field is longer than 65535 bytes; nothing was appended.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let name = self.version.name().as_bytes();
        let name_len = writer::field_len(name)?;
        let fields = [
            Some(self.client_id.as_bytes()),
            self.will.map(|will| will.topic.as_bytes()),
            self.will.map(|will| will.payload),
            self.user.map(str::as_bytes),
            self.password,
        ];
        let mut remaining = 2 + name.len() + 4;
        for field in fields.into_iter().flatten() {
            remaining += 2 + usize::from(writer::field_len(field)?);
        }
        let header = FixedHeaderBytes::new(PacketType::Connect.first_byte(), remaining)?;
        out.extend_from_slice(header.as_slice());
        writer::push_field(out, name_len, name);
        out.push(self.version.level() | if self.bridge { BRIDGE } else { 0 });
        out.push(self.flags());
        out.extend_from_slice(&self.keep_alive.to_be_bytes());
        for field in fields.into_iter().flatten() {
            writer::push_field(out, writer::field_len(field)?, field);
        }
        Ok(())
    }

    fn flags(&self) -> u8 {
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        let will = self
            .will
            .map_or(0, |will| WILL | will.qos.as_u8() << WILL_QOS_SHIFT | flag(will.retain, WILL_RETAIN));
        flag(self.clean_session, CLEAN_SESSION)
            | will
            | flag(self.user.is_some(), USER)
            | flag(self.password.is_some(), PASSWORD)
    }
}

impl<'a> Will<'a> {
    fn decode(flags: u8, reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let qos = QoS::from_u8(flags >> WILL_QOS_SHIFT & 0b11).ok_or(DecodeError::WillQos)?; // MQTT-3.1.2-14
        let topic = reader.utf8()?; // MQTT-3.1.3-10
        topic::check_name(topic)
            .map_err(|error| DecodeError::Topic { packet: PacketType::Connect, error })?;
        Ok(Self { topic, payload: reader.binary()?, qos, retain: flags & WILL_RETAIN != 0 })
    }
}

/// Protocol name and level.
fn decode_protocol(reader: &mut Reader<'_>) -> Result<(ProtocolVersion, bool), DecodeError> {
    let name = reader.binary()?;
    let version = match name {
        b"MQTT" => ProtocolVersion::V3_1_1,
        b"MQIsdp" => ProtocolVersion::V3_1,
        _ => return Err(DecodeError::ProtocolName), // MQTT-3.1.2-1
    };
    let level = reader.u8()?;
    if level & !BRIDGE == version.level() {
        Ok((version, level & BRIDGE != 0))
    } else {
        Err(DecodeError::ProtocolLevel(level)) // MQTT-3.1.2-2
    }
}

/// The connect flags as far as they must agree with each other.
fn check_flags(flags: u8, version: ProtocolVersion) -> Result<(), DecodeError> {
    if flags & USER == 0 && flags & PASSWORD != 0 {
        return Err(DecodeError::PasswordWithoutUser); // MQTT-3.1.2-22, and 3.1 says the same
    }
    if version == ProtocolVersion::V3_1 {
        return Ok(());
    }
    if flags & RESERVED != 0 {
        return Err(DecodeError::ConnectReserved); // MQTT-3.1.2-3
    }
    if flags & WILL == 0 && flags & (0b11 << WILL_QOS_SHIFT | WILL_RETAIN) != 0 {
        return Err(DecodeError::WillFlags); // MQTT-3.1.2-11, 3.1.2-13, 3.1.2-15
    }
    Ok(())
}

/// How a server answers CONNECT [MQTT 3.1.1: 3.2.2.3]; the names are the standard's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ConnectReturnCode {
    /// 0: the client is in.
    Accepted = 0,
    /// 1: the protocol level is not supported.
    UnacceptableProtocolVersion = 1,
    /// 2: the client identifier is not allowed.
    IdentifierRejected = 2,
    /// 3: the server can't serve at the moment.
    ServerUnavailable = 3,
    /// 4: user name or password are wrong.
    BadUserNameOrPassword = 4,
    /// 5: the client may not connect.
    NotAuthorized = 5,
}

impl ConnectReturnCode {
    /// The code's number as it travels.
    #[must_use]
    pub fn as_u8(self) -> u8 {
        self as u8
    }

    fn from_u8(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::Accepted,
            1 => Self::UnacceptableProtocolVersion,
            2 => Self::IdentifierRejected,
            3 => Self::ServerUnavailable,
            4 => Self::BadUserNameOrPassword,
            5 => Self::NotAuthorized,
            _ => return None,
        })
    }
}

/// A CONNACK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connack {
    /// The client is in.
    Accepted {
        /// Whether it goes on with a stored session [MQTT-3.2.2-1 to 3.2.2-3]; 3.1 has no place to say so.
        session_present: bool,
    },
    /// The client is not let in; the connection is closed next [MQTT-3.2.2-5].
    Refused(ConnectReturnCode),
}

impl Connack {
    pub(super) fn decode(reader: &mut Reader<'_>, version: ProtocolVersion) -> Result<Self, DecodeError> {
        let bytes = [reader.u8()?, reader.u8()?];
        let [acknowledge, code] = bytes;
        // The first byte is reserved in 3.1: whatever stands there means nothing.
        let acknowledge = if version == ProtocolVersion::V3_1 { 0 } else { acknowledge };
        match (acknowledge, ConnectReturnCode::from_u8(code)) {
            (0 | 1, Some(ConnectReturnCode::Accepted)) => {
                Ok(Self::Accepted { session_present: acknowledge == 1 })
            }
            (0, Some(code)) => Ok(Self::Refused(code)), // MQTT-3.2.2-4
            _ => Err(DecodeError::Connack(bytes)),
        }
    }

    /// Appends the packet.
    pub fn encode(&self, out: &mut Vec<u8>, version: ProtocolVersion) {
        let (acknowledge, code) = match *self {
            Self::Accepted { session_present } => {
                (u8::from(session_present && version != ProtocolVersion::V3_1), ConnectReturnCode::Accepted)
            }
            Self::Refused(code) => (0, code),
        };
        out.extend_from_slice(&[PacketType::Connack.first_byte(), 2, acknowledge, code.as_u8()]);
    }
}
