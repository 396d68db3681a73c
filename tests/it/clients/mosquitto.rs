//! mosquitto_pub and mosquitto_sub of Debian.

use std::fs;

use crate::harness::server::Server;
use crate::harness::tools::{Tool, mosquitto_pub, mosquitto_sub};

const VERSIONS: [&str; 3] = ["mqttv31", "mqttv311", "mqttv5"];
/// Marks a line as a message, among what `-d` says.
pub(super) const FORMAT: &str = "message %q %r %t %p";

/// The messages in a tool's output, without the mark.
pub(super) fn messages(tool: &Tool) -> Vec<String> {
    tool.text().lines().filter_map(|line| line.strip_prefix("message ")).map(str::to_owned).collect()
}

#[track_caller]
pub(super) fn finish(mut tool: Tool) -> Vec<String> {
    let status = tool.status();
    assert!(status.success(), "{status}");
    messages(&tool)
}

#[test]
fn each_message_arrives_with_the_lower_qos_of_the_two() {
    let server = Server::start();
    for version in VERSIONS {
        for granted in ["0", "1", "2"] {
            let arguments = ["-V", version, "-t", "a/#", "-q", granted, "-F", FORMAT, "-C", "3", "-W", "30"];
            let subscriber = mosquitto_sub(&server.port(), &arguments);
            for sent in ["0", "1", "2"] {
                mosquitto_pub(&server.port(), &["-V", version, "-t", "a/b", "-q", sent, "-m", sent]);
            }
            let lower = |sent: &'static str| format!("{} 0 a/b {sent}", sent.min(granted));
            assert_eq!(finish(subscriber), [lower("0"), lower("1"), lower("2")], "{version} {granted}");
        }
    }
}

#[test]
fn a_retained_message_is_replayed_until_it_is_deleted() {
    let server = Server::start();
    for version in VERSIONS {
        for qos in ["0", "1", "2"] {
            mosquitto_pub(&server.port(), &["-V", version, "-r", "-q", qos, "-t", "kept/a", "-m", "first"]);
            mosquitto_pub(&server.port(), &["-V", version, "-r", "-q", qos, "-t", "kept/a", "-m", "second"]);
            mosquitto_pub(&server.port(), &["-V", version, "-r", "-q", qos, "-t", "kept/b", "-m", "deleted"]);
            mosquitto_pub(&server.port(), &["-V", version, "-r", "-q", qos, "-t", "kept/b", "-n"]);
            let arguments = ["-V", version, "-t", "kept/#", "-q", "2", "-F", FORMAT, "-C", "2", "-W", "30"];
            let subscriber = mosquitto_sub(&server.port(), &arguments);
            mosquitto_pub(&server.port(), &["-t", "kept/end", "-q", qos, "-m", "end"]);
            assert_eq!(
                finish(subscriber),
                [format!("{qos} 1 kept/a second"), format!("{qos} 0 kept/end end")]
            );
        }
    }
}

#[test]
fn a_large_binary_file_arrives_as_it_is() {
    let server = Server::start();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("picture");
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|i| (i * 7 + i / 251) as u8).collect();
    fs::write(&file, &bytes).unwrap();
    mosquitto_pub(&server.port(), &["-q", "1", "-r", "-t", "camera", "-f", &file.display().to_string()]);
    let arguments = ["-h", "127.0.0.1", "-p", &server.port(), "-t", "camera", "-N", "-C", "1", "-W", "30"];
    let mut subscriber = Tool::start("mosquitto_sub", &arguments);
    assert!(subscriber.status().success());
    assert!(subscriber.output() == bytes, "{} bytes of {}", subscriber.output().len(), bytes.len());
}

#[test]
fn a_will_comes_from_a_killed_client_only() {
    let server = Server::start();
    for version in VERSIONS {
        let arguments =
            ["-V", version, "-t", "will", "-t", "end", "-q", "1", "-F", FORMAT, "-C", "2", "-W", "30"];
        let watcher = mosquitto_sub(&server.port(), &arguments);
        let with_will =
            ["-V", version, "-t", "x", "--will-topic", "will", "--will-qos", "1", "--will-payload"];
        mosquitto_pub(&server.port(), &[&with_will[..], &["must not come", "-m", "x"]].concat());
        mosquitto_sub(&server.port(), &[&with_will[..], &["gone"]].concat()).kill();
        let mut watcher = watcher;
        watcher.wait_for_text("message 1 0 will gone");
        mosquitto_pub(&server.port(), &["-t", "end", "-m", "end"]);
        assert_eq!(finish(watcher), ["1 0 will gone", "0 0 end end"]);
    }
}

#[test]
fn a_persistent_session_gets_what_it_missed_also_after_a_crash() {
    let mut server = Server::start();
    for version in VERSIONS {
        let mut session = vec!["-V", version, "-i", "keeper", "-c", "-t", "queue", "-q", "2"];
        if version == "mqttv5" {
            session.extend(["-x", "3600"]);
        }
        mosquitto_sub(&server.port(), &[&session[..], &["-E"]].concat()).finish();
        for text in ["one", "two", "three"] {
            mosquitto_pub(&server.port(), &["-V", version, "-q", "2", "-t", "queue", "-m", text]);
        }
        server = server.restart();
        let arguments = [&session[..], &["-F", FORMAT, "-C", "3", "-W", "30"]].concat();
        let keeper = mosquitto_sub(&server.port(), &arguments);
        assert_eq!(finish(keeper), ["2 0 queue one", "2 0 queue two", "2 0 queue three"]);
        // A clean session ends the kept one.
        let end = ["-V", version, "-i", "keeper", "-t", "queue", "-q", "2", "-E"];
        mosquitto_sub(&server.port(), &end).finish();
    }
}

#[test]
fn the_second_client_of_one_name_takes_over() {
    let server = Server::start();
    for version in VERSIONS {
        let first =
            mosquitto_sub(&server.port(), &["-V", version, "-i", "twin", "-t", "a", "-F", FORMAT, "-C", "1"]);
        let arguments =
            ["-V", version, "-i", "twin", "-t", "b", "-q", "1", "-F", FORMAT, "-C", "1", "-W", "30"];
        let second = mosquitto_sub(&server.port(), &arguments);
        assert!(server.metric("distkv_takeovers_total", &[]) >= 1.0);
        // mosquitto_sub comes back when its connection ends, and would take over in its turn.
        first.kill();
        drop(second);
        let second = mosquitto_sub(&server.port(), &arguments);
        mosquitto_pub(&server.port(), &["-t", "b", "-q", "1", "-m", "alive"]);
        assert_eq!(finish(second), ["1 0 b alive"]);
    }
}
