//! What the embedder refuses, told to clients of MQTT 5 [3.4.2, 3.5.2, 3.9.3, 4.3.3].

use distkv_broker::hooks::memory::MemoryHooks;

use crate::client5::{Client, Connect, Props, Publish, prop, subscribe};
use crate::embedder::Picky;
use crate::server::{STREAM_BYTES, Server, limits, peer};

/// A client of a broker whose users may not do everything.
async fn client() -> Client {
    let broker = Server::with_hooks(limits(), Picky(MemoryHooks::new()));
    let (ours, theirs) = tokio::io::duplex(STREAM_BYTES);
    broker.serve(theirs, peer());
    let mut client = Client::new(ours);
    assert_eq!(client.connect(&Connect::new("a")).await.reason, 0);
    client
}

/// [MQTT5-3.4.2-1, 3.5.2-1]
#[tokio::test]
async fn a_publisher_is_told_why_a_message_is_refused() {
    let mut client = client().await;
    client.subscribe(&[("#", 2)]).await;
    for qos in [1, 2] {
        assert_eq!(client.publish(Publish::new("unwritable/x", "", qos)).await, 0x87);
        for (topic, reason) in [("denied", 0x87), ("bad", 0x99), ("quota", 0x97)] {
            assert_eq!(client.publish(Publish::new(topic, "x", qos).retained()).await, reason, "{topic}");
        }
    }
    client.ping().await;
}

/// [MQTT5-4.3.3-9]
#[tokio::test]
async fn after_a_refusing_pubrec_the_identifier_is_free() {
    let mut client = client().await;
    client.subscribe(&[("#", 2)]).await;
    for n in 0..3 {
        assert_eq!(client.publish(Publish::new("unwritable/x", "", 2).id(7)).await, 0x87);
        assert_eq!(
            client.publish(Publish { dup: n % 2 == 0, ..Publish::new("fine", [n], 2).id(7) }).await,
            0
        );
        client.expect("fine", [n], 2, false).await;
    }
}

/// [MQTT5-3.8.4-6, 3.8.4-7, 3.9.3-1]
#[tokio::test]
async fn a_subscription_without_the_right_to_it_is_refused_in_its_place() {
    let mut client = client().await;
    let filters = [("a", 1), ("unsubscribable/#", 1), ("b", 2)];
    client.send(subscribe(1, &Props::none().number(prop::SUBSCRIPTION_ID, 3), &filters)).await;
    assert_eq!(client.suback(1).await, [1, 0x87, 2]);
}
