//! The scenario of messages: publishers, topics, subscribers, with a window so that the broker is always busy and nothing
//! need be dropped, or with a rate.

mod ledger;
mod publisher;
mod subscriber;

use std::time::Duration;

use clap::Args;
use hdrhistogram::Histogram;
use mio::{Events, Poll};

use self::ledger::{Ledger, Topology};
use self::publisher::Publisher;
use self::subscriber::{Arrivals, Subscriber};
use super::BenchError;
use super::clock::Clock;
use super::link::{Link, READ_BYTES};
use super::report::{self, Latency, Phase, Report};
use super::target::{MqttVersion, Target, TargetOptions};
use super::wire::{self, STAMP_BYTES};

/// Background clients hold this many filters each.
const FILTERS_PER_CLIENT: usize = 1000;

/// The most bytes on their way if no window is given.
const WINDOW_BYTES: usize = 1 << 20;

/// The most messages on their way if no window is given.
const WINDOW_MAX: usize = 4096;

/// A message that is sent this much after its time counts from its time, as the sender was held up.
const LATE_NANOS: u64 = 2_000_000;

/// The options of `distkv bench mqtt flow`.
#[derive(Args, Clone, Debug)]
pub struct FlowOptions {
    /// Publishing clients
    #[arg(short = 'P', long, default_value_t = 1)]
    pub publishers: usize,
    /// Subscribing clients
    #[arg(short = 'S', long, default_value_t = 1)]
    pub subscribers: usize,
    /// Topics; publishers and subscribers are dealt to them in turn
    #[arg(short = 'T', long, default_value_t = 1)]
    pub topics: usize,
    /// QoS of publishers and subscribers
    #[arg(short, long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(..=2))]
    pub qos: u8,
    /// Payload in bytes, at least 16
    #[arg(short = 'b', long, value_name = "BYTES", default_value_t = 64)]
    pub payload: usize,
    /// Messages, over all publishers
    #[arg(short = 'n', long, default_value_t = 1_000_000)]
    pub messages: u64,
    /// Publish for this many seconds, instead of a number of messages
    #[arg(long, value_name = "SECONDS", conflicts_with = "messages")]
    pub duration: Option<f64>,
    /// Messages a second, over all publishers [default: as fast as they are taken]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub rate: Option<u64>,
    /// QoS 1 and 2: messages that a publisher sends without an acknowledgement
    #[arg(long, value_name = "COUNT", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..))]
    pub in_flight: u16,
    /// Messages on their way from publishers to subscribers [default: 4096, or 1 MiB of them]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub window: Option<u32>,
    /// MQTT 5: name topics by aliases, as many as the broker takes, and let it do so too
    #[arg(long)]
    pub aliases: bool,
    /// Subscribers of the same topics share them as this group, so that one of them gets each message
    #[arg(long, value_name = "GROUP")]
    pub share: Option<String>,
    /// Publish retained messages
    #[arg(long)]
    pub retain: bool,
    /// Filters that other clients subscribe to beforehand, and which match nothing
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    pub filters: usize,
    /// Idle clients that are connected beforehand
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    pub idle: usize,
}

impl FlowOptions {
    fn topology(&self) -> Topology {
        let Self { publishers, subscribers, topics, .. } = *self;
        Topology { publishers, subscribers, topics, shared: self.share.is_some() }
    }

    /// The filter of a topic.
    fn filter(&self, topic: &str) -> String {
        match &self.share {
            Some(group) => format!("$share/{group}/{topic}"),
            None => topic.to_owned(),
        }
    }

    fn check(&self, version: MqttVersion) -> Result<(), BenchError> {
        let usage = |what: &str| Err(BenchError::Usage(what.to_owned()));
        if self.publishers == 0 || self.topics == 0 {
            return usage("at least one publisher and one topic are needed");
        }
        if self.publishers.max(self.topics).max(self.subscribers) > 1_000_000 {
            return usage("at most a million publishers, subscribers and topics");
        }
        if !(STAMP_BYTES..=100_000_000).contains(&self.payload) {
            return usage(
                "--payload: from 16 (the sequence number and the time take that) to 100 000 000 bytes",
            );
        }
        if self.aliases && version != MqttVersion::V5 {
            return usage("--aliases: only MQTT 5 has topic aliases; add -V 5");
        }
        if self.share.as_ref().is_some_and(|group| group.is_empty() || group.contains(['/', '+', '#', '\0']))
        {
            return usage("--share: the name of a group has no /, + or #, and is not empty");
        }
        Ok(())
    }

    fn title(&self) -> String {
        let Self { publishers, subscribers, topics, qos, payload, .. } = self;
        let mut title = format!(
            "{publishers} publisher(s), {topics} topic(s), {subscribers} subscriber(s), QoS {qos}, {payload} bytes"
        );
        for (count, what) in [(self.filters, "filters of others"), (self.idle, "idle clients")] {
            if count > 0 {
                title.push_str(&format!(", {count} {what}"));
            }
        }
        if self.share.is_some() {
            title.push_str(", shared");
        }
        if self.aliases {
            title.push_str(", by topic aliases");
        }
        title
    }

    /// The window of one lane.
    fn window(&self) -> u32 {
        let all = self.window.map_or_else(
            || (WINDOW_BYTES / (self.payload + 32)).clamp(1, WINDOW_MAX),
            |window| window as usize,
        );
        u32::try_from(all / self.topology().lanes()).unwrap_or(u32::MAX).max(1)
    }
}

/// Runs the scenario.
pub fn run(options: &FlowOptions, target: &TargetOptions) -> Result<Report, BenchError> {
    options.check(target.mqtt_version)?;
    let background = options.filters.div_ceil(FILTERS_PER_CLIENT) + options.idle;
    let target = Target::new(target, options.publishers + options.subscribers + background)?;
    let _background = open_background(options, &target)?;
    let phase = Flow::open(options, &target)?.run()?;
    Ok(Report { title: options.title(), phases: vec![phase] })
}

/// Clients that are just there: with filters near the topics in use, and with nothing.
fn open_background(options: &FlowOptions, target: &Target) -> Result<Vec<Link>, BenchError> {
    let mut links = Vec::new();
    let numbers: Vec<usize> = (0..options.filters).collect();
    for (client, chunk) in numbers.chunks(FILTERS_PER_CLIENT).enumerate() {
        // Siblings of the topics in use, with and without a wildcard, which a match has to pass by.
        let filters: Vec<String> = chunk
            .iter()
            .map(|number| match number % 2 {
                0 => format!("{}/other{number}/state", target.prefix),
                _ => format!("{}/+/other{number}", target.prefix),
            })
            .collect();
        let mut link = target.open("filters", client)?;
        link.subscribe(&filters, 0)?;
        links.push(link);
    }
    for client in 0..options.idle {
        links.push(target.open("idle", client)?);
    }
    Ok(links)
}

/// A run in progress.
struct Flow<'a> {
    options: &'a FlowOptions,
    target: &'a Target,
    poll: Poll,
    /// Their tokens are their places here; those of the publishers follow.
    subscribers: Vec<Subscriber>,
    publishers: Vec<Publisher>,
    /// Publishers that may be able to send.
    ready: Vec<usize>,
    arrivals: Arrivals,
    clock: Clock,
    acknowledged: Histogram<u64>,
    scratch: Vec<u8>,
    /// With a rate: messages whose turn it was.
    scheduled: u64,
    /// PINGREQs without an answer.
    pings: usize,
}

impl<'a> Flow<'a> {
    fn open(options: &'a FlowOptions, target: &'a Target) -> Result<Self, BenchError> {
        let topology = options.topology();
        let poll = Poll::new().map_err(super::system("poll"))?;
        let topic = |number: usize| format!("{}/{number}/state", target.prefix);
        let mut subscribers = Vec::with_capacity(options.subscribers);
        for number in 0..options.subscribers {
            let topics = topology.topics_of_subscriber(number);
            let filters: Vec<String> = topics.map(|number| options.filter(&topic(number))).collect();
            let aliases = if options.aliases { u16::try_from(filters.len()).unwrap_or(u16::MAX) } else { 0 };
            let (mut link, _) = target.open_with_aliases("sub", number, aliases)?;
            link.subscribe(&filters, options.qos)?;
            link.register(poll.registry(), number)?;
            subscribers.push(Subscriber::new(link, number, aliases));
        }
        let mut publishers = Vec::with_capacity(options.publishers);
        for number in 0..options.publishers {
            let (mut link, connack) = target.open_with_aliases("pub", number, 0)?;
            link.register(poll.registry(), options.subscribers + number)?;
            publishers.push(Publisher::new(link, connack, options, number, topic));
        }
        Ok(Self {
            options,
            target,
            poll,
            subscribers,
            publishers,
            ready: Vec::new(),
            arrivals: Arrivals {
                ledger: Ledger::new(topology, options.window()),
                topology,
                payload_bytes: options.payload,
                prefix: format!("{}/", target.prefix),
                latency: report::histogram(),
                aliased: 0,
                wakes: Vec::new(),
            },
            clock: Clock::start(),
            acknowledged: report::histogram(),
            scratch: vec![0; READ_BYTES],
            scheduled: 0,
            pings: 0,
        })
    }

    fn run(mut self) -> Result<Phase, BenchError> {
        let meter = self.target.meter();
        self.clock = Clock::start();
        if self.options.rate.is_none() {
            for number in 0..self.publishers.len() {
                self.make_ready(number);
            }
        }
        self.until(Self::is_done)?;
        let seconds = self.clock.elapsed().as_secs_f64();
        let server = meter.read();
        let tool_cpu_seconds = meter.tool_seconds();
        if !self.arrivals.ledger.faults.gave_up {
            // Behind the answer to a ping nothing more of this run can come.
            for Subscriber { link, .. } in &mut self.subscribers {
                link.output().extend_from_slice(&wire::PINGREQ_FRAME);
                link.flush()?;
                self.pings += 1;
            }
            self.until(|flow| flow.pings == 0)?;
        }
        let mut faults = self.arrivals.ledger.faults;
        faults.missing += self.arrivals.ledger.outstanding();
        let received = self.arrivals.ledger.received;
        Ok(Phase {
            name: "flow".to_owned(),
            unit: "message".to_owned(),
            operations: if self.subscribers.is_empty() { self.arrivals.ledger.sent } else { received },
            seconds,
            published: self.arrivals.ledger.sent,
            received,
            aliased: self.arrivals.aliased,
            faults,
            latency: Latency::of(&self.arrivals.latency),
            acknowledged: Latency::of(&self.acknowledged),
            server,
            tool_cpu_seconds,
        })
    }

    /// Sends and receives until `done`, or until nothing happens for too long.
    fn until(&mut self, done: impl Fn(&Self) -> bool) -> Result<(), BenchError> {
        let mut events = Events::with_capacity(1024);
        let mut progress = (self.progress(), self.clock.elapsed());
        while !done(self) {
            let now = self.clock.elapsed();
            if self.progress() != progress.0 {
                progress = (self.progress(), now);
            } else if now - progress.1 > self.target.stall || now > self.target.limit {
                self.arrivals.ledger.faults.gave_up = true;
                return Ok(());
            }
            self.send()?;
            match self.poll.poll(&mut events, Some(self.patience())) {
                Err(error) if error.kind() != std::io::ErrorKind::Interrupted => {
                    return Err(super::system("poll")(error));
                }
                _ => {}
            }
            for event in &events {
                let number = event.token().0;
                match number.checked_sub(self.subscribers.len()) {
                    None => self.on_subscriber(number)?,
                    Some(number) => self.on_publisher(number)?,
                }
            }
        }
        Ok(())
    }

    /// A number that grows as long as something happens.
    fn progress(&self) -> u64 {
        self.arrivals.ledger.sent + self.arrivals.ledger.received + self.acknowledged.len()
    }

    fn is_done(&self) -> bool {
        self.is_over()
            && self.arrivals.ledger.outstanding() == 0
            && self.pings == 0
            && self.publishers.iter().all(Publisher::is_idle)
    }

    /// Has all been sent that is to be sent?
    fn is_over(&self) -> bool {
        match self.options.duration {
            Some(seconds) => self.clock.elapsed().as_secs_f64() >= seconds,
            None => self.publishers.iter().all(|publisher| publisher.left == 0),
        }
    }

    /// How long to wait for events.
    fn patience(&self) -> Duration {
        match self.options.rate {
            _ if !self.ready.is_empty() => Duration::ZERO,
            Some(rate) => {
                let due = self.due_nanos(rate, self.scheduled);
                Duration::from_nanos(due.saturating_sub(self.clock.nanos())).clamp(
                    // The resolution of a poll.
                    Duration::from_millis(1),
                    Duration::from_millis(100),
                )
            }
            None => Duration::from_millis(100),
        }
    }

    fn make_ready(&mut self, number: usize) {
        if let Some(publisher) = self.publishers.get_mut(number)
            && !std::mem::replace(&mut publisher.ready, true)
        {
            self.ready.push(number);
        }
    }

    fn send(&mut self) -> Result<(), BenchError> {
        match self.options.rate {
            Some(rate) => self.send_due(rate),
            None => self.send_ready(),
        }
    }

    /// Lets each publisher that may be able to send do so.
    fn send_ready(&mut self) -> Result<(), BenchError> {
        let over = self.options.duration.is_some() && self.is_over();
        for number in std::mem::take(&mut self.ready) {
            let now = self.clock.nanos();
            let Some(publisher) = self.publishers.get_mut(number) else { continue };
            publisher.ready = false;
            while !over && publisher.has_room() && publisher.send(&mut self.arrivals.ledger, now) {}
            if publisher.left == 0 && self.options.subscribers == 0 && publisher.ask_whether_done() {
                self.pings += 1;
            }
            let has_more = !publisher.has_room();
            publisher.link.flush()?;
            if has_more && publisher.link.pending() == 0 {
                self.make_ready(number);
            }
        }
        Ok(())
    }

    /// Sends the messages whose time has come, in turn by all publishers.
    fn send_due(&mut self, rate: u64) -> Result<(), BenchError> {
        let now = self.clock.nanos();
        let over = self.is_over();
        while !over && self.due_nanos(rate, self.scheduled) <= now {
            let due = self.due_nanos(rate, self.scheduled);
            let turn = (self.scheduled % self.publishers.len() as u64) as usize;
            let Some(publisher) = self.publishers.get_mut(turn) else { break };
            let sent_nanos = if now - due > LATE_NANOS { due } else { now };
            if publisher.left > 0
                && !(publisher.has_room() && publisher.send(&mut self.arrivals.ledger, sent_nanos))
            {
                break;
            }
            self.scheduled += 1;
        }
        self.ready.clear();
        for publisher in &mut self.publishers {
            publisher.ready = false;
            if publisher.left == 0 && self.options.subscribers == 0 && publisher.ask_whether_done() {
                self.pings += 1;
            }
            if publisher.link.pending() > 0 {
                publisher.link.flush()?;
            }
        }
        Ok(())
    }

    fn due_nanos(&self, rate: u64, message: u64) -> u64 {
        u64::try_from(u128::from(message) * 1_000_000_000 / u128::from(rate)).unwrap_or(u64::MAX)
    }

    fn on_subscriber(&mut self, number: usize) -> Result<(), BenchError> {
        let Some(subscriber) = self.subscribers.get_mut(number) else { return Ok(()) };
        subscriber.receive(&mut self.scratch, self.clock, &mut self.arrivals, &mut self.pings)?;
        let mut wakes = std::mem::take(&mut self.arrivals.wakes);
        for publisher in wakes.drain(..) {
            self.make_ready(publisher);
        }
        self.arrivals.wakes = wakes;
        Ok(())
    }

    fn on_publisher(&mut self, number: usize) -> Result<(), BenchError> {
        let now = self.clock.nanos();
        let Some(publisher) = self.publishers.get_mut(number) else { return Ok(()) };
        publisher.receive(&mut self.scratch, now, &mut self.acknowledged, &mut self.pings)?;
        publisher.link.flush()?;
        self.make_ready(number);
        Ok(())
    }
}
