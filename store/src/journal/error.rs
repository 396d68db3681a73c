//! What can go wrong with a data directory, told to people: what happened, and what to do.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::lock::{Holder, LockError};

/// Why a data directory can't be opened. Nothing in it was changed, unless a variant says so.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error(
        "the data directory {dir} is in use by {holder}: stop that one first, or give this one a directory of its own"
    )]
    Locked {
        /// The directory.
        dir: PathBuf,
        /// Who has it.
        holder: Holder,
    },
    /// The operating system refuses.
    #[error("can't {what} {path}: {source}{}", hint(source))]
    Io {
        /// What was tried, as a verb.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The directory belongs to another node.
    #[error(
        "the data directory {dir} belongs to node {found:?}, and this is node {given:?}: start with the name {found:?}, or give this node a directory of its own"
    )]
    OtherNode {
        /// The directory.
        dir: PathBuf,
        /// The node that made it.
        found: String,
        /// The node which wants to open it.
        given: String,
    },
    /// There is data, but the file that says whose is missing.
    #[error(
        "{path} is missing, though the directory holds data: put that file back from a backup, or save the data with `distkv repair`"
    )]
    NodeFileMissing {
        /// The missing file.
        path: PathBuf,
    },
    /// That file can't be understood.
    #[error(
        "{path} is damaged: put it back from a backup, or save the data with `distkv repair`. If this is not a data directory of DistKV, choose another one"
    )]
    NodeFileDamaged {
        /// The file.
        path: PathBuf,
    },
    /// A file has a format that this program does not know.
    #[error("{path} has format {found}, this program knows format {known}: {}", format_hint(*found, *known))]
    Format {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u16,
        /// Ours.
        known: u16,
    },
    /// A file that was copied here from another data directory.
    #[error(
        "{path} belongs to another data directory: move it away, and put back the file that belongs here, if there was one"
    )]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// A file that must be there is not.
    #[error(
        "{path} is missing: put it back from a backup, or save what is left with `distkv repair` (`distkv dump` shows it)"
    )]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// A file is damaged where it had been synced.
    #[error(
        "{path} is damaged at byte {offset}: {what}. Nothing was changed. Put the file back from a backup, or look at what is readable with `distkv dump` and save it with `distkv repair`"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the damage begins.
        offset: u64,
        /// What is wrong there.
        what: String,
    },
    /// A record is whole, but what it says can't be understood.
    #[error(
        "{path}: the record at byte {offset} can't be understood: {what}. It may be from a newer version of this program; else save the data with `distkv repair`"
    )]
    Record {
        /// The file.
        path: PathBuf,
        /// Where the record begins.
        offset: u64,
        /// What is wrong with it.
        what: String,
    },
    /// There is nothing of ours.
    #[error("{dir} is no data directory of DistKV: it holds neither a file NODE nor a journal")]
    Nothing {
        /// The directory.
        dir: PathBuf,
    },
    /// Data is to be saved into a directory that holds some.
    #[error("{dir} holds data already: name a directory that is empty or does not exist")]
    NotEmpty {
        /// The directory.
        dir: PathBuf,
    },
    /// The journal failed while data was saved.
    #[error(transparent)]
    Journal(#[from] JournalFailed),
    /// No random numbers.
    #[error("the operating system gives no random numbers: {0}")]
    Random(String),
}

impl OpenError {
    /// The operating system refused `what` on `path`.
    pub fn io(what: &'static str, path: PathBuf, source: io::Error) -> Self {
        Self::Io { what, path, source }
    }

    /// The lock of `dir` was not got.
    pub(super) fn lock(dir: PathBuf, error: LockError) -> Self {
        match error {
            LockError::Held(holder) => Self::Locked { dir, holder },
            LockError::Io(source) => Self::io("lock", dir, source),
        }
    }
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            ". The directory must be readable and writable for the user which the server runs as"
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ". Free some space on that disk",
        io::ErrorKind::ReadOnlyFilesystem => ". Mount that disk for writing, or choose another directory",
        _ => "",
    }
}

fn format_hint(found: u16, known: u16) -> &'static str {
    if found > known {
        "it was written by a newer version. Use that version or a later one"
    } else {
        "it was written by an older version. Export the data with that version"
    }
}

/// The journal can't be kept any more: a write or a sync failed, or it was closed. Nothing is acknowledged from then on,
/// since nobody knows what of the last writes is on disk. A failed sync is not tried again: the operating
/// system may have dropped the data and would answer the second time that all is well.
#[derive(Clone, Debug, thiserror::Error)]
pub enum JournalFailed {
    /// The operating system refused.
    #[error(
        "the journal can't be kept: {what} {path} failed: {source}. Nothing is acknowledged any more; {}, then start the server again",
        remedy(source)
    )]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: Arc<io::Error>,
    },
    /// It was closed by its owner.
    #[error("the store is closed")]
    Closed,
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "free some space on that disk",
        _ => "check that disk",
    }
}

/// Why there is no snapshot. The journal is as before; the next attempt comes by itself.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The file can't be written.
    #[error("can't {what} {path}: {source}{}", hint(source))]
    Io {
        /// What was tried, as a verb.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The journal has failed before.
    #[error(transparent)]
    Journal(#[from] JournalFailed),
}
