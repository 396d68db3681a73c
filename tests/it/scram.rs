//! SCRAM-SHA-256 against the program: a client of our own, written from the standards, and the command that makes users.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

use crate::harness::clock::{SOON, wait_until};
use crate::harness::server::{Options, Server, Stopped, distkv};
use crate::harness::tools::Tool;

const NONCE: &str = "fyko+d2lbbFgONRv9qkxdawL";

/// A line for the file of users.
#[track_caller]
fn user(stopped: &Stopped, name: &str, password: &str) -> String {
    let file = stopped.beside("password");
    fs::write(&file, format!("{password}\n")).unwrap();
    let output = distkv(&["user", "scram", name, "--password-file", file.to_str().unwrap()]);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// A server with the user ann, whose password is "rose, garden".
fn server() -> Server {
    let mut stopped = Options::new().prepare();
    let file = stopped.beside("users");
    fs::write(&file, format!("# users\n{}", user(&stopped, "ann", "rose, garden"))).unwrap();
    let setting = format!("mqtt.scram_users_file={}", file.display());
    *stopped.options_mut() = stopped.options_mut().clone().set(&setting);
    stopped.run()
}

fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    Hmac::<Sha256>::new_from_slice(key).unwrap().chain_update(message).finalize().into_bytes().into()
}

fn xor(a: [u8; 32], b: [u8; 32]) -> [u8; 32] {
    std::array::from_fn(|at| a[at] ^ b[at])
}

/// What a client says to the server's first message, and what the server must say then.
fn prove(name: &str, password: &str, server_first: &str) -> (String, String) {
    let attribute = |prefix: &str| {
        let found = server_first.split(',').find_map(|attribute| attribute.strip_prefix(prefix));
        found.unwrap_or_else(|| panic!("no {prefix} in {server_first}"))
    };
    let (nonce, count) = (attribute("r="), attribute("i=").parse::<u32>().unwrap());
    assert!(nonce.starts_with(NONCE) && nonce.len() > NONCE.len() + 16, "{nonce}");
    let mut block = BASE64.decode(attribute("s=")).unwrap();
    block.extend(1_u32.to_be_bytes());
    let mut round = hmac(password.as_bytes(), &block);
    let mut salted = round;
    for _ in 1..count {
        round = hmac(password.as_bytes(), &round);
        salted = xor(salted, round);
    }
    let client_key = hmac(&salted, b"Client Key");
    let without_proof = format!("c=biws,r={nonce}");
    let signed = format!("n={name},r={NONCE},{server_first},{without_proof}");
    let signature = hmac(&Sha256::digest(client_key), signed.as_bytes());
    let proof = BASE64.encode(xor(client_key, signature));
    let answer = hmac(&hmac(&salted, b"Server Key"), signed.as_bytes());
    (format!("{without_proof},p={proof}"), format!("v={}", BASE64.encode(answer)))
}

/// A packet: its type, its reason, and the authentication data in it.
#[derive(Debug, PartialEq, Eq)]
struct Got {
    packet_type: u8,
    reason: u8,
    data: Option<String>,
}

fn got(packet_type: u8, reason: u8, data: Option<&str>) -> Option<Got> {
    Some(Got { packet_type, reason, data: data.map(str::to_owned) })
}

const CONNACK: u8 = 2;
const DISCONNECT: u8 = 14;
const AUTH: u8 = 15;

/// A connection of MQTT 5 that knows of nothing but logins. All its packets are shorter than 16 KiB.
struct Login(TcpStream);

impl Login {
    fn open(server: &Server) -> Self {
        let stream = TcpStream::connect(server.mqtt()).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        Self(stream)
    }

    fn send(&mut self, first: u8, body: &[u8]) {
        self.0.write_all(&[&[first][..], &length(body), body].concat()).unwrap();
    }

    fn connect(&mut self, method: &str, data: Option<&str>) {
        let head = b"\0\x04MQTT\x05\x02\0\0";
        self.send(0x10, &[&head[..], &properties(method, data), b"\0\x05login"].concat());
    }

    fn auth(&mut self, reason: u8, method: &str, data: &str) {
        self.send(0xf0, &[&[reason][..], &properties(method, Some(data))].concat());
    }

    /// The next packet; `None` if the server has closed.
    fn next(&mut self) -> Option<Got> {
        let mut byte = [0];
        if self.0.read(&mut byte).unwrap() == 0 {
            return None;
        }
        let packet_type = byte[0] >> 4;
        let mut len = 0;
        for shift in [0, 7, 14] {
            self.0.read_exact(&mut byte).unwrap();
            len |= usize::from(byte[0] & 0x7f) << shift;
            if byte[0] < 0x80 {
                break;
            }
        }
        let mut body = vec![0; len];
        self.0.read_exact(&mut body).unwrap();
        let body = if packet_type == CONNACK { &body[1..] } else { &body };
        let (reason, rest) = body.split_first().map_or((0, &[][..]), |(reason, rest)| (*reason, rest));
        let data = if [CONNACK, AUTH].contains(&packet_type) { data_of(rest) } else { None };
        Some(Got { packet_type, reason, data })
    }

    /// The data of an AUTH that wants more.
    #[track_caller]
    fn challenge(&mut self) -> String {
        match self.next() {
            Some(Got { packet_type: AUTH, reason: 0x18, data: Some(data) }) => data,
            other => panic!("instead of a challenge: {other:?}"),
        }
    }

    /// Logs in with a CONNECT; answers the last packet and the server's proof as it should be.
    fn log_in(&mut self, name: &str, password: &str) -> (Option<Got>, String) {
        self.connect("SCRAM-SHA-256", Some(&format!("n,,n={name},r={NONCE}")));
        let challenge = self.challenge();
        let (proof, answer) = prove(name, password, &challenge);
        self.auth(0x18, "SCRAM-SHA-256", &proof);
        (self.next(), answer)
    }
}

fn properties(method: &str, data: Option<&str>) -> Vec<u8> {
    let mut body = Vec::new();
    for (id, text) in [(0x15, Some(method)), (0x16, data)] {
        if let Some(text) = text {
            body.push(id);
            body.extend((text.len() as u16).to_be_bytes());
            body.extend(text.as_bytes());
        }
    }
    [length(&body), body].concat()
}

/// As a variable byte integer, of bytes that are fewer than 16 KiB.
fn length(body: &[u8]) -> Vec<u8> {
    match body.len() {
        len @ 0..0x80 => vec![len as u8],
        len => vec![len as u8 | 0x80, (len >> 7) as u8],
    }
}

/// The authentication data among properties, of which all but those of fixed length are texts.
fn data_of(properties: &[u8]) -> Option<String> {
    let mut rest = properties;
    while rest.first().is_some_and(|byte| *byte >= 0x80) {
        rest = &rest[1..];
    }
    rest = rest.get(1..)?;
    while let Some((id, value)) = rest.split_first() {
        rest = match id {
            0x24 | 0x25 | 0x28..=0x2a => &value[1..],
            0x13 | 0x21 | 0x22 => &value[2..],
            0x11 | 0x27 => &value[4..],
            _ => {
                let len = usize::from(u16::from_be_bytes([value[0], value[1]]));
                if *id == 0x16 {
                    return Some(String::from_utf8(value[2..2 + len].to_vec()).unwrap());
                }
                &value[2 + len..]
            }
        };
    }
    None
}

#[test]
fn who_knows_the_password_is_let_in_and_is_shown_that_the_server_knows_it_too() {
    let server = server();
    let mut login = Login::open(&server);
    let (last, answer) = login.log_in("ann", "rose, garden");
    assert_eq!(last, got(CONNACK, 0, Some(&answer)));
    // A CONNECT may say the method alone.
    let mut login = Login::open(&server);
    login.connect("SCRAM-SHA-256", None);
    assert_eq!(login.challenge(), "");
    login.auth(0x18, "SCRAM-SHA-256", &format!("n,,n=ann,r={NONCE}"));
    let (proof, answer) = prove("ann", "rose, garden", &login.challenge());
    login.auth(0x18, "SCRAM-SHA-256", &proof);
    assert_eq!(login.next(), got(CONNACK, 0, Some(&answer)));
    assert!(server.log().contains("user=\"ann\""), "{}", server.log());
}

#[test]
fn a_wrong_password_and_an_unknown_user_are_answered_alike() {
    let server = server();
    let mut challenges = Vec::new();
    for name in ["ann", "bob", "bob"] {
        let mut login = Login::open(&server);
        login.connect("SCRAM-SHA-256", Some(&format!("n,,n={name},r={NONCE}")));
        let challenge = login.challenge();
        let (proof, _) = prove(name, "guess", &challenge);
        login.auth(0x18, "SCRAM-SHA-256", &proof);
        assert_eq!(login.next(), got(CONNACK, 0x86, None), "{name}");
        assert_eq!(login.next(), None);
        let (_, salt) = challenge.split_once(",s=").unwrap();
        challenges.push(salt.to_owned());
    }
    assert_eq!(challenges[0].len(), challenges[1].len());
    assert_eq!(challenges[1], challenges[2]);
    assert_ne!(challenges[0], challenges[1]);
    assert_eq!(server.metric("distkv_refused_total", &[("reason", "bad_credentials")]), 3.0);
}

#[test]
fn what_is_not_offered_or_malformed_is_refused() {
    let server = server();
    for (method, data, reason) in [
        ("SCRAM-SHA-1", "n,,n=ann,r=x", 0x8c),
        ("SCRAM-SHA-256", "p=tls-exporter,,n=ann,r=x", 0x86),
        ("SCRAM-SHA-256", "n,,n=ann", 0x86),
    ] {
        let mut login = Login::open(&server);
        login.connect(method, Some(data));
        assert_eq!(login.next(), got(CONNACK, reason, None), "{data}");
    }
    // Without a file there is no such method.
    let server = Server::start();
    let mut login = Login::open(&server);
    login.connect("SCRAM-SHA-256", Some("n,,n=ann,r=x"));
    assert_eq!(login.next(), got(CONNACK, 0x8c, None));
}

#[test]
fn a_user_proves_itself_anew_but_not_as_another() {
    let stopped = server().kill();
    let file = stopped.beside("users");
    let both = format!("{}{}", user(&stopped, "ann", "rose, garden"), user(&stopped, "bob", "rose, garden"));
    fs::write(&file, both).unwrap();
    let server = stopped.run();
    for (name, method, end) in
        [("ann", "SCRAM-SHA-256", 0), ("bob", "SCRAM-SHA-256", 0x87), ("ann", "PLAIN", 0x8c)]
    {
        let mut login = Login::open(&server);
        let (last, _) = login.log_in("ann", "rose, garden");
        assert_eq!(last.map(|last| last.reason), Some(0));
        login.auth(0x19, method, &format!("n,,n={name},r={NONCE}"));
        if end == 0x8c {
            assert_eq!(login.next(), got(DISCONNECT, end, None));
            continue;
        }
        let (proof, answer) = prove(name, "rose, garden", &login.challenge());
        login.auth(0x18, method, &proof);
        match end {
            0 => assert_eq!(login.next(), got(AUTH, 0, Some(&answer))),
            _ => assert_eq!(login.next(), got(DISCONNECT, end, None)),
        }
    }
}

#[test]
fn what_a_user_writes_carries_the_name() {
    let server = server();
    let mut login = Login::open(&server);
    let (last, _) = login.log_in("ann", "rose, garden");
    assert_eq!(last.map(|last| last.reason), Some(0));
    // RETAIN, QoS 1, packet 1, no properties.
    login.send(0x33, b"\0\x04home\0\x01\0on");
    assert_eq!(login.next().map(|got| got.packet_type), Some(4));
    let port = server.port();
    let arguments = ["-V", "5", "-h", "127.0.0.1", "-p", &port, "-t", "home", "-C", "1", "-F", "%p %P"];
    let asked = ["-D", "subscribe", "user-property", "distkv-meta", "1"];
    let told = Tool::start("mosquitto_sub", &[&arguments[..], &asked].concat()).finish();
    assert!(told.starts_with("on ") && told.contains("distkv-user:ann"), "{told}");
}

#[test]
fn a_wrong_line_is_told_at_the_start_and_leaves_the_users_as_they_are_at_a_reload() {
    let server = server();
    let stopped = server.kill();
    let file = stopped.beside("users");
    let bob = user(&stopped, "bob", "b");
    fs::write(&file, format!("{bob}carl:plain\n")).unwrap();
    let (status, log, stopped) = stopped.run_in_vain();
    assert!(!status.success());
    assert!(log.contains("users, line 2: user `carl`: a verifier has the form"), "{log}");
    fs::write(&file, &bob).unwrap();
    let server = stopped.run();
    let hang_up = |server: &Server| {
        let id = server.process_id().to_string();
        assert!(Command::new("kill").args(["-HUP", &id]).status().unwrap().success());
    };
    let reload = |text: &str, says: &str| {
        fs::write(&file, text).unwrap();
        hang_up(&server);
        wait_until(says, SOON, || server.log().contains(says));
    };
    let may = |name: &str, password: &str| {
        let (last, _) = Login::open(&server).log_in(name, password);
        last.is_some_and(|last| last.reason == 0)
    };
    reload("carl\n", "the users stay as they are");
    assert!(may("bob", "b"));
    let aside = Options::new().prepare();
    reload(&user(&aside, "dora", "d"), "1 users may log in by SCRAM");
    assert!(may("dora", "d") && !may("bob", "b"));
}

#[test]
fn the_command_makes_lines_that_differ_and_says_what_it_can_not_make() {
    let stopped = Options::new().prepare();
    let (first, second) = (user(&stopped, "ann", "x"), user(&stopped, "ann", "x"));
    assert!(first.starts_with("ann:SCRAM-SHA-256$4096:"), "{first}");
    assert_ne!(first, second, "the salt is random");
    let empty = stopped.beside("empty");
    fs::write(&empty, "\n").unwrap();
    let empty = empty.to_str().unwrap();
    for (arguments, says) in [
        (&["a:b", "--password-file", empty][..], "can't be a user's name"),
        (&["ann", "--password-file", empty], "the password is empty"),
        (&["ann", "--password-file", "/no/such/file"], "/no/such/file"),
        (&["ann"], "the password is empty"),
    ] {
        let output = distkv(&[&["user", "scram"], arguments].concat());
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(1) && text.contains(says), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }
}
