//! The acknowledgements of PUBLISH: four bytes, and in MQTT 5 more where there is something to say [MQTT 5: 3.4 to 3.7].
//! PINGREQ and PINGRESP, which are two bytes in every version.

use super::error::{DecodeError, EncodeError};
use super::properties::{Block, Properties};
use super::reader::Reader;
use super::reason::ReasonCode;
use super::user::UserProperties;
use super::writer::FixedHeaderBytes;
use super::{PacketId, PacketType, ProtocolVersion};

/// PINGREQ [MQTT 3.1.1: 3.12].
pub const PINGREQ: [u8; 2] = [PacketType::Pingreq.first_byte(), 0];

/// PINGRESP [MQTT-3.12.4-1].
pub const PINGRESP: [u8; 2] = [PacketType::Pingresp.first_byte(), 0];

/// PUBACK: ends a QoS 1 delivery. In every version; in MQTT 5 it says success.
#[must_use]
#[inline]
pub fn puback(id: PacketId) -> [u8; 4] {
    short(PacketType::Puback, id)
}

/// PUBREC: a QoS 2 message has arrived. In every version; in MQTT 5 it says success.
#[must_use]
#[inline]
pub fn pubrec(id: PacketId) -> [u8; 4] {
    short(PacketType::Pubrec, id)
}

/// PUBREL: answers PUBREC [MQTT-3.6.1-1]. In every version; in MQTT 5 it says success.
#[must_use]
#[inline]
pub fn pubrel(id: PacketId) -> [u8; 4] {
    short(PacketType::Pubrel, id)
}

/// PUBCOMP: ends a QoS 2 delivery. In every version; in MQTT 5 it says success.
#[must_use]
#[inline]
pub fn pubcomp(id: PacketId) -> [u8; 4] {
    short(PacketType::Pubcomp, id)
}

#[inline]
fn short(packet: PacketType, id: PacketId) -> [u8; 4] {
    let [high, low] = id.to_be_bytes();
    [packet.first_byte(), 2, high, low]
}

/// A PUBACK, PUBREC, PUBREL or PUBCOMP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack<'a> {
    /// The identifier of the PUBLISH.
    pub id: PacketId,
    /// What became of it; in MQTT 3 always success.
    pub reason: ReasonCode,
    /// The reason in words for people.
    pub reason_string: Option<&'a str>,
    /// The user properties.
    pub user: UserProperties<'a>,
}

impl<'a> Ack<'a> {
    /// With this reason and no properties.
    #[must_use]
    #[inline]
    pub fn new(id: PacketId, reason: ReasonCode) -> Self {
        Self { id, reason, reason_string: None, user: UserProperties::default() }
    }

    #[inline]
    pub(super) fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let id = reader.packet_id()?;
        // In MQTT 3 always: the fixed header has told the length.
        if reader.is_empty() { Ok(Self::new(id, ReasonCode::Success)) } else { Self::decode_long(id, reader) }
    }

    #[cold]
    fn decode_long(id: PacketId, reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let reason = ReasonCode::read(reader)?; // MQTT5-3.4.2-1, 3.5.2-1, 3.6.2-1, 3.7.2-1
        let Properties { reason_string, user, .. } = Properties::read_unless_at_end(reader)?;
        Ok(Self { id, reason, reason_string, user })
    }

    /// Appends the packet, which is one of the four, in its shortest form. In MQTT 3 it is the identifier alone: whatever
    /// the reason, the message is acknowledged.
    ///
    /// # Errors
    /// A field or the packet is too long; nothing was appended.
    pub fn encode(
        &self,
        out: &mut Vec<u8>,
        packet: PacketType,
        version: ProtocolVersion,
    ) -> Result<(), EncodeError> {
        let block = Block::of_answer(version, self.reason_string, &self.user)?;
        if version < ProtocolVersion::V5 || self.reason == ReasonCode::Success && block.is_empty() {
            out.extend_from_slice(&short(packet, self.id));
            return Ok(());
        }
        let properties = if block.is_empty() { 0 } else { block.len() };
        let header = FixedHeaderBytes::new(packet.first_byte(), 3 + properties)?;
        out.extend_from_slice(header.as_slice());
        out.extend_from_slice(&self.id.to_be_bytes());
        out.push(self.reason.as_u8());
        if !block.is_empty() {
            block.push_to(out);
        }
        Ok(())
    }
}
