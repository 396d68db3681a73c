//! Starts and stops everything: sockets, data, broker, HTTP; hears signals; speaks with the service manager. The only
//! module of the program that starts long-lived tasks.
//!
//! The order of a start: HTTP first (it says "starting"), then certificates are read and the addresses of MQTT are taken,
//! so that a port in use shows at once; then the data is read; then MQTT listens. The order of a stop: readiness goes, MQTT accepts no more,
//! what is queued is sent, the data is written as a snapshot.

mod bind;
mod certificates;
mod clock;
mod figures;
mod greeting;
mod native;
mod node;
mod notify;
mod owner;
mod signals;
mod tasks;
mod ways;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};

use crate::config::{Change, Config};
use crate::http::{self, Bounds, Face, Phase};
use crate::log::Logging;
use certificates::Certificates;
use greeting::Greeting;
use node::Node;
use signals::{Request, Signals};
use tasks::Tasks;
use ways::{Shown, Taken};

/// The time which clients have at the end for reading what is queued for them.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Reads the configuration again.
pub type Reread = Box<dyn Fn() -> anyhow::Result<Config>>;

/// Runs a node until it is told to stop. `reread` is called on SIGHUP. The files in `load` are taken in before anybody is served.
pub fn run(config: Config, load: Vec<PathBuf>, logging: Logging, reread: Reread) -> anyhow::Result<ExitCode> {
    raise_file_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("distkv")
        .build()
        .context("can't start threads")?;
    let server = Server {
        config,
        load,
        logging,
        reread,
        face: Arc::default(),
        tasks: Tasks::default(),
        certificates: Certificates::default(),
    };
    let result = runtime.block_on(server.run());
    // Whatever still runs at this point was told to stop and did not.
    runtime.shutdown_background();
    result
}

/// Checks what a configuration names beside itself: the files of its listeners and of users.
pub fn check(config: &Config) -> anyhow::Result<()> {
    // Without data there are no users.
    if !config.data_dir.exists() {
        config.check_users(false)?;
    }
    ways::check(config)?;
    node::read_users(config).map(drop)
}

/// The name of a node that was given none: the host's up to the first dot, with `-` for what a name can't have.
pub(crate) fn host_name() -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let name: String = host
        .split('.')
        .next()
        .unwrap_or_default()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' })
        .take(distkv_store::ticks::MAX_NAME_BYTES)
        .collect();
    if name.is_empty() { "node".to_owned() } else { name }
}

/// Each connection takes a file descriptor, so the limit is raised as far as we may.
fn raise_file_limit() {
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) => tracing::debug!(limit, "open files"),
        Err(error) => tracing::warn!("the limit of open files can't be raised: {error}"),
    }
}

struct Server {
    config: Config,
    load: Vec<PathBuf>,
    logging: Logging,
    reread: Reread,
    face: Arc<Face>,
    tasks: Tasks,
    certificates: Certificates,
}

impl Server {
    async fn run(mut self) -> anyhow::Result<ExitCode> {
        // From here on a signal is heard, not deadly.
        let mut signals = Signals::new().context("can't listen to signals")?;
        let http = self.serve_http()?;
        let taken = Taken::new(&self.config, &self.certificates)?;
        let native = native::Taken::new(&self.config, &self.certificates)?;
        let opening = tokio::task::spawn_blocking({
            let (config, load) = (self.config.clone(), std::mem::take(&mut self.load));
            move || Node::open(&config).and_then(|node| node.load(&load).map(|()| node))
        });
        let mut node = tokio::select! {
            node = opening => node.map_err(|_panicked| anyhow!("internal error while the data was read; see the log"))??,
            // Nothing was changed yet but by loading, which can be done again: so there is nothing to finish.
            () = signals.stop() => return Ok(ExitCode::SUCCESS),
        };
        let mut ways = taken.listen()?;
        let native = native.listen()?;
        let face = node.native(&self.config);
        let sockets = std::mem::take(&mut ways.sockets);
        let mut sources = node.sources(&sockets);
        sources.push(figures::of_native(&face));
        self.face.metrics.set_sources(sources);
        self.face.health.watch(node.failure());
        self.config.check_users(node.logins().are_on())?;
        self.face.show_clients(node.broker(), node.bridge(), node.logins());
        node.serve(sockets);
        if let Some(writer) = node.log_writer() {
            self.tasks.spawn("event log", writer.run());
        }
        let shown = Shown::native(&native);
        for served in native.serve(&face) {
            self.tasks.spawn("native", served);
        }
        self.tasks.spawn("users", node.watch_users());
        self.tasks.spawn("watchdog", notify::watchdog());
        self.tasks.spawn("certificates", self.certificates.clone().watch());
        self.face.health.set_phase(Phase::Serving);
        self.greet(&node, &ways.shown, &shown, &http);
        let ended = self.serve(&node, &mut signals).await;
        self.stop(node, &mut signals).await?;
        match ended {
            None => Ok(ExitCode::SUCCESS),
            Some(task) => Err(anyhow!("{task} ended; the log has the reason")),
        }
    }

    /// Opens the HTTP face; its addresses.
    fn serve_http(&mut self) -> anyhow::Result<Vec<SocketAddr>> {
        let http = &self.config.http;
        let bounds = Bounds::new(http.max_connections, http.header_timeout.0);
        let mut addresses = Vec::new();
        for bound in bind::bind(&bind::Face::new("HTTP", "--http"), &http.listen)? {
            let listener = bound.listen()?;
            addresses.extend(listener.local_addr());
            self.tasks.spawn("http", http::serve(listener, Arc::clone(&self.face), bounds.clone()));
        }
        Ok(addresses)
    }

    /// Says that clients are served.
    fn greet(&self, node: &Node, mqtt: &[Shown], native: &Shown, http: &[SocketAddr]) {
        let data_dir = std::path::absolute(&self.config.data_dir);
        let greeting = Greeting {
            node: node.name(),
            mqtt,
            native,
            http,
            data_dir: data_dir.as_deref().unwrap_or(&self.config.data_dir),
            durability: self.config.durability,
            sync_interval: self.config.sync_interval,
            entries: node.entries(),
            sessions: node.sessions(),
        };
        greeting.tell(self.config.log.format);
        notify::ready(&greeting.status());
    }

    /// Until it is time to stop; the name of the task whose end is the reason, if that is it.
    async fn serve(&mut self, node: &Node, signals: &mut Signals) -> Option<String> {
        loop {
            tokio::select! {
                request = signals.next() => match request {
                    Request::Stop => return None,
                    Request::Reload => self.reload(node),
                },
                task = self.tasks.ended() => return Some(task),
            }
        }
    }

    fn reload(&mut self, node: &Node) {
        notify::reloading();
        match (self.reread)() {
            Ok(new) => self.take_up(node, &new),
            Err(error) => tracing::error!("the configuration stays as it is: {error:#}"),
        }
        self.certificates.reload();
        node.reload_users(&self.config);
        notify::ready("serving");
    }

    fn take_up(&mut self, node: &Node, new: &Config) {
        let changes = self.config.changes(new);
        self.config = self.config.clone().with_live_values_of(new);
        self.logging.set_filter(&self.config.log.level);
        node.set_limits(&self.config);
        for Change { key, old, new } in &changes.live {
            tracing::info!("reload: {key} is now {new}, was {old}");
        }
        for Change { key, old, new } in &changes.restart {
            tracing::warn!("reload: {key} stays {old}; {new} waits for a restart");
        }
        if changes.live.is_empty() && changes.restart.is_empty() {
            tracing::info!("reload: nothing has changed");
        }
    }

    /// Stops in order; at a second signal at once.
    async fn stop(&self, node: Node, signals: &mut Signals) -> anyhow::Result<()> {
        tracing::info!("stopping; a second signal stops at once");
        self.face.health.set_phase(Phase::Stopping);
        notify::stopping();
        tokio::select! {
            stopped = node.stop(LAST_WORDS) => {
                stopped?;
                tracing::info!("stopped");
            }
            () = signals.stop() => {
                tracing::warn!("stopped at once; what was acknowledged is kept");
                // Nothing that would still be dropped may take its time.
                std::process::exit(1);
            }
        }
        Ok(())
    }
}
