//! Rules of `[[listener]]`.

use super::Rule;
use crate::config::{ClientCertificates, Config, Listener, Place, Protocol, Tls, UserFrom};

/// A rule that a listener breaks. The words come behind its name.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListenerRule {
    /// Nowhere to listen.
    #[error("it has no `address`; write IP:PORT, a port alone (this machine only), *:PORT or unix:/PATH")]
    NoAddress,
    /// Two of one name.
    #[error("there are two of this name; give each a `name` of its own")]
    NameTwice,
    /// There are no users, so nobody could come in.
    #[error(
        "nobody could log in, as there are no users. Let everybody in with `allow_anonymous = true`, take names from \
         client certificates (`tls.client_certificates` and `tls.user_from`, or `proxy.user_from`), list users in \
         `mqtt.scram_users_file`, or make a user (`distkv user add NAME --admin --data-dir DIR`)"
    )]
    NobodyCanConnect,
    /// No version of MQTT.
    #[error("`versions` is empty, so that no client could speak to it")]
    NoVersion,
    /// A prefix that can't be one.
    #[error("`mount_point` can't have wildcards or begin with $, and has at most 1024 bytes")]
    MountPoint,
    /// Keys of the other kind of socket.
    #[error("`{0}` is for {1} only")]
    OtherSocket(&'static str, &'static str),
    /// Keys of the other protocol.
    #[error("`websocket` is for protocol = \"websocket\" only")]
    NotWebSocket,
    /// A path that is none.
    #[error("`websocket.path` must begin with /")]
    WebSocketPath,
    /// Zero, where that can't work.
    #[error("`{0}` must be more than zero")]
    Zero(&'static str),
    /// A burst of no rate.
    #[error("`connection_burst` needs a `connection_rate`")]
    BurstWithoutRate,
    /// A file that TLS needs.
    #[error("`tls.{0}` names no file; TLS needs {1}")]
    NoFile(&'static str, &'static str),
    /// Neither version of TLS.
    #[error("`tls.versions` is empty, so that no client could speak to it")]
    NoTlsVersion,
    /// Something that needs client certificates.
    #[error("`tls.{0}` needs `tls.client_certificates` to be \"optional\" or \"required\"")]
    NoClientCertificates(&'static str),
    /// Nobody is a proxy.
    #[error("`proxy.from` is empty; it names the addresses or networks of the proxies")]
    NoProxies,
    /// Neither version of the header.
    #[error("`proxy.versions` must have 1, 2 or both")]
    ProxyVersions,
}

impl Config {
    pub(super) fn check_listeners(&self) -> Result<(), Rule> {
        for (index, listener) in self.listener.iter().enumerate() {
            let name = listener.shown_name();
            let broken = |rule| {
                let number = format!("number {}", index + 1);
                Rule::Listener(if name.is_empty() { number } else { name.clone() }, rule)
            };
            check(listener).map_err(broken)?;
            if self.listener[..index].iter().any(|other| other.shown_name() == name) {
                return Err(broken(ListenerRule::NameTwice));
            }
        }
        Ok(())
    }

    /// While users of the store need not log in: is there somebody for each listener?
    pub(super) fn check_listeners_users(&self) -> Result<(), Rule> {
        let nobody = |listener: &&Listener| !listener.allow_anonymous && !listener.knows_users();
        match self.listener.iter().find(nobody).filter(|_| !self.mqtt.has_users()) {
            Some(listener) => Err(Rule::Listener(listener.shown_name(), ListenerRule::NobodyCanConnect)),
            None => Ok(()),
        }
    }
}

fn check(listener: &Listener) -> Result<(), ListenerRule> {
    use ListenerRule as Rule;
    let default = Listener::default();
    let is_unix = match &listener.address {
        Place::Unset => return Err(Rule::NoAddress),
        Place::Ip(_) => false,
        Place::Unix(_) => true,
    };
    let websocket = &listener.websocket;
    let mount_point = &listener.mount_point;
    let rules = [
        (listener.versions.is_empty(), Rule::NoVersion),
        (
            mount_point.contains(['+', '#', '\0'])
                || mount_point.starts_with('$')
                || mount_point.len() > 1024,
            Rule::MountPoint,
        ),
        (!is_unix && listener.mode != default.mode, Rule::OtherSocket("mode", "Unix sockets")),
        (is_unix && !listener.interface.is_empty(), Rule::OtherSocket("interface", "IP addresses")),
        (listener.protocol == Protocol::Mqtt && *websocket != default.websocket, Rule::NotWebSocket),
        (!websocket.path.is_empty() && !websocket.path.starts_with('/'), Rule::WebSocketPath),
        (websocket.frame_bytes.0 == 0, Rule::Zero("websocket.frame_bytes")),
        (websocket.head_bytes.0 == 0, Rule::Zero("websocket.head_bytes")),
        (listener.backlog == 0, Rule::Zero("backlog")),
        (listener.connection_burst > 0 && listener.connection_rate == 0, Rule::BurstWithoutRate),
    ];
    first(rules)?;
    if let Some(tls) = &listener.tls {
        check_tls(tls)?;
    }
    if let Some(proxy) = &listener.proxy {
        let versions = &proxy.versions;
        first([
            (proxy.from.is_empty(), Rule::NoProxies),
            (
                versions.is_empty() || versions.iter().any(|version| ![1, 2].contains(version)),
                Rule::ProxyVersions,
            ),
        ])?;
    }
    Ok(())
}

fn check_tls(tls: &Tls) -> Result<(), ListenerRule> {
    use ListenerRule as Rule;
    let asks = tls.client_certificates != ClientCertificates::None;
    let is_empty = |path: &std::path::PathBuf| path.as_os_str().is_empty();
    first([
        (is_empty(&tls.certificate), Rule::NoFile("certificate", "a certificate")),
        (is_empty(&tls.key), Rule::NoFile("key", "the certificate's key")),
        (tls.versions.is_empty(), Rule::NoTlsVersion),
        (asks && is_empty(&tls.client_ca), Rule::NoFile("client_ca", "a root for clients' certificates")),
        (!asks && !is_empty(&tls.client_ca), Rule::NoClientCertificates("client_ca")),
        (!asks && !is_empty(&tls.crl), Rule::NoClientCertificates("crl")),
        (!asks && tls.user_from != UserFrom::None, Rule::NoClientCertificates("user_from")),
    ])
}

/// The first rule that is broken.
fn first<const N: usize>(rules: [(bool, ListenerRule); N]) -> Result<(), ListenerRule> {
    rules.into_iter().find(|(broken, _)| *broken).map_or(Ok(()), |(_, rule)| Err(rule))
}
