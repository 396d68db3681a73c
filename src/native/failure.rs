//! Why a request is refused: a sentence for people, and a word for programs (`etype`).

use distkv_store::access::Denied;
use distkv_store::path::{Path, PathError};
use distkv_store::view::{BatchError, Unmet, WriteError};

use super::wire::{Fault, FrameError};
use crate::auth::checks::Refused;

/// Why a request is refused. Nothing has changed by it, if the sentence does not say so.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Field(#[from] Fault),
    #[error(transparent)]
    Path(#[from] PathError),
    #[error("`seq` is missing: it ties the reply to the request, and is a positive number")]
    NoSeq,
    #[error("a second message with `seq` 0: the handshake is over")]
    SecondHello,
    #[error("`qlen` is 0, for no flow control, or at least 4")]
    TinyWindow,
    #[error("`action` is missing")]
    NoAction,
    #[error("there is no action `{0}`")]
    UnknownAction(String),
    #[error("`seq` belongs to a stream which is still open; take a new one, or end that with `stop`")]
    SeqInUse,
    #[error("`{0}` is no stream: it has no `state`")]
    NoStream(String),
    #[error("log in first: until then there are `auth` and `diffie_hellman`")]
    LoginFirst,
    #[error(
        "nobody can log in yet, and this server lets strangers in from its own machine only: make a user \
         (`distkv user add NAME --admin`), or set `native.allow_anonymous`"
    )]
    NobodyFromElsewhere,
    #[error(transparent)]
    Refused(Refused),
    #[error("your user has changed or is no more: log in again")]
    UserChanged,
    #[error("the time for logging in is over")]
    LoginTooLate,
    #[error("there is nothing at {0}")]
    NotFound(Path),
    #[error("{0}")]
    Unknown(String),
    #[error("{0}")]
    Invalid(String),
    #[error(transparent)]
    Denied(#[from] Denied),
    #[error("{0}")]
    NotAllowed(String),
    #[error("{0}")]
    Limit(String),
    #[error("{0}")]
    Unavailable(String),
    #[error("{0}")]
    Unsupported(String),
    #[error("{text} {path}")]
    Unmet { text: &'static str, path: Path },
    #[error(transparent)]
    Write(WriteError),
    #[error(transparent)]
    Batch(BatchError),
    #[error(
        "this stream was read too slowly, and changes would have been lost: begin it again, with `since`"
    )]
    TooSlow,
    #[error("the server is shutting down")]
    Closing,
    #[error("{0}")]
    Internal(String),
}

impl Failure {
    /// What kind of failure it is, for programs.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Frame(FrameError::TooLong { .. })
            | Self::Limit(_)
            | Self::Batch(BatchError::TooMany { .. } | BatchError::TooLong { .. }) => "limit",
            Self::Frame(_)
            | Self::Field(_)
            | Self::Path(_)
            | Self::NoSeq
            | Self::SecondHello
            | Self::TinyWindow
            | Self::NoAction
            | Self::UnknownAction(_)
            | Self::SeqInUse
            | Self::NoStream(_)
            | Self::Invalid(_)
            | Self::Batch(BatchError::Twice { .. }) => "invalid",
            Self::LoginFirst
            | Self::NobodyFromElsewhere
            | Self::LoginTooLate
            | Self::UserChanged
            | Self::Refused(Refused::Wrong)
            | Self::Denied(_)
            | Self::NotAllowed(_) => "denied",
            Self::NotFound(_) | Self::Unknown(_) => "not_found",
            Self::Unmet { .. } => "conflict",
            Self::Write(error) | Self::Batch(BatchError::Write { error, .. }) => of_write(error),
            Self::TooSlow => "too_slow",
            Self::Closing | Self::Unavailable(_) | Self::Refused(_) => "unavailable",
            Self::Unsupported(_) => "unsupported",
            Self::Internal(_) => "internal",
        }
    }

    /// Can nothing sensible follow on this connection?
    pub(super) fn ends_connection(&self) -> bool {
        matches!(
            self,
            Self::Frame(_)
                | Self::SecondHello
                | Self::TinyWindow
                | Self::LoginFirst
                | Self::NobodyFromElsewhere
                | Self::LoginTooLate
                | Self::UserChanged
                | Self::Closing
        )
    }

    /// A write at `path` that was not taken.
    pub(super) fn of_write(error: WriteError, path: &Path) -> Self {
        match error {
            WriteError::Conflict { unmet, .. } => {
                let text = match unmet {
                    Unmet::Exists => "Entry already exists at",
                    Unmet::Missing => "Entry is new at",
                    Unmet::OtherVersion => "Chain is another one for",
                    Unmet::OtherValue => "Data is other than expected at",
                };
                Self::Unmet { text, path: path.clone() }
            }
            error => Self::Write(error),
        }
    }
}

fn of_write(error: &WriteError) -> &'static str {
    match error {
        WriteError::Conflict { .. } => "conflict",
        WriteError::Denied(_) => "denied",
        WriteError::NoPlace => "invalid",
        WriteError::TooLarge { .. } | WriteError::TooManyEntries { .. } | WriteError::TooManyBytes { .. } => {
            "limit"
        }
        WriteError::Unavailable(_)
        | WriteError::DiskFull
        | WriteError::Overloaded
        | WriteError::ClockExhausted => "unavailable",
    }
}
