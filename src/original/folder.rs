//! Where files may be written on request: below one directory, whatever the name says and whatever links lie there.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::path::{Component, Path, PathBuf};

use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, fsync, openat, renameat, statat, unlinkat};

/// Why no file is written.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// There is no directory for such files.
    #[error(
        "no files are written here: whoever runs the server can set `native.save_dir` to a directory for them"
    )]
    None,
    /// The name leads elsewhere.
    #[error("'{name}' is no name for a file in {}: give one without `..`", folder.display())]
    Outside {
        /// The name.
        name: String,
        /// The directory.
        folder: PathBuf,
    },
    /// Something else than a file has that name.
    #[error("'{name}' is no file")]
    NoFile {
        /// The name.
        name: String,
    },
    /// The file can't be made, written or named.
    #[error("can't write '{name}': {source}")]
    Io {
        /// The name.
        name: String,
        /// Why.
        source: io::Error,
    },
}

/// A directory below which files may be written, or none.
#[derive(Clone, Debug)]
pub struct Folder {
    path: Option<PathBuf>,
}

/// A file that nobody sees yet. Dropped before it is [published](Self::publish) it is gone.
#[derive(Debug)]
pub(super) struct NewFile {
    name: String,
    directory: OwnedFd,
    last: PathBuf,
    hidden: PathBuf,
    is_published: bool,
}

impl Folder {
    /// Files below `path`; `None`: no files at all.
    pub fn new(path: Option<PathBuf>) -> Self {
        Self { path }
    }

    /// Makes a file which is to have that name: relative to the directory, or a whole path below it. Directories on the way must be there.
    /// Links are not followed.
    pub(super) fn create(&self, name: &str) -> Result<(File, NewFile), FolderError> {
        let folder = self.path.as_ref().ok_or(FolderError::None)?;
        let outside = || FolderError::Outside { name: name.to_owned(), folder: folder.clone() };
        let failed =
            |source: rustix::io::Errno| FolderError::Io { name: name.to_owned(), source: source.into() };
        let said = Path::new(name);
        let below = if said.is_absolute() { said.strip_prefix(folder).map_err(|_| outside())? } else { said };
        let mut parts = Vec::new();
        for part in below.components() {
            match part {
                Component::Normal(part) => parts.push(part),
                Component::CurDir => {}
                Component::ParentDir | Component::RootDir | Component::Prefix(_) => return Err(outside()),
            }
        }
        let last = parts.pop().ok_or_else(outside)?;
        let on_the_way = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut directory = openat(CWD, folder, on_the_way, Mode::empty()).map_err(failed)?;
        for part in parts {
            directory =
                openat(&directory, part, on_the_way | OFlags::NOFOLLOW, Mode::empty()).map_err(failed)?;
        }
        match statat(&directory, last, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile => {}
            Ok(_) => return Err(FolderError::NoFile { name: name.to_owned() }),
            Err(rustix::io::Errno::NOENT) => {}
            Err(error) => return Err(failed(error)),
        }
        let hidden = hidden_name(last);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        // What is in it may be secret.
        let mode = Mode::RUSR | Mode::WUSR;
        let file = match openat(&directory, &hidden, flags, mode) {
            // One that a server has left which did not end in order.
            Err(rustix::io::Errno::EXIST) => {
                unlinkat(&directory, &hidden, AtFlags::empty()).map_err(failed)?;
                openat(&directory, &hidden, flags, mode)
            }
            opened => opened,
        };
        let file = File::from(file.map_err(failed)?);
        let new =
            NewFile { name: name.to_owned(), directory, last: last.into(), hidden, is_published: false };
        Ok((file, new))
    }
}

/// The name of a file which is not published yet.
fn hidden_name(last: &OsStr) -> PathBuf {
    let mut name = OsStr::new(".").to_owned();
    name.push(last);
    name.push(".new");
    name.into()
}

impl NewFile {
    /// Gives the file its name, in place of one that had it. What is in it must be synced.
    pub(super) fn publish(&mut self) -> Result<(), FolderError> {
        let renamed = renameat(&self.directory, &self.hidden, &self.directory, &self.last);
        self.is_published = renamed.is_ok();
        let synced = renamed.and_then(|()| fsync(&self.directory));
        synced.map_err(|error| FolderError::Io { name: self.name.clone(), source: error.into() })
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.is_published {
            // If that fails, the next one of this name removes it.
            let _ = unlinkat(&self.directory, &self.hidden, AtFlags::empty());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn write(folder: &Folder, name: &str) -> Result<(), FolderError> {
        let (mut file, mut new) = folder.create(name)?;
        file.write_all(b"new").unwrap();
        new.publish()
    }

    #[test]
    fn files_are_written_below_the_directory_and_nowhere_else() {
        let outer = tempfile::tempdir().unwrap();
        let dir = outer.path().join("folder");
        std::fs::create_dir_all(dir.join("sub")).unwrap();
        let victim = outer.path().join("victim");
        std::fs::write(&victim, "old").unwrap();
        symlink(&victim, dir.join("link")).unwrap();
        symlink(outer.path(), dir.join("out")).unwrap();
        let folder = Folder::new(Some(dir.clone()));
        for good in ["a", "a", "sub/b", "./c", &format!("{}/sub/d", dir.display())] {
            write(&folder, good).unwrap();
        }
        for name in ["a", "sub/b", "c", "sub/d"] {
            assert_eq!(std::fs::read(dir.join(name)).unwrap(), b"new");
            assert_eq!(std::fs::metadata(dir.join(name)).unwrap().permissions().mode() & 0o777, 0o600);
        }
        for bad in
            ["", ".", "..", "../victim", "sub/../../victim", "/etc/passwd", &victim.display().to_string()]
        {
            assert!(matches!(write(&folder, bad), Err(FolderError::Outside { .. })), "{bad}");
        }
        for bad in ["link", "sub"] {
            assert!(matches!(write(&folder, bad), Err(FolderError::NoFile { .. })), "{bad}");
        }
        for bad in ["out/victim", "nothing/a"] {
            assert!(matches!(write(&folder, bad), Err(FolderError::Io { .. })), "{bad}");
        }
        assert_eq!(std::fs::read(&victim).unwrap(), b"old");
        assert!(matches!(write(&Folder::new(None), "a"), Err(FolderError::None)));
    }

    #[test]
    fn a_file_that_is_not_published_leaves_the_old_one_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(Some(dir.path().to_owned()));
        write(&folder, "a").unwrap();
        std::fs::write(dir.path().join(".a.new"), "left behind").unwrap();
        drop(folder.create("a").unwrap());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        assert_eq!(std::fs::read(dir.path().join("a")).unwrap(), b"new");
    }
}
