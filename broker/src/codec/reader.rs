//! Reads the fields of one packet, never beyond its end.

use std::num::{NonZeroU16, NonZeroU32};

use super::error::DecodeError;
use super::property::Property;
use super::writer;
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

    /// How many bytes are left.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.rest.len()
    }

    /// Whose fields these are.
    #[inline]
    pub(super) fn packet(&self) -> PacketType {
        self.packet
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

    #[inline]
    pub(super) fn u32(&mut self) -> Result<u32, DecodeError> {
        let (&bytes, rest) = self.rest.split_first_chunk().ok_or(DecodeError::Truncated(self.packet))?;
        self.rest = rest;
        Ok(u32::from_be_bytes(bytes))
    }

    /// A variable byte integer, which has no more bytes than it needs [MQTT5-1.5.5-1].
    pub(super) fn variable(&mut self) -> Result<u32, DecodeError> {
        let Some((number, len)) = writer::read_variable(self.rest) else {
            let cut = self.rest.len() < 4 && self.rest.iter().all(|byte| byte & 0x80 != 0);
            return Err(match cut {
                true => DecodeError::Truncated(self.packet),
                false => DecodeError::VariableInteger(self.packet),
            });
        };
        self.rest = self.rest.get(len..).unwrap_or_default();
        Ok(number)
    }

    /// The properties behind their length. Most often there are none.
    #[inline]
    pub(super) fn property_block(&mut self) -> Result<&'a [u8], DecodeError> {
        let len = match self.rest.split_first() {
            Some((&len, rest)) if len < 0x80 => {
                self.rest = rest;
                usize::from(len)
            }
            _ => self.variable()? as usize,
        };
        let (block, rest) = self.rest.split_at_checked(len).ok_or(DecodeError::Truncated(self.packet))?;
        self.rest = rest;
        Ok(block)
    }

    /// Skips an empty block of properties; answers whether there was one.
    #[inline]
    pub(super) fn skip_empty_block(&mut self) -> bool {
        match self.rest.split_first() {
            Some((0, rest)) => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    /// Skips a block of properties that holds a topic alias and nothing else, and answers it.
    #[inline]
    pub(super) fn skip_alias_block(&mut self) -> Option<NonZeroU16> {
        const ALIAS: u8 = Property::TopicAlias as u8;
        let (&[3, ALIAS, high, low], rest) = self.rest.split_first_chunk()? else { return None };
        let alias = NonZeroU16::new(u16::from_be_bytes([high, low]))?;
        self.rest = rest;
        Some(alias)
    }

    /// The value of a property that is 0 or 1.
    pub(super) fn flag(&mut self, property: Property) -> Result<bool, DecodeError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            value => Err(self.property_value(property, value.into())),
        }
    }

    /// The value of a property that is never 0.
    pub(super) fn above_zero(&mut self, property: Property) -> Result<u16, DecodeError> {
        match self.u16()? {
            0 => Err(self.property_value(property, 0)),
            value => Ok(value),
        }
    }

    /// The value of a subscription identifier: never 0.
    pub(super) fn subscription_identifier(&mut self) -> Result<NonZeroU32, DecodeError> {
        let number = self.variable()?;
        NonZeroU32::new(number).ok_or_else(|| self.property_value(Property::SubscriptionIdentifier, number))
    }

    #[cold]
    pub(super) fn property_value(&self, property: Property, value: u32) -> DecodeError {
        DecodeError::PropertyValue { packet: self.packet, property, value }
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
