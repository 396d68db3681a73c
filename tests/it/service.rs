//! The server as a service: its start and its messages for people, signals, the service manager, health and metrics.

use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use crate::harness::client::Client;
use crate::harness::clock::{SOON, wait_until};
use crate::harness::packet::{Connect, Packet};
use crate::harness::server::{Options, Server, Stopped, wait_for_metric};
use crate::harness::tools::mosquitto_pub;

/// What a server says that gives up at once: one line, code 1, no trace of an internal error.
#[track_caller]
fn complaint(stopped: Stopped) -> (String, Stopped) {
    let (status, log, stopped) = stopped.run_in_vain();
    assert_eq!(status.code(), Some(1), "{log}");
    let line: Vec<&str> = log.lines().filter(|line| line.starts_with("distkv: ")).collect();
    assert_eq!(line.len(), 1, "{log}");
    for word in ["panicked", "backtrace", "internal error", "src/"] {
        assert!(!log.contains(word), "{log}");
    }
    (line[0].to_owned(), stopped)
}

#[track_caller]
fn wait_for_log(server: &Server, text: &str) {
    wait_until(&format!("{text:?} in the log"), SOON, || server.log().contains(text));
}

#[test]
fn the_start_says_where_it_listens_where_the_data_is_and_how_to_try_it() {
    let server = Server::start();
    let log = server.log();
    for text in [
        format!("DistKV {}", env!("CARGO_PKG_VERSION")),
        server.mqtt().to_string(),
        server.data().display().to_string(),
        format!("mosquitto_pub -p {} -r -t", server.port()),
        format!("mosquitto_sub -p {} -v -t", server.port()),
    ] {
        assert!(log.contains(&text), "{text:?} is not in:\n{log}");
    }
}

#[test]
fn json_logs_are_json_on_every_line() {
    let server = Options::new().set("log.format=json").start();
    let (_, stopped) = server.terminate();
    let log = stopped.log();
    assert!(log.lines().count() >= 2, "{log}");
    for line in log.lines() {
        let event: serde_json::Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(event["level"].is_string() && event["message"].is_string(), "{line}");
    }
}

#[test]
fn sigterm_and_sigint_end_it_with_code_0() {
    for signal in ["TERM", "INT"] {
        let mut server = Server::start();
        server.signal(signal);
        let status = server.exit_status();
        assert_eq!(status.code(), Some(0), "{signal}: {}", server.log());
        assert!(server.log().contains("stopped"), "{}", server.log());
    }
}

#[test]
fn what_is_queued_is_sent_before_the_end() {
    let mut server = Options::new().set("limits.publisher_stall=0s").start();
    let mut slow = Client::open_with_small_buffer(server.mqtt());
    slow.send(&Connect::new("slow").encode());
    slow.expect(Packet::Connack { session_present: false, code: 0 });
    slow.subscribe("t", 0);
    let mut publisher = Client::connect(server.mqtt(), &Connect::new("publisher"));
    let mut published = 0;
    // More than the sockets take: the rest waits in the server.
    while server.metric("distkv_outbox_bytes", &[]) < 200_000.0 {
        publisher.publish("t", vec![b'x'; 20_000], 1);
        published += 1;
    }
    server.signal("TERM");
    wait_for_log(&server, "stopping");
    for number in 0..published {
        assert_eq!(slow.message().payload.len(), 20_000, "message {number} of {published}");
    }
    slow.expect_closed();
    assert_eq!(server.exit_status().code(), Some(0), "{}", server.log());
}

#[test]
fn a_second_signal_stops_at_once_and_what_was_acknowledged_is_kept() {
    let mut server = Server::start();
    // A client that reads nothing holds up the first.
    let mut stuck = TcpStream::connect(server.mqtt()).unwrap();
    stuck.write_all(b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01a\x82\x06\x00\x01\x00\x01#\x00").unwrap();
    wait_for_metric(&server, "distkv_subscriptions", &[], |count| count == 1.0);
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), vec![b'x'; 15 << 20]).unwrap();
    mosquitto_pub(&server.port(), &["-r", "-q", "1", "-t", "large", "-f", file.path().to_str().unwrap()]);
    server.signal("TERM");
    wait_for_log(&server, "stopping; a second signal stops at once");
    server.signal("TERM");
    let status = server.exit_status();
    assert!(server.log().contains("stopped at once"), "{}", server.log());
    assert_eq!(status.code(), Some(1));
    let server = server.restart();
    assert_eq!(server.metric("distkv_retained_messages", &[]), 1.0);
}

#[test]
fn sighup_takes_up_log_level_and_limits_and_names_what_waits() {
    let stopped = Options::new().prepare();
    let file = stopped.beside("distkv.toml");
    let write = |text: &str| fs::write(&file, text).unwrap();
    write("[limits]\nconnections = 70\n");
    let mut stopped = stopped;
    *stopped.options_mut() = Options::new().argument("--config").argument(file.to_str().unwrap());
    let server = stopped.run();
    assert_eq!(server.metric("distkv_limit", &[("of", "connections")]), 70.0);
    write("sync_interval = \"1s\"\n[limits]\nconnections = 80\n[log]\nlevel = \"debug\"\n");
    server.signal("HUP");
    wait_for_log(&server, "reload: limits.connections is now 80, was 70");
    wait_for_log(&server, "reload: log.level is now \"debug\", was \"info\"");
    wait_for_log(&server, "reload: sync_interval stays \"200ms\"; \"1s\" waits for a restart");
    assert_eq!(server.metric("distkv_limit", &[("of", "connections")]), 80.0);
    write("[limits]\nconections = 90\n");
    server.signal("HUP");
    wait_for_log(&server, "line 2: unknown key `limits.conections`; did you mean `limits.connections`?");
    assert_eq!(server.metric("distkv_limit", &[("of", "connections")]), 80.0);
}

#[test]
fn a_port_in_use_is_named_with_the_process_that_has_it() {
    let server = Server::start();
    let mut other = Options::new().prepare();
    other.mqtt = server.mqtt();
    let (line, _) = complaint(other);
    assert!(
        line.contains(&format!("can't listen on {} for MQTT: the port is in use", server.mqtt())),
        "{line}"
    );
    assert!(line.contains(&format!("(process {})", server.process_id())), "{line}");
    let mut other = Options::new().prepare();
    other.http = server.mqtt();
    let (line, _) = complaint(other);
    assert!(line.contains("for HTTP: the port is in use"), "{line}");
}

#[test]
fn a_second_server_on_one_data_directory_is_refused_and_names_the_first() {
    let server = Server::start();
    let other = Options::new().prepare();
    std::os::unix::fs::symlink(server.data(), other.data()).unwrap();
    let (line, other) = complaint(other);
    assert!(line.contains(&format!("process {}", server.process_id())), "{line}");
    // The lock goes with its process, however that ends.
    let _first = server.kill();
    other.run();
}

#[test]
fn a_data_directory_that_is_a_file_is_refused() {
    let stopped = Options::new().prepare();
    fs::write(stopped.data(), "hello").unwrap();
    let (line, _) = complaint(stopped);
    assert!(line.contains("data"), "{line}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_data_directory_without_permission_is_refused() {
    // Nobody may make directories there, not even root.
    let other = Options::new().prepare();
    std::os::unix::fs::symlink("/sys/kernel/distkv", other.data()).unwrap();
    let (line, _) = complaint(other);
    assert!(line.contains("distkv-it-"), "{line}");
    assert_eq!(line.matches("os error").count(), 1, "{line}");
}

#[test]
fn a_directory_of_something_else_is_refused() {
    let stopped = Options::new().prepare();
    fs::create_dir(stopped.data()).unwrap();
    fs::write(stopped.data().join("NODE"), "hello").unwrap();
    let (line, _) = complaint(stopped);
    assert!(line.contains("NODE is damaged"), "{line}");
}

#[test]
fn a_data_directory_stays_its_nodes() {
    let server = Options::new().argument("--name").argument("kitchen").start();
    let (_, mut stopped) = server.terminate();
    *stopped.options_mut() = Options::new().argument("--name").argument("cellar");
    let (line, mut stopped) = complaint(stopped);
    assert!(line.contains("kitchen") && line.contains("cellar"), "{line}");
    // Without a name it is the directory's, not the host's.
    *stopped.options_mut() = Options::new();
    let server = stopped.run();
    assert!(server.log().contains("node kitchen\n"));
}

/// What the server tells its service manager.
struct Manager {
    socket: UnixDatagram,
    told: String,
}

impl Manager {
    fn new(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        Self { socket, told: String::new() }
    }

    #[track_caller]
    fn wait_for(&mut self, line: &str) {
        let mut buffer = [0; 4096];
        while !self.told.lines().any(|told| told == line) {
            match self.socket.recv(&mut buffer) {
                Ok(length) => self.told += &String::from_utf8_lossy(&buffer[..length]),
                Err(error) => panic!("{error}: no {line} in:\n{}", self.told),
            }
        }
        self.told.clear();
    }
}

#[test]
fn the_service_manager_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let mut manager = Manager::new(&path);
    let mut server = Options::new()
        .environment("NOTIFY_SOCKET", path.to_str().unwrap())
        .environment("WATCHDOG_USEC", "200000")
        .start();
    manager.wait_for("READY=1");
    manager.wait_for("WATCHDOG=1");
    server.signal("HUP");
    manager.wait_for("RELOADING=1");
    manager.wait_for("READY=1");
    server.signal("TERM");
    manager.wait_for("STOPPING=1");
    assert_eq!(server.exit_status().code(), Some(0));
}

#[test]
fn health_and_metrics_answer() {
    let server = Server::start();
    assert_eq!(server.get("/health/live"), (200, r#"{"live":true}"#.to_owned()));
    assert_eq!(server.get("/health/ready"), (200, r#"{"ready":true}"#.to_owned()));
    for name in [
        "process_resident_memory_bytes",
        "process_open_fds",
        "distkv_connections",
        "distkv_sessions",
        "distkv_publish_received_total",
        "distkv_received_bytes_total",
        "distkv_queued_messages",
        "distkv_retained_messages",
        "distkv_entries",
        "distkv_journal_bytes",
        "distkv_journal_syncs_total",
        "distkv_journal_sync_seconds_total",
    ] {
        server.metric(name, &[]);
    }
    server.metric("distkv_publish_dropped_total", &[("reason", "queue_full")]);
    server.metric("distkv_limit", &[("of", "packet_bytes")]);
}
