//! Internal data as the verbs `user` and `acl` read and change it: on a server, or in a data directory on which none runs.
//!
//! What is written is written in one step, and only if what was read before is still so.

use std::collections::HashMap;
use std::path::{Path as FilePath, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use distkv_store::journal::{Durability, OpenError};
use distkv_store::meta::Meta;
use distkv_store::path::{Path, PathRef};
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

/// Where internal data is.
pub(super) enum Home {
    /// On a server. Each version that was read is a condition of the write: none for an entry that was not there.
    Server { client: Client, read: HashMap<Path, Option<Version>> },
    /// In a directory, which is locked for us.
    Directory { store: Store, view: View },
}

/// A change of one entry: no value deletes it.
pub(super) type Change = (Path, Option<Value>);

impl Home {
    /// Does something with the data in this directory, or else on the server.
    pub(super) fn with<W>(connect: &Connect, data_dir: Option<&FilePath>, work: W) -> anyhow::Result<ExitCode>
    where
        W: AsyncFnOnce(&mut Self) -> anyhow::Result<ExitCode>,
    {
        let Some(dir) = data_dir else {
            return connect
                .run(async |client| work(&mut Self::Server { client, read: HashMap::new() }).await);
        };
        let store = open(dir)?;
        let view = store.view(Who::system());
        block_on(async { work(&mut Self::Directory { store, view }).await })
    }

    /// The value of an entry.
    pub(super) async fn read(&mut self, path: &Path) -> anyhow::Result<Option<Value>> {
        match self {
            Self::Server { client, read } => {
                let entry = client.entry(path, 1).await?;
                let version = entry.version().filter(|_| entry.value.is_some()).cloned();
                read.insert(path.clone(), version);
                Ok(entry.value)
            }
            Self::Directory { view, .. } => {
                Ok(view.get(path.as_path())?.and_then(|entry| entry.value.clone()))
            }
        }
    }

    /// All entries at and below a path which have a value.
    pub(super) async fn entries(&mut self, path: &Path) -> anyhow::Result<Vec<(Path, Value)>> {
        match self {
            Self::Server { client, .. } => {
                let entries = match client.tree(path, &Scope::default()).await?.collect().await {
                    Err(error) if error.is_not_found() => Vec::new(),
                    entries => entries?,
                };
                Ok(entries.into_iter().filter_map(|entry| Some((entry.path, entry.value?))).collect())
            }
            Self::Directory { view, .. } => walk(view, path.as_path()),
        }
    }

    /// Makes all of these changes, or none.
    pub(super) async fn write(&mut self, changes: Vec<Change>) -> anyhow::Result<()> {
        match self {
            Self::Server { client, read } => {
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
            Self::Directory { store, view } => {
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
fn open(dir: &FilePath) -> anyhow::Result<Store> {
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
            bail!("a server runs on {}; leave --data-dir away to change its users through it", shown())
        }
        Err(error) => Err(error).with_context(|| format!("can't open {}", shown())),
    }
}
