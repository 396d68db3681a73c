//! A file under way: what is to be written is gathered, and goes to the disk off the threads that serve clients.

use std::fs::File;
use std::io::{self, Write as _};

use super::folder::{Folder, FolderError, NewFile};

/// From so many gathered bytes on they are written.
const GATHER: usize = 1 << 20;

#[derive(Debug)]
pub(super) struct Sink {
    /// `None` while it is being written, or if that was given up.
    file: Option<File>,
    /// `None` as well while it is named.
    new: Option<NewFile>,
    name: String,
    /// What is to be written.
    pub(super) out: Vec<u8>,
    /// How many bytes were written.
    pub(super) bytes: u64,
}

impl Sink {
    /// A new file of that name, which is not seen before it is [published](Self::publish).
    pub(super) async fn create(folder: &Folder, name: &str) -> Result<Self, FolderError> {
        let (folder, owned) = (folder.clone(), name.to_owned());
        let made = tokio::task::spawn_blocking(move || folder.create(&owned)).await;
        let (file, new) = made.unwrap_or_else(|_panicked| Err(failed(name, panicked())))?;
        Ok(Self { file: Some(file), new: Some(new), name: name.to_owned(), out: Vec::new(), bytes: 0 })
    }

    /// Writes what is gathered, if that is much.
    pub(super) async fn relieve(&mut self) -> Result<(), FolderError> {
        if self.out.len() < GATHER { Ok(()) } else { self.write(false).await }
    }

    /// Writes what is gathered and waits until all is on the disk.
    pub(super) async fn sync(&mut self) -> Result<(), FolderError> {
        self.write(true).await
    }

    /// Gives the file its name.
    pub(super) async fn publish(&mut self) -> Result<(), FolderError> {
        self.sync().await?;
        let Some(mut new) = self.new.take() else { return Ok(()) };
        let naming = tokio::task::spawn_blocking(move || new.publish().map(|()| new));
        self.new = Some(naming.await.unwrap_or_else(|_panicked| Err(failed(&self.name, panicked())))?);
        Ok(())
    }

    async fn write(&mut self, sync: bool) -> Result<(), FolderError> {
        let gone = || failed(&self.name, io::Error::other("an earlier write to it has failed"));
        let mut file = self.file.take().ok_or_else(gone)?;
        let mut out = std::mem::take(&mut self.out);
        let writing = tokio::task::spawn_blocking(move || -> io::Result<(File, Vec<u8>, usize)> {
            file.write_all(&out)?;
            if sync {
                file.sync_data()?;
            }
            let bytes = out.len();
            out.clear();
            out.shrink_to(GATHER);
            Ok((file, out, bytes))
        });
        let written = writing.await.unwrap_or_else(|_panicked| Err(panicked()));
        let (file, out, bytes) = written.map_err(|source| failed(&self.name, source))?;
        (self.file, self.out) = (Some(file), out);
        self.bytes += bytes as u64;
        Ok(())
    }
}

fn failed(name: &str, source: io::Error) -> FolderError {
    FolderError::Io { name: name.to_owned(), source }
}

fn panicked() -> io::Error {
    io::Error::other("internal error; see the log")
}
