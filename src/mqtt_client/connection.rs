//! What both clients have in common: the options of the connection, and the way around rumqttc's limits.

use std::env;
use std::fs;
use std::mem;
use std::path::PathBuf;
use std::process;
use std::time::Duration;

use clap::{ArgAction, Args, ValueEnum};
use distkv_broker::topic;
use rumqttc::{AsyncClient, EventLoop, LastWill, MqttOptions, MqttState, Packet, Publish, QoS};

use super::failure::Failure;

/// The longest packet that MQTT can express.
const PACKET_BYTES_MAX: usize = 268_435_455;

/// Requests on their way to the event loop. It must hold the acknowledgements of all packets that rumqttc
/// takes from the socket at once (10), as those are queued while nobody takes requests.
const REQUESTS_MAX: usize = 64;

/// The versions of MQTT by mosquitto's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Version {
    /// MQTT 3.1
    #[value(name = "mqttv31", alias = "31")]
    V31,
    /// MQTT 3.1.1
    #[value(name = "mqttv311", alias = "311")]
    V311,
    /// MQTT 5
    #[value(name = "mqttv5", alias = "5")]
    V5,
}

/// Where to connect to, and as whom.
#[derive(Args, Clone, Debug)]
pub struct ConnectOptions {
    /// Host name or address of the broker
    #[arg(short = 'h', long, default_value = "localhost")]
    pub host: String,
    /// Port of the broker
    #[arg(short, long, default_value_t = 1883, value_parser = clap::value_parser!(u16).range(1..))]
    pub port: u16,
    /// Client id [default: one that the broker makes]
    #[arg(short, long)]
    pub id: Option<String>,
    /// Beginning of the client id; the number of the process follows
    #[arg(short = 'I', long, conflicts_with = "id")]
    pub id_prefix: Option<String>,
    /// Keep the session: subscriptions and messages wait at the broker until the client is back. Needs --id
    #[arg(short = 'c', long)]
    pub disable_clean_session: bool,
    /// Seconds between signs of life; 0: none
    #[arg(short, long, value_name = "SECONDS", default_value_t = 60)]
    pub keepalive: u16,
    /// User name
    #[arg(short, long)]
    pub username: Option<String>,
    /// Password. Other users of this machine can see it there: better use --password-file, or the variable MQTT_PASSWORD
    #[arg(short = 'P', long = "pw", alias = "password", requires = "username")]
    pub password: Option<String>,
    /// File whose first line is the password
    #[arg(long, value_name = "FILE", requires = "username", conflicts_with = "password")]
    pub password_file: Option<PathBuf>,
    /// Version of the protocol
    #[arg(short = 'V', long, value_enum, default_value_t = Version::V311)]
    pub protocol_version: Version,
    /// Topic of the will: the message that the broker sends if this client is lost
    #[arg(long, value_name = "TOPIC")]
    pub will_topic: Option<String>,
    /// Payload of the will [default: empty]
    #[arg(long, value_name = "PAYLOAD", requires = "will_topic")]
    pub will_payload: Option<String>,
    /// QoS of the will
    #[arg(long, value_name = "QOS", default_value_t = 0, value_parser = clap::value_parser!(u8).range(..=2))]
    pub will_qos: u8,
    /// Retain the will
    #[arg(long, requires = "will_topic")]
    pub will_retain: bool,
    /// Tell on the standard error what is sent and received
    #[arg(short, long)]
    pub debug: bool,
    /// No error messages
    #[arg(long)]
    pub quiet: bool,
    /// Print help
    #[arg(long, action = ArgAction::HelpShort)]
    pub help: Option<bool>,
}

impl ConnectOptions {
    /// The broker as it is named in messages.
    #[must_use]
    pub fn server(&self) -> String {
        format!("{}:{}", self.bracketed_host(), self.port)
    }

    /// Opens a client; the event loop connects when it is first polled.
    /// At most `in_flight` messages wait for an acknowledgement of the broker.
    pub(super) fn client(&self, in_flight: u16) -> Result<(AsyncClient, EventLoop), Failure> {
        self.check_version()?;
        let id = match (&self.id, &self.id_prefix) {
            (Some(id), _) => id.clone(),
            (None, Some(prefix)) => format!("{prefix}{}", process::id()),
            (None, None) => String::new(),
        };
        if self.disable_clean_session && id.is_empty() {
            return Err(Failure::Usage("-c (keep the session) needs a client id: add -i".to_owned()));
        }
        let mut options = MqttOptions::new(id, self.bracketed_host(), self.port);
        options
            .set_keep_alive(Duration::from_secs(self.keepalive.into()))
            .set_clean_session(!self.disable_clean_session)
            .set_max_packet_size(PACKET_BYTES_MAX, PACKET_BYTES_MAX)
            .set_inflight(in_flight)
            // A message is acknowledged once it has been printed, and not when rumqttc has read it.
            .set_manual_acks(true);
        if let Some(user) = &self.username {
            options.set_credentials(user.clone(), self.password()?.unwrap_or_default());
        }
        if let Some(will) = self.will()? {
            options.set_last_will(will);
        }
        Ok(AsyncClient::new(options, REQUESTS_MAX))
    }

    /// Prints one line about the protocol, if asked to.
    pub(super) fn trace(&self, line: impl FnOnce() -> String) {
        if self.debug {
            eprintln!("{}", line());
        }
    }

    /// Prints a warning, unless asked not to.
    pub(super) fn warn(&self, line: &str) {
        if !self.quiet {
            eprintln!("Warning: {line}");
        }
    }

    fn check_version(&self) -> Result<(), Failure> {
        match self.protocol_version {
            Version::V311 => Ok(()),
            Version::V31 => Err(Failure::Usage(
                "this client can't speak MQTT 3.1 (the server can); leave -V away for 3.1.1, or use mosquitto_pub and \
                 mosquitto_sub"
                    .to_owned(),
            )),
            Version::V5 => Err(Failure::Usage(
                "this client can't speak MQTT 5 yet; leave -V away for 3.1.1".to_owned(),
            )),
        }
    }

    /// rumqttc joins host and port by a colon, which an IPv6 address has as well.
    fn bracketed_host(&self) -> String {
        if self.host.contains(':') && !self.host.starts_with('[') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        }
    }

    fn password(&self) -> Result<Option<String>, Failure> {
        let Some(file) = &self.password_file else {
            return Ok(self.password.clone().or_else(|| env::var("MQTT_PASSWORD").ok()));
        };
        let text = fs::read_to_string(file)
            .map_err(|source| Failure::Input { what: file.display().to_string(), source })?;
        Ok(Some(text.lines().next().unwrap_or_default().to_owned()))
    }

    fn will(&self) -> Result<Option<LastWill>, Failure> {
        let Some(topic) = &self.will_topic else { return Ok(None) };
        check_topic(topic)?;
        let payload = self.will_payload.clone().unwrap_or_default();
        if payload.len() > usize::from(u16::MAX) {
            return Err(Failure::Usage("the payload of a will is at most 65535 bytes".to_owned()));
        }
        Ok(Some(LastWill::new(topic, payload, qos(self.will_qos), self.will_retain)))
    }
}

/// The QoS of an option whose range clap has checked.
pub(super) fn qos(level: u8) -> QoS {
    match level {
        0 => QoS::AtMostOnce,
        1 => QoS::AtLeastOnce,
        _ => QoS::ExactlyOnce,
    }
}

/// Is this a topic that a message can be published to?
pub(super) fn check_topic(name: &str) -> Result<(), Failure> {
    topic::check_name(name).map_err(|error| Failure::Usage(format!("topic {name:?}: {error}")))
}

/// Is this a filter that can be subscribed to?
pub(super) fn check_filter(filter: &str) -> Result<(), Failure> {
    topic::check_filter(filter).map_err(|error| Failure::Usage(format!("filter {filter:?}: {error}")))
}

/// Makes rumqttc answer every PUBREL. In a resumed session the broker repeats the PUBREL of a message which an earlier connection
/// received; rumqttc takes that for an error and closes the connection, again and again. With
/// each packet id marked as received it answers PUBCOMP, as [MQTT-4.3.3-2] demands.
pub(super) fn expect_any_release(state: &mut MqttState) {
    let events = mem::take(&mut state.events);
    let mut publish = Publish::new("", QoS::ExactlyOnce, Vec::new());
    for id in 1..=u16::MAX {
        publish.pkid = id;
        // With manual acknowledgements it answers nothing.
        let _ = state.handle_incoming_packet(Packet::Publish(publish.clone()));
        state.events.clear();
    }
    state.events = events;
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use rumqttc::PubRel;

    use super::*;

    #[derive(Parser)]
    #[command(disable_help_flag = true, disable_version_flag = true)]
    struct Cli {
        #[command(flatten)]
        options: ConnectOptions,
    }

    fn parse(arguments: &str) -> Result<ConnectOptions, clap::Error> {
        Cli::try_parse_from(format!("client {arguments}").split_whitespace()).map(|cli| cli.options)
    }

    fn usage_error(arguments: &str) -> String {
        match parse(arguments).expect("the arguments parse").client(1) {
            Err(failure @ Failure::Usage(_)) => failure.to_string(),
            other => panic!("{arguments}: {:?}", other.map(|_| ())),
        }
    }

    #[test]
    fn h_is_the_host() {
        assert_eq!(parse("-h broker.example -p 1884").expect("parses").server(), "broker.example:1884");
        assert_eq!(parse("").expect("parses").server(), "localhost:1883");
    }

    #[test]
    fn an_ipv6_address_is_put_in_brackets() {
        let options = parse("-h ::1").expect("parses");
        assert_eq!(options.server(), "[::1]:1883");
        let (_, events) = options.client(1).expect("good options");
        assert_eq!(events.mqtt_options.broker_address(), ("[::1]".to_owned(), 1883));
    }

    #[test]
    fn versions_which_the_client_has_not_are_refused_with_a_reason() {
        assert!(usage_error("-V mqttv31").contains("3.1"));
        assert!(usage_error("-V 5").contains("MQTT 5"));
    }

    #[test]
    fn keeping_a_session_needs_an_id() {
        assert!(usage_error("-c").contains("-i"));
        assert!(parse("-c -i me").expect("parses").client(1).is_ok());
    }

    #[test]
    fn a_will_has_a_topic_without_wildcards() {
        assert!(parse("--will-payload x").is_err());
        assert!(usage_error("--will-topic a/+").contains("a/+"));
    }

    #[test]
    fn a_password_may_come_from_a_file() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs::write(file.path(), "secret\nmore\n").expect("written");
        let options = parse(&format!("-u me --password-file {}", file.path().display())).expect("parses");
        let (_, events) = options.client(1).expect("good options");
        assert_eq!(events.mqtt_options.credentials().expect("a login").password, "secret");
    }

    #[test]
    fn a_release_of_an_earlier_connection_is_answered() {
        let mut state = MqttState::new(1, true);
        assert!(state.handle_incoming_packet(Packet::PubRel(PubRel::new(7))).is_err());
        state.events.clear();
        expect_any_release(&mut state);
        assert!(state.events.is_empty());
        let answer = state.handle_incoming_packet(Packet::PubRel(PubRel::new(7))).expect("known");
        assert!(matches!(answer, Some(Packet::PubComp(_))));
    }
}
