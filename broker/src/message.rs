//! An application message as it travels inside the broker, and the QoS levels.
//!
//! A message is made once per PUBLISH and then shared (`Arc<Message>`) by every session that has to keep it.

use std::sync::Arc;

use bytes::Bytes;

/// Up to this size a payload is copied into an allocation of its own size; above it is shared.
pub const COPIED_MAX: usize = 512;

/// Quality of service [MQTT-4.3]. Ordered: the effective level of a delivery is the lesser of two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum QoS {
    /// At most once.
    #[default]
    AtMostOnce = 0,
    /// At least once.
    AtLeastOnce = 1,
    /// Exactly once.
    ExactlyOnce = 2,
}

impl QoS {
    /// The level of that number; `None` above 2.
    #[must_use]
    pub fn from_u8(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::AtMostOnce),
            1 => Some(Self::AtLeastOnce),
            2 => Some(Self::ExactlyOnce),
            _ => None,
        }
    }

    /// The level's number as it stands in packets.
    #[must_use]
    pub fn as_u8(self) -> u8 {
        self as u8
    }
}

/// A message on its way to subscribers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The topic name, valid. Shared: a publisher's match cache holds the same allocation.
    pub topic: Arc<str>,
    /// The payload. Never a small slice that keeps a large read buffer alive.
    pub payload: Bytes,
    /// The QoS it was published with.
    pub qos: QoS,
    /// What few messages have.
    pub extras: Option<Box<Extras>>,
}

/// What a message has beyond MQTT 3.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extras {
    /// The properties that travel with it unchanged, encoded as in a PUBLISH: payload format, content type, response topic,
    /// correlation data, user properties [MQTT5-3.3.2-4, 3.3.2-15 to 3.3.2-18, 3.3.2-20].
    pub properties: Bytes,
    /// When it is not to be sent any more, in milliseconds of Unix time [MQTT5-3.3.2-5].
    pub expires_at: Option<u64>,
    /// Where an entry's value comes from, as encoded user properties, for subscribers that ask for it.
    pub provenance: Bytes,
}

impl Message {
    /// A message without anything that MQTT 3 does not know.
    #[must_use]
    pub fn new(topic: Arc<str>, payload: Bytes, qos: QoS) -> Self {
        Self { topic, payload, qos, extras: None }
    }

    /// What the message weighs against limits in bytes: topic, payload and properties.
    #[must_use]
    pub fn size(&self) -> usize {
        let extras =
            self.extras.as_ref().map_or(0, |extras| extras.properties.len() + extras.provenance.len());
        self.topic.len() + self.payload.len() + extras
    }

    /// When it is not to be sent any more, in milliseconds of Unix time.
    #[must_use]
    pub fn expires_at(&self) -> Option<u64> {
        self.extras.as_ref()?.expires_at
    }

    /// Is its time over?
    #[must_use]
    pub fn is_expired(&self, now_ms: u64) -> bool {
        self.expires_at().is_some_and(|end| end <= now_ms)
    }
}

/// On what terms one client gets a message: what differs between the subscribers of one message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// The QoS of the delivery.
    pub qos: QoS,
    /// Whether it leaves with RETAIN 1: in the replay after a SUBSCRIBE, and live where the subscription wants RETAIN as it was
    /// published [MQTT-3.3.1-8, 3.3.1-9] [MQTT5-3.3.1-12, 3.3.1-13].
    pub retain: bool,
    /// What few subscriptions ask for.
    pub special: Option<Arc<Special>>,
}

impl Terms {
    /// A live delivery to a subscription that asks for nothing but this QoS.
    #[must_use]
    pub fn plain(qos: QoS) -> Self {
        Self { qos, retain: false, special: None }
    }

    /// Nothing that a record of MQTT 3 could not say.
    pub(crate) fn is_plain(&self) -> bool {
        self.special.is_none()
    }
}

/// What a subscription may ask for with each message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Special {
    /// The identifiers of all subscriptions that match, encoded as properties of a PUBLISH [MQTT5-3.3.4-3, 3.3.4-4].
    pub identifiers: Box<[u8]>,
    /// The shared subscription (`$share/GROUP/FILTER`) by which the client gets it.
    pub share: Option<Arc<str>>,
    /// Whether the client wants to know where an entry's value comes from.
    pub provenance: bool,
}

/// A payload fit to be kept: small ones are copied, so that they don't pin the buffer they were read into.
#[must_use]
pub fn keep_payload(payload: &Bytes) -> Bytes {
    if payload.len() <= COPIED_MAX { Bytes::copy_from_slice(payload) } else { payload.clone() }
}
