//! Watches that go on from a tock, against a model: a client which keeps a copy, goes away and comes back. Whatever has happened
//! meanwhile (snapshots that purge deletions, restarts, crashes, power cuts that lose what the client had been told), its copy must be
//! equal to the store when the watch says so.

use std::collections::BTreeMap;
use std::task::{Context, Poll, Waker};

use distkv_store::meta::Meta;
use distkv_store::path::{Path, PathRef, Pattern};
use distkv_store::store::{Durability, Options, Store, WatchEvent};
use distkv_store::ticks::Tock;
use distkv_store::tree::Entry;
use distkv_store::value::Value;
use distkv_store::view::{Terms, View, Watch, WatchOptions, Who, Write};

use crate::disk::{Disk, Random};
use crate::store::{open_on, options, path, read_all};

fn everything() -> Pattern {
    Pattern::subtree(PathRef::from(&Path::root())).unwrap()
}

/// Something that a client was told.
#[derive(Debug, PartialEq)]
enum Told {
    TooOld,
    Complete,
    Lagged,
    /// An entry that was there, with its tock.
    Existing(String, u64),
    /// A change, with its tock.
    Changed(String, u64),
}

/// A client with a copy of the store.
#[derive(Default)]
struct Client {
    copy: BTreeMap<String, String>,
    /// What was there before a new copy is complete.
    before: BTreeMap<String, String>,
    watch: Option<Watch>,
    since: Option<Tock>,
    complete: bool,
}

impl Client {
    fn connect(&mut self, view: &View) {
        let options = WatchOptions { since: self.since, events: 100_000, ..WatchOptions::default() };
        self.complete = false;
        if self.since.is_none() {
            self.copy.clear();
        }
        self.watch = Some(view.watch(everything(), options));
    }

    fn disconnect(&mut self) {
        self.watch = None;
        if !self.complete && self.since.is_none() {
            self.copy.clear();
        }
    }

    fn note(&mut self, path: &Path, entry: &Entry, now: u64) {
        match entry.value_at(now).and_then(Value::as_str) {
            Some(value) => self.copy.insert(path.to_string(), value.to_owned()),
            None => self.copy.remove(&path.to_string()),
        };
    }

    /// Listens to at most so many events, or until there is nothing to hear.
    fn listen(&mut self, most: usize) -> Vec<Told> {
        let mut told = Vec::new();
        let Some(watch) = &mut self.watch else { return told };
        let mut cx = Context::from_waker(Waker::noop());
        let mut events = Vec::new();
        let mut idle = 0;
        while events.len() < most && idle < 50 {
            match watch.poll_next(&mut cx) {
                Poll::Ready(Some(event)) => events.push(event),
                Poll::Ready(None) => break,
                Poll::Pending => idle += 1,
            }
        }
        // Whatever expires in this test did so long ago.
        let now = 1_000_000;
        for event in events {
            told.push(match event {
                WatchEvent::TooOld => {
                    self.since = None;
                    self.before = std::mem::take(&mut self.copy);
                    Told::TooOld
                }
                WatchEvent::Complete { tock } => {
                    self.complete = true;
                    self.since = self.since.max(Some(tock));
                    Told::Complete
                }
                WatchEvent::Existing { path, entry } => {
                    self.note(&path, &entry, now);
                    Told::Existing(path.to_string(), entry.version.tock().get())
                }
                WatchEvent::Changed { path, entry, .. } => {
                    self.note(&path, &entry, now);
                    let tock = entry.version.tock();
                    // Without an earlier tock this is known only when the first copy is complete.
                    if self.since.is_some() {
                        self.since = self.since.max(Some(tock));
                    }
                    Told::Changed(path.to_string(), tock.get())
                }
                WatchEvent::Lagged => Told::Lagged,
            });
        }
        told
    }
}

fn contents(store: &Store) -> BTreeMap<String, String> {
    read_all(&store.view(Who::system()), everything()).into_iter().collect()
}

fn change(view: &View, random: &mut Random, number: u64) {
    let at = path(&format!("a.{}", random.below(9)));
    let value = Value::string(&number.to_string());
    match random.below(8) {
        0..=2 => drop(view.delete(at.as_path(), Meta::default(), None)),
        3 => drop(view.set(at.as_path(), value, Meta::default().with_expiry(7), None)),
        4 => {
            let other = path(&format!("b.{}", random.below(4)));
            let write = |at, value| Write { path: at, value, meta: Meta::default(), terms: Terms::default() };
            let writes = vec![write(at.as_path(), Some(value)), write(other.as_path(), None)];
            drop(view.set_many(writes));
        }
        _ => drop(view.set(at.as_path(), value, Meta::default(), None)),
    }
}

fn node_options() -> Options {
    options(Durability::Interval)
}

/// What has come of a run: how often a client could go on, and how often it could not.
#[derive(Default)]
struct Counts {
    went_on: u32,
    too_old: u32,
    lost: u32,
}

fn run(seed: u64, counts: &mut Counts) {
    let mut random = Random(seed);
    let mut disk = Disk::default();
    let mut store = open_on(&disk, node_options()).unwrap().0;
    let mut client = Client::default();
    for number in 0..400 {
        let view = store.view(Who::system());
        match random.below(40) {
            0..=23 => change(&view, &mut random, number),
            24..=27 => {
                client.disconnect();
            }
            28..=33 => {
                if client.watch.is_none() {
                    let since = client.since;
                    client.connect(&view);
                    if random.one_in(2) {
                        (0..random.below(5)).for_each(|_| change(&view, &mut random, number));
                    }
                    let told = client.listen(usize::MAX);
                    assert!(told.contains(&Told::Complete), "{told:?}");
                    let too_old = told.contains(&Told::TooOld);
                    counts.went_on += u32::from(since.is_some() && !too_old);
                    counts.too_old += u32::from(too_old);
                }
            }
            34 => drop(client.listen(random.below(4))),
            35 | 36 => {
                client.listen(usize::MAX);
                if client.watch.is_some() && client.complete {
                    assert_eq!(client.copy, contents(&store), "seed {seed}, step {number}");
                }
            }
            37 => store.snapshot().unwrap(),
            38 => {
                client.disconnect();
                drop(view);
                store.close().unwrap();
                store = open_on(&disk, node_options()).unwrap().0;
            }
            _ => {
                client.listen(usize::MAX);
                client.disconnect();
                if random.one_in(2) {
                    store.sync().unwrap();
                }
                change(&view, &mut random, number);
                disk = disk.power_cut(&mut random);
                let before = contents(&store);
                drop(view);
                store = open_on(&disk, node_options()).unwrap().0;
                counts.lost += u32::from(before != contents(&store));
            }
        }
    }
    client.disconnect();
    client.connect(&store.view(Who::system()));
    client.listen(usize::MAX);
    assert_eq!(client.copy, contents(&store), "seed {seed}, at the end");
}

#[test]
fn a_copy_is_equal_to_the_store_whenever_its_client_comes_back() {
    let mut counts = Counts::default();
    for seed in 1..=150 {
        run(seed, &mut counts);
    }
    let Counts { went_on, too_old, lost } = counts;
    assert!(went_on > 200 && too_old > 200 && lost > 20, "{went_on} went on, {too_old} too old, {lost} lost");
}

fn memory() -> (Store, View) {
    let (store, _) = Store::open("".as_ref(), options(Durability::Memory), &mut |_| {}).unwrap();
    let view = store.view(Who::system());
    (store, view)
}

fn set(view: &View, at: &str, value: &str) -> u64 {
    let committed = view.set(path(at).as_path(), Value::string(value), Meta::default(), None).unwrap();
    committed.entry.unwrap().version.tock().get()
}

fn since(view: &View, tock: u64, options: WatchOptions) -> Vec<Told> {
    let mut client = Client { since: Tock::new(tock), ..Client::default() };
    client.watch = Some(view.watch(everything(), WatchOptions { since: Tock::new(tock), ..options }));
    client.listen(usize::MAX)
}

#[test]
fn changes_come_in_the_order_in_which_they_were_made_each_entry_once() {
    let (_store, view) = memory();
    set(&view, "c", "0");
    let begin = set(&view, "a", "0");
    set(&view, "z", "1");
    let deleted = view.delete(path("c").as_path(), Meta::default(), None).unwrap().entry.unwrap();
    let b = set(&view, "b", "2");
    let z = set(&view, "z", "3");
    let changed = |at: &str, tock| Told::Changed(at.to_owned(), tock);
    let c = changed("c", deleted.version.tock().get());
    let told = since(&view, begin, WatchOptions::default());
    assert_eq!(told, [c, changed("b", b), changed("z", z), Told::Complete]);
    assert_eq!(since(&view, z, WatchOptions::default()), [Told::Complete]);
}

#[test]
fn a_tock_that_was_never_told_is_too_old_and_so_is_too_much() {
    let (_store, view) = memory();
    let a = set(&view, "a", "0");
    let whole = [Told::TooOld, Told::Existing("a".to_owned(), a), Told::Complete];
    assert_eq!(since(&view, a + 1, WatchOptions::default()), whole, "from the future");
    assert_eq!(since(&view, 0, WatchOptions::default()), whole, "of an earlier run");
    let b = set(&view, "b", &"x".repeat(100));
    let small = WatchOptions { bytes: 80, ..WatchOptions::default() };
    let told = since(&view, a, small);
    assert_eq!(told.first(), Some(&Told::TooOld));
    assert_eq!(since(&view, b, small), [Told::Complete]);
}

#[test]
fn a_value_that_has_expired_is_told_as_deleted() {
    let (store, view) = memory();
    let soon = view.get(path("a").as_path());
    assert!(soon.unwrap().is_none());
    let committed = view.set(path("a").as_path(), Value::string("x"), Meta::default(), None).unwrap();
    let end = committed.entry.unwrap().meta.time() + 30;
    view.set(path("a").as_path(), Value::string("y"), Meta::default().with_expiry(end), None).unwrap();
    let begin = store.tock().get();
    while view.get(path("a").as_path()).unwrap().is_some() {
        std::thread::yield_now();
    }
    assert_eq!(
        since(&view, begin, WatchOptions::default()),
        [Told::Changed("a".to_owned(), begin), Told::Complete]
    );
}

#[test]
fn a_copy_is_complete_though_others_write_and_snapshots_purge_all_the_time() {
    let disk = Disk::default();
    let store = open_on(&disk, node_options()).unwrap().0;
    let stop = std::sync::atomic::AtomicBool::new(false);
    let running = || !stop.load(std::sync::atomic::Ordering::Relaxed);
    let mut client = Client::default();
    let mut counts = Counts::default();
    std::thread::scope(|scope| {
        for seed in 1..3 {
            let view = store.view(Who::system());
            scope.spawn(move || {
                let mut random = Random(seed);
                let mut number = 0;
                while running() {
                    number += 1;
                    change(&view, &mut random, number);
                    std::thread::yield_now();
                }
            });
        }
        scope.spawn(|| {
            while running() {
                store.snapshot().unwrap();
            }
        });
        let view = store.view(Who::system());
        for round in 0..200 {
            if round % 20 == 10 {
                // Away for so long that deletions are forgotten.
                let taken = || store.stats().snapshots.taken;
                let before = taken();
                while taken() < before + 2 {
                    std::thread::yield_now();
                }
            }
            let since = client.since;
            client.connect(&view);
            let mut too_old = false;
            while !client.complete {
                let told = client.listen(1000);
                too_old |= told.contains(&Told::TooOld);
                assert!(!told.contains(&Told::Lagged));
            }
            client.listen(3);
            client.disconnect();
            counts.went_on += u32::from(since.is_some() && !too_old);
            counts.too_old += u32::from(too_old);
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    client.connect(&store.view(Who::system()));
    client.listen(usize::MAX);
    assert_eq!(client.copy, contents(&store));
    assert!(
        counts.went_on > 0 && counts.too_old > 0,
        "{} went on, {} too old",
        counts.went_on,
        counts.too_old
    );
}
