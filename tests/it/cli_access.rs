//! Users and access lists from the command line.

use crate::harness::cli::Cli;
use crate::harness::server::{Options, Server};

/// Writes a password file; its name.
fn password(cli: &Cli, name: &str, password: &str) -> String {
    let file = cli.file(name);
    std::fs::write(&file, format!("{password}\n")).unwrap();
    file.to_str().unwrap().to_owned()
}

#[test]
fn the_first_user_is_an_admin_and_switches_logins_on() {
    let server = Server::start();
    let cli = Cli::new(&server);
    let file = password(&cli, "root-password", "12345");
    let told = cli.fails(2, &["user", "add", "ann", "--new-password-file", &file]);
    assert!(told.contains("--admin"), "{told}");
    cli.ok(&["user", "add", "ann", "--admin", "--new-password-file", &file]);
    let told = cli.fails(4, &["get", "a"]);
    assert!(told.contains("wants a login by `password`"), "{told}");

    let ann = ["--user", "ann", "--password-file", &file];
    let as_ann = |arguments: &[&str]| cli.ok(&[arguments, &ann].concat());
    as_ann(&["set", "a", "1"]);
    assert_eq!(as_ann(&["get", "a"]), "1");
    let wrong = password(&cli, "wrong", "1234");
    cli.fails(4, &["get", "a", "--user", "ann", "--password-file", &wrong]);
    cli.fails(4, &["get", "a", "--user", "nobody", "--password-file", &file]);
    cli.fails(5, &[&["user", "add", "ann", "--token"], &ann[..]].concat());
    assert_eq!(as_ann(&["user", "list"]), "ann\tpassword\tall\t\tpassword");
    let told = cli.fails(2, &["get", "a", "--user", "ann"]);
    assert!(told.contains("--password-file"), "{told}");
    let cli = cli.environment("DISTKV_USER", "ann").environment("DISTKV_PASSWORD", "12345");
    assert_eq!(cli.ok(&["get", "a"]), "1");
}

#[test]
fn users_are_changed_and_deleted() {
    let server = Server::start();
    let cli = Cli::new(&server);
    let file = password(&cli, "p", "first");
    cli.ok(&["user", "add", "ann", "--admin", "--new-password-file", &file]);
    let cli = cli.environment("DISTKV_USER", "ann").environment("DISTKV_PASSWORD_FILE", &file);
    cli.ok(&["acl", "set", "guests", "home.#", "rx"]);
    cli.ok(&["acl", "set", "guests", "home", "x"]);
    cli.ok(&["acl", "set", "guests", ":", "x"]);
    let token = cli.ok(&["user", "add", "dev", "--token", "--acl", "guests"]);
    assert!(token.starts_with("distkv."), "{token}");
    assert_eq!(cli.ok(&["user", "list"]), "ann\tpassword\tall\t\tpassword\ndev\tpassword\tguests\t\ttoken");
    cli.ok(&["set", "home.light", "1"]);
    cli.ok(&["set", "secret", "1"]);

    let tokens = password(&cli, "token", &token);
    let dev = ["--user", "dev", "--password-file", &tokens];
    let as_dev = |arguments: &[&str]| cli.run(&[arguments, &dev].concat());
    assert_eq!(as_dev(&["get", "home.light"]).out, "1\n");
    for arguments in
        [&["get", "secret"][..], &["set", "home.light", "2"], &["user", "list"], &["acl", "get", "guests"]]
    {
        assert_eq!(as_dev(arguments).code, 4, "{arguments:?}: {:?}", as_dev(arguments));
    }
    cli.ok(&["acl", "set", "guests", "home.#", "+w"]);
    assert_eq!(cli.ok(&["acl", "get", "guests", "home.#"]), "home.#\trwx");
    assert_eq!(as_dev(&["set", "home.light", "2"]).code, 0);
    cli.ok(&["acl", "set", "guests", "home.#", "-r"]);
    assert_eq!(as_dev(&["get", "home.light"]).code, 4);

    cli.ok(&["user", "change", "dev", "--acl", "*"]);
    assert_eq!(as_dev(&["get", "secret"]).code, 0);
    cli.ok(&["user", "change", "dev", "--root", "home"]);
    assert_eq!(as_dev(&["get", "light"]).out, "2\n");
    cli.fails(2, &["user", "change", "dev"]);
    cli.ok(&["user", "token", "dev", "--revoke"]);
    assert_eq!(as_dev(&["get", "light"]).code, 4);
    cli.fails(2, &["user", "delete", "dev"]);
    cli.ok(&["user", "delete", "dev", "--yes"]);
    cli.fails(3, &["user", "delete", "dev", "--yes"]);
    cli.fails(3, &["user", "token", "dev"]);
    assert_eq!(cli.ok(&["user", "list"]), "ann\tpassword\tall\t\tpassword");

    let second = password(&cli, "second", "second");
    cli.ok(&["user", "password", "ann", "--new-password-file", &second]);
    cli.fails(4, &["get", "secret"]);
    assert_eq!(cli.ok(&["get", "secret", "--password-file", &second]), "1");
}

#[test]
fn access_lists_are_listed_shown_and_deleted() {
    let server = Server::start();
    let cli = Cli::new(&server);
    assert_eq!(cli.ok(&["acl", "list"]), "");
    cli.fails(3, &["acl", "get", "staff"]);
    cli.ok(&["acl", "set", "staff", "home.+.light", "rwx"]);
    cli.ok(&["acl", "set", "staff", "device.%u.#", "rwcdxena"]);
    cli.ok(&["acl", "set", "guests", "#", ""]);
    assert_eq!(cli.ok(&["acl", "list"]), "guests\t1\nstaff\t2");
    assert_eq!(cli.ok(&["acl", "get", "staff"]), "device.%u.#\trwdcxena\nhome.+.light\trwx");
    cli.fails(2, &["acl", "set", "staff", "x", "rq"]);
    cli.fails(3, &["acl", "delete", "staff", "x"]);
    cli.ok(&["acl", "delete", "staff", "home.+.light"]);
    cli.fails(2, &["acl", "delete", "staff"]);
    cli.ok(&["acl", "delete", "staff", "--yes"]);
    assert_eq!(cli.ok(&["acl", "list", "--json"]), r#"{"list":"guests","rules":1}"#);
}

#[test]
fn the_first_user_can_be_made_before_the_server_runs() {
    let stopped = Options::new().prepare();
    let cli = Cli::at(stopped.native);
    let file = password(&cli, "p", "before");
    let data = stopped.data().display().to_string();
    let add = ["user", "add", "ann", "--admin", "--new-password-file", &file, "--data-dir", &data];
    cli.ok(&add);
    cli.fails(5, &add);
    let server = stopped.run();
    cli.fails(4, &["get", "a"]);
    let as_ann = ["get", "a", "--user", "ann", "--password-file", &file];
    cli.fails(3, &as_ann);
    let told = cli.fails(1, &["user", "list", "--data-dir", &data]);
    assert!(told.contains("a server runs on"), "{told}");
    let (_, stopped) = server.terminate();
    assert_eq!(cli.ok(&["user", "list", "--data-dir", &data]), "ann\tpassword\tall\t\tpassword");
    drop(stopped);
}

#[test]
fn a_root_has_users_and_lists_of_its_own() {
    let server = Server::start();
    let cli = Cli::new(&server);
    let file = password(&cli, "p", "operator");
    cli.ok(&["user", "add", "op", "--admin", "--new-password-file", &file]);
    let operator =
        Cli::new(&server).environment("DISTKV_USER", "op").environment("DISTKV_PASSWORD_FILE", &file);
    operator.ok(&["user", "add", "ann", "--admin", "--of", "acme", "--new-password-file", &file]);
    assert_eq!(operator.ok(&["user", "list", "--of", "acme"]), "ann\tpassword\tall\t\tpassword");
    assert_eq!(operator.ok(&["user", "list"]), "op\tpassword\tall\t\tpassword");

    // She manages her own, and sees nothing else.
    let ann = cli.environment("DISTKV_USER", "ann@acme").environment("DISTKV_PASSWORD_FILE", &file);
    ann.ok(&["user", "add", "bob", "--acl", "staff", "--new-password-file", &file]);
    ann.ok(&["acl", "set", "staff", "#", "rx"]);
    assert_eq!(ann.ok(&["user", "list"]).lines().count(), 2);
    assert_eq!(operator.ok(&["acl", "list"]), "");
    assert_eq!(operator.ok(&["acl", "list", "--of", "acme"]), "staff\t1");
    ann.ok(&["set", "x", "1"]);
    assert_eq!(operator.ok(&["get", "acme.x"]), "1");
    let bob = ["--user", "bob@acme", "--password-file", &file];
    assert_eq!(ann.ok(&[&["get", "x"], &bob[..]].concat()), "1");
    ann.fails(4, &[&["set", "x", "2"], &bob[..]].concat());
}

#[test]
fn nothing_secret_is_printed() {
    let server = Server::start();
    let cli = Cli::new(&server);
    let file = password(&cli, "p", "hush-hush");
    cli.ok(&["user", "add", "ann", "--admin", "--with-scram", "--new-password-file", &file]);
    let cli = cli.environment("DISTKV_USER", "ann").environment("DISTKV_PASSWORD_FILE", &file);
    for arguments in [&["user", "list"][..], &["user", "list", "--json"], &["tree"], &["state"]] {
        let ended = cli.run(arguments);
        for secret in ["hush", "argon2", "SCRAM-SHA"] {
            assert!(!format!("{ended:?}").contains(secret), "{arguments:?}: {ended:?}");
        }
    }
    assert!(!server.log().contains("hush"));
}
