//! The client's side of WebSocket: the request, masked frames out, frames in. Bytes only; the socket is another's.

use std::io;

use super::transport::Output;
use super::wire::Frame;

const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
const LAST: u8 = 0x80;
const MASKED: u8 = 0x80;

/// The longest head of a frame from a server.
const HEAD_BYTES_MAX: usize = 10;

/// The longest answer to the request.
const ANSWER_BYTES_MAX: usize = 8 << 10;

/// A WebSocket from the first byte on.
#[derive(Debug)]
pub(super) struct WebSocket {
    /// The server's answer to the request, until it is whole.
    answer: Option<Vec<u8>>,
    output: Output,
    /// The next mask. It need not be secret here, only different.
    mask: u32,
    /// The head of a frame whose end has not come yet.
    head: Vec<u8>,
    /// What the frame is whose payload is being read, and how much of that is still to come.
    opcode: u8,
    payload_left: u64,
    ping: Vec<u8>,
    closed: bool,
}

impl WebSocket {
    /// Begins with the request.
    pub(super) fn new(host: &str) -> Self {
        let request = format!(
            "GET /mqtt HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Protocol: mqtt\r\n\r\n"
        );
        Self {
            answer: Some(Vec::new()),
            output: Output::new(request.into_bytes()),
            mask: 0x9E37_79B9,
            head: Vec::new(),
            opcode: 0,
            payload_left: 0,
            ping: Vec::new(),
            closed: false,
        }
    }

    /// Bytes that wait for the socket.
    pub(super) fn pending(&self) -> usize {
        self.output.left().len()
    }

    /// Has the server closed it?
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Makes a frame of each packet, once the server has answered. Returns what is to be sent.
    pub(super) fn wrap(&mut self, packets: &mut Output) -> &mut Output {
        if self.answer.is_none() {
            let mut rest = packets.left();
            let mut before = rest;
            while Frame::take(&mut rest).is_some() {
                let (packet, _) = before.split_at(before.len() - rest.len());
                self.frame(BINARY, packet);
                before = rest;
            }
            packets.clear();
        }
        &mut self.output
    }

    /// Takes the frames off, and hands over what is in them.
    pub(super) fn unwrap(&mut self, mut bytes: &[u8], on_payload: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        if let Some(answer) = &mut self.answer {
            // Frames may follow in the same read.
            let before = answer.len();
            answer.extend_from_slice(bytes);
            let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else {
                return if answer.len() <= ANSWER_BYTES_MAX {
                    Ok(())
                } else {
                    Err(bad("the answer is too long"))
                };
            };
            if !answer.starts_with(b"HTTP/1.1 101 ") {
                return Err(bad("the server does not switch to WebSocket"));
            }
            bytes = bytes.get(end + 4 - before..).unwrap_or_default();
            self.answer = None;
        }
        while !bytes.is_empty() {
            if self.payload_left == 0 {
                let (&byte, rest) = bytes.split_first().unwrap_or((&0, &[]));
                bytes = rest;
                self.head.push(byte);
                self.begin()?;
                continue;
            }
            let here = usize::try_from(self.payload_left).unwrap_or(usize::MAX).min(bytes.len());
            let (payload, rest) = bytes.split_at(here);
            bytes = rest;
            self.payload_left -= here as u64;
            match self.opcode {
                0..=BINARY => on_payload(payload),
                PING => self.ping.extend_from_slice(payload),
                _ => {}
            }
            self.end();
        }
        Ok(())
    }

    /// Begins with the payload if the head is whole.
    fn begin(&mut self) -> io::Result<()> {
        let [first, second, extended @ ..] = self.head.as_slice() else { return Ok(()) };
        let bytes = match second {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        if extended.len() < bytes {
            return Ok(());
        }
        if *second >= MASKED || self.head.len() > HEAD_BYTES_MAX {
            return Err(bad("a frame of a server has no mask"));
        }
        self.payload_left = match bytes {
            0 => u64::from(*second),
            _ => extended.iter().fold(0, |len, &byte| len << 8 | u64::from(byte)),
        };
        self.opcode = first & 0x0F;
        self.head.clear();
        self.end();
        Ok(())
    }

    /// Answers a control frame if it is whole.
    fn end(&mut self) {
        if self.payload_left > 0 {
            return;
        }
        match self.opcode {
            CLOSE => self.closed = true,
            PING => {
                let payload = std::mem::take(&mut self.ping);
                self.frame(PONG, &payload);
            }
            _ => {}
        }
    }

    /// Appends a frame.
    fn frame(&mut self, opcode: u8, payload: &[u8]) {
        self.mask = self.mask.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        append(&mut self.output.bytes, opcode, self.mask.to_be_bytes(), payload);
    }
}

fn bad(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Appends a frame, masked.
fn append(out: &mut Vec<u8>, opcode: u8, mask: [u8; 4], payload: &[u8]) {
    out.push(LAST | opcode);
    match payload.len() {
        len @ 0..126 => out.push(MASKED | len as u8),
        len @ 126..0x1_0000 => {
            out.push(MASKED | 126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            out.push(MASKED | 127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&mask);
    let start = out.len();
    out.extend_from_slice(payload);
    let [a, b, c, d] = mask;
    let twice = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = out.get_mut(start..).unwrap_or_default().as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ twice).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.into_iter().cycle()) {
        *byte ^= mask;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened() -> WebSocket {
        let mut websocket = WebSocket::new("example.org");
        websocket.unwrap(b"HTTP/1.1 101 Switching Protocols\r\n\r\n", &mut |_| {}).expect("open");
        websocket.output.clear();
        websocket
    }

    /// A frame of a server.
    fn served(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![first];
        match payload.len() {
            len @ 0..126 => frame.push(len as u8),
            len => frame.extend_from_slice(&[126, (len >> 8) as u8, len as u8]),
        }
        frame.extend_from_slice(payload);
        frame
    }

    /// The payload of a client's frame with a length of one byte.
    fn unmasked(frame: &[u8]) -> (u8, Vec<u8>) {
        let (&[first, len, a, b, c, d], payload) = frame.split_first_chunk::<6>().expect("a head");
        assert_eq!(usize::from(len & 0x7F), payload.len());
        assert!(len & MASKED != 0);
        let mask = [a, b, c, d];
        (first, payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect())
    }

    #[test]
    fn a_payload_of_any_length_is_masked_byte_by_byte() {
        let mask = [0x37, 0xFA, 0x21, 0x3D];
        for len in [0, 1, 5, 7, 8, 9, 125, 126, 300, 65_535, 65_536] {
            let payload: Vec<u8> = (0..len).map(|at| at as u8).collect();
            let mut frame = Vec::new();
            append(&mut frame, BINARY, mask, &payload);
            let (head, body) = frame.split_at(frame.len() - len);
            assert_eq!(
                head.len(),
                match len {
                    0..126 => 6,
                    126..0x1_0000 => 8,
                    _ => 14,
                }
            );
            let back: Vec<u8> =
                body.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
            assert_eq!(back, payload);
        }
    }

    #[test]
    fn frames_come_whole_however_they_are_cut() {
        let mut bytes = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n".to_vec();
        let long = [b'x'; 300];
        for frame in [served(0x02, b"ab"), served(0x80, b"c"), served(0x82, &[]), served(0x82, &long)] {
            bytes.extend_from_slice(&frame);
        }
        for step in [1, 2, 3, 7, 64, 1000] {
            let mut websocket = WebSocket::new("example.org");
            let mut got = Vec::new();
            for piece in bytes.chunks(step) {
                websocket.unwrap(piece, &mut |payload| got.extend_from_slice(payload)).expect("frames");
            }
            assert_eq!(got, [b"abc".as_slice(), &long].concat(), "{step} bytes at a time");
        }
    }

    #[test]
    fn each_packet_is_a_frame_and_none_leaves_before_the_answer() {
        let mut websocket = WebSocket::new("example.org");
        let mut packets = Output::new(b"\xC0\0\x40\x02\0\x07".to_vec());
        let request = String::from_utf8(websocket.wrap(&mut packets).bytes.clone()).expect("text");
        assert!(request.starts_with("GET /mqtt HTTP/1.1\r\nHost: example.org\r\n"));
        assert!(request.contains("Sec-WebSocket-Protocol: mqtt\r\n") && request.ends_with("\r\n\r\n"));
        assert_eq!(packets.left().len(), 6);

        websocket = opened();
        let frames = websocket.wrap(&mut packets).bytes.clone();
        assert!(packets.left().is_empty());
        let (first, second) = frames.split_at(8);
        assert_eq!(unmasked(first), (0x82, b"\xC0\0".to_vec()));
        assert_eq!(unmasked(second), (0x82, b"\x40\x02\0\x07".to_vec()));
    }

    #[test]
    fn a_ping_is_answered_and_a_close_is_the_end() {
        let mut websocket = opened();
        websocket.unwrap(&served(0x89, b"hello"), &mut |_| panic!("no payload")).expect("a ping");
        assert_eq!(unmasked(&websocket.output.bytes), (0x8A, b"hello".to_vec()));
        assert!(!websocket.is_closed());
        websocket.unwrap(&served(0x88, b"\x03\xE8"), &mut |_| panic!("no payload")).expect("a close");
        assert!(websocket.is_closed());
    }

    #[test]
    fn another_answer_or_a_masked_frame_is_an_error() {
        let mut websocket = WebSocket::new("example.org");
        let error = websocket.unwrap(b"HTTP/1.1 404 Not Found\r\n\r\n", &mut |_| {}).unwrap_err();
        assert!(error.to_string().contains("does not switch"));
        assert!(opened().unwrap(b"\x82\x81\0\0\0\0x", &mut |_| {}).is_err());
    }
}
