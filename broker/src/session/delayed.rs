//! Messages that are to be published later.

use std::sync::Arc;

use bytes::Bytes;

use super::PacketId;
use super::record::Origin;
use crate::message::QoS;

/// Set in the number of a delayed message where numbers of sessions stand, so that it is taken for none.
const MARK: u64 = 1 << 63;

/// A message that waits for its time, with what is to be known about its publisher when that is gone or the broker has restarted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedDelayed {
    /// The message's number in the log.
    pub number: u64,
    /// Who published it.
    pub client_id: Arc<str>,
    /// The user whose rights count.
    pub user: Option<Arc<str>>,
    /// When it is published, in milliseconds of Unix time.
    pub due_ms: u64,
    /// The topic on which it is published then.
    pub topic: Arc<str>,
    /// The payload.
    pub payload: Bytes,
    /// The QoS it is published with.
    pub qos: QoS,
    /// Whether it is published as a retained message.
    pub retain: bool,
    /// The properties that travel with it, encoded as in a PUBLISH.
    pub properties: Bytes,
    /// For how many seconds after its publication it is of use.
    pub message_expiry: Option<u32>,
    /// The numbers of sessions that got it before a crash.
    pub served: Arc<[u64]>,
}

impl RecordedDelayed {
    /// What it weighs against the limit in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.topic.len() + self.payload.len() + self.properties.len()
    }

    /// As what it is routed, so that after a crash amid that no session gets it twice.
    #[must_use]
    pub fn origin(&self) -> Origin {
        origin(self.number)
    }
}

pub(super) fn origin(number: u64) -> Origin {
    Origin { sid: number | MARK, packet_id: PacketId::MIN }
}

/// What stands among the sessions that got a QoS 2 message of a client, once it waits under this number.
pub(super) fn taken_as(number: u64) -> u64 {
    number | MARK
}

/// Was the message that these got before a crash taken to be published later?
#[must_use]
pub fn was_taken(served: &[u64]) -> bool {
    served.iter().any(|number| number & MARK != 0)
}
