//! The file trait: everything the journal asks of a file system, narrow enough that a test can stand in for it and
//! lose, tear, refuse or damage what was written.

use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::FallocateFlags;
use rustix::io::Errno;

/// The files of one data directory. Names are plain file names without a slash.
///
/// Nothing is promised to survive a power cut but what [`File::sync`] and [`Fs::sync_dir`] have confirmed: bytes need the
/// first, names (new, renamed, removed) the second.
pub trait Fs: Send + Sync {
    /// The names of all files in the directory, in no particular order.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Opens an existing file.
    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn File>>;
    /// Makes a new, empty file for reading and writing. A file of that name is emptied.
    fn create(&self, name: &str) -> io::Result<Arc<dyn File>>;
    /// Renames a file; one which has the new name already is replaced.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes the names durable.
    fn sync_dir(&self) -> io::Result<()>;
    /// How messages for people call this file.
    fn path(&self, name: &str) -> PathBuf;
}

/// An open file. All positions are in bytes from its beginning.
pub trait File: Send + Sync {
    /// Reads up to `buf.len()` bytes at `offset`; 0 at the end of the file.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all of `bytes` at `offset`.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Makes all that was written durable (fdatasync).
    fn sync(&self) -> io::Result<()>;
    /// Reserves space, so that the file is at least `len` bytes long and writes below that do not run out of space. The
    /// new part reads as zeros.
    fn reserve(&self, len: u64) -> io::Result<()>;
    /// Cuts the file to `len` bytes.
    fn truncate(&self, len: u64) -> io::Result<()>;
    /// The length in bytes.
    fn size(&self) -> io::Result<u64>;
}

/// What a file is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading only; works on read-only media.
    Read,
    /// Reading and writing.
    Write,
}

/// A directory of the operating system.
#[derive(Clone, Debug)]
pub struct DiskFs {
    dir: PathBuf,
}

impl DiskFs {
    /// A directory that exists already.
    pub fn existing(dir: &Path) -> io::Result<Self> {
        if !fs::metadata(dir)?.is_dir() {
            return Err(io::Error::from(io::ErrorKind::NotADirectory));
        }
        Ok(Self { dir: dir.to_owned() })
    }

    /// A directory, which is made (with those above it) where it is missing. New names are durable when this returns.
    pub fn create(dir: &Path) -> io::Result<Self> {
        let missing: Vec<&Path> = dir.ancestors().take_while(|d| !as_given(d).exists()).collect();
        fs::create_dir_all(dir)?;
        for made in missing {
            if let Some(above) = made.parent() {
                fs::File::open(as_given(above))?.sync_all()?;
            }
        }
        Self::existing(dir)
    }
}

/// The empty path, as the parent of a relative one, means the current directory.
fn as_given(dir: &Path) -> &Path {
    if dir.as_os_str().is_empty() { Path::new(".") } else { dir }
}

impl Fs for DiskFs {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            // A name which is not UTF-8 is none of ours.
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn File>> {
        let write = access == Access::Write;
        let file = fs::File::options().read(true).write(write).open(self.path(name))?;
        Ok(Arc::new(DiskFile(file)))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let file =
            fs::File::options().read(true).write(true).create(true).truncate(true).open(self.path(name))?;
        Ok(Arc::new(DiskFile(file)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path(name))
    }

    fn sync_dir(&self) -> io::Result<()> {
        fs::File::open(as_given(&self.dir))?.sync_all()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

struct DiskFile(fs::File);

impl File for DiskFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        loop {
            match self.0.read_at(buf, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn reserve(&self, len: u64) -> io::Result<()> {
        match rustix::fs::fallocate(&self.0, FallocateFlags::empty(), 0, len) {
            // Not every file system can reserve. There a full disk shows itself at the write only.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) if self.size()? < len => self.0.set_len(len),
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserved_file_has_its_length_and_reads_as_zeros() {
        let dir = tempfile::tempdir().unwrap();
        let fs = DiskFs::create(dir.path()).unwrap();
        let file = fs.create("a").unwrap();
        file.write_all_at(b"xy", 0).unwrap();
        file.reserve(10_000).unwrap();
        assert_eq!(file.size().unwrap(), 10_000);
        let mut buf = vec![1; 10_000];
        assert_eq!(file.read_at(&mut buf, 0).unwrap(), 10_000);
        assert_eq!(&buf[..2], b"xy");
        assert!(buf[2..].iter().all(|b| *b == 0));
        file.truncate(2).unwrap();
        assert_eq!(file.size().unwrap(), 2);
        file.sync().unwrap();
    }

    #[test]
    fn missing_directories_are_made() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("a/b/c");
        assert!(DiskFs::existing(&deep).is_err());
        let fs = DiskFs::create(&deep).unwrap();
        fs.create("one").unwrap();
        fs.rename("one", "two").unwrap();
        fs.sync_dir().unwrap();
        assert_eq!(fs.list().unwrap(), ["two"]);
        fs.remove("two").unwrap();
        assert!(fs.list().unwrap().is_empty());
        assert!(fs.open("two", Access::Read).is_err());
    }
}
