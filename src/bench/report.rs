//! What a run found, as a table for people and as JSON for programs.

use std::fmt::{self, Display};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// One phase of a scenario, measured.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Phase {
    /// What was done.
    pub name: String,
    /// What one operation is: `message`, `connection`, ...
    pub unit: String,
    /// Operations done.
    pub operations: u64,
    /// How long that took.
    pub seconds: f64,
    /// Messages published in it.
    pub published: u64,
    /// Messages received in it.
    pub received: u64,
    /// Those of them that came with a topic alias in the place of their topic.
    #[serde(default)]
    pub aliased: u64,
    /// What did not come, or came twice.
    pub faults: Faults,
    /// From sending to receiving.
    pub latency: Option<Latency>,
    /// From sending to the acknowledgement (QoS 1: PUBACK, QoS 2: PUBCOMP).
    pub acknowledged: Option<Latency>,
    /// What it cost the server, if that can be seen.
    pub server: Option<ServerCost>,
    /// What it cost the load tool, in CPU seconds.
    pub tool_cpu_seconds: f64,
}

/// What went wrong with messages.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub struct Faults {
    /// They never came.
    pub missing: u64,
    /// They came again, or after a later one.
    pub repeated: u64,
    /// They came to somebody who had not asked for them, were not what was sent, or, of a shared subscription, came to one of its
    /// members after a later one.
    pub wrong: u64,
    /// The run was given up before its end.
    pub gave_up: bool,
}

/// Percentiles in microseconds.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Latency {
    /// The median.
    pub p50: f64,
    /// 90 % are at most this.
    pub p90: f64,
    /// 99 % are at most this.
    pub p99: f64,
    /// 99.9 % are at most this.
    pub p999: f64,
    /// The greatest.
    pub max: f64,
}

/// What a phase cost the server.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct ServerCost {
    /// The process.
    pub pid: u32,
    /// User and system time.
    pub cpu_seconds: f64,
    /// Resident memory before.
    pub rss_before: u64,
    /// Resident memory after.
    pub rss_after: u64,
}

/// All phases of a run.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Report {
    /// The scenario in words.
    pub title: String,
    /// Its phases in order.
    pub phases: Vec<Phase>,
}

/// An empty histogram for nanoseconds up to an hour, exact to three digits.
pub(super) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 3_600_000_000_000, 3)
        .unwrap_or_else(|_| unreachable!("these bounds are allowed"))
}

impl Faults {
    /// Did everything arrive, once?
    #[must_use]
    pub fn none(self) -> bool {
        self == Self::default()
    }
}

impl Latency {
    /// Of a histogram in nanoseconds; `None` if nothing was measured.
    pub(super) fn of(nanos: &Histogram<u64>) -> Option<Self> {
        let at = |quantile| nanos.value_at_quantile(quantile) as f64 / 1000.0;
        (!nanos.is_empty()).then(|| Self {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: nanos.max() as f64 / 1000.0,
        })
    }
}

impl Phase {
    /// Operations in a second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        if self.seconds > 0.0 { self.operations as f64 / self.seconds } else { 0.0 }
    }

    /// CPU seconds of the server for a million operations.
    #[must_use]
    pub fn cpu_seconds_per_million(&self) -> Option<f64> {
        let cost = self.server?;
        (self.operations > 0).then(|| cost.cpu_seconds * 1e6 / self.operations as f64)
    }

    /// By how much the server's memory grew, for each operation.
    #[must_use]
    pub fn bytes_per_operation(&self) -> Option<f64> {
        let cost = self.server?;
        (self.operations > 0)
            .then(|| (cost.rss_after as f64 - cost.rss_before as f64) / self.operations as f64)
    }
}

impl Report {
    /// Did everything arrive, once, in all phases?
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.phases.iter().all(|phase| phase.faults.none())
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.title)?;
        self.phases.iter().try_for_each(|phase| write!(f, "\n{phase}"))
    }
}

impl Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, unit, operations, seconds, .. } = self;
        let rate = grouped(self.rate() as u64);
        writeln!(f, "{name}: {} {unit}s in {seconds:.2} s, {rate} a second", grouped(*operations))?;
        if self.published > 0 || self.received > 0 {
            let mut text =
                format!("{} published, {} received", grouped(self.published), grouped(self.received));
            if self.aliased > 0 {
                text.push_str(&format!(" ({} by an alias)", grouped(self.aliased)));
            }
            line(f, "messages", &text)?;
        }
        if let Some(latency) = &self.latency {
            line(f, "latency", &latency.to_string())?;
        }
        if let Some(acknowledged) = &self.acknowledged {
            line(f, "acknowledged", &acknowledged.to_string())?;
        }
        if let Some(cost) = &self.server {
            let per_million = self.cpu_seconds_per_million().unwrap_or_default();
            let (pid, cpu) = (cost.pid, cost.cpu_seconds);
            line(
                f,
                "server",
                &format!("process {pid}, {cpu:.2} s CPU, {per_million:.3} s a million {unit}s"),
            )?;
            let (before, after) = (mebibytes(cost.rss_before), mebibytes(cost.rss_after));
            let grown = self.bytes_per_operation().unwrap_or_default();
            line(
                f,
                "memory",
                &format!("{before:.1} MiB before, {after:.1} MiB after, {grown:.0} bytes a {unit}"),
            )?;
        }
        line(f, "load tool", &format!("{:.2} s CPU", self.tool_cpu_seconds))?;
        if !self.faults.none() {
            line(f, "FAULTS", &self.faults.to_string())?;
        }
        Ok(())
    }
}

impl Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { p50, p90, p99, p999, max } = self;
        write!(f, "{p50:.0} us median, 90 %: {p90:.0}, 99 %: {p99:.0}, 99.9 %: {p999:.0}, max {max:.0}")
    }
}

impl Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { missing, repeated, wrong, gave_up } = self;
        write!(f, "{missing} missing, {repeated} repeated or late, {wrong} wrong")?;
        if *gave_up { write!(f, "; given up without progress") } else { Ok(()) }
    }
}

fn line(f: &mut fmt::Formatter<'_>, name: &str, text: &str) -> fmt::Result {
    writeln!(f, "  {name:<13} {text}")
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / (1024.0 * 1024.0)
}

/// Digits in groups of three.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phase() -> Phase {
        Phase {
            name: "flow".to_owned(),
            unit: "message".to_owned(),
            operations: 2_000_000,
            seconds: 4.0,
            server: Some(ServerCost { pid: 1, cpu_seconds: 3.0, rss_before: 1000, rss_after: 2_001_000 }),
            ..Phase::default()
        }
    }

    #[test]
    fn figures_are_taken_for_each_operation() {
        assert_eq!(phase().rate(), 500_000.0);
        assert_eq!(phase().cpu_seconds_per_million(), Some(1.5));
        assert_eq!(phase().bytes_per_operation(), Some(1.0));
        let nothing = Phase { operations: 0, seconds: 0.0, ..phase() };
        assert_eq!((nothing.rate(), nothing.cpu_seconds_per_million()), (0.0, None));
    }

    #[test]
    fn a_report_is_good_only_without_faults() {
        let mut report = Report { title: String::new(), phases: vec![phase()] };
        assert!(report.is_good());
        report.phases.push(Phase { faults: Faults { missing: 1, ..Faults::default() }, ..phase() });
        assert!(!report.is_good());
        assert!(report.to_string().contains("1 missing"));
    }

    #[test]
    fn percentiles_are_in_microseconds() {
        let mut nanos = histogram();
        assert_eq!(Latency::of(&nanos), None);
        for _ in 0..99 {
            nanos.saturating_record(2_000);
        }
        nanos.saturating_record(5_000_000_000);
        let latency = Latency::of(&nanos).expect("not empty");
        assert_eq!((latency.p50.round(), latency.p99.round()), (2.0, 2.0));
        assert!(latency.max > 4_990_000.0 && latency.p999 > 4_990_000.0);
    }

    #[test]
    fn digits_are_grouped_by_thousands() {
        assert_eq!(grouped(7), "7");
        assert_eq!(grouped(1000), "1 000");
        assert_eq!(grouped(12_345_678), "12 345 678");
    }

    #[test]
    fn a_report_is_the_same_after_json() {
        let report = Report { title: "x".to_owned(), phases: vec![phase()] };
        let text = serde_json::to_string(&report).expect("JSON");
        assert_eq!(serde_json::from_str::<Report>(&text).expect("a report"), report);
    }
}
