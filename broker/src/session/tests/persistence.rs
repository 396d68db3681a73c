//! Records and what is restored from them.

use super::*;
use crate::session::record::{self, Origin};

fn apply(recovery: &mut Recovery, write: impl FnOnce(&mut Vec<u8>)) {
    let mut record = Vec::new();
    write(&mut record);
    assert_eq!(recovery.apply(&record), Ok(()));
}

/// A log of one session that has everything a session can have.
fn everything() -> (Session, Kept) {
    let mut log = Kept::default();
    record::reset(log.buffer());
    log.append();
    let log_ref = &mut log;
    let mut session =
        Session::new(7, "c".into(), SessionLimits { inflight: 2, ..SessionLimits::default() }, 100);
    session.connect(with_will(false, 8), 100, log_ref);
    let subscription = Subscription::of(QoS::ExactlyOnce);
    session.subscribe(&"a/+".into(), subscription, true, log_ref).unwrap();
    session.subscribe(&"b".into(), subscription, true, log_ref).unwrap();
    session.subscribe(&"c".into(), subscription, false, log_ref).unwrap();
    session.unsubscribe("c", log_ref);
    let first = session.next_replay(None).unwrap();
    session.replay_done(first.id, log_ref);
    for payload in ["one", "two", "three", "four"] {
        session.deliver(&message(payload), &Terms::plain(QoS::ExactlyOnce), Room::FREE, log_ref);
    }
    session.handle_pubrec(id(1), log_ref).unwrap();
    session.handle_pubrec(id(2), log_ref).unwrap();
    session.handle_pubcomp(id(2), log_ref).unwrap();
    assert_eq!(transmits(&mut session, log_ref), ["p3 three"]);
    session.note_incoming(id(5), log_ref);
    session.note_incoming(id(6), log_ref);
    session.handle_pubrel(id(5), log_ref);
    session.disconnect(1, Goodbye::Lost, 200, log_ref);
    (session, log)
}

fn assert_everything(recovered: Recovered) -> Session {
    assert_eq!((recovered.sessions.len(), recovered.wills.len()), (1, 1));
    assert_eq!(recovered.highest_number, 8);
    assert_eq!(recovered.wills[0].will.topic, "gone".into());
    let mut session = recovered.sessions.into_iter().next().unwrap();
    assert_eq!((session.sid(), session.client_id().as_ref()), (7, "c"));
    assert_eq!(
        (session.user().map(|user| &**user), session.version()),
        (Some("ann"), ProtocolVersion::V3_1_1)
    );
    assert_eq!(session.created(), 100);
    assert_eq!(session.expires_at(Duration::from_secs(1)), Some(201));
    assert_eq!(session.subscriptions().map(|(filter, _)| &**filter).collect::<Vec<_>>(), ["a/+", "b"]);
    assert_eq!(session.next_replay(None).map(|replay| replay.filter), Some("b".into()));
    assert_eq!(session.check_incoming(id(5), true), Incoming::New);
    assert_eq!(session.check_incoming(id(6), true), Incoming::Duplicate);
    let log = &mut Kept::default();
    assert!(session.connect(connect(false), 300, log).session_present);
    assert_eq!(transmits(&mut session, log), ["r1", "d3 three", "p4 four"]);
    session
}

#[test]
fn a_session_is_restored_from_its_changes() {
    let (_, log) = everything();
    let recovered = log.recover();
    assert_eq!(recovered.skipped, 0);
    assert_everything(recovered);
}

#[test]
fn a_session_is_restored_from_its_checkpoint_alone() {
    let (mut session, log) = everything();
    let mut checkpoint = Kept::default();
    session.checkpoint(&mut checkpoint);
    for recorded in log.recover().wills {
        record::will(checkpoint.buffer(), &recorded);
        checkpoint.append();
    }
    assert_everything(checkpoint.recover());
}

#[test]
fn changes_of_a_session_that_is_not_known_yet_are_skipped() {
    let (mut session, log) = everything();
    let mut late = Kept { records: log.records[5..].to_vec(), ..Kept::default() };
    let before = late.recover();
    assert!(before.sessions.is_empty() && before.skipped > 0);
    session.checkpoint(&mut late);
    assert_eq!(late.recover().sessions.len(), 1);
}

#[test]
fn a_checkpoint_that_was_cut_off_does_not_replace_what_was_before() {
    let (mut session, mut log) = everything();
    let before = log.records.len();
    session.checkpoint(&mut log);
    for cut in before..log.records.len() {
        let mut torn = Kept { records: log.records[..cut].to_vec(), ..Kept::default() };
        record::reset(torn.buffer());
        torn.append();
        assert_everything(torn.recover());
        // What follows concerns the session as it was.
        let mut restored = torn.recover().sessions.remove(0);
        restored.connect(connect(true), 300, &mut torn);
        assert!(torn.recover().sessions.is_empty());
    }
}

#[test]
fn a_session_that_ended_does_not_come_back() {
    let (mut session, mut log) = everything();
    session.end(&mut log);
    let recovered = log.recover();
    assert!(recovered.sessions.is_empty());
    assert_eq!(recovered.highest_number, 8, "its number is not used again");
}

#[test]
fn a_connection_that_the_crash_ended_counts_as_away_since_the_restart() {
    let log = &mut Kept::default();
    session(SMALL, log);
    let restored = log.recover().sessions.remove(0);
    assert_eq!(restored.expires_at(Duration::from_secs(5)), Some(1005));
}

#[test]
fn of_two_sessions_of_one_client_the_later_one_is_restored() {
    let log = &mut Kept::default();
    Session::new(7, "c".into(), SMALL, 100).connect(connect(false), 100, log);
    Session::new(9, "c".into(), SMALL, 100).connect(connect(false), 100, log);
    let recovered = log.recover();
    assert_eq!(recovered.sessions.iter().map(Session::sid).collect::<Vec<_>>(), [9]);
}

#[test]
fn sessions_share_the_body_of_a_message_and_a_missing_body_costs_that_message_only() {
    let mut recovery = Recovery::new(SessionLimits::default(), 0);
    let log = &mut Kept::default();
    for sid in [1, 2] {
        Session::new(sid, format!("c{sid}").into(), SMALL, 0).connect(connect(false), 0, log);
    }
    log.records.iter().for_each(|record| recovery.apply(record).unwrap());
    apply(&mut recovery, |out| record::body(out, 1, None, &message("one")));
    apply(&mut recovery, |out| record::body(out, 2, None, &message("two")));
    apply(&mut recovery, |out| record::body_end(out, 2));
    for (sid, mid) in [(1, 1), (1, 2), (2, 2), (2, 1)] {
        let log = &mut Kept::default();
        record::enqueue(log, sid, mid, &Terms::plain(QoS::AtLeastOnce), None);
        recovery.apply(&log.records[0]).unwrap();
    }
    let log = &mut Kept::default();
    record::sent(log, 2, id(1));
    record::sent(log, 2, id(2));
    record::acked(log, 2, id(1));
    log.records.iter().for_each(|record| recovery.apply(record).unwrap());
    let mut recovered = recovery.finish();
    assert_eq!((recovered.lost, recovered.contradictions, recovered.highest_mid), (1, 0, 2));
    let got: Vec<Arc<Message>> = recovered
        .sessions
        .iter_mut()
        .map(|session| {
            session.connect(connect(false), 0, &mut NoLog::default());
            match session.poll_transmit(0, &mut NoLog::default()) {
                Some(Transmit::Publish { message, .. }) => message,
                other => panic!("{other:?}"),
            }
        })
        .collect();
    assert!(Arc::ptr_eq(&got[0], &got[1]));
}

#[test]
fn a_message_whose_routing_a_crash_cut_off_is_known_to_those_who_got_it() {
    let mut recovery = Recovery::new(SessionLimits::default(), 0);
    let log = &mut Kept::default();
    for sid in [1, 2] {
        Session::new(sid, format!("c{sid}").into(), SMALL, 0).connect(connect(false), 0, log);
    }
    log.records.iter().for_each(|record| recovery.apply(record).unwrap());
    let origin = Some(Origin { sid: 1, packet_id: id(9) });
    apply(&mut recovery, |out| record::body(out, 1, origin, &message("one")));
    let log = &mut Kept::default();
    record::enqueue(log, 2, 1, &Terms::plain(QoS::ExactlyOnce), None);
    recovery.apply(&log.records[0]).unwrap();
    let mut publisher = recovery.finish().sessions.remove(0);
    assert_eq!(publisher.check_incoming(id(9), true), Incoming::Unfinished([2].into()));
    assert_eq!(publisher.check_incoming(id(9), false), Incoming::New, "without DUP it is another message");
    let log = &mut Kept::default();
    publisher.checkpoint(log);
    // It is sent again, and there is another crash before all got it.
    record::body(log.buffer(), 1, origin, &message("one"));
    log.append();
    record::enqueue(log, 3, 1, &Terms::plain(QoS::ExactlyOnce), None);
    let kept = log.recover().sessions.remove(0);
    assert_eq!(kept.check_incoming(id(9), true), Incoming::Unfinished([2, 3].into()));
    publisher.note_incoming(id(9), log);
    publisher.handle_pubrel(id(9), log);
    assert_eq!(publisher.check_incoming(id(9), true), Incoming::New);
}

fn waits(number: u64) -> RecordedDelayed {
    RecordedDelayed {
        number,
        client_id: "c".into(),
        user: Some("ann".into()),
        due_ms: 1_800_000_000_123,
        topic: "later".into(),
        payload: "five"[..].into(),
        qos: QoS::ExactlyOnce,
        retain: true,
        properties: [1, 1][..].to_vec().into(),
        message_expiry: Some(0),
        served: [3, 300].into(),
    }
}

#[test]
fn a_delayed_message_is_restored_as_it_was_until_it_is_gone() {
    let mut log = Kept::default();
    for number in [9, 10] {
        record::delayed(log.buffer(), &waits(number), None);
        log.append();
    }
    record::delayed_gone(log.buffer(), 10);
    log.append();
    let recovered = log.recover();
    assert_eq!(recovered.delayed, [waits(9)]);
    assert_eq!(recovered.highest_number, 10);
    let text: Vec<String> = log.records.iter().skip(1).map(|record| hex(record)).collect();
    let layout = [
        "20 0a 01 63 01 03 61 6e 6e fb a0 f1 c2 b1 34 06 05 6c 61 74 65 72 04 66 69 76 65 02 01 01 01 02 03 ac 02 00 00",
        "21 0a",
    ];
    assert_eq!(text, layout, "what is on users' disks: a new layout is a new kind");
}

#[test]
fn a_delayed_message_is_known_to_its_publishers_session_and_to_those_who_got_it() {
    let log = &mut Kept::default();
    Session::new(1, "c1".into(), SMALL, 0).connect(connect(false), 0, log);
    record::delayed(log.buffer(), &waits(9), Some(Origin { sid: 1, packet_id: id(5) }));
    log.append();
    let recovered = log.recover();
    match recovered.sessions[0].check_incoming(id(5), true) {
        Incoming::Unfinished(served) => assert!(was_taken(&served)),
        other => panic!("{other:?}"),
    }
    // Amid its release comes a crash.
    record::body(log.buffer(), 1, Some(waits(9).origin()), &message("five"));
    log.append();
    record::enqueue(log, 1, 1, &Terms::plain(QoS::ExactlyOnce), None);
    assert_eq!(*log.recover().delayed[0].served, [3, 300, 1]);
    record::incoming(log, 1, id(5));
    assert_eq!(log.recover().sessions[0].check_incoming(id(5), true), Incoming::Duplicate);
    assert!(!was_taken(&[1, 3, 300]));
}

#[test]
fn changes_that_contradict_what_was_before_are_counted() {
    let mut recovery = Recovery::new(SessionLimits::default(), 0);
    let log = &mut Kept::default();
    session(SMALL, log);
    record::acked(log, 7, id(1));
    record::sent(log, 7, id(1));
    record::dropped(log, 7);
    record::released(log, 7, id(1));
    record::replay_done(log, 7, "a");
    log.records.iter().for_each(|record| recovery.apply(record).unwrap());
    assert_eq!(recovery.finish().contradictions, 5);
}

#[test]
fn records_that_cannot_be_understood_are_told_in_words() {
    let mut recovery = Recovery::new(SessionLimits::default(), 0);
    let mut refuse = |bytes: &[u8]| recovery.apply(bytes).unwrap_err().to_string();
    assert_eq!(refuse(&[]), "a session record ends too early: the log is damaged");
    assert_eq!(refuse(&[17, 1]), "a session record ends too early: the log is damaged");
    assert_eq!(refuse(&[17, 1, 0]), "a session record is damaged: a packet identifier");
    assert_eq!(refuse(&[17, 1, 1, 1]), "a session record is damaged: bytes after the end");
    assert_eq!(
        refuse(&[24, 1, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]),
        "a session record is damaged: a number"
    );
    assert!(refuse(&[200]).contains("unknown kind 200"));
    assert!(recovery.finish().sessions.is_empty());
}

#[test]
fn identifiers_that_no_client_would_understand_are_damage() {
    let damaged = |sid: &[u8]| {
        // The retained flag, the identifiers, no share, not under way, a message, nothing of its own.
        let record = [&[29, 1, 1, 0], sid, &[0, 0, 1, 1, b't', 0, 0, 0, 0]].concat();
        Recovery::new(SessionLimits::default(), 0).apply(&record).err()
    };
    assert_eq!(damaged(&[0]), None);
    assert_eq!(damaged(&[5, 0x0b, 1, 0x0b, 0xac, 2]), None);
    assert_eq!(damaged(&[5, 0x0b, 0xff, 0xff, 0xff, 0x7f]), None);
    let what = RecoveryError::Damaged { what: "subscription identifiers" };
    for wrong in [
        &[2, 0x0b, 0][..],
        &[1, 0x0b],
        &[2, 0x0c, 1],
        &[2, 0x0b, 0x80],
        &[3, 0x0b, 0x80, 0],
        &[6, 0x0b, 0x80, 0x80, 0x80, 0x80, 1],
    ] {
        assert_eq!(damaged(wrong), Some(what.clone()), "{wrong:?}");
    }
    let subscribe = |number: &[u8]| {
        let record = [&[26, 1, 1, b'a', 0, 0, 0], number].concat();
        Recovery::new(SessionLimits::default(), 0).apply(&record).is_ok()
    };
    assert!(subscribe(&[0xff, 0xff, 0xff, 0x7f]));
    assert!(!subscribe(&[0x80, 0x80, 0x80, 0x80, 1]) && !subscribe(&[0]));
}

/// One record of each kind, as the first version writes them: what is on users' disks. A new layout is a new kind; this file stays.
const FIRST_VERSION: &str = include_str!("records_1.txt");

#[test]
fn the_layout_of_records_does_not_change() {
    let (mut session, mut log) = everything();
    record::body(log.buffer(), 300, Some(Origin { sid: 7, packet_id: id(500) }), &message("five"));
    log.append();
    record::enqueue(&mut log, 7, 300, &Terms::plain(QoS::AtLeastOnce), Some(id(600)));
    record::body_end(log.buffer(), 300);
    log.append();
    record::acked(&mut log, 7, id(600));
    record::enqueue(&mut log, 7, 301, &Terms::plain(QoS::ExactlyOnce), None);
    record::dropped(&mut log, 7);
    record::will_gone(log.buffer(), 9);
    log.append();
    session.checkpoint(&mut log);
    record::unfinished(&mut log, 7, id(501), &[1, 2, 3000]);
    record::present(&mut log, 9, None, ProtocolVersion::V3_1);
    record::end(&mut log, 9);
    let text: Vec<String> = log.records.iter().map(|record| hex(record)).collect();
    assert_eq!(text.join("\n"), FIRST_VERSION.trim_end());
}

#[test]
fn records_of_the_first_version_are_understood() {
    let log = Kept { records: FIRST_VERSION.lines().map(unhex).collect(), ..Kept::default() };
    let mut kinds: Vec<u8> = log.records.iter().map(|record| record[0]).collect();
    kinds.sort_unstable();
    kinds.dedup();
    assert_eq!(kinds, (1..=24).collect::<Vec<u8>>());
    let recovered = log.recover();
    assert_eq!(recovered.highest_mid, 300);
    assert_eq!(
        recovered.sessions[0].check_incoming(id(501), true),
        Incoming::Unfinished([1, 2, 3000].into())
    );
    assert_everything(recovered);
}

proptest! {
    #[test]
    fn no_bytes_make_the_recovery_panic(records in vec((1_u8..35, vec(any::<u8>(), 0..40)), 0..60)) {
        let mut recovery = Recovery::new(SessionLimits::default(), 0);
        for (kind, mut fields) in records {
            fields.insert(0, kind);
            let _ = recovery.apply(&fields);
        }
        let _ = recovery.finish();
    }

    #[test]
    fn no_damage_to_true_records_makes_the_recovery_or_a_restored_session_panic(
        flips in vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>()), 0..12),
        swaps in vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..6),
        of_mqtt_5 in any::<bool>(),
    ) {
        let (mut session, mut log) = if of_mqtt_5 { mqtt5::everything() } else { everything() };
        session.checkpoint(&mut log);
        for (record, byte, value) in flips {
            let record = record.get_mut(&mut log.records);
            let at = byte.index(record.len());
            record[at] = value;
        }
        for (a, b) in swaps {
            let len = log.records.len();
            log.records.swap(a.index(len), b.index(len));
        }
        let mut recovery = Recovery::new(SMALL, 0);
        for record in &log.records {
            let _ = recovery.apply(record);
        }
        for mut restored in recovery.finish().sessions {
            let log = &mut Kept::default();
            restored.connect(connect(false), 1, log);
            transmits(&mut restored, log);
            restored.take_unanswered();
            for number in 1..9 {
                let _ = restored.handle_puback(id(number), log);
                let _ = restored.handle_pubrec(id(number), log);
                let _ = restored.handle_pubcomp(id(number), log);
                restored.handle_pubrel(id(number), log);
            }
        }
    }
}
