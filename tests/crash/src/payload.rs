//! Messages that say which they are, and show when they are damaged.

use std::fmt;

use crate::history::{ClientIndex, MessageId};

/// Returns the payload of `message`, `filler_bytes` longer than it needs to be.
pub fn write(message: MessageId, filler_bytes: usize) -> Vec<u8> {
    let mut payload = format!("{}.{}.", message.publisher.0, message.number).into_bytes();
    payload.extend(filler(message).take(filler_bytes));
    payload
}

/// Returns which message `payload` is, if it is whole.
pub fn read(payload: &[u8]) -> Result<MessageId, Damaged> {
    let mut parts = payload.splitn(3, |byte| *byte == b'.');
    let (publisher, number) = (number(parts.next())?, number(parts.next())?);
    let publisher = ClientIndex(u16::try_from(publisher).map_err(|_| Damaged)?);
    let message = MessageId { publisher, number };
    let rest = parts.next().ok_or(Damaged)?;
    if filler(message).zip(rest).all(|(expected, byte)| expected == *byte) {
        Ok(message)
    } else {
        Err(Damaged)
    }
}

/// A payload that nobody has sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damaged;

impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a payload that nobody has sent")
    }
}

fn number(text: Option<&[u8]>) -> Result<u32, Damaged> {
    let text = std::str::from_utf8(text.ok_or(Damaged)?).map_err(|_| Damaged)?;
    text.parse().map_err(|_| Damaged)
}

/// Bytes that differ from message to message and from place to place.
fn filler(message: MessageId) -> impl Iterator<Item = u8> {
    let start = u64::from(message.number) * 31 + u64::from(message.publisher.0);
    (start..).map(|at| (at.wrapping_mul(0x9E37_79B9) >> 11) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for filler_bytes in [0, 1, 1_000] {
            let message = MessageId { publisher: ClientIndex(7), number: 90 };
            assert_eq!(read(&write(message, filler_bytes)), Ok(message));
        }
    }

    #[test]
    fn damage_is_seen() {
        let message = MessageId { publisher: ClientIndex(7), number: 90 };
        let mut payload = write(message, 100);
        payload[60] ^= 1;
        assert_eq!(read(&payload), Err(Damaged));
        assert_eq!(read(b""), Err(Damaged));
        assert_eq!(read(b"7.x.abc"), Err(Damaged));
        assert_eq!(read(b"7.90"), Err(Damaged));
    }
}
