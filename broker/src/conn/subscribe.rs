//! SUBSCRIBE and UNSUBSCRIBE: into the session and the tree first, then the answer, then (in slices, later) what is retained.

use std::sync::Arc;

use super::Connection;
use crate::codec::{self, ReasonCode, Subscribe, Unsubscribe, UserProperties};
use crate::message::QoS;
use crate::records::Recorder;
use crate::router::Routing;
use crate::session::Subscription;
use crate::transport::Transport;

impl<T: Transport> Connection<T> {
    pub(super) fn subscribe(&mut self, subscribe: &Subscribe<'_>, routing: &mut Routing) {
        let mut recorder = self.core.records.recorder_with(routing.take_record());
        let mut codes = Vec::new();
        for codec::Subscription { filter, qos, .. } in subscribe.subscriptions() {
            let granted = self.subscribe_one(filter, qos, &mut recorder);
            codes.push(if granted { ReasonCode::granted(qos) } else { ReasonCode::UnspecifiedError });
        }
        let (buffer, mark) = recorder.finish();
        routing.give_record(buffer);
        let mut suback = Vec::new();
        // It is shorter than the SUBSCRIBE that it answers.
        let (id, user) = (subscribe.packet_id, UserProperties::default());
        if codec::suback(&mut suback, id, codes.into_iter(), None, user, self.version).is_ok() {
            routing.acks.packet(&suback, mark);
        }
        self.replays.look();
    }

    fn subscribe_one(&self, filter: &str, qos: QoS, recorder: &mut Recorder<'_>) -> bool {
        let core = &self.core;
        let denied = self.principal.rights().is_some_and(|rights| !rights.subscribe(filter));
        let filter: Arc<str> = filter.into();
        let granted = !denied && !core.hot.is_too_long(&filter) && {
            let subscription = Subscription { qos, ..Subscription::default() };
            self.client.lock().session().subscribe(&filter, subscription, true, recorder).is_ok()
        };
        if granted {
            if core.router.subscribe(&self.client, &filter, qos) {
                core.metrics.subscriptions.add(1);
            }
        } else {
            core.metrics.subscriptions_refused.add(1);
            let client = &*self.client.id;
            tracing::info!(client, filter = &*filter, denied, "subscription refused");
        }
        granted
    }

    pub(super) fn unsubscribe(&mut self, unsubscribe: &Unsubscribe<'_>, routing: &mut Routing) {
        let core = &self.core;
        let mut recorder = core.records.recorder_with(routing.take_record());
        let filters: Vec<Arc<str>> = unsubscribe.filters().map(Arc::from).collect();
        core.metrics.subscriptions.sub(core.router.unsubscribe(&self.client, &filters) as u64);
        let mut locked = self.client.lock();
        for filter in &filters {
            locked.session().unsubscribe(filter, &mut recorder);
        }
        drop(locked);
        let (buffer, mark) = recorder.finish();
        routing.give_record(buffer);
        let codes = filters.iter().map(|_| ReasonCode::Success);
        let mut unsuback = Vec::new();
        let (id, user) = (unsubscribe.packet_id, UserProperties::default());
        if codec::unsuback(&mut unsuback, id, codes, None, user, self.version).is_ok() {
            routing.acks.packet(&unsuback, mark);
        }
    }
}
