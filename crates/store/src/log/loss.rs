//! What of a log cannot be read.

use std::fmt;
use std::path::PathBuf;

use super::disk::{Disk, LogFile, Tried};
use super::open_error::OpenError;
use super::segment::file_name;
use crate::StoreError;

/// A part of a log that cannot be read, or is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// The segment's file.
    pub file: PathBuf,
    /// Where in it.
    pub offset: u64,
    /// What is wrong.
    pub what: String,
    /// Frames that are lost, as far as their numbers tell.
    pub frames: u64,
    /// Bytes that were passed over; 0 for what is not there at all.
    pub bytes: u64,
}

impl Loss {
    /// Something is wrong at `offset` of segment `number`.
    pub(crate) fn at<D: Disk>(disk: &D, number: u64, offset: u64, what: String) -> Self {
        let file = disk.directory().join(file_name(number));
        Self { file, offset, what, frames: 0, bytes: 0 }
    }

    /// Segment `number` is wrong as a whole.
    pub(crate) fn of_file<D: Disk>(
        disk: &D,
        number: u64,
        file: &D::File,
        what: String,
    ) -> Result<Self, StoreError> {
        let bytes = file.length().tried(|| format!("looking at {}", file_name(number)))?;
        Ok(Self { bytes, ..Self::at(disk, number, 0, what) })
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, offset, what, frames, bytes } = self;
        write!(f, "{}, offset {offset}: {what}", file.display())?;
        if *frames > 0 || *bytes > 0 {
            write!(f, " (lost: {frames} frames, {bytes} bytes)")?;
        }
        Ok(())
    }
}

impl From<Loss> for OpenError {
    fn from(loss: Loss) -> Self {
        let Loss { file, offset, what, .. } = loss;
        Self::Corrupt { file, offset, what }
    }
}
