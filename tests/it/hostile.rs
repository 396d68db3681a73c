//! Clients that want no service: port scans, TLS hellos, floods of connections, subscribers that do not read, packets without
//! end. Each costs bounded memory, and the others are served meanwhile.

use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::harness::client::{Client, Next};
use crate::harness::clock::{SOON, now, wait_until};
use crate::harness::heavy;
use crate::harness::packet::{Connect, Packet, Publish, frame, subscribe};
use crate::harness::server::{Options, Server, wait_for_metric};

const MIB: u64 = 1 << 20;

/// A client which sends messages to itself, and notes how long the slowest took.
struct Prober {
    client: Client,
    slowest: Duration,
}

impl Prober {
    fn new(server: &Server) -> Self {
        let mut client = Client::connect(server.mqtt(), &Connect::new("prober"));
        client.subscribe("probe", 0);
        Self { client, slowest: Duration::ZERO }
    }

    fn probe(&mut self) {
        let start = now();
        self.client.publish("probe", "x", 0);
        assert_eq!(self.client.publication().text(), "x");
        self.slowest = self.slowest.max(now() - start);
    }
}

/// Runs `work` while a client is served; the slowest round trip of that client.
fn probe_during(server: &Server, work: impl FnOnce()) -> Duration {
    let mut prober = Prober::new(server);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let probing = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                prober.probe();
                thread::sleep(Duration::from_millis(2));
            }
        });
        // Also if `work` panics, so that the scope ends.
        let end = OnDrop(&done);
        work();
        drop(end);
        probing.join().unwrap();
    });
    prober.slowest
}

struct OnDrop<'a>(&'a AtomicBool);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// [MQTT-3.1.0-1]
#[test]
fn who_does_not_speak_mqtt_is_closed_without_an_answer() {
    let server = Options::new().set("limits.connect_timeout=1s").start();
    let tls_hello = [&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3][..], &[0x5a; 506]].concat();
    let strangers: [&[u8]; 6] = [
        &tls_hello,
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"SSH-2.0-scan\r\n",
        &[0; 64],
        b"\x10",
        b"",
    ];
    for bytes in strangers {
        let mut client = Client::open(server.mqtt());
        client.send(bytes);
        assert_eq!(client.next(SOON), Next::Closed, "{bytes:02x?}");
    }
    assert_eq!(server.metric("distkv_refused_total", &[("reason", "not_mqtt")]), 4.0);
    assert_eq!(server.metric("distkv_refused_total", &[("reason", "connect_timeout")]), 2.0);
    wait_for_metric(&server, "distkv_sockets", &[], |sockets| sockets == 0.0);
}

#[test]
fn a_thousand_scans_do_not_fill_the_log() {
    let server = Server::start();
    for _ in 0..1_000 {
        let mut client = Client::open(server.mqtt());
        client.send(b"GET / HTTP/1.1\r\n\r\n");
        client.expect_closed();
    }
    assert_eq!(server.metric("distkv_refused_total", &[("reason", "not_mqtt")]), 1_000.0);
    let lines = server.log().lines().count();
    assert!(lines < 300, "{lines} lines");
}

#[test]
fn opening_and_closing_as_fast_as_possible_harms_nobody() {
    let _alone = heavy();
    let server = Server::start();
    let before = server.resident_bytes();
    let slowest = probe_during(&server, || {
        thread::scope(|scope| {
            for index in 0..3 {
                let address = server.mqtt();
                scope.spawn(move || {
                    for round in 0..2_500 {
                        let Ok(mut stream) = TcpStream::connect(address) else { continue };
                        // A third says nothing, a third connects, a third leaves in the middle of CONNECT.
                        let connect = Connect::new(&format!("fast{index}")).encode();
                        let length = [0, connect.len(), 9][round % 3];
                        // The server may already have closed: two of the same name.
                        let _ = stream.write_all(&connect[..length]);
                        let _ = stream.shutdown(Shutdown::Both);
                    }
                });
            }
        });
    });
    assert!(slowest < Duration::from_secs(3), "{slowest:?}");
    // The prober has gone as well.
    wait_for_metric(&server, "distkv_sockets", &[], |sockets| sockets == 0.0);
    assert_eq!(server.metric("distkv_sessions", &[]), 0.0);
    assert!(server.metric("distkv_sockets_opened_total", &[]) >= 7_000.0);
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 64 * MIB, "grown by {grown} bytes");
}

#[test]
fn without_file_descriptors_clients_wait_and_then_come_in() {
    let server = Options::new().limit("-n 80").start();
    let mut first = Client::connect(server.mqtt(), &Connect::new("first"));
    let mut crowd: Vec<Client> = (0..120).map(|_| Client::open(server.mqtt())).collect();
    for (index, client) in crowd.iter_mut().enumerate() {
        client.send(&Connect::new(&format!("crowd{index}")).encode());
    }
    // The HTTP face needs a file descriptor, too: so ask the ones that are in.
    wait_until("all descriptors to be in use", SOON, || {
        server.log().to_lowercase().contains("too many open files")
    });
    first.subscribe("a", 0);
    first.publish("a", "served", 0);
    assert_eq!(first.publication().text(), "served");
    // As the early ones leave, the late ones are let in.
    let late = crowd.split_off(100);
    for client in crowd {
        client.vanish();
    }
    for mut client in late {
        client.expect(Packet::Connack { session_present: false, code: 0 });
    }
    assert!(server.metric("distkv_accept_errors_total", &[]) >= 1.0);
    Client::connect(server.mqtt(), &Connect::new("last")).disconnect();
}

#[test]
fn more_connections_than_allowed_are_turned_away() {
    let server = Options::new().set("limits.connections=10").start();
    let mut clients: Vec<Client> = (0..10)
        .map(|index| Client::connect(server.mqtt(), &Connect::new(&format!("client{index}"))))
        .collect();
    let mut late = Client::open(server.mqtt());
    // It may be closed before it has sent anything.
    let _ = late.try_send(&Connect::new("late").encode());
    late.expect_closed();
    assert_eq!(server.metric("distkv_refused_total", &[("reason", "too_many_connections")]), 1.0);
    clients.pop().unwrap().disconnect();
    wait_until("a place for one more", SOON, || {
        Client::try_connect(server.mqtt(), &Connect::new("late")).is_some()
    });
}

#[test]
fn a_thousand_subscribers_that_do_not_read_cost_bounded_memory_and_are_closed() {
    const STUCK: usize = 1_000;
    const MESSAGES: usize = 2_000;
    let _alone = heavy();
    let server = Options::new()
        .set("limits.outboxes_bytes=64MiB")
        .set("limits.queues_bytes=64MiB")
        .set("limits.write_stall=5s")
        .start();
    let mut healthy = Client::connect(server.mqtt(), &Connect::new("healthy"));
    healthy.subscribe("load/#", 1);
    let mut stuck = Vec::new();
    for index in 0..STUCK {
        // A small buffer on this side, so that it is the server that has to hold what comes.
        let mut client = Client::open_with_small_buffer(server.mqtt());
        client.send(&Connect::new(&format!("stuck{index}")).keep_alive(0).encode());
        client.expect(Packet::Connack { session_present: false, code: 0 });
        let qos = (index % 2) as u8;
        client.send(&subscribe(1, &[("load/#", qos)]));
        client.expect(Packet::Suback { id: 1, codes: vec![qos] });
        stuck.push(client);
    }
    let before = server.resident_bytes();
    let mut most = 0;
    let slowest = probe_during(&server, || {
        let mut publisher = Client::connect(server.mqtt(), &Connect::new("publisher"));
        for number in 0..MESSAGES {
            let mut payload = vec![b' '; 2_048];
            write!(&mut payload[..], "{number}").unwrap();
            publisher.publish("load/x", &payload, 1);
            let message = healthy.message();
            assert_eq!(message.text().trim_end(), number.to_string());
            most = most.max(server.resident_bytes());
        }
    });
    let grown = most.saturating_sub(before);
    // Twice the two budgets, for what allocators keep; without a bound it were 4 GiB.
    assert!(grown < 256 * MIB, "grown by {grown} bytes");
    assert!(slowest < Duration::from_secs(10), "{slowest:?}");
    // Half of them have unread data. To the others, of QoS 1, a window of 20 is under way, which the sockets have taken: what
    // waits for their acknowledgement waits in bounded queues.
    wait_for_metric(&server, "distkv_write_stalls_total", &[], |stalls| stalls == STUCK as f64 / 2.0);
    let queued = server.metric("distkv_queued_bytes", &[]);
    assert!(queued > 0.0 && queued < (65 * MIB) as f64, "{queued}");
    let dropped = server.metric("distkv_publish_dropped_total", &[]);
    assert!(dropped > (STUCK * MESSAGES) as f64 / 10.0, "{dropped}");
    drop(stuck);
    wait_for_metric(&server, "distkv_queued_bytes", &[], |bytes| bytes == 0.0);
    wait_for_metric(&server, "distkv_outbox_bytes", &[], |bytes| bytes == 0.0);
}

#[test]
fn a_packet_above_the_limit_is_refused_at_its_first_bytes() {
    let server = Server::start();
    let mut client = Client::connect(server.mqtt(), &Connect::new("huge"));
    // A PUBLISH of 17 MiB, of which nothing but the fixed header is sent.
    let header = &frame(0x30, &vec![0; 17 << 20])[..5];
    client.send(header);
    client.expect_closed();
    assert_eq!(server.metric("distkv_protocol_errors_total", &[]), 1.0);
}

#[test]
fn a_packet_of_many_megabytes_arrives() {
    let server = Server::start();
    let mut subscriber = Client::connect(server.mqtt(), &Connect::new("subscriber"));
    subscriber.subscribe("camera", 1);
    let mut publisher = Client::connect(server.mqtt(), &Connect::new("publisher"));
    let picture: Vec<u8> = (0..15_u32 << 20).map(|i| (i ^ i >> 8) as u8).collect();
    publisher.publish_retained("camera", &picture, 1);
    assert!(subscriber.message().payload == picture);
    let server = server.restart();
    let mut late = Client::connect(server.mqtt(), &Connect::new("late"));
    late.subscribe("camera", 1);
    assert!(late.message().payload == picture);
}

#[test]
fn unfinished_packets_share_one_budget() {
    let _alone = heavy();
    let server = Options::new().set("limits.unfinished_bytes=32MiB").set("limits.write_stall=2s").start();
    let before = server.resident_bytes();
    let whole = Publish::new("big", vec![0; 15 << 20]).encode();
    let mut most = 0;
    let slowest = probe_during(&server, || {
        thread::scope(|scope| {
            for index in 0..24 {
                let address = server.mqtt();
                let part = &whole[..whole.len() - 1];
                scope.spawn(move || {
                    let mut client =
                        Client::connect(address, &Connect::new(&format!("big{index}")).keep_alive(0));
                    client.set_send_timeout(SOON);
                    // Some get so far that all but the last byte is there; others are not read from, and closed.
                    if client.try_send(part).is_ok() {
                        client.next(Duration::from_secs(3));
                    }
                });
            }
            for _ in 0..100 {
                most = most.max(server.resident_bytes());
                thread::sleep(Duration::from_millis(20));
            }
        });
    });
    let grown = most.saturating_sub(before);
    assert!(grown < 128 * MIB, "grown by {grown} bytes; all of them were 360 MiB");
    assert!(slowest < Duration::from_secs(3), "{slowest:?}");
    wait_for_metric(&server, "distkv_unfinished_packet_bytes", &[], |bytes| bytes == 0.0);
    assert!(server.metric("distkv_packet_stalls_total", &[]) >= 1.0);
}
