//! The properties of all packets but PUBLISH, read into one struct of which each packet takes its own; and the block
//! that they are written into.

use super::property::{Place, Property, Seen};
use super::reader::Reader;
use super::user::UserProperties;
use super::writer;
use super::{DecodeError, EncodeError, PacketType, ProtocolVersion};
use crate::message::QoS;

/// What a block held. Only what its place allows can be there.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Properties<'a> {
    pub(super) session_expiry: Option<u32>,
    pub(super) receive_maximum: Option<u16>,
    pub(super) maximum_qos: Option<QoS>,
    pub(super) retain_available: Option<bool>,
    pub(super) maximum_packet_size: Option<u32>,
    pub(super) assigned_client_id: Option<&'a str>,
    pub(super) topic_alias_maximum: Option<u16>,
    pub(super) reason_string: Option<&'a str>,
    pub(super) wildcard_available: Option<bool>,
    pub(super) identifiers_available: Option<bool>,
    pub(super) shared_available: Option<bool>,
    pub(super) server_keep_alive: Option<u16>,
    pub(super) response_information: Option<&'a str>,
    pub(super) server_reference: Option<&'a str>,
    pub(super) authentication_method: Option<&'a str>,
    pub(super) authentication_data: Option<&'a [u8]>,
    pub(super) request_problem_information: Option<bool>,
    pub(super) request_response_information: Option<bool>,
    pub(super) subscription_identifier: Option<std::num::NonZeroU32>,
    pub(super) user: UserProperties<'a>,
}

impl<'a> Properties<'a> {
    /// Reads a block of the packet that `reader` reads: its length, and as many bytes.
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let packet = reader.packet();
        let block = reader.property_block()?;
        let mut properties = Self::default();
        let mut seen = Seen::default();
        let mut items = Reader::new(packet, block);
        while !items.is_empty() {
            let property = seen.admit(items.u8()?, Place::of(packet))?;
            properties.read_value(property, &mut items)?;
        }
        if properties.authentication_data.is_some() && properties.authentication_method.is_none() {
            return Err(DecodeError::AuthenticationDataAlone(packet));
        }
        // Nothing to look for, if there is none.
        if seen.has(Property::UserProperty) {
            properties.user = UserProperties::Encoded(block);
        }
        Ok(properties)
    }

    /// As [`read`](Self::read), but without any property at the packet's end.
    pub(super) fn read_unless_at_end(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        if reader.is_empty() { Ok(Self::default()) } else { Self::read(reader) }
    }

    fn read_value(&mut self, property: Property, items: &mut Reader<'a>) -> Result<(), DecodeError> {
        match property {
            Property::SubscriptionIdentifier => {
                self.subscription_identifier = Some(items.subscription_identifier()?);
            }
            Property::SessionExpiryInterval => self.session_expiry = Some(items.u32()?),
            Property::AssignedClientIdentifier => self.assigned_client_id = Some(items.string()?),
            Property::ServerKeepAlive => self.server_keep_alive = Some(items.u16()?),
            Property::AuthenticationMethod => self.authentication_method = Some(items.string()?),
            Property::AuthenticationData => self.authentication_data = Some(items.binary()?),
            Property::RequestProblemInformation => {
                self.request_problem_information = Some(items.flag(property)?);
            }
            Property::RequestResponseInformation => {
                self.request_response_information = Some(items.flag(property)?);
            }
            Property::ResponseInformation => self.response_information = Some(items.string()?),
            Property::ServerReference => self.server_reference = Some(items.string()?),
            Property::ReasonString => self.reason_string = Some(items.string()?),
            Property::ReceiveMaximum => self.receive_maximum = Some(items.above_zero(property)?),
            Property::TopicAliasMaximum => self.topic_alias_maximum = Some(items.u16()?),
            Property::MaximumQos => {
                let qos = if items.flag(property)? { QoS::AtLeastOnce } else { QoS::AtMostOnce };
                self.maximum_qos = Some(qos);
            }
            Property::RetainAvailable => self.retain_available = Some(items.flag(property)?),
            Property::UserProperty => {
                items.string()?;
                items.string()?;
            }
            Property::MaximumPacketSize => match items.u32()? {
                0 => return Err(items.property_value(property, 0)),
                size => self.maximum_packet_size = Some(size),
            },
            Property::WildcardSubscriptionAvailable => self.wildcard_available = Some(items.flag(property)?),
            Property::SubscriptionIdentifierAvailable => {
                self.identifiers_available = Some(items.flag(property)?);
            }
            Property::SharedSubscriptionAvailable => self.shared_available = Some(items.flag(property)?),
            Property::PayloadFormatIndicator
            | Property::MessageExpiryInterval
            | Property::ContentType
            | Property::ResponseTopic
            | Property::CorrelationData
            | Property::WillDelayInterval
            | Property::TopicAlias => {
                return Err(DecodeError::PropertyNotAllowed { packet: items.packet(), property });
            }
        }
        Ok(())
    }
}

/// A block of properties to be written. In MQTT 3 there is none: it stays empty and takes no room.
#[derive(Debug)]
pub(super) struct Block {
    version: ProtocolVersion,
    bytes: Vec<u8>,
}

impl Block {
    pub(super) fn new(version: ProtocolVersion) -> Self {
        Self { version, bytes: Vec::new() }
    }

    fn property(&mut self, property: Property, value: &[u8]) {
        if self.version == ProtocolVersion::V5 {
            self.bytes.push(property as u8);
            self.bytes.extend_from_slice(value);
        }
    }

    pub(super) fn flag(&mut self, property: Property, value: Option<bool>) {
        if let Some(value) = value {
            self.property(property, &[u8::from(value)]);
        }
    }

    pub(super) fn u16(&mut self, property: Property, value: Option<u16>) {
        if let Some(value) = value {
            self.property(property, &value.to_be_bytes());
        }
    }

    pub(super) fn u32(&mut self, property: Property, value: Option<u32>) {
        if let Some(value) = value {
            self.property(property, &value.to_be_bytes());
        }
    }

    pub(super) fn string(&mut self, property: Property, value: Option<&str>) -> Result<(), EncodeError> {
        self.binary(property, value.map(str::as_bytes))
    }

    pub(super) fn binary(&mut self, property: Property, value: Option<&[u8]>) -> Result<(), EncodeError> {
        if let Some(value) = value {
            let len = writer::field_len(value)?;
            self.property(property, &len.to_be_bytes());
            self.raw(|bytes| bytes.extend_from_slice(value));
        }
        Ok(())
    }

    pub(super) fn user(&mut self, user: &UserProperties<'_>) -> Result<(), EncodeError> {
        match self.version {
            ProtocolVersion::V5 => user.append_to(&mut self.bytes),
            _ => Ok(()),
        }
    }

    /// Appends properties that are encoded already.
    pub(super) fn raw(&mut self, append: impl FnOnce(&mut Vec<u8>)) {
        if self.version == ProtocolVersion::V5 {
            append(&mut self.bytes);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The size in the packet, with the length in front.
    pub(super) fn len(&self) -> usize {
        match self.version {
            ProtocolVersion::V5 => writer::variable_len(self.bytes.len()) + self.bytes.len(),
            _ => 0,
        }
    }

    pub(super) fn push_to(&self, out: &mut Vec<u8>) {
        if self.version == ProtocolVersion::V5 {
            writer::push_variable(out, self.bytes.len());
            out.extend_from_slice(&self.bytes);
        }
    }

    /// The block of a packet that has but these two.
    pub(super) fn of_answer(
        version: ProtocolVersion,
        reason_string: Option<&str>,
        user: &UserProperties<'_>,
    ) -> Result<Self, EncodeError> {
        let mut block = Self::new(version);
        block.string(Property::ReasonString, reason_string)?;
        block.user(user)?;
        Ok(block)
    }
}

/// Fixed header, packet identifier and properties in front of `size` bytes.
pub(super) fn push_head(
    out: &mut Vec<u8>,
    packet: PacketType,
    id: super::PacketId,
    block: &Block,
    size: usize,
) -> Result<(), EncodeError> {
    let header = writer::FixedHeaderBytes::new(packet.first_byte(), 2 + block.len() + size)?;
    out.extend_from_slice(header.as_slice());
    out.extend_from_slice(&id.to_be_bytes());
    block.push_to(out);
    Ok(())
}
