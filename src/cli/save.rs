//! `distkv save` and `distkv log`: the server writes its data, or each change, into a file of its own machine.

use std::io::{self, Write as _};
use std::process::ExitCode;

use super::connect::Connect;
use crate::client::Request;

/// Have the server write a snapshot of its data
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The file is written on the server's machine, below the directory which its configuration allows. It has the form of the original
DistKV's snapshots. To get the data here: `distkv tree --json > FILE`.")]
pub(super) struct SaveArgs {
    #[command(flatten)]
    connect: Connect,
    /// The name of the file
    file: String,
    /// Internal data (users, rights), too
    #[arg(long)]
    full: bool,
}

/// Have the server write each change into a log
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The file is written on the server's machine, below the directory which its configuration allows. There is one log: a new one ends the
one before.")]
pub(super) struct LogArgs {
    #[command(flatten)]
    connect: Connect,
    /// The name of the file
    #[arg(required_unless_present = "stop")]
    file: Option<String>,
    /// Begin it with all that is there
    #[arg(long)]
    fetch: bool,
    /// End the log
    #[arg(long, conflicts_with_all = ["file", "fetch"])]
    stop: bool,
}

pub(super) fn save(args: &SaveArgs) -> anyhow::Result<ExitCode> {
    args.connect.run(async |client| {
        client.request(Request::new("save").text("path", &args.file).flag("full", args.full)).await?;
        done(args.connect.json)
    })
}

pub(super) fn log(args: &LogArgs) -> anyhow::Result<ExitCode> {
    args.connect.run(async |client| {
        let request = Request::new("log");
        let request = match &args.file {
            Some(file) => request.text("path", file).flag("fetch", args.fetch),
            None => request.nil("path"),
        };
        client.request(request).await?;
        done(args.connect.json)
    })
}

fn done(json: bool) -> anyhow::Result<ExitCode> {
    if json {
        writeln!(io::stdout(), "{}", serde_json::json!({"done": true}))?;
    }
    Ok(ExitCode::SUCCESS)
}
