//! From an HTTP request to a WebSocket: which requests are taken, and what the others are told.

use std::fmt::Write as _;
use std::io;

use ring::digest;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::WebSocketOptions;

/// The subprotocols that MQTT has [MQTT-6.0.0-4, MQTT5-6.0.0-4]; the second one is that of MQTT 3.1 clients.
const SUBPROTOCOLS: [&str; 2] = ["mqtt", "mqttv3.1"];
const HEADERS_MAX: usize = 64;
/// What is hashed behind the client's key, by RFC 6455.
const KEY_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Why a request is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Rejected {
    #[error("the head of the HTTP request is longer than {0} bytes")]
    TooLong(usize),
    #[error("no HTTP request: {0}")]
    Malformed(&'static str),
    #[error("an HTTP request that does not ask for WebSocket")]
    NoUpgrade,
    #[error("a WebSocket version other than 13")]
    Version,
    #[error("there is no WebSocket at the path {0:?}")]
    Path(String),
    #[error("pages of the origin {0:?} may not connect")]
    Origin(String),
    #[error("the client offers neither the subprotocol `mqtt` nor `mqttv3.1`")]
    Subprotocol,
}

impl Rejected {
    fn status(&self) -> &'static str {
        match self {
            Self::TooLong(_) => "431 Request Header Fields Too Large",
            Self::Malformed(_) | Self::Subprotocol => "400 Bad Request",
            Self::NoUpgrade | Self::Version => "426 Upgrade Required",
            Self::Path(_) => "404 Not Found",
            Self::Origin(_) => "403 Forbidden",
        }
    }

    fn answer(&self) -> String {
        let status = self.status();
        let text = match self {
            Self::NoUpgrade => "This port speaks MQTT over WebSocket.\n".to_owned(),
            // Its details are the client's own words.
            Self::Path(_) => "There is no WebSocket at this path.\n".to_owned(),
            Self::Origin(_) => "Pages of this origin may not connect.\n".to_owned(),
            other => format!("{other}\n"),
        };
        let upgrade = match self {
            Self::NoUpgrade | Self::Version => {
                "Upgrade: websocket\r\nConnection: Upgrade, close\r\nSec-WebSocket-Version: 13\r\n"
            }
            _ => "Connection: close\r\n",
        };
        let len = text.len();
        format!(
            "HTTP/1.1 {status}\r\n{upgrade}Content-Type: text/plain; charset=utf-8\r\nContent-Length: {len}\r\n\r\n{text}"
        )
    }
}

/// Reads the request and answers it. What the client sent behind its head is returned.
pub(super) async fn shake_hands<S>(stream: &mut S, options: &WebSocketOptions) -> io::Result<Vec<u8>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let rejected = match read_head(stream, options.head_bytes).await? {
        Ok((mut head, len)) => match accept(&head[..len], options) {
            Ok(answer) => {
                stream.write_all(answer.as_bytes()).await?;
                stream.flush().await?;
                head.drain(..len);
                return Ok(head);
            }
            Err(rejected) => rejected,
        },
        Err(rejected) => rejected,
    };
    stream.write_all(rejected.answer().as_bytes()).await?;
    stream.shutdown().await?;
    // Until the client has read it: who closes with bytes unread may cut his own answer off.
    let mut rest = [0; 512];
    let mut patience = options.head_bytes / rest.len() + 16;
    while patience > 0 && stream.read(&mut rest).await.is_ok_and(|read| read > 0) {
        patience -= 1;
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, rejected))
}

/// All that has come when the head is whole, and the head's length.
async fn read_head<S: AsyncRead + Unpin>(
    stream: &mut S,
    limit: usize,
) -> io::Result<Result<(Vec<u8>, usize), Rejected>> {
    const END: &[u8] = b"\r\n\r\n";
    let mut head = Vec::with_capacity(limit.min(1024));
    loop {
        if head.len() >= limit {
            return Ok(Err(Rejected::TooLong(limit)));
        }
        let searched = head.len().saturating_sub(END.len());
        let left = limit - head.len();
        let read = (&mut *stream).take(left as u64).read_buf(&mut head).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if !head.first().is_some_and(u8::is_ascii_uppercase) {
            return Ok(Err(Rejected::Malformed("the first byte begins none")));
        }
        if let Some(at) = head[searched..].windows(END.len()).position(|four| four == END) {
            return Ok(Ok((head, searched + at + END.len())));
        }
    }
}

/// The answer that makes it a WebSocket.
fn accept(head: &[u8], options: &WebSocketOptions) -> Result<String, Rejected> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(head) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return Err(Rejected::Malformed("it is not whole")),
        Err(httparse::Error::TooManyHeaders) => return Err(Rejected::TooLong(options.head_bytes)),
        Err(_) => return Err(Rejected::Malformed("it breaks the grammar")),
    }
    if request.method != Some("GET") || request.version != Some(1) {
        return Err(Rejected::NoUpgrade);
    }
    let path = request.path.unwrap_or_default().split('?').next().unwrap_or_default();
    if options.path.as_deref().is_some_and(|wanted| wanted != path) {
        return Err(Rejected::Path(path.to_owned()));
    }
    let headers = Headers(request.headers);
    if !headers.lists("upgrade", "websocket") || !headers.lists("connection", "upgrade") {
        return Err(Rejected::NoUpgrade);
    }
    if headers.one("sec-websocket-version")? != Some("13") {
        return Err(Rejected::Version);
    }
    if let Some(origin) = headers.one("origin")?
        && !options.origins.is_empty()
        && !options.origins.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin))
    {
        return Err(Rejected::Origin(origin.to_owned()));
    }
    let key = headers.one("sec-websocket-key")?.filter(|key| is_key(key));
    let key = key.ok_or(Rejected::Malformed("it has no valid Sec-WebSocket-Key"))?;
    let offered: Vec<&str> = headers.values("sec-websocket-protocol").collect();
    let subprotocol = SUBPROTOCOLS.iter().find(|known| offered.contains(*known));
    let subprotocol = subprotocol.ok_or(Rejected::Subprotocol)?;
    let mut answer =
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n".to_owned();
    // Writing to a string does not fail.
    let _ = write!(
        answer,
        "Sec-WebSocket-Accept: {}\r\nSec-WebSocket-Protocol: {subprotocol}\r\n\r\n",
        answer_to(key)
    );
    Ok(answer)
}

/// Answers a request, and panics if that goes wrong: for the fuzzer.
pub fn check_request(head: &[u8]) {
    let options =
        WebSocketOptions { origins: vec!["https://example.org".to_owned()], ..WebSocketOptions::default() };
    match accept(head, &options) {
        Ok(answer) => assert!(answer.ends_with("\r\n\r\n")),
        // Nothing of the request may come back in the head of an answer.
        Err(rejected) => assert_eq!(rejected.answer().matches("\r\n\r\n").count(), 1),
    }
}

/// The headers of a request.
struct Headers<'a>(&'a [httparse::Header<'a>]);

impl<'a> Headers<'a> {
    fn all(&self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let named = self.0.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
        named.filter_map(|header| std::str::from_utf8(header.value).ok()).map(str::trim)
    }

    /// The value of a header that may come once.
    fn one(&self, name: &'a str) -> Result<Option<&'a str>, Rejected> {
        let mut all = self.all(name);
        let value = all.next();
        if all.next().is_some() { Err(Rejected::Malformed("a header comes twice")) } else { Ok(value) }
    }

    /// The members of a list, which may be spread over several headers.
    fn values(&self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.all(name).flat_map(|value| value.split(',')).map(str::trim)
    }

    fn lists(&self, name: &'a str, member: &str) -> bool {
        self.values(name).any(|value| value.eq_ignore_ascii_case(member))
    }
}

/// 16 bytes in base64.
fn is_key(key: &str) -> bool {
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    key.len() == 24 && key.ends_with("==") && key.as_bytes()[..22].iter().all(is_digit)
}

/// What proves that the key was read: no secret, so SHA-1 will do.
fn answer_to(key: &str) -> String {
    let mut hash = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    hash.update(key.as_bytes());
    hash.update(KEY_SUFFIX);
    base64(hash.finish().as_ref())
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let group = (0..3).fold(0, |group, at| (group << 8) | u32::from(chunk.get(at).copied().unwrap_or(0)));
        for digit in 0..4 {
            let index = (group >> (18 - 6 * digit)) & 0x3f;
            text.push(if digit <= chunk.len() { DIGITS[index as usize].into() } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "GET /mqtt?x=1 HTTP/1.1\r\nHost: a\r\nUpgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Sec-WebSocket-Protocol: other, mqtt\r\nOrigin: https://example.org\r\n\r\n";

    fn options() -> WebSocketOptions {
        WebSocketOptions { path: Some("/mqtt".to_owned()), ..WebSocketOptions::default() }
    }

    fn rejected(head: &str, options: &WebSocketOptions) -> Rejected {
        accept(head.as_bytes(), options).unwrap_err()
    }

    #[test]
    fn a_request_is_answered_as_rfc_6455_shows_it() {
        let answer = accept(HEAD.as_bytes(), &options()).unwrap();
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        assert!(answer.contains("\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{answer}");
        assert!(answer.contains("\r\nSec-WebSocket-Protocol: mqtt\r\n"), "{answer}");
        let old = HEAD.replace("other, mqtt", "mqttv3.1");
        assert!(accept(old.as_bytes(), &options()).unwrap().contains("Protocol: mqttv3.1\r\n"));
    }

    #[test]
    fn other_requests_are_told_what_is_wrong() {
        let other = |from: &str, to: &str| rejected(&HEAD.replace(from, to), &options());
        assert_eq!(other("/mqtt", "/"), Rejected::Path("/".to_owned()));
        assert_eq!(other("GET", "POST"), Rejected::NoUpgrade);
        assert_eq!(other("HTTP/1.1", "HTTP/1.0"), Rejected::NoUpgrade);
        assert_eq!(other("WebSocket", "h2c"), Rejected::NoUpgrade);
        assert_eq!(other("keep-alive, Upgrade", "close"), Rejected::NoUpgrade);
        assert_eq!(other("Version: 13", "Version: 8"), Rejected::Version);
        assert_eq!(other("other, mqtt", "chat"), Rejected::Subprotocol);
        for (from, to) in [
            ("dGhlIHNhbXBsZSBub25jZQ==", "short=="),
            ("Host: a", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="),
            ("Host: a", "Host"),
            ("Host: a", "Origin: https://example.org"),
        ] {
            assert!(matches!(other(from, to), Rejected::Malformed(_)), "{to}");
        }
        let many = HEAD.replace("Host: a", &"X: y\r\n".repeat(HEADERS_MAX + 1));
        assert!(matches!(rejected(&many, &options()), Rejected::TooLong(_)));
    }

    #[test]
    fn only_the_origins_of_the_list_may_connect() {
        let listed = |origin: &str| WebSocketOptions { origins: vec![origin.to_owned()], ..options() };
        assert!(accept(HEAD.as_bytes(), &listed("https://EXAMPLE.org")).is_ok());
        assert!(matches!(rejected(HEAD, &listed("https://example.com")), Rejected::Origin(_)));
        // A program has none, and could claim any.
        let without = HEAD.replace("Origin: https://example.org\r\n", "");
        assert!(accept(without.as_bytes(), &listed("https://example.com")).is_ok());
    }

    #[test]
    fn base64_is_padded() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")]
        {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }
}
