//! Framing: where one packet ends and the next begins.
//!
//! Incremental over borrowed bytes: nothing is kept between calls, and a buffer that holds no whole
//! packet is simply offered again when it has grown. A header that no version allows and a packet above
//! the size limit are reported as soon as the bytes that show it are there, so that a receiver never has to
//! make room for them.

use crate::error::{DecodeError, Malformed};

/// One whole packet: the first byte of its fixed header, and what follows the Remaining Length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Packet type and flags.
    pub first_byte: u8,
    /// Variable header and payload.
    pub body: &'a [u8],
}

/// What [`next_frame`] found at the start of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing<'a> {
    /// A part of a packet, or nothing.
    Incomplete {
        /// The size of the whole packet, header included, once its fixed header is complete.
        total_bytes: Option<usize>,
    },
    /// A whole packet, and the number of bytes it took.
    Complete {
        /// The packet.
        frame: Frame<'a>,
        /// Its size, header included.
        consumed: usize,
    },
}

/// Finds the packet at the start of `buffer`.
///
/// `packet_bytes_max` bounds the whole packet, fixed header included (section 2.1.4); `u32::MAX` sets no
/// limit. The limit is applied when the fixed header is complete, before any byte of the body is needed.
///
/// # Errors
///
/// [`Malformed::PacketType`] or [`Malformed::FixedHeaderFlags`] when the first byte is one that no version
/// allows, [`Malformed::VariableByteInteger`] for a Remaining Length that is too long or not in its
/// shortest form, [`Malformed::PacketTooLarge`] above the limit.
#[inline]
pub fn next_frame(buffer: &[u8], packet_bytes_max: u32) -> Result<Framing<'_>, DecodeError> {
    let (header_bytes, remaining) = match *buffer {
        // Nearly every packet of a broker is shorter than 130 bytes.
        [first, length, ..] if length < 0x80 && is_first_byte(first) => (2, usize::from(length)),
        _ => match fixed_header(buffer)? {
            Some(header) => header,
            None => return Ok(Framing::Incomplete { total_bytes: None }),
        },
    };
    let total_bytes = header_bytes + remaining;
    if total_bytes as u64 > u64::from(packet_bytes_max) {
        return Err(Malformed::PacketTooLarge.into());
    }
    match (buffer.first(), buffer.get(header_bytes..total_bytes)) {
        (Some(&first_byte), Some(body)) => {
            let frame = Frame { first_byte, body };
            Ok(Framing::Complete { frame, consumed: total_bytes })
        }
        _ => Ok(Framing::Incomplete { total_bytes: Some(total_bytes) }),
    }
}

/// Reads a fixed header: its size and the Remaining Length, or `None` if it is incomplete.
#[cold]
fn fixed_header(buffer: &[u8]) -> Result<Option<(usize, usize)>, DecodeError> {
    let Some((&first_byte, rest)) = buffer.split_first() else {
        return Ok(None);
    };
    if !is_first_byte(first_byte) {
        return Err(match first_byte >> 4 {
            0 => Malformed::PacketType,
            3 => Malformed::PublishFlags,
            _ => Malformed::FixedHeaderFlags,
        }
        .into());
    }
    let Some((remaining, length_bytes)) = variable_byte_integer(rest)? else {
        return Ok(None);
    };
    Ok(Some((1 + length_bytes, remaining as usize)))
}

/// Reads a Variable Byte Integer: its value and its size, or `None` if `bytes` end inside it.
///
/// It has at most four bytes, and must have no more than its value needs ([MQTT-1.5.5-1]).
#[inline]
pub(crate) fn variable_byte_integer(bytes: &[u8]) -> Result<Option<(u32, usize)>, Malformed> {
    let mut value = 0;
    for index in 0..VARIABLE_BYTE_INTEGER_BYTES_MAX {
        let Some(&byte) = bytes.get(index) else {
            return Ok(None);
        };
        value |= u32::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            let is_shortest = byte != 0 || index == 0;
            return if is_shortest {
                Ok(Some((value, index + 1)))
            } else {
                Err(Malformed::VariableByteInteger)
            };
        }
    }
    Err(Malformed::VariableByteInteger)
}

/// Returns whether a packet of any version can start with `byte`.
#[inline]
fn is_first_byte(byte: u8) -> bool {
    FIRST_FLAGS[usize::from(byte >> 4)] & (1 << (byte & 0x0F)) != 0
}

/// The longest Variable Byte Integer (section 1.5.5).
const VARIABLE_BYTE_INTEGER_BYTES_MAX: usize = 4;

/// The largest value of a Variable Byte Integer, and so the largest Remaining Length.
pub(crate) const VARIABLE_BYTE_INTEGER_MAX: u32 = 268_435_455;

/// For each packet type, bit `n` tells whether the flags may be `n` in some version.
const FIRST_FLAGS: [u16; 16] = {
    let none_set = 1;
    // QoS 1 in the fixed header, and MQTT 3.1's DUP beside it.
    let request = 1 << 0b0010 | 1 << 0b1010;
    // QoS 3 ([MQTT-3.3.1-4]) and DUP at QoS 0 ([MQTT-3.3.1-2]) are left out.
    let publish = 0b0011_1100_0011_1111;
    [
        0, none_set, none_set, publish, none_set, none_set, request, none_set, //
        request, none_set, request, none_set, none_set, none_set, none_set, none_set,
    ]
};
