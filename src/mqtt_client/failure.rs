//! Why a client ended without success: in the user's terms, and as an exit code.

use std::io;

use rumqttc::{ConnectReturnCode, ConnectionError, StateError};

/// Why `distkv mqtt pub|sub` ended without success.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Options which do not go together, or a value that is none.
    #[error("{0}")]
    Usage(String),
    /// Nobody listens there.
    #[error("connection refused: is a broker running on {server}?")]
    NobodyListens {
        /// Host and port.
        server: String,
    },
    /// No connection, for another reason.
    #[error("can't connect to {server}: {reason}")]
    Unreachable {
        /// Host and port.
        server: String,
        /// What the system says.
        reason: String,
    },
    /// Something accepted the connection, and did not answer as a broker does.
    #[error("{server} does not answer as an MQTT broker: {reason}")]
    NotABroker {
        /// Host and port.
        server: String,
        /// What was wrong.
        reason: String,
    },
    /// The broker answered CONNECT with a refusal.
    #[error("the broker refused the connection: {}", refusal(*.0))]
    Refused(ConnectReturnCode),
    /// The connection was lost before all was done.
    #[error("the connection was lost: {0}")]
    Lost(String),
    /// The connection was lost before the broker had acknowledged everything.
    #[error("the connection was lost with {missing} message(s) not acknowledged: {reason}")]
    Unacknowledged {
        /// How many messages.
        missing: u64,
        /// What happened to the connection.
        reason: String,
    },
    /// The broker granted none of the subscriptions.
    #[error("the broker denied all subscriptions")]
    AllDenied,
    /// The time given with `-W` is over.
    #[error("timed out")]
    TimedOut,
    /// A file or the standard input can't be read, the standard output can't be written.
    #[error("{what}: {source}")]
    Input {
        /// The name of the file.
        what: String,
        /// What the system says.
        source: io::Error,
    },
}

impl Failure {
    /// The exit code: 2 for usage, 1 to 5 for the broker's refusal (the code of its CONNACK), 7 for a lost connection and 27
    /// for a timeout (the numbers of libmosquitto), else 1.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Refused(code) => *code as u8,
            Self::Lost(_) | Self::Unacknowledged { .. } => 7,
            Self::TimedOut => 27,
            _ => 1,
        }
    }

    /// Why there is no connection to `server`.
    pub(super) fn connecting(error: &ConnectionError, server: &str) -> Self {
        let server = server.to_owned();
        match error {
            ConnectionError::ConnectionRefused(code) => Self::Refused(*code),
            ConnectionError::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                Self::NobodyListens { server }
            }
            ConnectionError::Io(error) => Self::Unreachable { server, reason: error.to_string() },
            ConnectionError::NetworkTimeout => {
                Self::Unreachable { server, reason: "no answer in time".to_owned() }
            }
            ConnectionError::MqttState(StateError::ConnectionAborted) => {
                Self::NotABroker { server, reason: "it closed the connection".to_owned() }
            }
            other => Self::NotABroker { server, reason: reason(other) },
        }
    }
}

/// What happened to a connection, in a few words.
pub(super) fn reason(error: &ConnectionError) -> String {
    match error {
        ConnectionError::MqttState(StateError::ConnectionAborted) => "closed by the broker".to_owned(),
        ConnectionError::MqttState(StateError::AwaitPingResp) => {
            "the broker does not answer pings".to_owned()
        }
        ConnectionError::MqttState(error) => error.to_string(),
        ConnectionError::Io(error) => error.to_string(),
        other => other.to_string(),
    }
}

fn refusal(code: ConnectReturnCode) -> &'static str {
    match code {
        ConnectReturnCode::Success => "it did not say why",
        ConnectReturnCode::RefusedProtocolVersion => "it does not speak this version of MQTT (try -V)",
        ConnectReturnCode::BadClientId => "client id not accepted (try -i)",
        ConnectReturnCode::ServiceUnavailable => "not available at the moment, try again later",
        ConnectReturnCode::BadUserNamePassword => "bad user name or password (-u, -P)",
        ConnectReturnCode::NotAuthorized => "not authorised: this client may not connect",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_exits_with_the_code_of_the_connack() {
        assert_eq!(Failure::Refused(ConnectReturnCode::BadUserNamePassword).exit_code(), 4);
        assert_eq!(Failure::Refused(ConnectReturnCode::NotAuthorized).exit_code(), 5);
    }

    #[test]
    fn a_closed_port_asks_whether_a_broker_runs() {
        let error = ConnectionError::Io(io::ErrorKind::ConnectionRefused.into());
        let failure = Failure::connecting(&error, "localhost:1883");
        assert_eq!(failure.to_string(), "connection refused: is a broker running on localhost:1883?");
        assert_eq!(failure.exit_code(), 1);
    }
}
