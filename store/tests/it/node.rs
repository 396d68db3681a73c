//! A node for tests: a replica, and its journal as a list of records.

use distkv_store::chain::Dot;
use distkv_store::meta::Meta;
use distkv_store::path::Path;
use distkv_store::replica::{Change, Config, Event, Merged, Recovery, Replica};
use distkv_store::ticks::{Life, NodeName};
use distkv_store::tree::Entry;
use distkv_store::value::Value;

/// A node that runs.
pub(crate) struct Node {
    pub(crate) replica: Replica,
    pub(crate) log: Vec<Vec<u8>>,
    now: u64,
}

impl Node {
    /// Starts a node on what its journal holds. `life` must be fresh.
    pub(crate) fn start(name: &str, life: u64, log: Vec<Vec<u8>>) -> Self {
        let mut recovery = Recovery::new();
        for record in &log {
            recovery.apply(record).expect("its own records can be read");
        }
        let config = Config::alone(NodeName::new(name).expect("a good name"));
        let mut record = Vec::new();
        let replica = recovery.start(config, Life(life), &mut record);
        let mut node = Self { replica, log, now: 0 };
        node.log.push(record);
        node
    }

    /// Writes a value, or deletes it. `None`: nothing was to be done.
    pub(crate) fn write(&mut self, path: &Path, value: Option<&str>) -> Option<Change> {
        self.now += 1;
        let mut record = Vec::new();
        let (path, meta) = (path.as_path(), Meta::at(self.now));
        let change = match value {
            Some(value) => Some(self.replica.set(path, Value::string(value), meta, &mut record)),
            None => self.replica.delete(path, meta, &mut record).transpose(),
        };
        let change = change.transpose().expect("the clock is far from its end");
        assert_eq!(change.is_some(), !record.is_empty());
        self.keep(record);
        change
    }

    /// The events of a record of another node.
    pub(crate) fn read(&mut self, record: &[u8]) -> Vec<Event> {
        self.replica.read_events(record).expect("a good record")
    }

    /// Takes in an event of another node.
    pub(crate) fn merge(&mut self, event: Event) -> Merged {
        self.now += 1;
        let mut record = Vec::new();
        let merged = self.replica.merge(event, self.now, &mut record).expect("a good event");
        assert_eq!(merged.known, record.is_empty());
        self.keep(record);
        merged
    }

    /// Puts a record into the journal.
    pub(crate) fn keep(&mut self, record: Vec<u8>) {
        if !record.is_empty() {
            self.log.push(record);
        }
    }

    /// All entries.
    pub(crate) fn entries(&self) -> Vec<(Path, Entry)> {
        self.replica.tree().iter().map(|(path, entry)| (path.to_path(), Entry::clone(entry))).collect()
    }

    /// What is accounted for.
    pub(crate) fn accounts(&self) -> Vec<String> {
        self.replica.accounts().map(|account| format!("{account:?}")).collect()
    }
}

/// A dot as plain data.
pub(crate) fn plain(dot: &Dot) -> (String, u64, u64) {
    (dot.origin.node().to_string(), dot.origin.life().0, dot.tick.0)
}
