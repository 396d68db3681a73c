//! The few lines with which a server says that it serves: where, with what data, and how to try it.

use std::fmt;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::Path;

use super::ways::Shown;
use crate::config::{Durability, LogFormat, Period};

/// What is told.
#[derive(Debug)]
pub(super) struct Greeting<'a> {
    /// The node's name.
    pub(super) node: &'a str,
    /// Where MQTT clients connect.
    pub(super) mqtt: &'a [Shown],
    /// Where native clients connect.
    pub(super) native: &'a Shown,
    /// Where health and metrics are.
    pub(super) http: &'a [SocketAddr],
    /// Where the data is.
    pub(super) data_dir: &'a Path,
    /// How it is kept.
    pub(super) durability: Durability,
    /// How often it is synced.
    pub(super) sync_interval: Period,
    /// How many entries were found.
    pub(super) entries: u64,
    /// How many sessions were found.
    pub(super) sessions: u64,
}

impl Greeting<'_> {
    /// Tells it on stdout, or as an event in a log for programs.
    pub(super) fn tell(&self, format: LogFormat) {
        match format {
            // A closed stdout is no reason not to serve.
            LogFormat::Text => drop(io::stdout().write_all(self.to_string().as_bytes())),
            LogFormat::Json => tracing::info!(
                version = env!("CARGO_PKG_VERSION"),
                node = self.node,
                mqtt = %Ways(self.mqtt),
                native = %self.native,
                http = %Addresses(self.http),
                data_dir = %self.data_dir.display(),
                entries = self.entries,
                sessions = self.sessions,
                "serving"
            ),
        }
    }

    /// In one line, for the service manager.
    pub(super) fn status(&self) -> String {
        format!("serving MQTT on {}", Ways(self.mqtt))
    }

    fn promise(&self) -> String {
        match self.durability {
            Durability::Always => "always: what is acknowledged is on disk".to_owned(),
            Durability::Interval => {
                format!(
                    "interval: a crash loses nothing, a power cut at most the last {}",
                    self.sync_interval
                )
            }
            Durability::Memory => "memory: nothing is kept".to_owned(),
        }
    }

    /// The options with which mosquitto's tools reach this server, if it speaks plain MQTT anywhere; none are needed if it is
    /// where they look by themselves.
    fn client_options(&self) -> Option<String> {
        let plain = || self.mqtt.iter().filter(|way| way.speaks.is_empty()).flat_map(|way| &way.addresses);
        let address = plain().find(|address| address.is_ipv4()).or(plain().next())?;
        let mut options = String::new();
        if !address.ip().is_loopback() && !address.ip().is_unspecified() {
            options += &format!(" -h {}", address.ip());
        }
        if address.port() != 1883 {
            options += &format!(" -p {}", address.port());
        }
        Some(options)
    }
}

impl fmt::Display for Greeting<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "DistKV {}, node {}", env!("CARGO_PKG_VERSION"), self.node)?;
        for (index, way) in self.mqtt.iter().enumerate() {
            let face = if index == 0 { "MQTT" } else { "" };
            writeln!(f, "  {face:<8}{way}")?;
        }
        writeln!(f, "  native  {}", self.native)?;
        writeln!(f, "  HTTP    {} (/health/ready, /metrics)", Addresses(self.http))?;
        match self.durability {
            Durability::Memory => writeln!(f, "  data    {}", self.promise())?,
            _ => writeln!(f, "  data    {} ({})", self.data_dir.display(), self.promise())?,
        }
        writeln!(f, "          {} entries, {} sessions", self.entries, self.sessions)?;
        let Some(options) = self.client_options() else { return Ok(()) };
        writeln!(f, "  try it  mosquitto_sub{options} -v -t 'hello/#'")?;
        writeln!(f, "          mosquitto_pub{options} -r -t hello/world -m hi")
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.path {
            Some(path) => f.write_str(path)?,
            None => Addresses(&self.addresses).fmt(f)?,
        }
        if self.speaks.is_empty() { Ok(()) } else { write!(f, " ({})", self.speaks) }
    }
}

/// All ways in, with commas.
struct Ways<'a>(&'a [Shown]);

impl fmt::Display for Ways<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, way) in self.0.iter().enumerate() {
            f.write_str(if i == 0 { "" } else { ", " })?;
            way.fmt(f)?;
        }
        Ok(())
    }
}

/// Addresses with commas, or `none`.
struct Addresses<'a>(&'a [SocketAddr]);

impl fmt::Display for Addresses<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, address) in self.0.iter().enumerate() {
            f.write_str(if i == 0 { "" } else { ", " })?;
            write!(f, "{address}")?;
        }
        if self.0.is_empty() { f.write_str("none") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static NOWHERE: Shown = Shown { addresses: Vec::new(), path: None, speaks: String::new() };

    fn plain(addresses: &[&str]) -> [Shown; 1] {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        [Shown { addresses, ..Shown::default() }]
    }

    fn greeting<'a>(mqtt: &'a [Shown], durability: Durability) -> Greeting<'a> {
        Greeting {
            node: "lab",
            mqtt,
            native: &NOWHERE,
            http: &[],
            data_dir: Path::new("/data"),
            durability,
            sync_interval: Period::millis(200),
            entries: 12,
            sessions: 3,
        }
    }

    #[test]
    fn the_lines_to_try_reach_this_server() {
        let default = plain(&["127.0.0.1:1883", "[::1]:1883"]);
        let text = greeting(&default, Durability::Interval).to_string();
        assert!(text.contains("MQTT    127.0.0.1:1883, [::1]:1883\n"), "{text}");
        assert!(text.contains("HTTP    none"), "{text}");
        assert!(text.contains("mosquitto_pub -r -t hello/world -m hi"), "{text}");
        assert!(
            text.contains("/data (interval: a crash loses nothing, a power cut at most the last 200ms)"),
            "{text}"
        );
        let other = plain(&["192.168.1.5:1884"]);
        let text = greeting(&other, Durability::Always).to_string();
        assert!(text.contains("mosquitto_sub -h 192.168.1.5 -p 1884 -v"), "{text}");
        let all = plain(&["0.0.0.0:1884"]);
        assert!(greeting(&all, Durability::Always).to_string().contains("mosquitto_sub -p 1884 -v"));
    }

    #[test]
    fn every_way_in_has_its_line() {
        let mut ways = plain(&["127.0.0.1:8883"]).to_vec();
        ways[0].speaks = "TLS".to_owned();
        ways.push(Shown { path: Some("/run/mqtt.sock".to_owned()), ..Shown::default() });
        let text = greeting(&ways, Durability::Always).to_string();
        assert!(
            text.contains("  MQTT    127.0.0.1:8883 (TLS)\n          /run/mqtt.sock\n  native"),
            "{text}"
        );
        assert!(!text.contains("mosquitto_sub"), "without plain MQTT these lines would not work: {text}");
        let status = greeting(&ways, Durability::Always).status();
        assert_eq!(status, "serving MQTT on 127.0.0.1:8883 (TLS), /run/mqtt.sock");
    }

    #[test]
    fn without_durability_no_directory_is_named() {
        assert!(!greeting(&[], Durability::Memory).to_string().contains("/data"));
    }
}
