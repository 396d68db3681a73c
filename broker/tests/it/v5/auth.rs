//! Enhanced authentication: AUTH packets before the CONNACK, and again on a connection that stands [3.15, 4.12].

use std::sync::Arc;

use distkv_broker::Broker;
use distkv_broker::hooks::memory::MemoryHooks;
use distkv_broker::hooks::{BoxFuture, Exchange, Hooks, Login, LoginRefused, Principal, Step};

use crate::client::packet;
use crate::client5::{Client, Connect, Got, Props, Publish, prop};
use crate::server::{STREAM_BYTES, Server, limits, peer};

const CONTINUE: u8 = 0x18;
const AGAIN: u8 = 0x19;
const METHOD: &str = "riddle";

/// Who says a name is asked `NAME?`, and has to answer `NAME!`.
struct Sphinx(MemoryHooks);

struct Riddle {
    hooks: MemoryHooks,
    asked: Option<String>,
}

impl Hooks for Sphinx {
    fn authenticate<'a>(
        &'a self,
        _login: Login<'a>,
    ) -> BoxFuture<'a, Result<Arc<dyn Principal>, LoginRefused>> {
        Box::pin(std::future::ready(Err(LoginRefused::NotAuthorized)))
    }

    fn exchange(&self, method: &str, _login: &Login<'_>) -> Option<Box<dyn Exchange>> {
        let riddle = Riddle { hooks: self.0.clone(), asked: None };
        (method == METHOD).then(|| Box::new(riddle) as Box<dyn Exchange>)
    }

    fn restored(&self, client_id: &str, user: Option<&str>) -> Arc<dyn Principal> {
        self.0.restored(client_id, user)
    }

    fn retained_count(&self) -> u64 {
        0
    }
}

impl Exchange for Riddle {
    fn step<'a>(&'a mut self, data: Vec<u8>) -> BoxFuture<'a, Result<Step, LoginRefused>> {
        let word = String::from_utf8(data).unwrap();
        let step = match &self.asked {
            None => {
                self.asked = Some(word.clone());
                Ok(Step::Continue(format!("{word}?").into()))
            }
            Some(name) if word == format!("{name}!") => {
                let principal = self.hooks.restored("", Some(name));
                Ok(Step::Done { principal, data: Some(b"well".to_vec()) })
            }
            Some(_) => Err(LoginRefused::BadCredentials),
        };
        Box::pin(std::future::ready(step))
    }
}

fn broker() -> Broker {
    Server::with_hooks(limits(), Sphinx(MemoryHooks::new()))
}

fn open(broker: &Broker) -> Client {
    let (ours, theirs) = tokio::io::duplex(STREAM_BYTES);
    broker.serve(theirs, peer());
    Client::new(ours)
}

fn props(method: &str, data: &str) -> Props {
    Props::none().text(prop::AUTH_METHOD, method).binary(prop::AUTH_DATA, data.as_bytes())
}

fn auth(reason: u8, method: &str, data: &str) -> Vec<u8> {
    let mut body = vec![reason];
    props(method, data).encode(&mut body);
    packet(0xf0, &body)
}

async fn expect_auth(client: &mut Client, reason: u8, data: &str) {
    assert_eq!(client.next().await, Some(Got::Auth(reason, props(METHOD, data))));
}

fn connect(name: &str) -> Connect {
    Connect::new("a").with(props(METHOD, name))
}

/// A client that was let in as ann.
async fn ann(broker: &Broker) -> Client {
    let mut client = open(broker);
    client.send(connect("ann").encode()).await;
    expect_auth(&mut client, CONTINUE, "ann?").await;
    client.send(auth(CONTINUE, METHOD, "ann!")).await;
    match client.next().await {
        Some(Got::Connack(connack)) => {
            assert_eq!(connack.reason, 0);
            assert_eq!(connack.props.get_text(prop::AUTH_METHOD), Some(METHOD));
            assert_eq!(connack.props.get(prop::AUTH_DATA), props(METHOD, "well").get(prop::AUTH_DATA));
        }
        other => panic!("no CONNACK: {other:?}"),
    }
    client
}

/// [MQTT5-4.12.0-2, 4.12.0-3, 4.12.0-5, 3.15.2-2, 3.15.2-3]: an AUTH has the method and the data, and nothing that could make it too large.
#[tokio::test]
async fn a_login_takes_as_many_steps_as_its_method_needs() {
    let broker = broker();
    let mut client = ann(&broker).await;
    client.ping().await;
}

/// [MQTT5-4.12.0-4]
#[tokio::test]
async fn a_login_that_fails_in_the_middle_is_refused_in_the_connack() {
    let broker = broker();
    let mut client = open(&broker);
    client.send(connect("ann").encode()).await;
    expect_auth(&mut client, CONTINUE, "ann?").await;
    client.send(auth(CONTINUE, METHOD, "bob!")).await;
    match client.next().await {
        Some(Got::Connack(connack)) => assert_eq!(connack.reason, 0x86),
        other => panic!("no CONNACK: {other:?}"),
    }
    client.expect_closed().await;
    assert_eq!(broker.metrics().refused_credentials.get(), 1);
}

/// [MQTT5-3.1.2-30, 4.12.0-3, 4.12.0-5]
#[tokio::test]
async fn nothing_but_an_auth_of_the_same_method_belongs_between_connect_and_connack() {
    let broker = broker();
    let publish = Publish::new("t", "x", 0).encode();
    for packet in [auth(CONTINUE, "other", "ann!"), auth(AGAIN, METHOD, "ann!"), auth(0, METHOD, ""), publish]
    {
        let mut client = open(&broker);
        client.send(connect("ann").encode()).await;
        expect_auth(&mut client, CONTINUE, "ann?").await;
        client.send(packet).await;
        if let Some(got) = client.next().await {
            assert!(matches!(&got, Got::Connack(connack) if connack.reason >= 0x80), "{got:?}");
            client.expect_closed().await;
        }
    }
    assert_eq!(broker.metrics().connects.get(), 0);
}

/// [MQTT5-4.12.1-1, 4.12.0-5]
#[tokio::test]
async fn a_client_proves_again_who_it_is_while_messages_go_on() {
    let broker = broker();
    let mut client = ann(&broker).await;
    client.subscribe(&[("t", 1)]).await;
    for _ in 0..2 {
        client.send(auth(AGAIN, METHOD, "ann")).await;
        expect_auth(&mut client, CONTINUE, "ann?").await;
        assert_eq!(client.publish(Publish::new("t", "between", 1)).await, 0);
        client.expect("t", "between", 1, false).await;
        client.send(auth(CONTINUE, METHOD, "ann!")).await;
        expect_auth(&mut client, 0, "well").await;
    }
    client.ping().await;
}

/// [MQTT5-4.12.1-1, 4.12.1-2]
#[tokio::test]
async fn who_can_not_prove_it_again_or_is_another_is_disconnected_with_the_reason() {
    let broker = broker();
    for (name, answer) in [("ann", "bob!"), ("bob", "bob!")] {
        let mut client = ann(&broker).await;
        client.send(auth(AGAIN, METHOD, name)).await;
        expect_auth(&mut client, CONTINUE, &format!("{name}?")).await;
        client.send(auth(CONTINUE, METHOD, answer)).await;
        client.expect_end(&[0x87]).await;
    }
    let mut client = ann(&broker).await;
    client.send(auth(AGAIN, "other", "ann")).await;
    client.expect_end(&[0x8c]).await;
    for early in [auth(CONTINUE, METHOD, "ann!"), auth(0, METHOD, "")] {
        let mut client = ann(&broker).await;
        client.send(early).await;
        client.expect_end(&[0x82]).await;
    }
}
