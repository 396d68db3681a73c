//! Messages: `msg_send` is an MQTT PUBLISH, `msg_monitor` an MQTT subscription. A monitor is a client of the broker like any other, within
//! this process: the same rights, limits and counters hold for it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use distkv_broker::hooks::{Permission, Rights};
use distkv_broker::message::{Message, QoS};
use distkv_broker::topic;
use distkv_broker::{Listener, Peer};
use distkv_store::path::PathBuilder;
use distkv_store::value::{Token, Tokens, Value};
use tokio::io::{AsyncRead as _, AsyncWrite as _, DuplexStream, ReadBuf};

use super::super::failure::Failure;
use super::super::session::{Out, Request, Session};
use super::super::stream::{Next, Source};
use super::super::wire::{Fault, Fields, Writer};
use super::state::done;

/// What may wait for a monitor; beyond it, the broker's rules for slow subscribers hold.
const PIPE_BYTES: usize = 64 << 10;

/// How much is read from the broker at a time.
const READ_BYTES: usize = 4 << 10;

/// The topic in a request: a path or an array of strings, whose elements are its levels, or a string, which is the topic as it is.
fn topic_of(fields: &Fields<'_>) -> Result<String, Failure> {
    if let Some(Token::Str(topic)) = fields.token("topic") {
        return Ok(topic.to_owned());
    }
    let mut path = PathBuilder::new();
    fields.path_into("topic", &mut path)?;
    let mut topic = String::new();
    if !path.as_path().join_strs('/', &mut topic) {
        return Err(Failure::Invalid("each element of a topic is a string: one of its levels".to_owned()));
    }
    Ok(topic)
}

/// `msg_send`: `data` goes out as msgpack, `raw` as it is.
pub(super) fn send(session: &mut Session, request: &Request<'_>, out: &mut Out) -> Result<(), Failure> {
    session.view()?;
    let topic = topic_of(&request.fields)?;
    if topic::check_name(&topic).is_err() || topic::starts_with_dollar(&topic) {
        let text = "a topic to send to is not empty, does not begin with $ and has no wildcards";
        return Err(Failure::Invalid(text.to_owned()));
    }
    let payload = match (request.fields.raw("data"), request.fields.binary("raw")?) {
        (Some(data), None) => Tokens::new(data).whole().map_err(Fault::Value)?,
        (None, Some(raw)) => raw,
        _ => return Err(Failure::Invalid("a message has either `data` or `raw`".to_owned())),
    };
    let sender = session.sender()?;
    // What lies below a user's root is the whole for him.
    let topic = topic::mounted(sender.mount(), &topic).into_owned();
    let publish = |rights: &dyn Rights| rights.publish(&topic, false, payload.is_empty());
    if sender.rights().is_some_and(|rights| publish(rights) == Permission::Denied) {
        return Err(Failure::NotAllowed("you may not send to this topic".to_owned()));
    }
    let message = Message::new(topic.into(), Bytes::copy_from_slice(payload), QoS::AtLeastOnce);
    session.face.broker.publish(&message, None);
    done(session, request, out);
    Ok(())
}

/// `msg_monitor`: a stream of the messages that match a topic filter.
pub(super) fn monitor(session: &mut Session, request: &Request<'_>) -> Result<(), Failure> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    session.view()?;
    let filter = topic_of(&request.fields)?;
    if topic::check_filter(&filter).is_err() {
        let text = "a topic to monitor is a valid MQTT filter: not empty; + and # stand for whole levels, # at the end";
        return Err(Failure::Invalid(text.to_owned()));
    }
    let name = format!("native-{}-{}", session.peer, NUMBER.fetch_add(1, Ordering::Relaxed));
    let words = [connect(&name), subscribe(&filter)?].concat();
    let peer = Peer { identity: session.user_name(), ..Peer::plain(session.peer.into(), listener()) };
    let (ours, theirs) = tokio::io::duplex(PIPE_BYTES.max(words.len()));
    session.face.broker.serve_peer(theirs, peer);
    let source = Monitor { pipe: ours, words, input: Vec::new(), raw: request.fields.flag("raw") };
    session.open_stream(request, Box::new(source))
}

/// The listener that monitors come in by, as the broker sees it.
fn listener() -> Arc<Listener> {
    Arc::new(Listener { name: "native".to_owned(), ..Listener::default() })
}

/// CONNECT of MQTT 3.1.1: a clean session, no keep alive.
fn connect(name: &str) -> Vec<u8> {
    let mut body = b"\x00\x04MQTT\x04\x02\x00\x00".to_vec();
    // A name of ours is far shorter than a string can be.
    body.extend_from_slice(&(name.len() as u16).to_be_bytes());
    body.extend_from_slice(name.as_bytes());
    packet(0x10, &body)
}

/// SUBSCRIBE at QoS 0, as packet 1.
fn subscribe(filter: &str) -> Result<Vec<u8>, Failure> {
    let len = u16::try_from(filter.len())
        .map_err(|_| Failure::Limit("a topic has at most 65535 bytes".to_owned()))?;
    let mut body = vec![0, 1];
    body.extend_from_slice(&len.to_be_bytes());
    body.extend_from_slice(filter.as_bytes());
    body.push(0);
    Ok(packet(0x82, &body))
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    let mut left = body.len();
    loop {
        let digit = (left & 0x7F) as u8;
        left >>= 7;
        out.push(if left > 0 { digit | 0x80 } else { digit });
        if left == 0 {
            break;
        }
    }
    out.extend_from_slice(body);
    out
}

/// The broker's packets in a buffer: the first one's head and body, and how long it is.
fn first_packet(bytes: &[u8]) -> Option<(u8, &[u8], usize)> {
    let (&head, rest) = bytes.split_first()?;
    let mut len = 0_usize;
    for (at, &digit) in rest.iter().enumerate().take(4) {
        len |= usize::from(digit & 0x7F) << (7 * at);
        if digit & 0x80 == 0 {
            let start = at + 2;
            return Some((head, bytes.get(start..start + len)?, start + len));
        }
    }
    None
}

/// A subscription: our end of a pipe to the broker.
struct Monitor {
    pipe: DuplexStream,
    /// What is still to be said to the broker.
    words: Vec<u8>,
    input: Vec<u8>,
    raw: bool,
}

/// What the broker has said.
enum Said {
    Subscribed,
    Refused,
    Message {
        topic: String,
        payload: Vec<u8>,
    },
    /// It has ended the connection.
    Gone,
}

impl Monitor {
    fn poll_said(&mut self, cx: &mut Context<'_>) -> Poll<Said> {
        while !self.words.is_empty() {
            match Pin::new(&mut self.pipe).poll_write(cx, &self.words) {
                Poll::Ready(Ok(len)) if len > 0 => drop(self.words.drain(..len)),
                Poll::Ready(_) => return Poll::Ready(Said::Gone),
                Poll::Pending => return Poll::Pending,
            }
        }
        loop {
            if let Some((head, body, len)) = first_packet(&self.input) {
                let said = said(head, body);
                self.input.drain(..len);
                match said {
                    Some(said) => return Poll::Ready(said),
                    None => continue,
                }
            }
            let mut buffer = [0; READ_BYTES];
            let mut buffer = ReadBuf::new(&mut buffer);
            match Pin::new(&mut self.pipe).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    self.input.extend_from_slice(buffer.filled());
                }
                Poll::Ready(_) => return Poll::Ready(Said::Gone),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

/// What a packet of the broker says to a monitor.
fn said(head: u8, body: &[u8]) -> Option<Said> {
    match head >> 4 {
        // CONNACK: what a code other than 0 says.
        2 => body.get(1).filter(|&&code| code != 0).map(|_| Said::Refused),
        9 => match body.last() {
            Some(0..=2) => Some(Said::Subscribed),
            _ => Some(Said::Refused),
        },
        3 => {
            let (len, rest) = body.split_first_chunk::<2>()?;
            let (topic, payload) = rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
            let topic = String::from_utf8_lossy(topic).into_owned();
            Some(Said::Message { topic, payload: payload.to_vec() })
        }
        _ => None,
    }
}

impl Source for Monitor {
    fn poll_start(&mut self, cx: &mut Context<'_>, _message: &mut Writer<'_>) -> Poll<()> {
        match self.poll_said(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Said::Subscribed) => Poll::Ready(()),
            // It is told after the start.
            Poll::Ready(_) => {
                self.input = packet(0x20, &[0, 5]);
                Poll::Ready(())
            }
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>, message: &mut Writer<'_>) -> Poll<Next> {
        let (topic, payload) = match self.poll_said(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Said::Message { topic, payload }) => (topic, payload),
            Poll::Ready(Said::Subscribed | Said::Refused) => {
                let text = "you may not subscribe to this topic".to_owned();
                return Poll::Ready(Next::Failed(Failure::NotAllowed(text)));
            }
            Poll::Ready(Said::Gone) => return Poll::Ready(Next::Failed(Failure::Closing)),
        };
        let mut pack = message.key("topic");
        pack.array(topic.split('/').count() as u32);
        topic.split('/').for_each(|level| pack.str(level));
        match Value::from_msgpack(&payload) {
            Ok(value) if !self.raw => {
                message.raw("data", value.as_bytes());
            }
            decoded => {
                message.bin("raw", &payload);
                if decoded.is_err() && !self.raw {
                    message.str("error", "the message is not msgpack: ask with `raw`");
                }
            }
        }
        Poll::Ready(Next::Message { has_tock: false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_cut_where_they_end() {
        let one = packet(0x30, &[b"\x00\x01t".to_vec(), vec![7; 300]].concat());
        let both = [one.clone(), packet(0x90, &[0, 1, 0])].concat();
        let (head, body, len) = first_packet(&both).unwrap();
        assert_eq!((head, body.len(), len), (0x30, 303, one.len()));
        assert!((0..one.len()).all(|len| first_packet(&one[..len]).is_none()));
        assert!(
            matches!(said(head, body), Some(Said::Message { topic, payload }) if topic == "t" && payload.len() == 300)
        );
        assert!(matches!(said(0x90, &[0, 1, 0x80]), Some(Said::Refused)));
        assert!(said(0x20, &[0, 0]).is_none());
    }
}
