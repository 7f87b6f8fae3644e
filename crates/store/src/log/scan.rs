//! Frames, read one after the other from a segment.

use std::io;

use super::disk::LogFile;
use super::frame::{ALIGNMENT, FrameHeader, HEADER_BYTES};
use super::record::Record;
use super::wire::{Nonsense, Reader};

/// Reads the frames of a segment.
pub(crate) struct Scan<'a, F> {
    file: &'a F,
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
    /// Reads frames from `offset` on.
    pub(crate) fn new(file: &'a F, offset: u64) -> io::Result<Self> {
        let file_bytes = file.length()?;
        Ok(Self { file, file_bytes, buffer: Vec::new(), start: offset, offset })
    }

    /// Returns what is at the offset. If it is a frame, the offset is behind it then.
    pub(crate) fn next(&mut self) -> io::Result<Found<'_>> {
        let at = self.fill(HEADER_BYTES)?;
        let Some(header) = FrameHeader::decode(&self.buffer[at..]) else {
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
            let found = FrameHeader::decode(&self.buffer[at..]);
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
