//! Reading a snapshot.

use std::sync::Arc;

use super::{
    END, FILE_NAME, GHOST, INBOUND, MARK, QUEUE, RETAINED, SESSION, START, SUBSCRIPTION, WILL,
};
use crate::SessionNumber;
use crate::log::disk::{Disk, LogFile};
use crate::log::fetch;
use crate::log::frame::FrameKey;
use crate::log::index::{Entry, LIGHT, Location, Subscribed, Weighed};
use crate::log::record::{MarkRecord, Record};
use crate::log::replay::Replay;
use crate::log::scan::{Found, Scan};
use crate::log::tail::Start;
use crate::log::wire::{Nonsense, Reader};

/// The index as a snapshot has it, to be gone on with from `start`.
pub(crate) struct Snapshot<F> {
    pub(crate) replay: Replay<F>,
    /// Where reading the log begins.
    pub(crate) start: Start,
    /// The log was on the disk up to this frame.
    pub(crate) last_frame: u64,
}

/// What is read first: about the log, not about what is in it.
struct Head {
    start: Start,
    oldest: u64,
    /// How long each segment was, from the oldest on.
    segment_bytes: Vec<u64>,
}

/// Reads the snapshot of the log `log_id`, whose segments `file_of` knows. Nothing if there is none that can be used.
pub(crate) fn load<D: Disk>(
    disk: &D,
    log_id: [u8; 16],
    file_of: impl Fn(u64) -> Option<Arc<D::File>>,
) -> Option<Snapshot<D::File>> {
    let file = disk.open(FILE_NAME).ok()?;
    let mut scan = Scan::new(&file, FrameKey::new(log_id), 0).ok()?;
    let mut snapshot = None;
    for number in 1.. {
        let Found::Frame(frame) = scan.next().ok()? else { return None };
        if frame.header.number != number {
            return None;
        }
        let mut reader = Reader::new(frame.payload);
        if number == 1 {
            let head = Head::read(&mut reader, log_id).ok()?;
            snapshot = Some(head.begin(&file_of)?);
        }
        let snapshot = snapshot.as_mut()?;
        while !reader.is_empty() {
            if snapshot.take(&mut reader).ok()? == After::End {
                break;
            }
        }
        if snapshot.last_frame > 0 {
            break;
        }
    }
    snapshot
}

/// Whether more is to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    More,
    End,
}

impl Head {
    fn read(reader: &mut Reader<'_>, log_id: [u8; 16]) -> Result<Self, Nonsense> {
        if reader.byte()? != START || reader.take(16)? != log_id {
            return Err(Nonsense);
        }
        let (segment, offset, frame) = (reader.long()?, reader.long()?, reader.long()?);
        let start = Start { segment, offset, frame };
        let oldest = reader.long()?;
        let count = reader.count(1)?;
        let segment_bytes = (0..count).map(|_| reader.long()).collect::<Result<Vec<_>, _>>()?;
        if segment_bytes.len() as u64 != (segment + 1).saturating_sub(oldest) {
            return Err(Nonsense);
        }
        Ok(Self { start, oldest, segment_bytes })
    }

    /// Begins with the segments that are read no further. One that is gone is empty when all is read.
    fn begin<F>(self, file_of: &impl Fn(u64) -> Option<Arc<F>>) -> Option<Snapshot<F>> {
        let mut replay = Replay::new(self.oldest);
        replay.oldest_needed = self.oldest;
        let stand_in = file_of(self.start.segment)?;
        let sealed = self.segment_bytes.len() - 1;
        for (number, bytes) in (self.oldest..).zip(&self.segment_bytes[..sealed]) {
            match file_of(number) {
                Some(file) => replay.index.segments.push(file, *bytes, *bytes),
                None => replay.index.segments.push(Arc::clone(&stand_in), 0, 0),
            }
        }
        // What is read next is counted here before it is read.
        replay.index.segments.push(stand_in, self.start.offset, self.start.offset);
        Some(Snapshot { replay, start: self.start, last_frame: 0 })
    }
}

impl<F: LogFile> Snapshot<F> {
    fn take(&mut self, reader: &mut Reader<'_>) -> Result<After, Nonsense> {
        let kind = reader.byte()?;
        if kind == QUEUE {
            self.take_queue(reader)?;
            return Ok(After::More);
        }
        if kind == END {
            self.last_frame = reader.long()?;
            self.replay.index.sessions.iter_mut().for_each(|it| it.1.count_queued());
            return Ok(After::End);
        }
        if kind == RETAINED {
            let order = reader.long()?;
            let location = self.location(reader)?;
            let weight = reader.long()?;
            if let Some(location) = location {
                self.take_retained(order, Weighed { location, weight });
            }
            return Ok(After::More);
        }
        let location = self.location(reader)?;
        let index = &mut self.replay.index;
        match kind {
            MARK => {
                let mark = MarkRecord { generation: reader.word()?, order: reader.long()? };
                if let Some(location) = location {
                    index.set_mark(mark, location);
                }
            }
            SESSION => {
                let change = self.optional_location(reader)?;
                let index = &mut self.replay.index;
                let Record::Session(it) = Record::read(reader)? else { return Err(Nonsense) };
                let Some(location) = location else {
                    // What follows of it needs a place; what it is comes from the log.
                    let slot = index.claim(it.change.session).ok_or(Nonsense)?;
                    slot.next = slot.next.max(it.next);
                    return Ok(After::More);
                };
                let is_new = index.set_session(&it, location);
                let slot = index.sessions.slot_mut(it.change.session).filter(|_| is_new);
                slot.ok_or(Nonsense)?.details_mut().change = change;
                change.into_iter().for_each(|it| index.segments.add(it, LIGHT));
            }
            GHOST => {
                let Record::End { session, sent_before } = Record::read(reader)? else {
                    return Err(Nonsense);
                };
                match location {
                    Some(location) => index.end_session(session, sent_before, location),
                    None => {
                        index.claim(session);
                    }
                }
            }
            SUBSCRIPTION => {
                let moved_on = self.optional_location(reader)?;
                let index = &mut self.replay.index;
                let Record::Subscribe(it) = Record::read(reader)? else { return Err(Nonsense) };
                let Some(location) = location else { return Ok(After::More) };
                let (options, subscription_id) = (it.options, it.subscription_id);
                let cursor = it.cursor.map(|it| Box::new(it.to_place()));
                let subscribed =
                    Subscribed { options, subscription_id, cursor, location, moved_on };
                index.subscribe(it.session, it.filter, subscribed);
                moved_on.into_iter().for_each(|it| index.segments.add(it, LIGHT));
            }
            INBOUND => {
                let Record::Inbound { session, packet_id } = Record::read(reader)? else {
                    return Err(Nonsense);
                };
                if let Some(location) = location {
                    index.open_inbound(session, packet_id, location);
                }
            }
            WILL => {
                let weight = reader.long()?;
                let session = SessionNumber(reader.long()?);
                if let Some(location) = location {
                    index.set_will(session, Some(Weighed { location, weight }));
                }
            }
            _ => return Err(Nonsense),
        }
        Ok(After::More)
    }

    fn take_queue(&mut self, reader: &mut Reader<'_>) -> Result<(), Nonsense> {
        let session = SessionNumber(reader.long()?);
        let count = reader.count(3)?;
        let (mut position, mut bits) = (0_u64, 0_u64);
        for _ in 0..count {
            position = position.checked_add(reader.long()?).ok_or(Nonsense)?;
            let size = reader.word()?;
            bits = bits.wrapping_add_signed(reader.signed()?);
            let entry = Entry::from_bits(position, size, bits);
            if !self.has_segment(entry.location()) {
                continue;
            }
            let index = &mut self.replay.index;
            let slot = index.sessions.slot_mut(session).ok_or(Nonsense)?;
            // Those that it got after its description was written come from the log once more.
            slot.next = slot.next.max(position + 1);
            slot.queue.push(entry);
            index.segments.add(entry.location(), entry.weight());
        }
        Ok(())
    }

    /// The topic is in the message, which is read in any case. One that cannot be read has been moved since.
    fn take_retained(&mut self, order: u64, it: Weighed) {
        let index = &mut self.replay.index;
        if index.segments.at(it.location).capacity == 0 {
            // Its segment is gone, and the cleaner's copy comes from the log.
            return;
        }
        let read = fetch::read_message(index, it.location, it.weight, crate::WallMillis(0));
        if let Ok((message, _)) = read {
            index.retain(message.content().topic, order, it);
        }
    }

    /// Reads where a record lies; nothing if that is behind what the snapshot began with: it comes from the log.
    fn location(&self, reader: &mut Reader<'_>) -> Result<Option<Location>, Nonsense> {
        let location = Location::from_bits(reader.long()?);
        Ok(Some(location).filter(|it| self.has_segment(*it)))
    }

    fn optional_location(&self, reader: &mut Reader<'_>) -> Result<Option<Location>, Nonsense> {
        if reader.byte()? == 0 { Ok(None) } else { self.location(reader) }
    }

    fn has_segment(&self, location: Location) -> bool {
        self.replay.index.segments.contains(location)
    }
}
