//! A client of the native port that does only what it is told. Messages are written and shown as JSON, where a few things have a form of
//! their own: `{"$path": [..]}`, `{"$bytes": HEX}`, `{"$int": DECIMAL}`, `{"$map": [[KEY, VALUE]..]}`, `{"$ext": [TYPE, HEX]}`.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use distkv::native::wire::Frames;
use distkv_store::value::{EXT_BIG, EXT_PATH, Packer, Token, Tokens};
use serde_json::{Map, Value as Json, json};

use super::clock::{SOON, now};

/// One connection.
pub(crate) struct Native {
    stream: TcpStream,
    input: Vec<u8>,
    frames: Frames,
    /// Messages that were read while another one was waited for.
    ready: VecDeque<Json>,
    seq: u64,
    /// The server has closed the connection.
    pub(crate) closed: bool,
    /// What the server said first.
    pub(crate) greeting: Json,
}

impl Native {
    /// A connection whose greeting has been read.
    #[track_caller]
    pub(crate) fn open(address: SocketAddr) -> Self {
        let mut client = Self::open_silently(address);
        client.greeting = client.message();
        assert_eq!(client.greeting["seq"], 0, "{}", client.greeting);
        client
    }

    /// A connection on which nothing has been read.
    pub(crate) fn open_silently(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap_or_else(|error| panic!("{address}: {error}"));
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            input: Vec::new(),
            frames: Frames::new(1 << 30),
            ready: VecDeque::new(),
            seq: 0,
            closed: false,
            greeting: Json::Null,
        }
    }

    /// Sends bytes as they are. A server that has closed the connection is no failure here.
    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) {
        let _closed = self.stream.write_all(bytes);
    }

    pub(crate) fn send(&mut self, message: &Json) {
        self.send_bytes(&encoded(message));
    }

    /// Sends a request with the next number; that number.
    pub(crate) fn begin(&mut self, mut request: Json) -> u64 {
        self.seq += 1;
        request["seq"] = self.seq.into();
        self.send(&request);
        self.seq
    }

    /// Sends a request and waits for its reply, which may be an error.
    #[track_caller]
    pub(crate) fn ask(&mut self, request: Json) -> Json {
        let seq = self.begin(request);
        self.reply(seq)
    }

    /// As `ask`, for what must not fail.
    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "the caller makes it for this")]
    pub(crate) fn call(&mut self, request: Json) -> Json {
        let reply = self.ask(request.clone());
        assert!(reply.get("error").is_none(), "{request}: {reply}");
        reply
    }

    /// As `ask`, for what must fail: the kind of failure.
    #[track_caller]
    pub(crate) fn fails(&mut self, request: Json) -> String {
        self.failure(request)["etype"].as_str().unwrap_or_default().to_owned()
    }

    /// What is answered to a request that must fail, be it in a stream.
    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "the caller makes it for this")]
    pub(crate) fn failure(&mut self, request: Json) -> Json {
        let seq = self.begin(request.clone());
        let mut reply = self.reply(seq);
        if reply["state"] == "start" {
            reply = self.reply(seq);
            assert_eq!(self.reply(seq)["state"], "end");
        }
        assert!(reply.get("error").is_some(), "{request}: {reply}");
        reply
    }

    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "the caller makes it for this")]
    pub(crate) fn set(&mut self, path: &[&str], value: Json) -> Json {
        self.call(json!({ "action": "set_value", "path": path, "value": value }))
    }

    #[track_caller]
    pub(crate) fn get(&mut self, path: &[&str]) -> Json {
        self.call(json!({ "action": "get_value", "path": path, "nchain": 3 }))
    }

    /// All messages of a stream, from the start to the end.
    #[track_caller]
    pub(crate) fn stream(&mut self, request: Json) -> Vec<Json> {
        let seq = self.begin(request);
        let mut all = Vec::new();
        loop {
            let message = self.reply(seq);
            let ended = message["state"] == "end";
            all.push(message);
            if ended {
                return all;
            }
        }
    }

    /// The next message with that number.
    #[track_caller]
    pub(crate) fn reply(&mut self, seq: u64) -> Json {
        if let Some(at) = self.ready.iter().position(|message| message["seq"] == seq) {
            return self.ready.remove(at).unwrap();
        }
        loop {
            let message =
                self.read(SOON).unwrap_or_else(|| panic!("no reply to {seq}; there is {:?}", self.ready));
            if message["seq"] == seq {
                return message;
            }
            self.ready.push_back(message);
        }
    }

    /// The next message.
    #[track_caller]
    pub(crate) fn message(&mut self) -> Json {
        self.read_any(SOON).expect("a message")
    }

    /// The next message, be it one that was read before; `None` if there is none within that time, or the server has closed.
    pub(crate) fn read_any(&mut self, within: Duration) -> Option<Json> {
        self.ready.pop_front().or_else(|| self.read(within))
    }

    /// Takes the first of the messages that were read and not taken yet which fits.
    pub(crate) fn take(&mut self, fits: impl Fn(&Json) -> bool) -> Option<Json> {
        let at = self.ready.iter().position(fits)?;
        self.ready.remove(at)
    }

    /// Whether such a message was read and not taken yet.
    pub(crate) fn has(&self, fits: impl Fn(&Json) -> bool) -> bool {
        self.ready.iter().any(fits)
    }

    /// Reads what comes up to a message that is the last one, and keeps it all; for a moment only, if that never comes.
    pub(crate) fn read_until(&mut self, is_last: impl Fn(&Json) -> bool) {
        const MOMENT: Duration = Duration::from_millis(50);
        while let Some(message) = self.read(MOMENT) {
            let last = is_last(&message);
            self.ready.push_back(message);
            if last {
                return;
            }
        }
    }

    fn read(&mut self, within: Duration) -> Option<Json> {
        let deadline = now() + within;
        loop {
            if let Some(len) = self.frames.next(&self.input).unwrap() {
                let message: Vec<u8> = self.input.drain(..len).collect();
                return Some(decoded(&message));
            }
            let left = deadline.checked_duration_since(now())?;
            if !self.read_some(left) {
                return None;
            }
        }
    }

    /// Reads what comes; false at the end of the connection or of the time.
    fn read_some(&mut self, within: Duration) -> bool {
        let mut buffer = [0; 1 << 16];
        self.stream.set_read_timeout(Some(within.max(Duration::from_millis(1)))).unwrap();
        match self.stream.read(&mut buffer) {
            Ok(0) => {
                self.closed = true;
                false
            }
            Ok(len) => {
                self.input.extend_from_slice(&buffer[..len]);
                true
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => true,
            Err(error) => {
                self.closed = !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
                false
            }
        }
    }

    /// Waits until the server closes the connection; what it said before.
    #[track_caller]
    pub(crate) fn until_closed(&mut self) -> Vec<Json> {
        let deadline = now() + SOON;
        let mut all: Vec<Json> = self.ready.drain(..).collect();
        loop {
            assert!(now() < deadline, "the connection is still open; {all:?}");
            match self.read(Duration::from_millis(50)) {
                Some(message) => all.push(message),
                None => {
                    self.stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
                    match self.stream.peek(&mut [0]) {
                        Ok(0) => return all,
                        Ok(_) => {}
                        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                        }
                        Err(_) => return all,
                    }
                }
            }
        }
    }
}

/// The msgpack form of a message.
pub(crate) fn encoded(message: &Json) -> Vec<u8> {
    let mut out = Vec::new();
    pack(message, &mut out);
    out
}

fn pack(json: &Json, out: &mut Vec<u8>) {
    let mut packer = Packer(out);
    match json {
        Json::Null => packer.nil(),
        Json::Bool(it) => packer.bool(*it),
        Json::Number(it) => match (it.as_u64(), it.as_i64(), it.as_f64()) {
            (Some(it), _, _) => packer.uint(it),
            (_, Some(it), _) => packer.int(it),
            (_, _, it) => packer.float(it.unwrap()),
        },
        Json::String(it) => packer.str(it),
        Json::Array(items) => {
            packer.array(items.len() as u32);
            items.iter().for_each(|item| pack(item, out));
        }
        Json::Object(map) => match map.iter().next() {
            Some((key, it)) if key.starts_with('$') && map.len() == 1 => pack_special(key, it, out),
            _ => {
                packer.map(map.len() as u32);
                for (key, it) in map {
                    Packer(out).str(key);
                    pack(it, out);
                }
            }
        },
    }
}

fn pack_special(kind: &str, it: &Json, out: &mut Vec<u8>) {
    match kind {
        "$bytes" => Packer(out).bin(&from_hex(it.as_str().unwrap())),
        "$path" => {
            let mut packed = Vec::new();
            it.as_array().unwrap().iter().for_each(|item| pack(item, &mut packed));
            Packer(out).ext(EXT_PATH, &packed);
        }
        "$int" => {
            let number: i128 = it.as_str().unwrap().parse().unwrap();
            match (u64::try_from(number), i64::try_from(number)) {
                (Ok(number), _) => Packer(out).uint(number),
                (_, Ok(number)) => Packer(out).int(number),
                _ => {
                    let bytes = number.to_be_bytes();
                    let start = bytes.iter().position(|byte| *byte != 0).unwrap();
                    Packer(out).ext(EXT_BIG, &bytes[start..]);
                }
            }
        }
        "$map" => {
            let pairs = it.as_array().unwrap();
            Packer(out).map(pairs.len() as u32);
            for pair in pairs {
                pack(&pair[0], out);
                pack(&pair[1], out);
            }
        }
        "$ext" => {
            let kind = i8::try_from(it[0].as_i64().unwrap()).unwrap();
            Packer(out).ext(kind, &from_hex(it[1].as_str().unwrap()));
        }
        other => panic!("{other} is no form of a value"),
    }
}

/// A message as JSON.
pub(crate) fn decoded(message: &[u8]) -> Json {
    unpack(&mut Tokens::new(message))
}

fn unpack(tokens: &mut Tokens<'_>) -> Json {
    match tokens.next().expect("a value") {
        Token::Nil => Json::Null,
        Token::Bool(it) => it.into(),
        Token::Int(it) if it.unsigned_abs() > 1 << 53 => json!({ "$int": it.to_string() }),
        Token::Int(it) => it.into(),
        Token::UInt(it) => json!({ "$int": it.to_string() }),
        Token::Float(it) => json!(it),
        Token::Str(it) => it.into(),
        Token::Bin(it) => json!({ "$bytes": to_hex(it) }),
        Token::Array(count) => (0..count).map(|_| unpack(tokens)).collect(),
        Token::Map(count) => {
            let pairs: Vec<(Json, Json)> = (0..count).map(|_| (unpack(tokens), unpack(tokens))).collect();
            if pairs.iter().all(|(key, _)| key.is_string()) {
                let pairs = pairs.into_iter().map(|(key, it)| (key.as_str().unwrap().to_owned(), it));
                Json::Object(pairs.collect::<Map<_, _>>())
            } else {
                json!({ "$map": pairs.into_iter().map(|(key, it)| json!([key, it])).collect::<Vec<_>>() })
            }
        }
        Token::Ext(EXT_PATH, packed) => {
            let mut inner = Tokens::new(packed);
            let mut items = Vec::new();
            while !inner.rest().is_empty() {
                items.push(unpack(&mut inner));
            }
            json!({ "$path": items })
        }
        Token::Ext(EXT_BIG, magnitude) => {
            let number = magnitude.iter().fold(0_u128, |number, &byte| number << 8 | u128::from(byte));
            json!({ "$int": number.to_string() })
        }
        Token::Ext(kind, bytes) => json!({ "$ext": [kind, to_hex(bytes)] }),
    }
}

pub(crate) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn from_hex(text: &str) -> Vec<u8> {
    (0..text.len() / 2).map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap()).collect()
}
