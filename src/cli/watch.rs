//! `distkv watch`: tells each change of a subtree.

use std::io::{self, Write as _};
use std::process::ExitCode;

use distkv_store::path::Path;

use super::connect::Connect;
use super::entry_line;
use crate::client::{Begin, Event, Scope};

/// Tell each change of a subtree, until you interrupt it
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A lost connection is made again, and what was changed meanwhile comes first. With --json each line has an `event`: `whole` (what
follows, up to `current`, is everything), `entry`, `current`, `change`; `current` has the `tock` for --since.")]
pub(super) struct Args {
    #[command(flatten)]
    connect: Connect,
    /// The path; a lone colon is the root
    #[arg(default_value = ":")]
    path: Path,
    /// How many levels to go down
    #[arg(short, long, value_name = "LEVELS")]
    depth: Option<u32>,
    /// Begin with what changes, and not with what is there
    #[arg(long)]
    changes: bool,
    /// Begin with what was changed after this tock
    #[arg(long, value_name = "TOCK", conflicts_with = "changes")]
    since: Option<u64>,
    /// Leave after this many changes
    #[arg(short, long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Leave when all that is there has been told
    #[arg(long, conflicts_with_all = ["changes", "count"])]
    once: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let scope = Scope { min_depth: 0, max_depth: args.depth, empty: false, chain: 1 };
    let begin = match args.since {
        Some(tock) => Begin::Since(tock),
        None if args.changes => Begin::Now,
        None => Begin::Whole,
    };
    args.connect.run_on(async |client| {
        let mut watch = client.watch_from(&args.path, scope, begin).await?;
        let mut changes = 0;
        loop {
            let event = watch.next().await?;
            tell(&event, watch.tock(), args.connect.json)?;
            match event {
                Event::Current if args.once => return Ok(ExitCode::SUCCESS),
                Event::Change(_) => {
                    changes += 1;
                    if args.count == Some(changes) {
                        return Ok(ExitCode::SUCCESS);
                    }
                }
                _ => {}
            }
        }
    })
}

/// Prints an event, at once.
fn tell(event: &Event, tock: u64, json: bool) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match event {
        Event::Entry(entry) if json => writeln!(out, "{}", entry_line::event_json("entry", entry)?)?,
        Event::Change(entry) if json => writeln!(out, "{}", entry_line::event_json("change", entry)?)?,
        Event::Whole if json => writeln!(out, r#"{{"event":"whole"}}"#)?,
        Event::Current if json => writeln!(out, r#"{{"event":"current","tock":{tock}}}"#)?,
        Event::Entry(entry) | Event::Change(entry) => {
            let gone = if entry.value.is_none() && entry.chain.is_empty() { " deleted" } else { "" };
            writeln!(out, "{}{gone}", entry_line::text(entry))?;
        }
        Event::Whole | Event::Current => {}
    }
    out.flush()?;
    Ok(())
}
