//! The client library logs in: by every method, over TLS, and again after a lost connection.

use std::path::PathBuf;

use distkv::client::{Client, Error, Login, Options, Secret, Tls, internal};
use distkv_store::access::users;

use crate::harness::certificates::Authority;
use crate::harness::clock::SOON;
use crate::harness::server::{Options as ServerOptions, Server};

fn options(server: &Server, login: Login) -> Options {
    Options::new(&server.native().to_string()).login(login)
}

/// Makes a first user by this method, and puts it in force.
async fn first_user(server: &Server, method: &str, name: &str) {
    let client = Client::connect(options(server, Login::None)).await.unwrap();
    let record = users::record(&[], true, None);
    let batch = client.batch();
    let batch = batch.set_raw(internal(&["auth", method, "user", name]), &record);
    batch.set_raw(internal(&["auth"]), &users::current(method)).await.unwrap();
}

#[tokio::test]
async fn root_and_test_users_log_in_by_their_names() {
    for (method, name, login) in [("root", "*", Login::Root), ("_test", "ann", Login::Test("ann".to_owned()))]
    {
        let server = ServerOptions::new().set("native.test_users=true").start();
        first_user(&server, method, name).await;
        let stranger = Client::connect(options(&server, Login::None)).await.unwrap_err();
        assert!(matches!(&stranger, Error::LoginNeeded { method: wanted, .. } if wanted == method));
        let wrong = Client::connect(options(&server, Login::password("ann", "x"))).await.unwrap_err();
        assert!(matches!(wrong, Error::LoginRefused { .. }), "{wrong}");
        let client = Client::connect(options(&server, login)).await.unwrap();
        client.set("a", &1).await.unwrap();
        assert_eq!(client.get::<u8>("a").await.unwrap(), Some(1));
    }
}

#[tokio::test]
async fn passwords_are_made_changed_and_checked_in_their_box() {
    let server = Server::start();
    let client = Client::connect(options(&server, Login::None)).await.unwrap();
    let secret = |text: &str| Secret::from(text.to_owned());
    let new = |request: distkv::client::Request| request.nil("chain");
    client.set_password("ann", &secret("öne"), new).await.unwrap();
    client.set_raw(internal(&["auth"]), &users::current("password")).await.unwrap();

    let ann = Client::connect(options(&server, Login::password("ann", "öne"))).await.unwrap();
    ann.set("a", &1).await.unwrap();
    for (user, password) in [("ann", "one"), ("ann", ""), ("bob", "öne")] {
        let refused = Client::connect(options(&server, Login::password(user, password))).await.unwrap_err();
        assert!(matches!(refused, Error::LoginRefused { .. }), "{refused}");
        assert!(refused.is_denied() && !refused.to_string().contains("öne"), "{refused}");
    }
}

#[tokio::test]
async fn a_login_that_no_longer_holds_ends_the_client() {
    let server = ServerOptions::new().durability("always").start();
    first_user(&server, "root", "*").await;
    let quick = options(&server, Login::Root).timeout(std::time::Duration::from_secs(5));
    let client = Client::connect(quick).await.unwrap();
    client.set_raw(internal(&["auth"]), &users::current("password")).await.unwrap();
    let server = server.restart();
    let ended = async {
        loop {
            match client.get::<u8>("a").await {
                Err(error @ Error::LoginRefused { .. }) => return error,
                Err(Error::Lost { .. } | Error::Unreachable { .. }) => {}
                // The server may have said goodbye before it was stopped.
                Err(Error::Refused(refusal)) if refusal.message.contains("log in again") => {}
                other => panic!("{other:?}"),
            }
        }
    };
    let error = tokio::time::timeout(SOON, ended).await.unwrap();
    assert!(error.to_string().contains("password"), "{error}");
    drop(server);
}

#[tokio::test]
async fn tls_is_spoken_with_those_who_are_trusted() {
    let authority = Authority::new("ours");
    let mut stopped = ServerOptions::new().prepare();
    let (certificate, key) = (stopped.beside("server.pem"), stopped.beside("server.key"));
    let pair = authority.server("native");
    std::fs::write(&certificate, pair.certificate).unwrap();
    std::fs::write(&key, pair.key).unwrap();
    let config = stopped.beside("distkv.toml");
    let text = format!("[native.tls]\ncertificate = {certificate:?}\nkey = {key:?}\n");
    std::fs::write(&config, text).unwrap();
    let ours = PathBuf::from(authority.write(&stopped.beside("ours.pem")));
    let other = PathBuf::from(Authority::new("other").write(&stopped.beside("other.pem")));
    let options = stopped.options_mut();
    *options = options.clone().argument("--config").argument(config.display().to_string());
    let server = stopped.run();

    let connect = |tls: Option<Tls>| {
        let options = options_at(&server);
        Client::connect(match tls {
            Some(tls) => options.tls(tls),
            None => options,
        })
    };
    let client = connect(Some(Tls { ca: Some(ours.clone()), name: None })).await.unwrap();
    let long = "x".repeat(3 << 20);
    client.set("long", &long).await.unwrap();
    assert_eq!(client.get::<String>("long").await.unwrap(), Some(long));

    let untrusted = connect(Some(Tls { ca: Some(other), name: None })).await.unwrap_err();
    assert!(matches!(untrusted, Error::Tls { .. }), "{untrusted}");
    let misnamed =
        connect(Some(Tls { ca: Some(ours), name: Some("elsewhere.example".to_owned()) })).await.unwrap_err();
    assert!(matches!(misnamed, Error::Tls { .. }), "{misnamed}");
    let plain = connect(None).await.unwrap_err();
    assert!(plain.is_unreachable(), "{plain}");
    let missing = connect(Some(Tls { ca: Some("/nowhere".into()), name: None })).await.unwrap_err();
    assert!(missing.to_string().contains("/nowhere"), "{missing}");
}

fn options_at(server: &Server) -> Options {
    Options::new(&server.native().to_string()).timeout(std::time::Duration::from_secs(5))
}
