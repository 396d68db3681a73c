//! The file `NODE`: whose data directory this is, in which format, and the id that all its files carry.
//!
//! ```text
//! distkv data
//! format: 1
//! node: kitchen
//! id: 00c0ffee00c0ffee
//! ```

use std::io;

use super::error::OpenError;
use super::fs::{Access, Fs};
use super::segment::{FORMAT, Inventory, temporary};

/// The file's name.
pub(super) const NODE_FILE: &str = "NODE";

const TITLE: &str = "distkv data";

/// More than this is not read: names are short.
const LENGTH_MAX: usize = 4096;

/// What `NODE` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Directory {
    /// The node's name.
    pub node: String,
    /// Drawn when the directory was made.
    pub id: u64,
}

impl Directory {
    /// Reads `NODE`; `None` in a directory that holds nothing of ours yet.
    pub(super) fn read(fs: &dyn Fs, files: &Inventory) -> Result<Option<Self>, OpenError> {
        let file = match fs.open(NODE_FILE, Access::Read) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return if files.is_empty() {
                    Ok(None)
                } else {
                    Err(OpenError::NodeFileMissing { path: fs.path(NODE_FILE) })
                };
            }
            Err(error) => return Err(OpenError::io("open", fs.path(NODE_FILE), error)),
        };
        let mut bytes = vec![0; LENGTH_MAX];
        let length =
            file.read_at(&mut bytes, 0).map_err(|error| OpenError::io("read", fs.path(NODE_FILE), error))?;
        bytes.truncate(length);
        let text = String::from_utf8_lossy(&bytes);
        match parse(&text) {
            Some(Ok(found)) => Ok(Some(found)),
            Some(Err(found)) => Err(OpenError::Format { path: fs.path(NODE_FILE), found, known: FORMAT }),
            None => Err(OpenError::NodeFileDamaged { path: fs.path(NODE_FILE) }),
        }
    }

    /// Reads `NODE` and checks that the directory is this node's, or makes it this node's if it holds nothing yet.
    pub(super) fn claim(fs: &dyn Fs, files: &Inventory, node: &str, new_id: u64) -> Result<Self, OpenError> {
        if let Some(found) = Self::read(fs, files)? {
            if found.node != node {
                return Err(OpenError::OtherNode {
                    dir: fs.path(""),
                    found: found.node,
                    given: node.to_owned(),
                });
            }
            return Ok(found);
        }
        let made = Self { node: node.to_owned(), id: new_id };
        made.write(fs).map_err(|error| OpenError::io("write", fs.path(NODE_FILE), error))?;
        Ok(made)
    }

    fn write(&self, fs: &dyn Fs) -> io::Result<()> {
        let text = format!("{TITLE}\nformat: {FORMAT}\nnode: {}\nid: {:016x}\n", self.node, self.id);
        let under_way = temporary(NODE_FILE);
        let file = fs.create(&under_way)?;
        file.write_all_at(text.as_bytes(), 0)?;
        file.sync()?;
        fs.rename(&under_way, NODE_FILE)?;
        fs.sync_dir()
    }
}

/// `None`: not such a file. `Some(Err(format))`: one of another format, of which nothing else is read.
fn parse(text: &str) -> Option<Result<Directory, u16>> {
    let mut lines = text.lines();
    if lines.next()? != TITLE {
        return None;
    }
    let format: u16 = lines.next()?.strip_prefix("format: ")?.parse().ok()?;
    if format != FORMAT {
        return Some(Err(format));
    }
    let node = lines.next()?.strip_prefix("node: ")?.to_owned();
    let id = u64::from_str_radix(lines.next()?.strip_prefix("id: ")?, 16).ok()?;
    Some(Ok(Directory { node, id }))
}

#[cfg(test)]
mod tests {
    use super::super::fs::DiskFs;
    use super::*;

    #[test]
    fn a_directory_belongs_to_the_node_that_made_it() {
        let dir = tempfile::tempdir().unwrap();
        let fs = DiskFs::create(dir.path()).unwrap();
        let none = Inventory::default();
        let made = Directory::claim(&fs, &none, "kitchen", 77).unwrap();
        assert_eq!(made.id, 77);
        assert_eq!(Directory::claim(&fs, &none, "kitchen", 78).unwrap(), made);
        let Err(OpenError::OtherNode { found, given, .. }) = Directory::claim(&fs, &none, "cellar", 79)
        else {
            panic!("taken by another node");
        };
        assert_eq!((found.as_str(), given.as_str()), ("kitchen", "cellar"));
    }

    #[test]
    fn other_formats_damage_and_absence_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let fs = DiskFs::create(dir.path()).unwrap();
        let files = Inventory { segments: vec![1], ..Inventory::default() };
        assert!(matches!(Directory::read(&fs, &files), Err(OpenError::NodeFileMissing { .. })));
        assert_eq!(Directory::read(&fs, &Inventory::default()).unwrap(), None);
        for (text, format) in [
            ("distkv data\nformat: 2\nsomething new", Some(2)),
            ("distkv data\nformat: 0\n", Some(0)),
            ("", None),
            ("hello", None),
            ("distkv data\nformat: 1\nnode: x\n", None),
        ] {
            std::fs::write(dir.path().join(NODE_FILE), text).unwrap();
            match Directory::read(&fs, &files) {
                Err(OpenError::Format { found, .. }) => assert_eq!(Some(found), format),
                Err(OpenError::NodeFileDamaged { .. }) => assert_eq!(None, format, "{text}"),
                other => panic!("{text}: {other:?}"),
            }
        }
    }
}
