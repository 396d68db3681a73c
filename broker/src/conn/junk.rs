//! What it was, when the first bytes of a connection are no CONNECT: a name for the log, and a limit on such lines.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Names the protocol that the first bytes look like.
pub(crate) fn recognise(bytes: &[u8]) -> &'static str {
    const HTTP: [&[u8]; 7] = [b"GET ", b"POST", b"HEAD", b"PUT ", b"OPTI", b"CONN", b"PRI "];
    match bytes {
        [] => "nothing was sent",
        [0x16, 0x03, ..] => "a TLS hello (this port speaks plain MQTT)",
        [0x80, _, 0x01, ..] => "an SSL 2 hello (this port speaks plain MQTT)",
        [b'S', b'S', b'H', b'-', ..] => "an SSH client",
        [0x03, 0x00, 0x00, ..] => "a remote desktop client",
        [b'P', b'R', b'O', b'X', b'Y', ..] => "a PROXY header",
        [0x10, ..] => "a malformed CONNECT",
        _ if HTTP.iter().any(|verb| bytes.starts_with(verb)) => {
            "an HTTP request (this port speaks plain MQTT)"
        }
        _ => "no MQTT",
    }
}

/// At most so many lines in each window; the next line tells how many were left out.
#[derive(Debug)]
pub(crate) struct LineLimit {
    state: Mutex<Window>,
}

#[derive(Debug)]
struct Window {
    began: Instant,
    lines: u32,
    left_out: u64,
}

const WINDOW: Duration = Duration::from_secs(10);
const LINES: u32 = 20;

impl LineLimit {
    pub(crate) fn new(now: Instant) -> Self {
        Self { state: Mutex::new(Window { began: now, lines: 0, left_out: 0 }) }
    }

    /// May a line be written now? If so: how many were left out since the last one.
    pub(crate) fn allow(&self, now: Instant) -> Option<u64> {
        let mut window = self.state.lock();
        if now.duration_since(window.began) >= WINDOW {
            window.began = now;
            window.lines = 0;
        }
        if window.lines == LINES {
            window.left_out += 1;
            return None;
        }
        window.lines += 1;
        Some(std::mem::take(&mut window.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn names_what_scanners_send() {
        assert!(recognise(&[0x16, 3, 1, 0, 200]).contains("TLS"));
        assert!(recognise(b"GET / HTTP/1.1\r\n").contains("HTTP"));
        assert!(recognise(b"SSH-2.0-x").contains("SSH"));
        assert_eq!(recognise(b""), "nothing was sent");
        assert_eq!(recognise(b"\0\0"), "no MQTT");
    }

    #[test]
    fn lines_beyond_the_limit_are_left_out_and_counted() {
        let start = clock::now();
        let limit = LineLimit::new(start);
        for _ in 0..LINES {
            assert_eq!(limit.allow(start), Some(0));
        }
        assert_eq!(limit.allow(start), None);
        assert_eq!(limit.allow(start), None);
        assert_eq!(limit.allow(start + WINDOW), Some(2));
        assert_eq!(limit.allow(start + WINDOW), Some(0));
    }
}
