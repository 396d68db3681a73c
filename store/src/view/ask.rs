//! Questions about rights: may I, and why?

use std::sync::Arc;

use super::gate::Entrance;
use super::guard::Limits;
use super::root::Place;
use super::{Terms, View, WriteError, has_value};
use crate::access::{Denied, Grant, Right, Rights, User};
use crate::path::{Path, PathRef, Pattern};

/// An answer to whether something is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it is.
    pub allowed: bool,
    /// By what: in words, for people who may see access lists.
    pub reason: String,
}

impl View {
    /// May the user do what needs `right` with what is at `path`? That is the right itself, and `x` on every level above. It looks at no entry and
    /// takes no lock of the store, so it may be asked within the feed.
    pub fn may(&self, path: PathRef<'_>, right: Right) -> bool {
        self.guard.as_ref().is_none_or(|guard| guard.grant_of(path).may(right))
    }

    /// As [`View::may`], as an error.
    pub fn check(&self, path: PathRef<'_>, right: Right) -> Result<(), Denied> {
        self.guard.as_ref().map_or(Ok(()), |guard| guard.check(path, right))
    }

    /// The rights on `path`, whether or not it can be reached.
    pub fn rights(&self, path: PathRef<'_>) -> Rights {
        self.guard.as_ref().map_or(Rights::ALL, |guard| guard.grant_of(path).rights)
    }

    /// May the user give a value to `path`, as it is now? `w` if it has a value; else `c`, and `n` on each level below which that makes the next.
    pub fn check_set(&self, path: PathRef<'_>) -> Result<(), Denied> {
        let Some(guard) = &self.guard else { return Ok(()) };
        match guard.enter_to_write(path, true, &mut Terms::default()) {
            Ok(Entrance { place, gate: Some(gate), .. }) => {
                gate.check(&self.shared().read().replica, place.as_path())
            }
            Err(WriteError::Denied(denied)) => Err(denied),
            _ => Ok(()),
        }
    }

    /// May the user send a message that is not kept to where `path` stands for? `w` if the entry has a value, else `c`; and `x` on every level
    /// above. Nothing is made by it.
    pub fn check_send(&self, path: PathRef<'_>) -> Result<(), Denied> {
        let Some(guard) = &self.guard else { return Ok(()) };
        let grant = guard.grant_of(path);
        let either = (grant.rights.has(Right::Write), grant.rights.has(Right::Create));
        let right = match either {
            (true, true) | (false, false) => Right::Write,
            _ if self.has_value(path) => Right::Write,
            _ => Right::Create,
        };
        guard.check(path, right)
    }

    /// May the user look for what matches `pattern`? `e` where its first wildcard stands; `r` if it has none.
    pub fn check_list(&self, pattern: &Pattern) -> Result<(), Denied> {
        let Some(guard) = &self.guard else { return Ok(()) };
        match (pattern.listed(), pattern.single()) {
            (Some(start), _) => guard.check(start, Right::List),
            (None, Some(path)) => guard.check(path, Right::Read),
            (None, None) => Ok(()),
        }
    }

    /// May the user see and change the internal data of his root?
    pub fn is_admin(&self) -> bool {
        self.guard.as_ref().is_none_or(|guard| guard.is_admin())
    }

    /// May the user do what concerns the whole server: an admin without a root?
    pub fn is_operator(&self) -> bool {
        self.guard.as_ref().is_none_or(|guard| guard.is_admin() && guard.root().is_root())
    }

    /// What the user sees as the whole.
    pub fn root(&self) -> Path {
        self.guard.as_ref().map_or_else(Path::root, |guard| guard.root().clone())
    }

    /// The record of the user as it is now; `None` if there is none (any more), or the view is not for a user of the store.
    pub fn user(&self) -> Option<Arc<User>> {
        self.guard.as_ref()?.user()
    }

    /// Whether the user is still who he was when the view was made: his record is there, and has the same root. Without that he may
    /// do nothing, and his connection has no use any more.
    pub fn stands(&self) -> bool {
        self.guard.as_ref().is_none_or(|guard| !matches!(guard.limits(), Limits::Gone))
    }

    /// Why may the user do what needs `right` at `path`, or why not?
    pub fn why(&self, path: PathRef<'_>, right: Right) -> Verdict {
        let Some(guard) = &self.guard else {
            return Verdict { allowed: true, reason: "nothing limits this user".to_owned() };
        };
        let grant = guard.grant_of(path);
        let reason = match guard.limits() {
            Limits::Nothing if grant == Grant::NONE => "it lies outside of the user's root".to_owned(),
            Limits::Nothing => "the user has no access list".to_owned(),
            Limits::Gone => "the user is no more, or has another root since he logged in".to_owned(),
            Limits::Data if path.is_internal() => "internal data needs an admin".to_owned(),
            Limits::Data => "whoever has no name has no access list".to_owned(),
            Limits::List { is_admin: true, .. } | Limits::NoList { is_admin: true, .. }
                if path.is_internal() =>
            {
                "the user is an admin".to_owned()
            }
            Limits::NoList { name, .. } => format!("the access list '{name}' does not exist"),
            Limits::List { name, acl, .. } => match (grant.barrier(), acl.rule(&grant)) {
                (Some(level), _) => {
                    let level = path.first(level);
                    format!("{level} can't be passed: {}", self.why(level, Right::Pass).reason)
                }
                (None, Some(rule)) => {
                    let rights = if rule.rights == Rights::NONE {
                        "nothing".to_owned()
                    } else {
                        format!("'{}'", rule.rights)
                    };
                    format!("the rule {} of the access list '{name}' gives {rights}", rule.pattern)
                }
                (None, None) => format!("no rule of the access list '{name}' matches"),
            },
        };
        Verdict { allowed: grant.may(right), reason }
    }

    fn has_value(&self, path: PathRef<'_>) -> bool {
        let place = match &self.guard {
            None => Some(Place::Same(path)),
            Some(guard) => guard.place(path),
        };
        place.is_some_and(|place| {
            self.shared().read().replica.get(place.as_path()).is_some_and(|entry| has_value(entry))
        })
    }
}
