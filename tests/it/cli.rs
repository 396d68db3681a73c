//! The command line as a user meets it: exit codes, and one message for people where something is wrong.

use std::io::Read as _;
use std::process::Stdio;

use assert_cmd::Command;

fn distkv(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_distkv"));
    // What a developer's shell may hold must show nobody a backtrace.
    command.args(arguments).env("RUST_BACKTRACE", "full");
    command
}

/// Runs it in vain: the exit code, and the one line which it says on stderr.
#[track_caller]
fn complaint(arguments: &[&str]) -> (i32, String) {
    let output = distkv(arguments).output().unwrap();
    assert!(output.stdout.is_empty(), "{arguments:?} wrote to stdout");
    let text = String::from_utf8(output.stderr).unwrap();
    (output.status.code().unwrap(), text)
}

/// As [`complaint`], of a failure (code 1) told in one line.
#[track_caller]
fn failure(arguments: &[&str]) -> String {
    let (code, text) = complaint(arguments);
    assert_eq!(code, 1, "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.starts_with("distkv: "), "{text}");
    text
}

#[test]
fn the_version_is_told() {
    distkv(&["--version"]).assert().success().stdout(format!("distkv {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn wrong_usage_is_code_2() {
    for arguments in [
        &[][..],
        &["serve"],
        &["server", "--no-such-flag"],
        &["server", "--mqtt", "broker.example:1883"],
        &["server", "--mqtt", "127.0.0.1"],
        &["server", "--log", "loud"],
        &["server", "--durability", "sometimes"],
        &["server", "--set", "mqtt.listen"],
        &["completions", "cobol"],
    ] {
        let (code, text) = complaint(arguments);
        assert_eq!(code, 2, "{arguments:?}: {text}");
    }
}

#[test]
fn check_accepts_all_flags_and_leaves() {
    let arguments = [
        "server",
        "--check",
        "--name",
        "a",
        "--data-dir",
        "x",
        "--durability",
        "always",
        "--mqtt",
        "1884",
        "--mqtt",
        "[::1]:1885",
        "--native",
        "none",
        "--http",
        "none",
        "--cluster",
        "none",
        "--log",
        "warn,distkv_broker=debug",
        "--set",
        "mqtt.allow_anonymous=true",
    ];
    distkv(&arguments).assert().success().stdout("the configuration is fine\n");
}

#[test]
fn check_names_file_line_key_and_the_nearest_key() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("distkv.toml");
    std::fs::write(&file, "[mqtt]\nlisen = \"1883\"\n").unwrap();
    let file = file.to_str().unwrap();
    assert_eq!(
        failure(&["server", "--check", "--config", file]),
        format!("distkv: {file}, line 2: unknown key `mqtt.lisen`; did you mean `mqtt.listen`?\n")
    );
    let text = failure(&["server", "--check", "--config", "/nowhere/distkv.toml"]);
    assert!(text.contains("/nowhere/distkv.toml"), "{text}");
}

#[test]
fn the_delivered_configuration_is_fine() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/configs/distkv.toml");
    distkv(&["server", "--check", "--config", file]).assert().success();
}

#[test]
fn the_environment_is_part_of_the_configuration() {
    let output = distkv(&["server", "--check"]).env("DISTKV_MQTT__LISEN", "1").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        text.contains("DISTKV_MQTT__LISEN: unknown key `mqtt.lisen`; did you mean `mqtt.listen`?"),
        "{text}"
    );
}

#[test]
fn an_open_port_without_users_must_be_meant() {
    let text = failure(&["server", "--check", "--mqtt", "0.0.0.0:1883"]);
    assert!(text.contains("allow_anonymous = true"), "{text}");
    distkv(&["server", "--check", "--mqtt", "0.0.0.0:1883", "--set", "mqtt.allow_anonymous=true"])
        .assert()
        .success();
}

#[test]
fn what_is_not_built_yet_says_so() {
    for (flags, what) in [
        (&["--cluster", "127.0.0.1:27587"][..], "cluster"),
        (&["--join", "127.0.0.1:27587"], "cluster"),
        (&["--cluster-secret-file", "secret"], "cluster"),
        (&["--init"], "cluster"),
    ] {
        let text = failure(&[&["server", "--check"], flags].concat());
        assert!(text.contains(&format!("this version has no {what}")), "{text}");
    }
}

#[test]
fn completions_name_the_verbs() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = distkv(&["completions", shell]).output().unwrap();
        assert!(output.status.success());
        assert!(String::from_utf8(output.stdout).unwrap().contains("server"), "{shell}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_distkv"))
        .args(["completions", "bash"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut text = String::new();
    child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(text, "");
}
