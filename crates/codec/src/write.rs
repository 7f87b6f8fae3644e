//! Writing the data types of section 1.5, or counting what they would take.
//!
//! A packet is written by one function over any [`Sink`]: into a [`Count`] for its length, then into the
//! buffer. So the length cannot disagree with the bytes.

use alloc::vec::Vec;

use crate::frame::VARIABLE_BYTE_INTEGER_MAX;

/// Something that is written in several places of a packet, or whose length precedes it.
pub(crate) trait Write {
    /// Writes `self` to `sink`.
    fn write<S: Sink>(&self, sink: &mut S);

    /// Returns the number of bytes that [`Self::write`] writes.
    fn written_len(&self) -> usize {
        let mut count = Count(0);
        self.write(&mut count);
        count.0
    }
}

/// A destination of bytes.
pub(crate) trait Sink {
    fn bytes(&mut self, bytes: &[u8]);

    #[inline]
    fn byte(&mut self, byte: u8) {
        self.bytes(&[byte]);
    }

    #[inline]
    fn two_bytes(&mut self, value: u16) {
        self.bytes(&value.to_be_bytes());
    }

    #[inline]
    fn four_bytes(&mut self, value: u32) {
        self.bytes(&value.to_be_bytes());
    }

    /// Writes a Variable Byte Integer in its shortest form ([MQTT-1.5.5-1]).
    #[inline]
    fn variable(&mut self, value: usize) {
        let (bytes, count) = variable_bytes(value);
        self.bytes(&bytes[..count]);
    }

    /// Writes Binary Data, or with the bytes of a string a UTF-8 Encoded String.
    #[inline]
    fn binary(&mut self, bytes: &[u8]) {
        self.two_bytes(length_prefix(bytes));
        self.bytes(bytes);
    }

    #[inline]
    fn text(&mut self, text: &str) {
        self.binary(text.as_bytes());
    }
}

/// A sink that keeps nothing but the number of bytes.
#[derive(Debug)]
pub(crate) struct Count(pub(crate) usize);

impl Sink for Count {
    #[inline]
    fn bytes(&mut self, bytes: &[u8]) {
        self.0 += bytes.len();
    }
}

impl Sink for Vec<u8> {
    #[inline]
    fn bytes(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// Returns the Variable Byte Integer of `value`, and how many of the four bytes it takes.
#[inline]
pub(crate) fn variable_bytes(value: usize) -> ([u8; 4], usize) {
    assert!(
        value <= VARIABLE_BYTE_INTEGER_MAX as usize,
        "{value} does not fit a variable byte integer"
    );
    let mut bytes = [0; 4];
    let mut rest = value;
    let mut count = 0;
    loop {
        bytes[count] = (rest & 0x7F) as u8;
        rest >>= 7;
        if rest == 0 {
            return (bytes, count + 1);
        }
        bytes[count] |= 0x80;
        count += 1;
    }
}

/// Returns the number of bytes in the Variable Byte Integer of `value`.
#[inline]
pub(crate) fn variable_len(value: usize) -> usize {
    match value {
        0..=0x7F => 1,
        0x80..=0x3FFF => 2,
        0x4000..=0x1F_FFFF => 3,
        _ => 4,
    }
}

/// Returns the length that goes before Binary Data or a string.
#[inline]
pub(crate) fn length_prefix(bytes: &[u8]) -> u16 {
    u16::try_from(bytes.len()).expect("strings and binary data are given with at most 65,535 bytes")
}
