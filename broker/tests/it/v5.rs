//! What MQTT 5 demands of a broker, chapter by chapter, each test with the numbers of the statements that it shows.

mod aliases;
mod auth;
mod connect;
mod disconnect;
mod flow;
mod malformed;
mod offers;
mod properties;
mod publish;
mod refusals;
mod restart;
mod sessions;
mod shared;
mod sizes;
mod subscribe;
mod versions;
mod wills;

use crate::client5::{Client, Publish};
use crate::server::Server;

/// A subscriber of `t/#`, and a publisher.
async fn pair(server: &Server, options: u8) -> (Client, Client) {
    let mut subscriber = server.clean5("sub").await;
    subscriber.subscribe(&[("t/#", options)]).await;
    (subscriber, server.clean5("pub").await)
}

/// Publishes, and expects to be told that it was taken.
async fn publish(publisher: &mut Client, publish: Publish) {
    let reason = publisher.publish(publish).await;
    assert!(reason < 0x80, "refused with {reason:#04x}");
}
