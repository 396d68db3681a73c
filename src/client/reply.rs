//! One message of the server: a msgpack map, looked into where somebody asks.

use bytes::Bytes;
use distkv_store::path::Path;
use distkv_store::value::{Token, Tokens, Value};

use super::entry::{self, Version};
use super::error::{Error, Refusal};

/// Where a stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Start,
    Current,
    End,
}

/// A message of the server.
#[derive(Clone, Debug)]
pub struct Reply(Bytes);

impl Reply {
    /// Takes bytes that are one well-formed msgpack object; anything but a map is an error.
    pub(super) fn new(message: Bytes) -> Result<Self, Error> {
        match Tokens::new(&message).next() {
            Some(Token::Map(_)) => Ok(Self(message)),
            _ => Err(Error::Malformed("a message is not a map".to_owned())),
        }
    }

    /// Its keys and values, the values packed. Keys that are no strings are passed over.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let mut tokens = Tokens::new(&self.0);
        let count = match tokens.next() {
            Some(Token::Map(count)) => count,
            _ => 0,
        };
        (0..count)
            .map_while(move |_| {
                let key = tokens.whole().ok()?;
                let value = tokens.whole().ok()?;
                Some((key, value))
            })
            .filter_map(|(key, value)| match Tokens::new(key).next() {
                Some(Token::Str(key)) => Some((key, value)),
                _ => None,
            })
    }

    /// What is at this key, packed.
    pub fn field(&self, name: &str) -> Option<&[u8]> {
        self.fields().find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// The value at this key.
    pub fn value(&self, name: &str) -> Result<Option<Value>, Error> {
        self.field(name).map(entry::value).transpose()
    }

    /// The string at this key.
    pub fn text(&self, name: &str) -> Option<&str> {
        match Tokens::new(self.field(name)?).next() {
            Some(Token::Str(text)) => Some(text),
            _ => None,
        }
    }

    /// The byte string at this key.
    pub fn bytes(&self, name: &str) -> Option<&[u8]> {
        match Tokens::new(self.field(name)?).next() {
            Some(Token::Bin(bytes)) => Some(bytes),
            _ => None,
        }
    }

    /// The number at this key, if it is not negative.
    pub fn number(&self, name: &str) -> Option<u64> {
        entry::number(self.field(name)?)
    }

    /// The flag at this key.
    pub fn flag(&self, name: &str) -> Option<bool> {
        match Tokens::new(self.field(name)?).next() {
            Some(Token::Bool(flag)) => Some(flag),
            _ => None,
        }
    }

    /// The path at this key, in either of its two forms.
    pub fn path(&self, name: &str) -> Result<Option<Path>, Error> {
        let Some(value) = self.value(name)? else { return Ok(None) };
        value.to_path().map(Some).map_err(|error| Error::Malformed(error.to_string()))
    }

    /// The versions at this key.
    pub fn chain(&self, name: &str) -> Result<Vec<Version>, Error> {
        self.field(name).map_or(Ok(Vec::new()), entry::chain)
    }

    /// The maps in the list at this key.
    pub(super) fn items(&self, name: &str) -> Result<Vec<Self>, Error> {
        let malformed = || Error::Malformed(format!("`{name}` is no list"));
        let mut tokens = Tokens::new(self.field(name).ok_or_else(malformed)?);
        let Some(Token::Array(count)) = tokens.next() else { return Err(malformed()) };
        let item = |_| Self::new(Bytes::copy_from_slice(tokens.whole().map_err(|_| malformed())?));
        (0..count).map(item).collect()
    }

    /// The number of the request that it answers.
    pub(super) fn seq(&self) -> Option<u64> {
        self.number("seq")
    }

    pub(super) fn state(&self) -> Option<State> {
        match self.text("state")? {
            "start" => Some(State::Start),
            "uptodate" => Some(State::Current),
            "end" => Some(State::End),
            _ => None,
        }
    }

    /// The error that it tells, if it tells one.
    pub(super) fn refusal(&self) -> Option<Error> {
        let text = match Tokens::new(self.field("error")?).next() {
            Some(Token::Str(text)) => text,
            _ => "",
        };
        Some(Error::Refused(Refusal::new(self.text("etype"), text)))
    }

    /// The message, unless it tells an error.
    pub(super) fn accepted(self) -> Result<Self, Error> {
        match self.refusal() {
            Some(error) => Err(error),
            None => Ok(self),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(bytes: &'static [u8]) -> Reply {
        Reply::new(Bytes::from_static(bytes)).unwrap()
    }

    #[test]
    fn fields_are_found_behind_keys_that_are_no_strings() {
        let reply = reply(b"\x84\x01\xa1x\xa3seq\x07\x91\x01\x02\xa1p\x92\xa1a\x01");
        assert_eq!(reply.seq(), Some(7));
        assert_eq!(reply.path("p").unwrap().unwrap().to_string(), "a:1");
        assert_eq!(reply.field("x"), None);
        assert!(reply.state().is_none() && reply.refusal().is_none());
    }

    #[test]
    fn what_is_no_map_is_no_message() {
        assert!(Reply::new(Bytes::from_static(b"\x90")).is_err());
    }

    proptest::proptest! {
        /// Whatever a server sends, the answer is a reply or an error.
        #[test]
        fn hostile_messages_are_looked_into_without_harm(
            body in proptest::collection::vec(proptest::num::u8::ANY, 0..60),
            count in 0_u8..16,
        ) {
            let names: [&[u8]; 6] = [b"\xa4path", b"\xa5chain", b"\xa3seq", b"\xa5error", b"\xa5state", b"\xa6result"];
            let name = names[usize::from(count) % names.len()];
            let message = [&[0x80 | count], name, &body[..]].concat();
            if let Ok(reply) = Reply::new(message.into()) {
                let _ = (reply.path("path"), reply.chain("chain"), reply.seq(), reply.refusal(), reply.state());
                let _ = (reply.items("result"), reply.value("path"), reply.number("state"));
                let _ = entry::Paths::new(&Path::root()).entry(&reply);
            }
        }
    }
}
