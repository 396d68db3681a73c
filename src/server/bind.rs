//! Opens the listening sockets of a face, and says in words why one can't be opened.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket};

use super::owner;
use crate::config::{Listen, ListenSet};

/// Connections that the kernel completes before they are accepted; it lowers it to its own limit.
const BACKLOG: u32 = 4096;

/// A face for which sockets are opened.
#[derive(Clone, Copy, Debug)]
pub(super) struct Face {
    /// As people call it.
    pub(super) name: &'static str,
    /// Its flag of `distkv server`.
    pub(super) flag: &'static str,
}

/// A socket that can't be opened.
#[derive(Debug, thiserror::Error)]
pub(super) enum BindError {
    #[error(
        "can't listen on {address} for {}: the port is in use{}. Stop what uses it, or choose another address with \
         {} IP:PORT", face.name, by(.owner.as_ref()), face.flag
    )]
    InUse { face: Face, address: SocketAddr, owner: Option<owner::Owner> },
    #[error(
        "can't listen on {address} for {}: no permission. Ports below 1024 need root or the capability \
         CAP_NET_BIND_SERVICE; or choose a higher port with {} IP:PORT", face.name, face.flag
    )]
    NoPermission { face: Face, address: SocketAddr },
    #[error(
        "can't listen on {address} for {}: this machine has no such address. Choose one of its own, or *:{} for all, \
         with {}", face.name, address.port(), face.flag
    )]
    NoSuchAddress { face: Face, address: SocketAddr },
    #[error("can't listen on {address} for {}: {error}", face.name)]
    Other { face: Face, address: SocketAddr, error: io::Error },
}

fn by(owner: Option<&owner::Owner>) -> String {
    match owner {
        Some(owner) if owner.is_this_process() => " by another face of this server".to_owned(),
        Some(owner) => format!(" by {owner}"),
        None => String::new(),
    }
}

/// A socket that has its address, and does not listen yet: clients are refused, and nobody else gets the address.
#[derive(Debug)]
pub(super) struct Bound {
    face: Face,
    socket: TcpSocket,
    address: SocketAddr,
}

impl Bound {
    /// From now on clients can connect.
    pub(super) fn listen(self) -> Result<TcpListener, BindError> {
        let Self { face, socket, address } = self;
        socket.listen(BACKLOG).map_err(|error| failure(face, address, error))
    }
}

/// The sockets of all addresses of a face. Where one stands for both IP versions, one of them may be missing on this machine.
pub(super) fn bind(face: Face, addresses: &ListenSet) -> Result<Vec<Bound>, BindError> {
    let mut all = Vec::new();
    for listen in &addresses.0 {
        all.extend(bind_one(face, *listen)?);
    }
    Ok(all)
}

fn bind_one(face: Face, listen: Listen) -> Result<Vec<Bound>, BindError> {
    let addresses = listen.sockets();
    let mut bound = Vec::new();
    let mut missing = None;
    for address in &addresses {
        match open(*address) {
            Ok(socket) => bound.push(Bound { face, socket, address: *address }),
            Err(error) if addresses.len() > 1 && is_missing_family(&error) => {
                tracing::info!("not listening on {address} for {}: {error}", face.name);
                missing = Some(failure(face, *address, error));
            }
            Err(error) => return Err(failure(face, *address, error)),
        }
    }
    match missing {
        Some(error) if bound.is_empty() => Err(error),
        _ => Ok(bound),
    }
}

fn open(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { v6_only()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
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

fn failure(face: Face, address: SocketAddr, error: io::Error) -> BindError {
    match error.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse { face, address, owner: owner::of_port(address) },
        io::ErrorKind::PermissionDenied => BindError::NoPermission { face, address },
        io::ErrorKind::AddrNotAvailable => BindError::NoSuchAddress { face, address },
        _ => BindError::Other { face, address, error },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MQTT: Face = Face { name: "MQTT", flag: "--mqtt" };

    fn set(text: &str) -> ListenSet {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn a_port_in_use_is_named_with_its_owner() {
        let first = bind(MQTT, &set("127.0.0.1:0")).unwrap().pop().unwrap().listen().unwrap();
        let address = first.local_addr().unwrap();
        let error = bind(MQTT, &set(&address.to_string())).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("can't listen on {address} for MQTT: the port is in use by ")),
            "{error}"
        );
        assert!(error.contains("--mqtt"), "{error}");
    }

    #[tokio::test]
    async fn an_address_of_another_machine_is_refused() {
        let error = bind(MQTT, &set("192.0.2.1:1883")).unwrap_err();
        assert!(matches!(error, BindError::NoSuchAddress { .. }), "{error}");
    }

    #[tokio::test]
    async fn a_port_alone_serves_ipv4_and_where_there_is_one_ipv6() {
        let bound = bind(MQTT, &set("0")).unwrap();
        assert!(bound.iter().any(|bound| bound.address.is_ipv4()));
        for bound in bound {
            assert!(bound.listen().unwrap().local_addr().unwrap().ip().is_loopback());
        }
    }
}
