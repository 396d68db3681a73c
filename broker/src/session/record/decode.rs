//! Bytes -> records. Nothing is trusted: what does not fit is an error, never a panic, and nothing is allocated that is not in
//! the bytes.

use std::sync::Arc;

use bytes::Bytes;
use std::num::NonZeroU32;

use crate::codec::ApplicationProperties;

use super::super::{
    PacketId, ProtocolVersion, RecordedDelayed, RecordedWill, RecoveryError, Subscription, Will,
};
use super::{
    ACKED, AWAY, BODY, BODY_END, BODY_EXTRAS, DELAYED, DELAYED_GONE, DROPPED, END, ENQUEUE, ENQUEUE_INLINE,
    ENQUEUE_INLINE_TERMS, ENQUEUE_TERMS, EXPIRY, FLAG_RETAIN, FULL, Head, INCOMING, Origin, PRESENT,
    RECEIVED, RELEASED, RELEASING, REPLAY_DONE, RESET, SENT, START, SUBSCRIBE, SUBSCRIBE_IDENTIFIED,
    TERMS_PROVENANCE, TERMS_RETAIN, UNFINISHED, UNSUBSCRIBE, WHOLE, WILL, WILL_DUE, WILL_EXTRAS, WILL_GONE,
};
use crate::message::{Extras, Message, QoS, Special, Terms};

/// The property that holds a subscription identifier [MQTT 5: 3.3.2.3.8].
const SUBSCRIPTION_IDENTIFIER: u8 = 0x0b;
/// The greatest one that a packet can hold.
const IDENTIFIER_MAX: u32 = 268_435_455;

/// A record.
#[derive(Debug)]
pub(in super::super) enum Record<'a> {
    Reset,
    Body { mid: u64, origin: Option<Origin>, message: Message },
    BodyEnd { mid: u64 },
    Start { head: Head<'a>, full: bool },
    Change { sid: u64, change: Change<'a> },
    Will(RecordedWill),
    WillGone { number: u64 },
    WillDue { number: u64, due: u64 },
    Delayed { delayed: RecordedDelayed, origin: Option<Origin> },
    DelayedGone { number: u64 },
}

/// What happened to one session.
#[derive(Debug)]
pub(in super::super) enum Change<'a> {
    Whole,
    End,
    Present { user: Option<&'a str>, version: ProtocolVersion },
    Away { since: u64 },
    Expiry { seconds: Option<u32> },
    Subscribe { filter: &'a str, subscription: Subscription, replay: bool },
    Unsubscribe { filter: &'a str },
    ReplayDone { filter: &'a str },
    Enqueue { mid: u64, terms: Terms, id: Option<PacketId> },
    EnqueueInline { message: Message, terms: Terms, id: Option<PacketId> },
    Sent { id: PacketId },
    Dropped,
    Acked { id: PacketId },
    Received { id: PacketId },
    Releasing { id: PacketId },
    Incoming { id: PacketId },
    Released { id: PacketId },
    Unfinished { id: PacketId, sids: Vec<u64> },
}

/// Decodes one record.
pub(in super::super) fn decode(bytes: &[u8]) -> Result<Record<'_>, RecoveryError> {
    let mut fields = Fields { rest: bytes };
    let kind = fields.byte()?;
    let record = match kind {
        RESET => Record::Reset,
        BODY | BODY_EXTRAS => {
            let (mid, origin) = (fields.number()?, fields.origin()?);
            let (mut message, _) = fields.message()?;
            if kind == BODY_EXTRAS {
                message.extras = fields.extras()?;
            }
            Record::Body { mid, origin, message }
        }
        BODY_END => Record::BodyEnd { mid: fields.number()? },
        START | FULL => Record::Start { head: fields.head()?, full: kind == FULL },
        WILL | WILL_EXTRAS => Record::Will(fields.will(kind == WILL_EXTRAS)?),
        WILL_GONE => Record::WillGone { number: fields.number()? },
        WILL_DUE => Record::WillDue { number: fields.number()?, due: fields.number()? },
        DELAYED => Record::Delayed { delayed: fields.delayed()?, origin: fields.origin()? },
        DELAYED_GONE => Record::DelayedGone { number: fields.number()? },
        WHOLE..=RELEASED
        | UNFINISHED
        | EXPIRY
        | SUBSCRIBE_IDENTIFIED
        | ENQUEUE_TERMS
        | ENQUEUE_INLINE_TERMS => Record::Change { sid: fields.number()?, change: fields.change(kind)? },
        kind => return Err(RecoveryError::UnknownKind { kind }),
    };
    if fields.rest.is_empty() {
        Ok(record)
    } else {
        Err(RecoveryError::Damaged { what: "bytes after the end" })
    }
}

struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    fn change(&mut self, kind: u8) -> Result<Change<'a>, RecoveryError> {
        Ok(match kind {
            WHOLE => Change::Whole,
            END => Change::End,
            PRESENT => Change::Present { user: self.optional()?, version: self.version()? },
            AWAY => Change::Away { since: self.number()? },
            EXPIRY => Change::Expiry { seconds: self.number_plus_one()? },
            SUBSCRIBE | SUBSCRIBE_IDENTIFIED => {
                let filter = self.text()?;
                let (qos, options, replay) = (self.qos()?, self.byte()?, self.flag()?);
                let identifier = if kind == SUBSCRIBE_IDENTIFIED { Some(self.identifier()?) } else { None };
                let subscription = Subscription::from_options(qos, options, identifier)
                    .ok_or(RecoveryError::Damaged { what: "subscription options" })?;
                Change::Subscribe { filter, subscription, replay }
            }
            UNSUBSCRIBE => Change::Unsubscribe { filter: self.text()? },
            REPLAY_DONE => Change::ReplayDone { filter: self.text()? },
            ENQUEUE => Change::Enqueue {
                mid: self.number()?,
                terms: Terms::plain(self.acknowledged_qos()?),
                id: self.optional_id()?,
            },
            ENQUEUE_TERMS => {
                Change::Enqueue { mid: self.number()?, terms: self.terms()?, id: self.optional_id()? }
            }
            ENQUEUE_INLINE => {
                let (qos, id) = (self.acknowledged_qos()?, self.optional_id()?);
                let (message, retain) = self.message()?;
                Change::EnqueueInline { message, terms: Terms { retain, ..Terms::plain(qos) }, id }
            }
            ENQUEUE_INLINE_TERMS => {
                let (terms, id) = (self.terms()?, self.optional_id()?);
                let (mut message, _) = self.message()?;
                message.extras = self.extras()?;
                Change::EnqueueInline { message, terms, id }
            }
            SENT => Change::Sent { id: self.id()? },
            DROPPED => Change::Dropped,
            ACKED => Change::Acked { id: self.id()? },
            RECEIVED => Change::Received { id: self.id()? },
            RELEASING => Change::Releasing { id: self.id()? },
            INCOMING => Change::Incoming { id: self.id()? },
            RELEASED => Change::Released { id: self.id()? },
            UNFINISHED => Change::Unfinished { id: self.id()?, sids: self.sids()? },
            kind => return Err(RecoveryError::UnknownKind { kind }),
        })
    }

    fn head(&mut self) -> Result<Head<'a>, RecoveryError> {
        Ok(Head {
            sid: self.number()?,
            client_id: self.text()?,
            user: self.optional()?,
            version: self.version()?,
            created: self.number()?,
            away_since: if self.flag()? { Some(self.number()?) } else { None },
        })
    }

    fn will(&mut self, extras: bool) -> Result<RecordedWill, RecoveryError> {
        let number = self.number()?;
        let client_id = self.text()?.into();
        let user = self.optional()?.map(Arc::from);
        let (Message { topic, payload, qos, .. }, retain) = self.message()?;
        let mut will =
            Will { topic, payload, qos, retain, properties: Bytes::new(), message_expiry: None, delay: 0 };
        let mut due = None;
        if extras {
            will.properties = self.properties()?;
            will.delay = self.seconds()?;
            will.message_expiry = self.number_plus_one()?;
            due = self.number()?.checked_sub(1);
        }
        Ok(RecordedWill { number, client_id, user, will: Arc::new(will), due })
    }

    fn delayed(&mut self) -> Result<RecordedDelayed, RecoveryError> {
        let number = self.number()?;
        let client_id = self.text()?.into();
        let user = self.optional()?.map(Arc::from);
        let due_ms = self.number()?;
        let (Message { topic, payload, qos, .. }, retain) = self.message()?;
        Ok(RecordedDelayed {
            number,
            client_id,
            user,
            due_ms,
            topic,
            payload,
            qos,
            retain,
            properties: self.properties()?,
            message_expiry: self.number_plus_one()?,
            served: self.sids()?.into(),
        })
    }

    fn extras(&mut self) -> Result<Option<Box<Extras>>, RecoveryError> {
        let extras = Extras {
            properties: self.properties()?,
            expires_at: self.number()?.checked_sub(1),
            provenance: self.properties()?,
        };
        Ok((extras != Extras::default()).then(|| Box::new(extras)))
    }

    /// Encoded properties of a message, which are sent as they are: they must be what a client understands.
    fn properties(&mut self) -> Result<Bytes, RecoveryError> {
        let block = self.bytes()?;
        ApplicationProperties::from_block(block)
            .map_err(|_| RecoveryError::Damaged { what: "properties of a message" })?;
        Ok(Bytes::copy_from_slice(block))
    }

    fn terms(&mut self) -> Result<Terms, RecoveryError> {
        let (qos, flags) = (self.acknowledged_qos()?, self.byte()?);
        if flags & !(TERMS_RETAIN | TERMS_PROVENANCE) != 0 {
            return Err(RecoveryError::Damaged { what: "terms of a delivery" });
        }
        let identifiers = self.identifiers()?;
        let share = self.optional()?.map(Arc::from);
        let special = Special { identifiers, share, provenance: flags & TERMS_PROVENANCE != 0 };
        let special = (special != Special::default()).then(|| Arc::new(special));
        Ok(Terms { qos, retain: flags & TERMS_RETAIN != 0, special })
    }

    /// Encoded subscription identifiers, which are sent as they are: they must be what a client understands.
    fn identifiers(&mut self) -> Result<Box<[u8]>, RecoveryError> {
        let block = self.bytes()?;
        let mut rest = block;
        while let [SUBSCRIPTION_IDENTIFIER, number @ ..] = rest {
            let len = 1 + number.iter().take_while(|byte| **byte >= 0x80).count();
            match number.split_at_checked(len) {
                // Of as few bytes as there must be, and not 0.
                Some(([.., last], behind)) if *last > 0 && len <= 4 => rest = behind,
                _ => break,
            }
        }
        if rest.is_empty() {
            Ok(block.into())
        } else {
            Err(RecoveryError::Damaged { what: "subscription identifiers" })
        }
    }

    fn identifier(&mut self) -> Result<NonZeroU32, RecoveryError> {
        let number = u32::try_from(self.number()?).ok().filter(|number| *number <= IDENTIFIER_MAX);
        let number = number.and_then(NonZeroU32::new);
        number.ok_or(RecoveryError::Damaged { what: "a subscription identifier" })
    }

    fn seconds(&mut self) -> Result<u32, RecoveryError> {
        u32::try_from(self.number()?).map_err(|_| RecoveryError::Damaged { what: "a time" })
    }

    /// Seconds, or none where 0 stands.
    fn number_plus_one(&mut self) -> Result<Option<u32>, RecoveryError> {
        let seconds = self.number()?.checked_sub(1).map(u32::try_from).transpose();
        seconds.map_err(|_| RecoveryError::Damaged { what: "a time" })
    }

    fn message(&mut self) -> Result<(Message, bool), RecoveryError> {
        let flags = self.byte()?;
        let qos = QoS::from_u8(flags & 3).filter(|_| flags < 8);
        let qos = qos.ok_or(RecoveryError::Damaged { what: "flags of a message" })?;
        let topic = self.text()?;
        if topic.is_empty() {
            return Err(RecoveryError::Damaged { what: "a topic" });
        }
        let payload = Bytes::copy_from_slice(self.bytes()?);
        Ok((Message::new(topic.into(), payload, qos), flags & FLAG_RETAIN != 0))
    }

    fn origin(&mut self) -> Result<Option<Origin>, RecoveryError> {
        let (sid, packet_id) = (self.number()?, self.optional_id()?);
        Ok(packet_id.map(|packet_id| Origin { sid, packet_id }))
    }

    fn sids(&mut self) -> Result<Vec<u64>, RecoveryError> {
        let count = self.number()?;
        (0..count).map(|_| self.number()).collect()
    }

    fn acknowledged_qos(&mut self) -> Result<QoS, RecoveryError> {
        match self.qos()? {
            QoS::AtMostOnce => Err(RecoveryError::Damaged { what: "a QoS" }),
            qos => Ok(qos),
        }
    }

    fn qos(&mut self) -> Result<QoS, RecoveryError> {
        QoS::from_u8(self.byte()?).ok_or(RecoveryError::Damaged { what: "a QoS" })
    }

    fn version(&mut self) -> Result<ProtocolVersion, RecoveryError> {
        match self.byte()? {
            3 => Ok(ProtocolVersion::V3_1),
            4 => Ok(ProtocolVersion::V3_1_1),
            5 => Ok(ProtocolVersion::V5),
            _ => Err(RecoveryError::Damaged { what: "a protocol version" }),
        }
    }

    fn id(&mut self) -> Result<PacketId, RecoveryError> {
        self.optional_id()?.ok_or(RecoveryError::Damaged { what: "a packet identifier" })
    }

    fn optional_id(&mut self) -> Result<Option<PacketId>, RecoveryError> {
        let number = u16::try_from(self.number()?);
        number.map(PacketId::new).map_err(|_| RecoveryError::Damaged { what: "a packet identifier" })
    }

    fn optional(&mut self) -> Result<Option<&'a str>, RecoveryError> {
        if self.flag()? { self.text().map(Some) } else { Ok(None) }
    }

    fn text(&mut self) -> Result<&'a str, RecoveryError> {
        std::str::from_utf8(self.bytes()?).map_err(|_| RecoveryError::Damaged { what: "a text" })
    }

    fn bytes(&mut self) -> Result<&'a [u8], RecoveryError> {
        let len = usize::try_from(self.number()?).map_err(|_| RecoveryError::Short)?;
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or(RecoveryError::Short)?;
        self.rest = rest;
        Ok(bytes)
    }

    fn flag(&mut self) -> Result<bool, RecoveryError> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(RecoveryError::Damaged { what: "a flag" }),
        }
    }

    fn number(&mut self) -> Result<u64, RecoveryError> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(RecoveryError::Damaged { what: "a number" })
    }

    fn byte(&mut self) -> Result<u8, RecoveryError> {
        let (byte, rest) = self.rest.split_first().ok_or(RecoveryError::Short)?;
        self.rest = rest;
        Ok(*byte)
    }
}
