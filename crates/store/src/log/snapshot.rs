//! The index on disk, so that opening a large log does not mean reading all of it.
//!
//! A snapshot is written a slice at a time while the log goes on, so it shows no single moment: it has
//! everything that was written before it began, and of what came later as much as it happened to see.
//! What came later is read from the log again, and reading a record twice changes nothing. It counts
//! only once the log is on the disk up to where the snapshot ended; and one that cannot be read is as
//! good as none.
//!
//! The file consists of frames like those of the log, numbered from 1. What is in them:
//!
//! ```text
//! start, mark, for each session (session, subscriptions, exchanges, will, queue), retained, end
//! ```

mod load;

use std::collections::VecDeque;
use std::sync::Arc;

pub(super) use load::{Snapshot, load};

use super::chore::Chore;
use super::disk::Disk;
use super::engine::Engine;
use super::frame::{self, FrameKey};
use super::index::{Entry, Location, Slot, Weighed};
use super::record::{self, SessionRecord};
use super::wire::{put_long, put_signed};
use crate::SessionNumber;

/// The making of a snapshot.
#[derive(Debug)]
pub(super) struct Snapshotter<F> {
    stage: Stage,
    /// Bytes appended to the log since the last one began.
    appended_bytes: u64,
    /// The size of the last one.
    last_bytes: u64,
    /// Frames that are complete and not written.
    chunks: VecDeque<Vec<u8>>,
    chunk_count: u64,
    written_bytes: u64,
    file: Option<Arc<F>>,
    is_writing: bool,
}

#[derive(Debug)]
enum Stage {
    Idle,
    /// Sessions from a slot on, the first of them from a position of its queue on.
    Sessions {
        slot: u32,
        begun: Option<(SessionNumber, u64)>,
    },
    /// Retained messages, those that there were when it came to them.
    Retained {
        messages: Vec<(u64, Weighed)>,
    },
    /// The log has to be on the disk as far as the snapshot has seen it.
    Unsynced,
    /// The last frame is made.
    Complete,
}

impl<F> Default for Snapshotter<F> {
    fn default() -> Self {
        Self {
            stage: Stage::Idle,
            appended_bytes: 0,
            last_bytes: 0,
            chunks: VecDeque::new(),
            chunk_count: 0,
            written_bytes: 0,
            file: None,
            is_writing: false,
        }
    }
}

impl<F> Snapshotter<F> {
    /// The log has grown.
    pub(super) fn note_appended(&mut self, bytes: u64) {
        self.appended_bytes += bytes;
    }

    /// Returns whether there is something to be done that waits for nothing.
    pub(super) fn is_ready(&self) -> bool {
        let is_filling = matches!(self.stage, Stage::Sessions { .. } | Stage::Retained { .. });
        is_filling && self.chunks.len() < CHUNKS_MAX
    }

    /// A chunk is written; without a file it could not be.
    pub(super) fn end_write(&mut self, file: Option<Arc<F>>) {
        self.is_writing = false;
        if file.is_none() {
            self.abandon();
        }
        self.file = file;
    }

    /// The snapshot has taken the place of the last one, or could not.
    pub(super) fn end_replace(&mut self) {
        self.is_writing = false;
        let last_bytes = self.written_bytes;
        self.abandon();
        self.last_bytes = last_bytes;
    }

    /// Gives up. The next one is made when the log has grown as much again.
    fn abandon(&mut self) {
        let appended_bytes = self.appended_bytes;
        let last_bytes = self.last_bytes;
        *self = Self { appended_bytes, last_bytes, ..Self::default() };
    }

    fn push(&mut self, key: FrameKey, mut chunk: Vec<u8>) {
        self.chunk_count += 1;
        frame::finish(&mut chunk, key, self.chunk_count, 0);
        self.chunks.push_back(chunk);
    }
}

impl<D: Disk> Engine<D> {
    /// Goes on with a snapshot, or begins one when it is time.
    pub(super) fn advance_snapshot(&mut self) {
        match self.snapshotter.stage {
            Stage::Idle if self.is_snapshot_due() => self.begin_snapshot(),
            Stage::Sessions { .. } | Stage::Retained { .. } if self.snapshotter.is_ready() => {
                self.fill_chunk();
            }
            Stage::Idle
            | Stage::Sessions { .. }
            | Stage::Retained { .. }
            | Stage::Unsynced
            | Stage::Complete => {}
        }
        self.complete_snapshot();
    }

    /// Ends a snapshot if the log is on the disk as far as it has seen it.
    pub(super) fn complete_snapshot(&mut self) {
        if matches!(self.snapshotter.stage, Stage::Unsynced) && !self.tail.has_unsynced() {
            let mut chunk = begin_chunk();
            chunk.push(END);
            put_long(&mut chunk, self.tail.last_frame());
            self.snapshotter.push(self.tail.key(), chunk);
            self.snapshotter.stage = Stage::Complete;
        }
    }

    /// Returns what of the snapshot is to be written.
    pub(super) fn next_snapshot_chore(&mut self) -> Option<Chore<D>> {
        let snapshotter = &mut self.snapshotter;
        if snapshotter.is_writing {
            return None;
        }
        let disk = Arc::clone(&self.disk);
        if let Some(chunk) = snapshotter.chunks.pop_front() {
            snapshotter.is_writing = true;
            let offset = snapshotter.written_bytes;
            snapshotter.written_bytes += chunk.len() as u64;
            return Some(Chore::write_snapshot(disk, snapshotter.file.take(), offset, chunk));
        }
        if !matches!(snapshotter.stage, Stage::Complete) {
            return None;
        }
        snapshotter.is_writing = true;
        snapshotter.file.take().map(|file| Chore::replace_snapshot(disk, file))
    }

    fn is_snapshot_due(&self) -> bool {
        let large = self.options.snapshot_bytes;
        let every = (large / 4).max(3 * self.snapshotter.last_bytes);
        self.snapshotter.appended_bytes >= every
            && self.index.segments.total_bytes() >= large / 2
            && !self.is_short_of_space()
    }

    fn begin_snapshot(&mut self) {
        let Some((log_id, start)) = self.tail.start() else { return };
        self.snapshotter.appended_bytes = 0;
        let mut chunk = begin_chunk();
        chunk.push(START);
        chunk.extend_from_slice(&log_id);
        [start.segment, start.offset, start.frame].iter().for_each(|it| put_long(&mut chunk, *it));
        let segments = &self.index.segments;
        put_long(&mut chunk, segments.oldest_number());
        put_long(&mut chunk, segments.count() as u64);
        segments.iter().for_each(|it| put_long(&mut chunk, it.bytes));
        if let Some(location) = self.index.mark_location() {
            chunk.push(MARK);
            put_long(&mut chunk, location.to_bits());
            put_long(&mut chunk, self.index.mark.generation.into());
            put_long(&mut chunk, self.index.mark.order);
        }
        self.snapshotter.push(self.tail.key(), chunk);
        self.snapshotter.stage = Stage::Sessions { slot: 0, begun: None };
    }

    /// Makes one more frame.
    fn fill_chunk(&mut self) {
        let mut chunk = begin_chunk();
        let stage = std::mem::replace(&mut self.snapshotter.stage, Stage::Idle);
        self.snapshotter.stage = match stage {
            Stage::Sessions { slot, begun } => self.put_sessions(&mut chunk, slot, begun),
            Stage::Retained { messages } => put_retained(&mut chunk, messages),
            Stage::Idle | Stage::Unsynced | Stage::Complete => stage,
        };
        self.snapshotter.push(self.tail.key(), chunk);
    }

    fn put_sessions(
        &self,
        chunk: &mut Vec<u8>,
        first: u32,
        mut begun: Option<(SessionNumber, u64)>,
    ) -> Stage {
        let sessions = &self.index.sessions;
        for slot in first..sessions.slot_count() {
            // Empty slots take time, too, though no room.
            let is_enough = chunk.len() >= CHUNK_BYTES || slot - first >= CHUNK_SLOTS;
            if is_enough {
                return Stage::Sessions { slot, begun: None };
            }
            let Some((session, it)) = sessions.at(slot) else {
                begun = None;
                continue;
            };
            let from = begun.take().filter(|it| it.0 == session).map(|it| it.1);
            if from.is_none() {
                put_session(chunk, session, it);
            }
            if let Some(next) = put_queue(chunk, session, it, from.unwrap_or(0)) {
                return Stage::Sessions { slot, begun: Some((session, next)) };
            }
        }
        Stage::Retained { messages: self.index.retained.iter().collect() }
    }
}

fn put_retained(chunk: &mut Vec<u8>, mut messages: Vec<(u64, Weighed)>) -> Stage {
    while chunk.len() < CHUNK_BYTES {
        let Some((order, it)) = messages.pop() else { return Stage::Unsynced };
        chunk.push(RETAINED);
        put_long(chunk, order);
        put_long(chunk, it.location.to_bits());
        put_long(chunk, it.weight);
    }
    Stage::Retained { messages }
}

fn put_session(chunk: &mut Vec<u8>, session: SessionNumber, slot: &Slot) {
    let Some(details) = slot.details() else { return };
    let Some(header) = details.header else { return };
    let change = slot.change(session);
    if slot.is_ghost() {
        chunk.push(GHOST);
        put_long(chunk, header.to_bits());
        record::put_end(chunk, session, change.sent_before);
        return;
    }
    chunk.push(SESSION);
    put_long(chunk, header.to_bits());
    put_location(chunk, details.change);
    let identity = details.identity();
    let (client_id, owner) = (&*identity.client_id, &*identity.owner);
    let it = SessionRecord { client_id, owner, change, next: slot.next };
    record::put_session(chunk, &it);
    for (filter, it) in &details.subscriptions {
        chunk.push(SUBSCRIPTION);
        put_long(chunk, it.location.to_bits());
        put_location(chunk, it.moved_on);
        let (options, id, cursor) = (it.options, it.subscription_id, it.cursor.as_deref());
        record::put_subscribe(chunk, session, filter, options, id, cursor);
    }
    for (packet_id, location) in &details.inbound {
        chunk.push(INBOUND);
        put_long(chunk, location.to_bits());
        record::put_inbound(chunk, session, *packet_id);
    }
    if let Some(it) = details.will {
        chunk.push(WILL);
        put_long(chunk, it.location.to_bits());
        put_long(chunk, it.weight);
        put_long(chunk, session.0);
    }
}

/// Appends entries from position `from` on, as many as there is room for. Returns where to go on.
fn put_queue(chunk: &mut Vec<u8>, session: SessionNumber, slot: &Slot, from: u64) -> Option<u64> {
    let mut entries = slot.queue.from(from, slot.next).peekable();
    while entries.peek().is_some() {
        if chunk.len() >= CHUNK_BYTES {
            return entries.peek().map(|it| it.position(slot.next));
        }
        let block: Vec<Entry> = entries.by_ref().take(BLOCK_ENTRIES).collect();
        chunk.push(QUEUE);
        put_long(chunk, session.0);
        put_long(chunk, block.len() as u64);
        let (mut position, mut bits) = (0, 0_u64);
        for entry in block {
            let at = entry.position(slot.next);
            put_long(chunk, at - position);
            put_long(chunk, entry.size.into());
            put_signed(chunk, entry.bits().wrapping_sub(bits) as i64);
            (position, bits) = (at, entry.bits());
        }
    }
    None
}

fn put_location(chunk: &mut Vec<u8>, location: Option<Location>) {
    chunk.push(u8::from(location.is_some()));
    if let Some(location) = location {
        put_long(chunk, location.to_bits());
    }
}

fn begin_chunk() -> Vec<u8> {
    let mut chunk = Vec::new();
    frame::begin(&mut chunk);
    chunk
}

/// The file's name, and that of one which is not complete.
pub(super) const FILE_NAME: &str = "snapshot";
pub(super) const NEW_FILE_NAME: &str = "snapshot.new";

const START: u8 = 1;
const MARK: u8 = 2;
const SESSION: u8 = 3;
const GHOST: u8 = 4;
const SUBSCRIPTION: u8 = 5;
const INBOUND: u8 = 6;
const WILL: u8 = 7;
const QUEUE: u8 = 8;
const RETAINED: u8 = 9;
const END: u8 = 10;

/// Bytes from which on a frame is complete: some hundred microseconds of work. Tests have many small ones.
const CHUNK_BYTES: usize = if cfg!(test) { 256 } else { 128 << 10 };

/// Slots looked at for one frame.
const CHUNK_SLOTS: u32 = 20_000;

/// Entries written one after the other.
const BLOCK_ENTRIES: usize = if cfg!(test) { 3 } else { 4_096 };

/// Frames that wait for the disk. There is no next one before one of them is written.
const CHUNKS_MAX: usize = 4;
