//! Events from files of programs that know no lives of nodes: all such events are of life 0, which no node of ours ever draws.

use super::{Event, MergeError, Merged, Replica, record};
use crate::chain::{Dot, Version};
use crate::meta::Meta;
use crate::path::Path;
use crate::ticks::{Life, NodeName, Tick, TickSet, Tock};
use crate::tree::Entry;
use crate::value::Value;

/// The life of all events that come from such files.
pub const FOREIGN: Life = Life(0);

/// An event of a node which knew no lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreign {
    /// The entry it made or changed.
    pub path: Path,
    /// What it wrote; `None`: it deleted.
    pub value: Option<Value>,
    /// The facts beside the value.
    pub meta: Meta,
    /// Its place in the order of all events.
    pub tock: Tock,
    /// The event itself.
    pub node: NodeName,
    /// That node's number for it.
    pub tick: Tick,
    /// The events it was made from, the newest first. Of several of one node the first counts.
    pub chain: Vec<(NodeName, Tick)>,
}

impl Replica {
    /// Takes in an event of a node which knew no lives, by the rules for every event from elsewhere: see [`Replica::merge`]; and
    /// [`Replica::go_above`].
    ///
    /// # Errors
    /// Nothing has been taken in then.
    pub fn import(&mut self, event: Foreign, now: u64, record: &mut Vec<u8>) -> Result<Merged, MergeError> {
        let Foreign { path, value, meta, tock, node, tick, chain } = event;
        let dot = Dot { origin: self.ledger.own(node, FOREIGN), tick };
        let mut tail: Vec<Dot> = Vec::new();
        for (node, tick) in chain {
            let origin = self.ledger.own(node, FOREIGN);
            let known = origin == dot.origin || tail.iter().any(|dot| dot.origin == origin);
            if !known && tail.len() + 1 < crate::chain::MAX_LENGTH {
                tail.push(Dot { origin, tick });
            }
        }
        // No life is in it twice, and it is short enough.
        let version = Version::from_parts(dot.clone(), tock, tail, Vec::new())
            .unwrap_or_else(|_| Version::first(dot.clone(), tock));
        let entry = Entry { value, meta, version };
        self.merge(Event { path, entry }, now, record)
    }

    /// Gives events of this node numbers above `tick` from now on: no two have the same, as people see them. To be called before an event of
    /// this node's name is taken in, with the greatest of these; the record must be durable before an event is made.
    pub fn go_above(&mut self, tick: Tick, record: &mut Vec<u8>) {
        if let Some(ceiling) = self.lease.go_above(tick) {
            record::ceiling(record, self.own.node(), ceiling);
            self.ceilings.insert(self.own.node().clone(), ceiling);
        }
    }

    /// Notes that these events of a node which knew no lives are accounted for: `known` ones were replaced, `deleted` ones were deletions, of
    /// which nobody knows any more what they deleted. What is seen already stays what it is.
    pub fn account_for(&mut self, node: NodeName, known: &TickSet, deleted: &TickSet, record: &mut Vec<u8>) {
        let origin = self.ledger.own(node, FOREIGN);
        let seen =
            self.accounts().find(|account| *account.origin() == origin).map(|account| account.seen().clone());
        let seen = seen.unwrap_or_default();
        let (known, purged) = (known.difference(&seen), deleted.difference(&seen));
        if known.is_empty() && purged.is_empty() {
            return;
        }
        self.ledger.take_over(&origin, &known, &purged);
        record::account(record, &origin, &known, &purged);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replica::{Config, Recovery};
    use crate::ticks::LEASE;

    fn name(text: &str) -> NodeName {
        NodeName::new(text).unwrap()
    }

    fn foreign(path: &str, value: Option<&str>, tick: u64, tock: u64, chain: &[(&str, u64)]) -> Foreign {
        Foreign {
            path: path.parse().unwrap(),
            value: value.map(Value::string),
            meta: Meta::default(),
            tock: Tock::new(tock).unwrap(),
            node: name("old"),
            tick: Tick(tick),
            chain: chain.iter().map(|(node, tick)| (name(node), Tick(*tick))).collect(),
        }
    }

    fn replica(node: &str) -> (Replica, Vec<u8>) {
        let mut record = Vec::new();
        let replica = Recovery::new().start(Config::alone(name(node)), Life(77), &mut record);
        (replica, record)
    }

    #[test]
    fn what_came_first_is_in_the_past_and_nothing_is_taken_twice() {
        let (mut replica, mut records) = replica("n");
        let mut import = |event| replica.import(event, 0, &mut records).unwrap();
        assert!(import(foreign("a", Some("1"), 1, 10, &[])).change.is_some());
        assert!(
            import(foreign("a", None, 3, 30, &[("other", 1), ("old", 1), ("other", 9)])).change.is_some()
        );
        let late = import(foreign("a", Some("2"), 2, 20, &[]));
        assert!(late.change.is_none() && late.conflict.is_none() && !late.known);
        assert!(import(foreign("a", None, 3, 30, &[])).known);
        let path: Path = "a".parse().unwrap();
        let entry = replica.get(path.as_path()).unwrap();
        assert!(entry.is_tombstone());
        assert_eq!(entry.version.chain().map(|dot| dot.tick.0).collect::<Vec<_>>(), [3, 1]);
        assert_eq!(replica.tock(), Tock::new(30).unwrap());

        let mut recovery = Recovery::new();
        recovery.apply(&records).unwrap();
        let again = recovery.start(Config::alone(name("n")), Life(78), &mut Vec::new());
        assert_eq!(again.get(path.as_path()), replica.get(path.as_path()));
    }

    #[test]
    fn a_node_goes_on_above_the_events_that_have_its_name() {
        let (mut replica, mut records) = replica("old");
        replica.go_above(Tick(5), &mut records);
        replica.import(foreign("a", Some("1"), 5, 10, &[]), 0, &mut records).unwrap();
        assert_eq!(replica.next_tick(), Tick(6));
        replica.go_above(Tick(3), &mut records);
        assert_eq!(replica.next_tick(), Tick(6));
        replica.go_above(Tick(LEASE * 3 + 7), &mut records);
        let mut known = TickSet::new();
        known.insert_range(Tick(1), Tick(LEASE * 3));
        replica.account_for(
            name("old"),
            &known,
            &TickSet::from_iter([Tick(LEASE * 3 + 7), Tick(5)]),
            &mut records,
        );
        assert_eq!(replica.next_tick(), Tick(LEASE * 3 + 8));
        assert!(replica.ceiling() > replica.next_tick());
        let account = replica.accounts().find(|account| account.origin().life() == FOREIGN).unwrap();
        assert_eq!(account.purged().iter().collect::<Vec<_>>(), [Tick(LEASE * 3 + 7)]);
        let mut recovery = Recovery::new();
        recovery.apply(&records).unwrap();
        let again = recovery.start(Config::alone(name("old")), Life(78), &mut Vec::new());
        assert!(again.next_tick() > replica.ceiling());
    }
}
