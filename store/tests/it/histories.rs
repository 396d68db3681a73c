//! Random histories of several replicas: whatever the order, whatever comes twice, all end equal; and no event is lost without
//! a record. The truth about who knew what is kept beside them, as full version vectors.

use std::collections::{BTreeMap, BTreeSet};

use distkv_store::chain::{self, Dot, Relation, Version};
use distkv_store::path::{Element, Path};
use distkv_store::replica::{CONFLICT, Event};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::strategy::ValueTree;

use crate::node::{Node, plain};

const NODES: usize = 3;

#[derive(Clone, Debug)]
enum Step {
    Write {
        node: usize,
        path: usize,
        value: Option<&'static str>,
    },
    /// A record of anybody arrives at a node, maybe late, maybe again.
    Arrive {
        node: usize,
        record: Index,
    },
    Restart {
        node: usize,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let value = prop::option::weighted(0.8, prop::sample::select(vec!["on", "off", "1", "2", "3", "4"]));
    let step = prop_oneof![
        5 => (0..NODES, 0_usize..2, value).prop_map(|(node, path, value)| Step::Write { node, path, value }),
        6 => (0..NODES, any::<Index>()).prop_map(|(node, record)| Step::Arrive { node, record }),
        2 => (0..NODES).prop_map(|node| Step::Restart { node }),
    ];
    prop::collection::vec(step, 1..70)
}

/// Per life, the latest tick that somebody knew.
type Vector = BTreeMap<(String, u64), u64>;

fn know(vector: &mut Vector, dot: &Dot) {
    let (node, life, tick) = plain(dot);
    let known = vector.entry((node, life)).or_default();
    *known = tick.max(*known);
}

fn join(into: &mut Vector, other: &Vector) {
    for (life, &tick) in other {
        let known = into.entry(life.clone()).or_default();
        *known = tick.max(*known);
    }
}

fn knows(vector: &Vector, dot: &Dot) -> bool {
    let (node, life, tick) = plain(dot);
    vector.get(&(node, life)).is_some_and(|&known| known >= tick)
}

/// An event and all that its writer knew.
struct Made {
    event: Event,
    vector: Vector,
}

struct World {
    nodes: Vec<Node>,
    /// What each node knows of each entry.
    known: Vec<BTreeMap<Path, Vector>>,
    /// All records that were ever written, by whom.
    records: Vec<(usize, Vec<u8>)>,
    made: BTreeMap<(String, u64, u64), Made>,
    lives: u64,
}

impl World {
    fn new() -> Self {
        let nodes =
            (0..NODES).map(|index| Node::start(&format!("n{index}"), index as u64, Vec::new())).collect();
        let known = vec![BTreeMap::new(); NODES];
        Self { nodes, known, records: Vec::new(), made: BTreeMap::new(), lives: 100 }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Write { node, path, value } => {
                let path = Path::from_strs(["x", ["a", "b"][path]]).unwrap();
                if let Some(change) = self.nodes[node].write(&path, value) {
                    self.note(node, Event { path, entry: (*change.entry).clone() });
                    self.publish(node);
                }
            }
            Step::Arrive { node, ref record } => {
                if !self.records.is_empty() {
                    let (_, record) = record.get(&self.records).clone();
                    self.arrive(node, &record);
                }
            }
            Step::Restart { node } => {
                self.lives += 1;
                let log = std::mem::take(&mut self.nodes[node].log);
                self.nodes[node] = Node::start(&format!("n{node}"), self.lives, log);
            }
        }
    }

    /// An event was made at `node`.
    fn note(&mut self, node: usize, event: Event) {
        let vector = self.known[node].entry(event.path.clone()).or_default();
        know(vector, event.entry.version.dot());
        let made = Made { vector: vector.clone(), event };
        let earlier = self.made.insert(plain(made.event.entry.version.dot()), made);
        assert!(earlier.is_none(), "a dot was used twice");
    }

    /// The last record of `node` can be sent from now on.
    fn publish(&mut self, node: usize) {
        let record = self.nodes[node].log.last().expect("it has just written").clone();
        self.records.push((node, record));
    }

    fn arrive(&mut self, node: usize, record: &[u8]) {
        for event in self.nodes[node].read(record) {
            let known = self.known[node].entry(event.path.clone()).or_default();
            let version = event.entry.version.clone();
            let merged = self.nodes[node].merge(event);
            if merged.known {
                continue;
            }
            join(known, &self.made[&plain(version.dot())].vector);
            // Who passed the event on has told what it had beaten there.
            version.absorbed().iter().for_each(|dot| know(known, dot));
            if let Some((path, change)) = merged.conflict {
                self.note(node, Event { path, entry: (*change.entry).clone() });
            }
            self.publish(node);
        }
    }

    /// Everybody gets everything, until nobody has anything new to say.
    fn heal(&mut self) {
        let mut sent = BTreeSet::new();
        loop {
            let records = self.records.clone();
            let before = sent.len();
            for (index, (_, record)) in records.iter().enumerate().rev() {
                for node in 0..NODES {
                    if sent.insert((index, node)) {
                        self.arrive(node, record);
                    }
                }
            }
            if sent.len() == before {
                return;
            }
        }
    }
}

fn is_record(path: &Path) -> bool {
    path.elements().next() == Some(Element::Null)
}

fn record_path(dot: &Dot) -> Path {
    let (node, life, tick) = plain(dot);
    Path::from_elements([
        Element::Null,
        Element::str(CONFLICT),
        Element::str(&node),
        Element::Int(life.into()),
        Element::Int(tick.into()),
    ])
    .unwrap()
}

fn history(steps: &[Step]) -> World {
    let mut world = World::new();
    for step in steps {
        world.step(step);
    }
    world
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn all_replicas_end_equal_and_hold_the_greatest_events(steps in steps()) {
        let mut world = history(&steps);
        world.heal();
        let entries = world.nodes[0].entries();
        for node in &world.nodes {
            prop_assert_eq!(&node.entries(), &entries);
            prop_assert_eq!(node.accounts(), world.nodes[0].accounts());
        }
        let mut greatest: BTreeMap<&Path, &Event> = BTreeMap::new();
        for Made { event, .. } in world.made.values() {
            let held = greatest.entry(&event.path).or_insert(event);
            if held.entry.version.order(&event.entry.version).is_lt() {
                *held = event;
            }
        }
        let greatest: Vec<_> = greatest.into_iter().map(|(path, event)| (path.clone(), event.entry.clone())).collect();
        prop_assert_eq!(entries, greatest);
    }

    #[test]
    fn what_is_called_ordered_is_ordered(steps in steps()) {
        let mut world = history(&steps);
        world.heal();
        let made: Vec<_> = world.made.values().filter(|made| !is_record(&made.event.path)).collect();
        for a in &made {
            for b in made.iter().filter(|b| b.event.path == a.event.path) {
                let (left, right) = (&a.event.entry.version, &b.event.entry.version);
                let truth = match (knows(&b.vector, left.dot()), knows(&a.vector, right.dot())) {
                    (true, true) => Relation::Equal,
                    (true, false) => Relation::Past,
                    (false, true) => Relation::Future,
                    (false, false) => Relation::Concurrent,
                };
                let found = Version::compare(left, right);
                let cut = a.vector.len().max(b.vector.len()) > chain::MIN_LENGTH;
                prop_assert!(found == truth || (cut && found == Relation::Concurrent), "{:?} {:?} {:?}", found, left, right);
            }
        }
    }

    #[test]
    fn what_nobody_has_knowingly_replaced_is_there_or_on_record(steps in steps()) {
        let mut world = history(&steps);
        world.heal();
        let entries: BTreeMap<_, _> = world.nodes[0].entries().into_iter().collect();
        for (key, made) in world.made.iter().filter(|(_, made)| !is_record(&made.event.path)) {
            let dot = made.event.entry.version.dot();
            let others = || world.made.values().filter(|other| other.event.path == made.event.path && plain(other.event.entry.version.dot()) != *key);
            let replaced = others().any(|other| knows(&other.vector, dot));
            let equal = others().any(|other| other.event.entry.value == made.event.entry.value);
            let head = entries[&made.event.path].version.dot() == dot;
            prop_assert!(replaced || equal || head || entries.contains_key(&record_path(dot)), "{:?}", dot);
        }
    }
}

#[test]
fn the_histories_do_what_they_are_for() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut records, mut beaten, mut cut) = (0, 0, 0);
    for _ in 0..100 {
        let steps = steps().new_tree(&mut runner).unwrap().current();
        let mut world = history(&steps);
        world.heal();
        records += world.nodes[0].replica.counts().internal;
        let entries = world.nodes[0].entries();
        beaten += entries.iter().filter(|(_, entry)| !entry.version.absorbed().is_empty()).count();
        cut += world.made.values().filter(|made| made.vector.len() > chain::MIN_LENGTH).count();
    }
    assert!(records > 50 && beaten > 10 && cut > 10, "{records} {beaten} {cut}");
}
