//! Conditions and batches: all or nothing, in one moment, told in order.

use std::sync::Arc;

use distkv_store::meta::Meta;
use distkv_store::path::{Path, Pattern};
use distkv_store::store::{Change, Durability, Observer, Quota, Store};
use distkv_store::tree::Progress;
use distkv_store::value::Value;
use distkv_store::view::{
    BATCH_WRITES_MAX, BatchError, Condition, Terms, Unmet, View, Who, Write, WriteError,
};
use parking_lot::Mutex;

use crate::disk::Disk;
use crate::store::{open_on, options, path, read_all};

fn memory() -> (Store, View) {
    let (store, _) = Store::open("".as_ref(), options(Durability::Memory), &mut |_| {}).unwrap();
    let view = store.view(Who::system());
    (store, view)
}

fn set(view: &View, at: &str, value: Value) -> u64 {
    let committed = view.set(path(at).as_path(), value, Meta::default(), None).unwrap();
    committed.entry.unwrap().version.dot().tick.0
}

fn number(number: i64) -> Value {
    Value::from_msgpack(&[number as u8]).unwrap()
}

fn write<'a>(at: &'a Path, value: Option<Value>, terms: Terms<'a>) -> Write<'a> {
    Write { path: at.as_path(), value, meta: Meta::default(), terms }
}

fn on<'a>(conditions: &'a [Condition<'a>]) -> Terms<'a> {
    Terms { conditions, idempotent: false }
}

/// Which condition refused the write.
fn unmet(view: &View, conditions: &[Condition<'_>]) -> Option<Unmet> {
    match view.write(write(&path("a"), Some(number(9)), on(conditions)), None) {
        Ok(_) => None,
        Err(WriteError::Conflict { unmet, .. }) => Some(unmet),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn all_conditions_must_hold_and_the_answer_says_which_did_not() {
    let (_store, view) = memory();
    let (three, float) = (number(3), Value::from_msgpack(&[0xCB, 0x40, 8, 0, 0, 0, 0, 0, 0]).unwrap());
    assert_eq!(unmet(&view, &[Condition::Value(&Value::nil())]), Some(Unmet::Missing));
    assert_eq!(unmet(&view, &[Condition::Version { node: "n", tick: 1 }]), Some(Unmet::Missing));
    let tick = set(&view, "a", three);
    let version = Condition::Version { node: "n", tick };
    assert_eq!(unmet(&view, &[Condition::New]), Some(Unmet::Exists));
    assert_eq!(unmet(&view, &[Condition::Version { node: "n", tick: tick + 1 }]), Some(Unmet::OtherVersion));
    assert_eq!(unmet(&view, &[Condition::Version { node: "m", tick }]), Some(Unmet::OtherVersion));
    assert_eq!(unmet(&view, &[version, Condition::Value(&number(4))]), Some(Unmet::OtherValue));
    assert_eq!(view.get(path("a").as_path()).unwrap().unwrap().version.dot().tick.0, tick);
    assert_eq!(unmet(&view, &[version, Condition::Value(&float)]), None);
    let at = path("a");
    let deleted = view.write(write(&at, None, on(&[Condition::Value(&number(9))])), None).unwrap();
    assert_eq!(deleted.previous_value(), Some(&number(9)));
    assert_eq!(unmet(&view, &[Condition::New]), None);
}

#[test]
fn writing_the_same_value_idempotently_is_no_event() {
    let (store, view) = memory();
    let tick = set(&view, "a", number(1));
    let told = store.stats().feed.told;
    let idem = Terms { conditions: &[Condition::New], idempotent: true };
    let at = path("a");
    let same = view.write(write(&at, Some(number(1)), idem), None).unwrap();
    assert!(same.entry.is_none());
    assert_eq!(same.now().unwrap().version.dot().tick.0, tick);
    assert_eq!(store.stats().feed.told, told);
    let yes = Value::from_msgpack(&[0xC3]).unwrap();
    assert!(view.write(write(&at, Some(yes.clone()), idem), None).is_err(), "another type is another value");
    let other =
        view.write(write(&at, Some(yes), Terms { idempotent: true, ..Terms::default() }), None).unwrap();
    assert!(other.entry.is_some());
    assert_eq!(other.previous_value(), Some(&number(1)));
}

/// Counts up with a condition on what it has read.
fn count_up(view: &View, times: u32, condition: impl Fn(&distkv_store::tree::Entry) -> Option<Vec<u8>>) {
    let at = path("a");
    for _ in 0..times {
        loop {
            let entry = view.get(at.as_path()).unwrap().unwrap();
            let value = entry.value.clone().unwrap();
            let next = value.as_bytes()[1] + 1;
            let by_value = condition(&entry).is_none();
            let dot = entry.version.dot();
            let version = Condition::Version { node: "n", tick: dot.tick.0 };
            let conditions = [if by_value { Condition::Value(&value) } else { version }];
            let next = Value::from_msgpack(&[0xCC, next]).unwrap();
            if view.write(write(&at, Some(next), on(&conditions)), None).is_ok() {
                break;
            }
        }
    }
}

#[test]
fn of_writers_with_one_condition_one_succeeds() {
    let (_store, view) = memory();
    set(&view, "a", Value::from_msgpack(&[0xCC, 0]).unwrap());
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let view = view.clone();
            scope.spawn(move || count_up(&view, 32, |_| (writer % 2 == 0).then(Vec::new)));
        }
    });
    let value = view.get(path("a").as_path()).unwrap().unwrap().value.clone().unwrap();
    assert_eq!(value.as_bytes(), [0xCC, 128]);
}

#[derive(Default)]
struct Log(Mutex<Vec<String>>);

impl Observer for Log {
    fn changed(&self, change: &Change<'_>) {
        self.0.lock().push(format!("{} {}", change.path, change.entry.value.is_some()));
    }
}

#[test]
fn a_batch_is_taken_as_a_whole_and_told_in_order_with_nothing_between() {
    let (store, view) = memory();
    set(&view, "b", number(1));
    let log = Arc::new(Log::default());
    store.observe(log.clone());
    let paths = ["z", "b", "a", "none"].map(path);
    std::thread::scope(|scope| {
        let other = view.clone();
        scope.spawn(move || (0..2000).map(|_| set(&other, "other", number(1))).max());
        for _ in 0..100 {
            let batch = |terms| {
                vec![
                    write(&paths[0], Some(number(1)), Terms::default()),
                    write(&paths[1], None, Terms::default()),
                    write(&paths[2], Some(number(2)), terms),
                    write(&paths[3], None, Terms::default()),
                ]
            };
            set(&view, "b", number(1));
            let answers = view.set_many(batch(Terms::default())).unwrap();
            let made: Vec<bool> = answers.iter().map(|answer| answer.entry.is_some()).collect();
            assert_eq!(made, [true, true, true, false]);
            assert_eq!(answers[1].previous_value(), Some(&number(1)));
            let refused = view.set_many(batch(on(&[Condition::New])));
            assert!(matches!(refused, Err(BatchError::Write { at: 2, error: WriteError::Conflict { .. } })));
        }
    });
    let log = std::mem::take(&mut *log.0.lock());
    let starts: Vec<usize> = (0..log.len()).filter(|&at| log[at] == "z true").collect();
    assert_eq!(starts.len(), 100);
    for at in starts {
        assert_eq!(log[at..at + 3], ["z true", "b false", "a true"]);
    }
}

#[test]
fn a_batch_survives_a_crash_as_a_whole() {
    let disk = Disk::default();
    let (store, _) = open_on(&disk, options(Durability::Interval)).unwrap();
    let view = store.view(Who::system());
    let paths: Vec<Path> = (0..500).map(|number| path(&format!("a.x{number}"))).collect();
    let batch = paths.iter().map(|at| write(at, Some(Value::string(&"x".repeat(50))), Terms::default()));
    let answers = view.set_many(batch.collect()).unwrap();
    crate::journal_crash::wait(|cx| store.poll_settled(answers[0].lsn, cx)).unwrap();
    let all = Pattern::subtree(path("a").as_path()).unwrap();
    let (crashed, _) = open_on(&disk.crash(), options(Durability::Interval)).unwrap();
    assert_eq!(read_all(&crashed.view(Who::system()), all.clone()).len(), 500);
    let mut random = crate::disk::Random(7);
    for _ in 0..20 {
        let (cut, _) = open_on(&disk.power_cut(&mut random), options(Durability::Interval)).unwrap();
        let found = read_all(&cut.view(Who::system()), all.clone()).len();
        assert!(found == 0 || found == 500, "{found}");
    }
}

#[test]
fn batches_are_limited_and_name_what_is_wrong() {
    let (store, view) = memory();
    let paths: Vec<Path> = (0..=BATCH_WRITES_MAX).map(|number| path(&format!("x{number}"))).collect();
    let batch = |count: usize| -> Vec<Write<'_>> {
        paths.iter().take(count).map(|at| write(at, Some(number(1)), Terms::default())).collect()
    };
    assert!(matches!(view.set_many(batch(BATCH_WRITES_MAX + 1)), Err(BatchError::TooMany { .. })));
    assert_eq!(view.set_many(Vec::new()).unwrap().len(), 0);
    let mut twice = batch(3);
    twice.push(write(&paths[1], None, Terms::default()));
    assert!(matches!(view.set_many(twice), Err(BatchError::Twice { path }) if path == paths[1]));
    store.set_quota(Quota { entries: 2, ..Quota::NONE });
    let full = view.set_many(batch(3));
    assert!(matches!(full, Err(BatchError::Write { at: 2, error: WriteError::TooManyEntries { limit: 2 } })));
    assert_eq!(store.counts().values, 0);
    view.set_many(batch(2)).unwrap();
    // What one deletes makes room for the next.
    let swap =
        vec![write(&paths[0], None, Terms::default()), write(&paths[7], Some(number(1)), Terms::default())];
    view.set_many(swap).unwrap();
    let large = Value::string(&"x".repeat(40 << 20));
    let long = vec![
        write(&paths[0], Some(large.clone()), Terms::default()),
        write(&paths[1], Some(large), Terms::default()),
    ];
    assert!(matches!(view.set_many(long), Err(BatchError::TooLong { .. })));
}

#[test]
fn more_writes_than_a_lease_has_ticks_are_taken_in_batches() {
    let disk = Disk::default();
    let (store, _) = open_on(&disk, options(Durability::Interval)).unwrap();
    let view = store.view(Who::system());
    let paths: Vec<Path> = (0..BATCH_WRITES_MAX).map(|number| path(&format!("a.x{number}"))).collect();
    let mut last = 0;
    for _ in 0..20 {
        let batch = paths.iter().map(|at| write(at, Some(number(1)), Terms::default())).collect();
        for answer in view.set_many(batch).unwrap() {
            let tick = answer.entry.unwrap().version.dot().tick.0;
            assert_eq!(tick, last + 1);
            last = tick;
        }
    }
    drop((view, store));
    let (store, _) = open_on(&disk.crash(), options(Durability::Interval)).unwrap();
    assert!(set(&store.view(Who::system()), "b", number(1)) > last);
}

#[test]
fn a_tree_is_deleted_in_batches() {
    let (store, view) = memory();
    for number in 0..2500 {
        set(&view, &format!("a.b.x{number}"), Value::nil());
    }
    set(&view, "a", number(1));
    set(&view, "ab", number(1));
    let mut cursor = view.cursor(Pattern::subtree(path("a").as_path()).unwrap());
    let (mut count, mut rounds) = (0, 1);
    let mut told = |_: distkv_store::path::PathRef<'_>, committed: &distkv_store::view::Committed| {
        assert!(committed.previous_value().is_some());
        count += 1;
    };
    while view.delete_some(&mut cursor, Meta::default(), &mut told).unwrap() == Progress::More {
        rounds += 1;
    }
    assert_eq!((count, rounds), (2501, 3));
    assert_eq!(store.counts().values, 1);
    assert_eq!(view.delete_tree(Path::root().as_path(), &Meta::default()).unwrap(), 1);
    assert_eq!(view.delete_tree(path("nothing").as_path(), &Meta::default()).unwrap(), 0);
}

/// Random batches against a map: what holds before a batch decides, and it is taken as a whole or not at all.
#[test]
fn any_batch_does_what_a_map_says() {
    let mut random = crate::disk::Random(11);
    let (mut taken, mut refused) = (0, 0);
    for _ in 0..300 {
        let (store, view) = memory();
        let paths: Vec<Path> = (0..5).map(|number| path(&format!("a.x{number}"))).collect();
        let mut model: std::collections::BTreeMap<usize, i64> = Default::default();
        for _ in 0..12 {
            let values: Vec<Value> = (0..4).map(number).collect();
            let picks: Vec<(usize, Option<i64>, usize, i64)> = (0..1 + random.below(4))
                .map(|_| {
                    let value = (!random.one_in(4)).then(|| random.below(4) as i64);
                    (random.below(5), value, random.below(8), random.below(4) as i64)
                })
                .collect();
            let conditions: Vec<[Condition<'_>; 1]> = picks
                .iter()
                .map(|(_, _, kind, guess)| match kind {
                    0 => [Condition::New],
                    _ => [Condition::Value(&values[*guess as usize])],
                })
                .collect();
            let batch = picks.iter().zip(&conditions).map(|((at, value, kind, _), condition)| {
                let conditions: &[Condition<'_>] = if *kind < 2 { condition } else { &[] };
                let terms = Terms { conditions, idempotent: *kind == 7 };
                write(&paths[*at], value.map(number), terms)
            });
            let outcome = view.set_many(batch.collect());
            let twice = (0..picks.len()).any(|one| (0..one).any(|other| picks[one].0 == picks[other].0));
            let holds = picks.iter().all(|(at, _, kind, guess)| match kind {
                0 => !model.contains_key(at),
                1 => model.get(at) == Some(guess),
                _ => true,
            });
            assert_eq!(outcome.is_ok(), holds && !twice, "{picks:?} {model:?} {outcome:?}");
            let Ok(answers) = outcome else {
                refused += 1;
                continue;
            };
            taken += 1;
            for ((at, value, kind, _), answer) in picks.iter().zip(answers) {
                let before = model.get(at).copied();
                assert_eq!(answer.previous_value(), before.map(number).as_ref());
                let changes = match value {
                    Some(_) => *kind != 7 || before != *value,
                    None => before.is_some(),
                };
                assert_eq!(answer.entry.is_some(), changes);
                match value {
                    Some(value) => model.insert(*at, *value),
                    None => model.remove(at),
                };
            }
            assert_eq!(store.counts().values, model.len() as u64);
        }
        for (at, path) in paths.iter().enumerate() {
            let entry = view.get(path.as_path()).unwrap();
            assert_eq!(entry.and_then(|entry| entry.value.clone()), model.get(&at).copied().map(number));
        }
    }
    assert!(taken > 500 && refused > 500, "{taken} {refused}");
}
