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
    /// The properties of the message, encoded as in a PUBLISH [MQTT 5: 3.1.3.2].
    pub properties: Bytes,
    /// For how many seconds after its publication the message is of use.
    pub message_expiry: Option<u32>,
    /// Seconds between the end of the connection and the publication [MQTT5-3.1.3-9].
    pub delay: u32,
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
    /// Its connection has ended: it is to be published at this time, in seconds of Unix time.
    pub due: Option<u64>,
}
