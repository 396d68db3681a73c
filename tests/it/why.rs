//! `distkv why` and `distkv acl why` against a server with users that were made before its first start.

use std::fs;
use std::process::Output;

use crate::harness::client::Client;
use crate::harness::packet::{self, Connect, Packet, Publish};
use crate::harness::server::{Options, Server, Stopped, distkv};

const PASSWORD: &str = "open sesame";

fn run(arguments: &[&str]) -> Output {
    let output = distkv(arguments);
    assert!(!String::from_utf8_lossy(&output.stderr).contains(PASSWORD), "{output:?}");
    output
}

#[track_caller]
fn run_well(arguments: &[&str]) {
    let output = run(arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
}

/// A server with the admin root, and ann who may read below `home`.
fn server() -> (Server, String) {
    let stopped: Stopped = Options::new().prepare();
    let file = stopped.beside("password");
    fs::write(&file, format!("{PASSWORD}\n")).unwrap();
    let (file, data) = (file.display().to_string(), stopped.data().display().to_string());
    run_well(&["user", "add", "root", "--admin", "--data-dir", &data, "--new-password-file", &file]);
    run_well(&["user", "add", "ann", "--acl", "some", "--data-dir", &data, "--new-password-file", &file]);
    run_well(&["acl", "set", "some", "home.#", "rx", "--data-dir", &data]);
    (stopped.run(), file)
}

#[test]
fn an_operator_hears_why_something_did_not_arrive() {
    let (server, file) = server();
    let http = server.http().to_string();
    let user = Some(("ann".to_owned(), PASSWORD.to_owned()));
    let mut ann = Client::connect(server.mqtt(), &Connect { user, ..Connect::new("lamp/1") });
    ann.send(&packet::subscribe(1, &[("home/x", 0), ("secret/x", 0)]));
    ann.expect(Packet::Suback { id: 1, codes: vec![0, 0x80] });
    ann.send(&Publish::new("home/x", "1").qos(1, 2).encode());
    ann.expect(Packet::Puback(2));
    let asked = |arguments: &[&str]| {
        let login = ["--http", &http, "--user", "root", "--password-file", &file];
        run(&[arguments, &login].concat())
    };
    let text = |output: &Output| String::from_utf8(output.stdout.clone()).unwrap();
    let why = asked(&["why", "lamp/1"]);
    assert!(why.status.success(), "{why:?}");
    let told = text(&why);
    for part in ["subscribe_denied\t1\tsecret/x", "publish_denied\t1\thome/x", "the access list 'some'"] {
        assert!(told.contains(part), "no {part} in {told}");
    }
    let json: serde_json::Value = serde_json::from_str(&text(&asked(&["why", "lamp/1", "--json"]))).unwrap();
    assert_eq!(json["client"]["user"], "ann");
    assert_eq!(asked(&["why", "nobody"]).status.code(), Some(3));

    let yes = asked(&["acl", "why", "ann", "home/x", "receive"]);
    assert_eq!((yes.status.code(), text(&yes).starts_with("yes: ")), (Some(0), true), "{yes:?}");
    let no = asked(&["acl", "why", "ann", "home/x", "publish"]);
    assert!(no.status.code() == Some(4) && text(&no).contains("home.#"), "{no:?}");
    assert_eq!(asked(&["acl", "why", "ann", "home.x", "read", "--path"]).status.code(), Some(0));
    assert_eq!(asked(&["acl", "why", "ann", "home/x", "dance"]).status.code(), Some(2));
    assert_eq!(asked(&["acl", "why", "eve", "home/x", "receive"]).status.code(), Some(3));
}

#[test]
fn nobody_else_hears_it() {
    let (server, file) = server();
    let http = server.http().to_string();
    for login in
        [&[][..], &["--user", "ann", "--password-file", &file], &["--user", "eve", "--password-file", &file]]
    {
        let output = run(&[&["why", "x", "--http", &http], login].concat());
        assert_eq!(output.status.code(), Some(4), "{output:?}");
    }
    drop(server);
    assert_eq!(run(&["why", "x", "--http", &http]).status.code(), Some(6));
}
