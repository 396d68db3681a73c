//! The replay of retained messages: a cursor over the entries that a filter's pattern matches.

use distkv_broker::hooks::{Progress, Replay, RetainedMessage};
use distkv_broker::message::COPIED_MAX;
use distkv_store::path::Pattern;
use distkv_store::tree;
use distkv_store::view::{Cursor, View};

use super::topic::Mapping;
use super::{payload, provenance};

/// The QoS of an entry that no PUBLISH has written: a subscriber's own level decides.
const NATIVE_QOS: u8 = 2;

/// A replay under way.
pub(super) struct Slices {
    mapping: Mapping,
    view: View,
    cursor: Cursor,
    topic: String,
}

impl Slices {
    pub(super) fn new(mapping: Mapping, view: View, pattern: Pattern) -> Self {
        let cursor = view.cursor(pattern);
        Self { mapping, view, cursor, topic: String::new() }
    }
}

impl Replay for Slices {
    fn slice(
        &mut self,
        messages: usize,
        bytes: usize,
        sink: &mut dyn FnMut(RetainedMessage<'_>),
    ) -> Progress {
        let Self { mapping, view, cursor, topic } = self;
        let progress = view.slice(cursor, messages, bytes, &mut |path, entry| {
            topic.clear();
            let Some(value) = &entry.value else { return };
            if !mapping.topic(path, topic) {
                return;
            }
            let qos = entry.meta.qos().unwrap_or(NATIVE_QOS);
            let message = |payload| RetainedMessage {
                properties: entry.meta.properties().unwrap_or_default(),
                expires_at: entry.meta.expiry(),
                provenance: Some(provenance::of(entry)),
                ..RetainedMessage::new(topic, payload, qos)
            };
            match value.as_payload() {
                // For MQTT an empty payload is a deletion: it is never replayed.
                Some([]) => {}
                // The common case touches no reference count.
                Some(payload) if payload.len() <= COPIED_MAX => {
                    sink(message(payload));
                }
                _ => {
                    let payload = payload::from_value(value);
                    sink(RetainedMessage { shared: Some(&payload), ..message(&payload) });
                }
            }
        });
        match progress {
            tree::Progress::More => Progress::More,
            tree::Progress::Done => Progress::Done,
        }
    }
}

/// A replay that finds nothing.
pub(super) struct Nothing;

impl Replay for Nothing {
    fn slice(&mut self, _: usize, _: usize, _: &mut dyn FnMut(RetainedMessage<'_>)) -> Progress {
        Progress::Done
    }
}
