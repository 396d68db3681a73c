//! What differs between two configurations, and which of it a running server can take up.

use toml::Value;

use super::{Config, load};

/// One key whose value differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The key, with its section.
    pub key: String,
    /// Its value before, as TOML.
    pub old: String,
    /// Its value now, as TOML.
    pub new: String,
}

/// The keys whose values differ.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Those that a running server takes up.
    pub live: Vec<Change>,
    /// Those that wait for a restart.
    pub restart: Vec<Change>,
}

/// Is this key taken up by a running server?
fn is_live(key: &str) -> bool {
    key == "log.level" || key.starts_with("limits.") || key.starts_with("mqtt.offer.")
}

impl Config {
    /// What changes from `self` to `new`.
    pub fn changes(&self, new: &Self) -> Changes {
        let text = |value: &Value| value.to_string();
        let mut changes = Changes::default();
        let old = load::flat(&self.to_table());
        let new = load::flat(&new.to_table());
        for ((key, old), (_, new)) in old.iter().zip(&new).filter(|(old, new)| old.1 != new.1) {
            let change = Change { key: key.clone(), old: text(old), new: text(new) };
            if is_live(key) { changes.live.push(change) } else { changes.restart.push(change) }
        }
        changes
    }

    /// `self` with those values of `new` that a running server takes up.
    #[must_use]
    pub fn with_live_values_of(mut self, new: &Self) -> Self {
        self.log.level = new.log.level.clone();
        self.limits = new.limits.clone();
        self.mqtt.offer = new.mqtt.offer.clone();
        self
    }
}
