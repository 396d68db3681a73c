//! Tests of the replica's rules, one scenario each. Random histories are in `tests/it`.

use super::*;
use crate::ticks::{LEASE, Life, Tick};
use crate::value::Token;

const NOW: u64 = 1_800_000_000_000;

fn path(text: &str) -> Path {
    text.parse().unwrap()
}

/// A replica and its journal.
struct Node {
    replica: Replica,
    log: Vec<Vec<u8>>,
}

impl Node {
    fn start(name: &str, life: u64, log: Vec<Vec<u8>>) -> Self {
        let mut recovery = Recovery::new();
        for record in &log {
            recovery.apply(record).unwrap();
        }
        let mut record = Vec::new();
        let replica = recovery.start(Config::alone(NodeName::new(name).unwrap()), Life(life), &mut record);
        let mut node = Self { replica, log };
        node.log.push(record);
        node
    }

    fn new(name: &str) -> Self {
        Self::start(name, name.len() as u64 * 1000 + u64::from(name.as_bytes()[0]), Vec::new())
    }

    fn restart(self, life: u64) -> Self {
        let name = self.replica.origin().node().to_string();
        Self::start(&name, life, self.log)
    }

    /// Writes and answers the record.
    fn set(&mut self, at: &str, value: &str) -> Vec<u8> {
        let mut record = Vec::new();
        let (value, meta) = (Value::string(value), Meta::at(NOW));
        self.replica.set(path(at).as_path(), value, meta, &mut record).unwrap();
        self.log.push(record.clone());
        record
    }

    fn delete(&mut self, at: &str) -> Vec<u8> {
        let mut record = Vec::new();
        self.replica.delete(path(at).as_path(), Meta::at(NOW), &mut record).unwrap();
        if !record.is_empty() {
            self.log.push(record.clone());
        }
        record
    }

    /// Takes in all events of a record.
    fn merge(&mut self, record: &[u8]) -> Vec<Merged> {
        let events = self.replica.read_events(record).unwrap();
        events.into_iter().map(|event| self.merge_event(event).unwrap()).collect()
    }

    fn merge_event(&mut self, event: Event) -> Result<Merged, MergeError> {
        let mut record = Vec::new();
        let merged = self.replica.merge(event, NOW, &mut record)?;
        if !record.is_empty() {
            self.log.push(record);
        }
        Ok(merged)
    }

    fn value(&self, at: &str) -> Option<&str> {
        self.replica.get(path(at).as_path())?.value.as_ref()?.as_str()
    }

    fn snapshot(&mut self) -> Tombstones {
        let mut log = Vec::new();
        let mut export = self.replica.begin_export(&mut |record| log.push(record.to_vec()));
        while self.replica.export(&mut export, 2, 100, &mut |record| log.push(record.to_vec()))
            == Progress::More
        {}
        self.log = log;
        export.into_tombstones()
    }
}

#[test]
fn a_write_survives_in_its_record() {
    let mut node = Node::new("a");
    node.set("x.y", "1");
    node.set("x.y", "2");
    node.set("z", "3");
    node.delete("z");
    let before: Vec<_> =
        node.replica.tree().iter().map(|(path, entry)| (path.to_path(), entry.clone())).collect();
    let node = node.restart(77);
    let after: Vec<_> =
        node.replica.tree().iter().map(|(path, entry)| (path.to_path(), entry.clone())).collect();
    assert_eq!(before, after);
    assert_eq!(node.value("x.y"), Some("2"));
    assert_eq!(node.value("z"), None);
    assert_eq!(node.replica.counts().tombstones, 1);
}

#[test]
fn deleting_what_has_no_value_makes_no_event() {
    let mut node = Node::new("a");
    assert!(node.delete("x").is_empty());
    node.set("x", "1");
    assert!(!node.delete("x").is_empty());
    assert!(node.delete("x").is_empty());
}

#[test]
fn ticks_go_on_above_the_ceiling_and_lives_differ() {
    let mut node = Node::new("a");
    node.set("x", "1");
    let before = node.replica.get(path("x").as_path()).unwrap().version.dot().clone();
    let mut node = node.restart(5);
    node.set("x", "2");
    let after = node.replica.get(path("x").as_path()).unwrap().version.dot().clone();
    assert_eq!((before.tick, after.tick), (Tick(1), Tick(LEASE + 1)));
    assert_ne!(before.origin, after.origin);
}

#[test]
fn no_tick_is_used_before_its_ceiling_is_on_record() {
    let mut node = Node::new("a");
    for number in 0..3 * LEASE {
        node.set("x", &number.to_string());
    }
    let mut ceiling = Tick(0);
    for record in &node.log {
        for item in record::read(record).unwrap() {
            match item {
                record::Item::Ceiling { tick, .. } => ceiling = tick,
                record::Item::Event(event) => assert!(event.tick() <= ceiling),
                _ => {}
            }
        }
    }
    assert!(ceiling >= Tick(3 * LEASE));
}

#[test]
fn a_foreign_event_is_taken_once() {
    let (mut a, mut b) = (Node::new("a"), Node::new("b"));
    let record = a.set("x", "1");
    let merged = b.merge(&record).remove(0);
    assert!(merged.change.is_some() && merged.conflict.is_none());
    assert_eq!(b.value("x"), Some("1"));
    let logged = b.log.len();
    assert!(b.merge(&record).remove(0).known);
    assert_eq!(b.log.len(), logged);
}

#[test]
fn an_older_event_is_accounted_for_and_changes_nothing() {
    let (mut a, mut b) = (Node::new("a"), Node::new("b"));
    let (first, second) = (a.set("x", "1"), a.set("x", "2"));
    b.merge(&second);
    let merged = b.merge(&first).remove(0);
    assert!(!merged.known && merged.change.is_none() && merged.conflict.is_none());
    assert_eq!(b.value("x"), Some("2"));
    let mut b = b.restart(9);
    assert!(b.merge(&first).remove(0).known);
}

#[test]
fn a_conflict_keeps_the_loser_in_a_record_that_is_the_same_everywhere() {
    let (mut a, mut b) = (Node::new("a"), Node::new("b"));
    let (of_a, of_b) = (a.set("x", "from a"), b.set("x", "from b"));
    let at_a = a.merge(&of_b).remove(0);
    let at_b = b.merge(&of_a).remove(0);
    // Same tock: the greater name wins.
    assert_eq!((a.value("x"), b.value("x")), (Some("from b"), Some("from b")));
    let ((path_a, record_a), (path_b, record_b)) = (at_a.conflict.unwrap(), at_b.conflict.unwrap());
    assert_eq!(path_a, path_b);
    assert_eq!(record_a.entry.value, record_b.entry.value);
    let tokens: Vec<_> = record_a.entry.value.as_ref().unwrap().tokens().collect();
    assert!(tokens.contains(&Token::Str("from a")) && !tokens.contains(&Token::Str("from b")));
    // Only one of them saw its entry change.
    assert!(at_a.change.is_some() && at_b.change.is_none());
}

#[test]
fn a_conflict_about_equal_values_is_none() {
    let (mut a, mut b) = (Node::new("a"), Node::new("b"));
    let of_b = b.set("x", "same");
    a.set("x", "same");
    assert!(a.merge(&of_b).remove(0).conflict.is_none());
}

#[test]
fn records_of_conflicts_are_never_in_conflict_themselves() {
    let (mut a, mut b) = (Node::new("a"), Node::new("b"));
    let (of_a, of_b) = (a.set("x", "from a"), b.set("x", "from b"));
    a.merge(&of_b);
    b.merge(&of_a);
    let record = a.log.last().unwrap().clone();
    let merged = b.merge(&record);
    assert!(merged.iter().all(|merged| merged.conflict.is_none()));
    let internal = b.replica.counts().internal;
    assert_eq!(internal, 1);
}

#[test]
fn what_is_written_after_a_conflict_is_in_conflict_with_neither() {
    let (mut a, mut b, mut c) = (Node::new("a"), Node::new("b"), Node::new("c"));
    let (of_a, of_b) = (a.set("x", "from a"), b.set("x", "from b"));
    a.merge(&of_b);
    let later = a.set("x", "later");
    c.merge(&of_a);
    assert!(c.merge(&later).iter().all(|merged| merged.conflict.is_none()));
    assert!(b.merge(&later).iter().all(|merged| merged.conflict.is_none()));
    assert!(c.merge(&of_b).iter().all(|merged| merged.conflict.is_none() && merged.change.is_none()));
    // The same when the one who writes has been restarted in between.
    let (of_a, of_b) = (a.set("y", "from a"), b.set("y", "from b"));
    a.merge(&of_b);
    let mut a = a.restart(9);
    let later = a.set("y", "later");
    c.merge(&of_a);
    assert!(c.merge(&later).iter().all(|merged| merged.conflict.is_none()));
}

#[test]
fn an_event_that_claims_to_be_mine_is_refused() {
    let mut a = Node::new("a");
    a.set("x", "1");
    let entry = Entry::clone(a.replica.get(path("x").as_path()).unwrap());
    let dot = Dot { origin: a.replica.origin().clone(), tick: Tick(1000) };
    let forged = Entry { version: Version::first(dot.clone(), Tock::new(9).unwrap()), ..entry };
    let event = Event { path: path("x"), entry: forged };
    assert_eq!(a.merge_event(event).err(), Some(MergeError::NotMine(dot)));
    assert_eq!(a.value("x"), Some("1"));
}

#[test]
fn the_end_of_the_clock_stops_writes_and_nothing_else() {
    let (mut a, mut b) = (Node::new("a"), Node::new("b"));
    b.set("x", "1");
    let mad = Entry {
        value: Some(Value::string("mad")),
        meta: Meta::default(),
        version: Version::first(
            Dot { origin: b.replica.origin().clone(), tick: Tick(2) },
            Tock::new(Tock::LIMIT - 1).unwrap(),
        ),
    };
    a.merge_event(Event { path: path("x"), entry: mad }).unwrap();
    assert_eq!(a.value("x"), Some("mad"));
    let mut record = Vec::new();
    let written = a.replica.set(path("y").as_path(), Value::nil(), Meta::default(), &mut record);
    assert_eq!(written.err(), Some(WriteError::ClockExhausted));
    assert!(record.is_empty());
    assert!(b.merge(&a.log[0]).is_empty());
}

#[test]
fn a_tombstone_goes_after_the_snapshot_that_holds_it() {
    let mut node = Node::new("a");
    let set = node.set("x", "1");
    node.delete("x");
    node.set("y", "2");
    let mut tombstones = node.snapshot();
    // This one is not in the snapshot any more.
    node.set("x", "3");
    node.delete("y");
    let mut record = Vec::new();
    assert_eq!(node.replica.purge(&mut tombstones, 10, &mut record), Progress::Done);
    assert!(record.is_empty());
    assert_eq!(node.value("x"), Some("3"));

    let mut tombstones = node.snapshot();
    assert_eq!(node.replica.purge(&mut tombstones, 10, &mut record), Progress::Done);
    assert!(!record.is_empty());
    node.log.push(record);
    assert_eq!(node.replica.counts().tombstones, 0);
    let node = node.restart(5);
    assert_eq!(node.replica.counts().tombstones, 0);
    assert_eq!(node.value("x"), Some("3"));
    let mut node = node;
    assert!(node.merge_event_known(&set));
}

#[test]
fn a_purged_tombstone_does_not_return_through_an_older_record() {
    let mut node = Node::new("a");
    node.set("x", "1");
    node.delete("x");
    let older = node.log.clone();
    let mut tombstones = node.snapshot();
    let mut record = Vec::new();
    node.replica.purge(&mut tombstones, 10, &mut record);
    // The older records are replayed once more after the snapshot, then what says that the tombstone is gone.
    let log = [std::mem::take(&mut node.log), older, vec![record]].concat();
    let node = Node::start("a", 6, log);
    assert_eq!(node.value("x"), None);
    assert_eq!(node.replica.counts().tombstones, 0);
}

#[test]
fn a_bad_record_is_refused_whole() {
    let mut node = Node::new("a");
    let record = node.set("x", "1");
    for end in 1..record.len() {
        let mut recovery = Recovery::new();
        assert!(recovery.apply(&record[..end]).is_err());
        assert!(recovery.is_empty());
    }
    let newer = [&record[..], &[99]].concat();
    let mut recovery = Recovery::new();
    assert_eq!(recovery.apply(&newer), Err(RecordError::UnknownItem(99)));
    assert!(recovery.is_empty());
}

#[test]
fn the_first_layout_of_records_is_still_read() {
    // A life, its ceiling and one event, as the first version wrote them.
    let life = [&[3, 1, b'a'][..], &7_u64.to_le_bytes(), &[0], &[2, 1, b'a', 0x80, 0x20]].concat();
    let event = [
        &[1, 1, 1, b'a'][..],
        &7_u64.to_le_bytes(),
        &[1, 1],
        &[3, 0x31, b'x', 0],
        &[0x81, 0xA3, b'q', b'o', b's', 1],
        &[0xA1, b'1'],
    ]
    .concat();
    let node = Node::start("a", 8, vec![life, event]);
    assert_eq!(node.value("x"), Some("1"));
    let entry = node.replica.get(path("x").as_path()).unwrap();
    assert_eq!((entry.meta.qos(), entry.version.tock().get()), (Some(1), 1));
}

impl Node {
    fn merge_event_known(&mut self, record: &[u8]) -> bool {
        self.merge(record).iter().all(|merged| merged.known)
    }
}
