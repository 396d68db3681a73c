//! Tests of the face, over real sockets.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;

use super::*;

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(30);

struct Served {
    face: Arc<Face>,
    address: SocketAddr,
    _task: JoinSet<Infallible>,
}

async fn served(connections: u32, header_timeout: Duration) -> Served {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let face = Arc::new(Face::default());
    let mut task = JoinSet::new();
    task.spawn(serve(listener, Arc::clone(&face), Bounds::new(connections, header_timeout)));
    Served { face, address, _task: task }
}

impl Served {
    async fn get(&self, path: &str) -> String {
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        self.send(request.as_bytes()).await
    }

    /// What comes back until the server closes.
    async fn send(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        // The server may reset a connection that it did not read to its end.
        let _ended = timeout(LONG, stream.read_to_end(&mut answer)).await.expect("the server closes");
        String::from_utf8(answer).unwrap()
    }
}

#[tokio::test]
async fn readiness_follows_the_phase_and_the_journal() {
    let served = served(4, LONG).await;
    let answer = served.get("/health/ready").await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.ends_with(r#"{"ready":false,"reason":"starting"}"#), "{answer}");
    served.face.health.set_phase(Phase::Serving);
    let answer = served.get("/health/ready").await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with(r#"{"ready":true}"#), "{answer}");
    served.face.health.watch(Box::new(|| Some("disk full".to_owned())));
    let answer = served.get("/health/ready").await;
    assert!(answer.ends_with(r#"{"ready":false,"reason":"disk full"}"#), "{answer}");
    served.face.health.set_phase(Phase::Stopping);
    assert!(served.get("/health/ready").await.contains("stopping"));
    assert!(served.get("/health/live").await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn metrics_are_open_metrics_text_with_labels_and_totals() {
    let served = served(4, LONG).await;
    assert!(served.get("/metrics").await.contains("\nprocess_resident_memory_bytes "));
    let sample = |name, kind, label, value| Sample { name, help: "Help.", kind, label, value };
    served.face.metrics.set_sources(vec![Box::new(move |tell| {
        tell(sample("dropped_total", Kind::Counter, Some(("reason", "a")), Value::Whole(1)));
        tell(sample("dropped_total", Kind::Counter, Some(("reason", "b")), Value::Whole(2)));
        tell(sample("sync_seconds_total", Kind::Counter, None, Value::Real(0.5)));
        tell(sample("sessions", Kind::Gauge, None, Value::Whole(7)));
    })]);
    let answer = served.get("/metrics").await;
    assert!(answer.contains("content-type: application/openmetrics-text; version=1.0.0"), "{answer}");
    let expected = "# HELP distkv_dropped Help.\n# TYPE distkv_dropped counter\ndistkv_dropped_total{reason=\"a\"} 1\n\
                    distkv_dropped_total{reason=\"b\"} 2\n";
    assert!(answer.contains(expected), "{answer}");
    assert!(answer.contains("\ndistkv_sync_seconds_total 0.5\n"), "{answer}");
    assert!(answer.contains("# TYPE distkv_sessions gauge\ndistkv_sessions 7\n"), "{answer}");
    assert!(answer.ends_with("# EOF\n"), "{answer}");
}

#[tokio::test]
async fn other_paths_and_methods_are_refused() {
    let served = served(4, LONG).await;
    assert!(served.get("/").await.starts_with("HTTP/1.1 404 "));
    let answer = served.send(b"POST /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
}

#[tokio::test]
async fn a_client_that_sends_no_head_is_closed() {
    let served = served(4, Duration::from_millis(50)).await;
    for silent in [b"".as_slice(), b"GET / HTTP/1.1\r\nHost:"] {
        served.send(silent).await;
    }
    // Also one that was served before.
    let answer = served.send(b"GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn rubbish_and_long_heads_are_refused() {
    let served = served(4, LONG).await;
    assert!(served.send(b"\x16\x03\x01\x00\x05hello\r\n\r\n").await.starts_with("HTTP/1.1 400 "));
    let long = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(2 * READ_BUFFER));
    let answer = served.send(long.as_bytes()).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer}");
}

#[tokio::test]
async fn further_connections_wait_for_a_place() {
    let served = served(1, LONG).await;
    let mut first = TcpStream::connect(served.address).await.unwrap();
    first.write_all(b"GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut byte = [0];
    first.read_exact(&mut byte).await.unwrap();
    // It is served, and keeps its place.
    let second = served.get("/health/live");
    tokio::pin!(second);
    assert!(timeout(Duration::from_millis(100), second.as_mut()).await.is_err());
    drop(first);
    assert!(timeout(LONG, second).await.unwrap().starts_with("HTTP/1.1 200 "));
}
