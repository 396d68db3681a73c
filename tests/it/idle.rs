//! Ten thousand clients that are connected and say nothing.

use crate::harness::client::Client;
use crate::harness::heavy;
use crate::harness::packet::Connect;
use crate::harness::server::{Server, wait_for_metric};

const COUNT: usize = 10_000;
/// Of the server's memory, for each. A build for development needs more than what users get.
const BYTES_EACH: u64 = 16 * 1024;

#[test]
fn ten_thousand_idle_connections_cost_little_and_are_alive() {
    let _alone = heavy();
    let limit = rlimit::increase_nofile_limit(u64::MAX).unwrap();
    assert!(
        limit > COUNT as u64 + 1_000,
        "this test opens {COUNT} files, and may open {limit}: see `ulimit -n`"
    );
    let server = Server::start();
    // What the first connections bring into memory is not theirs.
    drop(connect(&server, "warm", 100));
    wait_for_metric(&server, "distkv_sockets", &[], |sockets| sockets == 0.0);
    let before = server.resident_bytes();
    let mut clients = connect(&server, "idle", COUNT);
    assert_eq!(server.metric("distkv_connections", &[]), COUNT as f64);
    let each = server.resident_bytes().saturating_sub(before) / COUNT as u64;
    assert!(each <= BYTES_EACH, "{each} bytes for each connection");
    // They are all served, and so is a new one.
    let mut publisher = Client::connect(server.mqtt(), &Connect::new("publisher"));
    for index in (0..COUNT).step_by(97) {
        clients[index].subscribe("wake", 0);
    }
    publisher.publish("wake", "up", 1);
    for index in (0..COUNT).step_by(97) {
        assert_eq!(clients[index].publication().text(), "up");
    }
    drop(clients);
    publisher.disconnect();
    wait_for_metric(&server, "distkv_sockets", &[], |sockets| sockets == 0.0);
}

fn connect(server: &Server, name: &str, count: usize) -> Vec<Client> {
    (0..count)
        .map(|index| Client::connect(server.mqtt(), &Connect::new(&format!("{name}{index}")).keep_alive(0)))
        .collect()
}
