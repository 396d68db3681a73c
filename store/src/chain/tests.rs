//! Tests of versions, among them a comparison with full version vectors.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn dot(node: &str, life: u64, tick: u64) -> Dot {
    Dot { origin: Origin::new(NodeName::new(node).unwrap(), Life(life)), tick: Tick(tick) }
}

fn tock(number: u64) -> Tock {
    Tock::new(number).unwrap()
}

/// An event with the version vector that tells all it knew.
#[derive(Clone, Debug)]
struct Event {
    version: Version,
    vector: BTreeMap<(String, u64), u64>,
}

fn key(dot: &Dot) -> (String, u64) {
    (dot.origin.node().to_string(), dot.origin.life().0)
}

impl Event {
    fn knows(&self, other: &Self) -> bool {
        self.vector.get(&key(other.version.dot())).is_some_and(|&tick| tick >= other.version.dot().tick.0)
    }
}

fn join(into: &mut BTreeMap<(String, u64), u64>, other: &BTreeMap<(String, u64), u64>) {
    for (key, &tick) in other {
        let known = into.entry(key.clone()).or_default();
        *known = tick.max(*known);
    }
}

/// What one node holds of one entry.
#[derive(Clone, Default)]
struct Node {
    head: Option<Version>,
    vector: BTreeMap<(String, u64), u64>,
    tock: u64,
    tick: u64,
    life: u64,
}

#[derive(Clone, Debug)]
enum Step {
    Write(usize),
    Merge(usize, prop::sample::Index),
    Restart(usize),
}

const NODES: usize = 4;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..NODES).prop_map(Step::Write),
        5 => (0..NODES, any::<prop::sample::Index>()).prop_map(|(node, event)| Step::Merge(node, event)),
        1 => (0..NODES).prop_map(Step::Restart),
    ];
    prop::collection::vec(step, 1..40)
}

fn run(steps: &[Step], length: usize) -> Vec<Event> {
    let mut nodes = vec![Node::default(); NODES];
    let mut events: Vec<Event> = Vec::new();
    for step in steps {
        match step {
            Step::Restart(node) => nodes[*node].life += 1,
            Step::Write(at) => {
                let node = &mut nodes[*at];
                node.tick += 1;
                node.tock += 1;
                let dot = dot(&format!("n{at}"), node.life, node.tick);
                node.vector.insert(key(&dot), node.tick);
                let version = match &node.head {
                    Some(head) => head.next(dot, tock(node.tock), length),
                    None => Version::first(dot, tock(node.tock)),
                };
                node.head = Some(version.clone());
                events.push(Event { version, vector: node.vector.clone() });
            }
            Step::Merge(at, index) if !events.is_empty() => {
                let event = index.get(&events);
                let node = &mut nodes[*at];
                node.tock = node.tock.max(event.version.tock().get());
                join(&mut node.vector, &event.vector);
                merge(&mut node.head, event.version.clone(), length);
            }
            Step::Merge(..) => {}
        }
    }
    events
}

fn merge(head: &mut Option<Version>, mut event: Version, length: usize) {
    let Some(held) = head else {
        *head = Some(event);
        return;
    };
    match Version::compare(held, &event) {
        Relation::Equal | Relation::Future => {}
        Relation::Past => {
            event.inherit(held, length);
            *held = event;
        }
        Relation::Concurrent if held.order(&event).is_lt() => {
            event.absorb(held, length);
            *held = event;
        }
        Relation::Concurrent => {
            held.absorb(&event, length);
        }
    }
}

fn true_relation(a: &Event, b: &Event) -> Relation {
    if a.version.dot() == b.version.dot() {
        Relation::Equal
    } else if b.knows(a) {
        Relation::Past
    } else if a.knows(b) {
        Relation::Future
    } else {
        Relation::Concurrent
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn uncut_chains_tell_what_version_vectors_tell(steps in steps()) {
        let events = run(&steps, 1000);
        for a in &events {
            for b in &events {
                prop_assert_eq!(Version::compare(&a.version, &b.version), true_relation(a, b), "{:?} {:?}", a, b);
            }
        }
    }

    #[test]
    fn cut_chains_call_ordered_events_concurrent_at_worst(steps in steps()) {
        let events = run(&steps, MIN_LENGTH);
        for a in &events {
            prop_assert!(a.version.chain().count() <= MIN_LENGTH);
            for b in &events {
                let found = Version::compare(&a.version, &b.version);
                let truth = true_relation(a, b);
                prop_assert!(found == truth || found == Relation::Concurrent, "{:?} {:?}", a, b);
                // Chains of lives that all fit were never cut.
                if a.vector.len().max(b.vector.len()) <= MIN_LENGTH {
                    prop_assert_eq!(found, truth, "{:?} {:?}", a, b);
                }
            }
        }
    }

    #[test]
    fn comparing_is_symmetric_and_the_order_agrees_with_it(steps in steps()) {
        let events = run(&steps, MIN_LENGTH);
        for a in &events {
            for b in &events {
                let (there, back) = (Version::compare(&a.version, &b.version), Version::compare(&b.version, &a.version));
                let order = a.version.order(&b.version);
                prop_assert_eq!(order.reverse(), b.version.order(&a.version));
                match there {
                    Relation::Equal => prop_assert!(back == Relation::Equal && order.is_eq()),
                    Relation::Past => prop_assert!(back == Relation::Future && order.is_lt()),
                    Relation::Future => prop_assert!(back == Relation::Past && order.is_gt()),
                    Relation::Concurrent => prop_assert!(back == Relation::Concurrent && order.is_ne()),
                }
            }
        }
    }
}

#[test]
fn a_new_event_goes_to_the_front_and_its_older_one_leaves() {
    let made = Version::first(dot("s1", 1, 2), tock(1));
    let made = made.next(dot("s2", 1, 1), tock(2), 5);
    let made = made.next(dot("s3", 1, 1), tock(3), 5);
    let made = made.next(dot("s1", 1, 3), tock(4), 5);
    let chain: Vec<_> = made.chain().cloned().collect();
    assert_eq!(chain, [dot("s1", 1, 3), dot("s3", 1, 1), dot("s2", 1, 1)]);
}

#[test]
fn lives_of_one_node_say_nothing_about_each_other() {
    let before = Version::first(dot("s1", 1, 9), tock(1));
    let after = Version::first(dot("s1", 2, 10), tock(2));
    assert_eq!(Version::compare(&before, &after), Relation::Concurrent);
}

#[test]
fn what_lost_a_conflict_is_in_the_past_of_the_next_event() {
    let lost = Version::first(dot("s1", 1, 1), tock(1));
    let mut won = Version::first(dot("s2", 1, 1), tock(1));
    assert_eq!(Version::compare(&lost, &won), Relation::Concurrent);
    won.absorb(&lost, 5);
    assert_eq!(Version::compare(&lost, &won), Relation::Concurrent);
    let next = won.next(dot("s2", 1, 2), tock(2), 5);
    assert_eq!(Version::compare(&lost, &next), Relation::Past);
    assert!(next.absorbed().is_empty());
}

#[test]
fn versions_that_claim_each_other_are_concurrent() {
    let lie = |mine: Dot, other: Dot| Version::from_parts(mine, tock(1), vec![other], vec![]).unwrap();
    let a = lie(dot("a", 1, 1), dot("b", 1, 1));
    let b = lie(dot("b", 1, 1), dot("a", 1, 1));
    assert_eq!(Version::compare(&a, &b), Relation::Concurrent);
}

#[test]
fn bad_chains_are_refused() {
    let parts = |chain: Vec<Dot>| Version::from_parts(dot("a", 1, 1), tock(1), chain, vec![]).err();
    assert_eq!(parts(vec![dot("a", 1, 5)]), Some(BadVersion::Repeated));
    assert_eq!(parts(vec![dot("b", 1, 5), dot("b", 1, 6)]), Some(BadVersion::Repeated));
    assert_eq!(parts(vec![dot("a", 2, 5)]), None);
}

#[test]
fn overwriting_shares_the_chain_and_a_version_is_small() {
    let made = Version::first(dot("s1", 1, 1), tock(1)).next(dot("s2", 1, 1), tock(2), 5);
    let again = made.next(dot("s2", 1, 2), tock(3), 5);
    assert!(made.past.as_ref().zip(again.past.as_ref()).is_some_and(|(a, b)| Arc::ptr_eq(a, b)));
    assert!(size_of::<Version>() <= 32);
}
