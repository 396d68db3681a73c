//! Messages: `msg_send` is an MQTT PUBLISH, `msg_monitor` an MQTT subscription. A monitor is a client of the broker like any other, within
//! this process: the same rights, limits and counters hold for it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use distkv_broker::codec::{
    self, Connect, ConnectProperties, Decoded, EncodeError, Packet, PacketId, ProtocolVersion, ReasonCode,
    Subscription, UserProperties,
};
use distkv_broker::message::{Message, QoS};
use distkv_broker::metrics::Dropped;
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
    let message = Message::new(topic.into(), Bytes::copy_from_slice(payload), QoS::AtLeastOnce);
    session.face.broker.publish_as(&*sender, &message).map_err(|reason| match reason {
        Dropped::TopicTooLong => Failure::Limit("the topic is longer or deeper than it may be".to_owned()),
        _ => Failure::NotAllowed("you may not send to this topic".to_owned()),
    })?;
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
    let words = first_words(&name, &filter).map_err(|error| Failure::Limit(error.to_string()))?;
    let peer = Peer { identity: session.user_name(), ..Peer::plain(session.peer.into(), listener()) };
    let (ours, theirs) = tokio::io::duplex(PIPE_BYTES.max(words.len()));
    session.face.broker.serve_peer(theirs, peer);
    let source =
        Monitor { pipe: ours, words, input: Vec::new(), raw: request.fields.flag("raw"), refused: false };
    session.open_stream(request, Box::new(source))
}

/// The listener that monitors come in by, as the broker sees it.
fn listener() -> Arc<Listener> {
    Arc::new(Listener { name: "native".to_owned(), ..Listener::default() })
}

/// The protocol version between a monitor and the broker.
const VERSION: ProtocolVersion = ProtocolVersion::V3_1_1;

/// CONNECT with a clean session and no keep alive, and SUBSCRIBE at QoS 0.
fn first_words(name: &str, filter: &str) -> Result<Vec<u8>, EncodeError> {
    let connect = Connect {
        version: VERSION,
        bridge: false,
        clean_session: true,
        keep_alive: 0,
        client_id: name,
        will: None,
        user: None,
        password: None,
        properties: ConnectProperties::default(),
    };
    let mut words = Vec::new();
    connect.encode(&mut words)?;
    let subscriptions = std::iter::once(Subscription::new(filter, QoS::AtMostOnce));
    codec::subscribe(&mut words, PacketId::MIN, None, UserProperties::default(), subscriptions, VERSION)?;
    Ok(words)
}

/// A subscription: our end of a pipe to the broker.
struct Monitor {
    pipe: DuplexStream,
    /// What is still to be said to the broker.
    words: Vec<u8>,
    input: Vec<u8>,
    raw: bool,
    /// There was no subscription. It is told after the start.
    refused: bool,
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
            match codec::decode(&self.input, VERSION, usize::MAX) {
                Ok(Decoded::Packet { packet, len }) => {
                    let said = said(&packet);
                    self.input.drain(..len);
                    match said {
                        Some(said) => return Poll::Ready(said),
                        None => continue,
                    }
                }
                Ok(Decoded::NeedMore { .. }) => {}
                Err(_not_the_brokers) => return Poll::Ready(Said::Gone),
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
fn said(packet: &Packet<'_>) -> Option<Said> {
    match packet {
        Packet::Connack(connack) => (connack.reason != ReasonCode::Success).then_some(Said::Refused),
        Packet::Suback(suback) => match suback.codes().any(ReasonCode::is_error) {
            true => Some(Said::Refused),
            false => Some(Said::Subscribed),
        },
        Packet::Publish(publish) => {
            let (topic, payload) = (publish.topic.to_owned(), publish.payload.to_vec());
            Some(Said::Message { topic, payload })
        }
        _ => None,
    }
}

impl Source for Monitor {
    fn poll_start(&mut self, cx: &mut Context<'_>, _message: &mut Writer<'_>) -> Poll<()> {
        match self.poll_said(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(said) => {
                self.refused = !matches!(said, Said::Subscribed);
                Poll::Ready(())
            }
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>, message: &mut Writer<'_>) -> Poll<Next> {
        if self.refused {
            let text = "you may not subscribe to this topic".to_owned();
            return Poll::Ready(Next::Failed(Failure::NotAllowed(text)));
        }
        let (topic, payload) = match self.poll_said(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Said::Message { topic, payload }) => (topic, payload),
            Poll::Ready(Said::Subscribed | Said::Refused | Said::Gone) => {
                return Poll::Ready(Next::Failed(Failure::Closing));
            }
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

    fn decoded(bytes: &[u8]) -> (Packet<'_>, usize) {
        match codec::decode(bytes, VERSION, usize::MAX) {
            Ok(Decoded::Packet { packet, len }) => (packet, len),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_monitor_says_who_it_is_and_what_it_wants() {
        let words = first_words("native-1", "a/+").unwrap();
        let (connect, len) = decoded(&words);
        assert!(
            matches!(connect, Packet::Connect(connect) if connect.client_id == "native-1" && connect.clean_session)
        );
        let (subscribe, rest) = decoded(&words[len..]);
        assert!(
            matches!(subscribe, Packet::Subscribe(list) if list.subscriptions().all(|one| one.filter == "a/+"))
        );
        assert_eq!(len + rest, words.len());
        assert!(first_words("x", &"a".repeat(70_000)).is_err());
    }

    #[test]
    fn a_monitor_hears_messages_and_refusals() {
        let message = [b"\x30\xaf\x02\0\x01t".to_vec(), vec![7; 300]].concat();
        assert!(
            matches!(said(&decoded(&message).0), Some(Said::Message { topic, payload }) if topic == "t" && payload.len() == 300)
        );
        assert!(matches!(said(&decoded(b"\x90\x03\0\x01\x80").0), Some(Said::Refused)));
        assert!(matches!(said(&decoded(b"\x90\x03\0\x01\0").0), Some(Said::Subscribed)));
        assert!(matches!(said(&decoded(b"\x20\x02\0\x05").0), Some(Said::Refused)));
        assert!(said(&decoded(b"\x20\x02\0\0").0).is_none());
    }
}
