//! `distkv mqtt pub` and `distkv mqtt sub` as a user types them, against our own server.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use crate::harness::clock::{SOON, wait_until};
use crate::harness::server::{Options, Server, distkv, free_address};
use crate::harness::tools::{Tool, mosquitto_pub, mosquitto_sub};

const DISTKV: &str = env!("CARGO_BIN_EXE_distkv");

fn arguments<'a>(verb: &'a str, port: &'a str, rest: &[&'a str]) -> Vec<&'a str> {
    let mut all = vec!["mqtt", verb, "-h", "127.0.0.1", "-p", port];
    all.extend(rest);
    all
}

/// `distkv mqtt pub`, which must succeed.
#[track_caller]
fn publish(server: &Server, rest: &[&str]) {
    let output = distkv(&arguments("pub", &server.port(), rest));
    assert!(output.status.success(), "{output:?}");
}

/// A `distkv mqtt sub` that has its subscription.
#[track_caller]
fn subscribe(server: &Server, rest: &[&str]) -> Tool {
    let port = server.port();
    let mut all = arguments("sub", &port, rest);
    all.push("-d");
    let tool = Tool::start(DISTKV, &all);
    wait_until("SUBACK", SOON, || tool.errors().contains("SubAck"));
    tool
}

/// A client that is expected to end by itself, whatever its exit code.
fn run(server: &Server, verb: &str, rest: &[&str]) -> (Option<i32>, String, String) {
    let output = distkv(&arguments(verb, &server.port(), rest));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn publish_from(server: &Server, input: &[u8], rest: &[&str]) -> Output {
    let mut client = Command::new(DISTKV)
        .args(arguments("pub", &server.port(), rest))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    client.stdin.take().unwrap().write_all(input).unwrap();
    client.wait_with_output().unwrap()
}

#[test]
fn what_is_published_at_any_qos_is_printed() {
    let server = Server::start();
    for qos in ["0", "1", "2"] {
        let subscriber = subscribe(&server, &["-t", "home/#", "-q", qos, "-v", "-C", "2"]);
        publish(&server, &["-t", "home/light", "-m", "on", "-q", qos]);
        publish(&server, &["-t", "home/door", "-n", "-q", qos]);
        assert_eq!(subscriber.finish(), "home/light on\nhome/door (null)\n");
    }
}

/// [MQTT-7.1.2-1]
#[test]
fn it_talks_with_mosquittos_clients() {
    let server = Server::start();
    let theirs = mosquitto_sub(&server.port(), &["-t", "a/b", "-q", "2", "-C", "1", "-F", "<%p>"]);
    let ours = subscribe(&server, &["-t", "a/b", "-q", "2", "-C", "1", "-F", "<%p>"]);
    publish(&server, &["-t", "a/b", "-m", "x", "-q", "2"]);
    assert!(theirs.finish().contains("<x>"));
    assert_eq!(ours.finish(), "<x>\n");
    let ours = subscribe(&server, &["-t", "a/b", "-C", "1"]);
    mosquitto_pub(&server.port(), &["-t", "a/b", "-m", "y"]);
    assert_eq!(ours.finish(), "y\n");
}

#[test]
fn a_retained_message_is_kept_told_apart_and_deleted() {
    let server = Server::start();
    publish(&server, &["-t", "t", "-m", "kept", "-r", "-q", "1"]);
    let once = ["-t", "t", "-C", "1", "-F", "%r %t %p"];
    assert_eq!(run(&server, "sub", &once).1, "1 t kept\n");
    let (code, printed, _) = run(&server, "sub", &["-t", "t", "-R", "-W", "1"]);
    assert_eq!((code, printed.as_str()), (Some(27), ""));
    publish(&server, &["-t", "t", "-n", "-r", "-q", "1"]);
    assert_eq!(run(&server, "sub", &["-t", "t", "-W", "1"]).0, Some(27));
}

#[test]
fn retained_only_leaves_at_the_first_live_message() {
    let server = Server::start();
    publish(&server, &["-t", "a", "-m", "old", "-r", "-q", "1"]);
    let subscriber = subscribe(&server, &["-t", "#", "--retained-only"]);
    wait_until("the retained message", SOON, || subscriber.text() == "old\n");
    publish(&server, &["-t", "b", "-m", "new"]);
    assert_eq!(subscriber.finish(), "old\n");
}

#[test]
fn lines_of_the_standard_input_are_messages() {
    let server = Server::start();
    let subscriber = subscribe(&server, &["-t", "lines", "-q", "1", "-C", "3", "-F", "[%p]"]);
    assert!(publish_from(&server, b"one\n\nthree", &["-t", "lines", "-l", "-q", "1"]).status.success());
    assert_eq!(subscriber.finish(), "[one]\n[]\n[three]\n");
}

#[test]
fn a_large_binary_payload_arrives_as_it_was() {
    let server = Server::start();
    let payload: Vec<u8> = (0..3_000_000_u32).map(|number| (number * 7 % 251) as u8).collect();
    let mut subscriber = subscribe(&server, &["-t", "camera", "-C", "1", "-N"]);
    assert!(publish_from(&server, &payload, &["-t", "camera", "-s", "-q", "1"]).status.success());
    assert!(subscriber.status().success());
    assert_eq!(subscriber.output(), payload);
}

#[test]
fn a_persistent_session_gives_one_message_to_each_call() {
    let server = Server::start();
    let session = ["-i", "me", "-c", "-t", "jobs", "-q", "1"];
    let with = |rest: &[&'static str]| [&session, rest].concat();
    assert_eq!(run(&server, "sub", &with(&["-E"])).0, Some(0));
    for job in ["1", "2", "3"] {
        publish(&server, &["-t", "jobs", "-m", job, "-q", "1"]);
    }
    for job in ["1\n", "2\n", "3\n"] {
        assert_eq!(run(&server, "sub", &with(&["-C", "1", "-W", "20"])).1, job);
    }
    assert_eq!(run(&server, "sub", &with(&["-W", "1"])).0, Some(27));
}

#[test]
fn messages_of_some_topics_can_be_left_out() {
    let server = Server::start();
    let subscriber = subscribe(&server, &["-t", "#", "-T", "noise/#", "-C", "1", "-v"]);
    publish(&server, &["-t", "noise/1", "-m", "x", "-q", "1"]);
    publish(&server, &["-t", "signal", "-m", "y", "-q", "1"]);
    assert_eq!(subscriber.finish(), "signal y\n");
}

#[test]
fn a_lost_client_leaves_its_will() {
    let server = Server::start();
    let subscriber = subscribe(&server, &["-t", "wills/+", "-C", "1", "-v"]);
    let lost = subscribe(&server, &["-t", "x", "--will-topic", "wills/me", "--will-payload", "gone"]);
    lost.kill();
    assert_eq!(subscriber.finish(), "wills/me gone\n");
}

#[test]
fn a_signal_ends_a_subscriber_with_success() {
    let server = Server::start();
    let client = Command::new(DISTKV)
        .args(arguments("sub", &server.port(), &["-t", "x"]))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let id = client.id().to_string();
    wait_until("the handler of SIGINT", SOON, || {
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap_or("0");
        // Bit 1 is SIGINT.
        u64::from_str_radix(caught.trim(), 16).unwrap_or(0) & 0b10 != 0
    });
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    assert_eq!(client.wait_with_output().unwrap().status.code(), Some(0));
}

#[test]
fn failures_have_a_reason_and_an_exit_code() {
    let port = free_address().port().to_string();
    let output = distkv(&["mqtt", "pub", "-p", &port, "-h", "127.0.0.1", "-t", "x", "-m", "x"]);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(error.contains(&format!("is a broker running on 127.0.0.1:{port}?")), "{error}");
    for (wrong, hint) in [
        (["-t", "a/+", "-m", "x"].as_slice(), "a/+"),
        (&["-t", "a", "-m", "x", "-V", "mqttv31"], "3.1"),
        (&["-t", "a", "-m", "x", "-V", "mqttv5"], "MQTT 5"),
        (&["-t", "a", "-m", "x", "-c"], "-i"),
        (&["-t", "a"], "--message"),
        (&["-t", "a", "-m", "x", "-q", "3"], "3"),
    ] {
        let output = distkv(&arguments("pub", &port, wrong));
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
        assert!(error.contains(hint), "{wrong:?}: {error}");
    }
}

#[test]
fn the_load_tool_counts_every_message() {
    let server = Server::start();
    let port = server.port();
    for scenario in [
        "flow -n 20000",
        "flow -n 5000 -q 1 -P 3 -S 2 -T 5",
        "flow -n 5000 -q 2",
        "flow -n 200 -S 50 -q 1",
        "flow -n 500 --rate 2000",
        "retained -n 3000 -q 1 --replays 2 --clear",
        "idle -n 100 --subscribe --hold 0",
        "storm -n 300 --parallel 20",
        "flow -n 20000 -V 5",
        "flow -n 5000 -V 5 -q 1 -P 3 -S 2 -T 5",
        "flow -n 5000 -V 5 -q 2",
        "flow -n 5000 -V 5 -q 1 -P 3 -S 2 -T 5 --aliases",
        "flow -n 5000 -S 20 --share some",
        "flow -n 5000 -V 5 -q 1 -P 2 -S 20 -T 2 --share some",
        "flow -n 3000 -V 5 -q 2 -S 5 --share some",
        "retained -n 3000 -V 5 -q 1 --replays 2 --clear",
        "idle -n 100 -V 5 --subscribe --hold 0",
        "storm -n 300 -V 5 --parallel 20",
    ] {
        let mut arguments = vec!["bench", "mqtt"];
        arguments.extend(scenario.split(' '));
        arguments.extend(["-p", &port, "--json"]);
        let output = distkv(&arguments);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{scenario}: {text}{}", String::from_utf8_lossy(&output.stderr));
        assert!(text.contains(r#""missing":0,"repeated":0,"wrong":0,"gave_up":false"#), "{scenario}: {text}");
    }
}

#[test]
fn the_load_tool_sees_topic_aliases_both_ways() {
    let server = Server::start();
    let output = distkv(&[
        "bench",
        "mqtt",
        "flow",
        "-n",
        "2000",
        "-T",
        "3",
        "-V",
        "5",
        "--aliases",
        "--json",
        "-p",
        &server.port(),
    ]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let phase = &report["phases"][0];
    assert_eq!(phase["received"], 2000, "{report}");
    // All but the first of each topic.
    assert_eq!(phase["aliased"], 1997, "{report}");
}

#[test]
fn a_flood_of_retained_messages_at_qos_0_is_slowed_down_and_not_dropped() {
    // Snapshots begin early and often, so the writer gets ahead of them. (Not so often that what the log may grow while one is
    // taken is less than what one read brings.)
    let server = Options::new().set("store.snapshot_bytes=1MiB").start();
    let output =
        distkv(&["bench", "mqtt", "retained", "-n", "50000", "-b", "200", "-p", &server.port(), "--json"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}");
}
