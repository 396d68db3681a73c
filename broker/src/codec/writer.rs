//! Writes fixed headers, length-prefixed fields and variable byte integers (and reads these last).

use super::EncodeError;

/// The largest remaining length: four bytes of seven bits [MQTT 3.1.1: 2.2.3].
pub const REMAINING_LENGTH_MAX: usize = 268_435_455;

/// The largest variable byte integer [MQTT 5: 1.5.5].
pub const VARIABLE_MAX: usize = REMAINING_LENGTH_MAX;

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
        if remaining < 0x80 {
            return Ok(Self { bytes: [first, remaining as u8, 0, 0, 0], len: 2 });
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

/// The size of a variable byte integer.
#[inline]
pub(super) fn variable_len(number: usize) -> usize {
    fixed_header_len(number) - 1
}

/// Appends a variable byte integer of at most [`VARIABLE_MAX`].
#[inline]
pub(super) fn push_variable(out: &mut Vec<u8>, number: usize) {
    let mut left = number;
    while left >= 0x80 {
        out.push((left & 0x7f) as u8 | 0x80);
        left >>= 7;
    }
    out.push(left as u8);
}

/// The variable byte integer at the beginning of `bytes`, and its size. None if it is cut, has more than four bytes,
/// or more than it needs [MQTT5-1.5.5-1].
#[inline]
pub(super) fn read_variable(bytes: &[u8]) -> Option<(u32, usize)> {
    let mut number = 0;
    for (index, byte) in bytes.iter().take(4).enumerate() {
        number |= u32::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return (*byte != 0 || index == 0).then_some((number, index + 1));
        }
    }
    None
}
