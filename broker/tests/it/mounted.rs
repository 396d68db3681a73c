//! What the rules of a listener mean for its clients: a mount point is put before their topics and taken off again, wherever a topic
//! stands; versions, packet sizes and keep alives are its own.

use std::sync::Arc;

use distkv_broker::{Listener, Peer, Versions};
use tokio::io::AsyncReadExt as _;

use crate::client::{self, packet};
use crate::client5::{Client, Connect, Props, Publish, prop};
use crate::server::{STREAM_BYTES, Server, peer};

fn mounted() -> Arc<Listener> {
    Arc::new(Listener { mount_point: Some("home/".into()), ..Listener::default() })
}

async fn connect(server: &Server, listener: &Arc<Listener>, connect: &Connect) -> Client {
    let mut client = server.open5_by(listener);
    let connack = client.connect(connect).await;
    assert_eq!(connack.reason, 0, "{connack:?}");
    client
}

async fn publish(client: &mut Client, publish: Publish) {
    let reason = client.publish(publish).await;
    assert!(reason < 0x80, "{reason:#04x}");
}

#[tokio::test]
async fn topics_have_the_mount_point_outside_and_not_inside() {
    let (server, listener) = (Server::start(), mounted());
    // With aliases, which stand for the topic that the client sees.
    let aliases = Props::none().number(prop::TOPIC_ALIAS_MAXIMUM, 3);
    for taste in [Props::none(), aliases] {
        let mut inside = connect(&server, &listener, &Connect::new("inside").with(taste.clone())).await;
        let mut outside = server.clean5("outside").await;
        inside.subscribe(&[("#", 2)]).await;
        outside.subscribe(&[("#", 2)]).await;
        for qos in [0, 1, 2] {
            publish(&mut inside, Publish::new("t/a", [qos], qos)).await;
            let got = inside.message().await;
            let first = if taste == Props::none() || qos == 0 { "t/a" } else { "" };
            assert_eq!((&*got.topic, &got.payload[..], got.qos), (first, &[qos][..], qos));
            outside.expect("home/t/a", [qos], qos, false).await;
            publish(&mut outside, Publish::new("away/t", [qos], qos)).await;
            outside.expect("away/t", [qos], qos, false).await;
        }
        publish(&mut outside, Publish::new("home/x", "in", 1)).await;
        outside.expect("home/x", "in", 1, false).await;
        inside.expect("x", "in", 1, false).await;
        assert_eq!(inside.unsubscribe(&["home/#", "#"]).await, [0x11, 0]);
        publish(&mut outside, Publish::new("home/x", "in", 1)).await;
        inside.ping().await;
    }
}

#[tokio::test]
async fn a_group_is_shared_across_a_mount_point() {
    let (server, listener) = (Server::start(), mounted());
    let mut inside = connect(&server, &listener, &Connect::new("inside")).await;
    let mut outside = server.clean5("outside").await;
    inside.subscribe(&[("$share/g/t", 1)]).await;
    outside.subscribe(&[("$share/g/home/t", 1)]).await;
    let mut publisher = server.clean5("pub").await;
    for n in 0..4 {
        publish(&mut publisher, Publish::new("home/t", [n], 1)).await;
    }
    for n in [0, 2] {
        inside.expect("t", [n], 1, false).await;
        outside.expect("home/t", [n + 1], 1, false).await;
    }
    assert_eq!(inside.unsubscribe(&["$share/g/t"]).await, [0]);
    publish(&mut publisher, Publish::new("home/t", [9], 1)).await;
    outside.expect("home/t", [9], 1, false).await;
    inside.ping().await;
}

#[tokio::test]
async fn wills_retained_and_queued_messages_go_through_a_mount_point() {
    let (server, listener) = (Server::start(), mounted());
    let mut outside = server.clean5("outside").await;
    outside.subscribe(&[("#", 1)]).await;
    let will = Publish::new("gone", "will", 1).retained();
    drop(connect(&server, &listener, &Connect::new("testator").will(will)).await);
    outside.expect("home/gone", "will", 1, false).await;
    let mut inside = connect(&server, &listener, &Connect::lasting("inside")).await;
    inside.subscribe(&[("+", 1)]).await;
    inside.expect("gone", "will", 1, true).await;
    inside.disconnect().await;
    publish(&mut outside, Publish::new("home/late", "queued", 1)).await;
    let mut inside = connect(&server, &listener, &Connect::lasting("inside")).await;
    inside.expect("late", "queued", 1, false).await;
    inside.ping().await;
}

#[tokio::test]
async fn a_marked_replay_is_told_behind_a_mount_point() {
    let (server, listener) = (Server::start(), mounted());
    let mut publisher = server.clean5("pub").await;
    publish(&mut publisher, Publish::new("home/t", "kept", 1).retained()).await;
    let mut inside = connect(&server, &listener, &Connect::new("inside")).await;
    inside.subscribe(&[("$distkv/replay/#", 1), ("#", 1)]).await;
    inside.expect("t", "kept", 1, true).await;
    inside.subscribe_with(Props::none().user("distkv-replay", "boot"), &[("t", 1)]).await;
    inside.expect("t", "kept", 1, true).await;
    let told = r#"{"messages":1,"filters":["t"],"tock":0}"#;
    inside.expect("$distkv/replay/boot", told, 1, false).await;
    // As a client of MQTT 3 asks.
    publish(&mut inside, Publish::new("$distkv/replay/again", "t\nu", 1)).await;
    inside.expect("t", "kept", 1, true).await;
    let told = r#"{"messages":1,"filters":["t"],"not_subscribed":["u"],"tock":0}"#;
    inside.expect("$distkv/replay/again", told, 1, false).await;
    inside.ping().await;
}

/// A filter that begins with a wildcard does not bring the broker's own words, whatever stands before it inside.
#[tokio::test]
async fn a_wildcard_behind_a_mount_point_is_no_subscription_to_the_brokers_words() {
    let (server, listener) = (Server::start(), mounted());
    let mut inside = connect(&server, &listener, &Connect::new("inside")).await;
    inside.subscribe_with(Props::none().user("distkv-replay", "boot"), &[("#", 1)]).await;
    inside.ping().await;
}

#[tokio::test]
async fn a_listener_accepts_its_versions_only() {
    let server = Server::start();
    let only = |versions| Arc::new(Listener { versions, ..Listener::default() });
    let without_v5 = only(Versions { v5: false, ..Versions::default() });
    let mut client = server.open5_by(&without_v5);
    assert_eq!(client.connect(&Connect::new("a")).await.reason, 0x84);
    client.expect_closed().await;
    for (versions, name, level) in [
        (Versions { v3_1: false, ..Versions::default() }, "MQIsdp", 3),
        (Versions { v3_1_1: false, ..Versions::default() }, "MQTT", 4),
    ] {
        for (listener, code) in [(only(versions), 1), (only(Versions::default()), 0)] {
            let (mut ours, theirs) = tokio::io::duplex(STREAM_BYTES);
            server.broker.serve_peer(theirs, Peer::plain(peer().into(), listener));
            let mut body = Vec::new();
            client::put_text(&mut body, name.as_bytes());
            body.extend([level, 2, 0, 0, 0, 1, b'a']);
            tokio::io::AsyncWriteExt::write_all(&mut ours, &packet(0x10, &body)).await.unwrap();
            let mut connack = [0; 4];
            ours.read_exact(&mut connack).await.unwrap();
            assert_eq!(connack, [0x20, 2, 0, code], "{name}");
        }
    }
}

/// [MQTT5-3.2.2-15]
#[tokio::test]
async fn a_listeners_own_packet_size_is_told_and_kept_to() {
    let server = Server::start();
    let listener = Arc::new(Listener { max_packet_bytes: Some(200), ..Listener::default() });
    let mut client = server.open5_by(&listener);
    let connack = client.connect(&Connect::new("a")).await;
    assert_eq!(connack.props.get_number(prop::MAXIMUM_PACKET_SIZE), Some(200));
    publish(&mut client, Publish::new("t", [0; 190], 1)).await;
    client.send(Publish::new("t", [0; 200], 1).id(7).encode()).await;
    client.expect_end(&[0x95]).await;
    let mut client = server.open5_by(&listener);
    client.send(Connect::new(&"x".repeat(200)).encode()).await;
    assert!(
        !matches!(client.next().await, Some(crate::client5::Got::Connack(connack)) if connack.reason == 0)
    );
}

/// [MQTT5-3.1.2-22]
#[tokio::test(start_paused = true)]
async fn a_listeners_own_keep_alive_is_told_and_kept_to() {
    let server = Server::start();
    let listener = Arc::new(Listener { max_keep_alive: Some(4), ..Listener::default() });
    for (keep_alive, told, silence) in [(0, Some(4), 6), (10, Some(4), 6), (2, None, 3)] {
        let mut client = server.open5_by(&listener);
        let connack = client.connect(&Connect { keep_alive, ..Connect::new("a") }).await;
        assert_eq!(connack.props.get_number(prop::SERVER_KEEP_ALIVE), told);
        let start = tokio::time::Instant::now();
        client.expect_end(&[0x8d]).await;
        assert_eq!(start.elapsed().as_secs(), silence);
    }
}
