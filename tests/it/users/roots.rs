//! Users with a root see that as the whole, and nothing outside of it.

use super::scene::{Scene, as_user, publish};
use crate::harness::client::Client;
use crate::harness::packet::{self, Packet, Publish};

fn scene() -> Scene {
    let scene = Scene::start();
    for tenant in ["one", "two"] {
        scene.user(tenant, None, Some(&format!("tenants.{tenant}")));
    }
    scene
}

#[test]
fn two_tenants_with_the_same_topics_never_meet() {
    let scene = scene();
    let mut one = Client::connect(scene.mqtt, &as_user("1", "one").will(Publish::new("gone", "1")));
    let mut two = scene.connect("2", "two");
    let mut root = scene.connect("0", "root");
    root.subscribe("#", 0);
    for client in [&mut one, &mut two] {
        for filter in ["#", "+/+", "$share/g/#", "../#", "/#", "tenants/one/#", "$delayed/#"] {
            client.subscribe(filter, 0);
        }
    }
    two.publish("t/x", "2", 0);
    assert_eq!(root.message().topic, "tenants/two/t/x");
    two.messages_so_far();
    // Everything that one tenant does.
    publish_all(&mut one);
    let seen: Vec<_> = root.messages_so_far().into_iter().map(|message| message.topic).collect();
    assert!(seen.len() >= 5 && seen.iter().all(|topic| topic.starts_with("tenants/one/")), "{seen:?}");
    one.vanish();
    assert_eq!(root.message().topic, "tenants/one/gone");
    two.expect_nothing_more();
    // What is retained lies below the root, and is replayed there only.
    let kept = "tenants.one.t.kept".parse::<distkv_store::path::Path>().unwrap();
    assert!(scene.view.get(kept.as_path()).unwrap().is_some());
    two.subscribe("#", 1);
    two.expect_nothing_more();
    let mut one = scene.connect("1b", "one");
    one.subscribe("#", 0);
    assert_eq!(one.message().topic, "t/kept");
    one.expect_nothing_more();
}

fn publish_all(one: &mut Client) {
    for (topic, retain) in [
        ("t/x", false),
        ("t/kept", true),
        ("tenants/two/t/x", false),
        ("../two/t/x", false),
        ("/tenants/two/t/x", false),
        ("$own/x", false),
    ] {
        let id = one.id();
        let message = Publish::new(topic, "1").qos(1, id);
        one.send(&if retain { message.retain() } else { message }.encode());
        while one.packet() != Packet::Puback(id) {}
    }
    one.messages_so_far();
}

#[test]
fn a_tenant_has_users_and_lists_of_his_own() {
    let scene = scene();
    use distkv_store::access::users;
    let home =
        distkv_store::access::home("tenants.one".parse::<distkv_store::path::Path>().unwrap().as_path())
            .unwrap();
    let record = distkv::auth::secrets::with_password(
        &users::record(&[], false, None),
        &super::scene::hashed("lamp@tenants.one!"),
        None,
    );
    let path = users::path(home.as_path(), "password", "lamp").unwrap();
    scene.set(&path, record.unwrap());
    scene.set(&path.as_path().child(&distkv_store::path::Element::str("acl")).unwrap(), users::key("device"));
    let rule = users::rule_path(
        home.as_path(),
        "device",
        "lamps.%u".parse::<distkv_store::path::Path>().unwrap().as_path(),
    );
    scene.set(&rule.unwrap(), distkv_store::value::Value::string("rwcx"));
    let mut lamp = scene.connect("l", "lamp@tenants.one");
    lamp.subscribe("lamps/lamp", 0);
    let id = lamp.id();
    lamp.send(&packet::subscribe(id, &[("lamps/other", 0), ("tenants/one/lamps/lamp", 0)]));
    lamp.expect(Packet::Suback { id, codes: vec![0x80, 0x80] });
    let mut one = scene.connect("1", "one");
    publish(&mut one, "lamps/lamp", "on", false);
    assert_eq!(lamp.message().topic, "lamps/lamp");
}

#[test]
fn a_root_that_is_no_topic_lets_nobody_in_by_mqtt() {
    let scene = Scene::start();
    for (user, root, code) in
        [("string", "tenants.1", 0), ("number", "tenants:1", 5), ("wildcard", "tenants.+", 5)]
    {
        scene.user(user, None, Some(root));
        assert_eq!(scene.code(scene.mqtt, &as_user("x", user)), code, "{root}");
    }
}
