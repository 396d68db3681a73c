//! What all verbs that talk to a server have in common: where it is, who we are, and how the result is shown.
//!
//! What the command line does not say, the environment does; then the configuration file; then the default.

use std::future::Future;
use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use serde::Deserialize;

use super::failure::Failure;
use super::password;
use crate::client::{Client, Login, Options, Tls};

/// The options of the connection, the same for each verb.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Connection")]
pub(super) struct Connect {
    /// The server [default: localhost]
    #[arg(long, global = true, value_name = "HOST[:PORT]", env = "DISTKV_SERVER")]
    server: Option<String>,
    /// Who to log in as
    #[arg(long, global = true, value_name = "NAME", env = "DISTKV_USER")]
    user: Option<String>,
    /// The file whose first line is the password or token; else DISTKV_PASSWORD, else it is asked for
    #[arg(long, global = true, value_name = "FILE", env = "DISTKV_PASSWORD_FILE")]
    password_file: Option<PathBuf>,
    /// Connect by TLS
    #[arg(long, global = true, env = "DISTKV_TLS", value_parser = clap::builder::FalseyValueParser::new())]
    tls: bool,
    /// Connect by TLS, and trust the certificates of this PEM file only
    #[arg(long, global = true, value_name = "FILE", env = "DISTKV_CA")]
    ca: Option<PathBuf>,
    /// How many seconds to wait for an answer
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..))]
    timeout: u64,
    /// Where these options are kept [default: ~/.config/distkv/client.toml]
    #[arg(long, global = true, value_name = "FILE", env = "DISTKV_CLIENT_CONFIG")]
    client_config: Option<PathBuf>,
    /// Print JSON, one object a line
    #[arg(long, global = true)]
    pub(super) json: bool,
}

/// The configuration file of the client.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    server: Option<String>,
    user: Option<String>,
    password_file: Option<PathBuf>,
    #[serde(default)]
    tls: bool,
    ca: Option<PathBuf>,
}

impl Connect {
    /// Runs what is to be done with a connection. A lost one is an error.
    pub(super) fn run<W>(&self, work: W) -> anyhow::Result<ExitCode>
    where
        W: AsyncFnOnce(Client) -> anyhow::Result<ExitCode>,
    {
        let options = self.options()?.reconnect(false);
        block_on(async { work(Client::connect(options).await?).await })
    }

    /// As [`Connect::run`], for what goes on until it is interrupted, over lost connections.
    pub(super) fn run_on<W>(&self, work: W) -> anyhow::Result<ExitCode>
    where
        W: AsyncFnOnce(Client) -> anyhow::Result<ExitCode>,
    {
        let options = self.options()?;
        block_on(async {
            tokio::select! {
                result = async { work(Client::connect(options).await?).await } => result,
                _ = tokio::signal::ctrl_c() => Ok(ExitCode::SUCCESS),
            }
        })
    }

    /// The file with a password, if one is named.
    pub(super) fn password_file(&self) -> Option<&Path> {
        self.password_file.as_deref()
    }

    /// How long to wait for an answer.
    pub(super) fn patience(&self) -> Duration {
        Duration::from_secs(self.timeout)
    }

    /// Name and password, if a name is said.
    pub(super) fn credentials(&self) -> anyhow::Result<Option<(String, String)>> {
        let file = self.file()?;
        let Some(user) = self.user.clone().or(file.user) else { return Ok(None) };
        let password = password(&user, self.password_file.clone().or(file.password_file).as_deref())?;
        Ok(Some((user, password)))
    }

    fn options(&self) -> anyhow::Result<Options> {
        let file = self.file()?;
        let server = self.server.clone().or(file.server).unwrap_or_else(|| "localhost".to_owned());
        let mut options = Options::new(&server).timeout(Duration::from_secs(self.timeout));
        let ca = self.ca.clone().or(file.ca);
        if self.tls || file.tls || ca.is_some() {
            options = options.tls(Tls { ca, name: None });
        }
        if let Some(user) = self.user.clone().or(file.user) {
            let password = password(&user, self.password_file.clone().or(file.password_file).as_deref())?;
            options = options.login(Login::password(user, password));
        }
        Ok(options)
    }

    fn file(&self) -> anyhow::Result<File> {
        let (path, must_be) = match &self.client_config {
            Some(path) => (path.clone(), true),
            None => match usual_place() {
                Some(path) => (path, false),
                None => return Ok(File::default()),
            },
        };
        let what = || format!("can't read {}", path.display());
        match std::fs::read_to_string(&path) {
            Ok(text) => toml::from_str(&text)
                .map_err(|error| Failure::Usage(format!("{}: {}", path.display(), error.message())).into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound && !must_be => Ok(File::default()),
            Err(error) => Err(error).with_context(what),
        }
    }
}

fn usual_place() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = set("XDG_CONFIG_HOME").or_else(|| set("HOME").map(|home| home.join(".config")))?;
    Some(base.join("distkv").join("client.toml"))
}

fn password(user: &str, file: Option<&Path>) -> anyhow::Result<String> {
    if let Some(file) = file {
        return password::of_file(file);
    }
    match std::env::var("DISTKV_PASSWORD") {
        Ok(password) => Ok(password),
        Err(_) if io::stdin().is_terminal() => password::ask(&format!("Password of {user}: ")),
        Err(_) => Err(Failure::Usage(format!(
            "the password of {user} is missing: name a file with --password-file, or set DISTKV_PASSWORD"
        ))
        .into()),
    }
}

pub(super) fn block_on(work: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(work);
    // A read of the standard input may still be blocked.
    runtime.shutdown_background();
    result
}
