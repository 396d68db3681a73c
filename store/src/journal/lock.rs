//! The lock file: one process per data directory, and a second one is told which has it.

use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::Path;
use std::time::Duration;

const LOCK_FILE: &str = "LOCK";

/// How often, and in what distance, a taken lock is tried again: a server that is restarted meets its predecessor's last
/// moments, and a dump holds the lock for as long as it reads.
const TRIES: u32 = 10;
const DISTANCE: Duration = Duration::from_millis(50);

/// A locked data directory; dropping it unlocks. The operating system unlocks too when the process ends, in whatever way.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Who has a directory open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The process, if the file tells.
    pub pid: Option<u32>,
    /// The host it runs on, if the file tells.
    pub host: Option<String>,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pid {
            Some(pid) => write!(f, "process {pid}")?,
            None => write!(f, "another process")?,
        }
        match &self.host {
            Some(host) => write!(f, " on host {host}"),
            None => Ok(()),
        }
    }
}

/// Why a lock was not got.
#[derive(Debug)]
pub enum LockError {
    /// Another process has it (or this one, a second time).
    Held(Holder),
    /// The file can't be used.
    Io(io::Error),
}

impl Lock {
    /// Locks the directory, which must exist.
    pub fn acquire(dir: &Path) -> Result<Self, LockError> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(dir.join(LOCK_FILE))
            .map_err(LockError::Io)?;
        for tried in 1.. {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(error)) => return Err(LockError::Io(error)),
                Err(TryLockError::WouldBlock) if tried == TRIES => {
                    return Err(LockError::Held(Holder::read(&mut file)));
                }
                Err(TryLockError::WouldBlock) => std::thread::sleep(DISTANCE),
            }
        }
        // For people and for the message above only; the lock itself is the kernel's.
        let line = format!("{} {}\n", std::process::id(), host_name());
        let written =
            file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(line.as_bytes()));
        if let Err(error) = written {
            tracing::warn!(%error, "can't note this process in the lock file");
        }
        Ok(Self { _file: file })
    }
}

impl Holder {
    fn read(file: &mut File) -> Self {
        let mut text = String::new();
        // An unreadable note tells nothing, and that is what is shown.
        let _ = file.rewind().and_then(|()| file.take(1024).read_to_string(&mut text));
        let mut words = text.split_whitespace();
        Self { pid: words.next().and_then(|pid| pid.parse().ok()), host: words.next().map(str::to_owned) }
    }
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_lock_is_refused_and_names_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let first = Lock::acquire(dir.path()).unwrap();
        let Err(LockError::Held(holder)) = Lock::acquire(dir.path()) else {
            panic!("locked twice");
        };
        assert_eq!(holder.pid, Some(std::process::id()));
        assert_eq!(holder.host, Some(host_name()));
        drop(first);
        Lock::acquire(dir.path()).unwrap();
    }

    #[test]
    fn a_lock_file_without_words_names_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let held = Lock::acquire(dir.path()).unwrap();
        std::fs::write(dir.path().join(LOCK_FILE), [0xff, 0]).unwrap();
        let Err(LockError::Held(holder)) = Lock::acquire(dir.path()) else {
            panic!("locked twice");
        };
        assert_eq!(holder.to_string(), "another process");
        drop(held);
    }
}
