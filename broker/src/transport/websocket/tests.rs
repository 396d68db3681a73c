//! Dialogues over a pipe: the upgrade, data in both directions however it is cut, control frames, the end.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

use super::*;

const REQUEST: &str = "GET /mqtt HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n";

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first, 0x80 | u8::try_from(payload.len()).unwrap(), 0, 0, 0, 0];
    frame.extend(payload);
    frame
}

/// A client and its WebSocket; `early` is sent right behind the request.
async fn connected(room: usize, early: &[u8]) -> (DuplexStream, WebSocket<DuplexStream>) {
    let (mut client, server) = duplex(room.max(1024));
    client.write_all(REQUEST.as_bytes()).await.unwrap();
    client.write_all(early).await.unwrap();
    let socket = WebSocket::accept(server, &WebSocketOptions::default()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(client.read_u8().await.unwrap());
    }
    assert!(answer.starts_with(b"HTTP/1.1 101 "));
    (client, socket)
}

/// The next frame from the server: opcode with the flag FIN, payload.
async fn next_frame(client: &mut DuplexStream) -> (u8, Vec<u8>) {
    let first = client.read_u8().await.unwrap();
    let length = match client.read_u8().await.unwrap() {
        126 => client.read_u16().await.unwrap().into(),
        127 => client.read_u64().await.unwrap(),
        short => u64::from(short),
    };
    let mut payload = vec![0; usize::try_from(length).unwrap()];
    client.read_exact(&mut payload).await.unwrap();
    (first, payload)
}

#[tokio::test]
async fn what_came_right_behind_the_request_is_not_lost() {
    let (mut client, mut socket) = connected(4096, &frame(0x82, b"early")).await;
    client.write_all(&frame(0x82, b" late")).await.unwrap();
    let mut read = [0; 10];
    socket.read_exact(&mut read).await.unwrap();
    assert_eq!(&read, b"early late");
}

#[tokio::test]
async fn a_large_write_through_a_small_pipe_is_one_frame() {
    let (mut client, mut socket) = connected(1024, b"").await;
    let data: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
    let wanted = data.clone();
    let writing = async {
        socket.write_all(&data).await.unwrap();
        socket.write_all(b"next").await.unwrap();
        socket
    };
    let reading = async {
        assert_eq!(next_frame(&mut client).await, (0x82, wanted));
        assert_eq!(next_frame(&mut client).await, (0x82, b"next".to_vec()));
    };
    let _open = tokio::join!(writing, reading);
}

#[tokio::test]
async fn a_ping_is_answered_between_frames_and_while_nothing_is_written() {
    let (mut client, mut socket) = connected(1024, b"").await;
    client.write_all(&[frame(0x89, b"one"), frame(0x89, b"two")].concat()).await.unwrap();
    let (mut buffer, mut byte) = ([0; 100], [0]);
    tokio::select! {
        _ = socket.read(&mut buffer) => panic!("there is no data"),
        answer = next_frame(&mut client) => assert_eq!(answer, (0x8a, b"two".to_vec())),
    }
    // In the middle of a data frame that does not fit into the pipe.
    let data = vec![7; 5000];
    client.write_all(&frame(0x89, b"three")).await.unwrap();
    client.write_all(&frame(0x82, b"x")).await.unwrap();
    let mut written = 0;
    let stuck = async {
        loop {
            written += socket.write(&data[written..]).await.unwrap();
        }
    };
    let _ = tokio::time::timeout(std::time::Duration::from_millis(50), stuck).await;
    assert!(written < data.len());
    socket.read_exact(&mut byte).await.unwrap();
    let rest = async { socket.write_all(&data[written..]).await.unwrap() };
    let reading = async {
        assert_eq!(next_frame(&mut client).await, (0x82, data.clone()));
        assert_eq!(next_frame(&mut client).await, (0x8a, b"three".to_vec()));
    };
    tokio::join!(rest, reading);
}

#[tokio::test]
async fn a_close_is_answered_and_is_the_end() {
    let (mut client, mut socket) = connected(1024, b"").await;
    client.write_all(&[frame(0x82, b"last"), frame(0x88, &1001_u16.to_be_bytes())].concat()).await.unwrap();
    let mut read = Vec::new();
    socket.read_to_end(&mut read).await.unwrap();
    assert_eq!(read, b"last");
    assert_eq!(next_frame(&mut client).await, (0x88, 1001_u16.to_be_bytes().to_vec()));
    assert_eq!(socket.write_all(b"too late").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
}

#[tokio::test]
async fn who_breaks_the_rules_is_told_by_the_status_code() {
    let (mut client, mut socket) = connected(1024, b"").await;
    client.write_all(&frame(0x81, b"text")).await.unwrap();
    let error = socket.read(&mut [0; 10]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    assert!(error.to_string().contains("text frame"), "{error}");
    assert_eq!(next_frame(&mut client).await, (0x88, 1003_u16.to_be_bytes().to_vec()));
}

#[tokio::test]
async fn who_is_dropped_hears_a_close() {
    let (mut client, socket) = connected(1024, b"").await;
    drop(socket);
    assert_eq!(next_frame(&mut client).await, (0x88, NORMAL.to_be_bytes().to_vec()));
}

#[tokio::test]
async fn a_request_that_is_too_long_is_told_so() {
    let (mut client, server) = duplex(64 << 10);
    client.write_all(&[b"GET /".as_slice(), &[b'a'; 9000]].concat()).await.unwrap();
    let options = WebSocketOptions::default();
    let accepting = WebSocket::accept(server, &options);
    let asking = async {
        let mut answer = [0; 12];
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 431");
        drop(client);
    };
    let (accepted, ()) = tokio::join!(accepting, asking);
    assert!(accepted.unwrap_err().to_string().contains("longer than 8192 bytes"));
}
