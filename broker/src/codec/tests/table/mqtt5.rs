//! The parts that rows of MQTT 5 are made of; and fixed headers, DISCONNECT and AUTH.

use super::*;
use ReasonCode as R;

/// A row of MQTT 5.
pub(super) fn v5(row: Row) -> Row {
    Row { version: ProtocolVersion::V5, ..row }
}

pub(super) fn ok(rule: &'static str, bytes: Vec<u8>, packet: Packet<'static>) -> Row {
    v5(good(rule, bytes, packet))
}

/// Taken, but written otherwise.
pub(super) fn otherwise(rule: &'static str, bytes: Vec<u8>, packet: Packet<'static>) -> Row {
    v5(tolerated(rule, bytes, packet))
}

/// Refused as malformed.
pub(super) fn malformed(rule: &'static str, bytes: Vec<u8>, error: DecodeError) -> Row {
    v5(row(rule, bytes, Expect::Error5(error, R::MalformedPacket)))
}

/// Refused as a protocol error.
pub(super) fn protocol(rule: &'static str, bytes: Vec<u8>, error: DecodeError) -> Row {
    v5(row(rule, bytes, Expect::Error5(error, R::ProtocolError)))
}

/// A packet of these parts, with its remaining length.
pub(super) fn bytes(first: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let mut bytes = vec![first];
    writer::push_variable(&mut bytes, body.len());
    bytes.extend(body);
    bytes
}

/// A block of these properties, with its length.
pub(super) fn block(properties: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    writer::push_variable(&mut bytes, properties.concat().len());
    bytes.extend(properties.concat());
    bytes
}

pub(super) fn unknown(packet: PacketType, id: u8) -> DecodeError {
    E::PropertyUnknown { packet, id }
}

pub(super) fn not_allowed(packet: PacketType, property: Property) -> DecodeError {
    E::PropertyNotAllowed { packet, property }
}

pub(super) fn twice(packet: PacketType, property: Property) -> DecodeError {
    E::PropertyTwice { packet, property }
}

pub(super) fn value(packet: PacketType, property: Property, value: u32) -> DecodeError {
    E::PropertyValue { packet, property, value }
}

pub(super) fn reason(packet: PacketType, code: u8) -> DecodeError {
    E::ReasonCode { packet, code }
}

pub(super) fn rows() -> Vec<Row> {
    [fixed_headers(), disconnects(), auths()].into_iter().flatten().collect()
}

fn fixed_headers() -> Vec<Row> {
    vec![
        malformed("MQTT 5: 2.1.2: type 0", b"\x00\x00".into(), E::PacketType(0)),
        malformed("MQTT 5: 1.5.5: five bytes", b"\x30\xff\xff\xff\xff\x01".into(), E::RemainingLength),
        malformed("[MQTT5-1.5.5-1]", b"\xc0\x80\x00".into(), E::RemainingLengthNotMinimal),
        malformed("[MQTT5-1.5.5-1]", b"\x30\x84\x00\0\x01a\0".into(), E::RemainingLengthNotMinimal),
        malformed("[MQTT5-2.1.3-1]", b"\x11\x00".into(), flags(T::Connect, 1)),
        malformed("[MQTT5-2.1.3-1]", b"\x22\x03\0\0\0".into(), flags(T::Connack, 2)),
        malformed("[MQTT5-2.1.3-1]", b"\x44\x02\0\x01".into(), flags(T::Puback, 4)),
        malformed("[MQTT5-2.1.3-1]", b"\x58\x02\0\x01".into(), flags(T::Pubrec, 8)),
        malformed("[MQTT5-3.6.1-1]", b"\x60\x02\0\x01".into(), flags(T::Pubrel, 0)),
        malformed("[MQTT5-3.6.1-1]", b"\x6a\x02\0\x01".into(), flags(T::Pubrel, 10)),
        malformed("[MQTT5-2.1.3-1]", b"\x71\x02\0\x01".into(), flags(T::Pubcomp, 1)),
        malformed("[MQTT5-3.8.1-1]", b"\x80\x07\0\x01\0\0\x01a\0".into(), flags(T::Subscribe, 0)),
        malformed("[MQTT5-3.8.1-1]", b"\x8a\x07\0\x01\0\0\x01a\0".into(), flags(T::Subscribe, 10)),
        malformed("[MQTT5-2.1.3-1]", b"\x91\x04\0\x01\0\0".into(), flags(T::Suback, 1)),
        malformed("[MQTT5-3.10.1-1]", b"\xa0\x06\0\x01\0\0\x01a".into(), flags(T::Unsubscribe, 0)),
        malformed("[MQTT5-2.1.3-1]", b"\xb2\x04\0\x01\0\0".into(), flags(T::Unsuback, 2)),
        malformed("[MQTT5-2.1.3-1]", b"\xc1\x00".into(), flags(T::Pingreq, 1)),
        malformed("[MQTT5-2.1.3-1]", b"\xd8\x00".into(), flags(T::Pingresp, 8)),
        malformed("[MQTT5-3.14.1-1]", b"\xe1\x00".into(), flags(T::Disconnect, 1)),
        malformed("[MQTT5-3.15.1-1]", b"\xf2\x00".into(), flags(T::Auth, 2)),
        ok("MQTT 5: 3.12", b"\xc0\x00".into(), P::Pingreq),
        ok("[MQTT5-3.12.4-1]", b"\xd0\x00".into(), P::Pingresp),
        malformed("MQTT 5: 3.12.1", b"\xc0\x01\x00".into(), E::Trailing(T::Pingreq)),
        malformed("MQTT 5: 3.13.1", b"\xd0\x01\x00".into(), E::Trailing(T::Pingresp)),
    ]
}

fn disconnects() -> Vec<Row> {
    let plain = Disconnect::default();
    let with_reason = |reason| P::Disconnect(Disconnect::new(reason));
    let everything = Disconnect {
        reason: R::ServerMoved,
        session_expiry: Some(7),
        reason_string: Some("why"),
        user: UserProperties::Pairs(&[("a", "b"), ("a", "")]),
        server_reference: Some("other:1883"),
    };
    let all: &[&[u8]] =
        &[b"\x11\0\0\0\x07", b"\x1f\0\x03why", b"\x26\0\x01a\0\x01b\x26\0\x01a\0\0", b"\x1c\0\x0aother:1883"];
    let with = |properties: &[&[u8]]| bytes(0xe0, &[b"\x00", &block(properties)]);
    let bad_reason =
        |code: u8| malformed("[MQTT5-3.14.2-1]", bytes(0xe0, &[&[code]]), reason(T::Disconnect, code));
    let mut rows = vec![
        ok("MQTT 5: 3.14.2.1: no reason", b"\xe0\x00".into(), P::Disconnect(plain)),
        otherwise("MQTT 5: 3.14.2.1: reason 0", b"\xe0\x01\x00".into(), P::Disconnect(plain)),
        otherwise("MQTT 5: 3.14.2.2.1: no properties", b"\xe0\x02\x00\x00".into(), P::Disconnect(plain)),
        ok("[MQTT5-3.14.2-1]", b"\xe0\x01\x04".into(), with_reason(R::DisconnectWithWill)),
        ok("[MQTT5-3.14.2-1]", b"\xe0\x01\x8e".into(), with_reason(R::SessionTakenOver)),
        ok("[MQTT5-3.14.2-1]", b"\xe0\x01\xa2".into(), with_reason(R::WildcardSubscriptionsNotSupported)),
        ok("MQTT 5: 3.14.2.2", bytes(0xe0, &[b"\x9d", &block(all)]), P::Disconnect(everything)),
        malformed(
            "MQTT 5: 2.2.2.2",
            with(&[b"\x22\0\x01"]),
            not_allowed(T::Disconnect, Property::TopicAliasMaximum),
        ),
        malformed("MQTT 5: 2.2.2.2", with(&[b"\x04\0\x01"]), unknown(T::Disconnect, 4)),
        protocol(
            "MQTT 5: 3.14.2.2.2",
            with(&[b"\x11\0\0\0\x01\x11\0\0\0\x01"]),
            twice(T::Disconnect, Property::SessionExpiryInterval),
        ),
        protocol(
            "MQTT 5: 3.14.2.2.3",
            with(&[b"\x1f\0\0\x1f\0\0"]),
            twice(T::Disconnect, Property::ReasonString),
        ),
        protocol(
            "MQTT 5: 3.14.2.2.5",
            with(&[b"\x1c\0\0\x1c\0\0"]),
            twice(T::Disconnect, Property::ServerReference),
        ),
        malformed("[MQTT5-1.5.4-1]", with(&[b"\x1f\0\x01\xff"]), E::Utf8(T::Disconnect)),
        malformed("[MQTT5-1.5.4-2]", with(&[b"\x1f\0\x01\0"]), E::Nul(T::Disconnect)),
        malformed("MQTT 5: 2.2.2.1", b"\xe0\x03\x00\x05\x11".into(), E::Truncated(T::Disconnect)),
        malformed("MQTT 5: 2.2.2.1", b"\xe0\x03\x00\x01\x11".into(), E::Truncated(T::Disconnect)),
        malformed("MQTT 5: 2.2.2.1", b"\xe0\x03\x00\x00\x11".into(), E::Trailing(T::Disconnect)),
        malformed("[MQTT5-1.5.5-1]", b"\xe0\x03\x00\x80\x00".into(), E::VariableInteger(T::Disconnect)),
        malformed("MQTT 5: 1.5.5", b"\xe0\x05\0\x80\x80\x80\x80".into(), E::VariableInteger(T::Disconnect)),
        malformed("MQTT 5: 1.5.5", b"\xe0\x03\0\x80\x80".into(), E::Truncated(T::Disconnect)),
    ];
    rows.extend([0x01, 0x05, 0x10, 0x18, 0x7f, 0x84, 0x88, 0x8a, 0x91, 0x92, 0xa3, 0xff].map(bad_reason));
    rows
}

fn auths() -> Vec<Row> {
    let go_on = Auth {
        reason: R::ContinueAuthentication,
        method: Some("SCRAM"),
        data: Some(b"\x00\xff"),
        ..Auth::default()
    };
    let everything = Auth {
        reason: R::ReAuthenticate,
        method: Some("m"),
        data: Some(b""),
        reason_string: Some("r"),
        user: UserProperties::Pairs(&[("k", "v")]),
    };
    let with = |properties: &[&[u8]]| bytes(0xf0, &[b"\x18", &block(properties)]);
    let bad_reason = |code: u8| {
        let bytes = bytes(0xf0, &[&[code], &block(&[b"\x15\0\x01m"])]);
        malformed("[MQTT5-3.15.2-1]", bytes, reason(T::Auth, code))
    };
    let mut rows = vec![
        ok("MQTT 5: 3.15.2.1: short form", b"\xf0\x00".into(), P::Auth(Auth::default())),
        otherwise("MQTT 5: 3.15.2.2.1", b"\xf0\x02\x00\x00".into(), P::Auth(Auth::default())),
        ok("[MQTT5-3.15.2-1]", with(&[b"\x15\0\x05SCRAM\x16\0\x02\x00\xff"]), P::Auth(go_on)),
        ok(
            "[MQTT5-3.15.2-1]",
            bytes(0xf0, &[b"\x19", &block(&[b"\x15\0\x01m\x16\0\0\x1f\0\x01r\x26\0\x01k\0\x01v"])]),
            P::Auth(everything),
        ),
        malformed("MQTT 5: 3.15.2.2.1", b"\xf0\x01\x18".into(), E::Truncated(T::Auth)),
        protocol("MQTT 5: 3.15.2.2.2", with(&[]), E::NoAuthenticationMethod),
        protocol("MQTT 5: 3.15.2.2.2", with(&[b"\x1f\0\x01r"]), E::NoAuthenticationMethod),
        protocol(
            "MQTT 5: 3.15.2.2.2",
            with(&[b"\x15\0\x01m\x15\0\x01m"]),
            twice(T::Auth, Property::AuthenticationMethod),
        ),
        protocol(
            "MQTT 5: 3.15.2.2.3",
            with(&[b"\x15\0\x01m\x16\0\0\x16\0\0"]),
            twice(T::Auth, Property::AuthenticationData),
        ),
        protocol("MQTT 5: 3.15.2.2.3", with(&[b"\x16\0\0"]), E::AuthenticationDataAlone(T::Auth)),
        malformed(
            "MQTT 5: 2.2.2.2",
            with(&[b"\x1c\0\x01s"]),
            not_allowed(T::Auth, Property::ServerReference),
        ),
    ];
    rows.extend([0x01, 0x04, 0x80, 0x87, 0x8c].map(bad_reason));
    rows
}
