//! Records: what a frame is made of.
//!
//! Each is a type, the length of what follows, and that. Numbers are written with seven bits a byte
//! (`wire`). A type that is not known is refused: nothing that was promised may be passed over.

mod publish;

use quelea_codec::{PacketId, QoS};
use quelea_session::{Content, Message, Position};

pub(crate) use publish::{
    AttributeKind, MessagePart, OpenPublish, PublishParts, PublishRecord, TargetRecord,
    publish_bytes_max, put_publish,
};

use super::wire::{Nonsense, Reader, put_bytes, put_long, put_signed};
use crate::{CursorPlace, Presence, SessionNumber, StoredWill, WallMillis};

/// A record as it lies in a frame.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Record<'a> {
    Publish(PublishRecord<'a>),
    Finish {
        session: SessionNumber,
        positions: Positions<'a>,
    },
    Received {
        session: SessionNumber,
        position: Position,
    },
    /// An inbound QoS 2 exchange is open: what a [`Record::Publish`] says that is not kept for its message.
    Inbound {
        session: SessionNumber,
        packet_id: PacketId,
    },
    Release {
        session: SessionNumber,
        packet_id: PacketId,
    },
    Session(SessionRecord<'a>),
    Change(ChangeRecord),
    /// A session has ended. What is left of it for shared groups stays.
    End {
        session: SessionNumber,
        sent_before: Position,
    },
    Subscribe(SubscribeRecord<'a>),
    Cursor {
        session: SessionNumber,
        filter: &'a str,
        cursor: Option<CursorRecord<'a>>,
    },
    Unsubscribe {
        session: SessionNumber,
        filter: &'a str,
    },
    Will {
        session: SessionNumber,
        will: Option<WillRecord<'a>>,
    },
    Unretain {
        topic: &'a str,
        order: u64,
    },
    /// Segments before this one are needed no longer.
    Retired {
        oldest: u64,
    },
    Mark(MarkRecord),
    /// The log was closed in good order.
    Closed,
}

/// What must not be forgotten though nothing that is alive says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct MarkRecord {
    /// The upper half of session numbers that have been given was this at most.
    pub(crate) generation: u32,
    /// The order of retained messages was this at most.
    pub(crate) order: u64,
}

/// A session as a whole, without its queue, subscriptions, exchanges and will.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SessionRecord<'a> {
    pub(crate) client_id: &'a str,
    pub(crate) owner: &'a str,
    pub(crate) change: ChangeRecord,
    /// The position after all that were given so far.
    pub(crate) next: u64,
}

/// What of a session changes often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChangeRecord {
    pub(crate) session: SessionNumber,
    pub(crate) expiry_secs: u32,
    pub(crate) presence: Presence,
    pub(crate) sent_before: Position,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct SubscribeRecord<'a> {
    pub(crate) session: SessionNumber,
    pub(crate) filter: &'a str,
    pub(crate) options: u8,
    pub(crate) subscription_id: u32,
    pub(crate) cursor: Option<CursorRecord<'a>>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct CursorRecord<'a> {
    pub(crate) until: u64,
    pub(crate) partition: u16,
    pub(crate) after: Option<&'a str>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct WillRecord<'a> {
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) delay_secs: u32,
    pub(crate) expiry_secs: Option<u32>,
    pub(crate) topic: &'a str,
    pub(crate) forwarded: &'a [u8],
    pub(crate) payload: &'a [u8],
}

/// Positions, each written as the difference from the one before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Positions<'a> {
    reader: Reader<'a>,
    left: usize,
    last: u64,
}

impl Iterator for Positions<'_> {
    type Item = Position;

    fn next(&mut self) -> Option<Position> {
        self.left = self.left.checked_sub(1)?;
        // They were read once before, to see that they are numbers.
        self.last = self.last.wrapping_add_signed(self.reader.signed().ok()?);
        Some(Position::new(self.last))
    }
}

impl<'a> Record<'a> {
    /// Reads the record at the front of a frame's payload.
    pub(crate) fn read(reader: &mut Reader<'a>) -> Result<Self, Nonsense> {
        let kind = reader.byte()?;
        let mut body = Reader::new(reader.bytes()?);
        let record = Self::read_body(kind, &mut body)?;
        if body.is_empty() { Ok(record) } else { Err(Nonsense) }
    }

    fn read_body(kind: u8, body: &mut Reader<'a>) -> Result<Self, Nonsense> {
        match kind {
            PUBLISH => PublishRecord::read(body).map(Self::Publish),
            FINISH => {
                let session = read_session(body)?;
                let positions = read_positions(body)?;
                Ok(Self::Finish { session, positions })
            }
            RECEIVED => {
                let session = read_session(body)?;
                Ok(Self::Received { session, position: Position::new(body.long()?) })
            }
            INBOUND => {
                let session = read_session(body)?;
                Ok(Self::Inbound { session, packet_id: read_packet_id(body)? })
            }
            RELEASE => {
                let session = read_session(body)?;
                Ok(Self::Release { session, packet_id: read_packet_id(body)? })
            }
            SESSION => {
                let change = read_change(body)?;
                let next = body.long()?;
                let (client_id, owner) = (body.text()?, body.text()?);
                Ok(Self::Session(SessionRecord { client_id, owner, change, next }))
            }
            CHANGE => read_change(body).map(Self::Change),
            END => {
                let session = read_session(body)?;
                Ok(Self::End { session, sent_before: Position::new(body.long()?) })
            }
            SUBSCRIBE => Ok(Self::Subscribe(SubscribeRecord {
                session: read_session(body)?,
                filter: body.text()?,
                options: body.byte()?,
                subscription_id: body.word()?,
                cursor: read_cursor(body)?,
            })),
            CURSOR => {
                let (session, filter) = (read_session(body)?, body.text()?);
                Ok(Self::Cursor { session, filter, cursor: read_cursor(body)? })
            }
            UNSUBSCRIBE => {
                let session = read_session(body)?;
                Ok(Self::Unsubscribe { session, filter: body.text()? })
            }
            WILL => {
                let session = read_session(body)?;
                Ok(Self::Will { session, will: read_will(body)? })
            }
            UNRETAIN => Ok(Self::Unretain { topic: body.text()?, order: body.long()? }),
            RETIRED => Ok(Self::Retired { oldest: body.long()? }),
            MARK => Ok(Self::Mark(MarkRecord { generation: body.word()?, order: body.long()? })),
            CLOSED => Ok(Self::Closed),
            _ => Err(Nonsense),
        }
    }
}

/// Appends a record whose body is written by `body`.
fn put(out: &mut Vec<u8>, kind: u8, body: impl FnOnce(&mut Vec<u8>)) {
    out.push(kind);
    // Nearly all bodies are shorter than 128 bytes: the length then takes the byte kept for it.
    let at = out.len();
    out.push(0);
    body(out);
    let body_bytes = out.len() - at - 1;
    if body_bytes < 0x80 {
        out[at] = body_bytes as u8;
        return;
    }
    let mut length = Vec::with_capacity(10);
    put_long(&mut length, body_bytes as u64);
    out.splice(at..=at, length);
}

pub(crate) fn put_finish(out: &mut Vec<u8>, session: SessionNumber, positions: &[Position]) {
    put(out, FINISH, |out| {
        put_long(out, session.0);
        put_long(out, positions.len() as u64);
        let mut last = 0_u64;
        for position in positions {
            put_signed(out, position.value().wrapping_sub(last) as i64);
            last = position.value();
        }
    });
}

pub(crate) fn put_received(out: &mut Vec<u8>, session: SessionNumber, position: Position) {
    put(out, RECEIVED, |out| {
        put_long(out, session.0);
        put_long(out, position.value());
    });
}

pub(crate) fn put_inbound(out: &mut Vec<u8>, session: SessionNumber, packet_id: PacketId) {
    put(out, INBOUND, |out| {
        put_long(out, session.0);
        put_long(out, packet_id.value().into());
    });
}

pub(crate) fn put_release(out: &mut Vec<u8>, session: SessionNumber, packet_id: PacketId) {
    put(out, RELEASE, |out| {
        put_long(out, session.0);
        put_long(out, packet_id.value().into());
    });
}

pub(crate) fn put_session(out: &mut Vec<u8>, it: &SessionRecord<'_>) {
    put(out, SESSION, |out| {
        put_change_body(out, &it.change);
        put_long(out, it.next);
        put_bytes(out, it.client_id.as_bytes());
        put_bytes(out, it.owner.as_bytes());
    });
}

pub(crate) fn put_change(out: &mut Vec<u8>, change: &ChangeRecord) {
    put(out, CHANGE, |out| put_change_body(out, change));
}

fn put_change_body(out: &mut Vec<u8>, change: &ChangeRecord) {
    put_long(out, change.session.0);
    put_long(out, change.expiry_secs.into());
    // Zero for connected: nobody lost a connection in the first millisecond of 1970.
    let lost_at = match change.presence {
        Presence::Connected => 0,
        Presence::Lost(at) => at.0.max(1),
    };
    put_long(out, lost_at);
    put_long(out, change.sent_before.value());
}

pub(crate) fn put_end(out: &mut Vec<u8>, session: SessionNumber, sent_before: Position) {
    put(out, END, |out| {
        put_long(out, session.0);
        put_long(out, sent_before.value());
    });
}

pub(crate) fn put_subscribe(
    out: &mut Vec<u8>,
    session: SessionNumber,
    filter: &str,
    options: u8,
    subscription_id: u32,
    cursor: Option<&CursorPlace>,
) {
    put(out, SUBSCRIBE, |out| {
        put_long(out, session.0);
        put_bytes(out, filter.as_bytes());
        out.push(options);
        put_long(out, subscription_id.into());
        put_cursor_body(out, cursor);
    });
}

pub(crate) fn put_cursor(
    out: &mut Vec<u8>,
    session: SessionNumber,
    filter: &str,
    cursor: Option<&CursorPlace>,
) {
    put(out, CURSOR, |out| {
        put_long(out, session.0);
        put_bytes(out, filter.as_bytes());
        put_cursor_body(out, cursor);
    });
}

fn put_cursor_body(out: &mut Vec<u8>, cursor: Option<&CursorPlace>) {
    let Some(cursor) = cursor else {
        out.push(NO_CURSOR);
        return;
    };
    out.push(if cursor.after.is_some() { CURSOR_AFTER } else { CURSOR_AT_START });
    put_long(out, cursor.until);
    put_long(out, cursor.partition.into());
    if let Some(after) = &cursor.after {
        put_bytes(out, after.as_bytes());
    }
}

pub(crate) fn put_unsubscribe(out: &mut Vec<u8>, session: SessionNumber, filter: &str) {
    put(out, UNSUBSCRIBE, |out| {
        put_long(out, session.0);
        put_bytes(out, filter.as_bytes());
    });
}

pub(crate) fn put_will(out: &mut Vec<u8>, session: SessionNumber, will: Option<&StoredWill>) {
    put(out, WILL, |out| {
        put_long(out, session.0);
        let Some(will) = will else { return };
        let content = will.message.content();
        let expires = u8::from(will.expiry_secs.is_some());
        out.push(will.qos.to_byte() | u8::from(will.retain) << 2 | expires << 3);
        put_long(out, will.delay_secs.into());
        if let Some(secs) = will.expiry_secs {
            put_long(out, secs.into());
        }
        put_bytes(out, content.topic.as_bytes());
        put_bytes(out, content.forwarded);
        put_bytes(out, content.payload);
    });
}

pub(crate) fn put_unretain(out: &mut Vec<u8>, topic: &str, order: u64) {
    put(out, UNRETAIN, |out| {
        put_bytes(out, topic.as_bytes());
        put_long(out, order);
    });
}

pub(crate) fn put_retired(out: &mut Vec<u8>, oldest: u64) {
    put(out, RETIRED, |out| put_long(out, oldest));
}

pub(crate) fn put_mark(out: &mut Vec<u8>, mark: MarkRecord) {
    put(out, MARK, |out| {
        put_long(out, mark.generation.into());
        put_long(out, mark.order);
    });
}

pub(crate) fn put_closed(out: &mut Vec<u8>) {
    put(out, CLOSED, |_| {});
}

fn read_session(body: &mut Reader<'_>) -> Result<SessionNumber, Nonsense> {
    body.long().map(SessionNumber)
}

fn read_packet_id(body: &mut Reader<'_>) -> Result<PacketId, Nonsense> {
    let id = u16::try_from(body.long()?).map_err(|_| Nonsense)?;
    PacketId::new(id).ok_or(Nonsense)
}

fn read_positions<'a>(body: &mut Reader<'a>) -> Result<Positions<'a>, Nonsense> {
    let left = body.count(1)?;
    let positions = Positions { reader: *body, left, last: 0 };
    for _ in 0..left {
        body.signed()?;
    }
    Ok(positions)
}

fn read_change(body: &mut Reader<'_>) -> Result<ChangeRecord, Nonsense> {
    Ok(ChangeRecord {
        session: read_session(body)?,
        expiry_secs: body.word()?,
        presence: match body.long()? {
            0 => Presence::Connected,
            at => Presence::Lost(WallMillis(at)),
        },
        sent_before: Position::new(body.long()?),
    })
}

fn read_cursor<'a>(body: &mut Reader<'a>) -> Result<Option<CursorRecord<'a>>, Nonsense> {
    let kind = body.byte()?;
    if kind == NO_CURSOR {
        return Ok(None);
    }
    let until = body.long()?;
    let partition = u16::try_from(body.long()?).map_err(|_| Nonsense)?;
    let after = match kind {
        CURSOR_AT_START => None,
        CURSOR_AFTER => Some(body.text()?),
        _ => return Err(Nonsense),
    };
    Ok(Some(CursorRecord { until, partition, after }))
}

fn read_will<'a>(body: &mut Reader<'a>) -> Result<Option<WillRecord<'a>>, Nonsense> {
    if body.is_empty() {
        return Ok(None);
    }
    let flags = body.byte()?;
    let qos = QoS::from_byte(flags & 0b11).ok_or(Nonsense)?;
    let delay_secs = body.word()?;
    let expiry_secs = if flags & 0b1000 == 0 { None } else { Some(body.word()?) };
    let (topic, forwarded, payload) = (body.text()?, body.bytes()?, body.bytes()?);
    let retain = flags & 0b100 != 0;
    Ok(Some(WillRecord { qos, retain, delay_secs, expiry_secs, topic, forwarded, payload }))
}

impl WillRecord<'_> {
    /// Returns the bytes that its message would take in memory.
    pub(crate) fn size_bytes(&self) -> usize {
        Message::size_of(self.topic.len() + self.forwarded.len() + self.payload.len())
    }

    pub(crate) fn to_will(self) -> StoredWill {
        let Self { qos, retain, delay_secs, expiry_secs, topic, forwarded, payload } = self;
        let message = Message::new(&Content { topic, payload, forwarded, expires_at: None });
        StoredWill { message, qos, retain, delay_secs, expiry_secs }
    }
}

impl CursorRecord<'_> {
    pub(crate) fn to_place(self) -> CursorPlace {
        let Self { until, partition, after } = self;
        CursorPlace { until, partition, after: after.map(Box::from) }
    }
}

pub(crate) const PUBLISH: u8 = 1;
const FINISH: u8 = 2;
const RECEIVED: u8 = 3;
const INBOUND: u8 = 4;
const RELEASE: u8 = 5;
const SESSION: u8 = 6;
const CHANGE: u8 = 7;
const END: u8 = 8;
const SUBSCRIBE: u8 = 9;
const CURSOR: u8 = 10;
const UNSUBSCRIBE: u8 = 11;
const WILL: u8 = 12;
const UNRETAIN: u8 = 13;
const RETIRED: u8 = 14;
const MARK: u8 = 15;
const CLOSED: u8 = 16;

const NO_CURSOR: u8 = 0;
const CURSOR_AT_START: u8 = 1;
const CURSOR_AFTER: u8 = 2;

#[cfg(test)]
mod tests;
