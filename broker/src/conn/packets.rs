//! What the client's packets do. Acknowledgements gather in the worker and go to the own outbox together, once per batch, with the
//! mark for which they have to wait.

use bytes::Bytes;

use super::Connection;
use super::end::End;
use crate::codec::{self, DecodeError, Decoded, Delivery, PINGRESP, Packet, PacketType, Publish};
use crate::hooks::Mark;
use crate::router::{Accepted, Outgoing, Routing, accept};
use crate::session::{Ack, Incoming, Log, Origin, PacketId, Session, WrongAck};
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
        let max = self.core.hot.packet_bytes();
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
                    self.handle(packet, &rest[..len], owner, routing)?;
                }
            }
            // Also when there is a subscriber to wait for, before messages to it are lost.
            if packets == PACKETS || routing.deliveries >= DELIVERIES || !routing.pressed.is_empty() {
                batch.more = batch.decoded < bytes.len();
                return Ok(batch);
            }
        }
    }

    /// Moves the batch's acknowledgements into the own outbox, and what the session lets go now.
    fn acknowledge(&mut self, routing: &mut Routing) {
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
        packet: Packet<'_>,
        frame: &[u8],
        owner: Option<&Bytes>,
        routing: &mut Routing,
    ) -> Result<(), End> {
        match packet {
            Packet::Publish(publish) => return self.publish(&publish, frame, owner, routing),
            Packet::Puback(ack) => {
                self.flow_ended(routing, |session, log| session.handle_puback(ack.id, log))?;
            }
            Packet::Pubcomp(ack) => {
                self.flow_ended(routing, |session, log| session.handle_pubcomp(ack.id, log))?;
            }
            Packet::Pubrec(ack) => self.received(ack.id, routing)?,
            Packet::Pubrel(ack) => self.released(ack.id, routing),
            Packet::Subscribe(subscribe) => self.subscribe(&subscribe, routing),
            Packet::Unsubscribe(unsubscribe) => self.unsubscribe(&unsubscribe, routing),
            Packet::Pingreq => routing.acks.packet(&PINGRESP, Mark::default()),
            Packet::Disconnect(_) => return Err(End::Disconnect),
            Packet::Connect(_) => return Err(protocol(DecodeError::SecondConnect)),
            Packet::Connack(_) => return Err(unexpected(PacketType::Connack)),
            Packet::Suback(_) => return Err(unexpected(PacketType::Suback)),
            Packet::Unsuback(_) => return Err(unexpected(PacketType::Unsuback)),
            Packet::Pingresp => return Err(unexpected(PacketType::Pingresp)),
            Packet::Auth(_) => return Err(unexpected(PacketType::Auth)),
        }
        Ok(())
    }

    fn publish(
        &mut self,
        publish: &Publish<'_>,
        frame: &[u8],
        owner: Option<&Bytes>,
        routing: &mut Routing,
    ) -> Result<(), End> {
        routing.tally.publish_received += 1;
        routing.tally.publish_bytes_received += publish.payload.len() as u64;
        let shared = owner.map(|owner| owner.slice_ref(publish.payload));
        let mut message = Outgoing::new(publish.topic, publish.payload, publish.delivery.qos());
        message.shared = shared.as_ref();
        match publish.delivery {
            Delivery::AtMostOnce => {
                // Without RETAIN the frame can leave as it came, if its length is written as we would.
                let remaining = 2 + publish.topic.len() + publish.payload.len();
                let as_it_came = !publish.retain && frame.len() == remaining + header_len(remaining);
                message.frame = as_it_came.then_some(frame);
                let mark = self.accept(&message, publish.retain, routing)?;
                routing.unanswered = routing.unanswered.max(mark);
            }
            Delivery::AtLeastOnce { id, .. } => {
                let mark = self.accept(&message, publish.retain, routing)?;
                routing.acks.packet(&codec::puback(id), mark);
            }
            Delivery::ExactlyOnce { id, dup } => {
                self.publish_exactly_once(id, dup, publish.retain, message, routing)?;
            }
        }
        Ok(())
    }

    /// A QoS 2 message is routed when it comes, unless it came before [MQTT-4.3.3-2].
    fn publish_exactly_once(
        &mut self,
        id: PacketId,
        dup: bool,
        retain: bool,
        message: Outgoing<'_>,
        routing: &mut Routing,
    ) -> Result<(), End> {
        let (incoming, origin) = {
            let mut locked = self.client.lock();
            let session = locked.session();
            let origin = session.is_persistent().then(|| Origin { sid: session.sid(), packet_id: id });
            (session.check_incoming(id, dup), origin)
        };
        let mut message = Outgoing { origin, ..message };
        match &incoming {
            Incoming::New => {}
            Incoming::Unfinished(served) => message.served = served,
            Incoming::Duplicate => {
                routing.acks.packet(&codec::pubrec(id), Mark::default());
                return Ok(());
            }
            Incoming::TooMany => {
                return Err(End::Protocol("too many QoS 2 messages without PUBREL".into()));
            }
        }
        let mark = self.accept(&message, retain, routing)?;
        let mut recorder = self.core.records.recorder();
        self.client.lock().session().note_incoming(id, &mut recorder);
        routing.acks.packet(&codec::pubrec(id), mark.max(recorder.mark()));
        Ok(())
    }

    fn accept(&mut self, message: &Outgoing<'_>, retain: bool, routing: &mut Routing) -> Result<Mark, End> {
        match accept(&self.core, &*self.principal, message, retain, routing) {
            Accepted::Routed(mark) => {
                self.unkept = self.unkept.max(mark);
                Ok(mark)
            }
            Accepted::Dropped(reason) => {
                tracing::debug!(client = &*self.client.id, topic = message.topic, ?reason, "publish dropped");
                Ok(Mark::default())
            }
            Accepted::Unavailable => Err(End::Unavailable),
        }
    }

    /// PUBACK and PUBCOMP end a flow: there is room in the window.
    fn flow_ended(
        &self,
        routing: &mut Routing,
        handle: impl FnOnce(&mut Session, &mut dyn Log) -> Result<Ack, WrongAck>,
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
        handled.map_err(wrong)?;
        routing.acks.packet(&codec::pubrel(id), mark);
        Ok(())
    }

    fn released(&self, id: PacketId, routing: &mut Routing) {
        let mut recorder = self.core.records.recorder_with(routing.take_record());
        self.client.lock().session().handle_pubrel(id, &mut recorder);
        let (buffer, mark) = recorder.finish();
        routing.give_record(buffer);
        routing.acks.packet(&codec::pubcomp(id), mark);
    }
}

/// Bytes of the fixed header before so many others.
fn header_len(remaining: usize) -> usize {
    match remaining {
        0..0x80 => 2,
        0x80..0x4000 => 3,
        0x4000..0x20_0000 => 4,
        _ => 5,
    }
}

fn protocol(error: DecodeError) -> End {
    End::Protocol(error.to_string())
}

fn unexpected(packet: PacketType) -> End {
    protocol(DecodeError::Unexpected(packet))
}

fn wrong(wrong: WrongAck) -> End {
    End::Protocol(wrong.to_string())
}
