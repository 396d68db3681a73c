//! `distkv load`: writes what a file holds into a running server, as new changes; or takes it into a data directory, with all versions.
//!
//! Three kinds of file are read: snapshots and event logs of the original program (and of `distkv save` and `distkv log`), and, for a server,
//! the lines of `distkv tree --json`.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufRead, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use distkv_store::path::Path;
use distkv_store::replica::Foreign;
use distkv_store::store::Imported;
use distkv_store::value::Value;
use serde::Deserialize;
use serde_json::Value as Json;

use super::connect::Connect;
use super::home;
use super::output::{Progress, Share};
use crate::client::{Client, to_value};
use crate::original::{self, Events, Loaded};

/// How much is written in one step.
const BATCH: usize = 256;
const BATCH_BYTES: usize = 1 << 20;

/// Write what a file holds into a running server, or into a data directory
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Reads snapshots and event logs of the original DistKV, and the output of `distkv tree --json`. On a server each entry is written anew,
so it gets a version of that server; internal data is left out, unless you say --internal. With --data-dir (snapshots and event logs
only) the events of the file are taken in as they are: with their versions, deletions and internal data.")]
pub(super) struct Args {
    #[command(flatten)]
    connect: Connect,
    /// The file; `-` is standard input
    file: PathBuf,
    /// Put everything below this path
    #[arg(long, value_name = "PATH", default_value = ":", hide_default_value = true)]
    below: Path,
    /// Write internal data (users, rights), too
    #[arg(long)]
    internal: bool,
    /// Only read the file, and say what it holds
    #[arg(long)]
    dry_run: bool,
    /// Take it into this data directory, on which no server runs
    #[arg(long, value_name = "DIR", conflicts_with_all = ["below", "internal", "dry_run"])]
    data_dir: Option<PathBuf>,
}

/// One change that a file tells: no value is a deletion.
struct Change {
    path: Path,
    value: Option<Value>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if let Some(dir) = &args.data_dir {
        return take_in(args, dir);
    }
    let what = || format!("can't read {}", args.file.display());
    let mut input: Box<dyn BufRead> = if args.file.as_os_str() == "-" {
        Box::new(io::BufReader::new(io::stdin()))
    } else {
        Box::new(io::BufReader::with_capacity(1 << 18, File::open(&args.file).with_context(what)?))
    };
    let first = input.fill_buf().with_context(what)?.first().copied();
    let changes: Box<dyn Iterator<Item = anyhow::Result<Change>>> = match first {
        // No record of the other kind begins with a brace.
        Some(b'{') => Box::new(lines(input)),
        _ => Box::new(Events::new(input).map(|event| {
            let Foreign { path, value, .. } = event?;
            Ok(Change { path, value })
        })),
    };
    let changes = changes.filter(|change| {
        args.internal || change.as_ref().map_or(true, |change| !change.path.as_path().is_internal())
    });
    if args.dry_run {
        let mut counts = Counts::default();
        for change in changes {
            counts.add(&change.with_context(what)?);
        }
        return counts.tell(args.connect.json, "holds");
    }
    args.connect.run(async |client| {
        let counts = write(&client, changes, &args.below)
            .await
            .with_context(|| format!("{} is written only in part", args.file.display()))?;
        counts.tell(args.connect.json, "written:")
    })
}

/// Takes the events of the file into a data directory.
fn take_in(args: &Args, dir: &std::path::Path) -> anyhow::Result<ExitCode> {
    let store = home::open(dir)?;
    let mut share = Share::new();
    let loaded = original::load(&store, &args.file, &mut |done, all| share.show(done, all))?;
    drop(share);
    let Loaded { records, events, .. } = &loaded;
    let Imported { taken, known, past, conflicts } = events;
    let mut out = io::stdout().lock();
    if args.connect.json {
        let counts = serde_json::json!({
            "records": records, "taken": taken, "known": known, "past": past, "conflicts": conflicts
        });
        writeln!(out, "{counts}")?;
    } else {
        writeln!(
            out,
            "{records} records: {taken} changes taken in, {known} known before, {past} replaced by newer ones, {conflicts} conflicts"
        )?;
    }
    for (there, here) in &loaded.renamed {
        writeln!(io::stderr(), "distkv: the node `{there}` can't be named so here; it is now {here}")?;
    }
    if loaded.cut > 0 {
        writeln!(
            io::stderr(),
            "distkv: the last {} bytes are the beginning of a record that was never ended",
            loaded.cut
        )?;
    }
    Ok(ExitCode::SUCCESS)
}

#[derive(Default)]
struct Counts {
    set: u64,
    deleted: u64,
}

impl Counts {
    fn add(&mut self, change: &Change) {
        match change.value {
            Some(_) => self.set += 1,
            None => self.deleted += 1,
        }
    }

    fn tell(&self, json: bool, verb: &str) -> anyhow::Result<ExitCode> {
        let Self { set, deleted } = self;
        let mut out = io::stdout().lock();
        if json {
            writeln!(out, "{}", serde_json::json!({"set": set, "deleted": deleted}))?;
        } else {
            writeln!(out, "{verb} {set} set, {deleted} deleted")?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Writes the changes in their order, many in one step.
async fn write(
    client: &Client,
    changes: impl Iterator<Item = anyhow::Result<Change>>,
    below: &Path,
) -> anyhow::Result<Counts> {
    let mut counts = Counts::default();
    let mut progress = Progress::new("entries", false);
    let mut waiting: Vec<Change> = Vec::new();
    let (mut paths, mut bytes) = (HashSet::new(), 0);
    for change in changes {
        let mut change = change?;
        change.path = Path::from_elements(below.elements().chain(change.path.elements()))?;
        // No entry is written twice in one step.
        if waiting.len() == BATCH || bytes > BATCH_BYTES || paths.contains(&change.path) {
            flush(client, &mut waiting).await?;
            paths.clear();
            bytes = 0;
        }
        counts.add(&change);
        progress.step();
        bytes += change.value.as_ref().map_or(0, |value| value.as_bytes().len());
        paths.insert(change.path.clone());
        waiting.push(change);
    }
    flush(client, &mut waiting).await?;
    Ok(counts)
}

async fn flush(client: &Client, waiting: &mut Vec<Change>) -> anyhow::Result<()> {
    let batch = waiting.drain(..).fold(client.batch(), |batch, change| match change.value {
        Some(value) => batch.set_raw(&change.path, &value),
        None => batch.delete(&change.path),
    });
    batch.await?;
    Ok(())
}

/// A line of `distkv tree --json`.
#[derive(Deserialize)]
struct Line {
    path: String,
    #[serde(default, with = "serde_with_null")]
    value: Option<Json>,
    msgpack: Option<String>,
}

/// `null` is a value; only a key that is not there is none.
mod serde_with_null {
    use serde::{Deserialize as _, Deserializer};

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<serde_json::Value>, D::Error> {
        serde_json::Value::deserialize(from).map(Some)
    }
}

fn lines(input: Box<dyn BufRead>) -> impl Iterator<Item = anyhow::Result<Change>> {
    let read = |line: io::Result<String>| -> anyhow::Result<Change> {
        let line: Line = serde_json::from_str(&line?)?;
        let value = match (line.msgpack, line.value) {
            (Some(hex), _) => Some(Value::from_msgpack(&unhex(&hex).context("`msgpack` is no hex")?)?),
            (None, Some(json)) => Some(to_value(&json)?),
            (None, None) => None,
        };
        Ok(Change { path: line.path.parse()?, value })
    };
    input
        .lines()
        .enumerate()
        .map(move |(index, line)| read(line).with_context(|| format!("line {}", index + 1)))
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes().chunks(2);
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(changes: impl Iterator<Item = anyhow::Result<Change>>) -> Vec<String> {
        changes
            .map(|change| match change {
                Ok(Change { path, value }) => format!("{path} {value:?}"),
                Err(error) => format!("{error:#}"),
            })
            .collect()
    }

    #[test]
    fn lines_tell_null_from_nothing() {
        let text = "{\"path\":\"a\",\"value\":null}\n{\"path\":\"b\"}\n{\"path\":\"c\",\"value\":\"00\",\"msgpack\":\"c40100\"}\n{";
        let changes = shown(lines(Box::new(text.as_bytes())));
        assert_eq!(changes[..3], ["a Some([Nil])", "b None", "c Some([Bin([0])])"]);
        assert!(changes[3].starts_with("line 4: "), "{}", changes[3]);
    }
}
