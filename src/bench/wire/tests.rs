//! The bytes of each packet.

use super::*;

const VERSIONS: [MqttVersion; 2] = [MqttVersion::V3_1_1, MqttVersion::V5];

fn whole(bytes: &[u8]) -> Frame<'_> {
    let mut rest = bytes;
    let frame = Frame::take(&mut rest).expect("whole");
    assert!(rest.is_empty());
    frame
}

#[test]
fn a_template_is_a_publish_with_its_id_and_stamp() {
    for version in VERSIONS {
        for (qos, payload_bytes) in [(0, STAMP_BYTES), (1, 64), (2, 200), (1, 20_000)] {
            let head = Head { version, topic: "a/b", alias: None, qos, retain: true };
            let template = Template::new(&head, payload_bytes);
            let stamp = Stamp { lane: 3, sequence: 70_000, sent_nanos: 1 << 40 };
            let mut bytes = Vec::new();
            template.append(&mut bytes, 513, stamp);
            let publish = whole(&bytes).publish(version).expect("a PUBLISH");
            assert_eq!((publish.qos, publish.retain), (qos, true));
            assert_eq!(publish.id, if qos > 0 { 513 } else { 0 });
            assert_eq!((publish.topic, publish.alias), (b"a/b".as_slice(), 0));
            assert_eq!(publish.payload.len(), payload_bytes);
            assert_eq!(Stamp::read(publish.payload), Some(stamp));
        }
    }
}

#[test]
fn an_alias_is_the_only_property_and_stands_for_the_topic() {
    let head = |topic, qos| Head { version: MqttVersion::V5, topic, alias: Some(258), qos, retain: false };
    let mut bytes = Vec::new();
    publish(&mut bytes, &head("a", 0), 0, None);
    assert_eq!(bytes, b"\x30\x07\0\x01a\x03\x23\x01\x02");
    bytes.clear();
    publish(&mut bytes, &head("", 1), 7, None);
    assert_eq!(bytes, b"\x32\x08\0\0\0\x07\x03\x23\x01\x02");
    let read = whole(&bytes).publish(MqttVersion::V5).expect("a PUBLISH");
    assert_eq!((read.topic, read.alias, read.id, read.payload), (b"".as_slice(), 258, 7, b"".as_slice()));
}

#[test]
fn other_properties_of_a_message_are_read_past() {
    // Payload format, message expiry, response topic, two identifiers, a user property, and the alias among them.
    let properties = b"\x01\x01\x02\0\0\0\x09\x08\0\x01r\x0B\x81\x01\x23\0\x05\x0B\x02\x26\0\x01k\0\x01v";
    let mut body = b"\0\x01t".to_vec();
    body.push(properties.len() as u8);
    body.extend_from_slice(properties);
    body.extend_from_slice(b"payload");
    let frame = Frame { first: PUBLISH, body: &body };
    let publish = frame.publish(MqttVersion::V5).expect("a PUBLISH");
    assert_eq!((publish.alias, publish.payload), (5, b"payload".as_slice()));
    for cut in 3..3 + properties.len() {
        let frame = Frame { first: PUBLISH, body: &body[..cut] };
        assert_eq!(frame.publish(MqttVersion::V5), None, "cut at {cut}");
    }
    body[4] = 0x7F;
    assert_eq!(Frame { first: PUBLISH, body: &body }.publish(MqttVersion::V5), None, "an unknown property");
}

#[test]
fn a_connack_tells_what_the_broker_takes() {
    let read = |bytes: &[u8], version| whole(bytes).connack(version);
    let plain = Connack { code: 0, receive_maximum: u16::MAX, aliases: 0 };
    assert_eq!(read(b"\x20\x02\0\0", MqttVersion::V3_1_1), Some(plain));
    assert_eq!(read(b"\x20\x03\0\0\0", MqttVersion::V5), Some(plain));
    assert_eq!(
        read(b"\x20\x0B\0\0\x08\x22\0\x0A\x21\0\x14\x2A\x01", MqttVersion::V5),
        Some(Connack { code: 0, receive_maximum: 20, aliases: 10 })
    );
    assert_eq!(read(b"\x20\x03\0\x87\0", MqttVersion::V5).map(|connack| connack.code), Some(0x87));
    // What the other version has too much or too little, and a property that is cut off.
    assert_eq!(read(b"\x20\x03\0\0\0", MqttVersion::V3_1_1), None);
    assert_eq!(read(b"\x20\x02\0\0", MqttVersion::V5), None);
    assert_eq!(read(b"\x20\x05\0\0\x02\x22\0", MqttVersion::V5), None);
}

#[test]
fn the_codes_of_a_suback_follow_its_properties() {
    assert_eq!(whole(b"\x90\x04\0\x01\x01\x80").codes(MqttVersion::V3_1_1), Some(b"\x01\x80".as_slice()));
    let bytes = b"\x90\x09\0\x01\x04\x1F\0\x01?\x01\x80";
    assert_eq!(whole(bytes).codes(MqttVersion::V5), Some(b"\x01\x80".as_slice()));
}

#[test]
fn an_acknowledgement_without_a_reason_is_a_success() {
    assert_eq!(whole(b"\x40\x02\0\x01").reason(), 0);
    assert_eq!(whole(b"\x40\x03\0\x01\x97").reason(), 0x97);
}

#[test]
fn a_frame_is_taken_only_when_it_is_whole() {
    for version in VERSIONS {
        let mut bytes = Vec::new();
        subscribe(&mut bytes, version, 9, &["a/#".to_owned(), "b".repeat(200)], 1);
        for cut in 0..bytes.len() {
            let mut part = bytes.get(..cut).expect("in range");
            assert_eq!(Frame::take(&mut part), None);
            assert_eq!(part.len(), cut);
        }
        assert_eq!(whole(&bytes).id(), Some(9));
    }
}

#[test]
fn connect_has_the_flags_of_what_follows() {
    let mut bytes = Vec::new();
    let mut login =
        Login { user: Some("u".to_owned()), password: Some("p".to_owned()), version: MqttVersion::V3_1_1 };
    connect(&mut bytes, "me", &login, 9);
    assert_eq!(bytes, b"\x10\x14\0\x04MQTT\x04\xC2\xFF\xFF\0\x02me\0\x01u\0\x01p");
    login.version = MqttVersion::V5;
    bytes.clear();
    connect(&mut bytes, "me", &login, 0);
    assert_eq!(bytes, b"\x10\x15\0\x04MQTT\x05\xC2\xFF\xFF\0\0\x02me\0\x01u\0\x01p");
    bytes.clear();
    connect(&mut bytes, "me", &login, 9);
    assert_eq!(bytes, b"\x10\x18\0\x04MQTT\x05\xC2\xFF\xFF\x03\x22\0\x09\0\x02me\0\x01u\0\x01p");
}
