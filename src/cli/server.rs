//! `distkv server`: its flags, and how they become a configuration.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::config::{Config, ConfigError, Durability, ListenSet, Override, load};
use crate::log::{Filter, Logging};
use crate::server;

/// Run a node
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Addresses are IP:PORT, a port alone (reached from this machine only), *:PORT (every interface), or `none`.
Every key of the configuration can also be set by the environment: DISTKV_MQTT__LISTEN=1884.
The command line beats the environment, which beats the file.")]
pub(super) struct Args {
    /// Read this configuration
    #[arg(long, value_name = "FILE", env = "DISTKV_CONFIG")]
    config: Option<PathBuf>,
    /// This node's name [default: the host's]
    #[arg(long, value_name = "NODE")]
    name: Option<String>,
    /// Where the data is [default: distkv-data]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// What an acknowledgement promises [default: interval]
    #[arg(long, value_name = "MODE")]
    durability: Option<Durability>,
    /// Where MQTT clients connect; may be repeated [default: localhost:1883]
    #[arg(long, value_name = "ADDR")]
    mqtt: Vec<ListenSet>,
    /// Where native clients connect; may be repeated [default: localhost:27586]
    #[arg(long, value_name = "ADDR")]
    native: Vec<ListenSet>,
    /// Where health and metrics are; may be repeated [default: 127.0.0.1:27588]
    #[arg(long, value_name = "ADDR")]
    http: Vec<ListenSet>,
    /// Where other nodes connect; may be repeated [default: none]
    #[arg(long, value_name = "ADDR")]
    cluster: Vec<ListenSet>,
    /// Another node of the cluster; may be repeated
    #[arg(long, value_name = "ADDR")]
    join: Vec<String>,
    /// The file with the cluster's secret
    #[arg(long, value_name = "FILE")]
    cluster_secret_file: Option<String>,
    /// Be the first node of a new cluster
    #[arg(long)]
    init: bool,
    /// Before serving take in this snapshot or event log, of the original program or of ours, with all versions; may be repeated
    #[arg(long, value_name = "FILE")]
    load: Vec<PathBuf>,
    /// What is logged: a level, or levels of modules (info,distkv_broker=debug) [default: info]
    #[arg(long, value_name = "LEVEL")]
    log: Option<Filter>,
    /// Check the configuration and leave
    #[arg(long)]
    check: bool,
    /// Set any key of the configuration, such as mqtt.listen=1884; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_and_value)]
    set: Vec<(String, String)>,
}

fn key_and_value(text: &str) -> Result<(String, String), &'static str> {
    match text.split_once('=') {
        Some((key, value)) => Ok((key.trim().to_owned(), value.to_owned())),
        None => Err("write it as KEY=VALUE"),
    }
}

impl Args {
    /// The configuration that these flags, the environment and the file make together; also on each reload.
    fn configuration(&self) -> anyhow::Result<Config> {
        // A variable that is not UTF-8 can't be one of ours.
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        let mut overrides = Override::from_env(environment);
        overrides
            .extend(self.set.iter().map(|(key, value)| Override::flag(&format!("--set {key}"), key, value)));
        overrides.extend(self.flags());
        let config = load(self.config.as_deref(), &overrides)?;
        config.check().map_err(ConfigError::Rule)?;
        Ok(config)
    }

    fn flags(&self) -> Vec<Override> {
        let mut flags = Vec::new();
        let mut flag = |name: &str, key: &str, value: Option<String>| {
            flags.extend(value.map(|value| Override::flag(name, key, value)));
        };
        let joined = |all: Vec<String>| (!all.is_empty()).then(|| all.join(","));
        let addresses = |sets: &[ListenSet]| joined(sets.iter().map(ToString::to_string).collect());
        flag("--name", "node", self.name.clone());
        flag("--data-dir", "data_dir", self.data_dir.clone());
        let durability = self.durability.and_then(|mode| clap::ValueEnum::to_possible_value(&mode));
        flag("--durability", "durability", durability.map(|mode| mode.get_name().to_owned()));
        flag("--mqtt", "mqtt.listen", addresses(&self.mqtt));
        flag("--native", "native.listen", addresses(&self.native));
        flag("--http", "http.listen", addresses(&self.http));
        flag("--cluster", "cluster.listen", addresses(&self.cluster));
        flag("--join", "cluster.join", joined(self.join.clone()));
        flag("--cluster-secret-file", "cluster.secret_file", self.cluster_secret_file.clone());
        flag("--init", "cluster.init", self.init.then(|| "true".to_owned()));
        flag("--log", "log.level", self.log.as_ref().map(ToString::to_string));
        flags
    }
}

pub(super) fn run(args: Box<Args>) -> anyhow::Result<ExitCode> {
    let config = args.configuration()?;
    if args.check {
        server::check(&config)?;
        writeln!(std::io::stdout(), "the configuration is fine")?;
        return Ok(ExitCode::SUCCESS);
    }
    let logging = Logging::start(&config.log.level, config.log.format);
    server::run(config, args.load.clone(), logging, Box::new(move || args.configuration()))
}
