//! What a user of the store may do by MQTT: topics as paths, and the table of `docs/access.md`.
//!
//! | a client | needs |
//! |---|---|
//! | publishes, not retained | `w` where the entry has a value, else `c` |
//! | publishes, retained | as a write or, without a payload, as a deletion: the view decides when it is made |
//! | subscribes, no wildcard | `r` |
//! | subscribes with a wildcard | `e` where it stands |
//! | gets a message | `r` |

use std::cell::RefCell;
use std::sync::Arc;

use distkv_broker::hooks::{Action, Rights};
use distkv_store::access::{Access, Right};
use distkv_store::path::{PathBuilder, PathRef};
use distkv_store::view::View;
use parking_lot::Mutex;

use super::topic::Mapping;
use super::why::Why;

thread_local! {
    /// Paths are built here: no allocation per message.
    static PATH: RefCell<PathBuilder> = RefCell::new(PathBuilder::new());
}

/// Topics that one user is remembered to be allowed to publish to.
const REMEMBERED: usize = 8;
/// Longer ones are not remembered.
const REMEMBERED_BYTES: usize = 256;

/// The rights of one user.
pub(super) struct Limits {
    mapping: Mapping,
    view: View,
    access: Arc<Access>,
    /// The topics that he published to last, if he may do so whatever is there.
    published: Mutex<Published>,
}

#[derive(Default)]
struct Published {
    /// Of [`Access`], for which it holds.
    generation: u64,
    topics: [Option<Box<str>>; REMEMBERED],
}

impl Limits {
    pub(super) fn new(mapping: Mapping, view: View, access: Arc<Access>) -> Self {
        Self { mapping, view, access, published: Mutex::default() }
    }

    /// Asks about the path of a topic. Topics that have none are internal: those who administrate may use them, as far as they
    /// stay messages.
    fn ask(&self, topic: &str, question: impl FnOnce(PathRef<'_>) -> bool) -> bool {
        PATH.with_borrow_mut(|builder| match self.mapping.path(topic, builder) {
            Ok(path) => question(path),
            Err(_) => self.view.is_operator(),
        })
    }

    /// Do the rights allow it whether there is a value or not?
    fn may_send_anyway(&self, path: PathRef<'_>) -> bool {
        let rights = self.view.rights(path);
        rights.has(Right::Write) && rights.has(Right::Create)
    }

    /// A plain message. It is asked for each one, so what is allowed in any case is remembered.
    fn may_send(&self, topic: &str) -> bool {
        let generation = self.access.generation();
        let place =
            usize::from(topic.bytes().last().unwrap_or_default()).wrapping_add(topic.len()) % REMEMBERED;
        let mut published = self.published.lock();
        if published.generation == generation
            && published.topics.get(place).is_some_and(|known| known.as_deref() == Some(topic))
        {
            return true;
        }
        drop(published);
        let mut always = false;
        let may = self.ask(topic, |path| {
            always = self.may_send_anyway(path);
            self.view.check_send(path).is_ok()
        });
        if may && always && topic.len() <= REMEMBERED_BYTES {
            published = self.published.lock();
            if published.generation != generation {
                *published = Published { generation, ..Published::default() };
            }
            if let Some(known) = published.topics.get_mut(place) {
                *known = Some(topic.into());
            }
        }
        may
    }
}

impl Rights for Limits {
    fn publish(&self, topic: &str, retain: bool, empty: bool) -> bool {
        match (retain, empty) {
            (false, _) => self.may_send(topic),
            (true, true) => self.ask(topic, |path| self.view.may(path, Right::Delete)),
            // Which of the two counts, and what new levels need, is for the view to say.
            (true, false) => self
                .ask(topic, |path| self.view.may(path, Right::Write) || self.view.may(path, Right::Create)),
        }
    }

    fn publish_anyway(&self, topic: &str) -> bool {
        self.ask(topic, |path| self.may_send_anyway(path) && self.view.check_send(path).is_ok())
    }

    fn subscribe(&self, filter: &str) -> bool {
        match self.mapping.pattern(filter) {
            Ok(pattern) => self.view.check_list(&pattern).is_ok(),
            // Deeper or longer than any path.
            Err(_) => self.view.is_operator(),
        }
    }

    fn receive(&self, topic: &str) -> bool {
        self.ask(topic, |path| self.view.may(path, Right::Read))
    }

    fn why(&self, action: Action, topic: &str) -> String {
        let right = match action {
            Action::Publish { retain: true, empty: true } => Right::Delete,
            Action::Publish { .. } => Right::Write,
            Action::Receive => Right::Read,
            Action::Subscribe => {
                let Ok(pattern) = self.mapping.pattern(topic) else { return String::new() };
                return match pattern.listed() {
                    Some(start) => self.view.why(start, Right::List).reason,
                    None => self.reason(topic, Right::Read),
                };
            }
        };
        self.reason(topic, right)
    }
}

impl Limits {
    /// May he do what needs a right with the path of a topic?
    pub(super) fn why_right(&self, topic: &str, right: Right) -> Why {
        let allowed = self.ask(topic, |path| self.view.may(path, right));
        Why { allowed, reason: self.reason(topic, right) }
    }

    fn reason(&self, topic: &str, right: Right) -> String {
        PATH.with_borrow_mut(|builder| match self.mapping.path(topic, builder) {
            Ok(path) => self.view.why(path, right).reason,
            Err(error) => error.to_string(),
        })
    }
}

/// Nobody any more: a session goes on whose user is gone.
pub(super) struct Nothing;

impl Rights for Nothing {
    fn publish(&self, _: &str, _: bool, _: bool) -> bool {
        false
    }

    fn subscribe(&self, _: &str) -> bool {
        false
    }

    fn receive(&self, _: &str) -> bool {
        false
    }

    fn why(&self, _: Action, _: &str) -> String {
        "the user of this session is no more".to_owned()
    }
}
