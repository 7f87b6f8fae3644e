//! Reading a log from its beginning to where it breaks off.
//!
//! What a crash leaves at the end of a log is cut off: nothing of it was promised. What is missing
//! further ahead is damage, and then nothing is changed: every frame says up to which one the log was
//! known to be on the disk when it was written, and that tells the two apart.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use super::disk::{Disk, LogFile, Tried};
use super::fetch;
use super::index::{Index, Location};
use super::open_error::OpenError;
use super::record::{Record, WillRecord};
use super::replay::Replay;
use super::scan::{Found, Scan, records};
use super::segment::{HEADER_BYTES, Heading, SegmentHeader, file_name, number_of};
use super::snapshot::{self, Snapshot};
use super::tail::Current;
use crate::{
    Recovered, RecoveredRetained, RecoveredSession, RecoveredSubscription, Report, StoreError,
    StoredWill, WallMillis,
};

/// A log as it was found.
pub(crate) struct Recovery<F> {
    pub(crate) index: Index<F>,
    /// The segment that is gone on with.
    pub(crate) current: Option<Current<F>>,
    pub(crate) log_id: Option<[u8; 16]>,
    pub(crate) next_segment: u64,
    pub(crate) next_frame: u64,
    pub(crate) report: Report,
    /// The last segment has something behind its last whole frame.
    is_cut: bool,
    /// Files that are no part of the log any more, or not yet.
    superfluous: Vec<u64>,
    /// Segments that were not read, because a snapshot says what is in them.
    pub(crate) unverified: Vec<u64>,
    /// What was passed over, when that was asked for.
    #[expect(dead_code, reason = "for the tools, which come next")]
    pub(crate) losses: Vec<OpenError>,
}

/// What to do about damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strictness {
    /// Refuse the log.
    Whole,
    /// Pass over what cannot be read, and say so.
    #[expect(dead_code, reason = "for the tools, which come next")]
    Salvage,
}

/// The files of a log, by their numbers.
struct Files<F> {
    log_id: Option<[u8; 16]>,
    /// Segments in use, one after the other.
    segments: BTreeMap<u64, (SegmentHeader, Arc<F>)>,
    superfluous: Vec<u64>,
}

struct Reading<'a, D: Disk> {
    disk: &'a D,
    strictness: Strictness,
    replay: Replay<D::File>,
    report: Report,
    losses: Vec<OpenError>,
    next_frame: u64,
    /// The log was on the disk up to this frame.
    promised: u64,
}

impl<F: LogFile> Recovery<F> {
    /// Reads a log. Nothing is changed.
    #[expect(dead_code, reason = "for the tools, which come next")]
    pub(crate) fn read<D: Disk<File = F>>(
        disk: &D,
        strictness: Strictness,
    ) -> Result<Self, OpenError> {
        Self::read_from(disk, strictness, u64::MAX)
    }

    /// Reads a log that is to be gone on with: one of more than `snapshot_bytes` with the help of a snapshot.
    pub(crate) fn read_fast<D: Disk<File = F>>(
        disk: &D,
        snapshot_bytes: u64,
    ) -> Result<Self, OpenError> {
        Self::read_from(disk, Strictness::Whole, snapshot_bytes)
    }

    fn read_from<D: Disk<File = F>>(
        disk: &D,
        strictness: Strictness,
        snapshot_bytes: u64,
    ) -> Result<Self, OpenError> {
        let mut losses = Vec::new();
        let mut files = Files::find(disk, strictness, &mut losses)?;
        if strictness == Strictness::Whole {
            files.leave_out_what_is_behind_a_gap();
        }
        let snapshot = files.snapshot(disk, snapshot_bytes);
        let Files { log_id, mut segments, mut superfluous } = files;
        let next_segment = segments.last_key_value().map_or(1, |it| it.0 + 1);
        let first = segments.first_key_value();
        let mut oldest = first.map_or(next_segment, |it| *it.0);
        let next_frame = first.map_or(1, |it| it.1.0.first_frame);
        let report = Report::default();
        let replay = Replay::new(oldest);
        let mut reading =
            Reading { disk, strictness, replay, report, losses, next_frame, promised: 0 };
        let mut from = HEADER_BYTES as u64;
        let mut unverified = Vec::new();
        if let Some(Snapshot { replay, start, last_frame }) = snapshot {
            reading.replay = replay;
            reading.next_frame = start.frame;
            reading.promised = last_frame;
            from = start.offset;
            let unread = std::mem::take(&mut segments);
            let known = reading.replay.index.segments.oldest_number();
            unverified.extend(unread.keys().filter(|it| (known..=start.segment).contains(it)));
            superfluous.extend(unread.keys().filter(|it| **it < known));
            segments = unread.into_iter().filter(|it| it.0 >= start.segment).collect();
            // Those before it are in the snapshot, or known to be gone.
            oldest = start.segment;
        }
        let mut current = None;
        let mut is_cut = false;
        let mut segments = segments.into_iter().peekable();
        let mut expected = oldest;
        while let Some((number, (header, file))) = segments.next() {
            while expected < number {
                reading.pass_over(expected, &file);
                expected += 1;
            }
            expected = number + 1;
            let following = segments.peek().map(|(_, (header, _))| *header);
            let end = reading.segment(number, &header, following.as_ref(), &file, from)?;
            from = HEADER_BYTES as u64;
            is_cut = end.is_cut;
            let capacity = file.length().map_err(|it| failed_on("looking at", number, it))?;
            current = Some(Current { number, file, offset: end.offset, capacity });
        }
        reading.end()?;
        let Reading { replay, report, losses, next_frame, .. } = reading;
        let mut index = replay.index;
        // The last segment stays: it is gone on with.
        while index.segments.oldest_number() < replay.oldest_needed
            && index.segments.count() > 1
            && index.segments.oldest().is_some_and(|it| it.live_count == 0)
        {
            superfluous.extend(index.segments.retire_oldest().map(|it| it.0));
        }
        Ok(Self {
            index,
            current,
            log_id,
            next_segment,
            next_frame,
            report,
            is_cut,
            superfluous,
            unverified,
            losses,
        })
    }

    /// Removes what is no part of the log, so that it can be gone on with.
    pub(crate) fn repair<D: Disk<File = F>>(mut self, disk: &D) -> Result<Self, StoreError> {
        for number in std::mem::take(&mut self.superfluous) {
            match disk.remove(&file_name(number)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => removed.tried(|| format!("removing {}", file_name(number)))?,
            }
        }
        if let Some(current) = &mut self.current {
            let name = file_name(current.number);
            if self.is_cut {
                // With what was behind: a later frame must never follow on it.
                current.file.truncate(current.offset).tried(|| format!("cutting {name}"))?;
                current.capacity = current.offset;
            }
            // Whoever goes on relies on what was read, which may never have been synced.
            current.file.sync().tried(|| format!("fdatasync of {name}"))?;
        }
        disk.sync().tried(|| "fsync of the data directory".to_owned())?;
        Ok(self)
    }

    /// Returns what the broker is told.
    pub(crate) fn recovered(&self, wall_at_zero: WallMillis) -> Result<Recovered, StoreError> {
        let mut recovered = Recovered {
            next_order: self.index.mark.order + 1,
            report: self.report.clone(),
            ..Recovered::default()
        };
        for (session, slot) in self.index.sessions.iter() {
            if slot.is_ghost() {
                recovered.ghosts.push((session, slot.change(session).sent_before));
                continue;
            }
            let change = slot.change(session);
            let Some(details) = slot.details() else { continue };
            let will = details.will.map(|it| self.read_will(it.location)).transpose()?;
            let subscriptions = details.subscriptions.iter();
            recovered.report.entries += slot.queue.len() as u64;
            recovered.sessions.push(RecoveredSession {
                session,
                identity: details.identity(),
                expiry_secs: change.expiry_secs,
                presence: change.presence,
                sent_before: change.sent_before,
                queued_messages: slot.queued_messages,
                queued_bytes: slot.queued_bytes,
                received: details.inbound.keys().copied().collect(),
                subscriptions: subscriptions
                    .map(|(filter, it)| RecoveredSubscription {
                        filter: filter.clone(),
                        options: it.options,
                        subscription_id: it.subscription_id,
                        cursor: it.cursor.as_deref().cloned(),
                    })
                    .collect(),
                will,
            });
        }
        // In the order in which they lie on the disk.
        let mut retained: Vec<_> = self.index.retained.iter().collect();
        retained.sort_unstable_by_key(|(_, it)| {
            (self.index.segments.number_of(it.location), it.location.offset())
        });
        for (order, it) in retained {
            let (message, qos) =
                fetch::read_message(&self.index, it.location, it.weight, wall_at_zero)?;
            recovered.retained.push(RecoveredRetained { message, qos, order });
        }
        Ok(recovered)
    }

    fn read_will(&self, location: Location) -> Result<StoredWill, StoreError> {
        fetch::read_record(&self.index, location, |record| match record {
            Record::Will { will, .. } => will.map(WillRecord::to_will),
            _ => None,
        })
    }
}

impl<F: LogFile> Files<F> {
    /// Finds the files of a log, and which of them are in use.
    fn find<D: Disk<File = F>>(
        disk: &D,
        strictness: Strictness,
        losses: &mut Vec<OpenError>,
    ) -> Result<Self, OpenError> {
        let names = disk.list().map_err(|error| failed("reading the data directory", error))?;
        let mut numbers: Vec<u64> = names.iter().filter_map(|it| number_of(it)).collect();
        numbers.sort_unstable();
        let mut files = Self { log_id: None, segments: BTreeMap::new(), superfluous: Vec::new() };
        let mut unreadable = Vec::new();
        for number in numbers {
            let name = file_name(number);
            let file = disk.open(&name).tried(|| format!("opening {name}"))?;
            let mut block = [0; HEADER_BYTES];
            let read = file.read_at(&mut block, 0).tried(|| format!("reading {name}"))?;
            match SegmentHeader::decode(&block[..read]) {
                Heading::Segment(header) if header.number == number => {
                    let known = *files.log_id.get_or_insert(header.log_id);
                    if known != header.log_id {
                        let what = "it belongs to another log".to_owned();
                        return Err(corrupt(disk, number, 0, what));
                    }
                    if header.is_in_use() {
                        files.segments.insert(number, (header, Arc::new(file)));
                    } else {
                        files.superfluous.push(number);
                    }
                }
                Heading::Unknown { version } => {
                    let file = disk.directory().join(name);
                    return Err(OpenError::Format { file, version });
                }
                Heading::Segment(_) | Heading::None => unreadable.push((number, file)),
            }
        }
        let last_in_use = files.segments.last_key_value().map_or(0, |it| *it.0);
        for (number, file) in unreadable {
            // A segment that was being made ready has nothing in it.
            let is_unused = number > last_in_use && !has_frames(&file, number)?;
            if is_unused {
                files.superfluous.push(number);
                continue;
            }
            let error = corrupt(disk, number, 0, "its header is not whole".to_owned());
            if strictness == Strictness::Whole {
                return Err(error);
            }
            losses.push(error);
        }
        Ok(files)
    }

    /// Returns the index that a snapshot has, if the log is large and there is one.
    fn snapshot<D: Disk<File = F>>(&self, disk: &D, snapshot_bytes: u64) -> Option<Snapshot<F>> {
        let bytes = |it: &(SegmentHeader, Arc<F>)| it.1.length().unwrap_or(0);
        let total: u64 = self.segments.values().map(bytes).sum();
        if total <= snapshot_bytes {
            return None;
        }
        let file_of = |number: u64| self.segments.get(&number).map(|it| Arc::clone(&it.1));
        let snapshot = snapshot::load(disk, self.log_id?, file_of)?;
        // Without its beginning there is nothing to go on with.
        self.segments.contains_key(&snapshot.start.segment).then_some(snapshot)
    }

    /// Segments that are needed no longer go the oldest first; a crash may bring back some of them.
    fn leave_out_what_is_behind_a_gap(&mut self) {
        let Some((&last, _)) = self.segments.last_key_value() else { return };
        let is_there = |number: &u64| self.segments.contains_key(number);
        let first = (0..=last).rev().take_while(is_there).last().unwrap_or(last);
        let kept = self.segments.split_off(&first);
        self.superfluous.extend(self.segments.keys());
        self.segments = kept;
    }
}

/// Where reading a segment has ended.
struct End {
    offset: u64,
    is_cut: bool,
}

impl<D: Disk> Reading<'_, D> {
    /// Reads a segment from `from` on; `following` is the header of the one after it.
    fn segment(
        &mut self,
        number: u64,
        header: &SegmentHeader,
        following: Option<&SegmentHeader>,
        file: &Arc<D::File>,
        from: u64,
    ) -> Result<End, OpenError> {
        let capacity = file.length().map_err(|it| failed_on("looking at", number, it))?;
        let is_known = self.promised > 0 && from > HEADER_BYTES as u64;
        self.replay.index.segments.begin(number, Arc::clone(file), from, capacity);
        self.replay.oldest_needed = self.replay.oldest_needed.max(header.oldest);
        if header.first_frame != self.next_frame && !is_known {
            let (expected, first) = (self.next_frame, header.first_frame);
            let what = format!("frames {expected} to {} are missing before it", first - 1);
            self.lose(number, 0, what)?;
            self.next_frame = first;
        }
        let reading = |it| failed_on("reading", number, it);
        let mut scan = Scan::new(&**file, from).map_err(reading)?;
        loop {
            let offset = scan.offset;
            let torn = match scan.next().map_err(reading)? {
                Found::Frame(frame) if frame.header.number == self.next_frame => {
                    self.next_frame += 1;
                    self.report.frames += 1;
                    let frame_bytes = frame.header.frame_bytes();
                    self.replay.index.segments.grow(frame_bytes);
                    self.records(number, offset, frame.payload)?;
                    continue;
                }
                Found::Frame(frame) => Some(frame.header),
                Found::Torn(header) => Some(header),
                Found::Nothing => None,
            };
            self.report.bytes += offset;
            let is_last_frame = following.is_some_and(|it| it.first_frame == self.next_frame);
            if is_last_frame {
                return Ok(End { offset, is_cut: false });
            }
            let is_torn = torn.is_some_and(|it| it.number >= self.next_frame);
            scan.offset = offset;
            let later = scan.find_later(self.next_frame).map_err(reading)?;
            let promised = later.map_or(0, |it| it.synced).max(self.promised);
            let promised = promised.max(following.map_or(0, |it| it.synced));
            if promised >= self.next_frame {
                let what = format!("frame {} is not what was written", self.next_frame);
                self.lose(number, offset, what)?;
                if let Some(later) = later {
                    self.next_frame = later.number;
                    continue;
                }
                return Ok(End { offset, is_cut: true });
            }
            if is_torn || later.is_some() {
                self.report.cut = Some((file_name(number), capacity - offset));
            }
            return Ok(End { offset, is_cut: is_torn || later.is_some() });
        }
    }

    fn records(&mut self, number: u64, offset: u64, payload: &[u8]) -> Result<(), OpenError> {
        for record in records(payload) {
            let at = |it: usize| offset + super::frame::HEADER_BYTES as u64 + it as u64;
            let taken = record.map(|(within, record)| {
                let location = Location::new(number, at(within));
                self.replay.take(&record, location)
            });
            if taken != Ok(true) {
                let what = "a record of a whole frame makes no sense to this version".to_owned();
                return self.lose(number, offset, what);
            }
        }
        Ok(())
    }

    /// Notes that a segment is not there. It has its number all the same, and no bytes.
    fn pass_over(&mut self, number: u64, stand_in: &Arc<D::File>) {
        self.replay.index.segments.push(Arc::clone(stand_in), 0, 0);
        let what = "the segment is missing, or its header is not whole".to_owned();
        self.losses.push(corrupt(self.disk, number, 0, what));
    }

    /// Everything was read that is there.
    fn end(&mut self) -> Result<(), OpenError> {
        let oldest = self.replay.index.segments.oldest_number();
        self.report.segments = self.replay.index.segments.count() as u64;
        let needed = self.replay.oldest_needed;
        if needed < oldest && self.report.segments > 0 {
            self.lose(needed, 0, "the segment is missing".to_owned())?;
        }
        if let Some(session) = self.replay.finish_all() {
            let what = format!("the log tells of session {}, and not what it is", session.0);
            self.lose(oldest, 0, what)?;
        }
        for (number, segment) in (oldest..).zip(self.replay.index.segments.iter()) {
            if segment.live_count > 0
                && segment.capacity == 0
                && self.strictness == Strictness::Whole
            {
                let what = "the segment is missing, and a snapshot tells what was in it".to_owned();
                return Err(corrupt(self.disk, number, 0, what));
            }
        }
        Ok(())
    }

    fn lose(&mut self, number: u64, offset: u64, what: String) -> Result<(), OpenError> {
        let error = corrupt(self.disk, number, offset, what);
        if self.strictness == Strictness::Whole {
            return Err(error);
        }
        self.losses.push(error);
        Ok(())
    }
}

/// Returns whether a file has a frame where the first one of a segment is.
fn has_frames<F: LogFile>(file: &F, number: u64) -> Result<bool, OpenError> {
    let reading = |it| failed_on("reading", number, it);
    let mut scan = Scan::new(file, HEADER_BYTES as u64).map_err(reading)?;
    Ok(!matches!(scan.next().map_err(reading)?, Found::Nothing))
}

fn corrupt<D: Disk>(disk: &D, number: u64, offset: u64, what: String) -> OpenError {
    OpenError::Corrupt { file: disk.directory().join(file_name(number)), offset, what }
}

pub(crate) fn failed(action: &str, error: io::Error) -> OpenError {
    OpenError::Disk(StoreError { action: action.to_owned(), source: Arc::new(error) })
}

fn failed_on(action: &str, number: u64, error: io::Error) -> OpenError {
    failed(&format!("{action} {}", file_name(number)), error)
}
