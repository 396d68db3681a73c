//! PUBLISH and its acknowledgements in MQTT 5.

use std::num::NonZeroU16;

use super::mqtt5::{
    block, bytes, malformed, not_allowed, ok, otherwise, protocol, reason, twice, unknown, v5, value,
};
use super::*;
use crate::codec::tests::plain;
use Property as Prop;
use ReasonCode as R;

pub(super) fn rows() -> Vec<Row> {
    [publishes(), properties(), faulty_properties(), acks(), faulty_acks()].into_iter().flatten().collect()
}

/// A PUBLISH of QoS 0 on topic `a` with these properties and the payload `x`.
fn with(properties: &[&[u8]]) -> Vec<u8> {
    bytes(0x30, &[b"\0\x01a", &block(properties), b"x"])
}

fn publishes() -> Vec<Row> {
    let topic = |error| E::Topic { packet: T::Publish, error };
    let publish = |delivery| P::Publish(Publish { delivery, ..plain("a", b"x") });
    let at_least_once = |number, dup| Delivery::AtLeastOnce { id: id(number), dup };
    vec![
        ok("[MQTT5-2.2.2-1] [MQTT5-2.2.1-2]", b"\x30\x05\0\x01a\0x".into(), publish(Delivery::AtMostOnce)),
        ok("MQTT 5: 3.3.3", b"\x30\x04\0\x01a\0".into(), P::Publish(plain("a", b""))),
        ok("[MQTT5-2.2.1-4]", b"\x32\x07\0\x01a\x01\x02\0x".into(), publish(at_least_once(0x0102, false))),
        ok("[MQTT5-3.3.1-1]", b"\x3a\x07\0\x01a\xff\xff\0x".into(), publish(at_least_once(65535, true))),
        ok(
            "[MQTT5-3.3.1-1]",
            b"\x3c\x07\0\x01a\0\x01\0x".into(),
            publish(Delivery::ExactlyOnce { id: id(1), dup: true }),
        ),
        malformed("[MQTT5-3.3.1-2]", b"\x38\x05\0\x01a\0x".into(), E::DupWithoutQos),
        malformed("[MQTT5-3.3.1-4]", b"\x36\x07\0\x01a\0\x01\0x".into(), E::PublishQos),
        protocol("[MQTT5-2.2.1-3]", b"\x32\x07\0\x01a\0\0\0x".into(), E::PacketIdZero(T::Publish)),
        malformed("[MQTT5-3.3.2-1]", b"\x30\x00".into(), E::Truncated(T::Publish)),
        malformed("[MQTT5-3.3.2-1]", b"\x30\x05\0\x01\xff\0x".into(), E::Utf8(T::Publish)),
        malformed("[MQTT5-1.5.4-1]", b"\x30\x07\0\x03\xed\xbf\xbf\0x".into(), E::Utf8(T::Publish)),
        malformed("[MQTT5-4.7.3-2]", b"\x30\x06\0\x02a\0\0x".into(), topic(NameError::Nul)),
        malformed(
            "[MQTT5-3.3.2-2] [MQTT5-4.7.0-1]",
            b"\x30\x06\0\x02a#\0x".into(),
            topic(NameError::Wildcard),
        ),
        malformed("[MQTT5-3.3.2-2]", b"\x30\x05\0\x01+\0x".into(), topic(NameError::Wildcard)),
        protocol("[MQTT5-4.7.3-1]", b"\x30\x04\0\0\0x".into(), E::NoTopic),
        protocol("MQTT 5: 3.3.2.1", bytes(0x30, &[b"\0\0", &block(&[b"\x01\x01"]), b"x"]), E::NoTopic),
        malformed("MQTT 5: 3.3.2.3.1", b"\x30\x03\0\x01a".into(), E::Truncated(T::Publish)),
        malformed("MQTT 5: 3.3.2.3.1", b"\x32\x05\0\x01a\0\x01".into(), E::Truncated(T::Publish)),
        malformed("MQTT 5: 3.3.2.3.1", b"\x30\x05\0\x01a\x02x".into(), E::Truncated(T::Publish)),
        malformed("[MQTT5-1.5.5-1]", b"\x30\x06\0\x01a\x80\0x".into(), E::VariableInteger(T::Publish)),
    ]
}

fn properties() -> Vec<Row> {
    const APPLICATION: &[u8] =
        b"\x26\0\x01k\0\x012\x01\x01\x26\0\x01k\0\x011\x03\0\x04text\x09\0\x02\x00\xff\x08\0\x03r/1";
    let publish = |properties| P::Publish(Publish { properties, ..plain("a", b"x") });
    let none = PublishProperties::default();
    let alias = PublishProperties { topic_alias: NonZeroU16::new(0x0102), ..none };
    let application =
        PublishProperties { application: ApplicationProperties::from_valid_block(APPLICATION), ..none };
    let everything = PublishProperties {
        topic_alias: NonZeroU16::new(65535),
        message_expiry: Some(0),
        subscription_identifiers: SubscriptionIdentifiers::List(&[1, 128, 1, 268_435_455]),
        ..application
    };
    let all: &[&[u8]] =
        &[b"\x23\xff\xff\x02\0\0\0\0\x0b\x01\x0b\x80\x01\x0b\x01\x0b\xff\xff\xff\x7f", APPLICATION];
    let mixed: &[&[u8]] = &[
        b"\x26\0\x01k\0\x012\x01\x01\x0b\x01\x26\0\x01k\0\x011\x23\xff\xff\x03\0\x04text\x0b\x80\x01",
        b"\x0b\x01\x09\0\x02\x00\xff\x02\0\0\0\0\x0b\xff\xff\xff\x7f\x08\0\x03r/1",
    ];
    let without_topic = Publish { properties: alias, ..plain("", b"x") };
    vec![
        ok("MQTT 5: 3.3.2.3.4: takes on its meaning", with(&[b"\x23\x01\x02"]), publish(alias)),
        ok(
            "MQTT 5: 3.3.2.3.4: stands for the topic",
            bytes(0x30, &[b"\0\0\x03\x23\x01\x02x"]),
            P::Publish(without_topic),
        ),
        ok("[MQTT5-3.3.2-17] [MQTT5-3.3.2-18]", with(&[APPLICATION]), publish(application)),
        ok("MQTT 5: 3.3.2.3", with(all), publish(everything)),
        otherwise("MQTT 5: 3.3.2.3: mixed", with(mixed), publish(everything)),
    ]
}

fn faulty_properties() -> Vec<Row> {
    let response = |error| E::ResponseTopic { packet: T::Publish, error };
    let alias_0 = value(T::Publish, Prop::TopicAlias, 0);
    let mut rows = vec![
        v5(row("[MQTT5-3.3.2-8]", with(&[b"\x23\0\0"]), Expect::Error5(alias_0, R::TopicAliasInvalid))),
        protocol(
            "MQTT 5: 3.3.2.3.2",
            with(&[b"\x01\x02"]),
            value(T::Publish, Prop::PayloadFormatIndicator, 2),
        ),
        protocol("MQTT 5: 3.3.2.3.8", with(&[b"\x0b\0"]), value(T::Publish, Prop::SubscriptionIdentifier, 0)),
        malformed("[MQTT5-1.5.5-1]", with(&[b"\x0b\x81\0"]), E::VariableInteger(T::Publish)),
        malformed("MQTT 5: 1.5.5", with(&[b"\x0b\xff\xff\xff\xff\x01"]), E::VariableInteger(T::Publish)),
        malformed("[MQTT5-3.3.2-13]", with(&[b"\x08\0\x01\xff"]), E::Utf8(T::Publish)),
        protocol("[MQTT5-3.3.2-14]", with(&[b"\x08\0\x03a/+"]), response(NameError::Wildcard)),
        protocol("[MQTT5-4.7.3-1]", with(&[b"\x08\0\0"]), response(NameError::Empty)),
        malformed("[MQTT5-3.3.2-19]", with(&[b"\x03\0\x02\xc3\x28"]), E::Utf8(T::Publish)),
        malformed("[MQTT5-1.5.4-2]", with(&[b"\x03\0\x01\0"]), E::Nul(T::Publish)),
        malformed("[MQTT5-1.5.7-1]", with(&[b"\x26\0\x01k\0\x01\xff"]), E::Utf8(T::Publish)),
        malformed("MQTT 5: 2.2.2.2", with(&[b"\x7f"]), unknown(T::Publish, 0x7f)),
        malformed(
            "MQTT 5: 2.2.2.2",
            with(&[b"\x18\0\0\0\x01"]),
            not_allowed(T::Publish, Prop::WillDelayInterval),
        ),
        malformed("MQTT 5: 2.2.2.2", with(&[b"\x1f\0\x01r"]), not_allowed(T::Publish, Prop::ReasonString)),
        malformed("MQTT 5: 2.2.2.1", with(&[b"\x09\0\x02x"]), E::Truncated(T::Publish)),
        malformed("MQTT 5: 2.2.2.1", with(&[b"\x02\0\0\0"]), E::Truncated(T::Publish)),
    ];
    for (property, once) in [
        (Prop::PayloadFormatIndicator, &b"\x01\x01"[..]),
        (Prop::MessageExpiryInterval, b"\x02\0\0\0\x01"),
        (Prop::TopicAlias, b"\x23\0\x01"),
        (Prop::ResponseTopic, b"\x08\0\x01t"),
        (Prop::CorrelationData, b"\x09\0\x01d"),
        (Prop::ContentType, b"\x03\0\x01t"),
    ] {
        rows.push(protocol("MQTT 5: 3.3.2.3: once", with(&[once, once]), twice(T::Publish, property)));
    }
    rows
}

/// The four acknowledgements: statement of their reason codes, first byte, type.
const ACKS: [(&str, u8, PacketType); 4] = [
    ("[MQTT5-3.4.2-1]", 0x40, T::Puback),
    ("[MQTT5-3.5.2-1]", 0x50, T::Pubrec),
    ("[MQTT5-3.6.2-1]", 0x62, T::Pubrel),
    ("[MQTT5-3.7.2-1]", 0x70, T::Pubcomp),
];

fn packet_of(packet: PacketType, ack: Ack<'static>) -> Packet<'static> {
    match packet {
        T::Puback => P::Puback(ack),
        T::Pubrec => P::Pubrec(ack),
        T::Pubrel => P::Pubrel(ack),
        _ => P::Pubcomp(ack),
    }
}

fn acks() -> Vec<Row> {
    let mut rows = Vec::new();
    for (rule, first, packet) in ACKS {
        let (failure, code) = match packet {
            T::Puback | T::Pubrec => (R::NotAuthorized, 0x87),
            _ => (R::PacketIdentifierNotFound, 0x92),
        };
        let success = Ack::new(id(0x0102), R::Success);
        let failed = Ack::new(id(0x0102), failure);
        let told = Ack { reason_string: Some("why"), user: UserProperties::Pairs(&[("k", "v")]), ..failed };
        let told_success = Ack { reason_string: Some(""), ..success };
        let all: &[&[u8]] = &[b"\x1f\0\x03why", b"\x26\0\x01k\0\x01v"];
        let of = |ack| packet_of(packet, ack);
        rows.extend([
            ok(rule, bytes(first, &[b"\x01\x02"]), of(success)),
            otherwise(rule, bytes(first, &[b"\x01\x02\0"]), of(success)),
            otherwise(rule, bytes(first, &[b"\x01\x02\0\0"]), of(success)),
            ok(rule, bytes(first, &[b"\x01\x02", &[code]]), of(failed)),
            otherwise(rule, bytes(first, &[b"\x01\x02", &[code], b"\0"]), of(failed)),
            ok(rule, bytes(first, &[b"\x01\x02", &[code], &block(all)]), of(told)),
            ok(rule, bytes(first, &[b"\x01\x02\0", &block(&[b"\x1f\0\0"])]), of(told_success)),
        ]);
    }
    let unheard = |packet| packet_of(packet, Ack::new(id(1), R::NoMatchingSubscribers));
    rows.push(ok("[MQTT5-3.4.2-1]", b"\x40\x03\0\x01\x10".into(), unheard(T::Puback)));
    rows.push(ok("[MQTT5-3.5.2-1]", b"\x50\x03\0\x01\x10".into(), unheard(T::Pubrec)));
    rows
}

fn faulty_acks() -> Vec<Row> {
    let mut rows = Vec::new();
    for (rule, first, packet) in ACKS {
        for code in [0x01, 0x04, 0x11, 0x18, 0x7f, 0x81, 0x8e, 0x9a, 0xff] {
            rows.push(malformed(rule, bytes(first, &[b"\0\x01", &[code]]), reason(packet, code)));
        }
        let other = if matches!(packet, T::Puback | T::Pubrec) { 0x92 } else { 0x10 };
        rows.push(malformed(rule, bytes(first, &[b"\0\x01", &[other]]), reason(packet, other)));
        let with = |properties: &[&[u8]]| bytes(first, &[b"\0\x01\0", &block(properties)]);
        let what = "MQTT 5: 3.4 to 3.7";
        rows.extend([
            protocol("MQTT 5: 2.2.1", bytes(first, &[b"\0\0"]), E::PacketIdZero(packet)),
            malformed(what, bytes(first, &[b"\0"]), E::Truncated(packet)),
            malformed(what, bytes(first, &[]), E::Truncated(packet)),
            malformed(what, with(&[b"\x1f\0\x01"]), E::Truncated(packet)),
            malformed(what, bytes(first, &[b"\0\x01\0\0\0"]), E::Trailing(packet)),
            protocol(what, with(&[b"\x1f\0\0\x1f\0\0"]), twice(packet, Prop::ReasonString)),
            malformed(what, with(&[b"\x1c\0\0"]), not_allowed(packet, Prop::ServerReference)),
            malformed(what, with(&[b"\x23\0\x01"]), not_allowed(packet, Prop::TopicAlias)),
        ]);
    }
    rows
}
