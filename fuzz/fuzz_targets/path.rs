//! Paths in their text and byte forms, and patterns made of them.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| distkv_fuzz::path(data));
