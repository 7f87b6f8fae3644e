//! What the file needs of the system, and no more, so that a test can have a disk that loses power.

use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek, SeekFrom, Write};
use std::path::Path;

/// Where files are.
pub(super) trait Disk: fmt::Debug + Send + Sync {
    /// Opens the file at `path`, or makes it. Nobody else may have it open.
    fn open(&self, path: &Path) -> Result<Box<dyn Medium>, OpenFault>;

    /// Makes an empty file at `path`, whatever is there, that nobody else opens.
    fn create(&self, path: &Path) -> io::Result<Box<dyn Medium>>;

    /// Puts the file at `new` in the place of the one at `path`: at any moment one of the two is there.
    fn replace(&self, new: &Path, path: &Path) -> io::Result<()>;

    /// Removes the file at `path`, if there is one.
    fn remove(&self, path: &Path);

    /// Sees to it that the file at `path` is found there after a crash of the machine.
    fn sync_directory(&self, path: &Path) -> io::Result<()>;
}

/// A file.
pub(super) trait Medium: Send {
    fn read_all(&mut self) -> io::Result<Vec<u8>>;
    fn read_at(&mut self, offset: u64, bytes: &mut [u8]) -> io::Result<()>;
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    fn truncate(&mut self, length: u64) -> io::Result<()>;
    /// What was written is there after a crash of the machine.
    fn sync(&mut self) -> io::Result<()>;
}

/// Why a file cannot be opened.
#[derive(Debug)]
pub(super) enum OpenFault {
    /// Another has it open.
    InUse,
    Io(io::Error),
}

/// The disk that there is.
#[derive(Debug)]
pub(super) struct RealDisk;

impl Disk for RealDisk {
    fn open(&self, path: &Path) -> Result<Box<dyn Medium>, OpenFault> {
        loop {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false);
            let file = options.open(path)?;
            file.try_lock()?;
            // Its owner may have put another in its place before it let go of this one.
            if is_same(&file, path)? {
                return Ok(Box::new(file));
            }
        }
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn Medium>> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(true).open(path)?;
        file.try_lock().map_err(io::Error::from)?;
        Ok(Box::new(file))
    }

    fn replace(&self, new: &Path, path: &Path) -> io::Result<()> {
        std::fs::rename(new, path)
    }

    fn remove(&self, path: &Path) {
        // It is written over when it is there all the same.
        let _ = std::fs::remove_file(path);
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        let directory = path.parent().filter(|it| !it.as_os_str().is_empty());
        if cfg!(unix) {
            File::open(directory.unwrap_or(Path::new(".")))?.sync_all()?;
        }
        Ok(())
    }
}

impl Medium for File {
    fn read_all(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.seek(SeekFrom::Start(0))?;
        self.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn read_at(&mut self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.seek(SeekFrom::Start(offset))?;
        self.read_exact(bytes)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.seek(SeekFrom::Start(offset))?;
        self.write_all(bytes)
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

#[cfg(unix)]
fn is_same(file: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let (ours, theirs) = (file.metadata()?, std::fs::metadata(path)?);
    Ok((ours.dev(), ours.ino()) == (theirs.dev(), theirs.ino()))
}

/// Elsewhere a file that is open is not replaced.
#[cfg(not(unix))]
fn is_same(_: &File, _: &Path) -> io::Result<bool> {
    Ok(true)
}

impl From<io::Error> for OpenFault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<TryLockError> for OpenFault {
    fn from(error: TryLockError) -> Self {
        match error {
            TryLockError::WouldBlock => Self::InUse,
            TryLockError::Error(error) => Self::Io(error),
        }
    }
}
