//! What somebody publishes, before it is routed: may it be published, and is it to be retained?

use super::{Outgoing, Routing};
use crate::broker::Core;
use crate::hooks::{Mark, Principal, RetainRefused, RetainedMessage};
use crate::metrics::Dropped;
use crate::sys;

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accepted {
    /// It is with its subscribers. An acknowledgement has to wait for the mark.
    Routed(Mark),
    /// It was dropped. MQTT 3 has no way to say so: it is acknowledged.
    Dropped(Dropped),
    /// Nothing can be kept any more. It must not be acknowledged.
    Unavailable,
}

/// Publishes for `principal`. Drops are counted.
pub(crate) fn accept(
    core: &Core,
    principal: &dyn Principal,
    message: &Outgoing<'_>,
    retain: bool,
    routing: &mut Routing,
) -> Accepted {
    if sys::owns(message.topic) {
        return dropped(core, Dropped::Reserved);
    }
    if core.hot.is_too_long(message.topic) {
        return dropped(core, Dropped::TopicTooLong);
    }
    if principal.rights().is_some_and(|rights| !rights.publish(message.topic, retain)) {
        return dropped(core, Dropped::PublishDenied);
    }
    if !retain {
        return Accepted::Routed(core.router.publish(message, routing, core));
    }
    let retained = RetainedMessage {
        topic: message.topic,
        payload: message.payload,
        shared: message.shared,
        qos: message.qos.as_u8(),
    };
    let mut routed = Mark::default();
    let kept = principal.retain(&retained, &mut || routed = core.router.publish(message, routing, core));
    match kept {
        Ok(mark) => Accepted::Routed(mark.max(routed)),
        Err(RetainRefused::Denied) => dropped(core, Dropped::PublishDenied),
        Err(RetainRefused::BadPayload) => dropped(core, Dropped::BadPayload),
        Err(RetainRefused::Quota) => dropped(core, Dropped::Quota),
        Err(RetainRefused::Unavailable) => Accepted::Unavailable,
    }
}

fn dropped(core: &Core, reason: Dropped) -> Accepted {
    core.metrics.dropped(reason, 1);
    Accepted::Dropped(reason)
}
