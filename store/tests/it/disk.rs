//! A simulated disk below the journal. It knows what was synced and what was not, and can lose, tear, refuse and damage.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::sync::Arc;

use distkv_store::journal::fs::{Access, File, Fs};
use parking_lot::Mutex;

/// What the disk keeps whole or loses whole when the power goes.
const PAGE: usize = 512;

/// A small generator of random numbers (SplitMix64): the same seed, the same numbers.
#[derive(Clone, Debug)]
pub(crate) struct Random(pub u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    /// True once in `n`.
    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

/// A disk with one directory on it. Clones are the same disk.
#[derive(Clone, Default)]
pub(crate) struct Disk(Arc<Mutex<State>>);

#[derive(Clone, Default)]
struct State {
    inodes: Vec<Inode>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    unsynced_names: Vec<NameChange>,
    /// How many calls it took.
    calls: u64,
    faults: Faults,
}

/// What goes wrong. The default is nothing.
#[derive(Clone, Default)]
pub(crate) struct Faults {
    /// From this call on every one fails: the process is as good as dead.
    pub dead_from: Option<u64>,
    /// So many bytes fit on the disk.
    pub space: Option<u64>,
    /// Files whose names begin so can't be written.
    pub bad_writes: Option<&'static str>,
    /// Nothing can be synced.
    pub bad_syncs: bool,
    /// Syncs of files do not come to their end until this is taken back or the disk is dead.
    pub(crate) stuck_syncs: bool,
    /// Names can't be synced.
    pub(crate) bad_dir_syncs: bool,
    /// Nothing can be removed.
    pub bad_removes: bool,
}

#[derive(Clone, Default)]
struct Inode {
    content: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Change>,
}

#[derive(Clone)]
enum Change {
    Write(usize, Vec<u8>),
    Grow(usize),
    Cut(usize),
}

#[derive(Clone)]
enum NameChange {
    Add(String, usize),
    Rename(String, String, usize),
    Remove(String),
}

impl Disk {
    /// How many calls the disk took.
    pub(crate) fn calls(&self) -> u64 {
        self.0.lock().calls
    }

    /// Sets what goes wrong from now on.
    pub(crate) fn set_faults(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.0.lock().faults);
    }

    /// Another disk like this one.
    pub(crate) fn fork(&self) -> Self {
        Self(Arc::new(Mutex::new(self.0.lock().clone())))
    }

    /// The disk after a crash of the process: all that was written is there, synced or not. The old disk answers nobody any more.
    pub(crate) fn crash(&self) -> Self {
        let mut old = self.0.lock();
        let mut state = old.clone();
        old.faults.dead_from = Some(0);
        state.faults = Faults::default();
        Self(Arc::new(Mutex::new(state)))
    }

    /// The disk after a power cut: of what was not synced, any part may be there.
    pub(crate) fn power_cut(&self, random: &mut Random) -> Self {
        let crashed = self.crash();
        {
            let mut state = crashed.0.lock();
            let mut names = std::mem::take(&mut state.durable_names);
            for change in std::mem::take(&mut state.unsynced_names) {
                if random.one_in(2) {
                    change.apply(&mut names);
                }
            }
            state.durable_names = names.clone();
            state.names = names;
            for inode in &mut state.inodes {
                inode.power_cut(random);
            }
        }
        crashed
    }

    /// The names on the disk.
    pub(crate) fn names(&self) -> Vec<String> {
        self.0.lock().names.keys().cloned().collect()
    }

    /// A file's bytes.
    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        let state = self.0.lock();
        state.inodes[state.names[name]].content.clone()
    }

    /// Changes a file's bytes behind everybody's back, durably.
    pub(crate) fn damage(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.0.lock();
        let inode = state.names[name];
        let inode = &mut state.inodes[inode];
        change(&mut inode.content);
        inode.durable = inode.content.clone();
        inode.unsynced.clear();
    }

    /// Puts a file on the disk, durably.
    pub(crate) fn put(&self, name: &str, bytes: Vec<u8>) {
        let mut state = self.0.lock();
        let inode = state.inodes.len();
        state.inodes.push(Inode { content: bytes.clone(), durable: bytes, unsynced: Vec::new() });
        state.names.insert(name.to_owned(), inode);
        state.durable_names.insert(name.to_owned(), inode);
    }

    /// Takes a file off the disk, durably.
    pub(crate) fn take(&self, name: &str) -> Vec<u8> {
        let bytes = self.read(name);
        let mut state = self.0.lock();
        state.names.remove(name);
        state.durable_names.remove(name);
        bytes
    }

    fn call(&self) -> io::Result<parking_lot::MutexGuard<'_, State>> {
        let mut state = self.0.lock();
        state.calls += 1;
        if state.faults.dead_from.is_some_and(|from| state.calls >= from) {
            return Err(io::Error::other("the process is dead"));
        }
        Ok(state)
    }
}

impl State {
    fn used(&self) -> u64 {
        self.names.values().map(|inode| self.inodes[*inode].content.len() as u64).sum()
    }

    fn check_space(&self, more: usize) -> io::Result<()> {
        match self.faults.space {
            Some(space) if self.used() + more as u64 > space => Err(ErrorKind::StorageFull.into()),
            _ => Ok(()),
        }
    }

    fn find(&self, name: &str) -> io::Result<usize> {
        self.names.get(name).copied().ok_or_else(|| ErrorKind::NotFound.into())
    }
}

impl NameChange {
    fn apply(self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Add(name, inode) => drop(names.insert(name, inode)),
            Self::Remove(name) => drop(names.remove(&name)),
            Self::Rename(from, to, inode) => {
                names.retain(|name, at| *name != from || *at != inode);
                names.insert(to, inode);
            }
        }
    }
}

impl Inode {
    fn change(&mut self, change: Change) {
        change.apply(&mut self.content);
        self.unsynced.push(change);
    }

    fn power_cut(&mut self, random: &mut Random) {
        let mut content = std::mem::take(&mut self.durable);
        // Sometimes all of it is lost, sometimes little of it, and in any order.
        let lost = 1 + random.below(4);
        for change in std::mem::take(&mut self.unsynced) {
            for part in change.pages() {
                if random.below(4) >= lost {
                    part.apply(&mut content);
                } else if random.one_in(8)
                    && let Change::Write(at, bytes) = part
                {
                    // A torn page.
                    let torn = random.below(bytes.len());
                    Change::Write(at, bytes[..torn].to_vec()).apply(&mut content);
                }
            }
        }
        self.content = content.clone();
        self.durable = content;
    }
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Write(at, bytes) => {
                let end = at + bytes.len();
                if content.len() < end {
                    content.resize(end, 0);
                }
                content[*at..end].copy_from_slice(bytes);
            }
            Self::Grow(len) => content.resize((*len).max(content.len()), 0),
            Self::Cut(len) => content.truncate(*len),
        }
    }

    /// The parts which the disk keeps or loses each by itself.
    fn pages(self) -> Vec<Self> {
        let Self::Write(mut at, bytes) = self else {
            return vec![self];
        };
        let mut pages = Vec::new();
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let here = (PAGE - at % PAGE).min(rest.len());
            pages.push(Self::Write(at, rest[..here].to_vec()));
            at += here;
            rest = &rest[here..];
        }
        pages
    }
}

impl Fs for Disk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.call()?.names.keys().cloned().collect())
    }

    fn open(&self, name: &str, _access: Access) -> io::Result<Arc<dyn File>> {
        let inode = self.call()?.find(name)?;
        Ok(Arc::new(SimFile { disk: self.clone(), inode, name: name.to_owned() }))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let mut state = self.call()?;
        let inode = match state.names.get(name) {
            Some(inode) => {
                let inode = *inode;
                state.inodes[inode].change(Change::Cut(0));
                inode
            }
            None => {
                let inode = state.inodes.len();
                state.inodes.push(Inode::default());
                state.names.insert(name.to_owned(), inode);
                state.unsynced_names.push(NameChange::Add(name.to_owned(), inode));
                inode
            }
        };
        Ok(Arc::new(SimFile { disk: self.clone(), inode, name: name.to_owned() }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.call()?;
        let inode = state.find(from)?;
        let change = NameChange::Rename(from.to_owned(), to.to_owned(), inode);
        change.clone().apply(&mut state.names);
        state.unsynced_names.push(change);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.call()?;
        if state.faults.bad_removes {
            return Err(io::Error::other("bad disk"));
        }
        state.find(name)?;
        state.names.remove(name);
        state.unsynced_names.push(NameChange::Remove(name.to_owned()));
        Ok(())
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut state = self.call()?;
        if state.faults.bad_syncs || state.faults.bad_dir_syncs {
            return Err(io::Error::other("bad disk"));
        }
        state.durable_names = state.names.clone();
        state.unsynced_names.clear();
        Ok(())
    }

    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from("/sim").join(name)
    }
}

struct SimFile {
    disk: Disk,
    inode: usize,
    name: String,
}

impl File for SimFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.disk.call()?;
        let content = &state.inodes[self.inode].content;
        let rest = content.get(offset as usize..).unwrap_or_default();
        // Short reads are part of the contract.
        let n = rest.len().min(buf.len()).min(64 << 10);
        buf[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.disk.call()?;
        if state.faults.bad_writes.is_some_and(|prefix| self.name.starts_with(prefix)) {
            return Err(io::Error::other("bad disk"));
        }
        let offset = offset as usize;
        let have = state.inodes[self.inode].content.len();
        state.check_space((offset + bytes.len()).saturating_sub(have))?;
        state.inodes[self.inode].change(Change::Write(offset, bytes.to_vec()));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.call()?;
        // Not for ever: a test that fails meanwhile must come to its end.
        for _ in 0..30_000 {
            if !state.faults.stuck_syncs || state.faults.dead_from.is_some() {
                break;
            }
            drop(state);
            std::thread::sleep(std::time::Duration::from_millis(1));
            state = self.disk.0.lock();
        }
        if state.faults.bad_syncs {
            return Err(io::Error::other("bad disk"));
        }
        let inode = &mut state.inodes[self.inode];
        inode.durable.clone_from(&inode.content);
        inode.unsynced.clear();
        Ok(())
    }

    fn reserve(&self, len: u64) -> io::Result<()> {
        let mut state = self.disk.call()?;
        let have = state.inodes[self.inode].content.len();
        state.check_space((len as usize).saturating_sub(have))?;
        state.inodes[self.inode].change(Change::Grow(len as usize));
        Ok(())
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.disk.call()?.inodes[self.inode].change(Change::Cut(len as usize));
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.disk.call()?.inodes[self.inode].content.len() as u64)
    }
}
