//! One publishing client: what it may send, and what is not acknowledged yet.

use hdrhistogram::Histogram;

use super::super::BenchError;
use super::super::link::Link;
use super::super::wire::{self, Template};
use super::FlowOptions;
use super::ledger::Ledger;

/// Bytes that are gathered before they are written.
const OUTPUT_BYTES: usize = 64 * 1024;

pub(super) struct Publisher {
    pub(super) link: Link,
    /// Is it in the list of those that may be able to send?
    pub(super) ready: bool,
    /// Messages still to be sent.
    pub(super) left: u64,
    lanes: Vec<(usize, Template)>,
    /// Whose turn it is.
    turn: usize,
    qos: u8,
    /// Packet ids that are free; empty at QoS 0.
    free: Vec<u16>,
    in_flight: u16,
    /// By packet id: when it was sent.
    sent_nanos: Vec<u64>,
    asked: bool,
}

impl Publisher {
    /// The publisher of that number; `topic` names topics.
    pub(super) fn new(
        link: Link,
        options: &FlowOptions,
        number: usize,
        topic: impl Fn(usize) -> String,
    ) -> Self {
        let topology = options.topology();
        let lanes = (number..topology.lanes()).step_by(topology.publishers).map(|lane| {
            let topic = topic(topology.topic_of_lane(lane));
            (lane, Template::new(&topic, options.qos, options.retain, options.payload))
        });
        let (each, rest) =
            (options.messages / options.publishers as u64, options.messages % options.publishers as u64);
        let in_flight = if options.qos > 0 { options.in_flight } else { 0 };
        Self {
            link,
            ready: false,
            left: match options.duration {
                Some(_) => u64::MAX,
                None => each + u64::from((number as u64) < rest),
            },
            lanes: lanes.collect(),
            turn: 0,
            qos: options.qos,
            free: (1..=in_flight).rev().collect(),
            in_flight,
            sent_nanos: vec![0; usize::from(in_flight) + 1],
            asked: false,
        }
    }

    /// Is there room for another packet before the next write?
    pub(super) fn has_room(&self) -> bool {
        self.link.pending() < OUTPUT_BYTES
    }

    /// Is everything that was sent acknowledged?
    pub(super) fn is_idle(&self) -> bool {
        self.free.len() == usize::from(self.in_flight)
    }

    /// Sends the next message, if there is one, the window of its lane is open and a packet id is free.
    pub(super) fn send(&mut self, ledger: &mut Ledger, now: u64) -> bool {
        if self.left == 0 || (self.qos > 0 && self.free.is_empty()) {
            return false;
        }
        let Some((lane, template)) = self.lanes.get(self.turn) else { return false };
        let Some(stamp) = ledger.send(*lane, now) else { return false };
        let id = self.free.pop().unwrap_or_default();
        if let Some(sent) = self.sent_nanos.get_mut(usize::from(id)) {
            *sent = now;
        }
        template.append(self.link.output(), id, stamp);
        self.left -= 1;
        self.turn = (self.turn + 1) % self.lanes.len();
        true
    }

    /// Sends a PINGREQ behind its last message, once. The answer says that the broker has taken them all.
    pub(super) fn ask_whether_done(&mut self) -> bool {
        if self.asked {
            return false;
        }
        self.asked = true;
        self.link.output().extend_from_slice(&wire::PINGREQ_FRAME);
        true
    }

    /// Reads acknowledgements.
    pub(super) fn receive(
        &mut self,
        scratch: &mut [u8],
        now: u64,
        acknowledged: &mut Histogram<u64>,
        pings: &mut usize,
    ) -> Result<(), BenchError> {
        let Self { link, free, sent_nanos, in_flight, .. } = self;
        let mut unknown = None;
        link.read(scratch, |frame, out| match frame.first {
            wire::PUBREC => wire::acknowledge(out, wire::PUBREL, frame.id().unwrap_or_default()),
            wire::PUBACK | wire::PUBCOMP => {
                let id = frame.id().unwrap_or_default();
                if id == 0 || id > *in_flight || free.len() == usize::from(*in_flight) {
                    unknown = Some(id);
                    return;
                }
                let sent = sent_nanos.get(usize::from(id)).copied().unwrap_or(now);
                acknowledged.saturating_record(now.saturating_sub(sent));
                free.push(id);
            }
            wire::PINGRESP => *pings = pings.saturating_sub(1),
            _ => {}
        })?;
        if link.is_closed() {
            return Err(link.lost(std::io::ErrorKind::UnexpectedEof.into()));
        }
        match unknown {
            Some(id) => Err(link.protocol(format!("an acknowledgement of packet {id}, which was not sent"))),
            None => Ok(()),
        }
    }
}
