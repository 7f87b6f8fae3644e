//! Why a log could not be opened.

use std::fmt;
use std::path::PathBuf;

use crate::StoreError;

/// Why a log could not be opened.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// A part of the log is not what was written there, though what comes after it is.
    Corrupt {
        /// The segment's file.
        file: PathBuf,
        /// Where in it.
        offset: u64,
        /// What is wrong.
        what: String,
    },
    /// The system refuses what has to be done.
    Disk(StoreError),
    /// The log was written by a version that this one does not understand.
    Format {
        /// The segment's file.
        file: PathBuf,
        /// Its format version.
        version: u32,
    },
    /// Another process has the directory.
    Locked {
        /// The directory.
        directory: PathBuf,
    },
    /// A log that was being made from another, or from an export, is not complete.
    Unfinished {
        /// The directory.
        directory: PathBuf,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Corrupt { file, offset, what } => write!(
                f,
                "the log is damaged: {}, offset {offset}: {what}. Nothing was changed. Restore the directory \
                 from a backup, or copy what can be read with `quelea store salvage`",
                file.display()
            ),
            Self::Disk(error) => write!(f, "{error}"),
            Self::Format { file, version } => write!(
                f,
                "{} has format version {version}, which this version of quelea does not understand: it knows \
                 {VERSION}",
                file.display()
            ),
            Self::Locked { directory } => write!(
                f,
                "the data directory {} is in use by another process: stop that one, or choose another with \
                 --data-dir",
                directory.display()
            ),
            Self::Unfinished { directory } => write!(
                f,
                "the log in {} is not complete: the salvage or import that made it was interrupted. Remove the \
                 directory, and do it again",
                directory.display()
            ),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Disk(error) => Some(error),
            Self::Corrupt { .. }
            | Self::Format { .. }
            | Self::Locked { .. }
            | Self::Unfinished { .. } => None,
        }
    }
}

impl From<StoreError> for OpenError {
    fn from(error: StoreError) -> Self {
        Self::Disk(error)
    }
}

/// The version of the format that is written.
pub(crate) const VERSION: u32 = 1;
