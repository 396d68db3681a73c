//! The native port: the typed, versioned view of the store for programs, in the protocol of the original DistKV clients.

pub mod wire;
