//! Writes fixed headers and length-prefixed fields.

use super::EncodeError;

/// The largest remaining length: four bytes of seven bits [MQTT 3.1.1: 2.2.3].
pub const REMAINING_LENGTH_MAX: usize = 268_435_455;

/// A fixed header on the stack: the first byte and the remaining length.
#[derive(Clone, Copy, Debug)]
pub(super) struct FixedHeaderBytes {
    bytes: [u8; 5],
    len: usize,
}

impl FixedHeaderBytes {
    #[inline]
    pub(super) fn new(first: u8, remaining: usize) -> Result<Self, EncodeError> {
        if remaining > REMAINING_LENGTH_MAX {
            return Err(EncodeError::PacketTooLong(remaining));
        }
        let mut bytes = [first, 0, 0, 0, 0];
        let mut left = remaining;
        let mut len = 1;
        for byte in &mut bytes[1..] {
            *byte = (left & 0x7f) as u8;
            left >>= 7;
            len += 1;
            if left == 0 {
                break;
            }
            *byte |= 0x80;
        }
        Ok(Self { bytes, len })
    }

    #[inline]
    pub(super) fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// The length of a string or binary field as it travels; refuses what two bytes can't tell.
#[inline]
pub(super) fn field_len(field: &[u8]) -> Result<u16, EncodeError> {
    u16::try_from(field.len()).map_err(|_| EncodeError::FieldTooLong(field.len()))
}

/// Appends a field that [`field_len`] has accepted.
#[inline]
pub(super) fn push_field(out: &mut Vec<u8>, len: u16, field: &[u8]) {
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(field);
}

/// The size of a fixed header with this remaining length.
#[inline]
pub(super) fn fixed_header_len(remaining: usize) -> usize {
    match remaining {
        0..0x80 => 2,
        0x80..0x4000 => 3,
        0x4000..0x20_0000 => 4,
        _ => 5,
    }
}
