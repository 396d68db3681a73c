//! Why a connection ends, in the words of the log.

use std::fmt;
use std::io;

use super::pace::Rate;
use crate::codec::ReasonCode;
use crate::hooks::LogFailed;
use crate::metrics::Metrics;
use crate::outbox::Close;

/// See the module.
#[derive(Debug)]
pub(crate) enum End {
    /// The client sent DISCONNECT.
    Disconnect,
    /// The client sent a DISCONNECT with a reason by which its will is published.
    DisconnectWith(ReasonCode),
    /// The peer closed its side without DISCONNECT.
    Closed,
    /// The socket failed.
    Failed(io::Error),
    /// Nothing came for 1.5 keep alives.
    KeepAlive,
    /// The client broke the protocol.
    Protocol(ReasonCode, String),
    /// The client could not prove anew who it is.
    Unauthorized(ReasonCode),
    /// The client read nothing for too long while data waited for it.
    WriteStall,
    /// There was no room for the client's large packet for too long.
    PacketStall,
    /// The client published faster than its rate, and is not to wait (MQTT 5: 0x96 for messages, 0x97 for bytes).
    TooFast(Rate),
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

    /// Did the client end it by what it sent?
    pub(crate) fn is_the_clients_own(&self) -> bool {
        matches!(self, Self::Disconnect | Self::DisconnectWith(_) | Self::Protocol(..))
    }

    /// What a client of MQTT 5 is told; nothing if it has left by itself or can't be reached.
    pub(crate) fn reason(&self) -> Option<ReasonCode> {
        match self {
            // Who does not read would not read this either.
            Self::Disconnect
            | Self::DisconnectWith(_)
            | Self::Closed
            | Self::Failed(_)
            | Self::WriteStall
            | Self::Told(Close::Now) => None,
            Self::KeepAlive => Some(ReasonCode::KeepAliveTimeout),
            Self::Protocol(reason, _) | Self::Unauthorized(reason) => Some(*reason),
            Self::PacketStall | Self::TooFast(Rate::Bytes) => Some(ReasonCode::QuotaExceeded),
            Self::TooFast(Rate::Messages) => Some(ReasonCode::MessageRateTooHigh),
            Self::Told(Close::TakenOver) => Some(ReasonCode::SessionTakenOver),
            Self::Told(Close::Administrative) => Some(ReasonCode::AdministrativeAction),
            Self::Told(Close::NotAuthorized) => Some(ReasonCode::NotAuthorized),
            Self::Told(Close::Shutdown) => Some(ReasonCode::ServerShuttingDown),
            Self::LogFailed(_) | Self::Unavailable => Some(ReasonCode::ServerBusy),
        }
    }

    pub(crate) fn count(&self, metrics: &Metrics) {
        match self {
            Self::KeepAlive => metrics.keep_alive_timeouts.add(1),
            Self::Protocol(..) => metrics.protocol_errors.add(1),
            Self::WriteStall => metrics.write_stalls.add(1),
            Self::PacketStall => metrics.packet_stalls.add(1),
            Self::TooFast(Rate::Messages) => metrics.rate_disconnects_messages.add(1),
            Self::TooFast(Rate::Bytes) => metrics.rate_disconnects_bytes.add(1),
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
            Self::DisconnectWith(reason) => write!(f, "the client disconnected: {reason}"),
            Self::Protocol(reason, what) if *reason == ReasonCode::ProtocolError => {
                write!(f, "protocol error: {what}")
            }
            Self::Protocol(reason, what) => write!(f, "{reason}: {what}"),
            Self::Unauthorized(reason) => write!(f, "the client could not authenticate again: {reason}"),
            Self::WriteStall => f.write_str("the client did not read what waited for it"),
            Self::PacketStall => f.write_str("there was no room for the client's large packet"),
            Self::TooFast(Rate::Messages) => {
                f.write_str("the client published more messages than limits.publish_rate")
            }
            Self::TooFast(Rate::Bytes) => {
                f.write_str("the client published more bytes than limits.publish_bytes_rate")
            }
            Self::Told(Close::Administrative) => f.write_str("an administrator closed the connection"),
            Self::Told(Close::NotAuthorized) => f.write_str("the user may not log in any more"),
            Self::Told(Close::TakenOver) => f.write_str("the client connected anew"),
            Self::Told(Close::Shutdown | Close::Now) => f.write_str("the server stops"),
            Self::LogFailed(failed) => failed.fmt(f),
            Self::Unavailable => f.write_str("retained messages can't be kept any more"),
        }
    }
}
