//! The broker under load: where it is, how it is watched, and how its clients are made.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::BenchError;
use super::link::Link;
use super::report::ServerCost;
use super::server::{Process, Sample};
use super::tls::Trust;
use super::transport::Layers;
use super::wire::{Connack, Login};

/// The versions of MQTT that the load tool speaks, by mosquitto's names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum MqttVersion {
    /// MQTT 3.1.1
    #[default]
    #[value(name = "mqttv311", alias = "311")]
    V3_1_1,
    /// MQTT 5
    #[value(name = "mqttv5", alias = "5")]
    V5,
}

/// The options that all scenarios have in common.
#[derive(Args, Clone, Debug)]
pub struct TargetOptions {
    /// Host name or address of the broker
    #[arg(long, default_value = "127.0.0.1", global = true)]
    pub host: String,
    /// Port of the broker
    #[arg(short, long, default_value_t = 1883, global = true)]
    pub port: u16,
    /// Version of MQTT
    #[arg(short = 'V', long, value_enum, default_value_t, global = true)]
    pub mqtt_version: MqttVersion,
    /// Connect by TLS; any certificate is taken, and each connection makes a whole handshake
    #[arg(long, global = true)]
    pub tls: bool,
    /// With --tls: take only certificates that those in this file (PEM) have signed for the host
    #[arg(long, value_name = "FILE", global = true)]
    pub ca: Option<PathBuf>,
    /// Connect by WebSocket, with one packet in each frame
    #[arg(long, global = true)]
    pub websocket: bool,
    /// User name
    #[arg(short, long, global = true)]
    pub username: Option<String>,
    /// Password
    #[arg(long, env = "MQTT_PASSWORD", hide_env_values = true, global = true)]
    pub password: Option<String>,
    /// Watch this process as the server [default: the one that listens on the port]
    #[arg(long, global = true)]
    pub pid: Option<u32>,
    /// All topics begin with this level
    #[arg(long, default_value = "bench", global = true)]
    pub prefix: String,
    /// Give up after this many seconds without progress
    #[arg(long, value_name = "SECONDS", default_value_t = 10, global = true)]
    pub stall: u64,
    /// Give up after this many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 600, global = true)]
    pub limit: u64,
    /// Print one line of JSON
    #[arg(long, global = true)]
    pub json: bool,
}

/// The broker under load.
#[derive(Debug)]
pub(super) struct Target {
    address: SocketAddr,
    login: Login,
    layers: Layers,
    process: Option<Process>,
    pub(super) prefix: String,
    pub(super) stall: Duration,
    pub(super) limit: Duration,
}

impl Target {
    /// Finds the broker's address and process, and makes room for `clients` sockets.
    pub(super) fn new(options: &TargetOptions, clients: usize) -> Result<Self, BenchError> {
        let TargetOptions { host, port, prefix, .. } = options;
        if prefix.is_empty() || prefix.len() > 1000 || prefix.contains(['+', '#', '\0']) {
            return Err(BenchError::Usage(
                "--prefix: a topic of at most 1000 bytes, no wildcards".to_owned(),
            ));
        }
        if options.ca.is_some() && !options.tls {
            return Err(BenchError::Usage("--ca needs --tls".to_owned()));
        }
        let layers = Layers {
            tls: options.tls.then(|| Trust::new(host, options.ca.as_deref())).transpose()?,
            websocket: options.websocket.then(|| host.clone()),
        };
        let resolve = |source| BenchError::Resolve { host: host.clone(), source };
        let address = (host.as_str(), *port)
            .to_socket_addrs()
            .map_err(resolve)?
            .next()
            .ok_or_else(|| resolve(std::io::ErrorKind::NotFound.into()))?;
        let descriptors = clients as u64 + 64;
        let granted =
            rlimit::increase_nofile_limit(descriptors).map_err(super::system("limit of open files"))?;
        if granted < descriptors {
            return Err(BenchError::Usage(format!(
                "{clients} clients need {descriptors} open files and this process may have {granted}: raise ulimit -n"
            )));
        }
        let process = options
            .pid
            .map(|pid| Process { pid })
            .or_else(|| address.ip().is_loopback().then(|| Process::listening_on(*port)).flatten());
        Ok(Self {
            address,
            login: Login {
                version: options.mqtt_version,
                user: options.username.clone(),
                password: options.password.clone(),
            },
            layers,
            process,
            prefix: prefix.clone(),
            stall: Duration::from_secs(options.stall),
            limit: Duration::from_secs(options.limit),
        })
    }

    /// Where to connect to.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Who the clients say they are.
    pub(super) fn login(&self) -> &Login {
        &self.login
    }

    /// What is on the clients' sockets.
    pub(super) fn layers(&self) -> &Layers {
        &self.layers
    }

    /// Connects one client, `kind` and `number` make its id.
    pub(super) fn open(&self, kind: &str, number: usize) -> Result<Link, BenchError> {
        Ok(self.open_with_aliases(kind, number, 0)?.0)
    }

    /// Connects one client to which the broker may send so many topic aliases.
    pub(super) fn open_with_aliases(
        &self,
        kind: &str,
        number: usize,
        aliases: u16,
    ) -> Result<(Link, Connack), BenchError> {
        Link::open(self.address, &self.layers, self.client_id(kind, number), &self.login, aliases)
    }

    /// A client id that does not meet those of another run.
    pub(super) fn client_id(&self, kind: &str, number: usize) -> String {
        format!("{}-{kind}-{number}", std::process::id())
    }

    /// What the server has used up to now, and the tool itself.
    pub(super) fn meter(&self) -> Meter {
        Meter {
            process: self.process,
            server: self.sample(),
            tool: Process::own().sample().unwrap_or_default(),
        }
    }

    fn sample(&self) -> Option<Sample> {
        self.process.and_then(Process::sample)
    }
}

/// Costs from one moment on.
#[derive(Debug)]
pub(super) struct Meter {
    process: Option<Process>,
    server: Option<Sample>,
    tool: Sample,
}

impl Meter {
    /// What was used since the meter was made; `None` for a server that can't be watched.
    pub(super) fn read(&self) -> Option<ServerCost> {
        let (process, before) = (self.process?, self.server?);
        let now = process.sample()?;
        Some(ServerCost {
            pid: process.pid,
            cpu_seconds: now.cpu_seconds_since(&before),
            rss_before: before.rss_bytes,
            rss_after: now.rss_bytes,
        })
    }

    /// CPU seconds of the load tool since the meter was made.
    pub(super) fn tool_seconds(&self) -> f64 {
        Process::own().sample().unwrap_or_default().cpu_seconds_since(&self.tool)
    }
}
