//! What holds for random packets, random cuts and random bytes.

use proptest::prelude::*;

use super::super::*;
use super::{NO_USER, plain};
use crate::message::QoS;
use ProtocolVersion::{V3_1, V3_1_1, V5};

mod mqtt5;

const LIMIT: usize = 1 << 20;

/// A packet that owns its parts.
#[derive(Clone, Debug)]
enum Owned {
    Connect {
        clean_session: bool,
        bridge: bool,
        keep_alive: u16,
        id: String,
        will: Option<OwnedWill>,
        login: Login,
    },
    Connack(bool, u8),
    Publish {
        topic: String,
        payload: Vec<u8>,
        delivery: Delivery,
        retain: bool,
    },
    Ack(u8, PacketId),
    Subscribe(PacketId, Vec<(String, QoS)>),
    Suback(PacketId, Vec<ReasonCode>),
    Unsubscribe(PacketId, Vec<String>),
    Unsuback(PacketId, Vec<ReasonCode>),
    Bare(u8),
}

type Login = Option<(String, Option<Vec<u8>>)>;

#[derive(Clone, Debug)]
struct OwnedWill {
    topic: String,
    payload: Vec<u8>,
    qos: QoS,
    retain: bool,
}

impl Owned {
    /// Writes the packet as a client or server would.
    fn write(&self, out: &mut Vec<u8>, version: ProtocolVersion) {
        match self {
            Self::Subscribe(id, list) => {
                let list = list.iter().map(|(filter, qos)| Subscription::new(filter, *qos));
                subscribe(out, *id, None, NO_USER, list, version).unwrap();
            }
            Self::Unsubscribe(id, list) => {
                unsubscribe(out, *id, NO_USER, list.iter().map(String::as_str), version).unwrap();
            }
            Self::Suback(id, codes) => {
                suback(out, *id, codes.iter().copied(), None, NO_USER, version).unwrap();
            }
            Self::Unsuback(id, codes) => {
                unsuback(out, *id, codes.iter().copied(), None, NO_USER, version).unwrap();
            }
            _ => self.packet(version).unwrap().encode(out, version).unwrap(),
        }
    }

    fn assert_is(&self, read: &Packet<'_>, version: ProtocolVersion) {
        match (self, read) {
            (Self::Subscribe(id, list), Packet::Subscribe(packet)) => {
                let list = list.iter().map(|(filter, qos)| Subscription::new(filter, *qos));
                assert_eq!(packet.packet_id, *id);
                assert!(packet.subscriptions().eq(list));
            }
            (Self::Unsubscribe(id, list), Packet::Unsubscribe(packet)) => {
                assert_eq!(packet.packet_id, *id);
                assert!(packet.filters().eq(list.iter().map(String::as_str)));
            }
            (Self::Suback(id, codes), Packet::Suback(packet)) => {
                assert_eq!(packet.packet_id, *id);
                assert!(packet.codes().eq(codes.iter().copied()));
            }
            (Self::Unsuback(id, codes), Packet::Unsuback(packet)) => {
                assert_eq!(packet.packet_id, *id);
                let told = if version == V5 { codes.as_slice() } else { &[] };
                assert!(packet.codes().eq(told.iter().copied()));
            }
            _ => assert_eq!(Some(read.clone()), self.packet(version)),
        }
    }

    /// The packet, unless it is one with a list.
    fn packet(&self, version: ProtocolVersion) -> Option<Packet<'_>> {
        Some(match self {
            Self::Connect { clean_session, bridge, keep_alive, id, will, login } => Packet::Connect(
                Connect {
                    version,
                    bridge: *bridge && version < V5,
                    clean_session: *clean_session,
                    keep_alive: *keep_alive,
                    client_id: id,
                    will: will.as_ref().map(|will| Will {
                        topic: &will.topic,
                        payload: &will.payload,
                        qos: will.qos,
                        retain: will.retain,
                        delay: 0,
                        message_expiry: None,
                        application: ApplicationProperties::default(),
                    }),
                    user: login.as_ref().map(|(user, _)| user.as_str()),
                    password: login.as_ref().and_then(|(_, password)| password.as_deref()),
                    properties: ConnectProperties::default(),
                }
                .into(),
            ),
            Self::Connack(present, code) => {
                let reason = ReasonCode::from_connect_return_code(*code).unwrap();
                let session_present = *present && *code == 0 && version > V3_1;
                Packet::Connack(Connack { session_present, reason, ..Connack::default() }.into())
            }
            Self::Publish { topic, payload, delivery, retain } => {
                let delivery = *delivery;
                Packet::Publish(Publish { delivery, retain: *retain, ..plain(topic, payload) })
            }
            Self::Ack(0, id) => Packet::Puback(Ack::new(*id, ReasonCode::Success)),
            Self::Ack(1, id) => Packet::Pubrec(Ack::new(*id, ReasonCode::Success)),
            Self::Ack(2, id) => Packet::Pubrel(Ack::new(*id, ReasonCode::Success)),
            Self::Ack(_, id) => Packet::Pubcomp(Ack::new(*id, ReasonCode::Success)),
            Self::Bare(0) => Packet::Pingreq,
            Self::Bare(1) => Packet::Pingresp,
            Self::Bare(_) => Packet::Disconnect(Disconnect::default()),
            Self::Subscribe(..) | Self::Suback(..) | Self::Unsubscribe(..) | Self::Unsuback(..) => {
                return None;
            }
        })
    }
}

fn versions() -> impl Strategy<Value = ProtocolVersion> {
    prop_oneof![Just(V3_1), Just(V3_1_1), Just(V5)]
}

fn ids() -> impl Strategy<Value = PacketId> {
    (1..=u16::MAX).prop_map(|number| PacketId::new(number).unwrap())
}

fn levels_of_qos() -> impl Strategy<Value = QoS> {
    prop_oneof![Just(QoS::AtMostOnce), Just(QoS::AtLeastOnce), Just(QoS::ExactlyOnce)]
}

fn names() -> impl Strategy<Value = String> {
    prop_oneof!["[a-c/]{1,12}", "[^\\x00+#]{1,40}"]
}

fn filters() -> impl Strategy<Value = String> {
    "((\\+|[a-c]{0,3})/){0,4}(#|\\+|[a-zé漢]{1,3})"
}

fn payloads() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        9 => prop::collection::vec(any::<u8>(), 0..200),
        1 => prop::collection::vec(any::<u8>(), 16_000..17_000),
    ]
}

fn deliveries() -> impl Strategy<Value = Delivery> {
    prop_oneof![
        Just(Delivery::AtMostOnce),
        (ids(), any::<bool>()).prop_map(|(id, dup)| Delivery::AtLeastOnce { id, dup }),
        (ids(), any::<bool>()).prop_map(|(id, dup)| Delivery::ExactlyOnce { id, dup }),
    ]
}

fn connects() -> impl Strategy<Value = Owned> {
    let will = (names(), prop::collection::vec(any::<u8>(), 0..50), levels_of_qos(), any::<bool>())
        .prop_map(|(topic, payload, qos, retain)| OwnedWill { topic, payload, qos, retain });
    let login = ("[^\\x00]{0,10}", prop::option::of(prop::collection::vec(any::<u8>(), 0..10)));
    (any::<(bool, bool, u16)>(), "[^\\x00]{1,30}", prop::option::of(will), prop::option::of(login)).prop_map(
        |((clean_session, bridge, keep_alive), id, will, login)| Owned::Connect {
            clean_session,
            bridge,
            keep_alive,
            id,
            will,
            login,
        },
    )
}

fn packets() -> impl Strategy<Value = Owned> {
    let code = prop_oneof![levels_of_qos().prop_map(ReasonCode::granted), Just(ReasonCode::UnspecifiedError)];
    prop_oneof![
        connects(),
        (any::<bool>(), 0..=5u8).prop_map(|(present, code)| Owned::Connack(present, code)),
        (names(), payloads(), deliveries(), any::<bool>()).prop_map(|(topic, payload, delivery, retain)| {
            Owned::Publish { topic, payload, delivery, retain }
        }),
        (0..4u8, ids()).prop_map(|(which, id)| Owned::Ack(which, id)),
        (ids(), prop::collection::vec((filters(), levels_of_qos()), 1..20))
            .prop_map(|(id, list)| Owned::Subscribe(id, list)),
        (ids(), prop::collection::vec(code, 1..20)).prop_map(|(id, codes)| Owned::Suback(id, codes)),
        (ids(), prop::collection::vec(filters(), 1..20)).prop_map(|(id, list)| Owned::Unsubscribe(id, list)),
        (ids(), prop::collection::vec(Just(ReasonCode::Success), 1..20))
            .prop_map(|(id, codes)| Owned::Unsuback(id, codes)),
        (0..3u8).prop_map(Owned::Bare),
    ]
}

/// Reads a stream that arrives in pieces of the given lengths, as a connection does: packets as text, then
/// the error if there is one. A piece is waited for only until as many bytes are there as the decoder asked
/// for.
fn read_in_pieces(stream: &[u8], pieces: &[usize], version: ProtocolVersion) -> Vec<String> {
    let mut seen = Vec::new();
    let mut buf = Vec::new();
    let mut wanted = 0;
    let mut rest = stream;
    let mut pieces = pieces.iter().copied().cycle();
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(pieces.next().unwrap_or(1).clamp(1, rest.len()));
        buf.extend_from_slice(piece);
        rest = after;
        while buf.len() >= wanted {
            match decode(&buf, version, LIMIT) {
                Ok(Decoded::Packet { packet, len }) => {
                    seen.push(format!("{packet:?}"));
                    buf.drain(..len);
                    wanted = 0;
                }
                Ok(Decoded::NeedMore { at_least }) => wanted = at_least,
                Err(error) => {
                    seen.push(error.to_string());
                    return seen;
                }
            }
        }
    }
    seen
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(owned in packets(), version in versions()) {
        let mut bytes = Vec::new();
        owned.write(&mut bytes, version);
        match decode(&bytes, version, LIMIT) {
            Ok(Decoded::Packet { packet, len }) => {
                owned.assert_is(&packet, version);
                prop_assert_eq!(len, bytes.len());
                prop_assert_eq!(bytes[0] >> 4, packet.packet_type() as u8);
            }
            other => prop_assert!(false, "{:?}", other),
        }
        prop_assert_eq!(check_stream(&bytes, version, LIMIT), 1);
    }

    #[test]
    fn cuts_make_no_difference(
        owned in prop::collection::vec(packets(), 1..8),
        broken in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
        pieces in prop::collection::vec(1..40usize, 1..10),
        version in versions(),
    ) {
        let mut stream = Vec::new();
        for packet in &owned {
            packet.write(&mut stream, version);
        }
        if let Some((at, byte)) = &broken {
            let at = at.index(stream.len());
            stream[at] = *byte;
        }
        let whole = read_in_pieces(&stream, &[stream.len()], version);
        if broken.is_none() {
            prop_assert_eq!(whole.len(), owned.len());
        }
        prop_assert_eq!(&read_in_pieces(&stream, &pieces, version), &whole);
        prop_assert_eq!(&read_in_pieces(&stream, &[1], version), &whole);
    }

    #[test]
    fn random_bytes_break_nothing(bytes in prop::collection::vec(any::<u8>(), 0..300), version in versions()) {
        check_stream(&bytes, version, 200);
    }

    #[test]
    fn random_bodies_break_nothing(
        packet_type in 1..16u8,
        body in prop::collection::vec(prop_oneof![0..4u8, any::<u8>(), Just(b'/'), Just(b'#')], 0..60),
        version in versions(),
    ) {
        let flags = if matches!(packet_type, 6 | 8 | 10) { 2 } else { 0 };
        let mut bytes = vec![packet_type << 4 | flags, body.len() as u8];
        bytes.extend_from_slice(&body);
        check_stream(&bytes, version, LIMIT);
    }

    #[test]
    fn a_damaged_packet_breaks_nothing(
        owned in packets(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        version in versions(),
    ) {
        let mut bytes = Vec::new();
        owned.write(&mut bytes, version);
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        check_stream(&bytes, version, LIMIT);
    }

    #[test]
    fn no_wish_exceeds_the_limit(header in prop::collection::vec(any::<u8>(), 0..6), limit in 2..1000usize) {
        if let Ok(Decoded::NeedMore { at_least }) = decode(&header, V3_1_1, limit) {
            prop_assert!(at_least <= limit.max(5) && at_least > header.len());
        }
    }

    #[test]
    fn the_size_is_known_before_it_is_written(
        topic in names(), payload_len in 0..3_000_000usize, delivery in deliveries(), retain: bool,
    ) {
        let properties = PublishProperties::default();
        let header = PublishHeader { topic: &topic, payload_len, delivery, retain, properties };
        let mut out = Vec::new();
        header.encode(&mut out, V3_1_1).unwrap();
        prop_assert_eq!(header.packet_len(V3_1_1), out.len() + payload_len);
        let asked = decode(&out, V3_1_1, usize::MAX);
        if payload_len > 0 {
            prop_assert_eq!(asked, Ok(Decoded::NeedMore { at_least: out.len() + payload_len }));
        }
    }
}
