//! `[limits]`: the broker's limits, under the same names.

use distkv_broker::limits::{DropPolicy, Limits as BrokerLimits, RateAction as BrokerAction};
use serde::{Deserialize, Serialize};

use super::Offer;
use super::units::{Period, Size};

/// Every limit of the broker; see [`distkv_broker::limits::Limits`] for what each means and what happens at it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "the broker's limits of these names have the docs")]
pub struct Limits {
    pub connections: usize,
    pub pending_handshakes: usize,
    pub connect_timeout: Period,
    pub packet_bytes: Size,
    pub unfinished_bytes: Size,
    pub topic_bytes: Size,
    pub topic_levels: usize,
    pub subscriptions: usize,
    pub inflight: u16,
    pub queue_messages: usize,
    pub queue_bytes: Size,
    pub queues_bytes: Size,
    pub queue_drop: QueueDrop,
    pub receive_maximum: u16,
    pub topic_aliases: u16,
    pub topic_aliases_out: u16,
    pub keep_alive_max: u16,
    pub outbox_bytes: Size,
    pub outbox_messages: usize,
    pub outboxes_bytes: Size,
    pub publisher_stall: Period,
    pub write_stall: Period,
    pub sessions: usize,
    pub session_expiry: Period,
    pub will_grace: Period,
    pub delayed_messages: usize,
    pub delayed_bytes: Size,
    pub match_cache: usize,
    pub sys_interval: Period,
    pub publish_rate: u32,
    pub publish_burst: u32,
    pub publish_bytes_rate: Size,
    pub publish_bytes_burst: Size,
    pub total_publish_rate: u32,
    pub total_publish_bytes_rate: Size,
    pub rate_action: RateAction,
    pub connection_rate: u32,
    pub connection_burst: u32,
    pub flap_count: u32,
    pub flap_window: Period,
    pub flap_delay: Period,
    pub retained_messages: u64,
    pub retained_bytes: Size,
    pub memory_bytes: Size,
}

/// What a full queue drops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum QueueDrop {
    /// The message that arrives.
    Newest,
    /// The one that waits longest.
    Oldest,
}

/// What happens to a client that is faster than its rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RateAction {
    /// It is not read from until it is its turn again.
    Wait,
    /// It is disconnected.
    Disconnect,
}

impl RateAction {
    fn of_broker(action: BrokerAction) -> Self {
        match action {
            BrokerAction::Wait => Self::Wait,
            BrokerAction::Disconnect => Self::Disconnect,
        }
    }

    fn for_broker(self) -> BrokerAction {
        match self {
            Self::Wait => BrokerAction::Wait,
            Self::Disconnect => BrokerAction::Disconnect,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        let broker = BrokerLimits::default();
        let size = |bytes: usize| Size(bytes as u64);
        Self {
            connections: broker.connections,
            pending_handshakes: broker.pending_handshakes,
            connect_timeout: Period(broker.connect_timeout),
            packet_bytes: size(broker.packet_bytes),
            unfinished_bytes: size(broker.unfinished_bytes),
            topic_bytes: size(broker.topic_bytes),
            topic_levels: broker.topic_levels,
            subscriptions: broker.subscriptions,
            inflight: broker.inflight,
            queue_messages: broker.queue_messages,
            queue_bytes: size(broker.queue_bytes),
            queues_bytes: size(broker.queues_bytes),
            queue_drop: match broker.queue_drop {
                DropPolicy::Newest => QueueDrop::Newest,
                DropPolicy::Oldest => QueueDrop::Oldest,
            },
            receive_maximum: broker.receive_maximum,
            topic_aliases: broker.topic_aliases,
            topic_aliases_out: broker.topic_aliases_out,
            keep_alive_max: broker.keep_alive_max,
            outbox_bytes: size(broker.outbox_bytes),
            outbox_messages: broker.outbox_messages,
            outboxes_bytes: size(broker.outboxes_bytes),
            publisher_stall: Period(broker.publisher_stall),
            write_stall: Period(broker.write_stall),
            sessions: broker.sessions,
            session_expiry: Period(broker.session_expiry),
            will_grace: Period(broker.will_grace),
            delayed_messages: broker.delayed_messages,
            delayed_bytes: size(broker.delayed_bytes),
            match_cache: broker.match_cache,
            sys_interval: Period(broker.sys_interval),
            publish_rate: broker.publish_rate,
            publish_burst: broker.publish_burst,
            publish_bytes_rate: size(broker.publish_bytes_rate),
            publish_bytes_burst: size(broker.publish_bytes_burst),
            total_publish_rate: broker.total_publish_rate,
            total_publish_bytes_rate: size(broker.total_publish_bytes_rate),
            rate_action: RateAction::of_broker(broker.rate_action),
            connection_rate: broker.connection_rate,
            connection_burst: broker.connection_burst,
            flap_count: broker.flap_count,
            flap_window: Period(broker.flap_window),
            flap_delay: Period(broker.flap_delay),
            retained_messages: broker.retained_messages,
            retained_bytes: Size(broker.retained_bytes),
            memory_bytes: size(broker.memory_bytes),
        }
    }
}

impl Limits {
    /// The same for the broker, with what is offered.
    pub(super) fn for_broker(&self, offer: &Offer) -> BrokerLimits {
        BrokerLimits {
            connections: self.connections,
            pending_handshakes: self.pending_handshakes,
            connect_timeout: self.connect_timeout.0,
            packet_bytes: self.packet_bytes.as_usize(),
            unfinished_bytes: self.unfinished_bytes.as_usize(),
            topic_bytes: self.topic_bytes.as_usize(),
            topic_levels: self.topic_levels,
            subscriptions: self.subscriptions,
            inflight: self.inflight,
            queue_messages: self.queue_messages,
            queue_bytes: self.queue_bytes.as_usize(),
            queues_bytes: self.queues_bytes.as_usize(),
            queue_drop: match self.queue_drop {
                QueueDrop::Newest => DropPolicy::Newest,
                QueueDrop::Oldest => DropPolicy::Oldest,
            },
            receive_maximum: self.receive_maximum,
            topic_aliases: self.topic_aliases,
            topic_aliases_out: self.topic_aliases_out,
            keep_alive_max: self.keep_alive_max,
            copies: offer.copies(),
            shared_strategy: offer.strategy(),
            offer: offer.for_broker(),
            outbox_bytes: self.outbox_bytes.as_usize(),
            outbox_messages: self.outbox_messages,
            outboxes_bytes: self.outboxes_bytes.as_usize(),
            publisher_stall: self.publisher_stall.0,
            write_stall: self.write_stall.0,
            sessions: self.sessions,
            session_expiry: self.session_expiry.0,
            will_grace: self.will_grace.0,
            delayed_messages: self.delayed_messages,
            delayed_bytes: self.delayed_bytes.as_usize(),
            match_cache: self.match_cache,
            sys_interval: self.sys_interval.0,
            publish_rate: self.publish_rate,
            publish_burst: self.publish_burst,
            publish_bytes_rate: self.publish_bytes_rate.as_usize(),
            publish_bytes_burst: self.publish_bytes_burst.as_usize(),
            total_publish_rate: self.total_publish_rate,
            total_publish_bytes_rate: self.total_publish_bytes_rate.as_usize(),
            rate_action: self.rate_action.for_broker(),
            connection_rate: self.connection_rate,
            connection_burst: self.connection_burst,
            flap_count: self.flap_count,
            flap_window: self.flap_window.0,
            flap_delay: self.flap_delay.0,
            retained_messages: self.retained_messages,
            retained_bytes: self.retained_bytes.0,
            memory_bytes: self.memory_bytes.as_usize(),
        }
    }

    /// The keys that must not be zero, each with whether it is.
    pub(super) fn zeros(&self) -> [(&'static str, bool); 16] {
        let zero = Period::secs(0);
        [
            ("limits.connections", self.connections == 0),
            ("limits.pending_handshakes", self.pending_handshakes == 0),
            ("limits.connect_timeout", self.connect_timeout == zero),
            ("limits.packet_bytes", self.packet_bytes.0 == 0),
            ("limits.unfinished_bytes", self.unfinished_bytes.0 == 0),
            ("limits.topic_bytes", self.topic_bytes.0 == 0),
            ("limits.topic_levels", self.topic_levels == 0),
            ("limits.subscriptions", self.subscriptions == 0),
            ("limits.inflight", self.inflight == 0),
            ("limits.receive_maximum", self.receive_maximum == 0),
            ("limits.outbox_bytes", self.outbox_bytes.0 == 0),
            ("limits.outbox_messages", self.outbox_messages == 0),
            ("limits.outboxes_bytes", self.outboxes_bytes.0 == 0),
            ("limits.write_stall", self.write_stall == zero),
            ("limits.sessions", self.sessions == 0),
            ("limits.flap_window", self.flap_window == zero),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_the_brokers() {
        assert_eq!(Limits::default().for_broker(&Offer::default()), BrokerLimits::default());
    }
}
