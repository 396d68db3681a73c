//! `distkv user`: what is to be known of users. So far one verb, which makes a line for the file of SCRAM users.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Subcommand;

use super::password;
use crate::auth::scram::{self, ITERATIONS_MIN, SALT_BYTES, Verifier};

/// Make what the server has to know of a user
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print a line for the file of `mqtt.scram_users_file`
    #[command(after_help = "\
The password is asked for, or read from a file or from standard input if that is no terminal; a line end behind it does
not count. It can't be found out from the line other than by trying passwords.")]
    Scram(ScramArgs),
}

#[derive(Debug, clap::Args)]
struct ScramArgs {
    /// The user's name
    name: String,
    /// Read the password from this file
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// How often to hash the password: more makes trying passwords, and each login, dearer
    #[arg(long, value_name = "COUNT", default_value_t = ITERATIONS_MIN)]
    iterations: u32,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let Command::Scram(args) = &args.command;
    let name = &args.name;
    if !scram::is_name(name) || name.contains(':') || name.starts_with('#') {
        bail!(
            "`{name}` can't be a user's name: it has 1 to {} bytes, no `:`, no `#` at its begin",
            scram::NAME_MAX
        );
    }
    let password = password::new(name, args.password_file.as_deref())?;
    let mut salt = [0; SALT_BYTES];
    getrandom::fill(&mut salt).context("the system gives no random numbers")?;
    let verifier = Verifier::of_password(password.as_bytes(), &salt, args.iterations)?;
    writeln!(io::stdout(), "{name}:{verifier}")?;
    Ok(ExitCode::SUCCESS)
}
