//! A message as PUBLISH frames: each form is encoded once, however many subscribers get it.

use std::sync::Arc;

use bytes::Bytes;

use crate::message::{COPIED_MAX, Message, QoS};
use crate::outbox::Frame;
use crate::session::PacketId;
use crate::session::record::Origin;

/// A message on its way from its publisher, borrowed from wherever it came in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outgoing<'a> {
    pub(crate) topic: &'a str,
    pub(crate) payload: &'a [u8],
    /// The payload as a buffer that may be shared, if it is one already.
    pub(crate) shared: Option<&'a Bytes>,
    pub(crate) qos: QoS,
    /// Whether it leaves with RETAIN 1: only in a replay.
    pub(crate) retain: bool,
    /// The whole frame, if it is a PUBLISH of QoS 0 without flags: it can leave as it came.
    pub(crate) frame: Option<&'a [u8]>,
    /// Where it came from, if by QoS 2 from a persistent session.
    pub(crate) origin: Option<Origin>,
    /// The numbers of sessions that got it before a crash.
    pub(crate) served: &'a [u64],
}

impl<'a> Outgoing<'a> {
    /// A live message.
    pub(crate) fn new(topic: &'a str, payload: &'a [u8], qos: QoS) -> Self {
        Self { topic, payload, shared: None, qos, retain: false, frame: None, origin: None, served: &[] }
    }

    /// The same with a payload that may be shared.
    pub(crate) fn with_shared(topic: &'a str, payload: &'a Bytes, qos: QoS) -> Self {
        Self { shared: Some(payload), ..Self::new(topic, payload, qos) }
    }

    /// A message as sessions keep it.
    pub(crate) fn of(message: &'a Message) -> Self {
        let live = Self::with_shared(&message.topic, &message.payload, message.qos);
        Self { retain: message.retain, ..live }
    }
}

/// The frames of one message. By QoS: what stands before the packet identifier or, at QoS 0, before a shared payload.
#[derive(Debug)]
pub(crate) struct Frames<'a> {
    message: Outgoing<'a>,
    heads: [Vec<u8>; 3],
    /// The payload, if it is large enough to be shared.
    shared: Option<Bytes>,
}

impl<'a> Frames<'a> {
    /// `heads` are buffers to be used.
    pub(crate) fn new(message: &Outgoing<'a>, mut heads: [Vec<u8>; 3]) -> Self {
        heads.iter_mut().for_each(Vec::clear);
        Self { message: *message, heads, shared: None }
    }

    /// Gives the buffers back.
    pub(crate) fn into_heads(self) -> [Vec<u8>; 3] {
        self.heads
    }

    /// The frame of QoS 0.
    pub(crate) fn plain(&mut self) -> Frame<'_> {
        let payload = self.message.payload.len();
        if payload <= COPIED_MAX
            && let Some(frame) = self.message.frame
        {
            return Frame { head: frame, id: None, tail: &[], shared: None, payload };
        }
        self.frame(QoS::AtMostOnce, None, false)
    }

    /// The frame of QoS 1 or 2 for one subscriber.
    pub(crate) fn with_id(&mut self, qos: QoS, id: PacketId, dup: bool) -> Frame<'_> {
        self.frame(qos, Some(id.get()), dup)
    }

    fn frame(&mut self, qos: QoS, id: Option<u16>, dup: bool) -> Frame<'_> {
        let Outgoing { topic, payload, retain, .. } = self.message;
        let head = &mut self.heads[usize::from(qos.as_u8())];
        let first = 0x30 | u8::from(dup) << 3 | qos.as_u8() << 1 | u8::from(retain);
        match head.first_mut() {
            Some(byte) => *byte = first,
            None => put_head(head, first, topic, id.is_some(), payload.len()),
        }
        if payload.len() <= COPIED_MAX {
            return Frame { head, id, tail: payload, shared: None, payload: payload.len() };
        }
        let shared = self.shared.get_or_insert_with(|| {
            self.message.shared.cloned().unwrap_or_else(|| Bytes::copy_from_slice(payload))
        });
        Frame { head, id, tail: &[], shared: Some(shared), payload: payload.len() }
    }

    /// The message itself.
    pub(crate) fn message(&self) -> &Outgoing<'a> {
        &self.message
    }

    /// The message as sessions keep it.
    pub(crate) fn keep(&mut self, topic: &Arc<str>) -> Message {
        let Outgoing { payload, shared, qos, retain, .. } = self.message;
        let payload = if payload.len() <= COPIED_MAX {
            Bytes::copy_from_slice(payload)
        } else {
            let shared = self
                .shared
                .get_or_insert_with(|| shared.cloned().unwrap_or_else(|| Bytes::copy_from_slice(payload)));
            shared.clone()
        };
        Message { topic: Arc::clone(topic), payload, qos, retain }
    }
}

/// The fixed header and the topic name [MQTT-3.3.2-1].
fn put_head(out: &mut Vec<u8>, first: u8, topic: &str, id: bool, payload: usize) {
    out.push(first);
    let mut remaining = 2 + topic.len() + if id { 2 } else { 0 } + payload;
    while remaining >= 0x80 {
        out.push((remaining & 0x7f) as u8 | 0x80);
        remaining >>= 7;
    }
    out.push(remaining as u8);
    // A topic that came in a packet or was checked by `topic` has at most 65 535 bytes.
    let len = u16::try_from(topic.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(topic.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(frame: &Frame<'_>) -> Vec<u8> {
        let mut bytes = frame.head.to_vec();
        bytes.extend(frame.id.map(u16::to_be_bytes).unwrap_or_default().iter().take(if frame.id.is_some() {
            2
        } else {
            0
        }));
        bytes.extend_from_slice(frame.tail);
        bytes.extend_from_slice(frame.shared.map_or(&[], |shared| shared));
        bytes
    }

    fn outgoing<'a>(topic: &'a str, payload: &'a [u8]) -> Outgoing<'a> {
        Outgoing::new(topic, payload, QoS::ExactlyOnce)
    }

    #[test]
    fn each_qos_has_its_own_first_byte_and_identifier() {
        let message = outgoing("a/b", b"hi");
        let mut frames = Frames::new(&message, Default::default());
        assert_eq!(bytes(&frames.plain()), b"\x30\x07\0\x03a/bhi");
        let id = PacketId::new(0x0102).unwrap();
        assert_eq!(bytes(&frames.with_id(QoS::AtLeastOnce, id, false)), b"\x32\x09\0\x03a/b\x01\x02hi");
        assert_eq!(bytes(&frames.with_id(QoS::ExactlyOnce, id, true)), b"\x3c\x09\0\x03a/b\x01\x02hi");
        assert_eq!(bytes(&frames.with_id(QoS::ExactlyOnce, id, false)), b"\x34\x09\0\x03a/b\x01\x02hi");
    }

    #[test]
    fn a_large_payload_is_copied_once_and_then_shared() {
        let payload = vec![7; 20_000];
        let message = outgoing("t", &payload);
        let mut frames = Frames::new(&message, Default::default());
        let first = frames.plain().shared.cloned().unwrap();
        let plain = bytes(&frames.plain());
        assert_eq!(plain[..7], [0x30, 0xa3, 0x9c, 0x01, 0, 1, b't']);
        assert_eq!(plain.len(), 4 + 3 + 20_000);
        assert_eq!(frames.keep(&"t".into()).payload.as_ptr(), first.as_ptr());
    }

    #[test]
    fn a_plain_frame_leaves_as_it_came() {
        let frame = *b"\x30\x05\0\x01txy";
        let message = Outgoing { frame: Some(&frame), ..outgoing("t", &frame[5..]) };
        let mut frames = Frames::new(&message, Default::default());
        assert_eq!(frames.plain().head.as_ptr(), frame.as_ptr());
    }
}
