//! The fixed header: packet type, flags, remaining length [MQTT 3.1.1: 2.2]. What can be refused here is
//! refused before any of the packet's body is waited for.

use super::error::DecodeError;
use super::{PacketType, ProtocolVersion};

/// The most bytes of a remaining length.
const LENGTH_BYTES_MAX: usize = 4;

/// A whole fixed header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FixedHeader {
    /// Packet type and flags.
    pub(super) first: u8,
    /// The size of the fixed header itself in bytes, 2 to 5.
    pub(super) len: usize,
    /// How many bytes follow it.
    pub(super) remaining: usize,
}

impl FixedHeader {
    /// Reads the header at the beginning of `buf`; `None` if it is not all there.
    ///
    /// A length with superfluous zero groups (`80 00`) is taken in MQTT 3, which does not forbid it, and refused in MQTT 5
    /// [MQTT5-1.5.5-1].
    #[inline]
    pub(super) fn read(buf: &[u8], version: ProtocolVersion) -> Result<Option<Self>, DecodeError> {
        match buf {
            [first, length, ..] if *length < 0x80 => {
                Ok(Some(Self { first: *first, len: 2, remaining: usize::from(*length) }))
            }
            [first, length @ ..] => Self::read_long(*first, length, version),
            [] => Ok(None),
        }
    }

    fn read_long(first: u8, length: &[u8], version: ProtocolVersion) -> Result<Option<Self>, DecodeError> {
        let mut remaining = 0;
        for (index, byte) in length.iter().take(LENGTH_BYTES_MAX).enumerate() {
            remaining |= usize::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                if *byte == 0 && version == ProtocolVersion::V5 {
                    return Err(DecodeError::RemainingLengthNotMinimal);
                }
                return Ok(Some(Self { first, len: index + 2, remaining }));
            }
        }
        if length.len() < LENGTH_BYTES_MAX { Ok(None) } else { Err(DecodeError::RemainingLength) }
    }

    /// The size of the whole packet in bytes.
    #[inline]
    pub(super) fn packet_len(&self) -> usize {
        self.len + self.remaining
    }

    /// The size limit, and the size of packets that have only one.
    #[inline]
    pub(super) fn check_size(
        &self,
        packet: PacketType,
        version: ProtocolVersion,
        limit: usize,
    ) -> Result<(), DecodeError> {
        if self.packet_len() > limit {
            return Err(DecodeError::TooLarge { size: self.packet_len(), limit });
        }
        let wanted = match packet {
            PacketType::Publish
            | PacketType::Connect
            | PacketType::Subscribe
            | PacketType::Unsubscribe
            | PacketType::Suback
            | PacketType::Auth => return Ok(()),
            PacketType::Pingreq | PacketType::Pingresp | PacketType::Disconnect => 0,
            PacketType::Connack
            | PacketType::Puback
            | PacketType::Pubrec
            | PacketType::Pubrel
            | PacketType::Pubcomp
            | PacketType::Unsuback => 2,
        };
        if self.remaining == wanted { Ok(()) } else { self.check_other_size(packet, version, wanted) }
    }

    /// In MQTT 5 all but the pings grow by reason codes and properties.
    fn check_other_size(
        &self,
        packet: PacketType,
        version: ProtocolVersion,
        wanted: usize,
    ) -> Result<(), DecodeError> {
        if self.remaining < wanted {
            Err(DecodeError::Truncated(packet))
        } else if version < ProtocolVersion::V5
            || matches!(packet, PacketType::Pingreq | PacketType::Pingresp)
        {
            Err(DecodeError::Trailing(packet))
        } else {
            Ok(())
        }
    }
}

/// The packet type in a first byte, if the flags beside it are ones that it may have.
#[inline]
pub(super) fn packet_type(first: u8, version: ProtocolVersion) -> Result<PacketType, DecodeError> {
    let flags = first & 0x0f;
    let packet = PacketType::from_u8(first >> 4).ok_or(DecodeError::PacketType(first >> 4))?;
    if allowed_flags(packet, version) >> flags & 1 == 1 {
        Ok(packet)
    } else {
        Err(flags_error(packet, flags, version))
    }
}

/// The flags that a packet may have, as a set: bit n stands for the flags n.
#[inline]
fn allowed_flags(packet: PacketType, version: ProtocolVersion) -> u16 {
    match packet {
        // DUP, two bits of QoS, RETAIN: all but QoS 3 [MQTT-3.3.1-4] and DUP with QoS 0 [MQTT-3.3.1-2].
        PacketType::Publish => 0b0011_1100_0011_1111,
        // 0010 [MQTT-3.6.1-1, 3.8.1-1, 3.10.1-1; MQTT5-2.1.3-1]. MQTT 3.1 sends these again with DUP set.
        PacketType::Pubrel | PacketType::Subscribe | PacketType::Unsubscribe => match version {
            ProtocolVersion::V3_1 => 1 << 0b0010 | 1 << 0b1010,
            ProtocolVersion::V3_1_1 | ProtocolVersion::V5 => 1 << 0b0010,
        },
        PacketType::Auth if version < ProtocolVersion::V5 => 0,
        _ => 1,
    }
}

#[cold]
fn flags_error(packet: PacketType, flags: u8, version: ProtocolVersion) -> DecodeError {
    match packet {
        PacketType::Auth if version < ProtocolVersion::V5 => DecodeError::PacketType(packet as u8),
        PacketType::Publish if flags & 0b0110 == 0b0110 => DecodeError::PublishQos,
        PacketType::Publish => DecodeError::DupWithoutQos,
        _ => DecodeError::Flags { packet, flags },
    }
}
