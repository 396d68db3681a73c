//! Malformed packets and protocol errors, by hand [1.5, 2, 4.13].

use crate::client::packet;
use crate::client5::{Connack, Got, PUBREL, Props, Publish, ack, prop, subscribe, unsubscribe};
use crate::server::Server;

/// A CONNECT by its flags, its properties and what follows the client identifier `a`.
fn connect(flags: u8, props: &[u8], rest: &[u8]) -> Vec<u8> {
    packet(0x10, &[b"\0\x04MQTT\x05", &[flags, 0, 0][..], props, b"\0\x01a", rest].concat())
}

/// [MQTT5-3.1.2-3, 3.1.2-9, 3.1.2-11, 3.1.2-12, 3.1.2-13, 3.1.2-16, 3.1.2-17, 3.1.2-18, 3.1.2-19, 3.1.3-3, 3.1.3-4, 3.1.3-11, 3.1.3-12, 3.1.4-1, 1.5.4-1, 1.5.4-2, 1.5.5-1, 1.5.7-1, 2.1.3-1]
#[tokio::test]
async fn a_connect_that_breaks_the_format_is_refused() {
    let server = Server::start();
    let mut wrong_flags = connect(2, b"\0", b"");
    wrong_flags[0] = 0x11;
    for (what, bytes) in [
        ("the reserved flag", connect(3, b"\0", b"")),
        ("flags of the fixed header", wrong_flags),
        ("a will QoS without a will", connect(0x0a, b"\0", b"")),
        ("a will retain without a will", connect(0x22, b"\0", b"")),
        ("a will QoS of 3", connect(0x1e, b"\0", b"\0\0\x01w\0\0")),
        ("no will", connect(0x06, b"\0", b"")),
        ("a will without properties", connect(0x06, b"\0", b"\0\x01w\0\0")),
        ("a will that is not announced", connect(0x02, b"\0", b"\0\0\x01w\0\0")),
        ("a will topic that is no UTF-8", connect(0x06, b"\0", b"\0\0\x01\xff\0\0")),
        ("a will topic with a wildcard", connect(0x06, b"\0", b"\0\0\x01#\0\0")),
        ("a user name that is not announced", connect(0x02, b"\0", b"\0\x01u")),
        ("no user name", connect(0x82, b"\0", b"")),
        ("a user name that is no UTF-8", connect(0x82, b"\0", b"\0\x01\xff")),
        ("a password that is not announced", connect(0x82, b"\0", b"\0\x01u\0\x01p")),
        ("no password", connect(0xc2, b"\0", b"\0\x01u")),
        ("no client identifier", packet(0x10, b"\0\x04MQTT\x05\x02\0\0\0")),
        ("an identifier that is no UTF-8", packet(0x10, b"\0\x04MQTT\x05\x02\0\0\0\0\x01\x80")),
        ("a surrogate", packet(0x10, b"\0\x04MQTT\x05\x02\0\0\0\0\x03\xed\xa0\x80")),
        ("NUL", packet(0x10, b"\0\x04MQTT\x05\x02\0\0\0\0\x01\0")),
        ("no property length", packet(0x10, b"\0\x04MQTT\x05\x02\0\0")),
        ("a property length of two bytes for 0", connect(2, b"\x80\0", b"")),
        ("an unknown property", connect(2, b"\x02\x7f\0", b"")),
        ("a property of another packet", connect(2, b"\x03\x23\0\x01", b"")),
        ("a property twice", connect(2, b"\x06\x21\0\x01\x21\0\x02", b"")),
        ("receive maximum 0", connect(2, b"\x03\x21\0\0", b"")),
        ("maximum packet size 0", connect(2, b"\x05\x27\0\0\0\0", b"")),
        ("problem information 2", connect(2, b"\x02\x17\x02", b"")),
        ("a user property that is no UTF-8", connect(2, b"\x06\x26\0\0\0\x01\xff", b"")),
        ("a user property without a value", connect(2, b"\x03\x26\0\0", b"")),
        ("authentication data without a method", connect(2, b"\x04\x16\0\x01x", b"")),
    ] {
        let mut client = server.open5();
        client.send(bytes).await;
        match client.next().await {
            Some(Got::Connack(Connack { reason, .. })) => {
                assert!([0x81, 0x82, 0x85, 0x90].contains(&reason), "{what}: {reason:#04x}");
                client.expect_closed().await;
            }
            other => assert_eq!(other, None, "{what}"),
        }
    }
}

/// The body of a PUBLISH of QoS 0 to topic `t` with these properties.
fn with_props(props: &[u8]) -> Vec<u8> {
    packet(0x30, &[&b"\0\x01t"[..], props].concat())
}

/// [MQTT5-3.3.1-2, 3.3.1-4, 3.3.2-1, 3.3.2-2, 3.3.2-13, 3.3.2-14, 3.3.2-19, 3.3.4-6, 4.7.0-1, 4.7.3-1, 4.7.3-2, 1.5.4-1, 1.5.4-2, 1.5.5-1, 1.5.7-1, 4.13.1-1, 4.13.2-1]
#[tokio::test]
async fn a_wrong_publish_ends_the_connection_with_a_reason() {
    let server = Server::start();
    let topic = |topic: &str| Publish::new(topic, "", 0).encode();
    for (what, bytes, reasons) in [
        ("QoS 3", packet(0x36, b"\0\x01t\0\x01\0"), &[0x81][..]),
        ("DUP with QoS 0", packet(0x38, b"\0\x01t\0"), &[0x81, 0x82]),
        ("identifier 0", packet(0x32, b"\0\x01t\0\0\0"), &[0x81, 0x82]),
        ("no topic", packet(0x30, b""), &[0x81]),
        ("a topic that is no UTF-8", packet(0x30, b"\0\x01\xff\0"), &[0x81]),
        ("a surrogate", packet(0x30, b"\0\x03\xed\xa0\x80\0"), &[0x81]),
        ("NUL", topic("a\0"), &[0x81, 0x90]),
        ("an empty topic without an alias", topic(""), &[0x82, 0x81, 0x90]),
        ("#", topic("a/#"), &[0x90, 0x81, 0x82]),
        ("+", topic("a+"), &[0x90, 0x81, 0x82]),
        ("no property length", packet(0x30, b"\0\x01t"), &[0x81]),
        ("a property length beyond the packet", with_props(b"\x05"), &[0x81]),
        ("a property length of two bytes for 0", with_props(b"\x80\0"), &[0x81]),
        ("a property that is cut", with_props(b"\x02\x02\0"), &[0x81]),
        ("an unknown property", with_props(b"\x02\x7f\0"), &[0x81, 0x82]),
        ("a property of another packet", with_props(b"\x03\x21\0\x01"), &[0x81, 0x82]),
        ("a property twice", with_props(b"\x04\x01\0\x01\0"), &[0x82, 0x81]),
        ("payload format 2", with_props(b"\x02\x01\x02"), &[0x81, 0x82]),
        ("a response topic that is no UTF-8", with_props(b"\x04\x08\0\x01\xff"), &[0x81]),
        ("a response topic with a wildcard", with_props(b"\x04\x08\0\x01#"), &[0x81, 0x82, 0x90]),
        ("a content type that is no UTF-8", with_props(b"\x04\x03\0\x01\xff"), &[0x81]),
        ("a user property that is no UTF-8", with_props(b"\x06\x26\0\x01\xff\0\0"), &[0x81]),
        ("a subscription identifier", with_props(b"\x02\x0b\x01"), &[0x82, 0x81]),
    ] {
        let mut client = server.clean5("a").await;
        client.send(bytes).await;
        println!("{what}");
        client.expect_end(reasons).await;
    }
}

/// [MQTT5-2.1.3-1, 2.2.1-3, 3.6.1-1, 3.8.3-1, 3.10.3-1, 3.14.1-1, 3.15.1-1, 4.7.1-1, 4.7.1-2, 4.7.3-1, 4.7.3-2, 4.13.1-1]
#[tokio::test]
async fn a_wrong_packet_ends_the_connection_with_a_reason() {
    let server = Server::start();
    let filter = |filter: &str| subscribe(1, &Props::none(), &[(filter, 0)]);
    for (what, bytes, reasons) in [
        ("type 0", packet(0x00, &[]), &[0x81, 0x82][..]),
        ("a packet of servers", packet(0x20, &[0, 0, 0]), &[0x82, 0x81]),
        ("PINGRESP", packet(0xd0, &[]), &[0x82, 0x81]),
        ("flags of PUBACK", packet(0x42, &[0, 1]), &[0x81]),
        ("flags of PUBREC", packet(0x52, &[0, 1]), &[0x81]),
        ("flags of PUBREL", packet(0x60, &[0, 1]), &[0x81]),
        ("flags of PUBCOMP", packet(0x72, &[0, 1]), &[0x81]),
        ("flags of PINGREQ", packet(0xc1, &[]), &[0x81]),
        ("flags of DISCONNECT", packet(0xe1, &[]), &[0x81]),
        ("flags of AUTH", packet(0xf1, &[]), &[0x81]),
        ("PINGREQ with a body", packet(0xc0, &[0]), &[0x81]),
        ("a length of five bytes", vec![0x30, 0xff, 0xff, 0xff, 0xff, 0x01], &[0x81]),
        ("PUBREL with identifier 0", ack(PUBREL, 0, 0), &[0x81, 0x82]),
        ("PUBACK with an unknown reason", ack(0x40, 1, 0x42), &[0x81, 0x82]),
        ("SUBSCRIBE with identifier 0", subscribe(0, &Props::none(), &[("a", 0)]), &[0x81, 0x82]),
        ("UNSUBSCRIBE with identifier 0", unsubscribe(0, &["a"]), &[0x81, 0x82]),
        ("a filter that is no UTF-8", packet(0x82, b"\0\x01\0\0\x01\xff\0"), &[0x81]),
        ("the same in UNSUBSCRIBE", packet(0xa2, b"\0\x01\0\0\x01\xff"), &[0x81]),
        ("an empty filter", filter(""), &[0x81, 0x82, 0x8f]),
        ("a filter with NUL", filter("a\0"), &[0x81, 0x8f]),
        ("a filter with # amid", filter("#/a"), &[0x81, 0x82, 0x8f]),
        ("a filter with # beside", filter("a#"), &[0x81, 0x82, 0x8f]),
        ("a filter with + beside", filter("a+"), &[0x81, 0x82, 0x8f]),
    ] {
        let mut client = server.clean5("a").await;
        client.send(bytes).await;
        println!("{what}");
        match client.next().await {
            // The standard leaves it open to refuse the filter alone.
            Some(Got::Suback(_, refused, _)) => assert!(refused == [0x8f] && reasons.contains(&0x8f)),
            Some(Got::Disconnect(reason, _)) => {
                assert!(reasons.contains(&reason), "{what}: {reason:#04x}");
                client.expect_closed().await;
            }
            other => panic!("{what}: {other:?}"),
        }
    }
}

/// [MQTT5-1.5.4-3]
#[tokio::test]
async fn a_byte_order_mark_is_a_character_as_any_other() {
    let server = Server::start();
    let mut client = server.clean5("\u{feff}").await;
    client.subscribe(&[("\u{feff}t", 0), ("t", 0)]).await;
    let props = Props::none().user("\u{feff}", "\u{feff}x\u{feff}");
    assert_eq!(client.publish(Publish::new("\u{feff}t", "", 0).with(props.clone())).await, 0);
    let came = client.message().await;
    assert_eq!((&*came.topic, came.props), ("\u{feff}t", props));
    client.ping().await;
}

/// [MQTT5-1.5.5-1]
#[tokio::test]
async fn lengths_are_read_and_written_in_as_few_bytes_as_they_need() {
    let server = Server::start();
    let mut client = server.clean5("a").await;
    client.subscribe(&[("t", 0)]).await;
    // Around each length at which one more byte is needed, of the properties and of the packet.
    for len in [0, 100, 118, 119, 120, 121, 122, 123, 16_370, 16_371, 16_372, 16_373, 16_374, 16_375, 16_376]
    {
        let props = Props::none().text(prop::CONTENT_TYPE, &"x".repeat(len));
        let send = Publish::new("t", "", 0).with(props.clone());
        assert_eq!(client.publish(send).await, 0);
        assert_eq!(client.message().await.props, props);
    }
}
