//! What the file is made of.
//!
//! ```text
//! length: 4 bytes | CRC-32 of the body: 4 bytes | body
//! body of an accepted message:  1 | position: 8 | QoS and retain: 1 | expiry: 8 | topic: 4 + n | properties: 4 + n | payload
//! body of a mark:               2 | position: 8
//! body of a received message:   3 | position: 8
//! body of one that is done with 4 | position: 8
//! body of the beginning:        5 | client id
//! body of what is synced:       6 | offset: 8
//! ```
//!
//! What is before the offset in the sixth was on the disk before that record was written. Numbers are little-endian. The expiry is in milliseconds of the wall clock, 0 for none.

use quelea_codec::{QoS, is_valid_topic_name};
use quelea_session::{Content, Position, Time};

/// A record, without what only a message has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    Accepted { position: Position },
    Mark(Position),
    Received(Position),
    Done(Position),
}

/// A record that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Read {
    Accepted(Position, Kept),
    Mark(Position),
    Received(Position),
    Done(Position),
    Beginning(String),
    Synced(u64),
}

/// A message that was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) qos: QoS,
    pub(super) retain: bool,
    pub(super) is_received: bool,
    expires_at_wall: u64,
    topic: String,
    forwarded: Vec<u8>,
    payload: Vec<u8>,
}

impl Kept {
    pub(super) fn topic(&self) -> &str {
        &self.topic
    }

    /// Returns its part of the queue's bytes.
    pub(super) fn size(&self) -> usize {
        self.topic.len() + self.forwarded.len() + self.payload.len()
    }

    /// Returns the message, whose expiry goes on with the clock of this process.
    pub(super) fn content(&self, now: Time, wall_now: u64) -> Content<'_> {
        let expires_at = (self.expires_at_wall > 0)
            .then(|| now.plus_millis(self.expires_at_wall.saturating_sub(wall_now)));
        Content {
            topic: &self.topic,
            payload: &self.payload,
            forwarded: &self.forwarded,
            expires_at,
        }
    }
}

impl Record {
    pub(super) fn position(self) -> Position {
        match self {
            Self::Accepted { position }
            | Self::Mark(position)
            | Self::Received(position)
            | Self::Done(position) => position,
        }
    }

    /// Appends the record; of a message only what precedes it.
    pub(super) fn encode(self, out: &mut Vec<u8>) {
        let kind = match self {
            Self::Accepted { .. } => ACCEPTED,
            Self::Mark(_) => MARK,
            Self::Received(_) => RECEIVED,
            Self::Done(_) => DONE,
        };
        frame(out, |out| {
            out.push(kind);
            out.extend_from_slice(&self.position().value().to_le_bytes());
        });
    }
}

/// Returns the record of a message that is accepted.
pub(crate) fn accepted(
    position: Position,
    content: &Content<'_>,
    qos: QoS,
    retain: bool,
    expires_at_wall: u64,
) -> Vec<u8> {
    let Content { topic, payload, forwarded, .. } = content;
    let mut out = Vec::with_capacity(64 + topic.len() + forwarded.len() + payload.len());
    frame(&mut out, |out| {
        out.push(ACCEPTED);
        out.extend_from_slice(&position.value().to_le_bytes());
        out.push(qos.to_byte() | if retain { RETAIN } else { 0 });
        out.extend_from_slice(&expires_at_wall.to_le_bytes());
        for part in [topic.as_bytes(), forwarded] {
            out.extend_from_slice(&length(part).to_le_bytes());
            out.extend_from_slice(part);
        }
        out.extend_from_slice(payload);
    });
    out
}

/// Appends the record with which a file begins.
pub(super) fn beginning(client_id: &str, out: &mut Vec<u8>) {
    frame(out, |out| {
        out.push(BEGINNING);
        out.extend_from_slice(client_id.as_bytes());
    });
}

/// Appends the record that says that what is before an offset of the file has reached the disk.
pub(super) fn synced(before: u64, out: &mut Vec<u8>) {
    frame(out, |out| {
        out.push(SYNCED);
        out.extend_from_slice(&before.to_le_bytes());
    });
}

/// Reads the record at the start of `bytes`, and its length in the file; `None` if there is no whole and correct one.
pub(super) fn read(bytes: &[u8]) -> Option<(Read, usize)> {
    let (header, rest) = bytes.split_first_chunk::<FRAME_BYTES>()?;
    let [l0, l1, l2, l3, c0, c1, c2, c3] = *header;
    let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
    let body = rest.get(..length)?;
    if crc32fast::hash(body) != u32::from_le_bytes([c0, c1, c2, c3]) {
        return None;
    }
    Some((read_body(body)?, FRAME_BYTES + length))
}

fn read_body(body: &[u8]) -> Option<Read> {
    let (&kind, rest) = body.split_first()?;
    if kind == BEGINNING {
        return Some(Read::Beginning(String::from_utf8(rest.to_vec()).ok()?));
    }
    let (position, rest) = rest.split_first_chunk::<8>()?;
    let position = Position::new(u64::from_le_bytes(*position));
    match kind {
        ACCEPTED => Some(Read::Accepted(position, read_message(rest)?)),
        MARK => Some(Read::Mark(position)),
        RECEIVED => Some(Read::Received(position)),
        DONE => Some(Read::Done(position)),
        SYNCED => Some(Read::Synced(position.value())),
        _ => None,
    }
}

fn read_message(bytes: &[u8]) -> Option<Kept> {
    let (&flags, rest) = bytes.split_first()?;
    let (expires_at_wall, rest) = rest.split_first_chunk::<8>()?;
    let (topic, rest) = read_part(rest)?;
    let (forwarded, payload) = read_part(rest)?;
    let topic = String::from_utf8(topic.to_vec()).ok().filter(|it| is_valid_topic_name(it))?;
    Some(Kept {
        qos: QoS::from_byte(flags & !RETAIN)?,
        retain: flags & RETAIN != 0,
        is_received: false,
        expires_at_wall: u64::from_le_bytes(*expires_at_wall),
        topic,
        forwarded: forwarded.to_vec(),
        payload: payload.to_vec(),
    })
}

fn read_part(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(u32::from_le_bytes(*length) as usize)
}

/// Appends a body with its length and checksum before it.
fn frame(out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; FRAME_BYTES]);
    body(out);
    let (header, body) = out[start..].split_at_mut(FRAME_BYTES);
    header[..4].copy_from_slice(&length(body).to_le_bytes());
    header[4..].copy_from_slice(&crc32fast::hash(body).to_le_bytes());
}

fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).expect("a message that fits a packet is below 2^28 bytes")
}

/// Length and checksum.
const FRAME_BYTES: usize = 8;

const ACCEPTED: u8 = 1;
const MARK: u8 = 2;
const RECEIVED: u8 = 3;
const DONE: u8 = 4;
const BEGINNING: u8 = 5;
const SYNCED: u8 = 6;

const RETAIN: u8 = 0x80;
