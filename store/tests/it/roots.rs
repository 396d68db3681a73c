//! Users who have a root: it is the whole to them, and there is no way out of it.

use distkv_store::access::{self, Right, users};
use distkv_store::meta::Meta;
use distkv_store::path::{Element, Path, Pattern};
use distkv_store::store::Store;
use distkv_store::value::Value;
use distkv_store::view::{Found, Terms, View, WatchOptions, Who, Write, WriteError};

use proptest::prelude::*;

use crate::rights::{children, delete, joined, memory, put, read, set, subtree, told, walk};
use crate::store::path;

/// Two roots with the same things in them, and a user in each.
fn tenants() -> (Store, View, View, View) {
    let (store, system) = memory();
    let tenant = |root: &str| {
        for at in ["door", "door.1", "light"] {
            put(&system, &format!("{root}.{at}"), Value::string(root));
        }
        let home = access::home(path(root).as_path()).unwrap();
        let record = users::path(home.as_path(), "password", "ann").unwrap();
        let value = users::record(&[("password", Value::string(root))], false, None);
        system.set(record.as_path(), value, Meta::default(), None).unwrap();
        store.view(Who::login(store.access().find(&format!("ann@{root}"), "password").unwrap()))
    };
    let (acme, other) = (tenant("customers.acme"), tenant("customers.other"));
    put(&system, "top", Value::string("secret"));
    put(&system, ":n.acl.std.#", Value::string("rwdcxena"));
    (store, system, acme, other)
}

#[test]
fn the_root_is_the_whole_for_every_operation() {
    let (_store, system, acme, other) = tenants();
    let entry = acme.get(path("door.1").as_path()).unwrap().unwrap();
    assert_eq!(entry.value, Some(Value::string("customers.acme")));
    assert_eq!(read(&acme, subtree(":")), ["door", "door.1", "light"]);
    assert_eq!(walk(&acme, ":", false).unwrap(), ["door", "door.1", "light"]);
    assert_eq!(walk(&acme, "door", true).unwrap(), ["door", "door.1"]);
    assert_eq!(children(&acme, ":").unwrap(), ["door", "light"]);
    let mut watch = acme.watch(subtree(":"), WatchOptions::default());
    assert_eq!(told(&mut watch), ["door", "door.1", "light"]);

    set(&acme, "new.deep").unwrap();
    set(&other, "new.deep").unwrap();
    put(&system, "top", Value::nil());
    assert_eq!(told(&mut watch), ["!new.deep"]);
    let written = system.get(path("customers.acme.new.deep").as_path()).unwrap().unwrap();
    assert_eq!(written.meta.user().map(|name| &**name), Some("ann@customers.acme"));

    let light = path("light");
    let write = Write { path: light.as_path(), value: None, meta: Meta::default(), terms: Terms::default() };
    acme.set_many(vec![write]).unwrap();
    assert!(!acme.exists(path("customers").as_path()) && acme.exists(path("door").as_path()));
    assert_eq!(acme.delete_tree(path("door").as_path(), &Meta::default()).unwrap(), 2);
    delete(&acme, "new.deep").unwrap();
    assert!(read(&acme, subtree(":")).is_empty());
    assert_eq!(read(&other, subtree(":")), ["door", "door.1", "light", "new.deep"], "nothing is lost there");
    assert!(system.get(path("top").as_path()).unwrap().is_some());
}

#[test]
fn there_is_no_way_out() {
    let (_store, system, acme, other) = tenants();
    let theirs = other.get(path("door").as_path()).unwrap().unwrap();
    let tick = theirs.version.dot().tick.0;
    let mut finder = acme.finder("n", tick).unwrap();
    loop {
        match acme.find(&mut finder) {
            Found::Searching => {}
            Found::Nowhere => break,
            Found::Here(path, _) => panic!("found {path}"),
        }
    }
    for at in ["top", "customers.other.door", "...door", "+", "#", ":.distkv", "%u"] {
        let Ok(at) = at.parse::<Path>() else { continue };
        assert!(acme.get(at.as_path()).unwrap().is_none(), "{at}");
    }
    for pattern in ["#", "+.#", "+", "+.+", "customers.#", "#.door", ":n.#", ":n.+.#", ":n.root.#"] {
        for found in read(&acme, Pattern::from_path(path(pattern).as_path()).unwrap()) {
            let inside = found.starts_with("door")
                || found.starts_with("light")
                || found == ":n.auth.password.user.ann";
            assert!(inside, "{pattern} finds {found}");
        }
    }
    // Its internal data is its own.
    assert!(acme.get(path(":n.acl.std.#").as_path()).unwrap().is_none());
    let home = path(":n.root:['customers','other'].auth.password.user.ann");
    assert!(acme.get(home.as_path()).unwrap().is_none());
    set(&acme, ":n.root:['customers','other'].auth.password.user.eve").unwrap();
    set(&acme, ":n.acl.std.#").unwrap();
    assert!(!system.exists(path(":n.root:['customers','other'].auth.password.user.eve").as_path()));
    assert_eq!(
        system.get(path(":n.acl.std.#").as_path()).unwrap().unwrap().value,
        Some(Value::string("rwdcxena"))
    );
    assert!(acme.is_admin() && !acme.is_operator() && acme.survey().is_err());
    // What lies at null in the root is not its internal data, nor else to be had.
    system.set(path("customers.acme:n.x").as_path(), Value::nil(), Meta::default(), None).unwrap();
    assert!(acme.get(path(":n.x").as_path()).unwrap().is_none());
    assert!(!read(&acme, subtree(":")).iter().any(|path| path.contains(":n")));
    assert!(!walk(&acme, ":", true).unwrap().iter().any(|path| path.contains(":n")));
    assert!(!children(&acme, ":").unwrap().iter().any(|path| path.contains(":n")));
    // Nor is there a way to what is too deep to exist.
    let deep = Path::from_elements((0..254).map(|_| Element::str("x"))).unwrap();
    assert!(acme.get(deep.as_path()).unwrap().is_none());
    let refused = acme.set(deep.as_path(), Value::nil(), Meta::default(), None);
    assert!(matches!(refused, Err(WriteError::NoPlace)), "{refused:?}");
}

#[test]
fn the_admin_of_a_root_makes_its_users_and_lists() {
    let (store, system, acme, _) = tenants();
    put(&acme, ":n.acl.device.door.#", Value::string("rx"));
    put(&acme, ":n.auth.password.user.bob", users::record(&[], false, None));
    put(&acme, ":n.auth.password.user.bob.acl", users::key("device"));
    // Not by a list of that name elsewhere.
    put(&system, ":n.acl.device.#", Value::string("rwdcxena"));
    assert!(store.access().find("bob", "password").is_none());
    let bob = store.view(Who::login(store.access().find("bob@customers.acme", "password").unwrap()));
    assert!(
        bob.get(path("door.1").as_path()).unwrap().is_some() && bob.get(path("light").as_path()).is_err()
    );
    assert!(set(&bob, "door.1").is_err() && !bob.is_admin() && children(&bob, ":n").is_err());
    let names = children(&acme, ":n.auth.password.user").unwrap();
    assert_eq!(names, [":n.auth.password.user.ann", ":n.auth.password.user.bob"]);
    let mut watch = acme.watch(subtree(":n"), WatchOptions::default());
    let seen = told(&mut watch);
    assert!(
        seen.contains(&":n.acl.device.door.#".to_owned()) && !seen.contains(&":n.acl.std.#".to_owned()),
        "{seen:?}"
    );
    delete(&acme, ":n.auth.password.user.bob").unwrap();
    assert_eq!(told(&mut watch), ["!:n.auth.password.user.bob"]);
    assert!(!bob.stands());

    // A user below the root, who gets no further than that.
    let record = users::record(&[], false, Some(path("door").as_path()));
    put(&acme, ":n.auth.password.user.porter", record);
    let porter = store.view(Who::login(store.access().find("porter@customers.acme", "password").unwrap()));
    assert_eq!(read(&porter, subtree(":")), [":", "1"]);
    assert!(porter.get(path(":n.auth.password.user.ann").as_path()).unwrap().is_none());
}

#[test]
fn a_users_own_record_may_give_him_a_root_and_its_list_counts_from_there() {
    let (store, system, ..) = tenants();
    put(
        &system,
        ":n.auth.password.user.dave",
        users::record(&[], false, Some(path("customers.acme").as_path())),
    );
    put(&system, ":n.auth.password.user.dave.acl", users::key("doors"));
    put(&system, ":n.acl.doors.door", Value::string("rx"));
    let dave = store.view(Who::login(store.access().find("dave", "password").unwrap()));
    assert!(dave.get(path("door").as_path()).unwrap().is_some());
    assert!(dave.get(path("light").as_path()).is_err() && dave.get(path("door.1").as_path()).is_err());
}

#[test]
fn absolute_paths_reach_no_further() {
    let (store, system, ..) = tenants();
    let ann = store.access().find("ann@customers.acme", "password").unwrap();
    let whole = store.view(Who::login(ann).absolute());
    assert!(whole.get(path("customers.acme.door").as_path()).unwrap().is_some());
    assert!(
        whole.get(path("door").as_path()).is_err()
            && whole.get(path("customers.other.door").as_path()).is_err()
    );
    assert!(set(&whole, "customers.acme.door.2").is_ok() && set(&whole, "customers.other.door.2").is_err());
    assert!(
        !whole.may(path("top").as_path(), Right::Read) && !whole.may(path(":n.acl").as_path(), Right::Read)
    );
    let doors = ["customers.acme.door", "customers.acme.door.1", "customers.acme.door.2"];
    assert_eq!(read(&whole, subtree("customers.acme.door")), doors);
    assert!(read(&whole, subtree("customers")).is_empty() && read(&whole, subtree(":")).is_empty());
    let mut watch = whole.watch(subtree("customers.acme.door"), WatchOptions::default());
    assert_eq!(told(&mut watch), doors);

    // The list still counts from the root.
    let home = access::home(path("customers.acme").as_path()).unwrap();
    let rule = users::rule_path(home.as_path(), "std", path("light").as_path()).unwrap();
    system.set(rule.as_path(), Value::string("r"), Meta::default(), None).unwrap();
    let acl = users::path(home.as_path(), "password", "ann").unwrap().child(&Element::str("acl")).unwrap();
    system.set(acl.as_path(), users::key("std"), Meta::default(), None).unwrap();
    assert!(whole.may(path("customers.acme.light").as_path(), Right::Read));
    assert!(!whole.may(path("customers.acme.door").as_path(), Right::Read));
    assert_eq!(told(&mut watch), [""; 0]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// To its user a root with much around it is as a store that holds nothing else.
    #[test]
    fn a_root_is_as_a_store_of_its_own(
        entries in prop::collection::vec(element_names(0..5), 0..12),
        around in prop::collection::vec(element_names(0..5), 0..12),
        pattern in prop::collection::vec(prop::sample::select(vec!["a", "b", "r", "+", "#"]), 0..5),
        at in element_names(0..4),
        writes in prop::collection::vec((element_names(0..4), any::<bool>()), 0..6),
    ) {
        let (store, system) = memory();
        let (_alone_store, alone) = memory();
        put(&system, ":n.auth.password.user.ann", users::record(&[], false, Some(path("r.a").as_path())));
        let user = store.view(Who::login(store.access().find("ann", "password").unwrap()));
        for entry in &around {
            if !entry.starts_with(&["r", "a"]) {
                put(&system, &joined(entry), Value::nil());
            }
        }
        for entry in &entries {
            put(&system, &joined(&[&["r", "a"], &entry[..]].concat()), Value::nil());
            put(&alone, &joined(entry), Value::nil());
        }
        for (at, sets) in &writes {
            for view in [&user, &alone] {
                if *sets { set(view, &joined(at)).unwrap() } else { delete(view, &joined(at)).unwrap() }
            }
        }
        let pattern = Pattern::from_path(path(&joined(&pattern)).as_path()).unwrap();
        prop_assert_eq!(read(&user, pattern.clone()), read(&alone, pattern.clone()));
        let watch = |view: &View| told(&mut view.watch(pattern.clone(), WatchOptions::default()));
        prop_assert_eq!(watch(&user), watch(&alone));
        let at = joined(&at);
        for empty in [false, true] {
            prop_assert_eq!(walk(&user, &at, empty), walk(&alone, &at, empty));
        }
        prop_assert_eq!(children(&user, &at), children(&alone, &at));
        prop_assert_eq!(user.exists(path(&at).as_path()), alone.exists(path(&at).as_path()));
        let value = |view: &View| view.get(path(&at).as_path()).unwrap().map(|entry| entry.value.clone());
        prop_assert_eq!(value(&user), value(&alone));
        let gone = |view: &View| view.delete_tree(path(&at).as_path(), &Meta::default()).unwrap();
        prop_assert_eq!(gone(&user), gone(&alone));
        prop_assert_eq!(read(&user, subtree(":")), read(&alone, subtree(":")));
        for entry in around.iter().filter(|entry| !entry.starts_with(&["r", "a"])) {
            prop_assert!(system.get(path(&joined(entry)).as_path()).unwrap().is_some());
        }
    }
}

fn element_names(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<&'static str>> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "r"]), count)
}
