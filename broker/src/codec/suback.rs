//! SUBACK and UNSUBACK [MQTT 3.1.1: 3.9, 3.11, MQTT 5: 3.9, 3.11]: one reason code for each filter, in order. (The UNSUBACK
//! of MQTT 3 has none.)

use super::error::{DecodeError, EncodeError};
use super::properties::{self, Block, Properties};
use super::reader::Reader;
use super::reason::ReasonCode;
use super::user::UserProperties;
use super::{PacketId, PacketType, ProtocolVersion};

/// A SUBACK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suback<'a> {
    /// The identifier of the SUBSCRIBE [MQTT-3.8.4-2].
    pub packet_id: PacketId,
    /// The reason in words for people.
    pub reason_string: Option<&'a str>,
    /// The user properties.
    pub user: UserProperties<'a>,
    codes: Codes<'a>,
}

impl<'a> Suback<'a> {
    pub(super) fn decode(reader: &mut Reader<'a>, version: ProtocolVersion) -> Result<Self, DecodeError> {
        let packet_id = reader.packet_id()?;
        let Properties { reason_string, user, .. } = read_properties(reader, version)?;
        let codes = Codes::decode(reader, version)?;
        Ok(Self { packet_id, reason_string, user, codes })
    }

    /// The answers in the order of the filters [MQTT-3.9.3-1, MQTT5-3.9.3-1].
    pub fn codes(&self) -> impl ExactSizeIterator<Item = ReasonCode> + Clone + use<'a> {
        self.codes.iter()
    }
}

/// An UNSUBACK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsuback<'a> {
    /// The identifier of the UNSUBSCRIBE [MQTT-3.10.4-4].
    pub packet_id: PacketId,
    /// The reason in words for people.
    pub reason_string: Option<&'a str>,
    /// The user properties.
    pub user: UserProperties<'a>,
    codes: Codes<'a>,
}

impl<'a> Unsuback<'a> {
    pub(super) fn decode(reader: &mut Reader<'a>, version: ProtocolVersion) -> Result<Self, DecodeError> {
        let packet_id = reader.packet_id()?;
        let Properties { reason_string, user, .. } = read_properties(reader, version)?;
        let codes = match version {
            ProtocolVersion::V5 => Codes::decode(reader, version)?,
            _ => Codes(&[]),
        };
        Ok(Self { packet_id, reason_string, user, codes })
    }

    /// The answers in the order of the filters [MQTT5-3.11.3-1]; none in MQTT 3.
    pub fn codes(&self) -> impl ExactSizeIterator<Item = ReasonCode> + Clone + use<'a> {
        self.codes.iter()
    }
}

fn read_properties<'a>(
    reader: &mut Reader<'a>,
    version: ProtocolVersion,
) -> Result<Properties<'a>, DecodeError> {
    if version == ProtocolVersion::V5 { Properties::read(reader) } else { Ok(Properties::default()) }
}

/// Reason codes that their packet may carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Codes<'a>(&'a [u8]);

impl<'a> Codes<'a> {
    fn decode(reader: &mut Reader<'a>, version: ProtocolVersion) -> Result<Self, DecodeError> {
        let packet = reader.packet();
        let codes = reader.rest();
        if codes.is_empty() {
            return Err(DecodeError::Truncated(packet)); // MQTT-3.8.4-5, MQTT5-3.8.4-6
        }
        for &code in codes {
            ReasonCode::in_packet(code, packet, version)?; // MQTT-3.9.3-2, MQTT5-3.9.3-2, 3.11.3-2
        }
        Ok(Self(codes))
    }

    fn iter(self) -> impl ExactSizeIterator<Item = ReasonCode> + Clone + use<'a> {
        self.0.iter().map(|&code| ReasonCode::from_u8(code).unwrap_or(ReasonCode::UnspecifiedError))
    }
}

/// Appends a SUBACK: one code for each filter of the SUBSCRIBE, in its order [MQTT-3.8.4-5, 3.9.3-1]. MQTT 3 knows one
/// failure only (and 3.1 not even that, but has no other word either).
///
/// # Errors
/// A field or the packet is too long; nothing was appended.
pub fn suback(
    out: &mut Vec<u8>,
    id: PacketId,
    codes: impl ExactSizeIterator<Item = ReasonCode>,
    reason_string: Option<&str>,
    user: UserProperties<'_>,
    version: ProtocolVersion,
) -> Result<(), EncodeError> {
    let block = Block::of_answer(version, reason_string, &user)?;
    properties::push_head(out, PacketType::Suback, id, &block, codes.len())?;
    out.extend(codes.map(|code| match version {
        ProtocolVersion::V5 => code.as_u8(),
        _ => code.as_u8().min(ReasonCode::UnspecifiedError.as_u8()),
    }));
    Ok(())
}

/// Appends an UNSUBACK: one code for each filter of the UNSUBSCRIBE, in its order [MQTT5-3.11.3-1]; in MQTT 3 none.
///
/// # Errors
/// A field or the packet is too long; nothing was appended.
pub fn unsuback(
    out: &mut Vec<u8>,
    id: PacketId,
    codes: impl ExactSizeIterator<Item = ReasonCode>,
    reason_string: Option<&str>,
    user: UserProperties<'_>,
    version: ProtocolVersion,
) -> Result<(), EncodeError> {
    let block = Block::of_answer(version, reason_string, &user)?;
    let len = if version == ProtocolVersion::V5 { codes.len() } else { 0 };
    properties::push_head(out, PacketType::Unsuback, id, &block, len)?;
    out.extend(codes.take(len).map(ReasonCode::as_u8));
    Ok(())
}
