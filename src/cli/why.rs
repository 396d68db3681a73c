//! `distkv why`: what was dropped of a client's messages, and what was refused to it.

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use serde_json::Value;

use super::ask::{Http, escaped};
use super::connect::Connect;
use super::output::Table;
use crate::mqtt_client::calendar::Moment;

/// Say why an MQTT client does not get or send something
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Shown are the last messages from or to the client that were dropped, subscriptions and logins that were refused, each with the reason
and, where it was a right that was missing, the rule. `distkv acl why` tells what a user may do.")]
pub(super) struct Args {
    /// The client id
    client: String,
    #[command(flatten)]
    http: Http,
    #[command(flatten)]
    connect: Connect,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let path = format!("/api/clients/{}/drops", escaped(&args.client));
    let answer = args.http.get(&args.connect, &path)?;
    if args.connect.json {
        writeln!(io::stdout(), "{answer}")?;
        return Ok(ExitCode::SUCCESS);
    }
    let drops = answer.get("drops").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if drops.is_empty() {
        writeln!(io::stderr(), "nothing was dropped or refused lately")?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new(&["last time (utc)", "reason", "times", "topic", "detail"]);
    for drop in drops {
        let text = |key: &str| drop.get(key).and_then(Value::as_str).unwrap_or("-").to_owned();
        let at = drop.get("at").and_then(Value::as_f64).and_then(|at| Duration::try_from_secs_f64(at).ok());
        let times = drop.get("times").and_then(Value::as_u64).unwrap_or_default();
        let at = Moment::new(at.unwrap_or_default()).iso();
        table.row(vec![at, text("reason"), times.to_string(), text("topic"), text("detail")]);
    }
    table.print()?;
    Ok(ExitCode::SUCCESS)
}
