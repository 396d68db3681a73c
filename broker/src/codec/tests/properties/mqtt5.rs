//! Random packets of MQTT 5 with all that they can carry.

use std::num::{NonZeroU16, NonZeroU32};

use prop::collection::vec;
use prop::option;

use super::*;

/// A packet as it travels, and what it says.
#[derive(Clone, Debug)]
struct Written {
    bytes: Vec<u8>,
    text: String,
}

/// All that a packet says. Its lists are read, since by themselves they are but bytes.
fn text(packet: &Packet<'_>) -> String {
    match packet {
        Packet::Subscribe(packet) => {
            let list: Vec<_> = packet.subscriptions().collect();
            format!("{} {:?} {:?} {list:?}", packet.packet_id, packet.identifier, packet.user)
        }
        Packet::Unsubscribe(packet) => {
            let list: Vec<_> = packet.filters().collect();
            format!("{} {:?} {list:?}", packet.packet_id, packet.user)
        }
        Packet::Suback(packet) => {
            let list: Vec<_> = packet.codes().collect();
            format!("{} {:?} {:?} {list:?}", packet.packet_id, packet.reason_string, packet.user)
        }
        Packet::Unsuback(packet) => {
            let list: Vec<_> = packet.codes().collect();
            format!("{} {:?} {:?} {list:?}", packet.packet_id, packet.reason_string, packet.user)
        }
        packet => format!("{packet:?}"),
    }
}

fn written(packet: &Packet<'_>) -> Written {
    let mut bytes = Vec::new();
    packet.encode(&mut bytes, V5).unwrap();
    Written { bytes, text: text(packet) }
}

fn strings() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z]{0,5}", "[^\\x00]{0,20}"]
}

fn binary() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..20)
}

type Pairs = Vec<(String, String)>;

fn pairs() -> impl Strategy<Value = Pairs> {
    prop_oneof![2 => Just(Vec::new()), 3 => vec((strings(), strings()), 1..6)]
}

/// The pairs, borrowed.
fn borrowed(pairs: &Pairs) -> Vec<(&str, &str)> {
    pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

fn reasons(packet: PacketType) -> impl Strategy<Value = ReasonCode> {
    let allowed: Vec<_> =
        (0..=255).filter_map(ReasonCode::from_u8).filter(|code| code.allowed_in(packet)).collect();
    prop::sample::select(allowed)
}

fn put_string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend((bytes.len() as u16).to_be_bytes());
    out.extend(bytes);
}

/// The properties of a message as a block, shuffled: user properties keep their order only among themselves.
fn applications() -> impl Strategy<Value = Vec<u8>> {
    let of = |id: u8, field: Vec<u8>| {
        let mut property = vec![id];
        put_string(&mut property, &field);
        property
    };
    let single = (
        option::of(any::<bool>().prop_map(|utf8| vec![1, u8::from(utf8)])),
        option::of(strings().prop_map(move |text| of(3, text.into_bytes()))),
        option::of(names().prop_map(move |topic| of(8, topic.into_bytes()))),
        option::of(binary().prop_map(move |data| of(9, data))),
    );
    let user = pairs().prop_map(|pairs| {
        let property = |(name, value): (String, String)| {
            let mut property = vec![0x26];
            put_string(&mut property, name.as_bytes());
            put_string(&mut property, value.as_bytes());
            property
        };
        pairs.into_iter().map(property).collect::<Vec<_>>()
    });
    (single, user)
        .prop_map(|((a, b, c, d), user)| [a, b, c, d].into_iter().flatten().chain(user).collect::<Vec<_>>())
        .prop_shuffle()
        .prop_map(|properties| properties.concat())
}

fn publishes() -> impl Strategy<Value = Written> {
    let identifiers = vec(prop_oneof![1..300u32, 1..=268_435_455u32], 0..5);
    let properties =
        (any::<Option<NonZeroU16>>(), any::<Option<u32>>(), identifiers, applications(), any::<bool>());
    (names(), payloads(), deliveries(), any::<bool>(), properties).prop_map(
        |(
            topic,
            payload,
            delivery,
            retain,
            (topic_alias, message_expiry, identifiers, application, named),
        )| {
            let properties = PublishProperties {
                topic_alias,
                message_expiry,
                subscription_identifiers: SubscriptionIdentifiers::List(&identifiers),
                application: ApplicationProperties::from_block(&application).unwrap(),
            };
            let topic = if named || topic_alias.is_none() { topic.as_str() } else { "" };
            written(&Packet::Publish(Publish { topic, payload: &payload, delivery, retain, properties }))
        },
    )
}

fn connects5() -> impl Strategy<Value = Written> {
    let numbers = (any::<(u32, Option<NonZeroU32>, u16)>(), 1..=u16::MAX, any::<(bool, bool, bool, u16)>());
    let method = option::of((strings(), option::of(binary())));
    let will =
        ((names(), binary(), levels_of_qos(), any::<bool>()), any::<(u32, Option<u32>)>(), applications());
    let login = (option::of(strings()), option::of(binary()));
    (numbers, method, pairs(), option::of(will), strings(), login).prop_map(
        |(numbers, method, user, will, client_id, login)| {
            let ((session_expiry, maximum_packet_size, topic_alias_maximum), receive_maximum, rest) = numbers;
            let (request_response_information, request_problem_information, clean_session, keep_alive) = rest;
            let user = borrowed(&user);
            let properties = ConnectProperties {
                session_expiry,
                receive_maximum,
                maximum_packet_size: maximum_packet_size.map(NonZeroU32::get),
                topic_alias_maximum,
                request_response_information,
                request_problem_information,
                user: UserProperties::Pairs(&user),
                authentication_method: method.as_ref().map(|(method, _)| method.as_str()),
                authentication_data: method.as_ref().and_then(|(_, data)| data.as_deref()),
            };
            let will =
                will.as_ref().map(|((topic, payload, qos, retain), (delay, expiry), application)| Will {
                    topic,
                    payload,
                    qos: *qos,
                    retain: *retain,
                    delay: *delay,
                    message_expiry: *expiry,
                    application: ApplicationProperties::from_block(application).unwrap(),
                });
            written(&Packet::Connect(
                Connect {
                    version: V5,
                    bridge: false,
                    clean_session,
                    keep_alive,
                    client_id: &client_id,
                    will,
                    user: login.0.as_deref(),
                    password: login.1.as_deref(),
                    properties,
                }
                .into(),
            ))
        },
    )
}

fn connacks() -> impl Strategy<Value = Written> {
    let numbers = any::<(Option<u32>, Option<NonZeroU16>, Option<NonZeroU32>, Option<u16>, Option<u16>)>();
    let flags = any::<(Option<bool>, Option<bool>, Option<bool>, Option<bool>, Option<bool>, bool)>();
    let texts = [(); 5].map(|()| option::of(strings()));
    (reasons(PacketType::Connack), numbers, flags, texts, option::of(binary()), pairs()).prop_map(
        |(reason, numbers, flags, texts, data, user)| {
            let (session_expiry, receive_maximum, maximum_packet_size, topic_alias_maximum, keep_alive) =
                numbers;
            let (qos, retain_available, wildcard_available, identifiers_available, shared, present) = flags;
            let [id, reason_string, information, reference, method] = &texts;
            let user = borrowed(&user);
            let properties = ConnackProperties {
                session_expiry,
                receive_maximum: receive_maximum.map(NonZeroU16::get),
                maximum_qos: qos.map(|one| if one { QoS::AtLeastOnce } else { QoS::AtMostOnce }),
                retain_available,
                maximum_packet_size: maximum_packet_size.map(NonZeroU32::get),
                assigned_client_id: id.as_deref(),
                topic_alias_maximum,
                reason_string: reason_string.as_deref(),
                user: UserProperties::Pairs(&user),
                wildcard_available,
                identifiers_available,
                shared_available: shared,
                server_keep_alive: keep_alive,
                response_information: information.as_deref(),
                server_reference: reference.as_deref(),
                authentication_method: method.as_deref(),
                authentication_data: data.as_deref().filter(|_| method.is_some()),
            };
            let session_present = present && reason == ReasonCode::Success;
            written(&Packet::Connack(Connack { session_present, reason, properties }.into()))
        },
    )
}

fn acks() -> impl Strategy<Value = Written> {
    use PacketType::{Puback, Pubcomp, Pubrec, Pubrel};
    let kinds = prop_oneof![Just(Puback), Just(Pubrec), Just(Pubrel), Just(Pubcomp)]
        .prop_flat_map(|packet| (Just(packet), reasons(packet)));
    (kinds, ids(), option::of(strings()), pairs()).prop_map(|((packet, reason), id, reason_string, user)| {
        let (reason_string, user) = (reason_string.as_deref(), borrowed(&user));
        let ack = Ack { id, reason, reason_string, user: UserProperties::Pairs(&user) };
        written(&match packet {
            Puback => Packet::Puback(ack),
            Pubrec => Packet::Pubrec(ack),
            Pubrel => Packet::Pubrel(ack),
            _ => Packet::Pubcomp(ack),
        })
    })
}

fn ends() -> impl Strategy<Value = Written> {
    let texts = [(); 2].map(|()| option::of(strings()));
    let disconnect = (reasons(PacketType::Disconnect), any::<Option<u32>>(), texts, pairs()).prop_map(
        |(reason, session_expiry, texts, user)| {
            let user = borrowed(&user);
            written(&Packet::Disconnect(Disconnect {
                reason,
                session_expiry,
                reason_string: texts[0].as_deref(),
                user: UserProperties::Pairs(&user),
                server_reference: texts[1].as_deref(),
            }))
        },
    );
    let auth = (reasons(PacketType::Auth), strings(), option::of(binary()), option::of(strings()), pairs())
        .prop_map(|(reason, method, data, reason_string, user)| {
            let user = borrowed(&user);
            written(&Packet::Auth(Auth {
                reason,
                method: Some(&method),
                data: data.as_deref(),
                reason_string: reason_string.as_deref(),
                user: UserProperties::Pairs(&user),
            }))
        });
    prop_oneof![disconnect, auth]
}

fn subscribes() -> impl Strategy<Value = Written> {
    let handling = prop_oneof![
        Just(RetainHandling::SendAlways),
        Just(RetainHandling::SendIfNew),
        Just(RetainHandling::DontSend),
    ];
    let filter = (any::<bool>(), filters())
        .prop_map(|(share, filter)| (share, if share { format!("$share/g/{filter}") } else { filter }));
    let list = vec((filter, levels_of_qos(), any::<(bool, bool)>(), handling), 1..10);
    let identifier = option::of(1..=268_435_455u32);
    let subscribe = (ids(), identifier, pairs(), list).prop_map(|(id, identifier, user, list)| {
        let user = borrowed(&user);
        let list: Vec<_> = list
            .iter()
            .map(|((share, filter), qos, (no_local, retain_as_published), retain_handling)| Subscription {
                filter,
                qos: *qos,
                no_local: *no_local && !share,
                retain_as_published: *retain_as_published,
                retain_handling: *retain_handling,
            })
            .collect();
        let (identifier, user) = (identifier.and_then(NonZeroU32::new), UserProperties::Pairs(&user));
        let mut bytes = Vec::new();
        subscribe(&mut bytes, id, identifier, user, list.iter().copied(), V5).unwrap();
        Written { bytes, text: format!("{id} {identifier:?} {user:?} {list:?}") }
    });
    let unsubscribe = (ids(), pairs(), vec(filters(), 1..10)).prop_map(|(id, user, list)| {
        let user = borrowed(&user);
        let user = UserProperties::Pairs(&user);
        let mut bytes = Vec::new();
        unsubscribe(&mut bytes, id, user, list.iter().map(String::as_str), V5).unwrap();
        Written { bytes, text: format!("{id} {user:?} {list:?}") }
    });
    prop_oneof![subscribe, unsubscribe]
}

fn answers() -> impl Strategy<Value = Written> {
    let answer = |packet| (ids(), option::of(strings()), pairs(), vec(reasons(packet), 1..10));
    let suback = answer(PacketType::Suback).prop_map(|(id, reason_string, user, codes)| {
        let user = borrowed(&user);
        let (reason_string, user) = (reason_string.as_deref(), UserProperties::Pairs(&user));
        let mut bytes = Vec::new();
        suback(&mut bytes, id, codes.iter().copied(), reason_string, user, V5).unwrap();
        Written { bytes, text: format!("{id} {reason_string:?} {user:?} {codes:?}") }
    });
    let unsuback = answer(PacketType::Unsuback).prop_map(|(id, reason_string, user, codes)| {
        let user = borrowed(&user);
        let (reason_string, user) = (reason_string.as_deref(), UserProperties::Pairs(&user));
        let mut bytes = Vec::new();
        unsuback(&mut bytes, id, codes.iter().copied(), reason_string, user, V5).unwrap();
        Written { bytes, text: format!("{id} {reason_string:?} {user:?} {codes:?}") }
    });
    prop_oneof![suback, unsuback]
}

fn any_packet() -> impl Strategy<Value = Written> {
    prop_oneof![
        2 => publishes(),
        1 => connects5(),
        1 => connacks(),
        1 => acks(),
        1 => ends(),
        1 => subscribes(),
        1 => answers(),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(packet in any_packet()) {
        match decode(&packet.bytes, V5, LIMIT) {
            Ok(Decoded::Packet { packet: read, len }) => {
                prop_assert_eq!(text(&read), packet.text);
                prop_assert_eq!(len, packet.bytes.len());
            }
            other => prop_assert!(false, "{:?}", other),
        }
        prop_assert_eq!(check_stream(&packet.bytes, V5, LIMIT), 1);
    }

    #[test]
    fn cuts_make_no_difference(
        packets in vec(any_packet(), 1..8),
        broken in option::of((any::<prop::sample::Index>(), any::<u8>())),
        pieces in vec(1..40usize, 1..10),
    ) {
        let mut stream: Vec<u8> = packets.iter().flat_map(|packet| packet.bytes.clone()).collect();
        if let Some((at, byte)) = &broken {
            let at = at.index(stream.len());
            stream[at] = *byte;
        }
        let whole = read_in_pieces(&stream, &[stream.len()], V5);
        if broken.is_none() {
            prop_assert_eq!(whole.len(), packets.len());
        }
        prop_assert_eq!(&read_in_pieces(&stream, &pieces, V5), &whole);
        prop_assert_eq!(&read_in_pieces(&stream, &[1], V5), &whole);
    }

    #[test]
    fn a_damaged_packet_breaks_nothing(
        packet in any_packet(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = packet.bytes;
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        check_stream(&bytes, V5, LIMIT);
    }

    /// Whatever stands where properties are, with a right length in front.
    #[test]
    fn random_properties_break_nothing(
        place in 0..8usize,
        properties in vec(prop_oneof![0..0x2bu8, 0..4u8, any::<u8>()], 0..60),
    ) {
        let (first, front) = [
            (0x10, &b"\0\x04MQTT\x05\x02\0\x3c"[..]),
            (0x20, b"\0\0"),
            (0x30, b"\0\x01a"),
            (0x40, b"\0\x01\0"),
            (0x82, b"\0\x01"),
            (0x90, b"\0\x01"),
            (0xe0, b"\0"),
            (0xf0, b"\0"),
        ][place];
        let mut bytes = vec![first, (front.len() + 1 + properties.len() + 4) as u8];
        bytes.extend(front);
        bytes.push(properties.len() as u8);
        bytes.extend(&properties);
        bytes.extend(b"\0\x01a\0");
        check_stream(&bytes, V5, LIMIT);
        let _valid = ApplicationProperties::from_block(&properties);
        let read = UserProperties::Encoded(&properties);
        prop_assert_eq!(read.is_empty(), read.iter().count() == 0);
    }
}
