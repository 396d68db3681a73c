//! What the tests of the whole are made with: a server process, a client that speaks raw packets, runners for the
//! clients of others, and waiting for conditions.

pub(crate) mod certificates;
pub(crate) mod cli;
pub(crate) mod client;
pub(crate) mod clock;
pub(crate) mod native;
pub(crate) mod packet;
pub(crate) mod random;
pub(crate) mod server;
pub(crate) mod tools;

use parking_lot::{Mutex, MutexGuard};

/// Tests that need most of a machine take turns.
pub(crate) fn heavy() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock()
}
