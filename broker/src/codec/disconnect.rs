//! DISCONNECT [MQTT 3.1.1: 3.14, MQTT 5: 3.14] and AUTH [MQTT 5: 3.15].

use super::error::{DecodeError, EncodeError};
use super::properties::{Block, Properties};
use super::property::Property;
use super::reader::Reader;
use super::reason::ReasonCode;
use super::user::UserProperties;
use super::writer::FixedHeaderBytes;
use super::{PacketType, ProtocolVersion};

/// The DISCONNECT of a client that leaves in order, in every version. In MQTT 3 there is no other, and only clients send it.
pub const DISCONNECT: [u8; 2] = [PacketType::Disconnect.first_byte(), 0];

/// A DISCONNECT. Who sends it decides what it may carry: a server never a session expiry [MQTT5-3.14.2-2], a client never a
/// server reference, and each only some of the reasons. That is the receiver's to check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Disconnect<'a> {
    /// Why; in MQTT 3 always success.
    pub reason: ReasonCode,
    /// The client's new wish of how many seconds its session shall last.
    pub session_expiry: Option<u32>,
    /// The reason in words for people.
    pub reason_string: Option<&'a str>,
    /// The user properties.
    pub user: UserProperties<'a>,
    /// Which server to use instead.
    pub server_reference: Option<&'a str>,
}

impl<'a> Disconnect<'a> {
    /// With this reason and no properties.
    #[must_use]
    pub fn new(reason: ReasonCode) -> Self {
        Self { reason, ..Self::default() }
    }

    pub(super) fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        if reader.is_empty() {
            return Ok(Self::default());
        }
        let reason = ReasonCode::read(reader)?; // MQTT5-3.14.2-1
        let properties = Properties::read_unless_at_end(reader)?;
        let Properties { session_expiry, reason_string, user, server_reference, .. } = properties;
        Ok(Self { reason, session_expiry, reason_string, user, server_reference })
    }

    /// Appends the packet in its shortest form.
    ///
    /// # Errors
    /// A field or the packet is too long; nothing was appended.
    pub fn encode(&self, out: &mut Vec<u8>, version: ProtocolVersion) -> Result<(), EncodeError> {
        let mut block = Block::new(version);
        block.u32(Property::SessionExpiryInterval, self.session_expiry);
        block.string(Property::ReasonString, self.reason_string)?;
        block.user(&self.user)?;
        block.string(Property::ServerReference, self.server_reference)?;
        if version < ProtocolVersion::V5 || self.reason == ReasonCode::Success && block.is_empty() {
            out.extend_from_slice(&DISCONNECT);
            return Ok(());
        }
        let properties = if block.is_empty() { 0 } else { block.len() };
        let header = FixedHeaderBytes::new(PacketType::Disconnect.first_byte(), 1 + properties)?;
        out.extend_from_slice(header.as_slice());
        out.push(self.reason.as_u8());
        if !block.is_empty() {
            block.push_to(out);
        }
        Ok(())
    }
}

/// An AUTH, which MQTT 5 alone has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Auth<'a> {
    /// Success, or that there is more to come, or that it begins once more.
    pub reason: ReasonCode,
    /// The authentication method. It is missing only in the short form, which says success and nothing else.
    pub method: Option<&'a str>,
    /// What the method has to tell.
    pub data: Option<&'a [u8]>,
    /// The reason in words for people.
    pub reason_string: Option<&'a str>,
    /// The user properties.
    pub user: UserProperties<'a>,
}

impl<'a> Auth<'a> {
    pub(super) fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        if reader.is_empty() {
            return Ok(Self::default());
        }
        let reason = ReasonCode::read(reader)?; // MQTT5-3.15.2-1
        let properties = Properties::read(reader)?;
        let Properties { authentication_method: method, authentication_data: data, .. } = properties;
        let Properties { reason_string, user, .. } = properties;
        if method.is_none() && !(reason == ReasonCode::Success && reason_string.is_none() && user.is_empty())
        {
            return Err(DecodeError::NoAuthenticationMethod);
        }
        Ok(Self { reason, method, data, reason_string, user })
    }

    /// Appends the packet.
    ///
    /// # Errors
    /// A field or the packet is too long; nothing was appended.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let mut block = Block::new(ProtocolVersion::V5);
        block.string(Property::AuthenticationMethod, self.method)?;
        block.binary(Property::AuthenticationData, self.data)?;
        block.string(Property::ReasonString, self.reason_string)?;
        block.user(&self.user)?;
        let short = self.reason == ReasonCode::Success && block.is_empty();
        let remaining = if short { 0 } else { 1 + block.len() };
        let header = FixedHeaderBytes::new(PacketType::Auth.first_byte(), remaining)?;
        out.extend_from_slice(header.as_slice());
        if !short {
            out.push(self.reason.as_u8());
            block.push_to(out);
        }
        Ok(())
    }
}
