//! Segments: the files of a log.

use super::open_error::VERSION;

/// The first bytes of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    /// Tells the segments of one log from those of others.
    pub(crate) log_id: [u8; 16],
    /// Where the segment is in the order of the log. Also the name of its file.
    pub(crate) number: u64,
    /// The number of its first frame; 0 for a segment that was made ready and has not been used.
    pub(crate) first_frame: u64,
    /// The highest number of a frame that was known to be on the disk when the segment began.
    pub(crate) synced: u64,
    /// The number of the oldest segment that was needed when this one began.
    pub(crate) oldest: u64,
}

/// What the first block of a file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heading {
    /// It is a segment of this format.
    Segment(SegmentHeader),
    /// It is a segment of a format that this version does not know.
    Unknown { version: u32 },
    /// It is no header.
    None,
}

impl SegmentHeader {
    /// Returns the header of a segment that is made ready.
    pub(crate) fn prepared(log_id: [u8; 16], number: u64) -> Self {
        Self { log_id, number, first_frame: 0, synced: 0, oldest: number }
    }

    pub(crate) fn is_in_use(&self) -> bool {
        self.first_frame > 0
    }

    pub(crate) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut block = [0; HEADER_BYTES];
        block[0..8].copy_from_slice(MAGIC);
        block[8..12].copy_from_slice(&VERSION.to_le_bytes());
        block[16..32].copy_from_slice(&self.log_id);
        block[32..40].copy_from_slice(&self.number.to_le_bytes());
        block[40..48].copy_from_slice(&self.first_frame.to_le_bytes());
        block[48..56].copy_from_slice(&self.synced.to_le_bytes());
        let span = self.number.saturating_sub(self.oldest) as u32;
        block[56..60].copy_from_slice(&span.to_le_bytes());
        let crc = crc32fast::hash(&block[..60]);
        block[60..64].copy_from_slice(&crc.to_le_bytes());
        block
    }

    /// Reads the first block of a file.
    pub(crate) fn decode(block: &[u8]) -> Heading {
        let Some(block) = block.first_chunk::<HEADER_BYTES>() else { return Heading::None };
        let long = |at: usize| {
            u64::from_le_bytes(block[at..at + 8].try_into().expect("it is eight bytes long"))
        };
        let word = |at: usize| long(at) as u32;
        let crc = (long(56) >> 32) as u32;
        if &block[..8] != MAGIC || crc != crc32fast::hash(&block[..60]) {
            return Heading::None;
        }
        if word(8) != VERSION {
            return Heading::Unknown { version: word(8) };
        }
        let log_id = block[16..32].try_into().expect("it is sixteen bytes long");
        let (number, first_frame, synced) = (long(32), long(40), long(48));
        let oldest = number.saturating_sub(u64::from(word(56)));
        Heading::Segment(Self { log_id, number, first_frame, synced, oldest })
    }
}

/// Returns the name of a segment's file.
pub(crate) fn file_name(number: u64) -> String {
    format!("{number:08}.log")
}

/// Returns the number of the segment with a file of this name.
pub(crate) fn number_of(name: &str) -> Option<u64> {
    let number = name.strip_suffix(".log")?.parse().ok()?;
    (file_name(number) == name).then_some(number)
}

/// Bytes before the first frame.
pub(crate) const HEADER_BYTES: usize = 64;

const MAGIC: &[u8; 8] = b"QUELEALG";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_as_it_was_written() {
        let header =
            SegmentHeader { log_id: [7; 16], number: 3, first_frame: 9, synced: 8, oldest: 2 };
        let block = header.encode();
        assert_eq!(SegmentHeader::decode(&block), Heading::Segment(header));
        for bit in 0..block.len() * 8 {
            let mut damaged = block;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SegmentHeader::decode(&damaged), Heading::None, "bit {bit}");
        }
    }

    #[test]
    fn names_are_numbers() {
        assert_eq!(file_name(12), "00000012.log");
        for number in [0, 12, 123_456_789_012] {
            assert_eq!(number_of(&file_name(number)), Some(number));
        }
        for name in ["12.log", "00000012.log.new", "0000001x.log", "+0000001.log", "lock"] {
            assert_eq!(number_of(name), None, "{name}");
        }
    }
}
