//! `distkv delete`: deletes an entry, a subtree, or one member of a value that is a map.

use std::io::{self, Write as _};
use std::process::ExitCode;

use distkv_store::path::Path;

use super::connect::Connect;
use super::failure::Failure;
use super::output::confirm;
use super::set::{Conditions, change_member, tell};
use super::value::Member;

/// Delete an entry, or a subtree
#[derive(Debug, clap::Args)]
#[command(after_help = "\
What is below an entry stays, unless you say --recursive; that asks first, or needs --yes. Exit code 3: there was nothing to
delete. 5: a condition did not hold, and nothing was changed.")]
pub(super) struct Args {
    #[command(flatten)]
    connect: Connect,
    /// The entry, such as home.kitchen.light
    path: Path,
    #[command(flatten)]
    conditions: Conditions,
    /// Delete all that is below it, too
    #[arg(short, long, conflicts_with_all = ["if_version", "if_value", "member"])]
    recursive: bool,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    /// Delete only this member of a value that is a map
    #[arg(long, value_name = "NAME", conflicts_with = "if_value")]
    member: Option<Member>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    args.connect.run(async |client| {
        let path = &args.path;
        if args.recursive {
            let what =
                if path.is_root() { "everything".to_owned() } else { format!("{path} and all below it") };
            confirm(&format!("Delete {what}?"), args.yes)?;
            let count = client.delete_tree(path).await?;
            let mut out = io::stdout().lock();
            if args.connect.json {
                writeln!(out, "{}", serde_json::json!({"deleted": count}))?;
            } else {
                writeln!(out, "{count} deleted")?;
            }
            return Ok(ExitCode::SUCCESS);
        }
        if let Some(member) = &args.member {
            let written = change_member(&client, path, args.conditions.version(), |whole| {
                match member.remove(whole)? {
                    true => Ok(()),
                    false => Err(Failure::NotFound(format!("{path} has no member {member}"))),
                }
            });
            tell(&written.await?, args.connect.json)?;
            return Ok(ExitCode::SUCCESS);
        }
        let before = client.entry(path, 1).await?;
        if before.value.is_none() {
            return Err(Failure::NoEntry(path.clone()).into());
        }
        let written = args.conditions.put_on(client.delete(path))?.await?;
        tell(&written, args.connect.json)?;
        Ok(ExitCode::SUCCESS)
    })
}
