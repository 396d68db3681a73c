//! The scenario of retained messages: many are stored, then replayed to subscribers of all of them.

use std::time::Duration;

use clap::Args;
use mio::{Events, Poll};

use super::BenchError;
use super::clock::Clock;
use super::link::{Link, READ_BYTES};
use super::report::{self, Faults, Latency, Phase, Report};
use super::target::{Target, TargetOptions};
use super::wire::{self, Frame, Head, STAMP_BYTES, Stamp};

/// Bytes that are gathered before they are written.
const OUTPUT_BYTES: usize = 64 * 1024;

/// The options of `distkv bench mqtt retained`.
#[derive(Args, Clone, Debug)]
pub struct RetainedOptions {
    /// Retained messages, each with a topic of its own
    #[arg(short = 'n', long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    pub count: u32,
    /// Payload in bytes, at least 16
    #[arg(short = 'b', long, value_name = "BYTES", default_value_t = 64)]
    pub payload: usize,
    /// QoS of storing and of the subscription
    #[arg(short, long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(..=2))]
    pub qos: u8,
    /// QoS 1 and 2: messages that are sent without an acknowledgement
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..))]
    pub in_flight: u16,
    /// How often all are replayed to a new subscriber
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    pub replays: u32,
    /// They are there already, from an earlier run
    #[arg(long)]
    pub skip_store: bool,
    /// Delete them at the end
    #[arg(long)]
    pub clear: bool,
}

/// Runs the scenario.
pub fn run(options: &RetainedOptions, target: &TargetOptions) -> Result<Report, BenchError> {
    if !(STAMP_BYTES..=100_000_000).contains(&options.payload) {
        return Err(BenchError::Usage("--payload: from 16 to 100 000 000 bytes".to_owned()));
    }
    let target = Target::new(target, 2)?;
    let RetainedOptions { count, payload, qos, .. } = options;
    let mut report = Report {
        title: format!("{count} retained messages, QoS {qos}, {payload} bytes"),
        phases: Vec::new(),
    };
    if !options.skip_store {
        report.phases.push(publish_all(options, &target, "store", Some(options.payload))?);
    }
    for _ in 0..options.replays {
        report.phases.push(replay(options, &target)?);
    }
    if options.clear {
        report.phases.push(publish_all(options, &target, "clear", None)?);
    }
    Ok(report)
}

fn topic(target: &Target, index: u32) -> String {
    format!("{}/site{}/device{index}", target.prefix, index / 1000)
}

/// A link alone in its poll, and when something last happened.
struct Alone<'a> {
    target: &'a Target,
    link: Link,
    poll: Poll,
    events: Events,
    scratch: Vec<u8>,
    clock: Clock,
    moved: Duration,
}

impl<'a> Alone<'a> {
    fn open(target: &'a Target, kind: &str) -> Result<Self, BenchError> {
        let poll = Poll::new().map_err(super::system("poll"))?;
        let mut link = target.open(kind, 0)?;
        link.register(poll.registry(), 0)?;
        Ok(Self {
            target,
            link,
            poll,
            events: Events::with_capacity(8),
            scratch: vec![0; READ_BYTES],
            clock: Clock::start(),
            moved: Duration::ZERO,
        })
    }

    /// Writes and reads. Waits for the socket, unless there is `more` to send at once.
    /// False: nothing has happened for too long.
    fn turn(
        &mut self,
        more: bool,
        mut on_frame: impl FnMut(Frame<'_>, &mut Vec<u8>),
    ) -> Result<bool, BenchError> {
        self.link.flush()?;
        let patience = if more && self.link.pending() == 0 { 0 } else { 100 };
        let _interrupted = self.poll.poll(&mut self.events, Some(Duration::from_millis(patience)));
        let before = self.link.pending();
        let mut frames = 0_u64;
        self.link.read(&mut self.scratch, |frame, out| {
            frames += 1;
            on_frame(frame, out);
        })?;
        self.link.flush()?;
        if self.link.is_closed() {
            return Err(self.link.lost(std::io::ErrorKind::UnexpectedEof.into()));
        }
        let now = self.clock.elapsed();
        if frames > 0 || self.link.pending() != before {
            self.moved = now;
        }
        Ok(now - self.moved <= self.target.stall && now <= self.target.limit)
    }
}

/// Publishes a message to each topic and waits until the broker has them all.
fn publish_all(
    options: &RetainedOptions,
    target: &Target,
    name: &str,
    payload: Option<usize>,
) -> Result<Phase, BenchError> {
    let mut alone = Alone::open(target, name)?;
    let version = alone.link.version();
    let mut refused = None;
    let meter = target.meter();
    alone.clock = Clock::start();
    let mut sent = 0;
    let mut acknowledged = 0;
    let window = if options.qos == 0 { options.count } else { options.in_flight.into() };
    let mut ponged = false;
    let mut faults = Faults::default();
    loop {
        let now = alone.clock.nanos();
        while sent < options.count && alone.link.pending() < OUTPUT_BYTES && sent - acknowledged < window {
            let stamp = Stamp { lane: 0, sequence: sent, sent_nanos: now };
            // 1 to 65535, again and again: far more than are in flight.
            let id = (sent % u32::from(u16::MAX)) as u16 + 1;
            let payload = payload.map(|bytes| (stamp, bytes));
            let topic = topic(target, sent);
            let head = Head { version, topic: &topic, alias: None, qos: options.qos, retain: true };
            wire::publish(alone.link.output(), &head, id, payload);
            sent += 1;
            if sent == options.count {
                alone.link.output().extend_from_slice(&wire::PINGREQ_FRAME);
            }
        }
        if ponged && (options.qos == 0 || acknowledged == options.count) {
            break;
        }
        let more = sent < options.count && sent - acknowledged < window;
        let goes_on = alone.turn(more, |frame, out| match frame.first {
            wire::PUBREC | wire::PUBACK if frame.reason() >= wire::FAILURE => refused = Some(frame.reason()),
            wire::PUBREC => wire::acknowledge(out, wire::PUBREL, frame.id().unwrap_or_default()),
            wire::PUBACK | wire::PUBCOMP => acknowledged += 1,
            wire::PINGRESP => ponged = true,
            _ => {}
        })?;
        if let Some(reason) = refused {
            return Err(alone.link.refused(reason));
        }
        if !goes_on {
            faults.gave_up = true;
            break;
        }
    }
    Ok(Phase {
        name: name.to_owned(),
        unit: "message".to_owned(),
        operations: sent.into(),
        seconds: alone.clock.elapsed().as_secs_f64(),
        published: sent.into(),
        faults,
        server: meter.read(),
        tool_cpu_seconds: meter.tool_seconds(),
        ..Phase::default()
    })
}

/// Subscribes to all and waits until each message has come, once.
fn replay(options: &RetainedOptions, target: &Target) -> Result<Phase, BenchError> {
    let mut alone = Alone::open(target, "replay")?;
    let version = alone.link.version();
    let meter = target.meter();
    alone.clock = Clock::start();
    let clock = alone.clock;
    wire::subscribe(alone.link.output(), version, 1, &[format!("{}/#", target.prefix)], options.qos);
    let mut seen = Seen::new(options.count);
    let mut since_subscribe = report::histogram();
    let mut asked = false;
    let mut ponged = false;
    let mut seconds = 0.0;
    while !ponged {
        let now = clock.nanos();
        let goes_on = alone.turn(false, |frame, out| match frame.first {
            wire::PINGRESP => ponged = true,
            wire::PUBREL => wire::acknowledge(out, wire::PUBCOMP, frame.id().unwrap_or_default()),
            first if first & 0xF0 == wire::PUBLISH => {
                let Some(publish) = frame.publish(version) else {
                    seen.faults.wrong += 1;
                    return;
                };
                match publish.qos {
                    1 => wire::acknowledge(out, wire::PUBACK, publish.id),
                    2 => wire::acknowledge(out, wire::PUBREC, publish.id),
                    _ => {}
                }
                since_subscribe.saturating_record(now);
                let whole = publish.retain && publish.payload.len() == options.payload;
                seen.take(Stamp::read(publish.payload).filter(|_| whole));
            }
            _ => {}
        })?;
        if !asked && (seen.missing == 0 || !goes_on) {
            seconds = clock.elapsed().as_secs_f64();
            alone.link.output().extend_from_slice(&wire::PINGREQ_FRAME);
            asked = true;
        } else if !goes_on {
            seen.faults.gave_up = true;
            break;
        }
    }
    seen.faults.missing = seen.missing.into();
    Ok(Phase {
        name: "replay".to_owned(),
        unit: "message".to_owned(),
        operations: seen.received,
        seconds,
        received: seen.received,
        faults: seen.faults,
        latency: Latency::of(&since_subscribe),
        server: meter.read(),
        tool_cpu_seconds: meter.tool_seconds(),
        ..Phase::default()
    })
}

/// Which messages have come.
struct Seen {
    bits: Vec<bool>,
    missing: u32,
    received: u64,
    faults: Faults,
}

impl Seen {
    fn new(count: u32) -> Self {
        Self { bits: vec![false; count as usize], missing: count, received: 0, faults: Faults::default() }
    }

    fn take(&mut self, stamp: Option<Stamp>) {
        self.received += 1;
        match stamp.and_then(|stamp| self.bits.get_mut(stamp.sequence as usize)) {
            Some(bit) if *bit => self.faults.repeated += 1,
            Some(bit) => {
                *bit = true;
                self.missing -= 1;
            }
            None => self.faults.wrong += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_counts_once() {
        let stamp = |sequence| Some(Stamp { lane: 0, sequence, sent_nanos: 0 });
        let mut seen = Seen::new(3);
        for message in [stamp(2), stamp(0), stamp(2), stamp(3), None] {
            seen.take(message);
        }
        assert_eq!((seen.missing, seen.received), (1, 5));
        assert_eq!(seen.faults, Faults { repeated: 1, wrong: 2, ..Faults::default() });
    }
}
