//! Where a face listens: `IP:PORT`, or a port alone for this machine, or `*:PORT` for every interface; `none` for
//! nowhere.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer, Error as _, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};

/// One address to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listen {
    /// Exactly this one.
    At(SocketAddr),
    /// A port of the loopback interface, by IPv4 and IPv6. Written `1883` or `localhost:1883`.
    Loopback(u16),
    /// A port of every interface, by IPv4 and IPv6. Written `*:1883`.
    Everywhere(u16),
}

/// All addresses of one face; empty if it is turned off (`none`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListenSet(pub Vec<Listen>);

/// A text that is no address to listen on.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadListen {
    /// An IP address or a name alone.
    #[error("`{0}` lacks a port; write {0}:PORT")]
    NoPort(String),
    /// An IPv6 address that needs brackets.
    #[error("`{0}`: write an IPv6 address in brackets, such as [::1]:1883")]
    NoBrackets(String),
    /// A host name.
    #[error("`{0}` is no address; names are not looked up, so write IP:PORT, localhost:PORT or *:PORT")]
    Name(String),
    /// Anything else.
    #[error(
        "`{0}` is no address; write IP:PORT, a port alone (this machine only), *:PORT (every interface) or none"
    )]
    Other(String),
    /// `none` next to addresses.
    #[error("`none` turns the face off and can't stand beside addresses")]
    NoneAndSome,
}

impl Listen {
    /// The sockets to open. Where there are two, one of them may be missing on a machine without that IP version.
    pub fn sockets(self) -> Vec<SocketAddr> {
        let both = |v4: Ipv4Addr, v6: Ipv6Addr, port| vec![(v4, port).into(), (v6, port).into()];
        match self {
            Self::At(address) => vec![address],
            Self::Loopback(port) => both(Ipv4Addr::LOCALHOST, Ipv6Addr::LOCALHOST, port),
            Self::Everywhere(port) => both(Ipv4Addr::UNSPECIFIED, Ipv6Addr::UNSPECIFIED, port),
        }
    }

    /// Can only this machine reach it?
    pub fn is_loopback(self) -> bool {
        match self {
            Self::At(address) => address.ip().to_canonical().is_loopback(),
            Self::Loopback(_) => true,
            Self::Everywhere(_) => false,
        }
    }
}

impl ListenSet {
    /// Is the face turned off?
    pub fn is_none(&self) -> bool {
        self.0.is_empty()
    }

    /// The first address which others than this machine can reach.
    pub fn reachable(&self) -> Option<Listen> {
        self.0.iter().copied().find(|listen| !listen.is_loopback())
    }

    /// Reads addresses, each of which may be a list with commas.
    fn from_texts<'a>(texts: impl Iterator<Item = &'a str>) -> Result<Self, BadListen> {
        let mut set = Vec::new();
        let mut none = false;
        for text in texts.flat_map(|text| text.split(',')).map(str::trim).filter(|text| !text.is_empty()) {
            if text.eq_ignore_ascii_case("none") {
                none = true;
            } else {
                set.push(text.parse()?);
            }
        }
        if none && !set.is_empty() {
            return Err(BadListen::NoneAndSome);
        }
        Ok(Self(set))
    }
}

impl FromStr for Listen {
    type Err = BadListen;

    fn from_str(text: &str) -> Result<Self, BadListen> {
        let owned = || text.to_owned();
        if let Ok(address) = text.parse() {
            return Ok(Self::At(address));
        }
        if let Ok(port) = text.parse() {
            return Ok(Self::Loopback(port));
        }
        match text.parse::<IpAddr>() {
            Ok(IpAddr::V4(_)) => return Err(BadListen::NoPort(owned())),
            Ok(IpAddr::V6(_)) => return Err(BadListen::NoBrackets(owned())),
            Err(_) => {}
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => (host, port.parse::<u16>().ok()),
            None if text.eq_ignore_ascii_case("localhost") => return Err(BadListen::NoPort(owned())),
            None => return Err(BadListen::Other(owned())),
        };
        match (host, port) {
            ("*", Some(port)) => Ok(Self::Everywhere(port)),
            (host, Some(port)) if host.eq_ignore_ascii_case("localhost") => Ok(Self::Loopback(port)),
            (host, Some(_)) if !host.is_empty() && !host.contains(':') => Err(BadListen::Name(owned())),
            _ => Err(BadListen::Other(owned())),
        }
    }
}

impl FromStr for ListenSet {
    type Err = BadListen;

    fn from_str(text: &str) -> Result<Self, BadListen> {
        Self::from_texts(std::iter::once(text))
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(address) => write!(f, "{address}"),
            Self::Loopback(port) => write!(f, "localhost:{port}"),
            Self::Everywhere(port) => write!(f, "*:{port}"),
        }
    }
}

impl fmt::Display for ListenSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_none() {
            return f.write_str("none");
        }
        for (i, listen) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            write!(f, "{comma}{listen}")?;
        }
        Ok(())
    }
}

impl Serialize for ListenSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(Listen::to_string))
    }
}

impl<'de> Deserialize<'de> for ListenSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextOrList)
    }
}

/// Takes `"none"`, `"1883"` and `["1883", "192.0.2.1:1883"]` alike.
struct TextOrList;

impl<'de> Visitor<'de> for TextOrList {
    type Value = ListenSet;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an address such as \"127.0.0.1:1883\", a list of addresses, or \"none\"")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<ListenSet, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_i64<E: serde::de::Error>(self, port: i64) -> Result<ListenSet, E> {
        port.to_string().parse().map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<ListenSet, A::Error> {
        let mut texts = Vec::<String>::new();
        while let Some(text) = seq.next_element()? {
            texts.push(text);
        }
        ListenSet::from_texts(texts.iter().map(String::as_str)).map_err(A::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_prints_as_it_is_written() {
        for text in ["127.0.0.1:1883", "[::1]:1883", "localhost:1883", "*:1883", "none", "localhost:1,*:2"] {
            assert_eq!(text.parse::<ListenSet>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_port_alone_is_this_machine_only() {
        let listen: Listen = "1884".parse().unwrap();
        assert!(listen.is_loopback());
        assert_eq!(
            listen.sockets(),
            ["127.0.0.1:1884".parse::<SocketAddr>().unwrap(), "[::1]:1884".parse().unwrap()]
        );
    }

    #[test]
    fn only_loopback_addresses_count_as_loopback() {
        for text in ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert!(text.parse::<Listen>().unwrap().is_loopback(), "{text}");
        }
        for text in ["0.0.0.0:1", "[::]:1", "192.168.0.1:1", "*:1"] {
            assert!(!text.parse::<Listen>().unwrap().is_loopback(), "{text}");
        }
    }

    #[test]
    fn a_wrong_address_says_what_it_lacks() {
        let error = |text: &str| text.parse::<ListenSet>().unwrap_err();
        assert_eq!(error("127.0.0.1"), BadListen::NoPort("127.0.0.1".to_owned()));
        assert_eq!(error("localhost"), BadListen::NoPort("localhost".to_owned()));
        assert_eq!(error("::1"), BadListen::NoBrackets("::1".to_owned()));
        assert_eq!(error("broker.example:1883"), BadListen::Name("broker.example:1883".to_owned()));
        for text in ["99999", "127.0.0.1:99999", "all", ":1883", "*:", "a:b:c"] {
            assert_eq!(error(text), BadListen::Other(text.to_owned()));
        }
        assert_eq!(error("none,1883"), BadListen::NoneAndSome);
    }
}
