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
            self.view.set(path, payload::to_value(message.payload), meta, carrier)
        };
        match committed {
            Ok(committed) => Ok(Mark(committed.lsn.0)),
            Err(error) => Err(refusal(message, &error)),
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

/// A message at QoS 1 or 2 that could be kept at another time must not be acknowledged: its client is to send it again.
/// What can never be kept is dropped, as MQTT 3 has no other answer.
fn refusal(message: &RetainedMessage<'_>, error: &WriteError) -> RetainRefused {
    let topic = message.topic;
    match error {
        WriteError::Unavailable(_) => RetainRefused::Unavailable,
        WriteError::DiskFull | WriteError::Overloaded if message.qos > 0 => {
            tracing::debug!(topic, "a retained message is refused for now: {error}");
            RetainRefused::Unavailable
        }
        WriteError::DiskFull | WriteError::Overloaded => {
            tracing::debug!(topic, "a retained message at QoS 0 is dropped: {error}");
            RetainRefused::Quota
        }
        WriteError::TooLarge { .. } | WriteError::ClockExhausted => {
            tracing::warn!(topic, "a retained message was not taken: {error}");
            RetainRefused::Quota
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_kept_later_is_not_acknowledged_now() {
        let message = |qos| RetainedMessage { topic: "a", payload: b"x", shared: None, qos };
        for later in [WriteError::DiskFull, WriteError::Overloaded] {
            assert_eq!(refusal(&message(0), &later), RetainRefused::Quota);
            assert_eq!(refusal(&message(1), &later), RetainRefused::Unavailable);
            assert_eq!(refusal(&message(2), &later), RetainRefused::Unavailable);
        }
        let never = WriteError::TooLarge { bytes: 2, limit: 1 };
        assert_eq!(refusal(&message(1), &never), RetainRefused::Quota);
    }
}
