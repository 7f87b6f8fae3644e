//! What takes time and can be done beside the engine: files made, read ahead and removed.

use std::sync::Arc;

use super::disk::{Disk, LogFile, Tried};
use super::segment::file_name;
use super::tail::{NoRoom, Preparation, Prepared};
use crate::StoreError;

/// Something for another thread, or for the same one in a test.
pub struct Chore<D: Disk>(Kind<D>);

/// What came of a chore.
pub struct ChoreDone<F>(pub(super) Done<F>);

enum Kind<D: Disk> {
    Prepare(Preparation<D>),
    Read { file: Arc<D::File>, segment: u64, offset: u64, bytes: usize },
    Remove { disk: Arc<D>, segments: Vec<u64> },
}

pub(super) enum Done<F> {
    Prepared(Result<Prepared<F>, NoRoom>),
    Read(Result<Vec<u8>, StoreError>),
    Removed(Result<(), StoreError>),
}

impl<D: Disk> Chore<D> {
    /// A segment is to be made ready.
    pub(super) fn prepare(preparation: Preparation<D>) -> Self {
        Self(Kind::Prepare(preparation))
    }

    /// A part of a segment is to be read.
    pub(super) fn read(file: Arc<D::File>, segment: u64, offset: u64, bytes: usize) -> Self {
        Self(Kind::Read { file, segment, offset, bytes })
    }

    /// Segments are to be removed.
    pub(super) fn remove(disk: Arc<D>, segments: Vec<u64>) -> Self {
        Self(Kind::Remove { disk, segments })
    }

    /// Does it.
    pub fn run(self) -> ChoreDone<D::File> {
        ChoreDone(match self.0 {
            Kind::Prepare(preparation) => Done::Prepared(preparation.run()),
            Kind::Read { file, segment, offset, bytes } => {
                let mut buffer = vec![0; bytes];
                let read = file.read_at(&mut buffer, offset);
                let read = read.tried(|| format!("reading {}", file_name(segment)));
                Done::Read(read.map(|count| {
                    buffer.truncate(count);
                    buffer
                }))
            }
            Kind::Remove { disk, segments } => Done::Removed(remove(&*disk, &segments)),
        })
    }
}

fn remove<D: Disk>(disk: &D, segments: &[u64]) -> Result<(), StoreError> {
    for segment in segments {
        let name = file_name(*segment);
        match disk.remove(&name) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            removed => removed.tried(|| format!("removing {name}"))?,
        }
    }
    disk.sync().tried(|| "fsync of the data directory".to_owned())
}
