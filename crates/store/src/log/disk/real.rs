//! A directory of the file system.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::PoisonError;

use rustix::fs::{FallocateFlags, fallocate, statvfs};
use rustix::io::Errno;

use super::{Disk, LogFile};

/// A directory of the file system.
#[derive(Debug)]
pub struct RealDisk {
    directory: PathBuf,
    mode: Mode,
    /// Open for as long as the directory is ours.
    lock: Mutex<Option<File>>,
}

/// What a directory is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    ReadAndWrite,
    /// Others may read it at the same time. It may be on a medium that cannot be written to.
    ReadOnly,
}

impl RealDisk {
    /// Takes a directory, which is made if it is not there, for its user alone: messages are in it.
    ///
    /// # Errors
    ///
    /// What the system says if it cannot be made.
    pub fn new(directory: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        Ok(Self {
            directory: directory.to_owned(),
            mode: Mode::ReadAndWrite,
            lock: Mutex::new(None),
        })
    }

    /// Takes a directory whose files are read and not changed.
    pub fn read_only(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), mode: Mode::ReadOnly, lock: Mutex::new(None) }
    }

    /// Opens the file that is locked. Nothing if there is none and nobody can make one.
    fn open_lock(&self) -> io::Result<Option<File>> {
        let path = self.directory.join("lock");
        match self.mode {
            Mode::ReadAndWrite => {
                let mut options = OpenOptions::new();
                options.create(true).truncate(false).write(true).open(path).map(Some)
            }
            Mode::ReadOnly => match File::open(path) {
                Ok(file) => Ok(Some(file)),
                // Whoever writes to a log has made one.
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error),
            },
        }
    }
}

impl Disk for RealDisk {
    type File = File;

    fn directory(&self) -> PathBuf {
        self.directory.clone()
    }

    fn lock(&self) -> io::Result<bool> {
        let Some(file) = self.open_lock()? else { return Ok(true) };
        let locked = match self.mode {
            Mode::ReadAndWrite => file.try_lock(),
            Mode::ReadOnly => file.try_lock_shared(),
        };
        match locked {
            Ok(()) => {
                *self.lock.lock().unwrap_or_else(PoisonError::into_inner) = Some(file);
                Ok(true)
            }
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            // A name that is no text is none of ours.
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }

    fn create(&self, name: &str) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.create(true).truncate(true).read(true).write(true);
        options.open(self.directory.join(name))
    }

    fn open(&self, name: &str) -> io::Result<File> {
        let is_writable = self.mode == Mode::ReadAndWrite;
        OpenOptions::new().read(true).write(is_writable).open(self.directory.join(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.directory.join(from), self.directory.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.directory.join(name))
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.directory)?.sync_all()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let it = statvfs(&self.directory)?;
        Ok(it.f_bavail.saturating_mul(it.f_frsize))
    }

    fn new_id(&self) -> io::Result<[u8; 16]> {
        let mut id = [0; 16];
        // Of the system itself: a container may have no /dev. So few bytes come at once or not at all.
        rustix::rand::getrandom(&mut id, rustix::rand::GetRandomFlags::empty())?;
        Ok(id)
    }
}

impl LogFile for File {
    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < bytes.len() {
            match FileExt::read_at(self, &mut bytes[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        match fallocate(self, FallocateFlags::empty(), 0, len) {
            Ok(()) => Ok(()),
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => fill_with_zeros(self, len),
            Err(error) => Err(error.into()),
        }
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.set_len(len)
    }
}

/// Takes the place of an allocation where the file system has none.
fn fill_with_zeros(file: &File, len: u64) -> io::Result<()> {
    let zeros = vec![0; 1 << 20];
    let mut offset = LogFile::length(file)?;
    while offset < len {
        let count = zeros.len().min((len - offset) as usize);
        file.write_all_at(&zeros[..count], offset)?;
        offset += count as u64;
    }
    Ok(())
}
