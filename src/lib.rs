//! The parts of the program `distkv`.
