//! The whole store over a disk that crashes and loses power at any moment, against a model that remembers every state it was in.
//!
//! What is found after a crash must be one of those states, entries and local records together, and not an older one than was
//! promised. And no tick is used twice, whatever was lost.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use distkv_store::meta::Meta;
use distkv_store::path::{Path, PathRef, Pattern};
use distkv_store::store::{Durability, Lsn, Options, Store};
use distkv_store::ticks::LEASE;
use distkv_store::value::Value;
use distkv_store::view::{View, Who};
use parking_lot::Mutex;

use crate::disk::{Disk, Random};
use crate::journal_crash::wait;
use crate::store::{open_on, options, path, read_all};

/// What a store holds: entries, and the embedder's own state, which is a map here.
#[derive(Clone, Debug, Default, PartialEq)]
struct State {
    entries: BTreeMap<String, String>,
    local: BTreeMap<u8, u64>,
}

/// The embedder and its memory.
struct Model {
    random: Random,
    /// Every state in turn.
    states: Vec<State>,
    settled: usize,
    synced: usize,
    /// All ticks that were ever seen.
    ticks: BTreeSet<u64>,
    numbers: u64,
}

impl Model {
    fn last(&self) -> State {
        self.states.last().unwrap().clone()
    }

    fn total(&self) -> usize {
        self.states.len() - 1
    }

    /// Writes an entry, deletes one, or changes the local state.
    fn change(&mut self, store: &Store, view: &View) -> Option<Lsn> {
        let mut state = self.last();
        self.numbers += 1;
        let number = self.numbers;
        let name = format!("a.{}", self.random.below(12));
        let at = path(&name);
        let lsn = match self.random.below(4) {
            0 => {
                let id = self.random.below(5) as u8;
                // Zero stands for removed, as a session that has ended.
                let value = if self.random.one_in(3) { 0 } else { number };
                state.local.insert(id, value);
                store.append_local(&local_record(id, value))
            }
            1 => {
                state.entries.remove(&name);
                let committed = view.delete(at.as_path(), Meta::default(), None).ok()?;
                self.note_tick(committed.entry.as_ref());
                committed.lsn
            }
            _ => {
                let value = number.to_string().repeat(1 + self.random.below(30));
                state.entries.insert(name, value.clone());
                let committed = view.set(at.as_path(), Value::string(&value), Meta::default(), None).ok()?;
                self.note_tick(committed.entry.as_ref());
                committed.lsn
            }
        };
        state.local.retain(|_, value| *value != 0);
        self.states.push(state);
        Some(lsn)
    }

    fn note_tick(&mut self, entry: Option<&Arc<distkv_store::tree::Entry>>) {
        if let Some(entry) = entry {
            let tick = entry.version.dot().tick.0;
            assert!(self.ticks.insert(tick), "tick {tick} was used twice");
        }
    }
}

fn local_record(id: u8, value: u64) -> Vec<u8> {
    let mut record = vec![id];
    record.extend_from_slice(&value.to_le_bytes());
    record
}

fn found_in(store: &Store, local: &[Vec<u8>]) -> State {
    let everything = Pattern::subtree(PathRef::from(&Path::root())).unwrap();
    let entries = read_all(&store.view(Who::system()), everything).into_iter().collect();
    let mut map = BTreeMap::new();
    for record in local {
        map.insert(record[0], u64::from_le_bytes(record[1..].try_into().unwrap()));
    }
    map.retain(|_, value| *value != 0);
    State { entries, local: map }
}

/// One life of the process, up to its death at some call to the disk.
fn live(store: &Store, durability: Durability, model: &Arc<Mutex<Model>>) {
    let view = store.view(Who::system());
    let (of_checkpoint, weak_view) = (Arc::clone(model), view.clone());
    let handle = store.clone();
    store.on_checkpoint(Box::new(move |append| {
        let mut model = of_checkpoint.lock();
        for id in 0..5 {
            // Each as it is now.
            if let Some(value) = model.last().local.get(&id) {
                append(&local_record(id, *value));
            }
            // Others go on meanwhile.
            if model.random.one_in(2) {
                model.change(&handle, &weak_view);
            }
        }
    }));
    let steps = model.lock().random.below(80);
    for _ in 0..steps {
        let what = model.lock().random.below(20);
        match what {
            0..16 => {
                let lsn = model.lock().change(store, &view);
                let settle = model.lock().random.one_in(3);
                if let Some(lsn) = lsn.filter(|_| settle)
                    && wait(|cx| store.poll_settled(lsn, cx)).is_ok()
                {
                    let mut model = model.lock();
                    model.settled = model.total();
                    if durability == Durability::Always {
                        model.synced = model.total();
                    }
                }
            }
            16..18 => {
                let total = model.lock().total();
                if store.sync().is_ok() {
                    let mut model = model.lock();
                    (model.settled, model.synced) = (total, total);
                }
            }
            _ => {
                let total = model.lock().total();
                if store.snapshot().is_ok() {
                    let mut model = model.lock();
                    (model.settled, model.synced) = (total, total);
                }
            }
        }
    }
}

fn check(durability: Durability, seeds: std::ops::Range<u64>) {
    let (mut lost, mut lives) = (0, 0);
    for seed in seeds {
        let mut disk = Disk::default();
        let mut random = Random(seed);
        let model = Arc::new(Mutex::new(Model {
            random: Random(seed + 1000),
            states: vec![State::default()],
            settled: 0,
            synced: 0,
            ticks: BTreeSet::new(),
            numbers: 0,
        }));
        let mut power_was_cut = false;
        for round in 0..12 {
            let (store, local) = open_on(&disk, options(durability)).unwrap();
            let found = found_in(&store, &local);
            {
                let mut model = model.lock();
                let promised = if power_was_cut { model.synced } else { model.settled };
                let at = model.states.iter().rposition(|state| *state == found);
                assert!(
                    at.is_some_and(|at| at >= promised),
                    "seed {seed}, round {round}: {at:?} is before {promised} of {}: {found:?}",
                    model.total()
                );
                lost += u64::from(at < Some(model.total()));
                lives += 1;
                model.states = vec![found];
                (model.settled, model.synced) = (0, 0);
            }
            let dead_from = disk.calls() + 1 + random.below(300) as u64;
            disk.set_faults(|faults| faults.dead_from = Some(dead_from));
            live(&store, durability, &model);
            power_was_cut = random.one_in(2);
            disk = if power_was_cut { disk.power_cut(&mut random) } else { disk.crash() };
            // Its disk is dead; this ends its threads.
            assert!(store.close().is_err());
        }
    }
    assert!(lost > lives / 10, "{lost} of {lives}");
}

#[test]
fn under_always_what_is_found_is_a_state_after_the_last_acknowledged_one() {
    check(Durability::Always, 0..80);
}

#[test]
fn under_interval_what_is_found_is_a_state_after_the_last_promised_one() {
    check(Durability::Interval, 0..80);
}

#[test]
fn no_tick_is_used_before_its_lease_is_synced_so_none_is_used_twice() {
    let disk = Disk::default();
    let options = || Options { segment_bytes: 1 << 20, ..options(Durability::Interval) };
    let (store, _) = open_on(&disk, options()).unwrap();
    let at = path("a");
    let tick = |view: &View| {
        let committed = view.set(at.as_path(), Value::nil(), Meta::default(), None).ok()?;
        Some(committed.entry?.version.dot().tick.0)
    };
    let last = AtomicU64::new(0);
    let view = store.view(Who::system());
    std::thread::scope(|scope| {
        disk.set_faults(|faults| faults.stuck_syncs = true);
        let writer = scope.spawn(|| {
            for _ in 0..2 * LEASE {
                let Some(tick) = tick(&view) else { return };
                last.store(tick, Ordering::Relaxed);
            }
        });
        // The writer gets as far as the first lease goes, and waits there for the second.
        crate::journal::wait_for("the end of the lease", || last.load(Ordering::Relaxed) == LEASE);
        // All is lost that may be lost.
        for seed in 0..4 {
            let after = disk.fork().power_cut(&mut Random(seed));
            let (store, _) = open_on(&after, options()).unwrap();
            let next = tick(&store.view(Who::system()));
            assert!(next > Some(LEASE), "{next:?}");
        }
        disk.set_faults(|faults| faults.stuck_syncs = false);
        writer.join().unwrap();
    });
    assert_eq!(last.load(Ordering::Relaxed), 2 * LEASE);
}
