//! Accepting connections of a bounded number, for the faces which have no rules of their own for that.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep;

/// The pause after a failed accept (no file descriptors).
const PAUSE: Duration = Duration::from_millis(200);

/// The next connection of `face`, and the place it has among all; it waits until there is one. Dropping the future loses neither.
pub(crate) async fn accept(
    face: &str,
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> (TcpStream, SocketAddr, Option<OwnedSemaphorePermit>) {
    loop {
        // The semaphore is never closed, so there always comes a place.
        let place = Arc::clone(places).acquire_owned().await.ok();
        match listener.accept().await {
            Ok((stream, peer)) => return (stream, peer, place),
            Err(error) if ended_early(&error) => {}
            Err(error) => {
                tracing::warn!("{face}: can't accept a connection: {error}");
                sleep(PAUSE).await;
            }
        }
    }
}

/// Did the client go before it was accepted?
fn ended_early(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}
