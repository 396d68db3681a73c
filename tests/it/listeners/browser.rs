//! A page in a real browser, without a screen: it connects with MQTT.js and shows what it receives.

use super::{TlsServer, listener, start};
use crate::harness::tools::{Tool, mosquitto_pub, repository};

/// Opens the page, which subscribes to `browser/#`, tells that by a message on `browser/ready`, and shows what comes.
#[track_caller]
fn show(url: &str, port: &str) {
    mosquitto_pub(port, &["-r", "-q", "1", "-t", "browser/kept", "-m", "from before"]);
    let script = repository("tests/clients/mqttjs/browser.js").display().to_string();
    let profile = tempfile::Builder::new().prefix("distkv-chromium-").tempdir().unwrap();
    let profile = profile.path().display().to_string();
    let page = Tool::start("node", &[&script, url, &profile]);
    let said = page.finish();
    for line in ["browser/kept from before", "browser/own from the page"] {
        assert!(said.contains(line), "{said}");
    }
}

#[test]
fn a_page_connects_over_ws() {
    let (address, text) = listener("protocol = \"websocket\"\nallow_anonymous = true");
    let server = start(|_| text);
    show(&format!("ws://127.0.0.1:{}/mqtt", address.port()), &server.port());
}

#[test]
fn a_page_connects_over_wss() {
    let tls = TlsServer::start("protocol = \"websocket\"\nallow_anonymous = true", "");
    show(&format!("wss://127.0.0.1:{}/mqtt", tls.port()), &tls.server.port());
}
