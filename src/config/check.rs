//! Rules over several keys, and values that can't work whatever else is set.

mod listener;

use distkv_store::path::{Element, Path, PathError};
use distkv_store::ticks::{BadNodeName, NodeName};

pub use self::listener::ListenerRule;
use super::{Config, Durability, Listen, Period};

/// A rule that a configuration breaks.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rule {
    /// Open to others, but there are no users.
    #[error(
        "`mqtt.listen`: {0} can be reached from other machines, and there are no users, so everybody could read and \
         write everything. If that is meant, set `mqtt.allow_anonymous = true`; else make a user first (`distkv user add \
         NAME --admin --data-dir DIR`), or listen on localhost only"
    )]
    OpenToAll(Listen),
    /// A node's name that can't be one.
    #[error("`node`: {0}")]
    Node(BadNodeName),
    /// A mount that can't be one.
    #[error("`mqtt.root`: {0}")]
    Root(PathError),
    /// A mount with an element that can't be a level of a topic.
    #[error("`mqtt.root`: each of its elements must be a string, as the levels of a topic are")]
    RootElement,
    /// Nothing to do.
    #[error("`mqtt.listen` is `none` and there is no `[[listener]]`: there is no way in to serve")]
    NoFace,
    /// A listener that can't be.
    #[error("listener {0}: {1}")]
    Listener(String, ListenerRule),
    /// A face that does not exist yet.
    #[error("`{0}`: this version has no {1}; leave the key out, or set it to its default")]
    NotBuilt(&'static str, &'static str),
    /// A window that can't work.
    #[error("`native.window` is at least 4: below that a stream would wait for ever")]
    NativeWindow,
    /// Files that TLS of the native port needs.
    #[error("`native.tls`: `certificate` and `key` must name files")]
    NativeTls,
    /// A QoS that is none.
    #[error("`mqtt.offer.maximum_qos` is 0, 1 or 2")]
    MaximumQos,
    /// Another server without a port.
    #[error("`mqtt.offer.redirect`: `{0}` is not of the form HOST:PORT")]
    Redirect(String),
    /// Zero, where that can't work.
    #[error("`{0}` must be more than zero")]
    Zero(&'static str),
}

impl Config {
    /// Checks what the types alone can't say.
    pub fn check(&self) -> Result<(), Rule> {
        if self.mqtt.listen.is_none() && self.listener.is_empty() {
            return Err(Rule::NoFace);
        }
        let offer = &self.mqtt.offer;
        if offer.maximum_qos > 2 {
            return Err(Rule::MaximumQos);
        }
        let redirect = offer.redirect.rsplit_once(':');
        let is_place = redirect.is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
        if !offer.redirect.is_empty() && !is_place {
            return Err(Rule::Redirect(offer.redirect.clone()));
        }
        self.check_unbuilt()?;
        self.check_native()?;
        self.check_listeners()?;
        if !self.node.is_empty() {
            NodeName::new(&self.node).map_err(Rule::Node)?;
        }
        let root: Path = self.mqtt.root.parse().map_err(Rule::Root)?;
        if !root.elements().all(|element| matches!(element, Element::Str(_))) {
            return Err(Rule::RootElement);
        }
        let zero = Period::secs(0);
        let positive = [
            ("sync_interval", self.durability != Durability::Interval || self.sync_interval > zero),
            ("store.segment_bytes", self.store.segment_bytes.0 > 0),
            ("store.snapshot_bytes", self.store.snapshot_bytes.0 > 0),
            ("store.value_bytes_max", self.store.value_bytes_max.0 > 0),
            ("http.max_connections", self.http.max_connections > 0),
            ("http.header_timeout", self.http.header_timeout > zero),
        ];
        let zeros = positive
            .map(|(key, holds)| (key, !holds))
            .into_iter()
            .chain(self.limits.zeros())
            .chain(self.native.zeros());
        match zeros.into_iter().find(|(_, zero)| *zero) {
            Some((key, _)) => Err(Rule::Zero(key)),
            None => Ok(()),
        }
    }

    fn check_native(&self) -> Result<(), Rule> {
        if self.native.window < crate::native::wire::WINDOW_MIN {
            return Err(Rule::NativeWindow);
        }
        let named = |path: &std::path::Path| !path.as_os_str().is_empty();
        match &self.native.tls {
            Some(tls) if !named(&tls.certificate) || !named(&tls.key) => Err(Rule::NativeTls),
            _ => Ok(()),
        }
    }

    /// Checks that there are ways in for somebody, and not for everybody by mistake. `logins`: users have to log in.
    pub fn check_users(&self, logins: bool) -> Result<(), Rule> {
        if logins {
            return Ok(());
        }
        match self.mqtt.listen.reachable() {
            Some(listen) if !self.mqtt.allow_anonymous => Err(Rule::OpenToAll(listen)),
            _ => self.check_listeners_users(),
        }
    }

    /// Keys of faces that are not there yet may only say so.
    fn check_unbuilt(&self) -> Result<(), Rule> {
        let cluster = &self.cluster;
        let unbuilt = [
            ("cluster.listen", "cluster yet", cluster.listen.is_none()),
            ("cluster.join", "cluster yet", cluster.join.is_empty()),
            ("cluster.secret_file", "cluster yet", cluster.secret_file.as_os_str().is_empty()),
            ("cluster.init", "cluster yet", !cluster.init),
        ];
        match unbuilt.iter().find(|(_, _, unused)| !unused) {
            Some((key, what, _)) => Err(Rule::NotBuilt(key, what)),
            None => Ok(()),
        }
    }
}
