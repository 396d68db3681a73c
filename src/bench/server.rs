//! What a run costs the server, as Linux tells it below `/proc`: CPU time and memory of the process that listens on the port.

use std::fs;
use std::path::Path;

/// By how many seconds ticks may say more than threads do: two roundings.
const THREADS_LACK_MAX: f64 = 0.02;

/// A process that is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Process {
    /// Its number.
    pub(super) pid: u32,
}

/// A process at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Sample {
    /// User and system time of all its threads since it began, in seconds: exact to a tick (a hundredth).
    pub(super) cpu_seconds: f64,
    /// The same of the threads that it has now, exact to a nanosecond. 0: the system does not tell.
    pub(super) thread_seconds: f64,
    /// Resident memory.
    pub(super) rss_bytes: u64,
}

impl Process {
    /// The process that listens on a TCP port of this machine, if it may be seen.
    pub(super) fn listening_on(port: u16) -> Option<Self> {
        let sockets: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
            .iter()
            .filter_map(|table| fs::read_to_string(table).ok())
            .flat_map(|table| sockets_listening(&table, port))
            .collect();
        if sockets.is_empty() {
            return None;
        }
        let processes = fs::read_dir("/proc").ok()?;
        processes
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .find(|pid| holds_any(Path::new(&format!("/proc/{pid}/fd")), &sockets))
            .map(|pid| Self { pid })
    }

    /// The load tool itself.
    pub(super) fn own() -> Self {
        Self { pid: std::process::id() }
    }

    /// Its CPU time and memory now; `None` if it has ended.
    pub(super) fn sample(self) -> Option<Sample> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).ok()?;
        let (ticks, pages) = parse_stat(&stat)?;
        let ticks_per_second = rustix::param::clock_ticks_per_second().max(1);
        Some(Sample {
            cpu_seconds: ticks as f64 / ticks_per_second as f64,
            thread_seconds: self.thread_seconds().unwrap_or_default(),
            rss_bytes: pages * rustix::param::page_size() as u64,
        })
    }
}

impl Process {
    fn thread_seconds(self) -> Option<f64> {
        let threads = fs::read_dir(format!("/proc/{}/task", self.pid)).ok()?;
        let nanos = threads.filter_map(|thread| {
            let text = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
            text.split_whitespace().next()?.parse::<u64>().ok()
        });
        Some(nanos.sum::<u64>() as f64 / 1e9)
    }
}

impl Sample {
    /// CPU seconds since an earlier sample. Ticks are too coarse for a short run; but if they say clearly more than the threads
    /// do, then some of those have ended.
    pub(super) fn cpu_seconds_since(&self, earlier: &Self) -> f64 {
        let ticks = self.cpu_seconds - earlier.cpu_seconds;
        let threads = self.thread_seconds - earlier.thread_seconds;
        if threads > 0.0 && ticks - threads < THREADS_LACK_MAX { threads } else { ticks }
    }
}

/// The sockets that listen on `port`, from the text of `/proc/net/tcp`, as the links in `/proc/PID/fd` name them.
fn sockets_listening(table: &str, port: u16) -> Vec<String> {
    let wanted = format!("{port:04X}");
    table
        .lines()
        .filter_map(|line| {
            let mut fields = line.split_whitespace();
            let (_, local_port) = fields.nth(1)?.rsplit_once(':')?;
            let state = fields.nth(1)?;
            let inode = fields.nth(5)?;
            (local_port == wanted && state == "0A").then(|| format!("socket:[{inode}]"))
        })
        .collect()
}

fn holds_any(descriptors: &Path, sockets: &[String]) -> bool {
    let Ok(descriptors) = fs::read_dir(descriptors) else { return false };
    descriptors
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .any(|target| sockets.iter().any(|inode| target.as_os_str() == inode.as_str()))
}

/// Ticks of CPU time and resident pages, from the text of `/proc/PID/stat`. The name in parentheses may hold anything.
fn parse_stat(stat: &str) -> Option<(u64, u64)> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    // The third field of the file is the first here: utime is the 14th, stime the 15th, rss the 24th.
    let user: u64 = fields.nth(11)?.parse().ok()?;
    let kernel: u64 = fields.next()?.parse().ok()?;
    let pages = fields.nth(8)?.parse().ok()?;
    Some((user + kernel, pages))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn the_fields_of_stat_are_found_behind_any_name() {
        let stat = "42 (a) b) c) S 1 2 3 4 5 6 7 8 9 10 700 80 13 14 15 16 17 18 19 20 21000 22 23";
        assert_eq!(parse_stat(stat), Some((780, 21_000)));
    }

    #[test]
    fn the_listener_of_a_port_is_found() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let port = listener.local_addr().expect("bound").port();
        assert_eq!(Process::listening_on(port), Some(Process::own()));
    }

    #[test]
    fn a_process_has_memory_and_an_ended_one_nothing() {
        assert!(Process::own().sample().expect("alive").rss_bytes > 0);
        assert_eq!(Process { pid: u32::MAX }.sample(), None);
    }

    #[test]
    fn the_time_of_threads_counts_unless_some_have_ended() {
        let sample = |cpu_seconds, thread_seconds| Sample { cpu_seconds, thread_seconds, rss_bytes: 0 };
        let since = |now: Sample, earlier: Sample| (now.cpu_seconds_since(&earlier) * 1e6).round() / 1e6;
        assert_eq!(since(sample(1.01, 1.0154), sample(1.0, 1.0)), 0.0154);
        assert_eq!(since(sample(1.5, 1.2), sample(1.0, 1.0)), 0.5, "a thread has ended in between");
        assert_eq!(since(sample(1.5, 0.0), sample(1.0, 0.0)), 0.5, "threads are not told");
    }

    #[test]
    fn the_time_of_a_thread_that_works_grows() {
        let before = Process::own().sample().expect("alive");
        let mut sum = 0_u64;
        while Process::own().sample().expect("alive").cpu_seconds_since(&before) < 0.001 {
            sum = (0..10_000_u64).fold(sum, u64::wrapping_add);
        }
        assert!(std::hint::black_box(sum) > 0);
    }
}
