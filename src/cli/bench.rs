//! `distkv bench`: a load tool for any MQTT broker.

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Subcommand;

use crate::bench::flow::{self, FlowOptions};
use crate::bench::idle::{self, IdleOptions};
use crate::bench::report::Report;
use crate::bench::retained::{self, RetainedOptions};
use crate::bench::storm::{self, StormOptions};
use crate::bench::target::TargetOptions;

/// Load a server and measure it
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    protocol: Protocol,
}

#[derive(Debug, Subcommand)]
enum Protocol {
    Mqtt(MqttArgs),
}

/// Load any MQTT broker
///
/// Every message is numbered, and the exit code is 1 if one is missing, comes twice or in the wrong order.
#[derive(Debug, clap::Args)]
struct MqttArgs {
    #[command(subcommand)]
    scenario: Scenario,
    #[command(flatten)]
    target: TargetOptions,
}

#[derive(Debug, Subcommand)]
enum Scenario {
    /// Send messages from publishers to subscribers
    Flow(FlowOptions),
    /// Store retained messages and replay them
    Retained(RetainedOptions),
    /// Hold idle connections
    Idle(IdleOptions),
    /// Connect and disconnect as fast as possible
    Storm(StormOptions),
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let Protocol::Mqtt(MqttArgs { scenario, target }) = &args.protocol;
    let report = match scenario {
        Scenario::Flow(options) => flow::run(options, target)?,
        Scenario::Retained(options) => retained::run(options, target)?,
        Scenario::Idle(options) => idle::run(options, target)?,
        Scenario::Storm(options) => storm::run(options, target)?,
    };
    print(&report, target.json)?;
    Ok(if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(report: &Report, json: bool) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    if json {
        writeln!(out, "{}", serde_json::to_string(report)?)?;
    } else {
        write!(out, "{report}")?;
    }
    Ok(())
}
