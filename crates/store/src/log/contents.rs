//! What is in a log, for those who look at it and change nothing.

use quelea_session::Position;

use super::disk::{Disk, Tried};
use super::frame::HEADER_BYTES as FRAME_HEADER_BYTES;
use super::index::{Location, Segment, Slot, State};
use super::item::{Item, StoredMessage, StoredSession, StoredTarget};
use super::loss::Loss;
use super::open_error::OpenError;
use super::record::{MessagePart, PublishRecord, Record};
use super::recovery::{self, Recovery, Strictness};
use super::scan::{Found, Scan, records};
use super::segment::{HEADER_BYTES, file_name};
use crate::{Report, SessionNumber, StoreError, WallMillis};

/// A log that is looked at, and not changed. Messages stay on the disk and are read one at a time.
pub struct Contents<D: Disk> {
    recovery: Recovery<D::File>,
    /// Has the lock.
    disk: D,
}

/// How many things of each kind that have a place in the log were come by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Seen {
    entries: u64,
    retained: u64,
}

impl<D: Disk> Contents<D> {
    /// Reads a log.
    ///
    /// # Errors
    ///
    /// [`OpenError`] says what is in the way. With [`Strictness::Salvage`] damage is not.
    pub fn read(disk: D, strictness: Strictness) -> Result<Self, OpenError> {
        if !disk.lock().map_err(|error| recovery::failed("locking", error))? {
            return Err(OpenError::Locked { directory: disk.directory() });
        }
        let mut recovery = Recovery::read(&disk, strictness)?;
        let queues = recovery.index.sessions.iter().filter(|it| is_known(it.1));
        recovery.report.entries = queues.map(|(_, slot)| slot.queue.len() as u64).sum();
        Ok(Self { recovery, disk })
    }

    /// Gives everything that there is to `take`: first sessions, by the slots of their numbers, then what lies in the segments, in
    /// its order there.
    ///
    /// # Errors
    ///
    /// What `take` returns, and when the disk does not give back what is on it.
    pub fn for_each<E: From<StoreError>>(
        &self,
        mut take: impl FnMut(Result<Item, Loss>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mark = self.recovery.index.mark;
        take(Ok(Item::Mark { generation: mark.generation, order: mark.order }))?;
        for session in self.sessions() {
            take(session)?;
        }
        let mut seen = Seen::default();
        let segments = &self.recovery.index.segments;
        for (number, segment) in (segments.oldest_number()..).zip(segments.iter()) {
            self.segment(number, segment, &mut seen, &mut take)?;
        }
        let retained = self.recovery.index.retained.iter().count() as u64;
        let expected = Seen { entries: self.recovery.report.entries, retained };
        if seen != expected {
            let what =
                format!("there should be {expected:?}, and there are {seen:?}: this is a bug");
            let oldest = self.recovery.index.segments.oldest_number();
            take(Err(Loss::at(&self.disk, oldest, 0, what)))?;
        }
        Ok(())
    }

    /// Returns all sessions, and what is left of others, by the slots of their numbers.
    pub fn sessions(&self) -> impl Iterator<Item = Result<Item, Loss>> {
        let known = self.recovery.index.sessions.iter().filter(|it| is_known(it.1));
        known.map(|(session, slot)| self.session(session, slot))
    }

    /// Returns what reading it was like.
    pub fn report(&self) -> &Report {
        &self.recovery.report
    }

    /// Returns what was passed over.
    pub fn losses(&self) -> &[Loss] {
        &self.recovery.losses
    }

    fn session(&self, session: SessionNumber, slot: &Slot) -> Result<Item, Loss> {
        if slot.is_ghost() {
            let sent_before = slot.change(session).sent_before;
            return Ok(Item::Ghost { session, sent_before });
        }
        let lost = |what: String| {
            let oldest = self.recovery.index.segments.oldest_number();
            Loss::at(&self.disk, oldest, 0, format!("session {}: {what}", session.0))
        };
        let known = self.recovery.session(session, slot).map_err(|it| lost(it.to_string()))?;
        let mut known = known.ok_or_else(|| lost("nothing says what it is".to_owned()))?;
        known.subscriptions.sort_unstable_by(|a, b| a.filter.cmp(&b.filter));
        known.received.sort_unstable();
        let next = Position::new(slot.next);
        Ok(Item::Session(StoredSession { session: known, next }))
    }

    /// Gives what lies in a segment and is the latest of something to `take`.
    fn segment<E: From<StoreError>>(
        &self,
        number: u64,
        segment: &Segment<D::File>,
        seen: &mut Seen,
        take: &mut impl FnMut(Result<Item, Loss>) -> Result<(), E>,
    ) -> Result<(), E> {
        let reading = || format!("reading {}", file_name(number));
        let mut scan =
            Scan::new(&*segment.file, self.recovery.key, HEADER_BYTES as u64).tried(reading)?;
        while scan.offset < segment.bytes {
            let offset = scan.offset;
            if let Found::Frame(frame) = scan.next().tried(reading)? {
                let at = offset + FRAME_HEADER_BYTES as u64;
                // What makes no sense was noted when the index was made.
                for (within, record) in records(frame.payload).map_while(Result::ok) {
                    let location = Location::new(number, at + within as u64);
                    let bytes = &frame.payload[within..];
                    if let Some(item) = self.item(number, location, &record, bytes, seen) {
                        take(item)?;
                    }
                }
                continue;
            }
            // Behind damage there may be more; what was not taken there is nothing's latest.
            scan.offset = offset;
            if scan.find_later(0, &mut 0).tried(reading)?.is_none() {
                break;
            }
        }
        Ok(())
    }

    /// Returns what a record at `location`, with which `bytes` begin, is the latest of.
    fn item(
        &self,
        number: u64,
        location: Location,
        record: &Record<'_>,
        bytes: &[u8],
        seen: &mut Seen,
    ) -> Option<Result<Item, Loss>> {
        match *record {
            Record::Publish(ref record) => {
                let message = self.message(location, record)?;
                seen.entries += message.targets.len() as u64;
                seen.retained += u64::from(message.retain.is_some());
                // Whoever reads it alone looks at a checksum of its own.
                if MessagePart::read_checked(bytes).is_ok_and(|it| it.is_ok()) {
                    return Some(Ok(Item::Message(message)));
                }
                let what = "a message is not what was written there".to_owned();
                Some(Err(Loss::at(&self.disk, number, location.offset(), what)))
            }
            Record::Received { session, position } => {
                let target = StoredTarget { session, position, attributes: 0 };
                if !self.is_entry(&target, location) {
                    return None;
                }
                seen.entries += 1;
                Some(Ok(Item::Received { session, position }))
            }
            _ => None,
        }
    }

    /// Returns a message with the queues that it is in; nothing if it is nowhere.
    fn message(&self, location: Location, record: &PublishRecord<'_>) -> Option<StoredMessage> {
        let part = record.message;
        let targets = record.targets().map(|it| StoredTarget {
            session: it.session,
            position: it.position,
            attributes: it.attributes,
        });
        let targets: Vec<_> = targets.filter(|it| self.is_entry(it, location)).collect();
        let retained = self.recovery.index.retained.message(part.topic);
        let retain = retained.filter(|it| it.1.location == location).map(|it| it.0);
        if targets.is_empty() && retain.is_none() {
            return None;
        }
        let attributes = if targets.is_empty() { Vec::new() } else { part.attributes().collect() };
        let message = part.to_message(WallMillis(0));
        Some(StoredMessage { message, qos: part.qos, retain, attributes, targets })
    }

    fn is_entry(&self, target: &StoredTarget, location: Location) -> bool {
        let slot = self.recovery.index.sessions.slot(target.session).filter(|it| is_known(it));
        let entry = slot.and_then(|it| it.queue.entry(target.position.value(), it.next));
        entry.is_some_and(|it| it.location() == location)
    }
}

/// Returns whether the log says what a session is.
fn is_known(slot: &Slot) -> bool {
    slot.state != State::Implied
}
