//! How many instructions the inner paths take, counted by valgrind: figures that hold still on any machine.
//! `benches/gate` runs this and compares with `benches/instructions.txt`.
//!
//! Everything is made from fixed numbers and runs in one thread. What a function is given is made before the count begins,
//! and what it returns is dropped after its end.

#![expect(missing_docs, unused_qualifications, reason = "it is what the macros make")]

use std::hint::black_box;

use distkv_broker::codec::{self, Decoded, Delivery, Packet, PacketId, ProtocolVersion, Publish};
use distkv_store::meta::Meta;
use distkv_store::path::Path;
use distkv_store::store::{Durability, Options, Store};
use distkv_store::ticks::NodeName;
use distkv_store::value::Value;
use distkv_store::view::{View, Who};
use gungraun::prelude::*;

/// Each function does its work so often, so that what happens now and then (a buffer that grows) is in the count.
const TIMES: usize = 100;

const TOPIC: &str = "building/12/floor/3/room/307/temperature";

fn packets(qos: u8) -> Vec<u8> {
    let payload = [b'x'; 64];
    let mut bytes = Vec::new();
    for number in 1..=TIMES {
        let id = PacketId::new(number as u16).expect("not 0");
        let delivery = match qos {
            0 => Delivery::AtMostOnce,
            _ => Delivery::AtLeastOnce { id, dup: false },
        };
        let publish = Publish { topic: TOPIC, payload: &payload, delivery, retain: false };
        publish.encode(&mut bytes, ProtocolVersion::V3_1_1).expect("short enough");
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

#[library_benchmark]
fn encode_publish() -> Vec<u8> {
    let payload = [b'x'; 64];
    let mut bytes = Vec::with_capacity(TIMES * 128);
    for number in 1..=TIMES {
        let id = PacketId::new(number as u16).expect("not 0");
        let delivery = Delivery::AtLeastOnce { id, dup: false };
        let publish = Publish { topic: black_box(TOPIC), payload: &payload, delivery, retain: false };
        publish.encode(&mut bytes, ProtocolVersion::V3_1_1).expect("short enough");
    }
    bytes
}

/// A store with 10 000 entries, and paths and values that overwrite 100 of them.
struct Overwrites {
    view: View,
    writes: Vec<(Path, Value)>,
    _dir: tempfile::TempDir,
}

fn overwrites(durability: Durability) -> Overwrites {
    let dir = tempfile::tempdir().expect("a directory");
    let mut options = Options::new(NodeName::new("bench").expect("a name"));
    options.durability = durability;
    // No background work in the middle of a count.
    options.snapshot_bytes = 1 << 40;
    let (store, _) = Store::open(dir.path(), options, &mut |_| {}).expect("an empty directory");
    let view = store.view(Who::user(None));
    let path = |number: usize| {
        let room = (number % 100).to_string();
        Path::from_strs(["building", room.as_str(), &number.to_string(), "temperature"])
            .expect("short enough")
    };
    for number in 0..10_000 {
        let value = Value::binary(&[b'y'; 200]);
        view.set(path(number).as_path(), value, Meta::default(), None).expect("written");
    }
    let writes = (0..TIMES).map(|number| (path(number * 97), Value::binary(&[b'x'; 200]))).collect();
    Overwrites { view, writes, _dir: dir }
}

#[library_benchmark(setup = overwrites)]
#[bench::memory(Durability::Memory)]
#[bench::interval(Durability::Interval)]
fn commit_overwrite(overwrites: Overwrites) -> Overwrites {
    for (path, value) in &overwrites.writes {
        let committed = overwrites.view.set(path.as_path(), value.clone(), Meta::default(), None);
        black_box(committed.expect("written"));
    }
    overwrites
}

library_benchmark_group!(name = inner_paths, benchmarks = [decode_publish, encode_publish, commit_overwrite]);

main!(library_benchmark_groups = inner_paths);
