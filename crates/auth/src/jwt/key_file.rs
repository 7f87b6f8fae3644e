//! Keys in a file, which is read again when it has changed.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use super::{Keyring, Keys, KeysError};
use crate::watched::{Watched, may_pass};

/// A file with the keys of those who issue tokens.
pub struct KeyFile {
    file: Watched,
    format: KeyFormat,
    keys: RwLock<Arc<Keys>>,
}

/// How keys stand in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyFormat {
    /// Public keys in PEM, or a set of keys in JSON.
    Public,
    /// A secret, as it is.
    Secret,
    /// A secret in base64.
    SecretInBase64,
}

/// Why a file of keys cannot be used.
#[derive(Debug)]
#[non_exhaustive]
pub enum KeyFileError {
    /// It cannot be read.
    Io(PathBuf, io::Error),
    /// It has not what it should have.
    Keys(PathBuf, KeysError),
}

impl KeyFile {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// It cannot be read, or has not what it should have.
    pub fn open(path: &Path, format: KeyFormat) -> Result<Self, KeyFileError> {
        let file = Watched::new(path);
        let keys = RwLock::new(Arc::new(read(path, format)?));
        Ok(Self { file, format, keys })
    }
}

impl Keyring for KeyFile {
    fn keys(&self) -> Option<Arc<Keys>> {
        Some(Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner)))
    }

    fn refresh(&self) {
        if !self.file.has_changed() {
            return;
        }
        let path = self.file.path();
        match read(path, self.format) {
            Ok(keys) => {
                tracing::info!(file = %path.display(), keys = keys.count(), "read again");
                *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
            }
            Err(error) => {
                let may_pass = matches!(&error, KeyFileError::Io(_, io) if may_pass(io));
                if !may_pass || self.file.try_again() {
                    tracing::error!(%error, "the keys of tokens stay as they were");
                }
            }
        }
    }
}

fn read(path: &Path, format: KeyFormat) -> Result<Keys, KeyFileError> {
    let fail = |error| KeyFileError::Io(path.to_owned(), error);
    let mut text = Vec::new();
    File::open(path)
        .map_err(fail)?
        .take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut text)
        .map_err(fail)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(fail(io::Error::other("it is larger than 1 MiB")));
    }
    let keys = match format {
        KeyFormat::Public => Keys::of_file(&text),
        KeyFormat::Secret => Keys::of_secret(&text),
        KeyFormat::SecretInBase64 => Keys::of_secret_in_base64(&text),
    };
    keys.map_err(|why| KeyFileError::Keys(path.to_owned(), why))
}

impl fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyFile").field("path", &self.file.path()).finish_non_exhaustive()
    }
}

impl fmt::Display for KeyFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Keys(path, why) => write!(f, "{}: {why}", path.display()),
        }
    }
}

impl std::error::Error for KeyFileError {}

const FILE_BYTES_MAX: u64 = 1024 * 1024;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A file that is being written is not read; one that was left half written changes nothing.
    #[test]
    fn a_changed_file_counts_and_a_wrong_one_does_not() {
        let file = Scratch::new("keys");
        fs::write(&file.0, "0123456789abcdef0123456789abcdef\n").unwrap();
        let ring = KeyFile::open(&file.0, KeyFormat::Secret).unwrap();
        let first = ring.keys().unwrap();
        fs::write(&file.0, "another secret, of which half is enough\n").unwrap();
        ring.refresh();
        assert_eq!(ring.keys(), Some(Arc::clone(&first)));
        ring.refresh();
        let second = ring.keys().unwrap();
        assert_ne!(second, first);
        for broken in ["another secret", ""] {
            fs::write(&file.0, broken).unwrap();
            ring.refresh();
            ring.refresh();
            assert_eq!(ring.keys(), Some(Arc::clone(&second)));
        }
        fs::remove_file(&file.0).unwrap();
        ring.refresh();
        ring.refresh();
        assert_eq!(ring.keys(), Some(second));
    }

    #[test]
    fn a_file_that_is_wrong_is_named_and_not_quoted() {
        let file = Scratch::new("wrong-keys");
        fs::write(&file.0, "pencil").unwrap();
        for format in [KeyFormat::Public, KeyFormat::Secret, KeyFormat::SecretInBase64] {
            let error = KeyFile::open(&file.0, format).unwrap_err().to_string();
            assert!(error.contains("wrong-keys: ") && !error.contains("pencil"), "{error}");
        }
        let large = File::create(&file.0).unwrap();
        large.set_len(2 * FILE_BYTES_MAX).unwrap();
        let error = KeyFile::open(&file.0, KeyFormat::Public).unwrap_err().to_string();
        assert!(error.contains("larger than 1 MiB"), "{error}");
    }

    /// A file that is gone when its test ends.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            Self(std::env::temp_dir().join(format!("quelea-auth-{}-{name}", std::process::id())))
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_file(&self.0);
        }
    }
}
