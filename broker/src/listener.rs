//! Accepts sockets: within the limits, and through errors.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;

use crate::broker::Core;
use crate::metrics::Refused;
use crate::tasks::Stop;
use crate::{clock, conn, transport};

const BACKOFF_MIN: Duration = Duration::from_millis(10);
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// Accepts until it is told to stop.
pub(crate) async fn accept(core: Arc<Core>, listener: TcpListener, mut stop: Stop) {
    let mut backoff = BACKOFF_MIN;
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.stopped() => return,
            accepted = accept_one(&core, &listener) => accepted,
        };
        match accepted {
            Ok(()) => backoff = BACKOFF_MIN,
            Err(error) => {
                core.metrics.accept_errors.add(1);
                if is_about_one_socket(&error) {
                    continue;
                }
                if core.lines.allow(clock::now()).is_some() {
                    tracing::warn!(%error, "no connections are accepted for a moment; is the limit of open files (ulimit -n) too low?");
                }
                tokio::select! {
                    () = stop.stopped() => return,
                    () = tokio::time::sleep(backoff) => {}
                }
                backoff = (backoff * 2).min(BACKOFF_MAX);
            }
        }
    }
}

async fn accept_one(core: &Arc<Core>, listener: &TcpListener) -> io::Result<()> {
    let handshake = Arc::clone(&core.handshakes).acquire_owned().await.map_err(io::Error::other)?;
    let (socket, peer) = listener.accept().await?;
    core.metrics.sockets_opened.add(1);
    if core.metrics.sockets.get() >= core.limits().connections as u64 {
        core.metrics.refused(Refused::TooManyConnections);
        if let Some(left_out) = core.lines.allow(clock::now()) {
            tracing::warn!(%peer, left_out, "connection refused: the limit of connections is reached");
        }
        return Ok(());
    }
    let wait = core.rates.connection(clock::now() - core.started);
    if !wait.is_zero() {
        // It and those behind it, which stay in the backlog.
        core.metrics.rate_waits_connections.add(1);
        tokio::time::sleep(wait).await;
    }
    if transport::set_up(&socket).is_ok() {
        conn::start(core, socket, peer, Some(handshake));
    }
    Ok(())
}

/// Did only this one connection fail, before it was accepted?
fn is_about_one_socket(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(error.kind(), Kind::ConnectionAborted | Kind::ConnectionReset | Kind::Interrupted)
}
