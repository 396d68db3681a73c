//! Rights, held against the table of `docs/access.md`: everything that a view can do, with every set of rights; and at the moment when they change.

use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use distkv_store::access::{Denied, Right, Rights, users};
use distkv_store::meta::Meta;
use distkv_store::path::{Path, PathRef, Pattern};
use distkv_store::store::{Durability, Store, WatchEvent};
use distkv_store::tree::{Entry, Progress};
use distkv_store::value::Value;
use distkv_store::view::{
    Condition, Found, Step, Terms, View, WalkOptions, Watch, WatchOptions, Who, Write, WriteError,
};

use proptest::prelude::*;

use crate::store::{options, path};

pub(crate) fn memory() -> (Store, View) {
    let (store, _) = Store::open("".as_ref(), options(Durability::Memory), &mut |_| {}).unwrap();
    let system = store.view(Who::system());
    (store, system)
}

pub(crate) fn put(view: &View, at: &str, value: Value) {
    view.set(path(at).as_path(), value, Meta::default(), None).unwrap();
}

pub(crate) fn set(view: &View, at: &str) -> Result<(), WriteError> {
    view.set(path(at).as_path(), Value::string(at), Meta::default(), None).map(drop)
}

pub(crate) fn delete(view: &View, at: &str) -> Result<(), WriteError> {
    view.delete(path(at).as_path(), Meta::default(), None).map(drop)
}

pub(crate) fn subtree(at: &str) -> Pattern {
    Pattern::subtree(path(at).as_path()).unwrap()
}

/// The paths that a cursor tells.
pub(crate) fn read(view: &View, pattern: Pattern) -> Vec<String> {
    let mut cursor = view.cursor(pattern);
    let mut found = Vec::new();
    while view.slice(&mut cursor, 3, 1000, &mut |path, _| found.push(path.to_string())) == Progress::More {}
    found
}

/// The paths that a walk tells, those without an entry in brackets.
pub(crate) fn walk(view: &View, at: &str, empty: bool) -> Result<Vec<String>, Denied> {
    let mut walk = view.walk(path(at).as_path(), WalkOptions { empty, ..WalkOptions::default() })?;
    let mut found = Vec::new();
    let mut sink = |path: PathRef<'_>, entry: Option<&_>| {
        found.push(if entry.is_some() { path.to_string() } else { format!("({path})") });
        Step::On
    };
    while view.walk_on(&mut walk, 3, 1000, &mut sink) == Progress::More {}
    Ok(found)
}

pub(crate) fn children(view: &View, at: &str) -> Result<Vec<String>, Denied> {
    let (children, _) = view.children(path(at).as_path(), None, 1000)?;
    Ok(children.iter().map(|child| child.path.to_string()).collect())
}

/// The paths that a watch tells until it has nothing more to tell; changes with a `!`.
pub(crate) fn told(watch: &mut Watch) -> Vec<String> {
    let mut cx = Context::from_waker(Waker::noop());
    let (mut told, mut quiet) = (Vec::new(), 0);
    while quiet < 20 {
        match watch.poll_next(&mut cx) {
            Poll::Ready(Some(WatchEvent::Existing { path, .. })) => told.push(path.to_string()),
            Poll::Ready(Some(WatchEvent::Changed { path, .. })) => told.push(format!("!{path}")),
            Poll::Ready(Some(_)) => {}
            Poll::Ready(None) => break,
            Poll::Pending => quiet += 1,
        }
    }
    told
}

/// A user who has only an access list of that name.
pub(crate) fn login(store: &Store, system: &View, name: &str, list: &str) -> View {
    put(system, &format!(":n.auth.password.user.{name}"), users::record(&[], false, None));
    put(system, &format!(":n.auth.password.user.{name}.acl"), users::key(list));
    store.view(Who::login(store.access().find(name, "password").unwrap()).with_client("dev".into()))
}

/// What is there before each try: a value, one below it, one that was deleted.
fn prepare(system: &View) {
    for gone in ["w", "w.x", "w.new", "w.new.deep", "w.gone"] {
        let _ = system.delete_tree(path(gone).as_path(), &Meta::default());
    }
    for at in ["w", "w.x", "w.gone"] {
        put(system, at, Value::string(at));
    }
    system.delete(path("w.gone").as_path(), Meta::default(), None).unwrap();
}

/// Where the writes of a try go which make new nodes: a tombstone stays for a while, so each needs a place of its own.
struct Fresh(u32);

impl Fresh {
    fn below(&mut self, parent: &str) -> String {
        self.0 += 1;
        format!("{parent}.f{}", self.0)
    }
}

fn is_denied<T: std::fmt::Debug>(result: Result<T, WriteError>) -> bool {
    match result {
        Ok(_) => false,
        Err(WriteError::Denied(_)) => true,
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn every_operation_needs_the_rights_of_the_table_and_no_others() {
    let (store, system) = memory();
    let user = login(&store, &system, "ann", "std");
    let mut fresh = Fresh(0);
    for bits in 0..=u8::MAX {
        let rights: Rights = Right::ALL
            .into_iter()
            .enumerate()
            .filter(|(at, _)| bits & 1 << at != 0)
            .map(|(_, it)| it)
            .collect();
        put(&system, ":n.acl.std.#", Value::string(&rights.to_string()));
        prepare(&system);
        check_reading(&store, &system, &user, rights);
        check_writing(&system, &user, rights, &mut fresh);
    }
}

/// The list has one rule, `#`: what holds for `w` holds for the root, except that this is passed anyway.
fn check_reading(store: &Store, system: &View, user: &View, rights: Rights) {
    let all = |letters: &str| Rights::read(letters).iter().all(|right| rights.has(right));
    let some = |letters: &str| Rights::read(letters).iter().any(|right| rights.has(right));
    let only = |paths: &[(&str, bool)]| -> Vec<String> {
        paths.iter().filter(|(_, shown)| *shown).map(|(path, _)| (*path).to_owned()).collect()
    };
    let get = |at: &str| user.get(path(at).as_path()).is_ok();
    assert_eq!(get("w"), all("r"), "{rights}");
    assert_eq!(get("w.x"), all("rx"), "{rights}");
    assert_eq!(get("w.missing"), all("rx"), "{rights}: whether it is there is not told");
    assert_eq!(user.entry(path("w.gone").as_path()).is_ok(), all("rx"), "{rights}");
    assert_eq!(user.exists(path("w").as_path()), some("re"), "{rights}");
    assert_eq!(user.exists(path("w.x").as_path()), some("re") && all("x"), "{rights}");

    let below = only(&[("w", all("r")), ("w.x", all("rx"))]);
    let names = children(user, "w").map(|all| all.into_iter().filter(|name| !name.contains('f')).collect());
    assert_eq!(names.ok(), all("e").then(|| only(&[("w.gone", all("x")), ("w.x", all("x"))])), "{rights}");
    let top = children(user, ":").map(|all| all.into_iter().filter(|name| name == "w").count());
    assert_eq!(top.ok(), all("e").then_some(1), "{rights}");
    assert_eq!(walk(user, "w", false).ok(), all("e").then(|| below.clone()), "{rights}");
    let listed = if all("e") { below } else { Vec::new() };
    assert_eq!(read(user, subtree("w")), listed, "{rights}");
    assert_eq!(user.check_list(&subtree("w")).is_ok(), all("e"), "{rights}");
    let exactly = Pattern::exactly(path("w.x").as_path()).unwrap();
    assert_eq!(read(user, exactly.clone()), only(&[("w.x", all("rx"))]), "{rights}");

    let mut watch = user.watch(subtree("w"), WatchOptions::default());
    assert_eq!(told(&mut watch), listed, "{rights}");
    put(system, "w.x", Value::string("again"));
    assert_eq!(told(&mut watch), only(&[("!w.x", all("erx"))]), "{rights}");
    let mut watch = user.watch(exactly, WatchOptions { existing: false, ..WatchOptions::default() });
    put(system, "w.x", Value::string("again"));
    assert_eq!(told(&mut watch), only(&[("!w.x", all("rx"))]), "{rights}");

    let event = system.get(path("w.x").as_path()).unwrap().unwrap();
    let mut finder = user.finder("n", event.version.dot().tick.0).unwrap();
    let found = loop {
        match user.find(&mut finder) {
            Found::Searching => {}
            found => break matches!(found, Found::Here(..)),
        }
    };
    assert_eq!(found, all("rx"), "{rights}");
    assert!(user.survey().is_err() && !user.is_admin());
    for right in Right::ALL {
        assert_eq!(user.may(path("w").as_path(), right), rights.has(right));
        assert_eq!(user.may(path("w.x").as_path(), right), rights.has(right) && all("x"));
        assert_eq!(user.why(path("w.x").as_path(), right).allowed, rights.has(right) && all("x"));
    }
    let internal = path(":n.auth.password.user.ann");
    assert!(user.get(internal.as_path()).is_err() && store.access().has_users());
}

fn check_writing(system: &View, user: &View, rights: Rights, fresh: &mut Fresh) {
    let all = |letters: &str| Rights::read(letters).iter().all(|right| rights.has(right));
    let may_set = |at: &str| {
        let checked = user.check_set(path(at).as_path()).is_ok();
        let done = !is_denied(set(user, at));
        assert_eq!(checked, done, "{rights} at {at}");
        done
    };
    assert_eq!(may_set("w"), all("w"), "{rights}");
    assert_eq!(may_set("w.x"), all("wx"), "{rights}");
    assert_eq!(may_set("w.gone"), all("cx"), "{rights}");
    // Its parent needs no `x`, but `n`.
    assert_eq!(may_set(&fresh.below("w")), all("cn"), "{rights}");
    let deep = format!("{}.deep", fresh.below("w"));
    assert_eq!(may_set(&deep), all("cn"), "{rights}");
    assert_eq!(may_set(&format!("top{}", fresh.0)), all("c"), "{rights}");
    let _ = system.delete_tree(path(&format!("top{}", fresh.0)).as_path(), &Meta::default());

    let send = |at: &str| user.check_send(path(at).as_path()).is_ok();
    assert_eq!(send("w.x"), all("wx"), "{rights}");
    assert_eq!(send("w.missing"), all("cx"), "{rights}");

    let at = path(&fresh.below("w"));
    let new = user.write_if(at.as_path(), Condition::New, Some(Value::nil()), Meta::default(), None);
    assert_eq!(!is_denied(new), all("cn"), "{rights}");
    let x = path("w.x");
    let dot = system.get(x.as_path()).unwrap().unwrap().version.dot().clone();
    let version = Condition::Version { node: "n", tick: dot.tick.0 };
    let written = user.write_if(x.as_path(), version, Some(Value::nil()), Meta::default(), None);
    assert_eq!(!is_denied(written), all("rwx"), "{rights}: the version is told to those who may read");
    let terms = Terms { conditions: &[Condition::Value(&Value::nil())], idempotent: false };
    put(system, "w.x", Value::nil());
    let write = Write { path: x.as_path(), value: Some(Value::nil()), meta: Meta::default(), terms };
    assert_eq!(!is_denied(user.write(write, None)), all("rwx"), "{rights}");
    // What was there is told to those who may read it.
    if all("wx") {
        let terms = Terms { conditions: &[], idempotent: true };
        let write = Write { path: x.as_path(), value: Some(Value::nil()), meta: Meta::default(), terms };
        let committed = user.write(write, None).unwrap();
        assert_eq!(committed.previous.is_some(), all("r"), "{rights}");
        assert_eq!(committed.entry.is_none(), all("r"), "{rights}: that it is the same is told likewise");
    }
    check_many_and_deletions(system, user, rights, fresh);
}

fn check_many_and_deletions(system: &View, user: &View, rights: Rights, fresh: &mut Fresh) {
    let all = |letters: &str| Rights::read(letters).iter().all(|right| rights.has(right));
    let new = path(&fresh.below("w"));
    let x = path("w.x");
    fn write(path: &Path) -> Write<'_> {
        Write {
            path: path.as_path(),
            value: Some(Value::nil()),
            meta: Meta::default(),
            terms: Terms::default(),
        }
    }
    let many = user.set_many(vec![write(&x), write(&new)]);
    assert_eq!(many.is_ok(), all("wxcn"), "{rights}");
    assert_eq!(system.get(new.as_path()).unwrap().is_some(), many.is_ok(), "{rights}: all or none");

    put(system, "w.x", Value::nil());
    assert_eq!(!is_denied(delete(user, "w.missing")), all("dx"), "{rights}");
    assert_eq!(!is_denied(delete(user, "w.x")), all("dx"), "{rights}");
    assert_eq!(system.get(x.as_path()).unwrap().is_none(), all("dx"), "{rights}");

    put(system, "w", Value::nil());
    put(system, "w.x", Value::nil());
    let deleted = user.delete_tree(path("w").as_path(), &Meta::default());
    match deleted {
        Ok(_) => assert!(all("e"), "{rights}"),
        Err(WriteError::Denied(_)) => assert!(!all("e"), "{rights}"),
        Err(other) => panic!("{other}"),
    }
    let gone = |at: &str| system.get(path(at).as_path()).unwrap().is_none();
    assert_eq!((gone("w"), gone("w.x")), (all("ed"), all("edx")), "{rights}");
}

#[test]
fn whoever_has_no_list_may_do_everything_and_one_whose_list_is_missing_nothing() {
    let (store, system) = memory();
    put(&system, "a", Value::nil());
    put(&system, ":n.auth.password.user.free", users::record(&[], false, None));
    let free = store.view(Who::login(store.access().find("free", "password").unwrap()));
    assert!(free.get(path("a").as_path()).unwrap().is_some() && free.is_operator());
    set(&free, "b.c").unwrap();
    set(&free, ":n.acl.x.#").unwrap();
    let lost = login(&store, &system, "lost", "nowhere");
    assert!(lost.get(path("a").as_path()).is_err() && set(&lost, "b").is_err() && !lost.is_admin());
    assert!(read(&lost, subtree(":")).is_empty());
    assert!(lost.why(path("a").as_path(), Right::Read).reason.contains("'nowhere' does not exist"));
}

#[test]
fn without_a_name_data_is_free_and_internal_data_is_not_and_a_list_binds() {
    let (store, system) = memory();
    put(&system, "a", Value::nil());
    put(&system, ":n.acl.guest.a", Value::string("r"));
    let nobody = store.view(Who::anonymous(None));
    assert!(nobody.get(path("a").as_path()).is_ok() && set(&nobody, "b").is_ok());
    assert!(nobody.get(path(":n.acl.guest.a").as_path()).is_err() && set(&nobody, ":n.acl.guest.b").is_err());
    assert!(!nobody.is_admin() && read(&nobody, subtree(":n")).is_empty());
    let guest = store.view(Who::anonymous(Some("guest".into())));
    assert!(guest.get(path("a").as_path()).is_ok() && guest.get(path("b").as_path()).is_err());
}

#[test]
fn rights_on_internal_data_need_the_mark_or_a_rule_that_names_it() {
    let (store, system) = memory();
    put(&system, ":n.acl.all.#", Value::string("rwdcxena"));
    put(&system, ":n.acl.helper:n.auth.password.user.+", Value::string("rwdc"));
    put(&system, ":n.acl.helper:n.acl.devices.#", Value::string("rwdcxen"));
    let all = login(&store, &system, "all", "all");
    assert!(all.get(path(":n.acl.all.#").as_path()).is_err() && children(&all, ":n").is_err());
    assert!(set(&all, ":n.acl.all.x").is_err() && set(&all, "x").is_ok());
    assert!(!read(&all, subtree(":")).iter().any(|path| path.starts_with(":n")));

    put(&system, ":n.auth.password.user.all", users::record(&[], true, None));
    assert!(all.is_operator() && all.get(path(":n.acl.all.#").as_path()).unwrap().is_some());
    set(&all, ":n.anything").unwrap();

    let helper = login(&store, &system, "helper", "helper");
    assert!(set(&helper, ":n.auth.password.user.new").is_ok() && set(&helper, ":n.acl.devices.a.b").is_ok());
    assert!(set(&helper, ":n.auth.password.user.new.acl").is_err() && set(&helper, ":n.acl.all.b").is_err());
    assert!(set(&helper, "data").is_err() && set(&helper, ":n.auth").is_err());
}

#[test]
fn a_change_of_rights_holds_for_what_is_open() {
    let (store, system) = memory();
    for number in 0..20 {
        put(&system, &format!("a.{number}"), Value::nil());
    }
    put(&system, ":n.acl.std.#", Value::string("rxe"));
    let user = login(&store, &system, "ann", "std");
    let mut cursor = user.cursor(subtree("a"));
    let mut found = 0;
    user.slice(&mut cursor, 5, 1000, &mut |_, _| found += 1);
    let mut walk = user.walk(path("a").as_path(), WalkOptions::default()).unwrap();
    user.walk_on(&mut walk, 5, 1000, &mut |_, _| Step::On);
    let mut watch = user.watch(subtree("a"), WatchOptions { existing: false, ..WatchOptions::default() });
    // It waits in the queue when the right is lost.
    put(&system, "a.1", Value::string("secret"));
    put(&system, ":n.acl.std.#", Value::string("xe"));
    put(&system, "a.2", Value::string("secret"));
    while user.slice(&mut cursor, 5, 1000, &mut |_, _| found += 1) == Progress::More {}
    assert_eq!(found, 5);
    while user.walk_on(&mut walk, 5, 1000, &mut |path, _| panic!("{path}")) == Progress::More {}
    assert_eq!(told(&mut watch), [""; 0]);
    // And the other way.
    put(&system, ":n.acl.std.#", Value::string("rxe"));
    put(&system, "a.3", Value::nil());
    assert_eq!(told(&mut watch), ["!a.3"]);

    // Another list, no user, a user again.
    put(&system, ":n.acl.other.b", Value::string("r"));
    put(&system, ":n.auth.password.user.ann.acl", users::key("other"));
    assert!(user.get(path("a.1").as_path()).is_err() && user.get(path("b").as_path()).is_ok());
    delete(&system, ":n.auth.password.user.ann").unwrap();
    assert!(!user.stands() && user.get(path("b").as_path()).is_err() && user.user().is_none());
    put(&system, ":n.auth.password.user.ann", users::record(&[], false, Some(path("a").as_path())));
    assert!(!user.stands() && user.get(path("b").as_path()).is_err(), "this is another user, who has a root");
    put(&system, ":n.auth.password.user.ann", users::record(&[], false, None));
    assert!(user.stands() && user.get(path("b").as_path()).is_ok());
}

#[test]
fn rights_are_in_force_from_the_start() {
    let dir = tempfile::tempdir().unwrap();
    {
        let (store, _) = Store::open(dir.path(), options(Durability::Interval), &mut |_| {}).unwrap();
        let system = store.view(Who::system());
        put(&system, ":n.acl.std.a", Value::string("r"));
        login(&store, &system, "ann", "std");
        store.close().unwrap();
    }
    let (store, _) = Store::open(dir.path(), options(Durability::Interval), &mut |_| {}).unwrap();
    let user = store.view(Who::login(store.access().find("ann", "password").unwrap()));
    assert!(user.get(path("a").as_path()).is_ok() && user.get(path("b").as_path()).is_err());
}

#[test]
fn a_denial_tells_nothing_of_the_list() {
    let (store, system) = memory();
    put(&system, ":n.acl.hush.hidden.+", Value::string("rwx"));
    let user = login(&store, &system, "ann", "hush");
    let error = user.get(path("a.b").as_path()).unwrap_err().to_string();
    assert_eq!(error, "not allowed to read a.b (right 'r')");
    let why = user.why(path("hidden.x").as_path(), Right::Delete);
    assert_eq!(
        (why.allowed, why.reason.as_str()),
        (false, "the rule hidden.+ of the access list 'hush' gives 'rwx'")
    );
}

#[test]
fn what_must_be_skipped_is_not_read() {
    let (store, system) = memory();
    for number in 0..5000 {
        put(&system, &format!("a.secret.{number}"), Value::nil());
    }
    put(&system, "a.z", Value::nil());
    put(&system, ":n.acl.std.#", Value::string("rxe"));
    put(&system, ":n.acl.std.a.secret", Value::string(""));
    let user = login(&store, &system, "ann", "std");
    let mut cursor = user.cursor(subtree("a"));
    let mut found = Vec::new();
    let progress = user.slice(&mut cursor, 10, 1000, &mut |path, _| found.push(path.to_string()));
    assert_eq!((found, progress), (vec!["a.z".to_owned()], Progress::Done), "in one slice");
}

fn name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["a", "b", "c"])
}

pub(crate) fn joined(names: &[&str]) -> String {
    if names.is_empty() { ":".to_owned() } else { names.join(".") }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// What reads many entries tells just those which may be read one by one, if the levels above let themselves be listed.
    #[test]
    fn reading_many_is_reading_each(
        entries in prop::collection::vec(prop::collection::vec(name(), 1..5), 0..20),
        rules in prop::collection::vec(
            (prop::collection::vec(prop::sample::select(vec!["a", "b", "c", "+", "#"]), 0..4), "r?x?e?"),
            0..6,
        ),
        asked in prop::collection::vec(prop::sample::select(vec!["a", "b", "c", "+", "#"]), 0..5),
        base in prop::collection::vec(name(), 0..3),
    ) {
        let (store, system) = memory();
        for entry in &entries {
            put(&system, &joined(entry), Value::nil());
        }
        for (pattern, rights) in &rules {
            let at = [&["acl", "std"], &pattern[..]].concat().join(".");
            put(&system, &format!(":n.{at}"), Value::string(rights));
        }
        put(&system, ":n.acl.std.there", Value::string(""));
        let user = login(&store, &system, "ann", "std");

        let may = |at: &str, right| user.may(path(at).as_path(), right);
        let level = |path: &Path, level: usize| {
            let elements: Vec<_> = path.elements().take(level).collect();
            Path::from_elements(elements).unwrap().to_string()
        };
        let levels_listed = |at: &str, from: usize| {
            let at = path(at);
            (from..at.len().max(from + 1)).all(|above| may(&level(&at, above.min(at.len())), Right::List))
        };
        let pattern = Pattern::from_path(path(&joined(&asked)).as_path()).unwrap();
        let first_wild = asked.iter().position(|name| ["+", "#"].contains(name));
        let readable = read(&system, pattern.clone()).into_iter().filter(|at| may(at, Right::Read));
        let expected: Vec<String> = match first_wild {
            Some(at) if !may(&joined(&asked[..at]), Right::List) => Vec::new(),
            _ => readable.collect(),
        };
        prop_assert_eq!(read(&user, pattern.clone()), expected.clone());

        let by_level: Vec<String> = expected
            .into_iter()
            .filter(|at| first_wild.is_none_or(|from| levels_listed(at, from)))
            .collect();
        let mut watch = user.watch(pattern, WatchOptions::default());
        prop_assert_eq!(told(&mut watch), by_level);

        let base = joined(&base);
        let in_base = read(&system, subtree(&base));
        let expected: Vec<String> = in_base
            .into_iter()
            .filter(|at| may(at, Right::Read) && levels_listed(at, path(&base).len()))
            .collect();
        match walk(&user, &base, false) {
            Ok(found) => prop_assert_eq!(found, expected),
            Err(_) => prop_assert!(!may(&base, Right::List)),
        }
        match children(&user, &base) {
            Ok(found) => {
                let all = children(&system, &base).unwrap();
                let shown = |at: &String| may(at, Right::Read) || may(at, Right::List);
                prop_assert_eq!(found, all.into_iter().filter(|at| !at.starts_with(":n")).filter(shown).collect::<Vec<_>>());
            }
            Err(_) => prop_assert!(!may(&base, Right::List)),
        }
    }
}

#[test]
fn a_watch_goes_on_only_if_the_rights_are_as_they_were() {
    let (store, system) = memory();
    put(&system, "a", Value::nil());
    put(&system, "b", Value::nil());
    put(&system, ":n.acl.std.a", Value::string("r"));
    put(&system, ":n.acl.std", Value::string("xe"));
    let user = login(&store, &system, "ann", "std");
    let resumed = |since| {
        let options = WatchOptions { since: Some(since), ..WatchOptions::default() };
        told(&mut user.watch(subtree(":"), options))
    };
    let before = store.tock();
    put(&system, "a", Value::string("new"));
    assert_eq!(resumed(before), ["!a"]);
    let before = store.tock();
    put(&system, ":n.acl.std.b", Value::string("r"));
    assert_eq!(resumed(before), ["a", "b"], "all is told anew");
    let before = store.tock();
    assert_eq!(resumed(before), [""; 0]);
    put(&system, ":n.auth.password.user.ann.acl", users::key("*"));
    assert_eq!(resumed(before), ["a", "b"]);
    // Lists do not concern him any more.
    let before = store.tock();
    put(&system, ":n.acl.std.b", Value::string(""));
    put(&system, "b", Value::nil());
    assert_eq!(resumed(before), ["!b"]);
}

/// What is written while the right is taken away is never told, however all of this meets.
#[test]
fn nothing_that_was_hidden_is_told_while_rights_come_and_go() {
    let (store, system) = memory();
    put(&system, "a", Value::string("open"));
    put(&system, ":n.acl.std.#", Value::string("rxe"));
    let user = login(&store, &system, "ann", "std");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..2000 {
                put(&system, ":n.acl.std.#", Value::string("xe"));
                put(&system, "a", Value::string("secret"));
                put(&system, "a", Value::string("open"));
                put(&system, ":n.acl.std.#", Value::string("rxe"));
                put(&system, "a", Value::string("open"));
            }
            done.store(true, Ordering::Release);
        });
        let is_open = |entry: &Entry| entry.value == Some(Value::string("open"));
        let options = WatchOptions { events: 1 << 20, ..WatchOptions::default() };
        let (mut watch, mut events) = (user.watch(subtree(":"), options), 0);
        let mut since = store.tock();
        let mut cx = Context::from_waker(Waker::noop());
        while !done.load(Ordering::Acquire) {
            if let Ok(Some(entry)) = user.get(path("a").as_path()) {
                assert!(is_open(&entry));
            }
            let mut resumed =
                user.watch(subtree(":"), WatchOptions { since: Some(since), ..WatchOptions::default() });
            since = store.tock();
            for watch in [&mut watch, &mut resumed] {
                while let Poll::Ready(Some(event)) = watch.poll_next(&mut cx) {
                    if let WatchEvent::Existing { entry, .. } | WatchEvent::Changed { entry, .. } = &event {
                        assert!(is_open(entry), "{event:?}");
                        events += 1;
                    }
                }
            }
            let mut cursor = user.cursor(subtree(":"));
            while user.slice(&mut cursor, 10, 1000, &mut |_, entry| assert!(is_open(entry))) == Progress::More
            {
            }
        }
        assert!(events > 0);
    });
}
