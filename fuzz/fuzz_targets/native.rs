//! Requests for WebSockets, and their frames.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| distkv_fuzz::native(data));
