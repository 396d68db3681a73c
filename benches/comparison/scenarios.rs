//! What is measured: each scenario as options of `distkv bench mqtt`, with the figures that count and their goals.

use std::fmt::{self, Display};
use std::process::Command;

use anyhow::{Context as _, bail};
use distkv::bench::report::{Phase, Report};

use super::servers::{Kind, Programs, Server};

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
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Goal {
    pub(crate) mosquitto: Option<f64>,
    pub(crate) rumqttd: Option<f64>,
    /// At most this, whatever others need.
    pub(crate) absolute: Option<f64>,
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
    let flow = |name: &str, description: &str, measure: Measure, options: String| Scenario {
        name: name.to_owned(),
        description: description.to_owned(),
        steps: Steps::Load(words(&format!("flow {options}"))),
        measures: vec![measure],
    };
    let cpu = Measure::Cpu("flow");
    for (qos, messages) in [(0, 2e6), (1, 1e6), (2, 5e5)] {
        all.push(flow(
            &format!("one-to-one-flood-qos{qos}"),
            &format!("1 publisher, 1 subscriber, 64 bytes, QoS {qos}, as fast as possible"),
            cpu,
            format!("-q {qos} -n {} --in-flight 100", count(messages)),
        ));
    }
    for qos in [0, 1, 2] {
        all.push(flow(
            &format!("one-in-flight-qos{qos}"),
            &format!("1 publisher, 1 subscriber, 64 bytes, QoS {qos}, one message at a time"),
            Measure::Latency("flow"),
            format!("-q {qos} -n {} --in-flight 1 --window 1", count(5e4)),
        ));
    }
    all.push(flow(
        "16k-qos0",
        "1 publisher, 1 subscriber, 16 KiB, QoS 0, as fast as possible",
        cpu,
        format!("-b 16384 -n {}", count(1e5)),
    ));
    all.push(flow(
        "16k-qos1",
        "1 publisher, 1 subscriber, 16 KiB, QoS 1, as fast as possible",
        cpu,
        format!("-b 16384 -q 1 -n {} --in-flight 50", count(1e5)),
    ));
    let clients = count(500.0).max(20);
    for qos in [0, 1] {
        all.push(flow(
            &format!("fan-out-qos{qos}"),
            &format!("1 publisher to {clients} subscribers, 64 bytes, QoS {qos}"),
            cpu,
            format!("-S {clients} -q {qos} -n {} --in-flight 100 --window 200", count(6000.0)),
        ));
    }
    for qos in [0, 1] {
        all.push(flow(
            &format!("fan-in-qos{qos}"),
            &format!("{clients} publishers to 1 subscriber, 64 bytes, QoS {qos}"),
            cpu,
            format!("-P {clients} -T {clients} -q {qos} -n {}", count(1e6)),
        ));
    }
    let filters = count(1e5);
    all.push(flow(
        "many-filters-qos0",
        &format!("1 publisher, 1 subscriber, 64 bytes, QoS 0, and {filters} filters of other clients"),
        cpu,
        format!("-n {} --filters {filters}", count(1e6)),
    ));
    let retained = count(1e6);
    all.push(Scenario {
        name: "retained".to_owned(),
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
        description: format!("{connections} idle connections"),
        steps: Steps::Load(words(&format!("idle -n {connections}"))),
        measures: vec![Measure::Memory("connect", 0)],
    });
    let connects = count(2e4);
    all.push(Scenario {
        name: "connect-storm".to_owned(),
        description: format!("{connects} clients connect and leave, 100 at a time"),
        steps: Steps::Load(words(&format!("storm -n {connects}"))),
        measures: vec![Measure::Cpu("storm")],
    });
    all
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

impl Scenario {
    /// Why a server can't do it.
    pub(crate) fn impossible_for(&self, kind: Kind) -> Option<&'static str> {
        match (&self.steps, kind) {
            (Steps::Retained(_), Kind::Rumqttd) => Some(
                "can't: it looks at all retained messages for each new topic, replays no more than a window, keeps nothing on disk",
            ),
            _ => None,
        }
    }

    /// What a figure of this scenario shall be.
    pub(crate) fn goal(&self, measure: Measure) -> Goal {
        let name = self.name.as_str();
        let goal = |mosquitto: f64, rumqttd: Option<f64>| Goal {
            mosquitto: Some(mosquitto),
            rumqttd,
            absolute: None,
        };
        match measure {
            Measure::Latency(_) => goal(1.2, None),
            Measure::Cpu("replay") => goal(0.5, None),
            Measure::Memory("store", _) => Goal { absolute: Some(1024.0), ..Goal::default() },
            Measure::Memory(..) => Goal { absolute: Some(6.0 * 1024.0), ..Goal::default() },
            Measure::Cpu(_) if name.starts_with("one-to-one-flood") => goal(0.2, Some(1.0)),
            Measure::Cpu(_) if name.starts_with("fan-") => goal(1.0 / 3.0, Some(1.0)),
            Measure::Cpu(_) | Measure::Start => goal(1.0, None),
        }
    }

    /// Runs it against a fresh server.
    pub(crate) fn run(&self, kind: Kind, programs: &Programs) -> anyhow::Result<Vec<Figure>> {
        let server = Server::start(kind, programs)?;
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
    let output = Command::new(&programs.distkv)
        .args(["bench", "mqtt"])
        .args(options)
        .args(["--json", "--port", &server.port().to_string(), "--limit", "300"])
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
