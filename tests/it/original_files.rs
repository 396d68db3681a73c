//! Snapshots and event logs of the original program, in a whole server: loaded at its start, seen by MQTT clients, kept over a restart.

use std::process::Output;

use crate::harness::server::{Options, distkv};
use crate::harness::tools::{mosquitto_sub, repository};

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
    let mut stopped = Options::new().prepare();
    let options = stopped.options_mut();
    *options = std::mem::replace(options, Options::new()).argument("--load").argument(sample("README.md"));
    let (status, log, stopped) = stopped.run_in_vain();
    assert!(!status.success());
    assert!(log.contains("README.md, record 1: is no file of the original program, or damaged"), "{log}");
    let mut stopped = stopped;
    let options = stopped.options_mut();
    *options = std::mem::replace(options, Options::new()).argument("--load").argument("/nowhere/file");
    let (_, log, _) = stopped.run_in_vain();
    assert!(log.contains("can't open"), "{log}");
}
