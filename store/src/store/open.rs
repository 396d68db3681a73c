//! From files to a store; and to what is readable without one.

use std::path::Path as FilePath;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use super::{Durability, Held, Options, Owner, Shared, Store};
use crate::access::Access;
use crate::clock;
use crate::feed::Feed;
use crate::journal::{Journal, Kind, OpenError, Reader, RecoveryReport, Summary};
use crate::replica::{Config, Recovery};
use crate::store::snapshots::{self, Snapshots};
use crate::ticks::{Life, Tock};

/// What was found when a store was opened.
#[derive(Clone, Debug, Default)]
pub struct OpenReport {
    /// What the journal found; nothing with [`Durability::Memory`].
    pub recovery: RecoveryReport,
    /// How many entries with a value there are.
    pub entries: u64,
    /// Whether the directory held nothing of this store before.
    pub fresh: bool,
}

type Apply<'a> = dyn FnMut(Kind, &[u8]) -> Result<(), String> + 'a;

pub(super) fn open(
    options: Options,
    local: &mut dyn FnMut(&[u8]),
    journal: impl FnOnce(&Options, &mut Apply<'_>) -> Result<(Journal, RecoveryReport), OpenError>,
) -> Result<(Store, OpenReport), OpenError> {
    let mut recovery = Recovery::new();
    let (journal, report) = if options.durability == Durability::Memory {
        (Journal::memory(), RecoveryReport::default())
    } else {
        journal(&options, &mut |kind, payload| match kind {
            Kind::Replica => recovery.apply(payload).map_err(|error| error.to_string()),
            Kind::Local => {
                local(payload);
                Ok(())
            }
            Kind::Synced | Kind::End => Ok(()),
        })?
    };
    let fresh = recovery.is_empty();
    if options.durability == Durability::Memory {
        // Above what an earlier run has told, if that made less than a thousand changes a second.
        recovery.begin_at(Tock::new(clock::wall_ms()).unwrap_or_default());
    }
    let life = Life(getrandom::u64().map_err(|error| OpenError::Random(error.to_string()))?);
    let mut record = Vec::new();
    let replica = recovery.start(Config::alone(options.node.clone()), life, &mut record);
    journal.append(Kind::Replica, &record);
    // The lease of ticks must be durable before the first of them is used.
    journal.sync()?;
    let entries = replica.counts().values;
    let access = Arc::new(Access::of(replica.tree()));
    let shared = Arc::new(Shared {
        held: RwLock::new(Held::new(replica)),
        readers: Default::default(),
        feed: Mutex::new(Feed::new(Arc::clone(&access))),
        access,
        snapshots: Snapshots::new(&options, &journal.stats()),
        journal,
        checkpoints: Mutex::new(Vec::new()),
        quota: Default::default(),
        options,
    });
    snapshots::start(&shared)?;
    let store = Store(Arc::new(Owner { shared }));
    Ok((store, OpenReport { recovery: report, entries, fresh }))
}

/// What is readable in a data directory, without a running store.
#[derive(Debug)]
pub struct Saved {
    /// The entries and the bookkeeping.
    pub recovery: Recovery,
    /// How many records of the embedder there are.
    pub local_records: u64,
    /// Whole records which could not be understood: their file, place and what is wrong, at most a hundred.
    pub strange: Vec<String>,
    /// What the journal's reader found.
    pub summary: Summary,
}

/// Reads all that is readable of a directory, which may be damaged, or in use by a server (then the last moments may be missing).
pub fn inspect(reader: &Reader, local: &mut dyn FnMut(&[u8])) -> Result<Saved, OpenError> {
    let mut recovery = Recovery::new();
    let mut local_records = 0;
    let mut strange = Vec::new();
    let summary = reader.read(&mut |found| match found.kind {
        Kind::Local => {
            local_records += 1;
            local(found.payload);
        }
        _ => {
            if let Err(error) = recovery.apply(found.payload)
                && strange.len() < 100
            {
                strange.push(format!("{} at byte {}: {error}", found.file, found.offset));
            }
        }
    })?;
    recovery.sweep();
    Ok(Saved { recovery, local_records, strange, summary })
}

/// As [`inspect`], by the directory's name.
pub fn inspect_dir(dir: &FilePath) -> Result<Saved, OpenError> {
    inspect(&Reader::open(dir)?, &mut |_| {})
}
