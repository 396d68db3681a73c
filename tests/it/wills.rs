//! Wills: which ends of a connection publish one, and that a stop or crash of the server does not lose it.

use std::process::ExitStatus;

use crate::harness::client::Client;
use crate::harness::packet::{Connect, Packet, Publish, subscribe};
use crate::harness::server::{Options, Server, wait_for_metric};

fn with_will(client_id: &str) -> Connect {
    Connect::new(client_id).will(Publish::new(&format!("will/{client_id}"), "gone").qos(1, 0))
}

fn watcher(server: &Server) -> Client {
    let mut watcher = Client::connect(server.mqtt(), &Connect::new("watcher"));
    watcher.subscribe("will/#", 1);
    watcher
}

#[track_caller]
fn expect_will(watcher: &mut Client, client_id: &str) {
    let publish = watcher.message();
    assert_eq!((publish.topic.clone(), publish.text()), (format!("will/{client_id}"), "gone".to_owned()));
}

/// [MQTT-3.1.2-8, 3.1.2-10, 3.1.2-24, 3.14.4-3]
#[test]
fn every_end_but_disconnect_publishes_the_will() {
    let server = Server::start();
    let mut watcher = watcher(&server);

    Client::connect(server.mqtt(), &with_will("polite")).disconnect();

    Client::connect(server.mqtt(), &with_will("lost")).vanish();
    expect_will(&mut watcher, "lost");

    let mut broken = Client::connect(server.mqtt(), &with_will("broken"));
    broken.send(&[0, 0]);
    broken.expect_closed();
    expect_will(&mut watcher, "broken");

    let mut first = Client::connect(server.mqtt(), &with_will("twin"));
    let second = Client::connect(server.mqtt(), &with_will("twin"));
    first.expect_closed();
    expect_will(&mut watcher, "twin");
    second.disconnect();

    let mut silent = Client::connect(server.mqtt(), &with_will("silent").keep_alive(1));
    silent.expect_closed();
    expect_will(&mut watcher, "silent");
    assert_eq!(server.metric("distkv_keep_alive_timeouts_total", &[]), 1.0);

    watcher.expect_nothing_more();
}

#[test]
fn a_client_without_keep_alive_may_be_silent() {
    let server = Server::start();
    let mut watcher = watcher(&server);
    let mut silent = Client::connect(server.mqtt(), &with_will("silent").keep_alive(0));
    let mut timed = Client::connect(server.mqtt(), &with_will("timed").keep_alive(1));
    timed.expect_closed();
    expect_will(&mut watcher, "timed");
    silent.expect_nothing_more();
    watcher.expect_nothing_more();
}

/// [MQTT-3.1.2-17]
#[test]
fn a_will_with_retain_is_kept() {
    let server = Server::start();
    let will = Publish::new("state/device", "offline").qos(1, 0).retain();
    let mut watcher = Client::connect(server.mqtt(), &Connect::new("watcher"));
    watcher.subscribe("state/#", 1);
    Client::connect(server.mqtt(), &Connect::new("device").will(will)).vanish();
    let live = watcher.message();
    assert_eq!((live.text(), live.retain), ("offline".to_owned(), false));
    let server = server.restart();
    let mut late = Client::connect(server.mqtt(), &Connect::new("late"));
    late.subscribe("state/#", 1);
    let replayed = late.message();
    assert_eq!((replayed.text(), replayed.retain), ("offline".to_owned(), true));
}

/// Starts a server with connected clients, of which all but one have a will, and ends it by `end`; the next life.
fn after_an_end(grace: &str, end: impl FnOnce(Server) -> Server) -> Server {
    let server = Options::new().set(&format!("limits.will_grace={grace}")).start();
    let mut watcher = Client::connect(server.mqtt(), &Connect::persistent("watcher"));
    watcher.subscribe("will/#", 1);
    watcher.disconnect();
    Client::connect(server.mqtt(), &with_will("polite")).disconnect();
    let _lost = Client::connect(server.mqtt(), &with_will("lost"));
    let _returns = Client::connect(server.mqtt(), &with_will("returns"));
    end(server)
}

fn by_crash(server: Server) -> Server {
    server.restart()
}

fn by_sigterm(server: Server) -> Server {
    let (status, stopped): (ExitStatus, _) = server.terminate();
    assert!(status.success(), "{status}");
    stopped.run()
}

#[track_caller]
fn only_who_stays_away_has_a_will(end: fn(Server) -> Server) {
    let server = after_an_end("3s", end);
    // In time.
    Client::connect(server.mqtt(), &Connect::new("returns")).disconnect();
    wait_for_metric(&server, "distkv_wills_waiting", &[], |waiting| waiting == 0.0);
    let mut watcher = Client::connect(server.mqtt(), &Connect::persistent("watcher"));
    assert!(watcher.session_present);
    expect_will(&mut watcher, "lost");
    watcher.expect_nothing_more();
    // And it is done with, also for the next life.
    let server = server.restart();
    wait_for_metric(&server, "distkv_wills_waiting", &[], |waiting| waiting == 0.0);
    let mut watcher = Client::connect(server.mqtt(), &Connect::persistent("watcher"));
    // Its PUBACK may have died with the server: then the same message comes again.
    let publish = watcher.poll_message();
    assert!(publish.is_none_or(|publish| publish.dup && publish.topic == "will/lost"));
    watcher.expect_nothing_more();
}

#[test]
fn after_a_crash_only_who_stays_away_has_a_will() {
    only_who_stays_away_has_a_will(by_crash);
}

#[test]
fn after_a_stop_only_who_stays_away_has_a_will() {
    only_who_stays_away_has_a_will(by_sigterm);
}

/// [MQTT-3.14.4-3]
#[test]
fn a_disconnect_counts_although_the_server_crashes_right_after_it() {
    let server = Options::new().set("limits.will_grace=0s").start();
    Client::connect(server.mqtt(), &with_will("polite")).disconnect();
    let server = server.restart();
    assert_eq!(server.metric("distkv_wills_published_total", &[]), 0.0);
    assert_eq!(server.metric("distkv_wills_waiting", &[]), 0.0);
}

#[test]
fn a_grace_time_of_0_publishes_at_once() {
    let server = after_an_end("0s", by_crash);
    let mut watcher = Client::connect(server.mqtt(), &Connect::persistent("watcher"));
    let mut came = [watcher.message().topic, watcher.message().topic];
    came.sort();
    assert_eq!(came, ["will/lost", "will/returns"]);
    watcher.expect_nothing_more();
}

#[test]
fn a_will_waits_over_two_crashes() {
    let server = after_an_end("2s", |server| server.restart().restart());
    let mut watcher = Client::connect(server.mqtt(), &Connect::persistent("watcher"));
    let mut came = [watcher.message().topic, watcher.message().topic];
    came.sort();
    assert_eq!(came, ["will/lost", "will/returns"]);
}

#[test]
fn a_will_may_reach_its_own_session() {
    let server = Server::start();
    let mut keeper = Client::connect(server.mqtt(), &Connect { clean: false, ..with_will("keeper") });
    keeper.send(&subscribe(1, &[("will/#", 1)]));
    keeper.expect(Packet::Suback { id: 1, codes: vec![1] });
    keeper.vanish();
    wait_for_metric(&server, "distkv_wills_published_total", &[], |wills| wills == 1.0);
    let mut keeper = Client::connect(server.mqtt(), &Connect::persistent("keeper"));
    expect_will(&mut keeper, "keeper");
}
