//! The changes of a subtree as they happen, over lost connections.

use distkv_store::path::Path;

use super::Client;
use super::entry::{Entry, Paths};
use super::error::{Error, Kind};
use super::reply::{Reply, State};
use super::stream::Stream;
use super::tree::Scope;

/// What a watch tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// What comes now, up to [`Event::Current`], is the whole subtree as it is: what does not come is not there any more. So a
    /// watch begins, unless it was asked for changes alone; and so it goes on where it was away for too long.
    Whole,
    /// An entry, as part of the whole.
    Entry(Entry),
    /// The whole, or what was missed, has been told: from here on each change comes when it happens.
    Current,
    /// An entry was written; or deleted, if it has no value. It is told as it is when the message leaves the server: of changes
    /// that follow each other fast, the last one may be all that is seen.
    Change(Entry),
}

/// Where a watch begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Begin {
    /// With the whole subtree.
    #[default]
    Whole,
    /// With the next change.
    Now,
    /// With what was changed after this tock (see [`Watch::tock`]); or the whole subtree, if the server does not know that any more.
    Since(u64),
}

/// A watch of a subtree.
///
/// If the connection is lost and the options of the client allow it, the watch goes on with a new one: what was changed meanwhile comes first.
#[derive(Debug)]
pub struct Watch {
    client: Client,
    path: Path,
    scope: Scope,
    paths: Paths,
    stream: Option<Stream>,
    /// Where it begins, when it begins (again).
    begin: Begin,
    /// Everything up to this tock has been told, if the first [`Event::Current`] has.
    tock: u64,
    /// Is what comes part of the whole?
    filling: bool,
    /// Does each change come when it happens? Until then a lost connection is resumed from where this one began.
    settled: bool,
}

impl Watch {
    pub(super) async fn open(
        client: &Client,
        path: &Path,
        scope: Scope,
        begin: Begin,
    ) -> Result<Self, Error> {
        let mut this = Self {
            client: client.clone(),
            path: path.clone(),
            scope,
            paths: Paths::new(path),
            stream: None,
            begin,
            tock: if let Begin::Since(tock) = begin { tock } else { 0 },
            filling: false,
            settled: false,
        };
        this.ask().await?;
        Ok(this)
    }

    /// Where a later watch can go on ([`Begin::Since`]): everything up to this tock has been told. Meaningful from the first
    /// [`Event::Current`] on.
    pub fn tock(&self) -> u64 {
        self.tock
    }

    /// Waits for the next event. A future that is dropped has taken nothing.
    pub async fn next(&mut self) -> Result<Event, Error> {
        loop {
            let Some(stream) = &mut self.stream else {
                self.ask().await?;
                continue;
            };
            match stream.next().await {
                Ok(Some(reply)) => {
                    if let Some(event) = self.take(&reply)? {
                        return Ok(event);
                    }
                }
                Ok(None) => return Err(Error::Closed),
                Err(error) if self.is_resumable(&error) => self.stream = None,
                Err(error) => return Err(error),
            }
        }
    }

    fn is_resumable(&self, error: &Error) -> bool {
        self.client.reconnects()
            && (matches!(error, Error::Lost { .. }) || error.kind() == Some(Kind::TooSlow))
    }

    async fn ask(&mut self) -> Result<(), Error> {
        let request = self.scope.ask("watch", &self.path);
        let request = match self.begin {
            Begin::Whole => request.flag("fetch", true),
            Begin::Now => request.flag("fetch", false),
            Begin::Since(tock) => request.flag("fetch", true).count("since", tock),
        };
        self.paths = Paths::new(&self.path);
        self.filling = false;
        self.settled = false;
        self.stream = Some(self.client.stream_when_there(request).await?);
        Ok(())
    }

    fn take(&mut self, reply: &Reply) -> Result<Option<Event>, Error> {
        match reply.state() {
            Some(State::Start) => Ok(self.start(reply)),
            Some(State::Current) => {
                self.settle(reply.number("tock").unwrap_or_default());
                Ok(Some(Event::Current))
            }
            Some(State::End) => Ok(None),
            None => {
                let entry = self.paths.entry(reply)?;
                if self.filling {
                    return Ok(Some(Event::Entry(entry)));
                }
                if self.settled {
                    self.settle(entry.tock);
                }
                Ok(Some(Event::Change(entry)))
            }
        }
    }

    /// Everything up to this tock has been told.
    fn settle(&mut self, tock: u64) {
        self.tock = self.tock.max(tock);
        self.begin = Begin::Since(self.tock);
        (self.filling, self.settled) = (false, true);
    }

    fn start(&mut self, reply: &Reply) -> Option<Event> {
        match self.begin {
            Begin::Now => {
                self.settle(reply.number("tock").unwrap_or_default());
                Some(Event::Current)
            }
            // The server says how it goes on; the original knows no `since` and always tells the whole.
            Begin::Since(_) if reply.flag("resumed") == Some(true) => None,
            Begin::Whole | Begin::Since(_) => {
                self.filling = true;
                Some(Event::Whole)
            }
        }
    }
}
