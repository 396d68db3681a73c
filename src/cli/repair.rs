//! `distkv repair`: saves what is readable of a damaged data directory into a new one.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use distkv_store::journal;

/// Save what is readable of a damaged data directory into a new one
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The damaged directory stays as it is. What was lost can't be guessed: an entry may be back at an older value, an entry that
was deleted may be there again, a session may lack some of its messages.")]
pub(super) struct Args {
    /// The damaged directory; no server may run on it
    dir: PathBuf,
    /// The new directory; made if it is not there, else it must be empty
    new: PathBuf,
    /// The node's name, if the damaged directory does not tell it any more [default: the host's]
    #[arg(long, value_name = "NODE")]
    name: Option<String>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let node = args.name.clone().unwrap_or_else(crate::server::host_name);
    let report = journal::repair(&args.dir, &args.new, &node)?;
    let mut out = io::stdout().lock();
    for trouble in report.summary.troubles.iter().filter(|trouble| trouble.damage) {
        let (path, bytes) = (trouble.path.display(), &trouble.bytes);
        writeln!(out, "lost: {path}, bytes {} to {}: {}", bytes.start, bytes.end, trouble.what)?;
    }
    if report.summary.troubles_more > 0 {
        writeln!(out, "lost: {} more places", report.summary.troubles_more)?;
    }
    let new = args.new.display();
    writeln!(out, "{} records of node {} are saved in {new}.", report.summary.records, report.node)?;
    writeln!(out, "Look at them with `distkv dump {new}`, then start the server with `--data-dir {new}`.")?;
    Ok(ExitCode::SUCCESS)
}
