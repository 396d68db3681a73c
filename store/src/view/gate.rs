//! Writes under rights: what is to be known before one is made, what depends on what is there, and what the writer is told of it.

use super::guard::Guard;
use super::root::Place;
use super::{Committed, Condition, Terms, WriteError, has_value};
use crate::access::{Denied, Grant, Right};
use crate::path::{Path, PathRef};
use crate::replica::Replica;

/// A write that is allowed or not depending on what is there: asked at the commit point.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    grant: Grant,
    /// How many elements of the path in the store stand for the root, or for its null.
    offset: usize,
    said: Path,
}

impl Gate {
    /// May `path` be given a value?
    pub(crate) fn check(&self, replica: &Replica, path: PathRef<'_>) -> Result<(), Denied> {
        let lacking = if replica.get(path).is_some_and(|entry| has_value(entry)) {
            lacking(&self.grant, Right::Write)
        } else {
            let depth = path.len() - self.offset.min(path.len());
            let there = |level: &usize| replica.tree().reaches(path.first(self.offset + level));
            let existing = (1..=depth).rev().find(there).unwrap_or(0);
            let lacks_right = || (!self.grant.rights.has(Right::Create)).then_some(Right::Create);
            self.grant.way_lacks(existing).or_else(lacks_right)
        };
        match lacking {
            None => Ok(()),
            Some(right) => Err(Denied { right, path: self.said.clone() }),
        }
    }
}

/// Which right is lacking to do what needs `right`, if any.
pub(super) fn lacking(grant: &Grant, right: Right) -> Option<Right> {
    if grant.barrier().is_some() {
        Some(Right::Pass)
    } else if grant.rights.has(right) {
        None
    } else {
        Some(right)
    }
}

/// A write that may be made.
pub(super) struct Entrance<'p> {
    pub(super) place: Place<'p>,
    pub(super) gate: Option<Gate>,
    may_read: bool,
    /// The generation of rights for which that is so.
    generation: u64,
}

impl Entrance<'_> {
    /// What the writer gets to know of what has come of it. If any rights have changed meanwhile, what was there may have been hidden.
    pub(super) fn answer(&self, guard: &Guard, mut committed: Committed) -> Committed {
        if !self.may_read || self.generation != guard.generation() {
            committed.previous = None;
        }
        committed
    }

    /// What he gets to know of why it was not taken.
    pub(super) fn refusal(&self, mut error: WriteError) -> WriteError {
        if let WriteError::Conflict { now, .. } = &mut error
            && !self.may_read
        {
            *now = None;
        }
        error
    }
}

impl Guard {
    /// Where `said` lies, if it may be given a value (or deleted, if not `sets`); with a gate, if that depends on what is there.
    ///
    /// Terms must not tell of the entry what only those may know who read it.
    pub(super) fn enter_to_write<'p>(
        &self,
        said: PathRef<'p>,
        sets: bool,
        terms: &mut Terms<'_>,
    ) -> Result<Entrance<'p>, WriteError> {
        let generation = self.generation();
        let grant = self.grant_of(said);
        let denied = |right| Denied { right, path: said.to_path() };
        let gated = sets && !grant.may_write_anyway();
        let needed = match (sets, grant.rights.has(Right::Create)) {
            (false, _) => Some(Right::Delete),
            (true, false) => Some(Right::Write),
            // What is there decides.
            (true, true) => None,
        };
        if let Some(right) = needed.and_then(|right| lacking(&grant, right)) {
            return Err(denied(right).into());
        }
        let may_read = grant.may(Right::Read);
        if !may_read {
            if terms.conditions.iter().any(|condition| *condition != Condition::New) {
                return Err(denied(lacking(&grant, Right::Read).unwrap_or(Right::Read)).into());
            }
            terms.idempotent = false;
        }
        let place = self.place(said).ok_or(WriteError::NoPlace)?;
        let gate = gated.then(|| Gate { grant, offset: self.offset(place.as_path()), said: said.to_path() });
        Ok(Entrance { place, gate, may_read, generation })
    }
}
