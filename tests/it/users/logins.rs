//! Who is let in, and at which cost.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;

use distkv::auth::secrets::{self, Password, Secrets};
use distkv::auth::token::Token;

use super::scene::{Scene, as_user, hashed, imported};
use crate::harness::client::Client;
use crate::harness::clock::{SOON, wait_until};
use crate::harness::packet::{Connect, Packet};

const WRONG: u8 = 4;
const NOT_AUTHORIZED: u8 = 5;

fn with_password(id: &str, user: &str, password: &str) -> Connect {
    Connect { user: Some((user.to_owned(), password.to_owned())), ..Connect::new(id) }
}

#[test]
fn a_name_and_the_right_password_are_needed_once_logins_are_on() {
    let scene = Scene::start();
    scene.user("ann", None, None);
    let code = |connect: &Connect| scene.code(scene.mqtt, connect);
    assert_eq!(code(&as_user("a", "ann")), 0);
    assert_eq!(code(&with_password("a", "ann", "wrong")), WRONG);
    assert_eq!(code(&with_password("a", "nobody", "ann!")), WRONG);
    assert_eq!(code(&with_password("a", "", "")), WRONG);
    assert_eq!(code(&Connect::new("a")), NOT_AUTHORIZED);
    let told = scene.broker.drops("a");
    assert!(
        told.iter().any(|it| it.reason == "login_refused" && it.detail.contains("wrong user name")),
        "{told:?}"
    );
}

#[test]
fn without_users_everybody_is_let_in_until_there_is_a_method() {
    let scene = Scene::open();
    let mut client = Client::connect(scene.mqtt, &Connect::new("a").mqtt5());
    let mut named = Client::connect(scene.mqtt, &with_password("b", "ann", "x"));
    scene.user("ann", None, None);
    client.expect_nothing_more();
    scene.method(Some("password"));
    client.expect(Packet::Disconnect(0x87));
    named.expect_closed();
    assert_eq!(scene.code(scene.mqtt, &Connect::new("a")), NOT_AUTHORIZED);
    let all = scene.listen_to_all();
    // Their access list does not exist yet.
    let mut client = Client::connect(all, &Connect::new("a"));
    let id = client.id();
    client.send(&crate::harness::packet::subscribe(id, &[("open/#", 0)]));
    client.expect(Packet::Suback { id, codes: vec![0x80] });
    scene.rule("anonymous", "open.#", "re");
    scene.rule("anonymous", "open", "e");
    client.subscribe("open/#", 0);
    scene.method(None);
    assert_eq!(scene.code(scene.mqtt, &Connect::new("a")), 0);
}

#[test]
fn a_token_stands_for_the_password_until_it_is_taken_back() {
    let scene = Scene::start();
    scene.user("lamp", None, None);
    let token = Token::make("lamp").unwrap();
    let path = Scene::path_of("lamp");
    let record = scene.view.get(path.as_path()).unwrap().unwrap().value.clone().unwrap();
    scene.set(&path, secrets::with_token(&record, &token.stored).unwrap());
    let before = scene.hashes();
    let mut by_token = Client::connect(scene.mqtt, &with_password("a", "lamp", &token.text).mqtt5());
    assert_eq!(scene.hashes(), before);
    let mut by_password = Client::connect(scene.mqtt, &as_user("b", "lamp"));
    scene.set(&path, record);
    by_token.expect(Packet::Disconnect(0x87));
    by_password.expect_nothing_more();
    assert_eq!(scene.code(scene.mqtt, &with_password("a", "lamp", &token.text)), WRONG);
}

#[test]
fn an_imported_password_is_kept_in_a_better_form_from_the_first_login_on() {
    let scene = Scene::start();
    let path = Scene::path_of("old");
    scene.set(&path, imported("old!"));
    let mut client = scene.connect("a", "old");
    let kept = || {
        let record = scene.view.get(path.as_path()).unwrap().unwrap().value.clone().unwrap();
        matches!(Secrets::of(&record).password, Some(Password::Hashed(_)))
    };
    assert!(kept());
    scene.connect("b", "old");
    // The change of its record does not close it.
    client.expect_nothing_more();
}

#[test]
fn ten_thousand_reconnects_hash_each_password_once() {
    let scene = Scene::start();
    for n in 0..20 {
        scene.user(&format!("device{n}"), None, None);
    }
    let before = scene.hashes();
    for n in 0..10_000 {
        let user = format!("device{}", n % 20);
        scene.connect(&user, &user);
    }
    assert_eq!(scene.hashes() - before, 20);
    assert_eq!(scene.logins.checks().counters().remembered.load(Ordering::Relaxed), 10_000 - 20);
}

#[test]
fn who_tries_passwords_is_answered_late_and_others_are_not() {
    let scene = Scene::start();
    scene.user("ann", None, None);
    let from = |last| Client::open_from(SocketAddr::from(([127, 0, 0, last], 0)), scene.mqtt);
    for _ in 0..4 {
        let mut client = from(9);
        client.send(&with_password("x", "ann", "guess").encode());
        client.expect(Packet::Connack { session_present: false, code: WRONG });
    }
    wait_until("a delay", SOON, || scene.logins.checks().counters().delayed.load(Ordering::Relaxed) > 0);
    let delayed = || scene.logins.checks().counters().delayed.load(Ordering::Relaxed);
    let before = delayed();
    let mut client = from(8);
    client.send(&as_user("r", "root").encode());
    client.expect(Packet::Connack { session_present: false, code: 0 });
    assert_eq!(delayed(), before);
}

#[test]
fn a_user_who_is_deleted_or_has_another_password_or_root_is_closed() {
    let scene = Scene::start();
    for user in ["gone", "changed", "moved", "limited"] {
        scene.user(user, None, None);
    }
    let connect = |user| Client::connect(scene.mqtt, &as_user(user, user).mqtt5());
    let (mut gone, mut changed, mut moved) = (connect("gone"), connect("changed"), connect("moved"));
    let mut limited = connect("limited");
    scene.remove(&Scene::path_of("gone"));
    gone.expect(Packet::Disconnect(0x87));
    let path = Scene::path_of("changed");
    let record = scene.view.get(path.as_path()).unwrap().unwrap().value.clone().unwrap();
    scene.set(&path, secrets::with_password(&record, &hashed("other"), None).unwrap());
    changed.expect(Packet::Disconnect(0x87));
    scene.user("moved", None, Some("tenants.a"));
    moved.expect(Packet::Disconnect(0x98));
    // Another access list holds at once, and nobody has to log in anew for it.
    scene.user("limited", Some("nothing"), None);
    limited.expect_nothing_more();
    assert_eq!(scene.code(scene.mqtt, &as_user("gone", "gone")), WRONG);
}
