//! A message as PUBLISH frames: each form is encoded once, however many subscribers get it.
//!
//! Most subscribers of one protocol version, QoS and RETAIN flag get the same bytes but for the packet identifier. Who has
//! something of its own (subscription identifiers, a topic alias, a mount point, provenance) gets a head of its own.

use std::sync::Arc;

use bytes::Bytes;

use crate::clock;
use crate::hooks::Provenance;
use crate::message::{COPIED_MAX, Extras, Message, QoS, Special, Terms};
use crate::outbox::{Alias, Frame, Shape};
use crate::session::PacketId;
use crate::session::record::Origin;
use crate::trie::SubscriberId;

/// Properties of a PUBLISH that only the broker writes [MQTT 5: 2.2.2.2].
const MESSAGE_EXPIRY: u8 = 0x02;
const TOPIC_ALIAS: u8 = 0x23;
const USER_PROPERTY: u8 = 0x26;

/// A message on its way from its publisher, borrowed from wherever it came in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outgoing<'a> {
    pub(crate) topic: &'a str,
    pub(crate) payload: &'a [u8],
    /// The payload as a buffer that may be shared, if it is one already.
    pub(crate) shared: Option<&'a Bytes>,
    pub(crate) qos: QoS,
    /// Whether it was published with RETAIN 1.
    pub(crate) retained: bool,
    /// Encoded properties that travel with it.
    pub(crate) properties: &'a [u8],
    pub(crate) expiry: Option<Expiry>,
    /// Where the entry's value comes from, if it is one.
    pub(crate) provenance: Option<&'a Provenance<'a>>,
    /// The same, encoded already.
    pub(crate) provenance_block: &'a [u8],
    /// Who published it, for subscriptions that do not want their own.
    pub(crate) publisher: Option<SubscriberId>,
    /// What stands for his rights ([`Client::rights`](crate::registry::Client::rights)); 0 where that is not known.
    pub(crate) rights: u64,
    /// The whole frame, if it is a PUBLISH of QoS 0 without flags and properties: it can leave as it came.
    pub(crate) frame: Option<Carried<'a>>,
    /// Where it came from, if by QoS 2 from a recorded session.
    pub(crate) origin: Option<Origin>,
    /// The numbers of sessions that got it before a crash.
    pub(crate) served: &'a [u64],
}

/// A frame as it came, and for which protocol version.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Carried<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) v5: bool,
}

/// Until when a message is of use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Expiry {
    /// Seconds from now on, as they are told to subscribers.
    pub(crate) seconds: u32,
    /// In milliseconds of Unix time.
    pub(crate) at_ms: u64,
}

impl Expiry {
    /// What a publisher said just now.
    pub(crate) fn after(seconds: u32, now_ms: u64) -> Self {
        Self { seconds, at_ms: now_ms.saturating_add(u64::from(seconds) * 1000) }
    }

    /// What is left of it, in whole seconds: a message that is still to be sent has at least one [MQTT5-3.3.2-6].
    pub(crate) fn at(at_ms: u64, now_ms: u64) -> Self {
        let left = at_ms.saturating_sub(now_ms).div_ceil(1000).max(1);
        Self { seconds: u32::try_from(left).unwrap_or(u32::MAX), at_ms }
    }
}

impl<'a> Outgoing<'a> {
    /// A message of MQTT 3.
    pub(crate) fn new(topic: &'a str, payload: &'a [u8], qos: QoS) -> Self {
        Self {
            topic,
            payload,
            shared: None,
            qos,
            retained: false,
            properties: &[],
            expiry: None,
            provenance: None,
            provenance_block: &[],
            publisher: None,
            rights: 0,
            frame: None,
            origin: None,
            served: &[],
        }
    }

    /// The same with a payload that may be shared.
    pub(crate) fn with_shared(topic: &'a str, payload: &'a Bytes, qos: QoS) -> Self {
        Self { shared: Some(payload), ..Self::new(topic, payload, qos) }
    }

    /// A message as sessions keep it.
    pub(crate) fn of(message: &'a Message) -> Self {
        let mut outgoing = Self::with_shared(&message.topic, &message.payload, message.qos);
        if let Some(extras) = &message.extras {
            outgoing.properties = &extras.properties;
            outgoing.provenance_block = &extras.provenance;
            outgoing.expiry = extras.expires_at.map(|at| Expiry::at(at, clock::unix_ms()));
        }
        outgoing
    }

    /// Bytes that it takes at most in an outbox, apart from what one subscriber adds.
    pub(crate) fn size(&self) -> usize {
        self.topic.len() + self.payload.len() + self.properties.len() + 32
    }
}

/// Buffers for frames, which a worker uses again.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    /// By version, RETAIN flag and QoS: what stands before the packet identifier.
    heads: [Vec<u8>; FORMS],
    /// The properties that all subscribers get.
    block: Vec<u8>,
    /// Of one subscriber that has something of its own.
    own_head: Vec<u8>,
    own_block: Vec<u8>,
    provenance: Vec<u8>,
    /// All that is before the payload, where that and an alias are all.
    short: [u8; 10],
}

/// The longest payload of a message whose length, with an alias for its topic, takes one byte.
const SHORT_MAX: usize = 127 - 8;

const FORMS: usize = 12;

/// The frames of one message.
#[derive(Debug)]
pub(crate) struct Frames<'a> {
    message: &'a Outgoing<'a>,
    buffers: Box<Buffers>,
    /// Which heads are of this message; the bit above them: the block is.
    made: u16,
    /// The payload, if it is large enough to be shared.
    shared: Option<Bytes>,
}

const BLOCK_MADE: u16 = 1 << FORMS;
const PROVENANCE_MADE: u16 = 2 << FORMS;

impl<'a> Frames<'a> {
    /// `buffers` are to be used.
    pub(crate) fn new(message: &'a Outgoing<'a>, buffers: Box<Buffers>) -> Self {
        Self { message, buffers, made: 0, shared: None }
    }

    /// Gives the buffers back.
    pub(crate) fn into_buffers(self) -> Box<Buffers> {
        self.buffers
    }

    /// The message itself.
    pub(crate) fn message(&self) -> &'a Outgoing<'a> {
        self.message
    }

    /// The frame for one subscriber. `alias` is what its outbox has found for the topic.
    #[inline]
    pub(crate) fn make(
        &mut self,
        shape: Shape,
        terms: &Terms,
        id: Option<PacketId>,
        dup: bool,
        alias: Alias,
    ) -> Frame<'_> {
        let payload = self.message.payload.len();
        if shape.mount > 0 || (shape.v5 && (terms.special.is_some() || alias != Alias::None)) {
            return match alias {
                Alias::Known(number) if payload <= SHORT_MAX && self.is_bare(terms) => {
                    self.make_short(terms, id, dup, number)
                }
                _ => self.make_own(shape, terms, id, dup, alias),
            };
        }
        if let Some(carried) = self.message.frame
            && id.is_none()
            && !terms.retain
            && carried.v5 == shape.v5
            && payload <= COPIED_MAX
        {
            return Frame {
                head: carried.bytes,
                id: None,
                properties: &[],
                tail: &[],
                shared: None,
                payload,
            };
        }
        self.make_common(shape, terms, id, dup)
    }

    /// The frame that all subscribers of this form get.
    fn make_common(&mut self, shape: Shape, terms: &Terms, id: Option<PacketId>, dup: bool) -> Frame<'_> {
        let payload = self.message.payload.len();
        if shape.v5 && self.made & BLOCK_MADE == 0 {
            self.make_block();
        }
        let form = usize::from(shape.v5) * 6 + usize::from(terms.retain) * 3 + usize::from(terms.qos.as_u8());
        let first = first_byte(terms, dup);
        let Buffers { heads, block, .. } = &mut *self.buffers;
        let properties: &[u8] = if shape.v5 { block } else { &[] };
        let head = &mut heads[form];
        if self.made & 1 << form == 0 {
            self.made |= 1 << form;
            let rest = properties.len() + payload;
            put_head(head, first, self.message.topic, id.is_some(), rest);
        } else if let Some(byte) = head.first_mut() {
            *byte = first;
        }
        let (tail, shared) = payload_of(self.message, &mut self.shared);
        Frame { head, id: id.map(PacketId::get), properties, tail, shared, payload }
    }

    /// Is there nothing that MQTT 5 would add?
    fn is_bare(&self, terms: &Terms) -> bool {
        terms.special.is_none() && self.message.properties.is_empty() && self.message.expiry.is_none()
    }

    /// The frame of a short message whose topic is told by its alias alone.
    fn make_short(&mut self, terms: &Terms, id: Option<PacketId>, dup: bool, alias: u16) -> Frame<'_> {
        let payload = self.message.payload;
        let [high, low] = alias.to_be_bytes();
        let first = first_byte(terms, dup);
        // Two bytes for no topic, four for the properties.
        let remaining = 6 + payload.len() as u8;
        let head = &mut self.buffers.short;
        let head: &[u8] = match id {
            None => {
                let [_, _, whole @ ..] = head;
                *whole = [first, remaining, 0, 0, 3, TOPIC_ALIAS, high, low];
                whole
            }
            Some(id) => {
                let [id_high, id_low] = id.get().to_be_bytes();
                *head = [first, remaining + 2, 0, 0, id_high, id_low, 3, TOPIC_ALIAS, high, low];
                head
            }
        };
        Frame { head, id: None, properties: &[], tail: payload, shared: None, payload: payload.len() }
    }

    /// The frame of somebody who has something of its own.
    fn make_own(
        &mut self,
        shape: Shape,
        terms: &Terms,
        id: Option<PacketId>,
        dup: bool,
        alias: Alias,
    ) -> Frame<'_> {
        if shape.v5 {
            self.make_own_block(terms.special.as_deref(), alias);
        }
        let payload = self.message.payload.len();
        let topic = self.message.topic.get(usize::from(shape.mount)..).unwrap_or_default();
        let topic = if matches!(alias, Alias::Known(_)) { "" } else { topic };
        let Buffers { own_head, own_block, .. } = &mut *self.buffers;
        let properties: &[u8] = if shape.v5 { own_block } else { &[] };
        put_head(own_head, first_byte(terms, dup), topic, id.is_some(), properties.len() + payload);
        let (tail, shared) = payload_of(self.message, &mut self.shared);
        Frame { head: own_head, id: id.map(PacketId::get), properties, tail, shared, payload }
    }

    /// The block of properties which everybody of MQTT 5 gets: expiry and what travels with the message.
    fn make_block(&mut self) {
        self.made |= BLOCK_MADE;
        let Outgoing { expiry, properties, .. } = *self.message;
        let block = &mut self.buffers.block;
        block.clear();
        put_number(block, expiry_len(expiry) + properties.len());
        put_expiry(block, expiry);
        block.extend_from_slice(properties);
    }

    fn make_own_block(&mut self, special: Option<&Special>, alias: Alias) {
        let provenance = special.is_some_and(|special| special.provenance);
        if provenance && self.made & PROVENANCE_MADE == 0 {
            self.made |= PROVENANCE_MADE;
            let block = &mut self.buffers.provenance;
            block.clear();
            block.extend_from_slice(self.message.provenance_block);
            if let Some(provenance) = self.message.provenance {
                put_provenance(block, provenance);
            }
        }
        let Outgoing { expiry, properties, .. } = *self.message;
        let Buffers { own_block, provenance: told, .. } = &mut *self.buffers;
        if let (Some(number), None, None, []) = (alias.number(), special, expiry, properties) {
            // Most often an alias is all.
            let [high, low] = number.to_be_bytes();
            own_block.clear();
            own_block.extend_from_slice(&[3, TOPIC_ALIAS, high, low]);
            return;
        }
        let told: &[u8] = if provenance { told } else { &[] };
        let identifiers = special.map_or(&[][..], |special| &special.identifiers);
        let number = alias.number();
        let len = expiry_len(expiry)
            + identifiers.len()
            + if number.is_some() { 3 } else { 0 }
            + properties.len()
            + told.len();
        own_block.clear();
        put_number(own_block, len);
        put_expiry(own_block, expiry);
        own_block.extend_from_slice(identifiers);
        if let Some(number) = number {
            own_block.push(TOPIC_ALIAS);
            own_block.extend_from_slice(&number.to_be_bytes());
        }
        own_block.extend_from_slice(properties);
        own_block.extend_from_slice(told);
    }

    /// How many bytes the frame for one subscriber has, without an alias.
    pub(crate) fn len_for(&mut self, shape: Shape, terms: &Terms, id: bool) -> usize {
        let Outgoing { topic, payload, expiry, properties, .. } = *self.message;
        let mut rest = 2 + topic.len() - usize::from(shape.mount).min(topic.len())
            + if id { 2 } else { 0 }
            + payload.len();
        if shape.v5 {
            let mut block = expiry_len(expiry) + properties.len();
            if let Some(special) = terms.special.as_deref() {
                self.make_own_block(Some(special), Alias::None);
                block = expiry_len(expiry)
                    + properties.len()
                    + special.identifiers.len()
                    + if special.provenance { self.buffers.provenance.len() } else { 0 };
            }
            rest += number_len(block) + block;
        }
        1 + number_len(rest) + rest
    }

    /// The message as sessions keep it. `provenance`: with where its value comes from.
    pub(crate) fn keep(&mut self, topic: &Arc<str>, provenance: bool) -> Message {
        let Outgoing { payload, shared, qos, properties, expiry, .. } = *self.message;
        let payload = if payload.len() <= COPIED_MAX {
            Bytes::copy_from_slice(payload)
        } else {
            let shared = self
                .shared
                .get_or_insert_with(|| shared.cloned().unwrap_or_else(|| Bytes::copy_from_slice(payload)));
            shared.clone()
        };
        let mut message = Message::new(Arc::clone(topic), payload, qos);
        if provenance || expiry.is_some() || !properties.is_empty() {
            message.extras = self.extras(provenance);
        }
        message
    }

    #[inline(never)]
    fn extras(&self, provenance: bool) -> Option<Box<Extras>> {
        let Outgoing { properties, expiry, provenance_block, .. } = *self.message;
        let mut told = Vec::new();
        if provenance {
            told.extend_from_slice(provenance_block);
            if let Some(provenance) = self.message.provenance {
                put_provenance(&mut told, provenance);
            }
        }
        if properties.is_empty() && expiry.is_none() && told.is_empty() {
            return None;
        }
        Some(Box::new(Extras {
            properties: Bytes::copy_from_slice(properties),
            expires_at: expiry.map(|expiry| expiry.at_ms),
            provenance: told.into(),
        }))
    }
}

/// The payload behind the head: small ones are copied, large ones shared.
fn payload_of<'b>(message: &Outgoing<'b>, shared: &'b mut Option<Bytes>) -> (&'b [u8], Option<&'b Bytes>) {
    if message.payload.len() <= COPIED_MAX {
        return (message.payload, None);
    }
    let shared = shared.get_or_insert_with(|| {
        message.shared.cloned().unwrap_or_else(|| Bytes::copy_from_slice(message.payload))
    });
    (&[], Some(shared))
}

fn first_byte(terms: &Terms, dup: bool) -> u8 {
    0x30 | u8::from(dup) << 3 | terms.qos.as_u8() << 1 | u8::from(terms.retain)
}

/// The fixed header and the topic name [MQTT-3.3.2-1]; `rest` is what follows the packet identifier.
fn put_head(out: &mut Vec<u8>, first: u8, topic: &str, id: bool, rest: usize) {
    out.clear();
    let remaining = 2 + topic.len() + if id { 2 } else { 0 } + rest;
    // A topic that came in a packet or was checked by `topic` has at most 65 535 bytes.
    let [high, low] = u16::try_from(topic.len()).unwrap_or(u16::MAX).to_be_bytes();
    if remaining < 0x80 {
        out.extend_from_slice(&[first, remaining as u8, high, low]);
    } else {
        out.push(first);
        put_number(out, remaining);
        out.extend_from_slice(&[high, low]);
    }
    out.extend_from_slice(topic.as_bytes());
}

/// A variable byte integer [MQTT 5: 1.5.5].
fn put_number(out: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn number_len(number: usize) -> usize {
    match number {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        _ => 4,
    }
}

fn expiry_len(expiry: Option<Expiry>) -> usize {
    if expiry.is_some() { 5 } else { 0 }
}

fn put_expiry(out: &mut Vec<u8>, expiry: Option<Expiry>) {
    if let Some(expiry) = expiry {
        out.push(MESSAGE_EXPIRY);
        out.extend_from_slice(&expiry.seconds.to_be_bytes());
    }
}

/// Where a value comes from, as user properties.
fn put_provenance(out: &mut Vec<u8>, provenance: &Provenance<'_>) {
    let mut put = |name: &str, value: &str| {
        out.push(USER_PROPERTY);
        for text in [name, value] {
            // Names of nodes and users are short; what is longer than a property can be is cut.
            let len = u16::try_from(text.len()).unwrap_or(u16::MAX);
            out.extend_from_slice(&len.to_be_bytes());
            out.extend_from_slice(&text.as_bytes()[..usize::from(len)]);
        }
    };
    put("distkv-node", provenance.node);
    put("distkv-tick", &provenance.tick.to_string());
    put("distkv-tock", &provenance.tock.to_string());
    put("distkv-time", &provenance.time_ms.to_string());
    if let Some(user) = provenance.user {
        put("distkv-user", user);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbox::ALIAS_BYTES;

    const V3: Shape = Shape { v5: false, mount: 0 };
    const V5: Shape = Shape { v5: true, mount: 0 };

    fn bytes(frame: &Frame<'_>) -> Vec<u8> {
        let mut bytes = frame.head.to_vec();
        bytes.extend(frame.id.into_iter().flat_map(u16::to_be_bytes));
        bytes.extend_from_slice(frame.properties);
        bytes.extend_from_slice(frame.tail);
        bytes.extend_from_slice(frame.shared.map_or(&[], |shared| shared));
        bytes
    }

    fn outgoing<'a>(topic: &'a str, payload: &'a [u8]) -> Outgoing<'a> {
        Outgoing::new(topic, payload, QoS::ExactlyOnce)
    }

    fn plain<'b>(frames: &'b mut Frames<'_>) -> Frame<'b> {
        frames.make(V3, &Terms::default(), None, false, Alias::None)
    }

    fn with_id<'b>(frames: &'b mut Frames<'_>, shape: Shape, qos: QoS, dup: bool) -> Frame<'b> {
        frames.make(shape, &Terms::plain(qos), PacketId::new(0x0102), dup, Alias::None)
    }

    #[test]
    fn each_qos_has_its_own_first_byte_and_identifier() {
        let message = outgoing("a/b", b"hi");
        let mut frames = Frames::new(&message, Box::default());
        assert_eq!(bytes(&plain(&mut frames)), b"\x30\x07\0\x03a/bhi");
        let first = with_id(&mut frames, V3, QoS::AtLeastOnce, false);
        assert_eq!(bytes(&first), b"\x32\x09\0\x03a/b\x01\x02hi");
        let again = with_id(&mut frames, V3, QoS::ExactlyOnce, true);
        assert_eq!(bytes(&again), b"\x3c\x09\0\x03a/b\x01\x02hi");
        let second = with_id(&mut frames, V3, QoS::ExactlyOnce, false);
        assert_eq!(bytes(&second), b"\x34\x09\0\x03a/b\x01\x02hi");
    }

    #[test]
    fn mqtt_5_has_properties_behind_the_identifier_and_mqtt_3_has_none() {
        let expiry = Some(Expiry { seconds: 7, at_ms: 0 });
        let message = Outgoing { properties: b"\x01\x01", expiry, ..outgoing("t", b"x") };
        let mut frames = Frames::new(&message, Box::default());
        let v5 = with_id(&mut frames, V5, QoS::AtLeastOnce, false);
        assert_eq!(bytes(&v5), b"\x32\x0e\0\x01t\x01\x02\x07\x02\0\0\0\x07\x01\x01x");
        assert_eq!(bytes(&plain(&mut frames)), b"\x30\x04\0\x01tx");
        assert_eq!(frames.len_for(V5, &Terms::plain(QoS::AtLeastOnce), true), 16);
    }

    #[test]
    fn what_a_subscriber_has_of_its_own_is_in_its_frame_alone() {
        let message = outgoing("t", b"x");
        let mut frames = Frames::new(&message, Box::default());
        let special = Some(Arc::new(Special { identifiers: [0x0b, 5].into(), ..Special::default() }));
        let terms = Terms { retain: true, special, ..Terms::default() };
        let first = bytes(&frames.make(V5, &terms, None, false, Alias::New(2)));
        assert_eq!(first, b"\x31\x0a\0\x01t\x05\x0b\x05\x23\0\x02x");
        let known = bytes(&frames.make(V5, &terms, None, false, Alias::Known(2)));
        assert_eq!(known, b"\x31\x09\0\0\x05\x0b\x05\x23\0\x02x");
        let others = bytes(&frames.make(V5, &Terms::default(), None, false, Alias::None));
        assert_eq!(others, b"\x30\x05\0\x01t\0x");
        // A client of MQTT 3 that has taken the session up knows no identifiers.
        assert_eq!(bytes(&frames.make(V3, &terms, None, false, Alias::None)), b"\x31\x04\0\x01tx");
    }

    #[test]
    fn an_alias_makes_a_frame_longer_by_no_more_than_its_client_is_asked_to_take() {
        let user =
            [&[0x26, 0, 1, b'n', 0, 60][..], &[b'v'; 60], &[0x26, 0, 1, b'n', 0, 54], &[b'v'; 54]].concat();
        let mut most = 0;
        for properties in [&user[..], &user[..user.len() - 60], &[]] {
            for payload in (0..300).chain(16_200..16_400) {
                let payload = vec![0; payload];
                let message = Outgoing { properties, ..outgoing("t", &payload) };
                let mut frames = Frames::new(&message, Box::default());
                let without = frames.len_for(V5, &Terms::default(), false);
                let with = frames.make(V5, &Terms::default(), None, false, Alias::New(1));
                let with = with.head.len() + with.properties.len() + payload.len();
                most = most.max(with - without);
            }
        }
        assert_eq!(most, ALIAS_BYTES);
    }

    #[test]
    fn a_mount_point_is_cut_off_the_topic() {
        let message = outgoing("home/t", b"x");
        let mut frames = Frames::new(&message, Box::default());
        let shape = Shape { mount: 5, ..V3 };
        assert_eq!(
            bytes(&frames.make(shape, &Terms::default(), None, false, Alias::None)),
            b"\x30\x04\0\x01tx"
        );
        assert_eq!(frames.len_for(shape, &Terms::default(), false), 6);
    }

    #[test]
    fn provenance_is_told_to_who_asks_for_it() {
        let provenance = Provenance { node: "n", tick: 3, tock: 9, time_ms: 17, user: Some("ann") };
        let message = Outgoing { provenance: Some(&provenance), ..outgoing("t", b"x") };
        let mut frames = Frames::new(&message, Box::default());
        let special = Some(Arc::new(Special { provenance: true, ..Special::default() }));
        let terms = Terms { special, ..Terms::default() };
        let told = bytes(&frames.make(V5, &terms, None, false, Alias::None));
        let text = String::from_utf8_lossy(&told);
        assert!(text.contains("distkv-tick\0\u{1}3") && text.contains("distkv-user\0\u{3}ann"), "{text:?}");
        let len = frames.len_for(V5, &terms, false);
        assert_eq!(len, told.len());
        assert_eq!(bytes(&frames.make(V5, &Terms::default(), None, false, Alias::None)).len(), 7);
        let kept = frames.keep(&"t".into(), true);
        let again = Outgoing::of(&kept);
        let mut frames = Frames::new(&again, Box::default());
        assert_eq!(bytes(&frames.make(V5, &terms, None, false, Alias::None)), told);
    }

    #[test]
    fn a_large_payload_is_copied_once_and_then_shared() {
        let payload = vec![7; 20_000];
        let message = outgoing("t", &payload);
        let mut frames = Frames::new(&message, Box::default());
        let first = plain(&mut frames).shared.cloned().unwrap();
        let plain = bytes(&plain(&mut frames));
        assert_eq!(plain[..7], [0x30, 0xa3, 0x9c, 0x01, 0, 1, b't']);
        assert_eq!(plain.len(), 4 + 3 + 20_000);
        assert_eq!(frames.keep(&"t".into(), false).payload.as_ptr(), first.as_ptr());
    }

    #[test]
    fn a_plain_frame_leaves_as_it_came_to_clients_of_the_same_version() {
        let frame = *b"\x30\x05\0\x01txy";
        let carried = Some(Carried { bytes: &frame, v5: false });
        let message = Outgoing { frame: carried, ..outgoing("t", &frame[5..]) };
        let mut frames = Frames::new(&message, Box::default());
        assert_eq!(plain(&mut frames).head.as_ptr(), frame.as_ptr());
        let v5 = frames.make(V5, &Terms::default(), None, false, Alias::None);
        assert_eq!(bytes(&v5), b"\x30\x06\0\x01t\0xy");
    }

    #[test]
    fn what_is_left_of_an_expiry_is_rounded_up() {
        assert_eq!(Expiry::at(5_000, 3_999).seconds, 2);
        assert_eq!(Expiry::at(5_000, 5_000).seconds, 1);
        assert_eq!(Expiry::after(3, 1_000).at_ms, 4_000);
    }
}
