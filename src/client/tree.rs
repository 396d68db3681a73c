//! A subtree as it is, entry by entry.

use distkv_store::path::Path;

use super::Client;
use super::entry::{Entry, Paths};
use super::error::Error;
use super::request::Request;
use super::stream::Stream;

/// Which entries of a subtree are wanted, and what of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// How many levels to leave out: 1 leaves out the entry at the path itself.
    pub min_depth: u32,
    /// How many levels to go down; none: all of them.
    pub max_depth: Option<u32>,
    /// Entries without a value, too: those that only have others below, and deleted ones.
    pub empty: bool,
    /// How many events of each entry's chain; 0: none.
    pub chain: u32,
}

impl Scope {
    pub(super) fn ask(&self, action: &str, path: &Path) -> Request {
        let mut request = Request::new(action).path(path).count("nchain", self.chain.into());
        if self.min_depth > 0 {
            request = request.count("min_depth", self.min_depth.into());
        }
        if let Some(depth) = self.max_depth {
            request = request.count("max_depth", depth.into());
        }
        if self.empty {
            request = request.flag("empty", true);
        }
        request
    }
}

/// The entries of a subtree, parents before their children.
#[derive(Debug)]
pub struct Tree {
    stream: Stream,
    paths: Paths,
}

impl Tree {
    pub(super) async fn open(client: &Client, path: &Path, scope: &Scope) -> Result<Self, Error> {
        let stream = client.stream(scope.ask("get_tree", path)).await?;
        Ok(Self { stream, paths: Paths::new(path) })
    }

    /// The next entry; none at the end. A future that is dropped has taken nothing.
    ///
    /// # Errors
    /// What the server refuses, and the loss of the connection: then what came is not the whole.
    pub async fn next(&mut self) -> Result<Option<Entry>, Error> {
        while let Some(reply) = self.stream.next().await? {
            if reply.state().is_none() {
                return self.paths.entry(&reply).map(Some);
            }
        }
        Ok(None)
    }

    /// All entries that are left. They are as many as the subtree has: for large ones use [`Tree::next`].
    pub async fn collect(mut self) -> Result<Vec<Entry>, Error> {
        let mut entries = Vec::new();
        while let Some(entry) = self.next().await? {
            entries.push(entry);
        }
        Ok(entries)
    }
}
