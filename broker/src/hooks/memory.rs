//! The traits of [`hooks`](super) in memory: everybody may do everything, and nothing outlives the process. For tests, examples,
//! and a broker that needs no store.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use parking_lot::Mutex;

use super::{
    BoxFuture, Condition, Hooks, LogFailed, Login, LoginRefused, Mark, Principal, Progress, Provenance,
    Replay, RetainRefused, RetainedMessage, SessionLog,
};
use crate::{clock, topic};

/// How many topics a slice of a replay looks at.
const SLICE_TOPICS: usize = 1000;

/// Retained messages in a map; all clients are anonymous.
#[derive(Clone, Debug, Default)]
pub struct MemoryHooks {
    retained: Arc<Mutex<Retained>>,
}

/// By topic. Its lock is the order of all changes.
type Retained = BTreeMap<String, Kept>;

#[derive(Debug)]
struct Kept {
    payload: Bytes,
    qos: u8,
    properties: Bytes,
    expires_at: Option<u64>,
}

impl MemoryHooks {
    /// No retained messages.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Stores a retained message (or deletes it, if the payload is empty) as a writer beside the broker would;
    /// `deliver` is called in the order of all changes and should hand the message to
    /// [`Broker::publish`](crate::Broker::publish).
    pub fn set(&self, message: &RetainedMessage<'_>, deliver: &mut dyn FnMut(Option<&Provenance<'_>>)) {
        let mut retained = self.retained.lock();
        if message.payload.is_empty() {
            retained.remove(message.topic);
        } else {
            // A copy: the payload may be a slice of a read buffer.
            let kept = Kept {
                payload: Bytes::copy_from_slice(message.payload),
                qos: message.qos,
                properties: Bytes::copy_from_slice(message.properties),
                expires_at: message.expires_at,
            };
            retained.insert(message.topic.to_owned(), kept);
        }
        deliver(None);
    }

    /// The payload of a retained message.
    #[must_use]
    pub fn get(&self, topic: &str) -> Option<Bytes> {
        self.retained.lock().get(topic).map(|kept| kept.payload.clone())
    }
}

impl Hooks for MemoryHooks {
    fn authenticate<'a>(
        &'a self,
        login: Login<'a>,
    ) -> BoxFuture<'a, Result<Arc<dyn Principal>, LoginRefused>> {
        let principal = self.restored(login.client_id, login.user);
        Box::pin(std::future::ready(Ok(principal)))
    }

    fn restored(&self, _client_id: &str, user: Option<&str>) -> Arc<dyn Principal> {
        Arc::new(MemoryPrincipal { hooks: self.clone(), user: user.map(str::to_owned) })
    }

    fn retained_count(&self) -> u64 {
        self.retained.lock().len() as u64
    }
}

struct MemoryPrincipal {
    hooks: MemoryHooks,
    user: Option<String>,
}

impl Principal for MemoryPrincipal {
    fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    fn retain(
        &self,
        message: &RetainedMessage<'_>,
        condition: Option<Condition<'_>>,
        deliver: &mut dyn FnMut(Option<&Provenance<'_>>),
    ) -> Result<Mark, RetainRefused> {
        if condition.is_some() {
            return Err(RetainRefused::Conflict(None));
        }
        self.hooks.set(message, deliver);
        Ok(Mark::default())
    }

    fn replay(&self, filter: &str) -> Box<dyn Replay> {
        Box::new(MemoryReplay {
            retained: Arc::clone(&self.hooks.retained),
            filter: filter.into(),
            last: None,
        })
    }
}

struct MemoryReplay {
    retained: Arc<Mutex<Retained>>,
    filter: String,
    /// The topic looked at last.
    last: Option<String>,
}

impl Replay for MemoryReplay {
    fn slice(
        &mut self,
        messages: usize,
        bytes: usize,
        sink: &mut dyn FnMut(RetainedMessage<'_>),
    ) -> Progress {
        let retained = self.retained.lock();
        let from = self.last.take().map_or(Bound::Unbounded, Bound::Excluded);
        let (mut handed, mut handed_bytes) = (0, 0);
        let now = clock::unix_ms();
        for (looked, (topic, kept)) in retained.range((from, Bound::Unbounded)).enumerate() {
            if handed == messages || handed_bytes >= bytes || looked == SLICE_TOPICS {
                return Progress::More;
            }
            let over = kept.expires_at.is_some_and(|end| end <= now);
            if !over && topic::matches(&self.filter, topic) {
                sink(RetainedMessage {
                    shared: Some(&kept.payload),
                    properties: &kept.properties,
                    expires_at: kept.expires_at,
                    ..RetainedMessage::new(topic, &kept.payload, kept.qos)
                });
                handed += 1;
                handed_bytes += topic.len() + kept.payload.len();
            }
            self.last = Some(topic.clone());
        }
        Progress::Done
    }
}

/// A log that keeps nothing: sessions end with the process.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoLog;

impl SessionLog for NoLog {
    fn append(&self, _record: &[u8]) -> Mark {
        Mark::default()
    }

    fn poll_settled(&self, _mark: Mark, _cx: &mut Context<'_>) -> Poll<Result<(), LogFailed>> {
        Poll::Ready(Ok(()))
    }
}

/// A log in memory, for tests of restarts.
#[derive(Clone, Debug, Default)]
pub struct MemoryLog {
    records: Arc<Mutex<Vec<Vec<u8>>>>,
    failed: Arc<AtomicU64>,
}

impl MemoryLog {
    /// All records so far, in order.
    #[must_use]
    pub fn records(&self) -> Vec<Vec<u8>> {
        self.records.lock().clone()
    }

    /// From now on nothing can be kept, as on a failed disk.
    pub fn fail(&self) {
        self.failed.store(1, Ordering::Relaxed);
    }
}

impl SessionLog for MemoryLog {
    fn append(&self, record: &[u8]) -> Mark {
        let mut records = self.records.lock();
        records.push(record.to_vec());
        Mark(records.len() as u64)
    }

    fn poll_settled(&self, mark: Mark, _cx: &mut Context<'_>) -> Poll<Result<(), LogFailed>> {
        let failed = self.failed.load(Ordering::Relaxed) != 0 && mark > Mark::default();
        Poll::Ready(if failed { Err(LogFailed("the test says so".into())) } else { Ok(()) })
    }
}
