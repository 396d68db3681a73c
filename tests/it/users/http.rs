//! HTTP once users have to log in: admins only, but for health.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use distkv::auth::secrets;
use distkv::auth::token::Token;

use super::scene::{Scene, publish};

const PATHS: [&str; 6] = [
    "/metrics",
    "/api/clients",
    "/api/clients/a/drops",
    "/api/subscriptions?topic=x",
    "/api/delayed",
    "/api/acl/why?user=ann&topic=x&action=receive",
];

fn basic(user: &str, password: &str) -> String {
    format!("Authorization: Basic {}\r\n", BASE64.encode(format!("{user}:{password}")))
}

#[test]
fn only_an_admin_of_the_whole_may_ask_and_everybody_for_health() {
    let scene = Scene::start();
    scene.user("ann", Some("some"), None);
    scene.user("tenant", None, Some("tenants.a"));
    for path in PATHS.into_iter().chain(["/api/nothing"]) {
        let status = |headers: &str| scene.request("GET", path, headers).0;
        assert_eq!(status(""), 401, "{path}");
        assert_eq!(status("Authorization: Bearer distkv.x.y\r\n"), 401, "{path}");
        for user in ["ann", "tenant"] {
            assert_eq!(status(&basic(user, &format!("{user}!"))), 403, "{path} as {user}");
        }
        let good = if path == "/api/clients/a/drops" || path == "/api/nothing" { 404 } else { 200 };
        assert_eq!(status(&basic("root", "root!")), good, "{path}");
    }
    for path in ["/health/live", "/health/ready"] {
        assert_ne!(scene.request("GET", path, "").0, 401, "{path}");
    }
    let (status, answer) = scene.request("GET", "/api/clients", &basic("root", "open sesame"));
    assert!(status == 401 && !answer.contains("sesame"), "{answer}");
}

#[test]
fn a_token_is_enough_and_changes_need_the_header_all_the_same() {
    let scene = Scene::start();
    let token = Token::make("root").unwrap();
    let path = Scene::path_of("root");
    let record = scene.view.get(path.as_path()).unwrap().unwrap().value.clone().unwrap();
    scene.set(&path, secrets::with_token(&record, &token.stored).unwrap());
    let bearer = format!("Authorization: Bearer {}\r\n", token.text);
    assert_eq!(scene.request("GET", "/api/clients", &bearer).0, 200);
    let _client = scene.connect("a", "root");
    assert_eq!(scene.request("DELETE", "/api/clients/a", &bearer).0, 403);
    let page = format!("{bearer}Origin: http://localhost\r\nX-Requested-With: distkv\r\n");
    assert_eq!(scene.request("DELETE", "/api/clients/a", &page).0, 403);
    let change = format!("{bearer}X-Requested-With: distkv\r\n");
    assert_eq!(scene.request("DELETE", "/api/clients/a", &change).0, 200);
}

#[test]
fn it_says_why() {
    let scene = Scene::start();
    let root = basic("root", "root!");
    let ask = |path: &str| {
        let (status, body) = scene.request("GET", path, &root);
        (status, serde_json::from_str::<serde_json::Value>(&body).unwrap())
    };
    scene.user("ann", Some("some"), None);
    scene.rule("some", "home.#", "rx");
    scene.rule("some", "own.%c", "w");
    let why = |question: &str| {
        let (status, body) = ask(&format!("/api/acl/why?{question}"));
        assert_eq!(status, 200, "{body}");
        (body["allowed"].as_bool().unwrap(), body["reason"].as_str().unwrap().to_owned())
    };
    let (allowed, reason) = why("user=ann&topic=home/x&action=receive");
    assert!(allowed && reason.contains("home.#"), "{reason}");
    let (allowed, reason) = why("user=ann&path=home.x&action=write");
    assert!(!allowed && reason.contains("home.#"), "{reason}");
    let (allowed, reason) = why("user=ann&topic=other&action=subscribe");
    assert!(!allowed && reason.contains("no rule"), "{reason}");
    assert!(why("user=ann&topic=own/lamp&action=publish&client_id=other").1.contains("no rule"));
    assert!(why("user=root&path=:n.auth&action=r").0);
    assert!(!why("topic=home/x&action=receive").0);
    for bad in [
        "user=ann",
        "user=ann&topic=a&path=b&action=r",
        "user=ann&topic=a&action=q",
        "user=ann&path=a&action=publish",
    ] {
        assert_eq!(ask(&format!("/api/acl/why?{bad}")).0, 400, "{bad}");
    }
    assert_eq!(ask("/api/acl/why?user=nobody&topic=a&action=receive").0, 404);
    let mut ann = scene.connect("a", "ann");
    publish(&mut ann, "secret/x", "1", false);
    let (status, told) = ask("/api/clients/a/drops");
    assert_eq!((status, told["client"]["id"].as_str()), (200, Some("a")));
    let drop = &told["drops"][0];
    assert_eq!((drop["reason"].as_str(), drop["topic"].as_str()), (Some("publish_denied"), Some("secret/x")));
    assert!(drop["detail"].as_str().unwrap().contains("some"), "{drop}");
}
