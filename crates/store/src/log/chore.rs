//! What takes time and can be done beside the engine: files made, read ahead and removed.

use std::io;
use std::sync::Arc;

use super::disk::{Disk, LogFile, Tried};
use super::engine::Retired;
use super::frame::FrameKey;
use super::scan::{Found, Scan};
use super::segment::{HEADER_BYTES, file_name};
use super::snapshot::{FILE_NAME, NEW_FILE_NAME};
use super::tail::{NoRoom, Preparation, Prepared};
use crate::StoreError;

/// Something for another thread, or for the same one in a test.
pub struct Chore<D: Disk>(Kind<D>);

/// What came of a chore.
pub struct ChoreDone<F>(pub(super) Done<F>);

enum Kind<D: Disk> {
    Prepare(Preparation<D>),
    Read { file: Arc<D::File>, segment: u64, offset: u64, bytes: usize },
    Remove { disk: Arc<D>, segments: Vec<Retired> },
    WriteSnapshot { disk: Arc<D>, file: Option<Arc<D::File>>, offset: u64, bytes: Vec<u8> },
    ReplaceSnapshot { disk: Arc<D>, file: Arc<D::File> },
    Verify { file: Arc<D::File>, key: FrameKey, segment: u64, bytes: u64 },
}

pub(super) enum Done<F> {
    Prepared(Result<Prepared<F>, NoRoom>),
    Read {
        segment: u64,
        offset: u64,
        read: Result<Vec<u8>, StoreError>,
    },
    /// The bytes that are free again.
    Removed(Result<u64, StoreError>),
    /// The file, if it could be written.
    SnapshotWritten(Option<Arc<F>>),
    SnapshotReplaced,
    Verified(Result<(), StoreError>),
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
    pub(super) fn remove(disk: Arc<D>, segments: Vec<Retired>) -> Self {
        Self(Kind::Remove { disk, segments })
    }

    /// A part of a snapshot is to be written.
    pub(super) fn write_snapshot(
        disk: Arc<D>,
        file: Option<Arc<D::File>>,
        offset: u64,
        bytes: Vec<u8>,
    ) -> Self {
        Self(Kind::WriteSnapshot { disk, file, offset, bytes })
    }

    /// A snapshot is to take the place of the last one.
    pub(super) fn replace_snapshot(disk: Arc<D>, file: Arc<D::File>) -> Self {
        Self(Kind::ReplaceSnapshot { disk, file })
    }

    /// A segment that was not read when the log was opened is to be read, as far as it was written.
    pub(super) fn verify(file: Arc<D::File>, key: FrameKey, segment: u64, bytes: u64) -> Self {
        Self(Kind::Verify { file, key, segment, bytes })
    }

    /// Does it.
    pub fn run(self) -> ChoreDone<D::File> {
        ChoreDone(match self.0 {
            Kind::Prepare(preparation) => Done::Prepared(preparation.run()),
            Kind::Read { file, segment, offset, bytes } => {
                let mut buffer = vec![0; bytes];
                let read = file.read_at(&mut buffer, offset);
                let read = read.tried(|| format!("reading {}", file_name(segment)));
                let read = read.map(|count| {
                    buffer.truncate(count);
                    buffer
                });
                Done::Read { segment, offset, read }
            }
            Kind::Remove { disk, segments } => Done::Removed(remove(&*disk, &segments)),
            Kind::WriteSnapshot { disk, file, offset, bytes } => {
                let file = file.map_or_else(|| disk.create(NEW_FILE_NAME).map(Arc::new), Ok);
                let written = file.and_then(|file| file.write_at(&bytes, offset).map(|()| file));
                // Without it the log is whole all the same.
                Done::SnapshotWritten(written.ok())
            }
            Kind::ReplaceSnapshot { disk, file } => {
                let synced = file.sync();
                let named = synced.and_then(|()| disk.rename(NEW_FILE_NAME, FILE_NAME));
                // If it failed, the last one is still there, or none.
                let _ = named.and_then(|()| disk.sync());
                Done::SnapshotReplaced
            }
            Kind::Verify { file, key, segment, bytes } => {
                Done::Verified(verify(&*file, key, segment, bytes))
            }
        })
    }
}

/// Reads a segment's frames, and says where one is not what was written.
fn verify<F: LogFile>(file: &F, key: FrameKey, segment: u64, bytes: u64) -> Result<(), StoreError> {
    let name = file_name(segment);
    let reading = || format!("reading {name}");
    let mut scan = Scan::new(file, key, HEADER_BYTES as u64).tried(reading)?;
    while scan.offset < bytes {
        let offset = scan.offset;
        if !matches!(scan.next().tried(reading)?, Found::Frame(_)) {
            let what = "the log is damaged. Stop, and see `quelea store check`";
            let error = io::Error::new(io::ErrorKind::InvalidData, what);
            return Err(error).tried(|| format!("reading {name} at offset {offset}"));
        }
    }
    Ok(())
}

fn remove<D: Disk>(disk: &D, segments: &[Retired]) -> Result<u64, StoreError> {
    for it in segments {
        let name = file_name(it.segment);
        match disk.remove(&name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            removed => removed.tried(|| format!("removing {name}"))?,
        }
    }
    disk.sync().tried(|| "fsync of the data directory".to_owned())?;
    Ok(segments.iter().map(|it| it.capacity).sum())
}
