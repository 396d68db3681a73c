//! CONNACK [MQTT 3.1.1: 3.2, MQTT 5: 3.2]. In MQTT 3.1 its first byte is reserved: there is no session present.

use super::error::{DecodeError, EncodeError};
use super::properties::{Block, Properties};
use super::property::Property;
use super::reader::Reader;
use super::reason::ReasonCode;
use super::user::UserProperties;
use super::writer::FixedHeaderBytes;
use super::{PacketType, ProtocolVersion};
use crate::message::QoS;

/// A CONNACK.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connack<'a> {
    /// Whether the client goes on with a stored session [MQTT-3.2.2-1 to 3.2.2-3]; never with a failure [MQTT5-3.2.2-6].
    pub session_present: bool,
    /// Success, or why the client is not let in: then the connection is closed next [MQTT-3.2.2-5, MQTT5-3.2.2-7]. MQTT 3
    /// says it by [`ReasonCode::connect_return_code`].
    pub reason: ReasonCode,
    /// The properties.
    pub properties: ConnackProperties<'a>,
}

/// What a server tells about itself and the session; by default nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnackProperties<'a> {
    /// How many seconds the session lasts, if not as long as the client asked for.
    pub session_expiry: Option<u32>,
    /// How many unacknowledged PUBLISH of QoS 1 and 2 the server takes: 65535 if it does not say.
    pub receive_maximum: Option<u16>,
    /// The greatest QoS that the server takes: only 0 and 1 can be said.
    pub maximum_qos: Option<QoS>,
    /// Whether there are retained messages.
    pub retain_available: Option<bool>,
    /// The largest packet that the server takes, in bytes; not 0.
    pub maximum_packet_size: Option<u32>,
    /// The identifier of a client that came without one [MQTT5-3.2.2-16].
    pub assigned_client_id: Option<&'a str>,
    /// How many topic aliases the server takes: none if it does not say.
    pub topic_alias_maximum: Option<u16>,
    /// The reason in words for people.
    pub reason_string: Option<&'a str>,
    /// The user properties.
    pub user: UserProperties<'a>,
    /// Whether filters may have wildcards.
    pub wildcard_available: Option<bool>,
    /// Whether there are subscription identifiers.
    pub identifiers_available: Option<bool>,
    /// Whether there are shared subscriptions.
    pub shared_available: Option<bool>,
    /// The keep alive time that the client has to use instead of its own [MQTT5-3.2.2-21].
    pub server_keep_alive: Option<u16>,
    /// What the client may make response topics of.
    pub response_information: Option<&'a str>,
    /// Which server to use instead.
    pub server_reference: Option<&'a str>,
    /// The authentication method.
    pub authentication_method: Option<&'a str>,
    /// What the method has to tell.
    pub authentication_data: Option<&'a [u8]>,
}

impl<'a> Connack<'a> {
    /// A refusal without properties.
    #[must_use]
    pub fn refused(reason: ReasonCode) -> Self {
        Self { reason, ..Self::default() }
    }

    pub(super) fn decode(reader: &mut Reader<'a>, version: ProtocolVersion) -> Result<Self, DecodeError> {
        let bytes = [reader.u8()?, reader.u8()?];
        let [acknowledge, code] = bytes;
        // The first byte is reserved in 3.1: whatever stands there means nothing.
        let acknowledge = if version == ProtocolVersion::V3_1 { 0 } else { acknowledge };
        let reason = match version {
            ProtocolVersion::V5 => ReasonCode::in_packet(code, PacketType::Connack, version)?, // MQTT5-3.2.2-8
            _ => ReasonCode::from_connect_return_code(code).ok_or(DecodeError::Connack(bytes))?,
        };
        let session_present = match (acknowledge, reason) {
            (0, _) => false,
            (1, ReasonCode::Success) => true,
            _ => return Err(DecodeError::Connack(bytes)), // MQTT-3.2.2-4, MQTT5-3.2.2-1, 3.2.2-6
        };
        let properties = match version {
            ProtocolVersion::V5 => ConnackProperties::decode(reader)?,
            _ => ConnackProperties::default(),
        };
        Ok(Self { session_present, reason, properties })
    }

    /// Appends the packet.
    ///
    /// # Errors
    /// A field or the packet is too long; nothing was appended.
    pub fn encode(&self, out: &mut Vec<u8>, version: ProtocolVersion) -> Result<(), EncodeError> {
        let block = self.properties.block(version)?;
        let present =
            self.session_present && self.reason == ReasonCode::Success && version != ProtocolVersion::V3_1;
        let code = match version {
            ProtocolVersion::V5 => self.reason.as_u8(),
            _ => self.reason.connect_return_code(),
        };
        let header = FixedHeaderBytes::new(PacketType::Connack.first_byte(), 2 + block.len())?;
        out.extend_from_slice(header.as_slice());
        out.extend_from_slice(&[u8::from(present), code]);
        block.push_to(out);
        Ok(())
    }
}

impl<'a> ConnackProperties<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let properties = Properties::read(reader)?;
        Ok(Self {
            session_expiry: properties.session_expiry,
            receive_maximum: properties.receive_maximum,
            maximum_qos: properties.maximum_qos,
            retain_available: properties.retain_available,
            maximum_packet_size: properties.maximum_packet_size,
            assigned_client_id: properties.assigned_client_id,
            topic_alias_maximum: properties.topic_alias_maximum,
            reason_string: properties.reason_string,
            user: properties.user,
            wildcard_available: properties.wildcard_available,
            identifiers_available: properties.identifiers_available,
            shared_available: properties.shared_available,
            server_keep_alive: properties.server_keep_alive,
            response_information: properties.response_information,
            server_reference: properties.server_reference,
            authentication_method: properties.authentication_method,
            authentication_data: properties.authentication_data,
        })
    }

    fn block(&self, version: ProtocolVersion) -> Result<Block, EncodeError> {
        let mut block = Block::new(version);
        block.u32(Property::SessionExpiryInterval, self.session_expiry);
        block.u16(Property::ReceiveMaximum, self.receive_maximum);
        // QoS 2 is said by saying nothing.
        let maximum_qos = self.maximum_qos.filter(|qos| *qos < QoS::ExactlyOnce);
        block.flag(Property::MaximumQos, maximum_qos.map(|qos| qos == QoS::AtLeastOnce));
        block.flag(Property::RetainAvailable, self.retain_available);
        block.u32(Property::MaximumPacketSize, self.maximum_packet_size);
        block.string(Property::AssignedClientIdentifier, self.assigned_client_id)?;
        block.u16(Property::TopicAliasMaximum, self.topic_alias_maximum);
        block.string(Property::ReasonString, self.reason_string)?;
        block.user(&self.user)?;
        block.flag(Property::WildcardSubscriptionAvailable, self.wildcard_available);
        block.flag(Property::SubscriptionIdentifierAvailable, self.identifiers_available);
        block.flag(Property::SharedSubscriptionAvailable, self.shared_available);
        block.u16(Property::ServerKeepAlive, self.server_keep_alive);
        block.string(Property::ResponseInformation, self.response_information)?;
        block.string(Property::ServerReference, self.server_reference)?;
        block.string(Property::AuthenticationMethod, self.authentication_method)?;
        block.binary(Property::AuthenticationData, self.authentication_data)?;
        Ok(block)
    }
}
