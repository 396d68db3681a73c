//! What the client tells of an entry: its value, its version, and where it is.

use std::fmt;
use std::str::FromStr;

use distkv_store::path::Path;
use distkv_store::value::{Token, Tokens, Value};
use serde::de::DeserializeOwned;

use super::error::Error;
use super::reply::Reply;
use super::typed;
use crate::native::wire;

/// One event: the node which made it, and that node's own count of changes. It names a version of an entry.
///
/// In text `NODE:TICK`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Version {
    /// The node.
    pub node: String,
    /// Its tick.
    pub tick: u64,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.node, self.tick)
    }
}

/// A text that names no version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a version is written NODE:TICK, such as a:17")]
pub struct VersionError;

impl FromStr for Version {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        let (node, tick) = text.rsplit_once(':').ok_or(VersionError)?;
        let tick = tick.parse().map_err(|_| VersionError)?;
        if node.is_empty() { Err(VersionError) } else { Ok(Self { node: node.to_owned(), tick }) }
    }
}

/// An entry as the server knows it.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where it is.
    pub path: Path,
    /// Its value; none: there is no such entry, or (with a version) it was deleted.
    pub value: Option<Value>,
    /// The events which made it, newest first: as many as were asked for. Empty: there never was a value, or nobody asked.
    pub chain: Vec<Version>,
    /// The cluster's count at its last change. Of two versions of an entry the later has the greater.
    pub tock: u64,
}

impl Entry {
    /// The version it has.
    pub fn version(&self) -> Option<&Version> {
        self.chain.first()
    }

    /// The value as a Rust type.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<Option<T>, Error> {
        self.value.as_ref().map(typed::from_value).transpose()
    }

    pub(super) fn from_reply(path: Path, reply: &Reply) -> Result<Self, Error> {
        let mut entry = Self { path, value: None, chain: Vec::new(), tock: 0 };
        for (key, field) in reply.fields() {
            match key {
                "value" => entry.value = Some(value(field)?),
                "chain" => entry.chain = chain(field)?,
                "tock" => entry.tock = number(field).unwrap_or_default(),
                _ => {}
            }
        }
        Ok(entry)
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {:?} ({:?}, tock {})", self.path, self.value, self.chain, self.tock)
    }
}

/// A value of its own from a part of a message.
pub(super) fn value(field: &[u8]) -> Result<Value, Error> {
    Value::from_msgpack(field).map_err(|error| Error::Malformed(error.to_string()))
}

/// A number that is not negative.
pub(super) fn number(field: &[u8]) -> Option<u64> {
    match Tokens::new(field).next()? {
        Token::Int(number) => u64::try_from(number).ok(),
        Token::UInt(number) => Some(number),
        _ => None,
    }
}

/// The links of a chain.
pub(super) fn chain(field: &[u8]) -> Result<Vec<Version>, Error> {
    let malformed = |error: &dyn fmt::Display| Error::Malformed(format!("a chain: {error}"));
    let links = wire::read_chain(field, "chain").map_err(|error| malformed(&error))?;
    let version = |link: &wire::Link<'_>| Some(Version { node: link.node.to_owned(), tick: link.tick? });
    links.iter().map(version).collect::<Option<_>>().ok_or_else(|| malformed(&"a link has no tick"))
}

/// Puts the paths of a stream together again, in which each message tells only what it does not share with the one before it.
#[derive(Clone, Debug, Default)]
pub(super) struct Paths {
    /// Where the stream begins.
    root: Path,
    below: wire::Lengthener,
}

impl Paths {
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.clone(), below: wire::Lengthener::default() }
    }

    /// The entry that a message of the stream tells.
    pub(super) fn entry(&mut self, reply: &Reply) -> Result<Entry, Error> {
        let malformed = |error: &dyn fmt::Display| Error::Malformed(format!("a path in a stream: {error}"));
        let depth = reply.number("depth").unwrap_or_default();
        let rest = reply.field("path").ok_or_else(|| malformed(&"there is none"))?;
        let below = self.below.lengthen(depth, rest).map_err(|error| malformed(&error))?;
        let path = Path::from_elements(self.root.elements().chain(below.elements()))
            .map_err(|error| malformed(&error))?;
        Entry::from_reply(path, reply)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Path {
        text.parse().unwrap()
    }

    #[test]
    fn a_version_is_read_as_it_is_written() {
        for text in ["a:1", "node.example:18446744073709551615", "a:b:3"] {
            assert_eq!(text.parse::<Version>().unwrap().to_string(), text);
        }
        for text in ["", "a", ":1", "a:", "a:x", "a:-1"] {
            assert!(text.parse::<Version>().is_err(), "{text}");
        }
    }

    #[test]
    fn entries_of_a_stream_have_their_whole_paths() {
        let mut paths = Paths::new(&path("home"));
        let mut next = |message: &'static [u8]| {
            let reply = Reply::new(bytes::Bytes::from_static(message)).unwrap();
            paths.entry(&reply).map(|entry| entry.path.to_string()).map_err(|error| error.to_string())
        };
        assert_eq!(next(b"\x82\xa5depth\0\xa4path\xc7\0\x03").unwrap(), "home");
        assert_eq!(next(b"\x82\xa5depth\0\xa4path\x92\xa1a\xa1b").unwrap(), "home.a.b");
        assert_eq!(next(b"\x82\xa5depth\x01\xa4path\x91\xa1c").unwrap(), "home.a.c");
        assert!(next(b"\x81\xa5depth\x01").is_err());
        assert!(next(b"\x82\xa5depth\0\xa4path\x80").is_err());
    }

    #[test]
    fn chains_are_read_with_and_without_their_end() {
        let whole = b"\x83\xa4node\xa1b\xa4tick\x02\xa4prev\x83\xa4node\xa1a\xa4tick\x01\xa4prev\xc0";
        let cut = b"\x83\xa4node\xa1b\xa4tick\x02\xa4prev\x82\xa4node\xa1a\xa4tick\x01";
        for bytes in [&whole[..], cut] {
            let chain = chain(bytes).unwrap();
            assert_eq!(chain.iter().map(ToString::to_string).collect::<Vec<_>>(), ["b:2", "a:1"]);
        }
        assert_eq!(chain(b"\xc0").unwrap(), []);
        for bytes in [&b"\x01"[..], b"\x80", b"\x81\xa4node\xa1a", b"\x82\xa4node\xa1a\xa4tick\xa1x", b"\x81"]
        {
            assert!(chain(bytes).is_err(), "{bytes:?}");
        }
    }
}
