//! What goes over the wire of the native port, for both of its ends: plain data and state machines over bytes, no socket.
//!
//! There is no framing. Each side sends msgpack maps one after another; [`Frames`] finds where one ends, [`Fields`] looks into it,
//! [`Writer`] makes one. A `path` is extension type 3 or an array; [`read_path`] takes both. Entries of a tree follow each other with
//! shortened paths: [`Shortener`] and its inverse [`Lengthener`]. The messages of a stream are numbered, and the receiver says how far it
//! has read: [`Window`] counts for the sender, [`Acks`] for the receiver.

mod chain;
mod fields;
mod flow;
mod frames;
mod paths;
mod seq;
mod writer;

pub use chain::{CHAIN_MAX, Link, read_chain};
pub use fields::{BadMessage, Fault, Fields, truthy};
pub use flow::{Acks, Window};
pub use frames::{FrameError, Frames};
pub use paths::{Lengthener, PathForm, Shortener, read_path};
pub use seq::Seq;
pub use writer::Writer;

/// The version of the protocol that a greeting names: that of the original program which speaks it.
pub const VERSION: [u64; 3] = [0, 57, 4];

/// The port on which it is spoken.
pub const PORT: u16 = 27586;

/// The smallest window of a stream; below this a sender would wait for ever.
pub const WINDOW_MIN: u64 = 4;
