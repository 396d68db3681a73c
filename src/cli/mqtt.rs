//! `distkv mqtt`: a client for the command line.

use std::io;
use std::process::ExitCode;

use clap::Subcommand;

use crate::mqtt_client::failure::Failure;
use crate::mqtt_client::{publish, subscribe};

/// Publish to any MQTT broker, or subscribe at it
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Publish messages to a broker
    #[command(disable_help_flag = true, disable_version_flag = true)]
    Pub(Box<publish::PubOptions>),
    /// Subscribe at a broker and print what comes
    #[command(disable_help_flag = true, disable_version_flag = true)]
    Sub(Box<subscribe::SubOptions>),
}

/// Runs the client and says how it ended.
pub(super) fn run(args: &Args) -> ExitCode {
    let (result, quiet) = match &args.command {
        Command::Pub(options) => (publish::run(options), options.connect.quiet),
        Command::Sub(options) => (subscribe::run(options), options.connect.quiet),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read the output has seen enough.
        Err(Failure::Input { source, .. }) if source.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(failure) => {
            if !quiet {
                eprintln!("Error: {failure}");
            }
            ExitCode::from(failure.exit_code())
        }
    }
}
