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
    /// Bytes of the disk that the log may take.
    bytes_max: Option<u64>,
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
            bytes_max: None,
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

    /// Takes no more of the disk from here on.
    pub(crate) fn set_bytes_max(&mut self, bytes_max: Option<u64>) {
        self.bytes_max = bytes_max;
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
        let prepared = self.take_for(HEADER_BYTES as u64 + needed, segments)?;
        // Later syncs are not about the old segment any more. Its header counts, too, whether frames follow or not.
        self.sync().map_err(NoRoom::Failed)?;
        self.enter(prepared, segments)
    }

    /// Does the same with all of the reserve, if it comes to that: what would make space waits behind the frame.
    pub(crate) fn win_room(
        &mut self,
        payload_bytes: u64,
        segments: &mut Segments<D::File>,
    ) -> Result<(), NoRoom> {
        let capacity = HEADER_BYTES as u64 + frame::frame_bytes(payload_bytes);
        let suffices = self.reserved() >= capacity;
        loop {
            match self.make_room(payload_bytes, segments) {
                Err(NoRoom::Full) if suffices && self.prepared.len() > 1 => {}
                made => return made,
            }
            if self.is_preparing {
                return Err(NoRoom::NotYet);
            }
            let Some(last) = self.prepared.pop_back() else { return Err(NoRoom::Full) };
            self.next_prepared = last.number;
            let name = file_name(last.number);
            let removed = self.disk.remove(&name);
            // Those that are ready are one after the other, also after a crash.
            let removed = removed.and_then(|()| self.disk.sync());
            removed.tried(|| format!("removing {name}")).map_err(NoRoom::Failed)?;
        }
    }

    /// Takes a segment with at least `bytes` from the reserve, or makes one in haste.
    fn take_for(
        &mut self,
        bytes: u64,
        segments: &Segments<D::File>,
    ) -> Result<Prepared<D::File>, NoRoom> {
        let capacity = self.segment_bytes.max(bytes);
        if self.prepared.is_empty() {
            if self.is_preparing {
                // Its number is given to one that will be there soon.
                return Err(NoRoom::NotYet);
            }
            if self.left(segments) < capacity {
                return Err(NoRoom::Full);
            }
            let prepared = self.preparation(capacity).run()?;
            self.next_prepared += 1;
            return Ok(prepared);
        }
        // Frames this large are rare.
        self.grow_first(capacity, segments)?;
        self.prepared.pop_front().ok_or(NoRoom::Full)
    }

    /// Makes the first segment of the reserve larger, if it is not large enough.
    fn grow_first(&mut self, capacity: u64, segments: &Segments<D::File>) -> Result<(), NoRoom> {
        let left = self.left(segments);
        let Some(first) = self.prepared.front_mut() else { return Err(NoRoom::Full) };
        if first.capacity >= capacity {
            return Ok(());
        }
        if left < capacity - first.capacity {
            return Err(NoRoom::Full);
        }
        match first.file.allocate(capacity).and_then(|()| first.file.sync()) {
            Ok(()) => {
                first.capacity = capacity;
                Ok(())
            }
            Err(error) if is_full(&error) => Err(NoRoom::Full),
            Err(error) => {
                let name = file_name(first.number);
                Err(error).tried(|| format!("growing {name}")).map_err(NoRoom::Failed)
            }
        }
    }

    /// Returns how many bytes more the log may take of the disk.
    fn left(&self, segments: &Segments<D::File>) -> u64 {
        if self.next_prepared - segments.oldest_number() >= SEGMENTS_MAX {
            // Locations tell no more segments apart.
            return 0;
        }
        let taken = segments.capacity() + self.reserved();
        self.bytes_max.map_or(u64::MAX, |most| most.saturating_sub(taken))
    }

    /// Returns how many bytes of the disk the reserve takes.
    fn reserved(&self) -> u64 {
        self.prepared.iter().map(|it| it.capacity).sum()
    }

    /// Returns the bytes of the largest frame that there is room for, if nobody else takes it.
    pub(crate) fn room(&self, segments: &Segments<D::File>) -> u64 {
        let first = self.prepared.front().map_or(0, |it| it.capacity);
        let free = self.left(segments).min(self.disk.free_bytes().unwrap_or(0));
        self.reserved().max(first.saturating_add(free)).saturating_sub(OVERHEAD_BYTES)
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
    pub(crate) fn next_preparation(
        &mut self,
        segments: &Segments<D::File>,
    ) -> Option<Preparation<D>> {
        if self.is_preparing || self.is_disk_full || self.has_reserve() {
            return None;
        }
        if self.left(segments) < self.segment_bytes {
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
        debug_assert!(number - oldest < SEGMENTS_MAX, "no more were made");
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

/// Bytes of a segment that are not for a frame's payload, and more.
const OVERHEAD_BYTES: u64 = 256;

/// Segments that are ready: what a full disk leaves for acknowledgements, ends and the cleaner.
const RESERVE: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::disk::SimulatedDisk;

    /// Locations do not tell more segments apart: a log with so many is full.
    #[test]
    fn there_are_not_too_many_segments() {
        for (count, is_full) in [(SEGMENTS_MAX - 1, false), (SEGMENTS_MAX, true)] {
            let disk = Arc::new(SimulatedDisk::new(1 << 20));
            let mut segments = Segments::new(7);
            let mut tail = Tail::new(disk, [1; 16], 65_536, None, 7 + count, 1);
            assert_eq!(tail.next_preparation(&segments).is_none(), is_full);
            tail.end_preparation(None);
            let made = tail.make_room(100, &mut segments);
            assert_eq!(matches!(made, Err(NoRoom::Full)), is_full, "{made:?}");
            assert_eq!(made.is_ok(), !is_full);
        }
    }
}
