//! The end of the log: where frames are written.
//!
//! Segments are made ready before they are needed: with a place on the disk, and with their names
//! durable. Three of them are the reserve that a full disk leaves for what was under way, and for what wins space
//! back.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use super::disk::{Disk, LogFile, Tried};
use super::frame::{self, FrameKey};
use super::index::{Location, SEGMENTS_MAX, Segments};
use super::segment::{HEADER_BYTES, SegmentHeader, file_name};
use crate::StoreError;

/// Where frames are written.
pub(crate) struct Tail<D: Disk> {
    disk: Arc<D>,
    log_id: [u8; 16],
    key: FrameKey,
    segment_bytes: u64,
    /// The segment that is written to; none before the first frame of a new log.
    current: Option<Current<D::File>>,
    next_frame: u64,
    /// The highest frame that is known to be on the disk.
    synced: u64,
    prepared: VecDeque<Prepared<D::File>>,
    next_prepared: u64,
    is_preparing: bool,
    /// The last attempt to prepare a segment has found no space.
    is_disk_full: bool,
}

/// The segment that is written to.
pub(crate) struct Current<F> {
    pub(crate) number: u64,
    pub(crate) file: Arc<F>,
    /// Where the next frame goes.
    pub(crate) offset: u64,
    /// Bytes of the file that have a place on the disk.
    pub(crate) capacity: u64,
}

/// Where a frame begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start {
    pub(super) segment: u64,
    pub(super) offset: u64,
    pub(super) frame: u64,
}

/// A segment that is ready to be written to.
pub(super) struct Prepared<F> {
    number: u64,
    file: Arc<F>,
    capacity: u64,
}

/// What it takes to prepare a segment, for any thread.
pub(super) struct Preparation<D: Disk> {
    disk: Arc<D>,
    log_id: [u8; 16],
    number: u64,
    capacity: u64,
}

/// Why there is no room for a frame.
#[derive(Debug)]
pub(super) enum NoRoom {
    /// The disk is full.
    Full,
    /// Segments are filled faster than they are made: the next is on its way.
    NotYet,
    /// The disk has failed.
    Failed(StoreError),
}

impl<D: Disk> Preparation<D> {
    /// Makes the segment ready. Fails with [`NoRoom::Full`] if it has no place on the disk.
    pub(crate) fn run(self) -> Result<Prepared<D::File>, NoRoom> {
        let Self { disk, log_id, number, capacity } = self;
        let name = file_name(number);
        let header = SegmentHeader::prepared(log_id, number).encode();
        let made = disk.create(&name).and_then(|file| {
            file.allocate(capacity)?;
            file.write_at(&header, 0)?;
            // With its length and places: later syncs have only frames to write.
            file.sync()?;
            disk.sync()?;
            Ok(file)
        });
        match made {
            Ok(file) => Ok(Prepared { number, file: Arc::new(file), capacity }),
            Err(error) => {
                // Half a file is of no use; if it can't be removed, the next start does.
                let _ = disk.remove(&name);
                if is_full(&error) {
                    return Err(NoRoom::Full);
                }
                Err(error).tried(|| format!("making segment {name}")).map_err(NoRoom::Failed)
            }
        }
    }
}

impl<D: Disk> Tail<D> {
    /// Goes on in `current`, or in a segment to be made.
    pub(crate) fn new(
        disk: Arc<D>,
        log_id: [u8; 16],
        segment_bytes: u64,
        current: Option<Current<D::File>>,
        next_segment: u64,
        next_frame: u64,
    ) -> Self {
        Self {
            disk,
            log_id,
            key: FrameKey::new(log_id),
            segment_bytes,
            current,
            next_frame,
            // Nobody writes anew what was read. The first sync covers it.
            synced: next_frame - 1,
            prepared: VecDeque::new(),
            next_prepared: next_segment,
            is_preparing: false,
            is_disk_full: false,
        }
    }

    /// Sees to it that a frame with at most `payload_bytes` fits where the tail is.
    pub(crate) fn make_room(
        &mut self,
        payload_bytes: u64,
        segments: &mut Segments<D::File>,
    ) -> Result<(), NoRoom> {
        let needed = frame::frame_bytes(payload_bytes);
        if self.current.as_ref().is_some_and(|it| it.offset + needed <= it.capacity) {
            return Ok(());
        }
        let prepared = self.take_for(HEADER_BYTES as u64 + needed)?;
        // Later syncs are not about the old segment any more. Its header counts, too, whether frames follow or not.
        self.sync().map_err(NoRoom::Failed)?;
        self.enter(prepared, segments)
    }

    /// Takes a segment with at least `bytes` from the reserve, or makes one in haste.
    fn take_for(&mut self, bytes: u64) -> Result<Prepared<D::File>, NoRoom> {
        let capacity = self.segment_bytes.max(bytes);
        let Some(first) = self.prepared.front_mut() else {
            if self.is_preparing {
                // Its number is given to one that will be there soon.
                return Err(NoRoom::NotYet);
            }
            let prepared = self.preparation(capacity).run()?;
            self.next_prepared += 1;
            return Ok(prepared);
        };
        if first.capacity < capacity {
            // Frames this large are rare: the file grows.
            let grown = first.file.allocate(capacity).and_then(|()| first.file.sync());
            match grown {
                Ok(()) => first.capacity = capacity,
                Err(error) if is_full(&error) => return Err(NoRoom::Full),
                Err(error) => {
                    let name = file_name(first.number);
                    return Err(error).tried(|| format!("growing {name}")).map_err(NoRoom::Failed);
                }
            }
        }
        self.prepared.pop_front().ok_or(NoRoom::Full)
    }

    /// Returns where the record that begins `offset` bytes into the next frame will lie.
    #[inline]
    pub(crate) fn location(&self, offset: usize) -> Location {
        let current = self.current.as_ref().expect("room was made for the frame");
        Location::new(current.number, current.offset + offset as u64)
    }

    /// Returns what frames are written with.
    pub(super) fn key(&self) -> FrameKey {
        self.key
    }

    /// Completes a frame: it is the next that is written.
    pub(crate) fn complete(&self, frame: &mut Vec<u8>) {
        frame::finish(frame, self.key, self.next_frame, self.synced);
    }

    /// Writes a complete frame, which may have been tried before.
    pub(crate) fn write(
        &mut self,
        frame: &[u8],
        segments: &mut Segments<D::File>,
    ) -> Result<(), NoRoom> {
        let current = self.current.as_mut().expect("room was made for the frame");
        match current.file.write_at(frame, current.offset) {
            Ok(()) => {}
            Err(error) if is_full(&error) => return Err(NoRoom::Full),
            Err(error) => {
                let name = file_name(current.number);
                return Err(error).tried(|| format!("writing to {name}")).map_err(NoRoom::Failed);
            }
        }
        current.offset += frame.len() as u64;
        self.next_frame += 1;
        segments.grow(frame.len() as u64);
        Ok(())
    }

    /// Makes all that was written durable.
    pub(crate) fn sync(&mut self) -> Result<(), StoreError> {
        if let Some(current) = &self.current {
            current.file.sync().tried(|| format!("fdatasync of {}", file_name(current.number)))?;
        }
        self.synced = self.next_frame - 1;
        Ok(())
    }

    /// Returns the segment that should be prepared, if one should.
    ///
    /// `used` is what the segments take of the disk; the log may take `bytes_max`.
    pub(crate) fn next_preparation(
        &mut self,
        used: u64,
        bytes_max: Option<u64>,
    ) -> Option<Preparation<D>> {
        if self.is_preparing || self.is_disk_full || self.has_reserve() {
            return None;
        }
        let reserved: u64 = self.prepared.iter().map(|it| it.capacity).sum();
        if bytes_max.is_some_and(|most| used + reserved + self.segment_bytes > most) {
            return None;
        }
        self.is_preparing = true;
        Some(self.preparation(self.segment_bytes))
    }

    /// Takes a segment that was prepared, if it was.
    pub(crate) fn end_preparation(&mut self, prepared: Option<Prepared<D::File>>) {
        self.is_preparing = false;
        self.is_disk_full = prepared.is_none();
        if let Some(prepared) = prepared {
            self.next_prepared += 1;
            self.prepared.push_back(prepared);
        }
    }

    /// There may be space again.
    pub(super) fn look_for_space(&mut self) {
        self.is_disk_full = false;
    }

    pub(crate) fn is_preparing(&self) -> bool {
        self.is_preparing
    }

    /// Returns whether the reserve is complete.
    pub(crate) fn has_reserve(&self) -> bool {
        self.prepared.len() >= RESERVE
    }

    /// Returns the number of the last frame.
    pub(super) fn last_frame(&self) -> u64 {
        self.next_frame - 1
    }

    /// Returns where the next frame goes, and the name of the log.
    pub(super) fn start(&self) -> Option<([u8; 16], Start)> {
        let current = self.current.as_ref()?;
        let (segment, offset, frame) = (current.number, current.offset, self.next_frame);
        Some((self.log_id, Start { segment, offset, frame }))
    }

    /// Returns whether something was written and not synced.
    pub(crate) fn has_unsynced(&self) -> bool {
        self.synced + 1 < self.next_frame
    }

    fn preparation(&self, capacity: u64) -> Preparation<D> {
        let (disk, log_id) = (Arc::clone(&self.disk), self.log_id);
        Preparation { disk, log_id, number: self.next_prepared, capacity }
    }

    /// Goes on in a segment that was prepared.
    fn enter(
        &mut self,
        prepared: Prepared<D::File>,
        segments: &mut Segments<D::File>,
    ) -> Result<(), NoRoom> {
        let Prepared { number, file, capacity } = prepared;
        let oldest = segments.oldest_number();
        if number - oldest >= SEGMENTS_MAX {
            let error = io::Error::other("the log has too many segments: make them larger");
            let failed = Err(error).tried(|| format!("going on to {}", file_name(number)));
            return failed.map_err(NoRoom::Failed);
        }
        let (log_id, first_frame, synced) = (self.log_id, self.next_frame, self.synced);
        let header = SegmentHeader { log_id, number, first_frame, synced, oldest };
        let written = file.write_at(&header.encode(), 0);
        let written = written.tried(|| format!("writing to {}", file_name(number)));
        written.map_err(NoRoom::Failed)?;
        segments.push(Arc::clone(&file), HEADER_BYTES as u64, capacity);
        self.current = Some(Current { number, file, offset: HEADER_BYTES as u64, capacity });
        Ok(())
    }
}

/// Returns whether an error says that the disk is full.
pub(crate) fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded)
}

/// Segments that are ready: what a full disk leaves for acknowledgements, ends and the cleaner.
const RESERVE: usize = 3;
