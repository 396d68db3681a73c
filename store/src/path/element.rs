//! One element of a path, and its part of the byte form.
//!
//! A tag byte says the type, then comes the content, delimited so that no element's bytes begin another's:
//!
//! - null, false, true: the tag alone;
//! - integers: the tag tells sign and length, then the magnitude, big-endian and without leading zeros, complemented
//!   if negative; from 2^64 on, a tag of its own and the length in one byte come first;
//! - floats: the IEEE bits, big-endian, the sign bit flipped (all bits if negative);
//! - strings and byte strings: the bytes (0 as `1 1`, 1 as `1 2`), then 0;
//! - lists: the elements, then 0.

use std::borrow::Cow;

use super::{MAX_INTEGER_BYTES, MAX_LIST_DEPTH, PathError};

/// One element of a path.
#[derive(Clone, Debug)]
pub enum Element<'a> {
    /// Null. As a first element it marks internal data.
    Null,
    /// A boolean.
    Bool(bool),
    /// An integer from -2^63 up to 2^64 - 1. (Others are refused where a path is made.)
    Int(i128),
    /// An integer of 2^64 or more: its magnitude, big-endian, without leading zeros.
    Big(Cow<'a, [u8]>),
    /// A float; `-0.0` counts as `0.0` and all NaN as one.
    Float(f64),
    /// A byte string.
    Bytes(Cow<'a, [u8]>),
    /// A string.
    Str(Cow<'a, str>),
    /// A list of elements.
    List(Vec<Self>),
}

impl<'a> Element<'a> {
    /// A string element.
    pub fn str(text: &'a str) -> Self {
        Element::Str(Cow::Borrowed(text))
    }

    /// An element that borrows nothing.
    pub fn into_owned(self) -> Element<'static> {
        match self {
            Element::Null => Element::Null,
            Element::Bool(it) => Element::Bool(it),
            Element::Int(it) => Element::Int(it),
            Element::Big(it) => Element::Big(it.into_owned().into()),
            Element::Float(it) => Element::Float(it),
            Element::Bytes(it) => Element::Bytes(it.into_owned().into()),
            Element::Str(it) => Element::Str(it.into_owned().into()),
            Element::List(it) => Element::List(it.into_iter().map(Element::into_owned).collect()),
        }
    }
}

/// Same type and same value; floats by their canonical form.
impl PartialEq for Element<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Element::Null, Element::Null) => true,
            (Element::Bool(a), Element::Bool(b)) => a == b,
            (Element::Int(a), Element::Int(b)) => a == b,
            (Element::Big(a), Element::Big(b)) | (Element::Bytes(a), Element::Bytes(b)) => a == b,
            (Element::Float(a), Element::Float(b)) => float_bits(*a) == float_bits(*b),
            (Element::Str(a), Element::Str(b)) => a == b,
            (Element::List(a), Element::List(b)) => a == b,
            _ => false,
        }
    }
}

impl Eq for Element<'_> {}

/// The first byte of each type. Their order is the order of types; all lie between the escape byte 1 and `AFTER`.
pub(super) mod tag {
    pub(crate) const NULL: u8 = 0x02;
    pub(crate) const FALSE: u8 = 0x03;
    pub(crate) const TRUE: u8 = 0x04;
    /// Zero; negative integers of n bytes are n below, positive ones n above.
    pub(crate) const ZERO: u8 = 0x14;
    pub(crate) const BIG: u8 = 0x1D;
    pub(crate) const FLOAT: u8 = 0x21;
    pub(crate) const BYTES: u8 = 0x30;
    pub(crate) const STR: u8 = 0x31;
    pub(crate) const LIST: u8 = 0x32;

    pub(crate) const INT_MIN: u8 = ZERO - 8;
    pub(crate) const INT_MAX: u8 = ZERO + 8;
}

/// Ends strings, byte strings and lists.
const END: u8 = 0x00;
/// Stands before the bytes 0 and 1 in strings and byte strings.
const ESCAPE: u8 = 0x01;

/// Appends an element that lies in `depth` lists.
pub(super) fn append(out: &mut Vec<u8>, element: &Element<'_>, depth: usize) -> Result<(), PathError> {
    match element {
        Element::Null => out.push(tag::NULL),
        Element::Bool(false) => out.push(tag::FALSE),
        Element::Bool(true) => out.push(tag::TRUE),
        Element::Int(number) => append_int(out, *number)?,
        Element::Big(magnitude) => append_big(out, magnitude)?,
        Element::Float(number) => {
            out.push(tag::FLOAT);
            out.extend_from_slice(&float_bits(*number).to_be_bytes());
        }
        Element::Bytes(bytes) => append_str(out, tag::BYTES, bytes),
        Element::Str(text) => append_str(out, tag::STR, text.as_bytes()),
        Element::List(_) if depth == MAX_LIST_DEPTH => return Err(PathError::ListTooDeep),
        Element::List(items) => {
            out.push(tag::LIST);
            for item in items {
                append(out, item, depth + 1)?;
            }
            out.push(END);
        }
    }
    Ok(())
}

/// Appends a string or byte string.
pub(super) fn append_str(out: &mut Vec<u8>, tag: u8, content: &[u8]) {
    out.reserve(content.len() + 2);
    out.push(tag);
    if content.iter().all(|&byte| byte > ESCAPE) {
        out.extend_from_slice(content);
    } else {
        for &byte in content {
            if byte <= ESCAPE {
                out.extend_from_slice(&[ESCAPE, byte + 1]);
            } else {
                out.push(byte);
            }
        }
    }
    out.push(END);
}

fn append_int(out: &mut Vec<u8>, number: i128) -> Result<(), PathError> {
    let (negative, magnitude) = match (i64::try_from(number), u64::try_from(number)) {
        (_, Ok(magnitude)) => (false, magnitude),
        (Ok(number), _) => (true, number.unsigned_abs()),
        _ => return Err(PathError::IntegerRange),
    };
    let zeros = magnitude.leading_zeros() / 8;
    let len = 8 - zeros as u8;
    out.push(if negative { tag::ZERO - len } else { tag::ZERO + len });
    let shown = if negative { !magnitude } else { magnitude };
    out.extend(shown.to_be_bytes().into_iter().skip(zeros as usize));
    Ok(())
}

fn append_big(out: &mut Vec<u8>, magnitude: &[u8]) -> Result<(), PathError> {
    let len = u8::try_from(magnitude.len()).map_err(|_| PathError::IntegerRange)?;
    if len <= 8 || magnitude.first() == Some(&0) {
        return Err(PathError::IntegerRange);
    }
    out.extend_from_slice(&[tag::BIG, len]);
    out.extend_from_slice(magnitude);
    Ok(())
}

/// The bits of a float such that their order as unsigned numbers is the order of floats.
fn float_bits(number: f64) -> u64 {
    let canonical = if number.is_nan() {
        f64::NAN
    } else if number == 0.0 {
        0.0
    } else {
        number
    };
    // f64::NAN's sign is not promised.
    let bits = if canonical.is_nan() { 0x7FF8_0000_0000_0000 } else { canonical.to_bits() };
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}

fn float_from_bits(bits: u64) -> f64 {
    f64::from_bits(if bits >> 63 == 1 { bits & !(1 << 63) } else { !bits })
}

/// The length of the first element of `bytes`, which are known to be well-formed. `None` at the end.
pub(super) fn len(bytes: &[u8]) -> Option<usize> {
    match *bytes.first()? {
        tag::LIST => list_len(bytes),
        _ => scalar_len(bytes),
    }
}

/// The length of the first element, which is no list. Strings are looked through only as far as their end.
fn scalar_len(bytes: &[u8]) -> Option<usize> {
    let len = match *bytes.first()? {
        tag::NULL | tag::FALSE | tag::TRUE => 1,
        tag @ tag::INT_MIN..=tag::INT_MAX => 1 + usize::from(tag.abs_diff(tag::ZERO)),
        tag::BIG => 2 + usize::from(*bytes.get(1)?),
        tag::FLOAT => 9,
        tag::BYTES | tag::STR => 1 + bytes.iter().position(|&byte| byte == END)?,
        _ => return None,
    };
    (len <= bytes.len()).then_some(len)
}

fn list_len(bytes: &[u8]) -> Option<usize> {
    let (mut at, mut depth) = (0, 0);
    loop {
        match *bytes.get(at)? {
            tag::LIST => {
                depth += 1;
                if depth > MAX_LIST_DEPTH {
                    return None;
                }
                at += 1;
            }
            END => {
                depth -= 1;
                at += 1;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => at += scalar_len(bytes.get(at..)?)?,
        }
    }
}

/// The length of the first element if all of it is well-formed and canonical: for bytes from outside.
pub(super) fn check(bytes: &[u8]) -> Option<usize> {
    let len = len(bytes)?;
    let mut at = 0;
    while at < len {
        match *bytes.get(at)? {
            tag::LIST | END => at += 1,
            _ => {
                let scalar = bytes.get(at..len)?;
                let end = scalar_len(scalar)?;
                check_scalar(scalar.get(..end)?)?;
                at += end;
            }
        }
    }
    Some(len)
}

fn check_scalar(scalar: &[u8]) -> Option<()> {
    let (tag, content) = scalar.split_first()?;
    let good = match *tag {
        tag::BYTES | tag::STR => {
            let content = content.split_last()?.1;
            // The escapes are ASCII, so the escaped text is UTF-8 exactly if the text is.
            escapes_are_good(content) && (*tag == tag::BYTES || std::str::from_utf8(content).is_ok())
        }
        tag::INT_MIN..tag::ZERO => {
            content.first() != Some(&0xFF) && negative_magnitude(content) <= i64::MIN.unsigned_abs()
        }
        tag::ZERO..=tag::INT_MAX => content.first() != Some(&0),
        tag::BIG => content.len() > 9 && content.len() <= 1 + MAX_INTEGER_BYTES && content.get(1) != Some(&0),
        tag::FLOAT => {
            let bits = u64::from_be_bytes(content.try_into().ok()?);
            float_bits(float_from_bits(bits)) == bits
        }
        _ => true,
    };
    good.then_some(())
}

fn escapes_are_good(content: &[u8]) -> bool {
    let mut bytes = content.iter();
    while let Some(&byte) = bytes.next() {
        if byte == ESCAPE && !matches!(bytes.next(), Some(1 | 2)) {
            return false;
        }
    }
    true
}

fn magnitude(content: &[u8]) -> u64 {
    content.iter().fold(0, |number, &byte| number << 8 | u64::from(byte))
}

fn negative_magnitude(content: &[u8]) -> u64 {
    content.iter().fold(0, |number, &byte| number << 8 | u64::from(!byte))
}

/// The first element of `bytes` and its length. `None` at the end (or if the bytes are no path's).
pub(super) fn decode(bytes: &[u8]) -> Option<(Element<'_>, usize)> {
    let len = len(bytes)?;
    let (&tag, content) = bytes.get(..len)?.split_first()?;
    let element = match tag {
        tag::NULL => Element::Null,
        tag::FALSE => Element::Bool(false),
        tag::TRUE => Element::Bool(true),
        tag::INT_MIN..tag::ZERO => Element::Int(-i128::from(negative_magnitude(content))),
        tag::ZERO..=tag::INT_MAX => Element::Int(i128::from(magnitude(content))),
        tag::BIG => Element::Big(Cow::Borrowed(content.get(1..)?)),
        tag::FLOAT => Element::Float(float_from_bits(u64::from_be_bytes(content.try_into().ok()?))),
        tag::BYTES => Element::Bytes(unescape(content.split_last()?.1)),
        tag::STR => Element::Str(match unescape(content.split_last()?.1) {
            Cow::Borrowed(text) => Cow::Borrowed(std::str::from_utf8(text).ok()?),
            Cow::Owned(text) => Cow::Owned(String::from_utf8(text).ok()?),
        }),
        tag::LIST => {
            let mut rest = content.split_last()?.1;
            let mut items = Vec::new();
            while !rest.is_empty() {
                // As deep as `len` has found lists to nest, which is bounded.
                let (item, len) = decode(rest)?;
                items.push(item);
                rest = rest.get(len..)?;
            }
            Element::List(items)
        }
        _ => return None,
    };
    Some((element, len))
}

/// Appends the text of the first element, if it is a string, and answers the element's length.
pub(super) fn push_text(bytes: &[u8], out: &mut String) -> Option<usize> {
    if *bytes.first()? != tag::STR {
        return None;
    }
    let len = scalar_len(bytes)?;
    let content = bytes.get(1..len - 1)?;
    match unescape(content) {
        Cow::Borrowed(text) => out.push_str(std::str::from_utf8(text).ok()?),
        Cow::Owned(text) => out.push_str(std::str::from_utf8(&text).ok()?),
    }
    Some(len)
}

fn unescape(content: &[u8]) -> Cow<'_, [u8]> {
    if !content.contains(&ESCAPE) {
        return Cow::Borrowed(content);
    }
    let mut plain = Vec::with_capacity(content.len());
    let mut bytes = content.iter();
    while let Some(&byte) = bytes.next() {
        plain.push(match byte {
            ESCAPE => bytes.next().map_or(0, |&escaped| escaped.saturating_sub(1)),
            byte => byte,
        });
    }
    Cow::Owned(plain)
}
