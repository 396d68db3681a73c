//! The servers that are compared: how each is configured, started and stopped.
//!
//! All listen on loopback without users and TLS, keep what is retained, and have limits so wide that nothing of a scenario is
//! dropped: 100 messages in flight to a client, queues of any length.

use std::fmt::{self, Display};
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::ValueEnum;

/// Where the servers listen, one after the other.
const PORT: u16 = 18_830;

/// How long a start or a stop may take; a million retained messages have to be read or written.
const PATIENCE: Duration = Duration::from_secs(120);

/// CONNECT of MQTT 3.1.1: clean session, keep alive 60 s, client id `probe`.
const CONNECT: &[u8] = b"\x10\x11\0\x04MQTT\x04\x02\0\x3c\0\x05probe";

/// A server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Kind {
    /// This repository's
    Distkv,
    /// Debian's
    Mosquitto,
    /// As a library, see benches/rumqttd
    Rumqttd,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Distkv, Self::Mosquitto, Self::Rumqttd];
}

impl Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Distkv => "DistKV",
            Self::Mosquitto => "mosquitto",
            Self::Rumqttd => "rumqttd",
        })
    }
}

/// Where the programs are.
#[derive(Debug)]
pub(crate) struct Programs {
    pub(crate) distkv: PathBuf,
    mosquitto: PathBuf,
    rumqttd: PathBuf,
}

impl Programs {
    /// Looks for them where `benches/compare` has built them.
    pub(crate) fn find() -> anyhow::Result<Self> {
        let own = std::env::current_exe()?;
        // target/release/examples/compare
        let release = own.ancestors().nth(2).context("the program lies in no target directory")?;
        let path = |name: &str| {
            ["/usr/sbin", "/usr/bin", "/usr/local/sbin"].map(|place| Path::new(place).join(name))
        };
        let programs = Self {
            distkv: release.join("distkv"),
            mosquitto: path("mosquitto")
                .into_iter()
                .find(|path| path.exists())
                .unwrap_or_else(|| "mosquitto".into()),
            rumqttd: Path::new("benches/rumqttd/target/release/distkv-bench-rumqttd").to_owned(),
        };
        for (program, hint) in [
            (&programs.distkv, "cargo build --release"),
            (&programs.mosquitto, "apt-get install mosquitto"),
            (&programs.rumqttd, "cargo build --release --manifest-path benches/rumqttd/Cargo.toml"),
        ] {
            if !program.exists() {
                bail!("{} is not there: {hint}", program.display());
            }
        }
        Ok(programs)
    }

    /// The servers' versions, for the table.
    pub(crate) fn versions(&self) -> String {
        let first_line = |program: &Path, argument: &str| {
            let output = Command::new(program).arg(argument).output().ok()?;
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            Some(text.lines().next()?.to_owned())
        };
        let distkv = first_line(&self.distkv, "--version").unwrap_or_default();
        let mosquitto = first_line(&self.mosquitto, "-h").unwrap_or_default();
        format!("{distkv}, {mosquitto}, rumqttd {}", rumqttd_version().unwrap_or_default())
    }
}

fn rumqttd_version() -> Option<String> {
    let lock = fs::read_to_string("benches/rumqttd/Cargo.lock").ok()?;
    let (_, after) = lock.split_once("name = \"rumqttd\"\nversion = \"")?;
    Some(after.split_once('"')?.0.to_owned())
}

/// A process that does not outlive this one.
#[derive(Debug)]
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// A running server with a directory of its own.
#[derive(Debug)]
pub(crate) struct Server {
    kind: Kind,
    process: Running,
    directory: tempfile::TempDir,
    /// From the start of the process to its first CONNACK.
    pub(crate) start: Duration,
}

impl Server {
    /// Starts a server without any data.
    pub(crate) fn start(kind: Kind, programs: &Programs) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new().prefix("distkv-compare").tempdir()?;
        Self::start_in(kind, programs, directory)
    }

    /// Stops it in an orderly way and starts it with the data that it has kept.
    pub(crate) fn restart(self, programs: &Programs) -> anyhow::Result<Self> {
        let Self { kind, mut process, directory, .. } = self;
        terminate(&mut process.0)?;
        Self::start_in(kind, programs, directory)
    }

    /// The port on which it listens.
    pub(crate) fn port(&self) -> u16 {
        PORT
    }

    fn start_in(kind: Kind, programs: &Programs, directory: tempfile::TempDir) -> anyhow::Result<Self> {
        if TcpStream::connect(address()).is_ok() {
            bail!("somebody else listens on port {PORT}");
        }
        let mut command = command(kind, programs, directory.path())?;
        let log = File::options().create(true).append(true).open(directory.path().join("log"))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let begin = now();
        let process = Running(command.spawn().with_context(|| format!("can't start {kind}"))?);
        let mut server = Self { kind, process, directory, start: Duration::ZERO };
        while !answers() {
            if let Some(status) = server.process.0.try_wait()? {
                bail!("{kind} has ended ({status}): {}", server.log());
            }
            if begin.elapsed() > PATIENCE {
                bail!("{kind} does not answer: {}", server.log());
            }
            thread::sleep(Duration::from_millis(2));
        }
        server.start = begin.elapsed();
        Ok(server)
    }

    fn log(&self) -> String {
        let log = fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
        log.lines().rev().take(3).collect::<Vec<_>>().join(" / ")
    }
}

fn command(kind: Kind, programs: &Programs, directory: &Path) -> anyhow::Result<Command> {
    Ok(match kind {
        Kind::Distkv => {
            let mut command = Command::new(&programs.distkv);
            command.args(["server", "--http", "none", "--log", "warn", "--mqtt", &address().to_string()]);
            command.arg("--data-dir").arg(directory.join("data"));
            for setting in DISTKV_SETTINGS {
                command.args(["--set", setting]);
            }
            command
        }
        Kind::Mosquitto => {
            let config = directory.join("mosquitto.conf");
            let text = format!(
                "listener {PORT} 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location {}/\n{}",
                directory.display(),
                MOSQUITTO_SETTINGS.join("\n")
            );
            fs::write(&config, text)?;
            let mut command = Command::new(&programs.mosquitto);
            command.arg("-c").arg(config);
            command
        }
        Kind::Rumqttd => {
            let mut command = Command::new(&programs.rumqttd);
            command.arg(PORT.to_string());
            command
        }
    })
}

/// What differs from DistKV's defaults.
pub(crate) const DISTKV_SETTINGS: &[&str] = &["limits.inflight=100"];

/// What differs from mosquitto's defaults. `user root` only keeps it from giving up rights on its temporary directory.
pub(crate) const MOSQUITTO_SETTINGS: &[&str] = &[
    "user root",
    "log_type error",
    "max_inflight_messages 100",
    "max_queued_messages 0",
    "set_tcp_nodelay true",
    "",
];

fn address() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, PORT).into()
}

/// Does somebody answer CONNECT?
fn answers() -> bool {
    let ask = || {
        let mut stream = TcpStream::connect(address())?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(CONNECT)?;
        let mut answer = [0; 4];
        stream.read_exact(&mut answer)?;
        std::io::Result::Ok(answer == [0x20, 2, 0, 0])
    };
    ask().unwrap_or(false)
}

/// SIGTERM, by the command of that purpose, as the standard library has none.
fn terminate(child: &mut Child) -> anyhow::Result<()> {
    Command::new("kill").arg(child.id().to_string()).status().context("can't run kill")?;
    let begin = now();
    while child.try_wait()?.is_none() {
        if begin.elapsed() > PATIENCE {
            child.kill()?;
            bail!("the server does not stop");
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "this program measures time")]
fn now() -> Instant {
    Instant::now()
}
