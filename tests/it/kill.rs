//! `kill -9` again and again, at random moments, while clients publish, set and delete retained messages, and a persistent
//! subscriber reads. Nothing that was acknowledged may be lost, nothing deleted may return, and QoS 2 arrives once.
//!
//! `KILL_ROUNDS` sets the number of rounds (50), `TEST_SEED` repeats a run.

mod publisher;
mod retainer;
mod subscriber;

use std::env;
use std::thread;
use std::time::Duration;

use crate::harness::client::Client;
use crate::harness::packet::Connect;
use crate::harness::random::Random;
use crate::harness::server::{Options, Server, Stopped};

use publisher::Publisher;
use retainer::Retainer;
use subscriber::Subscriber;

/// Everybody who has to do with the server over all of its lives.
struct World {
    publishers: Vec<Publisher>,
    retainers: Vec<Retainer>,
    subscriber: Subscriber,
}

impl World {
    fn new() -> Self {
        Self {
            publishers: vec![Publisher::new("one", 1), Publisher::new("two", 2), Publisher::new("three", 2)],
            retainers: vec![Retainer::new("left", 1), Retainer::new("right", 2)],
            subscriber: Subscriber::new(),
        }
    }

    /// Runs all clients against `server` until it dies, which it does after `life`.
    fn live_and_die(&mut self, server: Server, seed: u64, life: Duration) -> Stopped {
        let address = server.mqtt();
        thread::scope(|scope| {
            for (index, publisher) in self.publishers.iter_mut().enumerate() {
                scope.spawn(move || publisher.run(address, seed + index as u64));
            }
            for (index, retainer) in self.retainers.iter_mut().enumerate() {
                scope.spawn(move || retainer.run(address, seed + 100 + index as u64));
            }
            let subscriber = &mut self.subscriber;
            scope.spawn(move || subscriber.run(address, seed + 200));
            // The moment of death, not a wait for a result.
            thread::sleep(life);
            server.kill()
        })
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
    }
}

fn rounds() -> u64 {
    match env::var("KILL_ROUNDS") {
        Ok(text) => text.parse().expect("KILL_ROUNDS is a number"),
        Err(_) => 50,
    }
}

fn nothing_is_lost(durability: &'static str) {
    let mut random = Random::from_environment();
    let mut world = World::new();
    let mut server = Options::new().durability(durability).start();
    world.subscriber.subscribe(server.mqtt());
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
        for retainer in &world.retainers {
            retainer.check(server.mqtt());
        }
    }
    world.end(&server);
    // A run in which nothing happened would show nothing.
    for publisher in &world.publishers {
        assert!(publisher.acknowledged() > rounds, "{publisher:?}");
    }
    for retainer in &world.retainers {
        assert!(retainer.deleted > rounds / 10, "{retainer:?}");
    }
}

#[test]
fn nothing_acknowledged_is_lost_under_always() {
    nothing_is_lost("always");
}

#[test]
fn nothing_acknowledged_is_lost_under_interval() {
    nothing_is_lost("interval");
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
