//! A broker for one test.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use distkv_broker::Broker;
use distkv_broker::hooks::memory::{MemoryHooks, MemoryLog};
use distkv_broker::hooks::{Hooks, SessionLog};
use distkv_broker::limits::Limits;
use distkv_broker::metrics::Metrics;
use tokio::io::DuplexStream;

use crate::client::{Client, Connect, PATIENCE};
use crate::foreign::Foreign;

/// Bytes that fit into a stream in each direction.
pub(crate) const STREAM_BYTES: usize = 64 << 10;

pub(crate) struct Server {
    pub(crate) broker: Broker,
    pub(crate) hooks: MemoryHooks,
    pub(crate) log: MemoryLog,
    /// Who serves in our place.
    foreign: Option<Foreign>,
}

/// Limits for tests: nobody waits for slow subscribers, so that counts are exact.
pub(crate) fn limits() -> Limits {
    Limits { publisher_stall: Duration::ZERO, sys_interval: Duration::ZERO, ..Limits::default() }
}

pub(crate) fn peer() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 4711).into()
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::with(limits())
    }

    pub(crate) fn with(limits: Limits) -> Self {
        Self::resume(limits, MemoryHooks::new(), &[])
    }

    /// A broker that takes up the records of another one.
    pub(crate) fn resume(limits: Limits, hooks: MemoryHooks, records: &[Vec<u8>]) -> Self {
        let log = MemoryLog::default();
        let broker = Broker::new(limits, Arc::new(hooks.clone()), Arc::new(log.clone()));
        for record in records {
            log.append(record);
            broker.restore(record).unwrap();
        }
        broker.start();
        Self { broker, hooks, log, foreign: Foreign::start() }
    }

    /// A broker with hooks of the test's own.
    pub(crate) fn with_hooks(limits: Limits, hooks: impl Hooks) -> Broker {
        let broker = Broker::new(limits, Arc::new(hooks), Arc::new(MemoryLog::default()));
        broker.start();
        broker
    }

    /// As after `kill -9`: what is in the log is all that is left.
    pub(crate) fn crash(self) -> (MemoryHooks, Vec<Vec<u8>>) {
        (self.hooks, self.log.records())
    }

    pub(crate) fn open(&self) -> Client {
        self.open_with(STREAM_BYTES)
    }

    /// A connection that holds only so many bytes under way.
    pub(crate) fn open_with(&self, bytes: usize) -> Client {
        Client::new(self.stream(bytes))
    }

    /// The client's end of a connection that holds only so many bytes under way.
    pub(crate) fn stream(&self, bytes: usize) -> DuplexStream {
        let (ours, theirs) = tokio::io::duplex(bytes);
        match &self.foreign {
            Some(foreign) => foreign.serve(theirs),
            None => self.broker.serve(theirs, peer()),
        }
        ours
    }

    pub(crate) async fn connect(&self, connect: &Connect) -> Client {
        let mut client = self.open();
        client.connect(connect).await;
        client
    }

    /// Connects as a clean client of that id.
    pub(crate) async fn clean(&self, id: &str) -> Client {
        self.connect(&Connect::new(id)).await
    }

    pub(crate) fn metrics(&self) -> Arc<Metrics> {
        self.broker.metrics()
    }

    /// Waits until the condition holds for the metrics.
    pub(crate) async fn until(&self, what: &str, holds: impl Fn(&Metrics) -> bool) {
        let waiting = async {
            while !holds(&self.metrics()) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
    }
}
