//! All figures, and the tables made of them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

use super::scenarios::{Figure, Goal, Measure, Scenario};
use super::servers::{DISTKV_SETTINGS, Kind, MOSQUITTO_SETTINGS, Programs};

/// The figures of all rounds.
pub(crate) struct Results {
    rounds: usize,
    scale: f64,
    versions: String,
    /// In the order in which they came.
    rows: Vec<Row>,
    scenarios: Vec<(String, String)>,
    /// Scenario and server: what it said instead of figures.
    failures: BTreeMap<(String, Kind), String>,
}

struct Row {
    name: String,
    scenario: String,
    measure: Measure,
    goal: Goal,
    values: BTreeMap<Kind, Vec<f64>>,
    rates: BTreeMap<Kind, Vec<f64>>,
}

impl Results {
    pub(crate) fn new(rounds: usize, scale: f64, programs: &Programs) -> Self {
        Self {
            rounds,
            scale,
            versions: programs.versions(),
            rows: Vec::new(),
            scenarios: Vec::new(),
            failures: BTreeMap::new(),
        }
    }

    pub(crate) fn add(&mut self, scenario: &Scenario, kind: Kind, outcome: Result<Vec<Figure>, String>) {
        if !self.scenarios.iter().any(|(name, _)| *name == scenario.name) {
            self.scenarios.push((scenario.name.clone(), scenario.description.clone()));
        }
        match outcome {
            Ok(figures) => figures.into_iter().for_each(|figure| self.add_figure(scenario, kind, figure)),
            Err(reason) => {
                self.failures.insert((scenario.name.clone(), kind), reason);
            }
        }
    }

    fn add_figure(&mut self, scenario: &Scenario, kind: Kind, figure: Figure) {
        let row = match self.rows.iter_mut().position(|row| row.name == figure.row) {
            Some(index) => self.rows.get_mut(index),
            None => {
                self.rows.push(Row {
                    goal: scenario.goal(&figure.row, figure.measure),
                    name: figure.row,
                    scenario: scenario.name.clone(),
                    measure: figure.measure,
                    values: BTreeMap::new(),
                    rates: BTreeMap::new(),
                });
                self.rows.last_mut()
            }
        };
        let Some(row) = row else { return };
        row.values.entry(kind).or_default().push(figure.value);
        if let Some(rate) = figure.rate {
            row.rates.entry(kind).or_default().push(rate);
        }
    }

    /// The tables as Markdown.
    pub(crate) fn table(&self) -> String {
        let mut out = String::new();
        // Writing to a String does not fail.
        let _ = self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "# Comparison with other brokers\n")?;
        writeln!(
            out,
            "Written by `benches/compare`. Less is better in every row; a ratio below 1 means that DistKV"
        )?;
        writeln!(
            out,
            "needs less. `to own` is the ratio to another row of DistKV, which the goal names. Medians of {}\nround(s), scale {}.\n",
            self.rounds, self.scale
        )?;
        writeln!(out, "- Servers: {}.", self.versions)?;
        writeln!(out, "- Machine: {}.\n", machine())?;
        writeln!(
            out,
            "| row | unit | DistKV | mosquitto | rumqttd | to mosquitto | to rumqttd | to own | goal | |"
        )?;
        writeln!(out, "|---|---|--:|--:|--:|--:|--:|--:|---|---|")?;
        for row in &self.rows {
            self.write_row(out, row)?;
        }
        writeln!(
            out,
            "\nOperations a second, as the load tool drove them (it shares the cores with the server):\n"
        )?;
        writeln!(out, "| row | DistKV | mosquitto | rumqttd |\n|---|--:|--:|--:|")?;
        for row in self.rows.iter().filter(|row| !row.rates.is_empty()) {
            let rate =
                |kind| median(row.rates.get(&kind)).map_or("-".to_owned(), |rate| format!("{rate:.0}"));
            let [own, mosquitto, rumqttd] = Kind::ALL.map(rate);
            writeln!(out, "| {} | {own} | {mosquitto} | {rumqttd} |", row.name)?;
        }
        self.write_notes(out)
    }

    fn write_row(&self, out: &mut String, row: &Row) -> std::fmt::Result {
        let value = |kind| match median(row.values.get(&kind)) {
            Some(value) => short(value),
            None if self.failures.contains_key(&(row.scenario.clone(), kind)) => "see below".to_owned(),
            None => "-".to_owned(),
        };
        let [own, mosquitto, rumqttd] = Kind::ALL.map(value);
        let to_mosquitto = row.ratio(Kind::Mosquitto);
        let to_rumqttd = row.ratio(Kind::Rumqttd);
        let ratio = |ratio: Option<f64>| ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}"));
        let goal = &row.goal;
        let own_row = goal.own.as_ref().and_then(|(_, name)| self.rows.iter().find(|row| row.name == *name));
        let to_own = own_row.and_then(|own| row.ratio_to_own(own));
        let within = |value: Option<f64>, limit: Option<f64>| match (value, limit) {
            (Some(value), Some(limit)) => value <= limit,
            (None, Some(_)) => median(row.values.get(&Kind::Distkv)).is_some(),
            (_, None) => true,
        };
        let own_value = median(row.values.get(&Kind::Distkv));
        // Without its other row there is nothing to say.
        let is_open = goal.own.is_some() && to_own.is_none();
        let reached = own_value.is_some()
            && within(to_own, goal.own.as_ref().map(|(limit, _)| *limit))
            && within(to_mosquitto, goal.mosquitto)
            && within(to_rumqttd, goal.rumqttd)
            && within(own_value, goal.absolute);
        writeln!(
            out,
            "| {} | {} | {own} | {mosquitto} | {rumqttd} | {} | {} | {} | {} | {} |",
            row.name,
            row.measure.unit(),
            ratio(to_mosquitto),
            ratio(to_rumqttd),
            ratio(to_own),
            describe(goal),
            match reached {
                _ if is_open => "?",
                true => "reached",
                false => "**missed**",
            }
        )
    }

    fn write_notes(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "\n## Scenarios\n")?;
        for (name, description) in &self.scenarios {
            writeln!(out, "- {name}: {description}.")?;
        }
        if !self.failures.is_empty() {
            writeln!(out, "\n## Not done\n")?;
            for ((scenario, kind), reason) in &self.failures {
                writeln!(out, "- {kind}, {scenario}: {reason}.")?;
            }
        }
        let settings = |settings: &[&str]| match settings.join(", ") {
            empty if empty.is_empty() => "defaults".to_owned(),
            settings => settings.trim_end_matches(", ").to_owned(),
        };
        writeln!(out, "\n## How\n")?;
        writeln!(
            out,
            "In each round every scenario runs against each server in turn, each time a fresh process with an"
        )?;
        writeln!(
            out,
            "empty data directory. The load tool is `distkv bench mqtt`; it numbers all messages, and a run in"
        )?;
        writeln!(
            out,
            "which one is missing, repeated or out of order gives no figure. CPU is user and system time of the"
        )?;
        writeln!(
            out,
            "server's process (of its threads, where the kernel tells), memory its resident set, both from /proc. Ratios are medians of the rounds' ratios.\n"
        )?;
        writeln!(out, "- DistKV: {}; `durability = \"interval\"`, its default.", settings(DISTKV_SETTINGS))?;
        writeln!(
            out,
            "- mosquitto: persistence on (it saves at its end and every 30 minutes), {}.",
            settings(MOSQUITTO_SETTINGS)
        )?;
        writeln!(
            out,
            "- TLS: certificates with ECDSA P-256, which the load tool does not check; no session is resumed."
        )?;
        writeln!(
            out,
            "- rumqttd: benches/rumqttd; 100 in flight, segments of 100 MiB; it keeps nothing on disk."
        )
    }
}

impl Row {
    /// The median of the rounds' ratios of DistKV's figure to another's.
    fn ratio(&self, other: Kind) -> Option<f64> {
        ratio(self.values.get(&Kind::Distkv)?, self.values.get(&other)?)
    }

    /// The same to another row of DistKV's.
    fn ratio_to_own(&self, other: &Self) -> Option<f64> {
        ratio(self.values.get(&Kind::Distkv)?, other.values.get(&Kind::Distkv)?)
    }
}

/// The median of the ratios of figures of the same round.
fn ratio(ones: &[f64], others: &[f64]) -> Option<f64> {
    let pairs = ones.iter().zip(others).filter(|(_, other)| **other > 0.0);
    median(Some(&pairs.map(|(one, other)| one / other).collect()))
}

fn median(values: Option<&Vec<f64>>) -> Option<f64> {
    let mut values = values?.clone();
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    let lower = *values.get(values.len().checked_sub(1)? / 2)?;
    Some(f64::midpoint(lower, upper))
}

fn short(value: f64) -> String {
    if value.abs() >= 100.0 { format!("{value:.0}") } else { format!("{value:.3}") }
}

fn describe(goal: &Goal) -> String {
    let mut parts = Vec::new();
    parts.extend(goal.mosquitto.map(|limit| format!("{limit:.2} x mosquitto")));
    parts.extend(goal.rumqttd.map(|limit| format!("{limit:.2} x rumqttd")));
    parts.extend(goal.own.as_ref().map(|(limit, row)| format!("{limit:.2} x {row}")));
    parts.extend(goal.absolute.map(|limit| format!("at most {limit:.0}")));
    parts.join(", ")
}

fn machine() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or("unknown processor", |(_, model)| model.trim());
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!("{cores} cores, {model}, Linux {}", kernel.trim())
}
