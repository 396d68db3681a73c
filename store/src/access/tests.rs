//! Users and lists as they follow what is stored.

use std::sync::atomic::AtomicUsize;

use super::*;
use crate::chain::{Dot, Origin, Version};
use crate::meta::Meta;
use crate::ticks::{Life, NodeName, Tick, Tock};

fn path(text: &str) -> Path {
    text.parse().unwrap()
}

fn entry(value: Option<Value>) -> Entry {
    let origin = Origin::new(NodeName::new("n").unwrap(), Life(1));
    let version = Version::first(Dot { origin, tick: Tick(1) }, Tock::default());
    Entry { value, meta: Meta::default(), version }
}

fn put(access: &Access, at: &str, value: Value) {
    access.changed(path(at).as_path(), &entry(Some(value)));
}

fn delete(access: &Access, at: &str) {
    access.changed(path(at).as_path(), &entry(None));
}

fn read(access: &Access, realm: &str, list: &str, at: &str) -> Option<String> {
    let acl = access.acl(&path(realm), list)?;
    Some(acl.grant(path(at).as_path(), &Names::default()).rights.to_string())
}

#[test]
fn lists_follow_what_is_stored() {
    let access = Access::default();
    assert!(access.acl(&Path::root(), "std").is_none());
    put(&access, ":n.acl.std.a.+", Value::string("rx?"));
    put(&access, ":n.acl.std.a.b", Value::nil());
    assert_eq!(read(&access, ":", "std", "a.c").as_deref(), Some("rx"));
    assert_eq!(read(&access, ":", "std", "a.b").as_deref(), Some(""), "what is no string allows nothing");
    let before = access.acl(&Path::root(), "std").unwrap();
    put(&access, ":n.acl.other", Value::string("r"));
    assert!(Arc::ptr_eq(&before, &access.acl(&Path::root(), "std").unwrap()), "it was not touched");
    delete(&access, ":n.acl.std.a.b");
    assert_eq!(read(&access, ":", "std", "a.b").as_deref(), Some("rx"));
    delete(&access, ":n.acl.std.a.+");
    assert!(access.acl(&Path::root(), "std").is_none());
    assert_eq!(access.stats(), AccessStats { lists: 1, rules: 1, changes: 5, ..AccessStats::default() });
}

#[test]
fn users_follow_what_is_stored() {
    let access = Access::default();
    put(&access, ":n.auth", users::current("password"));
    assert_eq!(access.method(&Path::root()).as_deref(), Some("password"));
    put(&access, ":n.auth.password.user.ann.acl", users::key("std"));
    assert!(!access.has_users(), "that is no record");
    put(&access, ":n.auth.password.user.ann", users::record(&[], false, None));
    let ann = access.find("ann", "password").unwrap();
    assert_eq!(ann.acl.as_deref(), Some("std"));
    assert!(access.find("ann", "root").is_none());
    put(&access, ":n.auth.password.user.ann.acl", Value::nil());
    assert!(access.find("ann", "password").is_none(), "who can't be read is not there");
    delete(&access, ":n.auth.password.user.ann.acl");
    assert!(access.find("ann", "password").unwrap().is_operator());
    delete(&access, ":n.auth.password.user.ann");
    delete(&access, ":n.auth");
    assert!(!access.has_users() && access.method(&Path::root()).is_none());
    assert!(access.state.lock().realms.is_empty());
}

#[test]
fn the_users_of_a_root_are_found_by_its_name() {
    let access = Access::default();
    let root = path("customers.acme");
    let home = home(root.as_path()).unwrap();
    assert_eq!(home.to_string(), ":n.root:['customers','acme']");
    let record = users::path(home.as_path(), "password", "bob").unwrap();
    access.changed(record.as_path(), &entry(Some(users::record(&[], false, None))));
    let bob = access.find("bob@customers.acme", "password").unwrap();
    assert_eq!((bob.root.clone(), &*bob.login), (root.clone(), "bob@customers.acme"));
    assert!(bob.is_admin() && !bob.is_operator());
    for other in ["bob", "bob@", "bob@customers", "bob@customers.acme.x", "bob@:n", "@customers.acme"] {
        assert!(access.find(other, "password").is_none(), "{other}");
    }
    // A user of the store of that name comes first.
    put(&access, ":n.auth.password.user.bob@customers:.acme", users::record(&[], true, None));
    assert!(access.find("bob@customers.acme", "password").unwrap().root.is_root());
    // The whole store has no such home, nor has internal data.
    put(&access, ":n.root:[].auth.password.user.eve", users::record(&[], true, None));
    put(&access, ":n.root:[null].auth.password.user.eve", users::record(&[], true, None));
    // A home in a home is none.
    put(&access, ":n.root:['a'].root:['b'].auth.password.user.eve", users::record(&[], true, None));
    assert!(access.users().iter().all(|user| &*user.name != "eve"));
}

#[test]
fn each_change_is_counted_and_told_and_others_are_not() {
    let access = Access::default();
    let told = Arc::new(AtomicUsize::new(0));
    let listener = Arc::clone(&told);
    access.on_change(Box::new(move || {
        listener.fetch_add(1, Ordering::Relaxed);
    }));
    for other in
        [":n", ":n.conflict.x", ":n.acl", ":n.auth:1", ":n.auth.password", ":n.auth.x.user.y.z", ":n.acl:1.b"]
    {
        put(&access, other, Value::string("r"));
        assert_eq!(access.generation(), 0, "{other}");
    }
    put(&access, ":n.acl.std", Value::string("r"));
    delete(&access, ":n.auth.password.user.nobody");
    assert_eq!((access.generation(), told.load(Ordering::Relaxed)), (2, 2));
}
