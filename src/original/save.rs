//! Writes a snapshot: every entry that has a value, as of one moment.

use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;

use distkv_store::path::Path;
use distkv_store::store::{Store, WatchEvent};
use distkv_store::ticks::{NodeName, Tick, TickSet, Tock};
use distkv_store::tree::{Entry, Progress};
use distkv_store::view::{NodeState, View, Watch, WatchOptions, Who};

use super::folder::{Folder, FolderError};
use super::record::{self, Recorder};
use super::sink::Sink;

/// How many changes may come while a snapshot is written, before they are written.
const EVENTS: usize = 64 << 10;
const EVENT_BYTES: usize = 64 << 20;

/// What was saved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Saved {
    /// How many records were written.
    pub records: u64,
    /// How many bytes.
    pub bytes: u64,
}

/// Why nothing was saved. There is no file then, or the old one.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// The file can't be written.
    #[error(transparent)]
    File(#[from] FolderError),
    /// The store changed faster than the disk takes it.
    #[error("the data changes faster than it can be written: try again later")]
    TooFast,
}

/// Writes everything to the file `name` in `folder`, in the place of one that had that name; internal data only if it is to be `full`. When that
/// is done the file is on the disk.
///
/// What changes meanwhile is in it: the file tells the state at its end. All events which it does not have it calls known, so that nobody who
/// loads it looks for them; internal ones, too, if it has none of these. (So load a full file before such a one, not after it.)
pub async fn save(store: &Store, folder: &Folder, name: &str, full: bool) -> Result<Saved, SaveError> {
    let mut sink = Sink::create(folder, name).await?;
    let view = store.view(Who::system());
    let node = store.node().clone();
    let begun = store.last_tick();
    let states = survey(&view).await;
    record::state(&mut sink.out, &states, &node, store.tock());
    let mut watch = everything(&view, full, true);
    let mut written = Written::default();
    let mut recorder = Recorder::default();
    let mut records = 1;
    let tock = loop {
        match poll_fn(|cx| watch.poll_next(cx)).await {
            Some(WatchEvent::Existing { path, entry }) => {
                written.note(&entry);
                recorder.entry(&mut sink.out, path.as_path(), &entry);
            }
            Some(WatchEvent::Changed { path, entry, .. }) => {
                written.note(&entry);
                recorder.change(&mut sink.out, path.as_path(), &entry);
            }
            Some(WatchEvent::Complete { tock }) => break tock,
            Some(WatchEvent::TooOld | WatchEvent::Lagged) | None => return Err(SaveError::TooFast),
        }
        records += 1;
        sink.relieve().await?;
    };
    let last = written.last(&node).max(begun);
    let states = written.states(states, &survey(&view).await, &node, last);
    record::state(&mut sink.out, &states, &node, tock);
    sink.publish().await?;
    Ok(Saved { records: records + 1, bytes: sink.bytes })
}

/// A watch of all there is, for a file.
pub(super) fn everything(view: &View, internal: bool, existing: bool) -> Watch {
    view.watch(all(), WatchOptions { existing, internal, ..options() })
}

/// As [`everything`], from where another watch has come to.
pub(super) fn since(view: &View, tock: Tock) -> Watch {
    view.watch(all(), WatchOptions { since: Some(tock), internal: true, ..options() })
}

fn options() -> WatchOptions {
    WatchOptions { programs: true, events: EVENTS, bytes: EVENT_BYTES, ..WatchOptions::default() }
}

fn all() -> distkv_store::path::Pattern {
    // The pattern of the root is within all limits.
    distkv_store::path::Pattern::subtree(Path::root().as_path()).unwrap_or_default()
}

/// What is known of all nodes' events.
pub(super) async fn survey(view: &View) -> BTreeMap<NodeName, NodeState> {
    // The system may ask for everything.
    let Ok(mut survey) = view.survey() else { return BTreeMap::new() };
    while view.survey_on(&mut survey) == Progress::More {
        tokio::task::yield_now().await;
    }
    view.state(survey)
}

/// The events that are in a file.
#[derive(Default)]
struct Written(BTreeMap<NodeName, BTreeSet<Tick>>);

impl Written {
    fn note(&mut self, entry: &Entry) {
        for dot in entry.version.chain() {
            match self.0.get_mut(dot.origin.node()) {
                Some(ticks) => drop(ticks.insert(dot.tick)),
                None => drop(self.0.insert(dot.origin.node().clone(), BTreeSet::from([dot.tick]))),
            }
        }
    }

    fn last(&self, node: &NodeName) -> Tick {
        self.0.get(node).and_then(|ticks| ticks.last().copied()).unwrap_or_default()
    }

    /// The state at the end of the file: of all events there were, those which are not in it were replaced or are deletions. Of this node there
    /// were those up to `last`.
    fn states(
        &self,
        before: BTreeMap<NodeName, NodeState>,
        after: &BTreeMap<NodeName, NodeState>,
        own: &NodeName,
        last: Tick,
    ) -> BTreeMap<NodeName, NodeState> {
        let mut states = before;
        for (node, state) in after {
            let first = states.entry(node.clone()).or_default();
            first.last = if node == own { last } else { state.last };
            let mut all = state.known.clone();
            all.union(&state.present);
            if node == own {
                all = TickSet::new();
                all.insert_range(Tick(1), last);
            }
            let written: TickSet = self.0.get(node).into_iter().flatten().copied().collect();
            first.known = all.difference(&written).difference(&first.deleted);
        }
        states
    }
}
