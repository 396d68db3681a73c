//! Wills: what a client wants to be published when it is gone without a DISCONNECT.

use std::sync::Arc;

use bytes::Bytes;

use crate::message::QoS;

/// A will as the CONNECT brought it [MQTT-3.1.2-8].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Will {
    /// The topic name.
    pub topic: Arc<str>,
    /// The payload.
    pub payload: Bytes,
    /// The QoS it is published with.
    pub qos: QoS,
    /// Whether it is published as a retained message.
    pub retain: bool,
}

/// A will with what is to be known about it when its session is gone or the broker has restarted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedWill {
    /// The will's number in the log.
    pub number: u64,
    /// Whose will it is.
    pub client_id: Arc<str>,
    /// The user whose rights count.
    pub user: Option<Arc<str>>,
    /// The will itself.
    pub will: Arc<Will>,
}
