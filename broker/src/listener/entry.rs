//! From an accepted socket to a stream that speaks MQTT: PROXY header, TLS, WebSocket, as the listener has them. All of that
//! and the CONNECT behind it share one deadline and one permit.

use std::io;
use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::ListenerConfig;
use crate::broker::Core;
use crate::metrics::{Number, Refused};
use crate::peer::{Address, ListenerCounters, Peer, Place};
use crate::transport::tls::{Agreed, user_name};
use crate::transport::websocket::WebSocket;
use crate::transport::{Layered, Socket, proxy};
use crate::{clock, conn};

/// What a connection holds from its accept on.
#[derive(Debug)]
pub(crate) struct Entry {
    /// One of the pending handshakes, until the CONNECT is through; `None` if somebody else accepted it.
    pub(crate) permit: Option<OwnedSemaphorePermit>,
    /// When the CONNECT has to be there.
    pub(crate) deadline: Instant,
    /// Until its end.
    pub(crate) place: Place,
}

/// The step that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Proxy,
    Tls,
    WebSocket,
}

/// Why a connection does not get as far as MQTT.
struct Failure {
    step: Step,
    error: io::Error,
}

impl Step {
    fn refused(self) -> Refused {
        match self {
            Self::Proxy => Refused::Proxy,
            Self::Tls => Refused::Tls,
            Self::WebSocket => Refused::WebSocket,
        }
    }

    fn number(self, counters: &ListenerCounters) -> &Number {
        match self {
            Self::Proxy => &counters.proxy_failed,
            Self::Tls => &counters.tls_failed,
            Self::WebSocket => &counters.websocket_failed,
        }
    }

    /// What was waited for.
    fn awaited(self) -> &'static str {
        match self {
            Self::Proxy => "PROXY header",
            Self::Tls => "TLS handshake",
            Self::WebSocket => "WebSocket request",
        }
    }
}

/// Takes all steps, and starts the connection; or turns it away with a word in the log.
pub(super) async fn enter(
    core: Arc<Core>,
    config: Arc<ListenerConfig>,
    socket: Socket,
    address: Address,
    entry: Entry,
) {
    let mut stop = core.connections.stop_signal();
    let mut peer = Peer::plain(address, Arc::clone(&config.listener));
    let mut step = Step::Proxy;
    let steps = take_steps(&config, socket, &mut peer, &mut step);
    let result = tokio::select! {
        biased;
        () = stop.stopped() => return,
        result = tokio::time::timeout_at(entry.deadline, steps) => result,
    };
    let words = match result {
        Ok(Ok(stream)) => {
            conn::start(&core, stream, peer, entry);
            return;
        }
        Ok(Err(Failure { step, error })) => {
            core.metrics.refused(step.refused());
            step.number(&peer.listener.counters).add(1);
            in_words(step, &error)
        }
        Err(_) => {
            core.metrics.refused(Refused::ConnectTimeout);
            step.number(&peer.listener.counters).add(1);
            format!("no {} in time", step.awaited())
        }
    };
    if let Some(left_out) = core.lines.allow(clock::now()) {
        let listener = &*peer.listener.name;
        tracing::info!(%peer, listener, left_out, "connection refused: {words}");
    }
}

/// `step` tells which one is being taken.
async fn take_steps(
    config: &ListenerConfig,
    mut socket: Socket,
    peer: &mut Peer,
    step: &mut Step,
) -> Result<Layered, Failure> {
    if let Some(options) = &config.proxy
        && options.trusts(&peer.address)
    {
        let told = proxy::read(&mut socket, options).await;
        let told = told.map_err(|error| Failure { step: *step, error })?;
        if let Some(source) = told.source {
            peer.address = Address::Socket(source);
        }
        if options.identity {
            peer.identity = told.verified_name.and_then(user_name);
        }
    }
    let Some(tls) = &config.tls else {
        let Some(options) = &config.websocket else { return Ok(Layered::Plain(socket)) };
        *step = Step::WebSocket;
        let stream = WebSocket::accept(socket, options).await;
        return stream.map(Box::new).map(Layered::WebSocket).map_err(|error| Failure { step: *step, error });
    };
    *step = Step::Tls;
    let agreed = tls.accept(socket).await;
    let Agreed { stream, info, identity } = agreed.map_err(|error| Failure { step: *step, error })?;
    peer.tls = Some(info);
    // The certificate that was seen here says more than what a proxy tells of another one.
    peer.identity = identity.or(peer.identity.take());
    let Some(options) = &config.websocket else { return Ok(Layered::Tls(Box::new(stream))) };
    *step = Step::WebSocket;
    let stream = WebSocket::accept(stream, options).await;
    stream.map(Box::new).map(Layered::WebSocketOverTls).map_err(|error| Failure { step: *step, error })
}

fn in_words(step: Step, error: &io::Error) -> String {
    let awaited = step.awaited();
    match error.kind() {
        io::ErrorKind::UnexpectedEof => format!("closed by the peer before the {awaited}"),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
            format!("the connection failed before the {awaited}: {error}")
        }
        _ if step == Step::Tls => format!("no TLS came about: {}", tls_in_words(error)),
        _ => error.to_string(),
    }
}

/// The usual mistakes in words that name them.
fn tls_in_words(error: &io::Error) -> String {
    use rustls::{AlertDescription, CertificateError, Error, InvalidMessage, PeerIncompatible};
    let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
        return error.to_string();
    };
    match error {
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "the client speaks something else; is TLS turned on there?".to_owned()
        }
        Error::NoCertificatesPresented => "the client has no certificate".to_owned(),
        Error::InvalidCertificate(CertificateError::Revoked) => {
            "the client's certificate is revoked".to_owned()
        }
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "the client's certificate is not from the listener's `client_ca`".to_owned()
        }
        Error::InvalidCertificate(CertificateError::UnknownRevocationStatus) => {
            "no list in `crl` is from the issuer of the client's certificate".to_owned()
        }
        Error::InvalidCertificate(other) => format!("the client's certificate is refused: {other}"),
        Error::AlertReceived(AlertDescription::UnknownCA) => {
            "the client does not know the issuer of our certificate".to_owned()
        }
        Error::AlertReceived(AlertDescription::CertificateExpired) => {
            "the client says that our certificate has expired".to_owned()
        }
        Error::AlertReceived(AlertDescription::BadCertificate) => {
            "the client does not accept our certificate; is it for this host's name?".to_owned()
        }
        Error::NoApplicationProtocol => {
            "the client names other protocols (ALPN) than this listener".to_owned()
        }
        Error::PeerIncompatible(
            PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled
            // Only versions before 1.2 know a hello without them.
            | PeerIncompatible::SignatureAlgorithmsExtensionRequired
            | PeerIncompatible::SupportedVersionsExtensionRequired,
        ) => "the client speaks no version of TLS that this listener does".to_owned(),
        Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon) => {
            "the client has no cipher suite in common with this listener".to_owned()
        }
        other => other.to_string(),
    }
}
