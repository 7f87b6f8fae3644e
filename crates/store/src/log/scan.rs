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

    /// Looks for a whole frame with a number from `first_frame` on, behind the place where one was expected.
    pub(crate) fn find_later(&mut self, first_frame: u64) -> io::Result<Option<FrameHeader>> {
        self.offset = (self.offset + 1).next_multiple_of(ALIGNMENT);
        while self.offset + HEADER_BYTES as u64 <= self.file_bytes {
            let at = self.fill(HEADER_BYTES)?;
            let known = self.buffer.len() - at;
            // Most of what is behind the end of a log is zeros.
            let zeros = self.buffer[at..].chunks_exact(ALIGNMENT as usize);
            let zeros = zeros.take_while(|it| **it == [0; ALIGNMENT as usize]).count();
            if zeros > 0 {
                self.offset += (zeros * ALIGNMENT as usize).min(known) as u64;
                continue;
            }
            let here = self.offset;
            if let Found::Frame(Frame { header, .. }) = self.next()?
                && header.number >= first_frame
            {
                self.offset = here;
                return Ok(Some(header));
            }
            self.offset = here + ALIGNMENT;
        }
        Ok(None)
    }

    /// Reads on until `bytes` from the offset on are in the buffer, as far as the file has them. Returns where
    /// in the buffer they are.
    fn fill(&mut self, bytes: usize) -> io::Result<usize> {
        let at = (self.offset - self.start) as usize;
        if at <= self.buffer.len() && self.buffer.len() - at >= bytes {
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
