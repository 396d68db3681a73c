//! PUBLISH [MQTT 3.1.1: 3.3]: the packet that counts. Topic and payload are borrowed both ways.

use super::error::{DecodeError, EncodeError};
use super::reader::Reader;
use super::writer::{self, FixedHeaderBytes};
use super::{PacketId, PacketType, ProtocolVersion};
use crate::message::QoS;
use crate::topic;

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

/// A PUBLISH. The caller copies what it keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publish<'a> {
    /// The topic name, valid.
    pub topic: &'a str,
    /// The payload.
    pub payload: &'a [u8],
    /// QoS, packet identifier, DUP.
    pub delivery: Delivery,
    /// The RETAIN flag.
    pub retain: bool,
}

impl<'a> Publish<'a> {
    /// Reads what follows the fixed header, whose flags have been checked.
    #[inline]
    pub(super) fn decode(first: u8, body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(PacketType::Publish, body);
        let topic = reader.utf8()?;
        if let Err(error) = topic::check_name(topic) {
            return Err(DecodeError::Topic { packet: PacketType::Publish, error });
        }
        let dup = first & DUP != 0;
        let delivery = match first >> QOS_SHIFT & 0b11 {
            0 => Delivery::AtMostOnce,
            1 => Delivery::AtLeastOnce { id: reader.packet_id()?, dup },
            2 => Delivery::ExactlyOnce { id: reader.packet_id()?, dup },
            _ => return Err(DecodeError::PublishQos),
        };
        Ok(Self { topic, payload: reader.rest(), delivery, retain: first & RETAIN != 0 })
    }

    /// Appends the whole packet.
    ///
    /// # Errors
    /// The topic or the packet is too long; nothing was appended.
    pub fn encode(&self, out: &mut Vec<u8>, version: ProtocolVersion) -> Result<(), EncodeError> {
        self.header().encode(out, version)?;
        out.extend_from_slice(self.payload);
        Ok(())
    }

    /// Everything but the payload.
    #[must_use]
    pub fn header(&self) -> PublishHeader<'a> {
        PublishHeader {
            topic: self.topic,
            payload_len: self.payload.len(),
            delivery: self.delivery,
            retain: self.retain,
        }
    }
}

/// A PUBLISH without its payload, which the caller sends behind it from where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublishHeader<'a> {
    /// The topic name, valid.
    pub topic: &'a str,
    /// The payload's size in bytes.
    pub payload_len: usize,
    /// QoS, packet identifier, DUP.
    pub delivery: Delivery,
    /// The RETAIN flag.
    pub retain: bool,
}

impl PublishHeader<'_> {
    /// Appends the packet up to its payload.
    ///
    /// # Errors
    /// The topic or the packet is too long; nothing was appended.
    #[inline]
    pub fn encode(&self, out: &mut Vec<u8>, _version: ProtocolVersion) -> Result<(), EncodeError> {
        let topic_len = writer::field_len(self.topic.as_bytes())?;
        let header = FixedHeaderBytes::new(self.first_byte(), self.remaining())?;
        out.extend_from_slice(header.as_slice());
        writer::push_field(out, topic_len, self.topic.as_bytes());
        if let Some(id) = self.delivery.packet_id() {
            out.extend_from_slice(&id.to_be_bytes());
        }
        Ok(())
    }

    /// The size of the whole packet in bytes, payload included.
    #[must_use]
    #[inline]
    pub fn packet_len(&self, _version: ProtocolVersion) -> usize {
        let remaining = self.remaining();
        writer::fixed_header_len(remaining) + remaining
    }

    #[inline]
    fn first_byte(&self) -> u8 {
        let dup = if self.delivery.dup() { DUP } else { 0 };
        PacketType::Publish.first_byte()
            | dup
            | self.delivery.qos().as_u8() << QOS_SHIFT
            | u8::from(self.retain)
    }

    #[inline]
    fn remaining(&self) -> usize {
        let id = if self.delivery.packet_id().is_some() { 2 } else { 0 };
        2 + self.topic.len() + id + self.payload_len
    }
}
