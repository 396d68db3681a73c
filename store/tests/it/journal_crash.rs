//! The journal over a disk that crashes and loses power at any moment, against a list as its model.
//!
//! Each round opens the journal, does random things, and ends with a crash at a random call to the disk. What is found at the next
//! start must be a beginning of what was appended, and reach at least as far as was promised.

use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use distkv_store::journal::{Durability, Journal, JournalFailed, JournalOptions, Kind, Lsn};

use crate::disk::{Disk, Random};

/// Wakes the thread that waits.
struct Unpark(std::thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits until `poll` is ready.
pub(crate) fn wait<T>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    loop {
        match poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(result) => return result,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// Waits until `lsn` is settled.
pub(crate) fn settle(journal: &Journal, lsn: Lsn) -> Result<(), JournalFailed> {
    wait(|cx| journal.poll_settled(lsn, cx))
}

/// Options for tests: nothing happens by time.
pub(crate) fn options(durability: Durability) -> JournalOptions {
    JournalOptions { durability, sync_interval: Duration::from_secs(3600), segment_bytes: 4096 }
}

/// What was appended, and how much of it was promised to survive what.
#[derive(Default)]
struct Model {
    appended: Vec<u64>,
    /// So many survive a crash of the process.
    settled: usize,
    /// So many survive a power cut.
    synced: usize,
}

/// How often the rounds met what they are for.
#[derive(Default, Debug)]
struct Seen {
    cuts: u64,
    snapshots: u64,
    lost: u64,
    segments: u64,
}

fn payload(number: u64, random: &mut Random) -> Vec<u8> {
    let length = if random.one_in(40) { 6000 } else { random.below(200) };
    let mut payload = number.to_le_bytes().to_vec();
    payload.resize(8 + length, number as u8);
    payload
}

fn read_back(disk: &Disk, durability: Durability) -> (Journal, Vec<u64>, Seen) {
    let mut found = Vec::new();
    let opened = Journal::open_on(Arc::new(disk.clone()), "n", options(durability), &mut |kind, payload| {
        assert_eq!(kind, Kind::Local);
        found.push(u64::from_le_bytes(payload[..8].try_into().unwrap()));
        Ok(())
    });
    let (journal, report) = opened.unwrap_or_else(|error| panic!("{error}: {:?}", disk.names()));
    let seen = Seen {
        cuts: u64::from(report.cut.is_some()),
        snapshots: u64::from(report.snapshot_records.is_some()),
        lost: 0,
        segments: report.segments,
    };
    (journal, found, seen)
}

/// Does random things until the disk is dead or enough is done.
fn work(journal: &Journal, durability: Durability, model: &mut Model, random: &mut Random) {
    for _ in 0..random.below(120) {
        match random.below(24) {
            0..16 => {
                let number = model.appended.len() as u64;
                let payload = payload(number, random);
                let before = journal.failed().is_some();
                model.appended.push(number);
                let lsn = journal.append(Kind::Local, &payload);
                if random.one_in(3) && settle(journal, lsn).is_ok() {
                    assert!(!before, "acknowledged after a failure");
                    model.settled = model.appended.len();
                    if durability == Durability::Always {
                        model.synced = model.appended.len();
                    }
                }
            }
            16..22 => {
                if journal.sync().is_ok() {
                    model.settled = model.appended.len();
                    model.synced = model.appended.len();
                }
            }
            _ => snapshot(journal, model, random),
        }
        if journal.failed().is_some() {
            return;
        }
    }
}

fn snapshot(journal: &Journal, model: &mut Model, random: &mut Random) {
    let Ok(Some(mut writer)) = journal.begin_snapshot() else { return };
    let all = model.appended.len();
    for number in &model.appended {
        writer.record(Kind::Local, &payload(*number, random));
        if writer.write_out().is_err() {
            return;
        }
    }
    // Others go on appending meanwhile.
    for number in all..all + random.below(3) {
        model.appended.push(number as u64);
        journal.append(Kind::Local, &payload(number as u64, random));
    }
    if random.one_in(5) {
        return;
    }
    if writer.finish().is_ok() {
        model.settled = model.appended.len();
        model.synced = model.appended.len();
    }
}

fn rounds(durability: Durability, seed: u64) -> Seen {
    let mut random = Random(seed);
    let mut disk = Disk::default();
    let mut model = Model::default();
    let mut total = Seen::default();
    let mut power_was_cut = false;
    for round in 0..25 {
        // Opening crashes as well now and then; what is found after that must be the same.
        if random.one_in(4) {
            let dead_from = disk.calls() + 1 + random.below(60) as u64;
            disk.set_faults(|faults| faults.dead_from = Some(dead_from));
            let _ = Journal::open_on(Arc::new(disk.clone()), "n", options(durability), &mut |_, _| Ok(()));
            let cut = random.one_in(2);
            disk = if cut { disk.power_cut(&mut random) } else { disk.crash() };
            power_was_cut |= cut;
        }
        let promised = if power_was_cut { model.synced } else { model.settled };
        let (journal, found, seen) = read_back(&disk, durability);
        let context = format!("seed {seed}, round {round}, {:?}", disk.names());
        assert!(model.appended.starts_with(&found), "{context}: {found:?}");
        assert!(found.len() >= promised, "{context}: {} of {promised}", found.len());
        total.lost += u64::from(found.len() < model.appended.len());
        total.cuts += seen.cuts;
        total.snapshots += seen.snapshots;
        total.segments += seen.segments;
        // What was found at a start is synced by it.
        let have = found.len();
        model = Model { appended: found, settled: have, synced: have };
        let dead_from = disk.calls() + 1 + random.below(400) as u64;
        disk.set_faults(|faults| faults.dead_from = Some(dead_from));
        work(&journal, durability, &mut model, &mut random);
        power_was_cut = random.one_in(2);
        disk = if power_was_cut { disk.power_cut(&mut random) } else { disk.crash() };
    }
    total
}

fn check(durability: Durability) {
    let mut total = Seen::default();
    for seed in 0..40 {
        let seen = rounds(durability, seed);
        total.cuts += seen.cuts;
        total.snapshots += seen.snapshots;
        total.lost += seen.lost;
        total.segments += seen.segments;
    }
    // A run that met none of what it is for proves nothing.
    assert!(total.cuts > 5 && total.snapshots > 20 && total.lost > 20 && total.segments > 400, "{total:?}");
}

#[test]
fn under_always_nothing_acknowledged_is_lost_whatever_crashes() {
    check(Durability::Always);
}

#[test]
fn under_interval_a_crash_loses_nothing_acknowledged_and_a_power_cut_nothing_synced() {
    check(Durability::Interval);
}
