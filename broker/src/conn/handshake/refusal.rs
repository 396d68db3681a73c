//! Why a connection is turned away, and what its client is told.

use std::time::Duration;

use tokio::io::AsyncWriteExt as _;

use super::super::junk;
use super::hello::Hello;
use crate::codec::{Answer, Connack, ConnackProperties, DecodeError, ProtocolVersion, ReasonCode};
use crate::hooks::LoginRefused;
use crate::metrics::Refused;
use crate::registry::NoSeat;
use crate::transport::Transport;

/// How long a refused client may take to read why.
const REFUSAL: Duration = Duration::from_secs(2);

/// See the module.
pub(super) struct Refusal {
    pub(super) reason: Refused,
    pub(super) words: String,
    /// The client identifier, if the client came so far as to tell one.
    pub(super) client: Option<std::sync::Arc<str>>,
    answer: Option<ReasonCode>,
    /// In whose form it is told.
    version: ProtocolVersion,
    /// Where the client should go instead.
    reference: Option<String>,
    /// The largest packet that the client takes.
    maximum_packet: Option<u32>,
}

impl Refusal {
    pub(super) fn new(reason: Refused, answer: Option<ReasonCode>, words: impl Into<String>) -> Self {
        let version = ProtocolVersion::V3_1_1;
        let words = words.into();
        Self { reason, answer, version, words, client: None, reference: None, maximum_packet: None }
    }

    /// The answer is told as this client takes it.
    pub(super) fn to(mut self, hello: &Hello) -> Self {
        self.version = hello.version;
        self.maximum_packet = hello.maximum_packet;
        self.client = (!hello.id_is_assigned).then(|| std::sync::Arc::clone(&hello.client_id));
        self
    }

    /// The answer is told in the form of that version.
    pub(super) fn in_form_of(mut self, version: ProtocolVersion) -> Self {
        self.version = version;
        self
    }

    /// The answer names another server.
    pub(super) fn with_reference(mut self, server: &str) -> Self {
        self.reference = Some(server.to_owned());
        self
    }

    /// Tells the client, if there is something to tell, and closes.
    pub(super) async fn tell<T: Transport>(self, socket: &mut T) {
        let Some(reason) = self.answer else { return };
        let bare =
            ConnackProperties { server_reference: self.reference.as_deref(), ..ConnackProperties::default() };
        let full = ConnackProperties { reason_string: Some(&self.words), ..bare };
        let encoded = [full, bare].into_iter().find_map(|properties| {
            let connack = Connack { session_present: false, reason, properties };
            let mut packet = Vec::new();
            connack.encode(&mut packet, self.version).ok()?;
            // Words may not make it larger than the client takes [MQTT5-3.2.2-19].
            let fits = self.maximum_packet.is_none_or(|maximum| packet.len() <= maximum as usize);
            fits.then_some(packet)
        });
        let Some(packet) = encoded else { return };
        let answered = async {
            socket.write_all(&packet).await?;
            socket.shutdown().await
        };
        // Whoever does not read it does not want to know.
        let _ = tokio::time::timeout(REFUSAL, answered).await;
    }
}

/// A packet that is no CONNECT as it should be.
pub(super) fn malformed(error: &DecodeError, bytes: &[u8], version: Option<ProtocolVersion>) -> Refusal {
    let v5 = version == Some(ProtocolVersion::V5);
    let answer = match error.answer() {
        Answer::Connack(code) => Some(code),
        // MQTT 5 may say what was wrong, if the packet is a CONNECT at all [MQTT5-3.1.4-1].
        Answer::Close if v5 => Some(error.reason()).filter(|code| is_for_connack(*code)),
        Answer::Close => None,
    };
    let refusal = match error {
        DecodeError::NotConnect | DecodeError::Tls | DecodeError::ProtocolName => {
            Refusal::new(Refused::NotMqtt, answer, format!("{error}: {}", junk::recognise(bytes)))
        }
        DecodeError::ProtocolLevel(_) => Refusal::new(Refused::ProtocolLevel, answer, error.to_string()),
        DecodeError::ClientIdEmpty => Refusal::new(Refused::ClientId, answer, error.to_string()),
        _ => Refusal::new(Refused::NotMqtt, answer, error.to_string()),
    };
    refusal.in_form_of(version.unwrap_or(ProtocolVersion::V3_1_1))
}

fn is_for_connack(code: ReasonCode) -> bool {
    code.allowed_in(crate::codec::PacketType::Connack)
}

pub(super) fn no_room() -> Refusal {
    Refusal::new(Refused::Unavailable, None, "there is no room for an unfinished packet")
}

pub(super) fn no_memory(hello: &Hello) -> Refusal {
    let words = format!("the memory budget is nearly used up (client {})", hello.client_id);
    Refusal::new(Refused::Memory, Some(ReasonCode::ServerBusy), words).in_form_of(hello.version)
}

/// The CONNACK that lets the client in is larger than it takes [MQTT5-3.1.2-24].
pub(super) fn too_small(hello: &Hello) -> Refusal {
    let words = format!("the client takes no packet as large as its CONNACK (client {})", hello.client_id);
    Refusal::new(Refused::NotOffered, Some(ReasonCode::PacketTooLarge), words).to(hello)
}

/// Somebody with another root has a client of that identifier.
pub(super) fn not_its_own(hello: &Hello) -> Refusal {
    let words = format!("the client identifier {} is not for this user", hello.client_id);
    Refusal::new(Refused::ClientId, Some(ReasonCode::ClientIdentifierNotValid), words).to(hello)
}

pub(super) fn login_refused(why: LoginRefused, hello: &Hello) -> Refusal {
    let (reason, code, words) = match why {
        LoginRefused::BadCredentials => {
            (Refused::BadCredentials, ReasonCode::BadUserNameOrPassword, "wrong user name or password")
        }
        LoginRefused::NotAuthorized => (Refused::NotAuthorized, ReasonCode::NotAuthorized, "not authorized"),
        LoginRefused::BadMethod => {
            (Refused::BadCredentials, ReasonCode::BadAuthenticationMethod, "unknown authentication method")
        }
        LoginRefused::Unavailable => {
            (Refused::Unavailable, ReasonCode::ServerUnavailable, "logins can't be checked")
        }
    };
    let user = hello.user.as_deref().unwrap_or("-");
    let words = format!("{words} (client {}, user {user})", hello.client_id);
    Refusal::new(reason, Some(code), words).to(hello)
}

pub(super) fn no_seat(why: NoSeat, hello: &Hello) -> Refusal {
    let client = &hello.client_id;
    let refusal = match why {
        NoSeat::Overtaken => {
            Refusal::new(Refused::Unavailable, None, format!("client {client} connected once more meanwhile"))
        }
        NoSeat::Timeout => {
            let words = format!("the previous connection of client {client} did not end in time");
            Refusal::new(Refused::Unavailable, Some(ReasonCode::ServerBusy), words)
        }
        NoSeat::Full => {
            let words = format!("the limit of sessions is reached (client {client})");
            Refusal::new(Refused::TooManySessions, Some(ReasonCode::QuotaExceeded), words)
        }
    };
    refusal.to(hello)
}
