//! `distkv dump`: what a data directory holds, whether or not a server runs on it; and whether it is damaged.
//!
//! It reads the files themselves and changes none. A running server may change them meanwhile: then the dump is what they held
//! at some time while it ran.

use std::io::{self, Write as _};
use std::path::{Path as FilePath, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use distkv_store::chain::Dot;
use distkv_store::journal::{Holder, OpenError, Reader, Summary};
use distkv_store::path::{Path, PathRef};
use distkv_store::store::{Saved, inspect};
use distkv_store::tree::Entry;
use distkv_store::value::{Token, Value};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::bridge::json;
use crate::log::escape_controls;
use crate::mqtt_client::calendar::Moment;

/// How often a directory is read again which a server has cleaned up meanwhile.
const TRIES: u32 = 5;

/// Show what a data directory holds
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The data directory
    #[arg(default_value = "distkv-data")]
    dir: PathBuf,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
    /// Show deleted entries, too, as long as they are remembered
    #[arg(long)]
    tombstones: bool,
    /// Only the entries at and below this path, such as home.kitchen
    #[arg(long, value_name = "PATH")]
    prefix: Option<Path>,
    /// Show no entries, but look for damage; exit code 1 if there is some
    #[arg(long)]
    check: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let contents = Contents::read(&args.dir)?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    if args.check {
        contents.tell_check(&mut out, &args.dir)?;
    } else {
        contents.tell_entries(&mut out, args)?;
    }
    out.flush()?;
    if !args.check {
        contents.tell_troubles(&mut io::stderr().lock())?;
    }
    Ok(if contents.is_damaged() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// What was read from a directory.
struct Contents {
    saved: Saved,
    in_use: Option<Holder>,
}

impl Contents {
    fn read(dir: &FilePath) -> Result<Self, OpenError> {
        for _ in 1..TRIES {
            match Self::read_once(dir) {
                // A running server removes files when it has written a snapshot.
                Err(OpenError::Io { source, .. })
                    if source.kind() == io::ErrorKind::NotFound && dir.exists() => {}
                result => return result,
            }
        }
        Self::read_once(dir)
    }

    fn read_once(dir: &FilePath) -> Result<Self, OpenError> {
        let reader = Reader::open(dir)?;
        let saved = inspect(&reader, &mut |_| {})?;
        Ok(Self { saved, in_use: reader.in_use().cloned() })
    }

    fn is_damaged(&self) -> bool {
        !self.saved.strange.is_empty() || self.saved.summary.is_damaged()
    }

    fn tell_entries(&self, out: &mut impl io::Write, args: &Args) -> anyhow::Result<()> {
        let root = Path::root();
        let prefix = args.prefix.as_ref().unwrap_or(&root).as_path();
        let entries = self.saved.recovery.tree().iter().filter(|(path, _)| path.starts_with(prefix));
        for (path, entry) in entries.filter(|(_, entry)| args.tombstones || !entry.is_tombstone()) {
            tell_entry(out, path, entry, args.json)?;
        }
        Ok(())
    }

    fn tell_troubles(&self, out: &mut impl io::Write) -> io::Result<()> {
        for line in self.troubles() {
            writeln!(out, "distkv: {line}")?;
        }
        Ok(())
    }

    fn troubles(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for trouble in self.saved.summary.troubles.iter().filter(|trouble| trouble.damage) {
            let (path, bytes) = (trouble.path.display(), &trouble.bytes);
            lines.push(format!("{path}, bytes {} to {}: {}", bytes.start, bytes.end, trouble.what));
        }
        lines.extend(self.saved.strange.iter().cloned());
        if self.saved.summary.troubles_more > 0 {
            lines.push(format!("and {} more places", self.saved.summary.troubles_more));
        }
        lines
    }

    fn tell_check(&self, out: &mut impl io::Write, dir: &FilePath) -> io::Result<()> {
        let counts = self.saved.recovery.counts();
        let Summary { files, records, troubles, .. } = &self.saved.summary;
        writeln!(out, "{}: {files} files, {records} records", dir.display())?;
        writeln!(
            out,
            "{} entries, {} internal ones, {} tombstones; {} records of sessions",
            counts.values, counts.internal, counts.tombstones, self.saved.local_records
        )?;
        if let Some(holder) = &self.in_use {
            writeln!(out, "in use by {holder}, so the end may be unfinished")?;
        }
        for tail in troubles.iter().filter(|trouble| !trouble.damage) {
            let path = tail.path.display();
            writeln!(
                out,
                "{path}, byte {}: the unfinished end of the last write, which is no damage",
                tail.bytes.start
            )?;
        }
        for line in self.troubles() {
            writeln!(out, "{line}")?;
        }
        if self.is_damaged() {
            writeln!(
                out,
                "It is damaged. Put the files back from a backup, or save what is readable into a new directory: \
                 distkv repair {} NEW",
                dir.display()
            )
        } else {
            writeln!(out, "no damage")
        }
    }
}

fn tell_entry(out: &mut impl io::Write, path: PathRef<'_>, entry: &Entry, json: bool) -> anyhow::Result<()> {
    if json {
        serde_json::to_writer(&mut *out, &Line::new(path, entry)?)?;
        writeln!(out)?;
        return Ok(());
    }
    let value = match &entry.value {
        Some(value) => format!(" = {}", text(value)),
        None => " deleted".to_owned(),
    };
    let Dot { origin, tick } = entry.version.dot();
    let mut line = format!("{path}{value}  ({}:{} {}", origin.node(), tick.0, utc(entry.meta.time()));
    if let Some(user) = entry.meta.user() {
        line += &format!(" by {user}");
    }
    writeln!(out, "{})", escape_controls(&line))?;
    Ok(())
}

/// A value for people: JSON, but bytes are marked as such.
fn text(value: &Value) -> String {
    match value.decode() {
        Token::Bin(bytes) => format!("bytes {}", hex(bytes)),
        _ => json::text(value),
    }
}

/// An entry for programs.
#[derive(Serialize)]
struct Line<'a> {
    path: String,
    /// Absent: deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Box<RawValue>>,
    /// The value's exact bytes, where JSON can't tell all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    msgpack: Option<String>,
    node: &'a str,
    life: String,
    tick: u64,
    tock: u64,
    /// The events that made it, newest first, without the one above.
    chain: Vec<Link<'a>>,
    /// Milliseconds since 1970.
    time: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    qos: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expiry: Option<u64>,
}

#[derive(Serialize)]
struct Link<'a> {
    node: &'a str,
    life: String,
    tick: u64,
}

impl<'a> Link<'a> {
    fn new(dot: &'a Dot) -> Self {
        Self { node: dot.origin.node().as_str(), life: dot.origin.life().to_string(), tick: dot.tick.0 }
    }
}

impl<'a> Line<'a> {
    fn new(path: PathRef<'_>, entry: &'a Entry) -> Result<Self, serde_json::Error> {
        let Link { node, life, tick } = Link::new(entry.version.dot());
        let exact = |value: &Value| {
            matches!(
                value.decode(),
                Token::Nil | Token::Bool(_) | Token::Int(_) | Token::UInt(_) | Token::Str(_)
            )
        };
        let value = entry.value.as_ref();
        Ok(Self {
            path: path.to_string(),
            value: value.map(|value| RawValue::from_string(json::text(value))).transpose()?,
            msgpack: value.filter(|value| !exact(value)).map(|value| hex(value.as_bytes())),
            node,
            life,
            tick,
            tock: entry.version.tock().get(),
            chain: entry.version.tail().iter().map(Link::new).collect(),
            time: entry.meta.time(),
            user: entry.meta.user().map(|user| &**user),
            qos: entry.meta.qos(),
            expiry: entry.meta.expiry(),
        })
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut out, byte| {
        // Writing to a string does not fail.
        let _written = write!(out, "{byte:02x}");
        out
    })
}

/// `2026-11-23T10:00:00.123Z`, from milliseconds since 1970.
fn utc(time: u64) -> String {
    let moment = Moment::new(Duration::from_millis(time));
    let mut text = String::with_capacity(24);
    moment.append('F', &mut text);
    text.push('T');
    moment.append('T', &mut text);
    format!("{text}.{:03}Z", time % 1000)
}

#[cfg(test)]
mod tests;
