//! When wills are published, and when not.

use std::time::Duration;

use distkv_broker::limits::Limits;

use crate::client::{self, Connect};
use crate::server::{Server, limits};

async fn watcher(server: &Server) -> client::Client {
    let mut watcher = server.clean("watcher").await;
    watcher.subscribe(&[("will/#", 2)]).await;
    watcher
}

fn testator(id: &str) -> Connect {
    Connect::new(id).will(&format!("will/{id}"), "gone", 1, false)
}

/// [MQTT-3.1.2-8, 3.1.2-10, 3.14.4-3]
#[tokio::test]
async fn a_lost_connection_publishes_the_will_and_a_disconnect_does_not() {
    let server = Server::start();
    let mut watcher = watcher(&server).await;
    server.connect(&testator("polite")).await.disconnect().await;
    drop(server.connect(&testator("lost")).await);
    watcher.expect_message("will/lost", b"gone", 1, false).await;
    watcher.ping().await;
}

/// [MQTT-3.1.2-8]
#[tokio::test]
async fn a_protocol_error_publishes_the_will() {
    let server = Server::start();
    let mut watcher = watcher(&server).await;
    let mut rude = server.connect(&testator("rude")).await;
    rude.send(&[0, 0]).await;
    watcher.expect_message("will/rude", b"gone", 1, false).await;
}

/// [MQTT-3.1.2-8]
#[tokio::test]
async fn a_takeover_publishes_the_will_of_the_old_connection() {
    let server = Server::start();
    let mut watcher = watcher(&server).await;
    let _old = server.connect(&testator("twice")).await;
    let new = server.connect(&Connect::new("twice").will("will/second", "gone too", 2, false)).await;
    watcher.expect_message("will/twice", b"gone", 1, false).await;
    drop(new);
    watcher.expect_message("will/second", b"gone too", 2, false).await;
}

/// [MQTT-3.1.2-8, 3.1.2-24]
#[tokio::test(start_paused = true)]
async fn a_keep_alive_timeout_publishes_the_will() {
    let server = Server::start();
    let mut watcher = watcher(&server).await;
    let _silent = server.connect(&Connect { keep_alive: 4, ..testator("silent") }).await;
    let start = tokio::time::Instant::now();
    watcher.expect_message("will/silent", b"gone", 1, false).await;
    assert_eq!(start.elapsed().as_secs(), 6);
}

/// [MQTT-3.1.2-17]
#[tokio::test]
async fn a_retained_will_is_there_for_later_subscribers() {
    let server = Server::start();
    drop(server.connect(&Connect::new("a").will("will/a", "offline", 1, true)).await);
    server.until("it is published", |metrics| metrics.wills_published.get() == 1).await;
    let mut late = watcher(&server).await;
    late.expect_message("will/a", b"offline", 1, true).await;
}

#[tokio::test]
async fn a_will_on_a_reserved_topic_is_dropped() {
    let server = Server::start();
    drop(server.connect(&Connect::new("a").will("$SYS/broker/uptime", "never", 0, true)).await);
    server.until("it is dropped", |metrics| metrics.dropped_reserved.get() == 1).await;
}

/// [MQTT-3.1.2-8, 3.1.2-10]
#[tokio::test]
async fn after_a_crash_wills_are_published_unless_their_client_came_back() {
    let server = Server::start();
    let _kept: Vec<client::Client> = vec![
        server.connect(&testator("back")).await,
        server.connect(&testator("away")).await,
        server.connect(&Connect { clean: false, ..testator("persistent") }).await,
    ];
    server.connect(&testator("polite")).await.disconnect().await;
    server.until("three are left", |metrics| metrics.connections.get() == 3).await;
    let (hooks, records) = server.crash();
    let grace = Limits { will_grace: Duration::from_millis(300), ..limits() };
    let server = Server::resume(grace, hooks, &records);
    assert_eq!(server.metrics().wills_waiting.get(), 3);
    let mut watcher = watcher(&server).await;
    let _back = server.connect(&Connect::new("back")).await;
    let mut topics = vec![watcher.message().await.0, watcher.message().await.0];
    topics.sort();
    assert_eq!(topics, ["will/away", "will/persistent"]);
    watcher.ping().await;
    // They are published for good.
    let (hooks, records) = server.crash();
    let server = Server::resume(limits(), hooks, &records);
    assert_eq!(server.metrics().wills_waiting.get(), 0);
}

#[tokio::test]
async fn a_clean_stop_publishes_no_wills_but_keeps_them() {
    let server = Server::start();
    let mut watcher = watcher(&server).await;
    let mut testator = server.connect(&testator("a")).await;
    server.broker.shutdown(Duration::from_secs(5)).await;
    testator.expect_closed().await;
    watcher.expect_closed().await;
    assert_eq!(server.metrics().wills_published.get(), 0);
    let (hooks, records) = server.crash();
    let server = Server::resume(Limits { will_grace: Duration::ZERO, ..limits() }, hooks, &records);
    server.until("it is published", |metrics| metrics.wills_published.get() == 1).await;
}
