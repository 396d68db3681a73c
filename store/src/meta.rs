//! Facts beside a value, which travel with it: when and by whom it was written, and what MQTT knows of it.
//!
//! Encoded it is a small msgpack map with these keys, each left out where there is nothing to say. Keys which are not known
//! here are kept and passed on.
//!
//! | key | value |
//! |---|---|
//! | `time` | milliseconds since 1970-01-01 UTC, by the writer's clock |
//! | `user` | who wrote it |
//! | `qos` | QoS of the PUBLISH; its absence tells a write which was none |
//! | `props` | MQTT 5 properties of the PUBLISH, as they were encoded there |
//! | `expiry` | when the entry counts as deleted, in milliseconds since 1970-01-01 UTC |

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::value::{Packer, Token, Tokens, ValueError};

/// The greatest size of an encoded meta map.
pub const MAX_BYTES: usize = 256 * 1024;

/// Why some bytes are no meta map.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetaError {
    /// The bytes are not well-formed.
    #[error("bad meta data: {0}")]
    Malformed(#[from] ValueError),
    /// A known key has a value of the wrong type, or it is no map at all.
    #[error("bad meta data: wrong type of {0}")]
    WrongType(&'static str),
    /// More than [`MAX_BYTES`].
    #[error("meta data takes at most {MAX_BYTES} bytes")]
    TooLong,
}

/// What is known about a write. Without rare facts it takes no allocation of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    time: u64,
    user: Option<Arc<str>>,
    rare: Option<Box<Rare>>,
    qos: Option<u8>,
}

/// What few entries have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Rare {
    properties: Option<Box<[u8]>>,
    expiry: Option<u64>,
    /// Unknown keys and their values, encoded one after another.
    unknown: Box<[u8]>,
    unknown_count: u32,
}

impl Meta {
    /// A write at that time, in milliseconds since 1970-01-01 UTC. 0 stands for an unknown time.
    pub fn at(time: u64) -> Self {
        Self { time, ..Self::default() }
    }

    /// Sets the time of the write.
    pub fn with_time(mut self, time: u64) -> Self {
        self.time = time;
        self
    }

    /// Sets the user's name. (Share one allocation among all that a user writes.)
    pub fn with_user(mut self, user: Option<Arc<str>>) -> Self {
        self.user = user;
        self
    }

    /// Sets the QoS of the PUBLISH.
    pub fn with_qos(mut self, qos: u8) -> Self {
        self.qos = Some(qos);
        self
    }

    /// Sets the encoded MQTT 5 properties of the PUBLISH.
    pub fn with_properties(mut self, properties: &[u8]) -> Self {
        self.rare.get_or_insert_default().properties = Some(properties.into());
        self
    }

    /// Sets the time at which the entry counts as deleted, in milliseconds since 1970-01-01 UTC.
    pub fn with_expiry(mut self, expiry: u64) -> Self {
        self.rare.get_or_insert_default().expiry = Some(expiry);
        self
    }

    /// When it was written, in milliseconds since 1970-01-01 UTC; 0 if that is not known.
    pub fn time(&self) -> u64 {
        self.time
    }

    /// Who wrote it.
    pub fn user(&self) -> Option<&Arc<str>> {
        self.user.as_ref()
    }

    /// The QoS of the PUBLISH. `None`: it was written in another way.
    pub fn qos(&self) -> Option<u8> {
        self.qos
    }

    /// The MQTT 5 properties of the PUBLISH.
    pub fn properties(&self) -> Option<&[u8]> {
        self.rare.as_ref()?.properties.as_deref()
    }

    /// When the entry counts as deleted, in milliseconds since 1970-01-01 UTC.
    pub fn expiry(&self) -> Option<u64> {
        self.rare.as_ref()?.expiry
    }

    /// Appends the encoded map.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let rare = self.rare.as_deref();
        let properties = rare.and_then(|rare| rare.properties.as_deref());
        let expiry = rare.and_then(|rare| rare.expiry);
        let known =
            [self.time > 0, self.user.is_some(), self.qos.is_some(), properties.is_some(), expiry.is_some()];
        let unknown = rare.map_or(0, |rare| rare.unknown_count);
        let mut pack = Packer(out);
        pack.map(known.into_iter().map(u32::from).sum::<u32>() + unknown);
        if self.time > 0 {
            pack.str("time");
            pack.uint(self.time);
        }
        if let Some(user) = &self.user {
            pack.str("user");
            pack.str(user);
        }
        if let Some(qos) = self.qos {
            pack.str("qos");
            pack.uint(qos.into());
        }
        if let Some(properties) = properties {
            pack.str("props");
            pack.bin(properties);
        }
        if let Some(expiry) = expiry {
            pack.str("expiry");
            pack.uint(expiry);
        }
        if let Some(rare) = rare {
            pack.raw(&rare.unknown);
        }
    }

    /// Reads an encoded map, with names of users shared through `users`. Safe on bytes from anywhere.
    pub fn decode(bytes: &[u8], users: &mut Users) -> Result<Self, MetaError> {
        if bytes.len() > MAX_BYTES {
            return Err(MetaError::TooLong);
        }
        let mut tokens = Tokens::new(bytes);
        let Some(Token::Map(count)) = tokens.next() else { return Err(MetaError::WrongType("the map")) };
        let mut meta = Self::default();
        let mut unknown = Vec::new();
        for _ in 0..count {
            let pair = tokens.rest();
            let key = tokens.whole()?;
            let value = tokens.whole()?;
            match (Tokens::new(key).next(), Tokens::new(value).next()) {
                (Some(Token::Str("time")), it) => meta.time = uint(it, "time")?,
                (Some(Token::Str("user")), Some(Token::Str(user))) => meta.user = Some(users.share(user)),
                (Some(Token::Str("user")), _) => return Err(MetaError::WrongType("user")),
                (Some(Token::Str("qos")), it) => {
                    let qos = u8::try_from(uint(it, "qos")?).ok().filter(|&qos| qos <= 2);
                    meta.qos = Some(qos.ok_or(MetaError::WrongType("qos"))?);
                }
                (Some(Token::Str("props")), Some(Token::Bin(it))) => meta = meta.with_properties(it),
                (Some(Token::Str("props")), _) => return Err(MetaError::WrongType("props")),
                (Some(Token::Str("expiry")), it) => meta = meta.with_expiry(uint(it, "expiry")?),
                _ => {
                    unknown.extend_from_slice(pair.get(..key.len() + value.len()).unwrap_or_default());
                    meta.rare.get_or_insert_default().unknown_count += 1;
                }
            }
        }
        if !tokens.rest().is_empty() {
            return Err(ValueError::Trailing(tokens.rest().len()).into());
        }
        if !unknown.is_empty() {
            meta.rare.get_or_insert_default().unknown = unknown.into();
        }
        Ok(meta)
    }
}

fn uint(token: Option<Token<'_>>, key: &'static str) -> Result<u64, MetaError> {
    match token {
        Some(Token::Int(it)) => u64::try_from(it).map_err(|_| MetaError::WrongType(key)),
        Some(Token::UInt(it)) => Ok(it),
        _ => Err(MetaError::WrongType(key)),
    }
}

/// One allocation per name of a user, however many entries name it. Names that nothing uses any more are let go now and
/// then, so it stays in proportion to what is in use.
#[derive(Debug, Default)]
pub struct Users {
    names: BTreeSet<Arc<str>>,
    /// How many names there were after the last tidying.
    tidied: usize,
}

impl Users {
    /// The shared form of a name.
    pub fn share(&mut self, name: &str) -> Arc<str> {
        if let Some(shared) = self.names.get(name) {
            return shared.clone();
        }
        if self.names.len() >= 1024.max(self.tidied * 2) {
            self.names.retain(|name| Arc::strong_count(name) > 1);
            self.tidied = self.names.len();
        }
        let shared: Arc<str> = name.into();
        self.names.insert(shared.clone());
        shared
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(meta: &Meta) -> Vec<u8> {
        let mut out = Vec::new();
        meta.encode(&mut out);
        out
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            time in any::<u64>(),
            user in prop::option::of("[a-z]{0,40}"),
            qos in prop::option::of(0_u8..3),
            properties in prop::option::of(prop::collection::vec(any::<u8>(), 0..300)),
            expiry in prop::option::of(any::<u64>()),
        ) {
            let mut meta = Meta::at(time).with_user(user.map(Arc::from));
            if let Some(qos) = qos { meta = meta.with_qos(qos) }
            if let Some(properties) = properties { meta = meta.with_properties(&properties) }
            if let Some(expiry) = expiry { meta = meta.with_expiry(expiry) }
            prop_assert_eq!(Meta::decode(&encoded(&meta), &mut Users::default()), Ok(meta));
        }

        #[test]
        fn any_bytes_are_meta_data_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..32)) {
            if let Ok(meta) = Meta::decode(&bytes, &mut Users::default()) {
                prop_assert_eq!(Meta::decode(&encoded(&meta), &mut Users::default()), Ok(meta));
            }
        }
    }

    #[test]
    fn unknown_keys_survive() {
        let mut bytes = Vec::new();
        let mut pack = Packer(&mut bytes);
        pack.map(3);
        pack.str("new");
        pack.array(1);
        pack.nil();
        pack.str("time");
        pack.uint(7);
        pack.uint(5);
        pack.str("five");
        let meta = Meta::decode(&bytes, &mut Users::default()).unwrap();
        assert_eq!(meta.time(), 7);
        let again = Meta::decode(&encoded(&meta), &mut Users::default()).unwrap();
        assert_eq!(again, meta);
        assert_eq!(encoded(&meta).len(), bytes.len());
    }

    #[test]
    fn bad_maps_are_refused() {
        let decode = |bytes: &[u8]| Meta::decode(bytes, &mut Users::default());
        assert_eq!(decode(&[0xC0]), Err(MetaError::WrongType("the map")));
        assert_eq!(decode(&[0x80, 0xC0]), Err(MetaError::Malformed(ValueError::Trailing(1))));
        assert_eq!(decode(&[0x81, 0xA3, b'q', b'o', b's', 3]), Err(MetaError::WrongType("qos")));
        assert_eq!(decode(&[0xDF, 255, 255, 255, 255]), Err(MetaError::Malformed(ValueError::Truncated)));
    }

    #[test]
    fn users_share_one_allocation_and_unused_ones_go() {
        let mut users = Users::default();
        let ann = users.share("ann");
        assert!(Arc::ptr_eq(&ann, &users.share("ann")));
        for number in 0..10_000 {
            users.share(&number.to_string());
        }
        assert!(users.names.len() < 3000, "{}", users.names.len());
        assert!(Arc::ptr_eq(&ann, &users.share("ann")));
    }

    #[test]
    fn usual_meta_data_is_small() {
        assert!(size_of::<Meta>() <= 40);
        assert_eq!(encoded(&Meta::at(1_700_000_000_000).with_qos(1)).len(), 20);
    }
}
