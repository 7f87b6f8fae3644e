//! Files that are read again when they have changed.

use std::fs;
use std::io;
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
    /// Whoever looks after the broker knows that it cannot be read.
    is_told: bool,
}

/// By what it is seen that a file is another one, or may be read by others: its last change, which unlike its time of
/// modification nobody can set back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    changed_secs: i64,
    changed_nanos: i64,
}

impl Watched {
    /// Begins to watch a file, which is to be read after this.
    pub fn new(path: &Path) -> Self {
        let stamp = Stamp::of(path);
        let stamps = Stamps { read: stamp, seen: stamp, is_told: false };
        Self { path: path.to_owned(), stamps: Mutex::new(stamps) }
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
        stamps.is_told &= is_settled;
        stamps.seen = stamp;
        let has_changed = is_settled && stamps.read != stamp;
        if has_changed {
            stamps.read = stamp;
        }
        has_changed
    }

    /// The file could not be read, and may be right as it is: the next look asks to read it again. Returns whether that
    /// is to be told.
    pub fn try_again(&self) -> bool {
        let mut stamps = self.stamps.lock().unwrap_or_else(PoisonError::into_inner);
        stamps.read = None;
        !std::mem::replace(&mut stamps.is_told, true)
    }
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        Some(Self {
            inode: metadata.ino(),
            changed_secs: metadata.ctime(),
            changed_nanos: metadata.ctime_nsec(),
        })
    }
}

/// Returns whether a file was not read for a reason that may pass, rather than for what is in it.
pub(crate) fn may_pass(error: &io::Error) -> bool {
    !matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::Other)
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    /// Whoever copies a file over another may keep its time and its length.
    #[test]
    fn a_file_with_the_time_of_another_is_another() {
        let path = std::env::temp_dir().join(format!("quelea-watched-{}", std::process::id()));
        fs::write(&path, "one").unwrap();
        let (before, modified) = (Stamp::of(&path), fs::metadata(&path).unwrap().modified());
        let watched = Watched::new(&path);
        assert!(!watched.has_changed());
        // The clocks of file systems tick slowly.
        while Stamp::of(&path) == before {
            fs::write(&path, "two").unwrap();
            let file = File::options().write(true).open(&path).unwrap();
            file.set_modified(*modified.as_ref().unwrap()).unwrap();
        }
        assert_eq!(look(&watched, 3), [false, true, false]);
        fs::remove_file(path).unwrap();
    }

    /// A process that was out of files must not go by the old ones for ever.
    #[test]
    fn what_could_not_be_read_is_read_again() {
        let name = format!("quelea-watched-again-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let watched = Watched::new(&path);
        fs::write(&path, "one").unwrap();
        assert_eq!(look(&watched, 2), [false, true]);
        assert!(watched.try_again(), "it is told once");
        assert!(watched.has_changed() && !watched.try_again());
        assert_eq!(look(&watched, 2), [true, false]);
        fs::remove_file(&path).unwrap();
        assert_eq!(look(&watched, 2), [false, true]);
        assert!(watched.try_again(), "and again when it is gone");
        assert!(!watched.has_changed(), "there is nothing to read");
    }

    fn look(watched: &Watched, times: usize) -> Vec<bool> {
        (0..times).map(|_| watched.has_changed()).collect()
    }
}
