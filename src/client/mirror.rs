//! A copy of a subtree in this process, kept like the server's.

use std::collections::{BTreeMap, BTreeSet, btree_map};
use std::ops::Bound;
use std::sync::Arc;

use distkv_store::path::Path;
use parking_lot::RwLock;
use serde::de::DeserializeOwned;
use tokio::sync::watch::{Receiver, Sender, channel};

use super::entry::Entry;
use super::error::Error;
use super::tasks::Task;
use super::tree::Scope;
use super::watch::{Begin, Event, Watch};
use super::{Client, ToPath, typed};

/// A copy of a subtree in memory, which follows the server's. Reading it costs no message.
///
/// It holds the whole subtree: as much memory as that takes. While the connection is lost it stays as it was; afterwards it is brought up
/// to date. Dropping the last handle ends it.
#[derive(Clone, Debug)]
pub struct Mirror {
    shared: Arc<Shared>,
    _task: Arc<Task>,
}

#[derive(Debug)]
struct Shared {
    client: Client,
    path: Path,
    copy: RwLock<Copy>,
    progress: Sender<Progress>,
}

/// How far the mirror is.
#[derive(Clone, Debug, Default)]
struct Progress {
    /// Grows with everything that the copy takes up.
    changes: u64,
    /// Has the copy been whole?
    complete: bool,
    /// Why it follows no more.
    end: Option<Error>,
}

#[derive(Debug, Default)]
struct Copy {
    entries: BTreeMap<Path, Entry>,
    /// Everything up to here is in it.
    tock: u64,
    /// Deleted entries that are remembered, so that an older message does not bring them back.
    graves: Vec<Path>,
    /// How many second watches bring entries, which may be older than what the first one tells.
    helpers: usize,
}

impl Copy {
    /// Takes an entry up, unless it is older than what is here. Whether that changed anything.
    fn take(&mut self, entry: Entry) -> bool {
        let deleted = entry.value.is_none().then(|| entry.path.clone());
        match self.entries.entry(entry.path.clone()) {
            btree_map::Entry::Occupied(held) if held.get().tock >= entry.tock => return false,
            btree_map::Entry::Occupied(mut held) => drop(held.insert(entry)),
            btree_map::Entry::Vacant(place) => drop(place.insert(entry)),
        }
        self.graves.extend(deleted);
        true
    }

    /// Forgets what the whole subtree did not tell; up to `tock`, as what is newer was told beside it.
    fn sweep(&mut self, told: &BTreeSet<Path>, tock: u64) {
        self.entries.retain(|path, entry| entry.tock > tock || told.contains(path));
        self.bury();
    }

    /// Forgets deleted entries of which no older message can come any more.
    fn bury(&mut self) {
        if self.helpers > 0 {
            return;
        }
        let Self { entries, graves, tock, .. } = self;
        graves.retain(|path| match entries.get(path) {
            Some(entry) if entry.value.is_some() => false,
            Some(entry) if entry.tock > *tock => true,
            _ => {
                entries.remove(path);
                false
            }
        });
    }
}

/// A second watch is under way as long as this lives.
struct Helper<'a>(&'a Shared);

impl<'a> Helper<'a> {
    fn new(shared: &'a Shared) -> Self {
        shared.copy.write().helpers += 1;
        Self(shared)
    }
}

impl Drop for Helper<'_> {
    fn drop(&mut self) {
        let mut copy = self.0.copy.write();
        copy.helpers -= 1;
        copy.bury();
    }
}

impl Mirror {
    pub(super) async fn open(client: &Client, path: Path) -> Result<Self, Error> {
        let watch = Watch::open(client, &path, Scope { chain: 1, ..Scope::default() }, Begin::Whole).await?;
        let (progress, mut seen) = channel(Progress::default());
        let shared = Arc::new(Shared { client: client.clone(), path, copy: RwLock::default(), progress });
        let task = Arc::new(Task::start(Arc::clone(&shared).follow(watch)));
        let this = Self { shared, _task: task };
        wait(&mut seen, |progress| progress.complete).await?;
        Ok(this)
    }

    /// The entry at a path (a whole one, not one below the mirror's), if it has a value.
    pub fn entry(&self, path: impl ToPath) -> Result<Option<Entry>, Error> {
        let path = path.to_path()?;
        let copy = self.shared.copy.read();
        Ok(copy.entries.get(&path).filter(|entry| entry.value.is_some()).cloned())
    }

    /// The value at a path, if it has one.
    pub fn get<T: DeserializeOwned>(&self, path: impl ToPath) -> Result<Option<T>, Error> {
        let Some(entry) = self.entry(path)? else { return Ok(None) };
        entry.value.as_ref().map(typed::from_value).transpose()
    }

    /// All entries at and below a path that have a value, in the order of paths.
    pub fn entries(&self, below: impl ToPath) -> Result<Vec<Entry>, Error> {
        let below = below.to_path()?;
        let copy = self.shared.copy.read();
        let range = copy.entries.range((Bound::Included(&below), Bound::Unbounded));
        let entries = range.take_while(|(path, _)| path.starts_with(&below)).map(|(_, entry)| entry);
        Ok(entries.filter(|entry| entry.value.is_some()).cloned().collect())
    }

    /// How many entries have a value.
    pub fn len(&self) -> usize {
        self.shared.copy.read().entries.values().filter(|entry| entry.value.is_some()).count()
    }

    /// Whether no entry has a value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits until the mirror has taken up a change which comes after this call.
    ///
    /// # Errors
    /// If the mirror follows no more: the login was refused, the right to read is gone, or the connection is lost and not to be made
    /// again.
    pub async fn changed(&self) -> Result<(), Error> {
        let mut seen = self.shared.progress.subscribe();
        let now = seen.borrow_and_update().changes;
        wait(&mut seen, |progress| progress.changes > now).await
    }

    /// Waits until the mirror holds everything that the server had acknowledged, to whomever, before this call.
    pub async fn wait_until_current(&self) -> Result<(), Error> {
        if let Some(end) = self.shared.progress.borrow().end.clone() {
            return Err(end);
        }
        // A second watch from where the copy is brings what is missing, and says when it was all.
        let shared = &*self.shared;
        let _helper = Helper::new(shared);
        let since = Begin::Since(shared.copy.read().tock);
        let mut missing = Watch::open(&shared.client, &shared.path, shared.scope(), since).await?;
        let mut told = None;
        loop {
            match missing.next().await? {
                Event::Whole => told = Some(BTreeSet::new()),
                Event::Entry(entry) => {
                    if let Some(told) = &mut told {
                        told.insert(entry.path.clone());
                    }
                    shared.take(entry);
                }
                Event::Change(entry) => shared.take(entry),
                Event::Current => {
                    if let Some(told) = told {
                        shared.copy.write().sweep(&told, missing.tock());
                    }
                    return Ok(());
                }
            }
        }
    }
}

async fn wait(seen: &mut Receiver<Progress>, done: impl Fn(&Progress) -> bool) -> Result<(), Error> {
    let progress = seen.wait_for(|progress| done(progress) || progress.end.is_some()).await;
    let progress = progress.map_err(|_| Error::Closed)?;
    match &progress.end {
        Some(end) if !done(&progress) => Err(end.clone()),
        _ => Ok(()),
    }
}

impl Shared {
    fn scope(&self) -> Scope {
        Scope { chain: 1, ..Scope::default() }
    }

    async fn follow(self: Arc<Self>, mut watch: Watch) {
        let mut told = None;
        loop {
            match watch.next().await {
                Ok(Event::Whole) => told = Some(BTreeSet::new()),
                Ok(Event::Entry(entry)) => {
                    if let Some(told) = &mut told {
                        told.insert(entry.path.clone());
                    }
                    self.take(entry);
                }
                Ok(Event::Change(entry)) => {
                    if let Some(told) = &mut told {
                        told.insert(entry.path.clone());
                    }
                    self.take(entry);
                    if told.is_none() {
                        self.reach(watch.tock());
                    }
                }
                Ok(Event::Current) => {
                    if let Some(told) = told.take() {
                        self.copy.write().sweep(&told, watch.tock());
                    }
                    self.reach(watch.tock());
                    self.progress.send_modify(|progress| {
                        progress.complete = true;
                        progress.changes += 1;
                    });
                }
                Err(end) => {
                    self.progress.send_modify(|progress| progress.end = Some(end));
                    return;
                }
            }
        }
    }

    fn take(&self, entry: Entry) {
        if self.copy.write().take(entry) {
            self.progress.send_modify(|progress| progress.changes += 1);
        }
    }

    /// Everything up to this tock is in the copy.
    fn reach(&self, tock: u64) {
        let mut copy = self.copy.write();
        copy.tock = copy.tock.max(tock);
        copy.bury();
    }
}

#[cfg(test)]
mod tests {
    use distkv_store::value::Value;

    use super::*;

    fn entry(path: &str, value: Option<&str>, tock: u64) -> Entry {
        let value = value.map(Value::string);
        Entry { path: path.parse().unwrap(), value, chain: Vec::new(), tock }
    }

    fn shown(copy: &Copy) -> Vec<String> {
        copy.entries.values().map(|entry| format!("{entry:?}")).collect()
    }

    #[test]
    fn an_older_message_changes_nothing() {
        let mut copy = Copy::default();
        assert!(copy.take(entry("a", Some("new"), 5)));
        let before = shown(&copy);
        assert!(!copy.take(entry("a", Some("old"), 4)));
        assert!(!copy.take(entry("a", None, 5)));
        assert_eq!(shown(&copy), before);
        assert!(copy.take(entry("a", None, 6)));
        assert!(!copy.take(entry("a", Some("old"), 4)), "a deleted entry came back");
    }

    #[test]
    fn a_deleted_entry_is_forgotten_when_no_older_message_can_come() {
        let mut copy = Copy::default();
        copy.take(entry("a", None, 6));
        copy.tock = 5;
        copy.bury();
        assert_eq!(copy.entries.len(), 1, "the first watch has not told it yet");
        copy.tock = 6;
        copy.helpers = 1;
        copy.bury();
        assert_eq!(copy.entries.len(), 1, "a second watch may tell an older one");
        copy.helpers = 0;
        copy.bury();
        assert!(copy.entries.is_empty() && copy.graves.is_empty());
    }

    #[test]
    fn what_the_whole_does_not_tell_is_gone() {
        let mut copy = Copy::default();
        for (path, tock) in [("a", 1), ("b", 2), ("c", 9)] {
            copy.take(entry(path, Some("x"), tock));
        }
        copy.sweep(&BTreeSet::from(["a".parse().unwrap()]), 8);
        let paths: Vec<String> = copy.entries.keys().map(ToString::to_string).collect();
        assert_eq!(paths, ["a", "c"]);
    }

    /// One entry's history as the server tells it on two streams, each in order, but at its own pace.
    fn race(steps: &[u8], first: &[u8]) {
        // The history of three entries: each step writes or deletes one.
        let history: Vec<Entry> = steps
            .iter()
            .zip(1..)
            .map(|(step, tock)| {
                let path = ["a", "b", "c"][usize::from(step % 3)];
                entry(path, (step % 4 != 0).then_some("x"), tock)
            })
            .collect();
        let mut copy = Copy { helpers: 1, ..Copy::default() };
        let (mut main, mut second) = (history.iter(), history.iter());
        for turn in first.iter().copied().chain([0, 1].into_iter().cycle()) {
            let told = if turn % 2 == 0 { main.next() } else { second.next() };
            if let Some(told) = told {
                copy.take(told.clone());
                if turn % 2 == 0 {
                    copy.tock = told.tock;
                    copy.bury();
                }
            } else if main.len() == 0 && second.len() == 0 {
                break;
            }
        }
        copy.helpers = 0;
        copy.bury();
        let mut model = BTreeMap::new();
        for told in history {
            model.insert(told.path.clone(), told);
        }
        model.retain(|_, entry| entry.value.is_some());
        assert_eq!(copy.entries, model);
        assert!(copy.graves.is_empty());
    }

    proptest::proptest! {
        #[test]
        fn two_streams_of_one_history_end_equal(
            steps in proptest::collection::vec(proptest::num::u8::ANY, 0..40),
            first in proptest::collection::vec(proptest::num::u8::ANY, 0..80),
        ) {
            race(&steps, &first);
        }
    }
}
