//! Writes of one entry: a set or a delete, with the conditions under which it is done.

use std::future::{Future, IntoFuture};
use std::pin::Pin;

use distkv_store::path::Path;
use distkv_store::value::Value;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::entry::Version;
use super::error::Error;
use super::reply::Reply;
use super::request::Request;
use super::{Client, typed};

/// A write that is done when it is awaited. Its conditions are looked at and the write is done in one step: nobody comes between.
///
/// ```no_run
/// # async fn example(client: distkv::client::Client) -> Result<(), distkv::client::Error> {
/// client.set("home.kitchen.light", "on").await?;
/// client.set("lock", "mine").if_new().await?;
/// # Ok(()) }
/// ```
#[must_use = "a write is done when it is awaited"]
#[derive(Debug)]
pub struct Write<'c> {
    client: &'c Client,
    request: Result<Request, Error>,
}

impl<'c> Write<'c> {
    pub(super) fn set(client: &'c Client, path: Result<Path, Error>, value: Result<Value, Error>) -> Self {
        let request = path.and_then(|path| Ok(Request::new("set_value").path(&path).value("value", &value?)));
        Self { client, request }
    }

    pub(super) fn delete(client: &'c Client, path: Result<Path, Error>) -> Self {
        let request = path.map(|path| Request::new("delete_value").path(&path));
        Self { client, request }
    }

    /// Only if the entry has no value.
    pub fn if_new(self) -> Self {
        self.with(|request| Ok(request.version("chain", None)))
    }

    /// Only if the entry has this version.
    pub fn if_version(self, version: &Version) -> Self {
        self.with(|request| Ok(request.version("chain", Some(version))))
    }

    /// Only if the entry has this value.
    pub fn if_value<T: Serialize + ?Sized>(self, value: &T) -> Self {
        self.with(|request| Ok(request.value("prev", &typed::to_value(value)?)))
    }

    /// As [`Write::if_value`], with a value of the store.
    pub fn if_raw_value(self, value: &Value) -> Self {
        self.with(|request| Ok(request.value("prev", value)))
    }

    /// If the entry has this very value already, nothing happens: no new version, no event.
    pub fn unless_same(self) -> Self {
        self.with(|request| Ok(request.flag("idem", true)))
    }

    /// Ask for this many events of the entry's chain; one if nothing is said.
    pub fn chain(self, length: u32) -> Self {
        self.with(|request| Ok(request.count("nchain", length.into())))
    }

    fn with(self, change: impl FnOnce(Request) -> Result<Request, Error>) -> Self {
        Self { client: self.client, request: self.request.and_then(change) }
    }
}

impl<'c> IntoFuture for Write<'c> {
    type Output = Result<Written, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'c>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { Written::from_reply(&self.client.request(self.request?).await?) })
    }
}

/// What a write did.
#[derive(Clone, Debug)]
pub struct Written {
    /// Whether the value is another than before.
    pub changed: bool,
    /// The value before, if there was one and the write had no condition on it.
    pub previous: Option<Value>,
    /// The events that made the entry, newest first.
    pub chain: Vec<Version>,
    /// The cluster's count at this change.
    pub tock: u64,
}

impl Written {
    pub(super) fn from_reply(reply: &Reply) -> Result<Self, Error> {
        Ok(Self {
            changed: reply.flag("changed").unwrap_or(true),
            previous: reply.value("prev")?,
            chain: reply.chain("chain")?,
            tock: reply.number("tock").unwrap_or_default(),
        })
    }

    /// The version that the entry has now.
    pub fn version(&self) -> Option<&Version> {
        self.chain.first()
    }

    /// The value before as a Rust type.
    pub fn decode_previous<T: DeserializeOwned>(&self) -> Result<Option<T>, Error> {
        self.previous.as_ref().map(typed::from_value).transpose()
    }
}
