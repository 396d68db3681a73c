//! Loads a file into a store.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use distkv_store::journal::JournalFailed;
use distkv_store::replica::Foreign;
use distkv_store::store::{Imported, Store};
use distkv_store::ticks::{NodeName, Tick, TickSet};
use distkv_store::view::WriteError;

use super::reader::{ReadError, Reader, Record, State};

/// How many events are taken in at a time, and how many bytes of values, or a single larger one.
const BATCH: usize = 1024;
const BATCH_BYTES: usize = 1 << 20;

/// The pause when more is loaded than the disk takes.
const PAUSE: Duration = Duration::from_millis(20);

/// What was loaded.
#[derive(Debug, Default)]
pub struct Loaded {
    /// How many records there were.
    pub records: u64,
    /// What has come of the events among them.
    pub events: Imported,
    /// Records which say something that is not known here.
    pub strange: u64,
    /// Nodes whose names could not be kept: as in the file, and as here.
    pub renamed: Vec<(String, NodeName)>,
    /// How many bytes of an unfinished record there are at the end: whoever wrote the file was stopped in the middle of it.
    pub cut: usize,
}

/// Why a file was not loaded as a whole. What stands before the fault may be in the store; to load the file again does no harm.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It can't be opened.
    #[error("can't open {}: {source}", file.display())]
    Open {
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It can't be read or understood.
    #[error("{}, record {record}: {source}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Which record; the first is 1.
        record: u64,
        /// What is wrong.
        source: ReadError,
    },
    /// The store does not take it.
    #[error("{}, near record {record}: {source}", file.display())]
    Write {
        /// The file.
        file: PathBuf,
        /// Which record; the first is 1.
        record: u64,
        /// Why.
        source: WriteError,
    },
    /// The journal has failed.
    #[error(transparent)]
    Journal(#[from] JournalFailed),
}

/// Loads a file, and waits until all of it is kept. `progress` is told now and then how many bytes were read, and of how many.
///
/// The events keep their nodes, numbers and places in time; they meet what is in the store by the rules for events from elsewhere, so to load
/// a file twice does nothing, and several may be loaded, in any order.
pub fn load(store: &Store, file: &Path, progress: &mut dyn FnMut(u64, u64)) -> Result<Loaded, LoadError> {
    let open = || -> std::io::Result<(File, u64)> {
        let file = File::open(file)?;
        let bytes = file.metadata()?.len();
        Ok((file, bytes))
    };
    let (source, total) = open().map_err(|source| LoadError::Open { file: file.to_owned(), source })?;
    let mut reader = Reader::new(source);
    let mut loading =
        Loading { store, loaded: Loaded::default(), batch: Vec::new(), bytes: 0, state: State::default() };
    loop {
        let next = reader.next();
        let record = reader.records;
        let failed = |source| LoadError::Write { file: file.to_owned(), record, source };
        match next {
            Ok(Some(record)) => {
                if loading.take(record).map_err(failed)? {
                    progress(reader.bytes, total);
                }
            }
            Ok(None) => {
                loading.finish().map_err(failed)?;
                break;
            }
            Err(source) => {
                // What stands before it is good.
                loading.import().map_err(failed)?;
                return Err(LoadError::Read { file: file.to_owned(), record, source });
            }
        }
    }
    store.sync()?;
    let Loading { mut loaded, .. } = loading;
    loaded.records = reader.records;
    loaded.renamed = reader.renamed();
    loaded.cut = reader.rest();
    Ok(loaded)
}

struct Loading<'s> {
    store: &'s Store,
    loaded: Loaded,
    batch: Vec<Foreign>,
    bytes: usize,
    /// What all states of the file say together. It is taken in at the end: an event that a state names may stand behind it.
    state: State,
}

impl Loading<'_> {
    /// Takes a record; answers whether something has been put into the store.
    fn take(&mut self, record: Record) -> Result<bool, WriteError> {
        match record {
            Record::Event(event) => {
                self.bytes += event.value.as_ref().map_or(0, |value| value.as_bytes().len());
                self.batch.push(*event);
            }
            Record::State(state) => self.state.add(state),
            Record::Strange => self.loaded.strange += 1,
        }
        let full = self.batch.len() == BATCH || self.bytes >= BATCH_BYTES;
        if full {
            self.import()?;
        }
        Ok(full)
    }

    fn import(&mut self) -> Result<(), WriteError> {
        let batch = std::mem::take(&mut self.batch);
        self.bytes = 0;
        loop {
            match self.store.import(batch.clone()) {
                Ok(imported) => {
                    self.loaded.events.add(imported);
                    return Ok(());
                }
                Err(WriteError::Overloaded) => std::thread::sleep(PAUSE),
                Err(error) => return Err(error),
            }
        }
    }

    fn finish(&mut self) -> Result<(), WriteError> {
        self.import()?;
        let State { nodes, mut known, mut deleted } = std::mem::take(&mut self.state);
        let names: std::collections::BTreeSet<NodeName> =
            nodes.keys().chain(known.keys()).chain(deleted.keys()).cloned().collect();
        for node in names {
            let known = known.remove(&node).unwrap_or_default();
            let deleted = deleted.remove(&node).unwrap_or_default();
            self.store.account_for(&node, &known, &deleted)?;
            self.store.go_above(&node, nodes.get(&node).copied().unwrap_or_default());
        }
        Ok(())
    }
}

impl State {
    fn add(&mut self, other: Self) {
        let add = |sets: &mut BTreeMap<NodeName, TickSet>, others: BTreeMap<NodeName, TickSet>| {
            for (node, ticks) in others {
                sets.entry(node).or_default().union(&ticks);
            }
        };
        add(&mut self.known, other.known);
        add(&mut self.deleted, other.deleted);
        for (node, last) in other.nodes {
            let known: &mut Tick = self.nodes.entry(node).or_default();
            *known = last.max(*known);
        }
    }
}
