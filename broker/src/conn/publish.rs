//! PUBLISH from the client: from the packet to the router, and the acknowledgement with what became of it.

use std::mem;
use std::num::NonZeroU16;

use bytes::Bytes;

use super::Connection;
use super::end::End;
use super::requests;
use crate::codec::{Delivery, PacketType, ProtocolVersion, Publish, ReasonCode};
use crate::delayed::{self, Delay};
use crate::hooks::{Condition, Mark, Version};
use crate::message::QoS;
use crate::metrics::Dropped;
use crate::router::{Accepted, Carried, Expiry, Outgoing, Routing, accept, accept_if, why_dropped};
use crate::session::{Incoming, Origin, PacketId};
use crate::transport::Transport;
use crate::{clock, topic};

/// What became of a PUBLISH, for its acknowledgement.
struct Outcome {
    mark: Mark,
    reason: ReasonCode,
    /// The version of the entry, where the client has asked for it: `NODE:TICK`, or `new` where there is none.
    version: Option<String>,
}

/// What a PUBLISH asks for beyond being published.
#[derive(Clone, Copy)]
struct Wishes<'a> {
    condition: Result<Option<Condition<'a>>, &'static str>,
    delay: Delay,
}

impl Outcome {
    fn of(reason: ReasonCode) -> Self {
        Self { mark: Mark::default(), reason, version: None }
    }
}

impl<T: Transport> Connection<T> {
    pub(super) fn publish(
        &mut self,
        publish: &Publish<'_>,
        frame: &[u8],
        owner: Option<&Bytes>,
        routing: &mut Routing,
    ) -> Result<(), End> {
        routing.tally.publish_received += 1;
        routing.tally.publish_bytes_received += publish.payload.len() as u64;
        if publish.properties.topic_alias.is_none() {
            return self.publish_to(publish.topic, publish, frame, owner, routing);
        }
        self.note_alias(publish)?;
        // Taken out while the topic is borrowed from it.
        let aliases = mem::take(&mut self.aliases);
        let published = match aliases.topic_of(publish) {
            Some(topic) => self.publish_to(topic, publish, frame, owner, routing),
            None => Err(bad_alias(publish)),
        };
        self.aliases = aliases;
        published
    }

    /// Publishes, now that the topic is known.
    #[inline(always)]
    fn publish_to(
        &mut self,
        topic: &str,
        publish: &Publish<'_>,
        frame: &[u8],
        owner: Option<&Bytes>,
        routing: &mut Routing,
    ) -> Result<(), End> {
        if !self.is_plain(topic, publish) {
            return self.publish_special(topic, publish, frame, owner, routing);
        }
        let shared = owner.map(|owner| owner.slice_ref(publish.payload));
        let message = self.outgoing(topic, publish, frame, shared.as_ref());
        match publish.delivery {
            // There is nobody to tell what became of it.
            Delivery::AtMostOnce => match accept(&self.core, &*self.principal, &message, routing) {
                Accepted::Routed(routed) => {
                    self.unkept = self.unkept.max(routed.mark);
                    routing.unanswered = routing.unanswered.max(routed.mark);
                    Ok(())
                }
                other => self.outcome(&message, other, None).map(drop),
            },
            Delivery::AtLeastOnce { id, .. } => {
                self.count_unanswered(QoS::AtLeastOnce)?;
                match accept(&self.core, &*self.principal, &message, routing) {
                    Accepted::Routed(routed) => {
                        self.unkept = self.unkept.max(routed.mark);
                        self.answer(PacketType::Puback, id, routed.reason(), &[], routed.mark, routing);
                    }
                    other => {
                        let outcome = self.outcome(&message, other, None)?;
                        self.answer_publish(PacketType::Puback, id, &outcome, routing);
                    }
                }
                Ok(())
            }
            Delivery::ExactlyOnce { .. } => self.acknowledge_publish(publish, &message, None, routing),
        }
    }

    /// The message as it is routed, but for its properties.
    #[inline(always)]
    fn outgoing<'a>(
        &self,
        topic: &'a str,
        publish: &Publish<'a>,
        frame: &'a [u8],
        shared: Option<&'a Bytes>,
    ) -> Outgoing<'a> {
        Outgoing {
            shared,
            retained: publish.retain,
            publisher: Some(self.client.subscriber),
            rights: self.client.rights(),
            frame: self.as_it_came(publish, frame),
            ..Outgoing::new(topic, publish.payload, publish.delivery.qos())
        }
    }

    /// Is it of the usual kind: all that the broker has to look at are topic, payload and flags?
    #[inline]
    fn is_plain(&self, topic: &str, publish: &Publish<'_>) -> bool {
        publish.properties.has_alias_at_most()
            && !topic.starts_with('$')
            && self.manner.mount.is_none()
            && self.core.hot.offers_everything()
    }

    /// A message with properties, for a topic of the broker's own, behind a mount point, or where not all is offered.
    #[inline(never)]
    fn publish_special(
        &mut self,
        topic: &str,
        publish: &Publish<'_>,
        frame: &[u8],
        owner: Option<&Bytes>,
        routing: &mut Routing,
    ) -> Result<(), End> {
        self.check_offer(publish)?;
        if !publish.properties.subscription_identifiers.is_empty() {
            let words = "PUBLISH from a client with a subscription identifier"; // MQTT5-3.3.4-6
            return Err(End::Protocol(ReasonCode::ProtocolError, words.into()));
        }
        let (delay, topic) = Delay::of(topic);
        let topic = topic::mounted(self.manner.mount.as_deref(), topic);
        let shared = owner.map(|owner| owner.slice_ref(publish.payload));
        let application = publish.properties.application;
        let mut own = Vec::new();
        let mut condition = Ok(None);
        if !application.is_empty() {
            condition = requests::condition(&application.user());
        }
        let wishes = Wishes { condition, delay };
        // Nobody's but ours go out under our names.
        let properties = match application.as_block() {
            Some([]) => &[],
            Some(block) if !application.user().iter().any(|(name, _)| requests::is_reserved(name)) => block,
            _ => {
                application.append_filtered(&mut own, |name| !requests::is_reserved(name));
                &own
            }
        };
        let expiry = publish.properties.message_expiry;
        let message = Outgoing {
            properties,
            expiry: expiry.map(|seconds| Expiry::after(seconds, clock::unix_ms())),
            ..self.outgoing(&topic, publish, frame, shared.as_ref())
        };
        self.acknowledge_publish(publish, &message, Some(&wishes), routing)
    }

    /// Routes the message and answers as its QoS demands.
    #[inline]
    fn acknowledge_publish(
        &mut self,
        publish: &Publish<'_>,
        message: &Outgoing<'_>,
        wishes: Option<&Wishes<'_>>,
        routing: &mut Routing,
    ) -> Result<(), End> {
        match publish.delivery {
            Delivery::AtMostOnce => {
                let outcome = self.route(publish, message, wishes, routing)?;
                routing.unanswered = routing.unanswered.max(outcome.mark);
            }
            Delivery::AtLeastOnce { id, .. } => {
                self.count_unanswered(QoS::AtLeastOnce)?;
                let outcome = self.route(publish, message, wishes, routing)?;
                self.answer_publish(PacketType::Puback, id, &outcome, routing);
            }
            Delivery::ExactlyOnce { id, dup } => {
                self.publish_exactly_once(id, dup, publish, message, wishes, routing)?;
            }
        }
        Ok(())
    }

    /// A QoS 2 message is routed when it comes, unless it came before [MQTT-4.3.3-2].
    fn publish_exactly_once(
        &mut self,
        id: PacketId,
        dup: bool,
        publish: &Publish<'_>,
        message: &Outgoing<'_>,
        wishes: Option<&Wishes<'_>>,
        routing: &mut Routing,
    ) -> Result<(), End> {
        let (incoming, origin) = {
            let mut locked = self.client.lock();
            let session = locked.session();
            let origin = session.is_recorded().then(|| Origin { sid: session.sid(), packet_id: id });
            (session.check_incoming(id, dup), origin)
        };
        let mut message = Outgoing { origin, ..*message };
        match &incoming {
            Incoming::New => {}
            Incoming::Unfinished(served) => message.served = served,
            Incoming::Duplicate => {
                self.answer(PacketType::Pubrec, id, ReasonCode::Success, &[], Mark::default(), routing);
                return Ok(());
            }
            Incoming::TooMany => {
                let words = "too many QoS 2 messages without PUBREL";
                return Err(End::Protocol(ReasonCode::ReceiveMaximumExceeded, words.into()));
            }
        }
        self.count_unanswered(QoS::ExactlyOnce)?;
        let mut outcome = self.route(publish, &message, wishes, routing)?;
        // A refused one is over: its identifier may be used again at once [MQTT 5: 4.3.3].
        if !outcome.reason.is_error() || self.version != ProtocolVersion::V5 {
            let mut recorder = self.core.records.recorder();
            self.client.lock().session().note_incoming(id, &mut recorder);
            outcome.mark = outcome.mark.max(recorder.mark());
        }
        self.answer_publish(PacketType::Pubrec, id, &outcome, routing);
        Ok(())
    }

    fn answer_publish(&self, packet: PacketType, id: PacketId, outcome: &Outcome, routing: &mut Routing) {
        let told = outcome.version.as_deref().map(|version| [("distkv-now", version)]);
        let told = told.as_ref().map_or(&[][..], |told| told);
        self.answer(packet, id, outcome.reason, told, outcome.mark, routing);
    }

    #[inline]
    fn route(
        &mut self,
        publish: &Publish<'_>,
        message: &Outgoing<'_>,
        wishes: Option<&Wishes<'_>>,
        routing: &mut Routing,
    ) -> Result<Outcome, End> {
        let Some(wishes) = wishes else {
            let accepted = accept(&self.core, &*self.principal, message, routing);
            return self.outcome(message, accepted, None);
        };
        match self.condition(publish, message, wishes) {
            Ok(condition) => {
                let mut version = None;
                let (core, principal) = (&self.core, &*self.principal);
                let accepted = accept_if(core, principal, message, condition, &mut version, routing);
                self.outcome(message, accepted, version)
            }
            Err(outcome) => Ok(outcome),
        }
    }

    /// Under what condition the message is published; or what became of it, if it is not published now.
    #[inline(never)]
    fn condition<'a>(
        &mut self,
        publish: &Publish<'_>,
        message: &Outgoing<'_>,
        wishes: &Wishes<'a>,
    ) -> Result<Option<Condition<'a>>, Outcome> {
        if wishes.delay != Delay::None {
            return Err(self.delay(publish, message, wishes));
        }
        // The broker's own topics are behind no mount point.
        let topic = message.topic.strip_prefix(self.manner.mount.as_deref().unwrap_or_default());
        if let Some(topic) = topic.filter(|topic| topic.starts_with(requests::OWN_TOPICS)) {
            return Err(self.requested(topic, publish.payload));
        }
        let Ok(condition) = wishes.condition else {
            return Err(self.dropped(message, Dropped::Invalid, ReasonCode::ImplementationSpecificError));
        };
        if condition.is_some() && !message.retained {
            return Err(self.dropped(message, Dropped::Invalid, ReasonCode::ImplementationSpecificError));
        }
        if self.is_payload_wrong(publish) {
            return Err(self.dropped(message, Dropped::Invalid, ReasonCode::PayloadFormatInvalid));
        }
        Ok(condition)
    }

    /// What is answered. `version` is what the entry has now, if the client has asked for it.
    #[inline]
    fn outcome(
        &mut self,
        message: &Outgoing<'_>,
        accepted: Accepted,
        version: Option<Version>,
    ) -> Result<Outcome, End> {
        match accepted {
            Accepted::Routed(routed) => {
                self.unkept = self.unkept.max(routed.mark);
                let version = version.map(|version| version.to_string());
                Ok(Outcome { mark: routed.mark, reason: routed.reason(), version })
            }
            Accepted::Dropped(reason) => {
                self.client.counts.drop(reason, 1);
                self.note(message, reason);
                Ok(Outcome::of(code_for(reason)))
            }
            Accepted::Conflict(now) => {
                let now = now.as_ref().map_or_else(|| "new".to_owned(), Version::to_string);
                Ok(Outcome { version: Some(now), ..Outcome::of(ReasonCode::ImplementationSpecificError) })
            }
            Accepted::Unavailable => Err(End::Unavailable),
        }
    }

    /// It is to be published later. Who will get it is not known yet, so the answer is plain success.
    fn delay(&mut self, publish: &Publish<'_>, message: &Outgoing<'_>, wishes: &Wishes<'_>) -> Outcome {
        let Delay::Seconds(seconds) = wishes.delay else {
            return self.dropped(message, Dropped::Invalid, ReasonCode::TopicNameInvalid);
        };
        // Nobody could be told later that a condition did not hold.
        if wishes.condition != Ok(None) {
            return self.dropped(message, Dropped::Invalid, ReasonCode::ImplementationSpecificError);
        }
        if self.is_payload_wrong(publish) {
            return self.dropped(message, Dropped::Invalid, ReasonCode::PayloadFormatInvalid);
        }
        match delayed::take(&self.core, &*self.principal, &self.client.id, seconds, message) {
            Ok(mark) => {
                self.unkept = self.unkept.max(mark);
                Outcome { mark, ..Outcome::of(ReasonCode::Success) }
            }
            Err(reason) => {
                self.client.counts.drop(reason, 1);
                self.note(message, reason);
                Outcome::of(code_for(reason))
            }
        }
    }

    /// A word to the broker itself, on a topic below `$distkv/`.
    fn requested(&mut self, topic: &str, payload: &[u8]) -> Outcome {
        let name = topic.strip_prefix(requests::REPLAY_TOPIC).filter(|name| requests::is_replay_name(name));
        match (name, std::str::from_utf8(payload)) {
            (Some(name), Ok(filters)) => {
                self.replay_again(name, filters);
                Outcome::of(ReasonCode::Success)
            }
            _ => {
                self.core.metrics.dropped(Dropped::Reserved, 1);
                Outcome::of(ReasonCode::TopicNameInvalid)
            }
        }
    }

    fn dropped(&self, message: &Outgoing<'_>, reason: Dropped, code: ReasonCode) -> Outcome {
        self.core.metrics.dropped(reason, 1);
        self.client.counts.drop(reason, 1);
        self.note(message, reason);
        Outcome::of(code)
    }

    /// Notes a message of the client that was dropped.
    fn note(&self, message: &Outgoing<'_>, reason: Dropped) {
        let why = || why_dropped(&*self.principal, message, reason);
        self.client.note_with(reason.name(), message.topic, why, &self.core);
    }

    /// What is beyond the offer ends the connection, in MQTT 5 with the reason for it [MQTT5-3.2.2-11, 3.2.2-14].
    fn check_offer(&self, publish: &Publish<'_>) -> Result<(), End> {
        if self.core.hot.offers_everything() {
            return Ok(());
        }
        let limits = self.core.limits();
        if publish.delivery.qos() > limits.offer.maximum_qos {
            return Err(End::Protocol(
                ReasonCode::QosNotSupported,
                "PUBLISH with a QoS that is not offered".into(),
            ));
        }
        if publish.retain && !limits.offer.retain {
            return Err(End::Protocol(
                ReasonCode::RetainNotSupported,
                "retained messages are not offered".into(),
            ));
        }
        Ok(())
    }

    fn is_payload_wrong(&self, publish: &Publish<'_>) -> bool {
        !self.core.hot.offers_everything()
            && self.core.limits().offer.check_payloads
            && publish.properties.application.payload_is_utf8()
            && std::str::from_utf8(publish.payload).is_err()
    }

    /// Notes the topic for which an alias stands from now on [MQTT5-3.3.2-8 to 3.3.2-12].
    fn note_alias(&mut self, publish: &Publish<'_>) -> Result<(), End> {
        match publish.properties.topic_alias {
            Some(alias) if !publish.topic.is_empty() => {
                let limit = self.core.limits().topic_aliases;
                self.aliases.set(alias, publish.topic, limit).map_err(|_| bad_alias(publish))
            }
            _ => Ok(()),
        }
    }

    /// Counts a message of QoS 1 or 2: has the client sent more than it may without an acknowledgement [MQTT5-3.3.4-7, 3.3.4-8]?
    /// One of QoS 1 counts until its PUBACK was written, one of QoS 2 until its PUBREL came.
    fn count_unanswered(&mut self, qos: QoS) -> Result<(), End> {
        let maximum = self.receive_maximum;
        if maximum == u16::MAX || self.version != ProtocolVersion::V5 {
            return Ok(());
        }
        self.unanswered += usize::from(qos == QoS::AtLeastOnce);
        let this = usize::from(qos == QoS::ExactlyOnce);
        let open = self.unanswered + self.client.lock().session().incoming() + this;
        if open <= usize::from(maximum) {
            return Ok(());
        }
        let words = format!("more than {maximum} messages without acknowledgement");
        Err(End::Protocol(ReasonCode::ReceiveMaximumExceeded, words))
    }

    /// The frame itself, if it can leave as it came: QoS 0 without RETAIN and properties, its length written as we would.
    fn as_it_came<'a>(&self, publish: &Publish<'_>, frame: &'a [u8]) -> Option<Carried<'a>> {
        if publish.retain || publish.delivery.qos() > QoS::AtMostOnce || self.manner.mount.is_some() {
            return None;
        }
        let v5 = self.version == ProtocolVersion::V5;
        // Without properties there is one byte that says so.
        let remaining = 2 + publish.topic.len() + usize::from(v5) + publish.payload.len();
        (frame.len() == remaining + header_len(remaining)).then_some(Carried { bytes: frame, v5 })
    }
}

fn bad_alias(publish: &Publish<'_>) -> End {
    let alias = publish.properties.topic_alias.map_or(0, NonZeroU16::get);
    let words = format!("topic alias {alias} is beyond the limit, or stands for no topic");
    End::Protocol(ReasonCode::TopicAliasInvalid, words)
}

/// What a dropped message is answered with.
fn code_for(reason: Dropped) -> ReasonCode {
    match reason {
        Dropped::PublishDenied | Dropped::Reserved => ReasonCode::NotAuthorized,
        Dropped::BadPayload => ReasonCode::PayloadFormatInvalid,
        Dropped::Quota | Dropped::DelayedFull => ReasonCode::QuotaExceeded,
        Dropped::TopicTooLong => ReasonCode::TopicNameInvalid,
        _ => ReasonCode::ImplementationSpecificError,
    }
}

/// Bytes of the fixed header before so many others.
fn header_len(remaining: usize) -> usize {
    match remaining {
        0..0x80 => 2,
        0x80..0x4000 => 3,
        0x4000..0x20_0000 => 4,
        _ => 5,
    }
}
