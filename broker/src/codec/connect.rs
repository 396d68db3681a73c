//! CONNECT [MQTT 3.1.1: 3.1, MQTT 5: 3.1], and where the versions differ:
//!
//! | | 3.1 | 3.1.1 | 5 |
//! |---|---|---|---|
//! | reserved flag | ignored | must be 0 [MQTT-3.1.2-3] | must be 0 [MQTT5-3.1.2-3] |
//! | will QoS, will retain without a will | ignored | must be 0 [MQTT-3.1.2-13, 3.1.2-15] | must be 0 [MQTT5-3.1.2-11, 3.1.2-13] |
//! | user name or password announced, but the packet ends before | taken as not sent (3.1 says so) | malformed | malformed |
//! | password without a user name | refused | refused [MQTT-3.1.2-22] | taken |
//! | client identifier | 1 to 23 characters; longer ones are taken, as other brokers do | any, also none with clean session | any, also none |
//! | properties, also of the will | none | none | there |

use super::application::{ApplicationProperties, MessageProperties};
use super::error::{DecodeError, EncodeError};
use super::fixed_header::FixedHeader;
use super::properties::{Block, Properties};
use super::property::{Place, Property};
use super::reader::Reader;
use super::user::UserProperties;
use super::writer::{self, FixedHeaderBytes};
use super::{PacketType, ProtocolVersion};
use crate::message::QoS;
use crate::topic;

/// The longest client identifier that MQTT 3.1 knows, and that every 3.1.1 server must take [MQTT-3.1.3-5],
/// in characters. Longer ones are taken from both; a client that wants to reach any server keeps to it.
pub const RECOMMENDED_CLIENT_ID_MAX: usize = 23;

/// No CONNECT of MQTT 3 is longer: fixed header, twelve bytes in front (with `MQTT` ten), and five fields (client
/// identifier, will topic, will payload, user name, password) of at most 65535 bytes behind their lengths. In MQTT 5 there
/// is no such bound, as user properties can be any number: longer ones are refused all the same.
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
    /// Whether to begin anew [MQTT-3.1.2-6, MQTT5-3.1.2-4] or to go on with the stored session [MQTT-3.1.2-4,
    /// MQTT5-3.1.2-5]. In MQTT 3 it also says that the session ends with the connection, which in MQTT 5 the session expiry
    /// does.
    pub clean_session: bool,
    /// In seconds; 0 turns it off.
    pub keep_alive: u16,
    /// The client identifier; empty only in 3.1.1 with clean session, and in 5: then the server gives one
    /// [MQTT-3.1.3-6, MQTT5-3.1.3-6].
    pub client_id: &'a str,
    /// What to publish if the client is lost.
    pub will: Option<Will<'a>>,
    /// The user name.
    pub user: Option<&'a str>,
    /// The password; without a user name in 5 only.
    pub password: Option<&'a [u8]>,
    /// The properties; in MQTT 3 the defaults.
    pub properties: ConnectProperties<'a>,
}

/// The properties of a CONNECT; by default what the standard says for those that are not sent. Only what differs is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectProperties<'a> {
    /// How many seconds the session shall last after the connection; 0 ends it with the connection, the largest number means
    /// for ever.
    pub session_expiry: u32,
    /// How many unacknowledged PUBLISH of QoS 1 and 2 the client takes; not 0.
    pub receive_maximum: u16,
    /// The largest packet that the client takes, in bytes; not 0.
    pub maximum_packet_size: Option<u32>,
    /// How many topic aliases the client takes.
    pub topic_alias_maximum: u16,
    /// Whether the client asks for response information in the CONNACK.
    pub request_response_information: bool,
    /// Whether the client wants reason strings and user properties in packets other than PUBLISH, CONNACK and DISCONNECT
    /// [MQTT5-3.1.2-29].
    pub request_problem_information: bool,
    /// The user properties.
    pub user: UserProperties<'a>,
    /// The method of an enhanced authentication.
    pub authentication_method: Option<&'a str>,
    /// What the method has to tell; never without a method.
    pub authentication_data: Option<&'a [u8]>,
}

impl Default for ConnectProperties<'_> {
    fn default() -> Self {
        Self {
            session_expiry: 0,
            receive_maximum: u16::MAX,
            maximum_packet_size: None,
            topic_alias_maximum: 0,
            request_response_information: false,
            request_problem_information: true,
            user: UserProperties::default(),
            authentication_method: None,
            authentication_data: None,
        }
    }
}

impl<'a> ConnectProperties<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let read = Properties::read(reader)?;
        Ok(Self {
            session_expiry: read.session_expiry.unwrap_or(0),
            receive_maximum: read.receive_maximum.unwrap_or(u16::MAX),
            maximum_packet_size: read.maximum_packet_size,
            topic_alias_maximum: read.topic_alias_maximum.unwrap_or(0),
            request_response_information: read.request_response_information.unwrap_or(false),
            request_problem_information: read.request_problem_information.unwrap_or(true),
            user: read.user,
            authentication_method: read.authentication_method,
            authentication_data: read.authentication_data,
        })
    }

    fn block(&self, version: ProtocolVersion) -> Result<Block, EncodeError> {
        let mut block = Block::new(version);
        let above_zero = |number: u32| (number != 0).then_some(number);
        block.u32(Property::SessionExpiryInterval, above_zero(self.session_expiry));
        let receive_maximum = Some(self.receive_maximum).filter(|maximum| *maximum != u16::MAX);
        block.u16(Property::ReceiveMaximum, receive_maximum);
        block.u32(Property::MaximumPacketSize, self.maximum_packet_size);
        let aliases = Some(self.topic_alias_maximum).filter(|maximum| *maximum != 0);
        block.u16(Property::TopicAliasMaximum, aliases);
        block.flag(Property::RequestResponseInformation, self.request_response_information.then_some(true));
        block.flag(Property::RequestProblemInformation, (!self.request_problem_information).then_some(false));
        block.user(&self.user)?;
        block.string(Property::AuthenticationMethod, self.authentication_method)?;
        block.binary(Property::AuthenticationData, self.authentication_data)?;
        Ok(block)
    }
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
    /// How many seconds it waits for the client's return.
    pub delay: u32,
    /// How many seconds it is worth sending, once it is published.
    pub message_expiry: Option<u32>,
    /// What travels with it.
    pub application: ApplicationProperties<'a>,
}

impl<'a> Connect<'a> {
    pub(super) fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let (version, bridge) = decode_protocol(reader)?;
        let flags = reader.u8()?;
        check_flags(flags, version)?;
        let keep_alive = reader.u16()?;
        let properties = match version {
            ProtocolVersion::V5 => ConnectProperties::decode(reader)?,
            _ => ConnectProperties::default(),
        };
        let client_id = reader.string()?;
        let will = if flags & WILL == 0 { None } else { Some(Will::decode(flags, version, reader)?) };
        // In 3.1 the packet's length takes precedence over these two flags.
        let sent = |flag: u8, reader: &Reader<'_>| {
            flags & flag != 0 && !(version == ProtocolVersion::V3_1 && reader.is_empty())
        };
        let user = if sent(USER, reader) { Some(reader.string()?) } else { None };
        let password = if sent(PASSWORD, reader) { Some(reader.binary()?) } else { None };
        reader.end()?;
        let clean_session = flags & CLEAN_SESSION != 0;
        // Last, since only a CONNECT that is right otherwise gets an answer [MQTT-3.1.4-1].
        let needed = match version {
            ProtocolVersion::V3_1 => true,
            ProtocolVersion::V3_1_1 => !clean_session,
            ProtocolVersion::V5 => false, // MQTT5-3.1.3-6
        };
        if client_id.is_empty() && needed {
            return Err(DecodeError::ClientIdEmpty);
        }
        Ok(Self { version, bridge, clean_session, keep_alive, client_id, will, user, password, properties })
    }

    /// Appends the packet.
    ///
    /// # Errors
    /// A field is longer than 65535 bytes; nothing was appended.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let name = self.version.name().as_bytes();
        let name_len = writer::field_len(name)?;
        let properties = self.properties.block(self.version)?;
        let will_properties = self.will.map(|will| will.block(self.version));
        let fields = [
            self.will.map(|will| will.topic.as_bytes()),
            self.will.map(|will| will.payload),
            self.user.map(str::as_bytes),
            self.password,
        ];
        let client_id = self.client_id.as_bytes();
        let client_id_len = writer::field_len(client_id)?;
        let mut remaining = 2 + name.len() + 4 + properties.len() + 2 + client_id.len();
        remaining += will_properties.as_ref().map_or(0, Block::len);
        for field in fields.into_iter().flatten() {
            remaining += 2 + usize::from(writer::field_len(field)?);
        }
        let header = FixedHeaderBytes::new(PacketType::Connect.first_byte(), remaining)?;
        out.extend_from_slice(header.as_slice());
        writer::push_field(out, name_len, name);
        // No bridge sets the bit in MQTT 5, which has subscription options for what it asks for.
        let bridge = self.bridge && self.version < ProtocolVersion::V5;
        out.push(self.version.level() | if bridge { BRIDGE } else { 0 });
        out.push(self.flags());
        out.extend_from_slice(&self.keep_alive.to_be_bytes());
        properties.push_to(out);
        writer::push_field(out, client_id_len, client_id);
        if let Some(block) = will_properties {
            block.push_to(out);
        }
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
    fn decode(flags: u8, version: ProtocolVersion, reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let qos = QoS::from_u8(flags >> WILL_QOS_SHIFT & 0b11).ok_or(DecodeError::WillQos)?; // MQTT-3.1.2-14
        let properties = match version {
            ProtocolVersion::V5 => MessageProperties::read(reader, Place::WILL)?,
            _ => MessageProperties::default(),
        };
        let topic = reader.utf8()?; // MQTT-3.1.3-10
        topic::check_name(topic)
            .map_err(|error| DecodeError::Topic { packet: PacketType::Connect, error })?;
        Ok(Self {
            topic,
            payload: reader.binary()?,
            qos,
            retain: flags & WILL_RETAIN != 0,
            delay: properties.will_delay,
            message_expiry: properties.message_expiry,
            application: properties.application,
        })
    }

    fn block(&self, version: ProtocolVersion) -> Block {
        let mut block = Block::new(version);
        block.u32(Property::WillDelayInterval, Some(self.delay).filter(|delay| *delay != 0));
        block.u32(Property::MessageExpiryInterval, self.message_expiry);
        block.raw(|bytes| self.application.append_to(bytes));
        block
    }
}

/// Protocol name and level.
fn decode_protocol(reader: &mut Reader<'_>) -> Result<(ProtocolVersion, bool), DecodeError> {
    let name = reader.binary()?;
    let level = match name {
        b"MQTT" | b"MQIsdp" => reader.u8()?,
        _ => return Err(DecodeError::ProtocolName), // MQTT-3.1.2-1, MQTT5-3.1.2-1
    };
    let bridge = level & BRIDGE != 0;
    let version = match (name, level & !BRIDGE) {
        (b"MQIsdp", 3) => ProtocolVersion::V3_1,
        (b"MQTT", 4) => ProtocolVersion::V3_1_1,
        (b"MQTT", 5) if !bridge => ProtocolVersion::V5,
        _ => return Err(DecodeError::ProtocolLevel(level)), // MQTT-3.1.2-2, MQTT5-3.1.2-2
    };
    Ok((version, bridge))
}

/// The version in whose form the sender of a CONNECT will understand an answer, as soon as the bytes at the beginning of the
/// connection tell it. Also for a CONNECT that is not taken: of a later version than those served, it is MQTT 5.
#[must_use]
pub fn connect_version(buf: &[u8]) -> Option<ProtocolVersion> {
    let header = FixedHeader::read(buf, ProtocolVersion::V3_1_1).ok()??;
    if header.first >> 4 != PacketType::Connect as u8 {
        return None;
    }
    let mut reader = Reader::new(PacketType::Connect, buf.get(header.len..)?);
    match (reader.binary().ok()?, reader.u8().ok()? & !BRIDGE) {
        (b"MQIsdp", _) => Some(ProtocolVersion::V3_1),
        (b"MQTT", 5..) => Some(ProtocolVersion::V5),
        (b"MQTT", _) => Some(ProtocolVersion::V3_1_1),
        _ => None,
    }
}

/// The connect flags as far as they must agree with each other.
fn check_flags(flags: u8, version: ProtocolVersion) -> Result<(), DecodeError> {
    if flags & USER == 0 && flags & PASSWORD != 0 && version < ProtocolVersion::V5 {
        return Err(DecodeError::PasswordWithoutUser); // MQTT-3.1.2-22, and 3.1 says the same
    }
    if version == ProtocolVersion::V3_1 {
        return Ok(());
    }
    if flags & RESERVED != 0 {
        return Err(DecodeError::ConnectReserved); // MQTT-3.1.2-3, MQTT5-3.1.2-3
    }
    if flags & WILL == 0 && flags & (0b11 << WILL_QOS_SHIFT | WILL_RETAIN) != 0 {
        return Err(DecodeError::WillFlags); // MQTT-3.1.2-11, 3.1.2-13, 3.1.2-15, MQTT5-3.1.2-11, 3.1.2-13
    }
    Ok(())
}
