//! Puts a configuration together: file, environment, command line; and names what is wrong, where.

use std::path::Path;

use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::error::{ConfigError, Origin};
use super::{Config, ListenSet, Listener, Proxy, Tls};

/// The variables that set keys begin with this; then the key in capitals, with `__` for the dot.
const ENV_PREFIX: &str = "DISTKV_";

/// What the client verbs of the command line read from the environment.
const CLIENT_VARIABLES: &[&str] =
    &["SERVER", "USER", "PASSWORD", "PASSWORD_FILE", "CA", "TLS", "CLIENT_CONFIG", "HTTP"];

/// One value from outside the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// Where it was given.
    pub origin: Origin,
    /// The key, with its section.
    pub key: String,
    /// The value as text: as in TOML, but strings need no quotes and lists no brackets.
    pub value: String,
}

impl Override {
    /// A value from the command line; `flag` is how it was given there (`--mqtt`).
    pub fn flag(flag: &str, key: &str, value: impl Into<String>) -> Self {
        Self { origin: Origin::Flag(flag.to_owned()), key: key.to_owned(), value: value.into() }
    }

    /// The values among the variables of an environment.
    ///
    /// `DISTKV_CONFIG` names the file itself and is no key, nor are the client's own (`DISTKV_SERVER`...). Variables that Kubernetes sets for a service which is named
    /// `distkv` (`DISTKV_SERVICE_HOST`, `DISTKV_PORT_1883_TCP`...) are none either.
    pub fn from_env(variables: impl Iterator<Item = (String, String)>) -> Vec<Self> {
        let mut all: Vec<Self> = variables
            .filter_map(|(name, value)| {
                let rest = name.strip_prefix(ENV_PREFIX)?;
                let foreign = rest == "CONFIG"
                    || CLIENT_VARIABLES.contains(&rest)
                    || rest == "PORT"
                    || rest.starts_with("PORT_")
                    || rest.starts_with("SERVICE_");
                let key = rest.split("__").map(str::to_ascii_lowercase).collect::<Vec<_>>().join(".");
                (!foreign).then_some(Self { origin: Origin::Env(name), key, value })
            })
            .collect();
        all.sort_by(|a, b| a.key.cmp(&b.key));
        all
    }
}

/// The file (if there is one), then `overrides` in their order.
pub fn load(file: Option<&Path>, overrides: &[Override]) -> Result<Config, ConfigError> {
    let mut listen_is_given = overrides.iter().any(|change| change.key == LISTEN);
    let mut config = match file {
        None => Config::default(),
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .map_err(|error| ConfigError::Unreadable { path: path.to_owned(), error })?;
            listen_is_given |= gives_listen(&text);
            parse(&text).map_err(|error| error.in_file(path))?
        }
    };
    for change in overrides {
        config = apply(&config, change)?;
    }
    Ok(settle_listen(config, listen_is_given))
}

pub(super) fn from_toml(text: &str) -> Result<Config, ConfigError> {
    Ok(settle_listen(parse(text)?, gives_listen(text)))
}

/// The key whose default depends on whether there are listeners.
const LISTEN: &str = "mqtt.listen";

/// Who lists his listeners wants these, and no other one that he does not know of.
fn settle_listen(mut config: Config, listen_is_given: bool) -> Config {
    if !config.listener.is_empty() && !listen_is_given {
        config.mqtt.listen = ListenSet::default();
    }
    config
}

/// Does a file say where plain MQTT listens?
fn gives_listen(text: &str) -> bool {
    let Ok(table) = toml::from_str::<Table>(text) else { return false };
    table.get("mqtt").and_then(|mqtt| mqtt.get("listen")).is_some()
}

fn parse(text: &str) -> Result<Config, ConfigError> {
    let line =
        |error: &toml::de::Error| Origin::Line(line_of(text, error.span().map_or(0, |span| span.start)));
    let one_line = |error: &toml::de::Error| error.message().trim().replace('\n', "; ");
    let document = toml::Deserializer::parse(text)
        .map_err(|error| ConfigError::Syntax { origin: line(&error), problem: one_line(&error) })?;
    serde_path_to_error::deserialize(document).map_err(|error| {
        let key = key_of(error.path());
        let inner = error.inner();
        wrong_key_or_value(line(inner), key, one_line(inner))
    })
}

/// The configuration with one key changed.
fn apply(config: &Config, change: &Override) -> Result<Config, ConfigError> {
    let unknown = || unknown_key(change.origin.clone(), change.key.clone());
    let mut table = config.to_table();
    let (section, name) = match change.key.split_once('.') {
        Some((section, name)) => (table.get_mut(section).and_then(Value::as_table_mut), name),
        None => (Some(&mut table), change.key.as_str()),
    };
    let slot = section.and_then(|section| section.get_mut(name)).ok_or_else(unknown)?;
    *slot = match slot {
        Value::Table(_) => return Err(unknown()),
        Value::String(_) => string(&change.value),
        Value::Array(_) => list(&change.value),
        _ => literal(&change.value).unwrap_or_else(|| Value::String(change.value.clone())),
    };
    decode(table).map_err(|(key, problem)| wrong_key_or_value(change.origin.clone(), key, problem))
}

/// A string as people write it outside of a file: without quotes, or with them as in the file.
fn string(text: &str) -> Value {
    let quoted = text.starts_with(['"', '\'']);
    literal(text).filter(|value| quoted && value.is_str()).unwrap_or_else(|| Value::String(text.to_owned()))
}

/// A list as people write it outside of a file: `a,b`, also `["a", "b"]`, and `none` for the empty one.
fn list(text: &str) -> Value {
    if text.trim_start().starts_with('[')
        && let Some(value @ Value::Array(_)) = literal(text)
    {
        return value;
    }
    let elements = text.split(',').map(str::trim).filter(|element| !element.is_empty());
    Value::Array(elements.map(|element| Value::String(element.to_owned())).collect())
}

/// A TOML value such as `12`, `true` or `["a"]`.
fn literal(text: &str) -> Option<Value> {
    toml::from_str::<Table>(&format!("value = {text}")).ok()?.remove("value")
}

/// The table as a configuration, or the key which is wrong and why.
fn decode<T: DeserializeOwned>(table: Table) -> Result<T, (String, String)> {
    serde_path_to_error::deserialize(Value::Table(table))
        .map_err(|error| (key_of(error.path()), error.inner().message().trim().replace('\n', "; ")))
}

/// A path of serde as a dotted key, without places in lists.
fn key_of(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    let names = path.iter().filter_map(|segment| match segment {
        Segment::Map { key } => Some(key.as_str()),
        Segment::Seq { .. } | Segment::Enum { .. } | Segment::Unknown => None,
    });
    names.collect::<Vec<_>>().join(".")
}

fn wrong_key_or_value(origin: Origin, key: String, problem: String) -> ConfigError {
    if key.is_empty() || known_keys().contains(&key) || listener_keys().contains(&key) || is_section(&key) {
        let key = if key.is_empty() { "(top level)".to_owned() } else { key };
        ConfigError::BadValue { origin, key, problem }
    } else {
        unknown_key(origin, key)
    }
}

fn is_section(key: &str) -> bool {
    Config::default().to_table().get(key).is_some_and(Value::is_table)
        || [LISTENER, "listener.tls", "listener.proxy", "listener.websocket"].contains(&key)
}

/// The list of tables.
const LISTENER: &str = "listener";

fn unknown_key(origin: Origin, key: String) -> ConfigError {
    let nearest = nearest(&key);
    ConfigError::UnknownKey { origin, key, nearest }
}

/// Every key with its section, sorted, but those of listeners.
pub(super) fn known_keys() -> Vec<String> {
    let all = flat(&Config::default().to_table()).into_iter().map(|(key, _)| key);
    all.filter(|key| key != LISTENER).collect()
}

/// Every key of a listener, as `listener.KEY` and `listener.SECTION.KEY`, sorted.
pub(super) fn listener_keys() -> Vec<String> {
    let whole = Listener { tls: Some(Tls::default()), proxy: Some(Proxy::default()), ..Listener::default() };
    // As for the whole configuration: no key holds a value that TOML has no form for.
    let keys = flat(&Table::try_from(whole).unwrap_or_default());
    keys.into_iter().map(|(key, _)| format!("{LISTENER}.{key}")).collect()
}

/// The table's keys with their sections, and their values.
pub(super) fn flat(table: &Table) -> Vec<(String, Value)> {
    let mut all = Vec::new();
    for (name, value) in table {
        match value {
            Value::Table(section) => {
                all.extend(section.iter().map(|(key, value)| (format!("{name}.{key}"), value.clone())));
            }
            value => all.push((name.clone(), value.clone())),
        }
    }
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

/// The known key (or section) that looks most like `key`, if any does.
fn nearest(key: &str) -> Option<String> {
    let table = Config::default().to_table();
    let sections = table.iter().filter(|(_, value)| value.is_table()).map(|(name, _)| name.clone());
    let last = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
    let likeness = |candidate: &str| {
        let whole = strsim::damerau_levenshtein(key, candidate) as f64
            / key.chars().count().max(candidate.chars().count()).max(1) as f64;
        // The right name in the wrong section is likelier than a name that happens to be spelt alike.
        let same_name = last(key) == last(candidate);
        // Of several sections that of MQTT is meant most often.
        match (same_name, candidate.starts_with("mqtt.")) {
            (true, true) => 0.96,
            (true, false) => 0.95,
            (false, _) => 1.0 - whole,
        }
    };
    // Of equally likely ones the last is taken, so keys of listeners come first.
    listener_keys()
        .into_iter()
        .chain(known_keys())
        .chain(sections)
        .chain([LISTENER.to_owned()])
        .map(|candidate| (likeness(&candidate), candidate))
        .filter(|(score, _)| *score >= 0.5)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// The line (from 1) of a place in a text.
fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}
