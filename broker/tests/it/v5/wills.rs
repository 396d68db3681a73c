//! Wills: which ends of a connection publish one, when, and with which properties [3.1.2.5, 3.1.3.2, 3.14.4].

use super::{pair, publish};
use crate::client5::{Connect, DISCONNECT, Got, Props, Publish, Value, disconnect, prop};
use crate::server::Server;

fn testator(id: &str) -> Connect {
    Connect::new(id).will(Publish::new(&format!("t/{id}"), "gone", 1))
}

fn delayed(id: &str, delay: u32, expiry: u32) -> Connect {
    let will =
        Publish::new(&format!("t/{id}"), "gone", 1).with(Props::none().number(prop::WILL_DELAY, delay));
    Connect { clean: false, ..Connect::new(id) }
        .with(Props::none().number(prop::SESSION_EXPIRY, expiry))
        .will(will)
}

/// [MQTT5-3.1.2-7, 3.1.2-8, 3.1.2-10, 3.14.4-3]
#[tokio::test]
async fn every_end_but_a_normal_disconnect_publishes_the_will() {
    let server = Server::start();
    let (mut watcher, mut publisher) = pair(&server, 1).await;
    let mut polite = server.connect5(&testator("polite")).await;
    polite.send(DISCONNECT).await;
    polite.expect_closed().await;
    drop(server.connect5(&testator("lost")).await);
    watcher.expect("t/lost", "gone", 1, false).await;
    let mut asks = server.connect5(&testator("asks")).await;
    asks.send(disconnect(0x04, &Props::none())).await;
    asks.expect_closed().await;
    watcher.expect("t/asks", "gone", 1, false).await;
    let mut rude = server.connect5(&testator("rude")).await;
    rude.send([0, 0]).await;
    watcher.expect("t/rude", "gone", 1, false).await;
    let _first = server.connect5(&testator("twin")).await;
    let _second = server.clean5("twin").await;
    watcher.expect("t/twin", "gone", 1, false).await;
    publish(&mut publisher, Publish::new("t/end", "", 1)).await;
    watcher.expect("t/end", "", 1, false).await;
}

/// [MQTT5-3.1.2-14, 3.1.2-15]
#[tokio::test]
async fn a_will_is_kept_if_it_says_so() {
    let server = Server::start();
    let (mut watcher, _) = pair(&server, 1).await;
    drop(server.connect5(&testator("fleeting")).await);
    watcher.expect("t/fleeting", "gone", 1, false).await;
    drop(server.connect5(&Connect::new("kept").will(Publish::new("t/kept", "off", 1).retained())).await);
    watcher.expect("t/kept", "off", 1, false).await;
    let mut late = server.clean5("late").await;
    late.subscribe(&[("t/#", 1)]).await;
    late.expect("t/kept", "off", 1, true).await;
    late.ping().await;
}

/// [MQTT5-3.1.2-8]
#[tokio::test]
async fn a_delayed_will_comes_after_its_delay() {
    let server = Server::start();
    let (mut watcher, _) = pair(&server, 1).await;
    let start = std::time::Instant::now();
    drop(server.connect5(&delayed("late", 2, 1000)).await);
    watcher.expect("t/late", "gone", 1, false).await;
    assert!(start.elapsed().as_millis() >= 2000, "{:?}", start.elapsed());
}

/// [MQTT5-3.1.2-8]
#[tokio::test]
async fn a_delayed_will_comes_with_the_end_of_its_session_if_that_is_sooner() {
    let server = Server::start();
    let (mut watcher, _) = pair(&server, 1).await;
    drop(server.connect5(&delayed("at-once", 1000, 0)).await);
    watcher.expect("t/at-once", "gone", 1, false).await;
    drop(server.connect5(&delayed("soon", 1000, 1)).await);
    watcher.expect("t/soon", "gone", 1, false).await;
    // A clean start ends the session, too.
    drop(server.connect5(&delayed("anew", 1000, 1000)).await);
    server.clean5("anew").await.ping().await;
    watcher.expect("t/anew", "gone", 1, false).await;
}

/// [MQTT5-3.1.3-9, 3.1.2-8]
#[tokio::test]
async fn a_client_that_is_back_in_time_has_no_will_published() {
    let server = Server::start();
    let (mut watcher, _) = pair(&server, 1).await;
    drop(server.connect5(&delayed("back", 2, 1000)).await);
    let back = Connect { will: None, ..delayed("back", 0, 1000) };
    let mut client = server.resume5(&back).await;
    // Its delay would be over when this one's is.
    drop(server.connect5(&delayed("other", 3, 1000)).await);
    watcher.expect("t/other", "gone", 1, false).await;
    client.ping().await;
    watcher.ping().await;
}

/// [MQTT5-3.1.3-10, 3.3.2-4, 3.3.2-15, 3.3.2-16, 3.3.2-18, 3.3.2-20]
#[tokio::test]
async fn properties_of_a_will_are_those_of_its_publication() {
    let server = Server::start();
    let (mut watcher, _) = pair(&server, 2).await;
    let props = Props::none()
        .number(prop::PAYLOAD_FORMAT, 1)
        .text(prop::CONTENT_TYPE, "text/plain")
        .text(prop::RESPONSE_TOPIC, "answer/to")
        .binary(prop::CORRELATION_DATA, b"\0\x01")
        .user("b", "1")
        .user("a", "2")
        .user("b", "3");
    let mut sent = props.clone().number(prop::WILL_DELAY, 0).number(prop::MESSAGE_EXPIRY, 1000);
    sent.0.sort_by_key(|(id, _)| *id == prop::USER);
    drop(server.connect5(&Connect::new("a").will(Publish::new("t/a", "gone", 2).with(sent))).await);
    let mut came = watcher.message().await.props;
    let expiry = came.0.iter().position(|(id, _)| *id == prop::MESSAGE_EXPIRY).unwrap();
    let (_, expiry) = came.0.remove(expiry);
    assert!(matches!(expiry, Value::Number(990..=1000)), "{expiry:?}");
    let users =
        |props: &Props| props.0.iter().filter(|(id, _)| *id == prop::USER).cloned().collect::<Vec<_>>();
    assert_eq!(users(&came), users(&props));
    came.0.sort();
    let mut wanted = props.clone();
    wanted.0.sort();
    assert_eq!(came, wanted);
}

/// [MQTT5-3.1.2-8]
#[tokio::test]
async fn a_will_may_have_its_session_to_wait_for_it() {
    let server = Server::start();
    let connect = Connect { will: testator("own").will, ..Connect::lasting("own") };
    let mut client = server.connect5(&connect).await;
    client.subscribe(&[("t/#", 1)]).await;
    drop(client);
    let mut client = server.resume5(&Connect::lasting("own")).await;
    let publish = client.find(|got| match got {
        Got::Publish(publish) => Some(publish.clone()),
        _ => None,
    });
    assert_eq!(publish.await.topic, "t/own");
}
