//! Tests of the tree against a sorted map.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::chain::{Dot, Origin};
use crate::path::Path;
use crate::ticks::{Life, NodeName, Tick, Tock};

fn entry(value: Option<&str>) -> Arc<Entry> {
    let origin = Origin::new(NodeName::new("n").unwrap(), Life(1));
    let version = Version::first(Dot { origin, tick: Tick(1) }, Tock::new(1).unwrap());
    Arc::new(Entry { value: value.map(Value::string), meta: Meta::default(), version })
}

fn topic() -> impl Strategy<Value = Path> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "c", "aa", ""]), 1..5)
        .prop_map(|names| Path::from_strs(names).unwrap())
}

fn pattern() -> impl Strategy<Value = Pattern> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "c", "+", "+", "#"]), 1..5)
        .prop_map(|names| Pattern::from_path(Path::from_strs(names).unwrap().as_path()).unwrap())
}

fn all(tree: &Tree, scan: &mut Scan, looks: usize) -> Vec<Path> {
    let mut found = Vec::new();
    while tree.scan(scan, looks, |path, _| {
        found.push(path.to_path());
        found.len() % 3 != 0
    }) == Progress::More
    {}
    found
}

proptest! {
    #[test]
    fn a_scan_finds_what_matches_in_order(paths in prop::collection::vec(topic(), 0..80), pattern in pattern(), looks in 1_usize..20) {
        let mut tree = Tree::new();
        let mut model = BTreeMap::new();
        for path in paths {
            tree.update(path.as_path(), |_| entry(Some("x")));
            model.insert(path, ());
        }
        let wanted: Vec<Path> = model.into_keys().filter(|path| pattern.matches(path.as_path())).collect();
        prop_assert_eq!(all(&tree, &mut Scan::new(pattern), looks), wanted);
    }

    #[test]
    fn changes_during_a_scan_cost_no_other_entry(
        paths in prop::collection::btree_set(topic(), 1..60),
        changed in prop::collection::vec((topic(), any::<bool>()), 0..20),
        pattern in pattern(),
    ) {
        let mut tree = Tree::new();
        for path in &paths {
            tree.update(path.as_path(), |_| entry(Some("x")));
        }
        let mut scan = Scan::new(pattern.clone());
        let mut found = Vec::new();
        let mut changes = changed.iter();
        while tree.scan(&mut scan, 4, |path, _| {
            found.push(path.to_path());
            false
        }) == Progress::More {
            if let Some((path, remove)) = changes.next() {
                if *remove {
                    tree.remove(path.as_path());
                } else {
                    tree.update(path.as_path(), |_| entry(Some("y")));
                }
            }
        }
        prop_assert!(found.windows(2).all(|pair| pair[0] < pair[1]));
        for path in paths {
            let touched = changed.iter().any(|(other, _)| *other == path);
            prop_assert!(touched || found.contains(&path) == pattern.matches(path.as_path()));
        }
    }

    #[test]
    fn counts_are_what_is_there(steps in prop::collection::vec((topic(), prop::option::of(prop::option::of("[a-z]{0,9}"))), 0..60)) {
        let mut tree = Tree::new();
        for (path, step) in &steps {
            match step {
                Some(value) => { tree.update(path.as_path(), |_| entry(value.as_deref())); }
                None => { tree.remove(path.as_path()); }
            }
        }
        let mut counts = Counts::default();
        for (path, entry) in tree.iter() {
            counts.add(path, entry);
        }
        prop_assert_eq!(tree.counts(), counts);
        tree.drop_tombstones(|_| true);
        prop_assert_eq!(tree.counts().tombstones, 0);
        prop_assert_eq!(tree.counts().values, counts.values);
    }
}

#[test]
fn a_wildcard_scan_looks_at_few_keys() {
    let mut tree = Tree::new();
    for room in 0..100 {
        for sensor in 0..100 {
            let path: Path = format!("house.{room}.{sensor}").parse().unwrap();
            tree.update(path.as_path(), |_| entry(Some("x")));
        }
    }
    let pattern = Pattern::from_path("house.+.42".parse::<Path>().unwrap().as_path()).unwrap();
    let mut scan = Scan::new(pattern);
    let mut found = 0;
    let progress = tree.scan(&mut scan, 100 * (2 * STEPS + 4), |_, _| {
        found += 1;
        true
    });
    assert_eq!((found, progress), (100, Progress::Done));
}

#[test]
fn an_entry_is_small() {
    assert!(size_of::<Entry>() <= 104, "{}", size_of::<Entry>());
}

#[test]
fn an_expired_value_is_none() {
    let mut entry = Arc::unwrap_or_clone(entry(Some("x")));
    entry.meta = Meta::at(1).with_expiry(100);
    assert!(entry.value_at(99).is_some());
    assert!(entry.value_at(100).is_none());
    assert!(!entry.is_tombstone());
}

fn until(value: &str, expiry: u64) -> Arc<Entry> {
    let plain = entry(Some(value));
    Arc::new(Entry { meta: Meta::default().with_expiry(expiry), ..Entry::clone(&plain) })
}

#[test]
fn values_end_at_their_time_and_leave_tombstones_of_the_same_version() {
    let mut tree = Tree::new();
    let at = |name| Path::from_strs([name]).unwrap();
    for (name, expiry) in [("a", 30), ("b", 10), ("c", 20)] {
        tree.update(at(name).as_path(), |_| until("x", expiry));
    }
    // An entry that is written anew, or taken out, does not end at its former time.
    tree.update(at("c").as_path(), |_| until("y", 40));
    tree.remove(at("a").as_path());
    assert_eq!(tree.next_expiry(), Some(10));
    assert_eq!(tree.expire(9, 100), 0);
    assert_eq!(tree.expire(39, 100), 1);
    assert_eq!(tree.counts(), Counts { values: 1, tombstones: 1, ..tree.counts() });
    let ended = tree.get(at("b").as_path()).unwrap();
    assert!(ended.is_tombstone() && ended.version == entry(None).version);
    assert_eq!(tree.expire(40, 100), 1);
    assert_eq!((tree.next_expiry(), tree.counts().values), (None, 0));
    tree.update(at("c").as_path(), |_| entry(Some("z")));
    assert_eq!((tree.next_expiry(), tree.counts().values), (None, 1));
}

#[test]
fn as_many_values_end_in_one_go_as_the_caller_allows() {
    let mut tree = Tree::new();
    for n in 0..10 {
        tree.update(Path::from_strs([n.to_string().as_str()]).unwrap().as_path(), |_| until("x", 5));
    }
    assert_eq!((tree.expire(5, 4), tree.expire(5, 4), tree.expire(5, 4)), (4, 4, 2));
}
