//! How much the store may hold. Asked at the commit point, under the replica's lock, so that no two writers pass it together.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::path::PathRef;
use crate::replica::Replica;
use crate::value::Value;
use crate::view::WriteError;

/// What local writes may bring the store to. What is there already may change, as long as it does not grow, and go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Entries with a value, internal ones left out.
    pub entries: u64,
    /// Bytes of all paths and values.
    pub bytes: u64,
}

impl Quota {
    /// No limit at all.
    pub const NONE: Self = Self { entries: u64::MAX, bytes: u64::MAX };
}

/// The quota in force.
#[derive(Debug)]
pub(super) struct InForce {
    entries: AtomicU64,
    bytes: AtomicU64,
}

impl InForce {
    pub(super) fn set(&self, quota: Quota) {
        self.entries.store(quota.entries, Ordering::Relaxed);
        self.bytes.store(quota.bytes, Ordering::Relaxed);
    }

    /// May this value be written? Internal data always may: it is how the node keeps itself in order.
    pub(super) fn admit(
        &self,
        replica: &Replica,
        path: PathRef<'_>,
        value: Option<&Value>,
    ) -> Result<(), WriteError> {
        let Some(value) = value else { return Ok(()) };
        let entries = self.entries.load(Ordering::Relaxed);
        let bytes = self.bytes.load(Ordering::Relaxed);
        let (no_entries, no_bytes) = (entries == u64::MAX, bytes == u64::MAX);
        if (no_entries && no_bytes) || path.is_internal() {
            return Ok(());
        }
        let counts = replica.counts();
        if counts.values < entries && no_bytes {
            return Ok(());
        }
        let known = replica.get(path);
        let known_value = known.and_then(|entry| entry.value.as_ref());
        if known_value.is_none() && counts.values >= entries {
            return Err(WriteError::TooManyEntries { limit: entries });
        }
        let path_bytes = if known.is_none() { path.as_bytes().len() } else { 0 };
        let added = path_bytes + value.as_bytes().len();
        let freed = known_value.map_or(0, |value| value.as_bytes().len());
        let grows = (added as u64).saturating_sub(freed as u64);
        if grows > 0 && counts.bytes.saturating_add(grows) > bytes {
            return Err(WriteError::TooManyBytes { limit: bytes });
        }
        Ok(())
    }

    /// May all of these be written together? If not, the first that has no room, and why. No path comes twice.
    pub(super) fn admit_all<'w>(
        &self,
        replica: &Replica,
        writes: impl Iterator<Item = (PathRef<'w>, Option<&'w Value>)>,
    ) -> Result<(), (usize, WriteError)> {
        let entries = self.entries.load(Ordering::Relaxed);
        let bytes = self.bytes.load(Ordering::Relaxed);
        if (entries, bytes) == (u64::MAX, u64::MAX) {
            return Ok(());
        }
        let counts = replica.counts();
        // What is freed counts from its place in the batch on.
        let (mut values, mut used) = (counts.values, counts.bytes);
        for (at, (path, value)) in writes.enumerate().filter(|(_, (path, _))| !path.is_internal()) {
            let known = replica.get(path);
            let known_value = known.and_then(|entry| entry.value.as_ref());
            let freed = known_value.map_or(0, |value| value.as_bytes().len() as u64);
            let Some(value) = value else {
                values = values.saturating_sub(known_value.is_some().into());
                used = used.saturating_sub(freed);
                continue;
            };
            let path_bytes = if known.is_none() { path.as_bytes().len() } else { 0 };
            let added = (path_bytes + value.as_bytes().len()) as u64;
            if known_value.is_none() && values >= entries {
                return Err((at, WriteError::TooManyEntries { limit: entries }));
            }
            if added > freed && used.saturating_add(added - freed) > bytes {
                return Err((at, WriteError::TooManyBytes { limit: bytes }));
            }
            values += u64::from(known_value.is_none());
            used = used.saturating_add(added).saturating_sub(freed);
        }
        Ok(())
    }
}

impl Default for InForce {
    fn default() -> Self {
        Self { entries: AtomicU64::new(u64::MAX), bytes: AtomicU64::new(u64::MAX) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meta::Meta;
    use crate::path::Path;
    use crate::store::{Durability, Options, Store};
    use crate::ticks::NodeName;
    use crate::view::{View, Who};

    fn store() -> (Store, View) {
        let options = Options { durability: Durability::Memory, ..Options::new(NodeName::new("a").unwrap()) };
        let (store, _) = Store::open("/nowhere".as_ref(), options, &mut |_| ()).unwrap();
        let view = store.view(Who::system());
        (store, view)
    }

    fn set(view: &View, path: &str, bytes: usize) -> Result<(), WriteError> {
        let path: Path = path.parse().unwrap();
        view.set(path.as_path(), Value::string(&"x".repeat(bytes)), Meta::default(), None).map(drop)
    }

    fn delete(view: &View, path: &str) {
        let path: Path = path.parse().unwrap();
        view.delete(path.as_path(), Meta::default(), None).unwrap();
    }

    #[test]
    fn beyond_the_number_of_entries_old_ones_change_and_go_and_new_ones_are_refused() {
        let (store, view) = store();
        set(&view, "a", 1).unwrap();
        set(&view, "b", 1).unwrap();
        store.set_quota(Quota { entries: 2, ..Quota::NONE });
        assert!(matches!(set(&view, "c", 1), Err(WriteError::TooManyEntries { limit: 2 })));
        set(&view, "a", 100).unwrap();
        delete(&view, "b");
        set(&view, "c", 1).unwrap();
        assert!(set(&view, "b", 1).is_err(), "its tombstone is no entry");
        store.set_quota(Quota::NONE);
        set(&view, "b", 1).unwrap();
    }

    #[test]
    fn beyond_the_bytes_nothing_grows() {
        let (store, view) = store();
        set(&view, "a", 100).unwrap();
        let used = store.stats().counts.bytes;
        store.set_quota(Quota { bytes: used + 10, ..Quota::NONE });
        set(&view, "a", 110).unwrap();
        assert!(matches!(set(&view, "a", 111), Err(WriteError::TooManyBytes { .. })));
        assert!(set(&view, "b", 1).is_err());
        set(&view, "a", 50).unwrap();
        set(&view, "b", 1).unwrap();
        delete(&view, "b");
        assert!(store.stats().counts.bytes <= used + 10);
    }
}
