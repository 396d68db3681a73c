//! Where to connect, as whom, and on which terms.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::error::Error;
use crate::native::wire;

/// Where and how to connect.
///
/// ```
/// use distkv::client::{Login, Options};
/// let options = Options::new("db.example").login(Login::password("joe", "secret"));
/// ```
#[derive(Clone, Debug)]
pub struct Options {
    pub(super) server: String,
    pub(super) login: Login,
    pub(super) tls: Option<Tls>,
    pub(super) timeout: Duration,
    pub(super) reconnect: bool,
    pub(super) window: u64,
    pub(super) message_max: usize,
}

impl Options {
    /// For the server at `HOST`, `HOST:PORT` or `[ADDRESS]:PORT`; the port is 27586 if it is not said.
    ///
    /// Without more: no TLS, no login, 30 seconds for an answer, and a lost connection is made again.
    pub fn new(server: &str) -> Self {
        Self {
            server: server.to_owned(),
            login: Login::None,
            tls: None,
            timeout: Duration::from_secs(30),
            reconnect: true,
            window: 256,
            message_max: 65 << 20,
        }
    }

    /// Who we are.
    #[must_use]
    pub fn login(self, login: Login) -> Self {
        Self { login, ..self }
    }

    /// Connect by TLS.
    #[must_use]
    pub fn tls(self, tls: Tls) -> Self {
        Self { tls: Some(tls), ..self }
    }

    /// How long to wait for the connection and for each answer; also how long a call waits for a connection that is being
    /// made again. Streams may be silent for as long as they like.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Whether a lost connection is made again. Calls which only read, and watches, then go on by themselves; a write whose answer
    /// was lost says so, as it may have been done or not.
    #[must_use]
    pub fn reconnect(self, reconnect: bool) -> Self {
        Self { reconnect, ..self }
    }

    /// How many messages of one stream may be under way, at least 4. The server may set it lower.
    #[must_use]
    pub fn window(self, window: u32) -> Self {
        Self { window: u64::from(window).max(wire::WINDOW_MIN), ..self }
    }

    /// The longest message that is taken from the server, in bytes. A longer one ends the connection.
    #[must_use]
    pub fn message_max(self, bytes: usize) -> Self {
        Self { message_max: bytes, ..self }
    }

    /// Host and port.
    pub(super) fn address(&self) -> Result<(String, u16), Error> {
        let invalid = |what: &str| Error::Invalid(format!("`{}` is no HOST:PORT: {what}", self.server));
        let (host, port) = match self.server.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, "")) => (host, None),
            Some((host, rest)) => {
                (host, Some(rest.strip_prefix(':').ok_or_else(|| invalid("a port comes after `]:`"))?))
            }
            // An IPv6 address has more colons than one.
            None if self.server.matches(':').count() > 1 => (self.server.as_str(), None),
            None => match self.server.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (self.server.as_str(), None),
            },
        };
        let port = match port {
            Some(port) => port.parse().map_err(|_| invalid("a port is a number from 1 to 65535"))?,
            None => wire::PORT,
        };
        if host.is_empty() {
            return Err(invalid("the host is missing"));
        }
        Ok((host.to_owned(), port))
    }
}

/// Who we are, and how we prove it.
#[derive(Clone, Debug)]
pub enum Login {
    /// Nobody in particular, for a server that lets everybody in.
    None,
    /// By the method `root`, which asks for no proof: whoever reaches such a server is its only user.
    Root,
    /// By the method `_test`, for tests: the name alone.
    Test(String),
    /// By the method `password`; a device token counts as a password.
    Password {
        /// The user's name.
        user: String,
        /// The password.
        password: Secret,
    },
}

impl Login {
    /// By name and password.
    pub fn password(user: impl Into<String>, password: impl Into<String>) -> Self {
        Self::Password { user: user.into(), password: Secret(password.into()) }
    }

    /// The method's name on the wire.
    pub(super) fn method(&self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Root => Some("root"),
            Self::Test(_) => Some("_test"),
            Self::Password { .. } => Some("password"),
        }
    }

    pub(super) fn user(&self) -> &str {
        match self {
            Self::None => "nobody",
            Self::Root => "*",
            Self::Test(user) | Self::Password { user, .. } => user,
        }
    }
}

/// A password. It is never shown.
#[derive(Clone)]
pub struct Secret(pub(super) String);

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl FromStr for Secret {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// TLS: whom to trust.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// A PEM file with the certificates of the authorities to trust; none: those of the system.
    pub ca: Option<PathBuf>,
    /// The name that the server's certificate must have; none: the host that we connect to.
    pub name: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_a_host_and_maybe_a_port() {
        for (text, host, port) in [
            ("db", "db", 27586),
            ("db:1", "db", 1),
            ("127.0.0.1:7", "127.0.0.1", 7),
            ("::1", "::1", 27586),
            ("[::1]", "::1", 27586),
            ("[::1]:7", "::1", 7),
        ] {
            assert_eq!(Options::new(text).address().unwrap(), (host.to_owned(), port), "{text}");
        }
        for text in ["", ":7", "db:", "db:x", "db:70000", "[::1]7"] {
            assert!(Options::new(text).address().is_err(), "{text}");
        }
    }

    #[test]
    fn a_password_is_not_shown() {
        let shown = format!("{:?}", Options::new("db").login(Login::password("joe", "hush")));
        assert!(shown.contains("joe") && !shown.contains("hush"), "{shown}");
    }
}
