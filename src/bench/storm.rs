//! The scenario of a connect storm: clients come, get their CONNACK and leave, as many at a time as given.

use std::io;
use std::time::Duration;

use clap::Args;
use hdrhistogram::Histogram;
use mio::{Events, Poll};

use super::BenchError;
use super::clock::Clock;
use super::link::{Link, READ_BYTES};
use super::report::{self, Latency, Phase, Report};
use super::target::{Target, TargetOptions};
use super::transport::Transport;
use super::wire;

/// The options of `distkv bench mqtt storm`.
#[derive(Args, Clone, Debug)]
pub struct StormOptions {
    /// Connections, one after the other
    #[arg(short = 'n', long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub connects: u32,
    /// Connections at the same time
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..))]
    pub parallel: u16,
}

/// Runs the scenario.
pub fn run(options: &StormOptions, target: &TargetOptions) -> Result<Report, BenchError> {
    let target = Target::new(target, options.parallel.into())?;
    let meter = target.meter();
    let mut storm = Storm::new(options, &target)?;
    storm.run()?;
    let done = u64::from(storm.done);
    let mut phase = Phase {
        name: "storm".to_owned(),
        unit: "connection".to_owned(),
        operations: done,
        seconds: storm.clock.elapsed().as_secs_f64(),
        latency: Latency::of(&storm.latency),
        server: meter.read(),
        tool_cpu_seconds: meter.tool_seconds(),
        ..Phase::default()
    };
    phase.faults.missing = u64::from(options.connects) - done;
    phase.faults.gave_up = phase.faults.missing > 0;
    Ok(Report {
        title: format!("{} connects, {} at a time", options.connects, options.parallel),
        phases: vec![phase],
    })
}

struct Storm<'a> {
    target: &'a Target,
    poll: Poll,
    clock: Clock,
    latency: Histogram<u64>,
    /// Connections that are still to be begun.
    left: u32,
    begun: usize,
    done: u32,
    connects: u32,
    /// By token.
    attempts: Vec<Option<Attempt>>,
}

struct Attempt {
    link: Link,
    begun_nanos: u64,
    answer: Answer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    None,
    Accepted,
    Refused,
}

impl<'a> Storm<'a> {
    fn new(options: &StormOptions, target: &'a Target) -> Result<Self, BenchError> {
        let slots = u32::from(options.parallel).min(options.connects);
        Ok(Self {
            target,
            poll: Poll::new().map_err(super::system("poll"))?,
            clock: Clock::start(),
            latency: report::histogram(),
            left: options.connects,
            begun: 0,
            done: 0,
            connects: options.connects,
            attempts: (0..slots).map(|_| None).collect(),
        })
    }

    fn run(&mut self) -> Result<(), BenchError> {
        for slot in 0..self.attempts.len() {
            self.begin(slot)?;
        }
        let mut events = Events::with_capacity(1024);
        let mut scratch = vec![0; READ_BYTES];
        let mut progress = (self.done, self.clock.elapsed());
        while self.done < self.connects {
            let _interrupted = self.poll.poll(&mut events, Some(Duration::from_millis(100)));
            for event in &events {
                self.step(event.token().0, &mut scratch)?;
            }
            let now = self.clock.elapsed();
            if self.done != progress.0 {
                progress = (self.done, now);
            } else if now - progress.1 > self.target.stall || now > self.target.limit {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Begins the next connection in a slot that is free.
    fn begin(&mut self, slot: usize) -> Result<(), BenchError> {
        if self.left == 0 {
            return Ok(());
        }
        let client = self.target.client_id("storm", self.begun);
        let begun_nanos = self.clock.nanos();
        let stream = mio::net::TcpStream::connect(self.target.address()).map_err(|source| {
            let server = self.target.address().to_string();
            BenchError::Connect { client: client.clone(), server, source }
        })?;
        let transport =
            Transport::new(stream.into(), self.target.layers()).map_err(super::system("client of TLS"))?;
        let login = self.target.login();
        let mut link = Link::new(client.clone(), login.version, transport);
        wire::connect(link.output(), &client, login, 0);
        link.register(self.poll.registry(), slot)?;
        if let Some(place) = self.attempts.get_mut(slot) {
            *place = Some(Attempt { link, begun_nanos, answer: Answer::None });
        }
        self.left -= 1;
        self.begun += 1;
        Ok(())
    }

    /// Goes on with a connection: CONNECT, CONNACK, DISCONNECT, until the broker closes it.
    fn step(&mut self, slot: usize, scratch: &mut [u8]) -> Result<(), BenchError> {
        let Some(Some(attempt)) = self.attempts.get_mut(slot) else { return Ok(()) };
        let Attempt { link, begun_nanos, answer } = attempt;
        link.flush()?;
        let (clock, latency, version) = (self.clock, &mut self.latency, link.version());
        link.read(scratch, |frame, out| {
            let accepted = frame.connack(version).is_some_and(|connack| connack.code == 0);
            *answer = if accepted { Answer::Accepted } else { Answer::Refused };
            latency.saturating_record(clock.nanos() - *begun_nanos);
            out.extend_from_slice(&wire::DISCONNECT_FRAME);
        })?;
        match *answer {
            Answer::Refused => Err(link.protocol("the broker refused the connection".to_owned())),
            Answer::None if link.is_closed() => Err(link.lost(io::ErrorKind::UnexpectedEof.into())),
            Answer::Accepted if link.is_closed() => {
                self.done += 1;
                if let Some(place) = self.attempts.get_mut(slot) {
                    *place = None;
                }
                self.begin(slot)
            }
            Answer::None | Answer::Accepted => link.flush(),
        }
    }
}
