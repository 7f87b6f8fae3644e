//! Frames, read one after the other from a segment.

use std::io;

use super::disk::LogFile;
use super::frame::{ALIGNMENT, FrameHeader, FrameKey, HEADER_BYTES};
use super::record::Record;
use super::wire::{Nonsense, Reader};

/// Reads the frames of a segment.
pub(crate) struct Scan<'a, F> {
    file: &'a F,
    key: FrameKey,
    /// The length of the file.
    file_bytes: u64,
    /// A part of the file, from `start` on.
    buffer: Vec<u8>,
    start: u64,
    /// Where in the file the next frame is expected.
    pub(crate) offset: u64,
}

/// A whole frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame<'a> {
    pub(crate) header: FrameHeader,
    pub(crate) payload: &'a [u8],
}

/// What is found where a frame is expected.
#[derive(Debug)]
pub(crate) enum Found<'a> {
    Frame(Frame<'a>),
    /// A frame begins here that is not whole.
    Torn(FrameHeader),
    /// No frame begins here.
    Nothing,
}

impl<'a, F: LogFile> Scan<'a, F> {
    /// Reads frames with `key` from `offset` on.
    pub(crate) fn new(file: &'a F, key: FrameKey, offset: u64) -> io::Result<Self> {
        let file_bytes = file.length()?;
        Ok(Self { file, key, file_bytes, buffer: Vec::new(), start: offset, offset })
    }

    /// Returns what is at the offset. If it is a frame, the offset is behind it then.
    pub(crate) fn next(&mut self) -> io::Result<Found<'_>> {
        let at = self.fill(HEADER_BYTES)?;
        let Some(header) = FrameHeader::decode(&self.buffer[at..], self.key) else {
            return Ok(Found::Nothing);
        };
        // Without a room for it there is no buffer as large as what the header says.
        if self.offset + header.frame_bytes() > self.file_bytes {
            return Ok(Found::Torn(header));
        }
        let at = self.fill(header.frame_bytes() as usize)?;
        let payload_bytes = header.payload_bytes as usize;
        let payload = self.buffer.get(at + HEADER_BYTES..at + HEADER_BYTES + payload_bytes);
        let Some(payload) = payload.filter(|it| header.fits(it)) else {
            return Ok(Found::Torn(header));
        };
        self.offset += header.frame_bytes();
        Ok(Found::Frame(Frame { header, payload }))
    }

    /// Looks for a frame with a number from `first_frame` on, whole or not, behind the place where one was expected.
    /// `end` is moved behind whatever is not zeros.
    pub(crate) fn find_later(
        &mut self,
        first_frame: u64,
        end: &mut u64,
    ) -> io::Result<Option<FrameHeader>> {
        let expected = self.offset;
        while self.offset < self.file_bytes {
            let at = self.fill(HEADER_BYTES)?;
            let known = self.buffer.len() - at;
            // Most of what is behind the end of a log is zeros.
            let blocks = self.buffer[at..].chunks(ZEROS.len());
            let zeros = blocks.take_while(|it| **it == ZEROS[..it.len()]).count();
            if zeros > 0 {
                self.offset += (zeros * ZEROS.len()).min(known) as u64;
                continue;
            }
            let here = self.offset;
            let found = FrameHeader::decode(&self.buffer[at..], self.key);
            if let Some(header) = found.filter(|it| here > expected && it.number >= first_frame) {
                return Ok(Some(header));
            }
            self.offset = (here + 1).next_multiple_of(ALIGNMENT);
            *end = self.offset.min(self.file_bytes);
        }
        Ok(None)
    }

    /// Reads on until `bytes` from the offset on are in the buffer, as far as the file has them. Returns where
    /// in the buffer they are.
    fn fill(&mut self, bytes: usize) -> io::Result<usize> {
        let at = self.offset.checked_sub(self.start).map(|it| it as usize);
        if let Some(at) = at.filter(|it| it.saturating_add(bytes) <= self.buffer.len()) {
            return Ok(at);
        }
        let wanted = bytes.max(CHUNK_BYTES);
        let left = usize::try_from(self.file_bytes.saturating_sub(self.offset));
        self.buffer.resize(wanted.min(left.unwrap_or(usize::MAX)), 0);
        let count = self.file.read_at(&mut self.buffer, self.offset)?;
        self.buffer.truncate(count);
        self.start = self.offset;
        Ok(0)
    }
}

/// Returns the records of a frame's payload, with the offset in it of each.
pub(crate) fn records(
    payload: &[u8],
) -> impl Iterator<Item = Result<(usize, Record<'_>), Nonsense>> {
    let mut reader = Reader::new(payload);
    std::iter::from_fn(move || {
        if reader.is_empty() {
            return None;
        }
        let offset = payload.len() - reader.len();
        Some(Record::read(&mut reader).map(|record| (offset, record)))
    })
}

/// Bytes that are read at once.
const CHUNK_BYTES: usize = 4 << 20;

const ZEROS: [u8; ALIGNMENT as usize] = [0; ALIGNMENT as usize];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::disk::{Disk, SimulatedDisk};
    use crate::log::frame;

    #[test]
    fn frames_come_one_after_the_other() {
        check(&[whole(1, b"one"), whole(2, b""), whole(3, &[7; 5_000])].concat(), &[1, 2, 3], &[]);
    }

    #[test]
    fn what_is_behind_a_gap_is_found() {
        let torn = whole(2, b"torn")[..40].iter().map(|it| it ^ 1).collect::<Vec<_>>();
        for between in [vec![0; 800], b"garbage!".repeat(7), torn, vec![0; 9]] {
            let mut bytes = whole(1, b"one");
            bytes.extend(&between);
            bytes.resize(bytes.len().next_multiple_of(ALIGNMENT as usize), 0);
            let later = [whole(2, b"older"), whole(5, b"five"), whole(6, b"six")];
            bytes.extend(later.concat());
            check(&bytes, &[1], &[5, 6]);
        }
    }

    /// What a header says is no reason to read what is not there.
    #[test]
    fn a_frame_that_is_longer_than_its_file_is_torn() {
        let bytes = whole(1, &[7; 100]);
        for length in HEADER_BYTES..bytes.len() - 4 {
            let file = file(&bytes[..length]);
            let mut scan = Scan::new(&file, key(), 0).unwrap();
            assert!(matches!(scan.next().unwrap(), Found::Torn(it) if it.number == 1), "{length}");
            assert_eq!(scan.offset, 0);
        }
    }

    #[test]
    fn where_only_zeros_are_left_is_told() {
        let bytes = [whole(1, b"one"), vec![0; 100], vec![1], vec![0; 5_000]].concat();
        let file = file(&bytes);
        let mut scan = Scan::new(&file, key(), 40).unwrap();
        let mut end = 40;
        assert!(scan.find_later(1, &mut end).unwrap().is_none());
        assert_eq!(end, 144);
    }

    /// The first frames are `whole`; behind them those with numbers from 3 on are found to be `later`.
    #[track_caller]
    fn check(bytes: &[u8], whole: &[u64], later: &[u64]) {
        let file = file(bytes);
        let mut scan = Scan::new(&file, key(), 0).unwrap();
        for number in whole {
            let Found::Frame(frame) = scan.next().unwrap() else { panic!("{number} is missing") };
            assert_eq!(frame.header.number, *number);
        }
        assert!(!matches!(scan.next().unwrap(), Found::Frame(_)));
        for number in later {
            let found = scan.find_later(3, &mut 0).unwrap().unwrap();
            assert_eq!(found.number, *number);
        }
        assert!(scan.find_later(3, &mut 0).unwrap().is_none());
    }

    fn whole(number: u64, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        frame::begin(&mut bytes);
        bytes.extend_from_slice(payload);
        frame::finish(&mut bytes, key(), number, 0);
        bytes
    }

    fn key() -> FrameKey {
        FrameKey::new([7; 16])
    }

    fn file(bytes: &[u8]) -> impl LogFile {
        let disk = SimulatedDisk::new(1 << 20);
        let file = disk.create("00000001.log").unwrap();
        file.write_at(bytes, 0).unwrap();
        file
    }
}
