//! Snapshots and event logs of the original program, in a whole server: loaded at its start, seen by MQTT clients, kept over a restart.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::json;

use crate::harness::clock::{SOON, wait_until};
use crate::harness::native::Native;
use crate::harness::server::{Options, distkv};
use crate::harness::tools::{mosquitto_sub, python_of, repository};

fn sample(name: &str) -> String {
    repository("tests/samples/original").join(name).display().to_string()
}

#[track_caller]
fn dump(directory: &str) -> Vec<serde_json::Value> {
    let Output { stdout, stderr, status } = distkv(&["dump", "--json", "--tombstones", directory]);
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    let text = String::from_utf8(stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_server_takes_the_originals_files_in_once_with_their_versions() {
    let server = Options::new()
        .argument("--name")
        .argument("new")
        .argument("--load")
        .argument(sample("log-fetch.mp"))
        .argument("--load")
        .argument(sample("save.mp"))
        .start();
    assert!(server.log().contains("log-fetch.mp is loaded"), "{}", server.log());
    let mut retained = mosquitto_sub(&server.port(), &["-t", "kitchen/#", "-v"]);
    retained.wait_for_text("kitchen/light dim");
    retained.wait_for_text("kitchen/fan 3");
    let (_, stopped) = server.terminate();
    let before = dump(stopped.data().to_str().unwrap());
    let light = before.iter().find(|entry| entry["path"] == "kitchen.light").unwrap();
    assert_eq!((&light["node"], &light["tick"], &light["tock"]), (&"s1".into(), &13.into(), &61.into()));
    // The same flags again: nothing is new, and what has changed meanwhile stays.
    let again = stopped.run();
    assert_eq!(again.log().matches("; 0 events are new").count(), 3, "{}", again.log());
    let (_, stopped) = again.terminate();
    assert_eq!(dump(stopped.data().to_str().unwrap()), before);
}

#[test]
fn a_file_that_is_none_stops_the_start_with_its_reason() {
    for (file, reason) in [
        (
            sample("README.md"),
            "README.md, record 1: this is no file of the original program, or it is damaged",
        ),
        ("/nowhere/file".to_owned(), "can't open /nowhere/file"),
    ] {
        let (status, log, _) = Options::new().argument("--load").argument(file).prepare().run_in_vain();
        assert!(!status.success());
        assert!(log.contains(reason), "{log}");
    }
}

/// What the original's `dump file` says of a file, with whole paths.
#[track_caller]
fn as_the_original_reads_it(file: &Path) -> String {
    let program = python_of("distkv").with_file_name("distkv");
    let Output { stdout, stderr, status } =
        Command::new(program).args(["dump", "file", "-p"]).arg(file).output().unwrap();
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}

#[test]
fn the_original_reads_our_files() {
    let mut stopped = Options::new().prepare();
    let directory = stopped.beside("files");
    std::fs::create_dir(&directory).unwrap();
    *stopped.options_mut() = Options::new()
        .argument("--name")
        .argument("ours")
        .argument("--load")
        .argument(sample("save.mp"))
        .set(&format!("native.save_dir={}", directory.display()));
    let server = stopped.run();
    let mut client = Native::open(server.native());
    client.call(json!({ "action": "log", "path": "log.mp", "fetch": true }));
    client.set(&["hall", "light"], json!("on"));
    client.set(&["kitchen", "light"], json!("off"));
    client.call(json!({ "action": "delete_value", "path": ["hall", "light"] }));
    client.set(&["hall", "heat"], json!(21));
    client.call(json!({ "action": "save", "path": "save.mp", "full": true }));
    let snapshot = as_the_original_reads_it(&directory.join("save.mp"));
    for text in
        ["path: !P kitchen.light", "value: off", "path: !P :n.acl.guest.hall", "path: !P mixed:1:t:2:.5"]
    {
        assert!(snapshot.contains(text), "{text}:\n{snapshot}");
    }
    assert!(!snapshot.contains("hall.light"), "{snapshot}");
    let log = directory.join("log.mp");
    let all = || as_the_original_reads_it(&log);
    wait_until("the last change is in the log", SOON, || all().contains("path: !P hall.heat"));
    let records: Vec<String> = all().split("---\n").map(str::to_owned).collect();
    let light = |record: &&String| record.contains("path: !P hall.light");
    let (set, deleted) = (records.iter().find(light).unwrap(), records.iter().rev().find(light).unwrap());
    assert!(set.contains("value: on") && !deleted.contains("value"), "{set}{deleted}");
    // Who reads only one of both again has what was there, also if the server was killed.
    let stopped = server.kill();
    let before = dump(stopped.data().to_str().unwrap());
    let living = |entries: Vec<serde_json::Value>| -> Vec<(serde_json::Value, serde_json::Value)> {
        let entries = entries.into_iter().filter(|entry| entry.get("value").is_some());
        entries.map(|mut entry| (entry["path"].take(), entry["value"].take())).collect()
    };
    let before = living(before);
    for name in ["save.mp", "log.mp"] {
        let file = directory.join(name).display().to_string();
        let again =
            Options::new().argument("--name").argument("other").argument("--load").argument(file).start();
        let (_, again) = again.terminate();
        assert_eq!(living(dump(again.data().to_str().unwrap())), before, "{name}");
    }
}
