//! Walks, children, searches and surveys, each against what a look at all entries says.

use std::collections::{BTreeMap, BTreeSet};

use distkv_store::meta::Meta;
use distkv_store::path::{Element, Path};
use distkv_store::store::{Durability, Store};
use distkv_store::ticks::Tick;
use distkv_store::tree::Progress;
use distkv_store::value::Value;
use distkv_store::view::{Found, Step, View, WalkOptions, Who};

use crate::disk::Random;
use crate::store::{options, path};

fn memory() -> (Store, View) {
    let (store, _) = Store::open("".as_ref(), options(Durability::Memory), &mut |_| {}).unwrap();
    let view = store.view(Who::system());
    (store, view)
}

fn set(view: &View, at: &str) -> u64 {
    let committed = view.set(path(at).as_path(), Value::string(at), Meta::default(), None).unwrap();
    committed.entry.unwrap().version.dot().tick.0
}

fn delete(view: &View, at: &str) -> u64 {
    let committed = view.delete(path(at).as_path(), Meta::default(), None).unwrap();
    committed.entry.map_or(0, |entry| entry.version.dot().tick.0)
}

/// What a walk tells: `path` with a value, `(path)` without, in slices of that many entries.
fn walk(view: &View, from: &str, options: WalkOptions, entries: usize, over: &str) -> Vec<String> {
    let mut walk = view.walk(path(from).as_path(), options).unwrap();
    let mut told = Vec::new();
    loop {
        let progress = view.walk_on(&mut walk, entries, 1 << 20, &mut |at, entry| {
            let valued = entry.is_some_and(|entry| entry.value.is_some());
            told.push(if valued { at.to_string() } else { format!("({at})") });
            if at.to_string() == over { Step::Over } else { Step::On }
        });
        if progress == Progress::Done {
            return told;
        }
    }
}

#[test]
fn a_walk_tells_parents_first_as_deep_as_it_is_asked_to() {
    let (_store, view) = memory();
    for at in ["a.b.c.d", "a.b.x", "a.c", "b", ":n.acl.x", ":.distkv.config"] {
        set(&view, at);
    }
    set(&view, "a.gone.below");
    delete(&view, "a.gone.below");
    for entries in [1, 2, 100] {
        let walk = |from, options| walk(&view, from, options, entries, "none");
        let plain = WalkOptions::default();
        let empty = WalkOptions { empty: true, ..plain };
        assert_eq!(walk(":", plain), [":.distkv.config", "a.b.c.d", "a.b.x", "a.c", "b"]);
        assert_eq!(
            walk("a", empty),
            ["(a)", "(a.b)", "(a.b.c)", "a.b.c.d", "a.b.x", "a.c", "(a.gone)", "(a.gone.below)"]
        );
        let shallow = WalkOptions { max_depth: Some(1), ..empty };
        assert_eq!(walk(":", shallow), ["(:)", "(:.distkv)", "(a)", "b"]);
        assert_eq!(
            walk("a", WalkOptions { min_depth: 2, ..empty }),
            ["(a.b.c)", "a.b.c.d", "a.b.x", "(a.gone.below)"]
        );
        assert_eq!(walk("a", WalkOptions { min_depth: 2, max_depth: Some(2), ..plain }), ["a.b.x"]);
        assert_eq!(walk("a.b.x", WalkOptions { max_depth: Some(0), ..plain }), ["a.b.x"]);
        assert_eq!(walk("b", WalkOptions { min_depth: 1, ..plain }), Vec::<String>::new());
        assert_eq!(walk(":n", plain), [":n.acl.x"]);
        assert_eq!(walk("nothing", empty), Vec::<String>::new());
    }
    for entries in [1, 100] {
        let empty = WalkOptions { empty: true, ..WalkOptions::default() };
        let told = walk(&view, "a", empty, entries, "(a.b)");
        assert!(told.contains(&"(a.b)".to_owned()));
        let over = walk(&view, "a", empty, entries, "a.b");
        assert_eq!(over, ["(a)", "(a.b)", "a.c", "(a.gone)", "(a.gone.below)"]);
    }
    assert!(view.exists(path("a.b.c").as_path()) && view.exists(path("a.gone").as_path()));
    assert!(!view.exists(path("a.b.c.d.e").as_path()) && !view.exists(path("a.a").as_path()));
}

/// Walks of random trees against a list of all nodes.
#[test]
fn any_walk_tells_what_a_list_of_nodes_says() {
    let mut random = Random(5);
    for _ in 0..60 {
        let (_store, view) = memory();
        let mut entries: BTreeMap<Path, bool> = BTreeMap::new();
        for _ in 0..random.below(40) {
            let len = 1 + random.below(5);
            let names = (0..len).map(|_| Element::Int(random.below(3) as i128));
            let at = Path::from_elements(names.collect::<Vec<_>>()).unwrap();
            set(&view, &at.to_string());
            entries.insert(at.clone(), true);
            if random.one_in(4) {
                delete(&view, &at.to_string());
                entries.insert(at, false);
            }
        }
        let base = Path::from_elements(
            (0..random.below(3)).map(|_| Element::Int(random.below(3) as i128)).collect::<Vec<_>>(),
        )
        .unwrap();
        let options = WalkOptions {
            min_depth: random.below(3),
            max_depth: random.one_in(2).then(|| random.below(4)),
            empty: random.one_in(2),
        };
        let mut nodes: BTreeSet<Path> = BTreeSet::new();
        for at in entries.keys() {
            for len in 0..=at.len() {
                nodes.insert(Path::from_elements(at.elements().take(len)).unwrap());
            }
        }
        let expected: Vec<String> = nodes
            .into_iter()
            .filter(|node| node.starts_with(&base))
            .filter(|node| {
                let depth = node.len() - base.len();
                depth >= options.min_depth && options.max_depth.is_none_or(|max| depth <= max)
            })
            .filter_map(|node| match entries.get(&node) {
                Some(true) => Some(node.to_string()),
                _ => options.empty.then(|| format!("({node})")),
            })
            .collect();
        let entries = 1 + random.below(10);
        assert_eq!(walk(&view, &base.to_string(), options, entries, "none"), expected, "{base} {options:?}");
    }
}

#[test]
fn children_come_by_name_with_what_they_hold() {
    let (_store, view) = memory();
    for at in ["a.b.c", "a.b", "a.c.d.e", "a.d", "a", "a:1", ":n.x"] {
        set(&view, at);
    }
    delete(&view, "a.d");
    let names = |at: &str, after: Option<&Element<'_>>, max| {
        let (children, next) = view.children(path(at).as_path(), after, max).unwrap();
        let shown = children.iter().map(|child| {
            let name = Path::from_elements([child.name.clone()]).unwrap();
            format!("{name} {} {}", child.value().is_some(), child.below)
        });
        (shown.collect::<Vec<_>>(), next)
    };
    let all = [":1 true false", "b true true", "c false true", "d false false"];
    assert_eq!(names("a", None, 10), (all.map(str::to_owned).to_vec(), None));
    assert_eq!(
        names("a", None, 2),
        (all[..2].iter().map(|it| (*it).to_owned()).collect(), Some(Element::str("b")))
    );
    assert_eq!(names("a", Some(&Element::str("b")), 10).0, all[2..]);
    assert_eq!(names(":", None, 10).0, [":n false true", "a true true"]);
    assert_eq!(names("a.d", None, 10), (Vec::new(), None));
    assert!(view.entry(path("a.d").as_path()).unwrap().unwrap().is_tombstone());
    assert!(view.entry(path("a.c").as_path()).unwrap().is_none());
}

#[test]
fn events_are_found_by_their_numbers() {
    let (_store, view) = memory();
    let first = set(&view, "a");
    let second = set(&view, "a");
    let gone = delete(&view, "a");
    let other = set(&view, "b.c");
    let find = |node: &str, tick| {
        let mut finder = view.finder(node, tick)?;
        loop {
            match view.find(&mut finder) {
                Found::Here(path, _) => return Some(path.to_string()),
                Found::Nowhere => return Some("nowhere".to_owned()),
                Found::Searching => {}
            }
        }
    };
    assert_eq!(find("n", gone).as_deref(), Some("a"));
    assert_eq!(find("n", other).as_deref(), Some("b.c"));
    assert_eq!(find("n", first).as_deref(), Some("nowhere"));
    assert_eq!(find("n", other + 1), None);
    assert_eq!(find("m", first), None);

    let mut survey = view.survey().unwrap();
    while view.survey_on(&mut survey) == Progress::More {}
    let states = view.state(survey);
    let (_, state) = states.first_key_value().unwrap();
    let set = |ticks: &[u64]| ticks.iter().copied().map(Tick).collect();
    assert_eq!(state.last, Tick(other));
    assert_eq!(state.heads, set(&[gone, other]));
    assert_eq!(state.present, set(&[gone, other]));
    assert_eq!(state.deleted, set(&[gone]));
    assert_eq!(state.known, set(&[first, second]));
    assert!(state.missing.is_empty());
}
