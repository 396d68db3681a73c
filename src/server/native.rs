//! The native port's sockets: taken before the data is read, then listened on; each connection is a task that ends with the server.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use distkv_broker::transport::tls::TlsAcceptor;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::bind::{self, Bound};
use super::certificates::Certificates;
use crate::accept::accept;
use crate::config::{Config, Protocol};
use crate::native::{self, Face};

/// The time that a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// From when on a connection on which nothing comes is asked whether it is still there.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// The sockets with their addresses taken.
pub(super) struct Taken {
    sockets: Vec<Bound>,
    tls: Option<Arc<TlsAcceptor>>,
    places: usize,
}

/// The sockets, listening.
pub(super) struct Open {
    sockets: Vec<TcpListener>,
    tls: Option<Arc<TlsAcceptor>>,
    places: Arc<Semaphore>,
}

impl Taken {
    /// Reads the files of TLS, and takes all addresses.
    pub(super) fn new(config: &Config, certificates: &Certificates) -> anyhow::Result<Self> {
        let native = &config.native;
        let tls = match &native.tls {
            Some(tls) if !native.listen.is_none() => {
                Some(certificates.open("native", tls, Protocol::Mqtt)?)
            }
            _ => None,
        };
        let sockets = bind::bind(&bind::Face::new("native clients", "--native"), &native.listen)?;
        Ok(Self { sockets, tls, places: native.max_connections as usize })
    }

    /// From now on clients can connect.
    pub(super) fn listen(self) -> anyhow::Result<Open> {
        let sockets = self.sockets.into_iter().map(Bound::listen).collect::<Result<_, _>>()?;
        Ok(Open { sockets, tls: self.tls, places: Arc::new(Semaphore::new(self.places)) })
    }
}

impl Open {
    /// Where clients connect.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.sockets.iter().filter_map(|socket| socket.local_addr().ok()).collect()
    }

    /// Whether the connections are encrypted.
    pub(super) fn is_encrypted(&self) -> bool {
        self.tls.is_some()
    }

    /// The tasks that serve clients, one for each socket.
    pub(super) fn serve(self, face: &Arc<Face>) -> Vec<impl Future<Output = Infallible> + use<>> {
        let Self { sockets, tls, places } = self;
        sockets
            .into_iter()
            .map(|socket| serve(socket, tls.clone(), Arc::clone(&places), Arc::clone(face)))
            .collect()
    }
}

/// Serves one socket, until the future is dropped; its connections end with it.
async fn serve(
    listener: TcpListener,
    tls: Option<Arc<TlsAcceptor>>,
    places: Arc<Semaphore>,
    face: Arc<Face>,
) -> Infallible {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            (stream, peer, place) = accept("native clients", &listener, &places) => {
                connections.spawn(connection(stream, peer, place, tls.clone(), Arc::clone(&face)));
            }
            Some(_ended) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    place: Option<OwnedSemaphorePermit>,
    tls: Option<Arc<TlsAcceptor>>,
    face: Arc<Face>,
) {
    // Without these it works as well, only later or less surely.
    let _ = stream.set_nodelay(true);
    let _ = socket2::SockRef::from(&stream)
        .set_tcp_keepalive(&socket2::TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 4));
    match tls {
        None => native::serve(stream, peer, face).await,
        Some(acceptor) => {
            let acceptor = tokio_rustls::TlsAcceptor::from(acceptor.config());
            match timeout(HANDSHAKE, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => native::serve(stream, peer, face).await,
                Ok(Err(error)) => {
                    tracing::debug!(%peer, "TLS with a native client did not come about: {error}");
                }
                Err(_elapsed) => tracing::debug!(%peer, "TLS with a native client took too long"),
            }
        }
    }
    drop(place);
}
