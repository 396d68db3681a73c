//! Files of a data directory, and what their records say.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| distkv_fuzz::journal(data));
