//! How many instructions the inner paths take, counted by valgrind: figures that hold still on any machine.
//! `benches/gate` runs this and compares with `benches/instructions.txt`.
//!
//! Everything is made from fixed numbers and runs in one thread. What a function is given is made before the count begins,
//! and what it returns is dropped after its end.

#![expect(missing_docs, unused_qualifications, reason = "it is what the macros make")]

use std::hint::black_box;
use std::net::Ipv4Addr;
use std::num::NonZeroU16;
use std::sync::Arc;

use distkv_broker::Broker;
use distkv_broker::codec::{
    self, ApplicationProperties, Decoded, Delivery, Packet, PacketId, ProtocolVersion, Publish,
    PublishProperties,
};
use distkv_broker::hooks::memory::{MemoryHooks, NoLog};
use distkv_broker::limits::Limits;
use distkv_broker::trie::{SubscriberId, Trie};
use distkv_store::meta::Meta;
use distkv_store::path::Path;
use distkv_store::store::{Durability, Options, Store};
use distkv_store::ticks::NodeName;
use distkv_store::value::Value;
use distkv_store::view::{View, Who};
use gungraun::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::runtime::Runtime;

/// Each function does its work so often, so that what happens now and then (a buffer that grows) is in the count.
const TIMES: usize = 100;

const TOPIC: &str = "building/12/floor/3/room/307/temperature";

fn packets(qos: u8) -> Vec<u8> {
    packets_of(ProtocolVersion::V3_1_1, qos, PublishProperties::default(), |_| TOPIC.to_owned())
}

/// Messages of MQTT 5: without properties, or with those of a request (expiry, response topic, correlation data, content type
/// and a user property).
fn packets_of_mqtt5(with_properties: bool) -> Vec<u8> {
    let request =
        b"\x08\0\x09answers/1\x09\0\x04\0\0\0\x07\x03\0\x10application/json\x26\0\x04unit\0\x07celsius";
    let mut properties = PublishProperties::default();
    if with_properties {
        properties.message_expiry = Some(3600);
        properties.application = ApplicationProperties::from_block(request).expect("valid");
    }
    packets_of(ProtocolVersion::V5, 0, properties, |_| TOPIC.to_owned())
}

fn packets_of(
    version: ProtocolVersion,
    qos: u8,
    properties: PublishProperties<'_>,
    topic: impl Fn(usize) -> String,
) -> Vec<u8> {
    let payload = [b'x'; 64];
    let mut bytes = Vec::new();
    for number in 1..=TIMES {
        let id = PacketId::new(number as u16).expect("not 0");
        let delivery = match qos {
            0 => Delivery::AtMostOnce,
            _ => Delivery::AtLeastOnce { id, dup: false },
        };
        let topic = topic(number);
        let publish = Publish { topic: &topic, payload: &payload, delivery, retain: false, properties };
        publish.encode(&mut bytes, version).expect("short enough");
    }
    bytes
}

#[library_benchmark(setup = packets)]
#[bench::qos0(0)]
#[bench::qos1(1)]
fn decode_publish(bytes: Vec<u8>) -> usize {
    let mut rest = bytes.as_slice();
    let mut decoded = 0;
    while let Ok(Decoded::Packet { packet: Packet::Publish(publish), len }) =
        codec::decode(rest, ProtocolVersion::V3_1_1, 1 << 20)
    {
        black_box(publish);
        rest = &rest[len..];
        decoded += 1;
    }
    assert_eq!(decoded, TIMES);
    decoded
}

#[library_benchmark(setup = packets_of_mqtt5)]
#[bench::plain(false)]
#[bench::properties(true)]
fn decode_mqtt5_publish(bytes: Vec<u8>) -> usize {
    let mut rest = bytes.as_slice();
    let mut decoded = 0;
    while let Ok(Decoded::Packet { packet: Packet::Publish(publish), len }) =
        codec::decode(rest, ProtocolVersion::V5, 1 << 20)
    {
        black_box(publish);
        rest = &rest[len..];
        decoded += 1;
    }
    assert_eq!(decoded, TIMES);
    decoded
}

#[library_benchmark]
fn encode_publish() -> Vec<u8> {
    let payload = [b'x'; 64];
    let mut bytes = Vec::with_capacity(TIMES * 128);
    for number in 1..=TIMES {
        let id = PacketId::new(number as u16).expect("not 0");
        let delivery = Delivery::AtLeastOnce { id, dup: false };
        let publish = Publish {
            topic: black_box(TOPIC),
            payload: &payload,
            delivery,
            retain: false,
            properties: PublishProperties::default(),
        };
        publish.encode(&mut bytes, ProtocolVersion::V3_1_1).expect("short enough");
    }
    bytes
}

/// A store with 10 000 entries, and what is written to it: to entries that are there, or to new ones between them.
struct Writes {
    view: View,
    writes: Vec<(Path, Value)>,
    _dir: tempfile::TempDir,
}

fn writes(durability: Durability, new: bool) -> Writes {
    let dir = tempfile::tempdir().expect("a directory");
    let mut options = Options::new(NodeName::new("bench").expect("a name"));
    options.durability = durability;
    // No background work in the middle of a count.
    options.snapshot_bytes = 1 << 40;
    let (store, _) = Store::open(dir.path(), options, &mut |_| {}).expect("an empty directory");
    let view = store.view(Who::user(None));
    let path = |number: usize, last: &str| {
        let room = (number % 100).to_string();
        Path::from_strs(["building", room.as_str(), &number.to_string(), last]).expect("short enough")
    };
    for number in 0..10_000 {
        let value = Value::binary(&[b'y'; 200]);
        view.set(path(number, "temperature").as_path(), value, Meta::default(), None).expect("written");
    }
    let last = if new { "humidity" } else { "temperature" };
    let writes = (0..TIMES).map(|number| (path(number * 97, last), Value::binary(&[b'x'; 200]))).collect();
    Writes { view, writes, _dir: dir }
}

#[library_benchmark(setup = writes)]
#[bench::overwrite_memory(Durability::Memory, false)]
#[bench::overwrite_interval(Durability::Interval, false)]
#[bench::insert_memory(Durability::Memory, true)]
fn commit(writes: Writes) -> Writes {
    for (path, value) in &writes.writes {
        let committed = writes.view.set(path.as_path(), value.clone(), Meta::default(), None);
        black_box(committed.expect("written"));
    }
    writes
}

/// 100 000 filters of as many clients, half of them with a wildcard above the last level, near the topic that is looked up.
fn filters() -> Trie<u8> {
    let mut trie = Trie::new();
    for number in 0..100_000 {
        let filter = match number % 2 {
            0 => format!("building/12/floor/3/room/{number}/temperature"),
            _ => format!("building/12/floor/3/+/{number}/humidity"),
        };
        trie.insert(&filter, SubscriberId(number), 0);
    }
    trie.insert("building/+/floor/3/room/#", SubscriberId(100_000), 1);
    trie.insert(TOPIC, SubscriberId(100_001), 1);
    trie
}

#[library_benchmark(setup = filters)]
fn match_among_100000_filters(trie: Trie<u8>) -> (Trie<u8>, Vec<(SubscriberId, u8)>) {
    let mut found = Vec::new();
    for _ in 0..TIMES {
        trie.matches(black_box(TOPIC), &mut found);
    }
    assert_eq!(found.len(), 2);
    (trie, found)
}

/// What is delivered, and how.
#[derive(Clone, Copy)]
struct Way {
    version: ProtocolVersion,
    qos: u8,
    /// The subscription has this identifier; 0: none.
    identifier: u8,
    /// By topic aliases, both ways.
    aliases: bool,
    /// What stands before the topic in the filter.
    share: &'static str,
    /// Each message has a topic of its own, which was not seen before, so that each is matched.
    unseen: bool,
}

const MQTT3: Way =
    Way { version: ProtocolVersion::V3_1_1, qos: 0, identifier: 0, aliases: false, share: "", unseen: false };
const MQTT3_QOS1: Way = Way { qos: 1, ..MQTT3 };
const MQTT5: Way = Way { version: ProtocolVersion::V5, ..MQTT3 };
const MQTT5_QOS1: Way = Way { qos: 1, ..MQTT5 };
const MQTT5_IDENTIFIER: Way = Way { identifier: 7, ..MQTT5 };
const MQTT5_ALIAS: Way = Way { aliases: true, ..MQTT5 };
const SHARED: Way = Way { share: "$share/group/", ..MQTT3 };
const UNSEEN: Way = Way { unseen: true, ..MQTT3 };
const SHARED_UNSEEN: Way = Way { unseen: true, ..SHARED };

impl Way {
    fn connect(self, id: u8) -> Vec<u8> {
        let aliases: &[u8] = if self.aliases { &[3, 0x22, 0, 10] } else { &[0] };
        let properties = if self.version == ProtocolVersion::V5 { aliases } else { &[] };
        let mut packet = vec![0x10, 13 + properties.len() as u8, 0, 4, b'M', b'Q', b'T', b'T'];
        packet.extend_from_slice(&[self.version.level(), 2, 0, 0]);
        packet.extend_from_slice(properties);
        packet.extend_from_slice(&[0, 1, id]);
        packet
    }

    fn subscribe(self) -> Vec<u8> {
        let Self { version, qos, identifier, share, unseen, .. } = self;
        let topic = if unseen { "building/12/floor/3/room/+/temperature" } else { TOPIC };
        let filter = format!("{share}{topic}");
        let identifier = [2, 0x0B, identifier];
        let properties: &[u8] = match version {
            ProtocolVersion::V5 if self.identifier > 0 => &identifier,
            ProtocolVersion::V5 => &[0],
            _ => &[],
        };
        let mut packet = vec![0x82, (filter.len() + properties.len() + 5) as u8, 0, 1];
        packet.extend_from_slice(properties);
        packet.extend_from_slice(&[0, filter.len() as u8]);
        packet.extend_from_slice(filter.as_bytes());
        packet.push(qos);
        packet
    }

    /// What the publisher sends; in round 0 it tells its topic alias, and each round has other unseen topics.
    fn packets(self, round: usize) -> Vec<u8> {
        let topic_alias = self.aliases.then_some(NonZeroU16::MIN);
        let properties = PublishProperties { topic_alias, ..PublishProperties::default() };
        packets_of(self.version, self.qos, properties, |number| match self {
            Self { unseen: true, .. } => {
                format!("building/12/floor/3/room/{}/temperature", 100 + round * TIMES + number)
            }
            Self { aliases: true, .. } if round > 0 => String::new(),
            _ => TOPIC.to_owned(),
        })
    }

    /// How many bytes come to the subscriber for all that. In round 0 the first message tells the topic of its alias.
    fn bytes(self, round: usize) -> usize {
        let identifiers = if self.identifier > 0 { 2 * TIMES } else { 0 };
        let topic = if self.aliases && round == 0 { TOPIC.len() } else { 0 };
        self.packets(1).len() + identifiers + topic
    }
}

/// A broker with a publisher and a subscriber, all in one thread, and what the publisher is about to send.
struct Delivering {
    runtime: Runtime,
    _broker: Broker,
    publisher: DuplexStream,
    subscriber: DuplexStream,
    packets: Vec<u8>,
    received: Vec<u8>,
    /// How many bytes come to the subscriber.
    bytes: usize,
}

/// Reads a packet of less than 128 bytes.
async fn read_packet(stream: &mut DuplexStream) {
    let mut head = [0; 2];
    stream.read_exact(&mut head).await.expect("open");
    stream.read_exact(&mut vec![0; head[1].into()]).await.expect("open");
}

fn delivery(way: Way) -> Delivering {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (broker, publisher, subscriber) = runtime.block_on(async {
        let limits = Limits { inflight: 1000, ..Limits::default() };
        let broker = Broker::new(limits, Arc::new(MemoryHooks::new()), Arc::new(NoLog));
        let mut ends = Vec::new();
        for id in [b'p', b's'] {
            let (mut near, far) = tokio::io::duplex(1 << 20);
            broker.serve(far, (Ipv4Addr::LOCALHOST, 1).into());
            near.write_all(&way.connect(id)).await.expect("open");
            read_packet(&mut near).await;
            ends.push(near);
        }
        let mut subscriber = ends.pop().expect("two");
        let publisher = ends.pop().expect("one more");
        subscriber.write_all(&way.subscribe()).await.expect("open");
        read_packet(&mut subscriber).await;
        (broker, publisher, subscriber)
    });
    let mut made = Delivering {
        runtime,
        _broker: broker,
        publisher,
        subscriber,
        packets: way.packets(0),
        received: vec![0; 16 << 10],
        bytes: way.bytes(0),
    };
    // Once beforehand: caches and buffers are there then. At QoS 1 nothing is acknowledged, the window has room for more.
    made.run();
    made.bytes = way.bytes(1);
    made.packets = way.packets(1);
    made
}

impl Delivering {
    fn run(&mut self) {
        let Self { runtime, publisher, subscriber, packets, received, bytes, .. } = self;
        runtime.block_on(async {
            publisher.write_all(packets).await.expect("open");
            let mut left = *bytes;
            while left > 0 {
                left -= subscriber.read(received).await.expect("open");
            }
        });
    }
}

#[library_benchmark(setup = delivery)]
#[bench::qos0(MQTT3)]
#[bench::qos1(MQTT3_QOS1)]
#[bench::mqtt5_qos0(MQTT5)]
#[bench::mqtt5_qos1(MQTT5_QOS1)]
#[bench::mqtt5_identifier(MQTT5_IDENTIFIER)]
#[bench::mqtt5_alias(MQTT5_ALIAS)]
#[bench::shared(SHARED)]
#[bench::unseen_topics(UNSEEN)]
#[bench::shared_unseen_topics(SHARED_UNSEEN)]
fn deliver(mut delivery: Delivering) -> Delivering {
    delivery.run();
    delivery
}

library_benchmark_group!(
    name = inner_paths,
    benchmarks =
        [decode_publish, decode_mqtt5_publish, encode_publish, match_among_100000_filters, deliver, commit]
);

main!(library_benchmark_groups = inner_paths);
