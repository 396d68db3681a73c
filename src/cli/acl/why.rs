//! `distkv acl why`: may a user do something, and by which rule?

use std::io::{self, Write as _};
use std::process::ExitCode;

use super::super::ask::{Http, escaped};
use super::super::connect::Connect;
use super::super::failure::Failure;

/// The question.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The user as he logs in, NAME or NAME@ROOT; - for somebody without a name
    #[arg(value_name = "USER")]
    whom: String,
    /// A topic (or, for `subscribe`, a filter); with --path a path
    topic: String,
    /// By MQTT: publish, retain, clear (of a retained message), subscribe, receive; or one of the letters rwdcxena
    action: String,
    /// The MQTT client id, for rules with %c
    #[arg(long, value_name = "ID")]
    client_id: Option<String>,
    /// It is a path of the store, not a topic
    #[arg(long)]
    path: bool,
    #[command(flatten)]
    http: Http,
}

/// Exit code 0: allowed; 4: denied.
pub(super) fn run(args: &Args, connect: &Connect) -> anyhow::Result<ExitCode> {
    let mut query = format!("/api/acl/why?action={}", escaped(&args.action));
    let kind = if args.path { "path" } else { "topic" };
    query += &format!("&{kind}={}", escaped(&args.topic));
    if args.whom != "-" {
        query += &format!("&user={}", escaped(&args.whom));
    }
    if let Some(id) = &args.client_id {
        query += &format!("&client_id={}", escaped(id));
    }
    let answer = args.http.get(connect, &query)?;
    let allowed = answer.get("allowed").and_then(serde_json::Value::as_bool);
    let allowed = allowed.ok_or_else(|| Failure::NotFound("the server gave no answer".to_owned()))?;
    if connect.json {
        writeln!(io::stdout(), "{answer}")?;
    } else {
        let reason = answer.get("reason").and_then(serde_json::Value::as_str).unwrap_or_default();
        let word = if allowed { "yes" } else { "no" };
        writeln!(io::stdout(), "{word}: {}", crate::log::escape_controls(reason))?;
    }
    Ok(if allowed { ExitCode::SUCCESS } else { ExitCode::from(4) })
}
