//! The numbers of broker and store, as samples for `/metrics`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use distkv_broker::Listener;
use distkv_broker::metrics::{Kind as BrokerKind, Metrics};
use distkv_store::store::Stats;

use crate::auth::logins::Logins;
use crate::http::{Kind, Sample, Source, Value};
use crate::native::Face;
use crate::original::LogFigures;

/// The broker names and explains its numbers itself.
pub(super) fn of_broker(metrics: &Metrics, tell: &mut dyn FnMut(Sample)) {
    metrics.visit(&mut |sample| {
        let kind = match sample.kind {
            BrokerKind::Counter => Kind::Counter,
            BrokerKind::Gauge => Kind::Gauge,
        };
        let value = Value::Whole(sample.value);
        tell(Sample { name: sample.name, help: sample.help, kind, label: sample.label, value });
    });
}

/// What became of logins, on all faces, and how many users there are.
pub(super) fn of_logins(logins: &Logins, tell: &mut dyn FnMut(Sample)) {
    let counters = logins.checks().counters();
    let mut one = |name, help, kind, label, value| {
        tell(Sample { name, help, kind, label, value: Value::Whole(value) });
    };
    let how = "Logins by how they were checked: password hashed, remembered, token, or wrong.";
    for (label, counter) in [
        ("hashed", &counters.hashed),
        ("remembered", &counters.remembered),
        ("token", &counters.tokens),
        ("wrong", &counters.failed),
    ] {
        one("logins_total", how, Kind::Counter, Some(("how", label)), counter.load(Ordering::Relaxed));
    }
    for (name, help, counter) in [
        ("logins_delayed_total", "Logins that waited since others had failed before.", &counters.delayed),
        ("logins_turned_away_total", "Logins that were not checked: too many waited.", &counters.turned_away),
        (
            "logins_forgotten_total",
            "Addresses and users whose failed logins were forgotten for lack of room.",
            &counters.forgotten,
        ),
    ] {
        one(name, help, Kind::Counter, None, counter.load(Ordering::Relaxed));
    }
    let stats = logins.access_stats();
    for (name, help, value) in [
        ("users", "Users in the store.", stats.users),
        ("access_lists", "Access lists in the store.", stats.lists),
        ("access_rules", "Rules of all access lists.", stats.rules),
    ] {
        one(name, help, Kind::Gauge, None, value);
    }
}

/// The numbers of each listener, under its name.
pub(super) struct Listeners(Vec<(&'static str, Arc<Listener>)>);

impl Listeners {
    /// Of these, each once. A label has to live as long as the program, and so does a listener.
    pub(super) fn new<'a>(all: impl Iterator<Item = &'a Arc<Listener>>) -> Self {
        let mut listeners: Vec<(&'static str, Arc<Listener>)> = Vec::new();
        for listener in all {
            if !listeners.iter().any(|(_, known)| Arc::ptr_eq(known, listener)) {
                listeners.push((listener.name.clone().leak(), Arc::clone(listener)));
            }
        }
        Self(listeners)
    }

    /// All of one kind after each other.
    pub(super) fn tell(&self, tell: &mut dyn FnMut(Sample)) {
        type Read = fn(&Listener) -> u64;
        let kinds: [(&str, &str, Kind, Read); 7] = [
            (
                "listener_connections",
                "Open connections of each listener, handshakes included.",
                Kind::Gauge,
                |all| all.counters.connections.get(),
            ),
            ("listener_accepted_total", "Connections accepted by each listener.", Kind::Counter, |all| {
                all.counters.accepted.get()
            }),
            (
                "listener_full_total",
                "Connections closed since the listener's limit was reached.",
                Kind::Counter,
                |all| all.counters.full.get(),
            ),
            (
                "listener_delayed_total",
                "Times that a listener's connection rate was reached.",
                Kind::Counter,
                |all| all.counters.delayed.get(),
            ),
            (
                "listener_proxy_failed_total",
                "Connections without a right PROXY header.",
                Kind::Counter,
                |all| all.counters.proxy_failed.get(),
            ),
            (
                "listener_tls_failed_total",
                "Connections on which TLS did not come about.",
                Kind::Counter,
                |all| all.counters.tls_failed.get(),
            ),
            (
                "listener_websocket_failed_total",
                "Connections on which WebSocket did not come about.",
                Kind::Counter,
                |all| all.counters.websocket_failed.get(),
            ),
        ];
        for (name, help, kind, read) in kinds {
            for (listener, numbers) in &self.0 {
                let label = Some(("listener", *listener));
                tell(Sample { name, help, kind, label, value: whole(read(numbers)) });
            }
        }
    }
}

/// How many entries clients know as retained messages.
pub(super) fn retained(count: u64) -> Sample {
    sample("retained_messages", "Retained messages.", Kind::Gauge, whole(count))
}

/// The store's.
pub(super) fn of_store(stats: &Stats, tell: &mut dyn FnMut(Sample)) {
    let Stats { counts, journal, feed, snapshots, access } = stats;
    let mut gauge = |name, help, value| tell(sample(name, help, Kind::Gauge, value));
    gauge("entries", "Entries with a value, internal ones left out.", whole(counts.values));
    gauge("entries_internal", "Internal entries with a value.", whole(counts.internal));
    gauge("tombstones", "Deleted entries that are still remembered.", whole(counts.tombstones));
    gauge("entries_bytes", "Bytes of all paths and values.", whole(counts.bytes));
    gauge("journal_bytes", "Length of the log behind the last snapshot.", whole(journal.log_bytes));
    gauge("journal_gathered_bytes", "Bytes that are not yet written to the log.", whole(journal.gathered));
    let unsynced = journal.end.saturating_sub(journal.synced);
    gauge("journal_unsynced_bytes", "Bytes of the log that are not yet synced.", whole(unsynced));
    gauge("journal_sync_seconds_max", "The longest sync.", seconds(journal.sync_time_max));
    gauge(
        "journal_failed",
        "1: the journal has failed, nothing is acknowledged.",
        flag(journal.failed.is_some()),
    );
    gauge("journal_short", "1: the disk is full, writes are refused.", flag(journal.short));
    gauge("snapshot_bytes", "Length of the last snapshot.", whole(journal.snapshot_bytes));
    gauge("snapshot_seconds", "How long the last snapshot took.", seconds(snapshots.last_took));
    let longest = seconds(snapshots.longest_slice);
    gauge("snapshot_pause_seconds_max", "The longest time for which a snapshot held up writers.", longest);
    gauge("feed_watches", "Watches on the feed of changes.", whole(feed.watches));
    gauge(
        "feed_queued_changes",
        "Changes that wait for watches: how far they lag behind.",
        whole(feed.queued),
    );
    gauge("users", "Users in the store.", whole(access.users));
    gauge("access_lists", "Access lists in the store.", whole(access.lists));
    gauge("access_rules", "Rules of all access lists.", whole(access.rules));
    let mut counter = |name, help, value| tell(sample(name, help, Kind::Counter, value));
    counter(
        "access_changes_total",
        "Changes of users and access lists since the start.",
        whole(access.changes),
    );
    counter(
        "access_lookups_total",
        "Paths that were looked up in an access list, as they were not remembered.",
        whole(access.misses),
    );
    counter("journal_writes_total", "Writes to the log.", whole(journal.writes));
    counter("journal_syncs_total", "Syncs of the log.", whole(journal.syncs));
    counter("journal_sync_seconds_total", "Time that syncs took.", seconds(journal.sync_time));
    counter("snapshots_total", "Snapshots taken.", whole(snapshots.taken));
    counter("snapshots_failed_total", "Attempts at a snapshot that failed.", whole(snapshots.failed));
    counter("tombstones_purged_total", "Tombstones that were dropped for good.", whole(snapshots.purged));
    counter("feed_changes_total", "Changes of entries told to subscribers and watches.", whole(feed.told));
    counter("feed_lagged_total", "Watches that were ended since they did not keep up.", whole(feed.lagged));
}

/// Those of the native port.
pub(super) fn of_native(face: &Arc<Face>) -> Source {
    let face = Arc::clone(face);
    Box::new(move |tell| {
        for (name, help, value, grows) in face.figures().all() {
            let kind = if grows { Kind::Counter } else { Kind::Gauge };
            tell(sample(name, help, kind, whole(value)));
        }
    })
}

/// Those of the event log.
pub(super) fn of_event_log(figures: &LogFigures, tell: &mut dyn FnMut(Sample)) {
    let LogFigures { changes, bytes, skipped, failed } = figures;
    let mut counter = |name, help, count: &AtomicU64| {
        tell(sample(name, help, Kind::Counter, whole(count.load(Ordering::Relaxed))));
    };
    counter("event_log_changes_total", "Changes that were written to event logs.", changes);
    counter("event_log_bytes_total", "Bytes of event logs.", bytes);
    counter(
        "event_log_skipped_total",
        "How often a log went on with what had changed, as the disk was slow.",
        skipped,
    );
    counter("event_log_failed_total", "Event logs that ended since they could not be written.", failed);
}

fn sample(name: &'static str, help: &'static str, kind: Kind, value: Value) -> Sample {
    Sample { name, help, kind, label: None, value }
}

fn whole(number: u64) -> Value {
    Value::Whole(number)
}

fn flag(set: bool) -> Value {
    Value::Whole(set.into())
}

fn seconds(time: Duration) -> Value {
    Value::Real(time.as_secs_f64())
}
