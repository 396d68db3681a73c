//! `distkv user`: who may log in. All of it is data of the store (`:n.auth`), changed through the native port, or in a data directory on
//! which no server runs: that is how the first user is made.
//!
//! Hashes are made here; a password never leaves this process.

mod record;
mod table;

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Subcommand;
use distkv_store::path::Path;

use super::connect::Connect;
use super::failure::Failure;
use super::home::{Home, Place};
use super::output::confirm;
use super::password;
use crate::auth::scram::{self, ITERATIONS_MIN, SALT_BYTES, Verifier};
use record::Change;

/// Manage who may log in
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    connect: Connect,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the users
    List {
        #[command(flatten)]
        place: Place,
    },
    /// Make a user
    #[command(after_help = "\
The password is read from a file, asked for on the terminal, or else the first line of standard input. With --token there is none: a random
token is made and printed, once. The first user must be an admin; from then on everybody has to log in.")]
    Add(AddArgs),
    /// Delete a user. His connections are closed
    Delete {
        /// The user's name
        name: String,
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
        #[command(flatten)]
        place: Place,
    },
    /// Change a user's password
    Password {
        /// The user's name
        name: String,
        #[command(flatten)]
        secret: NewPassword,
        #[command(flatten)]
        place: Place,
    },
    /// Make a random token for a device, which it sends as its password; it is printed once
    Token {
        /// The user's name
        name: String,
        /// Take all tokens of the user back, and make none
        #[arg(long)]
        revoke: bool,
        #[command(flatten)]
        place: Place,
    },
    /// Change what a user may do
    Change {
        /// The user's name
        name: String,
        #[command(flatten)]
        rights: RightsArgs,
        #[command(flatten)]
        place: Place,
    },
    /// Print a line for the file of `mqtt.scram_users_file`
    #[command(after_help = "\
The password is asked for, or read from a file or from standard input if that is no terminal; a line end behind it does
not count. It can't be found out from the line other than by trying passwords.")]
    Scram(ScramArgs),
}

#[derive(Debug, clap::Args)]
struct AddArgs {
    /// The user's name
    name: String,
    #[command(flatten)]
    secret: NewPassword,
    /// Make a token instead of a password
    #[arg(long, conflicts_with_all = ["new_password_file", "with_scram"])]
    token: bool,
    #[command(flatten)]
    rights: RightsArgs,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, clap::Args)]
struct NewPassword {
    /// Read the user's password from this file
    #[arg(long, value_name = "FILE")]
    new_password_file: Option<PathBuf>,
    /// Keep a verifier for SCRAM-SHA-256, too (enhanced authentication of MQTT 5)
    #[arg(long)]
    with_scram: bool,
}

#[derive(Debug, clap::Args)]
struct RightsArgs {
    /// He may see and change internal data: users, rights
    #[arg(long)]
    admin: bool,
    /// He may not
    #[arg(long, conflicts_with = "admin")]
    no_admin: bool,
    /// The access list that binds him; `*` is none: he may do everything
    #[arg(long, value_name = "ACL")]
    acl: Option<String>,
    /// He sees this subtree as the whole
    #[arg(long, value_name = "PATH")]
    root: Option<Path>,
}

#[derive(Debug, clap::Args)]
struct ScramArgs {
    /// The user's name
    name: String,
    /// How often to hash the password: more makes trying passwords, and each login, dearer
    #[arg(long, value_name = "COUNT", default_value_t = ITERATIONS_MIN)]
    iterations: u32,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let connect = &args.connect;
    match &args.command {
        Command::Scram(scram) => scram_line(scram, connect.password_file()),
        Command::List { place } => {
            Home::with(connect, place, async |home| table::print(home, connect.json).await)
        }
        Command::Add(add) => {
            let secret = if add.token {
                Change::token(&add.place.login(&add.name))?
            } else {
                add.secret.change(&add.name)?
            };
            Home::with(connect, &add.place, async |home| {
                record::add(home, &add.name, &secret, &add.rights).await?;
                tell(&secret, connect.json)
            })
        }
        Command::Delete { name, yes, place } => {
            confirm(&format!("Delete the user {name}?"), *yes)?;
            Home::with(connect, place, async |home| record::delete(home, name).await)
        }
        Command::Password { name, secret, place } => {
            let change = secret.change(name)?;
            Home::with(connect, place, async |home| record::change(home, name, &change, None).await)
        }
        Command::Token { name, revoke, place } => {
            let change = if *revoke { Change::NoTokens } else { Change::token(&place.login(name))? };
            Home::with(connect, place, async |home| {
                record::change(home, name, &change, None).await?;
                tell(&change, connect.json)
            })
        }
        Command::Change { name, rights, place } => {
            if !(rights.admin || rights.no_admin) && rights.acl.is_none() && rights.root.is_none() {
                let text = "say what to change: --admin, --no-admin, --acl, --root";
                return Err(Failure::Usage(text.to_owned()).into());
            }
            Home::with(connect, place, async |home| {
                record::change(home, name, &Change::Nothing, Some(rights)).await
            })
        }
    }
}

impl NewPassword {
    fn change(&self, name: &str) -> anyhow::Result<Change> {
        let password = password::new(name, self.new_password_file.as_deref())?;
        Change::password(&password, self.with_scram)
    }
}

/// Prints a token that was made: the only time that anybody sees it.
fn tell(change: &Change, json: bool) -> anyhow::Result<()> {
    if let Change::Token(token) = change {
        let mut out = io::stdout().lock();
        if json {
            writeln!(out, "{}", serde_json::json!({"token": token.text}))?;
        } else {
            writeln!(out, "{}", token.text)?;
        }
    }
    Ok(())
}

fn scram_line(args: &ScramArgs, password_file: Option<&std::path::Path>) -> anyhow::Result<ExitCode> {
    let name = &args.name;
    if !scram::is_name(name) || name.contains(':') || name.starts_with('#') {
        anyhow::bail!(
            "`{name}` can't be a user's name: it has 1 to {} bytes, no `:`, no `#` at its begin",
            scram::NAME_MAX
        );
    }
    let password = password::new(name, password_file)?;
    writeln!(io::stdout(), "{name}:{}", verifier(&password, args.iterations)?)?;
    Ok(ExitCode::SUCCESS)
}

fn verifier(password: &str, iterations: u32) -> anyhow::Result<Verifier> {
    let mut salt = [0; SALT_BYTES];
    getrandom::fill(&mut salt).context("the system gives no random numbers")?;
    Ok(Verifier::of_password(password.as_bytes(), &salt, iterations)?)
}
