//! What is under way to the client: in-flight messages in the order in which they were first sent, found by packet identifier.
//!
//! Identifiers are given out in a circle, so the order of sending is the order on the circle, seen from the oldest one: the first is
//! found at once, any other by bisection. Only after a whole turn of the circle past one that is never acknowledged are they out of
//! order; then they are searched one by one until nothing is under way.

use std::collections::VecDeque;
use std::sync::Arc;

use super::PacketId;
use crate::message::{Message, QoS, Terms};

/// What we wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Awaiting {
    /// The PUBACK of a QoS 1 message.
    Puback,
    /// The PUBREC of a QoS 2 message.
    Pubrec,
    /// The PUBCOMP: PUBREL is sent, the message is not needed any more.
    Pubcomp,
}

impl Awaiting {
    pub(super) fn first(qos: QoS) -> Self {
        if qos == QoS::ExactlyOnce { Self::Pubrec } else { Self::Puback }
    }
}

/// One message under way.
#[derive(Clone, Debug)]
pub(super) struct Flight {
    pub(super) id: PacketId,
    pub(super) awaiting: Awaiting,
    /// `None` once PUBREC was received.
    pub(super) message: Option<Arc<Message>>,
    pub(super) terms: Terms,
}

/// All messages under way.
#[derive(Debug, Default)]
pub(super) struct Inflight {
    flights: VecDeque<Flight>,
    /// The identifier given out last; 0 before the first.
    last: u16,
    /// The order of sending is not that of the circle.
    disordered: bool,
}

impl Inflight {
    pub(super) fn len(&self) -> usize {
        self.flights.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Flight> {
        self.flights.iter()
    }

    pub(super) fn get(&self, index: usize) -> Option<&Flight> {
        self.flights.get(index)
    }

    pub(super) fn get_mut(&mut self, index: usize) -> Option<&mut Flight> {
        self.flights.get_mut(index)
    }

    /// Where the flight of that identifier stands in the order of sending.
    pub(super) fn find(&self, id: PacketId) -> Option<usize> {
        let front = self.flights.front()?;
        if front.id == id {
            return Some(0);
        }
        if self.disordered {
            return self.flights.iter().position(|flight| flight.id == id);
        }
        let from = front.id;
        self.flights.binary_search_by_key(&distance(from, id), |flight| distance(from, flight.id)).ok()
    }

    /// A free identifier, the next one on the circle; `None` if all are under way.
    pub(super) fn allocate(&mut self) -> Option<PacketId> {
        if self.flights.len() >= usize::from(u16::MAX) {
            return None;
        }
        loop {
            self.last = self.last.checked_add(1).unwrap_or(1);
            let id = PacketId::new(self.last)?;
            if self.is_behind_all(id) || self.find(id).is_none() {
                return Some(id);
            }
        }
    }

    /// Lies it on the circle behind the newest flight, and so is free? It nearly always does.
    fn is_behind_all(&self, id: PacketId) -> bool {
        match (self.flights.front(), self.flights.back()) {
            (Some(front), Some(back)) => {
                !self.disordered && distance(front.id, id) > distance(front.id, back.id)
            }
            _ => true,
        }
    }

    /// Adds a flight whose identifier is not under way.
    pub(super) fn push(&mut self, flight: Flight) {
        if let (Some(front), Some(back)) = (self.flights.front(), self.flights.back())
            && distance(front.id, flight.id) <= distance(front.id, back.id)
        {
            self.disordered = true;
        }
        self.last = flight.id.get();
        self.flights.push_back(flight);
    }

    pub(super) fn remove(&mut self, index: usize) -> Option<Flight> {
        let removed = self.flights.remove(index);
        if self.flights.is_empty() {
            self.disordered = false;
        }
        removed
    }

    pub(super) fn retain(&mut self, keep: impl FnMut(&Flight) -> bool) {
        self.flights.retain(keep);
    }
}

/// Steps from `from` to `to` on the circle of the 65 535 identifiers.
fn distance(from: PacketId, to: PacketId) -> u16 {
    let (from, to) = (from.get(), to.get());
    if to >= from { to - from } else { u16::MAX - from + to }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flight(id: PacketId) -> Flight {
        Flight { id, awaiting: Awaiting::Puback, message: None, terms: Terms::default() }
    }

    #[test]
    fn identifiers_go_round_without_zero_and_skip_those_under_way() {
        let mut inflight = Inflight::default();
        let stuck = inflight.allocate().unwrap();
        inflight.push(flight(stuck));
        for turn in 0..200_000_u32 {
            let id = inflight.allocate().unwrap();
            assert_ne!(id, stuck);
            inflight.push(flight(id));
            let newest = inflight.find(id).unwrap();
            assert_eq!(newest, inflight.len() - 1);
            if turn % 3 > 0 || inflight.len() > 20 {
                inflight.remove(1 + (turn as usize) % newest);
            }
        }
        assert!(inflight.disordered);
        assert_eq!(inflight.find(stuck), Some(0));
    }

    #[test]
    fn every_flight_is_found_wherever_the_circle_closes() {
        let mut inflight = Inflight { last: 65_500, ..Inflight::default() };
        let ids: Vec<PacketId> = (0..100)
            .map(|_| {
                let id = inflight.allocate().unwrap();
                inflight.push(flight(id));
                id
            })
            .collect();
        assert!(!inflight.disordered);
        for (index, id) in ids.iter().enumerate() {
            assert_eq!(inflight.find(*id), Some(index));
        }
        assert_eq!(inflight.find(PacketId::new(70).unwrap()), None);
        assert_eq!(inflight.find(PacketId::new(65_500).unwrap()), None);
    }

    #[test]
    fn all_identifiers_can_be_under_way_and_then_none_is_left() {
        let mut inflight = Inflight::default();
        for _ in 0..u16::MAX {
            let id = inflight.allocate().unwrap();
            inflight.push(flight(id));
        }
        assert_eq!(inflight.allocate(), None);
    }
}
