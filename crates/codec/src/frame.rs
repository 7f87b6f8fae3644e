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
/// [`Malformed::PacketType`], [`Malformed::FixedHeaderFlags`] or [`Malformed::PublishFlags`] when the first byte
/// is one that no version allows, [`Malformed::VariableByteInteger`] for a Remaining Length that is too long or
/// not in its shortest form, [`Malformed::PacketTooLarge`] above the limit.
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
    // MQTT 3.1 does not use the flags of what a client sends after CONNECT.
    let any = u16::MAX;
    // QoS 3 ([MQTT-3.3.1-4]) and DUP at QoS 0 ([MQTT-3.3.1-2]) are left out.
    let publish = 0b0011_1100_0011_1111;
    [
        0, none_set, none_set, publish, any, any, any, any, //
        any, none_set, any, none_set, any, none_set, any, none_set,
    ]
};

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn frames_follow_each_other() {
        let buffer = [0xC0, 0x00, 0x40, 0x02, 0x00, 0x01, 0x30];
        check(&buffer, 100, complete(0xC0, &[], 2));
        check(&buffer[2..], 100, complete(0x40, &[0x00, 0x01], 4));
        check(&buffer[6..], 100, incomplete(None));
        check(&[], 100, incomplete(None));
    }

    #[test]
    fn the_size_is_known_when_the_header_is_complete() {
        check(&[0x30, 0x05], 100, incomplete(Some(7)));
        check(&[0x30, 0x05, 0, 1, 2, 3], 100, incomplete(Some(7)));
        check(&[0x30, 0x80], 100, incomplete(None));
        check(&[0x30, 0x80, 0x01], 200, incomplete(Some(131)));
        check(&[0x30, 0xFF, 0xFF, 0xFF, 0x7F], u32::MAX, incomplete(Some(268_435_460)));
    }

    /// The body may be of any size with every length of header.
    #[test]
    fn lengths_of_two_to_four_bytes() {
        for (header, body_bytes) in [
            (vec![0x30, 0x7F], 127),
            (vec![0x30, 0x80, 0x01], 128),
            (vec![0x30, 0xFF, 0x7F], 16_383),
            (vec![0x30, 0x80, 0x80, 0x01], 16_384),
            (vec![0x30, 0x80, 0x80, 0x80, 0x01], 2_097_152),
        ] {
            let consumed = header.len() + body_bytes;
            let packet: Vec<u8> = header.iter().copied().chain(vec![7; body_bytes]).collect();
            check(&packet, u32::MAX, complete(0x30, &packet[header.len()..], consumed));
            check(&packet[..consumed - 1], u32::MAX, incomplete(Some(consumed)));
        }
    }

    /// [MQTT-1.5.5-1]
    #[test]
    fn remaining_length_has_its_shortest_form() {
        for length in
            [&[0x80, 0x00][..], &[0xFF, 0x00], &[0x80, 0x80, 0x00], &[0x80, 0x80, 0x80, 0x00]]
        {
            let header: Vec<u8> = [&[0x30], length].concat();
            check(&header, 100, Err(Malformed::VariableByteInteger.into()));
        }
        check(
            &[0x30, 0x80, 0x80, 0x80, 0x80],
            u32::MAX,
            Err(Malformed::VariableByteInteger.into()),
        );
        check(
            &[0x30, 0xFF, 0xFF, 0xFF, 0xFF, 0x01],
            u32::MAX,
            Err(Malformed::VariableByteInteger.into()),
        );
    }

    /// [MQTT-3.2.2-15] The limit counts the whole packet, and is applied before the body is there.
    #[test]
    fn too_large_packets_are_refused_at_once() {
        check(&[0x30, 0x08], 10, incomplete(Some(10)));
        check(&[0x30, 0x09], 10, Err(Malformed::PacketTooLarge.into()));
        check(&[0x30, 0xFF, 0xFF, 0xFF, 0x7F], 10, Err(Malformed::PacketTooLarge.into()));
        check(&[0xC0, 0x00], 1, Err(Malformed::PacketTooLarge.into()));
    }

    /// [MQTT-2.1.3-1], [MQTT-3.3.1-4]: no need to wait for the rest.
    #[test]
    fn first_bytes_that_no_version_has() {
        for first_byte in [0x00, 0x07] {
            check(&[first_byte], 100, Err(Malformed::PacketType.into()));
        }
        for first_byte in [0x11, 0x16, 0x21, 0x9F, 0xB2, 0xD1, 0xF1] {
            check(&[first_byte], 100, Err(Malformed::FixedHeaderFlags.into()));
        }
        for first_byte in [0x36, 0x37, 0x38, 0x39, 0x3E, 0x3F] {
            check(&[first_byte, 0x00], 100, Err(Malformed::PublishFlags.into()));
        }
        for first_byte in
            [0x10, 0x30, 0x31, 0x32, 0x3A, 0x3D, 0x41, 0x62, 0x6A, 0x80, 0x8A, 0xA2, 0xCF, 0xF0]
        {
            check(&[first_byte], 100, incomplete(None));
        }
    }

    fn complete<'a>(
        first_byte: u8,
        body: &'a [u8],
        consumed: usize,
    ) -> Result<Framing<'a>, DecodeError> {
        Ok(Framing::Complete { frame: Frame { first_byte, body }, consumed })
    }

    fn incomplete(total_bytes: Option<usize>) -> Result<Framing<'static>, DecodeError> {
        Ok(Framing::Incomplete { total_bytes })
    }

    #[track_caller]
    fn check(buffer: &[u8], packet_bytes_max: u32, expected: Result<Framing<'_>, DecodeError>) {
        let start = &buffer[..buffer.len().min(8)];
        assert_eq!(next_frame(buffer, packet_bytes_max), expected, "{start:02X?}");
    }
}
