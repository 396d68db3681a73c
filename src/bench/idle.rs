//! The scenario of idle connections: what each costs in memory, and whether it still answers.

use std::thread;
use std::time::Duration;

use clap::Args;

use super::BenchError;
use super::clock::Clock;
use super::report::{self, Latency, Phase, Report};
use super::target::{Target, TargetOptions};

/// The options of `distkv bench mqtt idle`.
#[derive(Args, Clone, Debug)]
pub struct IdleOptions {
    /// Connections
    #[arg(short = 'n', long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    pub connections: u32,
    /// Each one subscribes to a topic of its own
    #[arg(long)]
    pub subscribe: bool,
    /// Seconds for which they are left alone
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0)]
    pub hold: f64,
}

/// Runs the scenario.
pub fn run(options: &IdleOptions, target: &TargetOptions) -> Result<Report, BenchError> {
    let hold = Duration::try_from_secs_f64(options.hold)
        .map_err(|_| BenchError::Usage("--hold: seconds, not negative".to_owned()))?;
    let target = Target::new(target, options.connections as usize)?;
    let hold = hold.min(target.limit);
    let mut links = Vec::with_capacity(options.connections as usize);
    let connect = phase("connect", &target, options, |number| {
        let mut link = target.open("idle", number as usize)?;
        if options.subscribe {
            link.subscribe(&[format!("{}/{number}/command", target.prefix)], 0)?;
        }
        links.push(link);
        Ok(())
    })?;

    let meter = target.meter();
    thread::sleep(hold);
    let held = Phase {
        name: "hold".to_owned(),
        unit: "connection".to_owned(),
        operations: options.connections.into(),
        seconds: hold.as_secs_f64(),
        server: meter.read(),
        tool_cpu_seconds: meter.tool_seconds(),
        ..Phase::default()
    };

    let mut links = links.iter_mut();
    let ping = phase("ping", &target, options, |_| match links.next() {
        Some(link) => link.ping(),
        None => Ok(()),
    })?;
    Ok(Report {
        title: format!("{} idle connections", options.connections),
        phases: vec![connect, held, ping],
    })
}

/// Does something with each connection in turn, and measures it.
fn phase(
    name: &str,
    target: &Target,
    options: &IdleOptions,
    mut step: impl FnMut(u32) -> Result<(), BenchError>,
) -> Result<Phase, BenchError> {
    let meter = target.meter();
    let clock = Clock::start();
    let mut latency = report::histogram();
    for number in 0..options.connections {
        let begin = clock.nanos();
        step(number)?;
        latency.saturating_record(clock.nanos() - begin);
    }
    Ok(Phase {
        name: name.to_owned(),
        unit: "connection".to_owned(),
        operations: options.connections.into(),
        seconds: clock.elapsed().as_secs_f64(),
        latency: Latency::of(&latency),
        server: meter.read(),
        tool_cpu_seconds: meter.tool_seconds(),
        ..Phase::default()
    })
}
