//! Why a connection ends, in the words of the log.

use std::fmt;
use std::io;

use crate::hooks::LogFailed;
use crate::metrics::Metrics;
use crate::outbox::Close;

/// See the module.
#[derive(Debug)]
pub(crate) enum End {
    /// The client sent DISCONNECT.
    Disconnect,
    /// The peer closed its side without DISCONNECT.
    Closed,
    /// The socket failed.
    Failed(io::Error),
    /// Nothing came for 1.5 keep alives.
    KeepAlive,
    /// The client broke the protocol.
    Protocol(String),
    /// The client read nothing for too long while data waited for it.
    WriteStall,
    /// There was no room for the client's large packet for too long.
    PacketStall,
    /// Told from outside.
    Told(Close),
    /// Nothing can be kept any more.
    LogFailed(LogFailed),
    /// The embedder can't keep retained messages any more.
    Unavailable,
}

impl End {
    /// Does the session stay as it is, with its will in the log? So it is when the server stops.
    pub(crate) fn is_shutdown(&self) -> bool {
        matches!(self, Self::Told(Close::Shutdown | Close::Now))
    }

    pub(crate) fn count(&self, metrics: &Metrics) {
        match self {
            Self::KeepAlive => metrics.keep_alive_timeouts.add(1),
            Self::Protocol(_) => metrics.protocol_errors.add(1),
            Self::WriteStall => metrics.write_stalls.add(1),
            Self::PacketStall => metrics.packet_stalls.add(1),
            _ => {}
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disconnect => f.write_str("the client disconnected"),
            Self::Closed => f.write_str("the client closed the connection without DISCONNECT"),
            Self::Failed(error) => write!(f, "the connection failed: {error}"),
            Self::KeepAlive => f.write_str("nothing came within 1.5 times the keep alive"),
            Self::Protocol(what) => write!(f, "protocol error: {what}"),
            Self::WriteStall => f.write_str("the client did not read what waited for it"),
            Self::PacketStall => f.write_str("there was no room for the client's large packet"),
            Self::Told(Close::TakenOver) => f.write_str("the client connected anew"),
            Self::Told(Close::Shutdown | Close::Now) => f.write_str("the server stops"),
            Self::LogFailed(failed) => failed.fmt(f),
            Self::Unavailable => f.write_str("retained messages can't be kept any more"),
        }
    }
}
