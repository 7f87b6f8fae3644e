//! The cleaner: what is alive in the oldest segment is written anew, and the segment goes.
//!
//! It works in slices that ride along with other frames, so that no commit waits for a segment. A
//! record is copied if it is the latest of something that is alive, and only as far as it is. Where
//! several records make up one thing (a session and its changes), the copy says all of it.

use std::io;
use std::sync::Arc;

use super::chore::Chore;
use super::disk::Disk;
use super::engine::{Engine, Retired};
use super::frame::{FrameHeader, FrameKey, HEADER_BYTES};
use super::index::{Entry, Location, Segment, Subscribed, Traits, Weighed};
use super::record::{
    self, AttributeKind, MarkRecord, PublishRecord, Record, SessionRecord, TargetRecord,
};
use super::segment::{self, file_name};
use super::wire::{Nonsense, Reader};
use crate::{SessionNumber, StoreError};

/// How far the oldest segment is cleaned.
#[derive(Debug, Default)]
pub(super) struct Cleaner {
    segment: u64,
    /// A part of the segment: whole frames, and perhaps the beginning of another.
    chunk: Vec<u8>,
    /// Where in the segment the chunk begins.
    chunk_offset: u64,
    /// Where in the chunk the next record, or the next frame, begins.
    at: usize,
    /// Where in the chunk the payload of this frame ends, and where the next frame begins.
    payload_end: usize,
    frame_end: usize,
    /// Bytes that have to be read from `chunk_offset + at` on, before it can go on.
    wanted: usize,
    is_reading: bool,
}

impl Cleaner {
    /// Begins with another segment.
    fn begin(&mut self, segment: u64) {
        let is_reading = self.is_reading;
        let chunk_offset = segment::HEADER_BYTES as u64;
        *self = Self { segment, chunk_offset, wanted: CHUNK_BYTES, is_reading, ..Self::default() };
    }

    /// Takes what was read at `offset` of `segment`.
    pub(super) fn end_read(&mut self, segment: u64, offset: u64, chunk: Vec<u8>) {
        self.is_reading = false;
        // Meanwhile the segment may have gone: then the next one has begun, and is still to be read.
        let is_meant = (segment, offset) == (self.segment, self.chunk_offset + self.at as u64);
        if self.wanted == 0 || !is_meant {
            return;
        }
        self.wanted = 0;
        self.chunk_offset += self.at as u64;
        self.at = 0;
        (self.payload_end, self.frame_end) = (0, 0);
        self.chunk = chunk;
    }

    /// Returns where the next record lies and its length, within the segment's first `end` bytes. Nothing if the
    /// segment is done, or more of it has to be read.
    fn next(&mut self, key: FrameKey, end: u64) -> Result<Option<(usize, usize)>, Nonsense> {
        while self.at == self.payload_end {
            self.at = self.frame_end;
            if self.chunk_offset + self.at as u64 >= end {
                return Ok(None);
            }
            if !self.enter_frame(key)? {
                return Ok(None);
            }
        }
        let body = &self.chunk[self.at..self.payload_end];
        let length = PublishRecord::record_bytes(body).ok_or(Nonsense)?;
        if length > body.len() { Err(Nonsense) } else { Ok(Some((self.at, length))) }
    }

    /// Goes on to the frame at `at`. Returns false if it has to be read.
    fn enter_frame(&mut self, key: FrameKey) -> Result<bool, Nonsense> {
        let bytes = &self.chunk[self.at..];
        if bytes.len() < HEADER_BYTES {
            self.wanted = CHUNK_BYTES;
            return Ok(false);
        }
        let header = FrameHeader::decode(bytes, key).ok_or(Nonsense)?;
        let frame_bytes = header.frame_bytes() as usize;
        if bytes.len() < frame_bytes {
            self.wanted = CHUNK_BYTES.max(frame_bytes);
            return Ok(false);
        }
        let payload_end = HEADER_BYTES + header.payload_bytes as usize;
        if !header.fits(&bytes[HEADER_BYTES..payload_end]) {
            return Err(Nonsense);
        }
        self.payload_end = self.at + payload_end;
        self.frame_end = self.at + frame_bytes;
        self.at += HEADER_BYTES;
        Ok(true)
    }
}

impl<D: Disk> Engine<D> {
    /// Returns whether the cleaner has something to do for which nothing has to be read.
    pub(super) fn is_cleaning(&self) -> bool {
        self.has_dead() || self.is_too_large() && self.cleaner.wanted == 0
    }

    /// Returns how many bytes of a frame the cleaner should have, beside as many for others.
    pub(super) fn cleaning_bytes(&mut self, others: usize) -> usize {
        if !self.is_cleaning() {
            return 0;
        }
        // It keeps up with what is appended.
        let slice = SLICE_BYTES.min(self.options.segment_bytes as usize / 2).max(2 * others);
        self.cleaning_bytes_min().max(slice)
    }

    /// Returns how many bytes of a frame it takes the cleaner to go on.
    pub(super) fn cleaning_bytes_min(&mut self) -> usize {
        let next = match self.next_record() {
            Ok(Some((at, length))) => self.copy_bytes_max(&self.cleaner.chunk[at..at + length]),
            Ok(None) | Err(_) => 0,
        };
        next + RETIRED_BYTES
    }

    /// Returns a part of a segment that the cleaner waits for.
    pub(super) fn next_read(&mut self) -> Option<Chore<D>> {
        if !self.is_too_large() {
            return None;
        }
        self.enter_oldest();
        if self.cleaner.wanted == 0 || self.cleaner.is_reading {
            return None;
        }
        let cleaner = &mut self.cleaner;
        cleaner.is_reading = true;
        let offset = cleaner.chunk_offset + cleaner.at as u64;
        let file = &self.index.segments.oldest()?.file;
        Some(Chore::read(Arc::clone(file), cleaner.segment, offset, cleaner.wanted))
    }

    /// Copies what is alive to the frame, with at most `bytes`.
    pub(super) fn clean(&mut self, bytes: usize) -> Result<(), StoreError> {
        if bytes == 0 {
            return Ok(());
        }
        self.retire_dead();
        let end = self.frame.len() + bytes - RETIRED_BYTES;
        let mut scanned = 0;
        while self.is_too_large() && scanned < 4 * bytes {
            let Some((at, length)) = self.next_record().map_err(|_| self.damage())? else {
                let is_done = self.cleaner.wanted == 0;
                if is_done && self.index.segments.oldest().is_some_and(|it| it.live_count > 0) {
                    // It would be lost. Rather stop with everything that is there.
                    return Err(self.unaccounted());
                }
                break;
            };
            let record = &self.cleaner.chunk[at..at + length];
            if self.frame.len() + self.copy_bytes_max(record) > end {
                break;
            }
            let offset = self.cleaner.chunk_offset + at as u64;
            let from = Location::new(self.cleaner.segment, offset);
            // The chunk is put back: what it is read into and what is written are both parts of the engine.
            let chunk = std::mem::take(&mut self.cleaner.chunk);
            let read = Record::read(&mut Reader::new(&chunk[at..at + length]));
            let copied = read.map(|record| self.copy(&record, from));
            self.cleaner.chunk = chunk;
            copied.map_err(|_| self.damage())?;
            self.cleaner.at = at + length;
            scanned += length;
        }
        self.retire_dead();
        Ok(())
    }

    /// Returns where in the chunk the next record lies, and its length.
    fn next_record(&mut self) -> Result<Option<(usize, usize)>, Nonsense> {
        self.enter_oldest();
        let end = self.index.segments.oldest().map_or(0, |it| it.bytes);
        self.cleaner.next(self.tail.key(), end)
    }

    fn enter_oldest(&mut self) {
        let oldest = self.index.segments.oldest_number();
        if self.cleaner.segment != oldest {
            self.cleaner.begin(oldest);
        }
    }

    /// Lets go the oldest segments while nothing in them is alive.
    fn retire_dead(&mut self) {
        let before = self.retiring.len();
        while self.has_dead() {
            let segments = &mut self.index.segments;
            let Some((segment, Segment { capacity, .. })) = segments.retire_oldest() else { break };
            segments.begin_leave(capacity);
            self.retiring.push(Retired { segment, capacity });
        }
        if self.retiring.len() > before {
            record::put_retired(&mut self.frame, self.index.segments.oldest_number());
        }
    }

    fn has_dead(&self) -> bool {
        let segments = &self.index.segments;
        segments.count() > 1 && segments.oldest().is_some_and(|it| it.live_count == 0)
    }

    /// Returns whether the log is larger than it should be for what it holds.
    pub(super) fn is_too_large(&self) -> bool {
        let segments = &self.index.segments;
        if segments.count() <= 1 {
            return false;
        }
        let (live, total) = (segments.live_bytes(), segments.total_bytes());
        if self.is_short_of_space() || self.is_room_wanted() {
            // Every segment that can be won back is worth its copies.
            return total > live + live / 4 + self.options.segment_bytes;
        }
        let cleaning = self.options.cleaning;
        total > live.saturating_mul(cleaning.ratio.into()).saturating_add(cleaning.slack_bytes)
    }

    /// Writes anew what is alive of a record at `from`.
    fn copy(&mut self, record: &Record<'_>, from: Location) {
        match *record {
            Record::Publish(ref record) => self.copy_publish(record, from),
            Record::Received { session, position } => {
                let slot = self.index.sessions.slot(session);
                let entry = slot.and_then(|it| it.queue.entry(position.value(), it.next));
                if entry.is_some_and(|it| it.is_released() && it.location() == from) {
                    let location = self.here();
                    record::put_received(&mut self.frame, session, position);
                    self.index.receive(session, position, location);
                }
            }
            Record::Inbound { session, packet_id } => {
                if self.index.is_inbound(session, packet_id, from) {
                    self.open_inbound(session, packet_id);
                }
            }
            Record::Session(ref it) => self.copy_session(it.change.session, from),
            Record::Change(ref it) => self.copy_session(it.session, from),
            Record::End { session, .. } => {
                let slot = self.index.sessions.slot(session).filter(|it| it.is_ghost());
                let Some(slot) = slot else { return };
                if slot.details().and_then(|it| it.header) == Some(from) {
                    let sent_before = slot.change(session).sent_before;
                    let location = self.here();
                    record::put_end(&mut self.frame, session, sent_before);
                    self.index.move_end(session, location);
                }
            }
            Record::Subscribe(ref it) => self.copy_subscription(it.session, it.filter, from),
            Record::Cursor { session, filter, .. } => self.copy_subscription(session, filter, from),
            Record::Will { session, ref will } => {
                let details = self.index.sessions.slot(session).and_then(|it| it.details());
                let known = details.and_then(|it| it.will);
                if let (Some(known), Some(will)) = (known, will)
                    && known.location == from
                {
                    let location = self.here();
                    record::put_will(&mut self.frame, session, Some(&will.to_will()));
                    self.index.set_will(session, Some(Weighed { location, ..known }));
                }
            }
            Record::Mark(_) => {
                if self.index.is_mark(from) {
                    let location = self.here();
                    let mark: MarkRecord = self.index.mark;
                    record::put_mark(&mut self.frame, mark);
                    self.index.set_mark(mark, location);
                }
            }
            // What they end lies before them, and is gone.
            Record::Finish { .. }
            | Record::Release { .. }
            | Record::Unsubscribe { .. }
            | Record::Unretain { .. }
            | Record::Retired { .. }
            | Record::Closed => {}
        }
    }

    fn copy_publish(&mut self, record: &PublishRecord<'_>, from: Location) {
        let message = &record.message;
        let mut targets = std::mem::take(&mut self.targets);
        targets.clear();
        targets.extend(record.targets().filter(|it| self.is_entry(it, from)));
        let retained = self.index.retained.message(message.topic);
        let retained = retained.filter(|it| it.1.location == from);
        let received = message.received;
        let received = received.filter(|it| self.index.is_inbound(it.0, it.1, from));
        if targets.is_empty() && retained.is_none() {
            // The exchange needs no message.
            if let Some((session, packet_id)) = received {
                self.open_inbound(session, packet_id);
            }
        } else {
            let location = self.here();
            let retain = retained.map(|it| it.0);
            let parts = record::PublishParts { retain, received, ..message.parts() };
            let attributes: Vec<_> = message.attributes().collect();
            record::put_publish(&mut self.frame, &parts, &attributes, &targets);
            let kinds: Vec<AttributeKind> = message.attribute_kinds().collect();
            let size = u32::try_from(message.size_bytes()).unwrap_or(u32::MAX);
            let spread = targets.len().max(1).ilog2() as u8;
            for TargetRecord { session, position, attributes } in targets.iter().copied() {
                let kind = kinds[attributes as usize];
                let traits = Traits { spread, attribute: attributes, kind };
                let entry = Entry::new(position.value(), size, location, traits);
                self.index.replace(session, position, entry);
            }
            if let Some((order, known)) = retained {
                self.index.retain(message.topic, order, Weighed { location, ..known });
            }
            if let Some((session, packet_id)) = received {
                self.index.open_inbound(session, packet_id, location);
            }
        }
        self.targets = targets;
    }

    /// Returns whether a target's message is still where the record at `from` put it.
    fn is_entry(&self, target: &TargetRecord, from: Location) -> bool {
        let slot = self.index.sessions.slot(target.session);
        let entry = slot.and_then(|it| it.queue.entry(target.position.value(), it.next));
        entry.is_some_and(|it| it.location() == from)
    }

    fn copy_session(&mut self, session: SessionNumber, from: Location) {
        let Some(slot) = self.index.sessions.slot(session).filter(|it| !it.is_ghost()) else {
            return;
        };
        let Some(details) = slot.details() else { return };
        if details.header != Some(from) && details.change != Some(from) {
            return;
        }
        let (change, next) = (slot.change(session), slot.next);
        let identity = details.identity();
        let (client_id, owner) = (&*identity.client_id, &*identity.owner);
        let it = SessionRecord { client_id, owner, change, next };
        let location = self.here();
        record::put_session(&mut self.frame, &it);
        self.index.set_session(&it, location);
    }

    fn copy_subscription(&mut self, session: SessionNumber, filter: &str, from: Location) {
        let details = self.index.sessions.slot(session).and_then(|it| it.details());
        let Some(known) = details.and_then(|it| it.subscriptions.get(filter)) else { return };
        if known.location != from && known.moved_on != Some(from) {
            return;
        }
        let (options, subscription_id) = (known.options, known.subscription_id);
        let cursor = known.cursor.clone();
        let location = self.here();
        let at = cursor.as_deref();
        record::put_subscribe(&mut self.frame, session, filter, options, subscription_id, at);
        let moved_on = None;
        let it = Subscribed { options, subscription_id, cursor, location, moved_on };
        self.index.subscribe(session, filter, it);
    }

    /// Returns more bytes than the copy of a record takes.
    fn copy_bytes_max(&self, record: &[u8]) -> usize {
        if record.first() == Some(&record::PUBLISH) {
            // Differences between targets grow when others are left out.
            return 96 + PublishRecord::copy_bytes_max(record);
        }
        let details = |session| self.index.sessions.slot(session).and_then(|it| it.details());
        // Where the copy says more than the record, the index knows it.
        let more = match Record::read(&mut Reader::new(record)) {
            Ok(Record::Session(SessionRecord { change, .. }) | Record::Change(change)) => {
                details(change.session).map_or(0, |it| it.client_id.len() + it.owner.len())
            }
            Ok(
                Record::Subscribe(record::SubscribeRecord { session, filter, .. })
                | Record::Cursor { session, filter, .. },
            ) => {
                let known = details(session).and_then(|it| it.subscriptions.get(filter));
                let cursor = known.and_then(|it| it.cursor.as_deref());
                let after = cursor.and_then(|it| it.after.as_deref());
                filter.len() + after.map_or(0, str::len)
            }
            Ok(_) | Err(_) => 0,
        };
        96 + record.len() + more
    }

    fn damage(&self) -> StoreError {
        self.trouble("the log is not what was written there")
    }

    fn unaccounted(&self) -> StoreError {
        self.trouble("the segment is said to hold what is not in it: this is a bug")
    }

    fn trouble(&self, what: &'static str) -> StoreError {
        let offset = self.cleaner.chunk_offset + self.cleaner.at as u64;
        let action = format!("reading {} at offset {offset}", file_name(self.cleaner.segment));
        let error = io::Error::new(io::ErrorKind::InvalidData, what);
        StoreError { action, source: Arc::new(error) }
    }
}

/// Bytes that the cleaner appends to a frame, if it is not much larger by itself.
const SLICE_BYTES: usize = 256 << 10;

/// Bytes of the record that says that segments are needed no longer.
const RETIRED_BYTES: usize = 16;

/// Bytes of a segment that are read at once.
const CHUNK_BYTES: usize = 1 << 20;
