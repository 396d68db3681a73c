//! `/metrics`: asks each source for its numbers and writes them as OpenMetrics text.

use std::fmt;
use std::sync::{Arc, OnceLock};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::process;

/// What kind of number a sample is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows. Its name ends in `_total`.
    Counter,
    /// It goes up and down.
    Gauge,
}

/// A number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// Of things, of bytes.
    Whole(u64),
    /// Of seconds.
    Real(f64),
}

/// One number with what is to be known about it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// The name with its unit; `/metrics` puts `distkv_` before it.
    pub name: &'static str,
    /// What it counts: one sentence.
    pub help: &'static str,
    /// Counter or gauge.
    pub kind: Kind,
    /// A label and its value, where one name has several numbers.
    pub label: Option<(&'static str, &'static str)>,
    /// The number.
    pub value: Value,
}

/// Tells its numbers when asked. Those of one name must follow each other, and not be told by another source.
pub type Source = Box<dyn Fn(&mut dyn FnMut(Sample)) + Send + Sync>;

/// All numbers: those of the process at once, those of the other sources as soon as there are any.
pub struct Metrics {
    registry: Registry,
    sources: Arc<OnceLock<Vec<Source>>>,
}

impl Metrics {
    /// What [`Metrics::text`] is, for HTTP.
    pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

    /// From now on asks these, too. Only the first call counts.
    pub fn set_sources(&self, sources: Vec<Source>) {
        let _second = self.sources.set(sources);
    }

    /// Every number as it is now.
    pub fn text(&self) -> String {
        let mut out = String::new();
        // Writing to a string does not fail.
        let _written = text::encode(&mut out, &self.registry);
        out
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let sources = Arc::new(OnceLock::new());
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Numbers(Arc::clone(&sources))));
        Self { registry, sources }
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

struct Numbers(Arc<OnceLock<Vec<Source>>>);

impl fmt::Debug for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Numbers")
    }
}

impl Collector for Numbers {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut samples = Vec::new();
        process::samples(&mut |sample| samples.push(sample));
        families(&mut encoder, "", &samples)?;
        samples.clear();
        for source in self.0.get().into_iter().flatten() {
            source(&mut |sample| samples.push(sample));
        }
        families(&mut encoder, "distkv_", &samples)
    }
}

fn families(encoder: &mut DescriptorEncoder<'_>, prefix: &str, samples: &[Sample]) -> fmt::Result {
    samples.chunk_by(|a, b| a.name == b.name).try_for_each(|family| encode(encoder, prefix, family))
}

/// One name with all its numbers.
fn encode(encoder: &mut DescriptorEncoder<'_>, prefix: &str, family: &[Sample]) -> fmt::Result {
    let Some(first) = family.first() else { return Ok(()) };
    // The encoder adds `_total`.
    let (name, kind) = match first.kind {
        Kind::Counter => (first.name.strip_suffix("_total").unwrap_or(first.name), MetricType::Counter),
        Kind::Gauge => (first.name, MetricType::Gauge),
    };
    let name = format!("{prefix}{name}");
    let mut metric = encoder.encode_descriptor(&name, first.help, None, kind)?;
    for sample in family {
        match sample.label {
            Some(label) => number(&mut metric.encode_family(&[label])?, sample)?,
            None => number(&mut metric, sample)?,
        }
    }
    Ok(())
}

fn number(metric: &mut MetricEncoder<'_>, sample: &Sample) -> fmt::Result {
    match (sample.kind, sample.value) {
        (Kind::Counter, Value::Whole(n)) => metric.encode_counter::<NoLabelSet, u64, u64>(&n, None),
        (Kind::Counter, Value::Real(x)) => metric.encode_counter::<NoLabelSet, f64, u64>(&x, None),
        (Kind::Gauge, Value::Whole(n)) => metric.encode_gauge(&n),
        (Kind::Gauge, Value::Real(x)) => metric.encode_gauge(&x),
    }
}
