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
//!
//! The header's CRC begins with the log's id, which is random: whoever publishes does not know it, and cannot make
//! a payload in which a frame would be found.

/// The part of a frame that says what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub(crate) payload_bytes: u32,
    pub(crate) number: u64,
    pub(crate) synced: u64,
    payload_crc: u32,
}

/// Tells the frames of one log from those of others, and from bytes that look like one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameKey(u32);

impl FrameKey {
    pub(crate) fn new(log_id: [u8; 16]) -> Self {
        Self(crc32fast::hash(&log_id))
    }

    /// Returns the key that the frame at the start of `bytes` has been written with, if it is one.
    ///
    /// Only where nothing else can be: every header has a key with which it is right.
    pub(crate) fn of_frame(bytes: &[u8]) -> Option<Self> {
        let header = bytes.first_chunk::<HEADER_BYTES>().filter(|it| word(it, 0) == MAGIC)?;
        // The CRC backwards, from its end to where the log's id ended.
        let state = header[..CRC_AT].iter().rev().fold(!word(header, CRC_AT), |state, byte| {
            let shifted = (0..8).fold(state, |it, _| match it >> 31 {
                0 => it << 1,
                _ => (it ^ POLYNOMIAL) << 1 | 1,
            });
            shifted ^ u32::from(*byte)
        });
        Some(Self(!state))
    }

    fn hash(self, bytes: &[u8]) -> u32 {
        let mut hasher = crc32fast::Hasher::new_with_initial(self.0);
        hasher.update(bytes);
        hasher.finalize()
    }
}

impl FrameHeader {
    /// Reads a header; `None` if it is none.
    pub(crate) fn decode(bytes: &[u8], key: FrameKey) -> Option<Self> {
        let bytes = bytes.first_chunk::<HEADER_BYTES>()?;
        let word = |at: usize| word(bytes, at);
        let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
        if word(0) != MAGIC || word(CRC_AT) != key.hash(&bytes[..CRC_AT]) {
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
pub(crate) fn finish(frame: &mut Vec<u8>, key: FrameKey, number: u64, synced: u64) {
    let payload = &frame[HEADER_BYTES..];
    let payload_bytes = u32::try_from(payload.len()).expect("batches have less: Store::room_bytes");
    let payload_crc = crc32fast::hash(payload);
    frame[0..4].copy_from_slice(&MAGIC.to_le_bytes());
    frame[4..8].copy_from_slice(&payload_bytes.to_le_bytes());
    frame[8..16].copy_from_slice(&number.to_le_bytes());
    frame[16..24].copy_from_slice(&synced.to_le_bytes());
    frame[24..28].copy_from_slice(&payload_crc.to_le_bytes());
    let header_crc = key.hash(&frame[..CRC_AT]);
    frame[CRC_AT..HEADER_BYTES].copy_from_slice(&header_crc.to_le_bytes());
    frame.resize(frame.len().next_multiple_of(ALIGNMENT as usize), 0);
}

fn word(header: &[u8; HEADER_BYTES], at: usize) -> u32 {
    u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
}

/// Bytes before the payload.
pub(crate) const HEADER_BYTES: usize = 32;

/// Frames begin at multiples of this.
pub(crate) const ALIGNMENT: u64 = 8;

/// Where the header's own CRC is.
const CRC_AT: usize = 28;

/// Of CRC-32, its lowest bit first.
const POLYNOMIAL: u32 = 0xEDB8_8320;

const MAGIC: u32 = u32::from_le_bytes(*b"QLFR");

#[cfg(test)]
mod tests {
    use super::{FrameHeader, FrameKey, HEADER_BYTES, begin, finish};

    #[test]
    fn a_frame_is_read_as_it_was_written() {
        let frame = written(b"payload");
        let header = FrameHeader::decode(&frame, key()).unwrap();
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
            let header = FrameHeader::decode(&damaged, key());
            let is_whole = header.is_some_and(|it| it.fits(&damaged[HEADER_BYTES..][..7]));
            assert!(!is_whole, "bit {bit}");
        }
    }

    #[test]
    fn a_frame_of_another_log_is_none() {
        let frame = written(b"payload");
        assert_eq!(FrameHeader::decode(&frame, FrameKey::new([8; 16])), None);
    }

    #[test]
    fn the_key_can_be_told_from_a_frame() {
        for payload in [b"payload".as_slice(), b"", &[0xFF; 999]] {
            assert_eq!(FrameKey::of_frame(&written(payload)), Some(key()));
        }
        assert_eq!(FrameKey::of_frame(&[0; HEADER_BYTES]), None);
        assert_eq!(FrameKey::of_frame(&written(b"")[1..]), None);
    }

    fn key() -> FrameKey {
        FrameKey::new([7; 16])
    }

    fn written(payload: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        begin(&mut frame);
        frame.extend_from_slice(payload);
        finish(&mut frame, key(), 7, 5);
        frame
    }
}
