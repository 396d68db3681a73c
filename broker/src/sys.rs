//! `$SYS/broker/...`: what monitoring tools read from a broker, under mosquitto's names and with its meanings; and below
//! `$SYS/broker/distkv/` every number that `/metrics` has, by the same name.
//!
//! It keeps the current values itself, as retained messages that belong to no store: a new subscriber gets them from here.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::broker::Core;
use crate::hooks::{Progress, Replay, RetainedMessage};
use crate::message::QoS;
use crate::metrics::Metrics;
use crate::router::Outgoing;
use crate::tasks::Stop;
use crate::{clock, topic, worker};

/// The first level of the broker's own topics.
pub(crate) const ROOT: &str = "$SYS";

/// Below `$SYS/broker`, what only this broker has.
const OWN: &str = "distkv";

/// The current values, by topic.
pub(crate) type Values = Arc<Mutex<BTreeMap<String, Bytes>>>;

/// Is this topic or filter one of the broker's own?
pub(crate) fn owns(topic: &str) -> bool {
    topic.strip_prefix(ROOT).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Computes the values. The averages are exponential ones of a rate per minute, as a system's load.
#[derive(Debug)]
pub(crate) struct Sys {
    values: Values,
    averages: Vec<Average>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Average {
    counted: u64,
    per_minute: [f64; 3],
}

const WINDOWS: [(&str, f64); 3] = [("1min", 1.0), ("5min", 5.0), ("15min", 15.0)];

/// What the counters of [`Metrics`] do not hold.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Figures {
    pub(crate) uptime: Duration,
    pub(crate) retained: u64,
    pub(crate) shared: u64,
}

impl Sys {
    pub(crate) fn new(values: Values) -> Self {
        Self { values, averages: Vec::new() }
    }

    /// Computes all values anew, `passed` after the last time, and tells those that changed.
    pub(crate) fn renew(
        &mut self,
        metrics: &Metrics,
        figures: Figures,
        passed: Duration,
        changed: &mut dyn FnMut(&str, &Bytes),
    ) {
        let mut now = Vec::new();
        current(metrics, figures, &mut now);
        self.load(metrics, passed, &mut now);
        for (name, value) in now {
            let topic = format!("{ROOT}/broker/{name}");
            let value = Bytes::from(value);
            let known = self.values.lock().insert(topic.clone(), value.clone());
            if known.as_ref() != Some(&value) {
                changed(&topic, &value);
            }
        }
    }

    fn load(&mut self, metrics: &Metrics, passed: Duration, values: &mut Vec<(String, String)>) {
        let counters = [
            ("messages/received", metrics.packets_received.get()),
            ("messages/sent", metrics.packets_sent.get()),
            ("publish/received", metrics.publish_received.get()),
            ("publish/sent", metrics.publish_sent.get()),
            ("publish/dropped", metrics.dropped_total()),
            ("bytes/received", metrics.bytes_received.get()),
            ("bytes/sent", metrics.bytes_sent.get()),
            ("sockets", metrics.sockets_opened.get()),
            ("connections", metrics.connects.get()),
        ];
        self.averages.resize(counters.len(), Average::default());
        for ((name, counted), average) in counters.into_iter().zip(&mut self.averages) {
            average.count(counted, passed);
            for ((window, _), value) in WINDOWS.into_iter().zip(average.per_minute) {
                values.push((format!("load/{name}/{window}"), format!("{value:.2}")));
            }
        }
    }
}

impl Average {
    #[expect(clippy::cast_precision_loss, reason = "an average with two decimals")]
    fn count(&mut self, counted: u64, passed: Duration) {
        let minutes = passed.as_secs_f64() / 60.0;
        if minutes <= 0.0 {
            return;
        }
        let rate = counted.saturating_sub(self.counted) as f64 / minutes;
        self.counted = counted;
        for ((_, window), average) in WINDOWS.into_iter().zip(&mut self.per_minute) {
            *average = rate + (-minutes / window).exp() * (*average - rate);
        }
    }
}

fn current(metrics: &Metrics, figures: Figures, values: &mut Vec<(String, String)>) {
    let sessions = metrics.sessions.get();
    let connected = metrics.connections.get();
    let offline = sessions.saturating_sub(connected);
    let stored = figures.retained + metrics.queued_messages.get();
    let numbers = [
        ("clients/total", sessions),
        ("clients/maximum", metrics.connections_max.get()),
        ("clients/connected", connected),
        ("clients/active", connected),
        ("clients/disconnected", offline),
        ("clients/inactive", offline),
        ("clients/expired", metrics.sessions_expired.get()),
        ("messages/received", metrics.packets_received.get()),
        ("messages/sent", metrics.packets_sent.get()),
        ("messages/stored", stored),
        ("store/messages/count", stored),
        ("store/messages/bytes", metrics.queued_bytes.get()),
        ("publish/messages/received", metrics.publish_received.get()),
        ("publish/messages/sent", metrics.publish_sent.get()),
        ("publish/messages/dropped", metrics.dropped_total()),
        ("publish/bytes/received", metrics.publish_bytes_received.get()),
        ("publish/bytes/sent", metrics.publish_bytes_sent.get()),
        ("bytes/received", metrics.bytes_received.get()),
        ("bytes/sent", metrics.bytes_sent.get()),
        ("subscriptions/count", metrics.subscriptions.get()),
        ("shared_subscriptions/count", figures.shared),
        ("retained messages/count", figures.retained),
    ];
    values.push(("version".into(), concat!("distkv version ", env!("CARGO_PKG_VERSION")).into()));
    values.push(("uptime".into(), format!("{} seconds", figures.uptime.as_secs())));
    values.extend(numbers.map(|(name, value)| (name.into(), value.to_string())));
    // What mosquitto has no name for goes by that of the metric.
    metrics.visit(&mut |sample| {
        let label = sample.label.map_or_else(String::new, |(_, value)| format!("/{value}"));
        values.push((format!("{OWN}/{}{label}", sample.name), sample.value.to_string()));
    });
}

/// Renews the values again and again and publishes those that changed.
pub(crate) async fn publish(core: Arc<Core>, mut stop: Stop) {
    let mut sys = Sys::new(Arc::clone(&core.sys));
    let mut last = core.started;
    loop {
        let interval = core.limits().sys_interval;
        if !interval.is_zero() {
            let now = clock::now();
            let figures = Figures {
                uptime: now - core.started,
                retained: core.hooks.retained_count(),
                shared: core.router.shared_groups() as u64,
            };
            worker::with(|worker| {
                sys.renew(&core.metrics, figures, now - last, &mut |topic, value| {
                    let message = Outgoing::with_shared(topic, value, QoS::AtMostOnce);
                    core.router.publish(&message, &mut worker.routing, &core);
                });
                worker.routing.finish(None, &core);
            });
            last = now;
        }
        // When it is off: a look from time to time whether it still is.
        let pause = if interval.is_zero() { Duration::from_secs(5) } else { interval };
        tokio::select! {
            () = stop.stopped() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Replays the current values to one new subscriber.
pub(crate) fn replay(values: &Values, filter: &str) -> Box<dyn Replay> {
    Box::new(SysReplay { values: Arc::clone(values), filter: filter.into(), last: None })
}

struct SysReplay {
    values: Values,
    filter: String,
    last: Option<String>,
}

impl Replay for SysReplay {
    fn slice(
        &mut self,
        messages: usize,
        _bytes: usize,
        sink: &mut dyn FnMut(RetainedMessage<'_>),
    ) -> Progress {
        let values = self.values.lock();
        let from = self.last.take().map_or(Bound::Unbounded, Bound::Excluded);
        let mut room = messages;
        for (topic, value) in values.range((from, Bound::Unbounded)) {
            if !topic::matches(&self.filter, topic) {
                continue;
            }
            if room == 0 {
                return Progress::More;
            }
            sink(RetainedMessage::new(topic, value, 0));
            self.last = Some(topic.clone());
            room -= 1;
        }
        Progress::Done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn renewed(sys: &mut Sys, metrics: &Metrics) -> BTreeMap<String, String> {
        let mut changed = BTreeMap::new();
        sys.renew(
            metrics,
            Figures { uptime: MINUTE, retained: 2, shared: 0 },
            MINUTE,
            &mut |topic, value| {
                changed.insert(topic.to_owned(), String::from_utf8(value.to_vec()).unwrap());
            },
        );
        changed
    }

    #[test]
    fn tells_all_values_first_and_then_what_changed() {
        let metrics = Metrics::default();
        let mut sys = Sys::new(Values::default());
        let first = renewed(&mut sys, &metrics);
        assert_eq!(first["$SYS/broker/uptime"], "60 seconds");
        assert_eq!(first["$SYS/broker/retained messages/count"], "2");
        assert!(first["$SYS/broker/version"].starts_with("distkv version "));
        assert!(renewed(&mut sys, &metrics).is_empty());
        metrics.sessions.add(3);
        metrics.connections.add(1);
        let changed = renewed(&mut sys, &metrics);
        assert_eq!(changed["$SYS/broker/clients/total"], "3");
        assert_eq!(changed["$SYS/broker/clients/disconnected"], "2");
        assert_eq!(changed["$SYS/broker/distkv/sessions"], "3");
        assert!(!changed.contains_key("$SYS/broker/uptime"));
    }

    #[test]
    fn load_is_an_average_per_minute_that_follows_a_change() {
        let metrics = Metrics::default();
        let mut sys = Sys::new(Values::default());
        renewed(&mut sys, &metrics);
        for _ in 0..100 {
            metrics.packets_received.add(600);
            renewed(&mut sys, &metrics);
        }
        let values = sys.values.lock();
        assert_eq!(values["$SYS/broker/load/messages/received/1min"], "600.00");
        assert_eq!(values["$SYS/broker/load/messages/received/5min"], "600.00");
        assert_eq!(values["$SYS/broker/load/messages/received/15min"], "599.24");
    }

    #[test]
    fn a_replay_in_small_slices_gives_every_matching_value_once() {
        let mut sys = Sys::new(Values::default());
        renewed(&mut sys, &Metrics::default());
        let mut replay = replay(&sys.values, "$SYS/broker/clients/+");
        let mut topics = Vec::new();
        while replay.slice(2, 100, &mut |message| topics.push(message.topic.to_owned())) == Progress::More {}
        assert_eq!(topics.len(), 7);
        assert!(topics.is_sorted());
    }

    #[test]
    fn owns_only_the_sys_tree() {
        assert!(owns("$SYS") && owns("$SYS/broker/x") && owns("$SYS/#"));
        assert!(!owns("$SYSTEM/x") && !owns("SYS/x") && !owns("#"));
    }
}
