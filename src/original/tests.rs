//! Files that the original wrote are loaded; files that we wrote are loaded again, and are in the form of the original's.

use std::collections::BTreeMap;
use std::path::{Path as FilePath, PathBuf};
use std::sync::atomic::Ordering;

use distkv_store::meta::Meta;
use distkv_store::path::Path;
use distkv_store::store::{Durability, Imported, Options, Store};
use distkv_store::ticks::NodeName;
use distkv_store::tree::Entry;
use distkv_store::value::Value;
use distkv_store::view::{Step, View, WalkOptions, Who};

use super::*;

fn store(node: &str) -> Store {
    let options = Options { durability: Durability::Memory, ..Options::new(NodeName::new(node).unwrap()) };
    Store::open("/nowhere".as_ref(), options, &mut |_| {}).unwrap().0
}

fn sample(name: &str) -> PathBuf {
    FilePath::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples/original").join(name)
}

fn load_all(store: &Store, file: &FilePath) -> Loaded {
    load(store, file, &mut |_, _| {}).unwrap()
}

/// `value chain`, as short text.
fn shown(entry: &Entry) -> String {
    let chain: Vec<String> =
        entry.version.chain().map(|dot| format!("{}:{}", dot.origin.node(), dot.tick.0)).collect();
    match &entry.value {
        Some(value) => {
            format!("{:02x?} {} {}", value.as_bytes(), chain.join(","), entry.version.tock().get())
        }
        None => format!("- {} {}", chain.join(","), entry.version.tock().get()),
    }
}

/// All entries, tombstones as well if they are to be told.
fn contents(store: &Store, tombstones: bool) -> BTreeMap<String, String> {
    let view = store.view(Who::system());
    let mut all = BTreeMap::new();
    for root in [Path::root(), ":n".parse().unwrap()] {
        let options = WalkOptions { empty: tombstones, ..WalkOptions::default() };
        let mut walk = view.walk(root.as_path(), options).unwrap();
        while !walk.is_done() {
            view.walk_on(&mut walk, 100, 1 << 20, &mut |path, entry| {
                if let Some(entry) = entry {
                    all.insert(path.to_string(), shown(entry));
                }
                Step::On
            });
        }
    }
    all
}

fn value(store: &Store, path: &str) -> Value {
    let path: Path = path.parse().unwrap();
    let entry = store.view(Who::system()).get(path.as_path()).unwrap().unwrap_or_else(|| panic!("{path}"));
    entry.value.clone().unwrap()
}

fn entry(store: &Store, path: &str) -> Option<String> {
    let path: Path = path.parse().unwrap();
    store.view(Who::system()).entry(path.as_path()).unwrap().map(|entry| shown(&entry))
}

fn set(view: &View, path: &str, value: Value) {
    let path: Path = path.parse().unwrap();
    view.set(path.as_path(), value, Meta::default(), None).unwrap();
}

fn delete(view: &View, path: &str) {
    let path: Path = path.parse().unwrap();
    view.delete(path.as_path(), Meta::default(), None).unwrap();
}

#[test]
fn a_snapshot_of_the_original_loads_with_values_and_chains() {
    let store = store("new");
    let loaded = load_all(&store, &sample("save.mp"));
    assert_eq!((loaded.strange, loaded.cut, loaded.renamed.len()), (0, 0, 0));
    assert_eq!(value(&store, ":"), Value::string("Initial data"));
    assert_eq!(value(&store, "null"), Value::nil());
    assert_eq!(value(&store, "mixed:1:t:2:.5:vraw:['t',2]"), Value::string("odd path"));
    let nested: Path = "x.y:1".parse().unwrap();
    let map = value(&store, "types.map");
    let inside = Value::path(nested.as_path());
    assert!(map.as_bytes().windows(inside.as_bytes().len()).any(|part| part == inside.as_bytes()));
    assert_eq!(entry(&store, "both.once").unwrap(), "[02] s2:2,s1:3 29");
    assert_eq!(entry(&store, "both.thrice").unwrap(), "[03] s1:5,s2:3 34");
    assert_eq!(entry(&store, "gone.late.child").unwrap(), "[a1, 79] s1:15 67");
    assert_eq!(value(&store, ":n.acl.guest.hall"), Value::string("r"));
    for gone in ["gone.early", "gone.late", "kitchen.temp", ":n.acl.guest.kitchen.#"] {
        assert_eq!(entry(&store, gone), None, "{gone}");
    }
    assert!(store.tock().get() >= 80);
    let plain = self::store("new");
    load_all(&plain, &sample("save-plain.mp"));
    assert_eq!(entry(&plain, ":n.acl.guest.hall"), None);
    let user_data = |store| {
        let mut all = contents(store, false);
        all.retain(|path, _| !path.starts_with(":n"));
        all
    };
    assert_eq!(user_data(&plain), user_data(&store));
}

#[test]
fn a_log_of_the_original_loads_with_its_deletions() {
    let (snapshot, log) = (store("new"), store("new"));
    load_all(&snapshot, &sample("save.mp"));
    load_all(&log, &sample("log-fetch.mp"));
    assert_eq!(contents(&log, false), contents(&snapshot, false));
    assert_eq!(entry(&log, "gone.late").unwrap(), "- s2:6,s1:14 69");
    assert_eq!(entry(&log, "kitchen.temp").unwrap(), "- s1:16 70");
    assert_eq!(entry(&log, ":n.acl.guest.kitchen.#").unwrap(), "- s1:21 86");
    // It was deleted before the log began, which tells that number alone.
    assert_eq!(entry(&log, "gone.early"), None);
    assert!(log.view(Who::system()).finder("s1", 9).is_some());
}

#[test]
fn files_may_be_loaded_in_any_order_and_more_than_once() {
    let names = ["save.mp", "log-fetch.mp", "log.mp"];
    let mut outcomes = Vec::new();
    for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2]] {
        let store = store("new");
        order.iter().for_each(|&at| drop(load_all(&store, &sample(names[at]))));
        let before = contents(&store, true);
        for name in names {
            let again = load_all(&store, &sample(name));
            assert_eq!(again.events, Imported { known: again.events.known, ..Imported::default() });
        }
        assert_eq!(contents(&store, true), before);
        outcomes.push(contents(&store, false));
    }
    assert_eq!(outcomes[0], outcomes[1]);
    assert_eq!(outcomes[0], outcomes[2]);
}

#[test]
fn a_node_of_a_name_in_the_file_goes_on_above_its_events() {
    let store = store("s1");
    let view = store.view(Who::system());
    set(&view, "mine", Value::nil());
    load_all(&store, &sample("log-fetch.mp"));
    set(&view, "kitchen.light", Value::string("on"));
    let shown = entry(&store, "kitchen.light").unwrap();
    assert!(shown.starts_with("[a2, 6f, 6e] s1:22,s1:13,s2:1 "), "{shown}");
}

#[test]
fn what_is_wrong_with_a_file_is_said_with_its_place_and_what_stands_before_is_loaded() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("damaged");
    let good = std::fs::read(sample("save.mp")).unwrap();
    std::fs::write(&file, [&good[..], &[0xC1]].concat()).unwrap();
    let damaged = store("new");
    let error = load(&damaged, &file, &mut |_, _| {}).unwrap_err().to_string();
    assert!(error.contains("damaged, record 14: this is no file"), "{error}");
    assert_eq!(value(&damaged, "null"), Value::nil());
    let error = load(&damaged, &dir.path().join("none"), &mut |_, _| {}).unwrap_err().to_string();
    assert!(error.contains("can't open"), "{error}");
    std::fs::write(&file, &good[..good.len() - 3]).unwrap();
    assert!(load_all(&store("new"), &file).cut > 0);
}

/// A store with all kinds of entries, some from elsewhere.
fn filled(node: &str) -> Store {
    let store = store(node);
    load_all(&store, &sample("log-fetch.mp"));
    let view = store.view(Who::system());
    for number in 0..3000 {
        set(&view, &format!("many.n{}.x", number % 2500), Value::string(&format!("{number}")));
    }
    set(&view, ":.distkv.config.some", Value::nil());
    set(&view, "short", Value::nil());
    delete(&view, "short");
    store
}

fn folder() -> (tempfile::TempDir, Folder) {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::new(Some(dir.path().to_owned()));
    (dir, folder)
}

/// What a store that was loaded from a file holds, its versions as people see them.
fn loaded(file: &FilePath) -> (Store, BTreeMap<String, String>) {
    let store = store("other");
    let loaded = load_all(&store, file);
    assert_eq!((loaded.strange, loaded.cut), (0, 0));
    let contents = contents(&store, false);
    (store, contents)
}

#[tokio::test]
async fn a_snapshot_of_ours_loads_as_it_was() {
    let store = filled("n");
    let (dir, folder) = folder();
    let saved = save(&store, &folder, "all", true).await.unwrap();
    assert_eq!(saved.bytes, std::fs::metadata(dir.path().join("all")).unwrap().len());
    let (again, contents_again) = loaded(&dir.path().join("all"));
    assert_eq!(contents_again, contents(&store, false));
    // Every event of this node is in the file, or said to be known: none is missing.
    for tick in 1..=store.last_tick().0 {
        assert!(again.view(Who::system()).finder("n", tick).is_some(), "{tick}");
    }
    save(&store, &folder, "plain", false).await.unwrap();
    let (_, plain) = loaded(&dir.path().join("plain"));
    let mut all = contents_again;
    all.retain(|path, _| !path.starts_with(":n"));
    assert_eq!(plain, all);
    assert!(plain.contains_key(":.distkv.config.some"));
}

#[test]
fn a_snapshot_while_others_write_is_of_one_moment() {
    let store = filled("n");
    let (dir, folder) = folder();
    let view = store.view(Who::system());
    set(&view, "aa.before", Value::nil());
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // At each moment one of both is there.
            let mut number = 0;
            while !stop.load(Ordering::Relaxed) {
                number += 1;
                set(&view, "zz.after", Value::string(&number.to_string()));
                delete(&view, "aa.before");
                set(&view, "aa.before", Value::string(&number.to_string()));
                delete(&view, "zz.after");
                std::thread::yield_now();
            }
        });
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for round in 0..10 {
            let name = format!("file{round}");
            match runtime.block_on(save(&store, &folder, &name, true)) {
                Ok(_) => {
                    let (_, contents) = loaded(&dir.path().join(&name));
                    assert!(
                        contents.contains_key("aa.before") || contents.contains_key("zz.after"),
                        "{name}"
                    );
                }
                Err(SaveError::TooFast) => {}
                Err(error) => panic!("{error}"),
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[tokio::test]
async fn a_log_of_ours_has_every_change_on_the_disk_and_is_followed_by_the_next() {
    let store = filled("n");
    let (dir, folder) = folder();
    let (log, writer) = EventLog::new(store.clone(), folder);
    let test = async move {
        let view = store.view(Who::system());
        assert!(!log.stop().await.unwrap());
        log.start("one", true).await.unwrap();
        assert_eq!(loaded(&dir.path().join("one")).1, contents(&store, false));
        set(&view, "later.a", Value::string("1"));
        set(&view, "later.b", Value::string("2"));
        delete(&view, "later.a");
        delete(&view, "kitchen.light");
        set(&view, "later.c", Value::string("3"));
        while log.figures().changes.load(Ordering::Relaxed) < 5 {
            tokio::task::yield_now().await;
        }
        // Not stopped: all is there nevertheless.
        let (again, contents_again) = loaded(&dir.path().join("one"));
        assert_eq!(contents_again, contents(&store, false));
        assert_eq!(entry(&again, "kitchen.light"), entry(&store, "kitchen.light"));

        log.start("two", false).await.unwrap();
        set(&view, "later.d", Value::string("4"));
        assert!(log.stop().await.unwrap());
        assert!(!log.stop().await.unwrap());
        set(&view, "later.e", Value::string("5"));
        let (_, two) = loaded(&dir.path().join("two"));
        assert_eq!(two.keys().collect::<Vec<_>>(), ["later.d"]);
        assert!(matches!(
            log.start("../three", false).await,
            Err(LogError::File(FolderError::Outside { .. }))
        ));
        // The writer ends with the last handle.
        drop(log);
    };
    tokio::join!(writer.run(), test);
}

#[tokio::test]
async fn a_log_tells_the_state_now_and_then() {
    let store = store("n");
    let (dir, folder) = folder();
    let (log, writer) = EventLog::new(store.clone(), folder);
    let test = async {
        log.start("log", false).await.unwrap();
        let view = store.view(Who::system());
        for number in 0..2500 {
            set(&view, "a", Value::string(&number.to_string()));
            if number % 100 == 0 {
                while log.figures().changes.load(Ordering::Relaxed) < number {
                    tokio::task::yield_now().await;
                }
            }
        }
        log.stop().await.unwrap();
        let mut reader = reader::Reader::new(std::fs::File::open(dir.path().join("log")).unwrap());
        let (mut states, mut events) = (0, 0);
        while let Some(record) = reader.next().unwrap() {
            match record {
                reader::Record::State(_) => states += 1,
                reader::Record::Event(_) => events += 1,
                reader::Record::Strange => panic!(),
            }
        }
        assert_eq!(events, 2500);
        assert!((3..=5).contains(&states), "{states}");
        // The writer ends with the last handle.
        drop(log);
    };
    tokio::join!(writer.run(), test);
}
