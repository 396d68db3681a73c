//! Bytes from a client, packet by packet.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| distkv_fuzz::packet(data));
