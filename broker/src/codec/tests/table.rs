//! Bytes <-> packet <-> error, each with the number of the statement that it shows: MQTT 3 here, MQTT 5 in files below.

use super::super::*;
use super::id;
use crate::message::QoS;
use crate::topic::{FilterError, NameError};
use DecodeError as E;
use Packet as P;
use PacketType as T;
use ProtocolVersion::{V3_1, V3_1_1};

mod mqtt5;
mod mqtt5_connect;
mod mqtt5_lists;
mod mqtt5_publish;

/// What the bytes of a row are.
pub(super) enum Expect {
    /// This packet, and the packet is written as these bytes.
    Packet(Packet<'static>),
    /// This packet, which is written otherwise.
    Tolerated(Packet<'static>),
    Subscribe(PacketId, Vec<(&'static str, QoS)>),
    Unsubscribe(PacketId, Vec<&'static str>),
    Suback(PacketId, Vec<ReasonCode>),
    Error(DecodeError),
    /// In MQTT 5: identifier (0 for none), user properties, subscriptions.
    Subscribe5(u32, Pairs, Vec<Subscription<'static>>),
    Unsubscribe5(Pairs, Vec<&'static str>),
    /// SUBACK or UNSUBACK: reason string, user properties, codes.
    Codes5(Option<&'static str>, Pairs, Vec<ReasonCode>),
    /// The error, and what it is called in a CONNACK or DISCONNECT.
    Error5(DecodeError, ReasonCode),
}

pub(super) type Pairs = &'static [(&'static str, &'static str)];

pub(super) struct Row {
    pub(super) rule: &'static str,
    pub(super) version: ProtocolVersion,
    pub(super) bytes: Vec<u8>,
    pub(super) expect: Expect,
}

pub(super) fn rows() -> Vec<Row> {
    [
        fixed_headers(),
        connects(),
        connects_3_1(),
        connacks(),
        publishes(),
        acks(),
        subscribes(),
        unsubscribes(),
        mqtt5::rows(),
        mqtt5_connect::rows(),
        mqtt5_publish::rows(),
        mqtt5_lists::rows(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn row(rule: &'static str, bytes: impl Into<Vec<u8>>, expect: Expect) -> Row {
    Row { rule, version: V3_1_1, bytes: bytes.into(), expect }
}

fn good(rule: &'static str, bytes: impl Into<Vec<u8>>, packet: Packet<'static>) -> Row {
    row(rule, bytes, Expect::Packet(packet))
}

fn tolerated(rule: &'static str, bytes: impl Into<Vec<u8>>, packet: Packet<'static>) -> Row {
    row(rule, bytes, Expect::Tolerated(packet))
}

fn bad(rule: &'static str, bytes: impl Into<Vec<u8>>, error: DecodeError) -> Row {
    row(rule, bytes, Expect::Error(error))
}

fn in_3_1(row: Row) -> Row {
    Row { version: V3_1, ..row }
}

fn flags(packet: PacketType, flags: u8) -> DecodeError {
    E::Flags { packet, flags }
}

fn fixed_headers() -> Vec<Row> {
    vec![
        bad("3.1.1 section 2.2.1: type 0", b"\x00\x00", E::PacketType(0)),
        bad("3.1.1 section 2.2.1: type 15", b"\xf0\x00", E::PacketType(15)),
        bad("3.1.1 section 2.2.3: five bytes", b"\x30\xff\xff\xff\xff\x01", E::RemainingLength),
        bad("3.1.1 section 2.2.3: four bytes go on", b"\x30\x80\x80\x80\x80", E::RemainingLength),
        tolerated("3.1.1 section 2.2.3: superfluous group", b"\xc0\x80\x00", P::Pingreq),
        tolerated("3.1.1 section 2.2.3: superfluous groups", b"\xc0\x80\x80\x80\x00", P::Pingreq),
        bad("MQTT-2.2.2-2", b"\x11\x00", flags(T::Connect, 1)),
        bad("MQTT-2.2.2-2", b"\x21\x02\x00\x00", flags(T::Connack, 1)),
        bad("MQTT-2.2.2-2", b"\x42\x02\x00\x01", flags(T::Puback, 2)),
        bad("MQTT-2.2.2-2", b"\x58\x02\x00\x01", flags(T::Pubrec, 8)),
        bad("MQTT-2.2.2-2", b"\x72\x02\x00\x01", flags(T::Pubcomp, 2)),
        bad("MQTT-2.2.2-2", b"\x92\x03\x00\x01\x00", flags(T::Suback, 2)),
        bad("MQTT-2.2.2-2", b"\xb2\x02\x00\x01", flags(T::Unsuback, 2)),
        bad("MQTT-2.2.2-2", b"\xc1\x00", flags(T::Pingreq, 1)),
        bad("MQTT-2.2.2-2", b"\xd4\x00", flags(T::Pingresp, 4)),
        bad("MQTT-3.14.1-1", b"\xe2\x00", flags(T::Disconnect, 2)),
        good("3.1.1 section 3.12", b"\xc0\x00", P::Pingreq),
        good("MQTT-3.12.4-1", b"\xd0\x00", P::Pingresp),
        good("3.1.1 section 3.14", b"\xe0\x00", P::Disconnect(Disconnect::new(ReasonCode::Success))),
        bad("3.1.1 section 3.12.1", b"\xc0\x01\x00", E::Trailing(T::Pingreq)),
        bad("3.1.1 section 3.14.1", b"\xe0\x02\x00\x00", E::Trailing(T::Disconnect)),
    ]
}

const CONNECT: Connect<'static> = Connect {
    version: V3_1_1,
    bridge: false,
    clean_session: true,
    keep_alive: 60,
    client_id: "a",
    will: None,
    user: None,
    password: None,
    properties: CONNECT_PROPERTIES,
};

const CONNECT_PROPERTIES: ConnectProperties<'static> = ConnectProperties {
    session_expiry: 0,
    receive_maximum: 65535,
    maximum_packet_size: None,
    topic_alias_maximum: 0,
    request_response_information: false,
    request_problem_information: true,
    user: UserProperties::Pairs(&[]),
    authentication_method: None,
    authentication_data: None,
};

const WILL: Will<'static> = Will {
    topic: "w",
    payload: b"",
    qos: QoS::AtMostOnce,
    retain: false,
    delay: 0,
    message_expiry: None,
    application: ApplicationProperties::from_valid_block(&[]),
};

fn connects() -> Vec<Row> {
    let topic = |error| E::Topic { packet: T::Connect, error };
    let everything = Connect {
        clean_session: false,
        keep_alive: 65535,
        client_id: "id",
        will: Some(Will { topic: "w/t", payload: b"\x00\xff", qos: QoS::ExactlyOnce, retain: true, ..WILL }),
        user: Some("me"),
        password: Some(b"\x00pw"),
        ..CONNECT
    };
    let anonymous = Connect { client_id: "", ..CONNECT };
    let bridge = Connect { bridge: true, ..CONNECT };
    let with_bom = Connect { client_id: "\u{feff}", ..CONNECT };
    let user_only = Connect { user: Some(""), ..CONNECT };
    let will = Connect { will: Some(WILL), ..CONNECT };
    vec![
        good("3.1.1 section 3.1", b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a", P::Connect(CONNECT.into())),
        good(
            "MQTT-3.1.3-1",
            b"\x10\x20\x00\x04MQTT\x04\xf4\xff\xff\x00\x02id\x00\x03w/t\x00\x02\x00\xff\x00\x02me\x00\x03\x00pw",
            P::Connect(everything.into()),
        ),
        good("MQTT-3.1.3-6", b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00", P::Connect(anonymous.into())),
        good("MQTT-1.5.3-3", b"\x10\x0f\x00\x04MQTT\x04\x02\x00\x3c\x00\x03\xef\xbb\xbf", P::Connect(with_bom.into())),
        good("MQTT-3.1.2-19", b"\x10\x0f\x00\x04MQTT\x04\x82\x00\x3c\x00\x01a\x00\x00", P::Connect(user_only.into())),
        good("MQTT-3.1.3-10", b"\x10\x12\x00\x04MQTT\x04\x06\x00\x3c\x00\x01a\x00\x01w\x00\x00", P::Connect(will.into())),
        good("a bridge", b"\x10\x0d\x00\x04MQTT\x84\x02\x00\x3c\x00\x01a", P::Connect(bridge.into())),
        bad("MQTT-3.1.2-1", b"\x10\x0d\x00\x04mqtt\x04\x02\x00\x3c\x00\x01a", E::ProtocolName),
        bad("MQTT-3.1.2-1", b"\x10\x02\x00\x00", E::ProtocolName),
        bad("MQTT-3.1.2-1", b"\x10\x0e\x00\x05MQTT\0\x04\x02\x00\x3c\x00\x01a", E::ProtocolName),
        bad("MQTT-3.1.2-2", b"\x10\x0d\x00\x04MQTT\x03\x02\x00\x3c\x00\x01a", E::ProtocolLevel(3)),
        bad("MQTT-3.1.2-2", b"\x10\x0e\x00\x04MQTT\x06\x02\x00\x3c\x00\x00\x01a", E::ProtocolLevel(6)),
        bad("MQTT-3.1.2-2", b"\x10\x0d\x00\x04MQTT\x00\x02\x00\x3c\x00\x01a", E::ProtocolLevel(0)),
        bad("MQTT-3.1.2-2", b"\x10\x0d\x00\x04MQTT\x83\x02\x00\x3c\x00\x01a", E::ProtocolLevel(0x83)),
        bad("MQTT-3.1.2-2", b"\x10\x0f\x00\x06MQIsdp\x04\x02\x00\x3c\x00\x01a", E::ProtocolLevel(4)),
        bad("MQTT-3.1.2-3", b"\x10\x0d\x00\x04MQTT\x04\x03\x00\x3c\x00\x01a", E::ConnectReserved),
        bad("MQTT-3.1.2-13", b"\x10\x0d\x00\x04MQTT\x04\x0a\x00\x3c\x00\x01a", E::WillFlags),
        bad("MQTT-3.1.2-15", b"\x10\x0d\x00\x04MQTT\x04\x22\x00\x3c\x00\x01a", E::WillFlags),
        bad("MQTT-3.1.2-14", b"\x10\x12\x00\x04MQTT\x04\x1e\x00\x3c\x00\x01a\x00\x01w\x00\x00", E::WillQos),
        bad("MQTT-3.1.2-11", b"\x10\x12\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a\x00\x01w\x00\x00", E::Trailing(T::Connect)),
        bad("MQTT-3.1.2-9", b"\x10\x0d\x00\x04MQTT\x04\x06\x00\x3c\x00\x01a", E::Truncated(T::Connect)),
        bad("MQTT-3.1.2-18", b"\x10\x10\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a\x00\x01u", E::Trailing(T::Connect)),
        bad("MQTT-3.1.2-19", b"\x10\x0d\x00\x04MQTT\x04\x82\x00\x3c\x00\x01a", E::Truncated(T::Connect)),
        bad("MQTT-3.1.2-20", b"\x10\x13\x00\x04MQTT\x04\x82\x00\x3c\x00\x01a\x00\x01u\x00\x01p", E::Trailing(T::Connect)),
        bad("MQTT-3.1.2-21", b"\x10\x10\x00\x04MQTT\x04\xc2\x00\x3c\x00\x01a\x00\x01u", E::Truncated(T::Connect)),
        bad("MQTT-3.1.2-22", b"\x10\x10\x00\x04MQTT\x04\x42\x00\x3c\x00\x01a\x00\x01p", E::PasswordWithoutUser),
        bad("MQTT-3.1.3-3", b"\x10\x0a\x00\x04MQTT\x04\x02\x00\x3c", E::Truncated(T::Connect)),
        bad("MQTT-3.1.3-4", b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01\x80", E::Utf8(T::Connect)),
        bad("MQTT-1.5.3-1", b"\x10\x0f\x00\x04MQTT\x04\x02\x00\x3c\x00\x03\xed\xa0\x80", E::Utf8(T::Connect)),
        bad("MQTT-1.5.3-2", b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01\x00", E::Nul(T::Connect)),
        bad("MQTT-3.1.3-8", b"\x10\x0c\x00\x04MQTT\x04\x00\x00\x3c\x00\x00", E::ClientIdEmpty),
        bad("MQTT-3.1.4-1", b"\x10\x0d\x00\x04MQTT\x04\x00\x00\x3c\x00\x00\xff", E::Trailing(T::Connect)),
        bad("MQTT-3.1.3-10", b"\x10\x12\x00\x04MQTT\x04\x06\x00\x3c\x00\x01a\x00\x01\xff\x00\x00", E::Utf8(T::Connect)),
        bad("MQTT-4.7.3-1", b"\x10\x11\x00\x04MQTT\x04\x06\x00\x3c\x00\x01a\x00\x00\x00\x00", topic(NameError::Empty)),
        bad("MQTT-4.7.1-1", b"\x10\x12\x00\x04MQTT\x04\x06\x00\x3c\x00\x01a\x00\x01#\x00\x00", topic(NameError::Wildcard)),
        bad("MQTT-3.1.3-11", b"\x10\x10\x00\x04MQTT\x04\x82\x00\x3c\x00\x01a\x00\x01\xff", E::Utf8(T::Connect)),
        bad("3.1.1 section 3.1.2", b"\x10\x06\x00\x04MQTT", E::Truncated(T::Connect)),
        bad("3.1.1 section 3.1.2", b"\x10\x00", E::Truncated(T::Connect)),
        bad("3.1.1 section 3.1.2", b"\x10\x04\x00\x04MQ", E::Truncated(T::Connect)),
    ]
}

fn connects_3_1() -> Vec<Row> {
    const OLD: Connect<'static> = Connect { version: V3_1, ..CONNECT };
    const LONG: &str = "more-than-twenty-three-characters";
    let user = Connect { user: Some("u"), ..OLD };
    [
        good("3.1 section 3.1", b"\x10\x0f\x00\x06MQIsdp\x03\x02\x00\x3c\x00\x01a", P::Connect(OLD.into())),
        good(
            "a bridge",
            b"\x10\x0f\x00\x06MQIsdp\x83\x02\x00\x3c\x00\x01a",
            P::Connect(Connect { bridge: true, ..OLD }.into()),
        ),
        good(
            "3.1: long client identifier",
            b"\x10\x2f\x00\x06MQIsdp\x03\x02\x00\x3c\x00\x21more-than-twenty-three-characters",
            P::Connect(Connect { client_id: LONG, ..OLD }.into()),
        ),
        tolerated(
            "3.1: reserved flag",
            b"\x10\x0f\x00\x06MQIsdp\x03\x03\x00\x3c\x00\x01a",
            P::Connect(OLD.into()),
        ),
        tolerated(
            "3.1: will flags alone",
            b"\x10\x0f\x00\x06MQIsdp\x03\x3a\x00\x3c\x00\x01a",
            P::Connect(OLD.into()),
        ),
        tolerated(
            "3.1: user name missing",
            b"\x10\x0f\x00\x06MQIsdp\x03\x82\x00\x3c\x00\x01a",
            P::Connect(OLD.into()),
        ),
        tolerated(
            "3.1: both missing",
            b"\x10\x0f\x00\x06MQIsdp\x03\xc2\x00\x3c\x00\x01a",
            P::Connect(OLD.into()),
        ),
        tolerated(
            "3.1: password missing",
            b"\x10\x12\x00\x06MQIsdp\x03\xc2\x00\x3c\x00\x01a\x00\x01u",
            P::Connect(user.into()),
        ),
        bad("3.1: no client identifier", b"\x10\x0e\x00\x06MQIsdp\x03\x02\x00\x3c\x00\x00", E::ClientIdEmpty),
        bad(
            "3.1: password alone",
            b"\x10\x12\x00\x06MQIsdp\x03\x42\x00\x3c\x00\x01a\x00\x01p",
            E::PasswordWithoutUser,
        ),
        bad(
            "3.1: will QoS 3",
            b"\x10\x14\x00\x06MQIsdp\x03\x1e\x00\x3c\x00\x01a\x00\x01w\x00\x00",
            E::WillQos,
        ),
        bad(
            "3.1: cut user name",
            b"\x10\x10\x00\x06MQIsdp\x03\x82\x00\x3c\x00\x01a\x00",
            E::Truncated(T::Connect),
        ),
        bad(
            "3.1: more than announced",
            b"\x10\x10\x00\x06MQIsdp\x03\x02\x00\x3c\x00\x01a\x00",
            E::Trailing(T::Connect),
        ),
    ]
    .map(in_3_1)
    .into()
}

fn connacks() -> Vec<Row> {
    use ReasonCode as C;
    let accepted = |session_present| P::Connack(Connack { session_present, ..Connack::default() }.into());
    let refused = |code| P::Connack(Connack::refused(code).into());
    vec![
        good("MQTT-3.2.2-1", b"\x20\x02\x00\x00", accepted(false)),
        good("MQTT-3.2.2-2", b"\x20\x02\x01\x00", accepted(true)),
        good("MQTT-3.1.2-2", b"\x20\x02\x00\x01", refused(C::UnsupportedProtocolVersion)),
        good("MQTT-3.1.3-8", b"\x20\x02\x00\x02", refused(C::ClientIdentifierNotValid)),
        good("3.1.1 table 3.1", b"\x20\x02\x00\x03", refused(C::ServerUnavailable)),
        good("3.1.1 table 3.1", b"\x20\x02\x00\x04", refused(C::BadUserNameOrPassword)),
        good("3.1.1 table 3.1", b"\x20\x02\x00\x05", refused(C::NotAuthorized)),
        in_3_1(tolerated("3.1: reserved byte", b"\x20\x02\x01\x00", accepted(false))),
        bad("3.1.1 section 3.2.2.1", b"\x20\x02\x02\x00", E::Connack([2, 0])),
        bad("MQTT-3.2.2-4", b"\x20\x02\x01\x05", E::Connack([1, 5])),
        bad("3.1.1 table 3.1", b"\x20\x02\x00\x06", E::Connack([0, 6])),
        bad("3.1.1 section 3.2.1", b"\x20\x01\x00", E::Truncated(T::Connack)),
        bad("3.1.1 section 3.2.1", b"\x20\x03\x00\x00\x00", E::Trailing(T::Connack)),
    ]
}

fn publishes() -> Vec<Row> {
    let plain = Publish {
        topic: "a",
        payload: b"x",
        delivery: Delivery::AtMostOnce,
        retain: false,
        properties: PublishProperties::default(),
    };
    let at_least_once = |number, dup| Delivery::AtLeastOnce { id: id(number), dup };
    let exactly_once = |number, dup| Delivery::ExactlyOnce { id: id(number), dup };
    let publish = |delivery| P::Publish(Publish { delivery, ..plain });
    let topic = |error| E::Topic { packet: T::Publish, error };
    vec![
        good("3.1.1 section 3.3", b"\x30\x04\x00\x01ax", P::Publish(plain)),
        good("MQTT-3.3.1-5", b"\x31\x04\x00\x01ax", P::Publish(Publish { retain: true, ..plain })),
        good("3.1.1 section 3.3.3", b"\x30\x03\x00\x01a", P::Publish(Publish { payload: b"", ..plain })),
        good(
            "3.1.1 section 3.3.3",
            b"\x30\x05\x00\x01a\x00\xff",
            P::Publish(Publish { payload: b"\x00\xff", ..plain }),
        ),
        good("MQTT-4.7.3-1", b"\x30\x03\x00\x01/", P::Publish(Publish { topic: "/", payload: b"", ..plain })),
        good("MQTT-2.3.1-1", b"\x32\x06\x00\x01a\x00\x01x", publish(at_least_once(1, false))),
        good("MQTT-3.3.1-1", b"\x3a\x06\x00\x01a\xff\xffx", publish(at_least_once(65535, true))),
        good("MQTT-2.3.1-1", b"\x34\x06\x00\x01a\x01\x00x", publish(exactly_once(256, false))),
        good("MQTT-3.3.1-1", b"\x3c\x06\x00\x01a\x00\x01x", publish(exactly_once(1, true))),
        in_3_1(good("3.1 section 3.3", b"\x32\x06\x00\x01a\x00\x01x", publish(at_least_once(1, false)))),
        bad("MQTT-3.3.1-2", b"\x38\x04\x00\x01ax", E::DupWithoutQos),
        bad("MQTT-3.3.1-2", b"\x39\x04\x00\x01ax", E::DupWithoutQos),
        in_3_1(bad("3.1: DUP with QoS 0", b"\x38\x04\x00\x01ax", E::DupWithoutQos)),
        bad("MQTT-3.3.1-4", b"\x36\x06\x00\x01a\x00\x01x", E::PublishQos),
        bad("MQTT-3.3.1-4", b"\x3f\x06\x00\x01a\x00\x01x", E::PublishQos),
        bad("MQTT-2.3.1-1", b"\x32\x06\x00\x01a\x00\x00x", E::PacketIdZero(T::Publish)),
        bad("MQTT-2.3.1-1", b"\x34\x05\x00\x01a\x00\x00", E::PacketIdZero(T::Publish)),
        bad("MQTT-2.3.1-1", b"\x32\x03\x00\x01a", E::Truncated(T::Publish)),
        bad("MQTT-3.3.2-1", b"\x30\x00", E::Truncated(T::Publish)),
        bad("MQTT-3.3.2-1", b"\x30\x03\x00\x02a", E::Truncated(T::Publish)),
        bad("MQTT-3.3.2-1", b"\x30\x04\x00\x02\xc3\x28", E::Utf8(T::Publish)),
        bad("MQTT-1.5.3-1", b"\x30\x05\x00\x03\xed\xbf\xbf", E::Utf8(T::Publish)),
        bad("MQTT-1.5.3-2", b"\x30\x05\x00\x03a\x00b", topic(NameError::Nul)),
        bad("MQTT-4.7.3-1", b"\x30\x03\x00\x00x", topic(NameError::Empty)),
        bad("MQTT-3.3.2-2", b"\x30\x05\x00\x03a/#", topic(NameError::Wildcard)),
        bad("MQTT-3.3.2-2", b"\x30\x05\x00\x03a+b", topic(NameError::Wildcard)),
    ]
}

fn acks() -> Vec<Row> {
    let in_both = |bytes: &[u8; 4], packet| {
        [good("3.1.1 sections 3.4 to 3.7", bytes, Packet::clone(&packet)), in_3_1(good("3.1", bytes, packet))]
    };
    let ack = |number| Ack::new(id(number), ReasonCode::Success);
    let mut rows: Vec<Row> = [
        in_both(b"\x40\x02\x00\x01", P::Puback(ack(1))),
        in_both(b"\x50\x02\x12\x34", P::Pubrec(ack(0x1234))),
        in_both(b"\x62\x02\xff\xff", P::Pubrel(ack(65535))),
        in_both(b"\x70\x02\x00\x0a", P::Pubcomp(ack(10))),
    ]
    .into_iter()
    .flatten()
    .collect();
    rows.extend([
        bad("MQTT-3.6.1-1", b"\x60\x02\x00\x01", flags(T::Pubrel, 0)),
        bad("MQTT-3.6.1-1", b"\x6a\x02\x00\x01", flags(T::Pubrel, 10)),
        in_3_1(tolerated("3.1 section 3.6: sent again", b"\x6a\x02\x00\x01", P::Pubrel(ack(1)))),
        in_3_1(bad("3.1 section 3.6: QoS 1", b"\x60\x02\x00\x01", flags(T::Pubrel, 0))),
        bad("MQTT-2.3.1-1", b"\x40\x02\x00\x00", E::PacketIdZero(T::Puback)),
        bad("MQTT-2.3.1-1", b"\x50\x02\x00\x00", E::PacketIdZero(T::Pubrec)),
        bad("MQTT-2.3.1-1", b"\x62\x02\x00\x00", E::PacketIdZero(T::Pubrel)),
        bad("MQTT-2.3.1-1", b"\x70\x02\x00\x00", E::PacketIdZero(T::Pubcomp)),
        bad("MQTT-2.3.1-1", b"\xb0\x02\x00\x00", E::PacketIdZero(T::Unsuback)),
        bad("3.1.1 section 3.4.1", b"\x40\x00", E::Truncated(T::Puback)),
        bad("3.1.1 section 3.5.1", b"\x50\x01\x00", E::Truncated(T::Pubrec)),
        bad("3.1.1 section 3.6.1", b"\x62\x03\x00\x01\x00", E::Trailing(T::Pubrel)),
        bad("3.1.1 section 3.7.1", b"\x70\x04\x00\x01\x00\x00", E::Trailing(T::Pubcomp)),
        bad("3.1.1 section 3.11.1", b"\xb0\x03\x00\x01\x00", E::Trailing(T::Unsuback)),
    ]);
    rows
}

fn subscribes() -> Vec<Row> {
    use QoS::{AtLeastOnce, AtMostOnce, ExactlyOnce};
    let filter = |error| E::Filter { packet: T::Subscribe, error };
    let one = || Expect::Subscribe(id(1), vec![("a", AtMostOnce)]);
    let three = vec![("a/+", AtMostOnce), ("#", AtLeastOnce), ("/", ExactlyOnce)];
    let codes = vec![ReasonCode::Success, ReasonCode::GrantedQos2, ReasonCode::UnspecifiedError];
    vec![
        row("MQTT-3.8.3-1", b"\x82\x06\x00\x01\x00\x01a\x00", one()),
        row(
            "MQTT-3.8.4-4",
            b"\x82\x10\x01\x00\x00\x03a/+\x00\x00\x01#\x01\x00\x01/\x02",
            Expect::Subscribe(id(256), three),
        ),
        in_3_1(row("3.1 section 3.8", b"\x82\x06\x00\x01\x00\x01a\x00", one())),
        bad("MQTT-3.8.1-1", b"\x80\x06\x00\x01\x00\x01a\x00", flags(T::Subscribe, 0)),
        bad("MQTT-3.8.1-1", b"\x8a\x06\x00\x01\x00\x01a\x00", flags(T::Subscribe, 10)),
        in_3_1(bad("3.1 section 3.8: QoS 1", b"\x80\x06\x00\x01\x00\x01a\x00", flags(T::Subscribe, 0))),
        bad("MQTT-2.3.1-1", b"\x82\x06\x00\x00\x00\x01a\x00", E::PacketIdZero(T::Subscribe)),
        bad("MQTT-3.8.3-3", b"\x82\x02\x00\x01", E::NoFilters(T::Subscribe)),
        bad("MQTT-3-8.3-4", b"\x82\x06\x00\x01\x00\x01a\x03", E::RequestedQos(3)),
        bad("MQTT-3-8.3-4", b"\x82\x06\x00\x01\x00\x01a\x04", E::RequestedQos(4)),
        bad("MQTT-3-8.3-4", b"\x82\x06\x00\x01\x00\x01a\x80", E::RequestedQos(0x80)),
        bad("MQTT-3-8.3-4", b"\x82\x0a\x00\x01\x00\x01a\x00\x00\x01b\x41", E::RequestedQos(0x41)),
        bad("MQTT-3.8.3-1", b"\x82\x06\x00\x01\x00\x01\xff\x00", E::Utf8(T::Subscribe)),
        bad("MQTT-1.5.3-2", b"\x82\x06\x00\x01\x00\x01\x00\x00", filter(FilterError::Nul)),
        bad("MQTT-4.7.3-1", b"\x82\x05\x00\x01\x00\x00\x00", filter(FilterError::Empty)),
        bad("MQTT-4.7.1-2", b"\x82\x08\x00\x01\x00\x03#/a\x00", filter(FilterError::HashNotLast)),
        bad("MQTT-4.7.1-2", b"\x82\x07\x00\x01\x00\x02a#\x00", filter(FilterError::WildcardInLevel)),
        bad("MQTT-4.7.1-3", b"\x82\x07\x00\x01\x00\x02a+\x00", filter(FilterError::WildcardInLevel)),
        bad("3.1.1 section 3.8.3", b"\x82\x05\x00\x01\x00\x01a", E::Truncated(T::Subscribe)),
        bad("3.1.1 section 3.8.3", b"\x82\x07\x00\x01\x00\x01a\x00\x00", E::Truncated(T::Subscribe)),
        bad("3.1.1 section 3.8.2", b"\x82\x01\x00", E::Truncated(T::Subscribe)),
        row("MQTT-3.9.3-1", b"\x90\x05\x00\x01\x00\x02\x80", Expect::Suback(id(1), codes)),
        bad("MQTT-3.9.3-2", b"\x90\x03\x00\x01\x03", E::ReasonCode { packet: T::Suback, code: 3 }),
        bad("MQTT-3.9.3-2", b"\x90\x03\x00\x01\x87", E::ReasonCode { packet: T::Suback, code: 0x87 }),
        bad("MQTT-3.8.4-5", b"\x90\x02\x00\x01", E::Truncated(T::Suback)),
        bad("MQTT-2.3.1-1", b"\x90\x03\x00\x00\x00", E::PacketIdZero(T::Suback)),
    ]
}

fn unsubscribes() -> Vec<Row> {
    let filter = |error| E::Filter { packet: T::Unsubscribe, error };
    vec![
        row("MQTT-3.10.3-1", b"\xa2\x05\x00\x01\x00\x01a", Expect::Unsubscribe(id(1), vec!["a"])),
        row(
            "MQTT-3.10.4-6",
            b"\xa2\x0a\xff\xff\x00\x03+/#\x00\x01/",
            Expect::Unsubscribe(id(65535), vec!["+/#", "/"]),
        ),
        bad("MQTT-3.10.1-1", b"\xa0\x05\x00\x01\x00\x01a", flags(T::Unsubscribe, 0)),
        bad("MQTT-3.10.1-1", b"\xa3\x05\x00\x01\x00\x01a", flags(T::Unsubscribe, 3)),
        bad("MQTT-2.3.1-1", b"\xa2\x05\x00\x00\x00\x01a", E::PacketIdZero(T::Unsubscribe)),
        bad("MQTT-3.10.3-2", b"\xa2\x02\x00\x01", E::NoFilters(T::Unsubscribe)),
        bad("MQTT-3.10.3-1", b"\xa2\x05\x00\x01\x00\x01\xc0", E::Utf8(T::Unsubscribe)),
        bad("MQTT-4.7.3-1", b"\xa2\x04\x00\x01\x00\x00", filter(FilterError::Empty)),
        bad("MQTT-4.7.1-2", b"\xa2\x07\x00\x01\x00\x03#/a", filter(FilterError::HashNotLast)),
        bad("MQTT-4.7.1-3", b"\xa2\x06\x00\x01\x00\x02++", filter(FilterError::WildcardInLevel)),
        row("MQTT-3.10.4-4", b"\xb0\x02\x00\x0a", Expect::Codes5(None, &[], vec![])),
        in_3_1(row("3.1 section 3.11", b"\xb0\x02\x00\x0a", Expect::Codes5(None, &[], vec![]))),
        bad("3.1.1 section 3.10.3", b"\xa2\x05\x00\x01\x00\x02a", E::Truncated(T::Unsubscribe)),
    ]
}
