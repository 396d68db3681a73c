//! CONNECT and CONNACK of MQTT 5.

use super::mqtt5::{
    block, bytes, malformed, not_allowed, ok, otherwise, protocol, reason, twice, unknown, v5, value,
};
use super::*;
use Property as Prop;
use ReasonCode as R;

const CONNECT_5: Connect<'static> = Connect { version: ProtocolVersion::V5, ..CONNECT };

/// A CONNECT with these flags, these properties, and what is behind them.
fn connect(flags: u8, properties: &[&[u8]], payload: &[u8]) -> Vec<u8> {
    bytes(0x10, &[b"\0\x04MQTT\x05", &[flags], b"\0\x3c", &block(properties), payload])
}

fn with(properties: &[u8]) -> Vec<u8> {
    connect(2, &[properties], b"\0\x01a")
}

/// A CONNECT with a will with these properties.
fn will(properties: &[u8]) -> Vec<u8> {
    connect(6, &[], &[b"\0\x01a", &block(&[properties])[..], b"\0\x01w\0\0"].concat())
}

pub(super) fn rows() -> Vec<Row> {
    [connects(), logins(), faulty_properties(), wills(), faulty_wills(), connacks(), faulty_connacks()]
        .into_iter()
        .flatten()
        .collect()
}

fn connects() -> Vec<Row> {
    let properties = ConnectProperties {
        session_expiry: 0xffff_ffff,
        receive_maximum: 1,
        maximum_packet_size: Some(0x0102_0304),
        topic_alias_maximum: 9,
        request_response_information: true,
        request_problem_information: false,
        user: UserProperties::Pairs(&[("b", "1"), ("a", "2"), ("b", "1"), ("", "")]),
        authentication_method: Some("m"),
        authentication_data: Some(b"\x00\xff"),
    };
    let all: &[&[u8]] = &[
        b"\x11\xff\xff\xff\xff\x21\0\x01\x27\x01\x02\x03\x04\x22\0\x09\x19\x01\x17\0",
        b"\x26\0\x01b\0\x011\x26\0\x01a\0\x012\x26\0\x01b\0\x011\x26\0\0\0\0",
        b"\x15\0\x01m\x16\0\x02\x00\xff",
    ];
    let plain = || P::Connect(CONNECT_5.into());
    let topic = |error| E::Topic { packet: T::Connect, error };
    let level_3 = bytes(0x10, &[b"\0\x04MQTT\x85\x02\0\x3c\0\0\x01a"]);
    let level = |error| Expect::Error5(error, R::UnsupportedProtocolVersion);
    vec![
        ok("[MQTT5-2.2.2-1]", connect(2, &[], b"\0\x01a"), plain()),
        ok(
            "[MQTT5-3.1.2-4]",
            connect(0, &[], b"\0\x01a"),
            P::Connect(Connect { clean_session: false, ..CONNECT_5 }.into()),
        ),
        ok(
            "[MQTT5-3.1.3-6]",
            connect(2, &[], b"\0\0"),
            P::Connect(Connect { client_id: "", ..CONNECT_5 }.into()),
        ),
        ok(
            "[MQTT5-3.1.3-6]",
            connect(0, &[], b"\0\0"),
            P::Connect(Connect { client_id: "", clean_session: false, ..CONNECT_5 }.into()),
        ),
        ok(
            "[MQTT5-1.5.4-3]",
            connect(2, &[], b"\0\x03\xef\xbb\xbf"),
            P::Connect(Connect { client_id: "\u{feff}", ..CONNECT_5 }.into()),
        ),
        ok(
            "[MQTT5-3.1.3-10]",
            connect(2, all, b"\0\x01a"),
            P::Connect(Connect { properties, ..CONNECT_5 }.into()),
        ),
        otherwise(
            "MQTT 5: 3.1.2.11: defaults that are sent",
            with(b"\x11\0\0\0\0\x21\xff\xff\x22\0\0\x19\0\x17\x01"),
            plain(),
        ),
        v5(row("[MQTT5-3.1.2-1]", b"\x10\x02\0\0", level(E::ProtocolName))),
        v5(row("[MQTT5-3.1.2-2] a bridge says so by options", level_3, level(E::ProtocolLevel(0x85)))),
        v5(row(
            "[MQTT5-3.1.2-2]",
            bytes(0x10, &[b"\0\x04MQTT\x06\x02\0\x3c\0\0\x01a"]),
            level(E::ProtocolLevel(6)),
        )),
        v5(row(
            "[MQTT5-3.1.2-2]",
            bytes(0x10, &[b"\0\x06MQIsdp\x05\x02\0\x3c\0\0\x01a"]),
            level(E::ProtocolLevel(5)),
        )),
        malformed("[MQTT5-3.1.2-3]", connect(3, &[], b"\0\x01a"), E::ConnectReserved),
        malformed("[MQTT5-3.1.2-11]", connect(0x0a, &[], b"\0\x01a"), E::WillFlags),
        malformed("[MQTT5-3.1.2-13]", connect(0x22, &[], b"\0\x01a"), E::WillFlags),
        malformed("[MQTT5-3.1.2-12]", connect(0x1e, &[], b"\0\x01a\0\0\x01w\0\0"), E::WillQos),
        malformed("[MQTT5-3.1.2-9]", connect(6, &[], b"\0\x01a"), E::Truncated(T::Connect)),
        malformed("[MQTT5-3.1.3-1]", connect(2, &[], b"\0\x01a\0\0\x01w\0\0"), E::Trailing(T::Connect)),
        malformed("[MQTT5-3.1.3-3]", connect(2, &[], b""), E::Truncated(T::Connect)),
        malformed("[MQTT5-3.1.3-4]", connect(2, &[], b"\0\x01\xff"), E::Utf8(T::Connect)),
        malformed("[MQTT5-1.5.4-1]", connect(2, &[], b"\0\x03\xed\xa0\x80"), E::Utf8(T::Connect)),
        malformed("[MQTT5-1.5.4-2]", connect(2, &[], b"\0\x01\0"), E::Nul(T::Connect)),
        malformed("[MQTT5-3.1.3-11]", connect(6, &[], b"\0\x01a\0\0\x01\xff\0\0"), E::Utf8(T::Connect)),
        malformed("[MQTT5-4.7.3-1]", connect(6, &[], b"\0\x01a\0\0\0\0\0"), topic(NameError::Empty)),
        malformed("[MQTT5-4.7.0-1]", connect(6, &[], b"\0\x01a\0\0\x01#\0\0"), topic(NameError::Wildcard)),
    ]
}

fn logins() -> Vec<Row> {
    let both = Connect { user: Some("u"), password: Some(b"p"), ..CONNECT_5 };
    let user = Connect { user: Some("u"), ..CONNECT_5 };
    let password = Connect { password: Some(b"p"), ..CONNECT_5 };
    vec![
        ok(
            "[MQTT5-3.1.2-17] [MQTT5-3.1.2-19]",
            connect(0xc2, &[], b"\0\x01a\0\x01u\0\x01p"),
            P::Connect(both.into()),
        ),
        ok(
            "MQTT 5: 3.1.2.8: user name alone",
            connect(0x82, &[], b"\0\x01a\0\x01u"),
            P::Connect(user.into()),
        ),
        ok(
            "MQTT 5: 3.1.2.9: password alone",
            connect(0x42, &[], b"\0\x01a\0\x01p"),
            P::Connect(password.into()),
        ),
        malformed("[MQTT5-3.1.2-16]", connect(2, &[], b"\0\x01a\0\x01u"), E::Trailing(T::Connect)),
        malformed("[MQTT5-3.1.2-17]", connect(0x82, &[], b"\0\x01a"), E::Truncated(T::Connect)),
        malformed("[MQTT5-3.1.2-18]", connect(0x82, &[], b"\0\x01a\0\x01u\0\x01p"), E::Trailing(T::Connect)),
        malformed("[MQTT5-3.1.2-19]", connect(0xc2, &[], b"\0\x01a\0\x01u"), E::Truncated(T::Connect)),
        malformed("[MQTT5-3.1.3-12]", connect(0x82, &[], b"\0\x01a\0\x01\xff"), E::Utf8(T::Connect)),
    ]
}

fn faulty_properties() -> Vec<Row> {
    let mut rows = vec![
        protocol("MQTT 5: 3.1.2.11.3", with(b"\x21\0\0"), value(T::Connect, Prop::ReceiveMaximum, 0)),
        protocol("MQTT 5: 3.1.2.11.4", with(b"\x27\0\0\0\0"), value(T::Connect, Prop::MaximumPacketSize, 0)),
        protocol(
            "MQTT 5: 3.1.2.11.6",
            with(b"\x19\x02"),
            value(T::Connect, Prop::RequestResponseInformation, 2),
        ),
        protocol(
            "MQTT 5: 3.1.2.11.7",
            with(b"\x17\xff"),
            value(T::Connect, Prop::RequestProblemInformation, 255),
        ),
        protocol("MQTT 5: 3.1.2.11.10", with(b"\x16\0\0"), E::AuthenticationDataAlone(T::Connect)),
        malformed("[MQTT5-1.5.7-1]", with(b"\x26\0\x01\xff\0\0"), E::Utf8(T::Connect)),
        malformed("[MQTT5-1.5.7-1]", with(b"\x26\0\0\0\x01\xc0"), E::Utf8(T::Connect)),
        malformed("[MQTT5-1.5.7-1]", with(b"\x26\0\0\0\x01\0"), E::Nul(T::Connect)),
        malformed("MQTT 5: 1.5.7", with(b"\x26\0\x01a"), E::Truncated(T::Connect)),
        malformed("MQTT 5: 2.2.2.2", with(b"\0"), unknown(T::Connect, 0)),
        malformed("MQTT 5: 2.2.2.2", with(b"\x2b\0"), unknown(T::Connect, 0x2b)),
        malformed(
            "[MQTT5-1.5.5-1] an identifier of two bytes",
            with(b"\x91\0\0\0\0\x01"),
            unknown(T::Connect, 0x91),
        ),
        malformed(
            "MQTT 5: 2.2.2.2",
            with(b"\x18\0\0\0\x01"),
            not_allowed(T::Connect, Prop::WillDelayInterval),
        ),
        malformed("MQTT 5: 2.2.2.2", with(b"\x01\0"), not_allowed(T::Connect, Prop::PayloadFormatIndicator)),
        malformed(
            "MQTT 5: 2.2.2.2",
            with(b"\x12\0\x01a"),
            not_allowed(T::Connect, Prop::AssignedClientIdentifier),
        ),
        malformed("MQTT 5: 2.2.2.2", with(b"\x1f\0\x01a"), not_allowed(T::Connect, Prop::ReasonString)),
    ];
    for (property, once) in [
        (Prop::SessionExpiryInterval, &b"\x11\0\0\0\x01"[..]),
        (Prop::ReceiveMaximum, b"\x21\0\x01"),
        (Prop::MaximumPacketSize, b"\x27\0\0\0\x01"),
        (Prop::TopicAliasMaximum, b"\x22\0\x01"),
        (Prop::RequestResponseInformation, b"\x19\x01"),
        (Prop::RequestProblemInformation, b"\x17\x01"),
        (Prop::AuthenticationMethod, b"\x15\0\x01m"),
        (Prop::AuthenticationData, b"\x16\0\x01d"),
    ] {
        rows.push(protocol(
            "MQTT 5: 3.1.2.11: once",
            with(&[once, once].concat()),
            twice(T::Connect, property),
        ));
    }
    rows
}

fn wills() -> Vec<Row> {
    const APPLICATION: &[u8] =
        b"\x01\x01\x03\0\x01t\x08\0\x03r/1\x09\0\x01\xff\x26\0\x01k\0\x011\x26\0\x01k\0\x010";
    let full = Will {
        qos: QoS::ExactlyOnce,
        retain: true,
        payload: b"p",
        delay: 5,
        message_expiry: Some(0),
        application: ApplicationProperties::from_valid_block(APPLICATION),
        ..WILL
    };
    let properties = block(&[b"\x18\0\0\0\x05\x02\0\0\0\0", APPLICATION]);
    vec![
        ok("[MQTT5-3.1.2-9]", will(b""), P::Connect(Connect { will: Some(WILL), ..CONNECT_5 }.into())),
        ok(
            "[MQTT5-3.1.3-10]",
            connect(0x36, &[], &[b"\0\x01a", &properties[..], b"\0\x01w\0\x01p"].concat()),
            P::Connect(Connect { will: Some(full), ..CONNECT_5 }.into()),
        ),
        otherwise(
            "MQTT 5: 3.1.3.2.2: a delay of 0",
            will(b"\x18\0\0\0\0"),
            P::Connect(Connect { will: Some(WILL), ..CONNECT_5 }.into()),
        ),
        otherwise(
            "MQTT 5: 3.1.3.2: the order of other properties means nothing",
            will(b"\x01\x01\x18\0\0\0\x01\x03\0\x01t"),
            P::Connect(
                Connect {
                    will: Some(Will {
                        delay: 1,
                        application: ApplicationProperties::from_valid_block(b"\x01\x01\x03\0\x01t"),
                        ..WILL
                    }),
                    ..CONNECT_5
                }
                .into(),
            ),
        ),
    ]
}

fn faulty_wills() -> Vec<Row> {
    let response = |error| E::ResponseTopic { packet: T::Connect, error };
    let mut rows = vec![
        protocol("MQTT 5: 3.1.3.2.3", will(b"\x01\x02"), value(T::Connect, Prop::PayloadFormatIndicator, 2)),
        protocol("[MQTT5-3.3.2-14]", will(b"\x08\0\x03a/#"), response(NameError::Wildcard)),
        malformed("MQTT 5: 3.1.3.2.5", will(b"\x03\0\x01\xff"), E::Utf8(T::Connect)),
        malformed(
            "MQTT 5: 2.2.2.2",
            will(b"\x11\0\0\0\x01"),
            not_allowed(T::Connect, Prop::SessionExpiryInterval),
        ),
        malformed("MQTT 5: 2.2.2.2", will(b"\x23\0\x01"), not_allowed(T::Connect, Prop::TopicAlias)),
        malformed(
            "MQTT 5: 2.2.2.2",
            will(b"\x0b\x01"),
            not_allowed(T::Connect, Prop::SubscriptionIdentifier),
        ),
        malformed("MQTT 5: 2.2.2.1", connect(6, &[], b"\0\x01a\x7f\0\x01w\0\0"), E::Truncated(T::Connect)),
    ];
    for (property, once) in [
        (Prop::WillDelayInterval, &b"\x18\0\0\0\x01"[..]),
        (Prop::PayloadFormatIndicator, b"\x01\x01"),
        (Prop::MessageExpiryInterval, b"\x02\0\0\0\x01"),
        (Prop::ContentType, b"\x03\0\x01t"),
        (Prop::ResponseTopic, b"\x08\0\x01t"),
        (Prop::CorrelationData, b"\x09\0\x01d"),
    ] {
        rows.push(protocol(
            "MQTT 5: 3.1.3.2: once",
            will(&[once, once].concat()),
            twice(T::Connect, property),
        ));
    }
    rows
}

fn connack(flags: u8, code: u8, properties: &[&[u8]]) -> Vec<u8> {
    bytes(0x20, &[&[flags, code], &block(properties)])
}

fn connacks() -> Vec<Row> {
    let properties = ConnackProperties {
        session_expiry: Some(60),
        receive_maximum: Some(20),
        maximum_qos: Some(QoS::AtLeastOnce),
        retain_available: Some(false),
        maximum_packet_size: Some(1000),
        assigned_client_id: Some("auto"),
        topic_alias_maximum: Some(10),
        reason_string: Some("r"),
        user: UserProperties::Pairs(&[("k", "v")]),
        wildcard_available: Some(false),
        identifiers_available: Some(true),
        shared_available: Some(false),
        server_keep_alive: Some(30),
        response_information: Some("i"),
        server_reference: Some("s"),
        authentication_method: Some("m"),
        authentication_data: Some(b"d"),
    };
    let all: &[&[u8]] = &[
        b"\x11\0\0\0\x3c\x21\0\x14\x24\x01\x25\0\x27\0\0\x03\xe8\x12\0\x04auto\x22\0\x0a",
        b"\x1f\0\x01r\x26\0\x01k\0\x01v\x28\0\x29\x01\x2a\0\x13\0\x1e\x1a\0\x01i\x1c\0\x01s",
        b"\x15\0\x01m\x16\0\x01d",
    ];
    let qos_0 = ConnackProperties { maximum_qos: Some(QoS::AtMostOnce), ..ConnackProperties::default() };
    let accepted = Connack::default();
    vec![
        ok("[MQTT5-2.2.2-1]", connack(0, 0, &[]), P::Connack(accepted.into())),
        ok(
            "[MQTT5-3.2.2-3]",
            connack(1, 0, &[]),
            P::Connack(Connack { session_present: true, ..accepted }.into()),
        ),
        ok(
            "[MQTT5-3.2.2-8]",
            connack(0, 0x84, &[]),
            P::Connack(Connack::refused(R::UnsupportedProtocolVersion).into()),
        ),
        ok(
            "[MQTT5-3.2.2-8]",
            connack(0, 0x9f, &[]),
            P::Connack(Connack::refused(R::ConnectionRateExceeded).into()),
        ),
        ok("MQTT 5: 3.2.2.3", connack(0, 0, all), P::Connack(Connack { properties, ..accepted }.into())),
        ok(
            "MQTT 5: 3.2.2.3.4",
            connack(0, 0, &[b"\x24\0"]),
            P::Connack(Connack { properties: qos_0, ..accepted }.into()),
        ),
    ]
}

fn faulty_connacks() -> Vec<Row> {
    let with = |properties: &[u8]| connack(0, 0, &[properties]);
    let mut rows = vec![
        malformed("[MQTT5-3.2.2-1]", connack(2, 0, &[]), E::Connack([2, 0])),
        malformed("[MQTT5-3.2.2-6]", connack(1, 0x87, &[]), E::Connack([1, 0x87])),
        malformed("[MQTT5-3.2.2-8]", connack(0, 1, &[]), reason(T::Connack, 1)),
        malformed("[MQTT5-3.2.2-8]", connack(0, 0x8e, &[]), reason(T::Connack, 0x8e)),
        malformed("MQTT 5: 3.2.2.3.1", b"\x20\x02\0\0".into(), E::Truncated(T::Connack)),
        malformed("MQTT 5: 3.2.1", b"\x20\x01\0".into(), E::Truncated(T::Connack)),
        malformed("MQTT 5: 3.2.3", bytes(0x20, &[b"\0\0\0\0"]), E::Trailing(T::Connack)),
        protocol("MQTT 5: 3.2.2.3.4", with(b"\x24\x02"), value(T::Connack, Prop::MaximumQos, 2)),
        protocol("MQTT 5: 3.2.2.3.3", with(b"\x21\0\0"), value(T::Connack, Prop::ReceiveMaximum, 0)),
        protocol("MQTT 5: 3.2.2.3.6", with(b"\x27\0\0\0\0"), value(T::Connack, Prop::MaximumPacketSize, 0)),
        malformed(
            "MQTT 5: 2.2.2.2",
            with(b"\x17\x01"),
            not_allowed(T::Connack, Prop::RequestProblemInformation),
        ),
    ];
    for (property, once) in [
        (Prop::SessionExpiryInterval, &b"\x11\0\0\0\x01"[..]),
        (Prop::ReceiveMaximum, b"\x21\0\x01"),
        (Prop::MaximumQos, b"\x24\x01"),
        (Prop::RetainAvailable, b"\x25\x01"),
        (Prop::MaximumPacketSize, b"\x27\0\0\0\x01"),
        (Prop::AssignedClientIdentifier, b"\x12\0\x01a"),
        (Prop::TopicAliasMaximum, b"\x22\0\x01"),
        (Prop::ReasonString, b"\x1f\0\x01r"),
        (Prop::WildcardSubscriptionAvailable, b"\x28\x01"),
        (Prop::SubscriptionIdentifierAvailable, b"\x29\x01"),
        (Prop::SharedSubscriptionAvailable, b"\x2a\x01"),
        (Prop::ServerKeepAlive, b"\x13\0\x01"),
        (Prop::ResponseInformation, b"\x1a\0\x01i"),
        (Prop::ServerReference, b"\x1c\0\x01s"),
        (Prop::AuthenticationMethod, b"\x15\0\x01m"),
        (Prop::AuthenticationData, b"\x16\0\x01d"),
    ] {
        rows.push(protocol(
            "MQTT 5: 3.2.2.3: once",
            with(&[once, once].concat()),
            twice(T::Connack, property),
        ));
    }
    for (property, id) in [
        (Prop::RetainAvailable, 0x25),
        (Prop::WildcardSubscriptionAvailable, 0x28),
        (Prop::SubscriptionIdentifierAvailable, 0x29),
        (Prop::SharedSubscriptionAvailable, 0x2a),
    ] {
        rows.push(protocol("MQTT 5: 3.2.2.3: 0 or 1", with(&[id, 2]), value(T::Connack, property, 2)));
    }
    rows
}
