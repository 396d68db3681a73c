//! The ways in for MQTT clients: `mqtt.listen` and each `[[listener]]`, from the configuration to sockets and their rules.
//!
//! They are opened in two steps: taken before the data is read, so that a port in use or a wrong certificate shows at once; and
//! listened on when there is somebody to serve clients.

use std::net::SocketAddr;
use std::sync::Arc;

use distkv_broker::transport::ListeningSocket;
use distkv_broker::transport::proxy::ProxyOptions;
use distkv_broker::transport::websocket::WebSocketOptions;
use distkv_broker::{ConnectionRate, ListenerConfig, Versions};

use super::bind::{self, Bound, BoundUnix, Face, Options, UnixFile};
use super::certificates::Certificates;
use super::native;
use crate::config::{self, Config, MqttVersion, Place, Protocol, ProxyUserFrom, Trusted};

const MQTT: &str = "MQTT";

/// All ways in, with their addresses taken.
#[derive(Debug)]
pub(super) struct Taken(Vec<Way>);

/// One of them.
#[derive(Debug)]
struct Way {
    config: ListenerConfig,
    sockets: Sockets,
}

#[derive(Debug)]
enum Sockets {
    Ip(Vec<Bound>),
    Unix(BoundUnix),
}

/// All ways in, listening.
#[derive(Debug, Default)]
pub(super) struct Ways {
    /// Each socket with its rules.
    pub(super) sockets: Vec<(ListeningSocket, ListenerConfig)>,
    /// What is said of them.
    pub(super) shown: Vec<Shown>,
    /// Removed when dropped.
    _files: Vec<UnixFile>,
}

/// A way in, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Shown {
    /// Where it can be reached by IP.
    pub(super) addresses: Vec<SocketAddr>,
    /// Or its Unix socket.
    pub(super) path: Option<String>,
    /// What is spoken, if it is not just MQTT: `WebSocket over TLS`.
    pub(super) speaks: String,
}

impl Shown {
    /// What is said of the native port.
    pub(super) fn native(open: &native::Open) -> Self {
        let speaks = if open.is_encrypted() { "TLS".to_owned() } else { String::new() };
        Self { addresses: open.addresses(), path: None, speaks }
    }
}

impl Taken {
    /// Reads the files of TLS, and takes all addresses.
    pub(super) fn new(config: &Config, certificates: &Certificates) -> anyhow::Result<Self> {
        let mut ways = Vec::new();
        if !config.mqtt.listen.is_none() {
            let face = Face::new(MQTT, "--mqtt");
            let sockets = Sockets::Ip(bind::bind(&face, &config.mqtt.listen)?);
            let listener = Arc::new(distkv_broker::Listener {
                allow_anonymous: config.mqtt.allow_anonymous,
                // What others can reach is never open by itself.
                open_without_users: config.mqtt.listen.reachable().is_none(),
                ..distkv_broker::Listener::default()
            });
            ways.push(Way { config: ListenerConfig { listener, ..ListenerConfig::default() }, sockets });
        }
        for listener in &config.listener {
            ways.push(take(listener, certificates)?);
        }
        Ok(Self(ways))
    }

    /// From now on clients can connect.
    pub(super) fn listen(self) -> anyhow::Result<Ways> {
        let mut ways = Ways::default();
        for Way { config, sockets } in self.0 {
            let mut shown = Shown { speaks: speaks(&config), ..Shown::default() };
            match sockets {
                Sockets::Ip(all) => {
                    for bound in all {
                        let socket = bound.listen()?;
                        shown.addresses.extend(socket.local_addr());
                        ways.sockets.push((socket.into(), config.clone()));
                    }
                }
                Sockets::Unix(bound) => {
                    let (socket, file) = bound.listen()?;
                    shown.path = Some(file.shown());
                    ways._files.push(file);
                    ways.sockets.push((socket.into(), config));
                }
            }
            ways.shown.push(shown);
        }
        Ok(ways)
    }
}

/// What is spoken, in words; nothing for plain MQTT.
fn speaks(config: &ListenerConfig) -> String {
    let mut words = match (&config.websocket, &config.tls) {
        (Some(_), Some(_)) => "WebSocket over TLS".to_owned(),
        (Some(_), None) => "WebSocket".to_owned(),
        (None, Some(_)) => "TLS".to_owned(),
        (None, None) => String::new(),
    };
    if config.proxy.is_some() {
        words += if words.is_empty() { "behind a proxy" } else { ", behind a proxy" };
    }
    words
}

fn take(listener: &config::Listener, certificates: &Certificates) -> anyhow::Result<Way> {
    let name = listener.shown_name();
    let tls = match &listener.tls {
        Some(tls) => Some(certificates.open(&name, tls, listener.protocol)?),
        None => None,
    };
    let face = Face::new(&format!("listener {name}"), "its key `address`:");
    let options = Options { backlog: listener.backlog, interface: &listener.interface };
    let sockets = match &listener.address {
        Place::Ip(listen) => Sockets::Ip(bind::bind_one(&face, *listen, &options)?),
        Place::Unix(path) => Sockets::Unix(bind::bind_unix(&face, path, listener.mode.0, listener.backlog)?),
        // The configuration was checked.
        Place::Unset => Sockets::Ip(Vec::new()),
    };
    let config = ListenerConfig {
        listener: Arc::new(for_broker(listener, name)),
        proxy: listener.proxy.as_ref().map(proxy),
        tls,
        websocket: (listener.protocol == Protocol::WebSocket).then(|| websocket(&listener.websocket)),
    };
    Ok(Way { config, sockets })
}

fn for_broker(listener: &config::Listener, name: String) -> distkv_broker::Listener {
    let speaks = |version| listener.versions.contains(&version);
    let rate = listener.connection_rate;
    let burst = if listener.connection_burst == 0 { rate } else { listener.connection_burst };
    distkv_broker::Listener {
        name,
        versions: Versions {
            v3_1: speaks(MqttVersion::V3_1),
            v3_1_1: speaks(MqttVersion::V3_1_1),
            v5: speaks(MqttVersion::V5),
        },
        allow_anonymous: listener.allow_anonymous,
        open_without_users: false,
        mount_point: (!listener.mount_point.is_empty()).then(|| listener.mount_point.as_str().into()),
        max_connections: (listener.max_connections > 0).then_some(listener.max_connections),
        max_packet_bytes: (listener.packet_bytes.0 > 0).then(|| listener.packet_bytes.as_usize()),
        max_keep_alive: (listener.max_keep_alive > 0).then_some(listener.max_keep_alive),
        connection_rate: (rate > 0).then_some(ConnectionRate { per_second: rate, burst }),
        ..distkv_broker::Listener::default()
    }
}

fn proxy(proxy: &config::Proxy) -> ProxyOptions {
    ProxyOptions {
        v1: proxy.versions.contains(&1),
        v2: proxy.versions.contains(&2),
        from: proxy
            .from
            .iter()
            .filter_map(|trusted| match trusted {
                Trusted::Network(network) => Some(*network),
                Trusted::Unix => None,
            })
            .collect(),
        from_unix: proxy.from.contains(&Trusted::Unix),
        identity: proxy.user_from == ProxyUserFrom::Cn,
    }
}

fn websocket(websocket: &config::WebSocket) -> WebSocketOptions {
    WebSocketOptions {
        path: (!websocket.path.is_empty()).then(|| websocket.path.clone()),
        origins: websocket.origins.clone(),
        frame_bytes: websocket.frame_bytes.as_usize(),
        head_bytes: websocket.head_bytes.as_usize(),
    }
}

/// Reads what the listeners need and forgets it again: for a check of the configuration.
pub(super) fn check(config: &Config) -> anyhow::Result<()> {
    let certificates = Certificates::default();
    for listener in &config.listener {
        if let Some(tls) = &listener.tls {
            certificates.open(&listener.shown_name(), tls, listener.protocol)?;
        }
    }
    Ok(())
}
