//! `[mqtt.offer]`: what is offered to clients, and how their subscriptions work.

use distkv_broker::limits::{Copies, Offer as BrokerOffer, Redirect, SharedStrategy};
use distkv_broker::message::QoS;
use serde::{Deserialize, Serialize};

/// See [`distkv_broker::limits::Offer`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Offer {
    /// The greatest QoS.
    pub maximum_qos: u8,
    /// Retained messages.
    pub retain: bool,
    /// Subscriptions with `+` and `#`.
    pub wildcard_subscriptions: bool,
    /// Subscription identifiers.
    pub subscription_identifiers: bool,
    /// `$share/GROUP/FILTER`.
    pub shared_subscriptions: bool,
    /// Who of a group gets a message.
    pub shared_strategy: Strategy,
    /// How many copies a client gets by overlapping subscriptions.
    pub copies: CopiesOf,
    /// Whether payloads that are said to be UTF-8 are looked at.
    pub check_payload_format: bool,
    /// `HOST:PORT` where clients are to go instead; empty: they are served.
    pub redirect: String,
    /// They are to go there for good.
    pub redirect_permanent: bool,
}

/// Who of a shared subscription gets a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// One after another.
    RoundRobin,
    /// Always the same, as long as it takes messages.
    Sticky,
    /// Who has the fewest messages waiting.
    LeastQueued,
}

/// How many copies of a message a client gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CopiesOf {
    /// One.
    One,
    /// One for each subscription that matches.
    Each,
}

impl Default for Offer {
    fn default() -> Self {
        Self {
            maximum_qos: 2,
            retain: true,
            wildcard_subscriptions: true,
            subscription_identifiers: true,
            shared_subscriptions: true,
            shared_strategy: Strategy::RoundRobin,
            copies: CopiesOf::One,
            check_payload_format: false,
            redirect: String::new(),
            redirect_permanent: false,
        }
    }
}

impl Offer {
    /// The same for the broker. A QoS above 2 has been refused by the check.
    pub(super) fn for_broker(&self) -> BrokerOffer {
        BrokerOffer {
            maximum_qos: QoS::from_u8(self.maximum_qos).unwrap_or(QoS::ExactlyOnce),
            retain: self.retain,
            wildcards: self.wildcard_subscriptions,
            identifiers: self.subscription_identifiers,
            shared: self.shared_subscriptions,
            check_payloads: self.check_payload_format,
            redirect: (!self.redirect.is_empty())
                .then(|| Redirect { to: self.redirect.clone(), permanent: self.redirect_permanent }),
        }
    }

    pub(super) fn strategy(&self) -> SharedStrategy {
        match self.shared_strategy {
            Strategy::RoundRobin => SharedStrategy::RoundRobin,
            Strategy::Sticky => SharedStrategy::Sticky,
            Strategy::LeastQueued => SharedStrategy::LeastQueued,
        }
    }

    pub(super) fn copies(&self) -> Copies {
        match self.copies {
            CopiesOf::One => Copies::One,
            CopiesOf::Each => Copies::Each,
        }
    }
}
