//! Sessions, wills and delayed messages out of their records, after a restart.
//!
//! The records are given in the order in which they were appended; the log may begin at any point from which on each session is
//! written whole. So a change of a session that is not known is skipped: its `full` record follows. What is under way is restored
//! with its packet identifiers, to be sent again when the client comes back.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::record::decode::{Change, Record, decode};
use super::record::{Head, Origin};
use super::{RecordedDelayed, RecordedWill, Session, SessionLimits, delayed};
use crate::message::{Message, QoS};

/// A record that can't be understood. What was restored before it is as it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecoveryError {
    /// It ends too early.
    #[error("a session record ends too early: the log is damaged")]
    Short,
    /// A field has a value that no version writes.
    #[error("a session record is damaged: {what}")]
    Damaged {
        /// Which field.
        what: &'static str,
    },
    /// A kind that this version does not know.
    #[error(
        "a session record of unknown kind {kind}: it was written by a newer version, which should be used to read it"
    )]
    UnknownKind {
        /// The kind.
        kind: u8,
    },
}

/// What was restored.
#[derive(Debug, Default)]
pub struct Recovered {
    /// The persistent sessions, without connection, one per client.
    pub sessions: Vec<Session>,
    /// The wills that were armed or waited to be published.
    pub wills: Vec<RecordedWill>,
    /// The messages that waited to be published.
    pub delayed: Vec<RecordedDelayed>,
    /// The highest number of a session, a will or a delayed message that was met, even if it is gone.
    pub highest_number: u64,
    /// The highest number of a body that was met.
    pub highest_mid: u64,
    /// Changes that were skipped, since their session is not known (or not yet).
    pub skipped: u64,
    /// Messages that are lost, since their body is not in the log. Not 0 only for a damaged log.
    pub lost: u64,
    /// Changes that do not fit what came before them. Not 0 only for a damaged log.
    pub contradictions: u64,
}

/// A body that further records may refer to.
#[derive(Debug)]
struct Body {
    message: Arc<Message>,
    origin: Option<Origin>,
}

/// Takes records and restores what they tell.
#[derive(Debug)]
pub struct Recovery {
    limits: SessionLimits,
    now: u64,
    sessions: BTreeMap<u64, Session>,
    /// Sessions whose `full` record was met and whose `whole` was not.
    partial: BTreeMap<u64, Session>,
    bodies: BTreeMap<u64, Body>,
    /// QoS 2 messages of clients that are not known to be in the broker's hands; the sessions that got them.
    unfinished: BTreeMap<Origin, Vec<u64>>,
    wills: BTreeMap<u64, RecordedWill>,
    delayed: BTreeMap<u64, RecordedDelayed>,
    /// Takes the place of a message whose body is missing, so that the queue's order of records is kept. No topic is empty.
    missing: Arc<Message>,
    counts: Recovered,
}

impl Recovery {
    /// A recovery at that time (seconds of Unix time), which counts as the end of connections that a crash ended.
    #[must_use]
    pub fn new(limits: SessionLimits, now: u64) -> Self {
        let missing = Message::new("".into(), Bytes::new(), QoS::AtMostOnce);
        Self {
            limits,
            now,
            sessions: BTreeMap::new(),
            partial: BTreeMap::new(),
            bodies: BTreeMap::new(),
            unfinished: BTreeMap::new(),
            wills: BTreeMap::new(),
            delayed: BTreeMap::new(),
            missing: Arc::new(missing),
            counts: Recovered::default(),
        }
    }

    /// Applies the next record.
    ///
    /// # Errors
    /// The record can't be understood; it changed nothing. The caller may go on with the next one.
    pub fn apply(&mut self, record: &[u8]) -> Result<(), RecoveryError> {
        match decode(record)? {
            Record::Reset => {
                self.bodies.clear();
                // A crash came amid these. What follows concerns the session as it was before.
                self.partial.clear();
            }
            Record::Body { mid, origin, message } => self.begin_body(mid, origin, message),
            Record::BodyEnd { mid } => drop(self.bodies.remove(&mid)),
            Record::Start { head, full } => self.start(&head, full),
            Record::Change { sid, change } => self.change(sid, change),
            Record::Will(will) => {
                self.meet(will.number);
                self.wills.insert(will.number, will);
            }
            Record::WillGone { number } => drop(self.wills.remove(&number)),
            Record::WillDue { number, due } => {
                if let Some(will) = self.wills.get_mut(&number) {
                    will.due = Some(due);
                }
            }
            Record::Delayed { delayed, origin } => self.delay(delayed, origin),
            Record::DelayedGone { number } => {
                self.delayed.remove(&number);
                self.unfinished.remove(&delayed::origin(number));
            }
        }
        Ok(())
    }

    /// Ends the recovery.
    #[must_use]
    pub fn finish(mut self) -> Recovered {
        for (number, delayed) in &mut self.delayed {
            if let Some(sids) = self.unfinished.remove(&delayed::origin(*number)) {
                delayed.served = delayed.served.iter().copied().chain(sids).collect();
            }
        }
        for (origin, sids) in std::mem::take(&mut self.unfinished) {
            if let Some(session) = self.sessions.get_mut(&origin.sid) {
                session.incoming.restore_unfinished(origin.packet_id, &sids);
            }
        }
        let mut by_client = BTreeMap::new();
        for (_, mut session) in self.sessions {
            self.counts.lost += session.outgoing.remove_lost(|message| message.topic.is_empty());
            session.away_since.get_or_insert(self.now);
            by_client.insert(session.client_id.clone(), session);
        }
        self.counts.sessions = by_client.into_values().collect();
        self.counts.wills = self.wills.into_values().collect();
        self.counts.delayed = self.delayed.into_values().collect();
        self.counts
    }

    fn meet(&mut self, number: u64) {
        self.counts.highest_number = self.counts.highest_number.max(number);
    }

    fn begin_body(&mut self, mid: u64, origin: Option<Origin>, message: Message) {
        self.counts.highest_mid = self.counts.highest_mid.max(mid);
        if let Some(origin) = origin {
            self.unfinished.entry(origin).or_default();
        }
        self.bodies.insert(mid, Body { message: Arc::new(message), origin });
    }

    fn delay(&mut self, delayed: RecordedDelayed, origin: Option<Origin>) {
        self.meet(delayed.number);
        if let Some(origin) = origin {
            // Its client may send it again: it is here.
            self.unfinished.entry(origin).or_default().push(delayed::taken_as(delayed.number));
        }
        self.delayed.insert(delayed.number, delayed);
    }

    fn start(&mut self, head: &Head<'_>, full: bool) {
        self.meet(head.sid);
        let mut session = Session::new(head.sid, head.client_id.into(), self.limits, head.created);
        session.user = head.user.map(Arc::from);
        session.version = head.version;
        session.recorded = true;
        session.expiry = None;
        session.away_since = head.away_since;
        if full {
            self.partial.insert(head.sid, session);
        } else {
            self.forget(head.sid);
            self.sessions.insert(head.sid, session);
        }
    }

    fn forget(&mut self, sid: u64) {
        self.partial.remove(&sid);
        self.sessions.remove(&sid);
        if !self.unfinished.is_empty() {
            self.unfinished.retain(|origin, _| origin.sid != sid);
        }
    }

    fn change(&mut self, sid: u64, change: Change<'_>) {
        match change {
            Change::Whole => match self.partial.remove(&sid) {
                Some(session) => drop(self.sessions.insert(sid, session)),
                None => self.counts.skipped += 1,
            },
            Change::End => self.forget(sid),
            Change::Enqueue { mid, terms, id } => {
                let message = match self.bodies.get(&mid) {
                    Some(body) => {
                        if let Some(got) = body.origin.and_then(|origin| self.unfinished.get_mut(&origin)) {
                            got.push(sid);
                        }
                        body.message.clone()
                    }
                    None => self.missing.clone(),
                };
                self.change_session(sid, |session| session.outgoing.restore_enqueue(message, terms, id));
            }
            Change::Incoming { id } => {
                self.unfinished.remove(&Origin { sid, packet_id: id });
                self.change_session(sid, |session| session.incoming.insert(id));
            }
            Change::Released { id } => {
                self.unfinished.remove(&Origin { sid, packet_id: id });
                self.change_session(sid, |session| session.incoming.remove(id));
            }
            other => self.change_session(sid, |session| session.restore(other)),
        }
    }

    fn change_session(&mut self, sid: u64, change: impl FnOnce(&mut Session) -> bool) {
        let session = self.partial.get_mut(&sid).or_else(|| self.sessions.get_mut(&sid));
        match session.map(change) {
            Some(true) => {}
            Some(false) => self.counts.contradictions += 1,
            None => self.counts.skipped += 1,
        }
    }
}

impl Session {
    /// Applies a recorded change that concerns the session alone. Answers whether it fits.
    fn restore(&mut self, change: Change<'_>) -> bool {
        match change {
            Change::Present { user, version } => {
                self.user = user.map(Arc::from);
                self.version = version;
                self.away_since = None;
                self.expiry = None;
            }
            Change::Away { since } => self.away_since = Some(since),
            Change::Expiry { seconds } => self.expiry = seconds,
            Change::Subscribe { filter, subscription, replay } => {
                let added = self.subscriptions.insert(&filter.into(), subscription, replay, usize::MAX);
                return added.is_ok();
            }
            Change::Unsubscribe { filter } => return self.subscriptions.remove(filter).is_some(),
            Change::ReplayDone { filter } => return self.subscriptions.restore_replay_done(filter),
            Change::EnqueueInline { message, terms, id } => {
                return self.outgoing.restore_enqueue(Arc::new(message), terms, id);
            }
            Change::Sent { id } => return self.outgoing.restore_sent(id),
            Change::Dropped => return self.outgoing.restore_dropped(),
            Change::Acked { id } => return self.outgoing.restore_acked(id),
            Change::Received { id } => return self.outgoing.restore_received(id),
            Change::Releasing { id } => return self.outgoing.restore_releasing(id),
            Change::Unfinished { id, sids } => self.incoming.restore_unfinished(id, &sids),
            Change::Whole
            | Change::End
            | Change::Enqueue { .. }
            | Change::Incoming { .. }
            | Change::Released { .. } => {
                return false;
            }
        }
        true
    }
}
