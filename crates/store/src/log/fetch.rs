//! Entries of a queue, read from where their messages lie.

use std::sync::Arc;

use quelea_codec::QoS;
use quelea_session::{Message, Position, SubscriptionIds};

use super::disk::{Disk, LogFile, Tried};
use super::engine::Engine;
use super::index::{Entry, Index, Location};
use super::record::{MessagePart, PublishRecord, Record};
use super::segment::file_name;
use super::wire::Reader;
use crate::{
    Attributes, Fetch, Fetched, FetchedEntry, SessionNumber, ShardIndex, StoreError, WallMillis,
    Which,
};

/// Entries of a queue that were found and are still to be read: by any thread, at any time.
#[derive(Debug)]
pub struct Lookup<F> {
    fetched: Fetched,
    parts: Vec<Part<F>>,
    wall_at_zero: WallMillis,
}

/// An entry, and where its message lies.
#[derive(Debug)]
pub(crate) struct Part<F> {
    position: Position,
    entry: Entry,
    segment: u64,
    /// Keeps the segment from going away. Nothing of it changes any more.
    file: Arc<F>,
}

/// A queued message as it was read.
pub(crate) struct ReadEntry {
    pub(crate) message: Arc<Message>,
    pub(crate) attributes: Attributes,
}

impl<D: Disk> Engine<D> {
    /// Finds what a shard asks for.
    pub(super) fn look_up(&mut self, shard: ShardIndex, fetch: Fetch) {
        let lookup = look_up(&self.index, &fetch, self.options.wall_at_zero);
        self.lookups.push((shard, lookup));
    }
}

/// Finds entries of a queue.
pub(crate) fn look_up<F>(index: &Index<F>, fetch: &Fetch, wall_at_zero: WallMillis) -> Lookup<F> {
    let Fetch { session, token, from, which, .. } = *fetch;
    let entries = Vec::new();
    let mut fetched = Fetched { session, token, which, entries, next: from, is_last: true };
    let mut parts = Vec::new();
    if let Some(slot) = index.sessions.slot(session) {
        let next = slot.next;
        fetched.next = from.max(Position::new(next));
        let mut bytes = 0;
        for entry in slot.queue.from(from.value(), next) {
            if which == Which::Shared && !entry.is_shared() {
                continue;
            }
            let position = Position::new(entry.position(next));
            let is_enough = parts.len() >= fetch.entries_max as usize || bytes >= fetch.bytes_max;
            if is_enough && !parts.is_empty() {
                fetched.next = position;
                fetched.is_last = false;
                break;
            }
            bytes += u64::from(entry.size);
            parts.push(part(index, position, entry));
        }
    }
    Lookup { fetched, parts, wall_at_zero }
}

/// Finds where an entry lies.
pub(crate) fn part<F>(index: &Index<F>, position: Position, entry: Entry) -> Part<F> {
    let segment = index.segments.number_of(entry.location());
    let file = Arc::clone(&index.segments.at(entry.location()).file);
    Part { position, entry, segment, file }
}

/// Reads the message of the publish record at `location`, which has about `size` bytes.
pub(crate) fn read_message<F: LogFile>(
    index: &Index<F>,
    location: Location,
    size: u64,
    wall_at_zero: WallMillis,
) -> Result<(Arc<Message>, QoS), StoreError> {
    let entry = Entry::at(location, u32::try_from(size).unwrap_or(u32::MAX));
    let mut buffer = Vec::new();
    let part = part(index, Position::new(0), entry);
    let message = part.read_message(&mut buffer)?;
    Ok((message.to_message(wall_at_zero), message.qos))
}

/// Reads the record at `location`, and takes from it what `take` finds.
pub(crate) fn read_record<F: LogFile, T>(
    index: &Index<F>,
    location: Location,
    take: impl FnOnce(Record<'_>) -> Option<T>,
) -> Result<T, StoreError> {
    let part = part(index, Position::new(0), Entry::at(location, 0));
    let mut buffer = Vec::new();
    part.fill(&mut buffer, HEAD_BYTES)?;
    let needed = PublishRecord::record_bytes(&buffer).ok_or_else(|| part.damage())?;
    part.fill(&mut buffer, needed)?;
    let record = Record::read(&mut Reader::new(&buffer));
    record.ok().and_then(take).ok_or_else(|| part.damage())
}

impl<F: LogFile> Lookup<F> {
    /// Reads the messages.
    ///
    /// # Errors
    ///
    /// When the disk does not give them back as they were written.
    pub fn read(self) -> Result<Fetched, StoreError> {
        let Self { mut fetched, parts, wall_at_zero } = self;
        let mut buffer = Vec::new();
        for part in parts {
            let position = part.position;
            let entry = if part.entry.is_released() {
                FetchedEntry { position, message: None, attributes: received() }
            } else {
                let read = part.read(fetched.session, &mut buffer, wall_at_zero)?;
                let ReadEntry { message, attributes } = read;
                FetchedEntry { position, message: Some(message), attributes }
            };
            fetched.entries.push(entry);
        }
        Ok(fetched)
    }
}

impl<F: LogFile> Part<F> {
    /// Reads the message, with `buffer` for its bytes.
    pub(crate) fn read(
        &self,
        session: SessionNumber,
        buffer: &mut Vec<u8>,
        wall_at_zero: WallMillis,
    ) -> Result<ReadEntry, StoreError> {
        let part = self.read_message(buffer)?;
        let message = part.to_message(wall_at_zero);
        let attributes = match self.entry.attribute() {
            Some(index) => part.attributes().nth(index as usize),
            None => self.search(session, buffer)?,
        };
        let attributes = attributes.ok_or_else(|| self.damage())?;
        Ok(ReadEntry { message, attributes })
    }

    fn read_message<'a>(&self, buffer: &'a mut Vec<u8>) -> Result<MessagePart<'a>, StoreError> {
        self.fill(buffer, self.entry.size as usize + HEAD_BYTES)?;
        if let Ok(Err(needed)) = MessagePart::read_checked(buffer) {
            self.fill(buffer, needed)?;
        }
        let read = MessagePart::read_checked(buffer);
        read.ok().and_then(Result::ok).ok_or_else(|| self.damage())
    }

    /// Finds a session's attributes in the record, which is read as a whole for it.
    fn search(
        &self,
        session: SessionNumber,
        buffer: &mut Vec<u8>,
    ) -> Result<Option<Attributes>, StoreError> {
        let needed = PublishRecord::record_bytes(buffer).ok_or_else(|| self.damage())?;
        self.fill(buffer, needed)?;
        let Ok(Record::Publish(record)) = Record::read(&mut Reader::new(buffer)) else {
            return Err(self.damage());
        };
        let position = self.position;
        let mut targets = record.targets();
        let target = targets.find(|it| it.session == session && it.position == position);
        Ok(target.and_then(|it| record.message.attributes().nth(it.attributes as usize)))
    }

    fn fill(&self, buffer: &mut Vec<u8>, bytes: usize) -> Result<(), StoreError> {
        buffer.resize(bytes, 0);
        let read = self.file.read_at(buffer, self.entry.location().offset());
        let count = read.tried(|| format!("reading {}", file_name(self.segment)))?;
        buffer.truncate(count);
        Ok(())
    }

    fn damage(&self) -> StoreError {
        let offset = self.entry.location().offset();
        let name = file_name(self.segment);
        let what = "a message is not what was written there";
        let error = std::io::Error::new(std::io::ErrorKind::InvalidData, what);
        StoreError { action: format!("reading {name} at offset {offset}"), source: Arc::new(error) }
    }
}

/// Returns the attributes of an exchange of which only the end is left.
fn received() -> Attributes {
    Attributes {
        qos: QoS::ExactlyOnce,
        retain: false,
        subscription_ids: SubscriptionIds::new(&[]),
        share: None,
        retained_order: 0,
    }
}

/// Bytes that a record has before its message, as a rule. What is missing is read again.
const HEAD_BYTES: usize = 48;
