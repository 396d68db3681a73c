//! A session and its client as a sequence of operations, with crashes in between.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| distkv_fuzz::session(data));
