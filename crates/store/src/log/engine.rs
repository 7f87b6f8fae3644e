//! The log as a value that does one thing after the other.
//!
//! ```text
//! append: batches -> records and index -> a frame -> the tail      what follows is gathered
//! sync:   the tail is durable                                       what follows may be told
//! ```
//!
//! Whoever drives it also does its chores ([`Engine::next_chore`]): at once in a test, on another
//! thread in a broker. The engine works without them, until a segment is full.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::chore::{Chore, ChoreDone, Done};
use super::cleaner::Cleaner;
use super::disk::Disk;
use super::driver::LAZY;
use super::fetch::Lookup;
use super::frame;
use super::index::Index;
use super::numbers::Numbers;
use super::record::{self, TargetRecord};
use super::recovery::{self, Recovery};
use super::snapshot::Snapshotter;
use super::tail::{NoRoom, Tail};
use super::{OpenError, apply};
use crate::{
    Batch, Condition, Durability, Options, Outcomes, Recovered, SessionNumber, ShardIndex,
    StoreError,
};

/// A durable log.
pub struct Engine<D: Disk> {
    pub(super) options: Options,
    pub(super) disk: Arc<D>,
    pub(super) tail: Tail<D>,
    pub(super) index: Index<D::File>,
    pub(super) cleaner: Cleaner,
    pub(super) snapshotter: Snapshotter<D::File>,
    /// Segments that were not read when the log was opened.
    unverified: Vec<u64>,
    numbers: Arc<Mutex<Numbers>>,

    /// The frame that is made.
    pub(super) frame: Vec<u8>,
    /// The frame is complete, and the disk had no room for it.
    is_unwritten: bool,
    /// The targets of the record that the cleaner copies.
    pub(super) targets: Vec<TargetRecord>,

    /// What follows from what was appended.
    pub(super) outcomes: Outcomes,
    pub(super) lookups: Vec<(ShardIndex, Lookup<D::File>)>,
    /// Somebody waits for what was appended and not synced.
    is_sync_due: bool,
    pub(super) has_unsynced_publishes: bool,
    /// Segments that may go once the frame that says so is synced.
    pub(super) retiring: Vec<Retired>,
    retired: Vec<Retired>,
    is_short_of_space: bool,
    /// Something large has found no room: what is dead is won back.
    is_room_wanted: bool,
}

/// A segment that is needed no longer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Retired {
    pub(super) segment: u64,
    /// Bytes of the disk that it takes.
    pub(super) capacity: u64,
}

/// How an attempt to append has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// What was given, or a part of it, is in the log.
    Done,
    /// There is no room, or not yet. Nothing was taken, or what was taken is still to be written: try again when
    /// there may be some.
    NoRoom,
}

impl<D: Disk> Engine<D> {
    /// Opens a log, or begins one.
    ///
    /// # Errors
    ///
    /// [`OpenError`] says what is in the way. Nothing was changed then.
    pub fn open(disk: D, options: Options) -> Result<(Self, Recovered), OpenError> {
        let disk = Arc::new(disk);
        if !disk.lock().map_err(|error| recovery::failed("locking", error))? {
            return Err(OpenError::Locked { directory: disk.directory() });
        }
        let recovery = Recovery::read_fast(&*disk, options.snapshot_bytes)?;
        let recovered = recovery.recovered(options.wall_at_zero)?;
        let numbers = Numbers::after(&recovery.index);
        let Recovery { index, current, log_id, next_segment, next_frame, unverified, .. } =
            recovery.repair(&*disk)?;
        let segment_bytes = options.segment_bytes;
        let log_id = match log_id {
            Some(log_id) => log_id,
            None => disk.new_id().map_err(|error| recovery::failed("naming", error))?,
        };
        let tail_disk = Arc::clone(&disk);
        let tail = Tail::new(tail_disk, log_id, segment_bytes, current, next_segment, next_frame);
        let mut engine = Self {
            options,
            disk,
            tail,
            index,
            cleaner: Cleaner::default(),
            snapshotter: Snapshotter::default(),
            unverified,
            numbers: Arc::new(Mutex::new(numbers)),
            frame: Vec::new(),
            is_unwritten: false,
            targets: Vec::new(),
            outcomes: Outcomes::default(),
            lookups: Vec::new(),
            is_sync_due: false,
            has_unsynced_publishes: false,
            retiring: Vec::new(),
            retired: Vec::new(),
            is_short_of_space: false,
            is_room_wanted: false,
        };
        // One that has reached its limit begins all the same: it may be that it is to become smaller.
        engine.begin()?;
        engine.tail.set_bytes_max(engine.options.disk_bytes_max);
        Ok((engine, recovered))
    }

    /// Says which shards the sessions live on that were there before.
    pub fn place_sessions(&mut self, places: &[(SessionNumber, ShardIndex)]) {
        places.iter().for_each(|(session, home)| self.index.set_home(*session, *home));
    }

    /// Returns where the numbers of new sessions come from.
    pub(super) fn numbers(&self) -> Arc<Mutex<Numbers>> {
        Arc::clone(&self.numbers)
    }

    /// Returns the number of a session that is about to start.
    pub fn new_session(&self) -> SessionNumber {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner).draw()
    }

    /// Appends batches, as many as go in one frame, and cleans a little.
    ///
    /// # Errors
    ///
    /// When the disk has failed. The log is of no use then: what was appended since the last sync may or may not be
    /// there after a restart.
    pub fn append(
        &mut self,
        batches: &mut VecDeque<(ShardIndex, Batch)>,
    ) -> Result<Appended, StoreError> {
        if self.is_unwritten {
            return self.write();
        }
        self.advance_snapshot();
        let (count, bytes) = self.measure(batches);
        let cleaned = self.cleaning_bytes(bytes);
        if count == 0 && cleaned == 0 {
            return Ok(Appended::Done);
        }
        let Some((count, cleaned)) = self.make_room(count, bytes, cleaned)? else {
            return Ok(Appended::NoRoom);
        };
        frame::begin(&mut self.frame);
        for (shard, batch) in batches.drain(..count) {
            self.is_sync_due |= batch.is_awaited;
            batch.operations.into_iter().for_each(|it| self.apply(shard, it));
            self.outcomes.complete(shard, batch.through);
        }
        debug_assert!(self.frame.len() <= frame::HEADER_BYTES + bytes, "bytes_max is too small");
        self.clean(cleaned)?;
        self.give_back_numbers();
        // What is read must be durable, because it is delivered.
        self.is_sync_due |= !self.lookups.is_empty() && self.has_unsynced_publishes;
        if self.frame.len() == frame::HEADER_BYTES {
            return Ok(Appended::Done);
        }
        self.tail.complete(&mut self.frame);
        self.write()
    }

    /// Finds room for `bytes` of batches and for the cleaner, or at least for one of both. Returns how many batches
    /// and how many bytes of the cleaner there is room for.
    fn make_room(
        &mut self,
        count: usize,
        bytes: usize,
        cleaned: usize,
    ) -> Result<Option<(usize, usize)>, StoreError> {
        // A segment of its own for a large batch comes last: it may take all of the reserve.
        let least = if cleaned > 0 { self.cleaning_bytes_min() } else { 0 };
        let tries = [(count, cleaned, false), (count, 0, false), (0, cleaned, false)];
        let last = [(count, 0, true), (0, least, true)];
        for (count, cleaned, is_last) in tries.into_iter().chain(last) {
            let needed = if count > 0 { bytes + cleaned } else { cleaned };
            if count == 0 && cleaned == 0 {
                continue;
            }
            let segments = &mut self.index.segments;
            let made = match is_last {
                false => self.tail.make_room(needed as u64, segments),
                true => self.tail.win_room(needed as u64, segments),
            };
            match made {
                Ok(()) => return Ok(Some((count, cleaned))),
                Err(NoRoom::Full) => self.is_short_of_space = true,
                // The segment comes with the end of a chore.
                Err(NoRoom::NotYet) => {}
                Err(NoRoom::Failed(error)) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Makes durable what was appended.
    ///
    /// # Errors
    ///
    /// When the disk has failed. A sync that failed is never tried again: nobody knows what it has left out.
    pub fn sync(&mut self) -> Result<(), StoreError> {
        if self.tail.has_unsynced() {
            self.tail.sync()?;
        }
        if !self.is_unwritten {
            self.is_sync_due = false;
            self.has_unsynced_publishes = false;
            self.retired.append(&mut self.retiring);
            self.complete_snapshot();
        }
        Ok(())
    }

    /// Returns what may be told now: everything, if [`Self::is_sync_due`] is not.
    pub fn take_outcomes(&mut self) -> Outcomes {
        let is_safe = !self.tail.has_unsynced() || self.tells_early();
        let is_told = is_safe && !self.is_unwritten;
        if is_told { std::mem::take(&mut self.outcomes) } else { Outcomes::default() }
    }

    /// Returns what is to be read, and for whom, as soon as it may be.
    pub fn take_lookups(&mut self) -> Vec<(ShardIndex, Lookup<D::File>)> {
        let is_safe = !self.has_unsynced_publishes || self.tells_early();
        if is_safe && !self.is_unwritten { std::mem::take(&mut self.lookups) } else { Vec::new() }
    }

    /// Returns whether somebody waits for a sync.
    pub fn is_sync_due(&self) -> bool {
        self.is_sync_due && !self.tells_early() && !self.is_unwritten
    }

    /// Returns whether there is something to sync.
    pub fn has_unsynced(&self) -> bool {
        self.tail.has_unsynced()
    }

    /// Returns something to be done for the engine, if there is; its result goes to [`Self::end_chore`].
    pub fn next_chore(&mut self) -> Option<Chore<D>> {
        if !self.retired.is_empty() {
            let segments = std::mem::take(&mut self.retired);
            return Some(Chore::remove(Arc::clone(&self.disk), segments));
        }
        self.is_room_wanted &= self.is_too_large();
        // What wins space back comes before what takes it.
        if let Some(it) = self.next_read() {
            return Some(it);
        }
        if let Some(it) = self.tail.next_preparation(&self.index.segments) {
            return Some(Chore::prepare(it));
        }
        // A log that may not grow is as short of space as a disk that is full.
        self.is_short_of_space |= !self.tail.is_preparing() && !self.tail.has_reserve();
        self.next_snapshot_chore().or_else(|| self.next_verification())
    }

    /// Returns a segment to be looked at that was not when the log was opened.
    fn next_verification(&mut self) -> Option<Chore<D>> {
        let segment = self.unverified.pop()?;
        let segments = &self.index.segments;
        // One that is gone needs no look.
        let index = segment.checked_sub(segments.oldest_number());
        let it = index.and_then(|index| segments.iter().nth(index as usize));
        Some(match it {
            Some(it) => Chore::verify(Arc::clone(&it.file), self.tail.key(), segment, it.bytes),
            None => Chore::remove(Arc::clone(&self.disk), Vec::new()),
        })
    }

    /// Takes the result of a chore.
    ///
    /// # Errors
    ///
    /// When the disk has failed.
    pub fn end_chore(&mut self, done: ChoreDone<D::File>) -> Result<(), StoreError> {
        match done.0 {
            Done::Prepared(Ok(prepared)) => self.tail.end_preparation(Some(prepared)),
            Done::Prepared(Err(NoRoom::Full | NoRoom::NotYet)) => {
                self.tail.end_preparation(None);
                self.is_short_of_space = true;
            }
            Done::Prepared(Err(NoRoom::Failed(error))) => return Err(error),
            Done::Read { segment, offset, read } => {
                self.cleaner.end_read(segment, offset, read?);
            }
            Done::Removed(removed) => {
                self.index.segments.end_leave(removed?);
                self.look_for_space();
            }
            Done::SnapshotWritten(file) => self.snapshotter.end_write(file),
            Done::SnapshotReplaced => self.snapshotter.end_replace(),
            Done::Verified(verified) => verified?,
        }
        if self.tail.has_reserve() {
            self.is_short_of_space = false;
        }
        Ok(())
    }

    /// Returns the bytes of the log, about how many are alive, and the number of its segments.
    pub fn sizes(&self) -> (u64, u64, u64) {
        let segments = &self.index.segments;
        (segments.total_bytes(), segments.live_bytes(), segments.count() as u64)
    }

    /// There may be space on a disk that was full: the next chore tries.
    pub fn look_for_space(&mut self) {
        self.tail.look_for_space();
        self.is_short_of_space &= self.is_unwritten || !self.tail.has_reserve();
    }

    /// Returns whether [`Self::append`] has work even without a batch.
    pub fn wants_append(&self) -> bool {
        self.is_unwritten || self.is_cleaning() || self.snapshotter.is_ready()
    }

    /// Makes room for something large, as far as what is dead takes some.
    pub fn want_room(&mut self) {
        self.is_room_wanted = true;
    }

    /// Returns the bytes of the largest batch that the log can take.
    pub fn room_bytes(&self) -> u64 {
        self.tail.room(&self.index.segments).min(BATCH_BYTES_MAX)
    }

    /// Returns what the log can take.
    pub fn condition(&self) -> Condition {
        if self.is_short_of_space { Condition::Full } else { Condition::Ready }
    }

    pub(super) fn is_short_of_space(&self) -> bool {
        self.is_short_of_space
    }

    pub(super) fn is_room_wanted(&self) -> bool {
        self.is_room_wanted
    }

    /// Writes down that the log is complete, so that what is missing at its end is noticed.
    ///
    /// # Errors
    ///
    /// When the disk has failed.
    pub fn close(&mut self) -> Result<(), StoreError> {
        self.sync()?;
        match self.tail.make_room(16, &mut self.index.segments) {
            Ok(()) => {}
            // Nothing is promised by it.
            Err(NoRoom::Full | NoRoom::NotYet) => return Ok(()),
            Err(NoRoom::Failed(error)) => return Err(error),
        }
        frame::begin(&mut self.frame);
        record::put_closed(&mut self.frame);
        self.tail.complete(&mut self.frame);
        self.write()?;
        self.sync()
    }

    /// Writes what a log that was opened says first: that it may go on.
    fn begin(&mut self) -> Result<(), OpenError> {
        let begun = self.tail.make_room(BEGIN_BYTES, &mut self.index.segments);
        begun.map_err(|it| match it {
            NoRoom::Full | NoRoom::NotYet => {
                let action = format!("making a segment in {}", self.disk.directory().display());
                recovery::failed(&action, std::io::ErrorKind::StorageFull.into())
            }
            NoRoom::Failed(error) => OpenError::Disk(error),
        })?;
        frame::begin(&mut self.frame);
        let location = self.here();
        record::put_mark(&mut self.frame, self.index.mark);
        self.index.set_mark(self.index.mark, location);
        self.tail.complete(&mut self.frame);
        match self.write()? {
            Appended::Done => Ok(self.sync()?),
            Appended::NoRoom => {
                Err(recovery::failed("writing", std::io::ErrorKind::StorageFull.into()))
            }
        }
    }

    fn write(&mut self) -> Result<Appended, StoreError> {
        match self.tail.write(&self.frame, &mut self.index.segments) {
            Ok(()) => {
                self.is_unwritten = false;
                self.snapshotter.note_appended(self.frame.len() as u64);
                self.frame.clear();
                // One large burst must not be paid for ever.
                self.frame.shrink_to(FRAME_BYTES_MAX + FRAME_BYTES_MAX / 4);
                Ok(Appended::Done)
            }
            Err(NoRoom::Full | NoRoom::NotYet) => {
                self.is_unwritten = true;
                self.is_short_of_space = true;
                Ok(Appended::NoRoom)
            }
            Err(NoRoom::Failed(error)) => Err(error),
        }
    }

    /// Returns how many of the batches go in the next frame, and more bytes than they take. At least one does.
    fn measure(&self, batches: &VecDeque<(ShardIndex, Batch)>) -> (usize, usize) {
        let (mut count, mut bytes, mut operations) = (0, 0, 0);
        for (_, batch) in batches {
            let drops_oldest = self.options.limits.drops_oldest;
            let sizes = batch.operations.iter().map(|it| apply::bytes_max(it, drops_oldest));
            let more: usize = sizes.sum();
            operations += batch.operations.len();
            if count > 0 && (bytes + more > FRAME_BYTES_MAX || operations > FRAME_OPERATIONS_MAX) {
                break;
            }
            count += 1;
            bytes += more;
        }
        (count, bytes)
    }

    /// Lets numbers be used again of which nothing is left.
    fn give_back_numbers(&mut self) {
        if !self.index.freed.is_empty() {
            let mut numbers = self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
            self.index.freed.drain(..).for_each(|it| numbers.give_back(it));
        }
    }

    /// Returns how long what was written waits for a sync that nobody waits for.
    pub(super) fn sync_interval(&self) -> Duration {
        match self.options.durability {
            Durability::Fsync => LAZY,
            Durability::Interval { millis } => Duration::from_millis(millis),
        }
    }

    /// Returns whether what is written is told before it is synced.
    fn tells_early(&self) -> bool {
        matches!(self.options.durability, Durability::Interval { .. })
    }
}

/// Bytes of batches in one frame, unless a single batch has more.
const FRAME_BYTES_MAX: usize = 4 << 20;

/// Bytes of any batch. Frames and the offsets in them have numbers of 32 bits.
const BATCH_BYTES_MAX: u64 = 1 << 30;

/// Operations in one frame, unless a single batch has more.
const FRAME_OPERATIONS_MAX: usize = 16_384;

/// Bytes for what is written when a log is opened.
const BEGIN_BYTES: u64 = 64;
