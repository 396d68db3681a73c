//! The verbs for data against a real server: what they print, their exit codes, and that none of the original's traps is left.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command};

use crate::harness::cli::Cli;
use crate::harness::server::{Options, Server};

#[test]
fn entries_are_set_read_and_deleted() {
    let server = Server::start();
    let cli = Cli::new(&server);
    let version = cli.ok(&["set", "home.light", "\"on\""]);
    assert!(version.ends_with(":1"), "{version}");
    assert_eq!(cli.ok(&["get", "home.light"]), "\"on\"");
    assert_eq!(cli.ok(&["get", "home.light", "--text"]), "on");
    assert_eq!(cli.ok(&["get", "home.light", "--version"]), version);
    let json: serde_json::Value = serde_json::from_str(&cli.ok(&["get", "home.light", "--json"])).unwrap();
    assert_eq!((&json["path"], &json["value"]), (&"home.light".into(), &"on".into()));
    assert_eq!(json["version"], version.as_str());
    for (value, printed) in [
        ("12", "12"),
        ("-3", "-3"),
        ("1.5", "1.5"),
        ("null", "null"),
        ("[1, {\"a\": true}]", "[1,{\"a\":true}]"),
    ] {
        cli.ok(&["set", "home.value", value]);
        assert_eq!(cli.ok(&["get", "home.value"]), printed);
    }
    cli.ok(&["set", "home.value", "--text", "12"]);
    assert_eq!(cli.ok(&["get", "home.value"]), "\"12\"");
    cli.ok(&["delete", "home.light"]);
    cli.fails(3, &["get", "home.light"]);
    cli.fails(3, &["delete", "home.light"]);
    assert_eq!(cli.ok(&["tree"]), "home.value = \"12\"");
}

#[test]
fn what_a_file_holds_comes_back_exactly() {
    let server = Server::start();
    let cli = Cli::new(&server);
    let (source, copy) = (cli.file("source"), cli.file("copy"));
    for content in [&b"text\n"[..], b"\xff\x00\n"] {
        std::fs::write(&source, content).unwrap();
        cli.ok(&["set", "file", "--file", source.to_str().unwrap()]);
        cli.ok(&["get", "file", "--file", copy.to_str().unwrap()]);
        assert_eq!(std::fs::read(&copy).unwrap(), content);
    }
    assert_eq!(cli.ok(&["get", "file"]), "bytes ff000a");
}

#[test]
fn conditions_protect() {
    let server = Server::start();
    let cli = Cli::new(&server);
    let first = cli.ok(&["set", "a", "1", "--new"]);
    cli.fails(5, &["set", "a", "2", "--new"]);
    let second = cli.ok(&["set", "a", "2", "--if-version", &first]);
    cli.fails(5, &["set", "a", "3", "--if-version", &first]);
    cli.fails(5, &["set", "a", "3", "--if-value", "1"]);
    assert_eq!(cli.ok(&["set", "a", "2", "--unless-same"]), second);
    cli.fails(5, &["delete", "a", "--if-value", "1"]);
    assert_eq!(cli.ok(&["get", "a"]), "2");
    cli.ok(&["delete", "a", "--if-version", &second]);
}

#[test]
fn members_of_a_map_are_set_and_deleted() {
    let server = Server::start();
    let cli = Cli::new(&server);
    cli.ok(&["set", "m", "--member", "light.level", "5"]);
    cli.ok(&["set", "m", "--member", "name", "--text", "x"]);
    assert_eq!(cli.ok(&["get", "m"]), r#"{"light":{"level":5},"name":"x"}"#);
    cli.ok(&["delete", "m", "--member", "light.level"]);
    cli.fails(3, &["delete", "m", "--member", "light.level"]);
    assert_eq!(cli.ok(&["get", "m"]), r#"{"light":{},"name":"x"}"#);
    cli.ok(&["set", "scalar", "3"]);
    let told = cli.fails(2, &["set", "scalar", "--member", "q", "5"]);
    assert!(told.contains("3 is no map"), "{told}");
    assert_eq!(cli.ok(&["get", "scalar"]), "3");
}

#[test]
fn a_subtree_is_deleted_only_when_somebody_says_yes() {
    let server = Server::start();
    let cli = Cli::new(&server);
    for path in ["a", "a.b", "a.b.c", "z"] {
        cli.ok(&["set", path, "null"]);
    }
    for arguments in [&["delete", "-r", "a"][..], &["delete", "-r", ":"]] {
        let told = cli.fails(2, arguments);
        assert!(told.contains("--yes"), "{told}");
    }
    assert_eq!(cli.ok(&["delete", "-r", "a", "--yes"]), "3 deleted");
    assert_eq!(cli.ok(&["ls"]), "z");
    assert_eq!(cli.ok(&["tree"]), "z = null");
}

#[test]
fn lists_and_trees_are_shown() {
    let server = Server::start();
    let cli = Cli::new(&server);
    cli.ok(&["set", "home.kitchen.light", "true"]);
    cli.ok(&["set", "home.a:.b", "1"]);
    cli.ok(&["set", "home:7", "2"]);
    assert_eq!(cli.ok(&["ls"]), "home");
    assert_eq!(cli.ok(&["ls", "home"]), ":7\na:.b\nkitchen");
    let long = cli.ok(&["ls", "-l", "home"]);
    assert!(long.starts_with(":7\t2\t") && long.lines().count() == 2, "{long}");
    assert_eq!(cli.ok(&["tree", "home"]), "home:7 = 2\nhome.a:.b = 1\nhome.kitchen.light = true");
    assert_eq!(cli.ok(&["tree", "home", "--depth", "1"]), "home:7 = 2\nhome.a:.b = 1");
    assert_eq!(cli.ok(&["ls", "--json"]), r#"{"name":"home"}"#);
    cli.fails(3, &["tree", "nothing"]);
    cli.fails(3, &["ls", "nothing"]);
    assert!(cli.ok(&["state"]).contains("nodes\t"));
    assert!(cli.ok(&["state", "--json"]).starts_with('{'));
}

#[test]
fn what_a_tree_prints_can_be_loaded() {
    let (from, to) = (Server::start(), Server::start());
    let (cli, other) = (Cli::new(&from), Cli::new(&to));
    let bytes = cli.file("bytes");
    std::fs::write(&bytes, b"\xff\xfe").unwrap();
    cli.ok(&["set", "a.text", "--text", "x"]);
    cli.ok(&["set", "a.bytes", "--file", bytes.to_str().unwrap()]);
    cli.ok(&["set", "a.map", r#"{"k": [null, 1.5]}"#]);
    let file = cli.file("tree.json");
    std::fs::write(&file, cli.ok(&["tree", "--json"]) + "\n").unwrap();
    let file = file.to_str().unwrap();
    assert_eq!(other.ok(&["load", file, "--dry-run"]), "holds 3 set, 0 deleted");
    assert_eq!(other.ok(&["load", file, "--below", "copy"]), "written: 3 set, 0 deleted");
    assert_eq!(other.ok(&["tree", "copy"]), cli.ok(&["tree"]).replace("a.", "copy.a."));
    let told = other.fails(1, &["load", "/nowhere"]);
    assert!(told.contains("/nowhere"), "{told}");
}

fn line(from: &mut BufReader<std::process::ChildStdout>) -> String {
    let mut line = String::new();
    from.read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

/// Interrupts, as Ctrl-C does; it must end quietly and well.
fn interrupt(mut child: Child) {
    let process = child.id().to_string();
    assert!(Command::new("kill").args(["-s", "INT", &process]).status().unwrap().success());
    let mut err = String::new();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(err, "");
}

#[test]
fn a_watch_tells_changes_until_it_is_interrupted() {
    let server = Server::start();
    let cli = Cli::new(&server);
    cli.ok(&["set", "w.a", "1"]);
    let mut child = cli.spawn(&["watch", "w", "--json"]);
    let mut out = BufReader::new(child.stdout.take().unwrap());
    assert_eq!(line(&mut out), r#"{"event":"whole"}"#);
    assert!(line(&mut out).starts_with(r#"{"event":"entry","path":"w.a","value":1,"#));
    let current: serde_json::Value = serde_json::from_str(&line(&mut out)).unwrap();
    assert_eq!(current["event"], "current");
    cli.ok(&["set", "w.b", "2"]);
    assert!(line(&mut out).starts_with(r#"{"event":"change","path":"w.b","value":2,"#));
    cli.ok(&["delete", "w.a"]);
    assert!(line(&mut out).starts_with(r#"{"event":"change","path":"w.a","version""#));
    interrupt(child);
    let since = current["tock"].to_string();
    assert_eq!(cli.ok(&["watch", "w", "--once", "--since", &since]), "w.b = 2\nw.a deleted");
    assert_eq!(cli.ok(&["watch", "w", "--once"]), "w.b = 2");
}

#[test]
fn messages_are_sent_and_printed() {
    let server = Server::start();
    let cli = Cli::new(&server);
    let mut child = cli.spawn(&["msg", "monitor", "m/#", "--json"]);
    let mut out = BufReader::new(child.stdout.take().unwrap());
    // Until the subscription is there nothing comes, so it is told again and again.
    let (sender, printed) = std::sync::mpsc::sync_channel(1);
    let reader = std::thread::spawn(move || {
        sender.send(line(&mut out)).unwrap();
        out
    });
    let first = loop {
        cli.ok(&["msg", "send", "m/1", "hello"]);
        if let Ok(line) = printed.try_recv() {
            break line;
        }
    };
    assert_eq!(first, r#"{"text":"hello","topic":"m/1"}"#);
    let out = reader.join().unwrap();
    interrupt(child);
    drop(out);
}

#[test]
fn a_server_that_is_not_there_is_code_6_and_bad_text_code_2() {
    let server = Server::start();
    let address = server.native();
    drop(server);
    let cli = Cli::at(address);
    let told = cli.fails(6, &["get", "a"]);
    assert!(told.contains("is the server running"), "{told}");
    let told = cli.fails(2, &["set", "a", "on"]);
    assert!(told.contains("--text 'on'"), "{told}");
    assert_eq!(cli.run(&["get", "a..b"]).code, 2);
    assert_eq!(cli.run(&["get"]).code, 2);
    cli.fails(2, &["get", "a", "--server", "host:port"]);
}

#[test]
fn the_file_the_environment_and_the_flags_say_where_the_server_is() {
    let server = Server::start();
    let cli = Cli::at("127.0.0.1:1".parse().unwrap());
    let address = server.native().to_string();
    cli.ok(&["set", "a", "1", "--server", &address]);
    let file = cli.file("client.toml");
    let named = ["get", "a", "--client-config", file.to_str().unwrap()];
    std::fs::write(&file, format!("server = \"{address}\"\n")).unwrap();
    // The environment beats the file.
    cli.fails(6, &named);
    let mut command = cli.command(&named);
    assert_eq!(command.env_remove("DISTKV_SERVER").output().unwrap().stdout, b"1\n");
    // The usual place needs no flag.
    let usual = cli.file(".config/distkv");
    std::fs::create_dir_all(&usual).unwrap();
    std::fs::rename(&file, usual.join("client.toml")).unwrap();
    let output = cli.command(&["get", "a"]).env_remove("DISTKV_SERVER").output().unwrap();
    assert_eq!(output.stdout, b"1\n");
    std::fs::write(usual.join("client.toml"), "sever = \"x\"\n").unwrap();
    let told = cli.fails(2, &["get", "a"]);
    assert!(told.contains("client.toml") && told.contains("sever"), "{told}");
}

#[test]
fn there_is_a_manual_page_for_each_command() {
    let server = Server::start();
    let cli = Cli::new(&server);
    assert!(cli.ok(&["man"]).contains(".TH distkv 1"));
    cli.ok(&["man", "pages"]);
    for page in ["distkv.1", "distkv-get.1", "distkv-user.1", "distkv-user-add.1", "distkv-acl-set.1"] {
        assert!(cli.file("pages").join(page).exists(), "{page}");
    }
}

fn sample(name: &str) -> String {
    format!("{}/tests/samples/original/{name}", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn files_of_the_original_are_loaded_as_new_changes() {
    let server = Server::start();
    let cli = Cli::new(&server);
    for file in ["save.mp", "log-fetch.mp"] {
        assert!(cli.ok(&["load", &sample(file), "--dry-run"]).starts_with("holds "));
    }
    cli.ok(&["load", &sample("save.mp"), "--below", "old"]);
    assert_eq!(cli.ok(&["get", "old"]), "\"Initial data\"");
    assert_eq!(cli.ok(&["get", "old.both.thrice"]), "3");
    assert!(cli.ok(&["get", "old.both.thrice", "--version"]).parse::<distkv::client::Version>().is_ok());
    // Users and rights are not loaded unawares.
    assert_eq!(cli.ok(&["acl", "list"]), "");
    cli.ok(&["load", &sample("save.mp"), "--internal"]);
    assert_eq!(cli.ok(&["acl", "get", "guest", "hall"]), "hall\tr");
}

#[test]
fn files_of_the_original_are_taken_into_a_directory_with_their_versions() {
    let stopped = Options::new().prepare();
    let cli = Cli::at(stopped.native);
    let data = stopped.data().display().to_string();
    let load = ["load", &sample("save.mp"), "--data-dir", &data];
    let first = cli.ok(&load);
    assert!(first.ends_with("0 known before, 0 replaced by newer ones, 0 conflicts"), "{first}");
    // Once more does nothing.
    assert!(cli.ok(&load).contains(" 0 changes taken in"));
    let server = stopped.run();
    assert_eq!(cli.ok(&["get", "both.thrice", "--version"]), "s1:5");
    let told = cli.fails(1, &load);
    assert!(told.contains("stop it first"), "{told}");
    drop(server);
}

#[test]
fn the_server_saves_and_logs_where_it_may() {
    let stopped = Options::new().prepare();
    let files = stopped.beside("files");
    std::fs::create_dir(&files).unwrap();
    let mut stopped = stopped;
    let setting = format!("native.save_dir={}", files.display());
    *stopped.options_mut() = stopped.options_mut().clone().set(&setting);
    let server = stopped.run();
    let cli = Cli::new(&server);
    cli.ok(&["log", "changes"]);
    cli.ok(&["set", "a", "1"]);
    cli.ok(&["set", "b", "2"]);
    cli.ok(&["delete", "b"]);
    cli.ok(&["log", "--stop"]);
    cli.ok(&["set", "c", "3"]);
    cli.ok(&["save", "snapshot"]);
    let file = |name: &str| files.join(name).display().to_string();
    assert_eq!(cli.ok(&["load", &file("snapshot"), "--dry-run"]), "holds 2 set, 0 deleted");
    assert_eq!(cli.ok(&["load", &file("changes"), "--dry-run"]), "holds 2 set, 1 deleted");
    for outside in ["../x", "/tmp/x"] {
        let ended = cli.run(&["save", outside]);
        assert!(ended.code != 0 && ended.out.is_empty(), "{ended:?}");
    }
}
