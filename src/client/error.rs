//! What can go wrong, in terms of what to do about it.

use std::fmt;

/// Why something did not work.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// There is no connection to the server.
    #[error("can't reach {server}: {reason}")]
    Unreachable {
        /// Host and port.
        server: String,
        /// What the system says.
        reason: String,
    },
    /// What answers there is no DistKV server, or speaks TLS where we don't or the other way round.
    #[error("{server} does not answer as a DistKV server: {reason}")]
    NotAServer {
        /// Host and port.
        server: String,
        /// What was wrong.
        reason: String,
    },
    /// TLS can't be set up, or the server's certificate is not to be trusted.
    #[error("TLS with {server}: {reason}")]
    Tls {
        /// Host and port.
        server: String,
        /// What was wrong.
        reason: String,
    },
    /// The server wants to know who we are.
    #[error("{server} wants a login by `{method}`: give a user name and a password")]
    LoginNeeded {
        /// Host and port.
        server: String,
        /// The method that is in force there.
        method: String,
    },
    /// The server did not accept our login.
    #[error("the login as {user} was refused: {reason}")]
    LoginRefused {
        /// The user's name.
        user: String,
        /// What the server said.
        reason: String,
    },
    /// The connection ended before the answer came. What was to be written may have been written or not.
    #[error("the connection to {server} was lost before the answer came; a change may have been made or not")]
    Lost {
        /// Host and port.
        server: String,
    },
    /// No answer in the time given in the options. What was to be written may have been written or not.
    #[error("no answer within {0:?}; a change may have been made or not")]
    Timeout(std::time::Duration),
    /// The server said no. Nothing was changed.
    #[error("{0}")]
    Refused(Refusal),
    /// The server sent what can't be understood.
    #[error("the server's answer can't be understood: {0}")]
    Malformed(String),
    /// A Rust value that msgpack can't hold, or a value of the store that is not of the type wanted.
    #[error("the value is of another type: {0}")]
    Type(String),
    /// What was to be sent breaks a rule. Nothing was sent.
    #[error("{0}")]
    Invalid(String),
    /// All handles of the connection are gone, or it ended for good.
    #[error("the connection is closed")]
    Closed,
}

impl Error {
    /// The kind of refusal, if it is one.
    pub fn kind(&self) -> Option<Kind> {
        match self {
            Self::Refused(refusal) => Some(refusal.kind),
            _ => None,
        }
    }

    /// Did a condition of a write not hold?
    pub fn is_conflict(&self) -> bool {
        self.kind() == Some(Kind::Conflict)
    }

    /// Does the user lack a right, or a login?
    pub fn is_denied(&self) -> bool {
        self.kind() == Some(Kind::Denied)
            || matches!(self, Self::LoginNeeded { .. } | Self::LoginRefused { .. })
    }

    /// Is there nothing at the path?
    pub fn is_not_found(&self) -> bool {
        self.kind() == Some(Kind::NotFound)
    }

    /// Is there no connection?
    pub fn is_unreachable(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. }
                | Self::NotAServer { .. }
                | Self::Tls { .. }
                | Self::Lost { .. }
                | Self::Timeout(_)
                | Self::Closed
        )
    }

    /// Would it be the same again, however often we try?
    pub(super) fn is_final(&self) -> bool {
        !matches!(self, Self::Unreachable { .. } | Self::Lost { .. } | Self::Timeout(_))
    }
}

/// What the server said when it refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What kind of refusal it is.
    pub kind: Kind,
    /// The server's sentence.
    pub message: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.message.is_empty() {
            "the server refused it without a reason"
        } else {
            &self.message
        })
    }
}

/// Kinds of refusals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// The user has no right to it.
    Denied,
    /// There is nothing at that path, or no such node, event, user.
    NotFound,
    /// A condition did not hold: the entry has another version or value, or is there already.
    Conflict,
    /// The request makes no sense to the server, or holds what it does not take.
    Invalid,
    /// A limit is reached.
    Limit,
    /// A stream was read too slowly and has ended; it can be resumed.
    TooSlow,
    /// The server can't keep it at present (full disk, overload): later it may.
    Unavailable,
    /// This server can't do it.
    Unsupported,
    /// Any other reason.
    Other,
}

impl Kind {
    /// The kind that the server names in `etype`.
    fn named(etype: &str) -> Self {
        match etype {
            "denied" => Self::Denied,
            "not_found" => Self::NotFound,
            "conflict" => Self::Conflict,
            "invalid" => Self::Invalid,
            "limit" => Self::Limit,
            "too_slow" => Self::TooSlow,
            "unavailable" => Self::Unavailable,
            "unsupported" => Self::Unsupported,
            _ => Self::Other,
        }
    }

    /// The kind by what the original server writes, which names none.
    fn of_text(text: &str) -> Self {
        let begins = |words: &[&str]| words.iter().any(|word| text.starts_with(word));
        match () {
            () if begins(&["Entry already exists", "Entry is new", "Chain is ", "Data is "]) => {
                Self::Conflict
            }
            () if begins(&["KeyError(", "P(", "Node "]) => Self::NotFound,
            () if begins(&["(<AclEntry", "ACLError(", "Not allowed"]) => Self::Denied,
            () => Self::Other,
        }
    }
}

impl Refusal {
    pub(super) fn new(etype: Option<&str>, text: &str) -> Self {
        let kind = etype.map_or_else(|| Kind::of_text(text), Kind::named);
        Self { kind, message: text.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_is_named_or_else_read_from_the_originals_texts() {
        assert_eq!(Refusal::new(Some("conflict"), "x").kind, Kind::Conflict);
        assert_eq!(Refusal::new(Some("new in a later version"), "Chain is").kind, Kind::Other);
        for (text, kind) in [
            ("Entry already exists at {msg.path}", Kind::Conflict),
            ("Chain is <s1:2> not <s1:1> for P('a')", Kind::Conflict),
            ("KeyError(P('nope'))", Kind::NotFound),
            ("ACLError(<AclEntry>, 'r')", Kind::Denied),
            ("", Kind::Other),
        ] {
            assert_eq!(Refusal::new(None, text).kind, kind, "{text}");
        }
    }
}
