//! PUBLISH [MQTT 3.1.1: 3.3, MQTT 5: 3.3]: the packet that counts. Topic, payload and properties are borrowed both ways.

use std::num::NonZeroU16;

use super::application::{ApplicationProperties, MessageProperties, SubscriptionIdentifiers};
use super::error::{DecodeError, EncodeError};
use super::property::{Place, Property};
use super::reader::Reader;
use super::writer::{self, FixedHeaderBytes};
use super::{PacketId, PacketType, ProtocolVersion};
use crate::message::QoS;
use crate::topic::{self, NameError};

const RETAIN: u8 = 0b0001;
const DUP: u8 = 0b1000;
const QOS_SHIFT: u8 = 1;

/// How a PUBLISH is delivered: its QoS with what only that QoS has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// QoS 0: no identifier [MQTT-2.3.1-5], no DUP [MQTT-3.3.1-2].
    AtMostOnce,
    /// QoS 1: answered by PUBACK.
    AtLeastOnce {
        /// The packet identifier.
        id: PacketId,
        /// Whether it may have been sent before [MQTT-3.3.1-1].
        dup: bool,
    },
    /// QoS 2: answered by PUBREC.
    ExactlyOnce {
        /// The packet identifier.
        id: PacketId,
        /// Whether it may have been sent before [MQTT-3.3.1-1].
        dup: bool,
    },
}

impl Delivery {
    /// The QoS level.
    #[must_use]
    #[inline]
    pub fn qos(self) -> QoS {
        match self {
            Self::AtMostOnce => QoS::AtMostOnce,
            Self::AtLeastOnce { .. } => QoS::AtLeastOnce,
            Self::ExactlyOnce { .. } => QoS::ExactlyOnce,
        }
    }

    /// The packet identifier, which QoS 0 does not have.
    #[must_use]
    #[inline]
    pub fn packet_id(self) -> Option<PacketId> {
        match self {
            Self::AtMostOnce => None,
            Self::AtLeastOnce { id, .. } | Self::ExactlyOnce { id, .. } => Some(id),
        }
    }

    /// The DUP flag.
    #[must_use]
    #[inline]
    pub fn dup(self) -> bool {
        match self {
            Self::AtMostOnce => false,
            Self::AtLeastOnce { dup, .. } | Self::ExactlyOnce { dup, .. } => dup,
        }
    }
}

/// The properties of a PUBLISH; by default none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PublishProperties<'a> {
    /// A number for the topic. With a topic name it takes on its meaning, without one it stands for the name.
    pub topic_alias: Option<NonZeroU16>,
    /// How many seconds the message is worth sending.
    pub message_expiry: Option<u32>,
    /// Why the receiver gets the message. A client never sends them [MQTT5-3.3.4-6]; that is for the server to check.
    pub subscription_identifiers: SubscriptionIdentifiers<'a>,
    /// What travels with the message.
    pub application: ApplicationProperties<'a>,
}

impl<'a> PublishProperties<'a> {
    /// Is there nothing but a topic alias?
    #[must_use]
    #[inline]
    pub fn has_alias_at_most(&self) -> bool {
        self.message_expiry.is_none()
            && self.application.is_empty()
            && self.subscription_identifiers.is_empty()
    }

    #[inline]
    fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        if reader.skip_empty_block() { Ok(Self::default()) } else { Self::decode_some(reader) }
    }

    #[inline(never)]
    fn decode_some(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        if let Some(alias) = reader.skip_alias_block() {
            return Ok(Self { topic_alias: Some(alias), ..Self::default() });
        }
        let read = MessageProperties::read(reader, Place::of(PacketType::Publish))?;
        let MessageProperties { topic_alias, message_expiry, subscription_identifiers, application, .. } =
            read;
        Ok(Self { topic_alias, message_expiry, subscription_identifiers, application })
    }

    /// The size without the length in front.
    #[inline]
    fn encoded_len(&self) -> usize {
        let alias = if self.topic_alias.is_some() { 3 } else { 0 };
        let expiry = if self.message_expiry.is_some() { 5 } else { 0 };
        alias + expiry + self.subscription_identifiers.encoded_len() + self.application.len()
    }

    /// The size with the length in front: 1 if there are none, 0 in MQTT 3.
    #[inline]
    fn len_with_length(&self, version: ProtocolVersion) -> usize {
        if version < ProtocolVersion::V5 {
            return 0;
        }
        let len = self.encoded_len();
        writer::variable_len(len) + len
    }

    #[inline]
    fn append_to(&self, out: &mut Vec<u8>) {
        if let Some(alias) = self.topic_alias {
            let [high, low] = alias.get().to_be_bytes();
            out.extend_from_slice(&[Property::TopicAlias as u8, high, low]);
        }
        if let Some(expiry) = self.message_expiry {
            out.push(Property::MessageExpiryInterval as u8);
            out.extend_from_slice(&expiry.to_be_bytes());
        }
        self.subscription_identifiers.append_to(out);
        self.application.append_to(out);
    }
}

/// A PUBLISH. The caller copies what it keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publish<'a> {
    /// The topic name, valid. In MQTT 5 it may be empty: then there is an alias.
    pub topic: &'a str,
    /// The payload.
    pub payload: &'a [u8],
    /// QoS, packet identifier, DUP.
    pub delivery: Delivery,
    /// The RETAIN flag.
    pub retain: bool,
    /// The properties; none in MQTT 3.
    pub properties: PublishProperties<'a>,
}

impl<'a> Publish<'a> {
    /// Reads what follows the fixed header, whose flags have been checked.
    #[inline(always)]
    pub(super) fn decode(first: u8, body: &'a [u8], version: ProtocolVersion) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(PacketType::Publish, body);
        let topic = reader.utf8()?;
        let mut nameless = false;
        if let Err(error) = topic::check_name(topic) {
            nameless = version == ProtocolVersion::V5 && error == NameError::Empty;
            if !nameless {
                return Err(DecodeError::Topic { packet: PacketType::Publish, error });
            }
        }
        let dup = first & DUP != 0;
        let delivery = match first >> QOS_SHIFT & 0b11 {
            0 => Delivery::AtMostOnce,
            1 => Delivery::AtLeastOnce { id: reader.packet_id()?, dup },
            2 => Delivery::ExactlyOnce { id: reader.packet_id()?, dup },
            _ => return Err(DecodeError::PublishQos),
        };
        let properties = match version {
            ProtocolVersion::V5 => PublishProperties::decode(&mut reader)?,
            _ => PublishProperties::default(),
        };
        if nameless && properties.topic_alias.is_none() {
            return Err(DecodeError::NoTopic);
        }
        Ok(Self { topic, payload: reader.rest(), delivery, retain: first & RETAIN != 0, properties })
    }

    /// Appends the whole packet.
    ///
    /// # Errors
    /// The topic or the packet is too long; nothing was appended.
    #[inline]
    pub fn encode(&self, out: &mut Vec<u8>, version: ProtocolVersion) -> Result<(), EncodeError> {
        let Self { topic, payload, delivery, retain, ref properties } = *self;
        encode_header(out, version, topic, payload.len(), delivery, retain, properties)?;
        out.extend_from_slice(payload);
        Ok(())
    }

    /// Everything but the payload.
    #[must_use]
    #[inline(always)]
    pub fn header(&self) -> PublishHeader<'a> {
        PublishHeader {
            topic: self.topic,
            payload_len: self.payload.len(),
            delivery: self.delivery,
            retain: self.retain,
            properties: self.properties,
        }
    }
}

/// A PUBLISH without its payload, which the caller sends behind it from where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublishHeader<'a> {
    /// The topic name, valid. In MQTT 5 it may be empty: then there is an alias.
    pub topic: &'a str,
    /// The payload's size in bytes.
    pub payload_len: usize,
    /// QoS, packet identifier, DUP.
    pub delivery: Delivery,
    /// The RETAIN flag.
    pub retain: bool,
    /// The properties; left out in MQTT 3.
    pub properties: PublishProperties<'a>,
}

impl PublishHeader<'_> {
    /// Appends the packet up to its payload.
    ///
    /// # Errors
    /// The topic or the packet is too long; nothing was appended.
    #[inline]
    pub fn encode(&self, out: &mut Vec<u8>, version: ProtocolVersion) -> Result<(), EncodeError> {
        let Self { topic, payload_len, delivery, retain, ref properties } = *self;
        encode_header(out, version, topic, payload_len, delivery, retain, properties)
    }

    /// The size of the whole packet in bytes, payload included.
    #[must_use]
    #[inline]
    pub fn packet_len(&self, version: ProtocolVersion) -> usize {
        let properties = self.properties.len_with_length(version);
        let remaining = remaining(self.topic, self.payload_len, self.delivery, properties);
        writer::fixed_header_len(remaining) + remaining
    }
}

#[inline]
fn encode_header(
    out: &mut Vec<u8>,
    version: ProtocolVersion,
    topic: &str,
    payload_len: usize,
    delivery: Delivery,
    retain: bool,
    properties: &PublishProperties<'_>,
) -> Result<(), EncodeError> {
    let topic_len = writer::field_len(topic.as_bytes())?;
    let block = properties.len_with_length(version);
    if block > 1 {
        properties.subscription_identifiers.check()?;
    }
    let remaining = remaining(topic, payload_len, delivery, block);
    let header = FixedHeaderBytes::new(first_byte(delivery, retain), remaining)?;
    out.extend_from_slice(header.as_slice());
    writer::push_field(out, topic_len, topic.as_bytes());
    if let Some(id) = delivery.packet_id() {
        out.extend_from_slice(&id.to_be_bytes());
    }
    match block {
        0 => {}
        1 => out.push(0),
        _ => {
            writer::push_variable(out, properties.encoded_len());
            properties.append_to(out);
        }
    }
    Ok(())
}

#[inline]
fn first_byte(delivery: Delivery, retain: bool) -> u8 {
    let dup = if delivery.dup() { DUP } else { 0 };
    PacketType::Publish.first_byte() | dup | delivery.qos().as_u8() << QOS_SHIFT | u8::from(retain)
}

#[inline]
fn remaining(topic: &str, payload_len: usize, delivery: Delivery, properties: usize) -> usize {
    let id = if delivery.packet_id().is_some() { 2 } else { 0 };
    2 + topic.len() + id + properties + payload_len
}
