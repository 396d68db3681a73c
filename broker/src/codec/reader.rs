//! Reads the fields of one packet, never beyond its end.

use super::error::DecodeError;
use super::{PacketId, PacketType};

/// What is left of a packet behind its fixed header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    /// Whose fields these are, for the errors.
    packet: PacketType,
}

impl<'a> Reader<'a> {
    #[inline]
    pub(super) fn new(packet: PacketType, body: &'a [u8]) -> Self {
        Self { rest: body, packet }
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    #[inline]
    pub(super) fn u8(&mut self) -> Result<u8, DecodeError> {
        let (&byte, rest) = self.rest.split_first().ok_or(DecodeError::Truncated(self.packet))?;
        self.rest = rest;
        Ok(byte)
    }

    #[inline]
    pub(super) fn u16(&mut self) -> Result<u16, DecodeError> {
        let (&bytes, rest) = self.rest.split_first_chunk().ok_or(DecodeError::Truncated(self.packet))?;
        self.rest = rest;
        Ok(u16::from_be_bytes(bytes))
    }

    /// A packet identifier, which is never 0 [MQTT-2.3.1-1].
    #[inline]
    pub(super) fn packet_id(&mut self) -> Result<PacketId, DecodeError> {
        PacketId::new(self.u16()?).ok_or(DecodeError::PacketIdZero(self.packet))
    }

    /// Binary data behind its length in two bytes.
    #[inline]
    pub(super) fn binary(&mut self) -> Result<&'a [u8], DecodeError> {
        let len = usize::from(self.u16()?);
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or(DecodeError::Truncated(self.packet))?;
        self.rest = rest;
        Ok(bytes)
    }

    /// A string whose characters the caller still has to look at for U+0000.
    #[inline]
    pub(super) fn utf8(&mut self) -> Result<&'a str, DecodeError> {
        // Refuses surrogates too [MQTT-1.5.3-1], and leaves U+FEFF where it stands [MQTT-1.5.3-3].
        std::str::from_utf8(self.binary()?).map_err(|_| DecodeError::Utf8(self.packet))
    }

    /// A string without U+0000 [MQTT-1.5.3-2]. Other control characters and non-characters are let through, as the
    /// standard leaves to the server.
    pub(super) fn string(&mut self) -> Result<&'a str, DecodeError> {
        let string = self.utf8()?;
        if string.contains('\0') { Err(DecodeError::Nul(self.packet)) } else { Ok(string) }
    }

    /// Everything that is left.
    #[inline]
    pub(super) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// Nothing may be left.
    #[inline]
    pub(super) fn end(&self) -> Result<(), DecodeError> {
        if self.rest.is_empty() { Ok(()) } else { Err(DecodeError::Trailing(self.packet)) }
    }
}
