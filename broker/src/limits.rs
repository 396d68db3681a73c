//! Every limit of the broker with its default, and the budgets that many connections share.
//!
//! All of them may be changed while the broker runs ([`Broker::set_limits`](crate::Broker::set_limits)). A limit of one connection or
//! session holds for connections made after the change; a limit over all holds at once.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::codec::ReasonCode;
use crate::message::QoS;
use crate::rate::TokenBucket;
pub use crate::session::DropPolicy;
use crate::session::SessionLimits;
use crate::topic;

/// Every limit. What happens when one is reached stands with each; all of it is counted in
/// [`Metrics`](crate::metrics::Metrics).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at a time; one more is closed as soon as it is accepted. Default 100 000.
    pub connections: usize,
    /// Connections that have not yet sent a whole CONNECT or whose login is being checked; while there are so many, no
    /// more are accepted (they wait in the system's backlog). Default 1 024.
    pub pending_handshakes: usize,
    /// From accept to a whole CONNECT; then the connection is closed. Default 10 s.
    pub connect_timeout: Duration,
    /// Bytes of one packet; a longer one closes the connection as soon as its fixed header has arrived. Default 16 MiB.
    pub packet_bytes: usize,
    /// Bytes over all connections for packets of which only a part has arrived, apart from the first 4 KiB of each. While
    /// they are in use, a further connection that begins a packet larger than a read buffer (64 KiB) is not read from, and closed
    /// after [`Limits::write_stall`] without room. What it has read already, and smaller unfinished packets, may take a quarter
    /// more; beyond that their connections are closed at once. Default 256 MiB.
    pub unfinished_bytes: usize,
    /// Bytes of a topic name or filter; a longer one in a PUBLISH is dropped, in a SUBSCRIBE refused. Default 65 535,
    /// which is what the standard can express.
    pub topic_bytes: usize,
    /// Levels of a topic name or filter; as for bytes. Default 200.
    pub topic_levels: usize,
    /// Subscriptions of one client; one more is refused (SUBACK 0x80). Default 20 000.
    pub subscriptions: usize,
    /// Messages of QoS 1 and 2 under way to one client without its acknowledgement; the next ones wait in the
    /// session's queue. Default 20.
    pub inflight: u16,
    /// Messages waiting in one session's queue; at the limit see [`Limits::queue_drop`]. Default 10 000: a night of a sensor that
    /// speaks every few seconds.
    pub queue_messages: usize,
    /// Bytes waiting in one session's queue (topics and payloads); as for messages. Default 64 MiB.
    pub queue_bytes: usize,
    /// Bytes waiting in the queues of all sessions; at the limit what arrives is dropped. Default 1 GiB.
    pub queues_bytes: usize,
    /// What a full queue drops. Default: the newest.
    pub queue_drop: DropPolicy,
    /// MQTT 5: QoS 1 and 2 messages that a client may send without an acknowledgement; one more and it is disconnected (0x93).
    /// Default 65 535, which is what the standard can express.
    pub receive_maximum: u16,
    /// MQTT 5: topic aliases that a client may set; one beyond them and it is disconnected (0x94). Default 10.
    pub topic_aliases: u16,
    /// MQTT 5: topic aliases towards a client, if it takes as many. The one used longest ago makes room for a new one. Default 32.
    pub topic_aliases_out: u16,
    /// MQTT 5: seconds; a client that asks for a longer keep alive, or for none, is told this one. 0: each may have what it
    /// asks for. Default 0.
    pub keep_alive_max: u16,
    /// How many copies of a message a client gets by several subscriptions that match. Default: one.
    pub copies: Copies,
    /// Which member of a shared subscription gets a message. Default: one after another.
    pub shared_strategy: SharedStrategy,
    /// What is offered to clients. Default: everything.
    pub offer: Offer,
    /// Bytes on their way to one client. Beyond them QoS 0 is dropped, QoS 1 and 2 go to the session's queue, and the client
    /// is not read from until it has read. A single message always fits into an empty outbox. Default 1 MiB.
    pub outbox_bytes: usize,
    /// Messages on their way to one client; as for bytes. Default 20 000.
    pub outbox_messages: usize,
    /// Bytes on their way over all clients, apart from the first 4 KiB of each; as for bytes. Default 512 MiB.
    pub outboxes_bytes: usize,
    /// How long a publisher waits for subscribers whose outbox or queue is nearly full, before messages are dropped. A
    /// subscriber that does not use it to catch up gets no second chance until it has, and the publisher then waits for nobody for
    /// twenty times as long. 0: never waits. Default 50 ms.
    pub publisher_stall: Duration,
    /// A client that does not read at all while data waits for it is closed after this. Default 60 s.
    pub write_stall: Duration,
    /// Sessions, with and without a connection; one more is refused (CONNACK 3). Default 200 000.
    pub sessions: usize,
    /// A persistent session without a connection is forgotten after this; 0 keeps it for ever. Default 30 days.
    pub session_expiry: Duration,
    /// After a restart: how long the will of a client that was connected waits for the client's return. 0 publishes at once.
    /// Default 30 s.
    pub will_grace: Duration,
    /// Messages that wait to be published later (`$delayed/SECONDS/TOPIC`); one more is dropped (MQTT 5: 0x97). 0: nothing may be
    /// delayed. Default 100 000.
    pub delayed_messages: usize,
    /// Their bytes (topics, payloads and properties); as for messages. Default 64 MiB.
    pub delayed_bytes: usize,
    /// Topics whose subscribers each worker thread remembers. 0 remembers none. Default 4 096.
    pub match_cache: usize,
    /// How often `$SYS/broker/...` is renewed; 0 turns it off. Default 10 s.
    pub sys_interval: Duration,
    /// PUBLISH packets a second from one connection; beyond them see [`Limits::rate_action`]. 0 (the default): no limit.
    pub publish_rate: u32,
    /// Of these so many at once after a pause. 0 (the default): those of one second.
    pub publish_burst: u32,
    /// Payload bytes a second in PUBLISH packets from one connection; as for their number. 0 (the default): no limit.
    pub publish_bytes_rate: usize,
    /// Of these so many at once after a pause. 0 (the default): those of one second.
    pub publish_bytes_burst: usize,
    /// PUBLISH packets a second over all connections. Beyond them publishers are not read from until it is their turn, whatever
    /// [`Limits::rate_action`] says: none of them is to blame. 0 (the default): no limit.
    pub total_publish_rate: u32,
    /// Payload bytes a second over all connections; as for packets. 0 (the default): no limit.
    pub total_publish_bytes_rate: usize,
    /// What happens to a connection that publishes beyond its own rates. Default: it waits.
    pub rate_action: RateAction,
    /// Connections accepted a second, over all listeners. The next ones wait in the system's backlog. 0 (the default): no limit.
    pub connection_rate: u32,
    /// Of these so many at once after a pause. 0 (the default): those of one second.
    pub connection_burst: u32,
    /// A client that connects more often than this within [`Limits::flap_window`] is flapping, until it has not connected for a
    /// whole window. 0 (the default): none is.
    pub flap_count: u32,
    /// See [`Limits::flap_count`]. Default 60 s.
    pub flap_window: Duration,
    /// How long the CONNECT of a flapping client waits for its answer. Default 10 s.
    pub flap_delay: Duration,
    /// Retained messages. A new one is refused; those that are there may change and go. The embedder keeps to it. 0 (the default): no limit.
    pub retained_messages: u64,
    /// Bytes of retained messages with their topics. What would add to them is refused; as for their number. 0 (the default): no limit.
    pub retained_bytes: u64,
    /// Bytes over everything that grows with what clients send: outboxes, queues, unfinished packets, delayed messages,
    /// retained messages. As it is approached, more and more is shed, in the order of [`Shed`](crate::pressure::Shed). 0 (the default): no limit.
    pub memory_bytes: usize,
}

/// What happens to a client that is faster than its rate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RateAction {
    /// It is not read from until it is its turn again. Nothing is lost.
    #[default]
    Wait,
    /// It is disconnected. (MQTT 5: with 0x96 for messages, 0x97 for bytes.)
    Disconnect,
}

/// How many copies of a message a client gets by several subscriptions that match [MQTT-3.3.5-1] [MQTT5-3.3.4-2].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Copies {
    /// One, with the greatest QoS and all subscription identifiers.
    #[default]
    One,
    /// One for each subscription.
    Each,
}

/// Which member of a shared subscription gets a message. Members without a connection come last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum SharedStrategy {
    /// One after another.
    #[default]
    RoundRobin = 0,
    /// Always the same one, as long as it takes messages.
    Sticky = 1,
    /// The one with the fewest messages waiting.
    LeastQueued = 2,
}

/// What is offered to clients. What is not is told in CONNACK, and refused with its reason code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The greatest QoS of a PUBLISH and of a subscription (0x9B).
    pub maximum_qos: QoS,
    /// Retained messages (0x9A).
    pub retain: bool,
    /// Subscriptions with wildcards (0xA2).
    pub wildcards: bool,
    /// Subscription identifiers (0xA1).
    pub identifiers: bool,
    /// Shared subscriptions (0x9E).
    pub shared: bool,
    /// Whether payloads are looked at that are said to be UTF-8 (0x99).
    pub check_payloads: bool,
    /// Where clients should go instead (0x9C, 0x9D): they are not let in.
    pub redirect: Option<Redirect>,
}

/// Sends clients of MQTT 5 elsewhere; those of MQTT 3 can't be told where, and get "server unavailable".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// The other server, as `HOST:PORT`.
    pub to: String,
    /// For good.
    pub permanent: bool,
}

impl Redirect {
    /// The reason with which the other server is named [MQTT 5: 4.13].
    pub(crate) fn reason(&self) -> ReasonCode {
        if self.permanent { ReasonCode::ServerMoved } else { ReasonCode::UseAnotherServer }
    }
}

impl Default for Offer {
    fn default() -> Self {
        Self {
            maximum_qos: QoS::ExactlyOnce,
            retain: true,
            wildcards: true,
            identifiers: true,
            shared: true,
            check_payloads: false,
            redirect: None,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 100_000,
            pending_handshakes: 1024,
            connect_timeout: Duration::from_secs(10),
            packet_bytes: 16 << 20,
            unfinished_bytes: 256 << 20,
            topic_bytes: 65_535,
            topic_levels: 200,
            subscriptions: 20_000,
            inflight: 20,
            queue_messages: 10_000,
            queue_bytes: 64 << 20,
            queues_bytes: 1 << 30,
            queue_drop: DropPolicy::Newest,
            receive_maximum: u16::MAX,
            topic_aliases: 10,
            topic_aliases_out: 32,
            keep_alive_max: 0,
            copies: Copies::One,
            shared_strategy: SharedStrategy::RoundRobin,
            offer: Offer::default(),
            outbox_bytes: 1 << 20,
            outbox_messages: 20_000,
            outboxes_bytes: 512 << 20,
            publisher_stall: Duration::from_millis(50),
            write_stall: Duration::from_secs(60),
            sessions: 200_000,
            session_expiry: Duration::from_secs(30 * 24 * 3600),
            will_grace: Duration::from_secs(30),
            delayed_messages: 100_000,
            delayed_bytes: 64 << 20,
            match_cache: 4096,
            sys_interval: Duration::from_secs(10),
            publish_rate: 0,
            publish_burst: 0,
            publish_bytes_rate: 0,
            publish_bytes_burst: 0,
            total_publish_rate: 0,
            total_publish_bytes_rate: 0,
            rate_action: RateAction::Wait,
            connection_rate: 0,
            connection_burst: 0,
            flap_count: 0,
            flap_window: Duration::from_secs(60),
            flap_delay: Duration::from_secs(10),
            retained_messages: 0,
            retained_bytes: 0,
            memory_bytes: 0,
        }
    }
}

impl Limits {
    /// For how many seconds a session outlives its connection whose client asks for `wanted` (0xFFFFFFFF stands for "never"
    /// [MQTT 5: 3.1.2.11.2]); `None`: as long as any is kept, since that is less or no other end was asked for.
    pub(crate) fn expiry_of(&self, wanted: u32) -> Option<u32> {
        let limit = self.session_expiry.as_secs();
        let limited = limit > 0 && u64::from(wanted) > limit;
        (wanted != u32::MAX && !limited).then_some(wanted)
    }

    /// Those of one session.
    pub(crate) fn of_session(&self) -> SessionLimits {
        SessionLimits {
            inflight: self.inflight,
            queue_messages: self.queue_messages,
            queue_bytes: self.queue_bytes,
            queue_drop: self.queue_drop,
            subscriptions: self.subscriptions,
            ..SessionLimits::default()
        }
    }
}

/// Copies of those limits that are asked for each message, where even the lookup of the others counts.
#[derive(Debug, Default)]
pub(crate) struct HotLimits {
    packet_bytes: AtomicUsize,
    topic_bytes: AtomicUsize,
    topic_levels: AtomicUsize,
    queues_bytes: AtomicUsize,
    queue_messages: AtomicUsize,
    queue_bytes: AtomicUsize,
    match_cache: AtomicUsize,
    shared_strategy: AtomicU8,
    copies_for_each: AtomicBool,
    offers_everything: AtomicBool,
    publishers_wait: AtomicBool,
    total_rates: AtomicBool,
}

impl HotLimits {
    pub(crate) fn set(&self, limits: &Limits) {
        self.packet_bytes.store(limits.packet_bytes, Ordering::Relaxed);
        // Behind a mount point a topic could get longer than what a packet can tell.
        self.topic_bytes.store(limits.topic_bytes.min(topic::LEN_MAX), Ordering::Relaxed);
        self.topic_levels.store(limits.topic_levels, Ordering::Relaxed);
        self.queues_bytes.store(limits.queues_bytes, Ordering::Relaxed);
        self.queue_messages.store(limits.queue_messages, Ordering::Relaxed);
        self.queue_bytes.store(limits.queue_bytes, Ordering::Relaxed);
        self.match_cache.store(limits.match_cache, Ordering::Relaxed);
        self.shared_strategy.store(limits.shared_strategy as u8, Ordering::Relaxed);
        let Offer { maximum_qos, retain, check_payloads, .. } = &limits.offer;
        let everything = *maximum_qos == QoS::ExactlyOnce && *retain && !check_payloads;
        self.offers_everything.store(everything, Ordering::Relaxed);
        self.copies_for_each.store(limits.copies == Copies::Each, Ordering::Relaxed);
        self.publishers_wait.store(!limits.publisher_stall.is_zero(), Ordering::Relaxed);
        let total = limits.total_publish_rate > 0 || limits.total_publish_bytes_rate > 0;
        self.total_rates.store(total, Ordering::Relaxed);
    }

    pub(crate) fn packet_bytes(&self) -> usize {
        self.packet_bytes.load(Ordering::Relaxed)
    }

    /// Is a topic name or filter beyond the limits?
    pub(crate) fn is_too_long(&self, topic: &str) -> bool {
        let levels = self.topic_levels.load(Ordering::Relaxed);
        topic.len() > self.topic_bytes.load(Ordering::Relaxed)
            || (topic.len() >= levels && topic::levels(topic) > levels)
    }

    pub(crate) fn queues_bytes(&self) -> usize {
        self.queues_bytes.load(Ordering::Relaxed)
    }

    /// Is a session's queue so full that publishers should wait for its client?
    pub(crate) fn is_nearly_full(&self, messages: usize, bytes: usize) -> bool {
        messages > self.queue_messages.load(Ordering::Relaxed) / 2
            || bytes > self.queue_bytes.load(Ordering::Relaxed) / 2
    }

    pub(crate) fn match_cache(&self) -> usize {
        self.match_cache.load(Ordering::Relaxed)
    }

    pub(crate) fn shared_strategy(&self) -> SharedStrategy {
        match self.shared_strategy.load(Ordering::Relaxed) {
            1 => SharedStrategy::Sticky,
            2 => SharedStrategy::LeastQueued,
            _ => SharedStrategy::RoundRobin,
        }
    }

    /// Is no PUBLISH to be looked at for what is not offered?
    pub(crate) fn offers_everything(&self) -> bool {
        self.offers_everything.load(Ordering::Relaxed)
    }

    /// One copy for each subscription?
    pub(crate) fn copies_for_each(&self) -> bool {
        self.copies_for_each.load(Ordering::Relaxed)
    }

    pub(crate) fn publishers_wait(&self) -> bool {
        self.publishers_wait.load(Ordering::Relaxed)
    }
}

impl HotLimits {
    /// Is there a rate over all publishers?
    pub(crate) fn has_total_rates(&self) -> bool {
        self.total_rates.load(Ordering::Relaxed)
    }
}

/// The rates that all connections share.
#[derive(Debug, Default)]
pub(crate) struct SharedRates {
    connections: Mutex<Option<TokenBucket>>,
    publishes: Mutex<[Option<TokenBucket>; 2]>,
}

impl SharedRates {
    pub(crate) fn set(&self, limits: &Limits) {
        let (rate, burst) = (limits.connection_rate.into(), limits.connection_burst.into());
        *self.connections.lock() = TokenBucket::new(rate, burst);
        let messages = TokenBucket::new(limits.total_publish_rate.into(), 0);
        let bytes = TokenBucket::new(limits.total_publish_bytes_rate as u64, 0);
        *self.publishes.lock() = [messages, bytes];
    }

    /// A connection was accepted: for how long it, and all after it, have to wait.
    pub(crate) fn connection(&self, now: Duration) -> Duration {
        self.connections.lock().as_mut().map_or(Duration::ZERO, |bucket| bucket.charge(now, 1))
    }

    /// So many messages and bytes were published: how long their publisher has to wait, for each of the two.
    pub(crate) fn charge(&self, now: Duration, messages: u64, bytes: u64) -> [Duration; 2] {
        let [of_messages, of_bytes] = &mut *self.publishes.lock();
        [(of_messages, messages), (of_bytes, bytes)]
            .map(|(bucket, n)| bucket.as_mut().map_or(Duration::ZERO, |bucket| bucket.charge(now, n)))
    }
}

/// A number of bytes that many share.
#[derive(Debug, Default)]
pub struct Budget {
    used: AtomicUsize,
    limit: AtomicUsize,
}

impl Budget {
    /// A budget of `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { used: AtomicUsize::new(0), limit: AtomicUsize::new(limit) }
    }

    /// Takes `bytes`, if they are there.
    #[must_use]
    pub fn take(&self, bytes: usize) -> bool {
        self.take_within(bytes, self.limit.load(Ordering::Relaxed))
    }

    /// Takes `bytes`, if need be out of a reserve of another quarter: for what has arrived already.
    #[must_use]
    pub fn take_with_reserve(&self, bytes: usize) -> bool {
        let limit = self.limit.load(Ordering::Relaxed);
        self.take_within(bytes, limit.saturating_add(limit / 4))
    }

    fn take_within(&self, bytes: usize, limit: usize) -> bool {
        let used = self.used.fetch_add(bytes, Ordering::Relaxed);
        let fits = used.saturating_add(bytes) <= limit;
        if !fits {
            self.used.fetch_sub(bytes, Ordering::Relaxed);
        }
        fits
    }

    /// Gives back what was taken.
    pub fn give_back(&self, bytes: usize) {
        if bytes > 0 {
            self.used.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    /// Changes the limit. What is in use stays in use.
    pub fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// The bytes in use.
    #[must_use]
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_lasts_as_long_as_it_is_asked_for_and_any_is_kept() {
        let limits = Limits { session_expiry: Duration::from_secs(100), ..Limits::default() };
        assert_eq!([0, 1, 100].map(|wanted| limits.expiry_of(wanted)), [Some(0), Some(1), Some(100)]);
        assert_eq!([101, u32::MAX].map(|wanted| limits.expiry_of(wanted)), [None, None]);
        let forever = Limits { session_expiry: Duration::ZERO, ..Limits::default() };
        assert_eq!((forever.expiry_of(101), forever.expiry_of(u32::MAX)), (Some(101), None));
    }

    #[test]
    fn no_limit_lets_a_topic_be_longer_than_a_packet_can_tell() {
        let hot = HotLimits::default();
        hot.set(&Limits { topic_bytes: 1 << 20, ..Limits::default() });
        assert!(!hot.is_too_long(&"x".repeat(65_535)));
        assert!(hot.is_too_long(&"x".repeat(65_536)));
    }

    #[test]
    fn a_budget_gives_no_more_than_it_has_and_takes_back() {
        let budget = Budget::new(10);
        assert!(budget.take(6));
        assert!(!budget.take(5));
        assert!(budget.take(4));
        budget.give_back(6);
        assert_eq!(budget.used(), 4);
        budget.set_limit(4);
        assert!(!budget.take(1));
        assert!(budget.take_with_reserve(1));
        assert!(!budget.take_with_reserve(1));
    }
}
