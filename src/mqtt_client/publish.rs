//! `distkv mqtt pub`: sends messages and waits until the broker has acknowledged them.

use std::cell::Cell;
use std::fs;
use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use clap::Args;
use rumqttc::{AsyncClient, ConnectionError, Event, EventLoop, Outgoing, Packet};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::sync::Notify;

use super::connection::{self, ConnectOptions};
use super::failure::{self, Failure};

/// The options of `distkv mqtt pub`.
#[derive(Args, Clone, Debug)]
pub struct PubOptions {
    /// The connection.
    #[command(flatten)]
    pub connect: ConnectOptions,
    /// Topic to publish to
    #[arg(short, long)]
    pub topic: String,
    /// What to publish.
    #[command(flatten)]
    pub source: Source,
    /// QoS: 0 (at most once), 1 (at least once) or 2 (exactly once)
    #[arg(short, long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(..=2))]
    pub qos: u8,
    /// Retain the message: the broker keeps it as the topic's value
    #[arg(short, long)]
    pub retain: bool,
    /// Send the message (-m, -f or -n) this many times
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    pub repeat: u64,
    /// Seconds between repeated messages
    #[arg(long, value_name = "SECONDS", default_value_t = 0.0)]
    pub repeat_delay: f64,
    /// Messages that may wait for an acknowledgement
    #[arg(short = 'M', long, value_name = "COUNT", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..))]
    pub max_inflight: u16,
}

/// Where the payload comes from.
#[derive(Args, Clone, Debug)]
#[group(required = true, multiple = false)]
pub struct Source {
    /// Payload
    #[arg(short, long, allow_hyphen_values = true)]
    pub message: Option<String>,
    /// File that is the payload
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// A message for each line of the standard input
    #[arg(short = 'l', long)]
    pub stdin_line: bool,
    /// Empty payload; with -r it deletes what is retained
    #[arg(short, long)]
    pub null_message: bool,
    /// The whole standard input is the payload
    #[arg(short, long)]
    pub stdin_file: bool,
}

/// Publishes what the options say; returns when all of it is acknowledged (at QoS 0: written to the socket).
pub fn run(options: &PubOptions) -> Result<(), Failure> {
    connection::check_topic(&options.topic)?;
    let delay = Duration::try_from_secs_f64(options.repeat_delay)
        .map_err(|_| Failure::Usage("--repeat-delay: seconds, not negative".to_owned()))?;
    let (client, events) = options.connect.client(options.max_inflight)?;
    let publisher = Publisher { options, delay, progress: Progress::default() };
    super::run(publisher.run(&client, events))
}

struct Publisher<'a> {
    options: &'a PubOptions,
    delay: Duration,
    progress: Progress,
}

/// How far it is, told by the one half (the feed) to the other (the event loop).
#[derive(Default)]
struct Progress {
    sent: Cell<u64>,
    acknowledged: Cell<u64>,
    changed: Notify,
}

impl Publisher<'_> {
    /// Feeds messages to the event loop while it runs; whichever fails first ends it.
    async fn run(&self, client: &AsyncClient, events: EventLoop) -> Result<(), Failure> {
        // What is read before the connection is made is lost if there is none; that costs nothing but the reading.
        let mut feed = pin!(self.feed(client));
        let mut drive = pin!(self.drive(events));
        tokio::select! {
            result = &mut drive => return result,
            result = &mut feed => result?,
        }
        drive.await
    }

    /// Queues all messages, waits for their acknowledgements, then queues DISCONNECT.
    async fn feed(&self, client: &AsyncClient) -> Result<(), Failure> {
        let Source { message, file, stdin_line, null_message: _, stdin_file } = &self.options.source;
        if *stdin_line {
            self.feed_lines(client).await?;
        } else {
            let payload = if let Some(message) = message {
                message.clone().into_bytes()
            } else if let Some(file) = file {
                fs::read(file)
                    .map_err(|source| Failure::Input { what: file.display().to_string(), source })?
            } else if *stdin_file {
                let mut payload = Vec::new();
                tokio::io::stdin().read_to_end(&mut payload).await.map_err(stdin_failed)?;
                payload
            } else {
                Vec::new()
            };
            for round in 0..self.options.repeat {
                if round > 0 && !self.delay.is_zero() {
                    tokio::time::sleep(self.delay).await;
                }
                self.publish(client, payload.clone()).await?;
            }
        }
        while self.options.qos > 0 && self.progress.acknowledged.get() < self.progress.sent.get() {
            self.progress.changed.notified().await;
        }
        client.disconnect().await.map_err(|error| Failure::Lost(error.to_string()))
    }

    async fn feed_lines(&self, client: &AsyncClient) -> Result<(), Failure> {
        let mut input = BufReader::new(tokio::io::stdin());
        loop {
            let mut line = Vec::new();
            if input.read_until(b'\n', &mut line).await.map_err(stdin_failed)? == 0 {
                return Ok(());
            }
            if line.last() == Some(&b'\n') {
                line.pop();
            }
            self.publish(client, line).await?;
        }
    }

    async fn publish(&self, client: &AsyncClient, payload: Vec<u8>) -> Result<(), Failure> {
        let PubOptions { topic, qos, retain, .. } = self.options;
        client
            .publish(topic, connection::qos(*qos), *retain, payload)
            .await
            .map_err(|error| Failure::Lost(error.to_string()))?;
        self.progress.sent.set(self.progress.sent.get() + 1);
        Ok(())
    }

    /// Runs the connection until DISCONNECT has been sent.
    async fn drive(&self, mut events: EventLoop) -> Result<(), Failure> {
        let connect = &self.options.connect;
        let mut connected = false;
        loop {
            match events.poll().await {
                Ok(Event::Incoming(Packet::ConnAck(ack))) => {
                    connect.trace(|| "received CONNACK (0)".to_owned());
                    connected = true;
                    if ack.session_present {
                        connection::expect_any_release(&mut events.state);
                    }
                }
                Ok(Event::Incoming(Packet::PubAck(_) | Packet::PubComp(_))) => {
                    self.progress.acknowledged.set(self.progress.acknowledged.get() + 1);
                    self.progress.changed.notify_one();
                }
                Ok(Event::Outgoing(Outgoing::Disconnect)) => return Ok(()),
                Ok(Event::Outgoing(event)) => connect.trace(|| format!("sending {event:?}")),
                Ok(Event::Incoming(packet)) => connect.trace(|| format!("received {packet:?}")),
                Err(error) if !connected => return Err(Failure::connecting(&error, &connect.server())),
                Err(error) => return Err(self.lost(&error)),
            }
        }
    }

    fn lost(&self, error: &ConnectionError) -> Failure {
        let reason = failure::reason(error);
        match self.progress.sent.get() - self.progress.acknowledged.get() {
            missing if missing > 0 && self.options.qos > 0 => Failure::Unacknowledged { missing, reason },
            _ => Failure::Lost(reason),
        }
    }
}

fn stdin_failed(source: std::io::Error) -> Failure {
    Failure::Input { what: "standard input".to_owned(), source }
}
