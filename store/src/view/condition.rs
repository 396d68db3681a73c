//! Conditions: what must hold for a write to be taken.

use std::sync::Arc;

use crate::chain::Dot;
use crate::tree::Entry;
use crate::value::Value;

use super::{WriteError, has_value};

/// What must hold for a write to be taken. It is looked at in the moment of the write, under the lock of all writes, so that of several
/// writers with the same condition one succeeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition<'a> {
    /// There is no value.
    New,
    /// There is a value, and this is its version.
    Version {
        /// The node that took its last write.
        node: &'a str,
        /// That node's number for it.
        tick: u64,
    },
    /// There is a value, and it [equals](Value::equals) this one.
    Value(&'a Value),
}

/// Which condition did not hold, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmet {
    /// The entry should be new, but it has a value.
    Exists,
    /// The entry should have a value, but it has none.
    Missing,
    /// The entry has a value of another version.
    OtherVersion,
    /// The entry has another value.
    OtherValue,
}

impl Condition<'_> {
    /// Looks at the entry that is there.
    pub(crate) fn check(&self, entry: Option<&Arc<Entry>>) -> Result<(), WriteError> {
        let now = entry.filter(|entry| has_value(entry));
        match self.unmet(now) {
            None => Ok(()),
            Some(unmet) => Err(WriteError::Conflict { unmet, now: now.map(|now| now.version.dot().clone()) }),
        }
    }

    /// What is wrong with `now`, an entry with a value.
    fn unmet(&self, now: Option<&Arc<Entry>>) -> Option<Unmet> {
        let Some(now) = now else { return (*self != Self::New).then_some(Unmet::Missing) };
        match self {
            Self::New => Some(Unmet::Exists),
            Self::Version { node, tick } => {
                let Dot { origin, tick: held } = now.version.dot();
                let same = origin.node().as_str() == *node && held.0 == *tick;
                (!same).then_some(Unmet::OtherVersion)
            }
            Self::Value(value) => {
                let same = now.value.as_ref().is_some_and(|held| held.equals(value));
                (!same).then_some(Unmet::OtherValue)
            }
        }
    }
}

/// On what terms a write is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms<'a> {
    /// All of these must hold.
    pub conditions: &'a [Condition<'a>],
    /// A value that [is the same](Value::is_same) as the one that is there makes no event: nothing changes, and nobody is told. That is
    /// found out first, before the conditions.
    pub idempotent: bool,
}

impl Terms<'_> {
    /// Whether every write is taken.
    #[inline]
    pub(crate) fn are_none(&self) -> bool {
        self.conditions.is_empty() && !self.idempotent
    }

    /// Whether `value` is to be written over `entry`; false if it is there already.
    pub(crate) fn check(
        &self,
        entry: Option<&Arc<Entry>>,
        value: Option<&Value>,
    ) -> Result<bool, WriteError> {
        let now = || entry.filter(|entry| has_value(entry)).and_then(|entry| entry.value.as_ref());
        if self.idempotent
            && let Some(value) = value
            && now().is_some_and(|now| now.is_same(value))
        {
            return Ok(false);
        }
        for condition in self.conditions {
            condition.check(entry)?;
        }
        Ok(true)
    }
}
