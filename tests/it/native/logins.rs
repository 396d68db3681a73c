//! Logging in at the native port, users, and rights that hold at once.

use distkv::client::exchange::{Exchange, SharedKey};
use serde_json::{Value as Json, json};

use crate::harness::clock::{SOON, wait_until};
use crate::harness::native::{Native, from_hex, to_hex};
use crate::harness::server::{Options, Server};

/// Agrees on a key.
fn agree(client: &mut Native) -> SharedKey {
    let exchange = Exchange::new(&[7; 32]);
    let public = to_hex(&exchange.public_key());
    let reply =
        client.call(json!({ "action": "diffie_hellman", "pubkey": { "$bytes": public }, "length": 1024 }));
    exchange.agree(&from_hex(reply["pubkey"]["$bytes"].as_str().unwrap())).unwrap()
}

fn boxed(key: &SharedKey, password: &str) -> Json {
    json!({ "$bytes": to_hex(&key.seal_password(password, &[9; 24])) })
}

/// A login, from start to end; whether it was right.
fn log_in(client: &mut Native, method: &str, ident: &str, password: Option<&str>) -> bool {
    let mut request = json!({ "action": "auth", "typ": method, "ident": ident });
    if let Some(password) = password {
        let key = agree(client);
        request["password"] = boxed(&key, password);
    }
    let stream = client.stream(request);
    assert_eq!(stream[0]["state"], "start", "{stream:?}");
    stream.iter().all(|message| message.get("error").is_none())
}

/// A server with users by password: an admin, and `ann` who is bound to the list `ann`.
pub(super) fn with_users() -> Server {
    let server = Server::start();
    let mut client = Native::open(server.native());
    let key = agree(&mut client);
    for name in ["root", "ann"] {
        client.call(json!({
            "action": "auth_set", "typ": "password", "kind": "user", "ident": name, "chain": null, "password": boxed(&key, name),
        }));
    }
    for (pattern, letters) in [
        (json!(["#"]), "x"),
        (json!(["own", "#"]), "rwcdxena"),
        (json!(["own"]), "xena"),
        (json!(["shown"]), "rxe"),
        (json!(["shown", "#"]), "rxe"),
    ] {
        let path =
            [json!(["acl", "ann"]).as_array().unwrap().clone(), pattern.as_array().unwrap().clone()].concat();
        client.call(json!({ "action": "set_internal", "path": path, "value": letters }));
    }
    client.call(json!({ "action": "set_internal", "path": ["auth", "password", "user", "ann", "acl"], "value": { "key": "ann" } }));
    client.set(&["secret"], json!("s"));
    client.set(&["shown", "a"], json!(1));
    client.call(json!({ "action": "set_auth_typ", "typ": "password" }));
    server
}

pub(super) fn client_of(server: &Server, name: &str) -> Native {
    let mut client = Native::open(server.native());
    assert!(log_in(&mut client, "password", name, Some(name)), "{name}");
    client
}

#[test]
fn who_has_not_logged_in_may_do_nothing_else() {
    let server = with_users();
    let mut client = Native::open(server.native());
    assert_eq!(client.greeting["auth"], json!(["password"]));
    client.begin(json!({ "action": "get_value", "path": ["shown", "a"] }));
    assert_eq!(client.until_closed()[0]["etype"], "denied");
    for (method, ident, password) in [("password", "ann", Some("wrong")), ("password", "nobody", Some("x"))] {
        let mut client = Native::open(server.native());
        assert!(!log_in(&mut client, method, ident, password), "{ident}");
    }
    let mut client = Native::open(server.native());
    assert_eq!(client.fails(json!({ "action": "auth", "typ": "root", "ident": "*" })), "denied");
    assert_eq!(client.fails(json!({ "action": "auth", "typ": "password", "ident": "ann" })), "invalid");
    let unagreed =
        json!({ "action": "auth", "typ": "password", "ident": "ann", "password": { "$bytes": "00" } });
    assert_eq!(client.fails(unagreed), "invalid", "no key is agreed on");
    assert!(!server.log().contains("argon2id"), "{}", server.log());
}

#[test]
fn requests_behind_a_login_wait_for_it() {
    let server = with_users();
    let mut client = Native::open(server.native());
    let key = agree(&mut client);
    let login = client.begin(
        json!({ "action": "auth", "typ": "password", "ident": "ann", "password": boxed(&key, "ann") }),
    );
    let get = client.begin(json!({ "action": "get_value", "path": ["shown", "a"] }));
    assert_eq!(client.reply(login)["state"], "start");
    assert_eq!(client.reply(login)["state"], "end");
    assert_eq!(client.reply(get)["value"], 1);
}

#[test]
fn rights_hold_for_every_action() {
    let server = with_users();
    let mut ann = client_of(&server, "ann");
    assert_eq!(ann.get(&["shown", "a"])["value"], 1);
    ann.set(&["own", "x"], json!(2));
    assert_eq!(ann.fails(json!({ "action": "set_value", "path": ["shown", "a"], "value": 2 })), "denied");
    for request in [
        json!({ "action": "get_value", "path": ["secret"] }),
        json!({ "action": "delete_value", "path": ["shown", "a"] }),
        json!({ "action": "get_internal", "path": ["acl", "ann", "#"] }),
        json!({ "action": "set_internal", "path": ["acl", "ann", "#"], "value": "rwcdxena" }),
        json!({ "action": "enum_internal", "path": [] }),
        json!({ "action": "get_state" }),
        json!({ "action": "enum_node", "node": "s1" }),
        json!({ "action": "kill_node", "node": "s1" }),
        json!({ "action": "check_deleted", "nodes": {} }),
        json!({ "action": "fake_info" }),
        json!({ "action": "update" }),
        json!({ "action": "set_auth_typ", "typ": null }),
        json!({ "action": "auth_set", "typ": "_test", "ident": "x", "kind": "user" }),
        json!({ "action": "auth_get", "typ": "password", "ident": "root", "kind": "user" }),
        json!({ "action": "auth_list", "typ": "password", "kind": "user" }),
        json!({ "action": "msg_send", "topic": ["secret"], "data": 1 }),
        json!({ "action": "set_many", "entries": [{ "path": ["own", "y"], "value": 1 }, { "path": ["secret"], "value": 1 }] }),
    ] {
        let reply = ann.failure(request.clone());
        assert_eq!(reply["etype"], "denied", "{request}: {reply}");
        let text = reply["error"].as_str().unwrap();
        assert!(!text.contains("rwcdxena") && !text.contains("rxe"), "{text}");
    }
    assert!(ann.get(&["own", "y"]).get("value").is_none());
    let tree = ann.stream(json!({ "action": "get_tree", "path": ["shown"] }));
    assert_eq!(tree.len(), 3, "{tree:?}");
    assert_eq!(ann.call(json!({ "action": "test_acl", "path": ["own", "x"] }))["access"], "rwdcxena");
    assert_eq!(ann.call(json!({ "action": "test_acl", "path": ["shown", "a"] }))["access"], false);
}

#[test]
fn a_change_of_rights_cuts_open_watches_and_a_changed_user_is_sent_away() {
    let server = with_users();
    let (mut root, mut ann) = (client_of(&server, "root"), client_of(&server, "ann"));
    let watch = ann.begin(json!({ "action": "watch", "path": ["shown"] }));
    assert_eq!(ann.reply(watch)["state"], "start");
    root.set(&["shown", "a"], json!(2));
    assert_eq!(ann.reply(watch)["value"], 2);
    root.call(json!({ "action": "set_internal", "path": ["acl", "ann", "shown", "a"], "value": "" }));
    root.set(&["shown", "a"], json!(3));
    root.set(&["shown", "b"], json!(4));
    assert_eq!(ann.reply(watch)["value"], 4, "and not the one that is hidden now");
    assert_eq!(ann.fails(json!({ "action": "get_value", "path": ["shown", "a"] })), "denied");
    root.call(json!({ "action": "delete_internal", "path": ["auth", "password", "user", "ann"] }));
    let last = ann.until_closed().pop().unwrap();
    assert_eq!(last["etype"], "denied", "{last}");
    assert!(!log_in(&mut Native::open(server.native()), "password", "ann", Some("ann")));
}

#[test]
fn a_new_password_is_one_for_all_faces_and_ends_the_old_one() {
    let server = with_users();
    let mut ann = Native::open(server.native());
    let key = agree(&mut ann);
    let login =
        json!({ "action": "auth", "typ": "password", "ident": "ann", "password": boxed(&key, "ann") });
    assert!(ann.stream(login).iter().all(|message| message.get("error").is_none()));
    ann.begin(json!({ "action": "auth_set", "typ": "password", "kind": "user", "ident": "ann", "password": boxed(&key, "new") }));
    let told = ann.until_closed();
    assert!(
        told[0]["chain"]["tick"].is_u64(),
        "it is changed, and whoever uses the old one is sent away: {told:?}"
    );
    assert!(!log_in(&mut Native::open(server.native()), "password", "ann", Some("ann")));
    assert!(log_in(&mut Native::open(server.native()), "password", "ann", Some("new")));
    let mut root = client_of(&server, "root");
    let stored = root.call(json!({ "action": "get_internal", "path": ["auth", "password", "user", "ann"] }));
    assert!(stored["value"]["password"].as_str().unwrap().starts_with("$argon2id$"), "{stored}");
}

#[test]
fn users_of_all_methods_are_made_listed_and_told() {
    let server = Options::new().set("native.test_users=true").start();
    let mut client = Native::open(server.native());
    let seq = client.begin(
        json!({ "action": "auth_set", "typ": "_test", "kind": "user", "ident": "joe", "state": "start" }),
    );
    assert_eq!(client.reply(seq)["state"], "start");
    assert_eq!(client.reply(seq)["step"], "GiveName");
    client.send(&json!({ "seq": seq, "step": "HasName", "name": "joe", "chain": null }));
    let made = client.reply(seq);
    assert_eq!(made["changed"], true, "{made}");
    assert_eq!(client.reply(seq)["state"], "end");
    client.send(&json!({ "seq": seq, "state": "end" }));
    let root = json!({ "action": "auth_set", "typ": "root", "kind": "user", "ident": "*", "data": {}, "chain": null });
    client.call(root.clone());
    assert_eq!(client.fails(root), "conflict");
    let list = client.stream(json!({ "action": "auth_list", "typ": "_test", "kind": "user", "nchain": 1 }));
    assert_eq!(list.len(), 3, "{list:?}");
    assert_eq!((&list[1]["ident"], &list[1]["chain"]), (&json!("joe"), &made["chain"]));
    let seq = client.begin(
        json!({ "action": "auth_get", "typ": "_test", "kind": "user", "ident": "joe", "state": "start" }),
    );
    assert_eq!(client.reply(seq)["state"], "start");
    assert_eq!(client.reply(seq)["step"], "SendWant");
    client.send(&json!({ "seq": seq, "step": "WantName" }));
    assert_eq!(client.reply(seq)["name"], "joe");
    assert_eq!(client.reply(seq)["state"], "end");
    assert_eq!(
        client.fails(json!({ "action": "auth_get", "typ": "_test", "kind": "user", "ident": "nobody" })),
        "not_found"
    );
    assert_eq!(client.fails(json!({ "action": "set_auth_typ", "typ": "password" })), "invalid");
    assert!(log_in(&mut client, "_test", "joe", None), "a trial");
    assert!(!log_in(&mut client, "_test", "nobody", None));
    client.call(json!({ "action": "set_auth_typ", "typ": "_test" }));
    client.begin(json!({ "action": "get_tock" }));
    assert_eq!(client.until_closed()[0]["etype"], "denied", "from now on everybody logs in");
    let mut joe = Native::open(server.native());
    assert_eq!(joe.greeting["auth"], json!(["_test", "root"]));
    assert!(log_in(&mut joe, "_test", "joe", None));
    assert_eq!(joe.call(json!({ "action": "auth_info" }))["value"], json!({ "current": "_test" }));
    joe.call(json!({ "action": "set_auth_typ", "typ": "root" }));
    joe.until_closed();
    let mut anybody = Native::open(server.native());
    assert!(log_in(&mut anybody, "root", "*", None));
    anybody.call(json!({ "action": "set_auth_typ", "typ": null }));
    wait_until("nobody needs to log in", SOON, || {
        Native::open(server.native()).ask(json!({ "action": "get_tock" })).get("error").is_none()
    });
}

#[test]
fn a_key_that_protects_nothing_is_refused() {
    let server = Server::start();
    for key in ["00", "01", "", &"ff".repeat(256), &"ff".repeat(300)] {
        let mut client = Native::open(server.native());
        let request = json!({ "action": "diffie_hellman", "pubkey": { "$bytes": key }, "length": 1024 });
        assert_eq!(client.fails(request.clone()), "invalid", "{key}");
        assert_eq!(client.fails(request), "invalid", "it is done once");
        client.set(&["a"], json!(1));
    }
    let mut client = Native::open(server.native());
    assert_eq!(
        client.fails(json!({ "action": "diffie_hellman", "pubkey": { "$bytes": "02" }, "length": 16 })),
        "invalid"
    );
}

#[test]
fn two_roots_are_two_worlds() {
    let server = Options::new().set("native.test_users=true").start();
    let mut admin = Native::open(server.native());
    for name in ["one", "two"] {
        admin.call(json!({ "action": "set_internal", "path": ["auth", "_test", "user", name], "value": { "root": { "$path": [name] } } }));
    }
    admin.call(json!({ "action": "set_internal", "path": ["auth", "_test", "user", "boss"], "value": {} }));
    admin.call(json!({ "action": "set_auth_typ", "typ": "_test" }));
    let open = |name: &str| {
        let mut client = Native::open(server.native());
        assert!(log_in(&mut client, "_test", name, None), "{name}");
        client
    };
    let (mut one, mut two, mut boss) = (open("one"), open("two"), open("boss"));
    let watch = one.begin(json!({ "action": "watch", "path": [] }));
    one.reply(watch);
    two.set(&["x"], json!("two's"));
    one.set(&["x"], json!("one's"));
    let change = one.reply(watch);
    assert_eq!((&change["path"], &change["value"]), (&json!({ "$path": ["x"] }), &json!("one's")));
    assert_eq!(two.get(&["x"])["value"], "two's");
    assert!(one.get(&["two", "x"]).get("value").is_none());
    assert_eq!(boss.get(&["two", "x"])["value"], "two's");
    assert_eq!(one.fails(json!({ "action": "get_state" })), "denied", "that is about the whole server");
    let (heard, all) = (
        json!({ "action": "msg_monitor", "topic": "m" }),
        json!({ "action": "msg_monitor", "topic": "+/m" }),
    );
    let (mine, everybodys) = (two.begin(heard), boss.begin(all));
    assert_eq!(two.reply(mine)["state"], "start");
    assert_eq!(boss.reply(everybodys)["state"], "start");
    one.call(json!({ "action": "msg_send", "topic": "m", "data": "one's" }));
    two.call(json!({ "action": "msg_send", "topic": "m", "data": "two's" }));
    assert_eq!(two.reply(mine)["data"], "two's", "and not the other's");
    assert_eq!(boss.reply(everybodys)["topic"], json!(["one", "m"]));
    assert_eq!(boss.reply(everybodys)["topic"], json!(["two", "m"]));
    one.call(json!({ "action": "root", "path": ["deep"] }));
    one.set(&["y"], json!(1));
    assert_eq!(boss.get(&["one", "deep", "y"])["value"], 1);
}
