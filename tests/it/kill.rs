//! `kill -9` again and again, at random moments, while clients publish, set and delete retained messages, and a persistent
//! subscriber reads. Nothing that was acknowledged may be lost, nothing deleted may return, and QoS 2 arrives once. The same
//! with MQTT 5, where properties are kept, messages expire, and two members share a subscription.
//!
//! `KILL_ROUNDS` sets the number of rounds (50), `TEST_SEED` repeats a run.

mod fleeting;
mod group;
mod publisher;
mod retainer;
mod subscriber;
mod version;

use std::env;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use crate::harness::client::Client;
use crate::harness::packet::Connect;
use crate::harness::random::Random;
use crate::harness::server::{Options, Server, Stopped};

use fleeting::Fleeting;
use group::Group;
use publisher::Publisher;
use retainer::Retainer;
use subscriber::Subscriber;
use version::Version;

/// Everybody who has to do with the server over all of its lives.
struct World {
    publishers: Vec<Publisher>,
    retainers: Vec<Retainer>,
    subscriber: Subscriber,
    /// MQTT 5 only.
    mqtt5: Option<Mqtt5>,
}

/// What there is only in MQTT 5.
struct Mqtt5 {
    group: Group,
    fleeting: Fleeting,
}

impl World {
    fn new(version: Version) -> Self {
        let publisher = |name, qos| Publisher::new(version, "stream", name, qos);
        Self {
            publishers: vec![publisher("one", 1), publisher("two", 2), publisher("three", 2)],
            retainers: vec![Retainer::new(version, "left", 1), Retainer::new(version, "right", 2)],
            subscriber: Subscriber::new(version, "subscriber", "stream/#"),
            mqtt5: (version == Version::Mqtt5)
                .then(|| Mqtt5 { group: Group::new(version), fleeting: Fleeting::new() }),
        }
    }

    fn subscribe(&mut self, server: SocketAddr) {
        self.subscriber.subscribe(server);
        if let Some(Mqtt5 { group, fleeting }) = &mut self.mqtt5 {
            group.subscribe(server);
            fleeting.subscribe(server);
        }
    }

    /// Runs all clients against `server` until it dies, which it does after `life`.
    fn live_and_die(&mut self, server: Server, seed: u64, life: Duration) -> Stopped {
        let address = server.mqtt();
        let (mut publishers, mut subscribers) = (Vec::new(), vec![&mut self.subscriber]);
        publishers.extend(&mut self.publishers);
        thread::scope(|scope| {
            if let Some(Mqtt5 { group, fleeting }) = &mut self.mqtt5 {
                publishers.extend(&mut group.publishers);
                subscribers.extend(&mut group.members);
                scope.spawn(move || fleeting.run(address));
            }
            for (index, publisher) in publishers.into_iter().enumerate() {
                scope.spawn(move || publisher.run(address, seed + index as u64));
            }
            for (index, retainer) in self.retainers.iter_mut().enumerate() {
                scope.spawn(move || retainer.run(address, seed + 100 + index as u64));
            }
            for (index, subscriber) in subscribers.into_iter().enumerate() {
                scope.spawn(move || subscriber.run(address, seed + 200 + index as u64));
            }
            // The moment of death, not a wait for a result.
            thread::sleep(life);
            server.kill()
        })
    }

    /// Looks at what must be there at any time.
    fn check(&mut self, server: &Server) {
        for retainer in &self.retainers {
            retainer.check(server.mqtt());
        }
        if let Some(Mqtt5 { fleeting, .. }) = &mut self.mqtt5 {
            fleeting.visit(server.mqtt());
        }
    }

    /// Lets everybody finish what is under way, and looks at the whole.
    fn end(&mut self, server: &Server) {
        for publisher in &mut self.publishers {
            publisher.finish(server.mqtt());
        }
        for retainer in &mut self.retainers {
            retainer.finish(server.mqtt());
        }
        self.subscriber.drain(server.mqtt(), &self.publishers);
        for publisher in &self.publishers {
            self.subscriber.check(publisher);
        }
        for retainer in &self.retainers {
            retainer.check(server.mqtt());
        }
        if let Some(Mqtt5 { group, fleeting }) = &mut self.mqtt5 {
            group.end(server.mqtt());
            fleeting.look(server.mqtt());
        }
    }
}

fn rounds() -> u64 {
    match env::var("KILL_ROUNDS") {
        Ok(text) => text.parse().expect("KILL_ROUNDS is a number"),
        Err(_) => 50,
    }
}

fn nothing_is_lost(version: Version, durability: &'static str) {
    let mut random = Random::from_environment();
    let mut world = World::new(version);
    let mut server = Options::new().durability(durability).start();
    world.subscribe(server.mqtt());
    let rounds = rounds();
    for round in 0..rounds {
        let life = Duration::from_millis(20 + random.below(230));
        let mut stopped = world.live_and_die(server, random.next() >> 1, life);
        if random.below(5) == 0 {
            // Die while starting, too.
            let young = stopped.spawn();
            thread::sleep(Duration::from_millis(random.below(60)));
            stopped = young.kill();
        }
        server = stopped.run();
        println!("round {round}: life of {life:?}, {} messages seen", world.subscriber.seen());
        world.check(&server);
    }
    world.end(&server);
    // A run in which nothing happened would show nothing.
    for publisher in &world.publishers {
        assert!(publisher.acknowledged() > rounds, "{publisher:?}");
    }
    for retainer in &world.retainers {
        assert!(retainer.deleted > rounds / 10, "{retainer:?}");
    }
    if let Some(Mqtt5 { group, fleeting }) = &world.mqtt5 {
        for publisher in &group.publishers {
            assert!(publisher.acknowledged() > rounds, "{publisher:?}");
        }
        assert!(fleeting.visits > 0 || rounds < 50, "no message had the time to expire");
    }
}

#[test]
fn nothing_acknowledged_is_lost_under_always() {
    nothing_is_lost(Version::Mqtt311, "always");
}

#[test]
fn nothing_acknowledged_is_lost_under_interval() {
    nothing_is_lost(Version::Mqtt311, "interval");
}

#[test]
fn nothing_acknowledged_is_lost_with_mqtt5_under_always() {
    nothing_is_lost(Version::Mqtt5, "always");
}

#[test]
fn nothing_acknowledged_is_lost_with_mqtt5_under_interval() {
    nothing_is_lost(Version::Mqtt5, "interval");
}

#[test]
fn memory_keeps_nothing_and_starts_again() {
    let server = Options::new().durability("memory").start();
    Client::connect(server.mqtt(), &Connect::new("a")).publish_retained("kept", "x", 1);
    let server = server.restart();
    let mut client = Client::connect(server.mqtt(), &Connect::new("a"));
    client.subscribe("#", 1);
    client.expect_nothing_more();
}
