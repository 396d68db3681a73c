//! Shared subscriptions: who of a group gets a message, by which strategy, and what becomes of messages that a member leaves behind.

use std::time::Duration;

use bytes::Bytes;
use distkv_broker::hooks::Provenance;
use distkv_broker::limits::{Limits, SharedStrategy};
use distkv_broker::message::{Message, QoS};

use crate::client5::{Client, Connect, Got, PINGREQ, PUBACK, PUBREL, Props, Publish, ack, disconnect, prop};
use crate::server::{Server, limits};

async fn member(server: &Server, id: &str, filter: &str, qos: u8) -> Client {
    let mut member = server.connect5(&Connect::lasting(id)).await;
    member.subscribe(&[(filter, qos)]).await;
    member
}

async fn members<const N: usize>(server: &Server, ids: [&str; N]) -> [Client; N] {
    let mut members = Vec::new();
    for id in ids {
        members.push(member(server, id, "$share/g/t", 2).await);
    }
    members.try_into().unwrap_or_else(|_| unreachable!("one for each"))
}

/// The client is gone, and the broker knows it.
async fn leave(server: &Server, client: Client) {
    let before = server.metrics().connections.get();
    drop(client);
    server.until("it has left", |metrics| metrics.connections.get() < before).await;
}

async fn publish(publisher: &mut Client, payload: u8, qos: u8) {
    let reason = publisher.publish(Publish::new("t", [payload], qos)).await;
    assert!(reason < 0x80, "{reason:#04x}");
}

/// The payloads that came so far, with QoS 1 and acknowledged.
async fn came(client: &mut Client) -> Vec<u8> {
    let mut came = Vec::new();
    client.send(PINGREQ).await;
    loop {
        match client.next().await {
            Some(Got::Pingresp) => return came,
            Some(Got::Publish(publish)) => {
                client.send(ack(PUBACK, publish.id, 0)).await;
                came.push(publish.payload[0]);
            }
            other => panic!("{other:?}"),
        }
    }
}

fn with(shared_strategy: SharedStrategy) -> Server {
    Server::with(Limits { shared_strategy, ..limits() })
}

#[tokio::test]
async fn members_have_their_turn_one_after_another_and_those_who_are_away_get_none() {
    let server = Server::start();
    let [mut a, away, mut c] = members(&server, ["a", "away", "c"]).await;
    leave(&server, away).await;
    let mut publisher = server.clean5("pub").await;
    let (mut to_a, mut to_c) = (0, 0);
    for n in 0..30 {
        publish(&mut publisher, n, 1).await;
        to_a += came(&mut a).await.len();
        to_c += came(&mut c).await.len();
    }
    assert_eq!((to_a, to_c), (15, 15));
    server.resume5(&Connect::lasting("away")).await.ping().await;
}

#[tokio::test]
async fn while_all_members_are_away_their_queues_share_the_messages() {
    let server = Server::start();
    let [a, b] = members(&server, ["a", "b"]).await;
    leave(&server, a).await;
    leave(&server, b).await;
    let mut publisher = server.clean5("pub").await;
    for n in 0..10 {
        publish(&mut publisher, n, 1).await;
    }
    // What is of QoS 0 has nowhere to wait.
    publish(&mut publisher, 99, 0).await;
    publisher.ping().await;
    let mut a = server.resume5(&Connect::lasting("a")).await;
    let mut all = came(&mut a).await;
    let of_a = all.len();
    all.extend(came(&mut server.resume5(&Connect::lasting("b")).await).await);
    all.sort_unstable();
    assert_eq!((of_a, all), (5, (0..10).collect()));
}

#[tokio::test]
async fn a_member_whose_queue_is_full_is_passed_over() {
    let server = Server::with(Limits { inflight: 1, queue_messages: 2, ..limits() });
    let [mut full, mut takes] = members(&server, ["full", "takes"]).await;
    let mut publisher = server.clean5("pub").await;
    let mut taken = Vec::new();
    for n in 0..20 {
        publish(&mut publisher, n, 1).await;
        taken.extend(came(&mut takes).await);
    }
    assert_eq!(taken.len(), 17, "{taken:?}");
    // Each acknowledgement lets one more out.
    for _ in 0..3 {
        taken.push(full.message().await.payload[0]);
    }
    full.ping().await;
    taken.sort_unstable();
    assert_eq!(taken, (0..20).collect::<Vec<u8>>());
}

#[tokio::test]
async fn sticky_keeps_to_one_member_until_that_one_leaves() {
    let server = with(SharedStrategy::Sticky);
    let [first, mut second, mut third] = members(&server, ["first", "second", "third"]).await;
    leave(&server, first).await;
    let mut publisher = server.clean5("pub").await;
    for n in 0..5 {
        publish(&mut publisher, n, 1).await;
    }
    assert_eq!(came(&mut second).await.len(), 5, "one of those who are there");
    let mut first = server.resume5(&Connect::lasting("first")).await;
    publish(&mut publisher, 5, 1).await;
    assert_eq!(came(&mut second).await, [5], "also after another one's return");
    assert_eq!(first.unsubscribe(&["$share/g/t"]).await, [0]);
    publish(&mut publisher, 6, 1).await;
    assert_eq!(came(&mut second).await, [6], "also after another one has gone for good");
    leave(&server, second).await;
    publish(&mut publisher, 7, 1).await;
    assert_eq!(came(&mut third).await, [7]);
    let mut second = server.resume5(&Connect::lasting("second")).await;
    publish(&mut publisher, 8, 1).await;
    assert_eq!(came(&mut third).await, [8], "the new one is kept to");
    second.ping().await;
    first.ping().await;
}

#[tokio::test]
async fn least_queued_prefers_the_member_that_has_nothing_waiting() {
    let server =
        Server::with(Limits { inflight: 1, shared_strategy: SharedStrategy::LeastQueued, ..limits() });
    let [mut busy, mut idle] = members(&server, ["busy", "idle"]).await;
    let mut publisher = server.clean5("pub").await;
    let mut taken = 0;
    for n in 0..20 {
        publish(&mut publisher, n, 1).await;
        taken += came(&mut idle).await.len();
    }
    // One is under way to the busy one, and one waits behind it.
    assert_eq!(taken, 18);
    assert_eq!(came(&mut busy).await.len(), 1);
}

/// What an ended session leaves to the others: all that waits, and QoS 1 without its PUBACK.
#[tokio::test]
async fn unanswered_messages_of_a_member_whose_session_ends_go_to_another_one() {
    for clean_start in [false, true] {
        let server = Server::with(Limits { inflight: 2, ..limits() });
        let mut first = member(&server, "first", "$share/g/t", 2).await;
        let mut publisher = server.clean5("pub").await;
        for (payload, qos) in [(1, 1), (2, 2), (3, 1), (4, 2)] {
            publish(&mut publisher, payload, qos).await;
        }
        assert_eq!(first.publication().await.payload, [1]);
        assert_eq!(first.publication().await.payload, [2]);
        let mut second = member(&server, "second", "$share/g/t", 2).await;
        if clean_start {
            drop(first);
            server.clean5("first").await.ping().await;
        } else {
            first.send(disconnect(0, &Props::none().number(prop::SESSION_EXPIRY, 0))).await;
            first.expect_closed().await;
        }
        for (payload, qos) in [(1, 1), (3, 1), (4, 2)] {
            second.expect("t", [payload], qos, false).await;
        }
        second.ping().await;
    }
}

/// [MQTT5-3.3.2-5]
#[tokio::test]
async fn what_has_waited_too_long_is_not_handed_on() {
    let server = Server::start();
    let first = member(&server, "first", "$share/g/t", 1).await;
    leave(&server, first).await;
    let mut publisher = server.clean5("pub").await;
    let short = Publish::new("t", "short", 1).with(Props::none().number(prop::MESSAGE_EXPIRY, 1));
    assert!(publisher.publish(short).await < 0x80);
    publish(&mut publisher, 7, 1).await;
    let mut second = member(&server, "second", "$share/g/t", 1).await;
    // The time itself is what is tested.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    server.broker.drop_session("first").await.unwrap();
    second.expect("t", [7], 1, false).await;
    second.ping().await;
    assert_eq!(server.metrics().dropped_total(), 1);
}

/// [MQTT5-3.3.1-13]
#[tokio::test]
async fn retain_is_handed_on_as_it_was_published() {
    let server = Server::start();
    let retain_as_published = 8;
    let first = member(&server, "first", "$share/g/t", 1 | retain_as_published).await;
    leave(&server, first).await;
    let mut publisher = server.clean5("pub").await;
    assert!(publisher.publish(Publish::new("t", "x", 1).retained()).await < 0x80);
    let mut second = member(&server, "second", "$share/g/t", 1 | retain_as_published).await;
    server.broker.drop_session("first").await.unwrap();
    second.expect("t", "x", 1, true).await;
}

/// [MQTT5-4.3.3-10]
#[tokio::test]
async fn a_group_gets_a_qos_2_message_once_although_a_crash_interrupts_its_routing() {
    let server = Server::start();
    let [a, b] = members(&server, ["a", "b"]).await;
    let lasting = Connect::lasting("pub");
    let mut publisher = server.connect5(&lasting).await;
    // So the next one has its turn; after the restart the first one has.
    publish(&mut publisher, 0, 0).await;
    let message = Publish::new("t", "once", 2).id(9);
    publisher.send(message.encode()).await;
    assert_eq!(publisher.pubrec(9).await, 0);
    drop((a, b, publisher));
    let (hooks, mut records) = server.crash();
    // The crash comes before the message is known to be in the broker's hands: kind 20.
    let noted = records.iter().rposition(|record| record[0] == 20).unwrap();
    records.truncate(noted);
    let server = Server::resume(limits(), hooks, &records);
    let mut publisher = server.resume5(&lasting).await;
    publisher.send(message.dup().encode()).await;
    assert_eq!(publisher.pubrec(9).await, 0);
    publisher.send(ack(PUBREL, 9, 0)).await;
    assert_eq!(publisher.pubcomp(9).await, 0);
    let mut copies = 0;
    for id in ["a", "b"] {
        let mut member = server.resume5(&Connect::lasting(id)).await;
        member.send(PINGREQ).await;
        while let Some(Got::Publish(publish)) = member.next().await {
            assert_eq!(publish.payload, b"once");
            copies += 1;
        }
    }
    assert_eq!(copies, 1);
}

/// Where a value comes from is told after a wait, too: by a subscription of one's own and by a shared one.
#[tokio::test]
async fn provenance_goes_through_the_queue() {
    for filter in ["t", "$share/g/t"] {
        let server = Server::start();
        let mut client = server.connect5(&Connect::lasting("a")).await;
        client.subscribe_with(Props::none().user("distkv-meta", "1"), &[(filter, 1)]).await;
        leave(&server, client).await;
        let provenance = Provenance { node: "n1", tick: 7, tock: 9, time_ms: 11, user: Some("ann") };
        let message = Message::new("t".into(), Bytes::from_static(b"x"), QoS::AtLeastOnce);
        server.broker.publish(&message, Some(&provenance));
        let told = server.resume5(&Connect::lasting("a")).await.message().await.props;
        let expected = Props::none()
            .user("distkv-node", "n1")
            .user("distkv-tick", "7")
            .user("distkv-tock", "9")
            .user("distkv-time", "11")
            .user("distkv-user", "ann");
        assert_eq!(told, expected, "{filter}");
    }
}
