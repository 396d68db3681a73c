//! Who gets a message: the subscriptions that match a topic, brought together by client.
//!
//! A client with several matching subscriptions gets one copy, with the greatest QoS and the identifiers of all of them
//! [MQTT5-3.3.4-2, 3.3.4-4]; or, as configured, one copy for each.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use slab::Slab;

use super::shared::Group;
use crate::message::{QoS, Special, Terms};
use crate::registry::{Client, Verdict};
use crate::session::Subscription;
use crate::trie::SubscriberId;

/// The property that holds a subscription identifier [MQTT 5: 3.3.2.3.8].
const SUBSCRIPTION_IDENTIFIER: u8 = 0x0b;

/// What one subscription wants, as the tree of subscriptions holds it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Wanted {
    qos: QoS,
    flags: u8,
    /// 0 where there is none.
    identifier: u32,
}

const NO_LOCAL: u8 = 1;
const RETAIN_AS_PUBLISHED: u8 = 2;
const PROVENANCE: u8 = 4;

impl Wanted {
    pub(crate) fn new(subscription: &Subscription) -> Self {
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        Self {
            qos: subscription.qos,
            flags: flag(subscription.no_local, NO_LOCAL)
                | flag(subscription.retain_as_published, RETAIN_AS_PUBLISHED)
                | flag(subscription.provenance, PROVENANCE),
            identifier: subscription.identifier.map_or(0, std::num::NonZeroU32::get),
        }
    }

    pub(super) fn qos(self) -> QoS {
        self.qos
    }

    fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// Who gets the messages on a topic.
#[derive(Debug)]
pub(crate) struct Matched {
    pub(crate) topic: Arc<str>,
    pub(crate) targets: Box<[Target]>,
    /// Shared subscriptions: one client of each gets the message.
    pub(crate) groups: Box<[Arc<Group>]>,
    /// Somebody among them wants to know where an entry's value comes from.
    pub(crate) provenance: bool,
    /// Who was allowed last to publish on it.
    pub(super) admitted: Admitted,
}

/// The rights ([`Client::rights`]) by which somebody may publish on a topic until rights change: of plain messages, and of retained ones.
#[derive(Debug, Default)]
pub(crate) struct Admitted {
    plain: AtomicU64,
    retained: AtomicU64,
}

impl Admitted {
    /// Is it known that whoever has these rights may publish?
    #[inline]
    pub(super) fn knows(&self, rights: u64, retained: bool) -> bool {
        rights > 0 && self.of(retained).load(Ordering::Relaxed) == rights
    }

    /// It is, from now on.
    pub(super) fn note(&self, rights: u64, retained: bool) {
        self.of(retained).store(rights, Ordering::Relaxed);
    }

    fn of(&self, retained: bool) -> &AtomicU64 {
        if retained { &self.retained } else { &self.plain }
    }
}

impl Matched {
    /// Has that client a subscription of its own that matches?
    pub(super) fn is_target(&self, subscriber: SubscriberId) -> bool {
        // They stand in the order in which the tree gives them: by subscriber.
        self.targets.binary_search_by_key(&subscriber, |target| target.client.subscriber).is_ok()
    }
}

/// One client and what it gets.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) client: Arc<Client>,
    /// May it get them?
    pub(super) may: Verdict,
    grant: Grant,
    /// What it gets of its own messages, if that is something else: some of its subscriptions do not want them.
    own: Option<Box<Option<Grant>>>,
}

/// What a client gets by all its subscriptions that match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) special: Option<Arc<Special>>,
    pub(crate) qos: QoS,
    pub(crate) retain_as_published: bool,
}

impl Grant {
    /// What `wanted` come to together, by the shared subscription of that name.
    pub(super) fn of<'a>(wanted: impl Iterator<Item = &'a Wanted>, share: Option<&Arc<str>>) -> Self {
        let (mut grant, mut special) = (Self::default(), Special::default());
        let mut identifiers = Vec::new();
        for one in wanted {
            grant.qos = grant.qos.max(one.qos);
            grant.retain_as_published |= one.has(RETAIN_AS_PUBLISHED);
            special.provenance |= one.has(PROVENANCE);
            if one.identifier > 0 {
                put_identifier(&mut identifiers, one.identifier);
            }
        }
        special.identifiers = identifiers.into();
        special.share = share.cloned();
        if special != Special::default() {
            grant.special = Some(Arc::new(special));
        }
        grant
    }

    /// What one subscription alone comes to.
    pub(crate) fn of_one(subscription: &Subscription) -> Self {
        Self::of([Wanted::new(subscription)].iter(), None)
    }

    /// What several subscriptions come to together; `None` if there is none.
    pub(crate) fn of_all(subscriptions: impl Iterator<Item = Subscription>) -> Option<Self> {
        let wanted: Vec<Wanted> = subscriptions.map(|subscription| Wanted::new(&subscription)).collect();
        (!wanted.is_empty()).then(|| Self::of(wanted.iter(), None))
    }

    /// On what terms a message is delivered that was published with this QoS and RETAIN flag.
    pub(crate) fn terms(&self, qos: QoS, retained: bool) -> Terms {
        Terms {
            qos: qos.min(self.qos),
            retain: retained && self.retain_as_published,
            special: self.special.clone(),
        }
    }
}

impl Target {
    /// What the client gets of a message by `publisher`.
    pub(crate) fn grant(&self, publisher: Option<SubscriberId>) -> Option<&Grant> {
        match &self.own {
            Some(own) if publisher == Some(self.client.subscriber) => own.as_ref().as_ref(),
            _ => Some(&self.grant),
        }
    }
}

/// Brings together what the tree has found for `topic`, sorted by subscriber. `each`: one copy for each subscription.
pub(super) fn targets(
    topic: &str,
    found: &[(SubscriberId, Wanted)],
    clients: &Slab<Arc<Client>>,
    each: bool,
) -> (Box<[Target]>, bool) {
    let mut provenance = false;
    let together = |a: &(SubscriberId, Wanted), b: &(SubscriberId, Wanted)| a.0 == b.0 && !each;
    let targets = found.chunk_by(together).filter_map(|group| {
        let (subscriber, _) = group.first()?;
        let client = clients.get(subscriber.0 as usize)?;
        let all = group.iter().map(|(_, wanted)| wanted);
        let grant = Grant::of(all.clone(), None);
        provenance |= all.clone().any(|wanted| wanted.has(PROVENANCE));
        let own = all.clone().any(|wanted| wanted.has(NO_LOCAL)).then(|| {
            let mut others = all.filter(|wanted| !wanted.has(NO_LOCAL)).peekable();
            let any = others.peek().is_some();
            Box::new(any.then(|| Grant::of(others, None)))
        });
        let may = client.verdict_on(topic);
        Some(Target { client: Arc::clone(client), may, grant, own })
    });
    let targets = targets.collect();
    (targets, provenance)
}

fn put_identifier(out: &mut Vec<u8>, mut identifier: u32) {
    out.push(SUBSCRIPTION_IDENTIFIER);
    while identifier >= 0x80 {
        out.push((identifier & 0x7f) as u8 | 0x80);
        identifier >>= 7;
    }
    out.push(identifier as u8);
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn wanted(qos: QoS, identifier: u32) -> Wanted {
        let identifier = NonZeroU32::new(identifier);
        Wanted::new(&Subscription { identifier, ..Subscription::of(qos) })
    }

    #[test]
    fn the_greatest_qos_and_all_identifiers_count() {
        let all = [wanted(QoS::AtLeastOnce, 1), wanted(QoS::AtMostOnce, 0), wanted(QoS::AtMostOnce, 300)];
        let grant = Grant::of(all.iter(), None);
        assert_eq!(grant.qos, QoS::AtLeastOnce);
        let special = grant.special.unwrap();
        assert_eq!(&*special.identifiers, [0x0b, 1, 0x0b, 0xac, 2]);
        assert_eq!(Grant::of([wanted(QoS::AtMostOnce, 0)].iter(), None), Grant::default());
    }

    #[test]
    fn retain_is_kept_only_where_it_is_wanted() {
        let plain = Wanted::new(&Subscription::of(QoS::ExactlyOnce));
        let kept = Subscription { retain_as_published: true, ..Subscription::of(QoS::AtMostOnce) };
        let grant = Grant::of([plain].iter(), None);
        assert!(!grant.terms(QoS::AtMostOnce, true).retain);
        let grant = Grant::of([plain, Wanted::new(&kept)].iter(), None);
        assert!(grant.terms(QoS::AtMostOnce, true).retain);
        assert!(!grant.terms(QoS::AtMostOnce, false).retain);
        assert_eq!(grant.terms(QoS::AtLeastOnce, false).qos, QoS::AtLeastOnce);
    }
}
