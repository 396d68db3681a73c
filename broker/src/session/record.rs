//! The records in which sessions, wills and delayed messages are kept, and the [`Log`] they are appended to.
//!
//! A record is one byte, its *kind*, and fields: numbers as LEB128 varints, texts and payloads as length and bytes, flags as one
//! byte. A kind never changes its layout; a new layout is a new kind. Records tell changes, in the order in which they
//! happened to a session:
//!
//! | kind | fields | meaning |
//! |---|---|---|
//! | 1 reset | | a broker begins to write: numbers of bodies begin anew; a `full` without `whole` does not count |
//! | 2 body | mid, origin sid or 0, packet id or 0, message | a message that several sessions are about to get |
//! | 3 body end | mid | no further session gets it |
//! | 4 start | sid, head | a new session; replaces one of the same number |
//! | 5 full | sid, head | a whole session follows; it counts once its `whole` is there, and then replaces what was before |
//! | 6 whole | sid | the end of what follows a `full` |
//! | 7 end | sid | the session is over |
//! | 8 present | sid, user, version | a client took its session up |
//! | 9 away | sid, time | its connection ended |
//! | 10 subscribe | sid, filter, qos, options, replay | added or replaced; a replay is owed if the flag is set |
//! | 11 unsubscribe | sid, filter | removed, with its replay |
//! | 12 replay done | sid, filter | its replay is not owed any more |
//! | 13 enqueue | sid, mid, qos, packet id or 0 | the message of that body is under way (with its id) or in the queue (0) |
//! | 14 enqueue inline | sid, qos, packet id or 0, message | the same with the message itself |
//! | 15 sent | sid, packet id | the first of the queue is under way |
//! | 16 dropped | sid | the first of the queue is dropped |
//! | 17 acked | sid, packet id | the flow has ended |
//! | 18 received | sid, packet id | PUBREC came |
//! | 19 releasing | sid, packet id | a flow that waits for PUBCOMP (only after a `full`) |
//! | 20 incoming | sid, packet id | a QoS 2 message of the client is in the broker's hands |
//! | 21 released | sid, packet id | its PUBREL came |
//! | 22 will | number, client id, user, will | a will is armed |
//! | 23 will gone | number | it is published or discarded |
//! | 24 unfinished | sid, packet id, count, sids | a QoS 2 message of the client that so far only these sessions got (only after a `full`) |
//! | 25 expiry | sid, seconds + 1 or 0 | how long the session outlives its connection; 0, and before the first: as long as the broker keeps any |
//! | 26 subscribe identified | sid, filter, qos, options, replay, identifier | as 10, for a subscription with an identifier |
//! | 27 body with extras | mid, origin sid or 0, packet id or 0, message, extras | as 2 |
//! | 28 enqueue on terms | sid, mid, terms, packet id or 0 | as 13 |
//! | 29 enqueue inline on terms | sid, terms, packet id or 0, message, extras | as 14 |
//! | 30 will with extras | number, client id, user, will, extras, delay, expiry + 1 or 0, due + 1 or 0 | as 22 |
//! | 31 will due | number, time | its connection has ended: it is published at that time |
//! | 32 delayed | number, client id, user, time in ms, message, properties, expiry + 1 or 0, count, sids, origin sid or 0, packet id or 0 | a message waits to be published at that time; these sessions have it already |
//! | 33 delayed gone | number | it is published, discarded or cancelled |
//!
//! Kinds 26 to 30 are written only where MQTT 5 needs them.

pub(super) mod decode;

use super::{PacketId, ProtocolVersion, RecordedDelayed, RecordedWill, Subscription};
use crate::message::{Message, Terms};

/// Where a session appends its records. The caller implements it over its journal, usually as a small value that lives as long as one
/// PUBLISH or one packet of the client.
pub trait Log {
    /// An empty buffer for one record. What is written there counts when [`Log::append`] is called.
    fn buffer(&mut self) -> &mut Vec<u8>;

    /// Appends the record in the buffer and empties the buffer.
    fn append(&mut self);

    /// The number of the log's generation: it grows when a new segment has begun to which all sessions are then written again, so that
    /// older segments can go. It must be read before what follows it is appended.
    fn generation(&self) -> u64;

    /// The number under which the body of `message` was appended when the log's generation was already `generation` or later; if it was
    /// not, the log appends it ([`body`]) now. After the last session got the message, the caller appends [`body_end`].
    ///
    /// `None` puts the message itself into the session's record. That is best when it goes to one session only, and wrong if it
    /// came by QoS 2 from a persistent session: such a message needs a body with its [`Origin`].
    fn body(&mut self, message: &Message, generation: u64) -> Option<u64>;
}

/// A log that keeps nothing, for brokers without persistence.
#[derive(Debug, Default)]
pub struct NoLog(Vec<u8>);

impl Log for NoLog {
    fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }

    fn append(&mut self) {
        self.0.clear();
    }

    fn generation(&self) -> u64 {
        0
    }

    fn body(&mut self, _: &Message, _: u64) -> Option<u64> {
        Some(0)
    }
}

const RESET: u8 = 1;
const BODY: u8 = 2;
const BODY_END: u8 = 3;
const START: u8 = 4;
const FULL: u8 = 5;
const WHOLE: u8 = 6;
const END: u8 = 7;
const PRESENT: u8 = 8;
const AWAY: u8 = 9;
const SUBSCRIBE: u8 = 10;
const UNSUBSCRIBE: u8 = 11;
const REPLAY_DONE: u8 = 12;
const ENQUEUE: u8 = 13;
const ENQUEUE_INLINE: u8 = 14;
const SENT: u8 = 15;
const DROPPED: u8 = 16;
const ACKED: u8 = 17;
const RECEIVED: u8 = 18;
const RELEASING: u8 = 19;
const INCOMING: u8 = 20;
const RELEASED: u8 = 21;
const WILL: u8 = 22;
const WILL_GONE: u8 = 23;
const UNFINISHED: u8 = 24;
const EXPIRY: u8 = 25;
const SUBSCRIBE_IDENTIFIED: u8 = 26;
const BODY_EXTRAS: u8 = 27;
const ENQUEUE_TERMS: u8 = 28;
const ENQUEUE_INLINE_TERMS: u8 = 29;
const WILL_EXTRAS: u8 = 30;
const WILL_DUE: u8 = 31;
const DELAYED: u8 = 32;
const DELAYED_GONE: u8 = 33;

/// Flags of a message; its QoS stands in the two bits below.
const FLAG_RETAIN: u8 = 4;
/// Flags of terms.
const TERMS_RETAIN: u8 = 1;
const TERMS_PROVENANCE: u8 = 2;

/// Where a QoS 2 message came from: a persistent session and its packet identifier.
///
/// It closes a gap: after a crash amid the routing of such a message, its client sends it again, and those sessions that
/// got it before must not get it twice. The records between its body and its `incoming` tell which these are. (So the log may
/// not throw the older records away while such a message is being routed. That takes microseconds, and a log throws away only what
/// it has written again.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    /// The number of the publisher's session.
    pub sid: u64,
    /// The packet identifier of the PUBLISH.
    pub packet_id: PacketId,
}

/// Encodes the first record of a broker that begins to write to a log. It must not be left out: it parts what the crash cut off from
/// what follows.
pub fn reset(out: &mut Vec<u8>) {
    out.push(RESET);
}

/// Encodes the body of a message that several sessions are about to get. `mid` is not in use in this log since the last
/// [`reset`].
pub fn body(out: &mut Vec<u8>, mid: u64, origin: Option<Origin>, message: &Message) {
    out.push(if message.extras.is_some() { BODY_EXTRAS } else { BODY });
    put_number(out, mid);
    put_origin(out, origin);
    put_message(out, message, false);
    put_extras(out, message);
}

/// Encodes that no further session gets the message of that number.
pub fn body_end(out: &mut Vec<u8>, mid: u64) {
    out.push(BODY_END);
    put_number(out, mid);
}

/// Encodes a will. [`super::Session`] does so for that of its connection; the caller for those that wait, after the log began a
/// new generation.
pub fn will(out: &mut Vec<u8>, recorded: &RecordedWill) {
    let will = &recorded.will;
    let extras = !will.properties.is_empty()
        || will.message_expiry.is_some()
        || will.delay > 0
        || recorded.due.is_some();
    out.push(if extras { WILL_EXTRAS } else { WILL });
    put_number(out, recorded.number);
    put_text(out, &recorded.client_id);
    put_optional(out, recorded.user.as_deref());
    out.push(will.qos.as_u8() | if will.retain { FLAG_RETAIN } else { 0 });
    put_text(out, &will.topic);
    put_bytes(out, &will.payload);
    if extras {
        put_bytes(out, &will.properties);
        put_number(out, will.delay.into());
        put_number(out, will.message_expiry.map_or(0, |seconds| u64::from(seconds) + 1));
        put_number(out, recorded.due.map_or(0, |due| due.saturating_add(1)));
    }
}

/// Encodes that the connection of a will has ended and when the will is to be published.
pub fn will_due(out: &mut Vec<u8>, number: u64, due: u64) {
    out.push(WILL_DUE);
    put_number(out, number);
    put_number(out, due);
}

/// Encodes that a will is published or discarded.
pub fn will_gone(out: &mut Vec<u8>, number: u64) {
    out.push(WILL_GONE);
    put_number(out, number);
}

/// Encodes a message that waits to be published. `origin`: it has just come by QoS 2 from there, and whether that is in the
/// broker's hands is not recorded yet.
pub fn delayed(out: &mut Vec<u8>, delayed: &RecordedDelayed, origin: Option<Origin>) {
    out.push(DELAYED);
    put_number(out, delayed.number);
    put_text(out, &delayed.client_id);
    put_optional(out, delayed.user.as_deref());
    put_number(out, delayed.due_ms);
    out.push(delayed.qos.as_u8() | if delayed.retain { FLAG_RETAIN } else { 0 });
    put_text(out, &delayed.topic);
    put_bytes(out, &delayed.payload);
    put_bytes(out, &delayed.properties);
    put_number(out, delayed.message_expiry.map_or(0, |seconds| u64::from(seconds) + 1));
    put_number(out, delayed.served.len() as u64);
    for sid in &*delayed.served {
        put_number(out, *sid);
    }
    put_origin(out, origin);
}

/// Encodes that a message waits no more.
pub fn delayed_gone(out: &mut Vec<u8>, number: u64) {
    out.push(DELAYED_GONE);
    put_number(out, number);
}

/// What a session is called and whose it is.
#[derive(Debug)]
pub(super) struct Head<'a> {
    pub(super) sid: u64,
    pub(super) client_id: &'a str,
    pub(super) user: Option<&'a str>,
    pub(super) version: ProtocolVersion,
    pub(super) created: u64,
    pub(super) away_since: Option<u64>,
}

pub(super) fn start(log: &mut dyn Log, head: &Head<'_>, full: bool) {
    let out = log.buffer();
    out.push(if full { FULL } else { START });
    put_number(out, head.sid);
    put_text(out, head.client_id);
    put_optional(out, head.user);
    out.push(head.version.level());
    put_number(out, head.created);
    match head.away_since {
        Some(time) => {
            out.push(1);
            put_number(out, time);
        }
        None => out.push(0),
    }
    log.append();
}

pub(super) fn whole(log: &mut dyn Log, sid: u64) {
    put(log, WHOLE, &[sid]);
}

pub(super) fn end(log: &mut dyn Log, sid: u64) {
    put(log, END, &[sid]);
}

pub(super) fn present(log: &mut dyn Log, sid: u64, user: Option<&str>, version: ProtocolVersion) {
    let out = log.buffer();
    out.push(PRESENT);
    put_number(out, sid);
    put_optional(out, user);
    out.push(version.level());
    log.append();
}

pub(super) fn away(log: &mut dyn Log, sid: u64, now: u64) {
    put(log, AWAY, &[sid, now]);
}

pub(super) fn subscribe(log: &mut dyn Log, sid: u64, filter: &str, subscription: Subscription, replay: bool) {
    let out = log.buffer();
    out.push(if subscription.identifier.is_some() { SUBSCRIBE_IDENTIFIED } else { SUBSCRIBE });
    put_number(out, sid);
    put_text(out, filter);
    out.push(subscription.qos.as_u8());
    out.push(subscription.options());
    out.push(replay.into());
    if let Some(identifier) = subscription.identifier {
        put_number(out, identifier.get().into());
    }
    log.append();
}

pub(super) fn unsubscribe(log: &mut dyn Log, sid: u64, filter: &str) {
    put_filter(log, UNSUBSCRIBE, sid, filter);
}

pub(super) fn replay_done(log: &mut dyn Log, sid: u64, filter: &str) {
    put_filter(log, REPLAY_DONE, sid, filter);
}

/// How long the session outlives its connection, in seconds.
pub(super) fn expiry(log: &mut dyn Log, sid: u64, expiry: Option<u32>) {
    put(log, EXPIRY, &[sid, expiry.map_or(0, |seconds| u64::from(seconds) + 1)]);
}

pub(super) fn enqueue(log: &mut dyn Log, sid: u64, mid: u64, terms: &Terms, id: Option<PacketId>) {
    let id = id.map_or(0, PacketId::get).into();
    if terms.is_plain() && !terms.retain {
        return put(log, ENQUEUE, &[sid, mid, terms.qos.as_u8().into(), id]);
    }
    let out = log.buffer();
    out.push(ENQUEUE_TERMS);
    put_number(out, sid);
    put_number(out, mid);
    put_terms(out, terms);
    put_number(out, id);
    log.append();
}

pub(super) fn enqueue_inline(
    log: &mut dyn Log,
    sid: u64,
    message: &Message,
    terms: &Terms,
    id: Option<PacketId>,
) {
    let id = id.map_or(0, PacketId::get).into();
    let plain = terms.is_plain() && message.extras.is_none();
    let out = log.buffer();
    out.push(if plain { ENQUEUE_INLINE } else { ENQUEUE_INLINE_TERMS });
    put_number(out, sid);
    if plain {
        out.push(terms.qos.as_u8());
    } else {
        put_terms(out, terms);
    }
    put_number(out, id);
    put_message(out, message, terms.retain);
    if !plain {
        put_some_extras(out, message);
    }
    log.append();
}

pub(super) fn sent(log: &mut dyn Log, sid: u64, id: PacketId) {
    put(log, SENT, &[sid, id.get().into()]);
}

pub(super) fn dropped(log: &mut dyn Log, sid: u64) {
    put(log, DROPPED, &[sid]);
}

pub(super) fn acked(log: &mut dyn Log, sid: u64, id: PacketId) {
    put(log, ACKED, &[sid, id.get().into()]);
}

pub(super) fn received(log: &mut dyn Log, sid: u64, id: PacketId) {
    put(log, RECEIVED, &[sid, id.get().into()]);
}

pub(super) fn releasing(log: &mut dyn Log, sid: u64, id: PacketId) {
    put(log, RELEASING, &[sid, id.get().into()]);
}

pub(super) fn incoming(log: &mut dyn Log, sid: u64, id: PacketId) {
    put(log, INCOMING, &[sid, id.get().into()]);
}

pub(super) fn released(log: &mut dyn Log, sid: u64, id: PacketId) {
    put(log, RELEASED, &[sid, id.get().into()]);
}

pub(super) fn unfinished(log: &mut dyn Log, sid: u64, id: PacketId, sids: &[u64]) {
    let out = log.buffer();
    out.push(UNFINISHED);
    put_number(out, sid);
    put_number(out, id.get().into());
    put_number(out, sids.len() as u64);
    for sid in sids {
        put_number(out, *sid);
    }
    log.append();
}

fn put(log: &mut dyn Log, kind: u8, numbers: &[u64]) {
    let out = log.buffer();
    out.push(kind);
    for number in numbers {
        put_number(out, *number);
    }
    log.append();
}

fn put_filter(log: &mut dyn Log, kind: u8, sid: u64, filter: &str) {
    let out = log.buffer();
    out.push(kind);
    put_number(out, sid);
    put_text(out, filter);
    log.append();
}

fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn put_origin(out: &mut Vec<u8>, origin: Option<Origin>) {
    put_number(out, origin.map_or(0, |origin| origin.sid));
    put_number(out, origin.map_or(0, |origin| origin.packet_id.get().into()));
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_bytes(out, text.as_bytes());
}

fn put_optional(out: &mut Vec<u8>, text: Option<&str>) {
    out.push(text.is_some().into());
    if let Some(text) = text {
        put_text(out, text);
    }
}

fn put_message(out: &mut Vec<u8>, message: &Message, retain: bool) {
    out.push(message.qos.as_u8() | if retain { FLAG_RETAIN } else { 0 });
    put_text(out, &message.topic);
    put_bytes(out, &message.payload);
}

fn put_extras(out: &mut Vec<u8>, message: &Message) {
    if message.extras.is_some() {
        put_some_extras(out, message);
    }
}

/// Extras where the kind says that there are some, even if there is nothing in them.
fn put_some_extras(out: &mut Vec<u8>, message: &Message) {
    let extras = message.extras.as_deref();
    put_bytes(out, extras.map_or(&[], |extras| &extras.properties));
    put_number(out, message.expires_at().map_or(0, |end| end.saturating_add(1)));
    put_bytes(out, extras.map_or(&[], |extras| &extras.provenance));
}

fn put_terms(out: &mut Vec<u8>, terms: &Terms) {
    let special = terms.special.as_deref();
    let provenance = special.is_some_and(|special| special.provenance);
    out.push(terms.qos.as_u8());
    out.push(if terms.retain { TERMS_RETAIN } else { 0 } | if provenance { TERMS_PROVENANCE } else { 0 });
    put_bytes(out, special.map_or(&[], |special| &special.identifiers));
    put_optional(out, special.and_then(|special| special.share.as_deref()));
}
