//! How connections and sessions begin and end in the world: as clients wish, by a loss, by a crash.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::{Connect, Goodbye, ProtocolVersion, Recovery, Session, Unanswered};
use super::outcome::{number, queue};
use super::{CLIENTS, World};

/// An expiry that no session lives to see.
const LONG: u32 = 1_000_000;

/// Connections and sessions.
impl World {
    /// Connects, or takes over. The argument says for how long the session is to last and how much the client takes.
    pub(super) fn connect(&mut self, seat: usize, argument: u8) {
        if self.seats[seat].session.expiry() == Some(0) {
            // It ends with its connection.
            self.lose_connection(seat);
        }
        let clean = self.seats[seat].fresh;
        let connect = Connect {
            clean,
            expiry: [None, Some(LONG), None, Some(0)][usize::from(argument % 4)],
            receive_maximum: Some(u16::from(argument / 4 % 4)).filter(|maximum| *maximum > 0),
            user: None,
            version: ProtocolVersion::V5,
            will: None,
        };
        let seated = &mut self.seats[seat];
        seated.unplug();
        seated.receive_maximum = connect.receive_maximum;
        let narrow =
            connect.receive_maximum.is_some_and(|maximum| usize::from(maximum) < seated.session.inflight());
        let present = !clean && seated.session.is_recorded();
        let left = if clean { self.take_unanswered(seat) } else { Vec::new() };
        let connected = self.seats[seat].session.connect(connect, self.now, &mut self.disk);
        assert_eq!(connected.session_present, present);
        if !present {
            self.forget(seat);
            // Who asks for a new session waits for the CONNACK.
            self.disk.settle_all();
        }
        self.hand_on(seat, &left);
        self.report.narrowed += usize::from(present && narrow);
        let seated = &mut self.seats[seat];
        (seated.over, seated.fresh) = (false, false);
        seated.epoch = Some(connected.epoch);
        let again = seated.client.connected();
        seated.to_broker.extend(again);
        self.poll(seat);
    }

    pub(super) fn lose_connection(&mut self, seat: usize) {
        self.disconnect(seat, Goodbye::Lost);
    }

    /// The client disconnects, and says for how long its session is to last.
    pub(super) fn leave(&mut self, seat: usize, argument: u8) {
        if self.seats[seat].epoch.is_none() {
            return;
        }
        let expiry = [Some(0), Some(LONG), None, None][usize::from(argument % 4)];
        let session = &mut self.seats[seat].session;
        let before = session.expiry();
        let changed = session.set_expiry(expiry, &mut self.disk);
        assert_eq!(changed, before != Some(0) || expiry == Some(0));
        assert_eq!(session.expiry(), if changed { expiry } else { before });
        self.disconnect(seat, Goodbye::Disconnect);
    }

    fn disconnect(&mut self, seat: usize, goodbye: Goodbye) {
        let Some(epoch) = self.seats[seat].epoch else { return };
        self.report.lost_connections += 1;
        let session = &mut self.seats[seat].session;
        let lasts = session.expiry() != Some(0);
        let ended = session.disconnect(epoch, goodbye, self.now, &mut self.disk);
        assert!(ended.is_some_and(|ended| ended.over != lasts));
        self.seats[seat].unplug();
        if !lasts {
            self.end(seat);
            self.seats[seat].fresh = true;
        }
    }

    /// The session is over: what it held is lost, but for shared messages, which others get.
    fn end(&mut self, seat: usize) {
        self.report.ended += 1;
        let left = self.take_unanswered(seat);
        let seated = &mut self.seats[seat];
        seated.session.end(&mut self.disk);
        seated.over = true;
        self.forget(seat);
        self.hand_on(seat, &left);
    }

    /// The client's state and that of its session are gone. What it has published and was not told to be taken may be lost.
    fn forget(&mut self, seat: usize) {
        self.forget_publications(seat);
        let seated = &mut self.seats[seat];
        seated.queue.clear();
        seated.open.clear();
        seated.dropped.extend(0..self.messages.len());
        // What was not left behind has ended with it.
        self.excused.append(&mut seated.shared);
    }

    fn forget_publications(&mut self, seat: usize) {
        for number in self.seats[seat].client.forget() {
            self.excused.insert(number);
            for seat in &mut self.seats {
                seat.dropped.insert(number);
            }
        }
    }

    /// The shared messages of a session that is about to end.
    fn take_unanswered(&mut self, seat: usize) -> Vec<Unanswered> {
        let seated = &mut self.seats[seat];
        let left = seated.session.take_unanswered();
        for left in &left {
            seated.shared.remove(&number(&left.message.payload));
        }
        left
    }

    /// Hands what a session has left behind to others. The end of that session is recorded before: rather may a crash lose a message
    /// than bring one of QoS 2 twice.
    fn hand_on(&mut self, seat: usize, left: &[Unanswered]) {
        self.seats[seat].over = true;
        for left in left {
            let number = number(&left.message.payload);
            self.report.handed_on += 1;
            self.disk.begin_message(false, None);
            self.hand_out(number, &left.message, seat + 1);
            self.handed.push((number, self.disk.len()));
        }
    }
}

/// Crash and recovery.
impl World {
    pub(super) fn crash(&mut self, argument: usize) {
        self.report.crashes += 1;
        self.report.lost_records += self.disk.crash(argument);
        self.checkpoint = None;
        let kept = self.disk.len();
        for (number, records) in std::mem::take(&mut self.handed) {
            if records <= kept {
                self.handed.push((number, records));
            } else {
                // The session that left it may be gone, and the one that got it has not.
                self.excused.insert(number);
            }
        }
        let mut sessions = self.recover();
        for seat in 0..CLIENTS {
            let seated = &mut self.seats[seat];
            seated.unplug();
            seated.blocked = false;
            seated.open.clear();
            seated.sends.retain(|(records, _, _)| *records <= kept);
            // With its connection ends the session of a client that wants none; and so it forgets, too.
            let forgets = seated.session.expiry() == Some(0);
            let sid = seated.session.sid();
            let client_id = seated.session.client_id().clone();
            let restored = sessions.remove(&client_id);
            assert!(restored.is_some() || seated.over || seated.fresh || forgets, "a session is lost");
            seated.over = restored.is_none();
            seated.session = restored.unwrap_or_else(|| Session::new(sid, client_id, self.limits, self.now));
            assert!(seated.session.epoch() == 0 && !seated.session.is_connected());
            seated.queue = queue(&mut seated.session);
            if forgets || seated.over {
                seated.fresh = true;
                self.forget_publications(seat);
            }
        }
        self.disk.restart();
        for seat in 0..CLIENTS {
            let seated = &self.seats[seat];
            if seated.over {
                self.forget(seat);
            } else if seated.session.expiry() == Some(0) {
                self.end(seat);
            }
        }
    }

    pub(super) fn recover(&self) -> BTreeMap<Arc<str>, Session> {
        let mut recovery = Recovery::new(self.limits, self.now);
        for record in self.disk.records() {
            assert_eq!(recovery.apply(record), Ok(()));
        }
        let recovered = recovery.finish();
        assert_eq!((recovered.lost, recovered.contradictions), (0, 0));
        assert!(recovered.highest_number <= CLIENTS as u64);
        recovered.sessions.into_iter().map(|session| (session.client_id().clone(), session)).collect()
    }
}
