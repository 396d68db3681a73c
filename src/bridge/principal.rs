//! One logged-in MQTT user: a view of the store, asked in the broker's terms.

use std::cell::RefCell;
use std::sync::Arc;

use distkv_broker::hooks::{
    Condition, Mark, Principal, Provenance, Replay, RetainRefused, RetainedMessage, Rights, Standing, Version,
};
use distkv_store::feed::{Carrier, Change};
use distkv_store::meta::Meta;
use distkv_store::path::PathBuilder;
use distkv_store::view::{self, View, Who, WriteError};

use super::replay::{Nothing, Slices};
use super::rights::{self, Limits};
use super::{Shared, payload, provenance};
use crate::auth::logins::{self, LoggedIn};

thread_local! {
    /// Paths are built here: no allocation per message.
    static PATH: RefCell<PathBuilder> = RefCell::new(PathBuilder::new());
}

/// See the module.
pub(super) struct User {
    bridge: Arc<Shared>,
    view: View,
    basis: Basis,
    /// What all his topics begin with, unseen by him.
    mount: Option<String>,
    /// What he may do; `None`: everything.
    rights: Option<Box<dyn Rights>>,
}

/// Why somebody is here.
pub(super) enum Basis {
    /// Nobody has to log in.
    Open {
        /// Would he be let in without a name, if somebody had to?
        anonymous: bool,
    },
    /// He has no name, and those without one are let in.
    Anonymous,
    /// He is a user, and has logged in.
    Login(LoggedIn),
    /// His session was restored, and there is no such user any more.
    Gone,
}

impl User {
    /// Somebody as he may be here. `None`: he has a root in which there can be no topics.
    pub(super) fn new(bridge: Arc<Shared>, client: &str, name: Option<&str>, basis: Basis) -> Option<Self> {
        let who = match &basis {
            Basis::Open { .. } | Basis::Gone => Who::user(name.map(Arc::from)),
            Basis::Anonymous => bridge.logins.anonymous(),
            Basis::Login(login) => login.who(),
        };
        // The broker puts the root in front of topics.
        let view = bridge.store.view(who.with_client(client.into()).absolute());
        let mount = bridge.mapping.prefix(view.root().as_path())?;
        let rights: Option<Box<dyn Rights>> = match &basis {
            Basis::Open { .. } => None,
            Basis::Gone => Some(Box::new(rights::Nothing)),
            Basis::Anonymous | Basis::Login(_) => {
                Some(Box::new(Limits::new(bridge.mapping.clone(), view.clone())))
            }
        };
        let mount = (!mount.is_empty()).then_some(mount);
        Some(Self { bridge, view, basis, mount, rights })
    }

    /// Somebody who may do nothing.
    pub(super) fn gone(bridge: Arc<Shared>, client: &str) -> Self {
        let view = bridge.store.view(Who::user(None).with_client(client.into()));
        Self { bridge, view, basis: Basis::Gone, mount: None, rights: Some(Box::new(rights::Nothing)) }
    }

    fn write(
        &self,
        path: &mut PathBuilder,
        message: &RetainedMessage<'_>,
        condition: Option<Condition<'_>>,
        deliver: &mut dyn FnMut(Option<&Provenance<'_>>),
    ) -> Result<Mark, RetainRefused> {
        let path = self.bridge.mapping.path(message.topic, path).map_err(|error| {
            tracing::debug!(topic = message.topic, "a retained message has no place in the store: {error}");
            RetainRefused::Denied
        })?;
        // Without a place in the feed the broker would hear nothing of its own message.
        let observer = *self.bridge.observer.get().ok_or(RetainRefused::Unavailable)?;
        let mut deliver = |change: Option<&Change<'_>>| match change {
            Some(change) => deliver(Some(&provenance::of(change.entry))),
            None => deliver(None),
        };
        let carrier = Some(Carrier { observer, deliver: &mut deliver });
        // An empty payload deletes [MQTT-3.3.1-10].
        let value = (!message.payload.is_empty()).then(|| payload::to_value(message.payload));
        let meta = if value.is_some() { meta_of(message) } else { Meta::default() };
        if value.is_some() && self.bridge.refuses_new() && matches!(self.view.get(path), Ok(None)) {
            tracing::debug!(topic = message.topic, "a new retained message is refused: memory is short");
            return Err(RetainRefused::Quota);
        }
        let committed = match (condition, value) {
            (Some(condition), value) => {
                self.view.write_if(path, in_the_stores_terms(condition), value, meta, carrier)
            }
            (None, Some(value)) => self.view.set(path, value, meta, carrier),
            (None, None) => self.view.delete(path, meta, carrier),
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

    fn rights(&self) -> Option<&dyn Rights> {
        self.rights.as_deref()
    }

    fn mount(&self) -> Option<&str> {
        self.mount.as_deref()
    }

    fn standing(&self) -> Standing {
        let logins = &self.bridge.logins;
        match &self.basis {
            Basis::Open { .. } if !logins.are_on() => Standing::Welcome,
            Basis::Open { anonymous: true } => Standing::LogInAnew,
            Basis::Open { anonymous: false } | Basis::Gone => Standing::NotAuthorized,
            Basis::Anonymous => Standing::Welcome,
            Basis::Login(login) => match logins.standing(login) {
                logins::Standing::Fine => Standing::Welcome,
                logins::Standing::Moved => Standing::LogInAnew,
                logins::Standing::Gone => Standing::NotAuthorized,
            },
        }
    }

    fn retain(
        &self,
        message: &RetainedMessage<'_>,
        condition: Option<Condition<'_>>,
        deliver: &mut dyn FnMut(Option<&Provenance<'_>>),
    ) -> Result<Mark, RetainRefused> {
        if matches!(self.basis, Basis::Gone) {
            return Err(RetainRefused::Denied);
        }
        // `deliver` routes a message and retains nothing, so the builder is free.
        PATH.with_borrow_mut(|path| self.write(path, message, condition, deliver))
    }

    fn replay(&self, filter: &str) -> Box<dyn Replay> {
        if matches!(self.basis, Basis::Gone) {
            return Box::new(Nothing);
        }
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

/// What is to be known of a message beside its payload.
fn meta_of(message: &RetainedMessage<'_>) -> Meta {
    let mut meta = Meta::default().with_qos(message.qos);
    if !message.properties.is_empty() {
        meta = meta.with_properties(message.properties);
    }
    match message.expires_at {
        Some(at) => meta.with_expiry(at),
        None => meta,
    }
}

fn in_the_stores_terms(condition: Condition<'_>) -> view::Condition<'_> {
    match condition {
        Condition::New => view::Condition::New,
        Condition::Version { node, tick } => view::Condition::Version { node, tick },
    }
}

/// A message at QoS 1 or 2 that could be kept at another time must not be acknowledged: its client is to send it again.
/// What can never be kept is dropped, as MQTT 3 has no other answer.
fn refusal(message: &RetainedMessage<'_>, error: &WriteError) -> RetainRefused {
    let topic = message.topic;
    match error {
        WriteError::Conflict { now, .. } => RetainRefused::Conflict(
            now.as_ref().map(|dot| Version { node: dot.origin.node().as_str().to_owned(), tick: dot.tick.0 }),
        ),
        WriteError::Unavailable(_) => RetainRefused::Unavailable,
        WriteError::DiskFull | WriteError::Overloaded if message.qos > 0 => {
            tracing::debug!(topic, "a retained message is refused for now: {error}");
            RetainRefused::Unavailable
        }
        WriteError::DiskFull | WriteError::Overloaded => {
            tracing::debug!(topic, "a retained message at QoS 0 is dropped: {error}");
            RetainRefused::Quota
        }
        // Acknowledged also at QoS 1 and 2: a client that sent it again and again would only add to the load.
        WriteError::TooManyEntries { .. } | WriteError::TooManyBytes { .. } => {
            tracing::debug!(topic, "a retained message was not taken: {error}");
            RetainRefused::Quota
        }
        WriteError::Denied(_) => {
            tracing::debug!(topic, "a retained message was not taken: {error}");
            RetainRefused::Denied
        }
        WriteError::TooLarge { .. } | WriteError::NoPlace | WriteError::ClockExhausted => {
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
        let message = |qos| RetainedMessage::new("a", b"x", qos);
        for later in [WriteError::DiskFull, WriteError::Overloaded] {
            assert_eq!(refusal(&message(0), &later), RetainRefused::Quota);
            assert_eq!(refusal(&message(1), &later), RetainRefused::Unavailable);
            assert_eq!(refusal(&message(2), &later), RetainRefused::Unavailable);
        }
        let never = WriteError::TooLarge { bytes: 2, limit: 1 };
        assert_eq!(refusal(&message(1), &never), RetainRefused::Quota);
        let full = WriteError::TooManyEntries { limit: 1 };
        assert_eq!(refusal(&message(2), &full), RetainRefused::Quota);
    }
}
