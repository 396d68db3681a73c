//! Who may do what: access lists and users, read from the store's internal data and kept current with it.
//!
//! [`Access`] is told of each change of them in its place among all changes, before anybody else: the next change is told to those only who may
//! see it by then. A [`View`](crate::view::View) asks it, and looks anew when its [generation](Access::generation) has grown.
//!
//! # Homes
//!
//! The internal data of the whole store lies at `[null]`. A root (what a user with a `root` sees as the whole) has internal data of its own, at
//! `[null, "root", [ELEMENTS OF THE ROOT]]`: that is its [`home`], and its users see it as `[null]`. So whoever administrates a
//! root makes users and access lists in it without any right outside. Patterns of access lists are as their users see paths: relative to their root.

pub mod acl;
mod rights;
pub mod users;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};

pub use acl::{Acl, Grant, Names, Rule};
pub use rights::{NoRight, Right, Rights};
pub use users::{Secrets, User};

use crate::path::{Element, Path, PathError, PathRef};
use crate::ticks::Tock;
use crate::tree::{Entry, Tree};
use crate::value::Value;
use users::Stored;

/// The first element, besides null, of internal data.
pub(crate) const OWN_DATA: &str = ".distkv";

/// Something is not allowed. It tells nothing of the access list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not allowed to {} {path} (right '{right}')", .right.verb())]
pub struct Denied {
    /// The right that would be needed.
    pub right: Right,
    /// For what, as the user sees it.
    pub path: Path,
}

/// Where the internal data of a root lies: `[null]` for the store's own.
///
/// # Errors
/// The root is too long, or has lists too deep in it, to stand in a path as an element: it has no internal data.
pub fn home(root: PathRef<'_>) -> Result<Path, PathError> {
    if root.is_root() {
        return Path::from_elements([Element::Null]);
    }
    Path::from_elements([Element::Null, Element::str("root"), Element::List(root.elements().collect())])
}

/// Called after each change of users or lists, on the writer's thread, within the feed: it must not block, and not use the store.
pub type Listener = Box<dyn Fn() + Send + Sync>;

/// Figures of users and access lists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccessStats {
    /// How many users there are.
    pub users: u64,
    /// How many access lists.
    pub lists: u64,
    /// How many rules all of them have.
    pub rules: u64,
    /// How many changes of them were seen since the start.
    pub changes: u64,
    /// How often a path was looked up in a list, as the view did not remember it.
    pub misses: u64,
}

/// All access lists and users of a store. Its own lock is a leaf below the feed's.
#[derive(Default)]
pub struct Access {
    state: Mutex<State>,
    generation: AtomicU64,
    misses: AtomicU64,
    listeners: RwLock<Vec<Listener>>,
}

#[derive(Default)]
struct State {
    /// By root.
    realms: BTreeMap<Path, Realm>,
    /// When a rule has changed last, deletions among them.
    rules: Tock,
}

/// What lies in one home.
#[derive(Default)]
struct Realm {
    method: Option<Arc<str>>,
    lists: HashMap<Arc<str>, List>,
    /// By method and name.
    users: BTreeMap<(Arc<str>, Arc<str>), Known>,
}

impl Realm {
    fn is_empty(&self) -> bool {
        self.method.is_none() && self.lists.is_empty() && self.users.is_empty()
    }
}

/// An access list as it is stored, compiled when somebody asks for it.
#[derive(Default)]
struct List {
    rules: Arc<BTreeMap<Path, Rights>>,
    compiled: Option<Arc<Acl>>,
}

#[derive(Default)]
struct Known {
    stored: Stored,
    /// When it has changed last.
    tock: Tock,
    user: Option<Arc<User>>,
}

impl Access {
    /// All that is in a tree.
    pub(crate) fn of(tree: &Tree) -> Self {
        let access = Self::default();
        for (path, entry) in tree.iter().take_while(|(path, _)| path.is_root() || path.is_internal()) {
            access.take_in(path, entry);
        }
        access
    }

    /// Grows with every change of users and lists. What was found before may have changed when it has.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Figures for metrics.
    pub fn stats(&self) -> AccessStats {
        let state = self.state.lock();
        let realms = || state.realms.values();
        let users = realms().flat_map(|realm| realm.users.values()).filter(|known| known.user.is_some());
        AccessStats {
            users: users.count() as u64,
            lists: realms().map(|realm| realm.lists.len() as u64).sum(),
            rules: realms().flat_map(|realm| realm.lists.values()).map(|list| list.rules.len() as u64).sum(),
            changes: self.generation(),
            misses: self.misses.load(Ordering::Relaxed),
        }
    }

    /// A view had to look a path up in an access list.
    pub(crate) fn count_miss(&self) {
        self.misses.fetch_add(1, Ordering::Relaxed);
    }

    /// Has `listener` called after each change.
    pub fn on_change(&self, listener: Listener) {
        self.listeners.write().push(listener);
    }

    /// Whether there is any user.
    pub fn has_users(&self) -> bool {
        self.state.lock().realms.values().any(|realm| realm.users.values().any(|known| known.user.is_some()))
    }

    /// The method in force in a root: its own, or else the store's.
    pub fn method(&self, realm: &Path) -> Option<Arc<str>> {
        let state = self.state.lock();
        let method = |realm: &Path| state.realms.get(realm)?.method.clone();
        method(realm).or_else(|| method(&Path::root()))
    }

    /// A user of a root.
    pub fn user(&self, realm: &Path, method: &str, name: &str) -> Option<Arc<User>> {
        let state = self.state.lock();
        state.realms.get(realm)?.users.get(&(Arc::from(method), Arc::from(name)))?.user.clone()
    }

    /// The user whom somebody means who logs in by `method` as `login`: one of the store's own; or else `NAME@ROOT`, a user NAME in the
    /// home of a root, which is written as a path's text and follows the last `@`.
    pub fn find(&self, login: &str, method: &str) -> Option<Arc<User>> {
        if let Some(user) = self.user(&Path::root(), method, login) {
            return Some(user);
        }
        let (name, root) = login.rsplit_once('@')?;
        let root: Path = root.parse().ok()?;
        self.user(&root, method, name)
    }

    /// Since when a user, or somebody bound by a list of the store, has had the rights that he has now: the tock of the last change that could
    /// concern them. (It may have been one of another list.)
    pub(crate) fn unchanged_since(&self, user: Option<&User>) -> Tock {
        let state = self.state.lock();
        let known = user.and_then(|user| {
            let users = &state.realms.get(&user.realm)?.users;
            users.get(&(Arc::clone(&user.method), Arc::clone(&user.name)))
        });
        let tock = known.map_or_else(Tock::default, |known| known.tock);
        if user.is_some_and(|user| user.acl.is_none()) { tock } else { tock.max(state.rules) }
    }

    /// All users, those of the store first.
    pub fn users(&self) -> Vec<Arc<User>> {
        let state = self.state.lock();
        let users = state.realms.values().flat_map(|realm| realm.users.values());
        users.filter_map(|known| known.user.clone()).collect()
    }

    /// An access list of a root. `None`: it does not exist, and allows nothing.
    pub fn acl(&self, realm: &Path, name: &str) -> Option<Arc<Acl>> {
        let rules = {
            let state = self.state.lock();
            let list = state.realms.get(realm)?.lists.get(name)?;
            match &list.compiled {
                Some(compiled) => return Some(Arc::clone(compiled)),
                None => Arc::clone(&list.rules),
            }
        };
        // Not under the lock: a long list takes its time, and the feed must not wait for it.
        let compiled = Arc::new(Acl::new(rules.iter().map(|(pattern, rights)| (pattern.as_path(), *rights))));
        let mut state = self.state.lock();
        let list = state.realms.get_mut(realm).and_then(|realm| realm.lists.get_mut(name));
        match list.filter(|list| Arc::ptr_eq(&list.rules, &rules)) {
            Some(list) => Some(Arc::clone(list.compiled.get_or_insert(compiled))),
            // It has changed meanwhile; who asked will see by the generation that he has to ask again.
            None => Some(compiled),
        }
    }

    /// Takes a change in. Called under the feed's lock, for changes of internal data.
    pub(crate) fn changed(&self, path: PathRef<'_>, entry: &Entry) {
        if !self.take_in(path, entry) {
            return;
        }
        self.generation.fetch_add(1, Ordering::AcqRel);
        for listener in self.listeners.read().iter() {
            listener();
        }
    }

    /// Notes what is stored now at a path. Answers whether that concerns users or lists.
    fn take_in(&self, path: PathRef<'_>, entry: &Entry) -> bool {
        let mut elements = path.elements();
        if elements.next() != Some(Element::Null) {
            return false;
        }
        let (mut kind, mut root) = (elements.next(), Path::root());
        if kind == Some(Element::str("root")) {
            let Some(Element::List(items)) = elements.next() else { return false };
            // The store's own home is not written so, and internal data is nobody's whole.
            let path = Path::from_elements(items).ok().filter(|path| !path.is_root());
            let Some(path) = path.filter(|path| !path.as_path().is_internal()) else { return false };
            (kind, root) = (elements.next(), path);
        }
        let is_list = kind == Some(Element::str("acl"));
        if !is_list && kind != Some(Element::str("auth")) {
            return false;
        }
        let mut state = self.state.lock();
        let realm = state.realms.entry(root.clone()).or_default();
        let concerns = if is_list {
            realm.rule(elements, entry.value.as_ref())
        } else {
            realm.auth(&root, elements, entry)
        };
        if realm.is_empty() {
            state.realms.remove(&root);
        }
        if is_list && concerns {
            state.rules = state.rules.max(entry.version.tock());
        }
        concerns
    }
}

/// The next element, if it is a string.
fn name(elements: &mut crate::path::Elements<'_>) -> Option<Arc<str>> {
    match elements.next()? {
        Element::Str(name) => Some(name.into()),
        _ => None,
    }
}

impl Realm {
    /// What is stored below `acl`. A value that is no string allows nothing.
    fn rule(&mut self, mut elements: crate::path::Elements<'_>, value: Option<&Value>) -> bool {
        let Some(name) = name(&mut elements) else { return false };
        let Ok(pattern) = Path::from_elements(elements) else { return false };
        let list = self.lists.entry(Arc::clone(&name)).or_default();
        list.compiled = None;
        // A copy is made only while the list is being compiled.
        let rules = Arc::make_mut(&mut list.rules);
        match value {
            Some(value) => {
                let rights = value.as_str().map_or(Rights::NONE, Rights::read);
                rules.insert(pattern, rights);
            }
            None => {
                rules.remove(&pattern);
            }
        }
        if list.rules.is_empty() {
            self.lists.remove(&name);
        }
        true
    }

    /// What is stored at or below `auth`.
    fn auth(&mut self, root: &Path, mut elements: crate::path::Elements<'_>, entry: &Entry) -> bool {
        let value = entry.value.as_ref();
        let method = match elements.next() {
            None => {
                self.method = value.and_then(|value| users::text_at(value, "current"));
                return true;
            }
            Some(Element::Str(method)) => Arc::from(method),
            Some(_) => return false,
        };
        if elements.next() != Some(Element::str("user")) {
            return false;
        }
        let Some(user) = name(&mut elements) else { return false };
        let part = elements.next();
        if elements.next().is_some() {
            return false;
        }
        let key = (method, user);
        let known = self.users.entry(key.clone()).or_default();
        let place = match &part {
            None => Some(&mut known.stored.record),
            Some(Element::Str(part)) if part == "acl" => Some(&mut known.stored.acl),
            Some(Element::Str(part)) if part == "conv" => Some(&mut known.stored.conv),
            Some(_) => None,
        };
        let concerns = place.map(|place| *place = value.cloned()).is_some();
        let (method, user) = &key;
        if concerns {
            known.tock = known.tock.max(entry.version.tock());
            known.user = known.stored.read(root, method, user).map_or_else(
                |error| {
                    tracing::warn!(%method, %user, %root, "a user's record counts as none: {error}");
                    None
                },
                |user| user.map(Arc::new),
            );
        }
        if known.stored.is_empty() {
            self.users.remove(&key);
        }
        concerns
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").field("generation", &self.generation()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
