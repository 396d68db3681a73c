//! Bytes <-> packets for every protocol version that is served, and all rules about malformed packets.
//!
//! ```text
//! first packet     decode_connect(buf, limit)          -> Connect, which says the version
//! every other      decode(buf, version, limit)         -> Packet, borrowed from buf
//! answers          puback(id), suback(out, ..), ..     -> four bytes, or appended to a Vec
//! what travels     ApplicationProperties               -> kept with a message as the bytes that it came with
//! ```
//!
//! Decoding is incremental: `buf` begins with a packet and may end anywhere. While the packet is not all
//! there, the answer is [`Decoded::NeedMore`]; nothing is kept between calls. What a fixed header gives away
//! (type, flags, size) is refused before the body is waited for. Which packet may come when is the
//! connection's business; the errors for it are in [`DecodeError`] too.
//!
//! The version is an argument of all that depends on it. The fields that only MQTT 5 has (properties, reason codes) have
//! their defaults in packets of MQTT 3, and are left out when one is written. Properties are checked once, when a packet is
//! decoded, and lists of them are read again from its bytes one by one.

mod ack;
mod application;
mod check;
mod connack;
mod connect;
mod disconnect;
mod error;
mod fixed_header;
mod packet;
mod properties;
mod property;
mod publish;
mod reader;
mod reason;
mod suback;
mod subscribe;
mod user;
mod writer;

pub use ack::{Ack, PINGREQ, PINGRESP, puback, pubcomp, pubrec, pubrel};
pub use application::{ApplicationProperties, SubscriptionIdentifiers};
pub use check::check_stream;
pub use connack::{Connack, ConnackProperties};
pub use connect::{
    CONNECT_LEN_MAX, Connect, ConnectProperties, RECOMMENDED_CLIENT_ID_MAX, Will, connect_version,
};
pub use disconnect::{Auth, DISCONNECT, Disconnect};
pub use error::{Answer, DecodeError, EncodeError};
pub use packet::{Packet, PacketId, PacketType, ProtocolVersion};
pub use property::Property;
pub use publish::{Delivery, Publish, PublishHeader, PublishProperties};
pub use reason::ReasonCode;
pub use suback::{Suback, Unsuback, suback, unsuback};
pub use subscribe::{
    Filters, RetainHandling, Subscribe, Subscription, Subscriptions, Unsubscribe, subscribe, unsubscribe,
};
pub use user::UserProperties;
pub use writer::{REMAINING_LENGTH_MAX, VARIABLE_MAX};

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
    let Some(header) = FixedHeader::read(buf, version)? else {
        return Ok(Decoded::NeedMore { at_least: (buf.len() + 1).max(2) });
    };
    let packet_type = fixed_header::packet_type(header.first, version)?;
    header.check_size(packet_type, version, limit)?;
    let len = header.packet_len();
    let Some(body) = buf.get(header.len..len) else {
        return Ok(Decoded::NeedMore { at_least: len });
    };
    let packet = if packet_type == PacketType::Publish {
        Packet::Publish(Publish::decode(header.first, body, version)?)
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
        Decoded::Packet { packet: Packet::Connect(packet), len } => {
            // Now that the version is known, its rules hold for the fixed header, too.
            FixedHeader::read(buf, packet.version)?;
            Ok(Decoded::Packet { packet: *packet, len })
        }
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
        PacketType::Publish => {
            Packet::Publish(Publish::decode(packet_type.first_byte(), reader.rest(), version)?)
        }
        PacketType::Puback => Packet::Puback(Ack::decode(&mut reader)?),
        PacketType::Pubrec => Packet::Pubrec(Ack::decode(&mut reader)?),
        PacketType::Pubrel => Packet::Pubrel(Ack::decode(&mut reader)?),
        PacketType::Pubcomp => Packet::Pubcomp(Ack::decode(&mut reader)?),
        PacketType::Subscribe => Packet::Subscribe(Subscribe::decode(&mut reader, version)?),
        PacketType::Unsubscribe => Packet::Unsubscribe(Unsubscribe::decode(&mut reader, version)?),
        PacketType::Pingreq => Packet::Pingreq,
        PacketType::Disconnect => Packet::Disconnect(Disconnect::decode(&mut reader)?),
        PacketType::Connect => Packet::Connect(Connect::decode(&mut reader)?.into()),
        PacketType::Connack => Packet::Connack(Connack::decode(&mut reader, version)?.into()),
        PacketType::Suback => Packet::Suback(Suback::decode(&mut reader, version)?),
        PacketType::Unsuback => Packet::Unsuback(Unsuback::decode(&mut reader, version)?),
        PacketType::Pingresp => Packet::Pingresp,
        PacketType::Auth => Packet::Auth(Auth::decode(&mut reader)?),
    };
    reader.end()?;
    Ok(packet)
}

#[cfg(test)]
mod tests;
