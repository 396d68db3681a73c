//! `distkv mqtt sub`: subscribes and prints what comes.

use std::cell::Cell;
use std::collections::HashSet;
use std::io::{self, Write as _};
use std::time::Duration;

use clap::Args;
use distkv_broker::topic;
use rumqttc::{AsyncClient, ConnectionError, Event, EventLoop, Outgoing, Packet, Publish, QoS, SubAck};
use rumqttc::{SubscribeFilter, SubscribeReasonCode};
use tokio::signal::unix::{SignalKind, signal};

use super::clock;
use super::connection::{self, ConnectOptions};
use super::failure::{self, Failure};
use super::format::{Format, Message, Output};

/// Between two attempts to connect again.
const RECONNECT_PAUSE: Duration = Duration::from_secs(1);

/// How long the end may take, once it is decided.
const GOODBYE_MAX: Duration = Duration::from_secs(1);

/// The options of `distkv mqtt sub`.
#[derive(Args, Clone, Debug)]
pub struct SubOptions {
    /// The connection.
    #[command(flatten)]
    pub connect: ConnectOptions,
    /// Topic filter to subscribe to; may be given more than once
    #[arg(short, long = "topic", value_name = "FILTER", required = true)]
    pub topics: Vec<String>,
    /// Do not print messages whose topic matches this filter; may be given more than once
    #[arg(short = 'T', long, value_name = "FILTER")]
    pub filter_out: Vec<String>,
    /// QoS of the subscriptions
    #[arg(short, long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(..=2))]
    pub qos: u8,
    /// Leave after this many messages
    #[arg(short = 'C', long, value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// Leave after this many seconds, with exit code 27
    #[arg(short = 'W', long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub timeout: Option<u64>,
    /// Leave when the broker has acknowledged the subscriptions
    #[arg(short = 'E', long)]
    pub exit_after_suback: bool,
    /// Print topic and payload
    #[arg(short, long)]
    pub verbose: bool,
    /// Print by a format, e.g. '%I %t %p'; the sequences are those of mosquitto_sub, times are in UTC
    #[arg(short = 'F', long, conflicts_with = "verbose", allow_hyphen_values = true)]
    pub format: Option<String>,
    /// No end of line after a message
    #[arg(short = 'N', long)]
    pub no_newline: bool,
    /// Do not print retained messages that were there before
    #[arg(short = 'R', long)]
    pub no_stale: bool,
    /// Print retained messages only, and leave at the first other one
    #[arg(long, conflicts_with = "no_stale")]
    pub retained_only: bool,
}

/// Subscribes and prints until a count, a timeout or a signal ends it.
pub fn run(options: &SubOptions) -> Result<(), Failure> {
    for filter in options.topics.iter().chain(&options.filter_out) {
        connection::check_filter(filter)?;
    }
    let output = match &options.format {
        Some(format) => {
            Output::Format(Format::parse(format).map_err(|error| Failure::Usage(error.to_string()))?)
        }
        None if options.verbose => Output::Verbose,
        None => Output::Payload,
    };
    let (client, events) = options.connect.client(1)?;
    let stopping = Stopping::default();
    let subscriber = Subscriber {
        options,
        output,
        client: client.clone(),
        stopping: &stopping,
        printed: 0,
        received: HashSet::new(),
        line: Vec::new(),
    };
    super::run(async {
        tokio::select! {
            result = subscriber.run(events) => result,
            result = stopping.watch(options, &client) => result,
        }
    })
}

/// What ended the client from without.
#[derive(Clone, Copy, Debug)]
enum End {
    Signal,
    Timeout,
}

/// The decision to leave, if it came from without.
#[derive(Default)]
struct Stopping {
    end: Cell<Option<End>>,
}

impl Stopping {
    /// Waits for a signal or the timeout and asks the event loop to disconnect. Ends a little later, if that takes too long.
    async fn watch(&self, options: &SubOptions, client: &AsyncClient) -> Result<(), Failure> {
        let signals = || io::Result::Ok((signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?));
        let (mut interrupt, mut terminate) =
            signals().map_err(|source| Failure::Input { what: "signals".to_owned(), source })?;
        let timeout = async {
            match options.timeout {
                Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
                None => std::future::pending().await,
            }
        };
        let end = tokio::select! {
            _ = interrupt.recv() => End::Signal,
            _ = terminate.recv() => End::Signal,
            () = timeout => End::Timeout,
        };
        self.end.set(Some(end));
        // No room for it, or no connection: then there is nobody to say goodbye to.
        let _ = client.try_disconnect();
        tokio::time::sleep(GOODBYE_MAX).await;
        self.result()
    }

    fn result(&self) -> Result<(), Failure> {
        match self.end.get() {
            Some(End::Timeout) => Err(Failure::TimedOut),
            Some(End::Signal) | None => Ok(()),
        }
    }
}

struct Subscriber<'a> {
    options: &'a SubOptions,
    output: Output,
    client: AsyncClient,
    stopping: &'a Stopping,
    printed: u64,
    /// Packet ids of QoS 2 messages which were printed and are not released yet: what comes again is a duplicate [MQTT-4.3.3-2].
    received: HashSet<u16>,
    line: Vec<u8>,
}

/// What to do after an event.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    GoOn,
    Leave,
}

impl Subscriber<'_> {
    async fn run(mut self, mut events: EventLoop) -> Result<(), Failure> {
        let connect = &self.options.connect;
        let mut connected = false;
        let mut leaving = false;
        loop {
            let event = match events.poll().await {
                Ok(event) => event,
                Err(_) if leaving => return Ok(()),
                Err(error) if !connected => return Err(Failure::connecting(&error, &connect.server())),
                Err(error) => {
                    self.reconnect(&error).await;
                    continue;
                }
            };
            connect.trace(|| format!("{event:?}"));
            let next = match event {
                Event::Incoming(Packet::ConnAck(ack)) => {
                    connected = true;
                    if ack.session_present {
                        connection::expect_any_release(&mut events.state);
                    } else {
                        self.received.clear();
                    }
                    self.subscribe()?;
                    Next::GoOn
                }
                Event::Incoming(Packet::SubAck(ack)) => self.on_suback(&ack)?,
                Event::Incoming(Packet::Publish(publish)) if !leaving => self.on_publish(&publish)?,
                Event::Incoming(Packet::PubRel(release)) => {
                    self.received.remove(&release.pkid);
                    Next::GoOn
                }
                Event::Outgoing(Outgoing::Disconnect) => return self.stopping.result(),
                _ => Next::GoOn,
            };
            if next == Next::Leave && !leaving {
                leaving = true;
                self.client.try_disconnect().map_err(|error| Failure::Lost(error.to_string()))?;
            }
        }
    }

    async fn reconnect(&self, error: &ConnectionError) {
        self.options.connect.warn(&format!("connection lost ({}), connecting again", failure::reason(error)));
        tokio::time::sleep(RECONNECT_PAUSE).await;
    }

    fn subscribe(&self) -> Result<(), Failure> {
        let qos = connection::qos(self.options.qos);
        let filters = self.options.topics.iter().map(|filter| SubscribeFilter::new(filter.clone(), qos));
        self.client.try_subscribe_many(filters).map_err(|error| Failure::Lost(error.to_string()))
    }

    fn on_suback(&self, ack: &SubAck) -> Result<Next, Failure> {
        let denied = |code: &SubscribeReasonCode| *code == SubscribeReasonCode::Failure;
        for (filter, _) in self.options.topics.iter().zip(&ack.return_codes).filter(|(_, code)| denied(code))
        {
            self.options.connect.warn(&format!("the broker denied the subscription to {filter}"));
        }
        if ack.return_codes.iter().all(denied) {
            return Err(Failure::AllDenied);
        }
        Ok(if self.options.exit_after_suback { Next::Leave } else { Next::GoOn })
    }

    fn on_publish(&mut self, publish: &Publish) -> Result<Next, Failure> {
        if publish.qos == QoS::ExactlyOnce && !self.received.insert(publish.pkid) {
            self.acknowledge(publish);
            return Ok(Next::GoOn);
        }
        if self.options.retained_only && !publish.retain {
            self.acknowledge(publish);
            return Ok(Next::Leave);
        }
        let mut next = Next::GoOn;
        if !self.is_filtered(publish) {
            self.print(publish)?;
            self.printed += 1;
            if self.options.count == Some(self.printed) {
                next = Next::Leave;
            }
        }
        self.acknowledge(publish);
        Ok(next)
    }

    fn is_filtered(&self, publish: &Publish) -> bool {
        (self.options.no_stale && publish.retain)
            || self.options.filter_out.iter().any(|filter| topic::matches(filter, &publish.topic))
    }

    fn print(&mut self, publish: &Publish) -> Result<(), Failure> {
        let message = Message {
            topic: &publish.topic,
            payload: &publish.payload,
            qos: publish.qos as u8,
            retain: publish.retain,
            id: publish.pkid,
            arrived: clock::since_epoch(),
        };
        self.line.clear();
        if let Err(error) = self.output.append(&message, &mut self.line) {
            self.options.connect.warn(&format!("{error} on topic {}", publish.topic));
            return Ok(());
        }
        if !self.options.no_newline {
            self.line.push(b'\n');
        }
        let mut out = io::stdout().lock();
        out.write_all(&self.line)
            .and_then(|()| out.flush())
            .map_err(|source| Failure::Input { what: "standard output".to_owned(), source })
    }

    /// There is always room for it: see `connection::REQUESTS_MAX`. If the connection is gone the broker sends the message again.
    fn acknowledge(&self, publish: &Publish) {
        let _ = self.client.try_ack(publish);
    }
}
