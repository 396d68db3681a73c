//! Listeners of the whole program with real clients: TLS, client certificates, WebSocket, the PROXY protocol, Unix sockets, their
//! limits, and the reload of certificates.

mod browser;
mod limits;
mod load;
mod proxy;
mod reload;
mod tls;
mod unix;
mod websocket;

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::harness::certificates::{Authority, Files};
use crate::harness::clock::SOON;
use crate::harness::server::{Options, Server, Stopped, free_address};
use crate::harness::tools::Tool;

/// A server with the listeners of a configuration, which is made of a directory for its files.
fn start(config: impl FnOnce(&Stopped) -> String) -> Server {
    prepare(config).run()
}

/// As `start`, not yet running.
fn prepare(config: impl FnOnce(&Stopped) -> String) -> Stopped {
    let mut stopped = Options::new().prepare();
    let file = stopped.beside("distkv.toml");
    fs::write(&file, config(&stopped)).unwrap();
    *stopped.options_mut() = Options::new().argument("--config").argument(file.display().to_string());
    stopped
}

/// A listener at a free address, with these keys (and sections behind them); and its address.
fn listener(keys: &str) -> (SocketAddr, String) {
    let address = free_address();
    (address, format!("[[listener]]\nname = \"tested\"\naddress = \"{address}\"\n{keys}\n"))
}

/// A server with one listener that speaks TLS.
struct TlsServer {
    server: Server,
    address: SocketAddr,
    authority: Authority,
    /// The file with the authority's certificate.
    ca: String,
    files: Files,
}

impl TlsServer {
    /// `keys` are of the listener, `tls` of its section; `CA` in there is the authority's file.
    fn start(keys: &str, tls: &str) -> Self {
        Self::start_with(keys, tls, |_, _| {})
    }

    /// `before` makes further files: it gets the authority and their directory.
    fn start_with(keys: &str, tls: &str, before: impl FnOnce(&Authority, &Stopped)) -> Self {
        let authority = Authority::new("the tests' authority");
        let mut made = None;
        let server = start(|stopped| {
            let ca = authority.write(&stopped.beside("ca.pem"));
            let files = authority.server("server").write(&stopped.beside(""), "server");
            before(&authority, stopped);
            let directory = stopped.beside("").display().to_string();
            let tls = tls.replace("CA", &format!("{ca:?}")).replace("DIR/", &directory);
            let (address, text) = listener(&format!("{keys}\n[listener.tls]\n{}{tls}", files.keys()));
            made = Some((address, ca, files));
            text
        });
        let (address, ca, files) = made.unwrap();
        Self { server, address, authority, ca, files }
    }

    fn port(&self) -> String {
        self.address.port().to_string()
    }

    /// A client's certificate in files.
    fn client(&self, name: &str, serial: u64) -> Files {
        self.authority.client(name, serial).write(&self.server.beside(""), &format!("client{serial}"))
    }

    /// mosquitto_pub with these arguments: whether the message was taken.
    fn publish(&self, arguments: &[&str]) -> bool {
        let port = self.port();
        let mut all =
            vec!["-h", "127.0.0.1", "-p", &port, "--cafile", &self.ca, "-t", "t", "-m", "m", "-q", "1"];
        all.extend(arguments);
        Tool::start("mosquitto_pub", &all).status().success()
    }

    /// What `openssl s_client` says of a handshake with these arguments.
    fn openssl(&self, arguments: &[&str]) -> String {
        let address = self.address.to_string();
        let mut all = vec!["s_client", "-connect", &address, "-CAfile", &self.ca, "-verify_return_error"];
        all.extend(arguments);
        let mut tool = Tool::start("openssl", &all);
        tool.status();
        format!("{}{}", tool.text(), tool.errors())
    }
}

/// Speaks on a socket: sends bytes, and reads until the answer ends, or begins with what is expected.
fn answer(stream: &mut (impl std::io::Read + std::io::Write), bytes: &[u8], expected: &[u8]) -> Vec<u8> {
    // Who is turned away early may fail to send the rest.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let mut chunk = [0; 1024];
    while !answer.starts_with(expected) || expected.is_empty() {
        match stream.read(&mut chunk) {
            Ok(0) | Err(_) => break,
            Ok(count) => answer.extend(&chunk[..count]),
        }
    }
    answer
}

/// A CONNECT of MQTT 3.1.1 with this client id and no user.
fn connect(id: &str) -> Vec<u8> {
    let mut packet = vec![0x10, 12 + id.len() as u8];
    packet.extend(b"\x00\x04MQTT\x04\x02\x00\x3c\x00");
    packet.push(id.len() as u8);
    packet.extend(id.as_bytes());
    packet
}

const ACCEPTED: &[u8] = &[0x20, 2, 0, 0];

fn socket(address: SocketAddr) -> std::net::TcpStream {
    let stream = std::net::TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream
}

/// A program that Debian has outside of the usual path of users.
fn system_program(name: &str) -> PathBuf {
    let path = PathBuf::from("/usr/sbin").join(name);
    if path.exists() { path } else { PathBuf::from(name) }
}
