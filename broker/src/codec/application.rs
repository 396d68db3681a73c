//! The properties of PUBLISH and of wills [MQTT 5: 3.3.2.3, 3.1.3.2]: those that travel with the message, unchanged and
//! in their order [MQTT5-3.3.2-17, 3.3.2-18], and those that are for the receiver alone.
//!
//! A block is read through once, without an allocation; what is kept of it are positions.

use std::fmt;
use std::num::NonZeroU16;

use super::EncodeError;
use super::error::DecodeError;
use super::property::{Items, Place, Property, Seen};
use super::reader::Reader;
use super::user::UserProperties;
use super::writer::{self, VARIABLE_MAX};
use crate::topic;

/// What travels with a message from its publisher to every subscriber: payload format indicator, content type,
/// response topic, correlation data and user properties, in the order received.
#[derive(Clone, Copy, Default)]
pub struct ApplicationProperties<'a> {
    /// From the first of them to the last; valid.
    span: &'a [u8],
    /// How many bytes of `span` are theirs. The others are properties for the receiver alone.
    len: usize,
}

impl<'a> ApplicationProperties<'a> {
    /// Takes up a block that holds nothing else.
    ///
    /// # Errors
    /// It holds something else, or breaks a rule.
    pub fn from_block(block: &'a [u8]) -> Result<Self, DecodeError> {
        MessageProperties::read_block(block, Place::APPLICATION).map(|properties| properties.application)
    }

    /// Takes up a block that [`from_block`](Self::from_block) has accepted or [`append_to`](Self::append_to) has
    /// written, without looking at it. Of any other block, what it yields is arbitrary.
    #[must_use]
    #[inline]
    pub const fn from_valid_block(block: &'a [u8]) -> Self {
        Self { span: block, len: block.len() }
    }

    /// The properties as they travel, if they lie side by side in the packet that they came with.
    #[must_use]
    #[inline]
    pub fn as_block(&self) -> Option<&'a [u8]> {
        (self.len == self.span.len()).then_some(self.span)
    }

    /// Appends them as they travel, and nothing else.
    #[inline]
    pub fn append_to(&self, out: &mut Vec<u8>) {
        match self.as_block() {
            Some(block) => out.extend_from_slice(block),
            None => self.slices().for_each(|bytes| out.extend_from_slice(bytes)),
        }
    }

    /// The same without those user properties whose names `keep` does not want.
    pub fn append_filtered(&self, out: &mut Vec<u8>, keep: impl Fn(&str) -> bool) {
        let items = Items(self.span).filter(|item| item.property.is_of_application());
        for item in items {
            if UserProperties::Encoded(item.bytes).iter().all(|(name, _)| keep(name)) {
                out.extend_from_slice(item.bytes);
            }
        }
    }

    /// How many bytes [`append_to`](Self::append_to) appends.
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Are there none?
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Does the publisher say that the payload is UTF-8 text?
    #[must_use]
    pub fn payload_is_utf8(&self) -> bool {
        self.find(Property::PayloadFormatIndicator).is_some_and(|item| item.value() == [1])
    }

    /// What the payload is, in words that publisher and subscriber agree on.
    #[must_use]
    pub fn content_type(&self) -> Option<&'a str> {
        self.find(Property::ContentType).map(|item| item.text())
    }

    /// Where an answer is awaited: a valid topic name.
    #[must_use]
    pub fn response_topic(&self) -> Option<&'a str> {
        self.find(Property::ResponseTopic).map(|item| item.text())
    }

    /// What the answer shall bring along.
    #[must_use]
    pub fn correlation_data(&self) -> Option<&'a [u8]> {
        self.find(Property::CorrelationData).map(|item| item.field())
    }

    /// The user properties.
    #[must_use]
    pub fn user(&self) -> UserProperties<'a> {
        UserProperties::Encoded(self.span)
    }

    fn find(&self, property: Property) -> Option<super::property::Item<'a>> {
        Items(self.span).find(|item| item.property == property)
    }

    /// Each of them as it travels.
    fn slices(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        Items(self.span).filter(|item| item.property.is_of_application()).map(|item| item.bytes)
    }
}

/// By what travels.
impl PartialEq for ApplicationProperties<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.slices().eq(other.slices())
    }
}

impl Eq for ApplicationProperties<'_> {}

impl fmt::Debug for ApplicationProperties<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = Vec::new();
        self.append_to(&mut bytes);
        write!(f, "ApplicationProperties({})", bytes.escape_ascii())
    }
}

/// The identifiers of the subscriptions that a message is sent for [MQTT 5: 3.3.2.3.8], each from 1 to
/// [`VARIABLE_MAX`].
#[derive(Clone, Copy)]
pub enum SubscriptionIdentifiers<'a> {
    /// A block of valid properties as it was received. Those of other kinds are skipped.
    Encoded(&'a [u8]),
    /// The numbers.
    List(&'a [u32]),
}

impl<'a> SubscriptionIdentifiers<'a> {
    /// The identifiers, in order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + Clone + use<'a> {
        let (block, list) = match *self {
            Self::Encoded(block) => (block, &[][..]),
            Self::List(list) => (&[][..], list),
        };
        Items(block)
            .filter(|item| item.property == Property::SubscriptionIdentifier)
            .filter_map(|item| writer::read_variable(item.value()))
            .map(|(number, _)| number)
            .chain(list.iter().copied())
    }

    /// Are there none?
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Encoded(block) => block.is_empty() || self.iter().next().is_none(),
            Self::List(list) => list.is_empty(),
        }
    }

    /// The size as properties.
    #[inline]
    pub(super) fn encoded_len(&self) -> usize {
        if let Self::Encoded([]) = self {
            return 0;
        }
        self.iter().map(|number| 1 + writer::variable_len(number as usize)).sum()
    }

    pub(super) fn check(&self) -> Result<(), EncodeError> {
        match self.iter().find(|number| *number == 0 || *number as usize > VARIABLE_MAX) {
            Some(number) => Err(EncodeError::SubscriptionIdentifier(number)),
            None => Ok(()),
        }
    }

    /// Appends them as properties; [`check`](Self::check) has been asked.
    pub(super) fn append_to(&self, out: &mut Vec<u8>) {
        for number in self.iter() {
            out.push(Property::SubscriptionIdentifier as u8);
            writer::push_variable(out, number as usize);
        }
    }
}

impl Default for SubscriptionIdentifiers<'_> {
    fn default() -> Self {
        Self::Encoded(&[])
    }
}

/// By content: how they are held makes no difference.
impl PartialEq for SubscriptionIdentifiers<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for SubscriptionIdentifiers<'_> {}

impl fmt::Debug for SubscriptionIdentifiers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// All that a PUBLISH or a will can have.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct MessageProperties<'a> {
    pub(super) will_delay: u32,
    pub(super) topic_alias: Option<NonZeroU16>,
    pub(super) message_expiry: Option<u32>,
    pub(super) subscription_identifiers: SubscriptionIdentifiers<'a>,
    pub(super) application: ApplicationProperties<'a>,
}

impl<'a> MessageProperties<'a> {
    pub(super) fn read(reader: &mut Reader<'a>, place: Place) -> Result<Self, DecodeError> {
        Self::read_block(reader.property_block()?, place)
    }

    fn read_block(block: &'a [u8], place: Place) -> Result<Self, DecodeError> {
        let packet = place.packet;
        let mut reader = Reader::new(packet, block);
        let mut seen = Seen::default();
        let mut properties = Self::default();
        let mut application = Span::default();
        let mut identifiers = Span::default();
        while !reader.is_empty() {
            let start = block.len() - reader.len();
            let property = seen.admit(reader.u8()?, place)?;
            match property {
                Property::PayloadFormatIndicator => drop(reader.flag(property)?),
                Property::ContentType => drop(reader.string()?),
                Property::ResponseTopic => {
                    let topic = reader.utf8()?; // MQTT5-3.3.2-13, 3.3.2-14
                    topic::check_name(topic).map_err(|error| DecodeError::ResponseTopic { packet, error })?;
                }
                Property::CorrelationData => drop(reader.binary()?),
                Property::UserProperty => {
                    reader.string()?;
                    reader.string()?;
                }
                Property::MessageExpiryInterval => properties.message_expiry = Some(reader.u32()?),
                Property::TopicAlias => {
                    properties.topic_alias = NonZeroU16::new(reader.above_zero(property)?);
                }
                Property::WillDelayInterval => properties.will_delay = reader.u32()?,
                Property::SubscriptionIdentifier => {
                    reader.subscription_identifier()?;
                    identifiers.add(start, block.len() - reader.len());
                }
                _ => return Err(DecodeError::PropertyNotAllowed { packet, property }),
            }
            if property.is_of_application() {
                application.add(start, block.len() - reader.len());
            }
        }
        properties.subscription_identifiers = SubscriptionIdentifiers::Encoded(identifiers.of(block));
        properties.application = ApplicationProperties { span: application.of(block), len: application.len };
        Ok(properties)
    }
}

/// Where in a block properties of one sort lie.
#[derive(Clone, Copy, Debug, Default)]
struct Span {
    start: usize,
    end: usize,
    /// Without the gaps.
    len: usize,
}

impl Span {
    #[inline]
    fn add(&mut self, start: usize, end: usize) {
        if self.len == 0 {
            self.start = start;
        }
        self.end = end;
        self.len += end - start;
    }

    #[inline]
    fn of<'a>(&self, block: &'a [u8]) -> &'a [u8] {
        block.get(self.start..self.end).unwrap_or_default()
    }
}
