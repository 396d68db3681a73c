//! One publishing client: what it may send, and what is not acknowledged yet.

use hdrhistogram::Histogram;

use super::super::BenchError;
use super::super::link::Link;
use super::super::target::MqttVersion;
use super::super::wire::{self, Connack, Head, Stamp, Template};
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
    lanes: Vec<Lane>,
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
        connack: Connack,
        options: &FlowOptions,
        number: usize,
        topic: impl Fn(usize) -> String,
    ) -> Self {
        let topology = options.topology();
        let aliases = if options.aliases { connack.aliases } else { 0 };
        let lanes =
            (number..topology.lanes()).step_by(topology.publishers).zip(1_u32..).map(|(lane, place)| {
                let alias = u16::try_from(place).ok().filter(|alias| *alias <= aliases);
                Lane::new(lane, &topic(topology.topic_of_lane(lane)), alias, link.version(), options)
            });
        let lanes = lanes.collect();
        let (each, rest) =
            (options.messages / options.publishers as u64, options.messages % options.publishers as u64);
        let in_flight = if options.qos > 0 { options.in_flight.min(connack.receive_maximum) } else { 0 };
        Self {
            link,
            ready: false,
            left: match options.duration {
                Some(_) => u64::MAX,
                None => each + u64::from((number as u64) < rest),
            },
            lanes,
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
        let Some(lane) = self.lanes.get_mut(self.turn) else { return false };
        let Some(stamp) = ledger.send(lane.number, now) else { return false };
        let id = self.free.pop().unwrap_or_default();
        if let Some(sent) = self.sent_nanos.get_mut(usize::from(id)) {
            *sent = now;
        }
        lane.append(self.link.output(), id, stamp);
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
        let mut refused = None;
        link.read(scratch, |frame, out| match frame.first {
            wire::PUBACK | wire::PUBREC | wire::PUBCOMP if frame.reason() >= wire::FAILURE => {
                refused = Some(frame.reason());
            }
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
        if let Some(reason) = refused {
            return Err(link.refused(reason));
        }
        match unknown {
            Some(id) => Err(link.protocol(format!("an acknowledgement of packet {id}, which was not sent"))),
            None => Ok(()),
        }
    }
}

/// One of the publisher's topics.
#[derive(Debug)]
struct Lane {
    /// In the ledger.
    number: usize,
    /// With an alias: the message that tells what it stands for, until it is sent.
    first: Option<Template>,
    template: Template,
}

impl Lane {
    fn new(
        number: usize,
        topic: &str,
        alias: Option<u16>,
        version: MqttVersion,
        options: &FlowOptions,
    ) -> Self {
        let head = Head { version, topic, alias, qos: options.qos, retain: options.retain };
        let whole = Template::new(&head, options.payload);
        match alias {
            Some(_) => {
                let template = Template::new(&Head { topic: "", ..head }, options.payload);
                Self { number, first: Some(whole), template }
            }
            None => Self { number, first: None, template: whole },
        }
    }

    /// Appends the next message.
    fn append(&mut self, out: &mut Vec<u8>, id: u16, stamp: Stamp) {
        match self.first.take() {
            Some(first) => first.append(out, id, stamp),
            None => self.template.append(out, id, stamp),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::super::wire::Frame;
    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: FlowOptions,
    }

    #[test]
    fn a_topic_with_an_alias_is_named_once() {
        let options = Line::parse_from(["flow", "-q", "1", "-b", "16"]).options;
        let stamp = Stamp { lane: 0, sequence: 0, sent_nanos: 0 };
        let topics = |alias| {
            let mut lane = Lane::new(0, "a", alias, MqttVersion::V5, &options);
            let mut bytes = Vec::new();
            (1..=3).for_each(|id| lane.append(&mut bytes, id, stamp));
            let mut rest = bytes.as_slice();
            let frames = std::iter::from_fn(|| Frame::take(&mut rest));
            let publishes = frames.map(|frame| frame.publish(MqttVersion::V5).expect("a PUBLISH"));
            publishes.map(|publish| (publish.topic.len(), publish.alias, publish.id)).collect::<Vec<_>>()
        };
        assert_eq!(topics(Some(9)), [(1, 9, 1), (0, 9, 2), (0, 9, 3)]);
        assert_eq!(topics(None), [(1, 0, 1), (1, 0, 2), (1, 0, 3)]);
    }
}
