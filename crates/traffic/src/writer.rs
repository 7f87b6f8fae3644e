//! Writing a file.

use std::io::{self, Write};

use quelea_codec::{Packet, PacketId, Publish, QoS, SubscriptionIds, Version};

use crate::format::{
    BLOCK_HEADER_BYTES, BlockHeader, FILE_HEADER_BYTES, FileHeader, NUMBER_BYTES_MAX,
    PACKET_BYTES_MAX, append_number,
};

/// Writes entries as blocks, each with one call of [`Write::write_all`].
///
/// What is pushed is written when a block of 64 KiB is full, or by [`flush`](Self::flush): whoever wants to lose no more
/// than a second flushes each second. After an error of the output everything fails: the file is good up to there. Dropped without [`finish`](Self::finish) it loses what it has not written.
#[derive(Debug)]
pub struct Writer<W> {
    output: W,
    /// The block that is being made, with room for its header; at most [`BLOCK_BYTES`] but for one with a single entry.
    block: Vec<u8>,
    entry_count: u32,
    base_micros: u64,
    last_micros: u64,
    written_bytes: u64,
    /// After a failure nobody knows how much of a block is in the file: nothing more may follow it.
    is_broken: bool,
}

impl<W: Write> Writer<W> {
    /// Begins a file. Times are counted from `begun_unix_micros`, in microseconds since the beginning of 1970.
    ///
    /// # Errors
    ///
    /// Those of the output.
    pub fn begin(mut output: W, begun_unix_micros: u64) -> io::Result<Self> {
        output.write_all(&FileHeader { begun_unix_micros }.encode())?;
        Ok(Self::go_on(output, 0, FILE_HEADER_BYTES as u64))
    }

    /// Goes on with a file whose last entry is of `last_micros`, and whose output is at the end of its last whole block:
    /// at `whole_bytes`.
    pub fn go_on(output: W, last_micros: u64, whole_bytes: u64) -> Self {
        Self {
            output,
            block: vec![0; BLOCK_HEADER_BYTES],
            entry_count: 0,
            base_micros: last_micros,
            last_micros,
            written_bytes: whole_bytes,
            is_broken: false,
        }
    }

    /// Adds a message. Its topic alias, subscription identifiers, packet identifier and DUP are left out: they belong to
    /// the connection on which it came. A time before that of the message before becomes that one's.
    ///
    /// # Errors
    ///
    /// Those of the output; [`InvalidInput`](io::ErrorKind::InvalidInput) if the message is larger than a packet may be.
    ///
    /// # Panics
    ///
    /// If topic or properties are longer than MQTT allows.
    pub fn push(&mut self, micros: u64, publish: &Publish<'_>) -> io::Result<()> {
        let packet = stored(publish);
        let packet_bytes = packet.encoded_len(Version::V5);
        if packet_bytes > PACKET_BYTES_MAX {
            let message = "the message is larger than a packet of MQTT 5 may be";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        if self.block.len() + packet_bytes > BLOCK_BYTES {
            self.write_block()?;
        }
        let micros = micros.max(self.last_micros);
        if self.entry_count == 0 {
            self.base_micros = micros;
            self.last_micros = micros;
        }
        append_number(micros - self.last_micros, &mut self.block);
        packet.encode(Version::V5, &mut self.block);
        self.last_micros = micros;
        self.entry_count += 1;
        Ok(())
    }

    /// Writes what was pushed, and flushes the output.
    ///
    /// # Errors
    ///
    /// Those of the output.
    pub fn flush(&mut self) -> io::Result<()> {
        self.write_block()?;
        self.output.flush()
    }

    /// Writes what was pushed, and returns the output.
    ///
    /// # Errors
    ///
    /// Those of the output.
    pub fn finish(mut self) -> io::Result<W> {
        self.flush()?;
        Ok(self.output)
    }

    /// Returns how large the file is, with what is not written so far.
    pub fn bytes(&self) -> u64 {
        let waiting = if self.entry_count == 0 { 0 } else { self.block.len() };
        self.written_bytes + waiting as u64
    }

    /// Returns how large the file may be with one more message.
    pub fn bytes_with(&self, publish: &Publish<'_>) -> u64 {
        let entry_bytes = NUMBER_BYTES_MAX + stored(publish).encoded_len(Version::V5);
        // At most it begins a block.
        self.bytes() + (BLOCK_HEADER_BYTES + entry_bytes) as u64
    }

    fn write_block(&mut self) -> io::Result<()> {
        if self.entry_count == 0 {
            return Ok(());
        }
        if std::mem::replace(&mut self.is_broken, true) {
            return Err(io::Error::other("an earlier write has failed"));
        }
        let body = &self.block[BLOCK_HEADER_BYTES..];
        let header = BlockHeader {
            body_bytes: body.len() as u32,
            entry_count: self.entry_count,
            base_micros: self.base_micros,
            checksum: 0,
        };
        let header = header.sealed(body).encode();
        self.block[..BLOCK_HEADER_BYTES].copy_from_slice(&header);
        self.output.write_all(&self.block)?;
        self.written_bytes += self.block.len() as u64;
        self.block.truncate(BLOCK_HEADER_BYTES);
        // After a large message its room is not kept.
        self.block.shrink_to(BLOCK_BYTES);
        self.entry_count = 0;
        self.is_broken = false;
        Ok(())
    }
}

/// Returns the packet of a message as it stands in a file.
fn stored<'a>(publish: &Publish<'a>) -> Packet<'a> {
    let mut publish = Publish { dup: false, packet_id: None, ..*publish };
    if publish.qos > QoS::AtMostOnce {
        publish.packet_id = PacketId::new(1);
    }
    publish.properties.topic_alias = None;
    publish.properties.subscription_ids = SubscriptionIds::default();
    Packet::Publish(publish)
}

/// How large a block may grow with more than one entry in it.
const BLOCK_BYTES: usize = 65_536;
