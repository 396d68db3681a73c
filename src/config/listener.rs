//! `[[listener]]`: the ways in beside `mqtt.listen`, each with an address, encryption and limits of its own.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use distkv_broker::transport::proxy::Network;
use serde::{Deserialize, Serialize};

use super::{Listen, Size};

/// One listener.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Listener {
    /// Its name in logs and metrics; empty: its address.
    pub name: String,
    /// Where it is.
    pub address: Place,
    /// The permissions of a Unix socket.
    pub mode: Mode,
    /// The network interface that it is bound to; empty: any.
    pub interface: String,
    /// Connections that the system completes before they are accepted.
    pub backlog: u32,
    /// What is spoken.
    pub protocol: Protocol,
    /// The versions of MQTT that are accepted.
    pub versions: Vec<MqttVersion>,
    /// Let in who has no user name that was checked.
    pub allow_anonymous: bool,
    /// A prefix of all topics of its clients.
    pub mount_point: String,
    /// Connections at a time; 0: no limit of its own.
    pub max_connections: usize,
    /// Connections accepted in a second; 0: no limit.
    pub connection_rate: u32,
    /// So many of them at once after a pause; 0: as many as in a second.
    pub connection_burst: u32,
    /// The longest packet; 0: that of `limits`.
    pub packet_bytes: Size,
    /// The longest keep alive in seconds; 0: what clients want.
    pub max_keep_alive: u16,
    /// With protocol `websocket`: its rules.
    pub websocket: WebSocket,
    /// Encryption.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// Proxies that tell whose connection it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy: Option<Proxy>,
}

/// Where a listener is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Text", into = "String")]
pub enum Place {
    /// Nowhere yet.
    #[default]
    Unset,
    /// By IP.
    Ip(Listen),
    /// A Unix socket. Written `unix:/run/distkv/mqtt.sock`.
    Unix(PathBuf),
}

/// A text, or a port as a number.
#[derive(Deserialize)]
#[serde(untagged)]
enum Text {
    Words(String),
    Port(u16),
}

/// Permissions of a file, in octal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mode(pub u32);

/// What is spoken at a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// MQTT.
    Mqtt,
    /// MQTT within WebSocket.
    WebSocket,
}

/// A version of MQTT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MqttVersion {
    /// MQTT 3.1
    #[serde(rename = "3.1")]
    V3_1,
    /// MQTT 3.1.1
    #[serde(rename = "3.1.1")]
    V3_1_1,
    /// MQTT 5
    #[serde(rename = "5")]
    V5,
}

/// `[listener.websocket]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WebSocket {
    /// The only path; empty: any.
    pub path: String,
    /// The origins of pages that may connect; empty: all.
    pub origins: Vec<String>,
    /// The longest frame.
    pub frame_bytes: Size,
    /// The longest head of a request.
    pub head_bytes: Size,
}

/// `[listener.tls]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// The file with the certificate and those between it and a root.
    pub certificate: PathBuf,
    /// The file with the key.
    pub key: PathBuf,
    /// The versions that are spoken.
    pub versions: Vec<TlsVersion>,
    /// The cipher suites; empty: all.
    pub suites: Vec<String>,
    /// The protocols (ALPN); empty: that of the listener's protocol.
    pub alpn: Vec<String>,
    /// Are clients asked for a certificate?
    pub client_certificates: ClientCertificates,
    /// The file with the roots of clients' certificates.
    pub client_ca: PathBuf,
    /// The file with lists of revoked certificates; empty: none.
    pub crl: PathBuf,
    /// What of a client's certificate becomes his user name.
    pub user_from: UserFrom,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TlsVersion {
    /// TLS 1.2
    #[serde(rename = "1.2")]
    V1_2,
    /// TLS 1.3
    #[serde(rename = "1.3")]
    V1_3,
}

/// Are clients asked for a certificate?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientCertificates {
    /// No.
    None,
    /// Yes, and one without is let in.
    Optional,
    /// Yes, and one without is refused.
    Required,
}

/// What of a client's certificate becomes his user name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UserFrom {
    /// Nothing.
    None,
    /// The common name.
    Cn,
    /// The whole subject.
    Subject,
}

/// `[listener.proxy]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Proxy {
    /// The addresses and networks of the proxies; `unix` is whoever connects by a Unix socket.
    pub from: Vec<Trusted>,
    /// The versions of the header that are taken.
    pub versions: Vec<u8>,
    /// What the proxy says of a client's certificate that becomes his user name: nothing, or the common name.
    pub user_from: ProxyUserFrom,
}

/// What of a proxy's word becomes the user name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProxyUserFrom {
    /// Nothing.
    None,
    /// The common name of the client's certificate.
    Cn,
}

/// Whose headers are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Trusted {
    /// Those of a network.
    Network(Network),
    /// Those of whoever connects by a Unix socket.
    Unix,
}

/// A text that is not what its key takes.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadText(String);

impl Default for Listener {
    fn default() -> Self {
        Self {
            name: String::new(),
            address: Place::Unset,
            mode: Mode(0o660),
            interface: String::new(),
            backlog: 4096,
            protocol: Protocol::Mqtt,
            versions: vec![MqttVersion::V3_1, MqttVersion::V3_1_1, MqttVersion::V5],
            allow_anonymous: false,
            mount_point: String::new(),
            max_connections: 0,
            connection_rate: 0,
            connection_burst: 0,
            packet_bytes: Size(0),
            max_keep_alive: 0,
            websocket: WebSocket::default(),
            tls: None,
            proxy: None,
        }
    }
}

impl Default for WebSocket {
    fn default() -> Self {
        Self {
            path: String::new(),
            origins: Vec::new(),
            frame_bytes: Size::mib(16),
            head_bytes: Size::kib(8),
        }
    }
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            certificate: PathBuf::new(),
            key: PathBuf::new(),
            versions: vec![TlsVersion::V1_2, TlsVersion::V1_3],
            suites: Vec::new(),
            alpn: Vec::new(),
            client_certificates: ClientCertificates::None,
            client_ca: PathBuf::new(),
            crl: PathBuf::new(),
            user_from: UserFrom::None,
        }
    }
}

impl Default for Proxy {
    fn default() -> Self {
        Self { from: Vec::new(), versions: vec![1, 2], user_from: ProxyUserFrom::None }
    }
}

impl Listener {
    /// Its name, or its address if it was given none.
    pub fn shown_name(&self) -> String {
        if self.name.is_empty() { self.address.to_string() } else { self.name.clone() }
    }

    /// Can it get a user's name from somewhere, which nobody can make up?
    pub(super) fn knows_users(&self) -> bool {
        let by_tls = self.tls.as_ref().is_some_and(|tls| {
            tls.client_certificates != ClientCertificates::None && tls.user_from != UserFrom::None
        });
        by_tls || self.proxy.as_ref().is_some_and(|proxy| proxy.user_from != ProxyUserFrom::None)
    }
}

impl FromStr for Place {
    type Err = BadText;

    fn from_str(text: &str) -> Result<Self, BadText> {
        match text.strip_prefix("unix:") {
            Some("") => Err(BadText("`unix:` lacks a path; write unix:/PATH".to_owned())),
            Some(path) => Ok(Self::Unix(PathBuf::from(path))),
            None if text.is_empty() => Ok(Self::Unset),
            None if text.starts_with(['/', '.']) => {
                Err(BadText(format!("`{text}`: write a Unix socket as unix:{text}")))
            }
            None => text.parse().map(Self::Ip).map_err(|error: super::BadListen| BadText(error.to_string())),
        }
    }
}

impl TryFrom<Text> for Place {
    type Error = BadText;

    fn try_from(text: Text) -> Result<Self, BadText> {
        match text {
            Text::Words(words) => words.parse(),
            Text::Port(port) => Ok(Self::Ip(Listen::Loopback(port))),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unset => Ok(()),
            Self::Ip(listen) => listen.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl From<Place> for String {
    fn from(place: Place) -> Self {
        place.to_string()
    }
}

impl TryFrom<String> for Mode {
    type Error = BadText;

    fn try_from(text: String) -> Result<Self, BadText> {
        let mode = u32::from_str_radix(&text, 8).ok().filter(|mode| *mode <= 0o777 && text.len() >= 3);
        let bad = || BadText(format!("`{text}` is no file mode; write it in octal, such as 0660"));
        mode.map(Self).ok_or_else(bad)
    }
}

impl From<Mode> for String {
    fn from(mode: Mode) -> Self {
        format!("{:04o}", mode.0)
    }
}

impl TryFrom<String> for Trusted {
    type Error = BadText;

    fn try_from(text: String) -> Result<Self, BadText> {
        if text == "unix" {
            return Ok(Self::Unix);
        }
        text.parse()
            .map(Self::Network)
            .map_err(|error: distkv_broker::transport::proxy::BadNetwork| BadText(error.to_string()))
    }
}

impl From<Trusted> for String {
    fn from(from: Trusted) -> Self {
        match from {
            Trusted::Network(network) => network.to_string(),
            Trusted::Unix => "unix".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_prints_as_it_is_written() {
        for text in ["", "127.0.0.1:8883", "*:8883", "localhost:1", "unix:/run/distkv.sock", "unix:mqtt.sock"]
        {
            assert_eq!(text.parse::<Place>().unwrap().to_string(), text);
        }
        assert_eq!("8883".parse::<Place>().unwrap(), Place::Ip(Listen::Loopback(8883)));
    }

    #[test]
    fn a_wrong_text_says_how_to_write_it() {
        let error = |text: &str| text.parse::<Place>().unwrap_err().to_string();
        assert!(error("/run/distkv.sock").contains("write a Unix socket as unix:/run/distkv.sock"));
        assert!(error("unix:").contains("unix:/PATH"));
        assert!(error("broker.example:1").contains("names are not looked up"));
        for mode in ["660", "0660", "0600", "777"] {
            assert!(Mode::try_from(mode.to_owned()).is_ok(), "{mode}");
        }
        for mode in ["", "1", "0888", "1777", "rw-"] {
            assert!(Mode::try_from(mode.to_owned()).is_err(), "{mode}");
        }
        assert!(Trusted::try_from("unix".to_owned()).is_ok());
        assert!(Trusted::try_from("10.0.0.0/40".to_owned()).is_err());
    }
}
