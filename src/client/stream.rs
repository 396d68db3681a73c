//! One stream of messages, read under flow control.

use super::Client;
use super::error::Error;
use super::link::{Command, Incoming, Opened, StreamId};
use super::reply::{Reply, State};
use crate::native::wire::Acks;

/// A stream that is open. Dropping it ends it at the server, too.
#[derive(Debug)]
pub(super) struct Stream {
    client: Client,
    id: StreamId,
    incoming: Incoming,
    acks: Acks,
    /// What the server is still to be told of.
    due: Option<u64>,
    ended: bool,
}

impl Stream {
    pub(super) fn new(client: Client, Opened { id, window, incoming }: Opened) -> Self {
        Self { client, id, incoming, acks: Acks::new(window), due: None, ended: false }
    }

    /// The next message, start included; none behind the end. A future that is dropped has taken nothing.
    pub(super) async fn next(&mut self) -> Result<Option<Reply>, Error> {
        if self.ended {
            return Ok(None);
        }
        if let Some(read) = self.due {
            self.client.command(Command::Acknowledge { stream: self.id, read }).await?;
            self.due = None;
        }
        let reply = match self.incoming.recv().await {
            Some(Ok(reply)) => reply,
            Some(Err(error)) => {
                self.ended = true;
                return Err(error);
            }
            None => {
                self.ended = true;
                return Err(self.client.lost());
            }
        };
        if let Some(number) = reply.number("wseq").filter(|number| self.acks.is_due(*number)) {
            self.due = Some(number);
        }
        if reply.state() == Some(State::End) {
            self.ended = true;
        }
        reply.accepted().map(Some)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if !self.ended {
            // If there is no room for it, the next message finds nobody, and then the task ends the stream.
            self.client.command_now(Command::Stop { stream: self.id });
        }
    }
}
