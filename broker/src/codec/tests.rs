//! The table of bytes, packets and errors; what the size limit and cuts do; the first packet.

use super::*;
use crate::message::QoS;
use ProtocolVersion::{V3_1, V3_1_1, V5};
use table::{Expect, Row};

mod mqtt5;
mod properties;
mod table;

const LIMIT: usize = 1 << 20;
const NO_USER: UserProperties<'static> = UserProperties::Pairs(&[]);

/// A PUBLISH with QoS 0 and nothing special.
fn plain<'a>(topic: &'a str, payload: &'a [u8]) -> Publish<'a> {
    let delivery = Delivery::AtMostOnce;
    Publish { topic, payload, delivery, retain: false, properties: PublishProperties::default() }
}

fn id(number: u16) -> PacketId {
    PacketId::new(number).unwrap()
}

fn packet(bytes: &[u8], version: ProtocolVersion) -> Packet<'_> {
    match decode(bytes, version, LIMIT) {
        Ok(Decoded::Packet { packet, len }) if len == bytes.len() => packet,
        other => panic!("{bytes:02x?}: {other:?}"),
    }
}

#[track_caller]
fn check_row(row: &Row) {
    let Row { rule, version, bytes, expect } = row;
    let result = decode(bytes, *version, LIMIT);
    let case = format!("{rule} {version} {bytes:02x?}");
    if let Expect::Error(error) | Expect::Error5(error, _) = expect {
        assert_eq!(result, Err(*error), "{case}");
        if let Expect::Error5(error, reason) = expect {
            assert_eq!(error.reason(), *reason, "{case}");
        }
        return;
    }
    let Ok(Decoded::Packet { packet, len }) = result else { panic!("{case}: {result:?}") };
    assert_eq!(len, bytes.len(), "{case}");
    match (expect, &packet) {
        (Expect::Packet(wanted) | Expect::Tolerated(wanted), packet) => assert_eq!(packet, wanted, "{case}"),
        (Expect::Subscribe(id, wanted), Packet::Subscribe(packet)) => {
            assert_eq!(packet.packet_id, *id, "{case}");
            let got: Vec<_> = packet.subscriptions().map(|s| (s.filter, s.qos)).collect();
            assert_eq!(got, *wanted, "{case}");
        }
        (Expect::Unsubscribe(id, wanted), Packet::Unsubscribe(packet)) => {
            assert_eq!(packet.packet_id, *id, "{case}");
            assert_eq!(packet.filters().collect::<Vec<_>>(), *wanted, "{case}");
        }
        (Expect::Suback(id, wanted), Packet::Suback(packet)) => {
            assert_eq!(packet.packet_id, *id, "{case}");
            assert_eq!(packet.codes().collect::<Vec<_>>(), *wanted, "{case}");
        }
        (expect, packet) => check_lists(expect, packet, &case),
    }
    if !matches!(expect, Expect::Tolerated(_)) {
        let mut written = Vec::new();
        packet.encode(&mut written, *version).unwrap();
        assert_eq!(written, *bytes, "{case}");
    }
}

#[track_caller]
fn check_lists(expect: &Expect, packet: &Packet<'_>, case: &str) {
    match (expect, packet) {
        (Expect::Subscribe5(identifier, user, wanted), Packet::Subscribe(packet)) => {
            assert_eq!(packet.identifier.map_or(0, std::num::NonZeroU32::get), *identifier, "{case}");
            assert_eq!(packet.user, UserProperties::Pairs(user), "{case}");
            assert_eq!(packet.subscriptions().collect::<Vec<_>>(), *wanted, "{case}");
        }
        (Expect::Unsubscribe5(user, wanted), Packet::Unsubscribe(packet)) => {
            assert_eq!(packet.user, UserProperties::Pairs(user), "{case}");
            assert_eq!(packet.filters().collect::<Vec<_>>(), *wanted, "{case}");
        }
        (Expect::Codes5(reason_string, user, wanted), Packet::Suback(packet)) => {
            let got = (packet.reason_string, packet.user, packet.codes().collect());
            assert_eq!(got, (*reason_string, UserProperties::Pairs(user), wanted.clone()), "{case}");
        }
        (Expect::Codes5(reason_string, user, wanted), Packet::Unsuback(packet)) => {
            let got = (packet.reason_string, packet.user, packet.codes().collect());
            assert_eq!(got, (*reason_string, UserProperties::Pairs(user), wanted.clone()), "{case}");
        }
        (_, packet) => panic!("{case}: {packet:?}"),
    }
}

#[test]
fn every_row_of_the_table_holds() {
    for row in table::rows() {
        check_row(&row);
    }
}

#[test]
fn a_packet_cut_anywhere_is_not_enough_or_already_wrong() {
    for Row { version, bytes, .. } in table::rows() {
        check_stream(&bytes, version, LIMIT);
    }
}

#[test]
fn what_follows_a_packet_is_left_alone() {
    let bytes = b"\x30\x04\x00\x01ax\xff\xff\xff";
    let Ok(Decoded::Packet { packet: Packet::Publish(publish), len }) = decode(bytes, V3_1_1, LIMIT) else {
        panic!()
    };
    assert_eq!((publish.payload, len), (&b"x"[..], 6));
}

#[test]
fn the_decoder_says_how_many_bytes_it_needs() {
    for (bytes, wanted) in [
        (&b""[..], 2),
        (b"\x30", 2),
        (b"\x30\x04", 6),
        (b"\x30\x04\x00\x01a", 6),
        (b"\x30\x80", 3),
        (b"\x30\x80\x80", 4),
        (b"\x30\x80\x80\x20", 4 + 0x8_0000),
    ] {
        assert_eq!(decode(bytes, V3_1_1, LIMIT), Ok(Decoded::NeedMore { at_least: wanted }), "{bytes:02x?}");
    }
}

#[test]
fn the_size_limit_holds_before_the_body_arrives() {
    let header = b"\x30\x80\x01"; // 128 bytes behind 3
    assert_eq!(decode(header, V3_1_1, 131), Ok(Decoded::NeedMore { at_least: 131 }));
    assert_eq!(decode(header, V3_1_1, 130), Err(DecodeError::TooLarge { size: 131, limit: 130 }));
    let largest = b"\x30\xff\xff\xff\x7f";
    let size = 5 + REMAINING_LENGTH_MAX;
    assert_eq!(decode(largest, V3_1_1, LIMIT), Err(DecodeError::TooLarge { size, limit: LIMIT }));
    assert_eq!(decode(largest, V3_1_1, usize::MAX), Ok(Decoded::NeedMore { at_least: size }));
}

#[test]
fn packets_of_one_size_are_refused_by_their_length_alone() {
    let ping = decode(b"\xc0\x80\x80\x01", V3_1_1, LIMIT);
    assert_eq!(ping, Err(DecodeError::Trailing(PacketType::Pingreq)));
    assert_eq!(decode(b"\x40\x03", V3_1_1, LIMIT), Err(DecodeError::Trailing(PacketType::Puback)));
    assert_eq!(decode(b"\x62\x01", V3_1_1, LIMIT), Err(DecodeError::Truncated(PacketType::Pubrel)));
}

#[test]
fn the_first_packet_is_connect() {
    let connect = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a";
    let Ok(Decoded::Packet { packet, len: 15 }) = decode_connect(connect, LIMIT) else { panic!() };
    assert_eq!((packet.client_id, packet.version), ("a", V3_1_1));
    for cut in 0..connect.len() {
        let part = decode_connect(&connect[..cut], LIMIT);
        assert!(matches!(part, Ok(Decoded::NeedMore { at_least }) if at_least > cut), "{cut}: {part:?}");
    }
}

#[test]
fn other_first_packets_are_found_out_by_one_byte() {
    assert_eq!(decode_connect(b"\x16", LIMIT), Err(DecodeError::Tls));
    for first in (0..=255).filter(|first| first >> 4 != 1) {
        assert_eq!(decode_connect(&[first], LIMIT), Err(DecodeError::NotConnect)); // [MQTT-3.1.0-1]
    }
    let flags = DecodeError::Flags { packet: PacketType::Connect, flags: 1 };
    assert_eq!(decode_connect(b"\x11\x10", LIMIT), Err(flags));
}

#[test]
fn a_connect_longer_than_any_can_be_is_refused_by_its_length() {
    let error = DecodeError::TooLarge { size: 4 + 0x8_0000, limit: CONNECT_LEN_MAX };
    assert_eq!(decode_connect(b"\x10\x80\x80\x20", usize::MAX), Err(error));

    let field = "x".repeat(65535);
    let will = Will {
        topic: &field,
        payload: field.as_bytes(),
        qos: QoS::AtMostOnce,
        retain: false,
        delay: 0,
        message_expiry: None,
        application: ApplicationProperties::default(),
    };
    let longest = Connect {
        version: V3_1,
        bridge: false,
        clean_session: true,
        keep_alive: 0,
        client_id: &field,
        will: Some(will),
        user: Some(&field),
        password: Some(field.as_bytes()),
        properties: ConnectProperties::default(),
    };
    let mut bytes = Vec::new();
    longest.encode(&mut bytes).unwrap();
    assert!(bytes.len() <= CONNECT_LEN_MAX);
    assert_eq!(decode_connect(&bytes, usize::MAX), Ok(Decoded::Packet { packet: longest, len: bytes.len() }));
}

#[test]
fn only_two_errors_are_answered_before_the_close() {
    use ReasonCode::{ClientIdentifierNotValid, UnsupportedProtocolVersion};
    let connack = |code| Answer::Connack(code);
    assert_eq!(DecodeError::ProtocolLevel(6).answer(), connack(UnsupportedProtocolVersion)); // [MQTT-3.1.2-2]
    assert_eq!(DecodeError::ClientIdEmpty.answer(), connack(ClientIdentifierNotValid)); // [MQTT-3.1.3-8]
    for row in table::rows() {
        if let Expect::Error(error) | Expect::Error5(error, _) = row.expect {
            let told = matches!(error, DecodeError::ProtocolLevel(_) | DecodeError::ClientIdEmpty);
            assert_eq!(error.answer() == Answer::Close, !told, "{error}");
        }
    }
    assert_eq!(DecodeError::SecondConnect.answer(), Answer::Close); // [MQTT-3.1.0-2]
}

#[test]
fn errors_speak_to_people() {
    for (error, words) in [
        (
            DecodeError::Flags { packet: PacketType::Pubrel, flags: 0 },
            "PUBREL with the flags 0b0000 in its fixed header",
        ),
        (DecodeError::PacketIdZero(PacketType::Subscribe), "SUBSCRIBE with packet identifier 0"),
        (
            DecodeError::Topic { packet: PacketType::Publish, error: crate::topic::NameError::Wildcard },
            "PUBLISH: the topic name contains a wildcard (`+` or `#`)",
        ),
        (DecodeError::RequestedQos(3), "SUBSCRIBE requests QoS 0x03"),
    ] {
        assert_eq!(error.to_string(), words);
    }
}

#[test]
fn several_hundred_filters_fit_into_one_subscribe() {
    let filters: Vec<String> = (0..900).map(|n| format!("site/{n}/{}/+", "x".repeat(50))).collect();
    let wanted = || {
        filters
            .iter()
            .zip([QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce].into_iter().cycle())
            .map(|(filter, qos)| Subscription::new(filter, qos))
    };
    let mut bytes = Vec::new();
    subscribe(&mut bytes, id(7), None, NO_USER, wanted(), V3_1_1).unwrap();
    let Packet::Subscribe(read) = packet(&bytes, V3_1_1) else { panic!() };
    assert_eq!(read.subscriptions().len(), 900);
    assert!(read.subscriptions().eq(wanted()));

    bytes.clear();
    unsubscribe(&mut bytes, id(8), NO_USER, filters.iter().map(String::as_str), V3_1_1).unwrap();
    let Packet::Unsubscribe(read) = packet(&bytes, V3_1_1) else { panic!() };
    assert_eq!(read.filters().len(), 900);
    assert!(read.filters().eq(filters.iter().map(String::as_str)));
}

#[test]
fn a_header_and_its_payload_make_the_packet() {
    for payload_len in [0, 1, 122, 123, 16_378, 16_379, 2_097_146, 2_097_147] {
        let payload = vec![b'p'; payload_len];
        let delivery = Delivery::AtLeastOnce { id: id(0x1234), dup: true };
        let publish = Publish { delivery, retain: true, ..plain("a", &payload) };
        let mut whole = Vec::new();
        publish.encode(&mut whole, V3_1_1).unwrap();
        let mut parts = Vec::new();
        publish.header().encode(&mut parts, V3_1_1).unwrap();
        parts.extend_from_slice(&payload);
        assert_eq!(whole, parts);
        assert_eq!(whole.len(), publish.header().packet_len(V3_1_1));
        let read = decode(&whole, V3_1_1, usize::MAX);
        assert_eq!(read, Ok(Decoded::Packet { packet: Packet::Publish(publish), len: whole.len() }));
    }
}

#[test]
fn what_does_not_fit_into_a_packet_leaves_the_buffer_as_it_was() {
    let long = "x".repeat(65536);
    let mut out = b"kept".to_vec();
    let too_long = Err(EncodeError::FieldTooLong(65536));
    let header = |topic, payload_len| PublishHeader {
        topic,
        payload_len,
        delivery: Delivery::AtMostOnce,
        retain: false,
        properties: PublishProperties::default(),
    };
    assert_eq!(header(&long, 0).encode(&mut out, V3_1_1), too_long);
    let huge = header("a", REMAINING_LENGTH_MAX - 2).encode(&mut out, V3_1_1);
    assert_eq!(huge, Err(EncodeError::PacketTooLong(REMAINING_LENGTH_MAX + 1)));
    let filters = ["a", &long].into_iter();
    assert_eq!(unsubscribe(&mut out, id(1), NO_USER, filters.clone(), V3_1_1), too_long);
    let subscriptions = filters.map(|filter| Subscription::new(filter, QoS::AtMostOnce));
    assert_eq!(subscribe(&mut out, id(1), None, NO_USER, subscriptions, V3_1_1), too_long);
    let connect = Connect {
        version: V3_1_1,
        bridge: false,
        clean_session: true,
        keep_alive: 0,
        client_id: "a",
        will: None,
        user: Some(&long),
        password: None,
        properties: ConnectProperties::default(),
    };
    assert_eq!(connect.encode(&mut out), too_long);
    assert_eq!(out, b"kept");
}

#[test]
fn the_identifier_after_the_largest_is_the_smallest() {
    assert_eq!(PacketId::new(0), None); // [MQTT-2.3.1-1]
    assert_eq!(PacketId::MIN.next(), id(2));
    assert_eq!(PacketId::MAX.next(), PacketId::MIN);
}

#[test]
fn session_present_is_not_said_in_mqtt_3_1() {
    let connack = Connack { session_present: true, ..Connack::default() };
    let mut out = Vec::new();
    connack.encode(&mut out, V3_1).unwrap();
    assert_eq!(out, b"\x20\x02\x00\x00");
}
