//! Snapshots that are taken while entries change, and what recovery makes of them and of the journal behind them: always the
//! state at the place where the journal ends.

use distkv_store::path::Path;
use distkv_store::replica::{Export, Tombstones};
use distkv_store::tree::{Entry, Progress};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::strategy::ValueTree;

use crate::node::Node;

#[derive(Clone, Debug)]
enum Step {
    Write(usize, Option<&'static str>),
    /// Another node writes; its event arrives at once.
    Foreign(usize, Option<&'static str>),
    /// Another node has written; its event arrives again, or late.
    Late(Index),
    /// Begins a snapshot, or goes on with it.
    Snapshot,
    Purge,
    Crash(Index),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let value = || prop::option::of(prop::sample::select(vec!["1", "2", "3"]));
    let step = prop_oneof![
        6 => (0_usize..4, value()).prop_map(|(path, value)| Step::Write(path, value)),
        2 => (0_usize..4, value()).prop_map(|(path, value)| Step::Foreign(path, value)),
        1 => any::<Index>().prop_map(Step::Late),
        6 => Just(Step::Snapshot),
        3 => Just(Step::Purge),
        1 => any::<Index>().prop_map(Step::Crash),
    ];
    prop::collection::vec(step, 1..60)
}

/// What must be there after a certain record.
#[derive(Clone, Debug, PartialEq)]
struct State {
    entries: Vec<(Path, Entry)>,
    accounts: Vec<String>,
}

impl State {
    fn of(node: &Node) -> Self {
        Self { entries: node.entries(), accounts: node.accounts() }
    }
}

/// A snapshot being written.
struct Writing {
    export: Export,
    records: Vec<Vec<u8>>,
    /// Where in the journal it began.
    from: usize,
}

/// A node with its disk, and beside each record the state after it.
struct Machine {
    node: Node,
    other: Node,
    sent: Vec<Vec<u8>>,
    /// The last whole snapshot.
    snapshot: Vec<Vec<u8>>,
    writing: Option<Writing>,
    tombstones: Tombstones,
    states: Vec<State>,
    /// A snapshot is valid only if the journal is kept up to here.
    synced: usize,
    life: u64,
    purged: usize,
}

fn path(index: usize) -> Path {
    Path::from_strs([["a", "b", "c", "d"][index]]).unwrap()
}

impl Machine {
    fn new() -> Self {
        let node = Node::start("n", 0, Vec::new());
        let states = vec![State::of(&node)];
        Self {
            node,
            other: Node::start("other", 1 << 32, Vec::new()),
            sent: Vec::new(),
            snapshot: Vec::new(),
            writing: None,
            tombstones: Tombstones::default(),
            states,
            synced: 0,
            life: 0,
            purged: 0,
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Write(at, value) => drop(self.node.write(&path(*at), *value)),
            Step::Foreign(at, value) => {
                if self.other.write(&path(*at), *value).is_some() {
                    self.sent.extend(self.other.log.last().cloned());
                    self.arrive(self.sent.len() - 1);
                }
            }
            Step::Late(index) if !self.sent.is_empty() => self.arrive(index.index(self.sent.len())),
            Step::Late(_) => {}
            Step::Snapshot => self.write_snapshot(),
            Step::Purge => {
                let before = self.node.replica.counts().tombstones;
                let mut record = Vec::new();
                self.node.replica.purge(&mut self.tombstones, 1, &mut record);
                self.purged += (before - self.node.replica.counts().tombstones) as usize;
                self.node.keep(record);
            }
            Step::Crash(index) => {
                let kept = self.synced + index.index(self.node.log.len() - self.synced + 1);
                self.crash(kept);
            }
        }
        // One operation may have written one record.
        let state = State::of(&self.node);
        self.states.resize(self.node.log.len(), state);
    }

    fn arrive(&mut self, index: usize) {
        // An own conflict record among them would make more records than one.
        for event in self.node.read(&self.sent[index]) {
            self.node.merge(event);
        }
    }

    fn write_snapshot(&mut self) {
        let Some(writing) = &mut self.writing else {
            let mut records = Vec::new();
            let from = self.node.log.len();
            let export = self.node.replica.begin_export(&mut |record| records.push(record.to_vec()));
            self.writing = Some(Writing { export, records, from });
            return;
        };
        let Writing { export, records, .. } = writing;
        let replica = &self.node.replica;
        if replica.export(export, 1, 1, &mut |record| records.push(record.to_vec())) == Progress::More {
            return;
        }
        // It is whole: the journal is synced up to here, and what lies before its beginning goes.
        let Some(Writing { export, records, from }) = self.writing.take() else { return };
        self.snapshot = records;
        self.tombstones = export.into_tombstones();
        self.node.log.drain(..from);
        self.states.drain(..from);
        self.synced = self.node.log.len();
    }

    fn crash(&mut self, kept: usize) {
        let log = self.node.log[..kept].to_vec();
        let disk = [&self.snapshot[..], &log[..]].concat();
        self.life += 1;
        self.node = Node::start("n", self.life, disk);
        if let Some(state) = kept.checked_sub(1).map(|last| &self.states[last]) {
            assert_eq!(&State::of(&self.node), state);
        }
        self.node.log = [log, self.node.log.split_off(self.node.log.len() - 1)].concat();
        self.states.truncate(kept);
        self.writing = None;
        self.tombstones = Tombstones::default();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn recovery_gives_the_state_at_the_end_of_the_journal(steps in steps()) {
        let mut machine = Machine::new();
        for step in &steps {
            machine.step(step);
        }
        for kept in machine.synced..=machine.node.log.len() {
            let disk = [&machine.snapshot[..], &machine.node.log[..kept]].concat();
            let node = Node::start("n", 1 << 33, disk);
            for (path, entry) in node.entries() {
                let dot = entry.version.dot();
                let account = node.replica.accounts().find(|account| *account.origin() == dot.origin);
                let head = account.is_some_and(|it| it.seen().contains(dot.tick) && !it.purged().contains(dot.tick));
                prop_assert!(head, "{}", path);
            }
            if let Some(state) = kept.checked_sub(1).map(|last| &machine.states[last]) {
                prop_assert_eq!(&State::of(&node), state);
            }
        }
    }
}

#[test]
fn the_runs_do_what_they_are_for() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut snapshots, mut purged, mut conflicts, mut lives) = (0, 0, 0, 0);
    for _ in 0..200 {
        let steps = steps().new_tree(&mut runner).unwrap().current();
        let mut machine = Machine::new();
        for step in &steps {
            machine.step(step);
        }
        snapshots += usize::from(!machine.snapshot.is_empty());
        purged += machine.purged;
        conflicts += machine.node.replica.counts().internal;
        lives += machine.life;
    }
    assert!(
        snapshots > 50 && purged > 20 && conflicts > 50 && lives > 100,
        "{snapshots} {purged} {conflicts} {lives}"
    );
}
