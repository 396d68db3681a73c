//! Accepts sockets: within the limits, and through errors. What lies between a socket and MQTT is the business of `entry`.

mod entry;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

pub(crate) use self::entry::Entry;
use crate::broker::Core;
use crate::metrics::Refused;
use crate::peer::{Address, ConnectionRate, Listener, Peer, Place};
use crate::tasks::Stop;
use crate::transport::proxy::ProxyOptions;
use crate::transport::tls::TlsAcceptor;
use crate::transport::websocket::WebSocketOptions;
use crate::transport::{ListeningSocket, Socket};
use crate::{clock, conn};

const BACKOFF_MIN: Duration = Duration::from_millis(10);
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// How the connections of a listener come to speak MQTT. They pass through these in the order of the fields.
#[derive(Clone, Debug, Default)]
pub struct ListenerConfig {
    /// What holds for all of them.
    pub listener: Arc<Listener>,
    /// Whom to believe on whose connection it is.
    pub proxy: Option<ProxyOptions>,
    /// Encryption.
    pub tls: Option<Arc<TlsAcceptor>>,
    /// MQTT within WebSocket frames.
    pub websocket: Option<WebSocketOptions>,
}

impl ListenerConfig {
    /// Is there nothing between the socket and MQTT?
    fn is_plain(&self) -> bool {
        self.proxy.is_none() && self.tls.is_none() && self.websocket.is_none()
    }
}

/// Accepts until it is told to stop.
pub(crate) async fn accept(
    core: Arc<Core>,
    socket: ListeningSocket,
    config: Arc<ListenerConfig>,
    mut stop: Stop,
) {
    let mut backoff = BACKOFF_MIN;
    let mut rate = config.listener.connection_rate.map(|rate| Tokens::new(rate, clock::now()));
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.stopped() => return,
            accepted = accept_one(&core, &socket, &config, rate.as_mut()) => accepted,
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

async fn accept_one(
    core: &Arc<Core>,
    socket: &ListeningSocket,
    config: &Arc<ListenerConfig>,
    rate: Option<&mut Tokens>,
) -> io::Result<()> {
    let counters = &config.listener.counters;
    if let Some(rate) = rate {
        if let Some(ready) = rate.ready_at(clock::now()) {
            counters.delayed.add(1);
            tokio::time::sleep_until(ready).await;
        }
        // Taken when somebody is there to use it; dropping this future in between takes none.
        let accepted = admit(core, socket).await?;
        rate.take(clock::now());
        pace(core).await;
        return begin(core, config, accepted);
    }
    let accepted = admit(core, socket).await?;
    pace(core).await;
    begin(core, config, accepted)
}

/// Keeps to the rate of connections over all listeners: the accepted one waits, and those behind it stay in the backlog.
async fn pace(core: &Core) {
    let wait = core.rates.connection(clock::now() - core.started);
    if !wait.is_zero() {
        core.metrics.rate_waits_connections.add(1);
        tokio::time::sleep(wait).await;
    }
}

/// An accepted socket, with one of the permits for pending handshakes.
type Admitted = (Socket, Address, tokio::sync::OwnedSemaphorePermit);

async fn admit(core: &Arc<Core>, socket: &ListeningSocket) -> io::Result<Admitted> {
    let permit = Arc::clone(&core.handshakes).acquire_owned().await.map_err(io::Error::other)?;
    let (socket, address) = socket.accept().await?;
    Ok((socket, address, permit))
}

/// Starts a connection, if the limits leave room for it.
fn begin(core: &Arc<Core>, config: &Arc<ListenerConfig>, admitted: Admitted) -> io::Result<()> {
    let (socket, address, permit) = admitted;
    let listener = &config.listener;
    core.metrics.sockets_opened.add(1);
    listener.counters.accepted.add(1);
    let limits = core.limits();
    let full = core.metrics.sockets.get() >= limits.connections as u64;
    let place = Place::take(&core.metrics, listener);
    if full || place.is_beyond_the_limit() {
        core.metrics.refused(Refused::TooManyConnections);
        if !full {
            listener.counters.full.add(1);
        }
        if let Some(left_out) = core.lines.allow(clock::now()) {
            let whose = if full { "the limit" } else { "the listener's limit" };
            let listener = &*listener.name;
            tracing::warn!(peer = %address, listener, left_out, "connection refused: {whose} of connections is reached");
        }
        return Ok(());
    }
    if socket.set_up().is_err() {
        return Ok(());
    }
    let deadline = clock::now() + limits.connect_timeout;
    let entry = Entry { permit: Some(permit), deadline, place };
    match socket {
        Socket::Tcp(socket) if config.is_plain() => {
            conn::start(core, socket, Peer::plain(address, Arc::clone(listener)), entry);
        }
        socket => {
            let steps = entry::enter(Arc::clone(core), Arc::clone(config), socket, address, entry);
            core.connections.spawn("handshake", steps);
        }
    }
    Ok(())
}

/// Did only this one connection fail, before it was accepted?
fn is_about_one_socket(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(error.kind(), Kind::ConnectionAborted | Kind::ConnectionReset | Kind::Interrupted)
}

/// A bucket that a token drips into at a steady rate, and each connection takes one of.
#[derive(Debug)]
struct Tokens {
    interval: Duration,
    burst: u32,
    /// When the bucket is full again: so one number says it all.
    full_at: Instant,
}

impl Tokens {
    fn new(rate: ConnectionRate, now: Instant) -> Self {
        let interval = Duration::from_secs(1) / rate.per_second.max(1);
        Self { interval, burst: rate.burst.max(1), full_at: now }
    }

    /// When there is a token, if there is none now.
    fn ready_at(&self, now: Instant) -> Option<Instant> {
        let ready = self.full_at.checked_sub(self.interval * (self.burst - 1))?;
        (ready > now).then_some(ready)
    }

    fn take(&mut self, now: Instant) {
        self.full_at = self.full_at.max(now) + self.interval;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_lets_a_burst_through_and_then_one_per_interval() {
        let start = clock::now();
        let mut tokens = Tokens::new(ConnectionRate { per_second: 10, burst: 3 }, start);
        for _ in 0..3 {
            assert_eq!(tokens.ready_at(start), None);
            tokens.take(start);
        }
        let tenth = Duration::from_millis(100);
        assert_eq!(tokens.ready_at(start), Some(start + tenth));
        tokens.take(start + tenth);
        assert_eq!(tokens.ready_at(start + tenth), Some(start + 2 * tenth));
        // After a pause the burst is there again, and no more than that.
        let later = start + Duration::from_secs(60);
        for _ in 0..3 {
            assert_eq!(tokens.ready_at(later), None);
            tokens.take(later);
        }
        assert!(tokens.ready_at(later).is_some());
    }
}
