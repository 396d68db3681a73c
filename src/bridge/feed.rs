//! From the store's feed to MQTT: a change that no PUBLISH of this broker has made becomes a message, with RETAIN 0 to those who
//! are subscribed already; a deletion becomes an empty one.

use std::sync::Arc;

use bytes::Bytes;
use distkv_broker::Broker;
use distkv_broker::message::{Extras, Message, QoS};
use distkv_store::feed::{Change, Observer};

use super::topic::Mapping;
use super::{payload, provenance};

/// The broker's ear at the feed.
pub(super) struct Messages {
    mapping: Mapping,
    broker: Arc<Broker>,
}

impl Messages {
    pub(super) fn new(mapping: Mapping, broker: Arc<Broker>) -> Self {
        Self { mapping, broker }
    }
}

impl Observer for Messages {
    fn changed(&self, change: &Change<'_>) {
        // Who subscribes from now on gets this value by the replay.
        if !self.broker.has_subscriptions() {
            return;
        }
        let mut topic = String::new();
        if !self.mapping.topic(change.path, &mut topic) {
            return;
        }
        let payload = change.entry.value.as_ref().map_or_else(Bytes::new, payload::from_value);
        let meta = &change.entry.meta;
        let qos = meta.qos().and_then(QoS::from_u8).unwrap_or(QoS::AtLeastOnce);
        let mut message = Message::new(topic.into(), payload, qos);
        if meta.properties().is_some() || meta.expiry().is_some() {
            message.extras = Some(Box::new(Extras {
                properties: Bytes::copy_from_slice(meta.properties().unwrap_or_default()),
                expires_at: meta.expiry(),
                ..Extras::default()
            }));
        }
        self.broker.publish(&message, Some(&provenance::of(change.entry)));
    }
}
