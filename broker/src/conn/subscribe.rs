//! SUBSCRIBE and UNSUBSCRIBE: into the session and the tree first, then the answer, then (in slices, later) what is retained.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Connection;
use super::end::End;
use super::replays::Marker;
use super::requests::{self, Asked};
use crate::clock;
use crate::codec::{self, ReasonCode, RetainHandling, Subscribe, Unsubscribe, UserProperties};
use crate::hooks::{Action, Mark};
use crate::limits::Offer;
use crate::message::QoS;
use crate::records::Recorder;
use crate::router::Routing;
use crate::session::{ReplayId, Subscription};
use crate::topic;
use crate::transport::Transport;

/// Filters of one SUBSCRIBE that are looked at whatever the limit of subscriptions is; and filters whose replay is asked for in one
/// PUBLISH, of which further ones are left out.
const FILTERS_AT_ONCE: usize = 1024;

/// What a refused subscription is called in the journal of drops.
const SUBSCRIBE_DENIED: &str = "subscribe_denied";

/// What a whole SUBSCRIBE says about each of its filters.
#[derive(Clone, Copy)]
struct Common<'a> {
    identifier: Option<std::num::NonZeroU32>,
    asked: Asked<'a>,
}

/// What became of one subscription.
struct Granted {
    qos: QoS,
    /// The replay that is owed for it.
    owed: Option<ReplayId>,
    /// The one of the same filter that was owed before, and is no longer.
    superseded: Option<ReplayId>,
}

impl<T: Transport> Connection<T> {
    pub(super) fn subscribe(&mut self, subscribe: &Subscribe<'_>, routing: &mut Routing) -> Result<(), End> {
        let mut recorder = self.core.records.recorder_with(routing.take_record());
        let common = Common { identifier: subscribe.identifier, asked: requests::asked(&subscribe.user) };
        let mut codes = Vec::new();
        let mut marker = common.asked.replay.map(Marker::new);
        // However often a packet repeats its filters: it takes no longer than one of as many as a client may have.
        let most = self.core.limits().subscriptions.max(FILTERS_AT_ONCE);
        for (number, wanted) in subscribe.subscriptions().enumerate() {
            let result = match number < most {
                true => self.subscribe_one(&wanted, common, &mut recorder),
                false => Err(ReasonCode::QuotaExceeded),
            };
            codes.push(match result {
                Ok(Granted { qos, owed: replay, superseded }) => {
                    if let Some(marker) = &mut marker {
                        marker.names(wanted.filter);
                    }
                    self.replays.owe(superseded, replay, marker.as_mut());
                    ReasonCode::granted(qos)
                }
                Err(code) => code,
            });
        }
        let (buffer, mark) = recorder.finish();
        routing.give_record(buffer);
        let mut suback = Vec::new();
        let (id, user) = (subscribe.packet_id, UserProperties::default());
        // It is shorter than the SUBSCRIBE that it answers.
        if codec::suback(&mut suback, id, codes.into_iter(), None, user, self.version).is_ok() {
            self.answer_whole(&suback, mark, routing)?;
        }
        if let Some(marker) = marker {
            self.replays.mark(marker, &self.core);
        }
        self.replays.subscribed(clock::now());
        Ok(())
    }

    /// Adds one subscription, or answers why it is refused.
    fn subscribe_one(
        &self,
        wanted: &codec::Subscription<'_>,
        common: Common<'_>,
        recorder: &mut Recorder<'_>,
    ) -> Result<Granted, ReasonCode> {
        let core = &self.core;
        let filter: Arc<str> = topic::mounted(self.manner.mount.as_deref(), wanted.filter).into();
        let offer = &core.limits().offer;
        let result = self.may_subscribe(wanted.filter, &filter, common, offer).and_then(|shared| {
            let subscription = Subscription {
                qos: wanted.qos.min(offer.maximum_qos),
                no_local: wanted.no_local || self.manner.bridge,
                retain_as_published: wanted.retain_as_published || self.manner.bridge,
                provenance: common.asked.provenance,
                identifier: common.identifier,
            };
            let mut locked = self.client.lock();
            let session = locked.session();
            let replay = !shared
                && match wanted.retain_handling {
                    RetainHandling::SendAlways => true,
                    RetainHandling::SendIfNew => session.subscription(&filter).is_none(),
                    RetainHandling::DontSend => false,
                };
            let before = session.owed_for(&filter);
            let owed = session.subscribe(&filter, subscription, replay, recorder);
            let owed = owed.map_err(|_| ReasonCode::QuotaExceeded)?;
            let granted = Granted { qos: subscription.qos, owed, superseded: before.filter(|_| replay) };
            Ok((subscription, granted))
        });
        match result {
            Ok((subscription, granted)) => {
                if core.router.subscribe(&self.client, &filter, &subscription) {
                    core.metrics.subscriptions.add(1);
                }
                Ok(granted)
            }
            Err(code) => {
                core.metrics.subscriptions_refused.add(1);
                let (client, rights) = (&*self.client.id, self.principal.rights());
                tracing::info!(client, filter = &*filter, "subscription refused: {code}");
                let why = || match rights {
                    Some(rights) if code == ReasonCode::NotAuthorized => {
                        rights.why(Action::Subscribe, &filter)
                    }
                    _ => code.to_string(),
                };
                self.client.note_with(SUBSCRIBE_DENIED, &filter, why, core);
                Err(code)
            }
        }
    }

    /// May the client have this subscription? Answers whether it is a shared one.
    fn may_subscribe(
        &self,
        wanted: &str,
        filter: &str,
        common: Common<'_>,
        offer: &Offer,
    ) -> Result<bool, ReasonCode> {
        // In MQTT 3 a filter that only looks like a shared one is one of its own; nothing is published there.
        let share = topic::share(filter).unwrap_or_default();
        let inner = share.map_or(filter, |share| share.filter);
        if self.core.hot.is_too_long(inner) {
            return Err(ReasonCode::TopicFilterInvalid);
        }
        if share.is_some() && !offer.shared {
            return Err(ReasonCode::SharedSubscriptionsNotSupported);
        }
        if !offer.wildcards && wanted.contains(['+', '#']) {
            return Err(ReasonCode::WildcardSubscriptionsNotSupported);
        }
        if !offer.identifiers && common.identifier.is_some() {
            return Err(ReasonCode::SubscriptionIdentifiersNotSupported);
        }
        if self.principal.rights().is_some_and(|rights| !rights.subscribe(inner)) {
            return Err(ReasonCode::NotAuthorized);
        }
        Ok(share.is_some())
    }

    /// A client asks for a replay of filters that it is subscribed to, one in each line, and to be told its end under `name`.
    pub(super) fn replay_again(&mut self, name: &str, filters: &str) {
        let mount = self.manner.mount.as_deref();
        let mut recorder = self.core.records.recorder();
        let mut marker = Marker::new(name);
        let mut locked = self.client.lock();
        let session = locked.session();
        for wanted in filters.lines().filter(|line| !line.is_empty()).take(FILTERS_AT_ONCE) {
            let filter: Arc<str> = topic::mounted(mount, wanted).into();
            match session.subscription(&filter) {
                Some(subscription) if !topic::share(&filter).is_ok_and(|share| share.is_some()) => {
                    let before = session.owed_for(&filter);
                    let replay = session.subscribe(&filter, subscription, true, &mut recorder);
                    marker.names(wanted);
                    self.replays.owe(before, replay.ok().flatten(), Some(&mut marker));
                }
                _ => marker.lacks(wanted),
            }
        }
        drop(locked);
        self.replays.mark(marker, &self.core);
    }

    pub(super) fn unsubscribe(
        &mut self,
        unsubscribe: &Unsubscribe<'_>,
        routing: &mut Routing,
    ) -> Result<(), End> {
        let core = &self.core;
        let mut recorder = core.records.recorder_with(routing.take_record());
        let mount = self.manner.mount.as_deref();
        let mounted = |filter| topic::mounted(mount, filter);
        // Each subscription that there is, once, however many filters the packet has. Nobody else changes them meanwhile.
        let held: BTreeSet<Arc<str>> = {
            let mut locked = self.client.lock();
            let session = locked.session();
            let filters = unsubscribe.filters().map(mounted);
            filters
                .filter(|filter| session.subscription(filter).is_some())
                .map(|filter| filter.as_ref().into())
                .collect()
        };
        let held: Vec<Arc<str>> = held.into_iter().collect();
        core.metrics.subscriptions.sub(core.router.unsubscribe(&self.client, &held) as u64);
        let mut locked = self.client.lock();
        let codes: Vec<ReasonCode> = unsubscribe
            .filters()
            .map(mounted)
            .map(|filter| match locked.session().unsubscribe(&filter, &mut recorder) {
                Some(_) => ReasonCode::Success,
                None => ReasonCode::NoSubscriptionExisted,
            })
            .collect();
        drop(locked);
        self.replays.cut_short(&self.client);
        let (buffer, mark) = recorder.finish();
        routing.give_record(buffer);
        let mut unsuback = Vec::new();
        let (id, user) = (unsubscribe.packet_id, UserProperties::default());
        if codec::unsuback(&mut unsuback, id, codes.into_iter(), None, user, self.version).is_ok() {
            self.answer_whole(&unsuback, mark, routing)?;
        }
        Ok(())
    }

    /// Sends an answer from which nothing can be left out: a client that does not take it can't be served [MQTT5-3.1.2-24].
    fn answer_whole(&self, packet: &[u8], mark: Mark, routing: &mut Routing) -> Result<(), End> {
        if !self.takes(packet.len()) {
            let words = "the answer to its packet is larger than the client takes";
            return Err(End::Protocol(ReasonCode::PacketTooLarge, words.into()));
        }
        routing.acks.packet(packet, mark);
        Ok(())
    }
}
