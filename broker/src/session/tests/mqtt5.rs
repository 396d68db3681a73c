//! What MQTT 5 adds to a session: its expiry, the client's receive maximum, messages that grow old, shared messages that it leaves
//! behind; and all of it through records.

use std::num::NonZeroU32;

use super::*;
use crate::message::{Extras, Special};
use crate::session::record;

fn expiring(expiry: Option<u32>) -> Connect {
    Connect { expiry, version: ProtocolVersion::V5, ..connect(false) }
}

fn receiving(maximum: u16) -> Connect {
    Connect { receive_maximum: Some(maximum), ..expiring(None) }
}

/// A message that is of use until that millisecond.
fn until(payload: &str, expires_at: u64) -> Arc<Message> {
    let extras = Some(Box::new(Extras { expires_at: Some(expires_at), ..Extras::default() }));
    Arc::new(Message { extras, ..Message::clone(&message(payload)) })
}

fn shared(qos: QoS) -> Terms {
    let special = Special { share: Some("$share/g/a/b".into()), ..Special::default() };
    Terms { special: Some(Arc::new(special)), ..Terms::plain(qos) }
}

/// As a restart gives it back.
fn restored(log: &Kept) -> Session {
    log.recover().sessions.remove(0)
}

fn give(session: &mut Session, message: &Arc<Message>, terms: &Terms, log: &mut Kept) {
    assert!(!matches!(session.deliver(message, terms, Room::FREE, log), Delivery::Dropped(_)));
}

/// [MQTT5-3.1.2-23, 4.1.0-2]
#[test]
fn a_session_lasts_as_long_as_it_asks_for_and_the_broker_keeps_any() {
    let hour = Duration::from_secs(3600);
    for (expiry, without_limit, limited) in [
        (Some(1), Some(201), Some(201)),
        (Some(10_000), Some(10_200), Some(3_800)),
        (Some(u32::MAX), Some(200 + u64::from(u32::MAX)), Some(3_800)),
        (None, None, Some(3_800)),
    ] {
        let log = &mut Kept::default();
        let mut session = Session::new(7, "c".into(), SMALL, 100);
        let epoch = session.connect(expiring(expiry), 100, log).epoch;
        assert!(session.is_recorded());
        assert_eq!(session.expires_at(hour), None, "it has a connection");
        assert!(!session.disconnect(epoch, Goodbye::Lost, 200, log).unwrap().over);
        for session in [&session, &restored(log)] {
            assert_eq!(session.expiry(), expiry);
            assert_eq!(session.expires_at(Duration::ZERO), without_limit);
            assert_eq!(session.expires_at(hour), limited);
        }
    }
}

/// [MQTT5-4.1.0-2]
#[test]
fn a_session_with_expiry_0_is_over_with_its_connection_and_not_recorded() {
    let log = &mut Kept::default();
    let mut session = Session::new(7, "c".into(), SMALL, 100);
    let epoch = session.connect(expiring(Some(0)), 100, log).epoch;
    give(&mut session, &message("one"), &Terms::plain(QoS::AtLeastOnce), log);
    assert!(session.disconnect(epoch, Goodbye::Lost, 200, log).unwrap().over);
    assert!(log.records.is_empty());
}

/// [MQTT5-3.1.2-4, 3.2.2-2, 3.2.2-3]
#[test]
fn a_session_that_was_kept_can_be_taken_up_for_one_more_connection_only() {
    let log = &mut Kept::default();
    let mut session = Session::new(7, "c".into(), SMALL, 100);
    session.connect(expiring(Some(50)), 100, log);
    session.disconnect(1, Goodbye::Lost, 110, log);
    assert!(session.connect(expiring(Some(0)), 120, log).session_present);
    // A crash ends its connection, and with it the session.
    assert_eq!(restored(log).expires_at(Duration::ZERO), Some(1000));
    assert!(session.disconnect(2, Goodbye::Lost, 130, log).unwrap().over);
    session.end(log);
    assert!(log.recover().sessions.is_empty());
}

#[test]
fn an_expiry_holds_for_its_connection_and_not_for_the_next_one() {
    let log = &mut Kept::default();
    let mut session = Session::new(7, "c".into(), SMALL, 100);
    session.connect(expiring(Some(50)), 100, log);
    session.disconnect(1, Goodbye::Lost, 110, log);
    assert!(session.connect(connect(false), 120, log).session_present);
    session.disconnect(2, Goodbye::Lost, 130, log);
    assert_eq!((session.expiry(), restored(log).expiry()), (None, None));
}

/// [MQTT5-3.14.2-2]
#[test]
fn disconnect_changes_the_expiry_but_does_not_make_a_session_last_that_would_end() {
    let log = &mut Kept::default();
    let mut session = Session::new(7, "c".into(), SMALL, 100);
    session.connect(expiring(Some(50)), 100, log);
    for (expiry, over) in [(Some(1000), false), (None, false), (Some(0), true)] {
        assert!(session.set_expiry(expiry, log));
        assert_eq!((session.expiry(), restored(log).expiry()), (expiry, expiry));
        let records = log.records.len();
        assert_eq!(session.disconnect(session.epoch(), Goodbye::Disconnect, 200, log).unwrap().over, over);
        log.records.truncate(records);
        session.connect(expiring(expiry), 210, log);
    }
    let records = log.records.len();
    assert!(!session.set_expiry(Some(1), log) && !session.set_expiry(None, log));
    assert!(session.set_expiry(Some(0), log), "as it is");
    assert_eq!((session.expiry(), log.records.len()), (Some(0), records + 1));
}

/// [MQTT5-3.3.4-9, 4.9.0-2]
#[test]
fn a_resumed_session_sends_again_no_more_at_a_time_than_the_client_takes_now() {
    let log = &mut Kept::default();
    let mut session = session(SessionLimits { inflight: 5, queue_messages: 9, ..SMALL }, log);
    for (payload, qos) in [("one", 1), ("two", 2), ("three", 2), ("four", 1), ("five", 1), ("six", 1)] {
        give(&mut session, &message(payload), &Terms::plain(QoS::from_u8(qos).unwrap()), log);
    }
    session.handle_pubrec(id(2), log).unwrap();
    session.disconnect(1, Goodbye::Lost, 101, log);
    session.connect(receiving(2), 102, log);
    assert_eq!(transmits(&mut session, log), ["d1 one", "r2"]);
    assert!(!session.can_transmit());
    session.handle_puback(id(1), log).unwrap();
    assert_eq!(transmits(&mut session, log), ["d3 three"]);
    // The flow of one that was received takes its place until it ends.
    session.handle_pubrec(id(3), log).unwrap();
    assert!(transmits(&mut session, log).is_empty());
    session.handle_pubcomp(id(2), log).unwrap();
    assert_eq!(transmits(&mut session, log), ["d4 four"]);
    session.handle_pubcomp(id(3), log).unwrap();
    session.handle_puback(id(4), log).unwrap();
    assert_eq!(transmits(&mut session, log), ["d5 five", "p6 six"]);
    // Another client of this session may take more.
    session.connect(expiring(None), 103, log);
    for payload in ["seven", "eight", "nine", "ten"] {
        give(&mut session, &message(payload), &Terms::plain(QoS::AtLeastOnce), log);
    }
    assert_eq!(transmits(&mut session, log), ["d5 five", "d6 six", "p7 seven", "p8 eight", "p9 nine"]);
}

/// [MQTT5-3.3.2-5, 4.3.3-7]
#[test]
fn what_has_waited_too_long_is_dropped_counted_and_recorded_but_not_what_is_under_way() {
    let log = &mut Kept::default();
    let mut session = session(SessionLimits { inflight: 1, queue_messages: 9, ..SMALL }, log);
    for message in
        [until("sent", 5), until("a", 10), until("b", 10), until("c", 30), message("d"), until("e", 20)]
    {
        give(&mut session, &message, &Terms::plain(QoS::AtLeastOnce), log);
    }
    assert!(session.poll_transmit(9, log).is_none());
    assert_eq!((session.take_expired(), session.queued_messages()), (0, 5), "nothing is too old yet");
    session.drop_expired(10, log);
    assert_eq!((session.take_expired(), session.take_expired()), (2, 0), "counted once");
    assert_eq!(session.queued_messages(), restored(log).queued_messages());
    assert_eq!(session.queued_bytes(), restored(log).queued_bytes());
    session.connect(expiring(None), 200, log);
    let sent = |session: &mut Session, now: u64, log: &mut Kept| match session.poll_transmit(now, log) {
        Some(Transmit::Publish { packet_id, message, .. }) => {
            session.handle_puback(packet_id, log).unwrap();
            String::from_utf8_lossy(&message.payload).into_owned()
        }
        other => format!("{other:?}"),
    };
    assert_eq!(sent(&mut session, 25, log), "sent", "what was sent once is sent again, however old");
    assert_eq!(sent(&mut session, 29, log), "c", "it has its last millisecond");
    assert_eq!(sent(&mut session, 30, log), "d");
    assert!(session.poll_transmit(30, log).is_none());
    assert_eq!((session.take_expired(), session.queued_messages(), session.queued_bytes()), (1, 0, 0));
    assert_eq!(restored(log).queued_messages(), 0);
}

/// [MQTT5-4.8.2-4, 4.8.2-5]
#[test]
fn a_session_leaves_behind_what_came_by_a_share_and_was_not_begun_at_qos_2() {
    let log = &mut Kept::default();
    let mut session = session(SessionLimits { inflight: 4, queue_messages: 9, ..SMALL }, log);
    let (one, two) = (QoS::AtLeastOnce, QoS::ExactlyOnce);
    for (payload, terms) in [
        ("under way 1", shared(one)),
        ("under way 2", shared(two)),
        ("received 2", shared(two)),
        ("own", Terms::plain(one)),
        ("waits 1", shared(one)),
        ("waits own", Terms::plain(two)),
        ("waits 2", Terms { retain: true, ..shared(two) }),
    ] {
        give(&mut session, &message(payload), &terms, log);
    }
    session.handle_pubrec(id(3), log).unwrap();
    let expected = [("under way 1", false), ("waits 1", false), ("waits 2", true)];
    for session in [&mut session, &mut restored(log)] {
        let left = session.take_unanswered();
        assert!(left.iter().all(|left| &*left.share == "$share/g/a/b"));
        let left = left.iter().map(|left| (std::str::from_utf8(&left.message.payload).unwrap(), left.retain));
        assert_eq!(left.collect::<Vec<_>>(), expected);
    }
    session.end(log);
    assert!(session.take_unanswered().is_empty());
}

#[test]
fn a_flow_that_is_ended_gives_its_place_and_identifier_back() {
    let log = &mut Kept::default();
    let mut session = session(SMALL, log);
    for payload in ["one", "two", "three"] {
        give(&mut session, &message(payload), &Terms::plain(QoS::ExactlyOnce), log);
    }
    session.handle_pubrec(id(2), log).unwrap();
    for (number, ack) in [(9, Ack::Unknown), (1, Ack::Known), (1, Ack::Unknown), (2, Ack::Known)] {
        let records = log.records.len();
        assert_eq!(session.end_flow(id(number), log), ack);
        assert_eq!(log.records.len() - records, usize::from(ack == Ack::Known));
    }
    assert_eq!(transmits(&mut session, log), ["p3 three"]);
    assert_eq!(restored(log).inflight(), 1);
    // While a resumed session sends again, what follows stays next.
    give(&mut session, &message("four"), &Terms::plain(QoS::AtLeastOnce), log);
    session.connect(expiring(None), 102, log);
    let first = session.poll_transmit(0, log).unwrap().packet_id();
    assert_eq!(session.end_flow(first, log), Ack::Known);
    assert_eq!(transmits(&mut session, log), ["d4 four"]);
}

/// [MQTT5-3.1.3-9]
#[test]
fn a_will_is_due_when_its_delay_or_its_session_is_over() {
    for (delay, expiry, due) in [
        (0, Some(100), None),
        (5, Some(100), Some(205)),
        (500, Some(100), Some(300)),
        (500, Some(0), None),
        (500, None, Some(700)),
        (u32::MAX, None, Some(200 + u64::from(u32::MAX))),
    ] {
        let log = &mut Kept::default();
        let mut session = Session::new(7, "c".into(), SMALL, 100);
        let mut connect = Connect { expiry, version: ProtocolVersion::V5, ..with_will(false, 8) };
        if let Some((_, will)) = &mut connect.will {
            (will.delay, will.message_expiry) = (delay, Some(9));
            will.properties = user_property();
        }
        let epoch = session.connect(connect, 100, log).epoch;
        let armed = log.recover().wills.remove(0);
        assert_eq!(Some(&armed), session.will());
        let will = session.disconnect(epoch, Goodbye::Lost, 200, log).unwrap().will.unwrap();
        assert_eq!(will.due, due, "{delay} {expiry:?}");
        assert_eq!(log.recover().wills, std::slice::from_ref(&will));
        let mut rewritten = Kept::default();
        record::will(rewritten.buffer(), &will);
        rewritten.append();
        assert_eq!(rewritten.recover().wills, [will]);
    }
}

fn user_property() -> Bytes {
    Bytes::from_static(&[0x26, 0, 1, b'n', 0, 1, b'v'])
}

/// Messages and terms of every kind that a delivery can have.
fn deliveries() -> Vec<(Arc<Message>, Terms)> {
    let extras = [
        Extras { properties: user_property(), ..Extras::default() },
        Extras { expires_at: Some(0), ..Extras::default() },
        Extras { expires_at: Some(1_700_000_000_000), ..Extras::default() },
        Extras { provenance: user_property(), ..Extras::default() },
        Extras { properties: user_property(), expires_at: Some(7), provenance: user_property() },
    ];
    let messages = extras.into_iter().map(|extras| Some(Box::new(extras))).chain([None]);
    let specials = [
        Special { identifiers: [0x0b, 1, 0x0b, 0xac, 2].into(), ..Special::default() },
        Special { share: Some("$share/g/a/b".into()), ..Special::default() },
        Special { provenance: true, ..Special::default() },
        Special { identifiers: [0x0b, 5].into(), share: Some("$share/g/+".into()), provenance: true },
    ];
    let specials: Vec<_> =
        specials.into_iter().map(|special| Some(Arc::new(special))).chain([None]).collect();
    let mut all = Vec::new();
    for (n, extras) in messages.enumerate() {
        for special in &specials {
            for (qos, retain) in [(QoS::AtLeastOnce, false), (QoS::ExactlyOnce, true)] {
                let message = Message { extras: extras.clone(), ..Message::clone(&message(&n.to_string())) };
                all.push((Arc::new(message), Terms { qos, retain, special: special.clone() }));
            }
        }
    }
    all
}

/// A log that writes bodies, and messages into the records of sessions, in turn.
#[derive(Default)]
struct Bodies {
    kept: Kept,
    with_body: bool,
    mid: u64,
}

impl Log for Bodies {
    fn buffer(&mut self) -> &mut Vec<u8> {
        self.kept.buffer()
    }

    fn append(&mut self) {
        self.kept.append();
    }

    fn generation(&self) -> u64 {
        0
    }

    fn body(&mut self, message: &Message, _: u64) -> Option<u64> {
        if !self.with_body {
            return None;
        }
        self.mid += 1;
        record::body(self.kept.buffer(), self.mid, None, message);
        self.kept.append();
        Some(self.mid)
    }
}

/// [MQTT5-3.3.2-4, 3.3.4-3]
#[test]
fn messages_come_back_as_they_were_with_the_terms_of_their_delivery() {
    let deliveries = deliveries();
    for with_body in [false, true] {
        let log = &mut Bodies { with_body, ..Bodies::default() };
        let limits = SessionLimits { inflight: 10, queue_messages: 100, queue_bytes: 10_000, ..SMALL };
        let mut session = Session::new(7, "c".into(), limits, 100);
        session.connect(expiring(None), 100, log);
        for (message, terms) in &deliveries {
            session.deliver(message, terms, Room::FREE, log);
        }
        let mut checkpoint = Kept::default();
        session.checkpoint(&mut checkpoint);
        for log in [&log.kept, &checkpoint] {
            let mut session = restored(log);
            session.set_limits(SessionLimits { inflight: 100, ..limits });
            session.connect(expiring(None), 300, &mut NoLog::default());
            let back = std::iter::from_fn(|| session.poll_transmit(0, &mut NoLog::default()));
            let back: Vec<_> = back
                .map(|transmit| match transmit {
                    Transmit::Publish { message, terms, .. } => (message, terms),
                    Transmit::Pubrel { .. } => panic!("PUBREL"),
                })
                .collect();
            // What has expired waits in the queue no longer.
            let expected: Vec<_> = deliveries
                .iter()
                .enumerate()
                .filter(|(n, (message, _))| *n < 10 || !message.is_expired(0))
                .map(|(_, delivery)| delivery.clone())
                .collect();
            assert_eq!(back, expected);
        }
    }
}

/// [MQTT5-3.8.3-3, 3.3.1-13, 3.3.4-3]
#[test]
fn subscriptions_come_back_with_their_options() {
    let log = &mut Kept::default();
    let mut session = session(SessionLimits { subscriptions: 100, ..SMALL }, log);
    for options in 0..8_u8 {
        for (n, identifier) in
            [None, NonZeroU32::new(1), NonZeroU32::new(268_435_455)].into_iter().enumerate()
        {
            let subscription = Subscription {
                qos: QoS::from_u8(options % 3).unwrap(),
                no_local: options & 1 != 0,
                retain_as_published: options & 2 != 0,
                provenance: options & 4 != 0,
                identifier,
            };
            let filter = format!("{options}/{n}").into();
            session.subscribe(&filter, subscription, options & 1 != 0, log).unwrap();
        }
    }
    // Replaced by others: without its identifier, and with another one.
    let plain = Subscription::of(QoS::AtMostOnce);
    session.subscribe(&"3/1".into(), plain, false, log).unwrap();
    let other = Subscription { identifier: NonZeroU32::new(300), ..plain };
    session.subscribe(&"3/2".into(), other, false, log).unwrap();
    let mut checkpoint = Kept::default();
    session.checkpoint(&mut checkpoint);
    for log in [&*log, &checkpoint] {
        let back = restored(log);
        let all = |session: &Session| {
            session.subscriptions().map(|(filter, kind)| (filter.clone(), kind)).collect::<Vec<_>>()
        };
        assert_eq!(all(&back), all(&session));
        assert_eq!(back.replays(), session.replays());
    }
}

/// A log of one session and one will that has every kind of record which MQTT 5 has added.
pub(super) fn everything() -> (Session, Kept) {
    let log = &mut Bodies::default();
    let mut session =
        Session::new(7, "c".into(), SessionLimits { inflight: 2, ..SessionLimits::default() }, 100);
    let mut connect = Connect { expiry: Some(3600), version: ProtocolVersion::V5, ..with_will(false, 8) };
    if let Some((_, will)) = &mut connect.will {
        (will.delay, will.message_expiry, will.properties) = (60, Some(300), user_property());
    }
    session.connect(connect, 100, log);
    let subscription = Subscription {
        no_local: true,
        provenance: true,
        identifier: NonZeroU32::new(300),
        ..Subscription::of(QoS::ExactlyOnce)
    };
    session.subscribe(&"a/+".into(), subscription, true, log).unwrap();
    let deliveries = deliveries();
    for (n, with_body) in [(0, true), (7, false), (49, true), (46, false), (45, true)] {
        log.with_body = with_body;
        let (message, terms) = &deliveries[n];
        session.deliver(message, terms, Room::FREE, log);
        if with_body {
            record::body_end(log.kept.buffer(), log.mid);
            log.kept.append();
        }
    }
    session.set_expiry(None, log);
    session.disconnect(1, Goodbye::Lost, 200, log);
    (session, std::mem::take(&mut log.kept))
}

/// One record at least of each kind that MQTT 5 has added, as they stand on users' disks. A new layout is a new kind; this file stays.
const WITH_MQTT_5: &str = include_str!("records_2.txt");

#[test]
fn the_layout_of_records_of_mqtt_5_does_not_change() {
    let (mut session, mut log) = everything();
    session.checkpoint(&mut log);
    let text: Vec<String> = log.records.iter().map(|record| hex(record)).collect();
    assert_eq!(text.join("\n"), WITH_MQTT_5.trim_end());
    let mut kinds: Vec<u8> = log.records.iter().map(|record| record[0]).filter(|kind| *kind > 24).collect();
    kinds.sort_unstable();
    kinds.dedup();
    assert_eq!(kinds, (25..=31).collect::<Vec<u8>>());
}

#[test]
fn records_of_mqtt_5_are_understood() {
    let mut session =
        restored(&Kept { records: WITH_MQTT_5.lines().map(unhex).collect(), ..Kept::default() });
    let (mut as_it_was, _) = everything();
    let whole = |session: &mut Session| {
        let mut log = Kept::default();
        session.checkpoint(&mut log);
        log.records
    };
    // The will is no more the session's.
    assert_eq!(whole(&mut session), whole(&mut as_it_was));
}
