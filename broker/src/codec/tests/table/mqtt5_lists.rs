//! SUBSCRIBE, SUBACK, UNSUBSCRIBE and UNSUBACK of MQTT 5.

use super::mqtt5::{block, bytes, malformed, not_allowed, protocol, reason, twice, v5, value};
use super::*;
use Property as Prop;
use ReasonCode as R;

pub(super) fn rows() -> Vec<Row> {
    [subscribes(), faulty_subscribes(), faulty_options(), unsubscribes(), answers(), faulty_answers()]
        .into_iter()
        .flatten()
        .collect()
}

fn subscribe(properties: &[&[u8]], list: &[u8]) -> Vec<u8> {
    bytes(0x82, &[b"\0\x01", &block(properties), list])
}

fn subscribes() -> Vec<Row> {
    const fn plain(filter: &'static str, qos: QoS) -> Subscription<'static> {
        Subscription {
            filter,
            qos,
            no_local: false,
            retain_as_published: false,
            retain_handling: RetainHandling::SendAlways,
        }
    }
    let a = plain("a", QoS::AtMostOnce);
    let all_options = Subscription {
        no_local: true,
        retain_as_published: true,
        retain_handling: RetainHandling::DontSend,
        ..plain("+/#", QoS::ExactlyOnce)
    };
    let if_new = Subscription { retain_handling: RetainHandling::SendIfNew, ..a };
    let shared = plain("$share/g/a/#", QoS::AtLeastOnce);
    let shared_published = Subscription { retain_as_published: true, ..shared };
    let one = |wanted| Expect::Subscribe5(0, &[], vec![wanted]);
    let with_user = Expect::Subscribe5(268_435_455, &[("k", "v"), ("k", "w")], vec![a]);
    let properties: &[&[u8]] = &[b"\x0b\xff\xff\xff\x7f", b"\x26\0\x01k\0\x01v\x26\0\x01k\0\x01w"];
    vec![
        v5(row("[MQTT5-2.2.2-1]", subscribe(&[], b"\0\x01a\0"), one(a))),
        v5(row("[MQTT5-3.8.3-1]", subscribe(&[], b"\0\x03+/#\x2e"), one(all_options))),
        v5(row("MQTT 5: 3.8.3.1: retain handling 1", subscribe(&[], b"\0\x01a\x10"), one(if_new))),
        v5(row("[MQTT5-4.8.2-1]", subscribe(&[], b"\0\x0c$share/g/a/#\x01"), one(shared))),
        v5(row("[MQTT5-4.8.2-2]", subscribe(&[], b"\0\x0c$share/g/a/#\x09"), one(shared_published))),
        v5(row(
            "[MQTT5-3.8.4-5]",
            subscribe(&[], b"\0\x01a\0\0\x03+/#\x2e\0\x0c$share/g/a/#\x01"),
            Expect::Subscribe5(0, &[], vec![a, all_options, shared]),
        )),
        v5(row(
            "MQTT 5: 3.8.2.1.2",
            subscribe(&[b"\x0b\x01"], b"\0\x01a\0"),
            Expect::Subscribe5(1, &[], vec![a]),
        )),
        v5(row("MQTT 5: 3.8.2.1.3", subscribe(properties, b"\0\x01a\0"), with_user)),
    ]
}

fn faulty_subscribes() -> Vec<Row> {
    let filter = |error| E::Filter { packet: T::Subscribe, error };
    let with = |properties: &[&[u8]]| subscribe(properties, b"\0\x01a\0");
    let share = |rule, list: &[u8]| malformed(rule, subscribe(&[], list), filter(FilterError::Share));
    vec![
        protocol("[MQTT5-2.2.1-3]", bytes(0x82, &[b"\0\0\0\0\x01a\0"]), E::PacketIdZero(T::Subscribe)),
        protocol("[MQTT5-3.8.3-2]", subscribe(&[], b""), E::NoFilters(T::Subscribe)),
        malformed("[MQTT5-3.8.3-1]", subscribe(&[], b"\0\x01\xff\0"), E::Utf8(T::Subscribe)),
        malformed("[MQTT5-4.7.3-1]", subscribe(&[], b"\0\0\0"), filter(FilterError::Empty)),
        malformed("[MQTT5-4.7.3-2]", subscribe(&[], b"\0\x01\0\0"), filter(FilterError::Nul)),
        malformed("[MQTT5-4.7.1-1]", subscribe(&[], b"\0\x03#/a\0"), filter(FilterError::HashNotLast)),
        malformed("[MQTT5-4.7.1-1]", subscribe(&[], b"\0\x02a#\0"), filter(FilterError::WildcardInLevel)),
        malformed("[MQTT5-4.7.1-2]", subscribe(&[], b"\0\x02+a\0"), filter(FilterError::WildcardInLevel)),
        share("[MQTT5-4.8.2-1]", b"\0\x09$share//a\0"),
        share("[MQTT5-4.8.2-2]", b"\0\x0a$share/+/a\0"),
        malformed("[MQTT5-4.8.2-2]", subscribe(&[], b"\0\x0a$share/#/a\0"), filter(FilterError::HashNotLast)),
        share("[MQTT5-4.8.2-2]", b"\0\x08$share/g\0"),
        share("[MQTT5-4.8.2-2]", b"\0\x09$share/g/\0"),
        protocol(
            "MQTT 5: 3.8.2.1.2",
            with(&[b"\x0b\0"]),
            value(T::Subscribe, Prop::SubscriptionIdentifier, 0),
        ),
        protocol(
            "MQTT 5: 3.8.2.1.2",
            with(&[b"\x0b\x01\x0b\x02"]),
            twice(T::Subscribe, Prop::SubscriptionIdentifier),
        ),
        malformed("[MQTT5-1.5.5-1]", with(&[b"\x0b\x80\0"]), E::VariableInteger(T::Subscribe)),
        malformed("MQTT 5: 2.2.2.2", with(&[b"\x1f\0\0"]), not_allowed(T::Subscribe, Prop::ReasonString)),
        malformed("MQTT 5: 3.8.2", b"\x82\x02\0\x01".into(), E::Truncated(T::Subscribe)),
        malformed("MQTT 5: 3.8.3", subscribe(&[], b"\0\x01a"), E::Truncated(T::Subscribe)),
    ]
}

fn faulty_options() -> Vec<Row> {
    let options = |options: u8| subscribe(&[], &[0, 1, b'a', options]);
    vec![
        malformed("[MQTT5-3.8.3-5]", options(0x40), E::SubscriptionOptions(0x40)),
        malformed("[MQTT5-3.8.3-5]", options(0x80), E::SubscriptionOptions(0x80)),
        malformed("[MQTT5-3.8.3-5]", options(0xff), E::SubscriptionOptions(0xff)),
        protocol("MQTT 5: 3.8.3.1: QoS 3", options(0x03), E::RequestedQos(3)),
        protocol("MQTT 5: 3.8.3.1: QoS 3", options(0x2f), E::RequestedQos(3)),
        protocol("MQTT 5: 3.8.3.1: retain handling 3", options(0x30), E::RetainHandling),
        protocol("[MQTT5-3.8.3-4]", subscribe(&[], b"\0\x0a$share/g/a\x05"), E::NoLocalShared),
        protocol("[MQTT5-3.8.3-4]", subscribe(&[], b"\0\x01a\x04\0\x0a$share/g/a\x04"), E::NoLocalShared),
    ]
}

fn unsubscribes() -> Vec<Row> {
    let filter = |error| E::Filter { packet: T::Unsubscribe, error };
    let unsubscribe = |properties: &[&[u8]], list: &[u8]| bytes(0xa2, &[b"\0\x01", &block(properties), list]);
    vec![
        v5(row("[MQTT5-3.10.3-1]", unsubscribe(&[], b"\0\x01a"), Expect::Unsubscribe5(&[], vec!["a"]))),
        v5(row(
            "[MQTT5-3.10.4-6]",
            unsubscribe(&[b"\x26\0\x01k\0\x01v"], b"\0\x0a$share/g/a\0\x03+/#"),
            Expect::Unsubscribe5(&[("k", "v")], vec!["$share/g/a", "+/#"]),
        )),
        protocol("[MQTT5-3.10.3-2]", unsubscribe(&[], b""), E::NoFilters(T::Unsubscribe)),
        protocol("[MQTT5-2.2.1-3]", bytes(0xa2, &[b"\0\0\0\0\x01a"]), E::PacketIdZero(T::Unsubscribe)),
        malformed("[MQTT5-3.10.3-1]", unsubscribe(&[], b"\0\x01\xff"), E::Utf8(T::Unsubscribe)),
        malformed("[MQTT5-4.7.3-1]", unsubscribe(&[], b"\0\0"), filter(FilterError::Empty)),
        malformed("[MQTT5-4.7.1-1]", unsubscribe(&[], b"\0\x03#/a"), filter(FilterError::HashNotLast)),
        malformed("[MQTT5-4.8.2-1]", unsubscribe(&[], b"\0\x09$share//a"), filter(FilterError::Share)),
        malformed(
            "MQTT 5: 2.2.2.2",
            unsubscribe(&[b"\x0b\x01"], b"\0\x01a"),
            not_allowed(T::Unsubscribe, Prop::SubscriptionIdentifier),
        ),
        malformed("MQTT 5: 3.10.2", b"\xa2\x02\0\x01".into(), E::Truncated(T::Unsubscribe)),
    ]
}

fn answers() -> Vec<Row> {
    let granted = vec![R::Success, R::GrantedQos1, R::GrantedQos2];
    let failed = vec![
        R::UnspecifiedError,
        R::ImplementationSpecificError,
        R::NotAuthorized,
        R::TopicFilterInvalid,
        R::PacketIdentifierInUse,
        R::QuotaExceeded,
        R::SharedSubscriptionsNotSupported,
        R::SubscriptionIdentifiersNotSupported,
        R::WildcardSubscriptionsNotSupported,
    ];
    let told: &[&[u8]] = &[b"\x1f\0\x03why", b"\x26\0\x01k\0\x01v"];
    let ended = vec![R::Success, R::NoSubscriptionExisted, R::NotAuthorized];
    vec![
        v5(row("[MQTT5-3.9.3-1]", b"\x90\x06\0\x01\0\0\x01\x02", Expect::Codes5(None, &[], granted))),
        v5(row(
            "[MQTT5-3.9.3-2]",
            bytes(0x90, &[b"\0\x01\0\x80\x83\x87\x8f\x91\x97\x9e\xa1\xa2"]),
            Expect::Codes5(None, &[], failed),
        )),
        v5(row(
            "MQTT 5: 3.9.2.1",
            bytes(0x90, &[b"\0\x01", &block(told), b"\x80"]),
            Expect::Codes5(Some("why"), &[("k", "v")], vec![R::UnspecifiedError]),
        )),
        v5(row(
            "[MQTT5-3.11.3-1] [MQTT5-3.11.3-2]",
            b"\xb0\x06\0\x01\0\0\x11\x87",
            Expect::Codes5(None, &[], ended),
        )),
        v5(row(
            "MQTT 5: 3.11.2.1",
            bytes(0xb0, &[b"\0\x01", &block(told), b"\0"]),
            Expect::Codes5(Some("why"), &[("k", "v")], vec![R::Success]),
        )),
    ]
}

fn faulty_answers() -> Vec<Row> {
    let mut rows = Vec::new();
    for code in [0x03, 0x04, 0x10, 0x11, 0x7f, 0x81, 0x92, 0xa3] {
        let bytes = bytes(0x90, &[b"\0\x01\0\0", &[code]]);
        rows.push(malformed("[MQTT5-3.9.3-2]", bytes, reason(T::Suback, code)));
    }
    for code in [0x01, 0x02, 0x10, 0x12, 0x97, 0x9e] {
        let bytes = bytes(0xb0, &[b"\0\x01\0\0", &[code]]);
        rows.push(malformed("[MQTT5-3.11.3-2]", bytes, reason(T::Unsuback, code)));
    }
    for (first, packet) in [(0x90, T::Suback), (0xb0, T::Unsuback)] {
        let with = |properties: &[&[u8]]| bytes(first, &[b"\0\x01", &block(properties), b"\0"]);
        rows.extend([
            malformed("[MQTT5-3.8.4-6]", bytes(first, &[b"\0\x01\0"]), E::Truncated(packet)),
            malformed("MQTT 5: 3.9.2, 3.11.2", bytes(first, &[b"\0\x01"]), E::Truncated(packet)),
            protocol("MQTT 5: 2.2.1", bytes(first, &[b"\0\0\0\0"]), E::PacketIdZero(packet)),
            protocol(
                "MQTT 5: 3.9.2.1.2, 3.11.2.1.2",
                with(&[b"\x1f\0\0\x1f\0\0"]),
                twice(packet, Prop::ReasonString),
            ),
            malformed(
                "MQTT 5: 2.2.2.2",
                with(&[b"\x0b\x01"]),
                not_allowed(packet, Prop::SubscriptionIdentifier),
            ),
        ]);
    }
    rows
}
