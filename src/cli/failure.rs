//! How a verb that talks to a server fails, and its exit code.

use distkv_store::path::Path;

use crate::client::{Error, Kind};

/// What a verb finds by itself.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// Wrong usage which the parser can't see.
    #[error("{0}")]
    Usage(String),
    /// There is no entry there.
    #[error("there is no entry at {0}")]
    NoEntry(Path),
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// It is there already, or has changed meanwhile.
    #[error("{0}")]
    Conflict(String),
    /// The server does not allow it.
    #[error("{0}")]
    Denied(String),
    /// There is no server.
    #[error("{0}")]
    Unreachable(String),
    /// Somebody said no.
    #[error("not done: nobody said yes")]
    NotConfirmed,
}

/// The exit code that tells this error: 1 failed, 2 usage, 3 no such entry, 4 denied, 5 conflict, 6 not reachable.
pub(super) fn exit_code(error: &anyhow::Error) -> u8 {
    error.chain().find_map(|cause| of_failure(cause).or_else(|| of_client(cause))).unwrap_or(1)
}

fn of_failure(cause: &(dyn std::error::Error + 'static)) -> Option<u8> {
    Some(match cause.downcast_ref::<Failure>()? {
        Failure::Usage(_) => 2,
        Failure::NoEntry(_) | Failure::NotFound(_) => 3,
        Failure::Conflict(_) => 5,
        Failure::Denied(_) => 4,
        Failure::Unreachable(_) => 6,
        Failure::NotConfirmed => 1,
    })
}

fn of_client(cause: &(dyn std::error::Error + 'static)) -> Option<u8> {
    Some(match cause.downcast_ref::<Error>()? {
        Error::Invalid(_) => 2,
        error if error.kind() == Some(Kind::NotFound) => 3,
        error if error.is_denied() => 4,
        error if error.is_conflict() => 5,
        error if error.is_unreachable() => 6,
        _ => 1,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_to_fail_has_its_code() {
        let lost = Error::Lost { server: "x".to_owned() };
        for (error, code) in [
            (anyhow::Error::new(Failure::Usage(String::new())), 2),
            (anyhow::Error::new(Failure::NoEntry(Path::root())).context("more"), 3),
            (anyhow::Error::new(lost), 6),
            (anyhow::Error::new(Error::Type(String::new())), 1),
            (anyhow::anyhow!("else"), 1),
        ] {
            assert_eq!(exit_code(&error), code, "{error}");
        }
    }
}
