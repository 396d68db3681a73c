//! The node itself: the store, the broker, and the bridge between them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use distkv_broker::hooks::Hooks as _;
use distkv_broker::transport::ListeningSocket;
use distkv_broker::{Broker, ListenerConfig};
use distkv_store::journal::RecoveryReport;
use distkv_store::path::Path;
use distkv_store::store::{Durability, OpenError, Options, Quota, Store};
use distkv_store::ticks::NodeName;

use super::figures;
use crate::auth::checks::Bounds;
use crate::auth::logins::{Logins, Rules};
use crate::auth::password::Cost;
use crate::auth::users::{List, Users};
use crate::bridge::Bridge;
use crate::config::{self, Config};
use crate::http::{Failure, Source};
use crate::log::escape_controls;
use crate::native;
use crate::original::{self, EventLog, Folder, LogWriter};

/// A node with its data, from start to stop.
pub(super) struct Node {
    name: NodeName,
    store: Store,
    broker: Arc<Broker>,
    bridge: Bridge,
    /// Who may log in by SCRAM, if there is a file of them.
    users: Option<Arc<Users>>,
    logins: Arc<Logins>,
    /// The event log, and files for clients.
    files: native::Files,
    /// `None` as soon as it runs.
    log_writer: Option<LogWriter>,
}

impl Node {
    /// Reads the data. Takes as long as the disk needs.
    pub(super) fn open(config: &Config) -> anyhow::Result<Self> {
        let users = read_users(config)?;
        let mut sessions = Records::default();
        let (name, store) = open_store(config, &mut sessions)?;
        store.set_quota(quota(config));
        let mount: Path = config.mqtt.root.parse().context("`mqtt.root`")?;
        let logins = Logins::new(store.clone(), rules(config), users.clone()).context("`auth`")?;
        let logins = Arc::new(logins);
        let bridge = Bridge::new(store.clone(), mount, Arc::clone(&logins)).context("`mqtt.root`")?;
        let hooks = Arc::new(bridge.clone());
        let broker = Arc::new(Broker::new(config.broker_limits(), hooks.clone(), hooks));
        let mut strange = 0_u64;
        for record in sessions.iter() {
            if let Err(error) = broker.restore(record) {
                strange += 1;
                tracing::debug!("a record of a session is left out: {error}");
            }
        }
        if strange > 0 {
            tracing::warn!("{strange} records of sessions can't be understood and are left out");
        }
        bridge.attach(&broker);
        let folder = Folder::new(config.native.save_dir());
        let (log, writer) = EventLog::new(store.clone(), folder.clone());
        let files = native::Files { folder, log };
        Ok(Self { name, store, broker, bridge, users, logins, files, log_writer: Some(writer) })
    }

    /// Takes in files of the original program, or of `save` and `log`.
    pub(super) fn load(&self, files: &[PathBuf]) -> anyhow::Result<()> {
        for file in files {
            let mut told = 0;
            let loaded = original::load(&self.store, file, &mut |read, total| {
                let tenth = (read * 10).checked_div(total).unwrap_or_default();
                if tenth > told {
                    told = tenth;
                    tracing::info!("{}: {} % are loaded", file.display(), tenth * 10);
                }
            })
            .with_context(|| "a file that was to be loaded is not, or not as a whole")?;
            let (file, events) = (file.display(), loaded.events);
            tracing::info!(
                "{file} is loaded: {} records; {} events are new, {} were known, {} are replaced by later ones",
                loaded.records,
                events.taken,
                events.known,
                events.past
            );
            if events.conflicts > 0 {
                tracing::warn!("{file}: {} events of conflicts are kept below :n.conflict", events.conflicts);
            }
            if loaded.cut > 0 {
                tracing::warn!("{file} ends in the middle of a record: {} bytes are left out", loaded.cut);
            }
            if loaded.strange > 0 {
                tracing::warn!("{file}: {} records say nothing that is known here", loaded.strange);
            }
            for (there, here) in &loaded.renamed {
                tracing::warn!("{file}: the node '{}' is called {here} here", escape_controls(there));
            }
        }
        Ok(())
    }

    /// Takes up the sessions of before, and serves clients on these sockets.
    pub(super) fn serve(&self, sockets: Vec<(ListeningSocket, ListenerConfig)>) {
        self.broker.start();
        // Not before: a snapshot drops the records of sessions that the broker has not taken up.
        self.bridge.keep_sessions(&self.broker);
        for (socket, config) in sockets {
            self.broker.listen_on(socket, config);
        }
    }

    /// The broker, for those who ask about clients.
    pub(super) fn broker(&self) -> Arc<Broker> {
        Arc::clone(&self.broker)
    }

    /// The native port's face to this node.
    pub(super) fn native(&self, config: &Config) -> Arc<native::Face> {
        let (store, broker) = (self.store.clone(), Arc::clone(&self.broker));
        let (name, options) = (self.name.as_str(), config.native.options());
        Arc::new(native::Face::new(
            name,
            store,
            (broker, self.bridge()),
            self.logins(),
            self.files.clone(),
            options,
        ))
    }

    /// What writes the event log, to be run; once.
    pub(super) fn log_writer(&mut self) -> Option<LogWriter> {
        self.log_writer.take()
    }

    /// Who may log in, for the other faces.
    pub(super) fn logins(&self) -> Arc<Logins> {
        Arc::clone(&self.logins)
    }

    /// The bridge, for those who ask about rights.
    pub(super) fn bridge(&self) -> Bridge {
        self.bridge.clone()
    }

    /// Closes the connections of users who may not stay, as long as it is polled.
    pub(super) fn watch_users(&self) -> impl Future<Output = ()> + use<> {
        self.bridge.clone().watch_users(Arc::clone(&self.broker))
    }

    /// The node's name.
    pub(super) fn name(&self) -> &str {
        self.name.as_str()
    }

    /// How many entries there are.
    pub(super) fn entries(&self) -> u64 {
        self.store.stats().counts.values
    }

    /// How many sessions there are.
    pub(super) fn sessions(&self) -> u64 {
        self.broker.metrics().sessions.get()
    }

    /// From now on these limits hold.
    pub(super) fn set_limits(&self, config: &Config) {
        self.broker.set_limits(config.broker_limits());
        self.store.set_quota(quota(config));
    }

    /// Reads the file of users again. If it is wrong, those who were known stay.
    pub(super) fn reload_users(&self, config: &Config) {
        let Some(users) = &self.users else { return };
        match List::read(&config.mqtt.scram_users_file) {
            Ok(list) => {
                tracing::info!("reload: {} users may log in by SCRAM", list.len());
                users.replace(list);
            }
            Err(error) => tracing::error!("reload: the users stay as they are: {error}"),
        }
    }

    /// Where the numbers come from.
    pub(super) fn sources(&self, sockets: &[(ListeningSocket, ListenerConfig)]) -> Vec<Source> {
        let listeners = figures::Listeners::new(sockets.iter().map(|(_, config)| &config.listener));
        let (broker, bridge, store) = (Arc::clone(&self.broker), self.bridge.clone(), self.store.clone());
        let (logins, log) = (Arc::clone(&self.logins), self.files.log.clone());
        vec![
            Box::new(move |tell| figures::of_broker(&broker.metrics(), tell)),
            Box::new(move |tell| listeners.tell(tell)),
            Box::new(move |tell| figures::of_logins(&logins, tell)),
            Box::new(move |tell| tell(figures::retained(bridge.retained_count()))),
            Box::new(move |tell| figures::of_store(&store.stats(), tell)),
            Box::new(move |tell| figures::of_event_log(log.figures(), tell)),
        ]
    }

    /// Tells why nothing can be kept any more.
    pub(super) fn failure(&self) -> Failure {
        let store = self.store.clone();
        Box::new(move || {
            let journal = store.stats().journal;
            match journal.failed {
                Some(failed) => Some(failed.to_string()),
                None => journal.short.then(|| "the disk is full: nothing more can be kept".to_owned()),
            }
        })
    }

    /// Sends what is queued to clients that read it within `drain`, closes their connections, and writes the data as a snapshot.
    pub(super) async fn stop(self, drain: Duration) -> anyhow::Result<()> {
        self.broker.shutdown(drain).await;
        // Before the store is closed, so that it has everything.
        if let Err(error) = self.files.log.stop().await {
            tracing::warn!("the event log may lack what happened last: {error}");
        }
        let store = self.store.clone();
        let closed = tokio::task::spawn_blocking(move || store.close()).await;
        closed.map_err(|_panicked| anyhow!("the store could not be closed; the log has the reason"))??;
        Ok(())
    }
}

/// The users of the configured file, if there is one.
pub(super) fn read_users(config: &Config) -> anyhow::Result<Option<Arc<Users>>> {
    let file = &config.mqtt.scram_users_file;
    if file.as_os_str().is_empty() {
        return Ok(None);
    }
    Ok(Some(Arc::new(Users::new(List::read(file)?)?)))
}

/// Opens the store under the configured name. Without one, a directory keeps the name of the node which made it.
fn open_store(config: &Config, sessions: &mut Records) -> anyhow::Result<(NodeName, Store)> {
    let given = if config.node.is_empty() { super::host_name() } else { config.node.clone() };
    let mut open = |name: &str| -> anyhow::Result<_> {
        let name = NodeName::new(name)?;
        let options = options(config, name.clone());
        Ok(Store::open(&config.data_dir, options, &mut |record| sessions.push(record))
            .map(|opened| (name, opened)))
    };
    let (name, (store, report)) = match open(&given)? {
        Err(OpenError::OtherNode { found, .. }) if config.node.is_empty() => open(&found)??,
        result => result?,
    };
    tell_recovery(&report.recovery);
    Ok((name, store))
}

/// What checking logins takes.
fn rules(config: &Config) -> Rules {
    let auth = &config.auth;
    let half = std::thread::available_parallelism().map_or(1, |cores| cores.get().div_ceil(2));
    let parallel = if auth.parallel == 0 { half } else { auth.parallel };
    let memory_kib = u32::try_from(auth.argon2_memory.0 >> 10).unwrap_or(u32::MAX);
    Rules {
        bounds: Bounds {
            cost: Cost { memory_kib, passes: auth.argon2_passes, lanes: 1 },
            parallel,
            queue: auth.queue,
        },
        anonymous_acl: auth.anonymous_acl.as_str().into(),
        allow_test: config.native.test_users,
    }
}

/// What clients may bring the store to.
fn quota(config: &Config) -> Quota {
    let limit = |limit: u64| if limit == 0 { u64::MAX } else { limit };
    Quota { entries: limit(config.limits.retained_messages), bytes: limit(config.limits.retained_bytes.0) }
}

fn options(config: &Config, node: NodeName) -> Options {
    Options {
        durability: match config.durability {
            config::Durability::Always => Durability::Always,
            config::Durability::Interval => Durability::Interval,
            config::Durability::Memory => Durability::Memory,
        },
        sync_interval: config.sync_interval.0,
        segment_bytes: config.store.segment_bytes.0,
        snapshot_bytes: config.store.snapshot_bytes.0,
        hold_snapshots: true,
        value_bytes_max: config.store.value_bytes_max.as_usize(),
        ..Options::new(node)
    }
}

/// What whoever reads the log should know of the last end of this node.
fn tell_recovery(report: &RecoveryReport) {
    for path in &report.snapshots_skipped {
        tracing::warn!(
            "{} is damaged; an older snapshot and the log replace it, nothing is lost",
            path.display()
        );
    }
    if let Some(cut) = &report.cut {
        let path = cut.path.display();
        tracing::warn!(
            "{path}: {} bytes from byte {} on were never synced and are cut off ({})",
            cut.bytes,
            cut.offset,
            cut.what
        );
    }
}

/// The broker's records from the journal, until there is a broker: one after another in one buffer.
#[derive(Default)]
struct Records {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Records {
    fn push(&mut self, record: &[u8]) {
        self.bytes.extend_from_slice(record);
        self.ends.push(self.bytes.len());
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.bytes[start..*end])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_in_their_order() {
        let mut records = Records::default();
        assert_eq!(records.iter().count(), 0);
        for record in [&b"one"[..], b"", b"three"] {
            records.push(record);
        }
        assert_eq!(records.iter().collect::<Vec<_>>(), [&b"one"[..], b"", b"three"]);
    }
}
