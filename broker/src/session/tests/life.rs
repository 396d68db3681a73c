//! Beginning and end of connections and sessions; subscriptions and the replays they are owed.

use super::*;

fn subscribe(session: &mut Session, filter: &str, log: &mut Kept) -> Result<(), TooManySubscriptions> {
    let subscription = Subscription::of(QoS::AtLeastOnce);
    session.subscribe(&filter.into(), subscription, true, log).map(drop)
}

fn next(session: &Session, last: &mut Option<ReplayId>) -> Option<String> {
    let replay = session.next_replay(*last)?;
    *last = Some(replay.id);
    Some(replay.filter.to_string())
}

/// [MQTT-3.1.2-4, 3.1.2-6, 3.2.2-1, 3.2.2-2]
#[test]
fn a_session_is_present_only_if_it_was_kept_and_is_wanted() {
    let log = &mut Kept::default();
    let mut session = Session::new(7, "c".into(), SMALL, 100);
    assert!(!session.connect(connect(false), 100, log).session_present, "there was none");
    subscribe(&mut session, "a/+", log).unwrap();
    session.deliver(&message("one"), &Terms::plain(QoS::AtLeastOnce), Room::FREE, log);
    session.note_incoming(id(3), log);
    let again = session.connect(connect(false), 101, log);
    assert!(again.session_present && again.unsubscribed.is_empty());
    let clean = session.connect(connect(true), 102, log);
    assert!(!clean.session_present);
    assert_eq!(clean.unsubscribed, ["a/+".into()]);
    assert_eq!((session.inflight(), session.incoming(), session.subscriptions().len()), (0, 0, 0));
    assert!(!session.connect(connect(false), 103, log).session_present, "a clean session is not kept");
}

#[test]
fn a_clean_session_is_over_with_its_connection_and_records_nothing_but_its_will() {
    let log = &mut Kept::default();
    let mut session = Session::new(7, "c".into(), SMALL, 100);
    let epoch = session.connect(with_will(true, 5), 100, log).epoch;
    subscribe(&mut session, "a/+", log).unwrap();
    session.deliver(&message("one"), &Terms::plain(QoS::AtLeastOnce), Room::FREE, log);
    session.handle_puback(id(1), log).unwrap();
    session.note_incoming(id(3), log);
    session.handle_pubrel(id(3), log);
    session.unsubscribe("a/+", log);
    assert_eq!(log.records.len(), 1);
    assert_eq!(log.recover().wills, session.will().cloned().into_iter().collect::<Vec<_>>());
    let ended = session.disconnect(epoch, Goodbye::Lost, 101, log).unwrap();
    assert!(ended.over);
    assert_eq!(ended.will.unwrap().number, 5);
    assert_eq!(log.records.len(), 1, "the will is kept until it is published");
}

#[test]
fn a_connection_that_was_taken_over_has_no_say_any_more() {
    let log = &mut Kept::default();
    let mut session = session(SMALL, log);
    let old = session.connect(with_will(false, 5), 101, log).epoch;
    let new = session.connect(with_will(false, 6), 102, log);
    assert_eq!(new.will.map(|will| will.number), Some(5), "the old connection's will is to be published");
    assert!(!session.is_current(old) && session.is_current(new.epoch));
    assert!(session.disconnect(old, Goodbye::Disconnect, 103, log).is_none());
    assert!(session.is_connected());
    assert_eq!(session.will().map(|will| will.number), Some(6));
}

/// [MQTT-3.1.2-10, 3.14.4-3]
#[test]
fn disconnect_discards_the_will_and_every_other_end_hands_it_over() {
    let log = &mut Kept::default();
    let mut session = session(SMALL, log);
    let epoch = session.connect(with_will(false, 5), 101, log).epoch;
    assert_eq!(session.disconnect(epoch, Goodbye::Disconnect, 102, log).unwrap().will, None);
    assert!(log.recover().wills.is_empty());
    let epoch = session.connect(with_will(false, 6), 103, log).epoch;
    let will = session.disconnect(epoch, Goodbye::Lost, 104, log).unwrap().will.unwrap();
    assert_eq!((will.number, &*will.client_id, will.user.as_deref()), (6, "c", Some("ann")));
    assert!(will.will.retain);
    assert_eq!(log.recover().wills.len(), 1);
}

#[test]
fn a_session_expires_only_while_it_is_away_and_only_with_a_limit() {
    let log = &mut Kept::default();
    let mut session = session(SMALL, log);
    let hour = Duration::from_secs(3600);
    assert_eq!(session.expires_at(hour), None);
    session.disconnect(1, Goodbye::Lost, 200, log);
    assert_eq!(session.expires_at(hour), Some(3800));
    assert_eq!(session.expires_at(Duration::ZERO), None);
    assert_eq!(session.expires_at(Duration::MAX), Some(u64::MAX));
}

/// [MQTT-3.1.2-24]
#[test]
fn a_client_may_be_silent_for_one_and_a_half_keep_alives() {
    assert_eq!(keep_alive_timeout(0), None);
    assert_eq!(keep_alive_timeout(1), Some(Duration::from_millis(1500)));
    assert_eq!(keep_alive_timeout(u16::MAX), Some(Duration::from_millis(98_302_500)));
}

#[test]
fn subscriptions_are_limited_but_those_there_are_can_be_replaced() {
    let log = &mut Kept::default();
    let mut session = session(SMALL, log);
    for filter in ["a", "b", "c"] {
        subscribe(&mut session, filter, log).unwrap();
    }
    let refused = subscribe(&mut session, "d", log).unwrap_err();
    assert_eq!(refused.to_string(), "the client already has 3 subscriptions, its limit");
    let other = Subscription { provenance: true, ..Subscription::of(QoS::ExactlyOnce) };
    session.subscribe(&"b".into(), other, false, log).unwrap();
    assert_eq!(session.subscription("b"), Some(other));
    assert_eq!(session.unsubscribe("b", log), Some(other));
    assert_eq!(session.unsubscribe("b", log), None);
    subscribe(&mut session, "d", log).unwrap();
    assert_eq!(session.subscriptions().map(|(filter, _)| &**filter).collect::<Vec<_>>(), ["a", "c", "d"]);
}

#[test]
fn replays_take_turns_and_a_repeated_subscribe_is_owed_a_new_one() {
    let log = &mut Kept::default();
    let mut session = session(SMALL, log);
    for filter in ["a", "b", "c"] {
        subscribe(&mut session, filter, log).unwrap();
    }
    let last = &mut None;
    let turns: Vec<_> = (0..4).filter_map(|_| next(&session, last)).collect();
    assert_eq!(turns, ["a", "b", "c", "a"]);
    let first = session.next_replay(None).unwrap();
    subscribe(&mut session, "a", log).unwrap();
    assert!(!session.is_owed(first.id));
    session.replay_done(first.id, log);
    assert_eq!(session.replays(), 3, "the end of the old one is not the end of the new one");
    session.unsubscribe("b", log);
    let turns: Vec<_> = (0..4).filter_map(|_| next(&session, last)).collect();
    assert_eq!(turns, ["c", "a", "c", "a"]);
}

#[test]
fn an_owed_replay_outlives_the_connection_of_a_persistent_session() {
    let log = &mut Kept::default();
    let mut session = session(SMALL, log);
    subscribe(&mut session, "a", log).unwrap();
    subscribe(&mut session, "b", log).unwrap();
    let first = session.next_replay(None).unwrap();
    session.replay_done(first.id, log);
    session.disconnect(1, Goodbye::Lost, 101, log);
    session.connect(connect(false), 102, log);
    assert_eq!(session.replays(), 1);
    let restored = log.recover().sessions.remove(0);
    assert_eq!(restored.replays(), 1);
    assert_eq!(restored.next_replay(None).map(|replay| replay.filter), Some("b".into()));
}
