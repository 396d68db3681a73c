//! Every counter of the broker, for whoever renders them: `$SYS`, Prometheus, tests.
//!
//! Connections count in plain integers ([`Tally`]) and add them to the shared atomics once per batch.

use std::sync::atomic::{AtomicU64, Ordering};

/// Why a message was not delivered or not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// QoS 0, and the subscriber's outbox or the room of all outboxes was full.
    OutboxFull,
    /// QoS 1 or 2, and the subscriber's queue or the room of all queues was full.
    QueueFull,
    /// The publisher had no right to publish it.
    PublishDenied,
    /// The subscriber had no right to get it.
    ReceiveDenied,
    /// A retained message whose payload the embedder refused.
    BadPayload,
    /// A retained message beyond a limit of the embedder.
    Quota,
    /// A client published to `$SYS/...`, which is the broker's own.
    Reserved,
    /// The topic has too many bytes or levels.
    TopicTooLong,
    /// The packet is larger than the subscriber takes.
    TooLarge,
    /// Its time was over before the subscriber got it.
    Expired,
    /// No member of a shared subscription could take it.
    NoMember,
    /// The payload is not of the kind that its publisher says, or its topic is not what a client may publish to.
    Invalid,
    /// The packet is beyond what the broker offers: its QoS, or RETAIN.
    NotOffered,
    /// It was to be published later, and too many messages wait for that already.
    DelayedFull,
}

/// Why a connection was turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// No room for another connection.
    TooManyConnections,
    /// No room for another session.
    TooManySessions,
    /// No whole CONNECT in time.
    ConnectTimeout,
    /// The first bytes were no CONNECT.
    NotMqtt,
    /// A protocol level that the broker doesn't speak.
    ProtocolLevel,
    /// A client identifier that is not allowed.
    ClientId,
    /// Wrong user name or password.
    BadCredentials,
    /// The user may not connect.
    NotAuthorized,
    /// Nobody could be checked, or the previous connection of this client did not end in time.
    Unavailable,
    /// The will is beyond what the broker offers.
    NotOffered,
    /// Clients are sent to another server.
    Redirected,
}

/// What kind of number a [`Sample`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
}

/// One number with what is to be known about it.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// The name, in the style of Prometheus, with its unit and without a prefix.
    pub name: &'static str,
    /// What it counts.
    pub help: &'static str,
    /// Counter or gauge.
    pub kind: Kind,
    /// A label and its value, where one name has several numbers.
    pub label: Option<(&'static str, &'static str)>,
    /// The number.
    pub value: u64,
}

/// A shared number.
#[derive(Debug, Default)]
pub struct Number(AtomicU64);

impl Number {
    /// Its value now.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, n: u64) {
        if n > 0 {
            self.0.fetch_add(n, Ordering::Relaxed);
        }
    }

    pub(crate) fn sub(&self, n: u64) {
        if n > 0 {
            self.0.fetch_sub(n, Ordering::Relaxed);
        }
    }

    pub(crate) fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    pub(crate) fn raise_to(&self, n: u64) {
        self.0.fetch_max(n, Ordering::Relaxed);
    }
}

/// Declares the fields and, from the same lines, how they are told.
macro_rules! metrics {
    ($( $field:ident: $kind:ident $name:literal $(($label:literal = $value:literal))? $help:literal; )*) => {
        /// All numbers. Fields carry the same meaning as the sample of their name.
        #[derive(Debug, Default)]
        pub struct Metrics {
            $( #[doc = $help] pub $field: Number, )*
        }

        impl Metrics {
            /// Tells every number to `tell`; those of one name follow each other.
            pub fn visit(&self, tell: &mut dyn FnMut(Sample)) {
                $( tell(Sample {
                    name: $name,
                    help: $help,
                    kind: Kind::$kind,
                    label: metrics!(@label $(($label = $value))?),
                    value: self.$field.get(),
                }); )*
            }
        }
    };
    (@label) => { None };
    (@label ($label:literal = $value:literal)) => { Some(($label, $value)) };
}

metrics! {
    connections: Gauge "connections" "Connections whose CONNECT was accepted.";
    connections_max: Gauge "connections_max" "The most accepted connections at a time since the start.";
    sockets: Gauge "sockets" "Open sockets, including those that have not sent a CONNECT.";
    sockets_opened: Counter "sockets_opened_total" "Sockets accepted since the start.";
    accept_errors: Counter "accept_errors_total" "Failed attempts to accept a socket, such as for lack of file descriptors.";
    connects: Counter "connects_total" "Accepted CONNECT packets.";
    takeovers: Counter "takeovers_total" "Connections closed since their client connected anew.";
    refused_connections: Counter "refused_total" ("reason" = "too_many_connections") "Connections turned away.";
    refused_sessions: Counter "refused_total" ("reason" = "too_many_sessions") "Connections turned away.";
    refused_timeout: Counter "refused_total" ("reason" = "connect_timeout") "Connections turned away.";
    refused_not_mqtt: Counter "refused_total" ("reason" = "not_mqtt") "Connections turned away.";
    refused_level: Counter "refused_total" ("reason" = "protocol_level") "Connections turned away.";
    refused_client_id: Counter "refused_total" ("reason" = "client_id") "Connections turned away.";
    refused_credentials: Counter "refused_total" ("reason" = "bad_credentials") "Connections turned away.";
    refused_not_authorized: Counter "refused_total" ("reason" = "not_authorized") "Connections turned away.";
    refused_unavailable: Counter "refused_total" ("reason" = "unavailable") "Connections turned away.";
    refused_not_offered: Counter "refused_total" ("reason" = "not_offered") "Connections turned away.";
    refused_redirected: Counter "refused_total" ("reason" = "redirected") "Connections turned away.";
    protocol_errors: Counter "protocol_errors_total" "Connections closed since the client broke the protocol.";
    keep_alive_timeouts: Counter "keep_alive_timeouts_total" "Connections closed since the client was silent for 1.5 keep alives.";
    write_stalls: Counter "write_stalls_total" "Connections closed since the client read nothing while data waited.";
    packet_stalls: Counter "packet_stalls_total" "Connections closed since there was no room for their large packet.";
    sessions: Gauge "sessions" "Sessions, with and without a connection.";
    sessions_expired: Counter "sessions_expired_total" "Sessions forgotten since their client stayed away too long.";
    subscriptions: Gauge "subscriptions" "Subscriptions of all sessions.";
    subscriptions_refused: Counter "subscriptions_refused_total" "Subscriptions answered with 0x80.";
    packets_received: Counter "packets_received_total" "Packets of any type from clients.";
    packets_sent: Counter "packets_sent_total" "Packets of any type handed to sockets.";
    bytes_received: Counter "received_bytes_total" "Bytes read from sockets.";
    bytes_sent: Counter "sent_bytes_total" "Bytes written to sockets.";
    publish_received: Counter "publish_received_total" "PUBLISH packets from clients.";
    publish_sent: Counter "publish_sent_total" "PUBLISH packets handed to sockets.";
    publish_bytes_received: Counter "publish_received_bytes_total" "Payload bytes of PUBLISH packets from clients.";
    publish_bytes_sent: Counter "publish_sent_bytes_total" "Payload bytes of PUBLISH packets handed to sockets.";
    dropped_outbox: Counter "publish_dropped_total" ("reason" = "outbox_full") "Messages not delivered or not taken.";
    dropped_queue: Counter "publish_dropped_total" ("reason" = "queue_full") "Messages not delivered or not taken.";
    dropped_publish_denied: Counter "publish_dropped_total" ("reason" = "publish_denied") "Messages not delivered or not taken.";
    dropped_receive_denied: Counter "publish_dropped_total" ("reason" = "receive_denied") "Messages not delivered or not taken.";
    dropped_payload: Counter "publish_dropped_total" ("reason" = "bad_payload") "Messages not delivered or not taken.";
    dropped_quota: Counter "publish_dropped_total" ("reason" = "quota") "Messages not delivered or not taken.";
    dropped_reserved: Counter "publish_dropped_total" ("reason" = "reserved_topic") "Messages not delivered or not taken.";
    dropped_topic: Counter "publish_dropped_total" ("reason" = "topic_too_long") "Messages not delivered or not taken.";
    dropped_too_large: Counter "publish_dropped_total" ("reason" = "larger_than_the_client_takes") "Messages not delivered or not taken.";
    dropped_expired: Counter "publish_dropped_total" ("reason" = "expired") "Messages not delivered or not taken.";
    dropped_no_member: Counter "publish_dropped_total" ("reason" = "no_member_of_the_group") "Messages not delivered or not taken.";
    dropped_invalid: Counter "publish_dropped_total" ("reason" = "invalid") "Messages not delivered or not taken.";
    dropped_not_offered: Counter "publish_dropped_total" ("reason" = "not_offered") "Messages not delivered or not taken.";
    dropped_delayed: Counter "publish_dropped_total" ("reason" = "delayed_full") "Messages not delivered or not taken.";
    publisher_stalls: Counter "publisher_stalls_total" "Times that a publisher waited for a slower subscriber.";
    queued_messages: Gauge "queued_messages" "Messages waiting in sessions.";
    queued_bytes: Gauge "queued_bytes" "Bytes of messages waiting in sessions.";
    outbox_bytes: Gauge "outbox_bytes" "Bytes on their way to clients, apart from the first 4 KiB of each.";
    unfinished_bytes: Gauge "unfinished_packet_bytes" "Bytes held for large packets of which only a part has arrived.";
    wills_published: Counter "wills_published_total" "Wills published.";
    wills_waiting: Gauge "wills_waiting" "Wills that wait for their client's return.";
    delayed_messages: Gauge "delayed_messages" "Messages that wait to be published later.";
    delayed_bytes: Gauge "delayed_bytes" "Bytes of messages that wait to be published later.";
    delayed_released: Counter "delayed_released_total" "Delayed messages published at their time.";
    delayed_cancelled: Counter "delayed_cancelled_total" "Delayed messages cancelled by an administrator.";
    replays_pending: Gauge "replays_pending" "Replays of retained messages under way.";
    limit_connections: Gauge "limit" ("of" = "connections") "Limits, in the unit of what they limit.";
    limit_packet_bytes: Gauge "limit" ("of" = "packet_bytes") "Limits, in the unit of what they limit.";
    limit_unfinished_bytes: Gauge "limit" ("of" = "unfinished_packet_bytes") "Limits, in the unit of what they limit.";
    limit_pending_handshakes: Gauge "limit" ("of" = "pending_handshakes") "Limits, in the unit of what they limit.";
    limit_topic_bytes: Gauge "limit" ("of" = "topic_bytes") "Limits, in the unit of what they limit.";
    limit_topic_levels: Gauge "limit" ("of" = "topic_levels") "Limits, in the unit of what they limit.";
    limit_subscriptions: Gauge "limit" ("of" = "subscriptions_per_client") "Limits, in the unit of what they limit.";
    limit_inflight: Gauge "limit" ("of" = "inflight_messages") "Limits, in the unit of what they limit.";
    limit_queue_messages: Gauge "limit" ("of" = "queue_messages") "Limits, in the unit of what they limit.";
    limit_queue_bytes: Gauge "limit" ("of" = "queue_bytes") "Limits, in the unit of what they limit.";
    limit_queues_bytes: Gauge "limit" ("of" = "queues_bytes") "Limits, in the unit of what they limit.";
    limit_outbox_bytes: Gauge "limit" ("of" = "outbox_bytes") "Limits, in the unit of what they limit.";
    limit_outbox_messages: Gauge "limit" ("of" = "outbox_messages") "Limits, in the unit of what they limit.";
    limit_outboxes_bytes: Gauge "limit" ("of" = "outboxes_bytes") "Limits, in the unit of what they limit.";
    limit_sessions: Gauge "limit" ("of" = "sessions") "Limits, in the unit of what they limit.";
    limit_delayed_messages: Gauge "limit" ("of" = "delayed_messages") "Limits, in the unit of what they limit.";
    limit_delayed_bytes: Gauge "limit" ("of" = "delayed_bytes") "Limits, in the unit of what they limit.";
    limit_connect_seconds: Gauge "limit" ("of" = "connect_timeout_seconds") "Limits, in the unit of what they limit.";
    limit_session_seconds: Gauge "limit" ("of" = "session_expiry_seconds") "Limits, in the unit of what they limit.";
}

impl Metrics {
    /// Counts `n` messages that were dropped.
    pub(crate) fn dropped(&self, reason: Dropped, n: u64) {
        let number = match reason {
            Dropped::OutboxFull => &self.dropped_outbox,
            Dropped::QueueFull => &self.dropped_queue,
            Dropped::PublishDenied => &self.dropped_publish_denied,
            Dropped::ReceiveDenied => &self.dropped_receive_denied,
            Dropped::BadPayload => &self.dropped_payload,
            Dropped::Quota => &self.dropped_quota,
            Dropped::Reserved => &self.dropped_reserved,
            Dropped::TopicTooLong => &self.dropped_topic,
            Dropped::TooLarge => &self.dropped_too_large,
            Dropped::Expired => &self.dropped_expired,
            Dropped::NoMember => &self.dropped_no_member,
            Dropped::Invalid => &self.dropped_invalid,
            Dropped::NotOffered => &self.dropped_not_offered,
            Dropped::DelayedFull => &self.dropped_delayed,
        };
        number.add(n);
    }

    /// Counts a connection that was turned away.
    pub(crate) fn refused(&self, reason: Refused) {
        let number = match reason {
            Refused::TooManyConnections => &self.refused_connections,
            Refused::TooManySessions => &self.refused_sessions,
            Refused::ConnectTimeout => &self.refused_timeout,
            Refused::NotMqtt => &self.refused_not_mqtt,
            Refused::ProtocolLevel => &self.refused_level,
            Refused::ClientId => &self.refused_client_id,
            Refused::BadCredentials => &self.refused_credentials,
            Refused::NotAuthorized => &self.refused_not_authorized,
            Refused::Unavailable => &self.refused_unavailable,
            Refused::NotOffered => &self.refused_not_offered,
            Refused::Redirected => &self.refused_redirected,
        };
        number.add(1);
    }

    /// Messages dropped for any reason.
    #[must_use]
    pub fn dropped_total(&self) -> u64 {
        let mut total = 0;
        self.visit(&mut |sample| {
            if sample.name == "publish_dropped_total" {
                total += sample.value;
            }
        });
        total
    }

    pub(crate) fn show_limits(&self, limits: &crate::limits::Limits) {
        self.limit_connections.set(limits.connections as u64);
        self.limit_packet_bytes.set(limits.packet_bytes as u64);
        self.limit_unfinished_bytes.set(limits.unfinished_bytes as u64);
        self.limit_pending_handshakes.set(limits.pending_handshakes as u64);
        self.limit_topic_bytes.set(limits.topic_bytes as u64);
        self.limit_topic_levels.set(limits.topic_levels as u64);
        self.limit_subscriptions.set(limits.subscriptions as u64);
        self.limit_inflight.set(limits.inflight.into());
        self.limit_queue_messages.set(limits.queue_messages as u64);
        self.limit_queue_bytes.set(limits.queue_bytes as u64);
        self.limit_queues_bytes.set(limits.queues_bytes as u64);
        self.limit_outbox_bytes.set(limits.outbox_bytes as u64);
        self.limit_outbox_messages.set(limits.outbox_messages as u64);
        self.limit_outboxes_bytes.set(limits.outboxes_bytes as u64);
        self.limit_sessions.set(limits.sessions as u64);
        self.limit_delayed_messages.set(limits.delayed_messages as u64);
        self.limit_delayed_bytes.set(limits.delayed_bytes as u64);
        self.limit_connect_seconds.set(limits.connect_timeout.as_secs());
        self.limit_session_seconds.set(limits.session_expiry.as_secs());
    }
}

/// What one connection counted in one batch.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) bytes_received: u64,
    pub(crate) packets_received: u64,
    pub(crate) publish_received: u64,
    pub(crate) publish_bytes_received: u64,
    pub(crate) dropped_outbox: u64,
    pub(crate) dropped_queue: u64,
}

impl Tally {
    /// Adds the counts to the shared numbers and begins anew.
    pub(crate) fn flush(&mut self, metrics: &Metrics) {
        let counted = std::mem::take(self);
        metrics.bytes_received.add(counted.bytes_received);
        metrics.packets_received.add(counted.packets_received);
        metrics.publish_received.add(counted.publish_received);
        metrics.publish_bytes_received.add(counted.publish_bytes_received);
        metrics.dropped_outbox.add(counted.dropped_outbox);
        metrics.dropped_queue.add(counted.dropped_queue);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_one_name_follow_each_other_and_differ_by_label() {
        let mut seen: Vec<(&str, Option<(&str, &str)>)> = Vec::new();
        Metrics::default().visit(&mut |sample| {
            let known = seen.iter().any(|(name, _)| *name == sample.name);
            assert!(!known || seen.last().map(|(name, _)| *name) == Some(sample.name), "{}", sample.name);
            assert!(!seen.contains(&(sample.name, sample.label)), "{} twice", sample.name);
            seen.push((sample.name, sample.label));
        });
        assert!(seen.len() > 40);
    }

    #[test]
    fn a_tally_is_added_once() {
        let metrics = Metrics::default();
        let mut tally = Tally { packets_received: 3, dropped_outbox: 2, ..Tally::default() };
        tally.flush(&metrics);
        tally.flush(&metrics);
        assert_eq!(metrics.packets_received.get(), 3);
        assert_eq!(metrics.dropped_total(), 2);
    }
}
