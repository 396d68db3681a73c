//! Load: raw requests in batches, answered in batches. The work of this side is not in the figures.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};

use anyhow::{Context as _, bail};
use distkv_store::value::{Packer, Token, Tokens};

/// Connections of a load, and requests that each sends at a time.
pub(crate) const CONNECTIONS: usize = 8;
pub(crate) const PIPELINE: usize = 64;
/// Keys that are written and read.
pub(crate) const KEYS: usize = 10_000;
/// Bytes of a value.
const VALUE: [u8; 64] = [b'v'; 64];

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    Get,
    Set,
}

/// In which protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Native,
    Redis,
}

/// One connection.
pub(crate) struct Connection {
    protocol: Protocol,
    stream: TcpStream,
    seq: u64,
    received: Vec<u8>,
    requests: Vec<u8>,
}

impl Connection {
    pub(crate) fn open(protocol: Protocol, port: u16) -> anyhow::Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_nodelay(true)?;
        let mut opened = Self { protocol, stream, seq: 0, received: Vec::new(), requests: Vec::new() };
        if protocol == Protocol::Native {
            // The server speaks first.
            opened.replies(1, &mut |_| {})?;
        }
        Ok(opened)
    }

    /// Adds a request to the batch.
    pub(crate) fn ask(&mut self, ask: Ask, key: usize) {
        let name = format!("{key:08}");
        match self.protocol {
            Protocol::Native => {
                self.request(if ask == Ask::Set { 2 } else { 1 }, ask_name(ask), |packer| {
                    packer.str("path");
                    packer.array(2);
                    packer.str("bench");
                    packer.str(&name);
                    if ask == Ask::Set {
                        packer.str("value");
                        packer.bin(&VALUE);
                    }
                });
            }
            Protocol::Redis => {
                let mut words: Vec<&[u8]> = vec![ask_name_of_redis(ask), name.as_bytes()];
                words.extend((ask == Ask::Set).then_some(&VALUE[..]));
                self.requests.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
                for word in words {
                    self.requests.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
                    self.requests.extend_from_slice(word);
                    self.requests.extend_from_slice(b"\r\n");
                }
            }
        }
    }

    /// Adds a request of the native port with `fields` more pairs.
    pub(crate) fn request(&mut self, fields: u32, action: &str, more: impl FnOnce(&mut Packer<'_>)) {
        self.seq += 1;
        let mut packer = Packer(&mut self.requests);
        packer.map(2 + fields);
        packer.str("seq");
        packer.uint(self.seq);
        packer.str("action");
        packer.str(action);
        more(&mut packer);
    }

    /// Sends the batch.
    pub(crate) fn send(&mut self) -> anyhow::Result<()> {
        self.stream.write_all(&self.requests)?;
        self.requests.clear();
        Ok(())
    }

    /// Waits for so many replies.
    pub(crate) fn replies(&mut self, mut wanted: usize, see: &mut dyn FnMut(&[u8])) -> anyhow::Result<()> {
        self.read(&mut |reply| {
            see(reply);
            wanted -= 1;
            wanted > 0
        })
    }

    /// Reads replies for as long as `more` says so.
    pub(crate) fn read(&mut self, more: &mut dyn FnMut(&[u8]) -> bool) -> anyhow::Result<()> {
        let mut chunk = vec![0; 256 << 10];
        let mut used = 0;
        loop {
            while let Some(len) = self.whole(used)? {
                let reply = self.received.get(used..used + len).unwrap_or_default();
                used += len;
                if !more(reply) {
                    self.received.drain(..used);
                    return Ok(());
                }
            }
            self.received.drain(..used);
            used = 0;
            let n = self.stream.read(&mut chunk)?;
            if n == 0 {
                bail!("the server has closed the connection");
            }
            self.received.extend_from_slice(chunk.get(..n).unwrap_or_default());
        }
    }

    /// The length of the reply that begins at `at`, if it is all there.
    fn whole(&self, at: usize) -> anyhow::Result<Option<usize>> {
        let rest = self.received.get(at..).unwrap_or_default();
        match self.protocol {
            Protocol::Native => {
                let reply = Tokens::new(rest).whole().ok();
                if let Some(reply) = reply
                    && field(reply, "error").is_some()
                {
                    bail!("the server answers with an error: {}", reply.escape_ascii());
                }
                Ok(reply.map(<[u8]>::len))
            }
            Protocol::Redis => {
                let Some(end) = rest.windows(2).position(|two| two == b"\r\n") else { return Ok(None) };
                let line = rest.get(..end).unwrap_or_default();
                match line.split_first() {
                    Some((b'+', _)) => Ok(Some(end + 2)),
                    Some((b'$', digits)) => {
                        let len: usize = std::str::from_utf8(digits)?.parse().context("no such key")?;
                        let len = end + 2 + len + 2;
                        Ok((rest.len() >= len).then_some(len))
                    }
                    _ => bail!("the server answers with an error: {}", line.escape_ascii()),
                }
            }
        }
    }
}

fn ask_name(ask: Ask) -> &'static str {
    match ask {
        Ask::Get => "get_value",
        Ask::Set => "set_value",
    }
}

fn ask_name_of_redis(ask: Ask) -> &'static [u8] {
    match ask {
        Ask::Get => b"GET",
        Ask::Set => b"SET",
    }
}

/// The value of a key in a map of the native port.
pub(crate) fn field<'a>(map: &'a [u8], key: &str) -> Option<&'a [u8]> {
    let mut tokens = Tokens::new(map);
    let Some(Token::Map(count)) = tokens.next() else { return None };
    for _ in 0..count {
        let name = tokens.whole().ok()?;
        let value = tokens.whole().ok()?;
        if Tokens::new(name).next() == Some(Token::Str(key)) {
            return Some(value);
        }
    }
    None
}

/// So many requests over all connections.
pub(crate) fn run(
    protocol: Protocol,
    port: u16,
    ask: Ask,
    requests: usize,
    keys: usize,
) -> anyhow::Result<()> {
    let connections: anyhow::Result<Vec<Connection>> =
        (0..CONNECTIONS).map(|_| Connection::open(protocol, port)).collect();
    let mut connections = connections?;
    let mut sent = 0;
    while sent < requests {
        for connection in &mut connections {
            for _ in 0..PIPELINE {
                connection.ask(ask, sent * 7 % keys);
                sent += 1;
            }
            connection.send()?;
        }
        for connection in &mut connections {
            connection.replies(PIPELINE, &mut |_| {})?;
        }
    }
    Ok(())
}
