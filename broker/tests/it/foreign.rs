//! A mosquitto in the place of our broker, if `TEST_BROKER` names its program: so tests of plain MQTT are tested themselves. (What asks
//! for our metrics, hooks, limits or records, or stops the clock, means nothing there.)

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::{env, fs};

use tokio::io::DuplexStream;
use tokio::net::TcpStream;

pub(crate) struct Foreign {
    process: Child,
    address: SocketAddr,
    config: PathBuf,
}

impl Foreign {
    pub(crate) fn start() -> Option<Self> {
        let program = env::var_os("TEST_BROKER")?;
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
        let port = address.port();
        let config = env::temp_dir().join(format!("distkv-broker-test-{port}.conf"));
        let text = format!("listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n");
        fs::write(&config, text).unwrap();
        let mut command = Command::new(program);
        command.arg("-c").arg(&config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().unwrap();
        while std::net::TcpStream::connect(address).is_err() {
            std::thread::yield_now();
        }
        Some(Self { process, address, config })
    }

    /// Carries the bytes of one connection, until one of its ends is closed.
    pub(crate) fn serve(&self, mut stream: DuplexStream) {
        let address = self.address;
        tokio::spawn(async move {
            let mut socket = TcpStream::connect(address).await.unwrap();
            let (mut ours, mut their_end) = tokio::io::split(&mut stream);
            let (mut theirs, mut our_end) = socket.split();
            // Whoever closes first: a client that is dropped has vanished.
            tokio::select! {
                _ = tokio::io::copy(&mut ours, &mut our_end) => {}
                _ = tokio::io::copy(&mut theirs, &mut their_end) => {}
            }
        });
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_file(&self.config);
    }
}
