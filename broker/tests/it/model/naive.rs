//! The model: sessions as maps and lists.

use std::collections::{BTreeMap, VecDeque};

use distkv_broker::topic;

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
    /// Identifiers of the subscriptions that it comes by, sorted. Only MQTT 5 shows them, as the next one.
    pub(crate) identifiers: Vec<u32>,
    /// The value of its user property.
    pub(crate) user: Option<String>,
}

/// What a client publishes.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    pub(crate) user: Option<String>,
}

/// How a client comes.
#[derive(Clone, Debug)]
pub(crate) struct Hello {
    pub(crate) v5: bool,
    /// Clean session or clean start.
    pub(crate) clean: bool,
    /// The session is to outlive the connection.
    pub(crate) lasts: bool,
    pub(crate) will: Option<Sent>,
    /// MQTT 5: how many aliases the broker may use.
    pub(crate) aliases: u16,
}

/// A subscription as MQTT 5 says it; one of MQTT 3 has only a QoS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) qos: u8,
    pub(crate) no_local: bool,
    pub(crate) retain_as_published: bool,
    /// 0: a replay; 1: only if the subscription is new; 2: none.
    pub(crate) retain_handling: u8,
    pub(crate) identifier: Option<u32>,
}

#[derive(Debug, Default)]
pub(crate) struct Session {
    persistent: bool,
    connected: bool,
    v5: bool,
    pub(crate) subscriptions: BTreeMap<String, Options>,
    /// Messages that the client has still to get.
    pub(crate) expected: VecDeque<Message>,
    /// Received, not acknowledged, by packet identifier.
    pub(crate) unacknowledged: Vec<(u16, Message)>,
    /// QoS 2: PUBREC sent, PUBCOMP not.
    pub(crate) received: Vec<u16>,
    will: Option<Sent>,
}

#[derive(Debug, Default)]
pub(crate) struct Model {
    sessions: BTreeMap<String, Session>,
    pub(crate) retained: BTreeMap<String, Sent>,
    waiting_wills: BTreeMap<String, Sent>,
}

impl Model {
    pub(crate) fn session(&mut self, id: &str) -> &mut Session {
        self.sessions.entry(id.into()).or_default()
    }

    /// Answers whether the session was there before.
    pub(crate) fn connect(&mut self, id: &str, hello: &Hello) -> bool {
        if self.session(id).connected {
            self.lose(id);
        }
        self.waiting_wills.remove(id);
        let present = self.session(id).persistent && !hello.clean;
        if !present {
            self.sessions.remove(id);
        }
        let session = self.session(id);
        session.persistent = hello.lasts;
        session.connected = true;
        session.v5 = hello.v5;
        session.will.clone_from(&hello.will);
        present
    }

    /// `ends`: the client has said that its session is to end.
    pub(crate) fn disconnect(&mut self, id: &str, ends: bool) {
        self.session(id).will = None;
        self.session(id).persistent &= !ends;
        self.lose(id);
    }

    pub(crate) fn lose(&mut self, id: &str) {
        let will = self.session(id).will.take();
        self.leave(id);
        if let Some(will) = will {
            self.publish(id, &will);
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
        for (id, will) in std::mem::take(&mut self.waiting_wills) {
            self.publish(&id, &will);
        }
    }

    pub(crate) fn subscribe(&mut self, id: &str, filters: &[(&str, Options)]) {
        let retained = self.retained.clone();
        let session = self.session(id);
        // A filter that stands twice in one packet is one subscription, with one replay, as its last one says.
        let distinct: BTreeMap<&str, &Options> =
            filters.iter().map(|(filter, options)| (*filter, options)).collect();
        for (filter, options) in distinct {
            let old = session.subscriptions.insert(filter.into(), options.clone());
            if options.retain_handling == 2 || options.retain_handling == 1 && old.is_some() {
                continue;
            }
            for sent in retained.values().filter(|sent| topic::matches(filter, &sent.topic)) {
                session.expected.push_back(Message::of(sent, [options].into_iter(), true));
            }
        }
    }

    pub(crate) fn unsubscribe(&mut self, id: &str, filter: &str) {
        self.session(id).subscriptions.remove(filter);
    }

    /// A message of the client `id`.
    pub(crate) fn publish(&mut self, id: &str, sent: &Sent) {
        if sent.retain && sent.payload.is_empty() {
            self.retained.remove(&sent.topic);
        } else if sent.retain {
            self.retained.insert(sent.topic.clone(), sent.clone());
        }
        for (its, session) in &mut self.sessions {
            let matching: Vec<&Options> = session
                .subscriptions
                .iter()
                .filter(|(filter, options)| {
                    topic::matches(filter, &sent.topic) && !(options.no_local && its == id)
                })
                .map(|(_, options)| options)
                .collect();
            if matching.is_empty() {
                continue;
            }
            let keeps = matching.iter().any(|options| options.retain_as_published);
            let message = Message::of(sent, matching.into_iter(), sent.retain && keeps);
            if session.connected || message.qos > 0 {
                session.expected.push_back(message);
            }
        }
    }
}

impl Message {
    /// As it comes by these subscriptions together.
    fn of<'a>(sent: &Sent, options: impl Iterator<Item = &'a Options>, retain: bool) -> Self {
        let (mut granted, mut identifiers) = (0, Vec::new());
        for one in options {
            granted = granted.max(one.qos);
            identifiers.extend(one.identifier);
        }
        identifiers.sort_unstable();
        let Sent { topic, payload, qos, user, .. } = sent.clone();
        Self { topic, payload, qos: qos.min(granted), retain, again: false, identifiers, user }
    }
}

impl Session {
    /// How many messages of QoS 1 and 2 may come before the client acknowledges something.
    pub(crate) fn window(&self) -> usize {
        WINDOW.saturating_sub(self.unacknowledged.len() + self.received.len())
    }

    /// Takes a message that came out of what is expected, checks it, and answers it as MQTT 5 shows it. Order is per topic, and QoS
    /// 0 may overtake; replays of several filters may take turns.
    pub(crate) fn take(&mut self, came: &Message, dup: bool) -> Message {
        let may_be_next = |message: &Message| {
            message.topic == came.topic
                && (message.qos > 0) == (came.qos > 0)
                && (!came.retain || message.qos == came.qos)
        };
        let first = self.expected.iter().position(may_be_next);
        let first = first.unwrap_or_else(|| panic!("nobody sent {came:?}"));
        let expected = self.expected.remove(first).unwrap();
        assert!(dup || !expected.again, "it was sent before: {came:?}");
        let mut shown = Message { again: false, ..expected.clone() };
        if !self.v5 {
            shown.identifiers.clear();
            shown.user = None;
        }
        assert_eq!(*came, shown);
        Message { again: false, ..expected }
    }
}
