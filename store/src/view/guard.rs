//! What a view may do: the rights of its user as they are at the moment, and the paths as he says them. Writes are in [`gate`](super::gate).

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use foldhash::fast::RandomState;
use parking_lot::{Mutex, MutexGuard};

use super::Who;
use super::gate::lacking;
use super::root::{Place, Root};
use crate::access::{Access, Acl, Denied, Grant, Names, Right, User};
use crate::path::{Path, PathRef, Pattern};
use crate::ticks::Tock;

/// How many paths' grants a view remembers, and up to which length of a path. When there would be more it begins anew.
const REMEMBERED: usize = 64;
const REMEMBERED_BYTES: usize = 128;

/// By what a user is bound.
#[derive(Clone, Debug)]
pub(super) enum Bound {
    /// By his record in the store.
    Record(Arc<User>),
    /// By an access list of the store; `None`: he may do everything with data, but nothing with internal data.
    List(Option<Arc<str>>),
}

/// The limits of one view.
pub(super) struct Guard {
    access: Arc<Access>,
    bound: Bound,
    /// `None`: they are too long for any rule.
    names: Option<Names>,
    root: Root,
    now: Mutex<Now>,
}

/// What holds at the moment.
struct Now {
    /// The generation of [`Access`] for which this is true.
    generation: Option<u64>,
    limits: Limits,
    user: Option<Arc<User>>,
    remembered: HashMap<Box<[u8]>, Grant, RandomState>,
}

#[derive(Clone, Debug)]
pub(super) enum Limits {
    /// Everything below the root is allowed.
    Nothing,
    /// Data is, internal data is not.
    Data,
    /// What the list allows; and internal data to an admin.
    List { name: Arc<str>, acl: Arc<Acl>, is_admin: bool },
    /// The list does not exist: nothing is allowed, but internal data to an admin.
    NoList { name: Arc<str>, is_admin: bool },
    /// The user is no more, or has another root.
    Gone,
}

impl Limits {
    fn is_admin(&self) -> bool {
        match self {
            Self::Nothing => true,
            Self::List { is_admin, .. } | Self::NoList { is_admin, .. } => *is_admin,
            Self::Data | Self::Gone => false,
        }
    }
}

/// From where a scan or watch looks for entries, if it does: the rules' path and how deep it is.
#[derive(Clone, Debug)]
pub(super) struct Listed {
    path: Path,
    level: usize,
    /// Every level from there on must be open to listing, not only the first.
    by_level: bool,
}

impl Listed {
    /// From now on as a tree is walked.
    pub(super) fn by_level(&mut self) {
        self.by_level = true;
    }
}

/// What a user gets to know of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sight {
    Shown,
    Hidden,
    /// Nothing that lies below the first so many elements of its path in the store is shown.
    HiddenBelow(usize),
}

impl Guard {
    /// The guard for somebody; `None` if he has no limits at all.
    pub(super) fn new(access: &Arc<Access>, who: &Who) -> Option<Arc<Self>> {
        let bound = who.bound.clone()?;
        let (name, root) = match &bound {
            Bound::Record(user) => (Some(&*user.name), user.root.clone()),
            Bound::List(_) => (None, Path::root()),
        };
        let now = Now { generation: None, limits: Limits::Gone, user: None, remembered: HashMap::default() };
        Some(Arc::new(Self {
            access: Arc::clone(access),
            names: Names::new(name, who.client.as_deref()).ok(),
            bound,
            root: Root::new(root, who.is_absolute),
            now: Mutex::new(now),
        }))
    }

    /// The rights on what the rules call `path`.
    pub(super) fn grant(&self, path: PathRef<'_>) -> Grant {
        let mut now = self.now();
        let Now { limits, remembered, .. } = &mut *now;
        let (acl, is_admin) = match limits {
            Limits::Data if path.is_internal() => return Grant::NONE,
            Limits::Nothing | Limits::Data => return Grant::ALL,
            Limits::Gone => return Grant::NONE,
            Limits::List { acl, is_admin, .. } => (Some(acl), *is_admin),
            Limits::NoList { is_admin, .. } => (None, *is_admin),
        };
        if is_admin && path.is_internal() {
            return Grant::ALL;
        }
        let (Some(acl), Some(names)) = (acl, &self.names) else { return Grant::NONE };
        if let Some(grant) = remembered.get(path.as_bytes()) {
            return *grant;
        }
        let grant = acl.grant(path, names);
        self.access.count_miss();
        if path.as_bytes().len() <= REMEMBERED_BYTES {
            if remembered.len() == REMEMBERED {
                remembered.clear();
            }
            remembered.insert(path.as_bytes().into(), grant);
        }
        grant
    }

    /// What the rules say about what the user calls `said`.
    pub(super) fn grant_of(&self, said: PathRef<'_>) -> Grant {
        self.root.said(said).map_or(Grant::NONE, |path| self.grant(path.as_path()))
    }

    /// May he do with `said` what needs `right`?
    pub(super) fn check(&self, said: PathRef<'_>, right: Right) -> Result<(), Denied> {
        match lacking(&self.grant_of(said), right) {
            None => Ok(()),
            Some(right) => Err(Denied { right, path: said.to_path() }),
        }
    }

    /// Where `said` lies, if he may do what needs `right` there. `Ok(None)`: it can't exist.
    pub(super) fn enter<'p>(&self, said: PathRef<'p>, right: Right) -> Result<Option<Place<'p>>, Denied> {
        self.check(said, right)?;
        Ok(self.root.place(said))
    }

    /// Where `said` lies, if it can.
    pub(super) fn place<'p>(&self, said: PathRef<'p>) -> Option<Place<'p>> {
        self.root.place(said)
    }

    /// May he list what is below a place in the store?
    pub(super) fn may_list_at(&self, place: PathRef<'_>) -> bool {
        self.root.relative(place).is_some_and(|path| self.grant(path.as_path()).may(Right::List))
    }

    /// May he delete what is at a place which was found by listing?
    pub(super) fn may_delete(&self, place: PathRef<'_>, listed: Option<&Listed>) -> bool {
        let Some(path) = self.root.relative(place) else { return false };
        let grant = self.grant(path.as_path());
        grant.may(Right::Delete) && listed.is_none_or(|listed| grant.unlisted(listed.level).is_none())
    }

    /// May he read what is at a place?
    pub(super) fn may_read(&self, place: PathRef<'_>) -> bool {
        self.sight(place, None) == Sight::Shown
    }

    /// Where a pattern looks by listing.
    pub(super) fn listed(&self, said: &Pattern) -> Option<Listed> {
        let start = said.listed()?;
        let path = match self.root.said(start) {
            Some(path) => path.as_path().to_path(),
            // It matches nothing; the rules have nothing on it.
            None => start.to_path(),
        };
        Some(Listed { level: path.len(), path, by_level: false })
    }

    /// Where a walk from `said` down looks.
    pub(super) fn listed_at(&self, said: PathRef<'_>) -> Listed {
        let path = self.root.said(said).map_or_else(Path::root, |path| path.as_path().to_path());
        Listed { level: path.len(), path, by_level: true }
    }

    /// The pattern in the store.
    pub(super) fn pattern(&self, said: Pattern) -> Pattern {
        self.root.pattern(said)
    }

    /// May he list there at all?
    pub(super) fn may_list(&self, listed: Option<&Listed>) -> bool {
        listed.is_none_or(|listed| self.grant(listed.path.as_path()).may(Right::List))
    }

    /// As [`Guard::may_list`], as an error.
    pub(super) fn check_listed(&self, listed: Option<&Listed>) -> Result<(), Denied> {
        let Some(Listed { path, .. }) = listed else { return Ok(()) };
        match lacking(&self.grant(path.as_path()), Right::List) {
            None => Ok(()),
            Some(right) => Err(Denied { right, path: path.clone() }),
        }
    }

    /// What is he shown of a place which was found?
    pub(super) fn sight(&self, place: PathRef<'_>, listed: Option<&Listed>) -> Sight {
        let Some(path) = self.root.relative(place) else { return Sight::Hidden };
        let grant = self.grant(path.as_path());
        let unlisted = listed.filter(|it| it.by_level).and_then(|listed| grant.unlisted(listed.level));
        if let Some(level) = grant.barrier().or(unlisted) {
            return Sight::HiddenBelow(level + self.offset(place));
        }
        if grant.rights.has(Right::Read) { Sight::Shown } else { Sight::Hidden }
    }

    /// Is he told of a change at a place?
    pub(super) fn tells(&self, place: PathRef<'_>, listed: Option<&Listed>) -> bool {
        self.may_list(listed) && self.sight(place, listed) == Sight::Shown
    }

    /// Hands on what he calls a place. (It must be one in his root.)
    pub(super) fn with_name<T>(&self, place: PathRef<'_>, then: impl FnOnce(PathRef<'_>) -> T) -> Option<T> {
        let relative = self.root.relative(place)?;
        Some(then(self.root.name(place, &relative)))
    }

    /// What he calls a place, to keep.
    pub(super) fn name(&self, place: &Path) -> Option<Path> {
        let relative = self.root.relative(place.as_path())?;
        Some(self.root.name(place.as_path(), &relative).to_path())
    }

    /// Grows with every change of anybody's rights.
    pub(super) fn generation(&self) -> u64 {
        self.access.generation()
    }

    /// Since when he has had the rights that he has now.
    pub(super) fn unchanged_since(&self) -> Tock {
        match self.bound {
            Bound::List(None) => Tock::default(),
            _ => self.access.unchanged_since(self.user().as_deref()),
        }
    }

    pub(super) fn is_admin(&self) -> bool {
        self.now().limits.is_admin()
    }

    pub(super) fn root(&self) -> &Path {
        self.root.path()
    }

    pub(super) fn user(&self) -> Option<Arc<User>> {
        self.now().user.clone()
    }

    pub(super) fn limits(&self) -> Limits {
        self.now().limits.clone()
    }

    /// How many elements a place in the store has more than the rules' path of it.
    pub(super) fn offset(&self, place: PathRef<'_>) -> usize {
        let relative = self.root.relative(place).map_or(0, |path| path.as_path().len());
        place.len().saturating_sub(relative)
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        let mut now = self.now.lock();
        let generation = self.access.generation();
        if now.generation != Some(generation) {
            self.renew(&mut now);
            now.generation = Some(generation);
        }
        now
    }

    #[cold]
    fn renew(&self, now: &mut Now) {
        let (user, limits) = match &self.bound {
            Bound::List(None) => (None, Limits::Data),
            Bound::List(Some(name)) => (None, self.list(&Path::root(), name, false)),
            Bound::Record(old) => {
                let user = self.access.user(&old.realm, &old.method, &old.name);
                let limits = match &user {
                    Some(user) if user.root == *self.root.path() => match &user.acl {
                        None => Limits::Nothing,
                        Some(name) => self.list(&user.realm, name, user.admin),
                    },
                    _ => Limits::Gone,
                };
                (user, limits)
            }
        };
        let same_list = match (&now.limits, &limits) {
            (Limits::List { acl: old, .. }, Limits::List { acl: new, .. }) => Arc::ptr_eq(old, new),
            _ => false,
        };
        if !same_list {
            now.remembered = HashMap::default();
        }
        (now.user, now.limits) = (user, limits);
    }

    fn list(&self, realm: &Path, name: &Arc<str>, is_admin: bool) -> Limits {
        let name = Arc::clone(name);
        match self.access.acl(realm, &name) {
            Some(acl) => Limits::List { name, acl, is_admin },
            None => Limits::NoList { name, is_admin },
        }
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("bound", &self.bound).field("root", &self.root).finish_non_exhaustive()
    }
}
