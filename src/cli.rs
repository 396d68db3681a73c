//! The command line: one file a verb. Here are the verbs' list, exit codes, and what is said when something fails.
//!
//! Exit codes: 0 done, 1 it did not work (one message on stderr says why and what to do), 2 wrong usage; of the verbs that talk to a server also
//! 3 no such entry, 4 denied, 5 a condition did not hold, 6 not reachable.

mod acl;
mod ask;
mod bench;
mod completions;
mod connect;
mod delete;
mod dump;
mod entry_line;
mod failure;
mod get;
mod home;
mod load;
mod ls;
mod man;
mod mqtt;
mod msg;
mod output;
mod password;
mod repair;
mod save;
mod server;
mod set;
mod state;
mod tree;
mod user;
mod value;
mod watch;
mod why;

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// An MQTT broker on a durable, versioned key-value store.
#[derive(Debug, Parser)]
#[command(name = "distkv", version, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Server(Box<server::Args>),
    Get(get::Args),
    Set(Box<set::Args>),
    Delete(Box<delete::Args>),
    Ls(ls::Args),
    Tree(tree::Args),
    Watch(watch::Args),
    Msg(msg::Args),
    User(user::Args),
    Acl(acl::Args),
    State(state::Args),
    Why(why::Args),
    Load(load::Args),
    Save(save::SaveArgs),
    Log(save::LogArgs),
    Mqtt(mqtt::Args),
    Dump(dump::Args),
    Repair(repair::Args),
    Bench(Box<bench::Args>),
    Completions(completions::Args),
    Man(man::Args),
}

/// What `main` does: parses the command line and runs its verb.
pub fn main() -> ExitCode {
    crate::log::hook_panics();
    let cli = Cli::parse();
    let result = match cli.verb {
        Verb::Server(args) => server::run(args),
        Verb::Get(args) => get::run(&args),
        Verb::Set(args) => set::run(&args),
        Verb::Delete(args) => delete::run(&args),
        Verb::Ls(args) => ls::run(&args),
        Verb::Tree(args) => tree::run(&args),
        Verb::Watch(args) => watch::run(&args),
        Verb::Msg(args) => msg::run(&args),
        Verb::User(args) => user::run(&args),
        Verb::Acl(args) => acl::run(&args),
        Verb::State(args) => state::run(&args),
        Verb::Why(args) => why::run(&args),
        Verb::Load(args) => load::run(&args),
        Verb::Save(args) => save::save(&args),
        Verb::Log(args) => save::log(&args),
        Verb::Mqtt(args) => Ok(mqtt::run(&args)),
        Verb::Dump(args) => dump::run(&args),
        Verb::Repair(args) => repair::run(&args),
        Verb::Bench(args) => bench::run(&args),
        Verb::Completions(args) => completions::run(&args),
        Verb::Man(args) => man::run(&args),
    };
    match result {
        Ok(code) => code,
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // Nowhere to say it if stderr is closed, too.
            let _unheard = writeln!(io::stderr(), "distkv: {}", message(&error));
            ExitCode::from(failure::exit_code(&error))
        }
    }
}

/// The error and its causes in one line. A cause that is told already (many errors quote theirs) is not told twice.
fn message(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |told, cause| match () {
        () if told.is_empty() => cause,
        () if told.contains(&cause) => told,
        () => format!("{told}: {cause}"),
    })
}

/// Did whoever reads our output go away (`distkv dump | head`)? Then there is nobody to tell, and nothing is wrong.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn an_error_is_told_with_its_causes_each_once() {
        let denied = || io::Error::from(io::ErrorKind::PermissionDenied);
        let told = message(&anyhow::Error::new(denied()).context("can't open x"));
        assert_eq!(told, "can't open x: permission denied");
        let told =
            message(&anyhow::Error::new(denied()).context("can't open x: permission denied. Ask root"));
        assert_eq!(told, "can't open x: permission denied. Ask root");
    }

    #[test]
    fn a_closed_pipe_is_known_behind_its_context() {
        let broken = io::Error::from(io::ErrorKind::BrokenPipe);
        assert!(is_closed_pipe(&anyhow::Error::new(broken).context("can't print")));
        assert!(!is_closed_pipe(&anyhow::Error::new(io::Error::from(io::ErrorKind::NotFound))));
    }
}
