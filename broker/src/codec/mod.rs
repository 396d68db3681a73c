//! Bytes <-> packets for every protocol version that is served, and all rules about malformed packets.
//!
//! ```text
//! first packet     decode_connect(buf, limit)          -> Connect, which says the version
//! every other      decode(buf, version, limit)         -> Packet, borrowed from buf
//! answers          puback(id), suback(out, ..), ..     -> four bytes, or appended to a Vec
//! ```
//!
//! Decoding is incremental: `buf` begins with a packet and may end anywhere. While the packet is not all
//! there, the answer is [`Decoded::NeedMore`]; nothing is kept between calls. What a fixed header gives away
//! (type, flags, size) is refused before the body is waited for. Which packet may come when is the
//! connection's business; the errors for it are in [`DecodeError`] too.
//!
//! The version is an argument of all that depends on it, or will with MQTT 5: its properties and reason codes
//! become further fields of these packets.

mod ack;
mod check;
mod connect;
mod error;
mod fixed_header;
mod packet;
mod publish;
mod reader;
mod subscribe;
mod writer;

pub use ack::{DISCONNECT, PINGREQ, PINGRESP, puback, pubcomp, pubrec, pubrel, unsuback};
pub use check::check_stream;
pub use connect::{CONNECT_LEN_MAX, Connack, Connect, ConnectReturnCode, RECOMMENDED_CLIENT_ID_MAX, Will};
pub use error::{Answer, DecodeError, EncodeError};
pub use packet::{Packet, PacketId, PacketType, ProtocolVersion};
pub use publish::{Delivery, Publish, PublishHeader};
pub use subscribe::{
    Filters, Suback, SubackCode, Subscribe, Subscription, Subscriptions, Unsubscribe, suback, subscribe,
    unsubscribe,
};
pub use writer::REMAINING_LENGTH_MAX;

use fixed_header::FixedHeader;
use reader::Reader;

/// What the beginning of a buffer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoded<P> {
    /// A whole packet.
    Packet {
        /// The packet.
        packet: P,
        /// How many bytes of the buffer it took.
        len: usize,
    },
    /// A part of a packet, which is in order so far.
    NeedMore {
        /// How many bytes the buffer must hold before it is worth another try, counted from its beginning.
        /// Once the fixed header is there, this is the size of the packet. Always more than the buffer holds,
        /// never more than the size limit (but for a fixed header, of 5 bytes at most).
        at_least: usize,
    },
}

/// Decodes the packet at the beginning of `buf`. A packet of more than `limit` bytes in all is refused.
///
/// A CONNECT is decoded as the version that it names, not as `version`.
///
/// # Errors
/// The packet is malformed or too large. The connection is at its end then: see [`DecodeError::answer`].
#[inline]
pub fn decode(
    buf: &[u8],
    version: ProtocolVersion,
    limit: usize,
) -> Result<Decoded<Packet<'_>>, DecodeError> {
    let Some(header) = FixedHeader::read(buf)? else {
        return Ok(Decoded::NeedMore { at_least: (buf.len() + 1).max(2) });
    };
    let packet_type = fixed_header::packet_type(header.first, version)?;
    header.check_size(packet_type, limit)?;
    let len = header.packet_len();
    let Some(body) = buf.get(header.len..len) else {
        return Ok(Decoded::NeedMore { at_least: len });
    };
    let packet = if packet_type == PacketType::Publish {
        Packet::Publish(Publish::decode(header.first, body)?)
    } else {
        decode_body(packet_type, body, version)?
    };
    Ok(Decoded::Packet { packet, len })
}

/// Decodes the first packet of a connection, which must be CONNECT [MQTT-3.1.0-1]. Whoever speaks another
/// protocol is found out by the first byte. A CONNECT of more than `limit` bytes, or of more than
/// [`CONNECT_LEN_MAX`], is refused.
///
/// # Errors
/// As for [`decode`].
pub fn decode_connect(buf: &[u8], limit: usize) -> Result<Decoded<Connect<'_>>, DecodeError> {
    const TLS_HANDSHAKE: u8 = 0x16;
    match buf.first() {
        Some(&TLS_HANDSHAKE) => return Err(DecodeError::Tls),
        Some(first) if first >> 4 != PacketType::Connect as u8 => return Err(DecodeError::NotConnect),
        Some(_) | None => {}
    }
    match decode(buf, ProtocolVersion::V3_1_1, limit.min(CONNECT_LEN_MAX))? {
        Decoded::Packet { packet: Packet::Connect(packet), len } => Ok(Decoded::Packet { packet, len }),
        Decoded::Packet { .. } => Err(DecodeError::NotConnect),
        Decoded::NeedMore { at_least } => Ok(Decoded::NeedMore { at_least }),
    }
}

/// All packets but PUBLISH. Inlined for the acknowledgements of QoS 1 and 2.
#[inline]
fn decode_body(
    packet_type: PacketType,
    body: &[u8],
    version: ProtocolVersion,
) -> Result<Packet<'_>, DecodeError> {
    let mut reader = Reader::new(packet_type, body);
    let packet = match packet_type {
        PacketType::Publish => Packet::Publish(Publish::decode(packet_type.first_byte(), reader.rest())?),
        PacketType::Puback => Packet::Puback(reader.packet_id()?),
        PacketType::Pubrec => Packet::Pubrec(reader.packet_id()?),
        PacketType::Pubrel => Packet::Pubrel(reader.packet_id()?),
        PacketType::Pubcomp => Packet::Pubcomp(reader.packet_id()?),
        PacketType::Subscribe => Packet::Subscribe(Subscribe::decode(&mut reader)?),
        PacketType::Unsubscribe => Packet::Unsubscribe(Unsubscribe::decode(&mut reader)?),
        PacketType::Pingreq => Packet::Pingreq,
        PacketType::Disconnect => Packet::Disconnect,
        PacketType::Connect => Packet::Connect(Connect::decode(&mut reader)?),
        PacketType::Connack => Packet::Connack(Connack::decode(&mut reader, version)?),
        PacketType::Suback => Packet::Suback(Suback::decode(&mut reader)?),
        PacketType::Unsuback => Packet::Unsuback(reader.packet_id()?),
        PacketType::Pingresp => Packet::Pingresp,
    };
    reader.end()?;
    Ok(packet)
}

#[cfg(test)]
mod tests;
