//! `[native]`: the port for native clients.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Listen, ListenSet, Period, Size, Tls};
use crate::native;

/// `[native]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Native {
    /// Where to listen.
    pub listen: ListenSet,
    /// Let clients of other machines in where nobody needs to log in.
    pub allow_anonymous: bool,
    /// Encryption. Without it, the port is plain.
    pub tls: Option<Tls>,
    /// Connections at a time; further ones wait.
    pub max_connections: u32,
    /// The greatest window of a stream, in messages.
    pub window: u64,
    /// The longest message.
    pub message_bytes: Size,
    /// The bytes of all unfinished long messages together.
    pub unfinished_bytes: Size,
    /// Streams of one connection at a time.
    pub streams: usize,
    /// Changes that may wait for the reader of one watch.
    pub watch_events: usize,
    /// The time a client has for logging in.
    pub login_timeout: Period,
    /// The time after which a client that takes nothing is gone.
    pub write_stall: Period,
    /// Offer the method `_test`, by which a name is enough.
    pub test_users: bool,
    /// The directory below which `save` and `log` may write; empty: nowhere.
    pub save_dir: PathBuf,
}

impl Default for Native {
    fn default() -> Self {
        let options = native::Options::default();
        let size = |bytes: usize| Size(bytes as u64);
        Self {
            listen: ListenSet(vec![Listen::Loopback(native::wire::PORT)]),
            allow_anonymous: options.allow_anonymous,
            tls: None,
            max_connections: 1000,
            window: options.window,
            message_bytes: size(options.message_bytes),
            unfinished_bytes: size(options.unfinished_bytes),
            streams: options.streams,
            watch_events: options.watch_events,
            login_timeout: Period(options.login_timeout),
            write_stall: Period(options.write_stall),
            test_users: false,
            save_dir: PathBuf::new(),
        }
    }
}

impl Native {
    /// The same for the port itself.
    pub fn options(&self) -> native::Options {
        native::Options {
            window: self.window,
            message_bytes: self.message_bytes.as_usize(),
            unfinished_bytes: self.unfinished_bytes.as_usize(),
            streams: self.streams,
            watch_events: self.watch_events,
            login_timeout: self.login_timeout.0,
            write_stall: self.write_stall.0,
            allow_anonymous: self.allow_anonymous,
        }
    }

    /// Where `save` and `log` may write.
    pub fn save_dir(&self) -> Option<PathBuf> {
        (!self.save_dir.as_os_str().is_empty()).then(|| self.save_dir.clone())
    }

    /// The keys that must not be zero, each with whether it is.
    pub(super) fn zeros(&self) -> [(&'static str, bool); 7] {
        let zero = Period::secs(0);
        [
            ("native.max_connections", self.max_connections == 0),
            ("native.message_bytes", self.message_bytes.0 == 0),
            ("native.unfinished_bytes", self.unfinished_bytes.0 == 0),
            ("native.streams", self.streams == 0),
            ("native.watch_events", self.watch_events == 0),
            ("native.login_timeout", self.login_timeout == zero),
            ("native.write_stall", self.write_stall == zero),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_of_the_port() {
        assert_eq!(format!("{:?}", Native::default().options()), format!("{:?}", native::Options::default()));
    }
}
