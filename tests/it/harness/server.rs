//! A server process: started on free ports and a data directory of its own, killed, started again on the same directory, and
//! asked for its state.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;
use std::{env, process, thread};

use tempfile::TempDir;

use super::clock::{SOON, wait_for, wait_until};

/// How to start a server. The default is the program's own: `interval`.
#[derive(Clone, Default)]
pub(crate) struct Options {
    durability: Option<&'static str>,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    /// Shell commands that come before the program in the same process: limits, traps.
    before: Vec<String>,
}

impl Options {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// `always`, `interval` or `memory`.
    pub(crate) fn durability(mut self, durability: &'static str) -> Self {
        self.durability = Some(durability);
        self
    }

    /// One argument of the command line.
    pub(crate) fn argument(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// A setting of the configuration: `key=value`, the value as it is, without quotes.
    pub(crate) fn set(self, setting: &str) -> Self {
        self.argument("--set").argument(setting)
    }

    pub(crate) fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A limit as the shell's `ulimit` takes it, such as `-n 64`.
    pub(crate) fn limit(self, limit: &str) -> Self {
        self.shell(&format!("ulimit {limit}"))
    }

    /// A command of the shell that becomes the server.
    pub(crate) fn shell(mut self, command: &str) -> Self {
        self.before.push(command.to_owned());
        self
    }

    /// A server whose first life has not begun, for tests that prepare its directory.
    pub(crate) fn prepare(self) -> Stopped {
        let directory = tempfile::Builder::new().prefix("distkv-it-").tempdir().unwrap();
        Stopped {
            options: self,
            directory,
            mqtt: free_address(),
            http: free_address(),
            native: free_address(),
        }
    }

    /// Starts a server on a fresh data directory and waits until it serves.
    pub(crate) fn start(self) -> Server {
        self.prepare().run()
    }

    /// As `start`, with one more listener, of which a configuration file says `lines`; and where that is.
    pub(crate) fn start_with_listener(self, lines: &str) -> (Server, SocketAddr) {
        let address = free_address();
        let mut stopped = self.prepare();
        let file = stopped.beside("distkv.toml");
        fs::write(&file, format!("[[listener]]\naddress = \"{address}\"\n{lines}\n")).unwrap();
        stopped.options = stopped.options.argument("--config").argument(file.display().to_string());
        (stopped.run(), address)
    }
}

/// A running server. Dropping it kills the process; if the test has failed, its log is shown.
pub(crate) struct Server {
    process: Child,
    stopped: Stopped,
}

/// A server that does not run, with all that it needs to run again.
pub(crate) struct Stopped {
    options: Options,
    /// `data` is the server's; `log` is what it wrote to standard output and error.
    directory: TempDir,
    pub(crate) mqtt: SocketAddr,
    pub(crate) http: SocketAddr,
    pub(crate) native: SocketAddr,
}

impl Server {
    /// A server with the program's defaults.
    pub(crate) fn start() -> Self {
        Options::new().start()
    }

    pub(crate) fn mqtt(&self) -> SocketAddr {
        self.stopped.mqtt
    }

    pub(crate) fn http(&self) -> SocketAddr {
        self.stopped.http
    }

    pub(crate) fn native(&self) -> SocketAddr {
        self.stopped.native
    }

    pub(crate) fn port(&self) -> String {
        self.stopped.mqtt.port().to_string()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.stopped.data()
    }

    /// A place beside the data directory, for files of the test.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.stopped.beside(name)
    }

    /// Waits until `text` is in the log.
    #[track_caller]
    pub(crate) fn wait_for_log(&self, text: &str) {
        wait_until(&format!("{text:?} in the log"), SOON, || self.log().contains(text));
    }

    pub(crate) fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// All that the process has written so far, over all its lives.
    pub(crate) fn log(&self) -> String {
        self.stopped.log()
    }

    /// `kill -9`, as of a crash of the process.
    pub(crate) fn kill(mut self) -> Stopped {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        self.into_stopped()
    }

    /// `kill -9`, and a new start on the same directory and ports.
    pub(crate) fn restart(self) -> Self {
        self.kill().run()
    }

    /// Sends a signal: `TERM`, `INT`, `HUP`, `STOP`, `CONT`.
    pub(crate) fn signal(&self, name: &str) {
        let process = self.process.id().to_string();
        let status = Command::new("kill").args(["-s", name, &process]).status().unwrap();
        assert!(status.success(), "kill -s {name} {process}");
    }

    /// SIGTERM, and the wait for the end.
    pub(crate) fn terminate(mut self) -> (ExitStatus, Stopped) {
        self.signal("TERM");
        let status = self.exit_status();
        (status, self.into_stopped())
    }

    /// Waits until the process ends by itself.
    pub(crate) fn exit_status(&mut self) -> ExitStatus {
        wait_for("the server's end", SOON, || self.process.try_wait().unwrap())
    }

    /// Takes the state out of `self`, whose `drop` must not run on a process that has ended.
    fn into_stopped(self) -> Stopped {
        let mut server = self;
        let options = server.stopped.options.clone();
        let (mqtt, http, native) = (server.stopped.mqtt, server.stopped.http, server.stopped.native);
        let placeholder = tempfile::Builder::new().prefix("distkv-it-").tempdir().unwrap();
        let directory = std::mem::replace(&mut server.stopped.directory, placeholder);
        Stopped { options, directory, mqtt, http, native }
    }

    /// GET of the HTTP face: status and body.
    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        self.stopped.get(path).unwrap_or_else(|error| panic!("GET {path}: {error}"))
    }

    /// The sum of all samples of a metric that have all of these labels; `None` if there is none.
    pub(crate) fn try_metric(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let (status, body) = self.get("/metrics");
        assert_eq!(status, 200, "{body}");
        sum_of_samples(&body, name, labels)
    }

    /// As `try_metric`, of a metric that must be there.
    #[track_caller]
    pub(crate) fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        match self.try_metric(name, labels) {
            Some(value) => value,
            None => panic!("no sample of {name} {labels:?} in:\n{}", self.get("/metrics").1),
        }
    }

    /// The memory that the process holds, in bytes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a line VmRSS");
        let kib: u64 = line.split_whitespace().nth(1).expect("a number").parse().unwrap();
        kib * 1024
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
        if thread::panicking() {
            let log = self.log();
            let tail = log.len().saturating_sub(8_000);
            let tail = log.char_indices().map(|(at, _)| at).find(|at| *at >= tail).unwrap_or(0);
            println!("--- what the server on {} wrote:\n{}---", self.mqtt(), &log[tail..]);
        }
    }
}

impl Stopped {
    pub(crate) fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// A place beside the data directory, for files of the test.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.log_file()).unwrap_or_default()).into_owned()
    }

    pub(crate) fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    /// Starts the server and waits until it serves.
    #[track_caller]
    pub(crate) fn run(self) -> Server {
        let mut server = self.spawn();
        // A start from a large directory takes a while in a build for development.
        wait_until("the server is ready", 4 * SOON, || {
            if let Some(status) = server.process.try_wait().unwrap() {
                panic!("the server ended at its start, {status}:\n{}", server.log());
            }
            server.stopped.is_ready()
        });
        server
    }

    /// Starts a server that is expected to give up at once: its status and what it wrote in this life.
    #[track_caller]
    pub(crate) fn run_in_vain(self) -> (ExitStatus, String, Self) {
        let before = self.log().len();
        let mut server = self.spawn();
        let status = server.exit_status();
        let stopped = server.into_stopped();
        let log = stopped.log()[before..].to_owned();
        (status, log, stopped)
    }

    /// Starts the process and does not wait.
    pub(crate) fn spawn(self) -> Server {
        let log = File::options().create(true).append(true).open(self.log_file()).unwrap();
        let mut command = self.command();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let process = command.spawn().unwrap();
        Server { process, stopped: self }
    }

    fn command(&self) -> Command {
        let mut words = match env::var("TEST_BROKER") {
            Ok(broker) => self.foreign_broker(broker),
            Err(_) => self.own_broker(),
        };
        if !self.options.before.is_empty() {
            let script = format!("{} && exec \"$0\" \"$@\"", self.options.before.join(" && "));
            words.splice(0..0, ["sh".to_owned(), "-c".to_owned(), script]);
        }
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).current_dir(self.directory.path());
        command.envs(self.options.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    fn own_broker(&self) -> Vec<String> {
        let mut words = vec![env!("CARGO_BIN_EXE_distkv").to_owned(), "server".to_owned()];
        words.extend(["--data-dir".to_owned(), self.data().display().to_string()]);
        words.extend([
            "--mqtt".to_owned(),
            self.mqtt.to_string(),
            "--http".to_owned(),
            self.http.to_string(),
            "--native".to_owned(),
            self.native.to_string(),
        ]);
        if let Some(durability) = self.options.durability {
            words.extend(["--durability".to_owned(), durability.to_owned()]);
        }
        words.extend(self.options.arguments.iter().cloned());
        words
    }

    /// A mosquitto in our place: so the tests of plain MQTT are tested themselves.
    fn foreign_broker(&self, broker: String) -> Vec<String> {
        let file = self.beside("mosquitto.conf");
        let port = self.mqtt.port();
        let text = format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\nsys_interval 1\nmax_queued_messages 0\n"
        );
        fs::write(&file, text).unwrap();
        vec![broker, "-v".to_owned(), "-c".to_owned(), file.display().to_string()]
    }

    fn log_file(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    fn is_ready(&self) -> bool {
        if env::var("TEST_BROKER").is_ok() {
            return TcpStream::connect(self.mqtt).is_ok();
        }
        matches!(self.get("/health/ready"), Ok((200, _)))
    }

    fn get(&self, path: &str) -> std::io::Result<(u16, String)> {
        let mut stream = TcpStream::connect(self.http)?;
        stream.set_read_timeout(Some(SOON))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default();
        Ok((status, body))
    }
}

/// The sum of the samples in a Prometheus text which have this name and all of these labels.
fn sum_of_samples(text: &str, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let mut sum = None;
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((key, value)) = line.rsplit_once(' ') else { continue };
        let (sample, rest) = key.split_once('{').unwrap_or((key, ""));
        let matches = labels.iter().all(|(label, value)| rest.contains(&format!("{label}=\"{value}\"")));
        if sample == name && matches {
            let value: f64 = value.parse().unwrap_or_else(|_| panic!("not a number: {line}"));
            sum = Some(sum.unwrap_or(0.0) + value);
        }
    }
    sum
}

/// An address on which nobody listens. Below the ports which the system gives to outgoing connections, and each number
/// once a process, so that tests that run side by side do not meet.
pub(crate) fn free_address() -> SocketAddr {
    const FIRST: u16 = 10_000;
    const COUNT: u16 = 22_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = (process::id() * 97 % u32::from(COUNT)) as u16;
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + (start + step % COUNT) % COUNT;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

/// Runs `distkv` with these arguments to its end.
pub(crate) fn distkv(arguments: &[&str]) -> process::Output {
    Command::new(env!("CARGO_BIN_EXE_distkv")).args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// The bytes that the files below `directory` take.
pub(crate) fn disk_bytes(directory: &Path) -> u64 {
    let mut sum = 0;
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sum += disk_bytes(&path);
        } else if let Ok(file) = path.metadata() {
            sum += file.len();
        }
    }
    sum
}

/// Waits as long as a server may take to notice what a client did.
#[track_caller]
pub(crate) fn wait_for_metric(
    server: &Server,
    name: &str,
    labels: &[(&str, &str)],
    holds: impl Fn(f64) -> bool,
) {
    let mut last = None;
    let within = Duration::from_secs(60);
    let deadline = super::clock::now() + within;
    while super::clock::now() < deadline {
        last = server.try_metric(name, labels);
        if last.is_some_and(&holds) {
            return;
        }
        thread::sleep(Duration::from_millis(20));
    }
    panic!("{name} {labels:?} is {last:?} even after {within:?}");
}
