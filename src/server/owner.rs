//! Who listens on a port? Read from `/proc`, for the message that says a port is in use.

use std::fmt;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

/// A process that listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    pid: u32,
    name: String,
}

impl Owner {
    pub(super) fn is_this_process(&self) -> bool {
        self.pid == std::process::id()
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (process {})", self.name, self.pid)
    }
}

/// The process that listens on this port by TCP, as far as we may see it: those of other users are hidden from all but root.
pub(super) fn of_port(address: SocketAddr) -> Option<Owner> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let inodes: Vec<String> = tables
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| listening(&table, address.port()))
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    if inodes.is_empty() {
        return None;
    }
    let processes = fs::read_dir("/proc").ok()?.filter_map(Result::ok);
    processes.map(|entry| entry.path()).find_map(|process| {
        let pid = process.file_name()?.to_str()?.parse().ok()?;
        holds(&process, &inodes).then(|| Owner { pid, name: name(&process) })
    })
}

/// The inodes of the sockets which listen on `port`, from the text of `/proc/net/tcp`.
fn listening(table: &str, port: u16) -> Vec<u64> {
    const LISTEN: &str = "0A";
    let inode = |line: &str| {
        let mut words = line.split_whitespace();
        let local = words.nth(1)?;
        let state = words.nth(1)?;
        let inode = words.nth(5)?;
        let (_, local_port) = local.rsplit_once(':')?;
        let matches = state == LISTEN && u16::from_str_radix(local_port, 16) == Ok(port);
        if matches { inode.parse().ok() } else { None }
    };
    table.lines().skip(1).filter_map(inode).collect()
}

/// Has the process one of these sockets open?
fn holds(process: &Path, sockets: &[String]) -> bool {
    let Ok(files) = fs::read_dir(process.join("fd")) else { return false };
    files
        .filter_map(|file| fs::read_link(file.ok()?.path()).ok())
        .any(|target| target.to_str().is_some_and(|target| sockets.iter().any(|socket| socket == target)))
}

fn name(process: &Path) -> String {
    fs::read_to_string(process.join("comm")).map(|name| name.trim().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_the_kernel_is_read() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            0: 0100007F:075B 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4711 1 0000 100\n\
            1: 0100007F:075B 0100007F:C350 01 00000000:00000000 00:00000000 00000000  1000        0 4712 1 0000 100\n\
            2: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4713 1 0000 100\n";
        assert_eq!(listening(table, 1883), [4711]);
        assert_eq!(listening(table, 22), [4713]);
        assert!(listening(table, 23).is_empty());
        assert!(listening("rubbish\nmore rubbish here\n", 1).is_empty());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_process_behind_a_port_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let owner = of_port(listener.local_addr().unwrap()).unwrap();
        assert_eq!(owner.pid, std::process::id());
        assert!(!owner.name.is_empty());
    }
}
