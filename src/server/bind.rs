//! Opens the listening sockets of a face, and says in words why one can't be opened.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use tokio::net::{TcpListener, TcpSocket, UnixListener};

use super::owner;
use crate::config::{Listen, ListenSet};

/// Connections that the kernel completes before they are accepted; it lowers it to its own limit.
const BACKLOG: u32 = 4096;

/// A face for which sockets are opened.
#[derive(Clone, Debug)]
pub(super) struct Face {
    /// As people call it.
    name: String,
    /// What to choose another address with: a flag of `distkv server`, or a key.
    by: String,
}

/// How a socket is opened.
#[derive(Clone, Copy, Debug)]
pub(super) struct Options<'a> {
    /// Connections that the kernel completes before they are accepted.
    pub(super) backlog: u32,
    /// The interface that it is bound to; empty: any.
    pub(super) interface: &'a str,
}

/// A socket that can't be opened.
#[derive(Debug, thiserror::Error)]
pub(super) enum BindError {
    #[error(
        "can't listen on {address} for {}: the port is in use{}. Stop what uses it, or choose another address with \
         {} IP:PORT", face.name, by(.owner.as_ref()), face.by
    )]
    InUse { face: Face, address: SocketAddr, owner: Option<owner::Owner> },
    #[error(
        "can't listen on {address} for {}: no permission. Ports below 1024 need root or the capability \
         CAP_NET_BIND_SERVICE; or choose a higher port with {} IP:PORT", face.name, face.by
    )]
    NoPermission { face: Face, address: SocketAddr },
    #[error(
        "can't listen on {address} for {}: this machine has no such address. Choose one of its own, or *:{} for all, \
         with {}", face.name, address.port(), face.by
    )]
    NoSuchAddress { face: Face, address: SocketAddr },
    #[error("can't bind {address} to the interface {interface} for {}: {}", face.name, no_interface(.error))]
    Interface { face: Face, address: SocketAddr, interface: String, error: io::Error },
    #[error("can't listen on {address} for {}: {error}", face.name)]
    Other { face: Face, address: SocketAddr, error: io::Error },
    #[error(
        "can't listen on {} for {}: another process listens there. Stop it, or choose another path", path.display(), face.name
    )]
    UnixInUse { face: Face, path: PathBuf },
    #[error("can't listen on {} for {}: there is something else at that path", path.display(), face.name)]
    NoSocket { face: Face, path: PathBuf },
    #[error("can't listen on {} for {}: {}", path.display(), face.name, no_unix(.error))]
    Unix { face: Face, path: PathBuf, error: io::Error },
}

fn by(owner: Option<&owner::Owner>) -> String {
    match owner {
        Some(owner) if owner.is_this_process() => " by another face of this server".to_owned(),
        Some(owner) => format!(" by {owner}"),
        None => String::new(),
    }
}

fn no_interface(error: &io::Error) -> String {
    let is = |errno: rustix::io::Errno| error.raw_os_error() == Some(errno.raw_os_error());
    if is(rustix::io::Errno::NODEV) {
        "this machine has no such interface".to_owned()
    } else if error.kind() == io::ErrorKind::PermissionDenied {
        "no permission; it needs root or the capability CAP_NET_RAW".to_owned()
    } else {
        error.to_string()
    }
}

fn no_unix(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such directory".to_owned(),
        io::ErrorKind::PermissionDenied => "no permission to make a file there".to_owned(),
        io::ErrorKind::InvalidInput => "the path is too long for a socket".to_owned(),
        _ => error.to_string(),
    }
}

impl Face {
    pub(super) fn new(name: &str, by: &str) -> Self {
        Self { name: name.to_owned(), by: by.to_owned() }
    }
}

impl Options<'_> {
    /// Those of a face that has no keys for them.
    const DEFAULT: Self = Self { backlog: BACKLOG, interface: "" };
}

/// A socket that has its address, and does not listen yet: clients are refused, and nobody else gets the address.
#[derive(Debug)]
pub(super) struct Bound {
    face: Face,
    socket: TcpSocket,
    address: SocketAddr,
    backlog: u32,
}

impl Bound {
    /// From now on clients can connect.
    pub(super) fn listen(self) -> Result<TcpListener, BindError> {
        let Self { face, socket, address, backlog } = self;
        socket.listen(backlog).map_err(|error| failure(&face, address, error))
    }
}

/// The sockets of all addresses of a face. Where one stands for both IP versions, one of them may be missing on this machine.
pub(super) fn bind(face: &Face, addresses: &ListenSet) -> Result<Vec<Bound>, BindError> {
    let mut all = Vec::new();
    for listen in &addresses.0 {
        all.extend(bind_one(face, *listen, &Options::DEFAULT)?);
    }
    Ok(all)
}

/// The sockets of one address.
pub(super) fn bind_one(face: &Face, listen: Listen, options: &Options<'_>) -> Result<Vec<Bound>, BindError> {
    let addresses = listen.sockets();
    let mut bound = Vec::new();
    let mut missing = None;
    for address in &addresses {
        match open(*address, options) {
            Ok(socket) => {
                bound.push(Bound { face: face.clone(), socket, address: *address, backlog: options.backlog });
            }
            Err(NotOpened::Socket(error)) if addresses.len() > 1 && is_missing_family(&error) => {
                tracing::info!("not listening on {address} for {}: {error}", face.name);
                missing = Some(failure(face, *address, error));
            }
            Err(NotOpened::Socket(error)) => return Err(failure(face, *address, error)),
            Err(NotOpened::Interface(error)) => {
                let (face, interface) = (face.clone(), options.interface.to_owned());
                return Err(BindError::Interface { face, address: *address, interface, error });
            }
        }
    }
    match missing {
        Some(error) if bound.is_empty() => Err(error),
        _ => Ok(bound),
    }
}

/// What failed.
enum NotOpened {
    Socket(io::Error),
    Interface(io::Error),
}

fn open(address: SocketAddr, options: &Options<'_>) -> Result<TcpSocket, NotOpened> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { v6_only() };
    let socket = socket.map_err(NotOpened::Socket)?;
    socket.set_reuseaddr(true).map_err(NotOpened::Socket)?;
    if !options.interface.is_empty() {
        socket.bind_device(Some(options.interface.as_bytes())).map_err(NotOpened::Interface)?;
    }
    socket.bind(address).map_err(NotOpened::Socket)?;
    Ok(socket)
}

/// IPv4 has a socket of its own, so that `[::]` and `0.0.0.0` can stand side by side.
fn v6_only() -> io::Result<TcpSocket> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = Socket::new(Domain::IPV6, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_only_v6(true)?;
    socket.set_nonblocking(true)?;
    Ok(TcpSocket::from_std_stream(socket.into()))
}

/// Has this machine no IPv6 (or no IPv4)?
fn is_missing_family(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let code = error.raw_os_error();
    [Errno::AFNOSUPPORT, Errno::ADDRNOTAVAIL].iter().any(|errno| code == Some(errno.raw_os_error()))
}

fn failure(face: &Face, address: SocketAddr, error: io::Error) -> BindError {
    let face = face.clone();
    match error.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse { face, address, owner: owner::of_port(address) },
        io::ErrorKind::PermissionDenied => BindError::NoPermission { face, address },
        io::ErrorKind::AddrNotAvailable => BindError::NoSuchAddress { face, address },
        _ => BindError::Other { face, address, error },
    }
}

/// As [`Bound`], for a Unix socket. Its file is removed when this is dropped.
#[derive(Debug)]
pub(super) struct BoundUnix {
    face: Face,
    socket: socket2::Socket,
    file: UnixFile,
    backlog: u32,
}

/// The file of a Unix socket of ours; removed when dropped.
#[derive(Debug)]
pub(super) struct UnixFile(PathBuf);

impl UnixFile {
    pub(super) fn shown(&self) -> String {
        self.0.display().to_string()
    }
}

impl Drop for UnixFile {
    fn drop(&mut self) {
        // Somebody may have been quicker.
        let _ = fs::remove_file(&self.0);
    }
}

impl BoundUnix {
    /// From now on clients can connect.
    pub(super) fn listen(self) -> Result<(UnixListener, UnixFile), BindError> {
        let Self { face, socket, file, backlog } = self;
        let backlog = i32::try_from(backlog).unwrap_or(i32::MAX);
        let listening = socket.listen(backlog).and_then(|()| socket.set_nonblocking(true)).and_then(|()| {
            UnixListener::from_std(std::os::unix::net::UnixListener::from(std::os::fd::OwnedFd::from(socket)))
        });
        match listening {
            Ok(listener) => Ok((listener, file)),
            Err(error) => Err(BindError::Unix { face, path: file.0.clone(), error }),
        }
    }
}

/// A Unix socket whose file has this mode. A file that a server of before has left is replaced.
pub(super) fn bind_unix(face: &Face, path: &Path, mode: u32, backlog: u32) -> Result<BoundUnix, BindError> {
    use socket2::{Domain, SockAddr, Socket, Type};
    let face = face.clone();
    let taken = path.to_owned();
    let found = fs::symlink_metadata(path).ok().map(|file| file.file_type());
    if found.is_some_and(|kind| !kind.is_socket()) {
        return Err(BindError::NoSocket { face, path: taken });
    }
    if found.is_some() {
        match std::os::unix::net::UnixStream::connect(path) {
            // Nobody has it any more.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => drop(fs::remove_file(path)),
            _ => return Err(BindError::UnixInUse { face, path: taken }),
        }
    }
    let opened = (|| {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.bind(&SockAddr::unix(path)?)?;
        let file = UnixFile(path.to_owned());
        // Before it listens: nobody can connect in between.
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
        Ok((socket, file))
    })();
    match opened {
        Ok((socket, file)) => Ok(BoundUnix { face, socket, file, backlog }),
        Err(error) => Err(BindError::Unix { face, path: taken, error }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn face() -> Face {
        Face::new("MQTT", "--mqtt")
    }

    fn set(text: &str) -> ListenSet {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn a_port_in_use_is_named_with_its_owner() {
        let first = bind(&face(), &set("127.0.0.1:0")).unwrap().pop().unwrap().listen().unwrap();
        let address = first.local_addr().unwrap();
        let error = bind(&face(), &set(&address.to_string())).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("can't listen on {address} for MQTT: the port is in use by ")),
            "{error}"
        );
        assert!(error.contains("--mqtt"), "{error}");
    }

    #[tokio::test]
    async fn an_address_of_another_machine_is_refused() {
        let error = bind(&face(), &set("192.0.2.1:1883")).unwrap_err();
        assert!(matches!(error, BindError::NoSuchAddress { .. }), "{error}");
    }

    #[tokio::test]
    async fn a_port_alone_serves_ipv4_and_where_there_is_one_ipv6() {
        let bound = bind(&face(), &set("0")).unwrap();
        assert!(bound.iter().any(|bound| bound.address.is_ipv4()));
        for bound in bound {
            assert!(bound.listen().unwrap().local_addr().unwrap().ip().is_loopback());
        }
    }

    #[tokio::test]
    async fn an_interface_that_is_not_there_is_named() {
        let options = Options { interface: "nowhere0", ..Options::DEFAULT };
        let error = bind_one(&face(), "127.0.0.1:0".parse().unwrap(), &options).unwrap_err().to_string();
        assert!(error.contains("to the interface nowhere0"), "{error}");
    }

    #[tokio::test]
    async fn a_unix_socket_replaces_a_dead_one_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let bind = || bind_unix(&face(), &path, 0o600, 16);
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let (listener, file) = bind().unwrap().listen().unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(bind(), Err(BindError::UnixInUse { .. })));
        drop((listener, file));
        assert!(!path.exists(), "it goes with its server");
        fs::write(&path, "precious").unwrap();
        assert!(matches!(bind(), Err(BindError::NoSocket { .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        let nowhere = bind_unix(&face(), &path.join("socket"), 0o600, 16).unwrap_err();
        assert!(matches!(nowhere, BindError::Unix { .. }), "{nowhere}");
    }
}
