//! The table of rights: what each letter lets an MQTT client do.

use distkv_store::meta::Meta;
use distkv_store::path::Path;
use distkv_store::value::Value;

use super::scene::{Scene, publish};
use crate::harness::packet::{self, Packet};

/// What a client does, and the letters by each of which alone (with `x`) it may. `there`: the entry has a value.
const TABLE: &[(&str, bool, &str)] = &[
    ("publish", true, "w"),
    ("publish", false, "c"),
    ("retain", true, "w"),
    // It also makes a level: see below.
    ("retain", false, "c"),
    ("clear", true, "d"),
    ("clear", false, "d"),
    ("subscribe t/x", true, "r"),
    ("subscribe t/x", false, "r"),
    ("subscribe t/+", true, "e"),
    ("subscribe t/#", true, "e"),
    ("subscribe #", true, "e"),
    ("receive", true, "r"),
];

#[test]
fn each_letter_allows_what_it_should_and_nothing_else() {
    let scene = Scene::start();
    scene.user("ann", Some("one"), None);
    let there: Path = "t.x".parse().unwrap();
    let mut watcher = scene.connect("watcher", "root");
    watcher.subscribe("#", 0);
    let mut ann = scene.connect("ann", "ann");
    for letter in "rwdcena".chars() {
        // What lies at null is apart from all this; on the way `n` is given, so that `c` can be seen alone.
        scene.rule("one", ":", &format!("{letter}xn"));
        scene.rule("one", "t", &format!("{letter}xn"));
        scene.rule("one", "t.x", &format!("{letter}x"));
        for (deed, has_value, letters) in TABLE {
            match has_value {
                true => scene.set(&there, Value::string("there")),
                false => scene.remove(&there),
            }
            watcher.messages_so_far();
            let may = letters.contains(letter);
            let what = format!("{deed} with {letter} where a value is there: {has_value}");
            let seen = match *deed {
                "publish" | "retain" | "clear" => {
                    let payload = if *deed == "clear" { "" } else { "new" };
                    publish(&mut ann, "t/x", payload, *deed != "publish");
                    !watcher.messages_so_far().is_empty()
                }
                "receive" => {
                    // It was subscribed by another right, and keeps the subscription.
                    scene.rule("one", "t.x", "rx");
                    ann.subscribe("t/x", 0);
                    ann.messages_so_far();
                    scene.rule("one", "t.x", &format!("{letter}x"));
                    publish(&mut watcher_of(&scene), "t/x", "new", false);
                    let seen = !ann.messages_so_far().is_empty();
                    ann.send(&packet::unsubscribe(9, &["t/x"]));
                    ann.expect(Packet::Unsuback(9));
                    seen
                }
                subscribe => {
                    let filter = subscribe.strip_prefix("subscribe ").unwrap();
                    let id = ann.id();
                    ann.send(&packet::subscribe(id, &[(filter, 0)]));
                    let Packet::Suback { codes, .. } = ann.packet() else { panic!("{what}") };
                    ann.messages_so_far();
                    ann.send(&packet::unsubscribe(9, &[filter]));
                    ann.expect(Packet::Unsuback(9));
                    codes == [0]
                }
            };
            assert_eq!(seen, may, "{what}");
        }
    }
}

fn watcher_of(scene: &Scene) -> crate::harness::client::Client {
    scene.connect("publisher", "root")
}

#[test]
fn a_wildcard_subscription_gets_only_what_may_be_read_from_the_replay_on() {
    let scene = Scene::start();
    scene.user("ann", Some("some"), None);
    scene.rule("some", "#", "xe");
    scene.rule("some", ":", "xe");
    scene.rule("some", "home.+.light", "rx");
    scene.rule("some", "own.%u.%c", "rwcnx");
    for path in ["home.kitchen.light", "home.kitchen.safe", "own.ann.a", "own.ann.b", "own.bob.a"] {
        let path: Path = path.parse().unwrap();
        scene.view.set(path.as_path(), Value::string("1"), Meta::default(), None).unwrap();
    }
    let mut ann = scene.connect("a", "ann");
    ann.subscribe("#", 0);
    let mut got = vec![ann.message().topic, ann.message().topic];
    got.sort();
    assert_eq!(got, ["home/kitchen/light", "own/ann/a"]);
    ann.expect_nothing_more();
    let mut root = scene.connect("r", "root");
    for topic in ["home/kitchen/safe", "own/bob/a", "$other/x", "home/hall/light"] {
        publish(&mut root, topic, "2", true);
    }
    assert_eq!(ann.message().topic, "home/hall/light");
    ann.expect_nothing_more();
    // Internal data is not for him, whatever he asks for.
    let id = ann.id();
    ann.send(&packet::subscribe(id, &[("$SYS/#", 0), ("$other/x", 0), ("$share/g/$SYS/#", 0)]));
    ann.expect(Packet::Suback { id, codes: vec![0x80, 0x80, 0x80] });
}

#[test]
fn mqtt_5_is_told_that_something_is_denied() {
    let scene = Scene::start();
    scene.user("ann", Some("none"), None);
    let mut ann =
        crate::harness::client::Client::connect(scene.mqtt, &super::scene::as_user("a", "ann").mqtt5());
    let message = packet::Publish::new("t", "x").qos(1, 7).properties(Vec::new());
    ann.send(&message.encode());
    assert_eq!(ann.refusal(), (7, 0x87));
    let told = scene.broker.drops("a");
    assert!(told.iter().any(|it| it.detail.contains("the access list 'none' does not exist")), "{told:?}");
}
