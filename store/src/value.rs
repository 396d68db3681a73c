//! Values: exactly one well-formed msgpack object, kept as its encoded bytes and looked into only where somebody asks.
//!
//! Extension type 2 is an unsigned integer of 2^64 or more (its magnitude, big-endian), type 3 a path (its elements, packed
//! one after another). Other extension types are kept as they are.

mod equal;
mod pack;

use bytes::Bytes;
use smallvec::SmallVec;

pub use pack::Packer;

use crate::path::{self, Element, Path, PathBuilder, PathError, PathRef};

/// How deep arrays and maps may nest in a value.
pub const MAX_DEPTH: usize = 64;
/// The extension type of unsigned integers from 2^64 on.
pub const EXT_BIG: i8 = 2;
/// The extension type of paths.
pub const EXT_PATH: i8 = 3;

/// Why some bytes are no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// The bytes end in the middle.
    #[error("the msgpack data ends too early")]
    Truncated,
    /// Something follows the value.
    #[error("{0} bytes follow the msgpack value")]
    Trailing(usize),
    /// The byte 0xC1, which msgpack never uses.
    #[error("byte 0xC1 is not msgpack")]
    Reserved,
    /// A string that is not UTF-8. (Such data belongs into a binary value.)
    #[error("a msgpack string is not UTF-8; send it as binary")]
    NotUtf8,
    /// Arrays and maps nest deeper than [`MAX_DEPTH`].
    #[error("arrays and maps nest at most {MAX_DEPTH} deep")]
    TooDeep,
    /// It should be a path, but is none.
    #[error("not a path: a path is extension 3 or an array, without maps and unknown extensions")]
    NotAPath,
    /// It should be a path, but that path can't be.
    #[error(transparent)]
    Path(#[from] PathError),
}

/// One msgpack value. A clone shares the bytes.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Value(Bytes);

impl Value {
    /// Takes a copy of `bytes`, in an allocation of exact size, if they are one well-formed value.
    pub fn from_msgpack(bytes: &[u8]) -> Result<Self, ValueError> {
        check(bytes)?;
        Ok(Self(Bytes::copy_from_slice(bytes)))
    }

    /// Nil, which is a value: not the same as no value.
    pub fn nil() -> Self {
        Self(Bytes::from_static(&[0xC0]))
    }

    /// A string.
    pub fn string(text: &str) -> Self {
        let mut out = Vec::with_capacity(text.len() + pack::str_header(text.len()));
        Packer(&mut out).str(text);
        Self::packed(out)
    }

    /// A byte string.
    pub fn binary(bytes: &[u8]) -> Self {
        let mut out = Vec::with_capacity(bytes.len() + pack::bin_header(bytes.len()));
        Packer(&mut out).bin(bytes);
        Self::packed(out)
    }

    /// A path, as extension 3.
    pub fn path(path: PathRef<'_>) -> Self {
        let mut out = Vec::new();
        Packer(&mut out).path(path);
        Self::packed(out)
    }

    /// A copy of bytes which are known to be one value.
    pub(crate) fn known(bytes: &[u8]) -> Self {
        debug_assert_eq!(check(bytes), Ok(()));
        Self(Bytes::copy_from_slice(bytes))
    }

    /// What a [`Packer`] has written: one value.
    pub(crate) fn packed(out: Vec<u8>) -> Self {
        debug_assert_eq!(check(&out), Ok(()));
        // A boxed slice has no spare capacity, and Bytes takes it without a second allocation.
        Self(Bytes::from(out.into_boxed_slice()))
    }

    /// The encoded bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The encoded bytes, shared.
    pub fn to_bytes(&self) -> Bytes {
        self.0.clone()
    }

    /// What the value is, and its content if that is a scalar.
    pub fn decode(&self) -> Token<'_> {
        self.tokens().next().unwrap_or(Token::Nil)
    }

    /// The value as a sequence of tokens: a container's head, then what it contains.
    pub fn tokens(&self) -> Tokens<'_> {
        Tokens { rest: &self.0 }
    }

    /// The text, if this is a string.
    pub fn as_str(&self) -> Option<&str> {
        match self.decode() {
            Token::Str(text) => Some(text),
            _ => None,
        }
    }

    /// The content of a string or byte string.
    pub fn as_payload(&self) -> Option<&[u8]> {
        match self.decode() {
            Token::Str(text) => Some(text.as_bytes()),
            Token::Bin(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The content of a string or byte string, shared with this value.
    pub fn payload(&self) -> Option<Bytes> {
        // The content is the end of the encoding.
        let len = self.as_payload()?.len();
        Some(self.0.slice(self.0.len() - len..))
    }

    /// The path, if this is extension 3 or an array.
    pub fn to_path(&self) -> Result<Path, ValueError> {
        let mut builder = PathBuilder::new();
        path_into(&self.0, &mut builder)?;
        Ok(builder.finish())
    }
}

/// Appends to `path` the path that is the value `encoded`: extension 3 or an array. After an error `path` is as it was. Safe on bytes
/// from anywhere.
pub fn path_into(encoded: &[u8], path: &mut PathBuilder) -> Result<(), ValueError> {
    let mut tokens = Tokens { rest: encoded };
    let mut array = false;
    let mut left = match tokens.next() {
        Some(Token::Ext(EXT_PATH, packed)) => {
            check_all(packed)?;
            tokens = Tokens { rest: packed };
            u32::MAX
        }
        Some(Token::Array(count)) => {
            array = true;
            count
        }
        _ => return Err(ValueError::NotAPath),
    };
    let before = path.mark();
    while left > 0
        && let Some(token) = tokens.next()
    {
        left -= 1;
        let pushed = match token {
            // The usual element needs no copy of its own.
            Token::Str(name) => path.push_str(name).map_err(ValueError::from),
            token => element(token, &mut tokens, 0).and_then(|element| Ok(path.push(&element)?)),
        };
        if let Err(error) = pushed {
            path.return_to(before);
            return Err(error);
        }
    }
    if array && left > 0 {
        // An element is cut, or no text.
        path.return_to(before);
        return Err(split(encoded).err().unwrap_or(ValueError::Truncated));
    }
    Ok(())
}

impl std::fmt::Debug for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.tokens()).finish()
    }
}

/// A piece of a value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Token<'a> {
    /// Nil.
    Nil,
    /// A boolean.
    Bool(bool),
    /// An integer which fits.
    Int(i64),
    /// An integer above `i64::MAX`.
    UInt(u64),
    /// A float. (Those of 32 bits are widened.)
    Float(f64),
    /// A string.
    Str(&'a str),
    /// A byte string.
    Bin(&'a [u8]),
    /// An array; that many values follow.
    Array(u32),
    /// A map; that many pairs of key and value follow.
    Map(u32),
    /// An extension: its type and content.
    Ext(i8, &'a [u8]),
}

/// Iterates over the tokens of well-formed values.
#[derive(Clone, Debug)]
pub struct Tokens<'a> {
    rest: &'a [u8],
}

impl<'a> Tokens<'a> {
    /// The tokens of one or more values in `bytes`; ends early where they are not well-formed.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What has not been read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Passes over one whole value and answers its bytes.
    pub fn whole(&mut self) -> Result<&'a [u8], ValueError> {
        let (value, rest) = split(self.rest)?;
        self.rest = rest;
        Ok(value)
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        let (token, rest) = token(self.rest).ok()?;
        self.rest = rest;
        Some(token)
    }
}

/// Checks that `bytes` are exactly one value.
fn check(bytes: &[u8]) -> Result<(), ValueError> {
    match split(bytes)?.1 {
        [] => Ok(()),
        rest => Err(ValueError::Trailing(rest.len())),
    }
}

/// Checks that `bytes` are nothing but values.
fn check_all(mut bytes: &[u8]) -> Result<(), ValueError> {
    while !bytes.is_empty() {
        bytes = split(bytes)?.1;
    }
    Ok(())
}

/// Splits the first value off. It checks the whole of it, without recursion and without allocating for what a count promises.
fn split(bytes: &[u8]) -> Result<(&[u8], &[u8]), ValueError> {
    // How many values are still to come, per open container.
    let mut open: SmallVec<[u64; 8]> = SmallVec::new();
    let mut rest = bytes;
    loop {
        let (found, behind) = token(rest)?;
        rest = behind;
        let inside = match found {
            Token::Array(count) => u64::from(count),
            Token::Map(count) => u64::from(count) * 2,
            _ => 0,
        };
        if inside > 0 {
            if open.len() == MAX_DEPTH {
                return Err(ValueError::TooDeep);
            }
            open.push(inside);
            continue;
        }
        while let Some(count) = open.last_mut() {
            *count -= 1;
            if *count > 0 {
                break;
            }
            open.pop();
        }
        if open.is_empty() {
            return bytes.split_at_checked(bytes.len() - rest.len()).ok_or(ValueError::Truncated);
        }
    }
}

fn take(bytes: &[u8], len: usize) -> Result<(&[u8], &[u8]), ValueError> {
    bytes.split_at_checked(len).ok_or(ValueError::Truncated)
}

/// A big-endian number of `len` bytes, at most 8.
fn number(bytes: &[u8], len: usize) -> Result<(u64, &[u8]), ValueError> {
    let (digits, rest) = take(bytes, len)?;
    Ok((digits.iter().fold(0, |number, &digit| number << 8 | u64::from(digit)), rest))
}

fn counted(bytes: &[u8], len_bytes: usize) -> Result<(&[u8], &[u8]), ValueError> {
    let (len, rest) = number(bytes, len_bytes)?;
    take(rest, usize::try_from(len).map_err(|_| ValueError::Truncated)?)
}

/// A token's content and what follows the token.
type Split<'a> = (&'a [u8], &'a [u8]);

fn text((text, rest): Split<'_>) -> Result<(Token<'_>, &[u8]), ValueError> {
    let text = std::str::from_utf8(text).map_err(|_| ValueError::NotUtf8)?;
    Ok((Token::Str(text), rest))
}

fn ext((content, rest): Split<'_>) -> Result<(Token<'_>, &[u8]), ValueError> {
    let (&kind, content) = content.split_first().ok_or(ValueError::Truncated)?;
    Ok((Token::Ext(kind.cast_signed(), content), rest))
}

fn token(bytes: &[u8]) -> Result<(Token<'_>, &[u8]), ValueError> {
    let (&first, rest) = bytes.split_first().ok_or(ValueError::Truncated)?;
    let signed = |len: usize| {
        number(rest, len).map(|(bits, rest)| {
            let unused = 64 - 8 * len as u32;
            (Token::Int((bits << unused).cast_signed() >> unused), rest)
        })
    };
    match first {
        0x00..=0x7F => Ok((Token::Int(first.into()), rest)),
        0x80..=0x8F => Ok((Token::Map(u32::from(first & 0x0F)), rest)),
        0x90..=0x9F => Ok((Token::Array(u32::from(first & 0x0F)), rest)),
        0xA0..=0xBF => text(take(rest, usize::from(first & 0x1F))?),
        0xC0 => Ok((Token::Nil, rest)),
        0xC1 => Err(ValueError::Reserved),
        0xC2 => Ok((Token::Bool(false), rest)),
        0xC3 => Ok((Token::Bool(true), rest)),
        0xC4..=0xC6 => counted(rest, 1 << (first - 0xC4)).map(|(content, rest)| (Token::Bin(content), rest)),
        0xC7..=0xC9 => {
            let (len, rest) = number(rest, 1 << (first - 0xC7))?;
            ext(take(rest, len as usize + 1)?)
        }
        0xCA => number(rest, 4).map(|(bits, rest)| (Token::Float(f32::from_bits(bits as u32).into()), rest)),
        0xCB => number(rest, 8).map(|(bits, rest)| (Token::Float(f64::from_bits(bits)), rest)),
        0xCC..=0xCF => number(rest, 1 << (first - 0xCC))
            .map(|(number, rest)| (i64::try_from(number).map_or(Token::UInt(number), Token::Int), rest)),
        0xD0..=0xD3 => signed(1 << (first - 0xD0)),
        0xD4..=0xD8 => ext(take(rest, (1 << (first - 0xD4)) + 1)?),
        0xD9..=0xDB => text(counted(rest, 1 << (first - 0xD9))?),
        0xDC..=0xDD => number(rest, 2 << (first - 0xDC)).map(|(len, rest)| (Token::Array(len as u32), rest)),
        0xDE..=0xDF => number(rest, 2 << (first - 0xDE)).map(|(len, rest)| (Token::Map(len as u32), rest)),
        0xE0..=0xFF => Ok((Token::Int(first.cast_signed().into()), rest)),
    }
}

/// The path element which begins with `token` and lies in `depth` lists. Nested paths and arrays are lists.
fn element(token: Token<'_>, tokens: &mut Tokens<'_>, depth: usize) -> Result<Element<'static>, ValueError> {
    Ok(match token {
        Token::Nil => Element::Null,
        Token::Bool(it) => Element::Bool(it),
        Token::Int(it) => Element::Int(it.into()),
        Token::UInt(it) => Element::Int(it.into()),
        Token::Float(it) => Element::Float(it),
        Token::Str(it) => Element::Str(it.to_owned().into()),
        Token::Bin(it) => Element::Bytes(it.to_owned().into()),
        Token::Ext(EXT_BIG, magnitude) => {
            let zeros = magnitude.iter().take_while(|&&digit| digit == 0).count();
            let magnitude = magnitude.get(zeros..).unwrap_or_default();
            match number(magnitude, magnitude.len()) {
                Ok((number, _)) if magnitude.len() <= 8 => Element::Int(number.into()),
                _ => Element::Big(magnitude.to_owned().into()),
            }
        }
        Token::Array(_) | Token::Ext(EXT_PATH, _) if depth == path::MAX_LIST_DEPTH => {
            return Err(PathError::ListTooDeep.into());
        }
        Token::Array(count) => {
            let mut items = Vec::new();
            for _ in 0..count {
                let token = tokens.next().ok_or(ValueError::Truncated)?;
                items.push(element(token, tokens, depth + 1)?);
            }
            Element::List(items)
        }
        Token::Ext(EXT_PATH, packed) => {
            check_all(packed)?;
            let mut tokens = Tokens { rest: packed };
            let mut items = Vec::new();
            while let Some(token) = tokens.next() {
                items.push(element(token, &mut tokens, depth + 1)?);
            }
            Element::List(items)
        }
        Token::Map(_) | Token::Ext(..) => return Err(ValueError::NotAPath),
    })
}

#[cfg(test)]
mod tests;
