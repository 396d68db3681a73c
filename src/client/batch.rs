//! Several writes that are done together or not at all.

use std::future::{Future, IntoFuture};
use std::pin::Pin;

use distkv_store::value::Value;
use serde::Serialize;

use super::entry::Version;
use super::error::Error;
use super::request::Request;
use super::write::Written;
use super::{Client, ToPath, typed};

/// Writes of several entries in one step, on the server that takes them: all of them, or none if a condition of one does not hold.
///
/// ```no_run
/// # async fn example(client: distkv::client::Client) -> Result<(), distkv::client::Error> {
/// client.batch().set("a", &1).set("b", &2).delete("c").await?;
/// # Ok(()) }
/// ```
#[must_use = "a batch is written when it is awaited"]
#[derive(Debug)]
pub struct Batch<'c> {
    client: &'c Client,
    writes: Result<Vec<Request>, Error>,
}

impl<'c> Batch<'c> {
    pub(super) fn new(client: &'c Client) -> Self {
        Self { client, writes: Ok(Vec::new()) }
    }

    /// Sets an entry.
    pub fn set<T: Serialize + ?Sized>(self, path: impl ToPath, value: &T) -> Self {
        let write = path
            .to_path()
            .and_then(|path| Ok(Request::follow_up().path(&path).value("value", &typed::to_value(value)?)));
        self.add(write)
    }

    /// Deletes an entry.
    pub fn delete(self, path: impl ToPath) -> Self {
        self.add(path.to_path().map(|path| Request::follow_up().path(&path)))
    }

    /// Sets an entry to a value of the store.
    pub fn set_raw(self, path: impl ToPath, value: &Value) -> Self {
        self.add(path.to_path().map(|path| Request::follow_up().path(&path).value("value", value)))
    }

    /// The last write is done only if its entry has no value.
    pub fn if_new(self) -> Self {
        self.change(|write| write.version("chain", None))
    }

    /// The last write is done only if its entry has this version.
    pub fn if_version(self, version: &Version) -> Self {
        self.change(|write| write.version("chain", Some(version)))
    }

    fn add(self, write: Result<Request, Error>) -> Self {
        let writes = self.writes.and_then(|mut writes| {
            writes.push(write?);
            Ok(writes)
        });
        Self { writes, ..self }
    }

    fn change(self, change: impl FnOnce(Request) -> Request) -> Self {
        let writes = self.writes.and_then(|mut writes| {
            let last =
                writes.pop().ok_or_else(|| Error::Invalid("a condition comes behind a write".to_owned()))?;
            writes.push(change(last));
            Ok(writes)
        });
        Self { writes, ..self }
    }
}

impl<'c> IntoFuture for Batch<'c> {
    type Output = Result<Vec<Written>, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'c>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let writes = self.writes?;
            if writes.is_empty() {
                return Ok(Vec::new());
            }
            let reply = self.client.request(Request::new("set_many").list("entries", &writes)).await?;
            reply.items("result")?.iter().map(Written::from_reply).collect()
        })
    }
}
