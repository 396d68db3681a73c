//! What the client's packets do, but for PUBLISH and SUBSCRIBE, which have files of their own. Acknowledgements gather in the worker and
//! go to the own outbox together, once per batch, with the mark for which they have to wait.

use bytes::Bytes;

use super::Connection;
use super::end::End;
use crate::codec::{
    self, Ack, DecodeError, Decoded, Disconnect, PINGRESP, Packet, PacketType, ProtocolVersion, ReasonCode,
    UserProperties,
};
use crate::hooks::Mark;
use crate::router::Routing;
use crate::session::{self, Log, PacketId, Session, WrongAck};
use crate::transport::Transport;

/// Packets in one batch, at most.
const PACKETS: usize = 1024;
/// Deliveries after which a batch ends.
const DELIVERIES: usize = 10_000;

/// How far a batch was handled.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Bytes of whole packets.
    pub(super) decoded: usize,
    /// The length of the packet that begins behind them, as far as it is known.
    pub(super) needed: usize,
    /// There may be more whole packets: the batch was cut for others' sake.
    pub(super) more: bool,
}

/// Acknowledgements of one batch, on their way to the own outbox.
#[derive(Debug, Default)]
pub(crate) struct Acks {
    bytes: Vec<u8>,
    packets: u64,
    mark: Mark,
    /// The client acknowledged something: the session may let go of more.
    window: bool,
}

impl Acks {
    pub(super) fn packet(&mut self, packet: &[u8], mark: Mark) {
        self.bytes.extend_from_slice(packet);
        self.packets += 1;
        self.mark = self.mark.max(mark);
    }
}

impl<T: Transport> Connection<T> {
    /// Decodes and handles whole packets. `owner` is the buffer that `bytes` are all of, if payloads may be shared with it.
    pub(super) fn handle_bytes(
        &mut self,
        bytes: &[u8],
        owner: Option<&Bytes>,
        routing: &mut Routing,
    ) -> Result<Batch, End> {
        let handled = self.handle_packets(bytes, owner, routing);
        // Also after an error: the next connection of this worker must not find them.
        self.acknowledge(routing);
        handled
    }

    fn handle_packets(
        &mut self,
        bytes: &[u8],
        owner: Option<&Bytes>,
        routing: &mut Routing,
    ) -> Result<Batch, End> {
        let mut batch = Batch::default();
        let max = self.core.hot.packet_bytes().min(self.peer.listener.max_packet_bytes.unwrap_or(usize::MAX));
        let mut packets = 0;
        loop {
            let rest = &bytes[batch.decoded..];
            match codec::decode(rest, self.version, max).map_err(protocol)? {
                Decoded::NeedMore { at_least } => {
                    batch.needed = at_least;
                    return Ok(batch);
                }
                Decoded::Packet { packet, len } => {
                    packets += 1;
                    routing.tally.packets_received += 1;
                    batch.decoded += len;
                    self.handle(&packet, &rest[..len], owner, routing)?;
                }
            }
            // Also when there is a subscriber to wait for, before messages to it are lost.
            if packets == PACKETS
                || routing.deliveries >= DELIVERIES
                || !routing.pressed.is_empty()
                || self.pace.is_spent(&routing.tally)
            {
                batch.more = batch.decoded < bytes.len();
                return Ok(batch);
            }
        }
    }

    /// Moves the batch's acknowledgements into the own outbox, and what the session lets go now.
    pub(super) fn acknowledge(&self, routing: &mut Routing) {
        let acks = &mut routing.acks;
        if acks.packets > 0 {
            let mut outbox = self.client.outbox.lock();
            outbox.control(&acks.bytes, acks.packets, &mut routing.dirty);
            outbox.mark(acks.mark);
            drop(outbox);
            routing.answered = true;
            acks.bytes.clear();
            acks.packets = 0;
            acks.mark = Mark::default();
        }
        if std::mem::take(&mut acks.window) && self.client.has_queue() {
            let mut recorder = self.core.records.recorder();
            self.client.lock().transmit(routing, &mut recorder, &self.core);
        }
    }

    fn handle(
        &mut self,
        packet: &Packet<'_>,
        frame: &[u8],
        owner: Option<&Bytes>,
        routing: &mut Routing,
    ) -> Result<(), End> {
        match packet {
            Packet::Publish(publish) => return self.publish(publish, frame, owner, routing),
            Packet::Puback(ack) => {
                self.flow_ended(routing, |session, log| session.handle_puback(ack.id, log))?;
            }
            Packet::Pubcomp(ack) => {
                self.flow_ended(routing, |session, log| session.handle_pubcomp(ack.id, log))?;
            }
            // Refused by the client: its flow ends here [MQTT 5: 4.3.3].
            Packet::Pubrec(ack) if ack.reason.is_error() => {
                self.flow_ended(routing, |session, log| session.handle_refusal(ack.id, log))?;
            }
            Packet::Pubrec(ack) => self.received(ack.id, routing)?,
            Packet::Pubrel(ack) => self.released(ack.id, routing),
            Packet::Subscribe(subscribe) => return self.subscribe(subscribe, routing),
            Packet::Unsubscribe(unsubscribe) => return self.unsubscribe(unsubscribe, routing),
            Packet::Pingreq => routing.acks.packet(&PINGRESP, Mark::default()),
            Packet::Disconnect(disconnect) => return Err(self.leaves(disconnect)),
            Packet::Auth(auth) => return self.authenticate_again(auth),
            Packet::Connect(_) => return Err(protocol(DecodeError::SecondConnect)),
            Packet::Connack(_) => return Err(unexpected(PacketType::Connack)),
            Packet::Suback(_) => return Err(unexpected(PacketType::Suback)),
            Packet::Unsuback(_) => return Err(unexpected(PacketType::Unsuback)),
            Packet::Pingresp => return Err(unexpected(PacketType::Pingresp)),
        }
        Ok(())
    }

    /// Answers a packet with its identifier and what became of it. `told` are user properties for the client, which are left out where
    /// it does not want them [MQTT5-3.1.2-29], or where they make the packet larger than it takes [MQTT5-3.4.2-3].
    #[inline]
    pub(super) fn answer(
        &self,
        packet: PacketType,
        id: PacketId,
        reason: ReasonCode,
        told: &[(&str, &str)],
        mark: Mark,
        routing: &mut Routing,
    ) {
        if self.version != ProtocolVersion::V5 || (reason == ReasonCode::Success && told.is_empty()) {
            routing.acks.packet(&short_answer(packet, id), mark);
        } else {
            self.answer_at_length(packet, id, reason, told, mark, routing);
        }
    }

    #[inline(never)]
    fn answer_at_length(
        &self,
        packet: PacketType,
        id: PacketId,
        reason: ReasonCode,
        told: &[(&str, &str)],
        mark: Mark,
        routing: &mut Routing,
    ) {
        let told = if self.manner.problem_information { told } else { &[] };
        let with = Ack { user: UserProperties::Pairs(told), ..Ack::new(id, reason) };
        let mut bytes = Vec::new();
        let fits = with.encode(&mut bytes, packet, self.version).is_ok() && self.takes(bytes.len());
        if !fits {
            bytes.clear();
            // Without properties it is short.
            let _ = Ack::new(id, reason).encode(&mut bytes, packet, self.version);
        }
        routing.acks.packet(&bytes, mark);
    }

    /// Does the client take a packet of so many bytes?
    pub(super) fn takes(&self, bytes: usize) -> bool {
        self.manner.maximum_packet.is_none_or(|maximum| bytes <= maximum as usize)
    }

    /// PUBACK and PUBCOMP end a flow: there is room in the window.
    fn flow_ended(
        &self,
        routing: &mut Routing,
        handle: impl FnOnce(&mut Session, &mut dyn Log) -> Result<session::Ack, WrongAck>,
    ) -> Result<(), End> {
        let mut recorder = self.core.records.recorder_with(routing.take_record());
        let handled = handle(self.client.lock().session(), &mut recorder);
        let (buffer, mark) = recorder.finish();
        routing.give_record(buffer);
        // Nothing is promised by it, but a client shall not get again what it has acknowledged if that can be helped.
        routing.unanswered = routing.unanswered.max(mark);
        routing.acks.window = true;
        handled.map(drop).map_err(wrong)
    }

    fn received(&self, id: PacketId, routing: &mut Routing) -> Result<(), End> {
        let mut recorder = self.core.records.recorder_with(routing.take_record());
        let handled = self.client.lock().session().handle_pubrec(id, &mut recorder);
        let (buffer, mark) = recorder.finish();
        routing.give_record(buffer);
        let reason = match handled.map_err(wrong)? {
            session::Ack::Unknown => ReasonCode::PacketIdentifierNotFound,
            session::Ack::Known | session::Ack::Repeated => ReasonCode::Success,
        };
        self.answer(PacketType::Pubrel, id, reason, &[], mark, routing);
        Ok(())
    }

    fn released(&self, id: PacketId, routing: &mut Routing) {
        let mut recorder = self.core.records.recorder_with(routing.take_record());
        let known = self.client.lock().session().handle_pubrel(id, &mut recorder);
        let (buffer, mark) = recorder.finish();
        routing.give_record(buffer);
        let reason = if known { ReasonCode::Success } else { ReasonCode::PacketIdentifierNotFound };
        self.answer(PacketType::Pubcomp, id, reason, &[], mark, routing);
    }

    /// The client's DISCONNECT. It may change for how long its session lasts, but not make one last that would have ended now
    /// [MQTT5-3.14.2-2].
    fn leaves(&self, disconnect: &Disconnect<'_>) -> End {
        if disconnect.server_reference.is_some() {
            return End::Protocol(ReasonCode::ProtocolError, "DISCONNECT with a server reference".into());
        }
        if let Some(wanted) = disconnect.session_expiry {
            let expiry = self.core.limits().expiry_of(wanted);
            let mut recorder = self.core.records.recorder();
            if !self.client.lock().session().set_expiry(expiry, &mut recorder) {
                let words = "DISCONNECT makes a session last that was to end with its connection";
                return End::Protocol(ReasonCode::ProtocolError, words.into());
            }
        }
        // Only "normal disconnection" discards the will [MQTT5-3.14.4-3].
        match disconnect.reason {
            ReasonCode::Success => End::Disconnect,
            reason => End::DisconnectWith(reason),
        }
    }
}

/// An acknowledgement that says success, or of MQTT 3.
fn short_answer(packet: PacketType, id: PacketId) -> [u8; 4] {
    match packet {
        PacketType::Pubrec => codec::pubrec(id),
        PacketType::Pubrel => codec::pubrel(id),
        PacketType::Pubcomp => codec::pubcomp(id),
        _ => codec::puback(id),
    }
}

pub(super) fn protocol(error: DecodeError) -> End {
    End::Protocol(error.reason(), error.to_string())
}

fn unexpected(packet: PacketType) -> End {
    protocol(DecodeError::Unexpected(packet))
}

fn wrong(wrong: WrongAck) -> End {
    End::Protocol(ReasonCode::ProtocolError, wrong.to_string())
}
