//! The directory of a log, as little of it as the log needs.
//!
//! Everything that touches files goes through [`Disk`], so that tests and simulation can have one that
//! loses what was not synced.

mod real;
mod simulated;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

pub use real::RealDisk;
pub use simulated::{SimulatedDisk, SimulatedFile};

use crate::StoreError;

/// A directory with the files of one log.
pub trait Disk: Send + Sync + 'static {
    /// One of its files.
    type File: LogFile;

    /// Returns the directory, for messages.
    fn directory(&self) -> PathBuf;

    /// Keeps others out for as long as this value lives. Returns false if another has it.
    fn lock(&self) -> io::Result<bool>;

    /// Returns the names of all files, in any order.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Makes an empty file, in the place of one that may be there.
    fn create(&self, name: &str) -> io::Result<Self::File>;

    /// Opens a file for reading and writing.
    fn open(&self, name: &str) -> io::Result<Self::File>;

    /// Gives a file another name, in the place of one that may be there.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes the names durable.
    fn sync(&self) -> io::Result<()>;

    /// Returns how many bytes more files can take, about.
    fn free_bytes(&self) -> io::Result<u64>;

    /// Draws a name for a new log that no other has.
    fn new_id(&self) -> io::Result<[u8; 16]>;
}

/// A file of a log. Any thread may read and write, each at its own place.
pub trait LogFile: Send + Sync + 'static {
    /// Returns its length.
    fn length(&self) -> io::Result<u64>;

    /// Fills `bytes` from `offset` on, as far as the file goes; returns how many there were.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes all of `bytes` at `offset`.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Makes what was written durable.
    fn sync(&self) -> io::Result<()>;

    /// Sees to it that the first `len` bytes have a place on the disk: writing them cannot fail for the lack of
    /// space.
    fn allocate(&self, len: u64) -> io::Result<()>;

    /// Cuts the file off.
    fn truncate(&self, len: u64) -> io::Result<()>;
}

/// Says what was tried when it fails.
pub(crate) trait Tried<T> {
    /// `action` is a phrase such as "writing segment 3".
    fn tried(self, action: impl FnOnce() -> String) -> Result<T, StoreError>;
}

impl<T> Tried<T> for io::Result<T> {
    fn tried(self, action: impl FnOnce() -> String) -> Result<T, StoreError> {
        self.map_err(|source| StoreError { action: action(), source: Arc::new(source) })
    }
}
