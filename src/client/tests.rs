//! The client against servers that are scripted, byte by byte: what the real one seldom does.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::native::wire::Frames;

const GREETING: &[u8] = b"\x84\xa3seq\x00\xa7version\x93\x00\x39\x04\xa4node\xa1a\xa4qlen\x0a";

/// The server's end of one connection.
struct Peer(TcpStream, Frames, Vec<u8>);

impl Peer {
    async fn accept(listener: &TcpListener) -> Self {
        let mut peer = Self(listener.accept().await.unwrap().0, Frames::new(1 << 20), Vec::new());
        peer.say(GREETING).await;
        assert_eq!(peer.hear().await.number("qlen"), Some(10));
        peer
    }

    async fn say(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    async fn hear(&mut self) -> Reply {
        loop {
            if let Some(len) = self.1.next(&self.2).unwrap() {
                return Reply::new(self.2.drain(..len).collect::<Vec<_>>().into()).unwrap();
            }
            assert!(self.0.read_buf(&mut self.2).await.unwrap() > 0, "the client closed");
        }
    }

    /// Hears a request for `action`, and answers with its number and `rest`: so many fields, packed.
    async fn answer(&mut self, action: &str, fields: u8, rest: &[u8]) -> u64 {
        let request = self.hear().await;
        assert_eq!(request.text("action"), Some(action), "{request:?}");
        let seq = request.seq().unwrap();
        self.tell(seq, fields, rest).await;
        seq
    }

    async fn tell(&mut self, seq: u64, fields: u8, rest: &[u8]) {
        let seq = u8::try_from(seq).unwrap();
        let message = [&[0x81 + fields][..], b"\xa3seq", &[seq], rest].concat();
        self.say(&message).await;
    }
}

async fn listen() -> (TcpListener, Options) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let options = Options::new(&listener.local_addr().unwrap().to_string());
    (listener, options)
}

/// Connects to a server which says this and then closes.
async fn greeted(greeting: &[u8]) -> Error {
    let (listener, options) = listen().await;
    let server = async {
        let (mut socket, _) = listener.accept().await.unwrap();
        socket.write_all(greeting).await.unwrap();
    };
    tokio::join!(Client::connect(options), server).0.unwrap_err()
}

#[tokio::test]
async fn what_is_no_server_is_told_as_such() {
    for greeting in [&b""[..], b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x81\xa3seq\x01", b"\xc1"] {
        let error = greeted(greeting).await;
        assert!(matches!(error, Error::NotAServer { .. }), "{greeting:?}: {error}");
    }
}

#[tokio::test]
async fn a_closed_port_is_unreachable() {
    let (listener, options) = listen().await;
    drop(listener);
    let error = Client::connect(options).await.unwrap_err();
    assert!(error.is_unreachable(), "{error}");
    assert!(error.to_string().contains("is the server running"), "{error}");
}

#[tokio::test]
async fn a_server_that_wants_a_login_says_which() {
    let greeting = [b"\x85", &GREETING[1..], b"\xa4auth\x91\xa8password"].concat();
    let error = greeted(&greeting).await;
    assert!(matches!(&error, Error::LoginNeeded { method, .. } if method == "password"), "{error}");
}

#[tokio::test]
async fn answers_find_their_calls_in_any_order() {
    let (listener, options) = listen().await;
    let server = async {
        let mut peer = Peer::accept(&listener).await;
        let first = peer.hear().await.seq().unwrap();
        let second = peer.hear().await.seq().unwrap();
        peer.tell(second, 1, b"\xa5value\x02").await;
        peer.tell(99, 1, b"\xa5value\x09").await;
        peer.tell(first, 1, b"\xa5value\x01").await;
        peer
    };
    let client = async {
        let client = Client::connect(options).await.unwrap();
        let (one, two) = tokio::join!(client.get::<u8>("a"), client.get::<u8>("b"));
        assert_eq!((one.unwrap(), two.unwrap()), (Some(1), Some(2)));
    };
    tokio::join!(server, client);
}

#[tokio::test]
async fn a_read_is_sent_again_and_a_write_is_not() {
    let (listener, options) = listen().await;
    let server = async {
        let mut peer = Peer::accept(&listener).await;
        peer.hear().await;
        drop(peer);
        let mut peer = Peer::accept(&listener).await;
        peer.answer("get_value", 1, b"\xa5value\x07").await;
        peer.hear().await;
        drop(peer);
    };
    let client = async {
        let client = Client::connect(options).await.unwrap();
        assert_eq!(client.get::<u8>("a").await.unwrap(), Some(7));
        let error = client.set("a", &8).await.unwrap_err();
        assert!(matches!(error, Error::Lost { .. }), "{error}");
    };
    tokio::join!(server, client);
}

#[tokio::test]
async fn the_last_word_of_a_server_is_the_error_of_all_that_wait() {
    let (listener, options) = listen().await;
    let server = async {
        let mut peer = Peer::accept(&listener).await;
        peer.hear().await;
        peer.say(b"\x81\xa5error\xa3why").await;
    };
    let client = async {
        let client = Client::connect(options.reconnect(false)).await.unwrap();
        let error = client.set("a", &8).await.unwrap_err();
        assert_eq!(error.to_string(), "why");
        assert!(client.get::<u8>("a").await.is_err());
    };
    tokio::join!(server, client);
}

#[tokio::test]
async fn streams_are_acknowledged_as_they_are_read_and_stopped_when_dropped() {
    let (listener, options) = listen().await;
    let server = async {
        let mut peer = Peer::accept(&listener).await;
        let seq = peer.answer("get_tree", 2, b"\xa5state\xa5start\xa4wseq\x01").await;
        for number in 2..=9_u8 {
            let rest =
                [b"\xa5depth\0\xa4path\x91", &[number][..], b"\xa5value\xc0\xa4wseq", &[number]].concat();
            peer.tell(seq, 4, &rest).await;
        }
        // Each message behind a third of the window of ten is told.
        for read in [4, 8] {
            let ack = peer.hear().await;
            assert_eq!((ack.text("state"), ack.number("ack")), (Some("ack"), Some(read)));
        }
        let stop = peer.hear().await;
        assert_eq!((stop.text("action"), stop.number("task")), (Some("stop"), Some(seq)));
    };
    let client = async {
        let client = Client::connect(options).await.unwrap();
        let mut tree = client.tree("x", &Scope::default()).await.unwrap();
        for number in 2..=9 {
            assert_eq!(tree.next().await.unwrap().unwrap().path.to_string(), format!("x:{number}"));
        }
        // What has been read is told when more is wanted.
        let more = tokio::time::timeout(Duration::from_millis(1), tree.next()).await;
        assert!(more.is_err());
        drop(tree);
        client
    };
    tokio::join!(server, client);
}

#[tokio::test]
async fn a_watch_goes_on_where_it_was() {
    let (listener, options) = listen().await;
    let server = async {
        let mut peer = Peer::accept(&listener).await;
        let seq = peer.answer("watch", 2, b"\xa5state\xa5start\xa4tock\x05").await;
        peer.tell(seq, 4, b"\xa5depth\0\xa4path\x90\xa5value\x01\xa4tock\x03").await;
        peer.tell(seq, 2, b"\xa5state\xa8uptodate\xa4tock\x06").await;
        peer.tell(seq, 4, b"\xa5depth\0\xa4path\x90\xa5value\x02\xa4tock\x09").await;
        drop(peer);
        let mut peer = Peer::accept(&listener).await;
        let request = peer.hear().await;
        assert_eq!(request.number("since"), Some(9));
        let seq = request.seq().unwrap();
        peer.tell(seq, 3, b"\xa5state\xa5start\xa7resumed\xc3\xa4tock\x0c").await;
        peer.tell(seq, 3, b"\xa5depth\0\xa4path\x90\xa4tock\x0b").await;
        peer.tell(seq, 2, b"\xa5state\xa8uptodate\xa4tock\x0c").await;
        peer
    };
    let client = async {
        let client = Client::connect(options).await.unwrap();
        let mut watch = client.watch("x").await.unwrap();
        let mut told = Vec::new();
        for _ in 0..6 {
            told.push(match watch.next().await.unwrap() {
                Event::Whole => "whole".to_owned(),
                Event::Current => "current".to_owned(),
                Event::Entry(entry) => format!("entry {}", entry.tock),
                Event::Change(entry) => format!("change {} {}", entry.tock, entry.value.is_some()),
            });
        }
        assert_eq!(told, ["whole", "entry 3", "current", "change 9 true", "change 11 false", "current"]);
        assert_eq!(watch.tock(), 12);
    };
    tokio::join!(server, client);
}
