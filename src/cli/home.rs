//! Internal data as the verbs `user` and `acl` read and change it: on a server, or in a data directory on which none runs.
//!
//! What is written is written in one step, and only if what was read before is still so.

use std::collections::HashMap;
use std::path::{Path as FilePath, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use distkv_store::access;
use distkv_store::journal::{Durability, OpenError};
use distkv_store::meta::Meta;
use distkv_store::path::{Element, Path, PathRef};
use distkv_store::store::{Options, Store};
use distkv_store::ticks::NodeName;
use distkv_store::tree::Progress;
use distkv_store::value::Value;
use distkv_store::view::{Step, Terms, View, WalkOptions, Who, Write};

use super::connect::{Connect, block_on};
use crate::client::{Client, Scope, Version};

/// How many entries are read from a directory at a time, and how many bytes.
const SLICE: usize = 1024;
const SLICE_BYTES: usize = 1 << 20;

/// Internal data: that of the whole store, or that of a root.
pub(super) struct Home {
    base: Path,
    at: At,
}

/// Where it is.
enum At {
    /// On a server. Each version that was read is a condition of the write: none for an entry that was not there.
    Server { client: Client, read: HashMap<Path, Option<Version>> },
    /// In a directory, which is locked for us.
    Directory { store: Store, view: View },
}

/// Which internal data is meant.
#[derive(Debug, clap::Args)]
pub(super) struct Place {
    /// In this data directory, on which no server runs, and not on a server
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Those of this root: its users see it as the whole, and log in as NAME@ROOT
    #[arg(long, value_name = "ROOT")]
    of: Option<Path>,
}

impl Place {
    /// What a user of this place logs in as.
    pub(super) fn login(&self, name: &str) -> String {
        match &self.of {
            Some(root) if !root.is_root() => format!("{name}@{root}"),
            _ => name.to_owned(),
        }
    }
}

/// A change of one entry: no value deletes it.
pub(super) type Change = (Path, Option<Value>);

impl Home {
    /// Does something with the data of a place.
    pub(super) fn with<W>(connect: &Connect, place: &Place, work: W) -> anyhow::Result<ExitCode>
    where
        W: AsyncFnOnce(&mut Self) -> anyhow::Result<()>,
    {
        let base = access::home(place.of.as_ref().unwrap_or(&Path::root()).as_path())?;
        let work = async |at| {
            work(&mut Self { base, at }).await?;
            Ok(ExitCode::SUCCESS)
        };
        let Some(dir) = &place.data_dir else {
            return connect.run(async |client| work(At::Server { client, read: HashMap::new() }).await);
        };
        let store = open(dir)?;
        let view = store.view(Who::system());
        block_on(async { work(At::Directory { store, view }).await })
    }

    /// Where it begins.
    pub(super) fn base(&self) -> &Path {
        &self.base
    }

    /// A path of it.
    pub(super) fn path(&self, names: &[&str]) -> anyhow::Result<Path> {
        let names = names.iter().map(|name| Element::str(name));
        Ok(Path::from_elements(self.base.elements().chain(names))?)
    }

    /// Is it known without looking that logins are on? (Those of a root are on when the whole store's are.)
    pub(super) fn is_past_logins(&self) -> bool {
        let whole = self.base.len() == 1;
        !whole || matches!(&self.at, At::Server { client, .. } if client.is_logged_in())
    }

    /// The value of an entry.
    pub(super) async fn read(&mut self, path: &Path) -> anyhow::Result<Option<Value>> {
        match &mut self.at {
            At::Server { client, read } => {
                let entry = client.entry(path, 1).await?;
                let version = entry.version().filter(|_| entry.value.is_some()).cloned();
                read.insert(path.clone(), version);
                Ok(entry.value)
            }
            At::Directory { view, .. } => Ok(view.get(path.as_path())?.and_then(|entry| entry.value.clone())),
        }
    }

    /// All entries at and below a path which have a value.
    pub(super) async fn entries(&mut self, path: &Path) -> anyhow::Result<Vec<(Path, Value)>> {
        match &mut self.at {
            At::Server { client, .. } => {
                let entries = match client.tree(path, &Scope::default()).await?.collect().await {
                    Err(error) if error.is_not_found() => Vec::new(),
                    entries => entries?,
                };
                Ok(entries.into_iter().filter_map(|entry| Some((entry.path, entry.value?))).collect())
            }
            At::Directory { view, .. } => walk(view, path.as_path()),
        }
    }

    /// Makes all of these changes, or none.
    pub(super) async fn write(&mut self, changes: Vec<Change>) -> anyhow::Result<()> {
        match &mut self.at {
            At::Server { client, read } => {
                let batch = changes.iter().fold(client.batch(), |batch, (path, value)| {
                    let batch = match value {
                        Some(value) => batch.set_raw(path, value),
                        None => batch.delete(path),
                    };
                    match read.get(path) {
                        Some(Some(version)) => batch.if_version(version),
                        Some(None) => batch.if_new(),
                        None => batch,
                    }
                });
                batch.await?;
            }
            At::Directory { store, view } => {
                let writes = changes.iter().map(|(path, value)| Write {
                    path: path.as_path(),
                    value: value.clone(),
                    meta: Meta::default(),
                    terms: Terms::default(),
                });
                view.set_many(writes.collect())?;
                store.sync()?;
            }
        }
        Ok(())
    }
}

fn walk(view: &View, path: PathRef<'_>) -> anyhow::Result<Vec<(Path, Value)>> {
    let mut entries = Vec::new();
    let mut walk = view.walk(path, WalkOptions { min_depth: 0, max_depth: None, empty: false })?;
    loop {
        let progress = view.walk_on(&mut walk, SLICE, SLICE_BYTES, &mut |path, entry| {
            let value = entry.and_then(|entry| entry.value.clone());
            entries.extend(value.map(|value| (path.to_path(), value)));
            Step::On
        });
        if progress == Progress::Done {
            return Ok(entries);
        }
    }
}

/// Opens a data directory for ourselves. What it holds of sessions stays: no snapshot is taken.
pub(super) fn open(dir: &FilePath) -> anyhow::Result<Store> {
    let shown = || PathBuf::from(dir).display().to_string();
    let open = |name: &str| -> anyhow::Result<_> {
        let options = Options {
            durability: Durability::Always,
            hold_snapshots: true,
            ..Options::new(NodeName::new(name)?)
        };
        Ok(Store::open(dir, options, &mut |_| {}))
    };
    let opened = match open(&crate::server::host_name())? {
        // A directory that is not new has the name of its node.
        Err(OpenError::OtherNode { found, .. }) => open(&found)?,
        opened => opened,
    };
    match opened {
        Ok((store, _)) => Ok(store),
        Err(OpenError::Locked { .. }) => {
            bail!(
                "a server runs on {}: stop it first, or leave --data-dir away to do this through it",
                shown()
            )
        }
        Err(error) => Err(error).with_context(|| format!("can't open {}", shown())),
    }
}
