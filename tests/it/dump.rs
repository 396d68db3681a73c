//! `distkv dump` and `distkv repair` on the directories of real servers.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use crate::harness::server::{Options, Server, distkv};
use crate::harness::tools::mosquitto_pub;

fn retain(server: &Server, topic: &str, payload: &str) {
    mosquitto_pub(&server.port(), &["-r", "-q", "1", "-t", topic, "-m", payload]);
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[track_caller]
fn dump(arguments: &[&str]) -> String {
    let output = distkv(&[&["dump"], arguments].concat());
    assert!(output.status.success(), "{}", text(&output));
    String::from_utf8(output.stdout).unwrap()
}

fn shown(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_dump_shows_what_a_running_and_a_stopped_server_hold() {
    let server = Options::new().argument("--name").argument("kitchen").start();
    retain(&server, "home/light", "on");
    retain(&server, "home/light", "off");
    retain(&server, "home/heat", "20");
    mosquitto_pub(&server.port(), &["-r", "-q", "1", "-t", "home/heat", "-n"]);
    let data = server.data();
    let of_running = dump(&[shown(&data)]);
    assert!(of_running.contains("home.light = \"off\"  (kitchen:2 "), "{of_running}");
    assert!(!of_running.contains("home.heat"), "{of_running}");
    let (_, stopped) = server.terminate();
    let line = dump(&["--json", "--prefix", "home.light", shown(&stopped.data())]);
    let line: serde_json::Value = serde_json::from_str(line.trim()).unwrap();
    assert_eq!((&line["path"], &line["value"]), (&"home.light".into(), &"off".into()));
    assert_eq!((&line["node"], &line["tick"], &line["qos"]), (&"kitchen".into(), &2.into(), &1.into()));
    assert!(line["time"].as_u64() > Some(1_700_000_000_000), "{line}");
}

#[test]
fn deletions_are_shown_on_demand() {
    let server = Server::start();
    retain(&server, "a", "1");
    mosquitto_pub(&server.port(), &["-r", "-q", "1", "-t", "a", "-n"]);
    let stopped = server.kill();
    assert_eq!(dump(&[shown(&stopped.data())]), "");
    assert!(dump(&["--tombstones", shown(&stopped.data())]).contains("a deleted  ("));
}

#[test]
fn check_is_content_with_a_running_and_with_a_killed_server() {
    let server = Server::start();
    retain(&server, "a", "1");
    let check = dump(&["--check", shown(&server.data())]);
    assert!(check.contains(&format!("in use by process {}", server.process_id())), "{check}");
    let stopped = server.kill();
    let check = dump(&["--check", shown(&stopped.data())]);
    assert!(check.contains("1 entries") && check.ends_with("no damage\n"), "{check}");
}

/// The file of the directory in which `bytes` stand.
fn file_with(directory: &Path, bytes: &[u8]) -> (PathBuf, usize) {
    let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut found = files.filter_map(|path| {
        let content = fs::read(&path).unwrap();
        let at = content.windows(bytes.len()).position(|window| window == bytes)?;
        Some((path, at))
    });
    found.next().expect("the payload is in a file")
}

#[test]
fn damage_is_refused_reported_and_repaired() {
    let server = Options::new().durability("always").start();
    for (topic, payload) in [("a", "first"), ("b", "damaged"), ("c", "last")] {
        retain(&server, topic, payload);
    }
    let stopped = server.kill();
    let (file, at) = file_with(&stopped.data(), b"damaged");
    let mut bytes = fs::read(&file).unwrap();
    bytes[at] ^= 1;
    fs::write(&file, bytes).unwrap();

    let (status, log, stopped) = stopped.run_in_vain();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains(shown(&file)) && log.contains("distkv repair"), "{log}");

    let data = stopped.data();
    let check = distkv(&["dump", "--check", shown(&data)]);
    assert_eq!(check.status.code(), Some(1));
    assert!(text(&check).contains(shown(&file)), "{}", text(&check));

    let saved = stopped.beside("saved");
    let repair = distkv(&["repair", shown(&data), shown(&saved)]);
    assert!(repair.status.success() && text(&repair).contains("lost: "), "{}", text(&repair));
    let again = distkv(&["repair", shown(&data), shown(&saved)]);
    assert_eq!(again.status.code(), Some(1), "a directory with data is never written into");

    fs::remove_dir_all(&data).unwrap();
    fs::rename(&saved, &data).unwrap();
    let server = stopped.run();
    let entries = dump(&[shown(&server.data())]);
    assert!(entries.contains("a = \"first\"") && entries.contains("c = \"last\""), "{entries}");
    assert!(!entries.contains("b = "), "{entries}");
}
