//! One logged-in MQTT user: a view of the store, asked in the broker's terms.

use std::cell::RefCell;
use std::sync::Arc;

use distkv_broker::hooks::{Mark, Principal, Replay, RetainRefused, RetainedMessage};
use distkv_store::feed::Carrier;
use distkv_store::meta::Meta;
use distkv_store::path::PathBuilder;
use distkv_store::view::{View, WriteError};

use super::replay::{Nothing, Slices};
use super::{Shared, payload};

thread_local! {
    /// Paths are built here: no allocation per message.
    static PATH: RefCell<PathBuilder> = RefCell::new(PathBuilder::new());
}

/// See the module.
pub(super) struct User {
    bridge: Arc<Shared>,
    view: View,
}

impl User {
    pub(super) fn new(bridge: Arc<Shared>, view: View) -> Self {
        Self { bridge, view }
    }

    fn write(
        &self,
        path: &mut PathBuilder,
        message: &RetainedMessage<'_>,
        deliver: &mut dyn FnMut(),
    ) -> Result<Mark, RetainRefused> {
        let path = self.bridge.mapping.path(message.topic, path).map_err(|error| {
            tracing::debug!(topic = message.topic, "a retained message has no place in the store: {error}");
            RetainRefused::Denied
        })?;
        // Without a place in the feed the broker would hear nothing of its own message.
        let observer = *self.bridge.observer.get().ok_or(RetainRefused::Unavailable)?;
        let carrier = Some(Carrier { observer, deliver: &mut |_| deliver() });
        let committed = if message.payload.is_empty() {
            // An empty payload deletes [MQTT-3.3.1-10].
            self.view.delete(path, Meta::default(), carrier)
        } else {
            let meta = Meta::default().with_qos(message.qos);
            self.view.set(path, payload::to_value(&message.payload), meta, carrier)
        };
        match committed {
            Ok(committed) => Ok(Mark(committed.lsn.0)),
            Err(error) => Err(refusal(message.topic, &error)),
        }
    }
}

impl Principal for User {
    fn user(&self) -> Option<&str> {
        self.view.who().name().map(AsRef::as_ref)
    }

    fn retain(
        &self,
        message: &RetainedMessage<'_>,
        deliver: &mut dyn FnMut(),
    ) -> Result<Mark, RetainRefused> {
        // `deliver` routes a message and retains nothing, so the builder is free.
        PATH.with_borrow_mut(|path| self.write(path, message, deliver))
    }

    fn replay(&self, filter: &str) -> Box<dyn Replay> {
        match self.bridge.mapping.pattern(filter) {
            Ok(pattern) => Box::new(Slices::new(self.bridge.mapping.clone(), self.view.clone(), pattern)),
            // Deeper or longer than any path: nothing can match.
            Err(error) => {
                tracing::debug!(filter, "no entry can match a filter: {error}");
                Box::new(Nothing)
            }
        }
    }
}

fn refusal(topic: &str, error: &WriteError) -> RetainRefused {
    match error {
        WriteError::Unavailable(_) => RetainRefused::Unavailable,
        error => {
            tracing::warn!(topic, "a retained message was not taken: {error}");
            RetainRefused::Quota
        }
    }
}
