//! A message looked into: its fields by name, each still encoded.

use distkv_store::path::{PathBuilder, PathError};
use distkv_store::value::{Token, Tokens, Value, ValueError};
use smallvec::SmallVec;

use super::frames::{Frames, value_len};
use super::paths::read_path;
use super::{Link, Seq, read_chain};

/// How many fields a message may have, known and unknown ones.
const FIELDS_MAX: usize = 64;

/// As many fields as most messages have at most.
const FIRST_MAX: u32 = 10;

/// Why a message can't be used. Its end was found, so the next one can.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{fault}")]
pub struct BadMessage {
    /// Its number, if that could be read.
    pub seq: Option<Seq>,
    /// What is wrong.
    pub fault: Fault,
}

/// What is wrong with a message or one of its fields.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It is something else than a map.
    #[error("a message is a map with strings as keys")]
    NotAMap,
    /// It has too many fields.
    #[error("a message has at most {FIELDS_MAX} fields")]
    TooManyFields,
    /// A value in it is not well-formed.
    #[error(transparent)]
    Value(#[from] ValueError),
    /// A field is needed and not there.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// A field is of the wrong type.
    #[error("`{field}` must be {expected}")]
    Type {
        /// Its name.
        field: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// A path that can't be one.
    #[error("`{field}`: {error}")]
    Path {
        /// The field's name.
        field: &'static str,
        /// What is wrong with the path.
        error: PathError,
    },
}

/// The fields of one message. Of several with one name the last counts.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    fields: SmallVec<[(&'a [u8], &'a [u8]); 10]>,
}

impl<'a> Fields<'a> {
    /// Looks into one whole message. Keys that are no strings are passed over. Values are checked when they are
    /// asked for.
    ///
    /// # Errors
    /// With the number of the message, if it stands before the fault.
    pub fn parse(message: &'a [u8]) -> Result<Self, BadMessage> {
        let mut this = Self { fields: SmallVec::new() };
        match this.fill(message) {
            Ok(()) => Ok(this),
            Err(fault) => Err(BadMessage { seq: this.seq(), fault }),
        }
    }

    /// Looks into the message that `bytes` begins with, and answers its length, too: both in one pass. `None` if `frames` must say what is to
    /// be done: it is not all there, or is no message.
    pub fn first(bytes: &'a [u8], frames: &Frames) -> Option<(Self, usize)> {
        if !frames.is_fresh() {
            return None;
        }
        let mut tokens = Tokens::new(bytes);
        let Some(Token::Map(count @ 0..=FIRST_MAX)) = tokens.next() else { return None };
        let mut this = Self { fields: SmallVec::new() };
        let (mut rest, mut containers) = (tokens.rest(), 1);
        for _ in 0..count {
            let (key_len, inside) = value_len(rest)?;
            let (key, behind) = rest.split_at_checked(key_len)?;
            let (value_len, more) = value_len(behind)?;
            let (value, behind) = behind.split_at_checked(value_len)?;
            this.fields.extend(name(key).map(|name| (name, value)));
            containers += inside + more;
            rest = behind;
        }
        let len = bytes.len() - rest.len();
        frames.takes(len, containers).then_some((this, len))
    }

    fn fill(&mut self, message: &'a [u8]) -> Result<(), Fault> {
        let mut tokens = Tokens::new(message);
        let Some(Token::Map(count)) = tokens.next() else { return Err(Fault::NotAMap) };
        if count as usize > FIELDS_MAX {
            return Err(Fault::TooManyFields);
        }
        let mut rest = tokens.rest();
        for _ in 0..count {
            let (key, behind) = split(rest)?;
            let (value, behind) = split(behind)?;
            self.fields.extend(name(key).map(|name| (name, value)));
            rest = behind;
        }
        Ok(())
    }

    /// A field as it was encoded.
    pub fn raw(&self, name: &str) -> Option<&'a [u8]> {
        self.fields.iter().rev().find(|(key, _)| *key == name.as_bytes()).map(|(_, value)| *value)
    }

    /// Whether there is such a field, be it nil.
    pub fn has(&self, name: &str) -> bool {
        self.raw(name).is_some()
    }

    /// A field's first token.
    pub fn token(&self, name: &str) -> Option<Token<'a>> {
        self.raw(name).and_then(|raw| Tokens::new(raw).next())
    }

    fn checked(&self, name: &str) -> Result<Option<Token<'a>>, Fault> {
        // Of a value whose length could be told, only a string can be wrong.
        let token = |raw| Tokens::new(raw).next().ok_or(Fault::Value(ValueError::NotUtf8));
        self.raw(name).map(token).transpose()
    }

    /// The message's number.
    pub fn seq(&self) -> Option<Seq> {
        self.raw("seq").and_then(Seq::read)
    }

    /// A string field; `None` if it is missing or nil.
    pub fn text(&self, name: &'static str) -> Result<Option<&'a str>, Fault> {
        match self.checked(name)? {
            None | Some(Token::Nil) => Ok(None),
            Some(Token::Str(text)) => Ok(Some(text)),
            Some(_) => Err(Fault::Type { field: name, expected: "a string" }),
        }
    }

    /// A string field that must be there.
    pub fn needed_text(&self, name: &'static str) -> Result<&'a str, Fault> {
        self.text(name)?.ok_or(Fault::Missing(name))
    }

    /// A byte string; `None` if it is missing or nil.
    pub fn binary(&self, name: &'static str) -> Result<Option<&'a [u8]>, Fault> {
        match self.checked(name)? {
            None | Some(Token::Nil) => Ok(None),
            Some(Token::Bin(bytes)) => Ok(Some(bytes)),
            Some(_) => Err(Fault::Type { field: name, expected: "a byte string" }),
        }
    }

    /// A number that is not negative; `None` if it is missing or nil.
    pub fn uint(&self, name: &'static str) -> Result<Option<u64>, Fault> {
        match self.checked(name)? {
            None | Some(Token::Nil) => Ok(None),
            Some(Token::Int(number)) if number >= 0 => Ok(Some(number.unsigned_abs())),
            Some(Token::UInt(number)) => Ok(Some(number)),
            Some(_) => Err(Fault::Type { field: name, expected: "a number that is not negative" }),
        }
    }

    /// A switch. Like everything in this protocol that is one, it is on for every value but false, nil, zero and what is empty.
    pub fn flag(&self, name: &str) -> bool {
        self.token(name).is_some_and(truthy)
    }

    /// How many links of a chain are wanted (`nchain`): a number, true for one, -1 for all; `default` if it is not said.
    pub fn chain_length(&self, default: usize) -> Result<usize, Fault> {
        match self.checked("nchain")? {
            None => Ok(default),
            Some(Token::Nil | Token::Bool(false)) => Ok(0),
            Some(Token::Bool(true)) => Ok(1),
            Some(Token::Int(number)) => Ok(usize::try_from(number).unwrap_or(usize::MAX)),
            Some(_) => Err(Fault::Type { field: "nchain", expected: "a number of links, or -1 for all" }),
        }
    }

    /// A depth: `None` for no limit, which nil and -1 say, too.
    pub fn depth(&self, name: &'static str) -> Result<Option<usize>, Fault> {
        match self.checked(name)? {
            None | Some(Token::Nil | Token::UInt(_)) => Ok(None),
            Some(Token::Int(number)) => Ok(usize::try_from(number).ok()),
            Some(_) => Err(Fault::Type { field: name, expected: "a number of levels, or -1 for no limit" }),
        }
    }

    /// Appends the path in a field to `path`, which is as it was after an error.
    pub fn path_into(&self, name: &'static str, path: &mut PathBuilder) -> Result<(), Fault> {
        let raw = self.raw(name).ok_or(Fault::Missing(name))?;
        read_path(raw, path).map_err(|error| match error {
            ValueError::Path(error) => Fault::Path { field: name, error },
            ValueError::NotAPath => {
                Fault::Type { field: name, expected: "a path: extension 3 or an array, without maps" }
            }
            other => Fault::Value(other),
        })
    }

    /// A field as a value of its own.
    pub fn value(&self, name: &'static str) -> Result<Option<Value>, Fault> {
        self.raw(name).map(Value::from_msgpack).transpose().map_err(Fault::Value)
    }

    /// The chain in a field: `None` if it is missing, empty if it is nil.
    pub fn chain(&self, name: &'static str) -> Result<Option<Vec<Link<'a>>>, Fault> {
        self.raw(name).map(|raw| read_chain(raw, name)).transpose()
    }
}

/// The value that `bytes` begins with, and what follows it.
#[inline]
fn split(bytes: &[u8]) -> Result<(&[u8], &[u8]), Fault> {
    let (len, _) = value_len(bytes).ok_or(Fault::Value(ValueError::Truncated))?;
    bytes.split_at_checked(len).ok_or(Fault::Value(ValueError::Truncated))
}

/// The bytes of an encoded string.
#[inline]
fn name(key: &[u8]) -> Option<&[u8]> {
    match key.split_first() {
        Some((0xA0..=0xBF, name)) => Some(name),
        _ => match Tokens::new(key).next() {
            Some(Token::Str(name)) => Some(name.as_bytes()),
            _ => None,
        },
    }
}

/// Whether a value counts as "yes".
pub fn truthy(token: Token<'_>) -> bool {
    match token {
        Token::Nil | Token::Array(0) | Token::Map(0) => false,
        Token::Bool(it) => it,
        Token::Int(it) => it != 0,
        Token::UInt(it) => it != 0,
        Token::Float(it) => it != 0.0,
        Token::Str(it) => !it.is_empty(),
        Token::Bin(it) => !it.is_empty(),
        Token::Array(_) | Token::Map(_) | Token::Ext(..) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_name_and_the_last_of_a_name_counts() {
        let fields = Fields::parse(b"\x84\xa3seq\x07\xa1a\xc0\xa1a\x05\x01\x02").unwrap();
        assert_eq!(fields.seq(), Some(Seq::Int(7)));
        assert_eq!(fields.token("a"), Some(Token::Int(5)));
        assert!(!fields.has("b"));
    }

    proptest::proptest! {
        #[test]
        fn one_pass_finds_what_two_find(
            bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..40),
            count in 0_u8..4,
            limit in 1_usize..60,
        ) {
            // Maps of short strings and numbers are found often, and everything else now and then.
            let narrow = |byte: u8| if byte < 200 { [0xA1, b'a', 0x07, 0x91][usize::from(byte % 4)] } else { byte };
            let mut message = vec![0x80 | count];
            message.extend(bytes.into_iter().map(narrow));
            if let Some((fields, len)) = Fields::first(&message, &Frames::new(limit)) {
                proptest::prop_assert_eq!(Frames::new(limit).next(&message), Ok(Some(len)));
                proptest::prop_assert_eq!(fields.fields, Fields::parse(&message[..len]).unwrap().fields);
            }
        }
    }

    #[test]
    fn what_arrives_slowly_is_looked_at_once() {
        let message = b"\x81\xa1a\x93\x01\x02\x03";
        let mut frames = Frames::new(100);
        assert!(Fields::first(message, &frames).is_some());
        assert!(Fields::first(&message[..5], &frames).is_none());
        assert_eq!(frames.next(&message[..5]), Ok(None));
        assert!(Fields::first(message, &frames).is_none(), "its beginning is known");
        assert_eq!(frames.next(message), Ok(Some(message.len())));
        assert!(Fields::first(message, &frames).is_some(), "that is the next one");
    }

    #[test]
    fn a_fault_tells_whose_it_is() {
        let fault = |bytes| Fields::parse(bytes).map(drop).unwrap_err();
        assert_eq!(fault(b"\x92\x01\x02"), BadMessage { seq: None, fault: Fault::NotAMap });
        let cut = fault(b"\x82\xa3seq\x07\xa1a\xa1");
        assert_eq!(cut, BadMessage { seq: Some(Seq::Int(7)), fault: Fault::Value(ValueError::Truncated) });
        // 0xFF is not UTF-8.
        let fields = Fields::parse(b"\x82\xa3seq\x07\xa1a\xa1\xff").unwrap();
        assert_eq!(fields.text("a"), Err(Fault::Value(ValueError::NotUtf8)));
        assert_eq!(fields.value("a"), Err(Fault::Value(ValueError::NotUtf8)));
        let list = Fields::parse(b"\x81\xa1a\x92\xa1x\xa1\xff").unwrap();
        assert!(list.path_into("a", &mut PathBuilder::new()).is_err());
    }

    #[test]
    fn lengths_of_chains_come_in_many_forms() {
        let of = |raw: &[u8]| {
            let message = [b"\x81\xa6nchain", raw].concat();
            Fields::parse(&message).unwrap().chain_length(9)
        };
        assert_eq!(of(b"\xc2"), Ok(0));
        assert_eq!(of(b"\xc3"), Ok(1));
        assert_eq!(of(b"\x03"), Ok(3));
        assert_eq!(of(b"\xff"), Ok(usize::MAX));
        assert!(of(b"\xa1x").is_err());
        assert_eq!(Fields::parse(b"\x80").unwrap().chain_length(9), Ok(9));
    }

    #[test]
    fn strings_bytes_and_numbers_may_be_nil() {
        let fields = Fields::parse(b"\x84\xa1a\xa1x\xa1b\xc4\x01y\xa1c\xc0\xa1d\x05").unwrap();
        assert_eq!(fields.text("a"), Ok(Some("x")));
        assert_eq!(fields.text("c"), Ok(None));
        assert!(fields.text("b").is_err());
        assert_eq!(fields.binary("b"), Ok(Some(&b"y"[..])));
        assert_eq!(fields.uint("d"), Ok(Some(5)));
        assert_eq!(fields.uint("c"), Ok(None));
        assert_eq!(fields.needed_text("e"), Err(Fault::Missing("e")));
    }
}
