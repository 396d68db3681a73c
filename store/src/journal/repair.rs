//! Saving what is left of a damaged data directory into a new one. The damaged one stays as it is.

use std::path::Path;

use super::fs::{DiskFs, Fs};
use super::reader::{Reader, Summary};
use super::segment::Inventory;
use super::{Journal, JournalOptions, OpenError};

/// What was saved, and what was not.
#[derive(Clone, Debug)]
pub struct RepairReport {
    /// The node whose data it is.
    pub node: String,
    /// What was read; its troubles are what is lost.
    pub summary: Summary,
}

/// Copies every whole record of `from` into the new directory `to`, in order.
///
/// The order and wholeness of the log are lost where something was damaged: an entry may be back at an older version, a session may
/// lack some of its changes. `node` names the node if the directory does not tell.
pub fn repair(from: &Path, to: &Path, node: &str) -> Result<RepairReport, OpenError> {
    let reader = Reader::open(from)?;
    if let Some(holder) = reader.in_use() {
        return Err(OpenError::Locked { dir: from.to_owned(), holder: holder.clone() });
    }
    let fs = DiskFs::create(to).map_err(|error| OpenError::io("make directory", to.to_owned(), error))?;
    let files = Inventory::read(&fs).map_err(|error| OpenError::io("list", fs.path(""), error))?;
    if !files.is_empty() {
        return Err(OpenError::NotEmpty { dir: to.to_owned() });
    }
    let node = reader.node().unwrap_or(node).to_owned();
    let (journal, _) = Journal::open(to, &node, JournalOptions::default(), &mut |_, _| Ok(()))?;
    let summary = reader.read(&mut |found| {
        journal.append(found.kind, found.payload);
    })?;
    journal.close()?;
    Ok(RepairReport { node, summary })
}
