//! Several writes in one commit: all of them or none.

use crate::meta::Meta;
use crate::path::{Path, PathRef, Pattern};
use crate::tree::Progress;
use crate::value::Value;

use super::{Committed, Cursor, Gate, Terms, View, WriteError};

/// How many writes one commit takes.
pub const WRITES_MAX: usize = 4096;

/// How many bytes of paths, values and meta data, all together.
pub const BYTES_MAX: usize = 64 << 20;

/// How many entries are deleted in one commit by [`View::delete_some`].
const DELETIONS: usize = 1024;

/// One of the writes of a batch.
#[derive(Clone, Debug)]
pub struct Write<'a> {
    /// Where.
    pub path: PathRef<'a>,
    /// What; `None` deletes.
    pub value: Option<Value>,
    /// The facts beside it. (Time and user are set by the view.)
    pub meta: Meta,
    /// What must hold for it.
    pub terms: Terms<'a>,
}

/// Why a batch was not taken. Nothing has changed, and nobody was told.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    /// One of its writes can't be taken, so none was.
    #[error("write {at} of the batch: {error}")]
    Write {
        /// Which one; the first is 0.
        at: usize,
        /// What is wrong with it.
        error: WriteError,
    },
    /// It writes one entry twice, so which of both is meant can't be told.
    #[error("the batch writes {path} twice")]
    Twice {
        /// The entry.
        path: Path,
    },
    /// There are too many writes in it.
    #[error("the batch has {writes} writes, and {WRITES_MAX} are the limit: divide it")]
    TooMany {
        /// How many.
        writes: usize,
    },
    /// The writes are too long together.
    #[error("the batch has {bytes} bytes, and {BYTES_MAX} are the limit: divide it")]
    TooLong {
        /// How long.
        bytes: usize,
    },
}

impl View {
    /// Takes several writes in one commit: all of them or, if something is wrong with one, none. What is there before all of them is what their
    /// terms are held against. They are told one after another, in their order, with nothing between; they are kept
    /// together or not at all. The answers are in their order, too.
    pub fn set_many(&self, mut writes: Vec<Write<'_>>) -> Result<Vec<Committed>, BatchError> {
        if writes.len() > WRITES_MAX {
            return Err(BatchError::TooMany { writes: writes.len() });
        }
        for write in &mut writes {
            write.meta = self.stamp(std::mem::take(&mut write.meta));
        }
        check(&writes)?;
        let Some(guard) = &self.guard else { return self.shared().commit_batch(writes, &[]) };
        let mut entrances = Vec::with_capacity(writes.len());
        for (at, write) in writes.iter_mut().enumerate() {
            let entrance = guard.enter_to_write(write.path, write.value.is_some(), &mut write.terms);
            entrances.push(entrance.map_err(|error| BatchError::Write { at, error })?);
        }
        let gates: Vec<Option<Gate>> = entrances.iter_mut().map(|entrance| entrance.gate.take()).collect();
        let placed = writes.into_iter().zip(&entrances);
        let placed = placed.map(|(write, entrance)| Write { path: entrance.place.as_path(), ..write });
        let committed =
            self.shared().commit_batch(placed.collect(), &gates).map_err(|error| match error {
                BatchError::Write { at, error } => {
                    let error = match entrances.get(at) {
                        Some(entrance) => entrance.refusal(error),
                        None => error,
                    };
                    BatchError::Write { at, error }
                }
                error => error,
            })?;
        Ok(committed.into_iter().zip(&entrances).map(|(it, entrance)| entrance.answer(guard, it)).collect())
    }

    /// Deletes entries that a [`cursor`](Self::cursor) comes to: some, in one commit, which is short enough to hold nobody up. Call it until
    /// it answers [`Progress::Done`]. What is written meanwhile before the cursor's place stays; what is written behind it is deleted.
    ///
    /// What the user may not delete is passed over, and what lies below a level that he may not list or pass. `deleted` is told of each, in
    /// order, once they are committed; of what it was, only if the user may read it.
    pub fn delete_some(
        &self,
        cursor: &mut Cursor,
        meta: Meta,
        deleted: &mut dyn FnMut(PathRef<'_>, &Committed),
    ) -> Result<Progress, WriteError> {
        let meta = self.stamp(meta);
        let Some(guard) = &self.guard else {
            return self.shared().delete_some(&mut cursor.scan, DELETIONS, &meta, &|_| false, deleted);
        };
        let listed = cursor.listed.as_ref();
        guard.check_listed(listed)?;
        let generation = guard.generation();
        let spare = |place: PathRef<'_>| !guard.may_delete(place, listed);
        self.shared().delete_some(&mut cursor.scan, DELETIONS, &meta, &spare, &mut |place, committed| {
            let mut committed = committed.clone();
            if !guard.may_read(place) || generation != guard.generation() {
                committed.previous = None;
            }
            guard.with_name(place, |path| deleted(path, &committed));
        })
    }

    /// Deletes `path` and all below it: see [`View::delete_some`]. Answers how many entries with a value there were.
    pub fn delete_tree(&self, path: PathRef<'_>, meta: &Meta) -> Result<u64, WriteError> {
        // Below a path of as many elements as there may be there is nothing.
        let pattern = Pattern::subtree(path).or_else(|_| Pattern::exactly(path));
        let Ok(pattern) = pattern else { return Ok(0) };
        let mut cursor = self.cursor(pattern);
        let mut count = 0;
        while self.delete_some(&mut cursor, meta.clone(), &mut |_, _| count += 1)? == Progress::More {}
        Ok(count)
    }
}

/// What can be said against a batch without looking at the store.
fn check(writes: &[Write<'_>]) -> Result<(), BatchError> {
    let bytes = writes.iter().map(|write| {
        let value = write.value.as_ref().map_or(0, |value| value.as_bytes().len());
        let properties = write.meta.properties().map_or(0, <[u8]>::len);
        let user = write.meta.user().map_or(0, |user| user.len());
        write.path.as_bytes().len() + value + properties + user
    });
    let bytes = bytes.fold(0, usize::saturating_add);
    if bytes > BYTES_MAX {
        return Err(BatchError::TooLong { bytes });
    }
    let mut paths: Vec<PathRef<'_>> = writes.iter().map(|write| write.path).collect();
    paths.sort_unstable();
    match paths.windows(2).find(|pair| pair.first() == pair.last()) {
        Some(pair) => {
            Err(BatchError::Twice { path: pair.first().copied().map(PathRef::to_path).unwrap_or_default() })
        }
        None => Ok(()),
    }
}
