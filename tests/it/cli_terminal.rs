//! The command line at a terminal, which `script` makes: tables, questions, passwords.

use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;

use crate::harness::cli::Cli;
use crate::harness::clock::SOON;
use crate::harness::server::Server;

/// A verb at a terminal.
struct Terminal {
    child: Child,
    /// What it writes, as it comes.
    output: Receiver<Vec<u8>>,
    shown: String,
}

impl Terminal {
    fn start(cli: &Cli, arguments: &[&str]) -> Self {
        // `script` takes one text for a shell; no argument here has anything that a shell looks at.
        let verb = cli.command(arguments);
        let mut line = verb.get_program().to_str().unwrap().to_owned();
        for argument in arguments {
            line += &format!(" '{argument}'");
        }
        let mut script = Command::new("script");
        script.args(["-qec", &line, "/dev/null"]).env("SHELL", "/bin/sh").env("TERM", "dumb");
        for (name, value) in verb.get_envs() {
            match value {
                Some(value) => script.env(name, value),
                None => script.env_remove(name),
            };
        }
        let mut child = script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut out = child.stdout.take().unwrap();
        let (sender, output) = sync_channel(64);
        thread::spawn(move || {
            let mut some = [0; 1024];
            while let Ok(count @ 1..) = out.read(&mut some) {
                if sender.send(some[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { child, output, shown: String::new() }
    }

    /// Takes what is written next; `false` at the end.
    fn take(&mut self) -> bool {
        match self.output.recv_timeout(SOON) {
            Ok(some) => self.shown += &String::from_utf8_lossy(&some),
            Err(RecvTimeoutError::Disconnected) => return false,
            Err(RecvTimeoutError::Timeout) => panic!("it is silent after {:?}", self.shown),
        }
        true
    }

    /// Reads until the terminal shows this.
    fn expect(&mut self, text: &str) {
        while !self.shown.contains(text) {
            assert!(self.take(), "it ended without {text:?}: {:?}", self.shown);
        }
    }

    fn type_in(&mut self, text: &str) {
        self.child.stdin.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    /// Waits for the end: the exit code, and all that was shown, with the line ends of a file.
    fn end(mut self) -> (i32, String) {
        while self.take() {}
        let code = self.child.wait().unwrap().code().unwrap();
        (code, self.shown.replace("\r\n", "\n"))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn results_are_tables_and_trees() {
    let server = Server::start();
    let cli = Cli::new(&server);
    cli.ok(&["set", "home.kitchen.light", "true"]);
    cli.ok(&["set", "home.cellar", "1"]);
    let (code, shown) = Terminal::start(&cli, &["ls", "-l", "home"]).end();
    let version = cli.ok(&["get", "home.cellar", "--version"]);
    assert_eq!((code, shown), (0, format!("NAME    VALUE  VERSION\ncellar  1      {version}\n")));
    let (_, shown) = Terminal::start(&cli, &["tree"]).end();
    assert_eq!(shown, "home\n  cellar = 1\n  kitchen\n    light = true\n");
}

#[test]
fn who_deletes_much_is_asked() {
    let server = Server::start();
    let cli = Cli::new(&server);
    for path in ["a.b", "a.c"] {
        cli.ok(&["set", path, "1"]);
    }
    for (answer, code, left) in [("n\n", 1, "a"), ("\n", 1, "a"), ("y\n", 0, "")] {
        let mut terminal = Terminal::start(&cli, &["delete", "-r", "a"]);
        terminal.expect("Delete a and all below it? [y/N] ");
        terminal.type_in(answer);
        let (ended, shown) = terminal.end();
        assert_eq!(ended, code, "{answer:?}: {shown}");
        assert_eq!(cli.run(&["ls"]).out.trim_end(), left, "{answer:?}: {shown}");
    }
}

#[test]
fn passwords_are_asked_for_and_not_shown() {
    let server = Server::start();
    let cli = Cli::new(&server);
    let mut terminal = Terminal::start(&cli, &["user", "add", "ann", "--admin"]);
    terminal.expect("Password of ann: ");
    terminal.type_in("hush hush\n");
    terminal.expect("Once more: ");
    terminal.type_in("hush hush\n");
    let (code, shown) = terminal.end();
    assert_eq!(code, 0, "{shown}");
    assert!(!shown.contains("hush"), "{shown}");

    let mut terminal = Terminal::start(&cli, &["user", "list", "--user", "ann"]);
    terminal.expect("Password of ann: ");
    terminal.type_in("hush hush\n");
    let (code, shown) = terminal.end();
    assert_eq!(code, 0, "{shown}");
    assert!(shown.contains("NAME  METHOD") && !shown.contains("hush"), "{shown}");

    // Ctrl-C ends it, and leaves the terminal as it was.
    let mut terminal = Terminal::start(&cli, &["get", "a", "--user", "ann"]);
    terminal.expect("Password of ann: ");
    terminal.type_in("hu\x03");
    let (code, shown) = terminal.end();
    assert_eq!(code, 130, "{shown}");
    assert!(!shown.contains("hu\n"), "{shown}");
}
