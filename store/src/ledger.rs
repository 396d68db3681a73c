//! Which events a node has accounted for, per life: those whose effect is in the tree or was there once.
//!
//! A tick is *seen* when its event is the head of an entry, or was and has been superseded, or is a tombstone, or was one and has been
//! purged. Of the purged ones a second set is kept, since a node which learns of such a tick can't know what it
//! deleted. What is seen, not purged, and no entry's head, has been superseded.

use std::collections::BTreeMap;

use crate::chain::{Dot, Origin};
use crate::ticks::{BadNodeName, Life, NodeName, Tick, TickSet};

/// What is known of one life.
#[derive(Clone, Debug)]
pub struct Account {
    origin: Origin,
    seen: TickSet,
    purged: TickSet,
}

impl Account {
    /// Whose life.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// All ticks accounted for.
    pub fn seen(&self) -> &TickSet {
        &self.seen
    }

    /// Those whose tombstone has been dropped.
    pub fn purged(&self) -> &TickSet {
        &self.purged
    }
}

/// The accounts of all lives. It also holds the one shared form of each origin.
#[derive(Debug, Default)]
pub struct Ledger {
    /// By life. Two nodes with one number are as good as impossible, but must do no harm.
    accounts: BTreeMap<Life, Vec<Account>>,
}

impl Ledger {
    /// An empty ledger.
    pub fn new() -> Self {
        Self::default()
    }

    /// The shared form of an origin, made where it is new.
    pub fn origin(&mut self, node: &str, life: Life) -> Result<Origin, BadNodeName> {
        match self.find(node, life) {
            Some(account) => Ok(account.origin.clone()),
            None => Ok(self.own(NodeName::new(node)?, life)),
        }
    }

    /// The shared form of the origin of a node whose name is checked.
    pub fn own(&mut self, node: NodeName, life: Life) -> Origin {
        self.account(&Origin::new(node, life)).origin.clone()
    }

    /// Whether an event is accounted for.
    pub fn has(&self, dot: &Dot) -> bool {
        self.find(dot.origin.node().as_str(), dot.origin.life())
            .is_some_and(|account| account.seen.contains(dot.tick))
    }

    /// Whether an event's tombstone has been purged.
    pub fn is_purged(&self, dot: &Dot) -> bool {
        self.find(dot.origin.node().as_str(), dot.origin.life())
            .is_some_and(|account| account.purged.contains(dot.tick))
    }

    /// Accounts for an event; answers whether it is new.
    pub fn see(&mut self, dot: &Dot) -> bool {
        self.account(&dot.origin).seen.insert(dot.tick)
    }

    /// Notes that an event's tombstone is gone.
    pub fn purge(&mut self, dot: &Dot) {
        let account = self.account(&dot.origin);
        account.seen.insert(dot.tick);
        account.purged.insert(dot.tick);
    }

    /// Takes over what is on record about a life.
    pub fn take_over(&mut self, origin: &Origin, seen: &TickSet, purged: &TickSet) {
        let account = self.account(origin);
        account.seen.union(seen);
        account.seen.union(purged);
        account.purged.union(purged);
    }

    /// All accounts in which there is something, by life.
    pub fn accounts(&self) -> impl Iterator<Item = &Account> {
        self.accounts.values().flatten().filter(|account| !account.seen.is_empty())
    }

    /// The greatest tick of any life of a node.
    pub fn last_tick(&self, node: &NodeName) -> Option<Tick> {
        self.accounts().filter(|account| account.origin.node() == node).filter_map(|it| it.seen.last()).max()
    }

    /// Whether anything has been purged.
    pub fn any_purged(&self) -> bool {
        self.accounts().any(|account| !account.purged.is_empty())
    }

    fn find(&self, node: &str, life: Life) -> Option<&Account> {
        self.accounts.get(&life)?.iter().find(|account| account.origin.node().as_str() == node)
    }

    fn account(&mut self, origin: &Origin) -> &mut Account {
        let accounts = self.accounts.entry(origin.life()).or_default();
        let at = accounts.iter().position(|account| account.origin == *origin).unwrap_or_else(|| {
            let origin = origin.clone();
            accounts.push(Account { origin, seen: TickSet::new(), purged: TickSet::new() });
            accounts.len() - 1
        });
        &mut accounts[at]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dot(ledger: &mut Ledger, node: &str, life: u64, tick: u64) -> Dot {
        Dot { origin: ledger.origin(node, Life(life)).unwrap(), tick: Tick(tick) }
    }

    #[test]
    fn each_life_is_counted_by_itself() {
        let mut ledger = Ledger::new();
        let [a, b, c] = [("n", 1), ("n", 2), ("m", 1)].map(|(node, life)| dot(&mut ledger, node, life, 7));
        assert!(ledger.see(&a));
        assert!(!ledger.see(&a));
        assert!(ledger.has(&a) && !ledger.has(&b) && !ledger.has(&c));
        ledger.see(&c);
        assert_eq!(ledger.accounts().count(), 2);
        assert_eq!(ledger.last_tick(a.origin.node()), Some(Tick(7)));
    }

    #[test]
    fn what_is_purged_stays_seen() {
        let mut ledger = Ledger::new();
        let dot = dot(&mut ledger, "n", 1, 7);
        ledger.see(&dot);
        assert!(!ledger.any_purged());
        ledger.purge(&dot);
        assert!(ledger.has(&dot) && ledger.is_purged(&dot) && ledger.any_purged());
    }

    #[test]
    fn an_origin_has_one_shared_form() {
        let mut ledger = Ledger::new();
        let first = ledger.origin("n", Life(1)).unwrap();
        assert_eq!(first, ledger.origin("n", Life(1)).unwrap());
        assert!(ledger.origin("not a name", Life(1)).is_err());
        assert_eq!(ledger.accounts().count(), 0);
    }
}
