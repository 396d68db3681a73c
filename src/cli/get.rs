//! `distkv get`: prints the value of an entry.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use distkv_store::path::Path;

use super::connect::Connect;
use super::entry_line;
use super::failure::Failure;
use super::output::value_text;

/// Print the value of an entry
#[derive(Debug, clap::Args)]
#[command(after_help = "The value is printed as JSON, in one line. Exit code 3: there is no such entry.")]
pub(super) struct Args {
    #[command(flatten)]
    connect: Connect,
    /// The entry, such as home.kitchen.light
    path: Path,
    /// Print a text without quotes, and bytes as they are
    #[arg(long, conflicts_with = "json")]
    text: bool,
    /// Write the text or bytes into this file, exactly; `-` is standard output
    #[arg(long, value_name = "FILE", conflicts_with_all = ["json", "text"])]
    file: Option<PathBuf>,
    /// Print only the entry's version, NODE:TICK
    #[arg(long, conflicts_with_all = ["json", "text", "file"])]
    version: bool,
    /// With --json: how many of the events that made it
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    chain: u32,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    args.connect.run(async |client| {
        let entry = client.entry(&args.path, args.chain.max(1)).await?;
        let Some(value) = &entry.value else { return Err(Failure::NoEntry(args.path.clone()).into()) };
        let mut out = io::stdout().lock();
        let payload = value.as_payload();
        match (&args.file, payload) {
            (Some(file), Some(payload)) if file.as_os_str() == "-" => out.write_all(payload)?,
            (Some(file), Some(payload)) => std::fs::write(file, payload)?,
            (Some(_), None) => {
                return Err(Failure::Usage(
                    "the value is neither text nor bytes: leave --file away".to_owned(),
                )
                .into());
            }
            (None, Some(payload)) if args.text => {
                out.write_all(payload)?;
                writeln!(out)?;
            }
            (None, _) if args.connect.json => writeln!(out, "{}", entry_line::json(&entry)?)?,
            (None, _) if args.version => {
                writeln!(out, "{}", entry.version().map(ToString::to_string).unwrap_or_default())?;
            }
            (None, _) => writeln!(out, "{}", value_text(value))?,
        }
        out.flush()?;
        Ok(ExitCode::SUCCESS)
    })
}
