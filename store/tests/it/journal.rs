//! What the journal answers to each kind of trouble, and how it writes when there is none.

use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use distkv_store::journal::{
    Durability, Found, Journal, JournalFailed, JournalOptions, Kind, Lsn, OpenError, Reader, RecoveryReport,
    Summary, repair,
};
use proptest::prelude::*;

use crate::disk::Disk;
use crate::journal_crash::{options, settle};

type Opened = Result<(Journal, RecoveryReport, Vec<String>), OpenError>;

fn open_with(disk: &Disk, options: JournalOptions) -> Opened {
    let mut found = Vec::new();
    let (journal, report) = Journal::open_on(Arc::new(disk.clone()), "n", options, &mut |_, payload| {
        found.push(String::from_utf8_lossy(payload).into_owned());
        Ok(())
    })?;
    Ok((journal, report, found))
}

fn open(disk: &Disk) -> Opened {
    open_with(disk, options(Durability::Interval))
}

/// A new journal whose records are `text`, separated by spaces; `|` stands for a sync, `#` for a snapshot.
fn written(text: &str) -> Disk {
    let disk = Disk::default();
    let (journal, ..) = open(&disk).unwrap();
    write(&journal, text);
    drop(journal);
    disk.crash()
}

fn write(journal: &Journal, text: &str) {
    let mut all: Vec<&str> = Vec::new();
    for word in text.split_whitespace() {
        match word {
            "|" => journal.sync().unwrap(),
            "#" => {
                let mut writer = journal.begin_snapshot().unwrap().unwrap();
                for word in &all {
                    writer.record(Kind::Local, word.as_bytes());
                }
                writer.finish().unwrap();
            }
            word => {
                all.push(word);
                journal.append(Kind::Local, word.as_bytes());
            }
        }
    }
}

fn survey(disk: &Disk) -> (Vec<String>, Summary) {
    let mut found = Vec::new();
    let reader = Reader::open_on(Arc::new(disk.clone())).unwrap();
    let summary = reader
        .read(&mut |record: Found<'_>| found.push(String::from_utf8_lossy(record.payload).into_owned()))
        .unwrap();
    (found, summary)
}

fn place_of(disk: &Disk, file: &str, word: &str) -> usize {
    let bytes = disk.read(file);
    bytes.windows(word.len()).position(|window| window == word.as_bytes()).unwrap()
}

fn damage(disk: &Disk, file: &str, word: &str) {
    let at = place_of(disk, file, word);
    disk.damage(file, |bytes| bytes[at] ^= 0x20);
}

pub(crate) fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    #[expect(clippy::disallowed_methods, reason = "a deadline for a test")]
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(20), "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn no_file_changed(disk: &Disk, act: impl FnOnce()) {
    let state =
        |disk: &Disk| disk.names().iter().map(|name| (name.clone(), disk.read(name))).collect::<Vec<_>>();
    let before = state(disk);
    act();
    assert_eq!(before, state(disk));
}

#[test]
fn what_was_appended_is_found_in_order() {
    let disk = written("a b c");
    let (journal, report, found) = open(&disk).unwrap();
    assert_eq!(found, ["a", "b", "c"]);
    assert!(report.cut.is_none());
    journal.append(Kind::Local, b"d");
    drop(journal);
    let (_, report, found) = open(&disk.crash()).unwrap();
    assert_eq!(found, ["a", "b", "c", "d"]);
    assert_eq!(report.segments, 2);
}

#[test]
fn a_snapshot_stands_for_all_before_it_and_lets_old_files_go() {
    let disk = written("a b | c # d");
    assert_eq!(disk.names(), ["NODE", "journal-00000002", "snapshot-00000002"]);
    let (_, report, found) = open(&disk).unwrap();
    assert_eq!(found, ["a", "b", "c", "d"]);
    assert_eq!((report.snapshot_records, report.log_records), (Some(3), 1));
}

#[test]
fn a_torn_tail_is_cut_and_reported() {
    let disk = written("a b | c last");
    let at = place_of(&disk, "journal-00000001", "last");
    disk.damage("journal-00000001", |bytes| bytes.truncate(at));
    let (_, summary) = survey(&disk);
    assert!(!summary.is_damaged());
    assert_eq!(summary.troubles.len(), 1);
    let (journal, report, found) = open(&disk).unwrap();
    assert_eq!(found, ["a", "b", "c"]);
    let cut = report.cut.unwrap();
    assert_eq!((cut.offset, cut.bytes), (at as u64 - 12, 12));
    // And what comes after it is not mixed up with it.
    journal.append(Kind::Local, b"e");
    journal.close().unwrap();
    let (_, report, found) = open(&disk.crash()).unwrap();
    assert_eq!(found, ["a", "b", "c", "e"]);
    assert!(report.cut.is_none());
}

#[test]
fn what_lies_behind_an_unsynced_hole_is_dropped_and_does_not_come_back() {
    let disk = written("a | bbbb c d");
    let at = place_of(&disk, "journal-00000001", "bbbb");
    disk.damage("journal-00000001", |bytes| bytes[at - 12..at + 4].fill(0));
    let (journal, report, found) = open(&disk).unwrap();
    assert_eq!(found, ["a"]);
    assert!(report.cut.unwrap().bytes > 0);
    journal.append(Kind::Local, b"BBBB");
    drop(journal);
    assert_eq!(open(&disk.crash()).unwrap().2, ["a", "BBBB"]);
}

#[test]
fn damage_of_what_was_synced_is_an_error_that_tells_where() {
    for (word, at) in [("first", 64), ("second", 64 + 12 + 5)] {
        let disk = written("first second | third | fourth");
        damage(&disk, "journal-00000001", word);
        no_file_changed(&disk, || match open(&disk) {
            Err(OpenError::Damaged { path, offset, .. }) => {
                assert!(path.ends_with("journal-00000001"));
                assert_eq!(offset, at);
            }
            _ => panic!("damage was not noticed"),
        });
        let (found, summary) = survey(&disk);
        assert!(summary.is_damaged());
        assert_eq!(summary.troubles[0].bytes, at..at + 12 + word.len() as u64);
        assert_eq!(found.len(), 3, "the others are readable");
    }
}

#[test]
fn damage_of_an_earlier_segment_is_an_error() {
    let disk = Disk::default();
    let (journal, ..) = open(&disk).unwrap();
    let word = "x".repeat(3000);
    for _ in 0..4 {
        write(&journal, &format!("{word} |"));
    }
    drop(journal);
    let disk = disk.crash();
    assert!(disk.names().contains(&"journal-00000004".to_owned()), "{:?}", disk.names());
    for file in ["journal-00000001", "journal-00000002"] {
        let copy = disk.crash();
        damage(&copy, file, "xxxx");
        assert!(matches!(open(&copy), Err(OpenError::Damaged { .. })));
        // The header as well.
        let copy = copy.crash();
        copy.damage(file, |bytes| bytes[20] ^= 1);
        assert!(matches!(open(&copy), Err(OpenError::Damaged { offset: 0, .. })), "{file}");
        let copy = copy.crash();
        copy.take(file);
        // Without the first one, what is missing is a snapshot of its time.
        let missing = if file == "journal-00000001" { "snapshot-00000002" } else { file };
        assert!(matches!(open(&copy), Err(OpenError::Missing { path }) if path.ends_with(missing)));
        let (found, summary) = survey(&copy);
        assert_eq!(found.len(), 3);
        assert!(summary.is_damaged());
    }
}

#[test]
fn a_missing_snapshot_or_its_segment_is_an_error() {
    let disk = written("a b # c");
    let copy = disk.crash();
    copy.take("snapshot-00000002");
    assert!(matches!(open(&copy), Err(OpenError::Missing { path }) if path.ends_with("snapshot-00000002")));
    let copy = written("a b #");
    copy.take("journal-00000002");
    assert!(matches!(open(&copy), Err(OpenError::Missing { path }) if path.ends_with("journal-00000002")));
    assert!(survey(&copy).1.is_damaged());
}

#[test]
fn a_log_that_ends_before_what_its_snapshot_saw_is_an_error() {
    let disk = Disk::default();
    let (journal, ..) = open(&disk).unwrap();
    write(&journal, "a b");
    let writer = journal.begin_snapshot().unwrap().unwrap();
    write(&journal, "during");
    writer.finish().unwrap();
    drop(journal);
    let disk = disk.crash();
    disk.damage("journal-00000002", |bytes| bytes.truncate(64));
    assert!(matches!(open(&disk), Err(OpenError::Damaged { .. } | OpenError::Missing { .. })));
}

#[test]
fn a_damaged_snapshot_is_an_error_unless_an_older_one_has_all_its_segments() {
    let disk = written("one two # three # four");
    let copy = disk.crash();
    damage(&copy, "snapshot-00000003", "two");
    assert!(matches!(open(&copy), Err(OpenError::Damaged { .. })));

    // As after a crash between the new name and the removal of the old files.
    let disk = Disk::default();
    let (journal, ..) = open(&disk).unwrap();
    write(&journal, "one two #");
    disk.set_faults(|faults| faults.bad_removes = true);
    write(&journal, "three #");
    write(&journal, "four");
    drop(journal);
    let disk = disk.crash();
    assert!(disk.names().contains(&"snapshot-00000002".to_owned()));
    disk.damage("snapshot-00000003", |bytes| {
        let at = bytes.len() - 5;
        bytes[at] ^= 1;
    });
    let (_, report, found) = open(&disk).unwrap();
    assert_eq!(found, ["one", "two", "three", "four"]);
    assert_eq!(report.snapshots_skipped.len(), 1);
}

#[test]
fn other_formats_other_nodes_and_foreign_files_are_refused_by_name() {
    let disk = written("a # b");
    for file in ["journal-00000002", "snapshot-00000002"] {
        let copy = disk.crash();
        copy.damage(file, |bytes| {
            bytes[8] = 9;
            let sum = crc32c::crc32c(&bytes[..60]);
            bytes[60..64].copy_from_slice(&sum.to_le_bytes());
        });
        assert!(matches!(open(&copy), Err(OpenError::Format { found: 9, .. })), "{file}");
        let other = written("x # y");
        other.put(file, disk.read(file));
        assert!(matches!(open(&other), Err(OpenError::Foreign { .. })), "{file}");
    }
    let copy = disk.crash();
    copy.damage("NODE", |bytes| *bytes = b"distkv data\nformat: 9\nnode: n\n".to_vec());
    assert!(matches!(open(&copy), Err(OpenError::Format { found: 9, .. })));
    copy.take("NODE");
    assert!(matches!(open(&copy), Err(OpenError::NodeFileMissing { .. })));
    let (found, summary) = survey(&copy);
    assert_eq!(found, ["a", "b"]);
    assert!(summary.is_damaged());
    let other =
        Journal::open_on(Arc::new(disk.crash()), "m", options(Durability::Always), &mut |_, _| Ok(()));
    assert!(matches!(other, Err(OpenError::OtherNode { .. })));
}

#[test]
fn a_record_that_is_not_understood_is_told_with_its_place() {
    let disk = written("a b");
    let opened =
        Journal::open_on(Arc::new(disk.clone()), "n", options(Durability::Always), &mut |_, payload| {
            if payload == b"b" { Err("what is this".to_owned()) } else { Ok(()) }
        });
    match opened {
        Err(error @ OpenError::Record { offset: 77, .. }) => {
            assert!(error.to_string().contains("what is this"));
        }
        _ => panic!("taken"),
    }
}

#[test]
fn a_failed_sync_poisons_the_journal_for_good() {
    for durability in [Durability::Always, Durability::Interval] {
        let disk = Disk::default();
        let (journal, ..) = open_with(&disk, options(durability)).unwrap();
        let lsn = journal.append(Kind::Local, b"a");
        settle(&journal, lsn).unwrap();
        journal.sync().unwrap();
        disk.set_faults(|faults| faults.bad_syncs = true);
        let lsn = journal.append(Kind::Local, b"b");
        assert!(journal.sync().is_err());
        disk.set_faults(|faults| faults.bad_syncs = false);
        // The disk is well again, but nobody knows what became of the bytes: no second try.
        assert!(settle(&journal, lsn).is_err());
        assert!(settle(&journal, Lsn::default()).is_err(), "nothing is acknowledged any more");
        assert!(journal.sync().is_err());
        let failed = journal.stats().failed.unwrap();
        assert!(failed.to_string().contains("start the server again"), "{failed}");
        let lsn = journal.append(Kind::Local, b"c");
        assert!(settle(&journal, lsn).is_err());
        assert_eq!(journal.stats().gathered, 0, "nothing piles up");
    }
}

#[test]
fn who_waits_for_a_sync_that_fails_gets_to_know() {
    let disk = Disk::default();
    let (journal, ..) = open_with(&disk, options(Durability::Always)).unwrap();
    disk.set_faults(|faults| faults.bad_syncs = true);
    let lsn = journal.append(Kind::Local, b"a");
    assert!(matches!(settle(&journal, lsn), Err(JournalFailed::Io { what: "sync", .. })));
}

#[test]
fn a_failed_write_poisons_the_journal() {
    let disk = Disk::default();
    let (journal, ..) = open(&disk).unwrap();
    disk.set_faults(|faults| faults.bad_writes = Some("journal-"));
    let lsn = journal.append(Kind::Local, b"a");
    assert!(matches!(settle(&journal, lsn), Err(JournalFailed::Io { what: "write", .. })));
    assert!(journal.begin_snapshot().is_err());
}

#[test]
fn a_full_disk_shows_before_anything_fails_and_ends_by_itself() {
    let disk = Disk::default();
    let (journal, ..) = open(&disk).unwrap();
    disk.set_faults(|faults| faults.space = Some(7000));
    let lsn = journal.append(Kind::Local, &[b'x'; 2500]);
    settle(&journal, lsn).unwrap();
    wait_for("the shortage to show", || journal.is_short());
    // What is under way has room.
    let lsn = journal.append(Kind::Local, &[b'x'; 1000]);
    settle(&journal, lsn).unwrap();
    disk.set_faults(|faults| faults.space = None);
    wait_for("the shortage to end", || !journal.is_short());
    let lsn = journal.append(Kind::Local, &[b'x'; 3000]);
    settle(&journal, lsn).unwrap();
    journal.sync().unwrap();
    drop(journal);
    assert_eq!(open(&disk.crash()).unwrap().2.len(), 3);
}

#[test]
fn a_disk_that_is_full_in_spite_of_that_poisons_with_a_word_of_advice() {
    let disk = Disk::default();
    let (journal, ..) = open(&disk).unwrap();
    disk.set_faults(|faults| faults.space = Some(disk_room()));
    let lsn = journal.append(Kind::Local, &[b'x'; 20_000]);
    let failed = settle(&journal, lsn).unwrap_err();
    assert!(failed.to_string().contains("free some space"), "{failed}");
}

/// A little more than the first segment.
fn disk_room() -> u64 {
    5000
}

#[test]
fn a_snapshot_that_fails_leaves_the_journal_as_it_was() {
    let disk = Disk::default();
    let (journal, ..) = open(&disk).unwrap();
    write(&journal, "a b");
    disk.set_faults(|faults| faults.bad_writes = Some("snapshot-"));
    let writer = journal.begin_snapshot().unwrap().unwrap();
    assert!(writer.finish().is_err());
    disk.set_faults(|faults| faults.bad_writes = None);
    write(&journal, "c |");
    drop(journal);
    let disk = disk.crash();
    assert!(!disk.names().iter().any(|name| name.starts_with("snapshot")));
    assert_eq!(open(&disk).unwrap().2, ["a", "b", "c"]);
}

#[test]
fn a_snapshot_whose_name_was_never_synced_is_made_durable_before_older_files_go() {
    for seed in 0..20 {
        let disk = Disk::default();
        let (journal, ..) = open(&disk).unwrap();
        write(&journal, "one two |");
        let mut writer = journal.begin_snapshot().unwrap().unwrap();
        writer.record(Kind::Local, b"one");
        writer.record(Kind::Local, b"two");
        disk.set_faults(|faults| faults.bad_dir_syncs = true);
        assert!(writer.finish().is_err());
        let mut random = crate::disk::Random(seed);
        let disk = disk.crash();
        let calls = disk.calls();
        // Opened by a process which dies as soon as it has removed them.
        disk.set_faults(|faults| faults.dead_from = Some(calls + 10 + seed));
        let _ = open(&disk);
        assert_eq!(open(&disk.power_cut(&mut random)).unwrap().2, ["one", "two"], "seed {seed}");
    }
}

#[test]
fn under_always_nothing_is_settled_that_is_written_and_not_synced() {
    let disk = Disk::default();
    let (journal, ..) = open_with(&disk, options(Durability::Always)).unwrap();
    disk.set_faults(|faults| faults.stuck_syncs = true);
    let lsn = journal.append(Kind::Local, b"a");
    let mut cx = Context::from_waker(Waker::noop());
    assert!(journal.poll_settled(lsn, &mut cx).is_pending());
    wait_for("the write", || journal.stats().writes == 1);
    assert!(journal.poll_settled(lsn, &mut cx).is_pending());
    disk.set_faults(|faults| faults.stuck_syncs = false);
    settle(&journal, lsn).unwrap();
}

#[test]
fn under_interval_too_much_that_is_unsynced_has_to_wait() {
    let disk = Disk::default();
    let (journal, ..) = open(&disk).unwrap();
    disk.set_faults(|faults| faults.stuck_syncs = true);
    let mut cx = Context::from_waker(Waker::noop());
    let mut settled = 0;
    while journal.poll_settled(journal.append(Kind::Local, &[1; 1000]), &mut cx).is_ready() {
        settled += 1;
    }
    // Four segments of 4 KiB.
    assert!((10..20).contains(&settled), "{settled}");
    disk.set_faults(|faults| faults.stuck_syncs = false);
    settle(&journal, journal.end()).unwrap();
}

#[test]
fn one_write_serves_all_that_has_gathered() {
    let disk = Disk::default();
    let (journal, ..) = open(&disk).unwrap();
    let lsns: Vec<Lsn> = (0..20).map(|_| journal.append(Kind::Local, b"payload")).collect();
    for lsn in lsns {
        settle(&journal, lsn).unwrap();
    }
    assert_eq!(journal.stats().writes, 1);
    assert_eq!(journal.stats().syncs, 0);
}

#[test]
fn the_buffer_is_bounded() {
    let disk = Disk::default();
    let mut options = options(Durability::Interval);
    options.segment_bytes = 1 << 20;
    let (journal, ..) = open_with(&disk, options).unwrap();
    for _ in 0..50 {
        journal.append(Kind::Local, &[b'x'; 100_000]);
        assert!(journal.stats().gathered <= (1 << 20) + 100_012);
    }
    assert!(journal.stats().writes > 2);
}

#[test]
fn under_interval_all_is_synced_soon_though_nobody_asks() {
    let disk = Disk::default();
    let mut options = options(Durability::Interval);
    options.sync_interval = Duration::from_millis(5);
    let (journal, ..) = open_with(&disk, options).unwrap();
    let lsn = journal.append(Kind::Local, b"a");
    wait_for("the sync", || journal.stats().synced >= lsn.0);
    let lsn = journal.append(Kind::Local, b"b");
    wait_for("the second sync", || journal.stats().synced >= lsn.0);
    // And an idle journal is not synced again and again.
    let syncs = journal.stats().syncs;
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(journal.stats().syncs, syncs);
}

#[test]
fn under_always_those_who_wait_at_once_share_a_sync() {
    let disk = Disk::default();
    let (journal, ..) = open_with(&disk, options(Durability::Always)).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..200 {
                    let lsn = journal.append(Kind::Local, b"payload");
                    settle(&journal, lsn).unwrap();
                    assert!(journal.stats().synced >= lsn.0);
                }
            });
        }
    });
    let stats = journal.stats();
    assert!(stats.syncs < 1600, "{stats:?}");
    drop(journal);
    assert_eq!(open(&disk.crash()).unwrap().2.len(), 1600);
}

#[test]
fn a_closed_journal_takes_nothing_and_has_kept_all() {
    let disk = Disk::default();
    let (journal, ..) = open(&disk).unwrap();
    write(&journal, "a b");
    journal.close().unwrap();
    let lsn = journal.append(Kind::Local, b"c");
    assert!(matches!(settle(&journal, lsn), Err(JournalFailed::Closed)));
    let mut random = crate::disk::Random(1);
    assert_eq!(open(&disk.power_cut(&mut random)).unwrap().2, ["a", "b"]);
}

#[test]
fn memory_keeps_nothing_and_waits_for_nothing() {
    let journal = Journal::memory();
    let lsn = journal.append(Kind::Local, b"a");
    settle(&journal, lsn).unwrap();
    assert!(journal.begin_snapshot().unwrap().is_none());
    journal.close().unwrap();
}

#[test]
fn a_second_opening_of_a_directory_names_the_process_that_has_it() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(dir.path(), "n", JournalOptions::default(), &mut |_, _| Ok(())).unwrap();
    match Journal::open(dir.path(), "n", JournalOptions::default(), &mut |_, _| Ok(())) {
        Err(error @ OpenError::Locked { .. }) => {
            let text = error.to_string();
            assert!(text.contains(&format!("process {}", std::process::id())), "{text}");
        }
        _ => panic!("opened twice"),
    }
    assert!(Reader::open(dir.path()).unwrap().in_use().is_some());
    journal.close().unwrap();
    assert!(Reader::open(dir.path()).unwrap().in_use().is_none());
}

#[test]
fn what_is_left_of_a_damaged_directory_can_be_saved_into_a_new_one() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    let (journal, _) = Journal::open(&from, "n", JournalOptions::default(), &mut |_, _| Ok(())).unwrap();
    write(&journal, "one two | three | four");
    journal.close().unwrap();
    drop(journal);
    let file = from.join("journal-00000001");
    let mut bytes = std::fs::read(&file).unwrap();
    let at = bytes.windows(3).position(|window| window == b"two").unwrap();
    bytes[at] = b'T';
    std::fs::write(&file, bytes).unwrap();
    let open = |dir| {
        let mut found = Vec::new();
        Journal::open(dir, "n", JournalOptions::default(), &mut |_, payload| {
            found.push(String::from_utf8_lossy(payload).into_owned());
            Ok(())
        })
        .map(|_| found)
    };
    assert!(matches!(open(&from), Err(OpenError::Damaged { .. })));
    let report = repair(&from, &to, "other").unwrap();
    assert_eq!(report.node, "n");
    assert_eq!(report.summary.troubles.len(), 1);
    assert_eq!(open(&to).unwrap(), ["one", "three", "four"]);
    assert!(matches!(repair(&from, &to, "other"), Err(OpenError::NotEmpty { .. })));
    assert!(matches!(Reader::open(dir.path()), Err(OpenError::Nothing { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn no_flipped_bit_loses_anything_in_silence(
        file in prop::sample::select(vec!["journal-00000002", "snapshot-00000002"]),
        at in any::<prop::sample::Index>(),
        bit in 0..8u8,
    ) {
        let disk = written("one two # three four | five | six");
        let whole = disk.read(file).iter().rposition(|byte| *byte != 0).unwrap() + 1;
        let at = at.index(whole);
        disk.damage(file, |bytes| bytes[at] ^= 1 << bit);
        let (found, summary) = survey(&disk);
        match open(&disk) {
            Err(OpenError::Damaged { .. } | OpenError::Foreign { .. } | OpenError::Format { .. }) => {
                prop_assert!(summary.is_damaged());
                prop_assert!(found.len() >= 4);
            }
            Err(other) => panic!("{other}"),
            Ok((_, report, found)) => {
                prop_assert!(report.cut.is_some());
                prop_assert!(found.len() >= 5, "only what was synced last can pass for a torn tail: {found:?}");
                prop_assert!(!summary.troubles.is_empty());
            }
        }
    }
}
