//! Which events of which node are known, and what has become of them: for people, and for clients that ask for it.

use std::collections::BTreeMap;

use super::View;
use super::read::everything;
use crate::access::{Denied, Right};
use crate::path::PathRef;
use crate::ticks::{NodeName, Tick, TickSet};
use crate::tree::{Progress, Scan};

/// How many entries are looked at in one go: so long it may hold the replica's lock.
const LOOKS: usize = 4096;

/// What is known of a node's events, over all its lives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeState {
    /// The greatest number of all its events.
    pub last: Tick,
    /// Events that entries show.
    pub heads: TickSet,
    /// Events in the chain of an entry, tombstones among them.
    pub present: TickSet,
    /// Deletions that are still known as such.
    pub deleted: TickSet,
    /// Events that were there once: replaced by later ones, or deletions that are forgotten.
    pub known: TickSet,
    /// Numbers below the last one of which nothing is known. This node misses nothing of itself: numbers which it never used are known.
    pub missing: TickSet,
}

/// A look at all entries under way. What changes meanwhile may be seen as before or after.
#[derive(Debug)]
pub struct Survey {
    scan: Scan,
    nodes: BTreeMap<NodeName, Ticks>,
}

#[derive(Debug, Default)]
struct Ticks {
    heads: Vec<Tick>,
    present: Vec<Tick>,
    deleted: Vec<Tick>,
}

impl View {
    /// Begins to look at all entries. It needs an admin of the whole store.
    pub fn survey(&self) -> Result<Survey, Denied> {
        if !self.is_operator() {
            return Err(Denied { right: Right::List, path: PathRef::NULL.to_path() });
        }
        Ok(Survey { scan: Scan::new(everything()), nodes: BTreeMap::new() })
    }

    /// Goes on, for as long as nobody is held up by it.
    pub fn survey_on(&self, survey: &mut Survey) -> Progress {
        let Survey { scan, nodes } = survey;
        let held = self.shared().read();
        held.replica.scan(scan, LOOKS, |_, entry| {
            let head = entry.version.dot();
            for dot in entry.version.chain() {
                let node = dot.origin.node();
                if !nodes.contains_key(node) {
                    nodes.insert(node.clone(), Ticks::default());
                }
                let Some(ticks) = nodes.get_mut(node) else { continue };
                ticks.present.push(dot.tick);
                if dot == head {
                    ticks.heads.push(dot.tick);
                    if entry.is_tombstone() {
                        ticks.deleted.push(dot.tick);
                    }
                }
            }
            true
        })
    }

    /// What a survey has found, by node, and what is known beside it.
    pub fn state(&self, survey: Survey) -> BTreeMap<NodeName, NodeState> {
        let mut states: BTreeMap<NodeName, NodeState> = BTreeMap::new();
        for (node, ticks) in survey.nodes {
            let state = states.entry(node).or_default();
            state.heads = sorted(ticks.heads);
            state.present = sorted(ticks.present);
            state.deleted = sorted(ticks.deleted);
            state.last = state.present.last().unwrap_or_default();
        }
        let held = self.shared().read();
        for account in held.replica.accounts() {
            let state = states.entry(account.origin().node().clone()).or_default();
            state.known.union(account.seen());
            state.last = state.last.max(account.seen().last().unwrap_or_default());
        }
        let own = held.replica.origin().node().clone();
        drop(held);
        for (node, state) in &mut states {
            let mut all = TickSet::new();
            all.insert_range(Tick(1), state.last);
            if *node == own {
                state.known = all.difference(&state.present);
            } else {
                state.known = state.known.difference(&state.present);
                state.missing = all.difference(&state.known).difference(&state.present);
            }
        }
        states
    }
}

fn sorted(mut ticks: Vec<Tick>) -> TickSet {
    // In ascending order each goes in at once.
    ticks.sort_unstable();
    ticks.into_iter().collect()
}
