//! TLS over a socket, by rustls. The certificates in force can be replaced while the server runs: connections made from then on
//! get the new ones, and no session of before is resumed.
//!
//! An idle connection holds its keys and a read buffer of 4 KiB; what is on its way out leaves with the write that made it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use arc_swap::ArcSwap;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{InconsistentKeys, RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::server;

use super::certificate::Certificate;
use super::socket::Socket;
use crate::peer::TlsInfo;

/// The longest user name from a certificate.
const IDENTITY_MAX: usize = 1024;

/// What TLS is made of. Certificates and keys are in PEM form.
#[derive(Clone, Debug, Default)]
pub struct TlsOptions {
    /// The server's certificate, then those between it and a root.
    pub certificate: Vec<u8>,
    /// The key of the first certificate.
    pub key: Vec<u8>,
    /// Are clients asked for a certificate?
    pub client_certificates: ClientCertificates,
    /// The roots that clients' certificates are checked against.
    pub client_ca: Vec<u8>,
    /// Lists of revoked client certificates; empty: none is looked at. If there are any, there must be one of each issuer.
    pub crl: Vec<u8>,
    /// What of a client's certificate becomes his user name.
    pub identity: IdentityFrom,
    /// The versions that are spoken; empty: all.
    pub versions: Vec<TlsVersion>,
    /// The names of the cipher suites that are offered, best first; empty: all.
    pub suites: Vec<String>,
    /// The names of protocols (ALPN), of which a client that names any must name one; empty: they are not looked at.
    pub alpn: Vec<String>,
}

/// Are clients asked for a certificate?
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientCertificates {
    /// No.
    #[default]
    None,
    /// Yes, and who has none may come in without.
    Optional,
    /// Yes, and who has none is refused.
    Required,
}

/// What of a client's certificate becomes his user name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IdentityFrom {
    /// Nothing.
    #[default]
    Nothing,
    /// Its common name.
    CommonName,
    /// The whole name of its subject: `CN=kitchen,O=Example`.
    Subject,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    /// TLS 1.2
    V1_2,
    /// TLS 1.3
    V1_3,
}

/// Which of the options is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// [`TlsOptions::certificate`]
    Certificate,
    /// [`TlsOptions::key`]
    Key,
    /// [`TlsOptions::client_ca`]
    ClientCa,
    /// [`TlsOptions::crl`]
    Crl,
    /// Versions or suites.
    Settings,
}

/// Options that can't be used. The words fit behind the name of the file.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Nothing in PEM form.
    #[error("there is no certificate in it; it must be in PEM form (-----BEGIN CERTIFICATE-----)")]
    NoCertificate(Part),
    /// A certificate that is none.
    #[error("a certificate in it can't be read: {1}")]
    BadCertificate(Part, String),
    /// Nothing in PEM form.
    #[error("there is no private key in it; it must be in PEM form (-----BEGIN PRIVATE KEY-----)")]
    NoKey,
    /// A key behind a pass phrase.
    #[error(
        "the private key is encrypted; take the pass phrase off with `openssl pkey -in OLD -out NEW`, and protect the \
         file by its permissions"
    )]
    EncryptedKey,
    /// A key that is none, or of a kind which TLS has no use for.
    #[error("the private key can't be used: {0}; RSA, ECDSA (P-256, P-384) and Ed25519 are supported")]
    BadKey(String),
    /// Certificate and key don't belong together.
    #[error("the private key does not belong to the certificate; was only one of the two files renewed?")]
    KeyMismatch,
    /// A list of revoked certificates that is none.
    #[error("there is no list of revoked certificates in it that can be read: {0}")]
    BadCrl(String),
    /// A suite that does not exist.
    #[error("`{name}` is no cipher suite; known are {}", known.join(", "))]
    UnknownSuite {
        /// As it was written.
        name: String,
        /// All that there are.
        known: Vec<String>,
    },
    /// Suites and versions exclude each other.
    #[error("none of the cipher suites fits the TLS versions")]
    NothingInCommon,
    /// The system gives no random numbers, or something like that.
    #[error("TLS can't be set up: {0}")]
    Other(String),
}

impl TlsError {
    /// Which of the options is wrong.
    #[must_use]
    pub fn part(&self) -> Part {
        match self {
            Self::NoCertificate(part) | Self::BadCertificate(part, _) => *part,
            Self::NoKey | Self::EncryptedKey | Self::BadKey(_) | Self::KeyMismatch => Part::Key,
            Self::BadCrl(_) => Part::Crl,
            Self::UnknownSuite { .. } | Self::NothingInCommon | Self::Other(_) => Part::Settings,
        }
    }
}

/// Makes TLS of sockets, with the options that are in force.
#[derive(Debug)]
pub struct TlsAcceptor(ArcSwap<InForce>);

#[derive(Debug)]
struct InForce {
    config: Arc<ServerConfig>,
    identity: IdentityFrom,
    expires: Option<i64>,
}

/// A socket with TLS.
#[derive(Debug)]
pub(crate) struct TlsStream(server::TlsStream<Socket>);

/// What a handshake came to.
pub(crate) struct Agreed {
    pub(crate) stream: TlsStream,
    pub(crate) info: TlsInfo,
    pub(crate) identity: Option<Arc<str>>,
}

impl TlsAcceptor {
    /// Takes these options.
    ///
    /// # Errors
    /// They can't be used.
    pub fn new(options: &TlsOptions) -> Result<Self, TlsError> {
        Ok(Self(ArcSwap::from_pointee(InForce::new(options)?)))
    }

    /// From now on takes these options.
    ///
    /// # Errors
    /// They can't be used, and those of before stay in force.
    pub fn replace(&self, options: &TlsOptions) -> Result<(), TlsError> {
        self.0.store(Arc::new(InForce::new(options)?));
        Ok(())
    }

    /// Until when the certificate is valid, in seconds since 1970.
    #[must_use]
    pub fn expires(&self) -> Option<i64> {
        self.0.load().expires
    }

    /// The options in force, for embedders that speak something else than MQTT over TLS.
    #[must_use]
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.load().config)
    }

    pub(crate) async fn accept(&self, socket: Socket) -> io::Result<Agreed> {
        let in_force = self.0.load_full();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::clone(&in_force.config));
        let stream = acceptor.accept(socket).await?;
        let (_, session) = stream.get_ref();
        let info = TlsInfo {
            version: session.protocol_version().and_then(|version| version.as_str()).unwrap_or("?"),
            cipher: session.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str()).unwrap_or("?"),
        };
        let certificate = session.peer_certificates().and_then(<[_]>::first);
        let identity = certificate.and_then(|certificate| in_force.identity.of(certificate));
        Ok(Agreed { stream: TlsStream(stream), info, identity })
    }
}

impl IdentityFrom {
    fn of(self, certificate: &[u8]) -> Option<Arc<str>> {
        let name = match self {
            Self::Nothing => return None,
            Self::CommonName => Certificate::parse(certificate)?.subject().common_name()?,
            Self::Subject => Certificate::parse(certificate)?.subject().to_string(),
        };
        user_name(name)
    }
}

/// The name, if it can be a user's: not empty, of a sensible length, without control characters.
pub(crate) fn user_name(name: String) -> Option<Arc<str>> {
    let usable = !name.is_empty() && name.len() <= IDENTITY_MAX && !name.contains(char::is_control);
    usable.then(|| name.into())
}

impl InForce {
    fn new(options: &TlsOptions) -> Result<Self, TlsError> {
        let provider = Arc::new(provider(&options.suites)?);
        let chain = certificates(&options.certificate, Part::Certificate)?;
        let expires = chain
            .first()
            .and_then(|certificate| Certificate::parse(certificate)?.validity())
            .map(|(_, not_after)| not_after);
        let certified = certified_key(chain, &options.key)?;
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&versions(&options.versions))
            .map_err(|_| TlsError::NothingInCommon)?;
        let builder = match options.client_certificates {
            ClientCertificates::None => builder.with_no_client_auth(),
            wanted => builder.with_client_cert_verifier(verifier(options, wanted, provider)?),
        };
        let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        // Who names suites names them in his order. Else the client's counts: it knows what it is quick at.
        config.ignore_client_order = !options.suites.is_empty();
        config.alpn_protocols = options.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        // What a client needs to resume its session is with the client, so no memory is held here for it.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = ring::Ticketer::new().map_err(|error| TlsError::Other(error.to_string()))?;
        config.send_tls13_tickets = 1;
        Ok(Self { config: Arc::new(config), identity: options.identity, expires })
    }
}

/// The cryptography of `ring` with these suites.
fn provider(names: &[String]) -> Result<CryptoProvider, TlsError> {
    let mut provider = ring::default_provider();
    if names.is_empty() {
        return Ok(provider);
    }
    let all = std::mem::take(&mut provider.cipher_suites);
    let name_of = |suite: &rustls::SupportedCipherSuite| suite.suite().as_str().unwrap_or_default();
    for name in names {
        let found = all.iter().find(|suite| name_of(suite).eq_ignore_ascii_case(name)).ok_or_else(|| {
            TlsError::UnknownSuite {
                name: name.clone(),
                known: all.iter().map(|suite| name_of(suite).to_owned()).collect(),
            }
        })?;
        provider.cipher_suites.push(*found);
    }
    Ok(provider)
}

fn versions(wanted: &[TlsVersion]) -> Vec<&'static SupportedProtocolVersion> {
    let all = [(TlsVersion::V1_3, &rustls::version::TLS13), (TlsVersion::V1_2, &rustls::version::TLS12)];
    let is_wanted = |version: &TlsVersion| wanted.is_empty() || wanted.contains(version);
    all.into_iter().filter(|(version, _)| is_wanted(version)).map(|(_, version)| version).collect()
}

fn certificates(pem: &[u8], part: Part) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|error| TlsError::BadCertificate(part, error.to_string()))?;
    if found.is_empty() { Err(TlsError::NoCertificate(part)) } else { Ok(found) }
}

fn certified_key(chain: Vec<CertificateDer<'static>>, pem: &[u8]) -> Result<CertifiedKey, TlsError> {
    use rustls::pki_types::pem::Error as PemError;
    const ENCRYPTED: [&[u8]; 2] = [b"BEGIN ENCRYPTED PRIVATE KEY", b"Proc-Type: 4,ENCRYPTED"];
    if ENCRYPTED.iter().any(|mark| pem.windows(mark.len()).any(|window| window == *mark)) {
        return Err(TlsError::EncryptedKey);
    }
    let key = PrivateKeyDer::from_pem_slice(pem).map_err(|error| match error {
        PemError::NoItemsFound => TlsError::NoKey,
        other => TlsError::BadKey(other.to_string()),
    })?;
    let key = ring::sign::any_supported_type(&key).map_err(|error| TlsError::BadKey(error.to_string()))?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(certified),
        Err(rustls::Error::InconsistentKeys(_)) => Err(TlsError::KeyMismatch),
        Err(error) => Err(TlsError::BadCertificate(Part::Certificate, error.to_string())),
    }
}

fn verifier(
    options: &TlsOptions,
    wanted: ClientCertificates,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>, TlsError> {
    let mut roots = RootCertStore::empty();
    for root in certificates(&options.client_ca, Part::ClientCa)? {
        roots.add(root).map_err(|error| TlsError::BadCertificate(Part::ClientCa, error.to_string()))?;
    }
    let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    if !options.crl.is_empty() {
        let lists: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(&options.crl).collect();
        let lists = lists.map_err(|error| TlsError::BadCrl(error.to_string()))?;
        if lists.is_empty() {
            return Err(TlsError::BadCrl("it must be in PEM form (-----BEGIN X509 CRL-----)".to_owned()));
        }
        builder = builder.with_crls(lists).only_check_end_entity_revocation();
    }
    if wanted == ClientCertificates::Optional {
        builder = builder.allow_unauthenticated();
    }
    builder.build().map_err(|error| TlsError::BadCrl(error.to_string()))
}

impl TlsStream {
    /// Sends what a write left behind when the socket took no more. Nobody else would, if the connection has no further data.
    fn drain(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.0.get_ref().1.wants_write() {
            match Pin::new(&mut self.0).poll_flush(cx) {
                Poll::Ready(result) => result?,
                // The task is woken when the socket takes more.
                Poll::Pending => {}
            }
        }
        Ok(())
    }
}

impl AsyncRead for TlsStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.drain(cx)?;
        match Pin::new(&mut this.0).poll_read(cx, buf) {
            // Without a word of farewell, as most devices end. Where a packet ends MQTT says itself, so nothing can be cut off
            // unnoticed.
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(())),
            other => other,
        }
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_shutdown(cx)
    }
}

impl Drop for TlsStream {
    /// Tells the client that this was all, if the socket takes it at once.
    fn drop(&mut self) {
        let mut cx = Context::from_waker(Waker::noop());
        let _ = Pin::new(&mut self.0).poll_shutdown(&mut cx);
    }
}

#[cfg(test)]
mod tests;
