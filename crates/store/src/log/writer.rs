//! A log made anew of what another one holds.
//!
//! Not by operations: those give positions, and here messages keep theirs, because packet identifiers follow from them.

use std::fmt;
use std::io;
use std::sync::Arc;

use super::disk::{Disk, Tried};
use super::frame;
use super::index::Segments;
use super::item::{Item, StoredMessage, StoredSession};
use super::record::{self, ChangeRecord, MarkRecord, PublishParts, SessionRecord, TargetRecord};
use super::segment::number_of;
use super::tail::{NoRoom, Tail};
use crate::StoreError;

/// A log that is made anew. It can be opened once it is [finished](Writer::finish).
pub struct Writer<D: Disk> {
    disk: Arc<D>,
    tail: Tail<D>,
    segments: Segments<D::File>,
    frame: Vec<u8>,
    mark: MarkRecord,
}

/// Why a log could not be made anew.
#[derive(Debug)]
#[non_exhaustive]
pub enum WriteError {
    /// The system refuses what has to be done.
    Disk(StoreError),
    /// Another process has the directory.
    Locked,
    /// There is a log in the directory.
    NotEmpty,
}

impl<D: Disk> Writer<D> {
    /// Begins a log where there is none, in files of `segment_bytes`.
    ///
    /// # Errors
    ///
    /// [`WriteError`] says what is in the way. Nothing was changed then.
    pub fn new(disk: D, segment_bytes: u64) -> Result<Self, WriteError> {
        if !disk.lock().tried(|| "locking the data directory".to_owned())? {
            return Err(WriteError::Locked);
        }
        let names = disk.list().tried(|| "reading the data directory".to_owned())?;
        if names.iter().any(|it| it == UNFINISHED || number_of(it).is_some()) {
            return Err(WriteError::NotEmpty);
        }
        let log_id = disk.new_id().tried(|| "naming the log".to_owned())?;
        disk.create(UNFINISHED).tried(|| format!("making {UNFINISHED}"))?;
        disk.sync().tried(|| "fsync of the data directory".to_owned())?;
        let disk = Arc::new(disk);
        let tail = Tail::new(Arc::clone(&disk), log_id, segment_bytes, None, 1, 1);
        let mut frame = Vec::new();
        frame::begin(&mut frame);
        Ok(Self { disk, tail, segments: Segments::new(1), frame, mark: MarkRecord::default() })
    }

    /// Writes an item.
    ///
    /// # Errors
    ///
    /// When the disk is full or has failed.
    pub fn put(&mut self, item: &Item) -> Result<(), StoreError> {
        match item {
            Item::Mark { generation, order } => {
                self.mark.generation = self.mark.generation.max(*generation);
                self.mark.order = self.mark.order.max(*order);
            }
            Item::Session(session) => self.put_session(session),
            Item::Ghost { session, sent_before } => {
                record::put_end(&mut self.frame, *session, *sent_before);
            }
            Item::Message(message) => self.put_message(message),
            Item::Received { session, position } => {
                record::put_received(&mut self.frame, *session, *position);
            }
        }
        if self.frame.len() >= FRAME_BYTES { self.write() } else { Ok(()) }
    }

    /// Completes the log.
    ///
    /// # Errors
    ///
    /// When the disk is full or has failed.
    pub fn finish(mut self) -> Result<(), StoreError> {
        record::put_mark(&mut self.frame, self.mark);
        self.write()?;
        self.tail.sync()?;
        // It says that all the others are on the disk: what is damaged is not taken for what a crash has left.
        record::put_closed(&mut self.frame);
        self.write()?;
        self.tail.sync()?;
        self.disk.remove(UNFINISHED).tried(|| format!("removing {UNFINISHED}"))?;
        self.disk.sync().tried(|| "fsync of the data directory".to_owned())
    }

    fn put_session(&mut self, it: &StoredSession) {
        let StoredSession { session: it, next } = it;
        let session = it.session;
        let (expiry_secs, presence, sent_before) = (it.expiry_secs, it.presence, it.sent_before);
        let change = ChangeRecord { session, expiry_secs, presence, sent_before };
        let (client_id, owner) = (&*it.identity.client_id, &*it.identity.owner);
        let header = SessionRecord { client_id, owner, change, next: next.value() };
        let frame = &mut self.frame;
        record::put_session(frame, &header);
        for it in &it.subscriptions {
            let (options, id, cursor) = (it.options, it.subscription_id, it.cursor.as_ref());
            record::put_subscribe(frame, session, &it.filter, options, id, cursor);
        }
        it.received.iter().for_each(|it| record::put_inbound(frame, session, *it));
        if it.will.is_some() {
            record::put_will(frame, session, it.will.as_ref());
        }
    }

    fn put_message(&mut self, it: &StoredMessage) {
        let content = it.message.content();
        let parts = PublishParts {
            qos: it.qos,
            expires_at: content.expires_at.map_or(0, |it| it.as_millis()),
            retain: it.retain,
            received: None,
            topic: content.topic,
            forwarded: content.forwarded,
            payload: content.payload,
        };
        let targets = it.targets.iter().map(|it| TargetRecord {
            session: it.session,
            position: it.position,
            attributes: it.attributes,
        });
        let targets: Vec<_> = targets.collect();
        record::put_publish(&mut self.frame, &parts, &it.attributes, &targets);
    }

    fn write(&mut self) -> Result<(), StoreError> {
        let payload_bytes = (self.frame.len() - frame::HEADER_BYTES) as u64;
        let room = self.tail.make_room(payload_bytes, &mut self.segments);
        room.map_err(|it| failure(it, "making a segment"))?;
        self.tail.complete(&mut self.frame);
        let written = self.tail.write(&self.frame, &mut self.segments);
        written.map_err(|it| failure(it, "writing to a segment"))?;
        frame::begin(&mut self.frame);
        Ok(())
    }
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disk(error) => write!(f, "{error}"),
            Self::Locked => f.write_str("the directory is in use by another process"),
            Self::NotEmpty => f.write_str("there is a log in the directory, which is left alone"),
        }
    }
}

impl std::error::Error for WriteError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Disk(error) => Some(error),
            Self::Locked | Self::NotEmpty => None,
        }
    }
}

impl From<StoreError> for WriteError {
    fn from(error: StoreError) -> Self {
        Self::Disk(error)
    }
}

fn failure(no_room: NoRoom, action: &str) -> StoreError {
    match no_room {
        NoRoom::Full | NoRoom::NotYet => {
            let source = Arc::new(io::ErrorKind::StorageFull.into());
            StoreError { action: action.to_owned(), source }
        }
        NoRoom::Failed(error) => error,
    }
}

/// The file that is there until the log is complete.
pub(crate) const UNFINISHED: &str = "unfinished";

/// Bytes from which on a frame is written.
const FRAME_BYTES: usize = 1 << 20;
