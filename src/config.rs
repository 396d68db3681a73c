//! The configuration: every key with its default, and the checks that need more than one key.
//!
//! `configs/distkv.toml` describes each key for people; a test holds the two together. Values come from, each
//! overriding the one before: defaults, the file, the environment (`DISTKV_MQTT__LISTEN`), the command line
//! (`--set mqtt.listen=...` and the flags of `server`). See `load` for that.

mod check;
mod error;
mod limits;
mod listen;
mod listener;
mod load;
mod native;
mod offer;
mod reload;
mod units;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use check::{ListenerRule, Rule};
pub use error::{ConfigError, Origin};
pub use limits::{Limits, QueueDrop, RateAction};
pub use listen::{BadListen, Listen, ListenSet};
pub use listener::{
    BadText, ClientCertificates, Listener, Mode, MqttVersion, Place, Protocol, Proxy, ProxyUserFrom, Tls,
    TlsVersion, Trusted, UserFrom, WebSocket,
};
pub use load::{Override, load};
pub use native::Native;
pub use offer::{CopiesOf, Offer, Strategy};
pub use reload::{Change, Changes};
pub use units::{BadUnit, Period, Size};

use crate::log::Filter;

/// Everything that can be configured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// This node's name; empty: the host's name.
    pub node: String,
    /// Where the data is.
    pub data_dir: PathBuf,
    /// What an acknowledgement promises.
    pub durability: Durability,
    /// With `durability = interval`: the time between two syncs of the journal.
    pub sync_interval: Period,
    /// The MQTT face.
    pub mqtt: Mqtt,
    /// What clients may take.
    pub limits: Limits,
    /// How the store keeps its data.
    pub store: Store,
    /// The HTTP face.
    pub http: Http,
    /// The native face.
    pub native: Native,
    /// The other nodes.
    pub cluster: Cluster,
    /// How users log in.
    pub auth: Auth,
    /// Log lines.
    pub log: Log,
    /// Further ways in.
    pub listener: Vec<Listener>,
}

/// What an acknowledgement promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// The data is on the disk: a power cut loses nothing that was acknowledged.
    Always,
    /// The data is with the operating system: a crash of the program loses nothing, a power cut at most the last interval.
    Interval,
    /// Nothing is kept: all data goes with the process.
    Memory,
}

/// `[mqtt]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mqtt {
    /// Where to listen. Nowhere, if there are listeners and this is not given.
    pub listen: ListenSet,
    /// Let everybody in on addresses beyond loopback, too.
    pub allow_anonymous: bool,
    /// The path in the store below which topics live.
    pub root: String,
    /// The file with the users who may log in by SCRAM-SHA-256; empty: none.
    pub scram_users_file: PathBuf,
    /// What is offered to clients.
    pub offer: Offer,
}

/// `[store]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Store {
    /// How much space is reserved for each segment of the journal.
    pub segment_bytes: Size,
    /// A snapshot is taken when the journal has grown by so much, or by half of the last snapshot if that is more.
    pub snapshot_bytes: Size,
    /// The longest value.
    pub value_bytes_max: Size,
}

/// `[http]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    /// Where to listen.
    pub listen: ListenSet,
    /// Connections at a time; further ones wait.
    pub max_connections: u32,
    /// The time a client has for sending the head of a request, also between two requests.
    pub header_timeout: Period,
}

/// `[cluster]`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cluster {
    /// Where to listen.
    pub listen: ListenSet,
    /// Other nodes to find the cluster by.
    pub join: Vec<String>,
    /// The file with the cluster's secret; empty: none.
    pub secret_file: PathBuf,
    /// This node is the first of a new cluster.
    pub init: bool,
}

/// `[auth]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Auth {
    /// Memory that hashing a password takes.
    pub argon2_memory: Size,
    /// Passes over it.
    pub argon2_passes: u32,
    /// Passwords hashed at a time; 0: half as many as there are processors.
    pub parallel: usize,
    /// Logins that wait for that.
    pub queue: usize,
    /// The access list of clients without a name, once users have to log in.
    pub anonymous_acl: String,
}

/// `[log]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// What is logged.
    pub level: Filter,
    /// How a line looks.
    pub format: LogFormat,
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            node: String::new(),
            data_dir: PathBuf::from("distkv-data"),
            durability: Durability::Interval,
            sync_interval: Period::millis(200),
            mqtt: Mqtt::default(),
            limits: Limits::default(),
            store: Store::default(),
            http: Http::default(),
            native: Native::default(),
            cluster: Cluster::default(),
            auth: Auth::default(),
            log: Log::default(),
            listener: Vec::new(),
        }
    }
}

impl Default for Mqtt {
    fn default() -> Self {
        Self {
            listen: ListenSet(vec![Listen::Loopback(1883)]),
            allow_anonymous: false,
            root: ":".to_owned(),
            scram_users_file: PathBuf::new(),
            offer: Offer::default(),
        }
    }
}

impl Default for Store {
    fn default() -> Self {
        Self { segment_bytes: Size::mib(16), snapshot_bytes: Size::mib(16), value_bytes_max: Size::mib(64) }
    }
}

impl Default for Http {
    fn default() -> Self {
        let loopback = std::net::SocketAddr::from(([127, 0, 0, 1], 27588));
        Self {
            listen: ListenSet(vec![Listen::At(loopback)]),
            max_connections: 64,
            header_timeout: Period::secs(10),
        }
    }
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            argon2_memory: Size::mib(19),
            argon2_passes: 2,
            parallel: 0,
            queue: 4096,
            anonymous_acl: "anonymous".to_owned(),
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { level: Filter::default(), format: LogFormat::Text }
    }
}

impl Mqtt {
    /// Is there anybody who can log in by a name and a proof?
    fn has_users(&self) -> bool {
        !self.scram_users_file.as_os_str().is_empty()
    }
}

impl Config {
    /// Reads a configuration from the text of a TOML file. Keys that are not in it keep their defaults. It looks at
    /// nothing but the text, and does not [`check`](Self::check).
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        load::from_toml(text)
    }

    /// What the broker has to know of it.
    pub fn broker_limits(&self) -> distkv_broker::limits::Limits {
        self.limits.for_broker(&self.mqtt.offer)
    }

    /// The whole configuration as a TOML table, defaults included.
    fn to_table(&self) -> toml::Table {
        // Fails for values that TOML has no form for; no key of ours holds such a value (tests print them all).
        toml::Table::try_from(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
