//! `distkv ls`: the names right below a path.

use std::io::{self, Write as _};
use std::process::ExitCode;

use distkv_store::path::Path;

use super::connect::Connect;
use super::entry_line;
use super::output::{Table, name_text, optional_text};
use crate::client::Scope;

/// List the names below a path
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    connect: Connect,
    /// Below this path; a lone colon is the root
    #[arg(default_value = ":")]
    path: Path,
    /// Only those that have a value, with it and its version
    #[arg(short, long)]
    long: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    args.connect.run(async |client| {
        if args.long {
            return long(args, &client).await;
        }
        let mut out = io::BufWriter::new(io::stdout().lock());
        for name in client.names(&args.path).await? {
            let text = name_text(name);
            if args.connect.json {
                writeln!(out, "{}", serde_json::json!({"name": text}))?;
            } else {
                writeln!(out, "{}", crate::log::escape_controls(&text))?;
            }
        }
        out.flush()?;
        Ok(ExitCode::SUCCESS)
    })
}

async fn long(args: &Args, client: &crate::client::Client) -> anyhow::Result<ExitCode> {
    let scope = Scope { min_depth: 1, max_depth: Some(1), empty: false, chain: 1 };
    let mut tree = client.tree(&args.path, &scope).await?;
    let mut table = Table::new(&["name", "value", "version"]);
    while let Some(entry) = tree.next().await? {
        if args.connect.json {
            writeln!(io::stdout(), "{}", entry_line::json(&entry)?)?;
            continue;
        }
        let name = entry.path.elements().last().map(name_text).unwrap_or_default();
        let version = entry.version().map(ToString::to_string).unwrap_or_default();
        table.row(vec![name, optional_text(entry.value.as_ref()), version]);
    }
    if !args.connect.json {
        table.print()?;
    }
    Ok(ExitCode::SUCCESS)
}
