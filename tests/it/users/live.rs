//! What was allowed before is cut off at once, on every way to a client.

use super::scene::{Scene, as_user, publish};
use crate::harness::client::Client;
use crate::harness::packet::{Connect, Publish};

/// Ann may read everything, until a test says otherwise.
fn scene() -> Scene {
    let scene = Scene::start();
    scene.user("ann", Some("all"), None);
    scene.rule("all", ":", "rwcdexn");
    scene.rule("all", "#", "rwcdexn");
    scene
}

fn take_away(scene: &Scene) {
    scene.rule("all", "secret.#", "x");
}

#[test]
fn an_open_subscription_a_shared_one_and_a_queue() {
    let scene = scene();
    let away = Connect { clean: false, ..as_user("away", "ann") };
    let mut sleeper = Client::connect(scene.mqtt, &away);
    sleeper.subscribe("#", 1);
    sleeper.disconnect();
    let mut ann = scene.connect("a", "ann");
    ann.subscribe("#", 0);
    let mut sharer = scene.connect("s", "ann");
    sharer.subscribe("$share/g/#", 0);
    let mut root = scene.connect("r", "root");
    publish(&mut root, "secret/x", "1", false);
    for client in [&mut ann, &mut sharer] {
        assert_eq!(client.message().topic, "secret/x");
    }
    take_away(&scene);
    for (topic, retain) in [("secret/x", false), ("secret/x", true), ("open/x", false)] {
        publish(&mut root, topic, "2", retain);
    }
    for client in [&mut ann, &mut sharer] {
        assert_eq!(client.message().topic, "open/x");
        client.expect_nothing_more();
    }
    let mut sleeper = Client::connect(scene.mqtt, &away);
    assert_eq!(sleeper.message().topic, "open/x");
    sleeper.expect_nothing_more();
    // And it comes back as fast.
    scene.rule("all", "secret.#", "rx");
    publish(&mut root, "secret/x", "3", false);
    assert_eq!(ann.message().topic, "secret/x");
}

#[test]
fn retained_messages_native_writes_and_deletions() {
    let scene = scene();
    let mut root = scene.connect("r", "root");
    publish(&mut root, "secret/x", "1", true);
    publish(&mut root, "open/x", "1", true);
    take_away(&scene);
    let mut ann = scene.connect("a", "ann");
    ann.subscribe("#", 1);
    assert_eq!(ann.message().topic, "open/x");
    let secret = "secret.x".parse().unwrap();
    scene.set(&secret, distkv_store::value::Value::string("2"));
    scene.remove(&secret);
    publish(&mut root, "open/x", "", true);
    assert_eq!(ann.message().topic, "open/x");
    ann.expect_nothing_more();
}

#[test]
fn wills_and_delayed_messages_of_somebody_who_may_publish_no_longer() {
    let scene = scene();
    let mut root = scene.connect("r", "root");
    root.subscribe("secret/#", 0);
    root.subscribe("open/#", 0);
    let will = |id: &str, topic: &str| as_user(id, "ann").will(Publish::new(topic, "gone"));
    let first = Client::connect(scene.mqtt, &will("1", "secret/will"));
    let second = Client::connect(scene.mqtt, &will("2", "open/will"));
    let mut third = scene.connect("3", "ann");
    publish(&mut third, "$delayed/1/secret/late", "x", false);
    publish(&mut third, "$delayed/1/open/late", "x", true);
    take_away(&scene);
    first.vanish();
    second.vanish();
    let mut got = [root.message().topic, root.message().topic];
    got.sort();
    assert_eq!(got, ["open/late", "open/will"]);
    root.expect_nothing_more();
}

#[test]
fn values_of_the_broker_itself() {
    let scene = scene();
    scene.rule("all", ":n.mqtt.#", "rx");
    scene.rule("all", ":n.mqtt", "ex");
    scene.rule("all", ":n", "ex");
    scene.rule("all", ":n.mqtt.$SYS.#", "rex");
    scene.rule("all", ":n.mqtt.$SYS", "rex");
    let mut ann = scene.connect("a", "ann");
    ann.subscribe("$SYS/#", 0);
    assert!(ann.message().topic.starts_with("$SYS/"));
    scene.rule("all", ":n.mqtt.$SYS.#", "x");
    let denied = || scene.broker.metrics().dropped_receive_denied.get();
    let before = denied();
    crate::harness::clock::wait_until("a value that is denied", crate::harness::clock::SOON, || {
        denied() > before
    });
    // What was on its way comes, and nothing more.
    ann.messages_so_far();
    let before = denied();
    crate::harness::clock::wait_until("another one", crate::harness::clock::SOON, || denied() > before);
    ann.expect_nothing_more();
}

#[test]
fn a_list_that_is_deleted_allows_nothing() {
    let scene = scene();
    let mut ann = scene.connect("a", "ann");
    ann.subscribe("#", 0);
    for path in [":n.acl.all", ":n.acl.all.#"] {
        scene.remove(&path.parse().unwrap());
    }
    let mut root = scene.connect("r", "root");
    publish(&mut root, "open/x", "1", false);
    ann.expect_nothing_more();
    publish(&mut ann, "open/x", "1", false);
    assert_eq!(scene.broker.metrics().dropped_publish_denied.get(), 1);
}

#[test]
fn publishing_that_was_allowed_before_and_that_another_may() {
    let scene = scene();
    scene.user("eve", Some("nothing"), None);
    let mut root = scene.connect("r", "root");
    root.subscribe("open/#", 0);
    let mut ann = scene.connect("a", "ann");
    for retain in [false, true, false, true] {
        publish(&mut ann, "open/x", "1", retain);
        assert_eq!(root.message().topic, "open/x");
    }
    scene.rule("all", "open.#", "rdx");
    for retain in [false, true] {
        publish(&mut ann, "open/x", "2", retain);
    }
    root.expect_nothing_more();
    scene.rule("all", "open.#", "wcxn");
    publish(&mut ann, "open/x", "3", false);
    assert_eq!(root.message().payload, b"3");
    // She leaves, and somebody else may get her place in the broker's tables.
    ann.disconnect();
    for n in 0..3 {
        let mut eve = scene.connect(&format!("e{n}"), "eve");
        publish(&mut eve, "open/x", "4", false);
        publish(&mut eve, "open/x", "4", true);
    }
    root.expect_nothing_more();
}
