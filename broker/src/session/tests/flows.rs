//! Window, queue and the flows of QoS 1 and 2, one by one.

use super::*;

const QUEUED: Delivery = Delivery::Queued { displaced: 0 };
const FULL: Delivery = Delivery::Dropped(DropReason::QueueFull);

fn sent(number: u16) -> Delivery {
    Delivery::Send { packet_id: id(number) }
}

fn give(session: &mut Session, payload: &str, log: &mut Kept) -> Delivery {
    session.deliver(&message(payload), &Terms::plain(QoS::AtLeastOnce), Room::FREE, log)
}

#[test]
fn the_window_is_kept_and_each_acknowledgement_lets_the_next_one_out_in_order() {
    let log = &mut Kept::default();
    let mut session = session(SMALL, log);
    assert_eq!(give(&mut session, "one", log), sent(1));
    assert_eq!(give(&mut session, "two", log), sent(2));
    for payload in ["three", "four", "five"] {
        assert_eq!(give(&mut session, payload, log), QUEUED);
    }
    assert!(!session.can_transmit());
    assert_eq!(session.handle_puback(id(2), log), Ok(Ack::Known));
    assert_eq!(transmits(&mut session, log), ["p3 three"]);
    assert_eq!(session.handle_puback(id(1), log), Ok(Ack::Known));
    assert_eq!(session.handle_puback(id(3), log), Ok(Ack::Known));
    assert_eq!(transmits(&mut session, log), ["p4 four", "p5 five"]);
    assert_eq!((session.inflight(), session.queued_messages(), session.queued_bytes()), (2, 0, 0));
}

#[test]
fn a_full_outbox_makes_messages_wait_and_nothing_overtakes_them() {
    let log = &mut Kept::default();
    let mut session = session(SMALL, log);
    let blocked = Room { outbox: false, queues: true };
    assert_eq!(session.deliver(&message("one"), &Terms::plain(QoS::AtLeastOnce), blocked, log), QUEUED);
    assert_eq!(give(&mut session, "two", log), QUEUED);
    assert_eq!(transmits(&mut session, log), ["p1 one", "p2 two"]);
}

#[test]
fn a_full_queue_drops_the_newest_or_the_oldest_as_it_is_told() {
    let log = &mut Kept::default();
    let mut session = session(SMALL, log);
    session.disconnect(1, Goodbye::Lost, 101, log);
    for payload in ["one", "two", "three"] {
        assert_eq!(give(&mut session, payload, log), QUEUED);
    }
    assert_eq!(give(&mut session, "four", log), FULL);
    session.set_limits(SessionLimits { queue_drop: DropPolicy::Oldest, queue_bytes: 20, ..SMALL });
    assert_eq!(give(&mut session, "five", log), Delivery::Queued { displaced: 2 });
    assert_eq!(give(&mut session, "a longer one", log), Delivery::Queued { displaced: 2 });
    assert_eq!(give(&mut session, "one that would never fit", log), FULL);
    assert_eq!(session.queued_bytes(), message("a longer one").size());
    session.connect(connect(false), 102, log);
    assert_eq!(transmits(&mut session, log), ["p1 a longer one"]);
}

#[test]
fn what_has_no_room_in_all_queues_together_is_dropped() {
    let log = &mut Kept::default();
    let mut session = session(SMALL, log);
    let room = Room { outbox: false, queues: false };
    let dropped = session.deliver(&message("one"), &Terms::plain(QoS::AtLeastOnce), room, log);
    assert_eq!(dropped, Delivery::Dropped(DropReason::QueuesFull));
}

#[test]
fn messages_of_qos_0_are_not_kept() {
    let log = &mut Kept::default();
    let mut session = session(SMALL, log);
    let records = log.records.len();
    let dropped = session.deliver(&message("one"), &Terms::plain(QoS::AtMostOnce), Room::FREE, log);
    assert_eq!(dropped, Delivery::Dropped(DropReason::AtMostOnce));
    assert_eq!(log.records.len(), records);
}

/// [MQTT-4.4.0-1]
#[test]
fn a_new_connection_gets_again_what_is_under_way_in_order_with_dup_and_the_same_identifiers() {
    let log = &mut Kept::default();
    let mut session = session(SessionLimits { inflight: 4, ..SMALL }, log);
    for payload in ["one", "two", "three", "four", "five"] {
        session.deliver(&message(payload), &Terms::plain(QoS::ExactlyOnce), Room::FREE, log);
    }
    assert_eq!(session.handle_pubrec(id(1), log), Ok(Ack::Known));
    assert_eq!(session.handle_pubrec(id(2), log), Ok(Ack::Known));
    assert_eq!(session.handle_pubcomp(id(2), log), Ok(Ack::Known));
    session.disconnect(1, Goodbye::Lost, 101, log);
    assert!(transmits(&mut session, log).is_empty(), "nothing leaves without a connection");
    session.connect(connect(false), 102, log);
    assert_eq!(
        give(&mut session, "six", log),
        QUEUED,
        "a new message waits until the old ones were sent again"
    );
    assert_eq!(transmits(&mut session, log), ["r1", "d3 three", "d4 four", "p5 five"]);
    assert!(transmits(&mut session, log).is_empty(), "once");
}

#[test]
fn an_acknowledgement_amid_sending_again_leaves_no_message_out() {
    let log = &mut Kept::default();
    let mut session = session(SessionLimits { inflight: 3, ..SMALL }, log);
    for payload in ["one", "two", "three"] {
        give(&mut session, payload, log);
    }
    session.connect(connect(false), 102, log);
    assert_eq!(session.poll_transmit(0, log).map(|transmit| transmit.packet_id()), Some(id(1)));
    session.handle_puback(id(1), log).unwrap();
    assert_eq!(give(&mut session, "four", log), QUEUED, "two and three are first");
    assert_eq!(transmits(&mut session, log), ["d2 two", "d3 three", "p4 four"]);
}

#[test]
fn an_acknowledgement_of_what_was_not_sent_again_yet_has_nothing_sent_twice() {
    let log = &mut Kept::default();
    let mut session = session(SessionLimits { inflight: 4, ..SMALL }, log);
    for payload in ["one", "two", "three", "four"] {
        give(&mut session, payload, log);
    }
    session.connect(connect(false), 102, log);
    session.handle_puback(id(1), log).unwrap();
    assert_eq!(session.poll_transmit(0, log).map(|transmit| transmit.packet_id()), Some(id(2)));
    session.handle_puback(id(3), log).unwrap();
    assert_eq!(transmits(&mut session, log), ["d4 four"]);
}

#[test]
fn acknowledgements_of_the_wrong_kind_are_refused_in_words_and_change_nothing() {
    let log = &mut Kept::default();
    let mut session = session(SMALL, log);
    session.deliver(&message("one"), &Terms::plain(QoS::AtLeastOnce), Room::FREE, log);
    session.deliver(&message("two"), &Terms::plain(QoS::ExactlyOnce), Room::FREE, log);
    let records = log.records.len();
    let wrong = session.handle_pubrec(id(1), log).unwrap_err();
    assert_eq!(wrong.to_string(), "PUBREC for packet identifier 1, for which PUBACK is due");
    assert!(session.handle_pubcomp(id(1), log).is_err());
    assert!(session.handle_puback(id(2), log).is_err());
    assert!(session.handle_pubcomp(id(2), log).is_err(), "PUBCOMP before PUBREC");
    assert_eq!(session.inflight(), 2);
    assert_eq!(log.records.len(), records);
}

/// [MQTT5-4.4.0-2]
#[test]
fn a_pubrec_that_refuses_ends_a_flow_of_qos_2_and_is_wrong_for_one_of_qos_1() {
    let log = &mut Kept::default();
    let mut session = session(SMALL, log);
    session.deliver(&message("one"), &Terms::plain(QoS::AtLeastOnce), Room::FREE, log);
    session.deliver(&message("two"), &Terms::plain(QoS::ExactlyOnce), Room::FREE, log);
    assert_eq!(give(&mut session, "three", log), QUEUED);
    let records = log.records.len();
    let wrong = session.handle_refusal(id(1), log).unwrap_err();
    assert_eq!(wrong.to_string(), "PUBREC for packet identifier 1, for which PUBACK is due");
    assert_eq!(session.handle_refusal(id(9), log), Ok(Ack::Unknown));
    assert_eq!((session.inflight(), log.records.len()), (2, records));
    assert_eq!(session.handle_refusal(id(2), log), Ok(Ack::Known));
    assert_eq!(transmits(&mut session, log), ["p3 three"], "no PUBREL, and there is room");
    assert_eq!(log.recover().sessions[0].inflight(), 2);
}

#[test]
fn repeated_and_unknown_acknowledgements_are_told_apart() {
    let log = &mut Kept::default();
    let mut session = session(SMALL, log);
    session.deliver(&message("two"), &Terms::plain(QoS::ExactlyOnce), Room::FREE, log);
    assert_eq!(session.handle_pubrec(id(1), log), Ok(Ack::Known));
    assert_eq!(session.handle_pubrec(id(1), log), Ok(Ack::Repeated));
    assert_eq!(session.handle_pubcomp(id(1), log), Ok(Ack::Known));
    assert_eq!(session.handle_pubcomp(id(1), log), Ok(Ack::Unknown));
    assert_eq!(session.handle_pubrec(id(9), log), Ok(Ack::Unknown));
}

/// [MQTT-4.3.3-2]
#[test]
fn a_qos_2_message_of_the_client_is_new_once_until_it_is_released() {
    let log = &mut Kept::default();
    let mut session = session(SMALL, log);
    assert_eq!(session.check_incoming(id(5), false), Incoming::New);
    session.note_incoming(id(5), log);
    assert_eq!(session.check_incoming(id(5), true), Incoming::Duplicate);
    session.note_incoming(id(6), log);
    assert_eq!(session.check_incoming(id(7), false), Incoming::TooMany);
    assert!(session.handle_pubrel(id(5), log));
    assert!(!session.handle_pubrel(id(5), log));
    assert_eq!(session.check_incoming(id(5), false), Incoming::New);
}

#[test]
fn a_replay_fills_the_window_and_a_part_of_the_queue_and_is_never_dropped() {
    let log = &mut Kept::default();
    let limits = SessionLimits { queue_messages: 40, ..SMALL };
    let mut session = session(limits, log);
    let mut taken = 0;
    while session.replay_room().messages > 0 {
        let room = session.replay_room();
        assert!(room.bytes > 0);
        session.deliver_replayed(&message("r"), &Terms::plain(QoS::AtLeastOnce), Room::FREE, log);
        taken += 1;
    }
    assert_eq!((taken, session.inflight(), session.queued_messages()), (12, 2, 10));
    for _ in 0..30 {
        give(&mut session, "live", log);
    }
    assert_eq!(give(&mut session, "live", log), FULL);
    assert_eq!(
        session.deliver_replayed(&message("r"), &Terms::plain(QoS::AtLeastOnce), Room::FREE, log),
        QUEUED
    );
}

#[test]
fn a_replay_goes_on_even_if_the_queue_may_hold_nothing() {
    let log = &mut Kept::default();
    let mut session = session(SessionLimits { queue_messages: 0, queue_bytes: 0, ..SMALL }, log);
    assert!(session.replay_room().messages > 0);
    session.deliver_replayed(
        &message("r"),
        &Terms::plain(QoS::AtLeastOnce),
        Room { outbox: false, queues: true },
        log,
    );
    assert_eq!(session.replay_room().messages, 0);
    assert_eq!(transmits(&mut session, log), ["p1 r"]);
    assert!(session.replay_room().messages > 0);
}
