//! What survives a crash of the broker: the records of its log are all that is left.

use distkv_broker::hooks::memory::MemoryHooks;

use crate::client::{self, Connect, Got, PUBREL, ack};
use crate::server::{Server, limits};

async fn restarted(server: Server) -> Server {
    let (hooks, records) = server.crash();
    Server::resume(limits(), hooks, &records)
}

/// [MQTT-4.1.0-1]
#[tokio::test]
async fn subscriptions_queue_and_window_survive() {
    let server = Server::start();
    let mut client = server.connect(&Connect::persistent("a")).await;
    client.subscribe(&[("t/+", 2)]).await;
    client.disconnect().await;
    server.until("it is gone", |metrics| metrics.connections.get() == 0).await;
    let mut publisher = server.clean("pub").await;
    for n in 0..50 {
        publisher.publish("t/x", &[n], n % 2 + 1, false).await;
    }
    let server = restarted(server).await;
    assert_eq!(server.metrics().subscriptions.get(), 1);
    let mut client = server.open();
    assert!(client.connect(&Connect::persistent("a")).await);
    let mut ids = Vec::new();
    for n in 0..10 {
        let Some(Got::Publish { id, payload, .. }) = client.next().await else { panic!("no message") };
        assert_eq!(payload, [n]);
        ids.push(id);
    }
    drop(client);
    let server = restarted(server).await;
    let mut client = server.open();
    assert!(client.connect(&Connect::persistent("a")).await);
    for n in 0..50 {
        client.expect_message("t/x", &[n], n % 2 + 1, false).await;
    }
    client.ping().await;
    let mut publisher = server.clean("pub").await;
    publisher.publish("t/y", b"live", 1, false).await;
    client.expect_message("t/y", b"live", 1, false).await;
}

/// [MQTT-3.1.2-6]
#[tokio::test]
async fn a_clean_session_does_not_survive() {
    let server = Server::start();
    let mut client = server.clean("a").await;
    client.subscribe(&[("t", 1)]).await;
    let server = restarted(server).await;
    assert_eq!((server.metrics().sessions.get(), server.metrics().subscriptions.get()), (0, 0));
}

/// [MQTT-4.3.3-2]
#[tokio::test]
async fn qos_2_without_duplicates_across_a_restart() {
    let server = Server::start();
    let mut subscriber = server.connect(&Connect::persistent("sub")).await;
    subscriber.subscribe(&[("t", 2)]).await;
    let mut publisher = server.connect(&Connect::persistent("pub")).await;
    publisher.send(&client::publish("t", b"once", 2, false, false, 5)).await;
    publisher.expect(Got::Pubrec(5)).await;
    let server = restarted(server).await;
    let mut publisher = server.open();
    assert!(publisher.connect(&Connect::persistent("pub")).await);
    publisher.send(&client::publish("t", b"once", 2, false, true, 5)).await;
    publisher.expect(Got::Pubrec(5)).await;
    publisher.send(&ack(PUBREL, 5)).await;
    publisher.expect(Got::Pubcomp(5)).await;
    let mut subscriber = server.open();
    assert!(subscriber.connect(&Connect::persistent("sub")).await);
    subscriber.expect_message("t", b"once", 2, false).await;
    subscriber.ping().await;
}

#[tokio::test]
async fn a_crash_at_any_record_of_a_qos_2_publish_neither_loses_nor_doubles_it() {
    let server = Server::start();
    for n in 0..3 {
        let mut subscriber = server.connect(&Connect::persistent(&format!("sub{n}"))).await;
        subscriber.subscribe(&[("t", 2)]).await;
        subscriber.disconnect().await;
    }
    let mut publisher = server.connect(&Connect::persistent("pub")).await;
    server.until("only the publisher is left", |metrics| metrics.connections.get() == 1).await;
    let before = server.log.records().len();
    publisher.send(&client::publish("t", b"once", 2, false, false, 5)).await;
    publisher.expect(Got::Pubrec(5)).await;
    let (_, records) = server.crash();
    assert!(records.len() > before + 4);
    for cut in before..=records.len() {
        let server = Server::resume(limits(), MemoryHooks::new(), &records[..cut]);
        let mut publisher = server.open();
        assert!(publisher.connect(&Connect::persistent("pub")).await);
        publisher.send(&client::publish("t", b"once", 2, false, true, 5)).await;
        publisher.expect(Got::Pubrec(5)).await;
        for n in 0..3 {
            let mut subscriber = server.connect(&Connect::persistent(&format!("sub{n}"))).await;
            subscriber.expect_message("t", b"once", 2, false).await;
            subscriber.ping().await;
        }
    }
}

#[tokio::test]
async fn after_a_checkpoint_the_records_before_it_are_not_needed() {
    let server = Server::start();
    let mut client = server.connect(&Connect::persistent("a")).await;
    client.subscribe(&[("t", 1)]).await;
    client.disconnect().await;
    server.until("it is gone", |metrics| metrics.connections.get() == 0).await;
    let _testator = server.connect(&Connect::new("w").will("will", "gone", 0, true)).await;
    let mut publisher = server.clean("pub").await;
    publisher.publish("t", b"before", 1, false).await;
    let cut = server.log.records().len();
    server.broker.checkpoint();
    publisher.publish("t", b"after", 1, false).await;
    let (hooks, records) = server.crash();
    let server = Server::resume(limits(), hooks, &records[cut..]);
    assert_eq!(server.metrics().wills_waiting.get(), 1);
    let mut client = server.open();
    assert!(client.connect(&Connect::persistent("a")).await);
    client.expect_message("t", b"before", 1, false).await;
    client.expect_message("t", b"after", 1, false).await;
    client.ping().await;
}

/// [MQTT-4.8.0-2]
#[tokio::test]
async fn nothing_is_acknowledged_after_the_log_failed() {
    let server = Server::start();
    let mut subscriber = server.connect(&Connect::persistent("sub")).await;
    subscriber.subscribe(&[("t", 1)]).await;
    let mut publisher = server.clean("pub").await;
    publisher.publish("t", b"kept", 1, false).await;
    subscriber.expect_message("t", b"kept", 1, false).await;
    server.log.fail();
    publisher.send(&client::publish("t", b"not kept", 1, false, false, 9)).await;
    publisher.expect_closed().await;
    subscriber.expect_closed().await;
}
