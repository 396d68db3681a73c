//! What there is only in MQTT 5, with mosquitto_pub, mosquitto_sub and mosquitto_rr of Debian.

use std::time::Duration;

use super::mosquitto::finish;
use crate::harness::clock::{now, wait_until};
use crate::harness::server::{Server, wait_for_metric};
use crate::harness::tools::{Tool, mosquitto_pub, mosquitto_sub};

/// `-V mqttv5` and the rest.
fn v5<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    [&["-V", "mqttv5"], arguments].concat()
}

fn publish(server: &Server, arguments: &[&str]) {
    mosquitto_pub(&server.port(), &v5(arguments));
}

fn subscribe(server: &Server, arguments: &[&str]) -> Tool {
    mosquitto_sub(&server.port(), &v5(&[arguments, &["-W", "30"]].concat()))
}

/// [MQTT5-3.3.2-4, 3.3.2-15, 3.3.2-16, 3.3.2-17, 3.3.2-18, 3.3.2-20]
#[test]
fn properties_arrive_in_their_order() {
    let server = Server::start();
    let format = "message %t|%C|%R|%D|%F|%P|%p";
    let live = subscribe(&server, &["-t", "a/#", "-q", "1", "-F", format, "-C", "1"]);
    let mut sent = vec!["-t", "a/b", "-q", "1", "-r", "-m", "text"];
    for (name, value) in [("b", "1"), ("a", "2"), ("b", "1")] {
        sent.extend(["-D", "publish", "user-property", name, value]);
    }
    sent.extend([
        "-D",
        "publish",
        "content-type",
        "text/plain",
        "-D",
        "publish",
        "response-topic",
        "answers",
    ]);
    sent.extend([
        "-D",
        "publish",
        "correlation-data",
        "42",
        "-D",
        "publish",
        "payload-format-indicator",
        "1",
    ]);
    publish(&server, &sent);
    let expected = ["a/b|text/plain|answers|42|1|b:1 a:2 b:1|text"];
    assert_eq!(finish(live), expected);
    // They are kept with a retained message, also over a crash.
    let server = server.restart();
    let late = subscribe(&server, &["-t", "a/#", "-q", "1", "-F", format, "-C", "1"]);
    assert_eq!(finish(late), expected);
}

/// [MQTT5-3.3.2-15, 3.3.2-16]
#[test]
fn mosquitto_rr_gets_its_answer() {
    let server = Server::start();
    let mut service = subscribe(&server, &["-t", "service", "-q", "1", "-F", "message %R|%D|%p", "-C", "1"]);
    let port = server.port();
    let request = [
        "-h",
        "127.0.0.1",
        "-p",
        &port,
        "-V",
        "mqttv5",
        "-t",
        "service",
        "-e",
        "answers/rr",
        "-q",
        "1",
        "-m",
        "21",
    ];
    let more = ["-D", "publish", "correlation-data", "7", "-F", "%t|%D|%p", "-W", "30"];
    let asking = Tool::start("mosquitto_rr", &[&request[..], &more[..]].concat());
    service.wait_for_text("message answers/rr|7|21");
    publish(&server, &["-t", "answers/rr", "-D", "publish", "correlation-data", "7", "-q", "1", "-m", "42"]);
    assert_eq!(asking.finish().trim_end(), "answers/rr|7|42");
}

/// [MQTT5-3.3.2-5, 3.3.2-6, 3.1.2-23, 4.1.0-2]
#[test]
fn messages_and_sessions_expire() {
    let server = Server::start();
    let keeper = ["-i", "keeper", "-c", "-t", "queue/#", "-q", "1"];
    let leave = |seconds| subscribe(&server, &[&keeper[..], &["-x", seconds, "-E"]].concat()).finish();
    leave("3600");
    for (topic, seconds) in [("queue/short", "1"), ("queue/long", "1000")] {
        publish(
            &server,
            &["-t", topic, "-q", "1", "-m", "x", "-D", "publish", "message-expiry-interval", seconds],
        );
    }
    publish(&server, &["-t", "queue/none", "-q", "1", "-m", "x"]);
    let start = now();
    wait_until("two seconds", Duration::from_secs(10), || start.elapsed() >= Duration::from_millis(2100));
    // The queue comes before SUBACK, and may be all that it waits for.
    let port = server.port();
    let to_server = ["-h", "127.0.0.1", "-p", &port, "-V", "mqttv5"];
    let back = ["-x", "3600", "-F", "message %t %E", "-C", "2", "-W", "30"];
    let messages = finish(Tool::start("mosquitto_sub", &[&to_server[..], &keeper, &back].concat()));
    let left: u32 = messages[0].strip_prefix("queue/long ").expect("the long one first").parse().unwrap();
    assert!(left > 900 && left <= 998, "{messages:?}");
    assert_eq!(messages[1].trim_end(), "queue/none");
    // Back for a moment, and now the session is to last a second.
    leave("1");
    wait_for_metric(&server, "distkv_sessions", &[], |sessions| sessions == 0.0);
}

/// [MQTT5-3.3.1-12, 3.3.1-13] [MQTT5-3.3.4-3]
#[test]
fn options_and_identifiers_of_subscriptions_are_obeyed() {
    let server = Server::start();
    publish(&server, &["-t", "kept", "-r", "-q", "1", "-m", "old"]);
    let format = ["-F", "message %r %S %p", "-q", "1", "-t", "kept", "-C", "2", "-D", "subscribe"];
    let as_published = ["subscription-identifier", "300", "--retain-as-published"];
    let as_published = subscribe(&server, &[&format[..], &as_published].concat());
    let as_usual = subscribe(&server, &[&format[..], &["subscription-identifier", "9"]].concat());
    publish(&server, &["-t", "kept", "-r", "-q", "1", "-m", "new"]);
    assert_eq!(finish(as_published), ["1 300 old", "1 300 new"]);
    assert_eq!(finish(as_usual), ["1 9 old", "0 9 new"]);
}

#[test]
fn members_of_a_group_share_the_messages() {
    let server = Server::start();
    let all = subscribe(&server, &["-t", "work/#", "-q", "1", "-F", "message %p", "-C", "90"]);
    let member = |version| {
        let arguments = [
            "-V",
            version,
            "-t",
            "$share/group/work/#",
            "-t",
            "end",
            "-q",
            "1",
            "-F",
            "message %p",
            "-W",
            "30",
        ];
        mosquitto_sub(&server.port(), &arguments)
    };
    // A member speaks an older version.
    let mut members = [member("mqttv5"), member("mqttv311"), member("mqttv5")];
    for number in 0..90 {
        publish(&server, &["-t", "work/x", "-q", "1", "-m", &number.to_string()]);
    }
    publish(&server, &["-t", "end", "-q", "1", "-m", "end"]);
    let mut numbers: Vec<u32> = Vec::new();
    for member in &mut members {
        member.wait_for_text("message end");
        let part: Vec<u32> =
            super::mosquitto::messages(member).iter().filter_map(|text| text.parse().ok()).collect();
        assert!(part.len() >= 15 && part.is_sorted(), "{part:?}");
        numbers.extend(part);
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (0..90).collect::<Vec<_>>());
    assert_eq!(finish(all).len(), 90);
}

/// [MQTT5-3.1.2-8]
#[test]
fn a_will_waits_for_its_delay() {
    let server = Server::start();
    let watcher = subscribe(&server, &["-t", "will", "-q", "1", "-F", "message %C %P %p", "-C", "1"]);
    let lost = ["-t", "x", "-i", "lost", "-c", "-x", "100", "--will-topic", "will", "--will-qos", "1"];
    let will =
        ["--will-payload", "gone", "-D", "will", "will-delay-interval", "2", "-D", "will", "content-type"];
    let user = ["text/plain", "-D", "will", "user-property", "a", "b"];
    let lost = subscribe(&server, &[&lost[..], &will, &user].concat());
    let start = now();
    lost.kill();
    assert_eq!(finish(watcher), ["text/plain a:b gone"]);
    assert!(start.elapsed() >= Duration::from_secs(2), "after {:?}", start.elapsed());
}

#[test]
fn reasons_are_shown() {
    let server = Server::start();
    let said = |arguments: &[&str]| {
        let port = server.port();
        let mut tool = Tool::start(
            "mosquitto_pub",
            &[&["-h", "127.0.0.1", "-p", &port, "-V", "mqttv5", "-d", "-q", "1", "-m", "x"], arguments]
                .concat(),
        );
        tool.status();
        tool.to_string()
    };
    let nobody = said(&["-t", "nobody/listens"]);
    assert!(nobody.contains("RC:16)"), "{nobody}");
    let reserved = said(&["-t", "$SYS/broker/version"]);
    assert!(reserved.contains("RC:135)"), "{reserved}");
}

#[test]
fn aliases_are_understood() {
    let server = Server::start();
    let subscriber = subscribe(&server, &["-t", "long/topic", "-q", "1", "-F", "message %t %p", "-C", "3"]);
    // mosquitto_pub sends the alias with the topic, and without it from the second line on.
    let shell = format!(
        "printf 'one\\ntwo\\nthree\\n' | mosquitto_pub -h 127.0.0.1 -p {} -V mqttv5 -q 1 -t long/topic -l -D publish topic-alias 1",
        server.port()
    );
    Tool::start("sh", &["-c", &shell]).finish();
    assert_eq!(finish(subscriber), ["long/topic one", "long/topic two", "long/topic three"]);
}
