//! Clients that connect again and again, and devices that throw each other out.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::harness::client::Client;
use crate::harness::clock::{SOON, now, wait_until};
use crate::harness::packet::Connect;
use crate::harness::server::{Options, Server};

fn lines_with(server: &Server, words: &[&str]) -> usize {
    server.log().lines().filter(|line| words.iter().all(|word| line.contains(word))).count()
}

#[test]
fn a_flapping_client_is_answered_late_and_told_once() {
    let server = Options::new()
        .set("limits.flap_count=3")
        .set("limits.flap_window=1m")
        .set("limits.flap_delay=600ms")
        .start();
    for id in ["flaps", "fine"].repeat(3) {
        Client::connect(server.mqtt(), &Connect::new(id)).disconnect();
    }
    assert_eq!(server.metric("distkv_flapping_delays_total", &[]), 0.0);
    for _ in 0..2 {
        let start = now();
        Client::connect(server.mqtt(), &Connect::new("flaps")).disconnect();
        assert!(start.elapsed() >= Duration::from_millis(600));
    }
    assert_eq!(server.metric("distkv_flapping_clients_total", &[]), 1.0);
    assert_eq!(server.metric("distkv_flapping_delays_total", &[]), 2.0);
    assert_eq!(lines_with(&server, &["connects too often", "flaps"]), 1, "{}", server.log());
}

#[test]
fn without_a_limit_a_client_may_connect_as_often_as_it_likes() {
    let server = Server::start();
    for _ in 0..100 {
        Client::connect(server.mqtt(), &Connect::new("often")).disconnect();
    }
    assert_eq!(server.metric("distkv_flapping_delays_total", &[]), 0.0);
    assert_eq!(server.metric("distkv_takeover_loops_total", &[]), 0.0);
}

#[test]
fn two_devices_with_one_id_are_told_once_with_both_addresses() {
    let server = Server::start();
    let addresses = [Ipv4Addr::new(127, 0, 0, 1), Ipv4Addr::new(127, 0, 0, 2)];
    let mut previous: Option<Client> = None;
    for n in 0..12 {
        let from = SocketAddr::from((addresses[n % 2], 0));
        let device = Client::connect_from(from, server.mqtt(), &Connect::new("twin"));
        if let Some(mut previous) = previous.replace(device) {
            previous.expect_closed();
        }
    }
    assert_eq!(server.metric("distkv_takeover_loops_total", &[]), 1.0);
    assert_eq!(server.metric("distkv_takeovers_total", &[]), 11.0);
    let words = ["throw each other out", "twin", "127.0.0.1:", "127.0.0.2:"];
    wait_until("the log tells it", SOON, || lines_with(&server, &words) > 0);
    assert_eq!(lines_with(&server, &words), 1, "{}", server.log());
}
