//! A client of the native port for Rust programs: entries with their versions, conditions, subtrees, watches, mirrors, messages.
//!
//! ```no_run
//! use distkv::client::{Client, Error, Options};
//!
//! # async fn example() -> Result<(), Error> {
//! let client = Client::connect(Options::new("localhost")).await?;
//! client.set("home.kitchen.light", "on").await?;
//! let light: Option<String> = client.get("home.kitchen.light").await?;
//! let mut watch = client.watch("home").await?;
//! loop {
//!     println!("{:?}", watch.next().await?);
//! }
//! # }
//! ```
//!
//! A [`Client`] is a handle: clones share one connection, and any number of calls may be under way on it. A lost connection is made again;
//! see [`Options::reconnect`] for what that means to a call. Everything is bounded: the queue of calls, what is on its way, each stream.
//!
//! Values are Rust types by serde, or [`Value`]s as they are. A path is given as text (`"home.kitchen"`, see [`mod@distkv_store::path`]) or as a
//! [`Path`]. Tokio runs it.

mod backoff;
mod batch;
mod entry;
mod error;
pub mod exchange;
mod link;
mod login;
mod messages;
mod mirror;
mod options;
mod reply;
mod request;
mod socket;
mod stream;
mod tasks;
mod tree;
mod typed;
mod watch;
mod write;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use distkv_store::value::{Token, Tokens};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, oneshot};

pub use batch::Batch;
pub use distkv_store::path::{Element, Path};
pub use distkv_store::value::Value;
pub use entry::{Entry, Version, VersionError};
pub use error::{Error, Kind, Refusal};
pub use messages::{Message, Messages};
pub use mirror::Mirror;
pub use options::{Login, Options, Secret, Tls};
pub use reply::Reply;
pub use request::{Request, internal};
pub use tree::{Scope, Tree};
pub use typed::{from_value, to_value};
pub use watch::{Begin, Event, Watch};
pub use write::{Write, Written};

use exchange::NONCE_BYTES;
use link::{COMMANDS_MAX, Command, Trouble};
use stream::Stream;
use tasks::Task;

/// How often a call that only reads is sent, if the connection is lost each time before its answer.
const READ_TRIES: u32 = 5;

/// A handle of a connection to a server.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    commands: mpsc::Sender<Command>,
    server: String,
    timeout: Duration,
    reconnect: bool,
    trouble: Trouble,
    logged_in: bool,
    _task: Task,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({})", self.shared.server)
    }
}

/// What names an entry: a [`Path`], or its text form.
pub trait ToPath {
    /// The path.
    ///
    /// # Errors
    /// If a text is no path; the error says where.
    fn to_path(&self) -> Result<Path, Error>;
}

impl ToPath for str {
    fn to_path(&self) -> Result<Path, Error> {
        self.parse().map_err(|error| Error::Invalid(format!("`{self}`: {error}")))
    }
}

impl ToPath for String {
    fn to_path(&self) -> Result<Path, Error> {
        self.as_str().to_path()
    }
}

impl ToPath for Path {
    fn to_path(&self) -> Result<Path, Error> {
        Ok(self.clone())
    }
}

impl<T: ToPath + ?Sized> ToPath for &T {
    fn to_path(&self) -> Result<Path, Error> {
        (**self).to_path()
    }
}

impl Client {
    /// Connects and logs in. The first connection is tried once; it is made again only after it was there.
    pub async fn connect(options: Options) -> Result<Self, Error> {
        let link = link::connect(&options, 0).await?;
        let (commands, taken) = mpsc::channel(COMMANDS_MAX);
        let trouble = Trouble::default();
        let (server, timeout, reconnect) = (options.server.clone(), options.timeout, options.reconnect);
        let logged_in = link.logged_in;
        let task = Task::start(link::drive(link, options, taken, Arc::clone(&trouble)));
        let shared = Shared { commands, server, timeout, reconnect, trouble, logged_in, _task: task };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Did the server ask for a login when this connected?
    pub fn is_logged_in(&self) -> bool {
        self.shared.logged_in
    }

    /// The value at a path; `None` if there is none.
    pub async fn get<T: DeserializeOwned>(&self, path: impl ToPath) -> Result<Option<T>, Error> {
        self.entry(path, 0).await?.decode()
    }

    /// The entry at a path with its version, and with as much of its chain as is asked for.
    pub async fn entry(&self, path: impl ToPath, chain: u32) -> Result<Entry, Error> {
        let path = path.to_path()?;
        let reply = self.read(Request::new("get_value").path(&path).count("nchain", chain.into())).await?;
        Entry::from_reply(path, &reply)
    }

    /// Sets an entry, when it is awaited.
    pub fn set<T: Serialize + ?Sized>(&self, path: impl ToPath, value: &T) -> Write<'_> {
        Write::set(self, path.to_path(), to_value(value))
    }

    /// Sets an entry to a value of the store, when it is awaited.
    pub fn set_raw(&self, path: impl ToPath, value: &Value) -> Write<'_> {
        Write::set(self, path.to_path(), Ok(value.clone()))
    }

    /// Deletes an entry, when it is awaited. What is below it stays.
    pub fn delete(&self, path: impl ToPath) -> Write<'_> {
        Write::delete(self, path.to_path())
    }

    /// Deletes an entry and all that is below it; how many entries that were.
    pub async fn delete_tree(&self, path: impl ToPath) -> Result<u64, Error> {
        let reply =
            self.request(Request::new("delete_tree").path(&path.to_path()?).count("nchain", 0)).await?;
        Ok(reply.number("changed").unwrap_or_default())
    }

    /// Several writes in one step.
    pub fn batch(&self) -> Batch<'_> {
        Batch::new(self)
    }

    /// The names right below a path which have a value, or something below them.
    pub async fn names(&self, path: impl ToPath) -> Result<Vec<Element<'static>>, Error> {
        self.enumerate(&path.to_path()?, |request| request.flag("empty", true).flag("living", true)).await
    }

    async fn enumerate(
        &self,
        path: &Path,
        which: impl FnOnce(Request) -> Request,
    ) -> Result<Vec<Element<'static>>, Error> {
        let reply = self.read(which(Request::new("enum").path(path))).await?;
        let malformed = || Error::Malformed("a list of names is none".to_owned());
        let mut names = Tokens::new(reply.field("result").ok_or_else(malformed)?);
        let Some(Token::Array(count)) = names.next() else { return Err(malformed()) };
        (0..count).map(|_| element(names.whole().map_err(|_| malformed())?).ok_or_else(malformed)).collect()
    }

    /// The entries at and below a path.
    pub async fn tree(&self, path: impl ToPath, scope: &Scope) -> Result<Tree, Error> {
        Tree::open(self, &path.to_path()?, scope).await
    }

    /// Watches a subtree, beginning with the whole of it.
    pub async fn watch(&self, path: impl ToPath) -> Result<Watch, Error> {
        self.watch_from(path, Scope { chain: 1, ..Scope::default() }, Begin::Whole).await
    }

    /// Watches a part of a subtree from some point on.
    pub async fn watch_from(&self, path: impl ToPath, scope: Scope, from: Begin) -> Result<Watch, Error> {
        Watch::open(self, &path.to_path()?, scope, from).await
    }

    /// Keeps a copy of a subtree in memory. It is complete when this returns.
    pub async fn mirror(&self, path: impl ToPath) -> Result<Mirror, Error> {
        Mirror::open(self, path.to_path()?).await
    }

    /// Publishes a message to whoever subscribes to its topic. It is not retained: a retained message is an entry, so [`Client::set`] it.
    pub async fn publish(&self, topic: &str, payload: &[u8]) -> Result<(), Error> {
        let request = Request::new("msg_send").levels("topic", topic).bytes("raw", payload);
        self.request(request).await.map(drop)
    }

    /// The messages that are published on topics which match a filter of MQTT.
    pub async fn messages(&self, filter: &str) -> Result<Messages, Error> {
        Messages::open(self, filter).await
    }

    /// Makes a user who logs in by password, or changes his password. It travels in a box which only the server can open.
    /// `more` may add what else the request says of him.
    pub async fn set_password(
        &self,
        user: &str,
        password: &Secret,
        more: impl FnOnce(Request) -> Request,
    ) -> Result<Reply, Error> {
        let (request, exchange) = login::offer()?;
        let key = login::accept(exchange, &self.request(request).await?)?;
        let sealed = key.seal_password(&password.0, &login::random::<NONCE_BYTES>()?);
        let request = Request::new("auth_set").text("typ", "password").text("kind", "user");
        self.request(more(request.text("ident", user).bytes("password", &sealed))).await
    }

    /// Sends any request that has one answer. It is sent once.
    pub async fn request(&self, request: Request) -> Result<Reply, Error> {
        let (answer, answered) = oneshot::channel();
        self.patiently(async {
            self.command(Command::Call { request, answer }).await?;
            answered.await.map_err(|_| self.lost())?
        })
        .await
    }

    /// Sends a request that changes nothing: again, if the connection is lost before the answer.
    pub async fn read(&self, request: Request) -> Result<Reply, Error> {
        let mut tries = 1;
        loop {
            match self.request(request.clone()).await {
                Err(Error::Lost { .. }) if self.reconnects() && tries < READ_TRIES => tries += 1,
                result => return result,
            }
        }
    }

    /// Opens a stream, if there is a connection soon.
    async fn stream(&self, request: Request) -> Result<Stream, Error> {
        self.patiently(self.stream_when_there(request)).await
    }

    /// Opens a stream as soon as there is a connection.
    async fn stream_when_there(&self, request: Request) -> Result<Stream, Error> {
        let (opened, told) = oneshot::channel();
        self.command(Command::Open { request, opened }).await?;
        Ok(Stream::new(self.clone(), told.await.map_err(|_| self.lost())?))
    }

    /// Waits as long as the options say. If there is no connection then, the error says why.
    async fn patiently<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        match tokio::time::timeout(self.shared.timeout, work).await {
            Ok(result) => result,
            Err(_) => Err(self.trouble().unwrap_or(Error::Timeout(self.shared.timeout))),
        }
    }

    async fn command(&self, command: Command) -> Result<(), Error> {
        self.shared.commands.send(command).await.map_err(|_| self.trouble().unwrap_or(Error::Closed))
    }

    fn command_now(&self, command: Command) {
        // Whoever uses this can do without.
        let _ = self.shared.commands.try_send(command);
    }

    fn trouble(&self) -> Option<Error> {
        self.shared.trouble.lock().clone()
    }

    fn lost(&self) -> Error {
        self.trouble().unwrap_or_else(|| Error::Lost { server: self.shared.server.clone() })
    }

    fn reconnects(&self) -> bool {
        self.shared.reconnect
    }
}

/// A path's element as it travels by itself.
fn element(packed: &[u8]) -> Option<Element<'static>> {
    let list = [&[0x91], packed].concat();
    let path = Value::from_msgpack(&list).ok()?.to_path().ok()?;
    path.elements().next().map(Element::into_owned)
}

#[cfg(test)]
mod tests;
