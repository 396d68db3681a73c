//! What each worker thread keeps for whatever connection it serves: the read buffer and what routing needs. So idle connections
//! hold nothing of it.

use std::cell::Cell;

use crate::conn::READ_BYTES;
use crate::router::Routing;

/// See the module.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) buffer: Box<[u8]>,
    pub(crate) routing: Routing,
}

thread_local! {
    static KEPT: Cell<Option<Box<Worker>>> = const { Cell::new(None) };
}

/// Lends this thread's worker to `work`, which must not block. Called within itself, it lends a new one.
pub(crate) fn with<R>(work: impl FnOnce(&mut Worker) -> R) -> R {
    let mut worker = KEPT.take().unwrap_or_else(|| {
        Box::new(Worker { buffer: vec![0; READ_BYTES].into_boxed_slice(), routing: Routing::default() })
    });
    let result = work(&mut worker);
    KEPT.set(Some(worker));
    result
}
