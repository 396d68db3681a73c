//! The command line against a server: what a verb prints, what it says on stderr, how it ends.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::server::Server;

/// Runs verbs against one server. What the developer's own environment and files say of servers does not count.
pub(crate) struct Cli {
    server: SocketAddr,
    home: TempDir,
    environment: Vec<(String, String)>,
}

/// How a verb ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Cli {
    pub(crate) fn new(server: &Server) -> Self {
        Self::at(server.native())
    }

    pub(crate) fn at(server: SocketAddr) -> Self {
        let home = tempfile::Builder::new().prefix("distkv-it-").tempdir().unwrap();
        Self { server, home, environment: Vec::new() }
    }

    /// Sets a variable of the environment for all that follows.
    pub(crate) fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A file in a directory that is gone with this.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_distkv"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("DISTKV_") {
                command.env_remove(name);
            }
        }
        command
            .args(arguments)
            .env("DISTKV_SERVER", self.server.to_string())
            .env("HOME", self.home.path())
            .env_remove("XDG_CONFIG_HOME")
            .envs(self.environment.iter().cloned())
            .current_dir(self.home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs a verb to its end.
    #[track_caller]
    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        let output = self.command(arguments).output().unwrap();
        Ended {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Runs what must work; what it prints, without the last line end.
    #[track_caller]
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        let ended = self.run(arguments);
        assert_eq!(ended.code, 0, "{arguments:?}: {ended:?}");
        assert_eq!(ended.err, "", "{arguments:?}");
        ended.out.trim_end_matches('\n').to_owned()
    }

    /// Runs what must fail with this code, in one line on stderr; that line.
    #[track_caller]
    pub(crate) fn fails(&self, code: i32, arguments: &[&str]) -> String {
        let ended = self.run(arguments);
        assert_eq!(ended.code, code, "{arguments:?}: {ended:?}");
        assert_eq!(ended.out, "", "{arguments:?}");
        assert!(
            ended.err.starts_with("distkv: ") && ended.err.lines().count() == 1,
            "{arguments:?}: {ended:?}"
        );
        ended.err
    }

    /// Starts a verb that does not end by itself.
    pub(crate) fn spawn(&self, arguments: &[&str]) -> Child {
        self.command(arguments).spawn().unwrap()
    }
}
