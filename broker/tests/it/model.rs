//! Random clients and operations against a model that is too simple to be wrong: maps and lists, one operation after the other.
//! A client speaks MQTT 3.1.1 or 5, each time it comes, with options, identifiers, aliases and a user property at random.
//!
//! After each operation every client reads what there is, and acknowledges all of it, nothing, or only the first half of QoS 2. What
//! came is compared with what the model says: per topic in order, with QoS, RETAIN, DUP, identifiers and user property. Connections end in every way, also in
//! the middle of a packet; the broker is restarted from its log, sometimes right behind a checkpoint.

mod naive;
mod peer;

use std::collections::BTreeMap;
use std::time::Duration;

use distkv_broker::hooks::memory::MemoryHooks;
use distkv_broker::hooks::{Hooks, Progress};
use distkv_broker::limits::Limits;

use crate::client::{self, Got};
use crate::server::{Server, limits};
use naive::{Hello, Model, Options, Sent, WINDOW};
use peer::{Acks, Peer};

const IDS: [&str; 4] = ["a", "b", "c", "d"];
const FILTERS: [&str; 9] = ["#", "t/#", "t/+", "t/1", "t/2", "+/1", "w/+", "t", "$x/#"];
const TOPICS: [&str; 6] = ["t", "t/1", "t/2", "t/1/x", "u/1", "$x/y"];

/// A small generator of numbers: the seed tells the whole history.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % sides
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.roll(from.len())]
    }
}

struct World {
    server: Server,
    model: Model,
    peers: BTreeMap<&'static str, Peer>,
    dice: Dice,
    published: u32,
    /// The first record that a restart needs.
    from_record: usize,
    told: Told,
}

fn model_limits(grace: Duration) -> Limits {
    Limits { inflight: WINDOW as u16, will_grace: grace, ..limits() }
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            server: Server::with(model_limits(Duration::ZERO)),
            model: Model::default(),
            peers: BTreeMap::new(),
            dice: Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            published: 0,
            from_record: 0,
            told: Told { seed, history: Vec::new() },
        }
    }

    async fn step(&mut self) {
        let id = *self.dice.pick(&IDS);
        let connected = self.peers.contains_key(id);
        match self.dice.roll(20) {
            3..=5 if connected => self.subscribe(id).await,
            6 if connected => self.unsubscribe(id).await,
            7..=13 if connected => self.publish(id).await,
            14 if connected => self.disconnect(id).await,
            15 if connected => self.lose(id).await,
            16 if connected => self.lose_amid_publish(id).await,
            17 if connected => self.publish_twice(id).await,
            18 => self.restart().await,
            19 => self.checkpoint(),
            _ => self.connect(id).await,
        }
        self.read_all().await;
        self.check_retained();
    }

    fn check_retained(&self) {
        for (topic, sent) in &self.model.retained {
            assert_eq!(self.server.hooks.get(topic).as_deref(), Some(&sent.payload[..]), "{topic}");
        }
    }

    fn note(&mut self, what: String) {
        self.told.history.push(what);
    }

    /// How a client comes: with what version, for how long, with what will.
    fn hello(&mut self, id: &str) -> Hello {
        let (v5, clean) = (self.dice.roll(2) == 0, self.dice.roll(3) == 0);
        let lasts = if v5 { self.dice.roll(3) > 0 } else { !clean };
        let mut will = None;
        if self.dice.roll(3) > 0 {
            self.published += 1;
            let (topic, payload) = (format!("w/{id}"), format!("will {}", self.published).into_bytes());
            let (qos, retain) = (self.dice.roll(3) as u8, self.dice.roll(2) == 0);
            will = Some(Sent { topic, payload, qos, retain, user: self.user(v5) });
        }
        Hello { v5, clean, lasts, will, aliases: self.dice.roll(3) as u16 }
    }

    async fn connect(&mut self, id: &'static str) {
        let hello = self.hello(id);
        self.note(format!("{id} connects: {hello:?}"));
        let old = self.peers.remove(id);
        let mut peer = Peer::open(&self.server, hello.v5);
        let present = peer.connect(id, &hello).await;
        if let Some(mut old) = old {
            // Whatever came before the end was not read: it counts as lost on the way.
            old.read_to_end().await;
        }
        let expected = self.model.connect(id, &hello);
        assert_eq!(present, expected, "session present");
        self.peers.insert(id, peer);
    }

    fn options(&mut self, v5: bool, identifier: Option<u32>) -> Options {
        let qos = self.dice.roll(3) as u8;
        if !v5 {
            return Options { qos, ..Options::default() };
        }
        let (no_local, retain_as_published) = (self.dice.roll(2) == 0, self.dice.roll(2) == 0);
        let retain_handling = self.dice.roll(3) as u8;
        Options { qos, no_local, retain_as_published, retain_handling, identifier }
    }

    async fn subscribe(&mut self, id: &'static str) {
        let v5 = self.peers[id].is_v5();
        let identifier = (v5 && self.dice.roll(3) > 0).then(|| 1 + self.dice.roll(300) as u32);
        let mut filters: Vec<(&str, Options)> = Vec::new();
        for _ in 0..=self.dice.roll(3) {
            let filter = *self.dice.pick(&FILTERS);
            // Which of two is the new one is nobody's business.
            if !v5 || filters.iter().all(|(other, _)| *other != filter) {
                let options = self.options(v5, identifier);
                filters.push((filter, options));
            }
        }
        self.note(format!("{id} subscribes to {filters:?}"));
        // Everything before is out of the way: what the replay meets is known then.
        self.read(id, Acks::All).await;
        self.peers.get_mut(id).unwrap().subscribe(&filters).await;
        self.model.subscribe(id, &filters);
        self.read(id, Acks::All).await;
    }

    async fn unsubscribe(&mut self, id: &'static str) {
        let filter = *self.dice.pick(&FILTERS);
        self.note(format!("{id} unsubscribes from {filter}"));
        self.peers.get_mut(id).unwrap().unsubscribe(filter).await;
        self.model.unsubscribe(id, filter);
    }

    /// A user property, or none.
    fn user(&mut self, v5: bool) -> Option<String> {
        (v5 && self.dice.roll(2) == 0).then(|| format!("user {}", self.published))
    }

    /// A message that no other is like; sometimes an empty one.
    fn message(&mut self, v5: bool) -> Sent {
        self.published += 1;
        let payload = match self.dice.roll(8) {
            0 => Vec::new(),
            1 => [format!("{} ", self.published).as_bytes(), &[b'x'; 3000][..]].concat(),
            _ => self.published.to_string().into_bytes(),
        };
        let (topic, user) = (self.dice.pick(&TOPICS).to_string(), self.user(v5));
        Sent { topic, payload, qos: self.dice.roll(3) as u8, retain: self.dice.roll(3) == 0, user }
    }

    async fn publish(&mut self, id: &'static str) {
        let v5 = self.peers[id].is_v5();
        for _ in 0..=self.dice.roll(6) {
            let (sent, alias) = (self.message(v5), self.dice.roll(3) as u32);
            self.note(format!("{id} publishes {}", shown(&sent)));
            let peer = self.peers.get_mut(id).unwrap();
            peer.publish(&sent, alias).await;
            self.model.publish(id, &sent);
        }
    }

    /// QoS 2 that the client of MQTT 3 sends again, for lack of an answer or after a reconnect. (MQTT 5 forbids the former.)
    async fn publish_twice(&mut self, id: &'static str) {
        if self.peers[id].is_v5() {
            return self.publish(id).await;
        }
        let sent = Sent { qos: 2, ..self.message(false) };
        self.note(format!("{id} publishes twice {}", shown(&sent)));
        let peer = self.peers.get_mut(id).unwrap();
        let packet_id = peer.packet_id();
        for dup in [false, true] {
            peer.send(&client::publish(&sent.topic, &sent.payload, 2, sent.retain, dup, packet_id)).await;
            peer.wait_for(&Got::Pubrec(packet_id)).await;
        }
        peer.send(&client::ack(client::PUBREL, packet_id)).await;
        peer.wait_for(&Got::Pubcomp(packet_id)).await;
        self.model.publish(id, &sent);
    }

    async fn disconnect(&mut self, id: &'static str) {
        let peer = self.peers.remove(id).unwrap();
        let ends = peer.is_v5() && self.dice.roll(3) == 0;
        self.note(format!("{id} disconnects; ends its session: {ends}"));
        peer.disconnect(ends).await;
        self.model.disconnect(id, ends);
        self.until_gone().await;
    }

    async fn lose(&mut self, id: &'static str) {
        self.note(format!("{id} is lost"));
        drop(self.peers.remove(id));
        self.model.lose(id);
        self.until_gone().await;
    }

    /// The connection ends at any byte of a PUBLISH, or right behind it.
    async fn lose_amid_publish(&mut self, id: &'static str) {
        let mut peer = self.peers.remove(id).unwrap();
        let sent = self.message(peer.is_v5());
        // Never used again: of a QoS 2 message that is not released the broker remembers it.
        let packet_id = 20_000 + self.published as u16;
        let packet = peer.encode(&sent, packet_id);
        let cut = self.dice.roll(packet.len() + 1);
        self.note(format!("{id} is lost after {cut} of {} bytes, {}", packet.len(), shown(&sent)));
        peer.send(&packet[..cut]).await;
        drop(peer);
        if cut == packet.len() {
            self.model.publish(id, &sent);
        }
        self.model.lose(id);
        self.until_gone().await;
    }

    async fn until_gone(&self) {
        let left = self.peers.len() as u64;
        self.server.until("the connection has ended", |metrics| metrics.connections.get() == left).await;
    }

    async fn restart(&mut self) {
        let stop = self.dice.roll(2) == 0;
        let grace = if self.dice.roll(2) == 0 { Duration::ZERO } else { Duration::from_secs(3600) };
        self.note(format!("the broker restarts, stopped before: {stop}, grace {grace:?}"));
        if stop {
            self.server.broker.shutdown(Duration::ZERO).await;
        }
        let records = self.server.log.records().split_off(self.from_record);
        let hooks = copy_retained(&self.server.hooks);
        self.peers.clear();
        self.server = Server::resume(model_limits(grace), hooks, &records);
        self.from_record = 0;
        self.model.restart();
        assert_eq!(self.server.metrics().wills_waiting.get() as usize, self.model.waiting_wills());
        if grace.is_zero() {
            self.server.until("wills are published", |metrics| metrics.wills_waiting.get() == 0).await;
            self.model.publish_waiting_wills();
        }
    }

    fn checkpoint(&mut self) {
        self.note("a checkpoint".into());
        self.from_record = self.server.log.records().len();
        self.server.broker.checkpoint();
    }

    async fn read_all(&mut self) {
        for id in IDS {
            if self.peers.contains_key(id) {
                let acks = *self.dice.pick(&[Acks::All, Acks::All, Acks::None, Acks::Half]);
                self.read(id, acks).await;
            }
        }
    }

    async fn read(&mut self, id: &'static str, acks: Acks) {
        let peer = self.peers.get_mut(id).unwrap();
        peer.read(self.model.session(id), acks).await;
    }
}

/// A message as the story of a failure tells it.
fn shown(sent: &Sent) -> String {
    let payload = String::from_utf8_lossy(&sent.payload[..sent.payload.len().min(10)]);
    let Sent { topic, qos, retain, user, .. } = sent;
    format!("{payload:?} to {topic}, QoS {qos}, retain {retain}, user {user:?}")
}

/// Retained messages as they are now: what the old broker still does must not reach them.
fn copy_retained(hooks: &MemoryHooks) -> MemoryHooks {
    let copy = MemoryHooks::new();
    for filter in ["#", "$x/#"] {
        let mut replay = hooks.restored("", None).replay(filter);
        while replay.slice(10, 1000, &mut |message| copy.set(&message, &mut |_| {})) == Progress::More {}
    }
    copy
}

async fn run(seed: u64, steps: usize) {
    let mut world = World::new(seed);
    for _ in 0..steps {
        world.step().await;
    }
    // In the end everybody gets everything.
    for id in IDS {
        if !world.peers.contains_key(id) {
            let v5 = world.dice.roll(2) == 0;
            let hello = Hello { v5, clean: false, lasts: true, will: None, aliases: 0 };
            let mut peer = Peer::open(&world.server, v5);
            assert_eq!(peer.connect(id, &hello).await, world.model.connect(id, &hello));
            world.peers.insert(id, peer);
        }
        world.read(id, Acks::All).await;
    }
    world.check_retained();
    assert_eq!(world.server.metrics().dropped_total(), 0);
    assert_eq!(world.server.metrics().queued_messages.get(), 0);
    let subscriptions: usize = IDS.iter().map(|id| world.model.session(id).subscriptions.len()).sum();
    assert_eq!(world.server.metrics().subscriptions.get() as usize, subscriptions);
}

/// Tells the seed and what happened, should the history fail.
struct Told {
    seed: u64,
    history: Vec<String>,
}

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {}:\n  {}", self.seed, self.history.join("\n  "));
        }
    }
}

#[test]
fn random_histories_agree_with_the_model() {
    let seeds = std::env::var("MODEL_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(150);
    let first = std::env::var("MODEL_FIRST").ok().and_then(|first| first.parse().ok()).unwrap_or(0);
    for seed in first..first + seeds {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(run(seed, 80));
    }
}
