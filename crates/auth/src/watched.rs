//! Files that are read again when they have changed.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// A file, and how it was when it was read.
pub struct Watched {
    path: PathBuf,
    stamps: Mutex<Stamps>,
}

/// The file as it was read last, and as it was seen last.
struct Stamps {
    read: Option<Stamp>,
    seen: Option<Stamp>,
}

/// By what it is seen that a file is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    bytes: u64,
    modified_secs: i64,
    modified_nanos: i64,
}

impl Watched {
    /// Begins to watch a file, which is to be read after this.
    pub fn new(path: &Path) -> Self {
        let stamp = Stamp::of(path);
        Self { path: path.to_owned(), stamps: Mutex::new(Stamps { read: stamp, seen: stamp }) }
    }

    /// Returns where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Looks at the file. Returns whether it has to be read: it is another one than at the last reading, and has not
    /// changed since the last look, as one does that is being written.
    pub fn has_changed(&self) -> bool {
        let mut stamps = self.stamps.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = Stamp::of(&self.path);
        let is_settled = stamps.seen == stamp;
        stamps.seen = stamp;
        let has_changed = is_settled && stamps.read != stamp;
        if has_changed {
            stamps.read = stamp;
        }
        has_changed
    }
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        Some(Self {
            inode: metadata.ino(),
            bytes: metadata.size(),
            modified_secs: metadata.mtime(),
            modified_nanos: metadata.mtime_nsec(),
        })
    }
}
