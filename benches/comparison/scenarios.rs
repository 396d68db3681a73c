//! What is measured: each scenario as options of `distkv bench mqtt`, with the figures that count and their goals.

use std::fmt::{self, Display};
use std::process::Command;

use anyhow::{Context as _, bail};
use distkv::bench::report::{Phase, Report};

use super::servers::{Kind, Programs, Server, Way};

/// The names of scenarios by MQTT 5 begin so; the rest is the name of the scenario with which it is compared.
const MQTT5: &str = "mqtt5-";

/// What a scenario does.
#[derive(Clone, Debug)]
enum Steps {
    /// One run of the load tool against a fresh server.
    Load(Vec<String>),
    /// Store and replay retained messages, restart the server, check that they are still there.
    Retained(u64),
}

/// One scenario.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) name: String,
    pub(crate) description: String,
    way: Way,
    /// The servers that do it.
    kinds: &'static [Kind],
    steps: Steps,
    /// What is taken from the report.
    measures: Vec<Measure>,
}

/// A figure that is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Measure {
    /// CPU seconds of the server for a million messages (or connections).
    Cpu(&'static str),
    /// Median latency in microseconds.
    Latency(&'static str),
    /// Resident memory for each operation beyond what it must hold, in bytes.
    Memory(&'static str, u64),
    /// Seconds until a restarted server answers.
    Start,
}

/// How good a figure shall be, as a ratio to the other servers'.
#[derive(Clone, Debug, Default)]
pub(crate) struct Goal {
    pub(crate) mosquitto: Option<f64>,
    pub(crate) rumqttd: Option<f64>,
    /// At most this, whatever others need.
    pub(crate) absolute: Option<f64>,
    /// At most so many times what DistKV itself needs in another row.
    pub(crate) own: Option<(f64, String)>,
}

/// One figure of one run.
#[derive(Clone, Debug)]
pub(crate) struct Figure {
    /// The row of the table that it belongs to.
    pub(crate) row: String,
    pub(crate) measure: Measure,
    pub(crate) value: f64,
    /// Operations a second, where that means something.
    pub(crate) rate: Option<f64>,
}

impl Measure {
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Cpu(_) => "CPU s/million",
            Self::Latency(_) => "us median",
            Self::Memory(..) => "bytes each",
            Self::Start => "s",
        }
    }

    fn phase(self) -> &'static str {
        match self {
            Self::Cpu(phase) | Self::Latency(phase) | Self::Memory(phase, _) => phase,
            Self::Start => "",
        }
    }

    fn of(self, phase: &Phase) -> Option<f64> {
        match self {
            Self::Cpu(_) => phase.cpu_seconds_per_million(),
            Self::Latency(_) => Some(phase.latency?.p50),
            Self::Memory(_, inherent) => Some(phase.bytes_per_operation()? - inherent as f64),
            Self::Start => None,
        }
    }
}

impl Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3} {}", self.value, self.measure.unit())?;
        match self.rate {
            Some(rate) => write!(f, " at {rate:.0}/s"),
            None => Ok(()),
        }
    }
}

/// All scenarios, with their numbers multiplied by `scale`.
pub(crate) fn all(scale: f64) -> Vec<Scenario> {
    let count = |number: f64| (number * scale).ceil().max(1.0) as u64;
    let mut all = Vec::new();
    for scenario in of_mqtt3(count) {
        let twin = scenario.by_mqtt5();
        all.extend([scenario, twin]);
    }
    all.extend(with_aliases(count));
    all.extend(shared(count));
    all.extend(by_tls_and_websocket(count));
    all
}

/// A run of messages that all servers do.
fn flow(name: &str, description: &str, measure: Measure, options: &str) -> Scenario {
    Scenario {
        name: name.to_owned(),
        description: description.to_owned(),
        way: Way::Plain,
        kinds: &Kind::ALL,
        steps: Steps::Load(words(&format!("flow {options}"))),
        measures: vec![measure],
    }
}

/// What is there since the first version; each has a twin by MQTT 5.
fn of_mqtt3(count: impl Fn(f64) -> u64) -> Vec<Scenario> {
    let mut all = Vec::new();
    let cpu = Measure::Cpu("flow");
    for (qos, messages) in [(0, 2e6), (1, 1e6), (2, 5e5)] {
        all.push(flow(
            &format!("one-to-one-flood-qos{qos}"),
            &format!("1 publisher, 1 subscriber, 64 bytes, QoS {qos}, as fast as possible"),
            cpu,
            &format!("-q {qos} -n {} --in-flight 100", count(messages)),
        ));
    }
    for qos in [0, 1, 2] {
        all.push(flow(
            &format!("one-in-flight-qos{qos}"),
            &format!("1 publisher, 1 subscriber, 64 bytes, QoS {qos}, one message at a time"),
            Measure::Latency("flow"),
            &format!("-q {qos} -n {} --in-flight 1 --window 1", count(5e4)),
        ));
    }
    all.push(flow(
        "16k-qos0",
        "1 publisher, 1 subscriber, 16 KiB, QoS 0, as fast as possible",
        cpu,
        &format!("-b 16384 -n {}", count(1e5)),
    ));
    all.push(flow(
        "16k-qos1",
        "1 publisher, 1 subscriber, 16 KiB, QoS 1, as fast as possible",
        cpu,
        &format!("-b 16384 -q 1 -n {} --in-flight 50", count(1e5)),
    ));
    let clients = count(500.0).max(20);
    for qos in [0, 1] {
        all.push(flow(
            &format!("fan-out-qos{qos}"),
            &format!("1 publisher to {clients} subscribers, 64 bytes, QoS {qos}"),
            cpu,
            &format!("-S {clients} -q {qos} -n {} --in-flight 100 --window 200", count(6000.0)),
        ));
    }
    for qos in [0, 1] {
        all.push(flow(
            &format!("fan-in-qos{qos}"),
            &format!("{clients} publishers to 1 subscriber, 64 bytes, QoS {qos}"),
            cpu,
            &format!("-P {clients} -T {clients} -q {qos} -n {}", count(1e6)),
        ));
    }
    let filters = count(1e5);
    all.push(flow(
        "many-filters-qos0",
        &format!("1 publisher, 1 subscriber, 64 bytes, QoS 0, and {filters} filters of other clients"),
        cpu,
        &format!("-n {} --filters {filters}", count(1e6)),
    ));
    let retained = count(1e6);
    all.push(Scenario {
        name: "retained".to_owned(),
        way: Way::Plain,
        kinds: &Kind::ALL,
        description: format!(
            "{retained} retained messages of 64 bytes: stored, replayed to #, there after a restart"
        ),
        steps: Steps::Retained(retained),
        measures: vec![
            Measure::Cpu("store"),
            // The payload, and a topic of about 30 bytes.
            Measure::Memory("store", 64 + 30),
            Measure::Cpu("replay"),
            Measure::Start,
        ],
    });
    let connections = count(1e4);
    all.push(Scenario {
        name: "idle".to_owned(),
        way: Way::Plain,
        kinds: &Kind::ALL,
        description: format!("{connections} idle connections"),
        steps: Steps::Load(words(&format!("idle -n {connections}"))),
        measures: vec![Measure::Memory("connect", 0)],
    });
    let connects = count(2e4);
    all.push(Scenario {
        name: "connect-storm".to_owned(),
        way: Way::Plain,
        kinds: &Kind::ALL,
        description: format!("{connects} clients connect and leave, 100 at a time"),
        steps: Steps::Load(words(&format!("storm -n {connects}"))),
        measures: vec![Measure::Cpu("storm")],
    });
    all
}

/// Topic aliases in both directions, compared with the same without them.
fn with_aliases(count: impl Fn(f64) -> u64) -> Vec<Scenario> {
    let one = |(qos, messages)| Scenario {
        way: Way::Mqtt5,
        kinds: &[Kind::Distkv, Kind::Mosquitto],
        ..flow(
            &format!("aliases-qos{qos}"),
            &format!("1 publisher, 1 subscriber, 64 bytes, QoS {qos}, MQTT 5 with topic aliases both ways"),
            Measure::Cpu("flow"),
            &format!("--aliases -q {qos} -n {} --in-flight 100", count(messages)),
        )
    };
    [(0, 2e6), (1, 1e6)].map(one).into()
}

/// A shared subscription, compared with as many subscribers that have a topic each: there, too, each message goes to one of
/// them, and each gets only a hundredth of what is on its way.
fn shared(count: impl Fn(f64) -> u64) -> Vec<Scenario> {
    let mut all = Vec::new();
    for (qos, messages) in [(0, 2e6), (1, 5e5)] {
        let options = format!("-S 100 -q {qos} -n {} --in-flight 1000", count(messages));
        let cpu = Measure::Cpu("flow");
        let plain = flow(
            &format!("one-of-100-qos{qos}"),
            &format!(
                "1 publisher, 100 topics in turn, 100 subscribers with one of them each, 64 bytes, QoS {qos}"
            ),
            cpu,
            &format!("-T 100 {options}"),
        );
        let shared = flow(
            &format!("shared-100-members-qos{qos}"),
            &format!("1 publisher to a shared subscription with 100 members, 64 bytes, QoS {qos}"),
            cpu,
            &format!("--share group {options}"),
        );
        let kinds = &[Kind::Distkv, Kind::Mosquitto];
        all.extend([plain, shared].map(|scenario| Scenario { kinds, ..scenario }));
    }
    all
}

/// TLS and WebSocket.
fn by_tls_and_websocket(count: impl Fn(f64) -> u64) -> Vec<Scenario> {
    let kinds = &[Kind::Distkv, Kind::Mosquitto];
    let mut all = Vec::new();
    for (way, name, text) in [(Way::Tls, "tls", "TLS"), (Way::WebSocket, "websocket", "WebSocket")] {
        for (bytes, size, label) in [(64, "64 bytes", "one-to-one"), (16_384, "16 KiB", "16k")] {
            if way == Way::WebSocket && bytes > 64 {
                // mosquitto passes on no more than ten of these in a second, almost idle.
                continue;
            }
            for qos in [0, 1] {
                let messages = count(if bytes == 64 { 1e6 } else { 1e5 });
                let scenario = flow(
                    &format!("{name}-{label}-qos{qos}"),
                    &format!("1 publisher, 1 subscriber, {size}, QoS {qos}, by {text}"),
                    Measure::Cpu("flow"),
                    &format!("-b {bytes} -q {qos} -n {messages} --in-flight 50"),
                );
                all.push(Scenario { way, kinds, ..scenario });
            }
        }
    }
    let connects = count(2e4);
    all.push(Scenario {
        name: "tls-connect-storm".to_owned(),
        description: format!(
            "{connects} clients connect by TLS and leave, 100 at a time, none resumes a session"
        ),
        way: Way::Tls,
        kinds,
        steps: Steps::Load(words(&format!("storm -n {connects}"))),
        measures: vec![Measure::Cpu("storm")],
    });
    let connections = count(1e4);
    all.push(Scenario {
        name: "tls-idle".to_owned(),
        description: format!("{connections} idle connections by TLS"),
        way: Way::Tls,
        kinds,
        steps: Steps::Load(words(&format!("idle -n {connections}"))),
        measures: vec![Measure::Memory("connect", 0)],
    });
    all
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

impl Scenario {
    /// The same by MQTT 5, for DistKV; for the others only where it says most.
    fn by_mqtt5(&self) -> Self {
        let Self { name, description, steps, measures, .. } = self;
        let kinds: &[Kind] = if name.starts_with("one-to-one") { &Kind::ALL } else { &[Kind::Distkv] };
        let steps = match steps {
            // The restart is no matter of the protocol.
            Steps::Retained(count) => Steps::Load(words(&format!("retained -n {count}"))),
            Steps::Load(options) => Steps::Load(options.clone()),
        };
        let measures = measures.iter().filter(|measure| **measure != Measure::Start).copied().collect();
        Self {
            name: format!("{MQTT5}{name}"),
            description: format!("{description}, by MQTT 5"),
            way: Way::Mqtt5,
            kinds,
            steps,
            measures,
        }
    }

    /// Is it for this server?
    pub(crate) fn is_for(&self, kind: Kind) -> bool {
        self.kinds.contains(&kind)
    }

    /// Why a server can't do it.
    pub(crate) fn impossible_for(&self, kind: Kind) -> Option<&'static str> {
        match (&self.steps, kind) {
            (Steps::Retained(_), Kind::Rumqttd) => Some(
                "can't: it looks at all retained messages for each new topic, replays no more than a window, keeps nothing on disk",
            ),
            _ => None,
        }
    }

    /// What the figure of a row of this scenario shall be.
    pub(crate) fn goal(&self, row: &str, measure: Measure) -> Goal {
        let name = self.name.as_str();
        let goal = |mosquitto: f64, rumqttd: Option<f64>| Goal {
            mosquitto: Some(mosquitto),
            rumqttd,
            ..Goal::default()
        };
        let own = |limit: f64, row: String| Goal { own: Some((limit, row)), ..Goal::default() };
        let absolute = |bytes: f64| Goal { absolute: Some(bytes), ..Goal::default() };
        if let Some(twin) = row.strip_prefix(MQTT5) {
            return own(1.1, twin.to_owned());
        }
        match (name.split_once("-qos"), measure) {
            (Some(("aliases", qos)), _) => own(1.0, format!("{MQTT5}one-to-one-flood-qos{qos}")),
            (Some(("shared-100-members", qos)), _) => own(1.5, format!("one-of-100-qos{qos}")),
            (_, Measure::Latency(_)) => goal(1.2, None),
            (_, Measure::Cpu("replay")) => goal(0.5, None),
            (_, Measure::Memory("store", _)) => absolute(1024.0),
            (_, Measure::Memory(..)) if name.starts_with("tls-") => absolute(24.0 * 1024.0),
            (_, Measure::Memory(..)) => absolute(6.0 * 1024.0),
            (_, Measure::Cpu("storm")) => goal(1.0, None),
            (_, Measure::Cpu(_)) if matches!(self.way, Way::Tls | Way::WebSocket) => goal(0.5, None),
            (_, Measure::Cpu(_)) if name.starts_with("one-to-one-flood") => goal(0.2, Some(1.0)),
            (_, Measure::Cpu(_)) if name.starts_with("fan-") => goal(1.0 / 3.0, Some(1.0)),
            (_, Measure::Cpu(_) | Measure::Start) => goal(1.0, None),
        }
    }

    /// Runs it against a fresh server.
    pub(crate) fn run(&self, kind: Kind, programs: &Programs) -> anyhow::Result<Vec<Figure>> {
        let server = Server::start(kind, self.way, programs)?;
        match &self.steps {
            Steps::Load(options) => {
                let report = load(options, &server, programs)?;
                self.figures(&report)
            }
            Steps::Retained(count) => {
                let options = format!("retained -n {count}");
                let mut figures = self.figures(&load(&words(&options), &server, programs)?)?;
                let server = server.restart(programs)?;
                load(&words(&format!("{options} --skip-store")), &server, programs)
                    .context("after the restart")?;
                figures.push(Figure {
                    row: format!("{}-start", self.name),
                    measure: Measure::Start,
                    value: server.start.as_secs_f64(),
                    rate: None,
                });
                Ok(figures)
            }
        }
    }

    fn figures(&self, report: &Report) -> anyhow::Result<Vec<Figure>> {
        let mut figures = Vec::new();
        for measure in self.measures.iter().filter(|measure| **measure != Measure::Start) {
            let phase = report
                .phases
                .iter()
                .find(|phase| phase.name == measure.phase())
                .with_context(|| format!("the report has no phase {}", measure.phase()))?;
            let value = measure.of(phase).context("the server can't be watched")?;
            let memory = matches!(measure, Measure::Memory(..));
            let several = self.measures.len() > 1;
            let row = match (several, memory) {
                (false, _) => self.name.clone(),
                (true, false) => format!("{}-{}", self.name, phase.name),
                (true, true) => format!("{}-memory", self.name),
            };
            figures.push(Figure { row, measure: *measure, value, rate: (!memory).then(|| phase.rate()) });
        }
        Ok(figures)
    }
}

/// Runs the load tool; an error if not all messages arrived.
fn load(options: &[String], server: &Server, programs: &Programs) -> anyhow::Result<Report> {
    let output = Command::new(&programs.tool)
        .args(["bench", "mqtt"])
        .args(options)
        .args(["--json", "--limit", "300"])
        .args(server.options())
        .output()?;
    if output.stdout.is_empty() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let report: Report = serde_json::from_slice(&output.stdout)?;
    if let Some(phase) = report.phases.iter().find(|phase| !phase.faults.none()) {
        bail!("{}: {}", phase.name, phase.faults);
    }
    Ok(report)
}
