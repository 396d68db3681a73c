//! What MQTT 5 adds: reason codes, properties apart from their packets, what is left out for MQTT 3.

use std::num::{NonZeroU16, NonZeroU32};

use super::*;
use ReasonCode as R;

fn code_numbers() -> impl Iterator<Item = (u8, ReasonCode)> {
    (0..=255).filter_map(|number| Some((number, ReasonCode::from_u8(number)?)))
}

fn encoded(packet: &Packet<'_>, version: ProtocolVersion) -> Vec<u8> {
    let mut out = Vec::new();
    packet.encode(&mut out, version).unwrap();
    out
}

#[test]
fn reason_codes_have_the_numbers_of_the_standard() {
    for (number, code) in code_numbers() {
        assert_eq!(code.as_u8(), number);
        assert_eq!(code.is_error(), number >= 0x80);
    }
    assert_eq!(code_numbers().count(), 43);
    assert_eq!(R::Success, R::default());
    for (number, code) in [
        (0x04, R::DisconnectWithWill),
        (0x10, R::NoMatchingSubscribers),
        (0x19, R::ReAuthenticate),
        (0x84, R::UnsupportedProtocolVersion),
        (0x8b, R::ServerShuttingDown),
        (0x91, R::PacketIdentifierInUse),
        (0x95, R::PacketTooLarge),
        (0x9a, R::RetainNotSupported),
        (0xa2, R::WildcardSubscriptionsNotSupported),
    ] {
        assert_eq!(R::from_u8(number), Some(code));
    }
}

/// Counted in the tables of the standard: [MQTT5-3.2.2-8], [MQTT5-3.4.2-1], [MQTT5-3.5.2-1], [MQTT5-3.6.2-1],
/// [MQTT5-3.7.2-1], [MQTT5-3.9.3-2], [MQTT5-3.11.3-2], [MQTT5-3.14.2-1], [MQTT5-3.15.2-1].
#[test]
fn each_packet_has_its_reason_codes() {
    for (packet, count) in [
        (PacketType::Connack, 22),
        (PacketType::Puback, 9),
        (PacketType::Pubrec, 9),
        (PacketType::Pubrel, 2),
        (PacketType::Pubcomp, 2),
        (PacketType::Suback, 12),
        (PacketType::Unsuback, 7),
        // One more than its own table has: 0x8c, which the table of all codes gives it.
        (PacketType::Disconnect, 30),
        (PacketType::Auth, 3),
        (PacketType::Publish, 0),
        (PacketType::Pingreq, 0),
    ] {
        let allowed = code_numbers().filter(|(_, code)| code.allowed_in(packet)).count();
        assert_eq!(allowed, count, "{packet}");
    }
}

#[test]
fn reason_codes_speak_to_people() {
    let words: Vec<String> = code_numbers().map(|(_, code)| code.to_string()).collect();
    for (at, text) in words.iter().enumerate() {
        assert!(text.len() > 3 && !words[..at].contains(text), "{text}");
    }
    assert_eq!(R::QuotaExceeded.to_string(), "quota exceeded");
}

#[test]
fn mqtt_3_has_a_return_code_for_each_reason() {
    for (reason, code) in [
        (R::Success, 0),
        (R::UnsupportedProtocolVersion, 1),
        (R::ClientIdentifierNotValid, 2),
        (R::ServerUnavailable, 3),
        (R::ServerBusy, 3),
        (R::QuotaExceeded, 3),
        (R::ConnectionRateExceeded, 3),
        (R::BadUserNameOrPassword, 4),
        (R::NotAuthorized, 5),
        (R::Banned, 5),
    ] {
        assert_eq!(reason.connect_return_code(), code, "{reason}");
    }
    for (_, reason) in code_numbers() {
        let code = reason.connect_return_code();
        assert_eq!(code == 0, !reason.is_error(), "{reason}");
        let bytes = encoded(&Packet::Connack(Connack::refused(reason).into()), V3_1_1);
        assert_eq!(bytes, [0x20, 2, 0, code]);
    }
}

#[test]
fn errors_that_need_no_packet_have_a_reason() {
    for (error, reason) in [
        (DecodeError::TooLarge { size: 9, limit: 8 }, R::PacketTooLarge),
        (DecodeError::SecondConnect, R::ProtocolError), // [MQTT5-3.1.0-2]
        (DecodeError::NotConnect, R::ProtocolError),    // [MQTT5-3.1.0-1]
        (DecodeError::Unexpected(PacketType::Suback), R::ProtocolError),
        (DecodeError::ProtocolLevel(6), R::UnsupportedProtocolVersion), // [MQTT5-3.1.2-2]
        (DecodeError::ClientIdEmpty, R::ClientIdentifierNotValid),      // [MQTT5-3.1.3-8]
    ] {
        assert_eq!(error.reason(), reason, "{error}");
    }
    for row in table::rows() {
        if let Expect::Error(error) = row.expect {
            // [MQTT5-4.13.1-1] A server can say each of them.
            assert!(
                error.reason().allowed_in(PacketType::Connack)
                    || error.reason().allowed_in(PacketType::Disconnect)
            );
            assert!(error.reason().is_error(), "{error}");
        }
    }
}

#[test]
fn the_first_packet_says_that_it_is_mqtt_5() {
    let connect = b"\x10\x0e\0\x04MQTT\x05\x02\0\x3c\0\0\x01a";
    let Ok(Decoded::Packet { packet, len: 16 }) = decode_connect(connect, LIMIT) else { panic!() };
    assert_eq!((packet.client_id, packet.version), ("a", V5));
    assert_eq!(packet.version.to_string(), "MQTT 5");
    // [MQTT5-1.5.5-1] Its fixed header is judged when the version is known.
    let longer = b"\x10\x8e\0\0\x04MQTT\x05\x02\0\x3c\0\0\x01a";
    assert_eq!(decode_connect(longer, LIMIT), Err(DecodeError::RemainingLengthNotMinimal));
    let old = b"\x10\x8d\0\0\x04MQTT\x04\x02\0\x3c\0\x01a";
    assert!(matches!(decode_connect(old, LIMIT), Ok(Decoded::Packet { len: 16, .. })));
}

#[test]
fn the_form_of_an_answer_is_known_as_soon_as_the_level_is() {
    for (bytes, version) in [
        (&b"\x10\x0e\0\x04MQTT\x05\x02\0\x3c\0\0\x01a"[..], Some(V5)),
        (b"\x10\x0e\0\x04MQTT\x05", Some(V5)),
        (b"\x10\x0e\0\x04MQTT\x85", Some(V5)),
        (b"\x10\x0e\0\x04MQTT\x06", Some(V5)),
        (b"\x10\xff\xff\x01\0\x04MQTT\x05", Some(V5)),
        (b"\x10\x0e\0\x04MQTT\x04", Some(V3_1_1)),
        (b"\x10\x0e\0\x04MQTT\x00", Some(V3_1_1)),
        (b"\x10\x0e\0\x06MQIsdp\x83", Some(V3_1)),
        (b"\x10\x0e\0\x06MQIsdp\x05", Some(V3_1)),
        (b"\x10\x0e\0\x04MQTT", None),
        (b"\x10\x0e\0\x04HTTP\x05", None),
        (b"\x20\x0e\0\x04MQTT\x05", None),
        (b"\x10\xff\xff\xff\xff\xff\0\x04MQTT\x05", None),
        (b"\x10", None),
        (b"", None),
    ] {
        assert_eq!(connect_version(bytes), version, "{bytes:02x?}");
    }
}

#[test]
fn auth_is_no_packet_of_mqtt_3() {
    for version in [V3_1, V3_1_1] {
        assert_eq!(decode(b"\xf0\0", version, LIMIT), Err(DecodeError::PacketType(15)));
    }
}

/// Nothing in what MQTT 3 reads tells that the packet had more to say.
#[test]
fn what_mqtt_3_has_no_place_for_is_left_out() {
    let user = UserProperties::Pairs(&[("k", "v")]);
    let reason_string = Some("why");
    let ack = Ack { id: id(1), reason: R::NotAuthorized, reason_string, user };
    let properties = PublishProperties {
        topic_alias: NonZeroU16::new(1),
        message_expiry: Some(1),
        subscription_identifiers: SubscriptionIdentifiers::List(&[1]),
        application: ApplicationProperties::from_valid_block(b"\x01\x01"),
    };
    let disconnect = Disconnect { reason: R::ServerBusy, reason_string, user, ..Disconnect::default() };
    let connack = ConnackProperties { reason_string, user, ..ConnackProperties::default() };
    for (packet, bytes) in [
        (Packet::Puback(ack), &b"\x40\x02\0\x01"[..]),
        (Packet::Pubrec(ack), b"\x50\x02\0\x01"),
        (Packet::Pubrel(ack), b"\x62\x02\0\x01"),
        (Packet::Pubcomp(ack), b"\x70\x02\0\x01"),
        (Packet::Publish(Publish { properties, ..plain("a", b"x") }), b"\x30\x04\0\x01ax"),
        (Packet::Disconnect(disconnect), b"\xe0\0"),
        (Packet::Connack(Connack { properties: connack, ..Connack::default() }.into()), b"\x20\x02\0\0"),
    ] {
        assert_eq!(encoded(&packet, V3_1_1), bytes);
    }
    let mut out = Vec::new();
    let codes = [R::GrantedQos1, R::NotAuthorized, R::QuotaExceeded];
    suback(&mut out, id(1), codes.into_iter(), reason_string, user, V3_1_1).unwrap();
    assert_eq!(out, b"\x90\x05\0\x01\x01\x80\x80");
    out.clear();
    unsuback(&mut out, id(1), codes.into_iter(), reason_string, user, V3_1_1).unwrap();
    assert_eq!(out, b"\xb0\x02\0\x01");
    out.clear();
    let options = Subscription {
        no_local: true,
        retain_as_published: true,
        retain_handling: RetainHandling::DontSend,
        ..Subscription::new("a", QoS::AtLeastOnce)
    };
    subscribe(&mut out, id(1), NonZeroU32::new(1), user, [options].into_iter(), V3_1_1).unwrap();
    assert_eq!(out, b"\x82\x06\0\x01\0\x01a\x01");
}

/// [MQTT5-3.4.2-1] and its like: success and no properties is four bytes in every version.
#[test]
fn the_short_acknowledgements_are_those_of_success() {
    let ack = Ack::new(id(0x0102), R::Success);
    for version in [V3_1, V3_1_1, V5] {
        assert_eq!(encoded(&Packet::Puback(ack), version), puback(ack.id));
        assert_eq!(encoded(&Packet::Pubrec(ack), version), pubrec(ack.id));
        assert_eq!(encoded(&Packet::Pubrel(ack), version), pubrel(ack.id));
        assert_eq!(encoded(&Packet::Pubcomp(ack), version), pubcomp(ack.id));
        assert_eq!(encoded(&Packet::Disconnect(Disconnect::default()), version), DISCONNECT);
    }
}

#[test]
fn what_travels_with_a_message_is_found_in_it() {
    let block = b"\x26\0\x01k\0\x012\x01\x01\x03\0\x04text\x26\0\x01k\0\x011\x08\0\x03r/1\x09\0\x02\x00\xff";
    let properties = ApplicationProperties::from_block(block).unwrap();
    assert!(properties.payload_is_utf8() && !properties.is_empty());
    assert_eq!(properties.content_type(), Some("text"));
    assert_eq!(properties.response_topic(), Some("r/1"));
    assert_eq!(properties.correlation_data(), Some(&b"\x00\xff"[..]));
    let user: Vec<_> = properties.user().iter().collect();
    assert_eq!(user, [("k", "2"), ("k", "1")]); // [MQTT5-3.3.2-18]
    assert_eq!(properties.as_block(), Some(&block[..]));

    let none = ApplicationProperties::default();
    assert!(none.is_empty() && !none.payload_is_utf8() && none.user().is_empty());
    assert_eq!((none.content_type(), none.response_topic(), none.correlation_data()), (None, None, None));
    assert_eq!(none.as_block(), Some(&[][..]));
    let binary = ApplicationProperties::from_block(b"\x01\0").unwrap();
    assert!(!binary.payload_is_utf8() && binary != none);
}

/// [MQTT5-3.3.2-4] [MQTT5-3.3.2-15] [MQTT5-3.3.2-16] [MQTT5-3.3.2-17] [MQTT5-3.3.2-20]
#[test]
fn what_travels_is_copied_byte_by_byte_without_the_rest() {
    let read = |properties: &[u8]| {
        let mut bytes = vec![0x30, properties.len() as u8 + 4, 0, 1, b'a', properties.len() as u8];
        bytes.extend(properties);
        bytes
    };
    for (properties, kept, side_by_side) in [
        (&b"\x23\0\x01\x01\x01\x03\0\x01t\x02\0\0\0\x09"[..], &b"\x01\x01\x03\0\x01t"[..], true),
        (b"\x01\x01\x23\0\x01\x03\0\x01t", b"\x01\x01\x03\0\x01t", false),
        (b"\x26\0\0\0\0\x0b\x01\x0b\x02\x26\0\x01a\0\0", b"\x26\0\0\0\0\x26\0\x01a\0\0", false),
        (b"\x23\0\x01", b"", true),
        (b"", b"", true),
    ] {
        let bytes = read(properties);
        let Packet::Publish(publish) = packet(&bytes, V5) else { panic!() };
        let application = publish.properties.application;
        let mut copied = Vec::new();
        application.append_to(&mut copied);
        assert_eq!((copied.as_slice(), application.len()), (kept, kept.len()));
        assert_eq!(application.as_block(), side_by_side.then_some(kept));
        assert_eq!(ApplicationProperties::from_block(kept), Ok(application));
    }
}

#[test]
fn only_what_travels_with_a_message_is_taken_up_from_a_block() {
    let packet = PacketType::Publish;
    let not_allowed = |property| Err(DecodeError::PropertyNotAllowed { packet, property });
    for (block, error) in [
        (&b"\x23\0\x01"[..], not_allowed(Property::TopicAlias)),
        (b"\x01\x01\x02\0\0\0\x01", not_allowed(Property::MessageExpiryInterval)),
        (b"\x0b\x01", not_allowed(Property::SubscriptionIdentifier)),
        (b"\x18\0\0\0\x01", not_allowed(Property::WillDelayInterval)),
        (b"\x01", Err(DecodeError::Truncated(packet))),
        (b"\x03\0\x05t", Err(DecodeError::Truncated(packet))),
        (
            b"\x01\0\x01\0",
            Err(DecodeError::PropertyTwice { packet, property: Property::PayloadFormatIndicator }),
        ),
    ] {
        assert_eq!(ApplicationProperties::from_block(block), error);
    }
}

#[test]
fn user_properties_are_equal_by_content() {
    let pairs = UserProperties::Pairs(&[("a", "1"), ("b", "")]);
    let encoded = UserProperties::Encoded(b"\x26\0\x01a\0\x011\x1f\0\x01r\x26\0\x01b\0\0");
    assert_eq!(pairs, encoded);
    assert_eq!(format!("{encoded:?}"), r#"[("a", "1"), ("b", "")]"#);
    assert_ne!(pairs, UserProperties::Pairs(&[("b", ""), ("a", "1")]));
    assert!(UserProperties::Encoded(b"\x1f\0\x01r").is_empty() && UserProperties::default().is_empty());
}

#[test]
fn a_header_with_properties_and_its_payload_make_the_packet() {
    let user: Vec<u8> = [&b"\x26\0\x01k\0\x64"[..], &[b'v'; 100]].concat();
    for copies in [0, 1, 2, 200] {
        let block = user.repeat(copies);
        let properties = PublishProperties {
            topic_alias: NonZeroU16::new(7),
            message_expiry: Some(60),
            subscription_identifiers: SubscriptionIdentifiers::List(&[1, 16_384]),
            application: ApplicationProperties::from_block(&block).unwrap(),
        };
        for payload_len in [0, 1, 100, 16_000] {
            let payload = vec![b'p'; payload_len];
            let delivery = Delivery::AtLeastOnce { id: id(1), dup: false };
            let publish = Publish { delivery, properties, ..plain("", &payload) };
            let whole = encoded(&Packet::Publish(publish), V5);
            let mut parts = Vec::new();
            publish.header().encode(&mut parts, V5).unwrap();
            parts.extend_from_slice(&payload);
            assert_eq!(whole, parts);
            assert_eq!(whole.len(), publish.header().packet_len(V5));
            assert_eq!(packet(&whole, V5), Packet::Publish(publish));
        }
    }
}

#[test]
fn what_does_not_fit_leaves_the_buffer_as_it_was() {
    let long = "x".repeat(65536);
    let mut out = b"kept".to_vec();
    let too_long = Err(EncodeError::FieldTooLong(65536));
    let pairs = [("a", "b"), ("k", long.as_str())];
    let user = UserProperties::Pairs(&pairs);
    let reason_string = Some(long.as_str());
    for ack in [
        Ack { user, ..Ack::new(id(1), R::Success) },
        Ack { reason_string, ..Ack::new(id(1), R::NotAuthorized) },
    ] {
        assert_eq!(ack.encode(&mut out, PacketType::Puback, V5), too_long);
    }
    let disconnect = Disconnect { server_reference: reason_string, ..Disconnect::default() };
    assert_eq!(disconnect.encode(&mut out, V5), too_long);
    let auth = Auth { data: Some(long.as_bytes()), ..Auth::default() };
    assert_eq!(auth.encode(&mut out), too_long);
    let properties = ConnackProperties { user, ..ConnackProperties::default() };
    assert_eq!(Connack { properties, ..Connack::default() }.encode(&mut out, V5), too_long);
    assert_eq!(suback(&mut out, id(1), [R::Success].into_iter(), reason_string, NO_USER, V5), too_long);
    assert_eq!(unsubscribe(&mut out, id(1), user, ["a"].into_iter(), V5), too_long);
    for number in [0, 268_435_456, u32::MAX] {
        let list = [1, number];
        let subscription_identifiers = SubscriptionIdentifiers::List(&list);
        let properties = PublishProperties { subscription_identifiers, ..PublishProperties::default() };
        let publish = Publish { properties, ..plain("a", b"") };
        let wrong = Err(EncodeError::SubscriptionIdentifier(number));
        assert_eq!(publish.encode(&mut out, V5), wrong);
        if let Some(identifier) = NonZeroU32::new(number) {
            let list = [Subscription::new("a", QoS::AtMostOnce)].into_iter();
            assert_eq!(subscribe(&mut out, id(1), Some(identifier), NO_USER, list, V5), wrong);
        }
    }
    assert_eq!(out, b"kept");
}

#[test]
fn six_hundred_subscriptions_with_options_fit_into_one_packet() {
    let filters: Vec<String> = (0..618).map(|n| format!("homeassistant/sensor/{n}/config")).collect();
    let wanted = || {
        filters.iter().enumerate().map(|(n, filter)| Subscription {
            no_local: n % 2 == 0,
            retain_as_published: n % 3 == 0,
            retain_handling: RetainHandling::from_u8((n % 3) as u8).unwrap(),
            ..Subscription::new(filter, QoS::AtLeastOnce)
        })
    };
    let mut bytes = Vec::new();
    subscribe(&mut bytes, id(7), NonZeroU32::new(5), NO_USER, wanted(), V5).unwrap();
    let Packet::Subscribe(read) = packet(&bytes, V5) else { panic!() };
    assert_eq!((read.subscriptions().len(), read.identifier), (618, NonZeroU32::new(5)));
    assert!(read.subscriptions().eq(wanted()));
}

/// The Maximum Packet Size that a server announces counts the whole packet [MQTT5-3.2.2-15].
#[test]
fn the_size_limit_holds_before_the_properties_arrive() {
    assert_eq!(decode(b"\xe0\x7f", V5, 128), Err(DecodeError::TooLarge { size: 129, limit: 128 }));
    assert_eq!(decode(b"\x40\x7f", V5, 129), Ok(Decoded::NeedMore { at_least: 129 }));
}
