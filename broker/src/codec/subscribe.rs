//! SUBSCRIBE, SUBACK and UNSUBSCRIBE [MQTT 3.1.1: 3.8 to 3.10]. Their lists are checked once, when the packet
//! is decoded, and then read again from its bytes one by one: however many filters there are, nothing is
//! allocated.

use super::error::{DecodeError, EncodeError};
use super::reader::Reader;
use super::writer::{self, FixedHeaderBytes};
use super::{PacketId, PacketType, ProtocolVersion};
use crate::message::QoS;
use crate::topic;

/// One filter of a SUBSCRIBE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscription<'a> {
    /// The topic filter, valid.
    pub filter: &'a str,
    /// The greatest QoS that the client wants messages with.
    pub qos: QoS,
}

/// A SUBSCRIBE: at least one filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscribe<'a> {
    /// The packet identifier.
    pub packet_id: PacketId,
    list: List<'a>,
}

impl<'a> Subscribe<'a> {
    pub(super) fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let packet_id = reader.packet_id()?;
        let list = List::check(reader, PacketType::Subscribe, |reader| read_subscription(reader).map(drop))?;
        Ok(Self { packet_id, list })
    }

    /// The filters with their QoS, in the order in which the SUBACK answers them.
    #[must_use]
    pub fn subscriptions(&self) -> Subscriptions<'a> {
        Subscriptions { reader: Reader::new(PacketType::Subscribe, self.list.bytes), left: self.list.len }
    }
}

/// An UNSUBSCRIBE: at least one filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsubscribe<'a> {
    /// The packet identifier.
    pub packet_id: PacketId,
    list: List<'a>,
}

impl<'a> Unsubscribe<'a> {
    pub(super) fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let packet_id = reader.packet_id()?;
        let list = List::check(reader, PacketType::Unsubscribe, |reader| {
            read_filter(reader, PacketType::Unsubscribe).map(drop)
        })?;
        Ok(Self { packet_id, list })
    }

    /// The filters.
    #[must_use]
    pub fn filters(&self) -> Filters<'a> {
        Filters { reader: Reader::new(PacketType::Unsubscribe, self.list.bytes), left: self.list.len }
    }
}

/// Bytes that have been read through once without an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct List<'a> {
    bytes: &'a [u8],
    len: usize,
}

impl<'a> List<'a> {
    fn check(
        reader: &mut Reader<'a>,
        packet: PacketType,
        read: impl Fn(&mut Reader<'a>) -> Result<(), DecodeError>,
    ) -> Result<Self, DecodeError> {
        let bytes = reader.rest();
        let mut items = Reader::new(packet, bytes);
        let mut len = 0;
        while !items.is_empty() {
            read(&mut items)?;
            len += 1;
        }
        if len == 0 { Err(DecodeError::NoFilters(packet)) } else { Ok(Self { bytes, len }) } // MQTT-3.8.3-3, 3.10.3-2
    }
}

fn read_filter<'a>(reader: &mut Reader<'a>, packet: PacketType) -> Result<&'a str, DecodeError> {
    let filter = reader.utf8()?;
    topic::check_filter(filter).map_err(|error| DecodeError::Filter { packet, error })?;
    Ok(filter)
}

fn read_subscription<'a>(reader: &mut Reader<'a>) -> Result<Subscription<'a>, DecodeError> {
    let filter = read_filter(reader, PacketType::Subscribe)?;
    let qos = reader.u8()?;
    let qos = QoS::from_u8(qos).ok_or(DecodeError::RequestedQos(qos))?; // MQTT-3-8.3-4
    Ok(Subscription { filter, qos })
}

/// The filters of a SUBSCRIBE.
#[derive(Clone, Debug)]
pub struct Subscriptions<'a> {
    reader: Reader<'a>,
    left: usize,
}

impl<'a> Iterator for Subscriptions<'a> {
    type Item = Subscription<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let filter = self.reader.utf8().ok()?;
        let qos = QoS::from_u8(self.reader.u8().ok()?)?;
        Some(Subscription { filter, qos })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Subscriptions<'_> {}

/// The filters of an UNSUBSCRIBE.
#[derive(Clone, Debug)]
pub struct Filters<'a> {
    reader: Reader<'a>,
    left: usize,
}

impl<'a> Iterator for Filters<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        self.reader.utf8().ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Filters<'_> {}

/// The answer to one filter of a SUBSCRIBE [MQTT-3.9.3-2].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SubackCode {
    /// The subscription stands, with this QoS at most.
    Granted(QoS),
    /// There is no such subscription. MQTT 3.1 does not know this code, but has no other either.
    Failure,
}

impl SubackCode {
    /// The code's number as it travels.
    #[must_use]
    pub fn as_u8(self) -> u8 {
        match self {
            Self::Granted(qos) => qos.as_u8(),
            Self::Failure => 0x80,
        }
    }

    fn from_u8(number: u8) -> Option<Self> {
        match number {
            0x80 => Some(Self::Failure),
            _ => QoS::from_u8(number).map(Self::Granted),
        }
    }
}

/// A SUBACK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suback<'a> {
    /// The identifier of the SUBSCRIBE [MQTT-3.8.4-2].
    pub packet_id: PacketId,
    codes: &'a [u8],
}

impl<'a> Suback<'a> {
    pub(super) fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let packet_id = reader.packet_id()?;
        let codes = reader.rest();
        match codes.iter().find(|&&code| SubackCode::from_u8(code).is_none()) {
            Some(&code) => Err(DecodeError::SubackCode(code)),
            None if codes.is_empty() => Err(DecodeError::Truncated(PacketType::Suback)), // MQTT-3.8.4-5
            None => Ok(Self { packet_id, codes }),
        }
    }

    /// The answers in the order of the filters [MQTT-3.9.3-1].
    pub fn codes(&self) -> impl ExactSizeIterator<Item = SubackCode> + Clone + use<'a> {
        self.codes.iter().map(|&code| SubackCode::from_u8(code).unwrap_or(SubackCode::Failure))
    }
}

/// Appends a SUBACK: one code for each filter of the SUBSCRIBE, in its order [MQTT-3.8.4-5, 3.9.3-1].
///
/// # Errors
/// The packet is too long; nothing was appended.
pub fn suback(
    out: &mut Vec<u8>,
    id: PacketId,
    codes: impl ExactSizeIterator<Item = SubackCode>,
    _version: ProtocolVersion,
) -> Result<(), EncodeError> {
    push_head(out, PacketType::Suback, id, codes.len())?;
    out.extend(codes.map(SubackCode::as_u8));
    Ok(())
}

/// Appends a SUBSCRIBE.
///
/// # Errors
/// A filter or the packet is too long; nothing was appended.
pub fn subscribe<'a>(
    out: &mut Vec<u8>,
    id: PacketId,
    subscriptions: impl Iterator<Item = Subscription<'a>> + Clone,
    _version: ProtocolVersion,
) -> Result<(), EncodeError> {
    let mut size = 0;
    for Subscription { filter, .. } in subscriptions.clone() {
        size += 2 + usize::from(writer::field_len(filter.as_bytes())?) + 1;
    }
    push_head(out, PacketType::Subscribe, id, size)?;
    for Subscription { filter, qos } in subscriptions {
        writer::push_field(out, writer::field_len(filter.as_bytes())?, filter.as_bytes());
        out.push(qos.as_u8());
    }
    Ok(())
}

/// Appends an UNSUBSCRIBE.
///
/// # Errors
/// A filter or the packet is too long; nothing was appended.
pub fn unsubscribe<'a>(
    out: &mut Vec<u8>,
    id: PacketId,
    filters: impl Iterator<Item = &'a str> + Clone,
    _version: ProtocolVersion,
) -> Result<(), EncodeError> {
    let mut size = 0;
    for filter in filters.clone() {
        size += 2 + usize::from(writer::field_len(filter.as_bytes())?);
    }
    push_head(out, PacketType::Unsubscribe, id, size)?;
    for filter in filters {
        writer::push_field(out, writer::field_len(filter.as_bytes())?, filter.as_bytes());
    }
    Ok(())
}

/// Fixed header and packet identifier in front of `size` bytes.
fn push_head(out: &mut Vec<u8>, packet: PacketType, id: PacketId, size: usize) -> Result<(), EncodeError> {
    let header = FixedHeaderBytes::new(packet.first_byte(), 2 + size)?;
    out.extend_from_slice(header.as_slice());
    out.extend_from_slice(&id.to_be_bytes());
    Ok(())
}
