//! The stream of bytes to a server: TCP, and TLS over it.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::error::Error;
use super::options::{Options, Tls};

/// Where Linux systems keep the certificates that they trust.
const SYSTEM_CERTIFICATES: &[&str] =
    &["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// After this time of silence the system asks the other end whether it is still there; a watch may be silent for days.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// Any stream of bytes.
pub(super) trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Socket for T {}

/// Connects, without a word of the protocol.
pub(super) async fn open(options: &Options) -> Result<Box<dyn Socket>, Error> {
    let (host, port) = options.address()?;
    let tls = options.tls.as_ref().map(|tls| Ok((connector(tls)?, name(tls, &host)?))).transpose();
    let tls = tls.map_err(|reason: String| Error::Tls { server: options.server.clone(), reason })?;
    let unreachable = |error: std::io::Error| {
        let reason = match error.kind() {
            std::io::ErrorKind::ConnectionRefused => {
                "connection refused; is the server running there?".to_owned()
            }
            _ => error.to_string(),
        };
        Error::Unreachable { server: format!("{host}:{port}"), reason }
    };
    let socket = TcpStream::connect((host.as_str(), port)).await.map_err(unreachable)?;
    socket.set_nodelay(true).map_err(unreachable)?;
    let keep_alive = socket2::TcpKeepalive::new().with_time(KEEP_ALIVE).with_interval(KEEP_ALIVE / 3);
    socket2::SockRef::from(&socket).set_tcp_keepalive(&keep_alive).map_err(unreachable)?;
    let Some((connector, name)) = tls else { return Ok(Box::new(socket)) };
    match connector.connect(name, socket).await {
        Ok(stream) => Ok(Box::new(stream)),
        Err(error)
            if error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<rustls::Error>) =>
        {
            Err(Error::Tls { server: options.server.clone(), reason: error.to_string() })
        }
        Err(error) => Err(unreachable(error)),
    }
}

fn name(tls: &Tls, host: &str) -> Result<ServerName<'static>, String> {
    let name = tls.name.clone().unwrap_or_else(|| host.to_owned());
    ServerName::try_from(name).map_err(|error| error.to_string())
}

fn connector(tls: &Tls) -> Result<TlsConnector, String> {
    let mut roots = RootCertStore::empty();
    let file = match &tls.ca {
        Some(file) => file.clone(),
        None => SYSTEM_CERTIFICATES.iter().map(std::path::PathBuf::from).find(|file| file.exists()).ok_or(
            "this system has no list of trusted certificates; name a file with those of your authority",
        )?,
    };
    let unusable = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    for certificate in CertificateDer::pem_file_iter(&file).map_err(|error| unusable(&error))? {
        let certificate = certificate.map_err(|error| unusable(&error))?;
        match roots.add(certificate) {
            Ok(()) => {}
            // The system's list may hold certificates of kinds which rustls does not take.
            Err(_) if tls.ca.is_none() => {}
            Err(error) => return Err(unusable(&error)),
        }
    }
    if roots.is_empty() {
        return Err(unusable(&"it holds no certificate"));
    }
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
