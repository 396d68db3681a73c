//! What a listener limits for itself: connections, and how many come in a second.

use std::net::{Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::{ACCEPTED, TlsServer, answer, connect, listener, prepare, socket, start};
use crate::harness::client::Client;
use crate::harness::clock::now;
use crate::harness::packet::Connect;
use crate::harness::server::{free_address, wait_for_metric};

#[test]
fn one_connection_too_many_is_closed_and_others_are_not_touched() {
    let (address, text) = listener("allow_anonymous = true\nmax_connections = 2");
    let server = start(|_| text);
    let mut clients: Vec<_> = (0..2).map(|_| socket(address)).collect();
    for (index, client) in clients.iter_mut().enumerate() {
        assert_eq!(answer(client, &connect(&format!("c{index}")), ACCEPTED), ACCEPTED);
    }
    assert_eq!(answer(&mut socket(address), &connect("late"), b""), b"");
    server.wait_for_log("the listener's limit of connections is reached");
    assert_eq!(server.metric("distkv_listener_full_total", &[("listener", "tested")]), 1.0);
    assert_eq!(answer(&mut socket(server.mqtt()), &connect("elsewhere"), ACCEPTED), ACCEPTED);
    drop(clients);
    wait_for_metric(&server, "distkv_listener_connections", &[("listener", "tested")], |count| count == 0.0);
    assert_eq!(answer(&mut socket(address), &connect("late"), ACCEPTED), ACCEPTED);
}

#[test]
fn a_listener_is_bound_to_its_interface() {
    let (address, text) = listener("allow_anonymous = true\ninterface = \"lo\"\nbacklog = 16");
    let _server = start(|_| text);
    assert_eq!(answer(&mut socket(address), &connect("a"), ACCEPTED), ACCEPTED);
    let (_, text) = listener("allow_anonymous = true\ninterface = \"nowhere0\"");
    let (status, log, _) = prepare(|_| text).run_in_vain();
    assert_eq!(status.code(), Some(1));
    assert!(log.contains("to the interface nowhere0 for listener tested: "), "{log}");
}

#[test]
fn a_mount_point_is_put_before_topics_and_taken_off_again() {
    let (address, text) = listener("allow_anonymous = true\nmount_point = \"site1/\"");
    let server = start(|_| text);
    let mut inside = Client::connect(address, &Connect::new("inside"));
    let mut outside = Client::connect(server.mqtt(), &Connect::new("outside"));
    inside.subscribe("#", 0);
    outside.subscribe("#", 0);
    inside.publish_retained("a/b", "1", 0);
    assert_eq!(outside.message().topic, "site1/a/b");
    assert_eq!(inside.message().topic, "a/b");
    outside.publish("elsewhere", "2", 0);
    assert_eq!(outside.message().topic, "elsewhere");
    outside.publish("site1/c", "3", 0);
    assert_eq!(inside.message().topic, "c");
    inside.publish("$delayed/0/later", "4", 1);
    assert_eq!(outside.message().topic, "site1/c");
    assert_eq!(outside.message().topic, "site1/later");
    assert_eq!(inside.message().topic, "later");
    inside.subscribe("a/+", 0);
    assert_eq!(inside.message().topic, "a/b", "the retained one");
}

#[test]
fn a_port_alone_is_reached_by_ipv4_and_ipv6() {
    let address = free_address();
    let port = address.port();
    let server = start(|_| format!("[[listener]]\naddress = {port}\nallow_anonymous = true\n"));
    assert_eq!(answer(&mut socket(address), &connect("a"), ACCEPTED), ACCEPTED);
    // A machine without IPv6 says so.
    if !server.log().contains(&format!("not listening on [::1]:{port}")) {
        let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, port));
        assert_eq!(answer(&mut socket(v6), &connect("b"), ACCEPTED), ACCEPTED);
    }
}

#[test]
fn connections_beyond_the_rate_wait() {
    let (address, text) = listener("allow_anonymous = true\nconnection_rate = 10\nconnection_burst = 2");
    let server = start(|_| text);
    let begin = now();
    for index in 0..7 {
        assert_eq!(answer(&mut socket(address), &connect(&format!("c{index}")), ACCEPTED), ACCEPTED);
    }
    // Two at once, then one in each tenth of a second.
    assert!(begin.elapsed() >= Duration::from_millis(450), "{:?}", begin.elapsed());
    assert!(server.metric("distkv_listener_delayed_total", &[("listener", "tested")]) >= 4.0);
}

#[test]
fn who_does_not_finish_a_handshake_is_closed_in_time() {
    let tls = TlsServer::start("allow_anonymous = true", "\n[limits]\nconnect_timeout = \"300ms\"");
    assert_eq!(answer(&mut socket(tls.address), &[0x16, 3, 1], b""), b"");
    tls.server.wait_for_log("no TLS handshake in time");
    assert_eq!(tls.server.metric("distkv_refused_total", &[("reason", "connect_timeout")]), 1.0);
}
