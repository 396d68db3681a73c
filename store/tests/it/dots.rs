//! No dot is ever used twice, whatever happens to directories; and a node's ticks are unique for people, too, as long as its
//! directory is its own.

use std::collections::BTreeSet;

use distkv_store::path::Path;
use distkv_store::ticks::LEASE;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::node::{Node, plain};

#[derive(Clone, Debug)]
enum Step {
    /// Write so many entries.
    Write(Index, usize),
    /// The process ends; of the journal a part survives.
    Crash(Index, Index),
    /// The directory is copied as it is, and a second process runs on the copy, under the same name.
    Copy(Index),
    /// An early copy of the directory is put back.
    Restore(Index, Index),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (any::<Index>(), 1_usize..30).prop_map(|(node, count)| Step::Write(node, count)),
        3 => (any::<Index>(), any::<Index>()).prop_map(|(node, kept)| Step::Crash(node, kept)),
        1 => any::<Index>().prop_map(Step::Copy),
        1 => (any::<Index>(), any::<Index>()).prop_map(|(node, kept)| Step::Restore(node, kept)),
    ];
    prop::collection::vec(step, 1..14)
}

fn write(node: &mut Node, count: usize) -> Vec<(String, u64, u64)> {
    let path = Path::from_strs(["x"]).unwrap();
    (0..count)
        .filter_map(|_| node.write(&path, Some("y")))
        .map(|change| plain(change.entry.version.dot()))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn no_dot_is_used_twice(steps in steps()) {
        let mut lives = 0..;
        let mut start = |log| Node::start("n", lives.next().unwrap(), log);
        let mut nodes = vec![start(Vec::new())];
        let mut used = BTreeSet::new();
        for step in steps {
            match step {
                Step::Write(node, count) => {
                    let at = node.index(nodes.len());
                    for dot in write(&mut nodes[at], count) {
                        prop_assert!(used.insert(dot.clone()), "{:?}", dot);
                    }
                }
                Step::Crash(node, kept) | Step::Restore(node, kept) => {
                    let at = node.index(nodes.len());
                    let mut log = std::mem::take(&mut nodes[at].log);
                    log.truncate(kept.index(log.len() + 1));
                    nodes[at] = start(log);
                }
                Step::Copy(node) => {
                    let log = node.get(&nodes).log.clone();
                    nodes.push(start(log));
                }
            }
        }
    }

    #[test]
    fn no_tick_is_told_twice_over_crashes(steps in steps()) {
        let mut lives = 0..;
        let mut node = Node::start("n", lives.next().unwrap(), Vec::new());
        let mut told = BTreeSet::new();
        for step in steps {
            // Up to here the journal is kept, so this may be told to others.
            let kept = node.log.len();
            match step {
                Step::Write(_, count) => {
                    for (_, _, tick) in write(&mut node, count) {
                        prop_assert!(told.insert(tick), "{}", tick);
                    }
                }
                Step::Crash(lost, cut) => {
                    let count = lost.index(100);
                    write(&mut node, count);
                    let mut log = std::mem::take(&mut node.log);
                    log.truncate(kept + cut.index(log.len() - kept + 1));
                    node = Node::start("n", lives.next().unwrap(), log);
                }
                Step::Copy(_) | Step::Restore(..) => {}
            }
        }
    }
}

#[test]
fn no_tick_is_told_twice_where_leases_end() {
    let mut node = Node::start("n", 0, Vec::new());
    let mut told = BTreeSet::new();
    for life in 1..4 {
        // On the way the lease is renewed: the record of that is kept in the first two lives, and lost in the third.
        let (kept, lost) = if life < 3 { (LEASE * 3 / 4, 10) } else { (10, LEASE * 3 / 4) };
        for (_, _, tick) in write(&mut node, kept as usize) {
            assert!(told.insert(tick), "{tick}");
        }
        let mut log = std::mem::take(&mut node.log);
        let told_of = log.len();
        node.log = log.clone();
        write(&mut node, lost as usize);
        log.truncate(told_of);
        node = Node::start("n", life, log);
    }
    assert!(write(&mut node, 10).into_iter().all(|(_, _, tick)| told.insert(tick)));
}
