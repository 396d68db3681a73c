//! The files that TLS is made of: read at the start, on SIGHUP, and when they change. A file that can't be used is an error at
//! the start; later the certificates of before stay in force, and the log says why.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use distkv_broker::transport::tls::{self, IdentityFrom, Part, TlsAcceptor, TlsError, TlsOptions};
use parking_lot::Mutex;

use super::clock;
use crate::config::{ClientCertificates, Protocol, Tls, TlsVersion, UserFrom};

/// How often the files are looked at. A change is taken up when they look the same twice: whoever renews a certificate and a key
/// needs a moment between the two.
const LOOK: Duration = Duration::from_secs(2);
const DAY: i64 = 86_400;
/// From when on the log says that a certificate is about to expire.
const SOON_DAYS: i64 = 14;

/// A file that can't be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileError {
    #[error("listener {listener}: can't read the {what} file {}: {}", path.display(), reason(.error))]
    Unreadable { listener: String, what: &'static str, path: PathBuf, error: std::io::Error },
    #[error("listener {listener}: the {what} file {}: {error}", path.display())]
    Wrong { listener: String, what: &'static str, path: PathBuf, error: TlsError },
    #[error("listener {listener}: `tls`: {error}")]
    Settings { listener: String, error: TlsError },
}

fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
        std::io::ErrorKind::PermissionDenied => {
            let user = rustix::process::geteuid().as_raw();
            format!("the server may not read it; it runs as the user with the number {user}")
        }
        _ => error.to_string(),
    }
}

/// The files of all listeners. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Certificates(Arc<Mutex<Vec<Watched>>>);

/// One listener's.
#[derive(Debug)]
struct Watched {
    listener: String,
    tls: Tls,
    protocol: Protocol,
    acceptor: Arc<TlsAcceptor>,
    /// What the files looked like when they were last read, and when they were last looked at.
    read: Vec<Look>,
    seen: Vec<Look>,
}

/// What a file looks like from outside: inode, length, time of change; nothing if it is not there.
type Look = Option<(u64, u64, i64, i64)>;

impl Certificates {
    /// Reads a listener's files, and watches them from now on.
    pub(super) fn open(
        &self,
        listener: &str,
        tls: &Tls,
        protocol: Protocol,
    ) -> Result<Arc<TlsAcceptor>, FileError> {
        let read = look(tls);
        let options = read_files(listener, tls, protocol)?;
        let acceptor = TlsAcceptor::new(&options).map_err(|error| wrong(listener, tls, error))?;
        let acceptor = Arc::new(acceptor);
        tell_expiry(listener, tls, &acceptor);
        self.0.lock().push(Watched {
            listener: listener.to_owned(),
            tls: tls.clone(),
            protocol,
            acceptor: Arc::clone(&acceptor),
            seen: read.clone(),
            read,
        });
        Ok(acceptor)
    }

    /// Reads all files again, whether they have changed or not.
    pub(super) fn reload(&self) {
        self.0.lock().iter_mut().for_each(Watched::reload);
    }

    /// Reads again what has changed, for ever.
    pub(super) async fn watch(self) {
        let mut ticks = tokio::time::interval(LOOK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let this = self.clone();
            // A file may be on a disk that is slow to answer.
            if tokio::task::spawn_blocking(move || this.look()).await.is_err() {
                tracing::error!("certificates can't be watched any more; SIGHUP reads them");
                std::future::pending::<()>().await;
            }
        }
    }

    fn look(&self) {
        for watched in self.0.lock().iter_mut() {
            let now = look(&watched.tls);
            let settled = now == watched.seen;
            watched.seen = now;
            if settled && watched.seen != watched.read {
                watched.reload();
            }
        }
    }
}

impl Watched {
    fn reload(&mut self) {
        let Self { listener, tls, protocol, acceptor, .. } = self;
        self.read = look(tls);
        let replaced = read_files(listener, tls, *protocol)
            .and_then(|options| acceptor.replace(&options).map_err(|error| wrong(listener, tls, error)));
        match replaced {
            Ok(()) => {
                tracing::info!(
                    "listener {listener}: its TLS files are read again, for connections from now on"
                );
                tell_expiry(listener, tls, acceptor);
            }
            Err(error) => tracing::error!("{error}. The certificates of before stay in force"),
        }
    }
}

fn look(tls: &Tls) -> Vec<Look> {
    let of = |path: &Path| {
        let file = fs::metadata(path).ok()?;
        Some((file.ino(), file.len(), file.mtime(), file.mtime_nsec()))
    };
    [&tls.certificate, &tls.key, &tls.client_ca, &tls.crl].map(|path| of(path)).to_vec()
}

fn read_files(listener: &str, tls: &Tls, protocol: Protocol) -> Result<TlsOptions, FileError> {
    let read = |part: Part| {
        let (what, path) = file_of(tls, part);
        if path.as_os_str().is_empty() {
            return Ok(Vec::new());
        }
        let (listener, path) = (listener.to_owned(), path.to_owned());
        fs::read(&path).map_err(|error| FileError::Unreadable { listener, what, path, error })
    };
    Ok(TlsOptions {
        certificate: read(Part::Certificate)?,
        key: read(Part::Key)?,
        client_ca: read(Part::ClientCa)?,
        crl: read(Part::Crl)?,
        client_certificates: match tls.client_certificates {
            ClientCertificates::None => tls::ClientCertificates::None,
            ClientCertificates::Optional => tls::ClientCertificates::Optional,
            ClientCertificates::Required => tls::ClientCertificates::Required,
        },
        identity: match tls.user_from {
            UserFrom::None => IdentityFrom::Nothing,
            UserFrom::Cn => IdentityFrom::CommonName,
            UserFrom::Subject => IdentityFrom::Subject,
        },
        versions: tls
            .versions
            .iter()
            .map(|version| match version {
                TlsVersion::V1_2 => tls::TlsVersion::V1_2,
                TlsVersion::V1_3 => tls::TlsVersion::V1_3,
            })
            .collect(),
        suites: tls.suites.clone(),
        alpn: alpn(tls, protocol),
    })
}

/// The names of protocols that are spoken.
fn alpn(tls: &Tls, protocol: Protocol) -> Vec<String> {
    match (&*tls.alpn, protocol) {
        ([], Protocol::Mqtt) => vec!["mqtt".to_owned()],
        ([], Protocol::WebSocket) => vec!["http/1.1".to_owned()],
        ([none], _) if none == "none" => Vec::new(),
        (names, _) => names.to_vec(),
    }
}

fn file_of(tls: &Tls, part: Part) -> (&'static str, &Path) {
    match part {
        Part::Certificate | Part::Settings => ("certificate", &tls.certificate),
        Part::Key => ("key", &tls.key),
        Part::ClientCa => ("client CA", &tls.client_ca),
        Part::Crl => ("CRL", &tls.crl),
    }
}

fn wrong(listener: &str, tls: &Tls, error: TlsError) -> FileError {
    let listener = listener.to_owned();
    let part = error.part();
    if part == Part::Settings {
        return FileError::Settings { listener, error };
    }
    let (what, path) = file_of(tls, part);
    FileError::Wrong { listener, what, path: path.to_owned(), error }
}

/// Warns of a certificate that clients will refuse, or will soon.
fn tell_expiry(listener: &str, tls: &Tls, acceptor: &TlsAcceptor) {
    let Some(expires) = acceptor.expires() else { return };
    let now = i64::try_from(clock::since_epoch().as_secs()).unwrap_or(i64::MAX);
    let file = tls.certificate.display();
    let days = (expires - now) / DAY;
    if expires <= now {
        tracing::warn!("listener {listener}: the certificate {file} has expired; clients will refuse it");
    } else if days < SOON_DAYS {
        tracing::warn!("listener {listener}: the certificate {file} expires in less than {} days", days + 1);
    }
}
