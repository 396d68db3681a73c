//! The servers: DistKV and Redis, each alone on loopback with a directory of its own; and what they use.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, bail};

/// Tries to connect, 10 ms apart.
const TRIES: usize = 3000;

/// A running server. It is killed when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) directory: tempfile::TempDir,
    pub(crate) port: u16,
    /// Of MQTT; DistKV only.
    pub(crate) mqtt: u16,
}

impl Server {
    /// Redis with the durability of our `interval`: written at once, synced each second.
    pub(crate) fn redis() -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        let port = free_port()?;
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--dir"]).arg(directory.path());
        command.args(["--appendonly", "yes", "--appendfsync", "everysec", "--save", ""]);
        Self::start(command, directory, port, port)
    }

    /// DistKV as it is without configuration.
    pub(crate) fn distkv(program: &Path) -> anyhow::Result<Self> {
        Self::distkv_in(program, tempfile::tempdir()?, &[])
    }

    /// DistKV in a directory that has data already.
    pub(crate) fn distkv_in(
        program: &Path,
        directory: tempfile::TempDir,
        more: &[&str],
    ) -> anyhow::Result<Self> {
        let (port, mqtt) = (free_port()?, free_port()?);
        let address = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port)).to_string();
        let mut command = Command::new(program);
        command.args(["server", "--http", "none", "--log", "warn", "--native", &address(port)]);
        command
            .args(["--mqtt", &address(mqtt)])
            .args(more)
            .arg("--data-dir")
            .arg(directory.path().join("data"));
        Self::start(command, directory, port, mqtt)
    }

    fn start(
        mut command: Command,
        directory: tempfile::TempDir,
        port: u16,
        mqtt: u16,
    ) -> anyhow::Result<Self> {
        let log = fs::File::create(directory.path().join("log"))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().with_context(|| format!("can't start {:?}", command.get_program()))?;
        let mut server = Self { child, directory, port, mqtt };
        for _ in 0..TRIES {
            if [port, mqtt].iter().all(|port| TcpStream::connect((Ipv4Addr::LOCALHOST, *port)).is_ok()) {
                return Ok(server);
            }
            if let Some(status) = server.child.try_wait()? {
                bail!("it has ended: {status}: {}", server.log());
            }
            thread::sleep(Duration::from_millis(10));
        }
        bail!("it does not listen: {}", server.log())
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// Seconds of CPU so far, over all of its threads.
    pub(crate) fn cpu(&self) -> anyhow::Result<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let fields: Vec<&str> =
            stat.rsplit_once(')').context("/proc/PID/stat")?.1.split_whitespace().collect();
        let ticks =
            |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).context("/proc/PID/stat");
        Ok((ticks(11)? + ticks(12)?) / rustix::param::clock_ticks_per_second() as f64)
    }

    /// Bytes of memory in use now, and at most since the last call.
    pub(crate) fn memory(&self) -> anyhow::Result<(u64, u64)> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let kib = |key: &str| {
            let line = status.lines().find(|line| line.starts_with(key))?;
            line.split_whitespace().nth(1)?.parse::<u64>().ok()
        };
        let both = (kib("VmRSS:").context("VmRSS")? * 1024, kib("VmHWM:").context("VmHWM")? * 1024);
        fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5")?;
        Ok(both)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> anyhow::Result<u16> {
    Ok(std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
