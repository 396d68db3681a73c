//! Damaged and hostile records: an error, never a panic, and never half of a record.

use distkv_store::path::Path;
use distkv_store::replica::{Config, Recovery};
use distkv_store::ticks::{Life, NodeName};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::node::Node;

/// Records of every kind.
fn records() -> Vec<Vec<u8>> {
    let path = |name: &str| Path::from_strs([name]).unwrap();
    let (mut a, mut b) = (Node::start("a", 1, Vec::new()), Node::start("b", 2, Vec::new()));
    a.write(&path("x"), Some("1"));
    b.write(&path("x"), Some("2"));
    b.write(&path("y"), Some("3"));
    b.write(&path("y"), None);
    for record in b.log.clone() {
        for event in a.read(&record) {
            a.merge(event);
        }
    }
    let mut records = a.log.clone();
    let mut export = a.replica.begin_export(&mut |record| records.push(record.to_vec()));
    a.replica.export(&mut export, 100, 10_000, &mut |record| records.push(record.to_vec()));
    let mut record = Vec::new();
    a.replica.purge(&mut export.into_tombstones(), 10, &mut record);
    records.push(record);
    records
}

/// Takes a record in, whatever comes of it, and starts on that.
fn try_record(record: &[u8]) {
    let mut recovery = Recovery::new();
    let taken = recovery.apply(record);
    if taken.is_err() {
        assert!(recovery.is_empty());
    }
    let config = Config::alone(NodeName::new("a").unwrap());
    let mut replica = recovery.start(config, Life(3), &mut Vec::new());
    if let Ok(events) = replica.read_events(record) {
        for event in events {
            let _ = replica.merge(event, 0, &mut Vec::new());
        }
    }
}

proptest! {
    #[test]
    fn random_bytes_do_no_harm(record in prop::collection::vec(prop_oneof![any::<u8>(), 0_u8..8], 0..60)) {
        try_record(&record);
    }

    #[test]
    fn damaged_records_do_no_harm(which in any::<Index>(), damage in prop::collection::vec((any::<Index>(), any::<u8>()), 1..4), cut in any::<Index>()) {
        let records = records();
        let mut record = which.get(&records).clone();
        for (at, byte) in damage {
            let at = at.index(record.len());
            record[at] = byte;
        }
        record.truncate(cut.index(record.len()) + 1);
        try_record(&record);
    }
}

#[test]
fn undamaged_records_are_taken() {
    let mut recovery = Recovery::new();
    for record in records() {
        recovery.apply(&record).unwrap();
    }
    recovery.sweep();
    let counts = recovery.counts();
    assert_eq!((counts.values, counts.internal, counts.tombstones), (1, 1, 0));
}
