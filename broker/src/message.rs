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
    /// Whether it leaves with RETAIN 1: only in the replay after a SUBSCRIBE [MQTT-3.3.1-8, 3.3.1-9].
    pub retain: bool,
}

impl Message {
    /// What the message weighs against limits in bytes: topic and payload.
    #[must_use]
    pub fn size(&self) -> usize {
        self.topic.len() + self.payload.len()
    }
}

/// A payload fit to be kept: small ones are copied, so that they don't pin the buffer they were read into.
#[must_use]
pub fn keep_payload(payload: &Bytes) -> Bytes {
    if payload.len() <= COPIED_MAX { Bytes::copy_from_slice(payload) } else { payload.clone() }
}
