//! Reading a file.

use std::io::{self, Read};

use quelea_codec::{DecodeError, Framing, Malformed, Publish, Version, decode_publish, next_frame};

use crate::Entry;
use crate::error::{Damage, ReadError};
use crate::format::{
    BLOCK_HEADER_BYTES, BlockHeader, FILE_HEADER_BYTES, FileHeader, MAGIC, take_number,
};

/// Reads the entries of a file, block by block: each is checked before its first entry is returned.
///
/// It makes many small reads, which a [`BufReader`](io::BufReader) makes cheap.
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    header: FileHeader,
    /// The body of the block that is being read; grows as bytes come, whatever a header promises.
    block: Vec<u8>,
    /// Where the next entry begins in it.
    at: usize,
    /// Entries that are left in it.
    left: u32,
    micros: u64,
    /// Where the block begins in the file.
    block_at: u64,
    /// Where the last block ends that was whole.
    whole_bytes: u64,
    /// After an error or the end there is nothing more.
    is_done: bool,
}

impl<R: Read> Reader<R> {
    /// Reads the header of a file.
    ///
    /// # Errors
    ///
    /// [`ReadError`] says why this is no such file.
    pub fn new(mut input: R) -> Result<Self, ReadError> {
        let mut bytes = [0; FILE_HEADER_BYTES];
        let count = read_up_to(&mut input, &mut bytes).map_err(ReadError::Io)?;
        if count < FILE_HEADER_BYTES {
            let is_begun = count > 0 && bytes[..count.min(8)] == MAGIC[..count.min(8)];
            return Err(if is_begun { ReadError::Cut { at: 0 } } else { ReadError::NoTraffic });
        }
        Ok(Self {
            input,
            header: FileHeader::decode(&bytes)?,
            block: Vec::new(),
            at: 0,
            left: 0,
            micros: 0,
            block_at: 0,
            whole_bytes: FILE_HEADER_BYTES as u64,
            is_done: false,
        })
    }

    /// Returns the next entry; `None` at the end of the file.
    ///
    /// # Errors
    ///
    /// [`ReadError`] says why there are no more. After one, there is nothing more.
    // An iterator could not lend what it reads.
    #[expect(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<Entry<'_>>, ReadError> {
        if self.is_done {
            return Ok(None);
        }
        while self.left == 0 {
            if !self.read_block()? {
                return Ok(None);
            }
        }
        let block_at = self.block_at;
        // Until it is known that there is an entry.
        self.is_done = true;
        let entry = self.read_entry();
        entry.map(Some).map_err(|damage| ReadError::Damaged { at: block_at, damage })
    }

    /// Returns when the recording began, in microseconds since the beginning of 1970.
    pub fn begun_unix_micros(&self) -> u64 {
        self.header.begun_unix_micros
    }

    /// Returns where the last block ends that was whole: a file that was [cut](ReadError::Cut) can be gone on with there.
    pub fn whole_bytes(&self) -> u64 {
        self.whole_bytes
    }

    /// Reads the next block; returns false at the end of the file.
    fn read_block(&mut self) -> Result<bool, ReadError> {
        // Until it is known that there is one.
        self.is_done = true;
        let at = self.whole_bytes;
        let damaged = |damage| ReadError::Damaged { at, damage };
        if self.at < self.block.len() {
            return Err(ReadError::Damaged { at: self.block_at, damage: Damage::EntryCount });
        }
        let mut bytes = [0; BLOCK_HEADER_BYTES];
        let count = read_up_to(&mut self.input, &mut bytes).map_err(ReadError::Io)?;
        match count {
            0 => return Ok(false),
            BLOCK_HEADER_BYTES if bytes.iter().any(|&byte| byte != 0) => {}
            // Where the power fails, a file may have its length and not its bytes.
            _ => return Err(ReadError::Cut { at }),
        }
        let header = BlockHeader::decode(&bytes).map_err(damaged)?;
        let body_bytes = u64::from(header.body_bytes);
        self.block.clear();
        self.input.by_ref().take(body_bytes).read_to_end(&mut self.block).map_err(ReadError::Io)?;
        if (self.block.len() as u64) < body_bytes {
            return Err(ReadError::Cut { at });
        }
        if !header.is_sealed(&self.block) {
            let is_last = read_up_to(&mut self.input, &mut [0]).map_err(ReadError::Io)? == 0;
            return Err(if is_last { ReadError::Cut { at } } else { damaged(Damage::Checksum) });
        }
        if header.base_micros < self.micros {
            return Err(damaged(Damage::Time));
        }
        self.block_at = at;
        self.whole_bytes = at + BLOCK_HEADER_BYTES as u64 + body_bytes;
        (self.at, self.left, self.micros) = (0, header.entry_count, header.base_micros);
        self.is_done = false;
        Ok(true)
    }

    fn read_entry(&mut self) -> Result<Entry<'_>, Damage> {
        let mut rest = &self.block[self.at..];
        if rest.is_empty() {
            return Err(Damage::EntryCount);
        }
        let elapsed = take_number(&mut rest).ok_or(Damage::Time)?;
        let micros = self.micros.checked_add(elapsed).ok_or(Damage::Time)?;
        let (publish, packet_bytes) = read_packet(rest).map_err(Damage::Packet)?;
        self.at = self.block.len() - rest.len() + packet_bytes;
        self.left -= 1;
        self.micros = micros;
        self.is_done = false;
        Ok(Entry { micros, publish })
    }
}

/// Reads the PUBLISH at the beginning of `bytes`, and says how long it is.
fn read_packet(bytes: &[u8]) -> Result<(Publish<'_>, usize), DecodeError> {
    let Framing::Complete { frame, consumed } = next_frame(bytes, u32::MAX)? else {
        return Err(Malformed::Truncated.into());
    };
    let publish = decode_publish(frame, Version::V5)?;
    if publish.topic.is_empty() {
        return Err(Malformed::TopicNameEmpty.into());
    }
    Ok((publish, consumed))
}

/// Fills `buffer`, as far as there are bytes.
fn read_up_to(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut count = 0;
    while count < buffer.len() {
        match input.read(&mut buffer[count..]) {
            Ok(0) => break,
            Ok(bytes) => count += bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(count)
}
