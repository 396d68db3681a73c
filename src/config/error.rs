//! What can be wrong with a configuration, in words for whoever wrote it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::check::Rule;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A line of a text whose file is not known (yet).
    Line(usize),
    /// A line of a file.
    File(PathBuf, usize),
    /// An environment variable.
    Env(String),
    /// `--set KEY=...` or a flag, as it stands on the command line.
    Flag(String),
}

/// A configuration that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A key that does not exist.
    #[error("{origin}: unknown key `{key}`{}", nearest_hint(.nearest.as_deref()))]
    UnknownKey {
        /// Where it stands.
        origin: Origin,
        /// The key, with its section.
        key: String,
        /// The key that was perhaps meant.
        nearest: Option<String>,
    },
    /// A value that its key does not take.
    #[error("{origin}: `{key}`: {problem}")]
    BadValue {
        /// Where it stands.
        origin: Origin,
        /// The key, with its section.
        key: String,
        /// What is wrong with the value.
        problem: String,
    },
    /// Text that is not TOML.
    #[error("{origin}: this is not TOML: {problem}")]
    Syntax {
        /// Where it stands.
        origin: Origin,
        /// What is wrong with it.
        problem: String,
    },
    /// A file that can't be read.
    #[error("can't read the config file {}: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Values which are fine alone, but not together.
    #[error("wrong configuration: {0}")]
    Rule(Rule),
}

fn nearest_hint(nearest: Option<&str>) -> String {
    match nearest {
        Some(key) => format!("; did you mean `{key}`?"),
        None => "; configs/distkv.toml describes every key".to_owned(),
    }
}

impl ConfigError {
    /// The same error, now that the name of the file is known.
    pub(super) fn in_file(self, path: &Path) -> Self {
        let name = |origin| match origin {
            Origin::Line(line) => Origin::File(path.to_owned(), line),
            other => other,
        };
        match self {
            Self::UnknownKey { origin, key, nearest } => {
                Self::UnknownKey { origin: name(origin), key, nearest }
            }
            Self::BadValue { origin, key, problem } => Self::BadValue { origin: name(origin), key, problem },
            Self::Syntax { origin, problem } => Self::Syntax { origin: name(origin), problem },
            other @ (Self::Unreadable { .. } | Self::Rule(_)) => other,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, "line {line}"),
            Self::File(path, line) => write!(f, "{}, line {line}", path.display()),
            Self::Env(name) => write!(f, "environment variable {name}"),
            Self::Flag(flag) => f.write_str(flag),
        }
    }
}
