//! Writes records.

use std::collections::BTreeMap;

use distkv_store::path::PathRef;
use distkv_store::ticks::{NodeName, TickSet, Tock};
use distkv_store::tree::Entry;
use distkv_store::value::Packer;
use distkv_store::view::NodeState;

use crate::native::wire::{PathForm, Shortener, Writer};

/// Writes the records of one file.
#[derive(Debug, Default)]
pub(super) struct Recorder {
    shortener: Shortener,
}

impl Recorder {
    /// An entry as it is. (It has a value.)
    pub(super) fn entry(&mut self, out: &mut Vec<u8>, path: PathRef<'_>, entry: &Entry) {
        let mut record = Writer::new(out);
        if let Some(value) = &entry.value {
            record.raw("value", value.as_bytes());
        }
        record.chain(&entry.version, usize::MAX).uint("tock", entry.version.tock().get());
        self.path(&mut record, path);
    }

    /// A change: an entry has a new value, or was deleted.
    pub(super) fn change(&mut self, out: &mut Vec<u8>, path: PathRef<'_>, entry: &Entry) {
        let mut record = Writer::new(out);
        record.flat_chain(&entry.version, usize::MAX);
        self.path(&mut record, path);
        if let Some(value) = &entry.value {
            record.raw("value", value.as_bytes());
        }
        record.uint("tock", entry.version.tock().get());
        if entry.value.is_none() {
            // The original takes no notice of this path. The next record has its whole path.
            self.shortener = Shortener::default();
        }
    }

    fn path(&mut self, record: &mut Writer<'_>, path: PathRef<'_>) {
        let (depth, rest) = self.shortener.shorten(path);
        let form = if depth == 0 { PathForm::Ext } else { PathForm::Array };
        record.path("path", rest, form).uint("depth", depth as u64);
    }
}

/// Which events there are, as `node` says.
pub(super) fn state(out: &mut Vec<u8>, states: &BTreeMap<NodeName, NodeState>, node: &NodeName, tock: Tock) {
    let mut record = Writer::new(out);
    let mut pack = record.key("nodes");
    pack.map(states.len() as u32);
    for (node, state) in states {
        pack.str(node.as_str());
        pack.uint(state.last.0);
    }
    sets(record.key("known"), states, |state| &state.known);
    sets(record.key("deleted"), states, |state| &state.deleted);
    record.str("node", node.as_str()).uint("tock", tock.get());
}

fn sets(mut pack: Packer<'_>, states: &BTreeMap<NodeName, NodeState>, set: impl Fn(&NodeState) -> &TickSet) {
    let filled = || states.iter().filter(|(_, state)| !set(state).is_empty());
    pack.map(filled().count() as u32);
    for (node, state) in filled() {
        pack.str(node.as_str());
        let ranges = set(state).ranges();
        pack.array(ranges.len() as u32);
        for (first, last) in ranges {
            if first == last {
                pack.uint(first.0);
            } else {
                pack.array(2);
                pack.uint(first.0);
                pack.uint(last.0.saturating_add(1));
            }
        }
    }
}
