//! PUBLISH.

use crate::error::{DecodeError, Malformed, Violation};
use crate::property::{Place, PropertySet};
use crate::property_section::write_section;
use crate::read::Reader;
use crate::text::topic_name_or_empty;
use crate::write::Sink;
use crate::{Frame, PacketId, PublishProperties, QoS, Version};

/// A PUBLISH packet (section 3.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Publish<'a> {
    /// The packet is sent again.
    pub dup: bool,
    /// Quality of Service.
    pub qos: QoS,
    /// RETAIN.
    pub retain: bool,
    /// Topic Name: empty only beside a Topic Alias, and then it is the alias that names the topic.
    pub topic: &'a str,
    /// Packet Identifier: present exactly at QoS 1 and 2.
    pub packet_id: Option<PacketId>,
    /// Properties; none in 3.x.
    pub properties: PublishProperties<'a>,
    /// Application message.
    pub payload: &'a [u8],
}

/// Decodes a PUBLISH: the hot path of a broker.
///
/// # Errors
///
/// As [`Packet::decode`](crate::Packet::decode); [`Malformed::PacketType`] if the frame is no PUBLISH.
#[inline]
pub fn decode_publish<'a>(frame: Frame<'a>, version: Version) -> Result<Publish<'a>, DecodeError> {
    if frame.first_byte >> 4 != 3 {
        return Err(Malformed::PacketType.into());
    }
    let (dup, retain) = (frame.first_byte & DUP != 0, frame.first_byte & RETAIN != 0);
    let qos = QoS::from_byte(frame.first_byte >> 1 & 0b11).ok_or(Malformed::PublishFlags)?;
    if dup && qos == QoS::AtMostOnce {
        return Err(Malformed::PublishFlags.into());
    }

    let mut reader = Reader::new(frame.body);
    let topic = topic_name_or_empty(reader.binary()?)?;
    let packet_id = if qos == QoS::AtMostOnce { None } else { Some(reader.packet_id()?) };
    let properties =
        if version.is_v5() { read_properties(&mut reader)? } else { PublishProperties::default() };
    if topic.is_empty() && properties.topic_alias.is_none() {
        return Err(topic_missing(version));
    }
    let payload = reader.take_rest();
    Ok(Publish { dup, qos, retain, topic, packet_id, properties, payload })
}

/// Reads the property section; most packets have none.
#[inline]
fn read_properties<'a>(reader: &mut Reader<'a>) -> Result<PublishProperties<'a>, DecodeError> {
    if let [0, ..] = reader.rest() {
        reader.byte()?;
        return Ok(PublishProperties::default());
    }
    PropertySet::read_section(reader, Place::Publish).map(PublishProperties::from)
}

/// Returns what an empty Topic Name without alias is called: 5.0 says Protocol Error (section 3.3.2.1).
#[cold]
fn topic_missing(version: Version) -> DecodeError {
    if version.is_v5() {
        Violation::TopicNameMissing.into()
    } else {
        Malformed::TopicNameEmpty.into()
    }
}

impl Publish<'_> {
    pub(crate) fn first_byte(&self) -> u8 {
        first_byte(self.dup, self.qos, self.retain)
    }

    pub(crate) fn write_body<S: Sink>(&self, version: Version, sink: &mut S) {
        sink.text(self.topic);
        if self.qos != QoS::AtMostOnce {
            sink.two_bytes(self.packet_id.expect(ID_IS_THERE).value());
        }
        if version.is_v5() {
            write_section(&self.properties, sink);
        }
        sink.bytes(self.payload);
    }
}

/// Returns the first byte of a PUBLISH. DUP is 0 at QoS 0 ([MQTT-3.3.1-2]).
#[inline]
pub(crate) fn first_byte(dup: bool, qos: QoS, retain: bool) -> u8 {
    let dup = dup && qos != QoS::AtMostOnce;
    0x30 | if dup { DUP } else { 0 } | qos.to_byte() << 1 | if retain { RETAIN } else { 0 }
}

const DUP: u8 = 1 << 3;
const RETAIN: u8 = 1;

/// Why the packet identifier of a PUBLISH at QoS 1 or 2 is there.
pub(crate) const ID_IS_THERE: &str = "who sends at QoS 1 or 2 gives a packet identifier";
