//! Topic aliases, in both directions [3.3.2.3.4].

use std::collections::HashMap;

use super::{pair, publish};
use crate::client5::{Client, Connect, Props, Publish, prop};
use crate::server::Server;

fn aliased(topic: &str, alias: u32, payload: impl AsRef<[u8]>, qos: u8) -> Publish {
    Publish::new(topic, payload, qos).with(Props::none().number(prop::TOPIC_ALIAS, alias))
}

/// A client that is let in, and the largest alias that it may send.
async fn with_aliases(server: &Server, connect: &Connect) -> (Client, u32) {
    let mut client = server.open5();
    let connack = client.connect(connect).await;
    assert_eq!(connack.reason, 0);
    let largest = connack.props.get_number(prop::TOPIC_ALIAS_MAXIMUM).unwrap_or(0);
    assert!(largest > 0, "the server takes aliases");
    (client, largest)
}

/// [MQTT5-3.3.2-12]
#[tokio::test]
async fn the_server_takes_every_alias_up_to_its_maximum() {
    let server = Server::start();
    let (mut subscriber, _) = pair(&server, 1).await;
    let (mut publisher, largest) = with_aliases(&server, &Connect::new("aliases")).await;
    for alias in 1..=largest {
        publish(&mut publisher, aliased(&format!("t/{alias}"), alias, "named", 1)).await;
        subscriber.expect(&format!("t/{alias}"), "named", 1, false).await;
    }
    for alias in 1..=largest {
        publish(&mut publisher, aliased("", alias, "by alias", 1)).await;
        subscriber.expect(&format!("t/{alias}"), "by alias", 1, false).await;
    }
    publish(&mut publisher, aliased("t/other", 1, "changed", 1)).await;
    publish(&mut publisher, aliased("", 1, "by alias", 1)).await;
    subscriber.expect("t/other", "changed", 1, false).await;
    subscriber.expect("t/other", "by alias", 1, false).await;
}

/// [MQTT5-3.2.2-17, 3.3.2-8, 3.3.2-9]
#[tokio::test]
async fn an_alias_of_0_or_above_the_maximum_is_refused() {
    let server = Server::start();
    for too_large in [false, true] {
        let (mut client, largest) = with_aliases(&server, &Connect::new("a")).await;
        let alias = if too_large { largest + 1 } else { 0 };
        client.send(aliased("t/a", alias, "", 0).encode()).await;
        client.expect_end(if too_large { &[0x94] } else { &[0x94, 0x82, 0x81] }).await;
    }
}

/// [MQTT5-3.3.2-7]
#[tokio::test]
async fn aliases_end_with_their_connection() {
    let server = Server::start();
    let (mut client, _) = with_aliases(&server, &Connect::lasting("a")).await;
    publish(&mut client, aliased("t/a", 1, "", 1)).await;
    publish(&mut client, aliased("", 1, "", 1)).await;
    client.disconnect().await;
    let mut client = server.resume5(&Connect::lasting("a")).await;
    client.send(aliased("", 1, "", 0).encode()).await;
    client.expect_end(&[0x82, 0x94]).await;
}

/// [MQTT5-3.1.2-26, 3.1.2-27, 3.3.2-11]
#[tokio::test]
async fn the_server_sends_no_alias_above_the_clients_maximum() {
    let server = Server::start();
    let mut publisher = server.clean5("pub").await;
    for largest in [None, Some(0), Some(1), Some(3)] {
        let props =
            largest.map_or(Props::none(), |most| Props::none().number(prop::TOPIC_ALIAS_MAXIMUM, most));
        let mut subscriber = server.connect5(&Connect::new("sub").with(props)).await;
        subscriber.subscribe(&[("t/#", 1)]).await;
        let mut known: HashMap<u32, String> = HashMap::new();
        for n in 0..40_usize {
            let topic = format!("t/{}", [0, 1, 0, 2, 0, 3, 4, 0][n % 8]);
            publish(&mut publisher, Publish::new(&topic, [n as u8], (n % 2) as u8)).await;
            let came = subscriber.message().await;
            let alias = came.props.get_number(prop::TOPIC_ALIAS);
            if let Some(alias) = alias {
                assert!((1..=largest.unwrap_or(0)).contains(&alias), "alias {alias} of {largest:?}");
                if !came.topic.is_empty() {
                    known.insert(alias, came.topic.clone());
                }
            }
            let meant = if came.topic.is_empty() { &known[&alias.unwrap()] } else { &came.topic };
            assert_eq!((meant, &came.payload[..]), (&topic, &[n as u8][..]));
        }
    }
}
