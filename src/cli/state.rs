//! `distkv state`: what the server knows of nodes and events.

use std::io::{self, Write as _};
use std::process::ExitCode;

use super::connect::Connect;
use super::output::Table;
use crate::bridge::json;
use crate::client::{Request, Value};

/// Show what the server knows of nodes and their events
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Each node numbers its changes: its ticks. They are shown as ranges: those of entries that are there (present), that were replaced
(known), of deleted entries (deleted), and those which this server lacks (missing).")]
pub(super) struct Args {
    #[command(flatten)]
    connect: Connect,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    args.connect.run(async |client| {
        let wanted = ["nodes", "known", "present", "deleted", "missing", "remote_missing"];
        let request = wanted.iter().fold(Request::new("get_state"), |request, name| request.flag(name, true));
        let reply = client.read(request).await?;
        let mut whole = serde_json::Map::new();
        for (name, field) in reply.fields().filter(|(name, _)| *name != "seq") {
            if let Ok(value) = Value::from_msgpack(field) {
                whole.insert(name.to_owned(), serde_json::from_str(&json::text(&value))?);
            }
        }
        if args.connect.json {
            writeln!(io::stdout(), "{}", serde_json::Value::Object(whole))?;
            return Ok(ExitCode::SUCCESS);
        }
        let mut table = Table::new(&["what", "node", "ticks"]);
        for (name, value) in &whole {
            match value {
                serde_json::Value::Object(nodes) => {
                    for (node, ticks) in nodes {
                        table.row(vec![name.clone(), node.clone(), ranges(ticks)]);
                    }
                }
                other => table.row(vec![name.clone(), String::new(), plain(other)]),
            }
        }
        table.print()?;
        Ok(ExitCode::SUCCESS)
    })
}

fn plain(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Ranges as people write them: `1-4,7`. They travel half open.
fn ranges(value: &serde_json::Value) -> String {
    let Some(ranges) = value.as_array() else { return plain(value) };
    let texts: Vec<String> = ranges
        .iter()
        .map(|range| match range.as_array().map(Vec::as_slice) {
            Some([first, end]) => match (first.as_u64(), end.as_u64()) {
                (Some(first), Some(end)) if end > first + 1 => format!("{first}-{}", end - 1),
                (Some(first), _) => first.to_string(),
                _ => range.to_string(),
            },
            _ => plain(range),
        })
        .collect();
    texts.join(",")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ranges_are_shown_with_both_ends() {
        assert_eq!(ranges(&json!([[1, 5], 7, [9, 10]])), "1-4,7,9");
        assert_eq!(ranges(&json!([])), "");
        assert_eq!(ranges(&json!(12)), "12");
    }
}
