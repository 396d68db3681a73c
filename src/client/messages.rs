//! MQTT messages by way of the native port.

use bytes::Bytes;

use super::Client;
use super::error::Error;
use super::request::Request;
use super::stream::Stream;

/// A message that was published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its topic.
    pub topic: String,
    /// Its payload.
    pub payload: Bytes,
}

/// The messages on topics that match a filter, from the moment on when this was opened.
#[derive(Debug)]
pub struct Messages {
    client: Client,
    filter: String,
    stream: Stream,
    gaps: u64,
}

impl Messages {
    pub(super) async fn open(client: &Client, filter: &str) -> Result<Self, Error> {
        let mut this = Self {
            stream: client.stream(ask(filter)).await?,
            client: client.clone(),
            filter: filter.to_owned(),
            gaps: 0,
        };
        // The first message says that it has begun, so that none of what is published from now on is missed.
        this.stream.next().await?;
        Ok(this)
    }

    /// Waits for the next message. After a lost connection it goes on with a new one, if the options allow it: see [`Messages::gaps`].
    pub async fn next(&mut self) -> Result<Message, Error> {
        loop {
            match self.stream.next().await {
                Ok(Some(reply)) if reply.state().is_some() => {}
                Ok(Some(reply)) => {
                    let path = reply.path("topic")?.unwrap_or_default();
                    let mut topic = String::new();
                    if !path.as_path().join_strs('/', &mut topic) {
                        return Err(Error::Malformed("a topic is not made of strings".to_owned()));
                    }
                    let payload = Bytes::copy_from_slice(reply.bytes("raw").unwrap_or_default());
                    return Ok(Message { topic, payload });
                }
                Ok(None) => return Err(Error::Closed),
                Err(Error::Lost { .. }) if self.client.reconnects() => {
                    self.gaps += 1;
                    self.stream = self.client.stream_when_there(ask(&self.filter)).await?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// How often the connection was lost, so that messages may be missing.
    pub fn gaps(&self) -> u64 {
        self.gaps
    }
}

fn ask(filter: &str) -> Request {
    Request::new("msg_monitor").levels("topic", filter).flag("raw", true)
}
