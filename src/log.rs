//! Log lines: the tracing subscriber, its reloadable filter, and the text format.
//!
//! One event is one line on stderr, whatever a client puts into its names: control characters are escaped before the
//! line is written. Colours are used on a terminal only.

use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal as _, Write as _};
use std::str::FromStr;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, reload};

use crate::config::LogFormat;

/// What is logged: a level (`info`), or levels of modules (`info,distkv_broker=debug`). Only valid ones exist.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Filter(String);

/// A filter that can't be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no log filter; it is a level (error, warn, info, debug, trace, off), or levels of modules such as \
     `info,distkv_broker=debug`"
)]
pub struct BadFilter(String);

impl Filter {
    fn build(&self) -> EnvFilter {
        // Only text that parses gets into a `Filter`; the lossy form has no error that could be shown anyway.
        EnvFilter::builder().parse_lossy(&self.0)
    }
}

impl Default for Filter {
    fn default() -> Self {
        Self("info".to_owned())
    }
}

impl FromStr for Filter {
    type Err = BadFilter;

    fn from_str(text: &str) -> Result<Self, BadFilter> {
        let bad = || BadFilter(text.to_owned());
        let text = text.split(',').map(str::trim).collect::<Vec<_>>().join(",");
        for directive in text.split(',') {
            let level = match directive.rsplit_once('=') {
                Some((module, level)) if !module.is_empty() => level,
                Some(_) => return Err(bad()),
                None => directive,
            };
            // Checked here, since the crate takes a lone word that is no level for the name of a module.
            let known = ["error", "warn", "info", "debug", "trace", "off"];
            if !known.iter().any(|name| level.eq_ignore_ascii_case(name)) {
                return Err(bad());
            }
        }
        match EnvFilter::builder().parse(&text) {
            Ok(_) => Ok(Self(text)),
            Err(_) => Err(bad()),
        }
    }
}

impl TryFrom<String> for Filter {
    type Error = BadFilter;

    fn try_from(text: String) -> Result<Self, BadFilter> {
        text.parse()
    }
}

impl From<Filter> for String {
    fn from(filter: Filter) -> Self {
        filter.0
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The running subscriber, for changing its filter.
#[derive(Clone, Debug)]
pub struct Logging {
    filter: reload::Handle<EnvFilter, Registry>,
}

impl Logging {
    /// Installs the subscriber of this process. Only the first call has an effect.
    pub fn start(filter: &Filter, format: LogFormat) -> Self {
        let (layer, handle) = reload::Layer::new(filter.build());
        let registry = tracing_subscriber::registry().with(layer);
        // A log that can't be written (a closed pipe) must not make noise or stop anything.
        let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr).log_internal_errors(false);
        let started = match format {
            LogFormat::Text => {
                let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
                registry.with(lines.event_format(Text { colours })).try_init()
            }
            LogFormat::Json => registry.with(lines.json().flatten_event(true)).try_init(),
        };
        // Another subscriber is there already in tests that run in one process; its lines are as good.
        drop(started);
        Self { filter: handle }
    }

    /// From now on logs what `filter` says.
    pub fn set_filter(&self, filter: &Filter) {
        // Fails only if the subscriber is gone, and with it every line.
        let _gone = self.filter.reload(filter.build());
    }
}

/// From now on a panic is one line in the log (or on stderr, when nothing is logged yet) and nothing else.
pub fn hook_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let message = panic.payload_as_str().unwrap_or("no message");
        if tracing::enabled!(Level::ERROR) {
            tracing::error!("internal error at {place}: {message}");
        } else {
            // Nowhere to say it if stderr is closed.
            let _unheard = writeln!(io::stderr(), "distkv: internal error at {place}: {message}");
        }
    }));
}

/// `2026-11-23T10:00:00.000000Z  INFO distkv_broker::conn: client connected client="lamp"`
struct Text {
    colours: bool,
}

impl<S, N> FormatEvent<S, N> for Text
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let meta = event.metadata();
        let mut line = Line::default();
        event.record(&mut line);
        let (level, colour) = match *meta.level() {
            Level::ERROR => ("ERROR", "\x1b[31m"),
            Level::WARN => (" WARN", "\x1b[33m"),
            Level::INFO => (" INFO", "\x1b[32m"),
            Level::DEBUG => ("DEBUG", "\x1b[34m"),
            Level::TRACE => ("TRACE", "\x1b[35m"),
        };
        SystemTime.format_time(&mut writer)?;
        let (on, off) = if self.colours { (colour, "\x1b[0m") } else { ("", "") };
        writeln!(writer, " {on}{level}{off} {}: {}{}", meta.target(), line.message, line.fields)
    }
}

/// The message and the fields of one event, free of control characters.
#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value:?}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string does not fail; a `Debug` that does has nothing to show.
        let _shown = if field.name() == "message" {
            write!(Escaped(&mut self.message), "{value:?}")
        } else {
            write!(Escaped(&mut self.fields), " {}={value:?}", field.name())
        };
    }
}

/// The text with its control characters as escapes, so that it is one line and harmless on a terminal.
pub(crate) fn escape_controls(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    // Writing to a string does not fail.
    let _written = Escaped(&mut escaped).write_str(text);
    escaped
}

/// Turns control characters into their escapes.
struct Escaped<'a>(&'a mut String);

impl fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            if c.is_control() {
                self.0.extend(c.escape_default());
            } else {
                self.0.push(c);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
