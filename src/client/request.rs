//! Requests as they are sent: one msgpack map each, whose number is put in when it leaves.

use distkv_store::path::{Path, PathRef};
use distkv_store::value::{Packer, Value};

use super::entry::Version;

/// A request under construction. Whatever the native port can do can be asked for with it:
///
/// ```
/// # use distkv::client::Request;
/// let request = Request::new("get_state").flag("nodes", true);
/// ```
#[derive(Clone, Debug)]
pub struct Request {
    /// Keys and values, packed.
    fields: Vec<u8>,
    count: u32,
}

impl Request {
    /// A request for this action.
    pub fn new(action: &str) -> Self {
        Self { fields: Vec::with_capacity(64), count: 0 }.text("action", action)
    }

    /// What is said in the middle of an exchange, where there is no action.
    pub(super) fn follow_up() -> Self {
        Self { fields: Vec::with_capacity(16), count: 0 }
    }

    /// The key `path`, which most actions have.
    #[must_use]
    pub fn path<'a>(self, path: impl Into<PathRef<'a>>) -> Self {
        self.path_at("path", path)
    }

    /// A path under another key.
    #[must_use]
    pub fn path_at<'a>(mut self, key: &str, path: impl Into<PathRef<'a>>) -> Self {
        self.key(key).path(path.into());
        self
    }

    /// A string.
    #[must_use]
    pub fn text(mut self, key: &str, text: &str) -> Self {
        self.key(key).str(text);
        self
    }

    /// A byte string.
    #[must_use]
    pub fn bytes(mut self, key: &str, bytes: &[u8]) -> Self {
        self.key(key).bin(bytes);
        self
    }

    /// A number.
    #[must_use]
    pub fn number(mut self, key: &str, number: i64) -> Self {
        self.key(key).int(number);
        self
    }

    /// A count, or any other number that is not negative.
    #[must_use]
    pub fn count(mut self, key: &str, count: u64) -> Self {
        self.key(key).uint(count);
        self
    }

    /// A flag.
    #[must_use]
    pub fn flag(mut self, key: &str, flag: bool) -> Self {
        self.key(key).bool(flag);
        self
    }

    /// Null.
    #[must_use]
    pub fn nil(mut self, key: &str) -> Self {
        self.key(key).nil();
        self
    }

    /// Any value.
    #[must_use]
    pub fn value(mut self, key: &str, value: &Value) -> Self {
        self.key(key).raw(value.as_bytes());
        self
    }

    /// A version, as a chain of one event; none is null, which stands for an entry that has no value.
    #[must_use]
    pub fn version(mut self, key: &str, version: Option<&Version>) -> Self {
        let mut packer = self.key(key);
        let Some(version) = version else {
            packer.nil();
            return self;
        };
        packer.map(3);
        packer.str("node");
        packer.str(&version.node);
        packer.str("tick");
        packer.uint(version.tick);
        packer.str("prev");
        packer.nil();
        self
    }

    /// A topic or filter of MQTT, as a list of its levels.
    #[must_use]
    pub fn levels(mut self, key: &str, topic: &str) -> Self {
        let levels = topic.split('/');
        self.key(key).array(levels.clone().count() as u32);
        for level in levels {
            Packer(&mut self.fields).str(level);
        }
        self
    }

    /// Several requests as a list of maps.
    #[must_use]
    pub(super) fn list(mut self, key: &str, items: &[Self]) -> Self {
        self.key(key).array(items.len() as u32);
        for item in items {
            Packer(&mut self.fields).map(item.count);
            self.fields.extend_from_slice(&item.fields);
        }
        self
    }

    /// Appends the message.
    pub(super) fn encode(&self, seq: u64, out: &mut Vec<u8>) {
        let mut packer = Packer(out);
        packer.map(self.count + 1);
        packer.str("seq");
        packer.uint(seq);
        packer.raw(&self.fields);
    }

    fn key(&mut self, key: &str) -> Packer<'_> {
        self.count += 1;
        let mut packer = Packer(&mut self.fields);
        packer.str(key);
        packer
    }
}

/// The path of internal data: null, then these names.
///
/// ```
/// # use distkv::client::internal;
/// assert_eq!(internal(&["acl", "guests"]).to_string(), ":n.acl.guests");
/// ```
pub fn internal(names: &[&str]) -> Path {
    use distkv_store::path::Element;
    let names = names.iter().map(|name| Element::str(name));
    // A handful of short names is always a path.
    Path::from_elements(std::iter::once(Element::Null).chain(names)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_is_put_in_front() {
        let request = Request::new("x").flag("a", true).nil("b").path(&"k.v".parse::<Path>().unwrap());
        let mut out = Vec::new();
        request.encode(300, &mut out);
        let expected = b"\x85\xa3seq\xcd\x01\x2c\xa6action\xa1x\xa1a\xc3\xa1b\xc0\xa4path\xd6\x03\xa1k\xa1v";
        assert_eq!(out, expected);
    }

    #[test]
    fn a_version_is_a_chain_of_one() {
        let version = Version { node: "a".to_owned(), tick: 7 };
        let mut out = Vec::new();
        Request::follow_up().version("c", Some(&version)).version("d", None).encode(1, &mut out);
        assert_eq!(out, b"\x83\xa3seq\x01\xa1c\x83\xa4node\xa1a\xa4tick\x07\xa4prev\xc0\xa1d\xc0");
    }
}
