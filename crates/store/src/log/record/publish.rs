//! A message and who it is for.
//!
//! ```text
//! | bytes of the message part | its CRC | message part | targets |
//! ```
//!
//! The message part stands by itself, with a checksum of its own: whoever reads a queued message
//! later reads no more than that, however many sessions it is for.

use std::sync::Arc;

use quelea_codec::{PacketId, QoS};
use quelea_session::{Content, Message, Position, SubscriptionIds, Time};

use super::{PUBLISH, put_long};
use crate::log::wire::{Nonsense, Reader, put_bytes, put_signed};
use crate::{Attributes, SessionNumber, WallMillis};

/// A publish as it lies in a frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PublishRecord<'a> {
    pub(crate) message: MessagePart<'a>,
    targets: Reader<'a>,
    target_count: usize,
    /// Whether each target says which attributes apply; otherwise it is the first ones.
    is_mixed: bool,
}

/// What a queued message is read from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MessagePart<'a> {
    pub(crate) qos: QoS,
    /// When it expires, in milliseconds of the wall clock; 0 for never.
    pub(crate) expires_at: u64,
    pub(crate) retain: Option<u64>,
    pub(crate) received: Option<(SessionNumber, PacketId)>,
    pub(crate) topic: &'a str,
    pub(crate) forwarded: &'a [u8],
    pub(crate) payload: &'a [u8],
    attributes: Reader<'a>,
    attribute_count: usize,
}

/// What a message's part of a record is written from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PublishParts<'a> {
    pub(crate) qos: QoS,
    /// When it expires, in milliseconds of the wall clock; 0 for never.
    pub(crate) expires_at: u64,
    /// Its order, if it is the retained message of its topic, or removes it.
    pub(crate) retain: Option<u64>,
    /// The inbound exchange that brought it and is open.
    pub(crate) received: Option<(SessionNumber, PacketId)>,
    pub(crate) topic: &'a str,
    pub(crate) forwarded: &'a [u8],
    pub(crate) payload: &'a [u8],
}

/// What an index wants to know of attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AttributeKind {
    /// A shared group chose the session.
    pub(crate) is_shared: bool,
    /// It is a retained message that a new subscription is owed.
    pub(crate) is_owed: bool,
}

/// One target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TargetRecord {
    pub(crate) session: SessionNumber,
    pub(crate) position: Position,
    pub(crate) attributes: u32,
}

/// A publish record that is being written: its message is there, its targets come one by one.
#[derive(Debug)]
pub(crate) struct OpenPublish {
    start: usize,
    body_at: usize,
    /// Where the number of targets has its room.
    count_at: usize,
    count: usize,
    is_mixed: bool,
    session: u64,
    position: u64,
}

/// Targets, each written as the difference from the one before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Targets<'a> {
    reader: Reader<'a>,
    left: usize,
    is_mixed: bool,
    session: u64,
    position: u64,
}

impl Targets<'_> {
    pub(crate) fn len(&self) -> usize {
        self.left
    }

    fn read(&mut self) -> Result<TargetRecord, Nonsense> {
        self.session = self.session.wrapping_add(self.reader.long()?);
        self.position = self.position.wrapping_add_signed(self.reader.signed()?);
        let attributes = if self.is_mixed { self.reader.word()? } else { 0 };
        Ok(TargetRecord {
            session: SessionNumber(self.session),
            position: Position::new(self.position),
            attributes,
        })
    }
}

impl Iterator for Targets<'_> {
    type Item = TargetRecord;

    #[inline]
    fn next(&mut self) -> Option<TargetRecord> {
        self.left = self.left.checked_sub(1)?;
        self.read().ok()
    }
}

impl<'a> PublishRecord<'a> {
    pub(super) fn read(body: &mut Reader<'a>) -> Result<Self, Nonsense> {
        let message_bytes = body.fixed_word()? as usize;
        let crc = body.fixed_word()?;
        let part = body.take(message_bytes)?;
        // The frame's checksum has been looked at: this one is for those who read the part alone.
        let _ = crc;
        let message = MessagePart::read(&mut Reader::new(part))?;
        let is_mixed = match body.byte()? {
            0 => false,
            1 => true,
            _ => return Err(Nonsense),
        };
        let target_count = body.count(2)?;
        let record = Self { message, targets: *body, target_count, is_mixed };
        let mut targets = record.targets();
        for _ in 0..target_count {
            let target = targets.read()?;
            if target.attributes as usize >= message.attribute_count {
                return Err(Nonsense);
            }
        }
        *body = targets.reader;
        Ok(record)
    }

    /// Returns the length of the record at the beginning of `bytes`.
    pub(crate) fn record_bytes(bytes: &[u8]) -> Option<usize> {
        let mut reader = Reader::new(bytes);
        reader.byte().ok()?;
        let body_bytes = usize::try_from(reader.long().ok()?).ok()?;
        (bytes.len() - reader.len()).checked_add(body_bytes)
    }

    /// Returns more bytes than a copy of the record takes that is for some of its targets only.
    pub(crate) fn copy_bytes_max(record: &[u8]) -> usize {
        let mut reader = Reader::new(record);
        let message_bytes = (|| {
            reader.byte()?;
            reader.long()?;
            reader.fixed_word()
        })();
        let message_bytes = message_bytes.unwrap_or_default() as usize;
        let target_bytes = record.len().saturating_sub(message_bytes);
        // A target has at least two bytes, and at most 25.
        message_bytes + 13 * target_bytes
    }

    /// Returns who it is for.
    pub(crate) fn targets(&self) -> Targets<'a> {
        Targets {
            reader: self.targets,
            left: self.target_count,
            is_mixed: self.is_mixed,
            session: 0,
            position: 0,
        }
    }
}

impl<'a> MessagePart<'a> {
    /// Reads the message of the publish record at the beginning of `bytes`, which may end with it. Returns how
    /// many bytes it takes if there are too few.
    pub(crate) fn read_checked(bytes: &'a [u8]) -> Result<Result<Self, usize>, Nonsense> {
        let mut reader = Reader::new(bytes);
        if reader.byte()? != PUBLISH {
            return Err(Nonsense);
        }
        reader.long()?;
        let message_bytes = reader.fixed_word()? as usize;
        let crc = reader.fixed_word()?;
        if reader.len() < message_bytes {
            return Ok(Err(bytes.len() - reader.len() + message_bytes));
        }
        let part = reader.take(message_bytes)?;
        if crc32fast::hash(part) != crc {
            return Err(Nonsense);
        }
        Self::read(&mut Reader::new(part)).map(Ok)
    }

    fn read(part: &mut Reader<'a>) -> Result<Self, Nonsense> {
        let flags = part.byte()?;
        let qos = QoS::from_byte(flags & 0b11).ok_or(Nonsense)?;
        let expires_at = if flags & EXPIRES == 0 { 0 } else { part.long()? };
        let retain = if flags & RETAINED == 0 { None } else { Some(part.long()?) };
        let received = if flags & INBOUND == 0 {
            None
        } else {
            let session = SessionNumber(part.long()?);
            let id = u16::try_from(part.long()?).map_err(|_| Nonsense)?;
            Some((session, PacketId::new(id).ok_or(Nonsense)?))
        };
        let (topic, forwarded, payload) = (part.text()?, part.bytes()?, part.bytes()?);
        let attribute_count = part.count(2)?;
        let attributes = *part;
        for _ in 0..attribute_count {
            read_kind(part)?;
        }
        if !part.is_empty() {
            return Err(Nonsense);
        }
        Ok(Self {
            qos,
            expires_at,
            retain,
            received,
            topic,
            forwarded,
            payload,
            attributes,
            attribute_count,
        })
    }

    /// Returns the attributes, which were looked at when the record was read.
    pub(crate) fn attributes(&self) -> impl Iterator<Item = Attributes> + use<'a> {
        let mut reader = self.attributes;
        (0..self.attribute_count).map_while(move |_| read_attributes(&mut reader).ok())
    }

    /// Returns what of the attributes an index wants to know.
    pub(crate) fn attribute_kinds(&self) -> impl Iterator<Item = AttributeKind> + use<'a> {
        let mut reader = self.attributes;
        (0..self.attribute_count).map_while(move |_| read_kind(&mut reader).ok())
    }

    /// Returns the bytes that the message would take in memory.
    #[inline]
    pub(crate) fn size_bytes(&self) -> usize {
        Message::size_of(self.topic.len() + self.forwarded.len() + self.payload.len())
    }

    pub(crate) fn parts(&self) -> PublishParts<'a> {
        let Self { qos, expires_at, retain, received, topic, forwarded, payload, .. } = *self;
        PublishParts { qos, expires_at, retain, received, topic, forwarded, payload }
    }

    /// Makes the message, in a process whose time zero was `wall_at_zero`.
    pub(crate) fn to_message(self, wall_at_zero: WallMillis) -> Arc<Message> {
        let Self { topic, forwarded, payload, expires_at, .. } = self;
        let since_zero = Time::from_millis(expires_at.saturating_sub(wall_at_zero.0));
        let expires_at = (expires_at != 0).then_some(since_zero);
        Message::new(&Content { topic, payload, forwarded, expires_at })
    }
}

/// Appends a publish record.
pub(crate) fn put_publish(
    out: &mut Vec<u8>,
    parts: &PublishParts<'_>,
    attributes: &[Attributes],
    targets: &[TargetRecord],
) {
    let mut open = OpenPublish::begin(out, parts, attributes, targets.len());
    targets.iter().for_each(|it| open.put_target(out, *it));
    open.end(out);
}

impl OpenPublish {
    /// Appends all but the targets, of which there will be `targets_max` at most.
    pub(crate) fn begin(
        out: &mut Vec<u8>,
        parts: &PublishParts<'_>,
        attributes: &[Attributes],
        targets_max: usize,
    ) -> Self {
        let start = out.len();
        out.push(PUBLISH);
        out.resize(start + 1 + LENGTH_BYTES + SEAL_BYTES, 0);
        let body_at = start + 1 + LENGTH_BYTES;
        put_message_part(out, parts, attributes);
        let part_at = body_at + SEAL_BYTES;
        let part_bytes = (out.len() - part_at) as u32;
        let crc = crc32fast::hash(&out[part_at..]);
        out[body_at..body_at + 4].copy_from_slice(&part_bytes.to_le_bytes());
        out[body_at + 4..part_at].copy_from_slice(&crc.to_le_bytes());
        let is_mixed = attributes.len() > 1;
        out.push(u8::from(is_mixed));
        let count_at = out.len();
        put_long(out, targets_max as u64);
        let (count, session, position) = (0, 0, 0);
        Self { start, body_at, count_at, count, is_mixed, session, position }
    }

    /// Appends the next target.
    #[inline]
    pub(crate) fn put_target(&mut self, out: &mut Vec<u8>, target: TargetRecord) {
        let TargetRecord { session, position, attributes } = target;
        let (session, position) = (session.0, position.value());
        put_long(out, session.wrapping_sub(self.session));
        put_signed(out, position.wrapping_sub(self.position) as i64);
        if self.is_mixed {
            put_long(out, attributes.into());
        }
        (self.session, self.position) = (session, position);
        self.count += 1;
    }

    /// Returns how many targets there are.
    pub(crate) fn target_count(&self) -> usize {
        self.count
    }

    /// The last target has been put.
    pub(crate) fn end(self, out: &mut [u8]) {
        let body_bytes = (out.len() - self.body_at) as u64;
        fill_long(&mut out[self.start + 1..self.body_at], body_bytes);
        let count = &mut out[self.count_at..];
        let last = count.iter().position(|it| it & 0x80 == 0).unwrap_or_default();
        fill_long(&mut count[..=last], self.count as u64);
    }
}

fn put_message_part(out: &mut Vec<u8>, parts: &PublishParts<'_>, attributes: &[Attributes]) {
    let PublishParts { qos, expires_at, retain, received, topic, forwarded, payload } = *parts;
    let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
    let expires = flag(expires_at != 0, EXPIRES);
    let retained = flag(retain.is_some(), RETAINED);
    out.push(qos.to_byte() | expires | retained | flag(received.is_some(), INBOUND));
    if expires_at != 0 {
        put_long(out, expires_at);
    }
    if let Some(order) = retain {
        put_long(out, order);
    }
    if let Some((session, packet_id)) = received {
        put_long(out, session.0);
        put_long(out, packet_id.value().into());
    }
    put_bytes(out, topic.as_bytes());
    put_bytes(out, forwarded);
    put_bytes(out, payload);
    put_long(out, attributes.len() as u64);
    for it in attributes {
        put_attributes(out, it);
    }
}

/// Writes a number into as many bytes as are kept for it, whatever it is.
fn fill_long(bytes: &mut [u8], value: u64) {
    let last = bytes.len() - 1;
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = (value >> (7 * index)) as u8 & 0x7F | if index == last { 0 } else { 0x80 };
    }
}

/// Returns more bytes than a publish record takes.
pub(crate) fn publish_bytes_max(
    message_bytes: usize,
    attributes: &[Attributes],
    target_count: usize,
) -> usize {
    let of_attributes: usize = attributes
        .iter()
        .map(|it| {
            let share_bytes = it.share.as_ref().map_or(0, |it| it.len());
            24 + 5 * it.subscription_ids.as_slice().len() + share_bytes
        })
        .sum();
    96 + message_bytes + of_attributes + 25 * target_count
}

fn put_attributes(out: &mut Vec<u8>, it: &Attributes) {
    let retain = u8::from(it.retain) << 2;
    let share = u8::from(it.share.is_some()) << 3;
    let order = u8::from(it.retained_order != 0) << 4;
    out.push(it.qos.to_byte() | retain | share | order);
    let ids = it.subscription_ids.as_slice();
    put_long(out, ids.len() as u64);
    for id in ids {
        put_long(out, u64::from(*id));
    }
    if let Some(share) = &it.share {
        put_bytes(out, share.as_bytes());
    }
    if it.retained_order != 0 {
        put_long(out, it.retained_order);
    }
}

impl AttributeKind {
    pub(crate) fn of(attributes: &Attributes) -> Self {
        let is_shared = attributes.share.is_some();
        Self { is_shared, is_owed: attributes.retained_order != 0 }
    }
}

/// Reads one set of attributes without keeping them.
fn read_kind(reader: &mut Reader<'_>) -> Result<AttributeKind, Nonsense> {
    let flags = reader.byte()?;
    QoS::from_byte(flags & 0b11).ok_or(Nonsense)?;
    for _ in 0..reader.count(1)? {
        reader.word()?;
    }
    let kind = AttributeKind { is_shared: flags & 0b1000 != 0, is_owed: flags & 0b1_0000 != 0 };
    if kind.is_shared {
        reader.text()?;
    }
    if kind.is_owed {
        reader.long()?;
    }
    Ok(kind)
}

/// Reads one set of attributes.
fn read_attributes(reader: &mut Reader<'_>) -> Result<Attributes, Nonsense> {
    let flags = reader.byte()?;
    let qos = QoS::from_byte(flags & 0b11).ok_or(Nonsense)?;
    let id_count = reader.count(1)?;
    let mut ids = Vec::with_capacity(id_count);
    for _ in 0..id_count {
        ids.push(reader.word()?);
    }
    let share = if flags & 0b1000 == 0 { None } else { Some(Arc::from(reader.text()?)) };
    let retained_order = if flags & 0b1_0000 == 0 { 0 } else { reader.long()? };
    let retain = flags & 0b100 != 0;
    let subscription_ids = SubscriptionIds::new(&ids);
    Ok(Attributes { qos, retain, subscription_ids, share, retained_order })
}

const EXPIRES: u8 = 0b100;
const RETAINED: u8 = 0b1000;
const INBOUND: u8 = 0b1_0000;

/// Bytes in which every length below 4 GiB has room.
const LENGTH_BYTES: usize = 5;

/// Bytes of the length and the checksum of the message part.
const SEAL_BYTES: usize = 8;
