//! `distkv msg`: MQTT messages by way of the native port.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;

use super::connect::Connect;
use super::output::hex;
use crate::client::Message;
use crate::log::escape_controls;

/// Send MQTT messages, or print what comes
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    connect: Connect,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Publish a message; it is not retained (a retained message is an entry: `distkv set`)
    Send {
        /// The topic, such as home/kitchen/light
        topic: String,
        /// The payload
        #[arg(required_unless_present = "file", allow_hyphen_values = true)]
        text: Option<String>,
        /// The payload is what this file holds
        #[arg(long, value_name = "FILE", conflicts_with = "text")]
        file: Option<PathBuf>,
    },
    /// Print each message, until you interrupt it
    Monitor {
        /// A filter of MQTT, such as home/#
        #[arg(default_value = "#")]
        filter: String,
        /// Leave after this many messages
        #[arg(short, long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
        count: Option<u64>,
    },
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    match &args.command {
        Command::Send { topic, text, file } => {
            let payload = match file {
                Some(file) => std::fs::read(file)?,
                None => text.clone().unwrap_or_default().into_bytes(),
            };
            args.connect.run(async |client| {
                client.publish(topic, &payload).await?;
                Ok(ExitCode::SUCCESS)
            })
        }
        Command::Monitor { filter, count } => args.connect.run_on(async |client| {
            let mut messages = client.messages(filter).await?;
            let (mut printed, mut gaps) = (0, 0);
            loop {
                let message = messages.next().await?;
                if messages.gaps() > gaps {
                    gaps = messages.gaps();
                    writeln!(io::stderr(), "distkv: the connection was lost; messages may be missing here")?;
                }
                print(&message, args.connect.json)?;
                printed += 1;
                if *count == Some(printed) {
                    return Ok(ExitCode::SUCCESS);
                }
            }
        }),
    }
}

fn print(message: &Message, json: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let text = std::str::from_utf8(&message.payload);
    let line = match (json, text) {
        (true, Ok(text)) => serde_json::json!({"topic": message.topic, "text": text}).to_string(),
        (true, Err(_)) => {
            serde_json::json!({"topic": message.topic, "hex": hex(&message.payload)}).to_string()
        }
        (false, Ok(text)) => escape_controls(&format!("{} {text}", message.topic)),
        (false, Err(_)) => escape_controls(&format!("{} bytes {}", message.topic, hex(&message.payload))),
    };
    writeln!(out, "{line}")?;
    out.flush()
}
