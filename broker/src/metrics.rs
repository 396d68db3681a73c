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
    /// The memory budget is nearly used up, and the subscriber is slow or away.
    Memory,
    /// It was to be published later, and too many messages wait for that already.
    DelayedFull,
}

impl Dropped {
    /// All reasons, each at the place of its number.
    pub const ALL: [Self; 14] = [
        Self::OutboxFull,
        Self::QueueFull,
        Self::PublishDenied,
        Self::ReceiveDenied,
        Self::BadPayload,
        Self::Quota,
        Self::Reserved,
        Self::TopicTooLong,
        Self::TooLarge,
        Self::Expired,
        Self::NoMember,
        Self::Invalid,
        Self::Memory,
        Self::DelayedFull,
    ];

    /// Its name, as the label `reason` has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::OutboxFull => "outbox_full",
            Self::QueueFull => "queue_full",
            Self::PublishDenied => "publish_denied",
            Self::ReceiveDenied => "receive_denied",
            Self::BadPayload => "bad_payload",
            Self::Quota => "quota",
            Self::Reserved => "reserved_topic",
            Self::TopicTooLong => "topic_too_long",
            Self::TooLarge => "larger_than_the_client_takes",
            Self::Expired => "expired",
            Self::NoMember => "no_member_of_the_group",
            Self::Invalid => "invalid",
            Self::Memory => "memory",
            Self::DelayedFull => "delayed_full",
        }
    }
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
    /// A wrong or missing PROXY header.
    Proxy,
    /// TLS did not come about.
    Tls,
    /// WebSocket did not come about.
    WebSocket,
    /// Nobody could be checked, or the previous connection of this client did not end in time.
    Unavailable,
    /// The will is beyond what the broker offers.
    NotOffered,
    /// Clients are sent to another server.
    Redirected,
    /// The memory budget is nearly used up.
    Memory,
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
    takeover_loops: Counter "takeover_loops_total" "Times that devices with one client id were seen to throw each other out again and again.";
    flapping_clients: Counter "flapping_clients_total" "Times that a client was found to connect too often.";
    flapping_delays: Counter "flapping_delays_total" "CONNECT packets whose answer was delayed since their client connects too often.";
    flapping_forgotten: Counter "flapping_forgotten_total" "Clients forgotten by the table of those that connect often, for lack of room.";
    admin_disconnects: Counter "admin_disconnects_total" "Connections closed by an administrator.";
    users_closed: Counter "users_closed_total" "Connections closed since their user, or what he may, has changed.";
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
    refused_memory: Counter "refused_total" ("reason" = "memory") "Connections turned away.";
    refused_proxy: Counter "refused_total" ("reason" = "proxy_header") "Connections turned away.";
    refused_tls: Counter "refused_total" ("reason" = "tls") "Connections turned away.";
    refused_websocket: Counter "refused_total" ("reason" = "websocket") "Connections turned away.";
    protocol_errors: Counter "protocol_errors_total" "Connections closed since the client broke the protocol.";
    keep_alive_timeouts: Counter "keep_alive_timeouts_total" "Connections closed since the client was silent for 1.5 keep alives.";
    write_stalls: Counter "write_stalls_total" "Connections closed since the client read nothing while data waited.";
    packet_stalls: Counter "packet_stalls_total" "Connections closed since there was no room for their large packet.";
    sessions: Gauge "sessions" "Sessions, with and without a connection.";
    sessions_expired: Counter "sessions_expired_total" "Sessions forgotten since their client stayed away too long.";
    sessions_dropped: Counter "sessions_dropped_total" "Sessions dropped by an administrator.";
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
    dropped_memory: Counter "publish_dropped_total" ("reason" = "memory") "Messages not delivered or not taken.";
    dropped_delayed: Counter "publish_dropped_total" ("reason" = "delayed_full") "Messages not delivered or not taken.";
    publisher_stalls: Counter "publisher_stalls_total" "Times that a publisher waited for a slower subscriber.";
    rate_waits_messages: Counter "rate_waits_total" ("limit" = "publish_rate") "Times that a client had to wait since it, or all together, reached a rate.";
    rate_waits_bytes: Counter "rate_waits_total" ("limit" = "publish_bytes_rate") "Times that a client had to wait since it, or all together, reached a rate.";
    rate_waits_total_messages: Counter "rate_waits_total" ("limit" = "total_publish_rate") "Times that a client had to wait since it, or all together, reached a rate.";
    rate_waits_total_bytes: Counter "rate_waits_total" ("limit" = "total_publish_bytes_rate") "Times that a client had to wait since it, or all together, reached a rate.";
    rate_waits_connections: Counter "rate_waits_total" ("limit" = "connection_rate") "Times that a client had to wait since it, or all together, reached a rate.";
    rate_disconnects_messages: Counter "rate_disconnects_total" ("limit" = "publish_rate") "Connections closed since the client published faster than its rate.";
    rate_disconnects_bytes: Counter "rate_disconnects_total" ("limit" = "publish_bytes_rate") "Connections closed since the client published faster than its rate.";
    queued_messages: Gauge "queued_messages" "Messages waiting in sessions.";
    queued_bytes: Gauge "queued_bytes" "Bytes of messages waiting in sessions.";
    outbox_bytes: Gauge "outbox_bytes" "Bytes on their way to clients, apart from the first 4 KiB of each.";
    unfinished_bytes: Gauge "unfinished_packet_bytes" "Bytes held for large packets of which only a part has arrived.";
    memory_bytes: Gauge "memory_budget_bytes" "What counts against the memory budget, while there is one.";
    memory_pressure: Gauge "memory_pressure" "What is shed for the memory budget: 0 nothing, 1 QoS 0 to slow clients, 2 also messages for clients that are away, 3 also new connections, 4 also new retained messages.";
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
    limit_write_stall: Gauge "limit" ("of" = "write_stall_seconds") "Limits, in the unit of what they limit.";
    limit_publisher_stall: Gauge "limit" ("of" = "publisher_stall_milliseconds") "Limits, in the unit of what they limit.";
    limit_will_grace: Gauge "limit" ("of" = "will_grace_seconds") "Limits, in the unit of what they limit.";
    limit_sys_interval: Gauge "limit" ("of" = "sys_interval_seconds") "Limits, in the unit of what they limit.";
    limit_match_cache: Gauge "limit" ("of" = "match_cache_topics") "Limits, in the unit of what they limit.";
    limit_publish_rate: Gauge "limit" ("of" = "publish_rate") "Limits, in the unit of what they limit.";
    limit_publish_burst: Gauge "limit" ("of" = "publish_burst") "Limits, in the unit of what they limit.";
    limit_publish_bytes_rate: Gauge "limit" ("of" = "publish_bytes_rate") "Limits, in the unit of what they limit.";
    limit_publish_bytes_burst: Gauge "limit" ("of" = "publish_bytes_burst") "Limits, in the unit of what they limit.";
    limit_total_publish_rate: Gauge "limit" ("of" = "total_publish_rate") "Limits, in the unit of what they limit.";
    limit_total_publish_bytes_rate: Gauge "limit" ("of" = "total_publish_bytes_rate") "Limits, in the unit of what they limit.";
    limit_connection_rate: Gauge "limit" ("of" = "connection_rate") "Limits, in the unit of what they limit.";
    limit_connection_burst: Gauge "limit" ("of" = "connection_burst") "Limits, in the unit of what they limit.";
    limit_flap_count: Gauge "limit" ("of" = "flap_count") "Limits, in the unit of what they limit.";
    limit_flap_window: Gauge "limit" ("of" = "flap_window_seconds") "Limits, in the unit of what they limit.";
    limit_flap_delay: Gauge "limit" ("of" = "flap_delay_seconds") "Limits, in the unit of what they limit.";
    limit_retained_messages: Gauge "limit" ("of" = "retained_messages") "Limits, in the unit of what they limit.";
    limit_retained_bytes: Gauge "limit" ("of" = "retained_bytes") "Limits, in the unit of what they limit.";
    limit_memory_bytes: Gauge "limit" ("of" = "memory_bytes") "Limits, in the unit of what they limit.";
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
            Dropped::Memory => &self.dropped_memory,
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
            Refused::Memory => &self.refused_memory,
            Refused::Proxy => &self.refused_proxy,
            Refused::Tls => &self.refused_tls,
            Refused::WebSocket => &self.refused_websocket,
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
        self.limit_write_stall.set(limits.write_stall.as_secs());
        let stall = u64::try_from(limits.publisher_stall.as_millis()).unwrap_or(u64::MAX);
        self.limit_publisher_stall.set(stall);
        self.limit_will_grace.set(limits.will_grace.as_secs());
        self.limit_sys_interval.set(limits.sys_interval.as_secs());
        self.limit_match_cache.set(limits.match_cache as u64);
        self.limit_publish_rate.set(limits.publish_rate.into());
        self.limit_publish_burst.set(limits.publish_burst.into());
        self.limit_publish_bytes_rate.set(limits.publish_bytes_rate as u64);
        self.limit_publish_bytes_burst.set(limits.publish_bytes_burst as u64);
        self.limit_total_publish_rate.set(limits.total_publish_rate.into());
        self.limit_total_publish_bytes_rate.set(limits.total_publish_bytes_rate as u64);
        self.limit_connection_rate.set(limits.connection_rate.into());
        self.limit_connection_burst.set(limits.connection_burst.into());
        self.limit_flap_count.set(limits.flap_count.into());
        self.limit_flap_window.set(limits.flap_window.as_secs());
        self.limit_flap_delay.set(limits.flap_delay.as_secs());
        self.limit_retained_messages.set(limits.retained_messages);
        self.limit_retained_bytes.set(limits.retained_bytes);
        self.limit_memory_bytes.set(limits.memory_bytes as u64);
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
    fn each_reason_has_its_number_and_counts_under_its_name() {
        let metrics = Metrics::default();
        for (number, reason) in Dropped::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, number);
            metrics.dropped(reason, 10 + number as u64);
        }
        metrics.visit(&mut |sample| {
            if let ("publish_dropped_total", Some((_, label))) = (sample.name, sample.label) {
                let number = Dropped::ALL.iter().position(|reason| reason.name() == label).unwrap();
                assert_eq!(sample.value, 10 + number as u64, "{label}");
            }
        });
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
