//! Certificates that are renewed while the server runs.

use std::fs;

use super::TlsServer;
use crate::harness::clock::{SOON, wait_until};

/// The name in the certificate that the server shows.
fn shown(tls: &TlsServer) -> String {
    let said = tls.openssl(&["-brief"]);
    let line = said.lines().find(|line| line.starts_with("Peer certificate: "));
    line.unwrap_or_else(|| panic!("{said}")).trim_start_matches("Peer certificate: ").to_owned()
}

#[test]
fn sighup_takes_new_certificates_and_connections_go_on() {
    let tls = TlsServer::start("allow_anonymous = true", "");
    assert_eq!(shown(&tls), "CN = server");
    let mut early = crate::harness::tools::Tool::start(
        "mosquitto_sub",
        &[
            "-h",
            "127.0.0.1",
            "-p",
            &tls.port(),
            "--cafile",
            &tls.ca,
            "-t",
            "t",
            "-C",
            "1",
            "-W",
            "60",
            "-i",
            "early",
        ],
    );
    tls.server.wait_for_log("client=\"early\"");
    tls.authority.server("renewed").write(&tls.server.beside(""), "server");
    tls.server.signal("HUP");
    tls.server.wait_for_log("listener tested: its TLS files are read again");
    assert_eq!(shown(&tls), "CN = renewed");
    wait_until("the subscription", SOON, || tls.server.metric("distkv_subscriptions", &[]) == 1.0);
    assert!(tls.publish(&[]));
    assert!(early.status().success(), "{early}");
}

#[test]
fn changed_files_are_noticed() {
    let tls = TlsServer::start("allow_anonymous = true", "");
    tls.authority.server("renewed").write(&tls.server.beside(""), "server");
    wait_until("the new certificate", SOON, || shown(&tls) == "CN = renewed");
}

#[test]
fn wrong_files_leave_the_old_ones_in_force() {
    let tls = TlsServer::start("allow_anonymous = true", "");
    let good = fs::read(&tls.files.key).unwrap();
    fs::write(&tls.files.key, "hello").unwrap();
    tls.server.signal("HUP");
    tls.server.wait_for_log("there is no private key in it");
    tls.server.wait_for_log("The certificates of before stay in force");
    assert_eq!(shown(&tls), "CN = server");
    fs::write(&tls.files.key, &good).unwrap();
    // Half of a renewal.
    fs::write(&tls.files.certificate, tls.authority.server("renewed").certificate).unwrap();
    tls.server.signal("HUP");
    tls.server.wait_for_log("was only one of the two files renewed?");
    assert_eq!(shown(&tls), "CN = server");
    fs::remove_file(&tls.files.certificate).unwrap();
    tls.server.signal("HUP");
    tls.server.wait_for_log("there is no such file");
    assert_eq!(shown(&tls), "CN = server");
}

#[test]
fn a_revocation_counts_from_the_reload_on_also_for_sessions_that_are_resumed() {
    let keys =
        "client_certificates = \"required\"\nclient_ca = CA\nuser_from = \"cn\"\ncrl = \"DIR/crl.pem\"";
    let tls = TlsServer::start_with("", keys, |authority, stopped| {
        fs::write(stopped.beside("crl.pem"), authority.revoke(&[])).unwrap();
    });
    let own = tls.client("kitchen", 10);
    let (certificate, key) = (own.certificate.display().to_string(), own.key.display().to_string());
    let session = tls.server.beside("session").display().to_string();
    let client = ["-cert", &certificate, "-key", &key, "-tls1_2"];
    tls.openssl(&[&client[..], &["-sess_out", &session]].concat());
    let said = tls.openssl(&[&client[..], &["-sess_in", &session]].concat());
    assert!(said.contains("Reused, TLSv1.2"), "{said}");
    fs::write(tls.server.beside("crl.pem"), tls.authority.revoke(&[10])).unwrap();
    tls.server.signal("HUP");
    tls.server.wait_for_log("its TLS files are read again");
    let said = tls.openssl(&[&client[..], &["-sess_in", &session]].concat());
    assert!(!said.contains("Reused, TLSv1.2"), "{said}");
    tls.server.wait_for_log("the client's certificate is revoked");
}
