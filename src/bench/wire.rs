//! The few packets of MQTT 3.1.1 that a load needs, written as bytes and read in place.
//!
//! It does not use the broker's codec: that one is under test here as well, and a template with three patched fields is cheaper
//! than any encoder.

/// The bytes at the head of each payload: lane, sequence number, time of sending.
pub(super) const STAMP_BYTES: usize = 16;

pub(super) const CONNACK: u8 = 0x20;
pub(super) const PUBLISH: u8 = 0x30;
pub(super) const PUBACK: u8 = 0x40;
pub(super) const PUBREC: u8 = 0x50;
pub(super) const PUBREL: u8 = 0x62;
pub(super) const PUBCOMP: u8 = 0x70;
pub(super) const SUBACK: u8 = 0x90;
pub(super) const PINGRESP: u8 = 0xD0;

pub(super) const PINGREQ_FRAME: [u8; 2] = [0xC0, 0];
pub(super) const DISCONNECT_FRAME: [u8; 2] = [0xE0, 0];

/// Who a client says it is.
#[derive(Clone, Debug, Default)]
pub(super) struct Login {
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
}

/// Appends CONNECT with a clean session and the longest keep alive (some brokers refuse 0), so that nobody need ping.
pub(super) fn connect(out: &mut Vec<u8>, client: &str, login: &Login) {
    let mut flags = 0x02;
    let mut tail = Vec::new();
    string(&mut tail, client);
    if let Some(user) = &login.user {
        flags |= 0x80;
        string(&mut tail, user);
        if let Some(password) = &login.password {
            flags |= 0x40;
            string(&mut tail, password);
        }
    }
    out.push(0x10);
    length(out, 10 + tail.len());
    out.extend_from_slice(&[0, 4, b'M', b'Q', b'T', b'T', 4, flags, 0xFF, 0xFF]);
    out.extend_from_slice(&tail);
}

/// Appends SUBSCRIBE.
pub(super) fn subscribe(out: &mut Vec<u8>, id: u16, filters: &[String], qos: u8) {
    out.push(0x82);
    length(out, 2 + filters.iter().map(|filter| filter.len() + 3).sum::<usize>());
    out.extend_from_slice(&id.to_be_bytes());
    for filter in filters {
        string(out, filter);
        out.push(qos);
    }
}

/// Appends PUBACK, PUBREC, PUBREL or PUBCOMP.
pub(super) fn acknowledge(out: &mut Vec<u8>, first: u8, id: u16) {
    let [high, low] = id.to_be_bytes();
    out.extend_from_slice(&[first, 2, high, low]);
}

/// Appends a PUBLISH up to its payload, with packet id 0.
fn publish_head(out: &mut Vec<u8>, topic: &str, qos: u8, retain: bool, payload_bytes: usize) {
    out.push(PUBLISH | qos << 1 | u8::from(retain));
    let id = [0; 2];
    let id = if qos > 0 { id.as_slice() } else { &[] };
    length(out, 2 + topic.len() + id.len() + payload_bytes);
    string(out, topic);
    out.extend_from_slice(id);
}

/// Appends a retained PUBLISH. Without a stamp its payload is empty: it deletes.
pub(super) fn retained(out: &mut Vec<u8>, topic: &str, qos: u8, id: u16, payload: Option<(Stamp, usize)>) {
    publish_head(out, topic, qos, true, payload.map_or(0, |(_, bytes)| bytes));
    let payload_at = out.len();
    if qos > 0 {
        patch(out, payload_at - 2, &id.to_be_bytes());
    }
    if let Some((stamp, bytes)) = payload {
        out.resize(payload_at + bytes, b'x');
        patch(out, payload_at, &stamp.to_bytes());
    }
}

/// A PUBLISH that is sent many times, with another packet id and stamp each time.
#[derive(Clone, Debug)]
pub(super) struct Template {
    bytes: Vec<u8>,
    id_at: Option<usize>,
    stamp_at: usize,
}

impl Template {
    /// A PUBLISH with a payload of `payload_bytes`, of which there are at least [`STAMP_BYTES`].
    pub(super) fn new(topic: &str, qos: u8, retain: bool, payload_bytes: usize) -> Self {
        let mut bytes = Vec::new();
        publish_head(&mut bytes, topic, qos, retain, payload_bytes);
        let stamp_at = bytes.len();
        bytes.resize(stamp_at + payload_bytes, b'x');
        Self { bytes, id_at: (qos > 0).then(|| stamp_at - 2), stamp_at }
    }

    /// Appends the packet.
    pub(super) fn append(&self, out: &mut Vec<u8>, id: u16, stamp: Stamp) {
        let start = out.len();
        out.extend_from_slice(&self.bytes);
        if let Some(at) = self.id_at {
            patch(out, start + at, &id.to_be_bytes());
        }
        patch(out, start + self.stamp_at, &stamp.to_bytes());
    }
}

fn patch(out: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(place) = out.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

/// What the head of a payload says, so that the receiver can check it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) lane: u32,
    pub(super) sequence: u32,
    pub(super) sent_nanos: u64,
}

impl Stamp {
    fn to_bytes(self) -> [u8; STAMP_BYTES] {
        let mut bytes = [0; STAMP_BYTES];
        patch(&mut bytes, 0, &self.lane.to_be_bytes());
        patch(&mut bytes, 4, &self.sequence.to_be_bytes());
        patch(&mut bytes, 8, &self.sent_nanos.to_be_bytes());
        bytes
    }

    /// Reads the head of a payload.
    pub(super) fn read(payload: &[u8]) -> Option<Self> {
        let (lane, rest) = payload.split_first_chunk::<4>()?;
        let (sequence, rest) = rest.split_first_chunk::<4>()?;
        let (sent, _) = rest.split_first_chunk::<8>()?;
        Some(Self {
            lane: u32::from_be_bytes(*lane),
            sequence: u32::from_be_bytes(*sequence),
            sent_nanos: u64::from_be_bytes(*sent),
        })
    }
}

/// One packet as it lies in the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    /// Type and flags.
    pub(super) first: u8,
    /// What follows the remaining length.
    pub(super) body: &'a [u8],
}

/// A PUBLISH as it lies in the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Publish<'a> {
    pub(super) qos: u8,
    pub(super) retain: bool,
    pub(super) id: u16,
    pub(super) payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Takes the first packet off `bytes`, if it is whole.
    pub(super) fn take(bytes: &mut &'a [u8]) -> Option<Self> {
        let (&first, mut rest) = bytes.split_first()?;
        let mut len = 0;
        for shift in [0, 7, 14, 21] {
            let (&byte, after) = rest.split_first()?;
            rest = after;
            len |= usize::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                break;
            }
        }
        let (body, after) = rest.split_at_checked(len)?;
        *bytes = after;
        Some(Self { first, body })
    }

    /// The packet id at the body's head.
    pub(super) fn id(&self) -> Option<u16> {
        Some(u16::from_be_bytes(*self.body.first_chunk::<2>()?))
    }

    /// The packet as a PUBLISH.
    pub(super) fn publish(&self) -> Option<Publish<'a>> {
        let qos = self.first >> 1 & 3;
        let topic_bytes = usize::from(self.id()?);
        let mut payload = self.body.get(2 + topic_bytes..)?;
        let mut id = 0;
        if qos > 0 {
            let (bytes, rest) = payload.split_first_chunk::<2>()?;
            (id, payload) = (u16::from_be_bytes(*bytes), rest);
        }
        Some(Publish { qos, retain: self.first & 1 == 1, id, payload })
    }
}

fn string(out: &mut Vec<u8>, text: &str) {
    // Options are checked to be far shorter than 64 KiB.
    out.extend_from_slice(&u16::try_from(text.len()).unwrap_or(u16::MAX).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn length(out: &mut Vec<u8>, mut len: usize) {
    loop {
        let low = (len & 0x7F) as u8;
        len >>= 7;
        if len == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_a_publish_with_its_id_and_stamp() {
        for (qos, payload_bytes) in [(0, STAMP_BYTES), (1, 64), (2, 200), (1, 20_000)] {
            let template = Template::new("a/b", qos, true, payload_bytes);
            let stamp = Stamp { lane: 3, sequence: 70_000, sent_nanos: 1 << 40 };
            let mut bytes = Vec::new();
            template.append(&mut bytes, 513, stamp);
            let mut rest = bytes.as_slice();
            let publish = Frame::take(&mut rest).expect("whole").publish().expect("a PUBLISH");
            assert!(rest.is_empty());
            assert_eq!((publish.qos, publish.retain), (qos, true));
            assert_eq!(publish.id, if qos > 0 { 513 } else { 0 });
            assert_eq!(publish.payload.len(), payload_bytes);
            assert_eq!(Stamp::read(publish.payload), Some(stamp));
        }
    }

    #[test]
    fn a_frame_is_taken_only_when_it_is_whole() {
        let mut whole = Vec::new();
        subscribe(&mut whole, 9, &["a/#".to_owned(), "b".repeat(200)], 1);
        for cut in 0..whole.len() {
            let mut part = whole.get(..cut).expect("in range");
            assert_eq!(Frame::take(&mut part), None);
            assert_eq!(part.len(), cut);
        }
        let mut rest = whole.as_slice();
        assert_eq!(Frame::take(&mut rest).and_then(|frame| frame.id()), Some(9));
        assert!(rest.is_empty());
    }

    #[test]
    fn connect_has_the_flags_of_what_follows() {
        let mut bytes = Vec::new();
        let login = Login { user: Some("u".to_owned()), password: Some("p".to_owned()) };
        connect(&mut bytes, "me", &login);
        assert_eq!(bytes, b"\x10\x14\0\x04MQTT\x04\xC2\xFF\xFF\0\x02me\0\x01u\0\x01p");
    }
}
