//! The model: sessions as maps and lists.

use std::collections::{BTreeMap, VecDeque};

use distkv_broker::topic;

use crate::client::Connect;

/// Messages under way to one client.
pub(crate) const WINDOW: usize = 3;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    /// It was received before and not acknowledged.
    pub(crate) again: bool,
}

type Will = (String, Vec<u8>, u8, bool);

#[derive(Debug, Default)]
pub(crate) struct Session {
    persistent: bool,
    connected: bool,
    pub(crate) subscriptions: BTreeMap<String, u8>,
    /// Messages that the client has still to get.
    pub(crate) expected: VecDeque<Message>,
    /// Received, not acknowledged, by packet identifier.
    pub(crate) unacknowledged: Vec<(u16, Message)>,
    /// QoS 2: PUBREC sent, PUBCOMP not.
    pub(crate) received: Vec<u16>,
    will: Option<Will>,
}

#[derive(Debug, Default)]
pub(crate) struct Model {
    sessions: BTreeMap<String, Session>,
    pub(crate) retained: BTreeMap<String, (Vec<u8>, u8)>,
    waiting_wills: BTreeMap<String, Will>,
}

impl Model {
    pub(crate) fn session(&mut self, id: &str) -> &mut Session {
        self.sessions.entry(id.into()).or_default()
    }

    /// Answers whether the session was there before.
    pub(crate) fn connect(&mut self, id: &str, connect: &Connect) -> bool {
        if self.session(id).connected {
            self.lose(id);
        }
        self.waiting_wills.remove(id);
        let present = self.session(id).persistent && !connect.clean;
        if !present {
            self.sessions.remove(id);
        }
        let session = self.session(id);
        session.persistent = !connect.clean;
        session.connected = true;
        session.will.clone_from(&connect.will);
        present
    }

    pub(crate) fn disconnect(&mut self, id: &str) {
        self.session(id).will = None;
        self.lose(id);
    }

    pub(crate) fn lose(&mut self, id: &str) {
        let will = self.session(id).will.take();
        self.leave(id);
        if let Some((topic, payload, qos, retain)) = will {
            self.publish(&topic, &payload, qos, retain);
        }
    }

    fn leave(&mut self, id: &str) {
        let session = self.session(id);
        if !session.persistent {
            self.sessions.remove(id);
            return;
        }
        session.connected = false;
        session.expected.retain(|message| message.qos > 0);
        for (_, mut message) in session.unacknowledged.drain(..).rev() {
            message.again = true;
            session.expected.push_front(message);
        }
        // Their PUBREL comes again; they take no part in what is expected.
        session.received.clear();
    }

    pub(crate) fn restart(&mut self) {
        let connected: Vec<String> =
            self.sessions.iter().filter(|(_, session)| session.connected).map(|(id, _)| id.clone()).collect();
        for id in connected {
            if let Some(will) = self.session(&id).will.take() {
                self.waiting_wills.insert(id.clone(), will);
            }
            self.leave(&id);
        }
    }

    pub(crate) fn waiting_wills(&self) -> usize {
        self.waiting_wills.len()
    }

    pub(crate) fn publish_waiting_wills(&mut self) {
        for (_, (topic, payload, qos, retain)) in std::mem::take(&mut self.waiting_wills) {
            self.publish(&topic, &payload, qos, retain);
        }
    }

    pub(crate) fn subscribe(&mut self, id: &str, filters: &[(&str, u8)]) {
        let retained = self.retained.clone();
        let session = self.session(id);
        for (filter, granted) in filters {
            session.subscriptions.insert((*filter).into(), *granted);
        }
        // A filter that stands twice in one packet is one subscription, with one replay, at its last QoS.
        let distinct: BTreeMap<&str, u8> = filters.iter().copied().collect();
        for (filter, granted) in distinct {
            for (topic, (payload, qos)) in &retained {
                if topic::matches(filter, topic) {
                    let (topic, payload, qos) = (topic.clone(), payload.clone(), granted.min(*qos));
                    session.expected.push_back(Message { topic, payload, qos, retain: true, again: false });
                }
            }
        }
    }

    pub(crate) fn unsubscribe(&mut self, id: &str, filter: &str) {
        self.session(id).subscriptions.remove(filter);
    }

    pub(crate) fn publish(&mut self, topic: &str, payload: &[u8], qos: u8, retain: bool) {
        if retain && payload.is_empty() {
            self.retained.remove(topic);
        } else if retain {
            self.retained.insert(topic.into(), (payload.into(), qos));
        }
        for session in self.sessions.values_mut() {
            let matching = session.subscriptions.iter().filter(|(filter, _)| topic::matches(filter, topic));
            let Some(granted) = matching.map(|(_, granted)| *granted).max() else { continue };
            let qos = qos.min(granted);
            if session.connected || qos > 0 {
                let (topic, payload) = (topic.into(), payload.into());
                session.expected.push_back(Message { topic, payload, qos, retain: false, again: false });
            }
        }
    }
}

impl Session {
    /// How many messages of QoS 1 and 2 may come before the client acknowledges something.
    pub(crate) fn window(&self) -> usize {
        WINDOW.saturating_sub(self.unacknowledged.len() + self.received.len())
    }

    /// Takes a message that came out of what is expected, and checks it. Order is per topic, and QoS 0 may overtake; replays of
    /// several filters may take turns.
    pub(crate) fn take(&mut self, came: &Message, dup: bool) {
        let may_be_next = |message: &Message| {
            message.topic == came.topic
                && (message.qos > 0) == (came.qos > 0)
                && (!came.retain || message.qos == came.qos)
        };
        let first = self.expected.iter().position(may_be_next);
        let first = first.unwrap_or_else(|| panic!("nobody sent {came:?}"));
        let expected = self.expected.remove(first).unwrap();
        assert_eq!(Message { again: expected.again, ..came.clone() }, expected);
        assert!(dup || !expected.again, "it was sent before: {came:?}");
    }
}
