//! The frames of a WebSocket (RFC 6455 section 5), for both sides.
//!
//! MQTT is a stream of bytes in binary frames: a frame may hold any part of a packet, or several ([MQTT-6.0.0-2]). So
//! data frames have no limit and need no memory: what of them has arrived is handed on. Of the other frames, which
//! are short, one is kept while it is not complete, and the latest ping until it is answered.

use std::fmt;

/// Takes a stream of frames apart.
#[derive(Debug)]
pub struct Decoder {
    peer: Side,
    /// The header that is not complete, and how much of it is there.
    header: [u8; HEADER_BYTES_MAX],
    header_len: u8,
    frame: Option<Frame>,
    /// A message was begun, and its last frame has not come.
    is_fragmented: bool,
    /// What has come of the payload of a control frame.
    control: Vec<u8>,
    ping: Option<Vec<u8>>,
    close: Option<u16>,
}

/// A side of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// It masks what it sends.
    Client,
    /// It does not.
    Server,
}

/// A frame whose header has come.
#[derive(Clone, Copy, Debug)]
struct Frame {
    opcode: Opcode,
    remaining: u64,
    mask: [u8; 4],
}

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// Data that goes on.
    Continuation,
    /// Data.
    Binary,
    /// The end of what this side has to say.
    Close,
    /// It wants an answer.
    Ping,
    /// The answer.
    Pong,
}

/// A rule that the peer broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Violation {
    /// A Close whose payload is no code with a text.
    Close,
    /// A control frame that is too long, or in pieces.
    Control,
    /// A frame that goes on with nothing, or one that begins while another message has not ended.
    Fragments,
    /// A length that is not written in the shortest way, or too large for any memory.
    Length,
    /// A frame of a client without a mask, or one of a server with one.
    Mask,
    /// A frame of a kind that there is not.
    Opcode,
    /// A bit that only extensions use.
    Reserved,
    /// A text frame: MQTT is binary ([MQTT-6.0.0-1]).
    Text,
}

impl Decoder {
    /// Makes a decoder of what `peer` sends.
    pub fn new(peer: Side) -> Self {
        Self {
            peer,
            header: [0; HEADER_BYTES_MAX],
            header_len: 0,
            frame: None,
            is_fragmented: false,
            control: Vec::new(),
            ping: None,
            close: None,
        }
    }

    /// Takes in what has arrived, and puts the data of it at the front. Returns how many bytes of data there are.
    ///
    /// # Errors
    ///
    /// The peer broke a rule: the connection has to end, with [`Violation::close_code`].
    pub fn decode(&mut self, arrived: &mut [u8]) -> Result<usize, Violation> {
        let mut data_bytes = 0;
        let mut read = 0;
        while read < arrived.len() && self.close.is_none() {
            let Some(frame) = &mut self.frame else {
                read += self.take_header(&arrived[read..])?;
                continue;
            };
            let available = (arrived.len() - read) as u64;
            let length = frame.remaining.min(available) as usize;
            apply_mask(&mut arrived[read..read + length], frame.mask);
            frame.mask.rotate_left(length % 4);
            frame.remaining -= length as u64;
            match frame.opcode {
                Opcode::Binary | Opcode::Continuation => {
                    arrived.copy_within(read..read + length, data_bytes);
                    data_bytes += length;
                }
                Opcode::Close | Opcode::Ping | Opcode::Pong => {
                    self.control.extend_from_slice(&arrived[read..read + length]);
                }
            }
            read += length;
            self.end_frame()?;
        }
        Ok(data_bytes)
    }

    /// Returns the payload of the latest ping that was not answered. Earlier ones need no answer
    /// (RFC 6455 section 5.5.3).
    pub fn take_ping(&mut self) -> Option<Vec<u8>> {
        self.ping.take()
    }

    /// Returns the code with which the peer has said that nothing more comes from it.
    pub fn close_code(&self) -> Option<u16> {
        self.close
    }

    /// Takes bytes of a header. Returns how many.
    fn take_header(&mut self, arrived: &[u8]) -> Result<usize, Violation> {
        let mut taken = 0;
        loop {
            let have = usize::from(self.header_len);
            let needed = header_len(&self.header[..have]);
            if have == needed {
                break;
            }
            let Some(byte) = arrived.get(taken) else { return Ok(taken) };
            self.header[have] = *byte;
            self.header_len += 1;
            taken += 1;
            // At once: a peer that breaks a rule here may never send the rest.
            self.check_start()?;
        }
        let header = &self.header[..usize::from(self.header_len)];
        let (length, rest) = length_of(header)?;
        let mask = rest.try_into().unwrap_or([0; 4]);
        let opcode = opcode_of(header[0])?;
        self.header_len = 0;
        self.frame = Some(Frame { opcode, remaining: length, mask });
        // One without a payload is complete.
        self.end_frame()?;
        Ok(taken)
    }

    /// Checks the first two bytes of a header, as far as they are there.
    fn check_start(&mut self) -> Result<(), Violation> {
        let first = self.header[0];
        if self.header_len == 1 {
            if first & RESERVED != 0 {
                return Err(Violation::Reserved);
            }
            let is_final = first & FINAL != 0;
            match opcode_of(first)? {
                Opcode::Continuation if !self.is_fragmented => return Err(Violation::Fragments),
                Opcode::Binary if self.is_fragmented => return Err(Violation::Fragments),
                Opcode::Continuation | Opcode::Binary => self.is_fragmented = !is_final,
                Opcode::Close | Opcode::Ping | Opcode::Pong if !is_final => {
                    return Err(Violation::Control);
                }
                Opcode::Close | Opcode::Ping | Opcode::Pong => {}
            }
        }
        if self.header_len == 2 {
            let second = self.header[1];
            if (second & MASKED != 0) != (self.peer == Side::Client) {
                return Err(Violation::Mask);
            }
            let is_control = first & CONTROL != 0;
            if is_control && usize::from(second & LENGTH) > CONTROL_BYTES_MAX {
                return Err(Violation::Control);
            }
        }
        Ok(())
    }

    /// Ends the frame if all of it has come.
    fn end_frame(&mut self) -> Result<(), Violation> {
        let Some(frame) = self.frame.filter(|frame| frame.remaining == 0) else { return Ok(()) };
        self.frame = None;
        match frame.opcode {
            Opcode::Binary | Opcode::Continuation => {}
            Opcode::Ping => self.ping = Some(std::mem::take(&mut self.control)),
            // It may come without having been asked for, and means nothing to MQTT.
            Opcode::Pong => self.control = Vec::new(),
            Opcode::Close => self.close = Some(close_code(&std::mem::take(&mut self.control))?),
        }
        Ok(())
    }
}

/// Appends a frame that holds all of `payload`. A client gives a mask that nobody can foresee.
pub fn append_frame(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8], mask: Option<[u8; 4]>) {
    append(out, FINAL, opcode, payload, mask);
}

/// Appends a frame of a server after which its message goes on with [`Opcode::Continuation`].
pub fn append_fragment(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    append(out, 0, opcode, payload, None);
}

fn append(out: &mut Vec<u8>, fin: u8, opcode: Opcode, payload: &[u8], mask: Option<[u8; 4]>) {
    let byte = match opcode {
        Opcode::Continuation => 0x0,
        Opcode::Binary => 0x2,
        Opcode::Close => 0x8,
        Opcode::Ping => 0x9,
        Opcode::Pong => 0xA,
    };
    out.push(fin | byte);
    let masked = if mask.is_some() { MASKED } else { 0 };
    match payload.len() {
        length @ 0..=125 => out.push(masked | length as u8),
        length @ 126..=0xFFFF => {
            out.push(masked | LENGTH_16);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            out.push(masked | LENGTH_64);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(mask.as_ref().map_or(&[], |mask| mask.as_slice()));
    let start = out.len();
    out.extend_from_slice(payload);
    if let Some(mask) = mask {
        apply_mask(&mut out[start..], mask);
    }
}

/// Changes `bytes` by the mask, which is its own opposite.
fn apply_mask(bytes: &mut [u8], mask: [u8; 4]) {
    if mask == [0; 4] {
        return;
    }
    let wide = u64::from_ne_bytes([
        mask[0], mask[1], mask[2], mask[3], mask[0], mask[1], mask[2], mask[3],
    ]);
    let (words, rest) = bytes.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

/// Returns how long a header is of which `start` has come; more than `start` while that is not known.
fn header_len(start: &[u8]) -> usize {
    let Some(second) = start.get(1) else { return 2 };
    let length = match second & LENGTH {
        LENGTH_16 => 2,
        LENGTH_64 => 8,
        _ => 0,
    };
    2 + length + if second & MASKED != 0 { 4 } else { 0 }
}

/// Returns the length that a whole header has, and what comes after it.
fn length_of(header: &[u8]) -> Result<(u64, &[u8]), Violation> {
    let (short, rest) = (header[1] & LENGTH, &header[2..]);
    let (length, least, rest) = match short {
        LENGTH_16 => {
            let (bytes, rest) = rest.split_first_chunk().ok_or(Violation::Length)?;
            (u64::from(u16::from_be_bytes(*bytes)), 126, rest)
        }
        LENGTH_64 => {
            let (bytes, rest) = rest.split_first_chunk().ok_or(Violation::Length)?;
            (u64::from_be_bytes(*bytes), 0x1_0000, rest)
        }
        short => (u64::from(short), 0, rest),
    };
    if length < least || length > i64::MAX as u64 {
        return Err(Violation::Length);
    }
    Ok((length, rest))
}

fn opcode_of(first: u8) -> Result<Opcode, Violation> {
    match first & 0xF {
        0x0 => Ok(Opcode::Continuation),
        0x1 => Err(Violation::Text),
        0x2 => Ok(Opcode::Binary),
        0x8 => Ok(Opcode::Close),
        0x9 => Ok(Opcode::Ping),
        0xA => Ok(Opcode::Pong),
        _ => Err(Violation::Opcode),
    }
}

/// Returns the code in the payload of a Close. Without one it is 1005, which is never sent.
fn close_code(payload: &[u8]) -> Result<u16, Violation> {
    let Some((code, text)) = payload.split_first_chunk() else {
        return if payload.is_empty() { Ok(CLOSE_WITHOUT_CODE) } else { Err(Violation::Close) };
    };
    let code = u16::from_be_bytes(*code);
    let is_known = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
    if is_known && std::str::from_utf8(text).is_ok() { Ok(code) } else { Err(Violation::Close) }
}

impl Violation {
    /// Returns the code that the peer is told in a Close.
    pub fn close_code(self) -> u16 {
        match self {
            Self::Text => 1003,
            Self::Close
            | Self::Control
            | Self::Fragments
            | Self::Length
            | Self::Mask
            | Self::Opcode
            | Self::Reserved => 1002,
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Close => "a Close frame has a wrong payload",
            Self::Control => "a control frame is too long or in pieces",
            Self::Fragments => "a frame does not go on where the one before ended",
            Self::Length => "the length of a frame is wrong",
            Self::Mask => "a frame is masked that must not be, or not masked and must be",
            Self::Opcode => "a frame has an unknown opcode",
            Self::Reserved => "a frame uses an extension",
            Self::Text => "a text frame is no MQTT",
        })
    }
}

impl std::error::Error for Violation {}

/// The code of a Close that has none.
pub const CLOSE_WITHOUT_CODE: u16 = 1005;

/// The code of a Close in good order.
pub const CLOSE_NORMAL: u16 = 1000;

/// Two bytes, a length of eight, and a mask.
const HEADER_BYTES_MAX: usize = 14;

/// The payload of a control frame (RFC 6455 section 5.5).
const CONTROL_BYTES_MAX: usize = 125;

const FINAL: u8 = 0x80;
const RESERVED: u8 = 0x70;
const CONTROL: u8 = 0x08;
const MASKED: u8 = 0x80;
const LENGTH: u8 = 0x7F;
const LENGTH_16: u8 = 126;
const LENGTH_64: u8 = 127;

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of RFC 6455 section 5.7 that are not text, and their like.
    #[test]
    fn frames_are_taken_apart() {
        check(
            Side::Client,
            &[0x82, 0x85, 0x37, 0xFA, 0x21, 0x3D, 0x7F, 0x9F, 0x4D, 0x51, 0x58],
            b"Hello",
        );
        check(Side::Server, &[0x82, 5, b'H', b'e', b'l', b'l', b'o'], b"Hello");
        check(Side::Server, &[0x02, 3, b'H', b'e', b'l', 0x80, 2, b'l', b'o'], b"Hello");
        check(Side::Server, &[0x02, 0, 0x00, 0, 0x80, 1, b'x', 0x82, 0], b"x");
        // A ping between fragments.
        check(Side::Server, &[0x02, 1, b'a', 0x89, 1, b'p', 0x80, 1, b'b'], b"ab");
        check(Side::Server, &[0x8A, 0, 0x82, 1, b'a'], b"a");
    }

    #[test]
    fn long_frames_have_long_lengths() {
        for length in [0, 125, 126, 0xFFFF, 0x1_0000, 200_000] {
            let payload = vec![7; length];
            for (side, mask) in [(Side::Client, Some([1, 2, 3, 4])), (Side::Server, None)] {
                let mut frame = Vec::new();
                append_frame(&mut frame, Opcode::Binary, &payload, mask);
                check(side, &frame, &payload);
            }
        }
    }

    #[test]
    fn broken_rules_are_named() {
        refuse(Side::Client, &[0x82, 0x05], Violation::Mask);
        refuse(Side::Server, &[0x82, 0x80], Violation::Mask);
        refuse(Side::Server, &[0x81, 0], Violation::Text);
        refuse(Side::Server, &[0x83], Violation::Opcode);
        refuse(Side::Server, &[0x8B], Violation::Opcode);
        refuse(Side::Server, &[0xC2], Violation::Reserved);
        refuse(Side::Server, &[0x80], Violation::Fragments);
        refuse(Side::Server, &[0x02, 0, 0x82], Violation::Fragments);
        refuse(Side::Server, &[0x09], Violation::Control);
        refuse(Side::Server, &[0x89, 126], Violation::Control);
        refuse(Side::Server, &[0x82, 126, 0, 125], Violation::Length);
        refuse(Side::Server, &[0x82, 127, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF], Violation::Length);
        refuse(Side::Server, &[0x82, 127, 0x80, 0, 0, 0, 0, 1, 0, 0], Violation::Length);
        refuse(Side::Server, &[0x88, 1, 3], Violation::Close);
        refuse(Side::Server, &[0x88, 2, 0x03, 0xED], Violation::Close);
        refuse(Side::Server, &[0x88, 3, 0x03, 0xE8, 0xFF], Violation::Close);
    }

    #[test]
    fn only_the_latest_ping_waits() {
        let mut decoder = Decoder::new(Side::Server);
        let mut bytes = [0x89, 1, b'a', 0x89, 2, b'b', b'c'];
        assert_eq!(decoder.decode(&mut bytes), Ok(0));
        assert_eq!(decoder.take_ping().as_deref(), Some(&b"bc"[..]));
        assert_eq!(decoder.take_ping(), None);
    }

    /// What comes after a Close is not looked at.
    #[test]
    fn close_is_the_end() {
        for (bytes, code) in [
            (&[0x88, 2, 0x03, 0xE8][..], 1000),
            (&[0x88, 0], 1005),
            (&[0x88, 3, 0x0F, 0xA0, b'x'], 4000),
        ] {
            let mut decoder = Decoder::new(Side::Server);
            let mut bytes = [&[0x82, 1, b'a'], bytes, &[0xFF, 0xFF]].concat();
            assert_eq!(decoder.decode(&mut bytes), Ok(1));
            assert_eq!(decoder.close_code(), Some(code));
            assert_eq!(decoder.decode(&mut [0xFF]), Ok(0));
        }
    }

    /// Decodes the same whole, and in pieces of every size.
    #[track_caller]
    fn check(peer: Side, frames: &[u8], expected: &[u8]) {
        let sizes = if frames.len() > 1_000 { 997..999 } else { 1..frames.len() + 1 };
        for size in sizes.chain([frames.len()]) {
            let mut decoder = Decoder::new(peer);
            let mut data = Vec::new();
            for piece in frames.chunks(size) {
                let mut piece = piece.to_vec();
                let length = decoder.decode(&mut piece).unwrap();
                data.extend_from_slice(&piece[..length]);
            }
            assert!(data == expected, "in pieces of {size}");
        }
    }

    #[track_caller]
    fn refuse(peer: Side, frames: &[u8], expected: Violation) {
        assert_eq!(Decoder::new(peer).decode(&mut frames.to_vec()), Err(expected), "{frames:02X?}");
        // Also when it comes byte by byte, and not later than with the last.
        let mut decoder = Decoder::new(peer);
        let found = frames.iter().find_map(|byte| decoder.decode(&mut [*byte]).err());
        assert_eq!(found, Some(expected), "{frames:02X?}");
    }
}
