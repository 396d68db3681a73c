//! The disk under the server: full, failing, growing; and a directory whose last write was torn.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::client::{Client, Next};
use crate::harness::clock::{SOON, wait_until};
use crate::harness::packet::{Connect, Packet, Publish};
use crate::harness::server::{Options, Server, disk_bytes};

/// A server whose files can be kept from growing: what is beyond the limit fails as it does on a full disk.
fn with_limited_files() -> Options {
    // Without the trap the system would end the process.
    Options::new().shell("trap '' XFSZ").set("store.segment_bytes=256KiB")
}

fn limit_files(server: &Server, bytes: &str) {
    let process = server.process_id().to_string();
    let status = Command::new("prlimit").args(["--pid", &process, &format!("--fsize={bytes}:")]).status();
    assert!(status.unwrap().success(), "prlimit");
}

fn kept(server: &Server) -> Vec<String> {
    let mut client = Client::connect(server.mqtt(), &Connect::new("auditor"));
    // The last one in the order of a replay. (Replays of several filters would take turns.)
    client.publish_retained("kept/~", "end", 1);
    client.subscribe("kept/#", 0);
    let mut kept = Vec::new();
    loop {
        match client.packet() {
            Packet::Publish(publish) if publish.topic == "kept/~" => break,
            Packet::Publish(publish) => kept.push(publish.topic["kept/".len()..].to_owned()),
            other => panic!("{other:?}"),
        }
    }
    kept.sort();
    kept
}

#[test]
fn a_full_disk_takes_nothing_that_it_can_not_keep_and_recovers() {
    let server = with_limited_files().start();
    let mut client = Client::connect(server.mqtt(), &Connect::new("publisher"));
    client.publish_retained("kept/before", "x", 1);
    // A little less than a segment: no further one can be made.
    limit_files(&server, "260000");
    let mut acknowledged = vec!["before".to_owned()];
    let mut refused = None;
    for number in 0..1_000 {
        let id = client.id();
        let publish = Publish::new(&format!("kept/{number:04}"), vec![b'x'; 1_000]).qos(1, id).retain();
        // The connection may be closed already.
        let _ = client.try_send(&publish.encode());
        match client.next(SOON) {
            Next::Packet(Packet::Puback(_)) => acknowledged.push(format!("{number:04}")),
            Next::Closed => {
                refused = Some(number);
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(refused.is_some(), "the disk was never full: {} messages", acknowledged.len());
    let (status, body) = server.get("/health/ready");
    assert_eq!(status, 503, "{body}");
    assert!(server.log().contains("reserve space"), "the log says why");
    // What is there can still be read, and plain messages flow.
    let mut reader = Client::connect(server.mqtt(), &Connect::new("reader"));
    reader.subscribe("kept/before", 0);
    assert_eq!(reader.message().text(), "x");
    reader.subscribe("plain", 1);
    reader.send(&Publish::new("plain", "still served").encode());
    assert_eq!(reader.message().text(), "still served");

    limit_files(&server, "unlimited");
    wait_until("the server to see the space", SOON, || server.get("/health/ready").0 == 200);
    let mut client = Client::connect(server.mqtt(), &Connect::new("publisher"));
    client.publish_retained("kept/after", "x", 1);
    acknowledged.push("after".to_owned());
    let server = server.restart();
    let kept = kept(&server);
    acknowledged.sort();
    let lost: Vec<_> = acknowledged.iter().filter(|name| !kept.contains(name)).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
}

#[test]
fn no_space_at_the_start_is_one_clear_message() {
    let (status, said, _) = Options::new().shell("trap '' XFSZ").limit("-f 8").prepare().run_in_vain();
    assert_eq!(status.code(), Some(1), "{said}");
    let errors: Vec<&str> = said.lines().filter(|line| line.starts_with("distkv: ")).collect();
    assert_eq!(errors.len(), 1, "{said}");
    assert!(!said.contains("panicked") && !said.contains("backtrace"), "{said}");
}

#[test]
fn a_failed_write_ends_all_acknowledgements() {
    let server = with_limited_files().start();
    let mut client = Client::connect(server.mqtt(), &Connect::new("publisher"));
    client.publish_retained("kept/before", "x", 1);
    // Even the segment under way can't be written any more.
    limit_files(&server, "4096");
    let mut acknowledged = vec!["before".to_owned()];
    for number in 0..1_000 {
        let id = client.id();
        let publish = Publish::new(&format!("kept/{number:04}"), vec![b'x'; 1_000]).qos(1, id).retain();
        let _ = client.try_send(&publish.encode());
        match client.next(SOON) {
            Next::Packet(Packet::Puback(_)) => acknowledged.push(format!("{number:04}")),
            Next::Closed => break,
            other => panic!("{other:?}"),
        }
    }
    assert!(acknowledged.len() < 100);
    assert_eq!(server.get("/health/ready").0, 503);
    limit_files(&server, "unlimited");
    // It does not forgive: nobody knows what the disk has.
    let refused = Client::try_connect(server.mqtt(), &Connect::new("publisher")).is_none_or(|mut client| {
        let _ = client.try_send(&Publish::new("kept/late", "x").qos(1, 1).retain().encode());
        client.next(SOON) == Next::Closed
    });
    assert!(refused);
    let server = server.restart();
    let kept = kept(&server);
    let lost: Vec<_> = acknowledged.iter().filter(|name| !kept.contains(name)).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
}

#[test]
fn endless_overwrites_take_bounded_space() {
    const TOPICS: usize = 200;
    let server = Options::new().set("store.segment_bytes=256KiB").set("store.snapshot_bytes=512KiB").start();
    let mut client = Client::connect(server.mqtt(), &Connect::new("publisher"));
    let live = (TOPICS * 4_000) as u64;
    for round in 0..40 {
        let mut batch = Vec::new();
        for index in 0..TOPICS {
            let payload = vec![b'a' + (round % 26) as u8; 4_000];
            let publish = Publish::new(&format!("kept/{index}"), payload).qos(1, index as u16 + 1).retain();
            batch.extend(publish.encode());
        }
        client.send(&batch);
        for index in 0..TOPICS {
            client.expect(Packet::Puback(index as u16 + 1));
        }
    }
    // 40 rounds of 800 KB. Three times the live data, and the segment that is reserved.
    wait_until("old segments to go", SOON, || disk_bytes(&server.data()) < 3 * live + 512 * 1024);
    let server = server.restart();
    assert_eq!(kept(&server).len(), TOPICS);
}

/// The newest segment of the log.
fn newest_segment(data: &Path) -> PathBuf {
    let mut segments: Vec<PathBuf> = fs::read_dir(data)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let name = path.file_name().unwrap().to_string_lossy();
            name.strip_prefix("journal-").is_some_and(|number| number.parse::<u64>().is_ok())
        })
        .collect();
    segments.sort();
    segments.pop().expect("a segment")
}

#[test]
fn a_torn_tail_costs_nothing_but_the_torn_write() {
    let server = Options::new().durability("always").start();
    let mut client = Client::connect(server.mqtt(), &Connect::new("publisher"));
    for number in 0..10 {
        client.publish_retained(&format!("kept/{number}"), "x", 1);
    }
    let stopped = server.kill();
    // Half a record behind the last one, as a power cut in the middle of a write leaves it.
    let mut file = File::options().read(true).write(true).open(newest_segment(&stopped.data())).unwrap();
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let torn = [0x40, 0, 0, 0, 16, 0xaa, 0xbb, 0xcc, 1, 2, 3, 4, b't', b'o', b'r', b'n'];
    file.seek(SeekFrom::Start(end as u64)).unwrap();
    file.write_all(&torn).unwrap();
    drop(file);
    let server = stopped.run();
    assert_eq!(kept(&server).len(), 10);
}
