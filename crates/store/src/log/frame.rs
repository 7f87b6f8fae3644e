//! Frames: what is written at once, and after a crash is there as a whole or not at all.
//!
//! ```text
//! 0        4         8        16       24            28           32
//! | magic  | payload | number | synced | payload CRC | header CRC | payload … | zeros up to a multiple of 8 |
//! ```
//!
//! Numbers are consecutive over the whole log. `synced` is the highest number of a frame that was
//! known to be on the disk when this one was written: a gap above it is what a power cut leaves, a
//! gap below it is damage.

/// The part of a frame that says what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub(crate) payload_bytes: u32,
    pub(crate) number: u64,
    pub(crate) synced: u64,
    payload_crc: u32,
}

impl FrameHeader {
    /// Reads a header; `None` if it is none.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; HEADER_BYTES] = bytes.get(..HEADER_BYTES)?.try_into().ok()?;
        let word = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
        if word(0) != MAGIC || word(28) != crc32fast::hash(&bytes[..28]) {
            return None;
        }
        Some(Self {
            payload_bytes: word(4),
            number: long(8),
            synced: long(16),
            payload_crc: word(24),
        })
    }

    /// Returns whether `payload` is what was written.
    pub(crate) fn fits(&self, payload: &[u8]) -> bool {
        payload.len() == self.payload_bytes as usize && crc32fast::hash(payload) == self.payload_crc
    }

    /// Returns the bytes of the whole frame.
    pub(crate) fn frame_bytes(&self) -> u64 {
        frame_bytes(u64::from(self.payload_bytes))
    }
}

/// Returns the bytes of a frame with such a payload.
pub(crate) fn frame_bytes(payload_bytes: u64) -> u64 {
    (HEADER_BYTES as u64 + payload_bytes).next_multiple_of(ALIGNMENT)
}

/// Begins a frame in an empty buffer: the payload is appended to it.
pub(crate) fn begin(frame: &mut Vec<u8>) {
    frame.clear();
    frame.resize(HEADER_BYTES, 0);
}

/// Completes a frame.
pub(crate) fn finish(frame: &mut Vec<u8>, number: u64, synced: u64) {
    let payload = &frame[HEADER_BYTES..];
    let payload_bytes = u32::try_from(payload.len()).expect("a turn reads far less than 4 GiB");
    let payload_crc = crc32fast::hash(payload);
    frame[0..4].copy_from_slice(&MAGIC.to_le_bytes());
    frame[4..8].copy_from_slice(&payload_bytes.to_le_bytes());
    frame[8..16].copy_from_slice(&number.to_le_bytes());
    frame[16..24].copy_from_slice(&synced.to_le_bytes());
    frame[24..28].copy_from_slice(&payload_crc.to_le_bytes());
    let header_crc = crc32fast::hash(&frame[..28]);
    frame[28..32].copy_from_slice(&header_crc.to_le_bytes());
    frame.resize(frame.len().next_multiple_of(ALIGNMENT as usize), 0);
}

/// Bytes before the payload.
pub(crate) const HEADER_BYTES: usize = 32;

/// Frames begin at multiples of this.
pub(crate) const ALIGNMENT: u64 = 8;

const MAGIC: u32 = u32::from_le_bytes(*b"QLFR");

#[cfg(test)]
mod tests {
    use super::{FrameHeader, HEADER_BYTES, begin, finish};

    #[test]
    fn a_frame_is_read_as_it_was_written() {
        let frame = written(b"payload");
        let header = FrameHeader::decode(&frame).unwrap();
        assert_eq!((header.number, header.synced, header.payload_bytes), (7, 5, 7));
        assert!(header.fits(&frame[HEADER_BYTES..][..7]));
        assert_eq!(frame.len() as u64, header.frame_bytes());
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let frame = written(b"payload");
        for bit in 0..(HEADER_BYTES + 7) * 8 {
            let mut damaged = frame.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let header = FrameHeader::decode(&damaged);
            let is_whole = header.is_some_and(|it| it.fits(&damaged[HEADER_BYTES..][..7]));
            assert!(!is_whole, "bit {bit}");
        }
    }

    fn written(payload: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        begin(&mut frame);
        frame.extend_from_slice(payload);
        finish(&mut frame, 7, 5);
        frame
    }
}
