//! `distkv user`: what is to be known of users. So far one verb, which makes a line for the file of SCRAM users.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Subcommand;
use rustix::termios::{self, LocalModes, OptionalActions, Termios};

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
    let password = match &args.password_file {
        Some(file) => read_file(file)?,
        None if io::stdin().is_terminal() => ask(name)?,
        None => first_line(&mut io::stdin().lock()).context("can't read the password")?,
    };
    if password.is_empty() {
        bail!("the password is empty");
    }
    let mut salt = [0; SALT_BYTES];
    getrandom::fill(&mut salt).context("the system gives no random numbers")?;
    let verifier = Verifier::of_password(password.as_bytes(), &salt, args.iterations)?;
    writeln!(io::stdout(), "{name}:{verifier}")?;
    Ok(ExitCode::SUCCESS)
}

fn read_file(file: &Path) -> anyhow::Result<String> {
    let what = || format!("can't read the password from {}", file.display());
    let opened = std::fs::File::open(file).with_context(what)?;
    first_line(&mut io::BufReader::new(opened)).with_context(what)
}

fn first_line(from: &mut dyn io::BufRead) -> io::Result<String> {
    let mut line = String::new();
    from.read_line(&mut line)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

fn ask(name: &str) -> anyhow::Result<String> {
    let first = prompt(&format!("Password of {name}: "))?;
    if prompt("Once more: ")? != first {
        bail!("the two passwords differ");
    }
    Ok(first)
}

/// Asks on the terminal, which does not show what is typed.
fn prompt(words: &str) -> anyhow::Result<String> {
    let mut out = io::stderr();
    write!(out, "{words}")?;
    let hidden = Hidden::new().context("can't turn the echo of the terminal off")?;
    let line = first_line(&mut io::stdin().lock());
    drop(hidden);
    writeln!(out)?;
    Ok(line?)
}

/// As long as it lives, the terminal shows nothing of what is typed.
struct Hidden(Termios);

impl Hidden {
    fn new() -> io::Result<Self> {
        let before = termios::tcgetattr(io::stdin())?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        termios::tcsetattr(io::stdin(), OptionalActions::Flush, &silent)?;
        Ok(Self(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // If it fails, there is nobody to tell.
        let _ = termios::tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_the_first_line_without_its_end() {
        for text in ["a b", "a b\n", "a b\r\nc"] {
            assert_eq!(first_line(&mut text.as_bytes()).unwrap(), "a b");
        }
    }
}
