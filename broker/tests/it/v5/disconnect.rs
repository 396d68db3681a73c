//! DISCONNECT, in both directions [3.14].

use std::time::Duration;

use super::{pair, publish};
use crate::client::packet;
use crate::client5::{Connect, DISCONNECT, Props, Publish, disconnect, prop};
use crate::server::Server;

/// [MQTT5-3.14.4-1, 3.14.4-2, 3.14.4-3]
#[tokio::test]
async fn what_follows_a_disconnect_is_not_handled() {
    let server = Server::start();
    let (mut subscriber, mut publisher) = pair(&server, 1).await;
    let connect = Connect::new("polite").will(Publish::new("t/will", "never", 1));
    let mut polite = server.connect5(&connect).await;
    polite.send([&DISCONNECT[..], &Publish::new("t/late", "x", 0).encode()].concat()).await;
    polite.expect_closed().await;
    publish(&mut publisher, Publish::new("t/end", "", 1)).await;
    subscriber.expect("t/end", "", 1, false).await;
}

/// [MQTT5-3.14.2-1]
#[tokio::test]
async fn every_form_of_disconnect_is_understood() {
    let server = Server::start();
    let reasoned = Props::none().text(prop::REASON_STRING, "tired").user("a", "b");
    for bytes in [
        DISCONNECT.to_vec(),
        packet(0xe0, &[0]),
        packet(0xe0, &[0x04]),
        disconnect(0, &Props::none()),
        disconnect(0x80, &reasoned),
    ] {
        let mut client = server.clean5("a").await;
        client.send(bytes).await;
        client.expect_closed().await;
    }
}

/// [MQTT5-3.14.1-1, 3.14.2-1]
#[tokio::test]
async fn a_wrong_disconnect_is_told() {
    let server = Server::start();
    for (bytes, reasons) in [
        (packet(0xe2, &[]), &[0x81][..]),
        (packet(0xe0, &[0x01, 0]), &[0x81, 0x82]),
        (disconnect(0, &Props::none().number(prop::TOPIC_ALIAS, 1)), &[0x81, 0x82]),
    ] {
        let mut client = server.clean5("a").await;
        client.send(bytes).await;
        client.expect_end(reasons).await;
    }
}

/// [MQTT5-3.14.2-2, 3.14.4-1, 3.14.4-2]
#[tokio::test]
async fn a_stopping_server_says_so() {
    let server = Server::start();
    let mut client = server.connect5(&Connect::lasting("a")).await;
    let stop = server.broker.shutdown(Duration::from_secs(5));
    let told = client.expect_end(&[0x8b]);
    tokio::join!(stop, told);
}
