//! The numbers of the process itself, under the names that Prometheus's own libraries use.

use std::fs;
use std::time::Duration;

use super::metrics::{Kind, Sample, Value};

/// Tells the numbers that can be read. Elsewhere than on Linux those are few.
pub(super) fn samples(tell: &mut dyn FnMut(Sample)) {
    let mut gauge = |name, help, value: Option<u64>| {
        if let Some(value) = value {
            tell(Sample { name, help, kind: Kind::Gauge, label: None, value: Value::Whole(value) });
        }
    };
    gauge("process_resident_memory_bytes", "Memory that is held in RAM.", resident_bytes());
    gauge("process_open_fds", "Open file descriptors.", open_files());
    gauge("process_max_fds", "The limit of open file descriptors.", rlimit::Resource::NOFILE.get_soft().ok());
    tell(Sample {
        name: "process_cpu_seconds_total",
        help: "CPU time used, in user and system mode.",
        kind: Kind::Counter,
        label: None,
        value: Value::Real(cpu_time().as_secs_f64()),
    });
}

fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

fn open_files() -> Option<u64> {
    let entries = fs::read_dir("/proc/self/fd").ok()?.count();
    // One of them is the directory that is being read.
    Some((entries as u64).saturating_sub(1))
}

fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::try_from(time).unwrap_or_default()
}
