//! The client behind `distkv mqtt pub` and `distkv mqtt sub`: options and exit codes as mosquitto's two clients have
//! them, on rumqttc, for any broker.

pub mod connection;
pub mod failure;
pub mod format;
pub mod publish;
pub mod subscribe;

pub(crate) mod calendar;
mod clock;

use std::future::Future;

use failure::Failure;

/// Runs one client to its end on this thread. What is still blocked then (a read of the standard input) is left behind.
fn run<T>(client: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| Failure::Input { what: "the event loop".into(), source })?;
    let result = runtime.block_on(client);
    runtime.shutdown_background();
    result
}
