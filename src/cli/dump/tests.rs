//! Tests over directories that a journal and a replica have written.

use std::fs;

use distkv_store::journal::{Journal, JournalOptions, Kind};
use distkv_store::meta::Meta;
use distkv_store::replica::{Config, Recovery, Replica};
use distkv_store::ticks::{Life, NodeName};
use tempfile::TempDir;

use super::*;

const TIME: u64 = 1_795_428_000_123;

/// A directory with a string, bytes, a float, a deleted entry, one with control characters, and a session's record.
fn directory() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) =
        Journal::open(dir.path(), "kitchen", JournalOptions::default(), &mut |_, _| Ok(())).unwrap();
    let mut record = Vec::new();
    let node = NodeName::new("kitchen").unwrap();
    let mut replica = Recovery::new().start(Config::alone(node), Life(7), &mut record);
    journal.append(Kind::Replica, &record);
    let mut change = |change: &mut dyn FnMut(&mut Replica, &mut Vec<u8>)| {
        record.clear();
        change(&mut replica, &mut record);
        journal.append(Kind::Replica, &record);
    };
    for (path, value) in [
        ("home.kitchen.light", Value::string("on")),
        ("home.kitchen.raw", Value::binary(&[0, 255])),
        ("home.hall.heat", Value::from_msgpack(&[0xca, 0x3f, 0, 0, 0]).unwrap()),
        ("gone", Value::string("x")),
        ("evil", Value::string("\u{1b}[31m\u{9b}x\ny")),
    ] {
        let path: Path = path.parse().unwrap();
        let meta = || Meta::at(TIME).with_qos(1).with_user(Some("ada".into()));
        change(&mut |replica, record| {
            replica.set(path.as_path(), value.clone(), meta(), record).unwrap();
        });
    }
    let gone: Path = "gone".parse().unwrap();
    change(&mut |replica, record| {
        replica.delete(gone.as_path(), Meta::at(TIME), record).unwrap();
    });
    journal.append(Kind::Local, b"a session");
    journal.close().unwrap();
    dir
}

fn args(json: bool, tombstones: bool, prefix: Option<&str>) -> Args {
    let prefix = prefix.map(|prefix| prefix.parse().unwrap());
    Args { dir: PathBuf::new(), json, tombstones, prefix, check: false }
}

fn dump(dir: &TempDir, args: &Args) -> String {
    let mut out = Vec::new();
    Contents::read(dir.path()).unwrap().tell_entries(&mut out, args).unwrap();
    String::from_utf8(out).unwrap()
}

fn check(dir: &TempDir) -> (bool, String) {
    let contents = Contents::read(dir.path()).unwrap();
    let mut out = Vec::new();
    contents.tell_check(&mut out, dir.path()).unwrap();
    (contents.is_damaged(), String::from_utf8(out).unwrap())
}

#[test]
fn entries_are_lines_with_path_value_and_version() {
    let text = dump(&directory(), &args(false, false, Some("home")));
    let expected = "home.hall.heat = 0.5  (kitchen:3 2026-11-23T10:00:00.123Z by ada)\n\
                    home.kitchen.light = \"on\"  (kitchen:1 2026-11-23T10:00:00.123Z by ada)\n\
                    home.kitchen.raw = bytes 00ff  (kitchen:2 2026-11-23T10:00:00.123Z by ada)\n";
    assert_eq!(text, expected);
}

#[test]
fn deleted_entries_show_only_when_asked_for() {
    let dir = directory();
    assert!(!dump(&dir, &args(false, false, None)).contains("gone"));
    assert!(dump(&dir, &args(false, true, None)).contains("gone deleted  (kitchen:6 "));
    let json = dump(&dir, &args(true, true, Some("gone")));
    let line: serde_json::Value = serde_json::from_str(json.trim()).unwrap();
    assert_eq!((&line["path"], line.get("value")), (&"gone".into(), None));
    assert_eq!(line["chain"].as_array().map(Vec::len), Some(0), "{json}");
}

#[test]
fn what_a_client_wrote_can_not_steer_a_terminal() {
    let text = dump(&directory(), &args(false, false, Some("evil")));
    assert_eq!(text.matches(|c: char| c.is_control()).count(), 1, "{text:?}");
}

#[test]
fn json_has_the_exact_bytes_where_it_can_not_tell_the_value() {
    let text = dump(&directory(), &args(true, false, None));
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let line = |path: &str| lines.iter().find(|line| line["path"] == path).unwrap();
    let light = line("home.kitchen.light");
    assert_eq!((&light["value"], light.get("msgpack")), (&"on".into(), None));
    assert_eq!((&light["node"], &light["tick"], &light["tock"]), (&"kitchen".into(), &1.into(), &1.into()));
    assert_eq!((&light["time"], &light["user"], &light["qos"]), (&TIME.into(), &"ada".into(), &1.into()));
    assert_eq!(light["life"], "0000000000000007");
    let heat = line("home.hall.heat");
    assert_eq!((&heat["value"], &heat["msgpack"]), (&0.5.into(), &"ca3f000000".into()));
    assert_eq!(line("home.kitchen.raw")["msgpack"], "c40200ff");
}

#[test]
fn check_counts_what_is_there_and_finds_no_damage() {
    let (damaged, text) = check(&directory());
    assert!(!damaged, "{text}");
    assert!(text.contains("4 entries, 0 internal ones, 1 tombstones; 1 records of sessions\n"), "{text}");
    assert!(text.ends_with("no damage\n"), "{text}");
}

#[test]
fn check_finds_a_flipped_bit_and_says_what_to_do() {
    let dir = directory();
    let files = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
    let file = files.max_by_key(|path| path.metadata().unwrap().len()).unwrap();
    let mut bytes = fs::read(&file).unwrap();
    let at = bytes.windows(2).position(|window| window == b"on").unwrap();
    bytes[at] ^= 1;
    fs::write(&file, bytes).unwrap();
    let (damaged, text) = check(&dir);
    assert!(damaged, "{text}");
    assert!(text.contains(&file.display().to_string()) && text.contains("distkv repair"), "{text}");
    let rest = dump(&dir, &args(false, false, None));
    assert!(!rest.contains("light") && rest.contains("home.kitchen.raw"), "{rest}");
}

#[test]
fn a_directory_without_data_is_refused_in_words() {
    let dir = tempfile::tempdir().unwrap();
    for path in [dir.path().to_owned(), dir.path().join("missing")] {
        let Err(error) = Contents::read(&path) else { panic!("read from nothing") };
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    }
}

#[test]
fn time_is_told_in_utc() {
    assert_eq!(utc(0), "1970-01-01T00:00:00.000Z");
    assert_eq!(utc(951_782_400_000), "2000-02-29T00:00:00.000Z");
    assert_eq!(utc(4_107_542_400_000), "2100-03-01T00:00:00.000Z");
    assert_eq!(utc(TIME), "2026-11-23T10:00:00.123Z");
    // A file may hold any number, and none may take long or fail.
    assert!(utc(u64::MAX).ends_with(".615Z"));
}
