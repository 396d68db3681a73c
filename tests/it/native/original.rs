//! The original's own client library and command line, against our port.

use std::process::Command;

use crate::harness::server::{Options, Server};
use crate::harness::tools::{python_of, run_scenario};

fn scenario(server: &Server, arguments: &[&str]) {
    let port = server.native().port().to_string();
    let mut all = vec![port.as_str()];
    all.extend(arguments);
    run_scenario(python_of("distkv"), "tests/clients/distkv_scenarios.py", &all);
}

macro_rules! scenarios {
    ($($scenario:ident)*) => {
        $(
            #[test]
            fn $scenario() {
                scenario(&Server::start(), &[stringify!($scenario)]);
            }
        )*
    };
}

scenarios!(values trees watches mirrors messages requests);

#[test]
fn logins_by_every_method() {
    for method in ["root", "_test", "password"] {
        let server = Options::new().set("native.test_users=true").start();
        scenario(&server, &["users", method]);
        scenario(&server, &["log_in", method]);
    }
}

/// What the original's command line prints, and whether it was a success.
fn command(server: &Server, arguments: &[&str]) -> (String, String, bool) {
    let program = python_of("distkv").with_file_name("distkv");
    let port = server.native().port().to_string();
    let output = Command::new(program)
        .args(["client", "-h", "127.0.0.1", "-p", &port])
        .args(arguments)
        .env("HOME", server.beside("home"))
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr), output.status.success())
}

#[track_caller]
fn runs(server: &Server, arguments: &[&str]) -> String {
    let (out, errors, success) = command(server, arguments);
    assert!(success, "{arguments:?}: {out}{errors}");
    out
}

#[test]
fn the_command_line_reads_and_writes_data() {
    let server = Server::start();
    runs(&server, &["data", "a.b", "set", "-v", ":", "hello"]);
    assert_eq!(runs(&server, &["data", "a.b", "get"]).trim(), "'hello'");
    runs(&server, &["data", "a.c", "set", "-e", ":", "[1, 2.5]"]);
    let tree = runs(&server, &["data", "a", "get", "-r"]);
    assert!(tree.contains("hello") && tree.contains("2.5"), "{tree}");
    let list = runs(&server, &["data", "a", "list"]);
    assert!(list.contains('b') && list.contains('c'), "{list}");
    runs(&server, &["data", "a.b", "delete"]);
    let (_, errors, success) = command(&server, &["data", "a.b", "get"]);
    assert!(!success && errors.contains("No data at a.b"), "{errors}");
    runs(&server, &["data", "a", "delete", "-r"]);
}

#[test]
fn the_command_line_makes_users_and_asks_for_rights() {
    let server = Options::new().set("native.test_users=true").start();
    runs(&server, &["auth", "-m", "password", "user", "add", "name=pat", "password=secret"]);
    let list = runs(&server, &["auth", "-m", "password", "user", "list"]);
    assert!(list.contains("pat"), "{list}");
    runs(&server, &["auth", "-m", "password", "user", "param", "pat", "acl", "limited"]);
    runs(&server, &["internal", "state", "-n"]);
    let acl = runs(&server, &["acl", "list"]);
    println!("{acl}");
    runs(&server, &["auth", "-m", "password", "init"]);
    let (_, errors, success) = command(&server, &["data", "x", "get"]);
    assert!(!success, "{errors}");
    let (out, errors, success) =
        command(&server, &["-a", "password name=pat password=secret", "data", "x", "set", "-v", ":", "1"]);
    assert!(!success && (out + &errors).contains("not allowed"), "{errors}");
}
