//! `distkv set`: sets an entry, or one member of a value that is a map.

use std::io::{self, Write as _};
use std::process::ExitCode;

use distkv_store::path::Path;
use distkv_store::value::{Token, Value};
use serde_json::Value as Json;

use super::connect::Connect;
use super::failure::Failure;
use super::value::{Given, Member, json_of};
use crate::client::{Client, Entry, Version, Write, Written, from_value, to_value};

/// How often a member is tried to be set while others change the entry.
const TRIES: u32 = 16;

/// Set an entry
#[derive(Debug, clap::Args)]
#[command(after_help = "\
It prints the version that the entry has now. Exit code 5: a condition did not hold, and nothing was changed.")]
pub(super) struct Args {
    #[command(flatten)]
    connect: Connect,
    /// The entry, such as home.kitchen.light
    path: Path,
    #[command(flatten)]
    value: Given,
    #[command(flatten)]
    conditions: Conditions,
    /// Only if there is no such entry
    #[arg(long, conflicts_with_all = ["if_version", "if_value"])]
    new: bool,
    /// Do nothing if the entry has this very value already: no new version, no event
    #[arg(long)]
    unless_same: bool,
    /// Set only this member of a value that is a map, such as color or light.level
    #[arg(long, value_name = "NAME", conflicts_with_all = ["new", "if_value"])]
    member: Option<Member>,
}

/// When a write is done.
#[derive(Debug, clap::Args)]
pub(super) struct Conditions {
    /// Only if the entry has this version
    #[arg(long, value_name = "NODE:TICK")]
    if_version: Option<Version>,
    /// Only if the entry has this value
    #[arg(long, value_name = "JSON", allow_hyphen_values = true)]
    if_value: Option<String>,
}

impl Conditions {
    pub(super) fn put_on<'c>(&self, mut write: Write<'c>) -> anyhow::Result<Write<'c>> {
        if let Some(version) = &self.if_version {
            write = write.if_version(version);
        }
        if let Some(json) = &self.if_value {
            write = write.if_value(&json_of(json)?);
        }
        Ok(write)
    }

    pub(super) fn version(&self) -> Option<&Version> {
        self.if_version.as_ref()
    }
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let value = args.value.read()?;
    args.connect.run(async |client| {
        let written = match &args.member {
            Some(member) => {
                let mut json = from_value::<Json>(&value).map_err(|_| unsuitable("the new member"))?;
                change_member(&client, &args.path, args.conditions.version(), |whole| {
                    member.set(whole, json.take())
                })
                .await?
            }
            None => {
                let mut write = args.conditions.put_on(client.set_raw(&args.path, &value))?;
                if args.new {
                    write = write.if_new();
                }
                if args.unless_same {
                    write = write.unless_same();
                }
                write.await?
            }
        };
        tell(&written, args.connect.json)?;
        Ok(ExitCode::SUCCESS)
    })
}

/// Prints what a write did.
pub(super) fn tell(written: &Written, json: bool) -> io::Result<()> {
    let version = written.version().map(ToString::to_string);
    let mut out = io::stdout().lock();
    if json {
        let object =
            serde_json::json!({"changed": written.changed, "version": version, "tock": written.tock});
        writeln!(out, "{object}")
    } else {
        writeln!(out, "{}", version.unwrap_or_default())
    }
}

/// Reads an entry, changes its value and writes it, if nobody has changed it meanwhile; else once more.
pub(super) async fn change_member(
    client: &Client,
    path: &Path,
    version: Option<&Version>,
    mut change: impl FnMut(&mut Json) -> Result<(), Failure>,
) -> anyhow::Result<Written> {
    for _ in 0..TRIES {
        let entry = client.entry(path, 1).await?;
        if version.is_some_and(|version| entry.version() != Some(version)) {
            return Err(Failure::Conflict(format!("{path} has another version")).into());
        }
        let mut whole = json_value(&entry)?;
        change(&mut whole)?;
        let write = client.set(path, &whole);
        let write = match entry.version() {
            Some(version) if entry.value.is_some() => write.if_version(version),
            _ => write.if_new(),
        };
        match write.await {
            Err(error) if error.is_conflict() => {}
            result => return Ok(result?),
        }
    }
    Err(Failure::Conflict(format!("{path} is changed all the time: tried {TRIES} times")).into())
}

fn json_value(entry: &Entry) -> anyhow::Result<Json> {
    let Some(value) = &entry.value else { return Ok(Json::Null) };
    let json = from_value::<Json>(value).ok().filter(|json| survives(json, value));
    json.ok_or_else(|| unsuitable("the entry's value").into())
}

/// Is the value the same when it comes back from JSON?
fn survives(json: &Json, value: &Value) -> bool {
    let scalars =
        |value: &Value| value.tokens().all(|token| !matches!(token, Token::Bin(_) | Token::Ext(..)));
    scalars(value) && to_value(json).is_ok()
}

fn unsuitable(what: &str) -> Failure {
    Failure::Usage(format!(
        "{what} holds what JSON can't tell (bytes, paths, keys that are no text): set the whole value"
    ))
}
