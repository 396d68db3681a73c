//! Versions, protocols, client certificates, and files that are wrong at the start.

use std::fs;
use std::io::{Read as _, Write as _};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;

use super::{ACCEPTED, TlsServer, answer, connect, listener, prepare, socket};
use crate::harness::certificates::Authority;
use crate::harness::server::{Stopped, distkv};
use crate::harness::tools::{Tool, mosquitto_pub, python, repository};

const OPEN: &str = "allow_anonymous = true";

#[test]
fn tls_1_2_and_1_3_are_spoken_and_nothing_older() {
    let tls = TlsServer::start(OPEN, "");
    for (argument, version) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let said = tls.openssl(&[argument, "-brief"]);
        assert!(said.contains(&format!("Protocol version: {version}")), "{said}");
        assert!(said.contains("Verification: OK"), "{said}");
    }
    let said = tls.openssl(&["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0", "-brief"]);
    assert!(!said.contains("CONNECTION ESTABLISHED") && said.contains("alert"), "{said}");
    tls.server.wait_for_log("the client speaks no version of TLS that this listener does");
}

#[test]
fn versions_and_suites_are_those_of_the_configuration() {
    let tls = TlsServer::start(OPEN, "versions = [\"1.3\"]\nsuites = [\"TLS13_CHACHA20_POLY1305_SHA256\"]");
    let said = tls.openssl(&["-brief"]);
    assert!(said.contains("Ciphersuite: TLS_CHACHA20_POLY1305_SHA256"), "{said}");
    let said = tls.openssl(&["-tls1_2", "-brief"]);
    assert!(!said.contains("CONNECTION ESTABLISHED"), "{said}");
    let said = tls.openssl(&["-ciphersuites", "TLS_AES_128_GCM_SHA256", "-brief"]);
    assert!(!said.contains("CONNECTION ESTABLISHED"), "{said}");
    tls.server.wait_for_log("the client has no cipher suite in common with this listener");
}

#[test]
fn a_client_that_names_protocols_must_name_mqtt() {
    let tls = TlsServer::start(OPEN, "");
    let said = tls.openssl(&["-alpn", "h2,mqtt"]);
    assert!(said.contains("ALPN protocol: mqtt"), "{said}");
    let said = tls.openssl(&["-alpn", "h2"]);
    assert!(said.contains("alert no application protocol"), "{said}");
    tls.server.wait_for_log("the client names other protocols (ALPN) than this listener");
    assert!(tls.publish(&[]), "who names none comes in");
    let tls = TlsServer::start(OPEN, "alpn = [\"none\"]");
    let said = tls.openssl(&["-alpn", "h2"]);
    assert!(said.contains("No ALPN negotiated"), "{said}");
}

#[test]
fn mosquittos_tools_exchange_messages_over_tls() {
    let tls = TlsServer::start(OPEN, "");
    let port = tls.port();
    for version in ["tlsv1.2", "tlsv1.3"] {
        let arguments = [
            "-oL",
            "mosquitto_sub",
            "-h",
            "127.0.0.1",
            "-p",
            &port,
            "--cafile",
            &tls.ca,
            "--tls-version",
            version,
            "-d",
            "-t",
            "large",
            "-C",
            "1",
            "-W",
            "30",
            "-N",
        ];
        let mut subscriber = Tool::start("stdbuf", &arguments);
        subscriber.wait_for_text("Subscribed (mid:");
        // More than a record, and more than a socket takes at once.
        let file = tls.server.beside("large");
        fs::write(&file, vec![b'x'; 3 << 20]).unwrap();
        let file = file.display().to_string();
        let publish = ["-h", "127.0.0.1", "-p", &port, "--cafile", &tls.ca, "--tls-version", version];
        let publish = [&publish[..], &["-t", "large", "-q", "1", "-f", &file]].concat();
        Tool::start("mosquitto_pub", &publish).finish();
        assert!(subscriber.finish().contains(&"x".repeat(3 << 20)), "{version}");
    }
}

#[test]
fn paho_and_mqttjs_run_their_scenarios_over_tls() {
    let tls = TlsServer::start(OPEN, "");
    for scenario in ["every_qos", "persistent_session"] {
        let script = repository("tests/clients/paho_scenarios.py").display().to_string();
        Tool::start(python(2), &[&script, &tls.port(), "3.1.1", scenario, "mqtts", &tls.ca]).finish();
        let script = repository("tests/clients/mqttjs/scenarios.js").display().to_string();
        Tool::start("node", &[&script, &tls.port(), "3.1.1", scenario, "mqtts", &tls.ca]).finish();
    }
}

#[test]
fn who_speaks_plain_mqtt_to_it_is_told_apart() {
    let tls = TlsServer::start(OPEN, "");
    answer(&mut socket(tls.address), &connect("plain"), b"");
    tls.server.wait_for_log("the client speaks something else; is TLS turned on there?");
    assert_eq!(tls.server.metric("distkv_refused_total", &[("reason", "tls")]), 1.0);
    assert_eq!(tls.server.metric("distkv_listener_tls_failed_total", &[("listener", "tested")]), 1.0);
}

#[test]
fn a_required_certificate_must_be_there_and_be_of_the_right_authority() {
    let keys = "client_certificates = \"required\"\nclient_ca = CA\nuser_from = \"cn\"";
    let tls = TlsServer::start("", keys);
    let own = tls.client("kitchen", 10);
    let (certificate, key) = (own.certificate.display().to_string(), own.key.display().to_string());
    assert!(tls.publish(&["--cert", &certificate, "--key", &key]));
    tls.server.wait_for_log("user=\"kitchen\"");
    // The certificate counts, not what the client says.
    assert!(tls.publish(&["--cert", &certificate, "--key", &key, "-u", "admin", "-i", "liar"]));
    tls.server.wait_for_log("client=\"liar\"");
    assert!(!tls.server.log().contains("user=\"admin\""), "{}", tls.server.log());
    for version in ["tlsv1.2", "tlsv1.3"] {
        assert!(!tls.publish(&["--tls-version", version]));
    }
    tls.server.wait_for_log("the client has no certificate");
    let foreign =
        Authority::new("another one").client("kitchen", 11).write(&tls.server.beside(""), "foreign");
    let (certificate, key) = (foreign.certificate.display().to_string(), foreign.key.display().to_string());
    assert!(!tls.publish(&["--cert", &certificate, "--key", &key]));
    tls.server.wait_for_log("the client's certificate is not from the listener's `client_ca`");
}

#[test]
fn with_optional_certificates_who_has_none_is_anonymous() {
    let keys = "client_certificates = \"optional\"\nclient_ca = CA\nuser_from = \"subject\"";
    let tls = TlsServer::start("", keys);
    let own = tls.client("kitchen", 10);
    let (certificate, key) = (own.certificate.display().to_string(), own.key.display().to_string());
    assert!(tls.publish(&["--cert", &certificate, "--key", &key]));
    tls.server.wait_for_log("user=\"O=Example,CN=kitchen\"");
    // Anonymous clients are not allowed here, and there is no user whose password could be right.
    assert!(!tls.publish(&[]));
    tls.server.wait_for_log("not authorized (client");
    assert!(!tls.publish(&["-u", "kitchen", "-P", "guess"]));
    tls.server.wait_for_log("wrong user name or password (client");
    let tls = TlsServer::start(OPEN, keys);
    assert!(tls.publish(&[]));
}

#[test]
fn a_revoked_certificate_is_refused() {
    let keys =
        "client_certificates = \"required\"\nclient_ca = CA\nuser_from = \"cn\"\ncrl = \"DIR/crl.pem\"";
    let write = |authority: &Authority, stopped: &Stopped| {
        fs::write(stopped.beside("crl.pem"), authority.revoke(&[11])).unwrap();
    };
    let tls = TlsServer::start_with("", keys, write);
    for (serial, taken) in [(10, true), (11, false)] {
        let own = tls.client("kitchen", serial);
        let (certificate, key) = (own.certificate.display().to_string(), own.key.display().to_string());
        assert_eq!(tls.publish(&["--cert", &certificate, "--key", &key]), taken, "{serial}");
    }
    tls.server.wait_for_log("the client's certificate is revoked");
}

/// What a server with these files says when it gives up.
#[track_caller]
fn complaint(prepare_files: impl FnOnce(&Stopped) -> String) -> String {
    let (status, log, _) = prepare(|stopped| {
        let keys = prepare_files(stopped);
        listener(&format!("{OPEN}\n[listener.tls]\n{keys}")).1
    })
    .run_in_vain();
    assert_eq!(status.code(), Some(1), "{log}");
    let lines: Vec<&str> = log.lines().filter(|line| line.starts_with("distkv: ")).collect();
    assert_eq!(lines.len(), 1, "{log}");
    lines[0].to_owned()
}

#[test]
fn files_that_can_not_be_used_are_named_at_the_start() {
    let authority = Authority::new("the tests' authority");
    let good = authority.server("server");
    let line = complaint(|stopped| {
        let files = good.write(&stopped.beside(""), "server");
        fs::remove_file(&files.certificate).unwrap();
        files.keys()
    });
    assert!(line.contains("listener tested: can't read the certificate file"), "{line}");
    assert!(line.contains("server.pem: there is no such file"), "{line}");
    let line = complaint(|stopped| {
        let files = good.write(&stopped.beside(""), "server");
        fs::write(&files.key, "hello").unwrap();
        files.keys()
    });
    assert!(
        line.contains("the key file") && line.contains("server.key: there is no private key in it"),
        "{line}"
    );
    let line = complaint(|stopped| {
        let files = good.write(&stopped.beside(""), "server");
        fs::write(&files.key, authority.server("other").key).unwrap();
        files.keys()
    });
    assert!(line.contains("server.key: the private key does not belong to the certificate"), "{line}");
    let line = complaint(|stopped| {
        format!("{}suites = [\"RC4\"]\n", good.write(&stopped.beside(""), "server").keys())
    });
    assert!(line.contains("listener tested: `tls`: `RC4` is no cipher suite"), "{line}");
    let line = complaint(|stopped| {
        let files = good.write(&stopped.beside(""), "server");
        format!("{}client_certificates = \"required\"\nclient_ca = {:?}\n", files.keys(), files.key)
    });
    assert!(line.contains("the client CA file") && line.contains("there is no certificate in it"), "{line}");
}

#[test]
fn a_check_of_the_configuration_reads_the_files() {
    let authority = Authority::new("the tests' authority");
    let directory = tempfile::tempdir().unwrap();
    let files = authority.server("server").write(directory.path(), "server");
    let config = directory.path().join("distkv.toml");
    fs::write(&config, listener(&format!("{OPEN}\n[listener.tls]\n{}", files.keys())).1).unwrap();
    let check = || distkv(&["server", "--config", config.to_str().unwrap(), "--check"]);
    assert!(check().status.success());
    fs::remove_file(&files.key).unwrap();
    let output = check();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("server.key: there is no such file"), "{said}");
}

#[test]
fn an_expired_certificate_is_a_warning() {
    let authority = Authority::new("the tests' authority");
    let server = super::start(|stopped| {
        let files = authority.expired_server().write(&stopped.beside(""), "server");
        listener(&format!("{OPEN}\n[listener.tls]\n{}", files.keys())).1
    });
    server.wait_for_log("server.pem has expired; clients will refuse it");
}

/// A client that trusts the server's authority.
fn client_config(tls: &TlsServer) -> Arc<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(rustls::pki_types::CertificateDer::from_pem_file(&tls.ca).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

/// A client over TLS whose CONNECT was accepted.
fn idle_client(
    tls: &TlsServer,
    config: &Arc<rustls::ClientConfig>,
    id: usize,
) -> rustls::StreamOwned<rustls::ClientConnection, std::net::TcpStream> {
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let session = rustls::ClientConnection::new(Arc::clone(config), name).unwrap();
    let mut stream = rustls::StreamOwned::new(session, socket(tls.address));
    assert_eq!(answer(&mut stream, &connect(&format!("idle{id}")), ACCEPTED), ACCEPTED);
    stream
}

#[test]
fn an_idle_connection_takes_at_most_24_kib() {
    const COUNT: usize = 400;
    let tls = TlsServer::start(OPEN, "");
    let config = client_config(&tls);
    // The first ones also pay for what all share.
    let mut clients: Vec<_> = (0..50).map(|id| idle_client(&tls, &config, id)).collect();
    let before = tls.server.resident_bytes();
    clients.extend((50..50 + COUNT).map(|id| idle_client(&tls, &config, id)));
    let each = (tls.server.resident_bytes() - before) / COUNT as u64;
    assert!(each <= 24 << 10, "{each} bytes each");
    // They are alive.
    for client in &mut clients {
        assert_eq!(answer(client, &[0xc0, 0], &[0xd0, 0]), [0xd0, 0]);
    }
    assert_eq!(tls.server.metric("distkv_listener_connections", &[("listener", "tested")]), 450.0);
}

#[test]
fn the_end_is_told_to_clients() {
    let tls = TlsServer::start(OPEN, "");
    let mut client = idle_client(&tls, &client_config(&tls), 0);
    client.write_all(&[0xe0, 0]).unwrap();
    // Without the alert close_notify this would be an error.
    assert_eq!(client.read(&mut [0; 16]).unwrap(), 0);
}

#[test]
fn the_plain_port_stays_beside_the_listeners() {
    let tls = TlsServer::start(OPEN, "");
    mosquitto_pub(&tls.server.port(), &["-t", "t", "-m", "m"]);
    let log = tls.server.log();
    assert!(
        log.contains(&format!("MQTT    {}\n          {} (TLS)\n", tls.server.mqtt(), tls.address)),
        "{log}"
    );
}
