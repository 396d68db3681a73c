//! SUBSCRIBE and UNSUBSCRIBE [MQTT 3.1.1: 3.8, 3.10, MQTT 5: 3.8, 3.10]. Their lists are checked once, when the packet
//! is decoded, and then read again from its bytes one by one: however many filters there are, nothing is
//! allocated.

use std::num::NonZeroU32;

use super::error::{DecodeError, EncodeError};
use super::properties::{self, Block, Properties};
use super::property::Property;
use super::reader::Reader;
use super::user::UserProperties;
use super::writer::{self, VARIABLE_MAX};
use super::{PacketId, PacketType, ProtocolVersion};
use crate::message::QoS;
use crate::topic;

const NO_LOCAL: u8 = 0b0000_0100;
const RETAIN_AS_PUBLISHED: u8 = 0b0000_1000;
const RETAIN_HANDLING_SHIFT: u8 = 4;
const OPTIONS_RESERVED: u8 = 0b1100_0000;

/// Whether retained messages are sent for a new subscription [MQTT 5: 3.8.3.1].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum RetainHandling {
    /// Always [MQTT5-3.3.1-9]. So it is in MQTT 3.
    #[default]
    SendAlways = 0,
    /// If the client did not have this subscription before [MQTT5-3.3.1-10].
    SendIfNew = 1,
    /// Never [MQTT5-3.3.1-11].
    DontSend = 2,
}

impl RetainHandling {
    /// The handling of that number; `None` above 2.
    #[must_use]
    pub const fn from_u8(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::SendAlways,
            1 => Self::SendIfNew,
            2 => Self::DontSend,
            _ => return None,
        })
    }

    /// The number as it stands in the subscription options.
    #[must_use]
    pub const fn as_u8(self) -> u8 {
        self as u8
    }
}

/// One filter of a SUBSCRIBE with its options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscription<'a> {
    /// The topic filter, valid. In MQTT 5 also its share prefix, if it has one.
    pub filter: &'a str,
    /// The greatest QoS that the client wants messages with.
    pub qos: QoS,
    /// Whether the client does not want its own messages; never on a shared subscription [MQTT5-3.8.3-4].
    pub no_local: bool,
    /// Whether RETAIN is forwarded as it was published [MQTT5-3.3.1-13].
    pub retain_as_published: bool,
    /// Whether retained messages are sent.
    pub retain_handling: RetainHandling,
}

impl<'a> Subscription<'a> {
    /// A subscription without the options that only MQTT 5 has.
    #[must_use]
    pub fn new(filter: &'a str, qos: QoS) -> Self {
        Self {
            filter,
            qos,
            no_local: false,
            retain_as_published: false,
            retain_handling: RetainHandling::SendAlways,
        }
    }

    /// Takes the options apart as far as they are valid. MQTT 3 has but the QoS there.
    fn with_options(filter: &'a str, options: u8) -> Option<Self> {
        Some(Self {
            filter,
            qos: QoS::from_u8(options & 0b11)?,
            no_local: options & NO_LOCAL != 0,
            retain_as_published: options & RETAIN_AS_PUBLISHED != 0,
            retain_handling: RetainHandling::from_u8(options >> RETAIN_HANDLING_SHIFT & 0b11)?,
        })
    }

    fn options(&self, version: ProtocolVersion) -> u8 {
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        match version {
            ProtocolVersion::V5 => {
                self.qos.as_u8()
                    | flag(self.no_local, NO_LOCAL)
                    | flag(self.retain_as_published, RETAIN_AS_PUBLISHED)
                    | self.retain_handling.as_u8() << RETAIN_HANDLING_SHIFT
            }
            _ => self.qos.as_u8(),
        }
    }
}

/// A SUBSCRIBE: at least one filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscribe<'a> {
    /// The packet identifier.
    pub packet_id: PacketId,
    /// The identifier of all these subscriptions; at most [`VARIABLE_MAX`].
    pub identifier: Option<NonZeroU32>,
    /// The user properties.
    pub user: UserProperties<'a>,
    list: List<'a>,
}

impl<'a> Subscribe<'a> {
    pub(super) fn decode(reader: &mut Reader<'a>, version: ProtocolVersion) -> Result<Self, DecodeError> {
        let packet_id = reader.packet_id()?;
        let properties = match version {
            ProtocolVersion::V5 => Properties::read(reader)?,
            _ => Properties::default(),
        };
        let list = List::check(reader, PacketType::Subscribe, |reader| check_subscription(reader, version))?;
        let Properties { subscription_identifier: identifier, user, .. } = properties;
        Ok(Self { packet_id, identifier, user, list })
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
    /// The user properties.
    pub user: UserProperties<'a>,
    list: List<'a>,
}

impl<'a> Unsubscribe<'a> {
    pub(super) fn decode(reader: &mut Reader<'a>, version: ProtocolVersion) -> Result<Self, DecodeError> {
        let packet_id = reader.packet_id()?;
        let Properties { user, .. } = match version {
            ProtocolVersion::V5 => Properties::read(reader)?,
            _ => Properties::default(),
        };
        let list =
            List::check(reader, PacketType::Unsubscribe, |reader| check_filter(reader, version).map(drop))?;
        Ok(Self { packet_id, user, list })
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

/// Reads a filter; answers whether it is shared. MQTT 3 has no shared subscriptions: what they look like is not checked there.
fn check_filter(reader: &mut Reader<'_>, version: ProtocolVersion) -> Result<bool, DecodeError> {
    let filter = reader.utf8()?;
    let shared = match version {
        ProtocolVersion::V5 => topic::share(filter).map(|share| share.is_some()), // MQTT5-4.8.2-1, 4.8.2-2
        _ => topic::check_filter(filter).map(|()| false),
    };
    shared.map_err(|error| DecodeError::Filter { packet: reader.packet(), error })
}

fn check_subscription(reader: &mut Reader<'_>, version: ProtocolVersion) -> Result<(), DecodeError> {
    let shared = check_filter(reader, version)?;
    let options = reader.u8()?;
    if version < ProtocolVersion::V5 {
        return QoS::from_u8(options).map(drop).ok_or(DecodeError::RequestedQos(options)); // MQTT-3-8.3-4
    }
    if options & OPTIONS_RESERVED != 0 {
        return Err(DecodeError::SubscriptionOptions(options)); // MQTT5-3.8.3-5
    }
    if QoS::from_u8(options & 0b11).is_none() {
        return Err(DecodeError::RequestedQos(options & 0b11));
    }
    if RetainHandling::from_u8(options >> RETAIN_HANDLING_SHIFT).is_none() {
        return Err(DecodeError::RetainHandling);
    }
    if shared && options & NO_LOCAL != 0 {
        return Err(DecodeError::NoLocalShared); // MQTT5-3.8.3-4
    }
    Ok(())
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
        Subscription::with_options(filter, self.reader.u8().ok()?)
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

/// Appends a SUBSCRIBE.
///
/// # Errors
/// A filter or the packet is too long, or the identifier more than [`VARIABLE_MAX`]; nothing was appended.
pub fn subscribe<'a>(
    out: &mut Vec<u8>,
    id: PacketId,
    identifier: Option<NonZeroU32>,
    user: UserProperties<'_>,
    subscriptions: impl Iterator<Item = Subscription<'a>> + Clone,
    version: ProtocolVersion,
) -> Result<(), EncodeError> {
    let mut block = Block::new(version);
    if let Some(identifier) = identifier.map(NonZeroU32::get) {
        if identifier as usize > VARIABLE_MAX {
            return Err(EncodeError::SubscriptionIdentifier(identifier));
        }
        block.raw(|bytes| {
            bytes.push(Property::SubscriptionIdentifier as u8);
            writer::push_variable(bytes, identifier as usize);
        });
    }
    block.user(&user)?;
    let mut size = 0;
    for Subscription { filter, .. } in subscriptions.clone() {
        size += 2 + usize::from(writer::field_len(filter.as_bytes())?) + 1;
    }
    properties::push_head(out, PacketType::Subscribe, id, &block, size)?;
    for subscription in subscriptions {
        let filter = subscription.filter.as_bytes();
        writer::push_field(out, writer::field_len(filter)?, filter);
        out.push(subscription.options(version));
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
    user: UserProperties<'_>,
    filters: impl Iterator<Item = &'a str> + Clone,
    version: ProtocolVersion,
) -> Result<(), EncodeError> {
    let mut block = Block::new(version);
    block.user(&user)?;
    let mut size = 0;
    for filter in filters.clone() {
        size += 2 + usize::from(writer::field_len(filter.as_bytes())?);
    }
    properties::push_head(out, PacketType::Unsubscribe, id, &block, size)?;
    for filter in filters {
        writer::push_field(out, writer::field_len(filter.as_bytes())?, filter.as_bytes());
    }
    Ok(())
}
