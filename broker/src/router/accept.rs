//! What somebody publishes, before it is routed: may it be published, and is it to be retained?

use super::{Matched, Outgoing, Routed, Routing};
use crate::broker::Core;
use crate::hooks::{Action, Condition, Permission, Principal, RetainRefused, RetainedMessage, Version};
use crate::metrics::Dropped;
use crate::{delayed, sys};

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Accepted {
    /// It is with its subscribers.
    Routed(Routed),
    /// It was dropped. MQTT 3 has no way to say so: it is acknowledged.
    Dropped(Dropped),
    /// Its condition does not hold. The version that the entry has, if there is one.
    Conflict(Option<Version>),
    /// Nothing can be kept any more. It must not be acknowledged.
    Unavailable,
}

/// Publishes for `principal`. Drops are counted.
#[inline]
pub(crate) fn accept(
    core: &Core,
    principal: &dyn Principal,
    message: &Outgoing<'_>,
    routing: &mut Routing,
) -> Accepted {
    accept_if(core, principal, message, None, &mut None, routing)
}

/// May it be published, whoever does it?
#[inline]
fn admit(core: &Core, message: &Outgoing<'_>) -> Result<(), Dropped> {
    // `$delayed/` has been taken off what a PUBLISH said; a will can't be delayed so.
    if message.topic.starts_with('$') && (sys::owns(message.topic) || delayed::owns(message.topic)) {
        return Err(Dropped::Reserved);
    }
    if core.hot.is_too_long(message.topic) {
        return Err(Dropped::TopicTooLong);
    }
    Ok(())
}

/// Is the user allowed to? What is found for the topic remembers who always is.
#[inline]
fn permit(principal: &dyn Principal, message: &Outgoing<'_>, matched: &Matched) -> Result<(), Dropped> {
    let Some(rights) = principal.rights() else { return Ok(()) };
    let empty = message.payload.is_empty();
    let deletes = message.retained && empty;
    if !deletes && matched.admitted.knows(message.rights, message.retained) {
        return Ok(());
    }
    match rights.publish(message.topic, message.retained, empty) {
        Permission::Denied => Err(Dropped::PublishDenied),
        Permission::Always if !deletes => {
            matched.admitted.note(message.rights, message.retained);
            Ok(())
        }
        Permission::Once | Permission::Always => Ok(()),
    }
}

/// The same, for a retained message only if `condition` holds. `version` is set to what the entry has from then on.
#[inline]
pub(crate) fn accept_if(
    core: &Core,
    principal: &dyn Principal,
    message: &Outgoing<'_>,
    condition: Option<Condition<'_>>,
    version: &mut Option<Version>,
    routing: &mut Routing,
) -> Accepted {
    if let Err(reason) = admit(core, message) {
        return dropped(core, reason);
    }
    let matched = core.router.targets(message.topic, routing, core);
    if let Err(reason) = permit(principal, message, &matched) {
        return dropped(core, reason);
    }
    if !message.retained {
        return Accepted::Routed(core.router.publish_to(&matched, message, routing, core));
    }
    retain(core, principal, message, condition, version, routing)
}

/// Writes the entry and publishes at its place in the order of changes.
fn retain(
    core: &Core,
    principal: &dyn Principal,
    message: &Outgoing<'_>,
    condition: Option<Condition<'_>>,
    version: &mut Option<Version>,
    routing: &mut Routing,
) -> Accepted {
    let retained = RetainedMessage {
        topic: message.topic,
        payload: message.payload,
        shared: message.shared,
        qos: message.qos.as_u8(),
        properties: message.properties,
        expires_at: message.expiry.map(|expiry| expiry.at_ms),
        provenance: None,
    };
    let mut routed = Routed::default();
    let kept = principal.retain(&retained, condition, &mut |provenance| {
        if let Some(provenance) = provenance.filter(|_| condition.is_some()) {
            *version = Some(Version { node: provenance.node.to_owned(), tick: provenance.tick });
        }
        routed = core.router.publish(&Outgoing { provenance, ..*message }, routing, core);
    });
    match kept {
        Ok(mark) => Accepted::Routed(Routed { mark: mark.max(routed.mark), ..routed }),
        Err(RetainRefused::Conflict(version)) => Accepted::Conflict(version),
        Err(RetainRefused::Denied) => dropped(core, Dropped::PublishDenied),
        Err(RetainRefused::BadPayload) => dropped(core, Dropped::BadPayload),
        Err(RetainRefused::Quota) => dropped(core, Dropped::Quota),
        Err(RetainRefused::Unavailable) => Accepted::Unavailable,
    }
}

/// More about why a message of `principal` was dropped, for the journal: by which rule, if it was a right that was missing.
pub(crate) fn why_dropped(principal: &dyn Principal, message: &Outgoing<'_>, reason: Dropped) -> String {
    let action = Action::Publish { retain: message.retained, empty: message.payload.is_empty() };
    match principal.rights() {
        Some(rights) if reason == Dropped::PublishDenied => rights.why(action, message.topic),
        _ => String::new(),
    }
}

fn dropped(core: &Core, reason: Dropped) -> Accepted {
    core.metrics.dropped(reason, 1);
    Accepted::Dropped(reason)
}
