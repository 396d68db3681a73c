//! Records in all their forms, and damaged ones.

use distkv_store::value::Packer;
use proptest::prelude::*;

use super::*;

fn all(bytes: &[u8]) -> (Vec<Record>, Result<usize, ReadError>) {
    let mut reader = Reader::new(bytes);
    let mut records = Vec::new();
    loop {
        match reader.next() {
            Ok(Some(record)) => records.push(record),
            Ok(None) => return (records, Ok(reader.rest())),
            Err(error) => return (records, Err(error)),
        }
    }
}

fn put(fill: impl FnOnce(&mut Packer<'_>)) -> Vec<u8> {
    let mut out = Vec::new();
    fill(&mut Packer(&mut out));
    out
}

/// The record of the program's `dump init`.
fn first(node: &str) -> Vec<u8> {
    put(|pack| {
        pack.map(5);
        pack.str("chain");
        pack.map(3);
        pack.str("node");
        pack.str(node);
        pack.str("tick");
        pack.uint(1);
        pack.str("prev");
        pack.nil();
        pack.str("depth");
        pack.uint(0);
        pack.str("path");
        pack.array(0);
        pack.str("tock");
        pack.uint(1);
        pack.str("value");
        pack.str("Initial data");
    })
}

fn event(record: &Record) -> &Foreign {
    match record {
        Record::Event(event) => event,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_file_that_ends_in_the_middle_is_read_up_to_there() {
    let whole = [first("s1"), first("s2")].concat();
    for len in 0..whole.len() {
        let (records, rest) = all(&whole[..len]);
        let found = usize::from(len >= first("s1").len());
        assert_eq!(records.len(), found);
        assert_eq!(rest.unwrap(), len - found * first("s1").len());
    }
}

#[test]
fn names_that_no_node_may_have_are_replaced_each_by_one_of_its_own() {
    let long = "n".repeat(100);
    let names = ["s1", "a b", "a_b", "a/b", "", &long];
    let bytes: Vec<u8> = names.iter().flat_map(|name| first(name)).collect();
    let mut reader = Reader::new(&bytes[..]);
    let mut found = Vec::new();
    while let Some(record) = reader.next().unwrap() {
        found.push(event(&record).node.to_string());
    }
    assert_eq!(found[0], "s1");
    assert_eq!(found[2], "a_b");
    let different: std::collections::BTreeSet<&String> = found.iter().collect();
    assert_eq!(different.len(), names.len());
    assert_eq!(reader.renamed().len(), 4);
}

#[test]
fn states_are_read_in_all_their_forms() {
    let state = put(|pack| {
        pack.map(1);
        pack.str("info");
        pack.map(3);
        pack.str("nodes");
        pack.map(2);
        pack.str("s1");
        pack.uint(9);
        pack.str("s2");
        pack.nil();
        pack.str("superseded");
        pack.map(1);
        pack.str("s1");
        pack.array(3);
        pack.array(2);
        pack.uint(5);
        pack.uint(8);
        pack.uint(2);
        pack.array(2);
        pack.uint(7);
        pack.uint(7);
        pack.str("tock");
        pack.uint(3);
    });
    let (records, rest) = all(&state);
    assert_eq!(rest.unwrap(), 0);
    let [Record::State(state)] = &records[..] else { panic!("{records:?}") };
    let s1 = NodeName::new("s1").unwrap();
    assert_eq!(state.nodes.iter().collect::<Vec<_>>(), [(&s1, &Tick(9))]);
    assert_eq!(state.known[&s1].iter().collect::<Vec<_>>(), [2, 5, 6, 7].map(Tick));
}

#[test]
fn what_is_no_record_is_an_error_that_says_so() {
    for (bytes, part) in [
        (vec![0xC1], "0xC1"),
        (vec![0x93, 1, 2, 3], "map"),
        (
            put(|pack| {
                pack.map(1);
                pack.str("path");
                pack.array(0);
            }),
            "`node` is missing",
        ),
        (
            put(|pack| {
                pack.map(1);
                pack.str("nodes");
                pack.array(0);
            }),
            "`nodes` must be",
        ),
        (
            put(|pack| {
                pack.map(1);
                pack.str("path");
                pack.map(0);
            }),
            "not a path",
        ),
    ] {
        let (records, rest) = all(&bytes);
        assert!(records.is_empty());
        let error = rest.unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    let (records, _) = all(&put(|pack| {
        pack.map(1);
        pack.str("news");
        pack.nil();
    }));
    assert!(matches!(records[..], [Record::Strange]));
}

proptest! {
    #[test]
    fn any_bytes_are_records_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200), at in 0_usize..100) {
        all(&bytes).0.len();
        let mut damaged = [first("s1"), first("s2")].concat();
        for (index, byte) in bytes.iter().take(3).enumerate() {
            let place = (at * (index + 1)) % damaged.len();
            damaged[place] ^= byte;
        }
        all(&damaged).0.len();
    }
}
