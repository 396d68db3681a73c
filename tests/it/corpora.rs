//! The inputs which are kept for the fuzzer, played once each without it.

use std::fs;

use crate::harness::tools::repository;

#[path = "../../fuzz/src/lib.rs"]
#[expect(unreachable_pub, reason = "in its own package it is the library")]
mod targets;

#[track_caller]
fn play(target: &str, run: fn(&[u8])) {
    let mut count = 0;
    for entry in fs::read_dir(repository("fuzz/corpus").join(target)).unwrap() {
        let path = entry.unwrap().path();
        println!("{}", path.display());
        run(&fs::read(path).unwrap());
        count += 1;
    }
    assert!(count >= 4, "{count} inputs for {target}");
}

#[test]
fn packets() {
    play("packet", targets::packet);
}

#[test]
fn sessions() {
    play("session", targets::session);
}

#[test]
fn paths() {
    play("path", targets::path);
}

#[test]
fn journals() {
    play("journal", targets::journal);
}

#[test]
fn proxy_headers() {
    play("proxy", targets::proxy);
}

#[test]
fn websockets() {
    play("websocket", targets::websocket);
}

#[test]
fn native_sessions() {
    play("native", targets::native);
}

#[test]
fn certificates() {
    play("certificate", targets::certificate);
}

#[test]
fn configurations() {
    play("config", targets::config);
}
