//! The servers that are compared: how each is configured, started and stopped.
//!
//! All listen on loopback without users, keep what is retained, and have limits so wide that nothing of a scenario is
//! dropped: 100 messages in flight to a client, queues of any length. Where a scenario needs another way in than plain MQTT, that
//! is a second listener; all servers have the same kind of certificate (ECDSA P-256).

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

/// Where they listen for TLS or WebSocket, and rumqttd for MQTT 5.
const SECOND_PORT: u16 = 18_831;

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

/// By which way clients come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// MQTT 3.1.1.
    Plain,
    /// MQTT 5.
    Mqtt5,
    /// MQTT 3.1.1 within TLS.
    Tls,
    /// MQTT 3.1.1 within WebSocket.
    WebSocket,
}

impl Way {
    /// The options of the load tool.
    pub(crate) fn options(self) -> &'static [&'static str] {
        match self {
            Self::Plain => &[],
            Self::Mqtt5 => &["-V", "5"],
            Self::Tls => &["--tls"],
            Self::WebSocket => &["--websocket"],
        }
    }

    /// The port for it.
    fn port(self, kind: Kind) -> u16 {
        match (self, kind) {
            (Self::Plain, _) | (Self::Mqtt5, Kind::Distkv | Kind::Mosquitto) => PORT,
            _ => SECOND_PORT,
        }
    }
}

/// Where the programs are.
#[derive(Debug)]
pub(crate) struct Programs {
    /// The load tool.
    pub(crate) tool: PathBuf,
    distkv: PathBuf,
    mosquitto: PathBuf,
    rumqttd: PathBuf,
}

impl Programs {
    /// Looks for them where `benches/compare` has built them; of the servers only for those in `kinds`. `distkv` is another
    /// build of DistKV, which is measured in the place of this one.
    pub(crate) fn find(kinds: &[Kind], distkv: Option<&Path>) -> anyhow::Result<Self> {
        let own = std::env::current_exe()?;
        // target/release/examples/compare
        let release = own.ancestors().nth(2).context("the program lies in no target directory")?;
        let path = |name: &str| {
            ["/usr/sbin", "/usr/bin", "/usr/local/sbin"].map(|place| Path::new(place).join(name))
        };
        let programs = Self {
            tool: release.join("distkv"),
            distkv: distkv.map_or_else(|| release.join("distkv"), Path::to_owned),
            mosquitto: path("mosquitto")
                .into_iter()
                .find(|path| path.exists())
                .unwrap_or_else(|| "mosquitto".into()),
            rumqttd: Path::new("benches/rumqttd/target/release/distkv-bench-rumqttd").to_owned(),
        };
        for (kind, program, hint) in [
            (None, &programs.tool, "cargo build --release"),
            (Some(Kind::Distkv), &programs.distkv, "cargo build --release"),
            (Some(Kind::Mosquitto), &programs.mosquitto, "apt-get install mosquitto"),
            (
                Some(Kind::Rumqttd),
                &programs.rumqttd,
                "cargo build --release --manifest-path benches/rumqttd/Cargo.toml",
            ),
        ] {
            if kind.is_none_or(|kind| kinds.contains(&kind)) && !program.exists() {
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
    way: Way,
    process: Running,
    directory: tempfile::TempDir,
    /// From the start of the process to its first CONNACK.
    pub(crate) start: Duration,
}

impl Server {
    /// Starts a server without any data.
    pub(crate) fn start(kind: Kind, way: Way, programs: &Programs) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new().prefix("distkv-compare").tempdir()?;
        if way == Way::Tls {
            let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
            fs::write(certificate(directory.path()), made.cert.pem())?;
            fs::write(key(directory.path()), made.signing_key.serialize_pem())?;
        }
        Self::start_in(kind, way, programs, directory)
    }

    /// Stops it in an orderly way and starts it with the data that it has kept.
    pub(crate) fn restart(self, programs: &Programs) -> anyhow::Result<Self> {
        let Self { kind, way, mut process, directory, .. } = self;
        terminate(&mut process.0)?;
        Self::start_in(kind, way, programs, directory)
    }

    /// The load tool's options that lead to it.
    pub(crate) fn options(&self) -> Vec<String> {
        let port = self.way.port(self.kind).to_string();
        let options = self.way.options().iter().map(|option| (*option).to_owned());
        options.chain(["--port".to_owned(), port]).collect()
    }

    fn start_in(
        kind: Kind,
        way: Way,
        programs: &Programs,
        directory: tempfile::TempDir,
    ) -> anyhow::Result<Self> {
        for port in [PORT, SECOND_PORT] {
            if TcpStream::connect(address(port)).is_ok() {
                bail!("somebody else listens on port {port}");
            }
        }
        let mut command = command(kind, way, programs, directory.path())?;
        let log = File::options().create(true).append(true).open(directory.path().join("log"))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let begin = now();
        let process = Running(command.spawn().with_context(|| format!("can't start {kind}"))?);
        let mut server = Self { kind, way, process, directory, start: Duration::ZERO };
        while !(answers() && TcpStream::connect(address(way.port(kind))).is_ok()) {
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

fn command(kind: Kind, way: Way, programs: &Programs, directory: &Path) -> anyhow::Result<Command> {
    Ok(match kind {
        Kind::Distkv => {
            let mut command = Command::new(&programs.distkv);
            let address = address(PORT).to_string();
            command
                .args(["server", "--http", "none", "--native", "none", "--log", "warn", "--mqtt", &address]);
            command.arg("--data-dir").arg(directory.join("data"));
            for setting in DISTKV_SETTINGS {
                command.args(["--set", setting]);
            }
            if let Some(listener) = distkv_listener(way, directory) {
                let config = directory.join("distkv.toml");
                fs::write(&config, listener)?;
                command.arg("--config").arg(config);
            }
            command
        }
        Kind::Mosquitto => {
            let config = directory.join("mosquitto.conf");
            let text = format!(
                "listener {PORT} 127.0.0.1\n{}allow_anonymous true\npersistence true\npersistence_location {}/\n{}",
                mosquitto_listener(way, directory),
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
            command.args([PORT.to_string(), SECOND_PORT.to_string()]);
            command
        }
    })
}

/// The second listener of DistKV, in its configuration.
fn distkv_listener(way: Way, directory: &Path) -> Option<String> {
    let kind = match way {
        Way::Plain | Way::Mqtt5 => return None,
        Way::Tls => format!(
            "[listener.tls]\ncertificate = {:?}\nkey = {:?}\n",
            certificate(directory),
            key(directory)
        ),
        Way::WebSocket => "protocol = \"websocket\"\n".to_owned(),
    };
    Some(format!("[[listener]]\naddress = \"{}\"\nallow_anonymous = true\n{kind}", address(SECOND_PORT)))
}

/// The second listener of mosquitto, in its configuration.
fn mosquitto_listener(way: Way, directory: &Path) -> String {
    let kind = match way {
        Way::Plain | Way::Mqtt5 => return String::new(),
        Way::Tls => {
            format!("certfile {}\nkeyfile {}\n", certificate(directory).display(), key(directory).display())
        }
        Way::WebSocket => "protocol websockets\n".to_owned(),
    };
    format!("listener {SECOND_PORT} 127.0.0.1\n{kind}")
}

fn certificate(directory: &Path) -> PathBuf {
    directory.join("certificate.pem")
}

fn key(directory: &Path) -> PathBuf {
    directory.join("key.pem")
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

fn address(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// Does somebody answer CONNECT?
fn answers() -> bool {
    let ask = || {
        let mut stream = TcpStream::connect(address(PORT))?;
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
