//! What a CONNECT says, out of the read buffer, and what a client of MQTT 5 is told in the CONNACK.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::refusal::Refusal;
use crate::clock;
use crate::codec::{self, Connack, ConnackProperties, Connect, ProtocolVersion, ReasonCode};
use crate::limits::Limits;
use crate::message::QoS;
use crate::metrics::Refused;
use crate::outbox::{Shape, Taste};
use crate::peer::Listener;
use crate::session::{self, Will};
use crate::topic;

/// The session expiry that stands for "never" [MQTT 5: 3.1.2.11.2].
const NEVER: u32 = u32::MAX;
/// The receive maximum that stands for no limit of the client's own.
const RECEIVE_ANY: u16 = u16::MAX;

/// A CONNECT that outlives its buffer.
pub(super) struct Hello {
    pub(super) version: ProtocolVersion,
    pub(super) clean: bool,
    pub(super) keep_alive: u16,
    pub(super) client_id: Arc<str>,
    /// What the client is called by itself, if that is less: users with a root of their own have client identifiers of their own.
    pub(super) id_inside: Option<Arc<str>>,
    /// The client sent none.
    pub(super) id_is_assigned: bool,
    pub(super) will: Option<Will>,
    pub(super) user: Option<Arc<str>>,
    pub(super) password: Option<Vec<u8>>,
    /// The client is a broker itself: it wants RETAIN as published, and its own messages not back.
    pub(super) bridge: bool,
    /// As the client asks for it, in seconds.
    pub(super) session_expiry: u32,
    pub(super) receive_maximum: u16,
    pub(super) maximum_packet: Option<u32>,
    pub(super) alias_maximum: u16,
    pub(super) problem_information: bool,
    pub(super) authentication: Option<Authentication>,
}

/// With which method the client wants to prove who it is, and its first words.
pub(super) struct Authentication {
    pub(super) method: Arc<str>,
    pub(super) data: Vec<u8>,
}

impl Hello {
    pub(super) fn new(connect: &Connect<'_>, mount: Option<&str>) -> Self {
        let will = connect.will.map(|will| {
            let mut properties = Vec::new();
            will.application
                .append_filtered(&mut properties, |name| !super::super::requests::is_reserved(name));
            Will {
                topic: topic::mounted(mount, will.topic).into(),
                payload: Bytes::copy_from_slice(will.payload),
                qos: will.qos,
                retain: will.retain,
                properties: properties.into(),
                message_expiry: will.message_expiry,
                delay: will.delay,
            }
        });
        let id_is_assigned = connect.client_id.is_empty();
        let properties = &connect.properties;
        let v5 = connect.version == ProtocolVersion::V5;
        Self {
            version: connect.version,
            clean: connect.clean_session,
            keep_alive: connect.keep_alive,
            client_id: if id_is_assigned { generated_id() } else { connect.client_id.into() },
            id_inside: None,
            id_is_assigned,
            will,
            user: connect.user.map(Arc::from),
            password: connect.password.map(<[u8]>::to_vec),
            bridge: connect.bridge,
            session_expiry: match (v5, connect.clean_session) {
                (true, _) => properties.session_expiry,
                (false, true) => 0,
                (false, false) => NEVER,
            },
            receive_maximum: properties.receive_maximum,
            maximum_packet: properties.maximum_packet_size,
            alias_maximum: properties.topic_alias_maximum,
            problem_information: properties.request_problem_information,
            authentication: properties.authentication_method.map(|method| Authentication {
                method: method.into(),
                data: properties.authentication_data.unwrap_or_default().to_vec(),
            }),
        }
    }

    /// The user has a root of his own: his topics lie below it, and his clients are others than those of the same name elsewhere.
    pub(super) fn move_below(&mut self, root: &str) {
        let inside = Arc::clone(&self.client_id);
        self.client_id = format!("{root}{inside}").into();
        self.id_inside = Some(inside);
        if let Some(will) = &mut self.will {
            will.topic = topic::mounted(Some(root), &will.topic).into();
        }
    }

    /// Is the will one that the broker offers to publish?
    pub(super) fn check_will(&self, limits: &Limits) -> Result<(), Refusal> {
        let Some(will) = self.will.as_ref().filter(|_| self.version == ProtocolVersion::V5) else {
            return Ok(());
        };
        let offer = &limits.offer;
        let code = if will.qos > offer.maximum_qos {
            ReasonCode::QosNotSupported // MQTT5-3.2.2-12
        } else if will.retain && !offer.retain {
            ReasonCode::RetainNotSupported // MQTT5-3.2.2-13
        } else if offer.check_payloads
            && codec::ApplicationProperties::from_valid_block(&will.properties).payload_is_utf8()
            && std::str::from_utf8(&will.payload).is_err()
        {
            ReasonCode::PayloadFormatInvalid
        } else {
            return Ok(());
        };
        let words = format!("the will is not accepted: {code} (client {})", self.client_id);
        Err(Refusal::new(Refused::NotOffered, Some(code), words).to(self))
    }

    /// For how many seconds the session outlives the connection; `None`: as long as the broker keeps any. The second is what the client
    /// has to be told, where it is not what it asked for.
    pub(super) fn expiry(&self, limits: &Limits) -> (Option<u32>, Option<u32>) {
        let expiry = limits.expiry_of(self.session_expiry);
        // Longer than a packet can tell is as good as never.
        let limit = u32::try_from(limits.session_expiry.as_secs()).unwrap_or(0);
        let told = expiry.is_none() && limit > 0 && self.version == ProtocolVersion::V5;
        (expiry, told.then_some(limit))
    }

    /// The keep alive that holds, and whether the client has to be told [MQTT5-3.1.2-21].
    pub(super) fn keep_alive(&self, limits: &Limits, listener: &Listener) -> (u16, bool) {
        let everywhere = Some(limits.keep_alive_max).filter(|max| *max > 0);
        let max = [everywhere, listener.max_keep_alive].into_iter().flatten().min().unwrap_or(0);
        let longer = max > 0 && (self.keep_alive == 0 || self.keep_alive > max);
        if longer && self.version == ProtocolVersion::V5 { (max, true) } else { (self.keep_alive, false) }
    }

    /// What packets the client takes.
    pub(super) fn taste(&self, limits: &Limits, mount: Option<&str>) -> Taste {
        Taste {
            shape: Shape {
                v5: self.version == ProtocolVersion::V5,
                mount: mount.map_or(0, |mount| u16::try_from(mount.len()).unwrap_or(u16::MAX)),
            },
            maximum_packet: self.maximum_packet,
            aliases: self.alias_maximum.min(limits.topic_aliases_out),
        }
    }

    /// Does the client take a packet of so many bytes?
    pub(super) fn takes(&self, bytes: usize) -> bool {
        self.maximum_packet.is_none_or(|maximum| bytes <= maximum as usize)
    }

    /// What the session has to know.
    pub(super) fn for_session(
        &mut self,
        limits: &Limits,
        will_number: impl FnOnce() -> u64,
    ) -> session::Connect {
        session::Connect {
            clean: self.clean,
            expiry: self.expiry(limits).0,
            receive_maximum: (self.receive_maximum != RECEIVE_ANY).then_some(self.receive_maximum),
            user: self.user.clone(),
            version: self.version,
            will: self.will.take().map(|will| (will_number(), will)),
        }
    }

    /// The CONNACK that lets the client in. In MQTT 5 it tells what differs from the standard's defaults.
    pub(super) fn connack(
        &self,
        session_present: bool,
        limits: &Limits,
        listener: &Listener,
        proof: Option<&[u8]>,
    ) -> Vec<u8> {
        let offer = &limits.offer;
        let (keep_alive, told) = self.keep_alive(limits, listener);
        let refused = |offered: bool| (!offered).then_some(false);
        let properties = ConnackProperties {
            session_expiry: self.expiry(limits).1,
            receive_maximum: (limits.receive_maximum != RECEIVE_ANY).then_some(limits.receive_maximum),
            maximum_qos: (offer.maximum_qos < QoS::ExactlyOnce).then_some(offer.maximum_qos),
            retain_available: refused(offer.retain),
            maximum_packet_size: u32::try_from(listener.packet_bytes(limits)).ok(),
            assigned_client_id: self
                .id_is_assigned
                .then(|| self.id_inside.as_deref().unwrap_or(&self.client_id)),
            topic_alias_maximum: (limits.topic_aliases > 0).then_some(limits.topic_aliases),
            wildcard_available: refused(offer.wildcards),
            identifiers_available: refused(offer.identifiers),
            shared_available: refused(offer.shared),
            server_keep_alive: told.then_some(keep_alive),
            authentication_method: self.authentication.as_ref().map(|used| &*used.method),
            authentication_data: proof,
            ..ConnackProperties::default()
        };
        let mut out = Vec::new();
        // Identifiers and methods came in a packet, and so fit into one.
        let _ = Connack { session_present, reason: ReasonCode::Success, properties }
            .encode(&mut out, self.version);
        out
    }
}

/// Until when a client may be silent.
pub(super) fn silence(keep_alive: u16) -> Option<Duration> {
    session::keep_alive_timeout(keep_alive)
}

/// An identifier for a client without one [MQTT-3.1.3-6] [MQTT5-3.1.3-6]: random, so that nobody can guess it to take over.
fn generated_id() -> Arc<str> {
    let mut random = [0; 16];
    if getrandom::fill(&mut random).is_err() {
        // No randomness from the system: unique is what matters most.
        random = clock::unix_time().as_nanos().to_be_bytes();
    }
    format!("auto-{:032x}", u128::from_be_bytes(random)).into()
}
