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
use super::frame::{self, FrameKey};
use super::index::{Index, Location, SEGMENTS_MAX, Slot};
use super::loss::Loss;
use super::open_error::OpenError;
use super::record::{Record, WillRecord};
use super::replay::Replay;
use super::scan::{Found, Scan, records};
use super::segment::{HEADER_BYTES, Heading, SegmentHeader, file_name, number_of};
use super::snapshot::{self, Snapshot};
use super::tail::Current;
use super::writer::UNFINISHED;
use crate::{
    Recovered, RecoveredRetained, RecoveredSession, RecoveredSubscription, Report, SessionNumber,
    StoreError, StoredWill, WallMillis,
};

/// A log as it was found.
pub(crate) struct Recovery<F> {
    pub(crate) index: Index<F>,
    /// The segment that is gone on with.
    pub(crate) current: Option<Current<F>>,
    pub(crate) log_id: Option<[u8; 16]>,
    pub(crate) key: FrameKey,
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
    pub(crate) losses: Vec<Loss>,
}

/// What to do about damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strictness {
    /// Refuse the log.
    Whole,
    /// Pass over what cannot be read, and say so.
    Salvage,
}

/// The files of a log, by their numbers.
struct Files<F> {
    log_id: Option<[u8; 16]>,
    /// What its frames are written with.
    key: Option<FrameKey>,
    /// Segments in use, one after the other.
    segments: BTreeMap<u64, (SegmentHeader, Arc<F>)>,
    superfluous: Vec<u64>,
}

struct Reading<'a, D: Disk> {
    disk: &'a D,
    key: FrameKey,
    strictness: Strictness,
    replay: Replay<D::File>,
    report: Report,
    losses: Vec<Loss>,
    next_frame: u64,
    /// The log was on the disk up to this frame.
    promised: u64,
}

impl<F: LogFile> Recovery<F> {
    /// Reads a log. Nothing is changed.
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
        match Self::read_from(disk, Strictness::Whole, snapshot_bytes) {
            // The log itself decides what is damaged.
            Err(OpenError::Corrupt { .. }) => Self::read(disk, Strictness::Whole),
            read => read,
        }
    }

    fn read_from<D: Disk<File = F>>(
        disk: &D,
        strictness: Strictness,
        snapshot_bytes: u64,
    ) -> Result<Self, OpenError> {
        let mut losses = Vec::new();
        let mut files = Files::find(disk, strictness, &mut losses)?;
        match strictness {
            Strictness::Whole => files.leave_out_what_is_behind_a_gap(),
            Strictness::Salvage => files.leave_out_what_is_too_far_behind(disk, &mut losses),
        }
        let snapshot = files.snapshot(disk, snapshot_bytes);
        let Files { log_id, key, mut segments, mut superfluous } = files;
        let key = key.unwrap_or(FrameKey::new(log_id.unwrap_or_default()));
        let next_segment = segments.last_key_value().map_or(1, |it| it.0 + 1);
        let first = segments.first_key_value();
        let mut oldest = first.map_or(next_segment, |it| *it.0);
        let next_frame = first.map_or(1, |it| it.1.0.first_frame);
        let report = Report::default();
        let replay = Replay::new(oldest);
        let mut reading =
            Reading { disk, key, strictness, replay, report, losses, next_frame, promised: 0 };
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
            if expected < number {
                reading.pass_over(expected, number, header.first_frame, &file);
            }
            expected = number + 1;
            let following = segments.peek().map(|(_, (header, _))| *header);
            let end = reading.segment(number, &header, following.as_ref(), &file, from)?;
            reading.report.bytes += end.offset;
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
            key,
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
        // Not before what says that they are superfluous is on the disk.
        let mut superfluous = std::mem::take(&mut self.superfluous);
        superfluous.sort_unstable_by(|a, b| b.cmp(a));
        for number in superfluous {
            match disk.remove(&file_name(number)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => removed.tried(|| format!("removing {}", file_name(number)))?,
            }
            // Of those that were ready the last goes first, also for a crash: a gap before them is damage.
            if self.current.as_ref().is_none_or(|it| number > it.number) {
                disk.sync().tried(|| "fsync of the data directory".to_owned())?;
            }
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
            let Some(known) = self.session(session, slot)? else { continue };
            recovered.report.entries += slot.queue.len() as u64;
            recovered.sessions.push(known);
        }
        recovered.sessions.sort_unstable_by_key(|it| it.session);
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

    /// Returns what a session is; nothing if the log does not say.
    pub(crate) fn session(
        &self,
        session: SessionNumber,
        slot: &Slot,
    ) -> Result<Option<RecoveredSession>, StoreError> {
        let change = slot.change(session);
        let Some(details) = slot.details() else { return Ok(None) };
        let will = details.will.map(|it| self.read_will(it.location)).transpose()?;
        let subscriptions = details.subscriptions.iter();
        Ok(Some(RecoveredSession {
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
        }))
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
        losses: &mut Vec<Loss>,
    ) -> Result<Self, OpenError> {
        let names = disk.list().map_err(|error| failed("reading the data directory", error))?;
        if names.iter().any(|it| it == UNFINISHED) {
            return Err(OpenError::Unfinished { directory: disk.directory() });
        }
        let mut numbers: Vec<u64> = names.iter().filter_map(|it| number_of(it)).collect();
        numbers.sort_unstable();
        let mut files =
            Self { log_id: None, key: None, segments: BTreeMap::new(), superfluous: Vec::new() };
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
                        lose(strictness, losses, Loss::of_file(disk, number, &file, what)?)?;
                    } else if header.is_in_use() {
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
        files.key = files.log_id.map(FrameKey::new);
        let last_in_use = files.segments.last_key_value().map_or(0, |it| *it.0);
        // Those that are ready were made one after the other, behind the one in use.
        let ready: Vec<u64> =
            files.superfluous.iter().copied().filter(|it| *it > last_in_use).collect();
        if let Some(first) = ready.first()
            && *first > last_in_use + 1
            && unreadable.is_empty()
        {
            let what = "the segment is missing, and later ones were made ready".to_owned();
            lose(strictness, losses, Loss::at(disk, first - 1, 0, what))?;
        }
        for (number, file) in unreadable {
            let (first, end) = first_frame(&file, number, &mut files.key)?;
            // A segment that was being made ready has nothing in it, and is the last.
            let is_empty = first.is_none() && end <= HEADER_BYTES as u64;
            if is_empty && number > last_in_use.max(ready.last().copied().unwrap_or(0)) {
                files.superfluous.push(number);
                continue;
            }
            let what = "its header is not whole".to_owned();
            let bytes = if first.is_some() { HEADER_BYTES as u64 } else { end };
            lose(strictness, losses, Loss { bytes, ..Loss::at(disk, number, 0, what) })?;
            // Frames say which they are without it.
            if let Some(first_frame) = first {
                let log_id = files.log_id.unwrap_or_default();
                let header = SegmentHeader { log_id, number, first_frame, synced: 0, oldest: 0 };
                files.segments.insert(number, (header, Arc::new(file)));
            }
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

    /// No log has as many segments as there would be with these.
    fn leave_out_what_is_too_far_behind<D: Disk>(&mut self, disk: &D, losses: &mut Vec<Loss>) {
        let Some((&last, _)) = self.segments.last_key_value() else { return };
        let kept = self.segments.split_off(&last.saturating_sub(SEGMENTS_MAX - 1));
        for number in self.segments.keys() {
            let what = "its number is too far from that of the last segment".to_owned();
            losses.push(Loss::at(disk, *number, 0, what));
        }
        self.segments = kept;
    }
}

/// Where reading a segment has ended.
struct End {
    offset: u64,
    is_cut: bool,
}

/// What is behind the place where a frame should be and is not.
struct Behind {
    /// The next frame, whole or not, and its offset.
    later: Option<(u64, u64)>,
    /// The highest frame that is said to have been on the disk. Several frames share a sync, and only those behind it
    /// know of it.
    synced: u64,
    /// There is nothing but zeros from here on.
    end: u64,
}

impl Behind {
    fn look<F: LogFile>(scan: &mut Scan<'_, F>, first_frame: u64) -> io::Result<Self> {
        let (mut later, mut synced) = (None, 0);
        let mut end = scan.offset;
        while let Some(header) = scan.find_later(first_frame, &mut end)? {
            later = later.or(Some((header.number, scan.offset)));
            synced = synced.max(header.synced);
        }
        Ok(Self { later, synced, end })
    }
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
            let what = format!("it begins with frame {first}, and frame {expected} is missing");
            let frames = first.saturating_sub(expected);
            self.lose(Loss { frames, ..Loss::at(self.disk, number, 0, what) })?;
            self.next_frame = first;
        }
        let reading = |it| failed_on("reading", number, it);
        let mut scan = Scan::new(&**file, self.key, from).map_err(reading)?;
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
            let is_last_frame = following.is_some_and(|it| it.first_frame == self.next_frame);
            if is_last_frame {
                return Ok(End { offset, is_cut: false });
            }
            scan.offset = offset;
            let behind = Behind::look(&mut scan, self.next_frame).map_err(reading)?;
            // Whoever says that later frames were on the disk says it of this one, too.
            let known = [torn.map(|it| it.synced), following.map(|it| it.synced)];
            let known = known.into_iter().flatten().max().unwrap_or_default();
            if known.max(behind.synced).max(self.promised) < self.next_frame {
                let cut_bytes = behind.end - offset;
                if cut_bytes > 0 {
                    self.report.cut = Some((file_name(number), cut_bytes));
                }
                return Ok(End { offset, is_cut: cut_bytes > 0 });
            }
            let what = format!("frame {} is not what was written", self.next_frame);
            let next = behind.later.map(|it| it.0).or(following.map(|it| it.first_frame));
            let next = next.unwrap_or(self.next_frame);
            let frames = next.saturating_sub(self.next_frame);
            let end = behind.later.map_or(behind.end, |it| it.1);
            let bytes = end - offset;
            self.lose(Loss { frames, bytes, ..Loss::at(self.disk, number, offset, what) })?;
            self.next_frame = next;
            if behind.later.is_none() {
                return Ok(End { offset, is_cut: true });
            }
            self.replay.index.segments.grow(bytes);
            scan.offset = end;
        }
    }

    fn records(&mut self, number: u64, offset: u64, payload: &[u8]) -> Result<(), OpenError> {
        for record in records(payload) {
            let at = |it: usize| offset + frame::HEADER_BYTES as u64 + it as u64;
            let taken = record.map(|(within, record)| {
                let location = Location::new(number, at(within));
                self.replay.take(&record, location)
            });
            if taken != Ok(true) {
                let what = "a record of a whole frame makes no sense to this version".to_owned();
                return self.lose(Loss {
                    frames: 1,
                    bytes: payload.len() as u64,
                    ..Loss::at(self.disk, number, offset, what)
                });
            }
        }
        Ok(())
    }

    /// Notes that the segments from `first` to the one before `next` are not there. They have their numbers all the
    /// same, and no bytes.
    fn pass_over(&mut self, first: u64, next: u64, first_frame: u64, stand_in: &Arc<D::File>) {
        for _ in first..next {
            self.replay.index.segments.push(Arc::clone(stand_in), 0, 0);
        }
        let what = match next - first {
            1 => "the segment is missing".to_owned(),
            count => format!("{count} segments from this one on are missing"),
        };
        let frames = first_frame.saturating_sub(self.next_frame);
        self.losses.push(Loss { frames, ..Loss::at(self.disk, first, 0, what) });
        self.next_frame = first_frame;
    }

    /// Everything was read that is there.
    fn end(&mut self) -> Result<(), OpenError> {
        let oldest = self.replay.index.segments.oldest_number();
        self.report.segments = self.replay.index.segments.count() as u64;
        if self.replay.oldest_needed < oldest && self.report.segments > 0 {
            let what = "the segment is missing".to_owned();
            self.lose(Loss::at(self.disk, oldest - 1, 0, what))?;
        }
        for (session, messages) in self.replay.finish_all() {
            let number = session.0;
            let what = format!(
                "the log tells of session {number}, with {messages} queued messages, and not what it is"
            );
            self.lose(Loss::at(self.disk, oldest, 0, what))?;
        }
        for (number, segment) in (oldest..).zip(self.replay.index.segments.iter()) {
            if segment.live_count > 0
                && segment.capacity == 0
                && self.strictness == Strictness::Whole
            {
                let what = "the segment is missing, and a snapshot tells what was in it".to_owned();
                return Err(Loss::at(self.disk, number, 0, what).into());
            }
        }
        Ok(())
    }

    fn lose(&mut self, loss: Loss) -> Result<(), OpenError> {
        lose(self.strictness, &mut self.losses, loss)
    }
}

fn lose(strictness: Strictness, losses: &mut Vec<Loss>, loss: Loss) -> Result<(), OpenError> {
    match strictness {
        Strictness::Whole => Err(loss.into()),
        Strictness::Salvage => {
            losses.push(loss);
            Ok(())
        }
    }
}

/// Returns the number of the first frame of a segment, if one is found, and where only zeros are left if none is. Where
/// no header has told the log's key, a whole first frame does.
fn first_frame<F: LogFile>(
    file: &F,
    number: u64,
    key: &mut Option<FrameKey>,
) -> Result<(Option<u64>, u64), OpenError> {
    let reading = |it| failed_on("reading", number, it);
    let start = HEADER_BYTES as u64;
    let mut first = [0; frame::HEADER_BYTES];
    let read = file.read_at(&mut first, start).map_err(reading)?;
    // Without a key nothing is found but how far the file is written.
    let likely = key.or(FrameKey::of_frame(&first[..read])).unwrap_or(FrameKey::new([0; 16]));
    let mut scan = Scan::new(file, likely, start).map_err(reading)?;
    if let Found::Frame(frame) = scan.next().map_err(reading)? {
        *key = Some(likely);
        return Ok((Some(frame.header.number), start));
    }
    scan.offset = start;
    let mut end = start;
    // What only a damaged frame has told is no key.
    let from = if key.is_some() { 1 } else { u64::MAX };
    let found = scan.find_later(from, &mut end).map_err(reading)?;
    Ok((found.map(|it| it.number), end))
}

pub(crate) fn failed(action: &str, error: io::Error) -> OpenError {
    OpenError::Disk(StoreError { action: action.to_owned(), source: Arc::new(error) })
}

fn failed_on(action: &str, number: u64, error: io::Error) -> OpenError {
    failed(&format!("{action} {}", file_name(number)), error)
}
