//! What a user of the store may do by MQTT: topics as paths, and the table of `docs/access.md`.
//!
//! | a client | needs |
//! |---|---|
//! | publishes, not retained | `w` where the entry has a value, else `c` |
//! | publishes, retained | as a write or, without a payload, as a deletion: the view decides when it is made |
//! | subscribes, no wildcard | `r` |
//! | subscribes with a wildcard | `e` where it stands |
//! | gets a message | `r` |

use distkv_broker::hooks::{Action, Permission, Rights};
use distkv_store::access::Right;
use distkv_store::path::{PathBuilder, PathRef};
use distkv_store::view::View;
use std::cell::RefCell;

use super::topic::Mapping;
use super::why::Why;

thread_local! {
    /// Paths are built here: no allocation per message.
    static PATH: RefCell<PathBuilder> = RefCell::new(PathBuilder::new());
}

/// The rights of one user.
pub(super) struct Limits {
    mapping: Mapping,
    view: View,
}

impl Limits {
    pub(super) fn new(mapping: Mapping, view: View) -> Self {
        Self { mapping, view }
    }

    /// Asks about the path of a topic. Topics that have none are internal: those who administrate may use them, as far as they
    /// stay messages.
    fn ask(&self, topic: &str, question: impl FnOnce(PathRef<'_>) -> bool) -> bool {
        PATH.with_borrow_mut(|builder| match self.mapping.path(topic, builder) {
            Ok(path) => question(path),
            Err(_) => self.view.is_operator(),
        })
    }

    /// A plain message.
    fn may_send(&self, topic: &str) -> Permission {
        let mut permission = Permission::Denied;
        self.ask(topic, |path| {
            let rights = self.view.rights(path);
            if self.view.check_send(path).is_ok() {
                // With one of the two alone it depends on whether there is a value.
                let both = rights.has(Right::Write) && rights.has(Right::Create);
                permission = if both { Permission::Always } else { Permission::Once };
            }
            true
        });
        if permission == Permission::Denied && self.ask(topic, |_| false) {
            permission = Permission::Always;
        }
        permission
    }
}

impl Rights for Limits {
    fn publish(&self, topic: &str, retain: bool, empty: bool) -> Permission {
        match (retain, empty) {
            (false, _) => self.may_send(topic),
            (true, true) => permission(self.ask(topic, |path| self.view.may(path, Right::Delete))),
            // Which of the two counts, and what new levels need, is for the view to say.
            (true, false) => {
                permission(self.ask(topic, |path| {
                    self.view.may(path, Right::Write) || self.view.may(path, Right::Create)
                }))
            }
        }
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

fn permission(may: bool) -> Permission {
    if may { Permission::Always } else { Permission::Denied }
}

/// Nobody any more: a session goes on whose user is gone.
pub(super) struct Nothing;

impl Rights for Nothing {
    fn publish(&self, _: &str, _: bool, _: bool) -> Permission {
        Permission::Denied
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
