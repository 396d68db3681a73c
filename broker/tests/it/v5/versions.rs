//! Clients of MQTT 3.1, 3.1.1 and 5 on the same topics, and in the same sessions one after another.

use super::publish;
use crate::client::{self, Connect as Connect3};
use crate::client5::{Connect, Props, Publish, ack, prop};
use crate::server::Server;

fn old(id: &str, level: u8, clean: bool) -> Connect3 {
    let name = if level == 3 { "MQIsdp" } else { "MQTT" };
    Connect3 { name, level, clean, ..Connect3::new(id) }
}

/// [MQTT5-3.3.2-17, 4.5.0-1]
#[tokio::test]
async fn messages_go_between_all_versions_at_every_qos() {
    let server = Server::start();
    let mut olds = [server.connect(&old("s3", 3, true)).await, server.connect(&old("s4", 4, true)).await];
    for subscriber in &mut olds {
        subscriber.subscribe(&[("t/#", 2)]).await;
    }
    let mut new = server.clean5("s5").await;
    new.subscribe(&[("t/#", 2)]).await;
    let user = Props::none().user("a", "b").text(prop::CONTENT_TYPE, "x");
    let mut publisher = server.clean5("p5").await;
    for qos in 0..3 {
        for payload in ["", "text", &"long".repeat(10_000)] {
            publish(&mut publisher, Publish::new("t/5", payload, qos).with(user.clone())).await;
            let came = new.message().await;
            assert_eq!((&*came.payload, came.qos, &came.props.0.len()), (payload.as_bytes(), qos, &2));
            for subscriber in &mut olds {
                subscriber.expect_message("t/5", payload.as_bytes(), qos, false).await;
            }
        }
    }
    for level in [3, 4] {
        let mut publisher = server.connect(&old("p", level, true)).await;
        for qos in 0..3 {
            publisher.publish("t/old", &[level], qos, false).await;
            let came = new.message().await;
            assert_eq!((&came.payload[..], came.qos, came.props), (&[level][..], qos, Props::none()));
            for subscriber in &mut olds {
                subscriber.expect_message("t/old", &[level], qos, false).await;
            }
        }
    }
}

#[tokio::test]
async fn retained_messages_are_for_all_versions() {
    let server = Server::start();
    let mut publisher = server.clean5("p5").await;
    let user = Props::none().user("a", "b");
    publish(&mut publisher, Publish::new("t/5", "five", 1).retained().with(user.clone())).await;
    let mut publisher = server.connect(&old("p3", 3, true)).await;
    publisher.publish("t/3", b"three", 1, true).await;
    let mut new = server.clean5("s5").await;
    new.subscribe(&[("t/#", 1)]).await;
    let mut came = [new.message().await, new.message().await];
    came.sort();
    assert_eq!(came.each_ref().map(|message| &*message.topic), ["t/3", "t/5"]);
    assert_eq!(came.map(|message| message.props), [Props::none(), user]);
    let mut subscriber = server.connect(&old("s4", 4, true)).await;
    subscriber.subscribe(&[("t/#", 1)]).await;
    let mut came = [subscriber.message().await, subscriber.message().await];
    came.sort();
    assert_eq!(came[0], ("t/3".into(), b"three".to_vec(), 1, true));
    assert_eq!(came[1], ("t/5".into(), b"five".to_vec(), 1, true));
}

#[tokio::test]
async fn a_session_goes_on_in_another_version() {
    let server = Server::start();
    let mut publisher = server.clean5("pub").await;
    // Made by 3.1.1, taken up by 5.
    let mut client = server.connect(&old("a", 4, false)).await;
    client.subscribe(&[("t", 2)]).await;
    publish(&mut publisher, Publish::new("t", "under way", 1)).await;
    let Some(client::Got::Publish { id, .. }) = client.next().await else { panic!("no message") };
    client.disconnect().await;
    publish(&mut publisher, Publish::new("t", "queued", 2).with(Props::none().user("a", "b"))).await;
    let mut client = server.resume5(&Connect::lasting("a")).await;
    let again = client.publication().await;
    assert_eq!((again.id, again.dup, &*again.payload), (id, true, &b"under way"[..]));
    client.send(ack(crate::client5::PUBACK, id, 0)).await;
    assert_eq!(client.message().await.props, Props::none().user("a", "b"));
    // Left by 5 with an identifier and options, taken up by 3.1.1 and 3.1.
    client.subscribe_with(Props::none().number(prop::SUBSCRIPTION_ID, 7), &[("u", 1 | 8)]).await;
    client.disconnect().await;
    for level in [4, 3] {
        publish(&mut publisher, Publish::new("u", [level], 1).retained()).await;
        let mut client = server.connect(&old("a", level, false)).await;
        let (topic, payload, qos, _) = client.message().await;
        assert_eq!((&*topic, &*payload, qos), ("u", &[level][..], 1));
        client.ping().await;
        client.disconnect().await;
    }
    // What 3.1.1 leaves lasts, and is there for 5 again.
    server.resume5(&Connect::lasting("a")).await.ping().await;
}

#[tokio::test]
async fn a_takeover_works_between_versions() {
    let server = Server::start();
    let mut new = server.connect5(&Connect::lasting("same")).await;
    let mut old_one = server.open();
    assert!(old_one.connect(&old("same", 4, false)).await, "the session is there");
    new.expect_end(&[0x8e]).await;
    let mut new = server.resume5(&Connect::lasting("same")).await;
    old_one.expect_closed().await;
    new.ping().await;
}

#[tokio::test]
async fn wills_reach_all_versions() {
    let server = Server::start();
    let mut new = server.clean5("s5").await;
    new.subscribe(&[("t/#", 1)]).await;
    let mut subscriber = server.connect(&old("s3", 3, true)).await;
    subscriber.subscribe(&[("t/#", 1)]).await;
    drop(server.connect(&old("w3", 3, true).will("t/w3", "gone", 1, false)).await);
    new.expect("t/w3", "gone", 1, false).await;
    subscriber.expect_message("t/w3", b"gone", 1, false).await;
    let will = Publish::new("t/w5", "gone", 1).with(Props::none().user("a", "b"));
    drop(server.connect5(&Connect::new("w5").will(will)).await);
    new.expect("t/w5", "gone", 1, false).await;
    subscriber.expect_message("t/w5", b"gone", 1, false).await;
}

/// [MQTT5-4.8.2-3]
#[tokio::test]
async fn members_of_a_share_may_be_of_different_versions() {
    let server = Server::start();
    let mut members = server.connect(&old("m4", 4, true)).await;
    members.subscribe(&[("$share/g/t", 1)]).await;
    let mut new = server.clean5("m5").await;
    new.subscribe(&[("$share/g/t", 1)]).await;
    let mut publisher = server.clean5("pub").await;
    for n in 0..10 {
        publish(&mut publisher, Publish::new("t", [n], 1)).await;
    }
    let mut came = Vec::new();
    for _ in 0..5 {
        came.push(members.message().await.1[0]);
        came.push(new.message().await.payload[0]);
    }
    came.sort_unstable();
    assert_eq!(came, (0..10).collect::<Vec<u8>>());
}
