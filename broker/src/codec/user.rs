//! User properties [MQTT 5: 2.2.2.2]: pairs of strings that any packet but PINGREQ and PINGRESP can carry. Order and
//! repetitions mean something to their users, so both are kept.

use std::fmt;

use super::EncodeError;
use super::property::{Items, Property};
use super::writer;

/// User properties, in their order.
#[derive(Clone, Copy)]
pub enum UserProperties<'a> {
    /// A block of valid properties as it was received. Those of other kinds are skipped.
    Encoded(&'a [u8]),
    /// Pairs of name and value.
    Pairs(&'a [(&'a str, &'a str)]),
}

impl<'a> UserProperties<'a> {
    /// Names and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a str)> + Clone + use<'a> {
        let (block, pairs) = match *self {
            Self::Encoded(block) => (block, &[][..]),
            Self::Pairs(pairs) => (&[][..], pairs),
        };
        Items(block)
            .filter(|item| item.property == Property::UserProperty)
            .filter_map(|item| split_pair(item.value()))
            .chain(pairs.iter().copied())
    }

    /// Are there none?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// Appends them as properties.
    pub(super) fn append_to(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        for (name, value) in self.iter() {
            let lengths = [writer::field_len(name.as_bytes())?, writer::field_len(value.as_bytes())?];
            out.push(Property::UserProperty as u8);
            writer::push_field(out, lengths[0], name.as_bytes());
            writer::push_field(out, lengths[1], value.as_bytes());
        }
        Ok(())
    }
}

fn split_pair(value: &[u8]) -> Option<(&str, &str)> {
    let (name, rest) = split_text(value)?;
    let (value, _) = split_text(rest)?;
    Some((name, value))
}

fn split_text(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (&len, rest) = bytes.split_first_chunk()?;
    let (text, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(len)))?;
    Some((std::str::from_utf8(text).ok()?, rest))
}

impl Default for UserProperties<'_> {
    fn default() -> Self {
        Self::Encoded(&[])
    }
}

/// By content: how they are held makes no difference.
impl PartialEq for UserProperties<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for UserProperties<'_> {}

impl fmt::Debug for UserProperties<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
