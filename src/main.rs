//! `distkv`: the program. See `cli`.
fn main() {}
