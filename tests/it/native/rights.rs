//! The table of rights: every action on data, with every set of letters.

use serde_json::{Value as Json, json};

use super::logins::{client_of, with_users};
use crate::harness::native::Native;

/// Which letters are given.
#[derive(Clone, Copy)]
struct Given<'a>(&'a str);

impl Given<'_> {
    /// All of these?
    fn all(self, letters: &str) -> bool {
        letters.chars().all(|letter| self.0.contains(letter))
    }
}

/// Whether a request was answered; if not, it must have been denied.
#[track_caller]
#[expect(clippy::needless_pass_by_value, reason = "the caller makes it for this")]
fn may(client: &mut Native, request: Json) -> bool {
    let reply = client.ask(request.clone());
    if reply.get("error").is_some() {
        assert_eq!(reply["etype"], "denied", "{request}: {reply}");
    }
    reply.get("error").is_none()
}

/// The paths that a stream tells; `None` if it was denied.
#[track_caller]
#[expect(clippy::needless_pass_by_value, reason = "the caller makes it for this")]
fn told(client: &mut Native, request: Json) -> Option<Vec<Json>> {
    let stream = client.stream(request.clone());
    if let Some(error) = stream.iter().find(|message| message.get("error").is_some()) {
        assert_eq!(error["etype"], "denied", "{request}: {error}");
        return None;
    }
    Some(stream.iter().filter_map(|message| message.get("path").cloned()).collect())
}

/// Whether a stream begins. It is stopped at once.
#[track_caller]
#[expect(clippy::needless_pass_by_value, reason = "the caller makes it for this")]
fn begins(client: &mut Native, request: Json) -> bool {
    let seq = client.begin(request.clone());
    let first = client.reply(seq);
    let second = (first["state"] == "start").then(|| {
        client.call(json!({ "action": "stop", "task": seq }));
        client.reply(seq)
    });
    let refused = [Some(first), second].into_iter().flatten().find(|message| message.get("error").is_some());
    if let Some(refused) = &refused {
        assert_eq!(refused["etype"], "denied", "{request}: {refused}");
    }
    refused.is_none()
}

#[test]
fn every_action_needs_the_letters_of_the_table_and_no_others() {
    let server = with_users();
    let (mut root, mut ann) = (client_of(&server, "root"), client_of(&server, "ann"));
    for bits in 0..=u8::MAX {
        let letters = "rwdcxena".chars().enumerate().filter(|(at, _)| bits & 1 << at != 0);
        let letters: String = letters.map(|(_, letter)| letter).collect();
        for pattern in [json!(["acl", "ann", "w"]), json!(["acl", "ann", "w", "#"])] {
            root.call(json!({ "action": "set_internal", "path": pattern, "value": letters }));
        }
        root.set(&["w"], json!(0));
        root.set(&["w", "x"], json!(1));
        root.set(&["w", "gone"], json!(1));
        root.call(json!({ "action": "delete_value", "path": ["w", "gone"] }));
        reading(&mut root, &mut ann, Given(&letters));
        writing(&mut root, &mut ann, Given(&letters), bits);
    }
}

fn reading(root: &mut Native, ann: &mut Native, given: Given<'_>) {
    let what = given.0;
    let all = |letters| given.all(letters);
    assert_eq!(may(ann, json!({ "action": "get_value", "path": ["w"] })), all("r"), "{what}");
    assert_eq!(may(ann, json!({ "action": "get_value", "path": ["w", "x"] })), all("rx"), "{what}");
    assert_eq!(may(ann, json!({ "action": "get_value", "path": ["w", "none"] })), all("rx"), "{what}");
    let event = root.get(&["w", "x"])["chain"].clone();
    let found = ann.ask(json!({ "action": "get_value", "node": event["node"], "tick": event["tick"] }));
    assert_eq!(found.get("value").is_some(), all("rx"), "{what}: {found}");

    let listed = ann.ask(json!({ "action": "enum", "path": ["w"] }));
    let names = if all("x") { json!(["x"]) } else { json!([]) };
    assert_eq!(listed.get("result"), all("e").then_some(&names), "{what}: {listed}");
    let listed = ann.ask(json!({ "action": "enum", "path": ["w"], "with_data": true }));
    let data = if all("rx") { json!({ "x": 1 }) } else { json!({}) };
    assert_eq!(listed.get("result"), all("e").then_some(&data), "{what}: {listed}");
    let mut below = Vec::new();
    if all("r") {
        below.push(json!([]));
    }
    if all("rx") {
        below.push(json!(["x"]));
    }
    let tree = told(ann, json!({ "action": "get_tree", "path": ["w"] }));
    assert_eq!(tree, all("e").then_some(below), "{what}");
    assert_eq!(begins(ann, json!({ "action": "watch", "path": ["w"] })), all("e"), "{what}");
    assert_eq!(begins(ann, json!({ "action": "msg_monitor", "topic": ["w", "x"] })), all("rx"), "{what}");
    assert_eq!(begins(ann, json!({ "action": "msg_monitor", "topic": ["w", "+"] })), all("e"), "{what}");
    let asked = ann.call(json!({ "action": "test_acl", "path": ["w", "x"] }))["access"].clone();
    assert_eq!(asked, if all("ax") { json!(what) } else { json!(false) }, "{what}");
}

fn writing(root: &mut Native, ann: &mut Native, given: Given<'_>, round: u8) {
    let what = given.0;
    let all = |letters| given.all(letters);
    let set = |path: Json| json!({ "action": "set_value", "path": path, "value": 2 });
    let reply = ann.ask(set(json!(["w", "x"])));
    assert_eq!(reply.get("changed").is_some(), all("wx"), "{what}: {reply}");
    assert_eq!(
        reply.get("prev").is_some(),
        all("rwx"),
        "{what}: what was there is for those who may read it"
    );
    assert_eq!(may(ann, set(json!(["w", "gone"]))), all("cx"), "{what}");
    assert_eq!(may(ann, set(json!(["w", format!("new{round}")]))), all("cn"), "{what}");
    assert_eq!(may(ann, set(json!(["w", format!("deep{round}"), "er"]))), all("cn"), "{what}");
    let compared = json!({ "action": "set_value", "path": ["w", "x"], "value": 3, "prev": 2 });
    root.call(set(json!(["w", "x"])));
    assert_eq!(may(ann, compared), all("rwx"), "{what}");
    let many = json!({ "action": "set_many", "entries": [
        { "path": ["w", "x"], "value": 4 }, { "path": ["w", format!("many{round}")], "value": 4 },
    ] });
    assert_eq!(may(ann, many), all("wxcn"), "{what}");
    let send = json!({ "action": "msg_send", "topic": ["w", "x"], "data": 5 });
    assert_eq!(may(ann, send), all("wx"), "{what}");
    assert_eq!(may(ann, json!({ "action": "delete_value", "path": ["w", "x"] })), all("dx"), "{what}");

    root.set(&["w", "x"], json!(1));
    assert_eq!(may(ann, json!({ "action": "delete_tree", "path": ["w"] })), all("e"), "{what}");
    let mut there = |path: &[&str]| root.get(path).get("value").is_some();
    assert_eq!((there(&["w"]), there(&["w", "x"])), (!all("ed"), !all("edx")), "{what}");
    root.call(json!({ "action": "delete_tree", "path": ["w"] }));
}
