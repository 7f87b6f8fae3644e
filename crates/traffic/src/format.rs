//! The headers: of the file, and of its blocks.

use crate::error::{Damage, ReadError};

/// The first bytes of a file.
pub const MAGIC: [u8; 8] = *b"QUELEATR";

/// The header of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileHeader {
    /// When the recording began, in microseconds since the beginning of 1970.
    pub(crate) begun_unix_micros: u64,
}

/// The header of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlockHeader {
    /// Bytes behind this header.
    pub(crate) body_bytes: u32,
    /// Entries in them.
    pub(crate) entry_count: u32,
    /// What the times of the entries are counted from.
    pub(crate) base_micros: u64,
    /// CRC-32 of this header's bytes before it and of the body.
    pub(crate) checksum: u32,
}

impl FileHeader {
    pub(crate) fn encode(self) -> [u8; FILE_HEADER_BYTES] {
        let mut bytes = [0; FILE_HEADER_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.begun_unix_micros.to_le_bytes());
        let checksum = crc32fast::hash(&bytes[..28]);
        bytes[28..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8; FILE_HEADER_BYTES]) -> Result<Self, ReadError> {
        if bytes[..8] != MAGIC {
            return Err(ReadError::NoTraffic);
        }
        // A later version may sum up something else.
        let version = u32_at(bytes, 8);
        if version != VERSION {
            return Err(ReadError::Version(version));
        }
        if u32_at(bytes, 28) != crc32fast::hash(&bytes[..28]) {
            return Err(ReadError::Damaged { at: 0, damage: Damage::Checksum });
        }
        Ok(Self { begun_unix_micros: u64_at(bytes, 16) })
    }
}

impl BlockHeader {
    /// Sums up `body`, for the checksum.
    pub(crate) fn sealed(mut self, body: &[u8]) -> Self {
        self.checksum = self.checksum_of(body);
        self
    }

    pub(crate) fn is_sealed(&self, body: &[u8]) -> bool {
        self.checksum == self.checksum_of(body)
    }

    fn checksum_of(self, body: &[u8]) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&self.encode()[..20]);
        hasher.update(body);
        hasher.finalize()
    }

    pub(crate) fn encode(self) -> [u8; BLOCK_HEADER_BYTES] {
        let mut bytes = [0; BLOCK_HEADER_BYTES];
        bytes[..4].copy_from_slice(&BLOCK_MAGIC);
        bytes[4..8].copy_from_slice(&self.body_bytes.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.entry_count.to_le_bytes());
        bytes[12..20].copy_from_slice(&self.base_micros.to_le_bytes());
        bytes[20..].copy_from_slice(&self.checksum.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8; BLOCK_HEADER_BYTES]) -> Result<Self, Damage> {
        if bytes[..4] != BLOCK_MAGIC {
            return Err(Damage::BlockMissing);
        }
        let body_bytes = u32_at(bytes, 4);
        if body_bytes > BODY_BYTES_MAX {
            return Err(Damage::BlockTooLarge);
        }
        Ok(Self {
            body_bytes,
            entry_count: u32_at(bytes, 8),
            base_micros: u64_at(bytes, 12),
            checksum: u32_at(bytes, 20),
        })
    }
}

/// Appends a number: seven bits a byte, the lowest first; all bytes but the last have bit 0x80.
pub(crate) fn append_number(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Takes a number from the beginning of `bytes`; nothing if there is none.
pub(crate) fn take_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for index in 0..NUMBER_BYTES_MAX {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7F);
        let shifted = bits << (7 * index);
        if shifted >> (7 * index) != bits {
            return None;
        }
        number |= shifted;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4].try_into().map(u32::from_le_bytes).expect("these are four bytes")
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes[at..at + 8].try_into().map(u64::from_le_bytes).expect("these are eight bytes")
}

const VERSION: u32 = 1;

const BLOCK_MAGIC: [u8; 4] = *b"QTBL";

pub(crate) const FILE_HEADER_BYTES: usize = 32;

pub(crate) const BLOCK_HEADER_BYTES: usize = 24;

/// 64 bits, seven a byte.
pub(crate) const NUMBER_BYTES_MAX: usize = 10;

/// The largest packet of MQTT: a fixed header of five bytes, and the largest Remaining Length (section 2.1.4).
pub(crate) const PACKET_BYTES_MAX: usize = 5 + 268_435_455;

/// The largest body: one packet of the largest size, and its time.
const BODY_BYTES_MAX: u32 = (PACKET_BYTES_MAX + NUMBER_BYTES_MAX) as u32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_they_were_written() {
        for number in [0, 1, 127, 128, 16_383, 16_384, u64::from(u32::MAX), u64::MAX] {
            let mut bytes = Vec::new();
            append_number(number, &mut bytes);
            assert!(bytes.len() <= NUMBER_BYTES_MAX);
            let mut rest = bytes.as_slice();
            assert_eq!((take_number(&mut rest), rest), (Some(number), &[][..]));
        }
    }

    #[test]
    fn numbers_have_an_end_and_64_bits() {
        for bytes in [&[][..], &[0x80], &[0xFF; 10], &[0x80; 11]] {
            assert_eq!(take_number(&mut &*bytes), None, "{bytes:?}");
        }
        let two_to_the_64 = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 2];
        assert_eq!(take_number(&mut &two_to_the_64[..]), None);
    }
}
