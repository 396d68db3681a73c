//! The packets of a fixed size: acknowledgements of four bytes, PINGREQ, PINGRESP and DISCONNECT of two.

use super::{PacketId, PacketType};

/// PINGREQ [MQTT 3.1.1: 3.12].
pub const PINGREQ: [u8; 2] = [PacketType::Pingreq.first_byte(), 0];

/// PINGRESP [MQTT-3.12.4-1].
pub const PINGRESP: [u8; 2] = [PacketType::Pingresp.first_byte(), 0];

/// DISCONNECT [MQTT 3.1.1: 3.14]. In MQTT 3 only clients send it.
pub const DISCONNECT: [u8; 2] = [PacketType::Disconnect.first_byte(), 0];

/// PUBACK: ends a QoS 1 delivery.
#[must_use]
#[inline]
pub fn puback(id: PacketId) -> [u8; 4] {
    ack(PacketType::Puback, id)
}

/// PUBREC: a QoS 2 message has arrived.
#[must_use]
#[inline]
pub fn pubrec(id: PacketId) -> [u8; 4] {
    ack(PacketType::Pubrec, id)
}

/// PUBREL: answers PUBREC [MQTT-3.6.1-1].
#[must_use]
#[inline]
pub fn pubrel(id: PacketId) -> [u8; 4] {
    ack(PacketType::Pubrel, id)
}

/// PUBCOMP: ends a QoS 2 delivery.
#[must_use]
#[inline]
pub fn pubcomp(id: PacketId) -> [u8; 4] {
    ack(PacketType::Pubcomp, id)
}

/// UNSUBACK: answers UNSUBSCRIBE [MQTT-3.10.4-4].
#[must_use]
#[inline]
pub fn unsuback(id: PacketId) -> [u8; 4] {
    ack(PacketType::Unsuback, id)
}

#[inline]
fn ack(packet: PacketType, id: PacketId) -> [u8; 4] {
    let [high, low] = id.to_be_bytes();
    [packet.first_byte(), 2, high, low]
}
